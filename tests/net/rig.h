/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What the TCP tests share: an instance with a recording application, frames as exact-size malloc
 * blocks (so that ASan sees any overrun), a scripted peer that writes and reads raw segments, and a
 * wire that joins two instances in virtual time with seeded faults.
 */
#ifndef SENGI_TESTS_NET_RIG_H
#define SENGI_TESTS_NET_RIG_H

#include "dataplane/net/checksum.h"
#include "dataplane/net/ip.h"
#include "dataplane/net/net.h"
#include "dataplane/net/tcp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define RIG_PORT 2181
#define RIG_FRAMES_MAX 4096

struct rig_frame {
    uint8_t *data;
    uint16_t len;
};

/** The application's view of one connection. */
struct rig_app {
    struct rig_host *host;
    struct net_conn *conn; /* NULL: gone or closed */
    uint8_t *in;
    size_t in_bytes, in_size;
    const uint8_t *out; /* to send; what is left when the queue was full goes with on_writable */
    size_t out_bytes, out_sent;
    bool connected, eof, gone, close_on_eof, close_when_sent;
    enum net_closed reason;
    struct rig_app *next;
};

struct rig_host {
    struct net *net;
    struct rig_frame *out; /* sent and not yet taken */
    unsigned out_count;
    unsigned frames_live;  /* allocated and not yet sent: 0 between calls */
    unsigned alloc_budget; /* frames that frame_alloc may still give */
    bool refuse, echo, close_on_eof, close_on_data;
    uint32_t consume_max;  /* of on_data, in all; UINT32_MAX: everything */
    unsigned accepted, closed, callbacks_after_end;
    struct rig_app *apps;  /* newest first */
};

__attribute__((unused)) static uint8_t *
rig_frame_alloc(void *ctx, uint16_t bytes, void **frame)
{
    struct rig_host *h = ctx;
    if (h->alloc_budget == 0)
        return NULL;
    if (h->alloc_budget != UINT32_MAX)
        h->alloc_budget--;
    h->frames_live++;
    uint8_t *data = malloc(bytes);
    memset(data, 0xa5, bytes);
    *frame = data;
    return data;
}

__attribute__((unused)) static void
rig_frame_send(void *ctx, void *frame, uint16_t len, const struct net_offload *offload)
{
    struct rig_host *h = ctx;
    (void)offload;
    h->frames_live--;
    assert_true(h->out_count < RIG_FRAMES_MAX);
    h->out[h->out_count++] = (struct rig_frame){frame, len};
}

static void
rig_push(struct rig_app *a)
{
    if (!a->conn || a->out_sent == a->out_bytes)
        return;
    size_t left = a->out_bytes - a->out_sent;
    a->out_sent += net_send(a->host->net, a->conn, a->out + a->out_sent,
                            left > UINT32_MAX ? UINT32_MAX : (uint32_t)left);
    if (a->out_sent == a->out_bytes && a->close_when_sent) {
        net_close(a->host->net, a->conn);
        a->conn = NULL;
    }
}

static struct rig_app *
rig_app_new(struct rig_host *h)
{
    struct rig_app *a = calloc(1, sizeof *a);
    a->host = h;
    a->next = h->apps;
    a->close_on_eof = h->close_on_eof;
    h->apps = a;
    return a;
}

__attribute__((unused)) static void *
rig_on_accept(void *ctx, struct net_conn *conn)
{
    struct rig_host *h = ctx;
    h->accepted++;
    if (h->refuse)
        return NULL;
    struct rig_app *a = rig_app_new(h);
    a->conn = conn;
    a->connected = true;
    return a;
}

__attribute__((unused)) static void
rig_on_connected(void *user, struct net_conn *conn)
{
    struct rig_app *a = user;
    assert_ptr_equal(a->conn, conn);
    a->connected = true;
    rig_push(a);
}

__attribute__((unused)) static uint32_t
rig_on_data(void *user, struct net_conn *conn, const uint8_t *bytes, uint32_t n)
{
    struct rig_app *a = user;
    struct rig_host *h = a->host;
    if (!a->conn) {
        h->callbacks_after_end++;
        return n;
    }
    assert_true(n > 0);
    if (h->consume_max != UINT32_MAX) {
        if (n > h->consume_max)
            n = h->consume_max;
        h->consume_max -= n;
    }
    if (a->in_bytes + n > a->in_size) {
        a->in_size = 2 * (a->in_bytes + n);
        a->in = realloc(a->in, a->in_size);
    }
    if (n)
        memcpy(a->in + a->in_bytes, bytes, n);
    a->in_bytes += n;
    if (h->echo)
        assert_int_equal(net_send(h->net, conn, bytes, n), n);
    if (h->close_on_data) {
        net_close(h->net, conn);
        a->conn = NULL;
    }
    return n;
}

__attribute__((unused)) static void
rig_on_eof(void *user, struct net_conn *conn)
{
    struct rig_app *a = user;
    assert_false(a->eof);
    a->eof = true;
    if (!a->conn)
        a->host->callbacks_after_end++;
    if (a->close_on_eof && a->conn && a->out_sent == a->out_bytes) {
        net_close(a->host->net, conn);
        a->conn = NULL;
    }
}

__attribute__((unused)) static void
rig_on_writable(void *user, struct net_conn *conn)
{
    struct rig_app *a = user;
    (void)conn;
    if (!a->conn)
        a->host->callbacks_after_end++;
    rig_push(a);
}

__attribute__((unused)) static void
rig_on_closed(void *user, struct net_conn *conn, enum net_closed reason)
{
    struct rig_app *a = user;
    (void)conn;
    if (!a->conn || a->gone)
        a->host->callbacks_after_end++;
    a->gone = true;
    a->reason = reason;
    a->conn = NULL;
    a->host->closed++;
}

/** 10.0.0.<id>/24 and fd00::<id>/64, MAC 02:00:00:00:00:<id>, listening on RIG_PORT. */
__attribute__((unused)) static struct net_config
rig_config(struct rig_host *h, uint8_t id)
{
    struct net_config c = {
        .mac = {2, 0, 0, 0, 0, id},
        .interfaces = {{net_addr_v4(0x0a000000u + id), 24}, {{{0xfd, [15] = id}}, 64}},
        .interface_count = 2,
        .listen_ports = {RIG_PORT},
        .listen_port_count = 1,
        .seed = id,
        .output = {h, rig_frame_alloc, rig_frame_send},
        .callbacks = {rig_on_accept, rig_on_connected, rig_on_data, rig_on_eof, rig_on_writable,
                      rig_on_closed},
        .callbacks_ctx = h,
    };
    for (unsigned i = 0; i < sizeof c.secret; i++)
        c.secret[i] = (uint8_t)(i * 7 + id * 31);
    c.limits.conns_max = 256;
    c.limits.time_wait_max = 64;
    return c;
}

__attribute__((unused)) static void
rig_open(struct rig_host *h, const struct net_config *config)
{
    h->out = malloc(RIG_FRAMES_MAX * sizeof *h->out);
    h->out_count = 0;
    h->alloc_budget = UINT32_MAX;
    h->consume_max = UINT32_MAX;
    h->net = net_create(config);
    assert_non_null(h->net);
}

__attribute__((unused)) static void
rig_discard(struct rig_host *h)
{
    for (unsigned i = 0; i < h->out_count; i++)
        free(h->out[i].data);
    h->out_count = 0;
}

__attribute__((unused)) static void
rig_close(struct rig_host *h)
{
    assert_int_equal(h->frames_live, 0);
    assert_int_equal(h->callbacks_after_end, 0);
    net_check(h->net);
    net_destroy(h->net);
    rig_discard(h);
    free(h->out);
    for (struct rig_app *a = h->apps, *next; a; a = next) {
        next = a->next;
        free(a->in);
        free(a);
    }
    *h = (struct rig_host){0};
}

/** One turn of h: a frame (NULL: none) in, timers, flush. Takes over the frame's data. */
__attribute__((unused)) static void
rig_turn(struct rig_host *h, struct rig_frame *frame, uint64_t now_us)
{
    if (frame) {
        struct net_frame f = {frame->data, frame->len, 0};
        net_burst(h->net, &f, 1, now_us);
    }
    net_timers(h->net, now_us);
    net_flush(h->net);
    if (frame)
        free(frame->data);
    net_check(h->net);
}

/* ---- the scripted peer: 10.0.0.2, port 40000, MAC 02:..:02 ---- */

#define PEER_PORT 40000

/** A TCP segment as the peer sees it. */
struct peer_segment {
    uint32_t seq, ack;
    uint16_t wnd;
    uint8_t flags;
    uint8_t options[40];
    unsigned options_bytes;
    const uint8_t *payload;
    unsigned bytes;
    uint16_t source_port, destination_port; /* 0: PEER_PORT, RIG_PORT */
    uint8_t source_host;                    /* 0: 2 */
};

__attribute__((unused)) static struct rig_frame
peer_write(const struct peer_segment *s)
{
    unsigned header = 20 + s->options_bytes, total = 20 + header + s->bytes;
    struct rig_frame f = {calloc(1, 14 + total), (uint16_t)(14 + total)};
    uint8_t *h = f.data + 14, *t = h + 20;
    uint8_t host = s->source_host ? s->source_host : 2;

    memcpy(f.data, (uint8_t[]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, host, 8, 0}, 14);
    h[0] = 0x45;
    store16(h + 2, (uint16_t)total);
    h[8] = 64;
    h[9] = 6;
    store32(h + 12, 0x0a000000u + host);
    store32(h + 16, 0x0a000001);
    store16(t, s->source_port ? s->source_port : PEER_PORT);
    store16(t + 2, s->destination_port ? s->destination_port : RIG_PORT);
    store32(t + 4, s->seq);
    store32(t + 8, s->ack);
    t[12] = (uint8_t)(header / 4 << 4);
    t[13] = s->flags;
    store16(t + 14, s->wnd);
    memcpy(t + 20, s->options, s->options_bytes);
    if (s->bytes)
        memcpy(t + header, s->payload, s->bytes);
    uint16_t sum = (uint16_t)~checksum_fold(checksum_add(0, h, 20));
    memcpy(h + 10, &sum, 2);
    uint64_t pseudo = checksum_pseudo(6, (uint16_t)(header + s->bytes));
    sum = (uint16_t)~checksum_fold(checksum_add(pseudo, h + 12, 8 + header + s->bytes));
    memcpy(t + 16, &sum, 2);
    return f;
}

/** Read what h sent: an IPv4 TCP frame with right checksums. payload points into the frame. */
__attribute__((unused)) static struct peer_segment
peer_read(const struct rig_frame *f)
{
    struct peer_segment s = {0};
    const uint8_t *h = f->data + 14, *t = h + 20;
    assert_true(f->len >= 54 && load16(f->data + 12) == 0x0800 && h[0] == 0x45 && h[9] == 6);
    assert_int_equal(load16(h + 2), f->len - 14);
    assert_int_equal(checksum_fold(checksum_add(0, h, 20)), 0xffff);
    unsigned l4 = f->len - 34u, header = (unsigned)(t[12] >> 4) * 4;
    uint64_t pseudo = checksum_pseudo(6, (uint16_t)l4);
    assert_int_equal(checksum_fold(checksum_add(pseudo, h + 12, 8 + l4)), 0xffff);
    s.source_port = load16(t);
    s.destination_port = load16(t + 2);
    s.seq = load32(t + 4);
    s.ack = load32(t + 8);
    s.flags = t[13];
    s.wnd = load16(t + 14);
    s.options_bytes = header - 20;
    memcpy(s.options, t + 20, s.options_bytes);
    s.payload = t + header;
    s.bytes = l4 - header;
    return s;
}

/** The option of a kind; NULL: absent. *value_bytes without kind and length. */
__attribute__((unused)) static const uint8_t *
peer_option(const struct peer_segment *s, uint8_t kind, unsigned *value_bytes)
{
    for (unsigned at = 0; at < s->options_bytes && s->options[at];) {
        if (s->options[at] == 1) {
            at++;
            continue;
        }
        if (s->options[at] == kind) {
            if (value_bytes)
                *value_bytes = s->options[at + 1] - 2u;
            return s->options + at + 2;
        }
        at += s->options[at + 1];
    }
    return NULL;
}

/** Give h one segment, and let it finish its turn. Earlier output is discarded first. */
__attribute__((unused)) static void
peer_send(struct rig_host *h, const struct peer_segment *s, uint64_t now_us)
{
    struct rig_frame f = peer_write(s);
    rig_discard(h);
    rig_turn(h, &f, now_us);
}

/** Let time pass without frames, in steps of 1 ms; output is kept. */
__attribute__((unused)) static void
rig_wait(struct rig_host *h, uint64_t *now_us, unsigned ms)
{
    for (; ms; ms--) {
        *now_us += 1000;
        rig_turn(h, NULL, *now_us);
    }
}

/* ---- two instances on a wire ---- */

struct wire_faults {
    unsigned drop_ppm, duplicate_ppm, reorder_ppm, corrupt_ppm;
    uint32_t delay_us, jitter_us;
    uint16_t mtu; /* IP bytes; 0: any. Larger frames vanish: a black hole */
};

struct wire_packet {
    struct rig_frame frame;
    uint64_t due_us, order;
    unsigned to;
};

struct wire {
    struct rig_host host[2];
    struct wire_faults faults;
    struct wire_packet *packets;
    unsigned count, size;
    uint64_t now_us, random, order, carried, dropped;
    /*
     * When set, decides the fate of each frame instead of the faults: 0 drop, 1 pass, 2 duplicate,
     * 3 delay, 4 and above delay by more.
     */
    int (*fate)(struct wire *w, unsigned from, const struct rig_frame *frame);
    void *fate_ctx;
};

__attribute__((unused)) static uint32_t
wire_random(struct wire *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)(w->random >> 11);
}

static void
wire_put(struct wire *w, unsigned to, struct rig_frame frame, uint64_t due_us)
{
    if (w->count == w->size) {
        w->size = w->size ? 2 * w->size : 64;
        w->packets = realloc(w->packets, w->size * sizeof *w->packets);
    }
    w->packets[w->count++] = (struct wire_packet){frame, due_us, w->order++, to};
}

static bool
wire_chance(struct wire *w, unsigned ppm)
{
    return ppm && wire_random(w) % 1000000 < ppm;
}

static struct rig_frame
wire_copy(const struct rig_frame *f)
{
    struct rig_frame copy = {malloc(f->len), f->len};
    memcpy(copy.data, f->data, f->len);
    return copy;
}

static void
wire_carry(struct wire *w, unsigned from, struct rig_frame frame)
{
    const struct wire_faults *f = &w->faults;
    uint64_t due = w->now_us + f->delay_us + (f->jitter_us ? wire_random(w) % f->jitter_us : 0);
    int fate = w->fate ? w->fate(w, from, &frame) : !wire_chance(w, f->drop_ppm);

    w->carried++;
    if (fate == 0 || (f->mtu && frame.len > f->mtu + 14u)) {
        w->dropped++;
        free(frame.data);
        return;
    }
    if (fate == 2 || wire_chance(w, f->duplicate_ppm))
        wire_put(w, !from, wire_copy(&frame), due);
    if (fate >= 3 || wire_chance(w, f->reorder_ppm))
        due += (3 * (uint64_t)f->delay_us + 1) * (fate >= 3 ? (unsigned)fate - 2 : 1);
    if (wire_chance(w, f->corrupt_ppm))
        frame.data[wire_random(w) % frame.len] ^= (uint8_t)(1u << wire_random(w) % 8);
    wire_put(w, !from, frame, due);
}

static void
wire_collect(struct wire *w)
{
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned j = 0; j < w->host[i].out_count; j++)
            wire_carry(w, i, w->host[i].out[j]);
        w->host[i].out_count = 0;
    }
}

/** Do what happens next, if it happens by limit_us. @return false: nothing more until then. */
__attribute__((unused)) static bool
wire_step_until(struct wire *w, uint64_t limit_us)
{
    wire_collect(w);
    uint64_t next = UINT64_MAX;
    unsigned best = UINT32_MAX;
    for (unsigned i = 0; i < w->count; i++)
        if (w->packets[i].due_us < next ||
            (w->packets[i].due_us == next && best != UINT32_MAX &&
             w->packets[i].order < w->packets[best].order)) {
            next = w->packets[i].due_us;
            best = i;
        }
    for (unsigned i = 0; i < 2; i++) {
        uint64_t due = net_next_us(w->host[i].net);
        if (due < next) {
            next = due;
            best = UINT32_MAX;
        }
    }
    if (next > limit_us || next == UINT64_MAX) {
        if (limit_us != UINT64_MAX)
            w->now_us = limit_us;
        return false;
    }
    if (next > w->now_us)
        w->now_us = next;
    if (best != UINT32_MAX) {
        struct wire_packet p = w->packets[best];
        w->packets[best] = w->packets[--w->count];
        rig_turn(&w->host[p.to], &p.frame, w->now_us);
    } else {
        rig_turn(&w->host[0], NULL, w->now_us);
        rig_turn(&w->host[1], NULL, w->now_us);
    }
    return true;
}

/** Do what happens next. @return false: everything is quiet for ever. */
__attribute__((unused)) static bool
wire_step(struct wire *w)
{
    return wire_step_until(w, UINT64_MAX);
}

__attribute__((unused)) static void
wire_run(struct wire *w, uint64_t for_us)
{
    uint64_t end = w->now_us + for_us;
    while (wire_step_until(w, end))
        ;
}

__attribute__((unused)) static void
wire_open(struct wire *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->random = seed * 0x9e3779b97f4a7c15ull + 88172645463325252ull;
    w->now_us = 1000000;
    w->faults.delay_us = 100;
    for (unsigned i = 0; i < 2; i++) {
        struct net_config c = rig_config(&w->host[i], (uint8_t)(i + 1));
        c.seed = seed;
        rig_open(&w->host[i], &c);
        rig_turn(&w->host[i], NULL, w->now_us);
    }
}

__attribute__((unused)) static void
wire_close(struct wire *w)
{
    wire_collect(w);
    for (unsigned i = 0; i < w->count; i++)
        free(w->packets[i].frame.data);
    free(w->packets);
    rig_close(&w->host[0]);
    rig_close(&w->host[1]);
}

/** Send on a connection of host i, now. */
__attribute__((unused)) static void
wire_send(struct wire *w, unsigned i, struct net_conn *conn, const void *bytes, uint32_t n)
{
    rig_turn(&w->host[i], NULL, w->now_us);
    assert_int_equal(net_send(w->host[i].net, conn, bytes, n), n);
    rig_turn(&w->host[i], NULL, w->now_us);
}

/** Host 1 opens a connection to host 0's port and sends `bytes` once connected. */
__attribute__((unused)) static struct rig_app *
wire_connect(struct wire *w, bool v6, const uint8_t *bytes, size_t n)
{
    struct net_addr to = v6 ? (struct net_addr){{0xfd, [15] = 1}} : net_addr_v4(0x0a000001);
    struct rig_app *a = rig_app_new(&w->host[1]);
    a->out = bytes;
    a->out_bytes = n;
    a->conn = net_connect(w->host[1].net, &to, RIG_PORT, -1, a);
    assert_non_null(a->conn);
    return a;
}

#endif
