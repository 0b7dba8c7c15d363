/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/control.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "client/wire/check.h"
#include "dataplane/log.h"

/* Owners without a session that are closed at one start; the rest at the next. */
#define ORPHANS_MAX 4096
/* Between flushes that compete with reads: times the CPU time of the last one, and at most. */
#define FLUSH_REST 31
#define FLUSH_REST_US_MAX 4000
/* While a flush is on its way, between offers of the only CPU. */
#define GIVE_WAY_US 20

/* --- publication --- */

static struct batch *batch_new(struct control *c)
{
    unsigned cores = c->server->core_count;
    struct batch *b = malloc(sizeof *b + cores * sizeof b->ops[0]);
    CHECK(b); /* without memory for a publication nothing can be answered any more */
    *b = (struct batch){.sequence = ++c->sequence};
    for (unsigned i = 0; i < cores; i++)
        op_list_init(&b->ops[i]);
    return b;
}

static struct batch *control_building(struct control *c)
{
    if (!c->building)
        c->building = batch_new(c);
    return c->building;
}

void control_finish(struct control *c, struct op *op)
{
    CHECK(op->core < c->server->core_count);
    op_list_push(&control_building(c)->ops[op->core], op);
}

void control_tell(struct control *c, uint16_t core, enum op_kind kind, struct conn *conn,
                  struct session *session)
{
    struct op *op = op_new(kind, 0);
    CHECK(op);
    op->core = core;
    op->conn = conn;
    op->session = session;
    control_finish(c, op);
}

/* K2 */
static bool rings_have_room(struct control *c)
{
    for (unsigned i = 0; i < c->server->core_count; i++)
        if (ring_room(&c->server->cores[i]->from_control) == 0)
            return false;
    return true;
}

static void publish_numbers(struct control *c)
{
    const struct tree_counters *n = store_counters(c->store);
    struct server *s = c->server;
    atomic_store_explicit(&s->nodes, n->nodes, memory_order_relaxed);
    atomic_store_explicit(&s->ephemerals, n->ephemerals, memory_order_relaxed);
    atomic_store_explicit(&s->data_bytes, n->data_bytes, memory_order_relaxed);
    atomic_store_explicit(&s->sessions, session_count(c->sessions), memory_order_relaxed);
}

/* G3: rings first, then visible_zxid, then wake. */
static void control_publish(struct control *c)
{
    struct batch *b = c->building;
    if (!b || !rings_have_room(c))
        return;
    c->building = NULL;
    struct zab_status status;
    zab_status(c->zab, &status);
    b->zxid = status.committed;
    *c->published_tail = b;
    c->published_tail = &b->next;
    for (unsigned i = 0; i < c->server->core_count; i++) {
        bool pushed = ring_push(&c->server->cores[i]->from_control, b);
        CHECK(pushed);
    }
    publish_numbers(c);
    store_show(c->store, b->zxid);
    for (unsigned i = 0; i < c->server->core_count; i++)
        waker_wake(&c->server->cores[i]->waker);
}

/* D1: pairs with D0 in core_drain(). Every core's last look at the batch, and at versions that its
 * txns superseded, is before the store that this load reads. */
static void control_retire(struct control *c)
{
    if (!c->published) {
        if (store_retires(c->store))
            store_retire(c->store, &(struct tree_txn *){NULL});
        return;
    }
    uint64_t drained = UINT64_MAX;
    for (unsigned i = 0; i < c->server->core_count; i++) {
        uint64_t d = atomic_load_explicit(&c->server->cores[i]->drained, memory_order_acquire);
        drained = d < drained ? d : drained;
    }
    while (c->published && c->published->sequence <= drained) {
        struct batch *b = c->published;
        c->published = b->next;
        if (!c->published)
            c->published_tail = &c->published;
        if (b->txns)
            store_retire(c->store, &b->txns);
        free(b);
    }
}

/* --- commit --- */

static void note_txns(struct control *c, const struct tree_txn *txns)
{
    for (const struct tree_txn *t = txns; t; t = t->next) {
        c->txns_since_snapshot++;
        digest_log_note(&c->digests, t->zxid, t->counters.digest);
        control_walk_note(c, t);
    }
}

static void control_commit(struct control *c, zxid_t upto)
{
    struct tree_txn *txns = tree_commit(c->tree, upto);
    note_txns(c, txns);
    if (txns) {
        struct tree_txn **tail = &control_building(c)->txns;
        while (*tail)
            tail = &(*tail)->next;
        *tail = txns;
    }
    while (c->pending.head && c->pending.head->zxid <= upto)
        control_committed(c, op_list_pop(&c->pending));
}

static void note_ms(struct control_times *t, int64_t ms)
{
    int64_t count = atomic_load_explicit(&t->count, memory_order_relaxed);
    int64_t sum = atomic_load_explicit(&t->sum, memory_order_relaxed);
    int64_t min = atomic_load_explicit(&t->min, memory_order_relaxed);
    int64_t max = atomic_load_explicit(&t->max, memory_order_relaxed);
    atomic_store_explicit(&t->sum, sum + ms, memory_order_relaxed);
    atomic_store_explicit(&t->min, count == 0 || ms < min ? ms : min, memory_order_relaxed);
    atomic_store_explicit(&t->max, ms > max ? ms : max, memory_order_relaxed);
    atomic_store_explicit(&t->count, count + 1, memory_order_relaxed);
}

/* --- the log --- */

static void log_failed(struct control *c, int err)
{
    struct zab_ready ready;
    int refused = zab_step(c->zab, &(struct zab_event){.kind = ZAB_PERSIST_FAILED}, &ready);
    CHECK(refused == 0);
    c->failed = true;
    LOG_ERROR("the transaction log failed: %s; nothing more is acknowledged, the server stops",
              persist_error_text(err));
}

static void log_results(struct control *c)
{
    struct log_batch *batch;
    while ((batch = logwriter_done(c->logwriter))) {
        c->log_busy--;
        uint64_t rest_us = (uint64_t)batch->cpu_us * FLUSH_REST;
        c->flush_next_us = c->now_us + (rest_us < FLUSH_REST_US_MAX ? rest_us : FLUSH_REST_US_MAX);
        note_ms(&c->fsync_ms, batch->flush_us / 1000);
        if (batch->flush_us / 1000 > (uint32_t)c->server->config.fsync_warning_threshold_ms)
            LOG_LIMITED(LOG_LEVEL_WARN, 1, "writing the transaction log took %u ms",
                        batch->flush_us / 1000);
        c->log_bytes_since_roll = batch->log_bytes;
        if (batch->err && !c->failed)
            log_failed(c, batch->err);
        if (!c->failed && batch->last) {
            struct zab_event event = {.kind = ZAB_PERSISTED, .persisted.zxid = batch->last};
            struct zab_ready ready;
            int refused = zab_step(c->zab, &event, &ready);
            CHECK(refused == 0);
            control_commit(c, ready.commit);
        }
        batch->records.size = 0;
        batch->first = batch->last = 0;
        batch->roll = false;
        c->idle[c->idle_count++] = batch;
    }
}

static bool log_wanted(const struct control *c)
{
    return !c->log_busy && (c->filling->records.size || c->filling->roll) && !c->failed;
}

/* Given one CPU, a flush takes it from the reads. While they want all of it, records gather until
 * what the last flush took is small against the time since, or until no more writes are let in.
 * Nobody waits for a clock: a turn without input ends the wait. */
static bool log_gathers(const struct control *c)
{
    return c->server->one_thread && log_wanted(c) && !c->server->cores[0]->idle &&
           c->now_us < c->flush_next_us && !c->stalled.count && !c->filling->roll &&
           c->pending.count < (uint32_t)c->server->config.global_outstanding_limit;
}

static void log_submit(struct control *c)
{
    if (!log_wanted(c) || log_gathers(c))
        return;
    c->log_busy++;
    logwriter_submit(c->logwriter, c->filling);
    c->filling = c->idle_count ? c->idle[--c->idle_count] : NULL;
    CHECK(c->filling);
}

/* Given one CPU, a flush needs it too, several times for microseconds: the log thread, and threads
 * of the kernel that pass on what it asks of the disk. Beside a loop that never sleeps each would
 * wait for the scheduler's tick, milliseconds in all. */
static void log_give_way(struct control *c)
{
    if (!c->server->one_thread || !c->log_busy || c->now_us < c->give_way_us)
        return;
    c->give_way_us = c->now_us + GIVE_WAY_US;
    (void)sched_yield(); /* cannot fail on Linux */
}

/* --- snapshots (disk-formats.md section 5.9) --- */

static void snapshot_rearm(struct control *c)
{
    const struct config *config = &c->server->config;
    uint64_t half = (uint64_t)config->snap_count / 2;
    c->txns_since_snapshot = 0;
    c->snapshot_after_txns = half + (uint64_t)rand() % (half ? half : 1);
    half = config->snap_size_limit_kb > 0 ? (uint64_t)config->snap_size_limit_kb * 512
                                          : UINT64_MAX / 4;
    c->snapshot_after_bytes = half + (uint64_t)rand() % half;
}

static void snapshot_begin(struct control *c)
{
    bool due = c->snapshot_wanted || c->txns_since_snapshot > c->snapshot_after_txns ||
               c->log_bytes_since_roll > c->snapshot_after_bytes;
    if (!due || !snapshotter_idle(c->snapshotter))
        return;
    struct tree_snapshot *snapshot = tree_snapshot_begin(c->tree);
    size_t keep = c->server->config.purge_interval_hours > 0
                      ? (size_t)c->server->config.snap_retain_count
                      : 0;
    if (!snapshot || !snapshotter_begin(c->snapshotter, snapshot, keep)) {
        if (snapshot)
            tree_snapshot_end(c->tree, &snapshot);
        return; /* no memory or no thread: tried again in the next step */
    }
    c->filling->roll = true;
    c->snapshot_wanted = false;
    snapshot_rearm(c);
}

static void snapshot_step(struct control *c)
{
    int err;
    uint32_t took_ms;
    struct tree_snapshot *snapshot = snapshotter_done(c->snapshotter, &err, &took_ms);
    if (snapshot) {
        note_ms(&c->snapshot_ms, took_ms);
        if (err) {
            atomic_fetch_add_explicit(&c->snapshots_failed, 1, memory_order_relaxed);
            LOG_ERROR(
                "snapshot at zxid 0x%llx failed: %s; the log keeps everything, trying again later",
                (unsigned long long)tree_snapshot_zxid(snapshot), persist_error_text(err));
        }
        tree_snapshot_end(c->tree, &snapshot);
    }
    snapshot_begin(c);
}

/* --- the step --- */

static void take_ops(struct control *c)
{
    for (unsigned i = 0; i < c->server->core_count; i++) {
        struct ring *ring = &c->server->cores[i]->to_control;
        struct op *op;
        for (int n = 0; n < STEP_OPS_MAX && (op = ring_pop(ring)); n++)
            control_take(c, op);
    }
}

static void tick(struct control *c)
{
    if ((int64_t)c->now_ms < c->tick_next_ms)
        return;
    c->tick_next_ms = (int64_t)c->now_ms + c->server->config.tick_time_ms;
    struct zab_ready ready;
    (void)zab_step(c->zab, &(struct zab_event){.kind = ZAB_TICK}, &ready);
    if (ready.stalled_ticks >= 2)
        LOG_LIMITED(LOG_LEVEL_WARN, 1, "the transaction log has made no progress for %u ticks",
                    ready.stalled_ticks);
}

static bool control_idle(const struct control *c)
{
    return !c->pending.count && !c->stalled.count && !c->log_busy && !c->building && !c->walks;
}

static void stop_when_idle(struct control *c)
{
    if (!atomic_load_explicit(&c->server->stop_requested, memory_order_acquire) || c->stopping)
        return;
    if (!control_idle(c) && !c->failed)
        return;
    c->stopping = true;
    for (unsigned i = 0; i < c->server->core_count; i++)
        control_tell(c, (uint16_t)i, OP_STOP, NULL, NULL);
}

bool control_step(struct control *c)
{
    c->now_us = server_now_us();
    c->now_ms = c->now_us / 1000;
    c->wall_ms = 0;
    log_results(c);
    control_unstall(c);
    take_ops(c);
    if (!c->stopping && !c->failed) {
        control_expire(c);
        control_reap(c);
        snapshot_step(c);
    }
    bool more = control_walk_step(c);
    tick(c);
    stop_when_idle(c);
    log_submit(c);
    control_publish(c);
    control_retire(c);
    log_give_way(c);
    if (c->failed)
        atomic_store_explicit(&c->server->stop_requested, true, memory_order_release);
    return more || log_gathers(c) || control_has_work(c);
}

bool control_has_work(struct control *c)
{
    for (unsigned i = 0; i < c->server->core_count; i++)
        if (ring_peek(&c->server->cores[i]->to_control))
            return true;
    return logwriter_has_done(c->logwriter) || snapshotter_has_done(c->snapshotter) ||
           (c->building && rings_have_room(c)) ||
           (!c->stopping &&
            atomic_load_explicit(&c->server->stop_requested, memory_order_acquire) &&
            (control_idle(c) || c->failed));
}

int control_timeout_ms(const struct control *c)
{
    int64_t next = session_next_ms(c->sessions);
    int64_t reap = control_reap_next_ms(c);
    next = reap < next ? reap : next;
    if (c->pending.count && c->tick_next_ms < next)
        next = c->tick_next_ms;
    /* Batches wait to be retired, txns for their grace period, or a core's full ring for room: none
     * says when. */
    if (c->published || c->building || store_retires(c->store))
        next = (int64_t)c->now_ms + 10 < next ? (int64_t)c->now_ms + 10 : next;
    if (next == INT64_MAX)
        return -1;
    return next <= (int64_t)c->now_ms ? 0 : (int)(next - (int64_t)c->now_ms);
}

void control_run(struct control *c)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, c->waker->fd, &event) == 0);
    while (!c->stopping || c->building) {
        if (control_step(c))
            continue;
        int timeout_ms = control_timeout_ms(c);
        waker_prepare(c->waker);
        if (control_has_work(c))
            timeout_ms = 0;
        if (epoll_wait(epoll, &event, 1, timeout_ms) > 0)
            waker_drain(c->waker);
        waker_done(c->waker);
    }
    close(epoll);
}

/* --- life --- */

static void first_session_id(struct control *c)
{
    /*
     * semantics.md section 13.1: wall-clock ms, shifted; the top byte names the creating server, 1
     * on standalone.
     */
    uint64_t ms = server_wall_ms();
    c->next_session_id = (session_id_t)((ms << 24) >> 8 | (uint64_t)1 << 56);
}

static int take_over_sessions(struct control *c)
{
    uint32_t count = tree_session_count(c->tree);
    struct tree_session *sessions = malloc((count + 1) * sizeof *sessions);
    if (!sessions)
        return PERSIST_ENOMEM;
    count = tree_sessions_copy(c->tree, sessions, count);
    int err = 0;
    for (uint32_t i = 0; i < count && !err; i++) {
        if (!session_open(c->sessions, sessions[i].id, sessions[i].timeout_ms, (int64_t)c->now_ms))
            err = PERSIST_ENOMEM;
        if (sessions[i].id >= c->next_session_id && sessions[i].id >> 56 == 1)
            c->next_session_id = sessions[i].id + 1;
    }
    free(sessions);
    return err;
}

/* Ephemerals whose owner has no session (a fuzzy snapshot of ZooKeeper's can leave some): each
 * owner is closed by a txn of its own, before the first client comes. */
static int close_orphans(struct control *c)
{
    session_id_t owners[ORPHANS_MAX];
    uint32_t count = tree_orphans_copy(c->tree, owners, ORPHANS_MAX);
    for (uint32_t i = 0; i < count; i++)
        if (!session_open(c->sessions, owners[i], 0,
                          (int64_t)c->now_ms - 2 * c->server->config.tick_time_ms))
            return PERSIST_ENOMEM;
    return 0;
}

static int start_zab(struct control *c, zxid_t last_zxid)
{
    struct zab_config config = {WINDOW_PROPOSALS_MAX, WINDOW_BYTES_MAX};
    void *memory = malloc(zab_bytes(&config));
    if (!memory)
        return PERSIST_ENOMEM;
    c->zab = zab_init(memory, &config);
    struct zab_ready ready;
    struct zab_event event = {.kind = ZAB_START, .start.last_zxid = last_zxid};
    return zab_step(c->zab, &event, &ready);
}

static int start_storage(struct control *c, zxid_t last_zxid)
{
    const struct config *config = &c->server->config;
    struct logwriter_config log = {
        .storage = storage_file(),
        .directory = c->server->directory.log,
        .options = {(uint64_t)(config->pre_alloc_size_kb > 0 ? config->pre_alloc_size_kb : 0) *
                        1024,
                    (uint64_t)(config->txnlog_size_limit_kb > 0 ? config->txnlog_size_limit_kb
                                                                : 0) *
                        1024},
        .last_zxid = last_zxid,
        .force_sync = config->force_sync,
        .done_waker = c->waker,
    };
    int err = logwriter_start(&c->logwriter, &log);
    if (err)
        return err;
    for (int i = 0; i < LOG_BATCHES; i++) {
        buffer_init(&c->batches[i].records, LOG_BATCH_BYTES_MAX);
        c->idle[c->idle_count++] = &c->batches[i];
    }
    c->filling = c->idle[--c->idle_count];
    return 0;
}

int control_create(struct control **out, struct server *server, zxid_t last_zxid)
{
    struct control *c = aligned_alloc(64, (sizeof *c + 63) / 64 * 64);
    if (!c)
        return PERSIST_ENOMEM;
    memset(c, 0, sizeof *c);
    c->server = server;
    c->tree = server->tree;
    c->store = server->store;
    c->published_tail = &c->published;
    c->now_ms = server_now_us() / 1000;
    op_list_init(&c->stalled);
    op_list_init(&c->pending);
    op_list_init(&c->walks_waiting);
    buffer_init(&c->reply, REPLY_BYTES_MAX / 2);
    buffer_init(&c->reap_paths, 64u << 20);
    c->own_waker.fd = -1;
    c->waker = server->one_thread ? &server->cores[0]->waker : &c->own_waker;
    if (!server->one_thread)
        c->own_waker.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    c->reap_next_ms = (int64_t)c->now_ms + server->config.container_check_interval_ms;
    first_session_id(c);
    c->sessions = session_table_create(server->config.tick_time_ms, (int64_t)c->now_ms);
    struct snapshotter_config snapshots = {
        .storage = storage_file(),
        .directory = &server->directory,
        .compression = server->config.snapshot_compression == CONFIG_COMPRESSION_GZIP
                           ? SNAPSHOT_GZ
                           : SNAPSHOT_PLAIN,
        .no_last_zxid = !server->config.snapshot_last_zxid,
        .digest = server->config.digest_enabled,
        .done_waker = c->waker,
    };
    c->snapshotter = snapshotter_create(&snapshots);
    int err = c->sessions && c->snapshotter ? 0 : PERSIST_ENOMEM;
    if (!err)
        err = start_zab(c, last_zxid);
    if (!err)
        err = take_over_sessions(c);
    if (!err)
        err = close_orphans(c);
    if (!err)
        err = start_storage(c, last_zxid);
    if (err) {
        control_destroy(c);
        return err;
    }
    snapshot_rearm(c);
    *out = c;
    return 0;
}

static void destroy_ops(struct op_list *list)
{
    struct op *op;
    while ((op = op_list_pop(list)))
        op_free(op);
}

static void destroy_batches(struct control *c)
{
    if (c->building) {
        *c->published_tail = c->building;
        c->published_tail = &c->building->next;
    }
    for (struct batch *b = c->published, *next; b; b = next) {
        next = b->next;
        for (unsigned i = 0; i < c->server->core_count; i++)
            destroy_ops(&b->ops[i]);
        if (b->txns)
            store_retire(c->store, &b->txns);
        free(b);
    }
}

void control_destroy(struct control *c)
{
    if (!c)
        return;
    if (c->logwriter) {
        int err = logwriter_stop(c->logwriter);
        if (err && !c->failed)
            LOG_ERROR("closing the transaction log: %s", persist_error_text(err));
    }
    struct tree_snapshot *snapshot = snapshotter_destroy(c->snapshotter);
    if (snapshot)
        tree_snapshot_end(c->tree, &snapshot);
    destroy_ops(&c->stalled);
    destroy_ops(&c->pending);
    destroy_ops(&c->walks_waiting);
    destroy_batches(c);
    for (int i = 0; i < LOG_BATCHES; i++)
        buffer_free(&c->batches[i].records);
    buffer_free(&c->reply);
    buffer_free(&c->reap_paths);
    session_table_destroy(c->sessions);
    if (c->own_waker.fd >= 0)
        close(c->own_waker.fd);
    free(c->zab);
    free(c);
}
