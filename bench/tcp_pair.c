/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/tcp_pair.h"

#include <jemalloc/jemalloc.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "bench/inprocess.h"
#include "client/wire/check.h"
#include "dataplane/conn.h"
#include "dataplane/core.h"
#include "dataplane/net/net.h"
#include "dataplane/server.h"
#include "dataplane/session.h"
#include "tree/reader.h"

#define FRAMES_MAX 8192
#define FRAME_BYTES_MAX 1600
#define TURN_US 20 /* of virtual time */
#define CONNECTS_AT_ONCE 256
#define ADDRESSES 8
#define PORTS 4
#define PORT_FIRST 2181
#define REQUEST_BYTES (4 + REQUEST_HEADER_BYTES + 4 + ZNODES_PATH_BYTES + 1)
#define HELLO_REPLY_BYTES 40 /* no readOnly byte: the connection never saw a ConnectRequest */
#define DEPTH_MAX 16

/* Frames on their way in one direction. */
struct wire {
    uint32_t count;
    struct net_frame frames[FRAMES_MAX];
    uint8_t (*buffers)[FRAME_BYTES_MAX];
};

struct asker {
    struct net_conn *conn;
    uint64_t bytes; /* received */
    int32_t xid_next;
};

struct tcp_pair {
    struct tcp_pair_config config;
    struct core *core;
    struct net *server_net, *client_net;
    struct wire to_server, to_client;
    uint64_t now_us, random;
    uint32_t accepted, connected;
    struct conn *fresh[CONNECTS_AT_ONCE]; /* accepted, no session yet */
    uint32_t fresh_count;
    uint64_t client_bytes; /* received by all */
    int64_t server_bytes;
    struct asker *askers;
};

/* ---- frames ---- */

static uint8_t *frame_alloc(void *ctx, uint16_t bytes, void **frame)
{
    struct wire *w = ctx;
    if (w->count == FRAMES_MAX || bytes > FRAME_BYTES_MAX)
        return NULL;
    *frame = &w->frames[w->count];
    w->frames[w->count].data = w->buffers[w->count];
    return w->buffers[w->count++];
}

static void frame_send(void *ctx, void *frame, uint16_t len, const struct net_offload *offload)
{
    (void)ctx, (void)offload; /* the frame is in its place, its checksums complete */
    ((struct net_frame *)frame)->len = len;
}

/* ---- the server's side, as dataplane/dpdk/station.c ---- */

static struct net *net_of(struct core *core)
{
    return ((struct tcp_pair *)core->backend)->server_net;
}

static void server_flush(struct core *core, struct conn *conn)
{
    while (conn->out_head) {
        const struct out_chunk *chunk = conn->out_head;
        uint32_t size = chunk->end - chunk->start;
        const uint8_t *bytes = out_chunk_bytes(chunk) + chunk->start;
        struct net *net = net_of(core);
        if (UNLIKELY(chunk->value != NULL))
            CHECK(net_send_reference(net, conn->net_conn, bytes, size, chunk->value) == size);
        else
            CHECK(net_send(net, conn->net_conn, bytes, size) == size);
        conn_output_sent(core, conn, size);
    }
}

static void server_pause(struct core *core, struct conn *conn, bool paused)
{
    if (!paused)
        net_resume(net_of(core), conn->net_conn);
}

static void server_close(struct core *core, struct conn *conn, bool at_once)
{
    (void)core, (void)conn, (void)at_once;
    CHECK(!"nothing here closes a connection");
}

static uint8_t *server_room(struct core *core, struct conn *conn, uint32_t least, uint32_t wanted,
                            uint32_t *room)
{
    return net_send_room(net_of(core), conn->net_conn, least, wanted, room);
}

static void server_written(struct core *core, struct conn *conn, uint32_t n)
{
    net_send_written(net_of(core), conn->net_conn, n);
}

static void value_held(void *ctx, void *value)
{
    core_value_hold(((struct tcp_pair *)ctx)->core, value);
}

static void value_dropped(void *ctx, void *value)
{
    core_value_drop(((struct tcp_pair *)ctx)->core, value);
}

static const struct conn_backend backend = {server_flush, server_pause, server_close,
                                             server_room, server_written};

static void *server_accept(void *ctx, struct net_conn *nc)
{
    struct tcp_pair *p = ctx;
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct net_addr peer;
    net_conn_peer(nc, &peer, NULL);
    memcpy(&address.sin_addr, peer.bytes + 12, 4);
    struct conn *conn = conn_open(p->core, &backend, (struct sockaddr *)&address);
    CHECK(conn && p->fresh_count < CONNECTS_AT_ONCE);
    conn->net_conn = nc;
    p->fresh[p->fresh_count++] = conn;
    p->accepted++;
    return conn;
}

static _Thread_local struct core *here;

static uint32_t server_data(void *user, struct net_conn *nc, const uint8_t *bytes, uint32_t n)
{
    (void)nc; /* the conn knows it */
    return (uint32_t)conn_input(here, user, bytes, n);
}

static void unexpected(void *user, struct net_conn *nc)
{
    (void)user, (void)nc;
    CHECK(!"no connection here ends or fills up");
}

static void unexpected_close(void *user, struct net_conn *nc, enum net_closed reason)
{
    (void)user, (void)nc, (void)reason;
    CHECK(!"no connection here is lost");
}

/* ---- the clients' side ---- */

static void *client_accept(void *ctx, struct net_conn *nc)
{
    (void)ctx, (void)nc; /* listens nowhere */
    return NULL;
}

static void client_connected(void *user, struct net_conn *nc)
{
    (void)user, (void)nc; /* the server's session comes by itself */
}

static _Thread_local struct tcp_pair *hearing; /* one pair per thread at a time */

static uint32_t client_data(void *user, struct net_conn *nc, const uint8_t *bytes, uint32_t n)
{
    struct asker *a = user;
    struct tcp_pair *p = hearing;
    (void)nc, (void)bytes; /* counted: an error reply would be shorter, and the sum would show it */
    if (a->bytes < HELLO_REPLY_BYTES && a->bytes + n >= HELLO_REPLY_BYTES)
        p->connected++;
    a->bytes += n;
    p->client_bytes += n;
    return n;
}

/* ---- turns ---- */

static uint64_t heap_balance(void)
{
    static _Thread_local uint64_t *allocated, *freed;
    if (!allocated) {
        size_t n = sizeof allocated;
        CHECK(mallctl("thread.allocatedp", &allocated, &n, NULL, 0) == 0);
        CHECK(mallctl("thread.deallocatedp", &freed, &n, NULL, 0) == 0);
    }
    return *allocated - *freed;
}

void tcp_pair_serve(struct tcp_pair *p)
{
    here = p->core;
    core_begin_turn(p->core);
    net_burst(p->server_net, p->to_server.frames, p->to_server.count, p->now_us);
    core_end_turn(p->core);
    (void)net_timers(p->server_net, p->now_us); /* every turn */
    CHECK(net_flush(p->server_net) == 0);
    p->to_server.count = 0;
    reader_quiescent();
}

void tcp_pair_hear(struct tcp_pair *p)
{
    hearing = p;
    p->now_us += TURN_US;
    net_burst(p->client_net, p->to_client.frames, p->to_client.count, p->now_us);
    p->to_client.count = 0;
    (void)net_timers(p->client_net, p->now_us); /* every turn */
    CHECK(net_flush(p->client_net) == 0);
}

void tcp_pair_ask(struct tcp_pair *p, uint32_t connection, uint32_t depth)
{
    struct asker *a = &p->askers[connection];
    uint8_t out[DEPTH_MAX * REQUEST_BYTES];
    char path[ZNODES_PATH_BYTES + 1];
    CHECK(depth <= DEPTH_MAX);
    for (uint32_t i = 0; i < depth; i++) {
        uint8_t *r = out + i * REQUEST_BYTES;
        be32_store(r, REQUEST_BYTES - 4);
        be32_store(r + 4, (uint32_t)a->xid_next++);
        be32_store(r + 8, OP_GET_DATA);
        be32_store(r + 12, ZNODES_PATH_BYTES);
        znodes_path(znodes_random(&p->random) % p->config.znodes, path);
        memcpy(r + 16, path, ZNODES_PATH_BYTES);
        r[16 + ZNODES_PATH_BYTES] = 0;
    }
    CHECK(net_send(p->client_net, a->conn, out, depth * REQUEST_BYTES) == depth * REQUEST_BYTES);
}

/* ---- opening ---- */

static struct net *net_new(struct tcp_pair *p, bool server)
{
    struct net_config c = {.mac = {2, 0, 0, 0, 0, server ? 1 : 2},
                           .mtu = 1500,
                           .interface_count = ADDRESSES,
                           .seed = p->config.seed,
                           .callbacks_ctx = p};
    for (uint32_t i = 0; i < ADDRESSES; i++)
        c.interfaces[i] =
            (struct net_interface){net_addr_v4(0x0a000000u + (server ? 1 : 101) + i), 24};
    for (uint16_t i = 0; server && i < PORTS; i++)
        c.listen_ports[c.listen_port_count++] = (uint16_t)(PORT_FIRST + i);
    memset(c.secret, server ? 0x11 : 0x22, sizeof c.secret);
    c.limits.conns_max = p->config.connections + 16;
    c.output = (struct net_output){server ? &p->to_client : &p->to_server, frame_alloc, frame_send};
    c.callbacks =
        server ? (struct net_callbacks){server_accept, unexpected,       server_data,  unexpected,
                                        unexpected,    unexpected_close, conn_prefetch}
               : (struct net_callbacks){client_accept, client_connected, client_data, unexpected,
                                        unexpected,    unexpected_close, NULL};
    c.callbacks.reference_hold = value_held;
    c.callbacks.reference_drop = value_dropped;
    struct net *net = net_create(&c);
    CHECK(net != NULL);
    return net;
}

/* The server's turn with its heap bill, and sessions for who has none. */
static void serve_and_establish(struct tcp_pair *p)
{
    uint64_t before = heap_balance();
    tcp_pair_serve(p);
    for (uint32_t i = 0; i < p->fresh_count; i++)
        (void)inprocess_establish(p->core, p->fresh[i], (session_id_t)p->accepted - i);
    p->fresh_count = 0;
    p->server_bytes += (int64_t)(heap_balance() - before);
}

static void connect_all(struct tcp_pair *p)
{
    uint32_t opened = 0;
    while (p->connected < p->config.connections) {
        while (opened < p->config.connections && opened - p->connected < CONNECTS_AT_ONCE) {
            struct net_addr to = net_addr_v4(0x0a000001u + opened % ADDRESSES);
            struct asker *a = &p->askers[opened];
            uint32_t mix = opened / ADDRESSES;
            a->xid_next = 1;
            a->conn =
                net_connect(p->client_net, &to, (uint16_t)(PORT_FIRST + mix / ADDRESSES % PORTS),
                            (int)(mix % ADDRESSES), a);
            CHECK(a->conn != NULL);
            opened++;
        }
        tcp_pair_hear(p);
        serve_and_establish(p);
    }
    p->client_bytes = 0;
}

struct tcp_pair *tcp_pair_create(const struct tcp_pair_config *config)
{
    struct tcp_pair *p = calloc(1, sizeof *p);
    CHECK(p != NULL);
    p->config = *config;
    p->random = config->seed * 0x9e3779b97f4a7c15u | 1;
    p->now_us = 1000000;
    p->askers = calloc(config->connections, sizeof *p->askers);
    p->to_server.buffers = malloc(FRAMES_MAX * sizeof *p->to_server.buffers);
    p->to_client.buffers = malloc(FRAMES_MAX * sizeof *p->to_client.buffers);
    CHECK(p->askers && p->to_server.buffers && p->to_client.buffers);
    p->client_net = net_new(p, false);
    uint64_t before = heap_balance();
    p->core = core_create(config->server, config->core);
    CHECK(p->core != NULL);
    p->core->backend = p;
    p->server_net = net_new(p, true);
    p->server_bytes = (int64_t)(heap_balance() - before);
    connect_all(p);
    return p;
}

uint64_t tcp_pair_client_bytes(const struct tcp_pair *p)
{
    return p->client_bytes;
}

uint32_t tcp_pair_reply_bytes(const struct tcp_pair *p)
{
    return 4 + REPLY_HEADER_BYTES + 4 + p->config.data_bytes + STAT_BYTES;
}

uint64_t tcp_pair_replies(const struct tcp_pair *p)
{
    uint32_t each = tcp_pair_reply_bytes(p);
    CHECK(p->client_bytes % each == 0);
    return p->client_bytes / each;
}

void tcp_pair_copy_values(struct tcp_pair *p)
{
    p->core->value_bytes += OUTPUT_VALUE_BYTES_MAX + 1; /* as if others held them */
}

void tcp_pair_frames(const struct tcp_pair *p, uint64_t *in, uint64_t *out)
{
    *in = net_counters(p->server_net)->frames_in;
    *out = net_counters(p->server_net)->frames_out;
}

int64_t tcp_pair_server_bytes(const struct tcp_pair *p)
{
    return p->server_bytes;
}
