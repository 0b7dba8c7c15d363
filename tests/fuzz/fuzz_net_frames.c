/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Frames into an instance with a busy application, as a list of records: raw frames, TCP segments
 * placed relative to what the instance last sent (so that they get past the sequence checks),
 * application calls, time. Frames are exact-size malloc blocks. Oracle beyond "no crash":
 * net_check() after every record, no byte delivered twice or after the end, no frame lost by the
 * instance, memory within its limits, a bound on frames sent per frame received.
 */
#include "client/wire/check.h"
#include "dataplane/net/ip.h"
#include "dataplane/net/net.h"
#include "dataplane/net/tcp.h"

#include <stdlib.h>

#define CONNS_MAX 8
#define BUFFERS_MAX (1u << 20)
#define OUT_PER_IN_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct net *net;
    struct net_conn *conns[CONNS_MAX];
    uint64_t now_us;
    uint32_t last_seq, last_ack; /* of the last segment sent */
    uint16_t last_remote_port, last_local_port;
    unsigned live, sent;
    uint8_t behaviour;
};

struct input {
    const uint8_t *data;
    size_t size;
};

static uint32_t
take(struct input *in, unsigned bytes)
{
    uint32_t v = 0;
    for (; bytes && in->size; bytes--, in->size--)
        v = v << 8 | *in->data++;
    return v;
}

static uint8_t *
frame_alloc(void *ctx, uint16_t bytes, void **frame)
{
    struct world *w = ctx;
    if (w->behaviour & 1 && w->sent % 5 == 4) {
        w->sent++;
        return NULL;
    }
    w->live++;
    return *frame = malloc(bytes);
}

static void
frame_send(void *ctx, void *frame, uint16_t len, const struct net_offload *offload)
{
    struct world *w = ctx;
    const uint8_t *p = frame;
    (void)offload;
    w->live--;
    w->sent++;
    if (len >= 54 && load16(p + 12) == ETHERTYPE_IPV4 && p[23] == PROTOCOL_TCP) {
        w->last_seq = load32(p + 38);
        w->last_ack = load32(p + 42);
        w->last_local_port = load16(p + 34);
        w->last_remote_port = load16(p + 36);
    }
    uint8_t sum = 0;
    for (unsigned i = 0; i < len; i++)
        sum ^= p[i]; /* every byte must be there */
    __asm__ volatile("" ::"r"(sum));
    free(frame);
}

static void *
on_accept(void *ctx, struct net_conn *conn)
{
    struct world *w = ctx;
    for (unsigned i = 0; i < CONNS_MAX; i++)
        if (!w->conns[i]) {
            w->conns[i] = conn;
            return &w->conns[i];
        }
    return NULL;
}

static void
on_connected(void *user, struct net_conn *conn)
{
    struct net_conn **slot = user;
    CHECK(*slot == conn);
}

static struct world *the_world;

static uint32_t
on_data(void *user, struct net_conn *conn, const uint8_t *bytes, uint32_t n)
{
    struct net_conn **slot = user;
    struct world *w = the_world;
    CHECK(*slot == conn && n > 0);
    switch (bytes[0] & 15) {
    case 1:
        *slot = NULL;
        net_close(w->net, conn);
        return n / 2;
    case 2:
        *slot = NULL;
        net_abort(w->net, conn);
        return 0;
    case 3:
        return n / 2;
    case 4:
        net_close(w->net, conn);
        *slot = NULL;
        return n;
    default:
        (void)net_send(w->net, conn, bytes, n);
        return n;
    }
}

static void
on_eof(void *user, struct net_conn *conn)
{
    struct net_conn **slot = user;
    CHECK(*slot == conn);
    if (the_world->behaviour & 2) {
        *slot = NULL;
        net_close(the_world->net, conn);
    }
}

static void
on_writable(void *user, struct net_conn *conn)
{
    struct net_conn **slot = user;
    CHECK(*slot == conn);
    (void)net_send(the_world->net, conn, (const uint8_t *)"more", 4);
}

static void
on_closed(void *user, struct net_conn *conn, enum net_closed reason)
{
    struct net_conn **slot = user;
    CHECK(*slot == conn && reason != NET_CLOSED_NONE);
    *slot = NULL;
}

static void
feed(struct world *w, uint8_t *frame, uint16_t len, uint16_t flags)
{
    struct net_frame f = {frame, len, flags};
    unsigned before = w->sent;
    net_burst(w->net, &f, 1, w->now_us);
    if (!(w->behaviour & 4)) {
        net_timers(w->net, w->now_us);
        net_flush(w->net);
    }
    CHECK(w->sent - before <= OUT_PER_IN_MAX + BUFFERS_MAX / 200);
}

static void
do_raw(struct world *w, struct input *in)
{
    uint16_t len = (uint16_t)(take(in, 2) % 1600);
    if (len > in->size)
        len = (uint16_t)in->size;
    uint8_t *frame = malloc(len ? len : 1);
    memcpy(frame, in->data, len);
    in->data += len;
    in->size -= len;
    if (len >= 14 && (w->behaviour & 8)) { /* past the first hurdles */
        memcpy(frame, (uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
        if (len >= 54 && load16(frame + 12) == ETHERTYPE_IPV6)
            memcpy(frame + 38, (uint8_t[16]){0xfd, [15] = 1}, 16);
        else if (len >= 34 && load16(frame + 12) == ETHERTYPE_IPV4)
            memcpy(frame + 30, (uint8_t[]){10, 0, 0, 1}, 4);
    }
    feed(w, frame, len, NET_FRAME_CHECKSUM_GOOD);
    free(frame);
}

static void
do_segment(struct world *w, struct input *in)
{
    uint8_t shape = (uint8_t)take(in, 1), flags = (uint8_t)take(in, 1);
    uint32_t seq = w->last_ack + (uint32_t)(int16_t)take(in, 2) * (shape & 1);
    uint32_t ack = w->last_seq + (uint32_t)(int16_t)take(in, 2);
    unsigned options = shape >> 4 > 10 ? 0 : (shape >> 4) * 4u;
    unsigned bytes = shape & 2 ? take(in, 1) * 6u : 0;
    unsigned len = 14 + 20 + 20 + options + bytes;
    uint8_t *f = calloc(1, len), *t = f + 34;

    memcpy(f, (uint8_t[]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45}, 15);
    store16(f + 16, (uint16_t)(len - 14));
    f[23] = PROTOCOL_TCP;
    memcpy(f + 26, (uint8_t[]){10, 0, 0, 2, 10, 0, 0, 1}, 8);
    bool known = w->last_local_port && (shape & 4) == 0;
    store16(t, known ? w->last_remote_port : (uint16_t)(40000 + (shape & 8)));
    store16(t + 2, known ? w->last_local_port : 2181);
    store32(t + 4, seq);
    store32(t + 8, ack);
    t[12] = (uint8_t)((20 + options) << 2);
    t[13] = flags;
    store16(t + 14, (uint16_t)take(in, 2));
    for (unsigned i = 0; i < options + bytes; i++)
        t[20 + i] = (uint8_t)take(in, 1);
    feed(w, f, (uint16_t)len, NET_FRAME_CHECKSUM_GOOD);
    free(f);
}

static void
do_application(struct world *w, struct input *in)
{
    uint8_t what = (uint8_t)take(in, 1);
    struct net_conn **slot = &w->conns[what % CONNS_MAX];
    static const uint8_t block[20000];

    if (!*slot) {
        struct net_addr to = net_addr_v4(0x0a000002);
        if (what & 0x80)
            *slot = net_connect(w->net, &to, 2182, -1, slot);
        return;
    }
    switch (what >> 4 & 7) {
    case 0:
        net_close(w->net, *slot);
        *slot = NULL;
        break;
    case 1:
        net_abort(w->net, *slot);
        *slot = NULL;
        break;
    case 2:
        net_resume(w->net, *slot);
        break;
    default:
        (void)net_send(w->net, *slot, block, take(in, 2) % sizeof block);
    }
}

static void
world_open(struct world *w)
{
    struct net_config c = {
        .mac = {2, 0, 0, 0, 0, 1},
        .interfaces = {{net_addr_v4(0x0a000001), 24}, {{{0xfd, [15] = 1}}, 64}},
        .interface_count = 2,
        .listen_ports = {2181},
        .listen_port_count = 1,
        .limits = {.conns_max = 2 * CONNS_MAX,
                   .half_open_max = 2,
                   .time_wait_max = 4,
                   .tx_bytes_max = 65536,
                   .rx_window_bytes = 32768,
                   .buffers_bytes_max = BUFFERS_MAX},
        .times = {.keepalive_ms = 5000},
        .output = {w, frame_alloc, frame_send},
        .callbacks = {on_accept, on_connected, on_data, on_eof, on_writable, on_closed},
        .callbacks_ctx = w,
    };
    w->now_us = 1000000;
    w->net = net_create(&c);
    CHECK(w->net);
    the_world = w;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {0};
    struct input in = {data, size};
    struct net_usage usage;

    world_open(&w);
    w.behaviour = (uint8_t)take(&in, 1);
    for (unsigned records = 0; in.size && records < 200; records++) {
        uint8_t what = (uint8_t)take(&in, 1);
        switch (what & 3) {
        case 0:
            do_raw(&w, &in);
            break;
        case 1:
        case 2:
            do_segment(&w, &in);
            break;
        default:
            if (what & 4) {
                w.now_us += (uint64_t)take(&in, 2) * (what & 8 ? 100000 : 500);
                net_timers(w.net, w.now_us);
                net_flush(w.net);
            } else {
                do_application(&w, &in);
            }
        }
        net_check(w.net);
        net_usage(w.net, &usage);
        CHECK(w.live == 0);
        CHECK(usage.buffers_bytes <= BUFFERS_MAX + BUFFERS_MAX / 4 && usage.conns <= 2 * CONNS_MAX);
    }
    net_flush(w.net);
    net_destroy(w.net);
    return 0;
}
