/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/inprocess.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "bench/znodes.h"
#include "client/wire/check.h"
#include "dataplane/conn.h"
#include "dataplane/core.h"
#include "tree/reader.h"
#include "dataplane/server.h"
#include "dataplane/session.h"

#define DEPTH_MAX 64
#define FRAME_BYTES (4 + REQUEST_HEADER_BYTES + 4 + ZNODES_PATH_BYTES + 1)

struct peer {
    struct conn *conn;
    struct session *session;
    int32_t xid_next;
    uint32_t input_bytes;
    uint8_t input[DEPTH_MAX * FRAME_BYTES];
};

struct inprocess {
    struct server *server;
    struct core *core;
    struct store *store;
    uint64_t znodes, random, replies, replies_before_turn;
    uint32_t data_bytes, connections, active;
    struct peer peers[];
};

static struct inprocess *flushing; /* the backend's functions have no context of their own */

/* In place of send(): look at what a client would get, then take it off the queue. */
static void drop_output(struct core *core, struct conn *conn)
{
    struct inprocess *p = flushing;
    uint32_t reply_bytes = 4 + REPLY_HEADER_BYTES + 4 + p->data_bytes + STAT_BYTES;
    for (const struct out_chunk *chunk = conn->out_head; chunk; chunk = chunk->next) {
        const uint8_t *r = chunk->data + chunk->start, *end = chunk->data + chunk->end;
        for (; r < end; r += reply_bytes, p->replies++)
            CHECK(be32_load(r) == reply_bytes - 4 && be32_load(r + 16) == ZK_OK
                  && be32_load(r + 20) == p->data_bytes);
    }
    conn_output_sent(core, conn, conn->out_bytes);
}

static void ignore_pause(struct core *core, struct conn *conn, bool paused)
{
    (void)core, (void)conn, (void)paused; /* input comes only when we give it */
}

static void detach(struct core *core, struct conn *conn, bool at_once)
{
    (void)at_once; /* nothing is queued that could be waited for */
    conn_detached(core, conn);
}

static const struct conn_backend memory_backend = {drop_output, ignore_pause, detach};

struct session *inprocess_establish(struct core *core, struct conn *conn, session_id_t id)
{
    struct session *session = aligned_alloc(64, (sizeof *session + 63) / 64 * 64);
    struct op *op = op_new(OP_CONNECT, 0);
    CHECK(session && op);
    memset(session, 0, sizeof *session);
    session->id = id;
    op->conn = conn;
    op->session = session;
    op->session_id = id;
    op->timeout_ms = 30000;
    conn->state = CONN_CONNECTING;
    conn->ops_in_flight = 1;
    conn_complete(core, op);
    CHECK(conn->state == CONN_ESTABLISHED);
    return session;
}

struct server *inprocess_server(struct store *store, unsigned cores)
{
    struct server *server = calloc(1, sizeof *server);
    CHECK(server != NULL);
    config_init(&server->config);
    server->store = store;
    server->core_count = cores;
    server->one_thread = true; /* there is no control core to be woken */
    return server;
}

static void open_session(struct inprocess *p, struct peer *peer, session_id_t id)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    peer->conn = conn_open(p->core, &memory_backend, (struct sockaddr *)&address);
    CHECK(peer->conn != NULL);
    peer->xid_next = 1;
    peer->session = inprocess_establish(p->core, peer->conn, id);
    conn_output_drop(p->core, peer->conn); /* the ConnectResponse */
}

struct inprocess *inprocess_create(uint32_t connections, uint64_t znodes, uint32_t data_bytes)
{
    struct inprocess *p = calloc(1, sizeof *p + connections * sizeof p->peers[0]);
    CHECK(p != NULL);
    reader_register();
    p->store = znodes_build(znodes, data_bytes);
    store_set_offline(p->store, false);
    p->server = inprocess_server(p->store, 1);
    p->core = core_create(p->server, 0);
    CHECK(p->core != NULL);
    p->server->cores = &p->core;
    p->znodes = znodes;
    p->random = 88172645463325252u;
    p->data_bytes = data_bytes;
    p->connections = connections;
    flushing = p;
    core_begin_turn(p->core);
    for (uint32_t i = 0; i < connections; i++)
        open_session(p, &p->peers[i], (session_id_t)i + 1);
    core_end_turn(p->core);
    return p;
}

/* getData, framed (client-protocol.md sections 2, 4, 6.2). */
static void append_request(struct inprocess *p, struct peer *peer)
{
    char path[ZNODES_PATH_BYTES + 1];
    uint8_t *out = peer->input + peer->input_bytes;
    be32_store(out, FRAME_BYTES - 4);
    be32_store(out + 4, (uint32_t)peer->xid_next++);
    be32_store(out + 8, OP_GET_DATA);
    be32_store(out + 12, ZNODES_PATH_BYTES);
    struct bytes name = znodes_path(znodes_random(&p->random) % p->znodes, path);
    memcpy(out + 16, name.data, name.size);
    out[16 + ZNODES_PATH_BYTES] = 0; /* no watch */
    peer->input_bytes += FRAME_BYTES;
}

void inprocess_prepare(struct inprocess *p, uint32_t connections, uint32_t depth)
{
    CHECK(connections <= p->connections && depth <= DEPTH_MAX);
    p->active = connections;
    for (uint32_t i = 0; i < connections; i++) {
        p->peers[i].input_bytes = 0;
        for (uint32_t d = 0; d < depth; d++)
            append_request(p, &p->peers[i]);
    }
}

void inprocess_turn(struct inprocess *p)
{
    core_begin_turn(p->core);
    for (uint32_t i = 0; i < p->active; i++) {
        struct peer *peer = &p->peers[i];
        (void)conn_input(p->core, peer->conn, peer->input, peer->input_bytes); /* never paused */
    }
    core_end_turn(p->core);
    reader_quiescent();
}

uint64_t inprocess_replies(const struct inprocess *p)
{
    return p->replies;
}

void inprocess_destroy(struct inprocess *p)
{
    for (uint32_t i = 0; i < p->connections; i++)
        free(p->peers[i].session);
    reader_unregister();
    free(p->server); /* connections, core and tree end with the process */
    free(p);
}
