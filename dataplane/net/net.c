/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The instance: set-up, the burst pipeline, the clock, the flush.
 *
 * A burst goes through stages, so that the cache misses of up to NET_BURST_MAX frames overlap:
 *
 *      parse, hash  ->  fetch flow slots  ->  find ids, fetch connections
 *                   ->  fetch what they point to  ->  process
 *
 * Each stage that fetches is a loop of its own: what retires behind a fetch waits for its address
 * to be translated, and between computations each waits alone.
 */
#include "dataplane/net/net.h"

#include "dataplane/net/icmp.h"
#include "dataplane/net/instance.h"
#include "dataplane/net/ip.h"

#include <stdlib.h>

/* callbacks in a flush may touch connections that were done; not for ever */
#define FLUSH_PASSES_MAX 8

/* ---- set-up ---- */

static void
default_u32(uint32_t *value, uint32_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static void
config_fill(struct net_config *c)
{
    if (c->mtu == 0)
        c->mtu = 1500;
    default_u32(&c->limits.conns_max, 65536);
    default_u32(&c->limits.half_open_max, 1024);
    default_u32(&c->limits.time_wait_max, 16384);
    default_u32(&c->limits.tx_bytes_max, 4u << 20);
    default_u32(&c->limits.rx_window_bytes, 256u << 10);
    default_u32(&c->limits.reassembly_bytes_max, 256u << 10);
    if (c->limits.buffers_bytes_max == 0)
        c->limits.buffers_bytes_max = 1ull << 30;
    if (c->limits.reassembly_bytes_total == 0)
        c->limits.reassembly_bytes_total = c->limits.buffers_bytes_max / 4;
    default_u32(&c->times.rto_min_ms, 5);
    default_u32(&c->times.rto_max_ms, 60000);
    default_u32(&c->times.syn_rto_ms, 1000);
    default_u32(&c->times.delayed_ack_ms, 20);
    default_u32(&c->times.user_timeout_ms, 30000);
    default_u32(&c->times.fin_wait_ms, 60000);
    default_u32(&c->times.time_wait_ms, 60000);
}

static const char *
limits_error(const struct net_limits *l)
{
    if (l->conns_max > 1u << 26)
        return "limits.conns_max is above 67108864";
    if (l->time_wait_max > 1u << 26)
        return "limits.time_wait_max is above 67108864";
    if (l->tx_bytes_max > 1u << 30 || (l->tx_bytes_max && l->tx_bytes_max < 4096))
        return "limits.tx_bytes_max is not in 4 KiB..1 GiB";
    if (l->rx_window_bytes > 1u << 30 || (l->rx_window_bytes && l->rx_window_bytes < 2048))
        return "limits.rx_window_bytes is not in 2 KiB..1 GiB";
    if (l->buffers_bytes_max && l->buffers_bytes_max < 1u << 16)
        return "limits.buffers_bytes_max is below 64 KiB";
    return NULL;
}

static const char *
interfaces_error(const struct net_config *c)
{
    static const struct net_addr zero;
    if (c->interface_count == 0 || c->interface_count > NET_ADDRESSES_MAX)
        return "interface_count is not in 1..8";
    for (unsigned i = 0; i < c->interface_count; i++) {
        const struct net_interface *own = &c->interfaces[i];
        if (memcmp(&own->addr, &zero, sizeof zero) == 0)
            return "an interface has no address";
        if (own->prefix_bits > (net_addr_is_v4(&own->addr) ? 32 : 128))
            return "an interface's prefix is longer than its address";
        if (!net_addr_is_v4(&own->addr) && c->mtu && c->mtu < 1280)
            return "IPv6 needs an mtu of at least 1280";
    }
    return NULL;
}

const char *
net_config_error(const struct net_config *c)
{
    const struct net_callbacks *f = &c->callbacks;
    const char *error;

    if (c->mtu && (c->mtu < NET_MTU_MIN || c->mtu > NET_MTU_MAX))
        return "mtu is not in 576..9216";
    if (c->mac[0] & 1)
        return "mac is a multicast address";
    if ((error = interfaces_error(c)) || (error = limits_error(&c->limits)))
        return error;
    if (c->listen_port_count > NET_LISTEN_PORTS_MAX)
        return "more than 4 listen ports";
    if (c->times.rto_min_ms > 1000)
        return "times.rto_min_ms is above 1000 (RFC 6298 2.4)";
    if (c->times.delayed_ack_ms > 500)
        return "times.delayed_ack_ms is above 500 (RFC 9293 3.8.6.3)";
    if (c->steering.cores > 1 && (c->core >= c->steering.cores || c->steering.entries == 0))
        return "core is not below steering.cores, or steering.entries is 0";
    if (!c->output.frame_alloc || !c->output.frame_send)
        return "no output";
    if (!f->on_data || !f->on_closed || !f->on_eof || !f->on_writable || !f->on_accept ||
        !f->on_connected)
        return "a callback is missing";
    return NULL;
}

static struct siphash_key
key_derive(const uint8_t secret[32], uint64_t purpose)
{
    struct siphash_key k;
    uint64_t w[5];
    memcpy(&k, secret, sizeof k);
    memcpy(w, secret, 32);
    w[4] = 2 * purpose;
    uint64_t k0 = siphash_words(k, w, 5, 4, 8);
    w[4] = 2 * purpose + 1;
    return (struct siphash_key){k0, siphash_words(k, w, 5, 4, 8)};
}

static void
keys_derive(struct net *net)
{
    struct siphash_key a = key_derive(net->config.secret, 1), b = key_derive(net->config.secret, 5);
    net->key_flow = (struct flow_secret){{a.k0, a.k1, b.k0, b.k1}};
    net->key_isn = key_derive(net->config.secret, 2);
    net->key_cookie = key_derive(net->config.secret, 3);
    net->key_timestamp = key_derive(net->config.secret, 4);
    net->random = net->config.seed * 0x9e3779b97f4a7c15ull ^ 0x5851f42d4c957f2dull;
    if (net->random == 0)
        net->random = 1;
}

static int
tables_init(struct net *net)
{
    const struct net_limits *l = &net->config.limits;
    uint32_t ring = 64;

    while (ring < l->conns_max)
        ring *= 2;
    net->dirty_mask = ring - 1;
    net->dirty = malloc((size_t)ring * sizeof *net->dirty);
    net->conns = aligned_alloc(64, (size_t)l->conns_max * sizeof *net->conns);
    if (!net->dirty || !net->conns || flow_init(&net->flows, l->conns_max + l->time_wait_max) < 0 ||
        timewait_init(net) < 0 || wheel_init(&net->wheel, net->conns, l->conns_max, 0) < 0)
        return -1;
    uint64_t small_bytes = l->buffers_bytes_max / CHUNK_SMALL_SHARE;
    uint64_t chunks = (l->buffers_bytes_max - small_bytes) / CHUNK_BYTES;
    pool_init(&net->chunks, CHUNK_BYTES, chunks);
    pool_init(&net->small_chunks, CHUNK_SMALL_BYTES, small_bytes / CHUNK_SMALL_BYTES);
    pool_init(&net->extras, (sizeof(struct tcp_extra) + 15) & ~15ull, chunks);
    net->ooo_chunks_max = l->reassembly_bytes_total / CHUNK_BYTES;
    return 0;
}

struct net *
net_create(const struct net_config *config)
{
    if (net_config_error(config))
        return NULL;
    struct net *net = aligned_alloc(64, (sizeof *net + 63) & ~63ull);
    if (!net)
        return NULL;
    memset(net, 0, sizeof *net);
    net->config = *config;
    config_fill(&net->config);
    net->mss_v4 = (uint16_t)(net->config.mtu - IPV4_HEADER_BYTES - TCP_HEADER_BYTES);
    net->mss_v6 = (uint16_t)(net->config.mtu - IPV6_HEADER_BYTES - TCP_HEADER_BYTES);
    for (unsigned i = 0; i < config->interface_count; i++)
        if (net_addr_is_v4(&config->interfaces[i].addr))
            memcpy(&net->local_v4[i], config->interfaces[i].addr.bytes + 12, 4);
    net->free_head = net->dead_head = CONN_NONE;
    keys_derive(net);
    if (tables_init(net) < 0) {
        net_destroy(net);
        return NULL;
    }
    return net;
}

void
net_destroy(struct net *net)
{
    if (!net)
        return;
    for (uint32_t i = 0; i < net->conns_fresh; i++)
        if (net->conns[i].tx_head) /* may hold references */
            tcp_queue_trim(net, &net->conns[i], net->conns[i].tx_end);
    pool_destroy(&net->chunks);
    pool_destroy(&net->small_chunks);
    pool_destroy(&net->extras);
    timewait_destroy(net);
    flow_destroy(&net->flows);
    wheel_destroy(&net->wheel);
    free(net->conns);
    free(net->dirty);
    free(net);
}

/* ---- time ---- */

static void
clock_set(struct net *net, uint64_t now_us)
{
    if (UNLIKELY(now_us < net->now_us))
        return; /* the caller's clock went back: time stands still until it has caught up */
    if (UNLIKELY(net->now_us == 0)) /* first call: the wheel starts here */
        net->wheel.now = net->wheel.count ? net->wheel.now : (uint32_t)(now_us / 1000);
    net->now_us = now_us;
    net->now_ms = (uint32_t)(now_us / 1000);
}

uint64_t
net_next_us(const struct net *net)
{
    uint32_t left = wheel_next_ms(&net->wheel), wait = timewait_next_ms(net);
    if (net->dirty_head != net->dirty_tail)
        return net->now_us;
    if (left != UINT32_MAX) { /* the wheel may lag behind now_ms */
        uint32_t behind = net->now_ms - net->wheel.now;
        left = left > behind ? left - behind : 0;
    }
    if (wait < left)
        left = wait;
    return left == UINT32_MAX ? UINT64_MAX : (net->now_us / 1000 + left) * 1000;
}

uint64_t
net_timers(struct net *net, uint64_t now_us)
{
    uint32_t id;
    clock_set(net, now_us);
    if (net->wheel.now != net->now_ms) {
        net->in_callbacks = true;
        while ((id = wheel_advance(&net->wheel, net->now_ms)) != WHEEL_NONE)
            tcp_timer(net, &net->conns[id]);
        timewait_expire(net);
        net->in_callbacks = false;
    }
    return net_next_us(net);
}

/* ---- frames in ---- */

/* @return false: dropped and counted. */
static bool
segment_parse(struct net *net, const struct packet *p, struct segment *seg)
{
    const uint8_t *h = p->l4;
    if (p->l4_bytes < TCP_HEADER_BYTES) {
        net->counters.drop_short++;
        return false;
    }
    unsigned header = (unsigned)(h[12] >> 4) * 4;
    if (header < TCP_HEADER_BYTES || header > p->l4_bytes) {
        net->counters.drop_tcp_header++;
        return false;
    }
    if (!p->checksum_good && !ip_checksum_ok(p)) {
        net->counters.drop_checksum++;
        return false;
    }
    seg->frame = p->frame;
    seg->seq = load32(h + 4);
    seg->ack = load32(h + 8);
    seg->flags = h[13] & 0x3f;
    seg->wnd = load16(h + 14);
    seg->payload = h + header;
    seg->bytes = (uint16_t)(p->l4_bytes - header);
    ip_source(p, (struct net_addr *)seg->key.remote);
    memcpy(&seg->key.remote_port, h, 2);
    memcpy(&seg->key.local_port, h + 2, 2);
    seg->key.local = p->local;
    if (tcp_options_parse(seg, h, header) < 0) {
        net->counters.drop_tcp_header++;
        return false;
    }
    return true;
}

/* Stage 1. @return true: *seg is a TCP segment to process; false: done with. */
static bool
frame_parse(struct net *net, const struct net_frame *frame, struct segment *seg)
{
    struct packet p;

    net->counters.frames_in++;
    if (UNLIKELY(frame->len < NET_ETHERNET_BYTES)) {
        net->counters.drop_short++;
        return false;
    }
    if (UNLIKELY(frame->flags & NET_FRAME_CHECKSUM_BAD)) {
        net->counters.drop_checksum++;
        return false;
    }
    if (memcmp(frame->data, net->config.mac, 6) != 0 && !(frame->data[0] & 1)) {
        net->counters.drop_not_ours++;
        return false;
    }
    uint16_t type = load16(frame->data + 12);
    if (UNLIKELY(type == ETHERTYPE_ARP)) {
        neighbour_arp_input(net, frame);
        return false;
    }
    if (UNLIKELY(type != ETHERTYPE_IPV4 && type != ETHERTYPE_IPV6)) {
        net->counters.drop_ethertype++;
        return false;
    }
    if (!ip_parse(net, frame, &p))
        return false;
    if (LIKELY(p.protocol == PROTOCOL_TCP))
        return segment_parse(net, &p, seg);
    if (p.protocol == (p.ipv6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP))
        icmp_input(net, &p);
    else
        net->counters.drop_ethertype++;
    return false;
}

static void
conn_prefetch(const struct net *net, struct segment *seg)
{
    uint32_t slot = seg->hash;
    uint32_t id = flow_next(&net->flows, seg->hash, &slot);
    seg->likely = FLOW_NONE;
    if (id == FLOW_NONE || (id & FLOW_TIME_WAIT))
        return;
    seg->likely = id;
    const char *c = (const char *)&net->conns[id];
    __builtin_prefetch(c);
    __builtin_prefetch(c + 64);
}

static void
users_prefetch(const struct net *net, const struct segment *segments, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t id = segments[i].likely;
        if (id == FLOW_NONE)
            continue;
        const struct net_conn *c = &net->conns[id];
        if (!(c->flags & F_LONE) && c->tx_head) /* from NULL it would cost a walk of page tables */
            __builtin_prefetch(c->tx_head);     /* freed by the ACK */
        if (c->user && segments[i].bytes) /* a pure ACK is not told */
            net->config.callbacks.prefetch(c->user);
    }
}

static void
burst_part(struct net *net, const struct net_frame *frames, unsigned n)
{
    struct segment segments[NET_BURST_MAX];
    unsigned count = 0;
    bool many = net_prefetches(net);

    for (unsigned i = 0; i < n; i++)
        __builtin_prefetch(frames[i].data);
    for (unsigned i = 0; many && i < n; i++)
        __builtin_prefetch(frames[i].data + 64); /* TCP's options */
    for (unsigned i = 0; i < n; i++) {
        struct segment *seg = &segments[count];
        if (!frame_parse(net, &frames[i], seg))
            continue;
        seg->hash = flow_key_hash(&seg->key, net->key_flow);
        count++;
    }
    for (unsigned i = 0; i < count; i++)
        flow_prefetch(&net->flows, segments[i].hash);
    for (unsigned i = 0; i < count; i++)
        conn_prefetch(net, &segments[i]);
    if (many && net->config.callbacks.prefetch)
        users_prefetch(net, segments, count);
    for (unsigned i = 0; i < count; i++) {
        net->counters.segments_in++;
        tcp_input(net, &segments[i]);
    }
}

void
net_burst(struct net *net, const struct net_frame *frames, unsigned n, uint64_t now_us)
{
    CHECK(!net->in_callbacks);
    clock_set(net, now_us);
    net->in_callbacks = true;
    for (unsigned part; n; n -= part, frames += part) {
        part = n < NET_BURST_MAX ? n : NET_BURST_MAX;
        burst_part(net, frames, part);
    }
    net->in_callbacks = false;
}

/* ---- frames out ---- */

static void
dead_free(struct net *net)
{
    uint32_t keep = CONN_NONE;
    for (uint32_t id = net->dead_head, next; id != CONN_NONE; id = next) {
        struct net_conn *c = &net->conns[id];
        next = c->link;
        /* Still in the ring of the touched: a new owner of the slot would be in it twice. */
        uint32_t *list = c->flags & F_DIRTY ? &keep : &net->free_head;
        c->link = *list;
        *list = id;
    }
    net->dead_head = keep;
}

/* @return false: no transmit buffer. */
static bool
conn_flush(struct net *net, struct net_conn *c)
{
    c->flags &= ~F_DIRTY;
    if (c->state == TCP_CLOSED)
        return true;
    if (UNLIKELY(c->flags & F_RESUME))
        tcp_resume(net, c);
    if (c->state == TCP_CLOSED || tcp_output(net, c))
        return true;
    tcp_dirty(net, c);
    return false;
}

uint32_t
net_flush(struct net *net)
{
    bool sent = true;

    CHECK(!net->in_callbacks);
    net->in_callbacks = true;
    for (unsigned pass = 0; sent && pass < FLUSH_PASSES_MAX; pass++) {
        uint32_t n = net->dirty_tail - net->dirty_head;
        if (n == 0)
            break;
        for (; n && sent; n--) {
            uint32_t id = net->dirty[net->dirty_head++ & net->dirty_mask];
            sent = conn_flush(net, &net->conns[id]);
        }
    }
    for (struct chunk *k = net->graveyard, *next; k; k = next) {
        next = k->next;
        chunk_put(net, k);
    }
    net->graveyard = NULL;
    if (net->dead_head != CONN_NONE)
        dead_free(net);
    net->in_callbacks = false;
    return net->dirty_tail - net->dirty_head;
}

void
net_resume(struct net *net, struct net_conn *c)
{
    if (c->state == TCP_CLOSED || !(c->flags & F_PAUSED))
        return;
    c->flags |= F_RESUME;
    tcp_dirty(net, c);
}

void
net_announce(struct net *net)
{
    neighbour_announce(net);
}

/* ---- looking in ---- */

const struct net_counters *
net_counters(const struct net *net)
{
    return &net->counters;
}

void
net_usage(const struct net *net, struct net_usage *usage)
{
    const struct net_limits *l = &net->config.limits;
    *usage = (struct net_usage){
        .conns = net->conn_count,
        .half_open = net->half_open,
        .time_wait = timewait_count(net),
        .timers = net->wheel.count,
        .tables_bytes = sizeof *net + (uint64_t)net->conns_fresh * sizeof *net->conns +
                        ((uint64_t)net->flows.mask + 1) * sizeof *net->flows.slots +
                        48ull * l->time_wait_max + ((uint64_t)net->dirty_mask + 1) * 4 +
                        (uint64_t)net->wheel.blocks_fresh * sizeof *net->wheel.blocks,
        .buffers_bytes = net->chunks.used * CHUNK_BYTES +
                         net->small_chunks.used * CHUNK_SMALL_BYTES +
                         net->extras.used * net->extras.object_bytes,
        .buffers_allocated_bytes = net->chunks.allocated * CHUNK_BYTES +
                                   net->small_chunks.allocated * CHUNK_SMALL_BYTES +
                                   net->extras.allocated * net->extras.object_bytes,
    };
}
