/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A whole server in one thread: data cores and the control core are stepped by hand, time and log
 * are the test's (rig_clock.h, rig_log.h), clients are memory.
 *
 *   rig_send(peer)    bytes wait as in a socket
 *   rig_close(peer)   the client's end goes, behind them
 *   rig_turn(core)    one turn of a data core: input, serve, flush
 *   rig_control()     one step of the control core
 *   rig_settle()      all of them until nothing moves
 *   peer->got         all bytes that the server sent
 *
 * What the fake backend does is what kernel.c does: input that is paused stays in the "socket",
 * output that the peer does not read stays queued, closing at once detaches within the call,
 * half-closing waits for the queue.
 */
#ifndef SENGI_TESTS_DATAPLANE_RIG_H
#define SENGI_TESTS_DATAPLANE_RIG_H

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/wire/buffer.h"
#include "client/wire/check.h"
#include "client/wire/request.h"
#include "dataplane/control.h"
#include "dataplane/core.h"
#include "dataplane/restore.h"
#include "dataplane/server.h"
#include "tests/dataplane/rig_clock.h"
#include "tests/dataplane/rig_log.h"
#include "tree/reader.h"

#define RIG_CORES_MAX 4
#define RIG_ROUNDS_MAX 100000

struct rig_peer {
    struct rig_peer *next;
    struct core *core;
    struct conn *conn;      /* NULL: detached */
    struct buffer unread;   /* sent by the client, not yet taken by the server */
    size_t input_bytes_max; /* of one turn; 0 = no limit */
    struct buffer got;      /* all that the server sent */
    size_t looked;          /* of got, by rig_next() */
    bool stalled;           /* the client does not read */
    bool direct;            /* output goes to `got` without a queue where it may */
    uint8_t room[512];      /* for that */
    bool ended;             /* the client's end is closed: seen by the server behind its input */
    bool paused, fin, cut;  /* told by the server */
    int32_t xid, timeout_ms;
    session_id_t session;
    uint8_t passwd[PASSWD_BYTES];
};

struct rig {
    struct server *server;
    struct core *cores[RIG_CORES_MAX];
    struct rig_peer *peers;
};

static struct rig rig;

/* --- the backend --- */

static inline void rig_flush(struct core *core, struct conn *conn)
{
    struct rig_peer *p = conn->net_conn;
    if (p->stalled) {
        conn->writable_wait = conn->out_bytes > 0;
        return;
    }
    for (const struct out_chunk *c = conn->out_head; c; c = c->next)
        buffer_put_raw(&p->got, out_chunk_bytes(c) + c->start, c->end - c->start);
    CHECK(!p->got.failed);
    if (conn->out_bytes)
        conn_output_sent(core, conn, conn->out_bytes);
    p->fin |= conn->state == CONN_CLOSING;
}

static inline void rig_pause(struct core *core, struct conn *conn, bool paused)
{
    (void)core;
    ((struct rig_peer *)conn->net_conn)->paused = paused;
}

static inline void rig_conn_close(struct core *core, struct conn *conn, bool at_once)
{
    struct rig_peer *p = conn->net_conn;
    p->paused = false;
    if (!at_once)
        return;
    p->cut = !p->fin;
    p->conn = NULL;
    conn_detached(core, conn);
}

static inline uint8_t *rig_room(struct core *core, struct conn *conn, uint32_t least,
                                uint32_t wanted, uint32_t *room)
{
    struct rig_peer *p = conn->net_conn;
    (void)core;
    CHECK(!conn->out_head && wanted >= least);
    if (!p->direct || p->stalled || least > sizeof p->room)
        return NULL;
    *room = sizeof p->room;
    return p->room;
}

static inline void rig_written(struct core *core, struct conn *conn, uint32_t n)
{
    struct rig_peer *p = conn->net_conn;
    (void)core;
    CHECK(n > 0 && n <= sizeof p->room);
    buffer_put_raw(&p->got, p->room, n);
    CHECK(!p->got.failed);
}

static const struct conn_backend rig_backend = {rig_flush, rig_pause, rig_conn_close, rig_room,
                                                rig_written};

/* --- life --- */

static inline void rig_turn(unsigned index);

static inline struct config rig_config(void)
{
    struct config config;
    config_init(&config);
    config.session_timeout_ms_min = 2 * config.tick_time_ms;
    config.session_timeout_ms_max = 20 * config.tick_time_ms;
    return config;
}

static inline struct tree *rig_empty_tree(const struct config *config)
{
    struct tree_config tree = restore_tree_config(config);
    struct tree *t = tree_create(&tree);
    CHECK(t && tree_load_begin(t, 0) == 0 && tree_load_end(t) == 0 && tree_load_finish(t) == 0);
    return t;
}

/*
 * With a data_dir the tree comes from there and the log goes there; without, everything is in
 * memory.
 */
static inline zxid_t rig_load(struct server *s)
{
    rig_log.memory = !s->config.data_dir[0];
    if (rig_log.memory) {
        s->tree = rig_empty_tree(&s->config);
        return 0;
    }
    char why[RECOVER_REFUSAL_BYTES];
    struct recover_report *report = calloc(1, sizeof *report);
    CHECK(report && directory_open(&s->directory, storage_file(), s->config.data_dir,
                                   s->config.data_log_dir, true, why, sizeof why) == 0);
    struct digest_log *digests = calloc(1, sizeof *digests);
    CHECK(digests);
    int err = restore_run(&s->config, &s->directory, &s->tree, digests, report);
    free(digests);
    if (err)
        fprintf(stderr, "restore: %d %s\n", err, report->refusal);
    CHECK(!err);
    zxid_t last = report->last_zxid > 0 ? report->last_zxid : 0;
    if (report->created) {
        struct snapshotter_config snapshots = {.storage = storage_file(),
                                               .directory = &s->directory};
        struct snapshotter *writer = snapshotter_create(&snapshots);
        struct tree_snapshot *snapshot = tree_snapshot_begin(s->tree);
        CHECK(snapshotter_write(writer, snapshot) == 0);
        tree_snapshot_end(s->tree, &snapshot);
        (void)snapshotter_destroy(writer);
    }
    free(report);
    return last;
}

static inline void rig_start(const struct config *config, unsigned cores)
{
    CHECK(cores >= 1 && cores <= RIG_CORES_MAX && !rig.server);
    reader_register();
    struct server *s = calloc(1, sizeof *s);
    CHECK(s);
    rig = (struct rig){.server = s};
    atomic_store(&rig_clock_us, RIG_CLOCK_START_US);
    s->config = *config;
    s->core_count = cores;
    s->cores = rig.cores;
    s->start_ms = server_now_us() / 1000;
    s->auth = (struct auth_config){config->digest_auth_enabled, s->config.digest_auth_algorithm,
                                   s->config.super_digest[0] ? s->config.super_digest : NULL};
    zxid_t last = rig_load(s);
    s->store = tree_store(s->tree);
    /* Stricter than a grace period: what a retired batch superseded is freed at once. Not with
     * files: there the snapshot thread reads too. */
    store_set_offline(s->store, rig_log.memory);
    for (unsigned i = 0; i < cores; i++) {
        rig.cores[i] = core_create(s, (uint16_t)i);
        CHECK(rig.cores[i]);
    }
    CHECK(control_create(&s->control, s, last) == 0);
    for (unsigned i = 0; i < cores; i++) /* they have read the clock */
        rig_turn(i);
}

/* --- clients --- */

static inline struct rig_peer *rig_open(unsigned core)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(4000), .sin_addr = {htonl(0x0a000001)}};
    struct rig_peer *p = calloc(1, sizeof *p);
    CHECK(p);
    buffer_init(&p->unread, 256u << 20);
    buffer_init(&p->got, 256u << 20);
    p->core = rig.cores[core];
    p->conn = conn_open(p->core, &rig_backend, (struct sockaddr *)&address);
    CHECK(p->conn);
    p->conn->net_conn = p;
    p->xid = 1;
    p->next = rig.peers;
    rig.peers = p;
    return p;
}

static inline void rig_send(struct rig_peer *p, const void *bytes, size_t n)
{
    buffer_put_raw(&p->unread, bytes, n);
    CHECK(!p->unread.failed);
}

/** The client's end goes: behind what it sent. */
static inline void rig_close(struct rig_peer *p)
{
    p->ended = true;
}

static inline void rig_forget(struct rig_peer *p)
{
    struct rig_peer **link = &rig.peers;
    while (*link != p)
        link = &(*link)->next;
    CHECK(!p->conn);
    *link = p->next;
    buffer_free(&p->unread);
    buffer_free(&p->got);
    free(p);
}

/* --- steps --- */

static inline size_t rig_input(struct rig_peer *p)
{
    size_t n = p->unread.size;
    if (p->input_bytes_max && n > p->input_bytes_max)
        n = p->input_bytes_max;
    if (!p->conn || p->paused)
        return 0;
    if (n == 0) {
        if (p->ended)
            conn_hangup(p->core, p->conn);
        return 0;
    }
    return conn_input(p->core, p->conn, p->unread.data, n);
}

static inline void rig_turn(unsigned index)
{
    struct core *core = rig.cores[index];
    core_begin_turn(core);
    core->idle = true;
    size_t used[256] = {0};
    unsigned i = 0;
    for (struct rig_peer *p = rig.peers; p; p = p->next, i++)
        if (p->core == core) {
            if (p->conn && p->conn->writable_wait && !p->stalled) {
                p->conn->writable_wait = false;
                core_mark_dirty(core, p->conn);
            }
            CHECK(i < 256);
            used[i] = rig_input(p);
            core->idle &= used[i] == 0;
        }
    core_end_turn(core);
    /* Input stays where it is until the burst has been served. */
    i = 0;
    for (struct rig_peer *p = rig.peers; p; p = p->next, i++)
        if (used[i]) {
            p->unread.size -= used[i];
            memmove(p->unread.data, p->unread.data + used[i], p->unread.size);
        }
    reader_quiescent();
}

static inline bool rig_control(void)
{
    rig_log_wait(rig.server->control);
    bool more = control_step(rig.server->control);
    reader_quiescent();
    return more || (RIG_LOG_IS_A_THREAD && rig.server->control->log_busy);
}

static inline bool rig_busy(void)
{
    bool busy = control_has_work(rig.server->control);
    for (unsigned i = 0; i < rig.server->core_count; i++)
        busy |= core_has_work(rig.cores[i]) && !rig.cores[i]->stopping;
    for (const struct rig_peer *p = rig.peers; p; p = p->next)
        busy |= p->conn && !p->paused && (p->unread.size || p->ended) &&
                !(p->conn->state == CONN_CLOSING && p->stalled);
    return busy;
}

/** Everything until nothing moves; a held log stays held. */
static inline void rig_settle(void)
{
    bool more = true;
    for (int round = 0; more || rig_busy(); round++) {
        CHECK(round < RIG_ROUNDS_MAX);
        more = rig_control();
        for (unsigned i = 0; i < rig.server->core_count; i++)
            rig_turn(i);
    }
}

/** All clients go, everything is freed; what a connection leaves behind is an error. */
static inline void rig_stop(void)
{
    rig_log.held = false;
    while (rig_log_step())
        continue;
    for (struct rig_peer *p = rig.peers; p; p = p->next) {
        p->stalled = false;
        p->ended = true;
        if (p->conn)
            p->unread.size = 0;
    }
    rig_settle();
    bool failed = rig.server->control->failed;
    for (unsigned i = 0; i < rig.server->core_count; i++) {
        const struct core *core = rig.cores[i];
        CHECK(failed || !conn_first(core));
        CHECK(!core->dead && !core->dirty && !core->resume && core->burst_count == 0);
        CHECK(core->out_bytes == 0 && watch_counters(core->watches)->watches == 0);
        CHECK(failed || atomic_load(&core->stats.outstanding) == 0);
    }
    control_destroy(rig.server->control);
    for (unsigned i = 0; i < rig.server->core_count; i++) {
        core_destroy(rig.cores[i]);
    }
    tree_destroy(rig.server->tree);
    while (rig.peers) {
        rig.peers->conn = NULL;
        rig_forget(rig.peers);
    }
    free(rig.server);
    memset(&rig_log, 0, sizeof rig_log);
    rig.server = NULL;
    reader_unregister();
}

#endif
