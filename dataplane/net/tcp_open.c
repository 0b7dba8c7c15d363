/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Hand-shakes, passive and active, and what answers a segment that belongs to nothing.
 */
#include "dataplane/net/instance.h"
#include "dataplane/net/ip.h"

#define PORT_FIRST 16384 /* of net_connect(): RFC 6056 wants a wide range */
#define PORT_COUNT (65536 - PORT_FIRST)

bool
tcp_is_listening(const struct net *net, uint16_t port_network_order)
{
    uint16_t port = __builtin_bswap16(port_network_order);
    for (unsigned i = 0; i < net->config.listen_port_count; i++)
        if (net->config.listen_ports[i] == port)
            return true;
    return false;
}

uint32_t
tcp_isn(const struct net *net, const struct flow_key *key)
{
    uint64_t words[3];
    memcpy(words, key, sizeof words);
    /* RFC 6528 section 3: ISN = M + F(connection, secret), M counting 4 us. */
    uint32_t isn =
        (uint32_t)(net->now_us / 4) + (uint32_t)siphash_words(net->key_isn, words, 3, 2, 4);
    return isn;
}

unsigned
tcp_wscale(const struct net *net)
{
    unsigned shift = 0;
    while (shift < TCP_WSCALE_MAX && net->config.limits.rx_window_bytes >> shift > 65535)
        shift++;
    return shift;
}

uint16_t
tcp_mss_announced(const struct net *net, unsigned local)
{
    return net_addr_is_v4(&net->config.interfaces[local].addr) ? net->mss_v4 : net->mss_v6;
}

void
tcp_options_agree(const struct net *net, struct net_conn *c, const struct segment *seg)
{
    bool v4 = net_addr_is_v4(&net->config.interfaces[c->key.local].addr);
    unsigned mss = seg->mss ? seg->mss : v4 ? TCP_MSS_DEFAULT_V4 : TCP_MSS_DEFAULT_V6;
    unsigned ours = tcp_mss_announced(net, c->key.local);

    if (mss > ours)
        mss = ours;
    if (mss < TCP_MSS_MIN)
        mss = TCP_MSS_MIN;
    c->flags &= ~(F_TS | F_SACK | F_WSCALE);
    c->snd_wscale = c->rcv_wscale = 0;
    if (seg->has_ts) {
        c->flags |= F_TS;
        c->ts_recent = seg->tsval;
        c->ts_recent_age = net->now_ms >> 24;
        mss -= 12; /* RFC 6691: options count against it */
    }
    if (seg->sack_ok)
        c->flags |= F_SACK;
    if (seg->wscale != TCP_WSCALE_NONE) {
        c->flags |= F_WSCALE;
        c->snd_wscale = seg->wscale;
        c->rcv_wscale = tcp_wscale(net);
    }
    c->mss = (uint16_t)mss;
    c->snd_wnd = seg->wnd; /* never scaled in a SYN (RFC 7323 2.2) */
    c->snd_wnd_max = c->snd_wnd;
    c->snd_wl1 = seg->seq;
    c->rcv_nxt = seg->seq + 1;
    c->last_ack = c->rcv_nxt;
    uint32_t window = net->config.limits.rx_window_bytes;
    c->rcv_adv = c->rcv_nxt + (window < 65535 ? window : 65535);
}

bool
tcp_send_syn(struct net *net, struct net_conn *c)
{
    uint8_t options[TCP_OPTIONS_BYTES_MAX];
    bool answer = c->state == TCP_SYN_RCVD;
    struct syn_options o = {
        .mss = tcp_mss_announced(net, c->key.local),
        .wscale = c->flags & F_WSCALE ? (uint8_t)tcp_wscale(net) : TCP_WSCALE_NONE,
        .sack = c->flags & F_SACK,
        .ts = c->flags & F_TS,
        .tsval = tcp_timestamp(net, c),
        .tsecr = answer ? c->ts_recent : 0,
    };
    uint32_t window = net->config.limits.rx_window_bytes;
    struct bare_segment s = {
        .key = &c->key,
        .mac = c->mac,
        .seq = c->snd_una,
        .ack = answer ? c->rcv_nxt : 0,
        .wnd = (uint16_t)(window < 65535 ? window : 65535),
        .flags = answer ? TCP_SYN | TCP_ACK : TCP_SYN,
        .options = options,
        .options_bytes = tcp_options_syn(options, &o),
    };
    if (!tcp_send_bare(net, &s))
        return false;
    c->flags &= ~F_SYN_DUE;
    return true;
}

static void
syn_timer(struct net *net, struct net_conn *c)
{
    c->rtx = RTX_TIMEOUT;
    c->rtx_due = net->now_ms + (net->config.times.syn_rto_ms << c->backoff);
    tcp_timer_arm(net, c, c->rtx_due);
}

void
tcp_accept_syn(struct net *net, const struct segment *seg, uint32_t isn)
{
    struct net_conn *c = conn_alloc(net, &seg->key, seg->hash);
    if (!c) {
        net->counters.drop_syn_full++;
        return;
    }
    c->state = TCP_SYN_RCVD;
    net->half_open++;
    memcpy(c->mac, seg->frame + 6, 6);
    c->flags |= F_MAC | F_RTT;
    tcp_options_agree(net, c, seg);
    c->snd_una = isn ? isn : tcp_isn(net, &c->key);
    c->snd_nxt = c->tx_end = c->rtt_seq = c->snd_una + 1;
    c->rtt_start_us = (uint32_t)net->now_us;
    if (!tcp_send_syn(net, c)) {
        c->flags |= F_SYN_DUE;
        tcp_dirty(net, c);
    }
    syn_timer(net, c);
}

void
tcp_listen_input(struct net *net, const struct segment *seg)
{
    uint8_t flags = seg->flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN);
    uint32_t half_open_max = net->config.limits.half_open_max;

    if (flags & TCP_RST) {
        net->counters.drop_no_port++;
    } else if (flags & TCP_ACK) {
        if (!cookie_input(net, seg))
            tcp_refuse(net, seg);
    } else if (flags != TCP_SYN) {
        net->counters.drop_no_ack++; /* SYN with FIN, or nothing at all: nobody means well by it */
    } else {
        net->counters.syn_in++;
        if (half_open_max == UINT32_MAX || net->half_open >= half_open_max)
            cookie_send(net, seg);
        else
            tcp_accept_syn(net, seg, 0);
    }
}

void
tcp_refuse(struct net *net, const struct segment *seg)
{
    struct bare_segment s = {.key = &seg->key, .mac = seg->frame + 6, .flags = TCP_RST};
    if (seg->flags & TCP_RST)
        return;
    if (seg->flags & TCP_ACK) {
        s.seq = seg->ack;
    } else {
        s.ack = seg->seq + segment_len(seg);
        s.flags |= TCP_ACK;
    }
    net->counters.resets_out += tcp_send_bare(net, &s);
}

bool
tcp_establish(struct net *net, struct net_conn *c)
{
    const struct net_callbacks *callbacks = &net->config.callbacks;

    if (c->state == TCP_SYN_RCVD)
        net->half_open--;
    c->state = TCP_ESTABLISHED;
    c->rtx = RTX_NONE;
    c->cwnd = tcp_window_initial(c);
    if (c->backoff > 1) /* RFC 5681 3.1: a lost SYN(-ACK); one loss may be a slow path, two are
                         * congestion */
        c->cwnd = c->mss;
    c->backoff = 0;
    c->flags &= ~F_SYN_DUE;
    tcp_keepalive_arm(net, c);
    if (c->flags & F_ACTIVE) {
        net->counters.connected++;
        callbacks->on_connected(c->user, c);
    } else {
        net->counters.accepted++;
        c->flags |= F_ACCEPTED;
        c->user = callbacks->on_accept(net->config.callbacks_ctx, c);
        if (!c->user && c->state != TCP_CLOSED) {
            c->flags &= ~F_ACCEPTED;
            net_abort(net, c);
        }
    }
    return c->state != TCP_CLOSED;
}

static void
syn_sent_answered(struct net *net, struct net_conn *c, const struct segment *seg)
{
    uint32_t offered = c->flags & (F_TS | F_SACK | F_WSCALE);
    tcp_options_agree(net, c, seg);
    c->flags &= ~(F_TS | F_SACK | F_WSCALE) | offered; /* never more than we asked for */
    if (!(seg->flags & TCP_ACK)) { /* simultaneous open */
        c->state = TCP_SYN_RCVD;
        net->half_open++;
        if (!tcp_send_syn(net, c)) {
            c->flags |= F_SYN_DUE;
            tcp_dirty(net, c);
        }
        syn_timer(net, c);
        return;
    }
    c->snd_una = seg->ack;
    if (c->flags & F_RTT)
        tcp_rtt_sample(c, (uint32_t)net->now_us - c->rtt_start_us);
    c->flags &= ~F_RTT;
    c->flags |= F_ACK_NOW;
    tcp_dirty(net, c);
    (void)tcp_establish(net, c);
}

void
tcp_syn_sent_input(struct net *net, struct net_conn *c, const struct segment *seg)
{
    bool acked = seg->flags & TCP_ACK;
    if (acked && seg->ack != c->snd_nxt) {
        tcp_refuse(net, seg);
        return;
    }
    if (seg->flags & TCP_RST) {
        if (acked)
            tcp_drop(net, c, NET_CLOSED_REFUSED);
        return;
    }
    if (seg->flags & TCP_SYN) {
        memcpy(c->mac, seg->frame + 6, 6);
        syn_sent_answered(net, c, seg);
    }
}

/* RFC 6056 algorithm 1 with the port's steering. */
static bool
port_choose(struct net *net, struct flow_key *key, uint32_t *hash)
{
    uint32_t first = (uint32_t)(net_random(net) % PORT_COUNT);
    for (uint32_t i = 0; i < PORT_COUNT; i++) {
        key->local_port = __builtin_bswap16((uint16_t)(PORT_FIRST + (first + i) % PORT_COUNT));
        if (net->config.steering.cores > 1 &&
            net_flow_core(key, &net->config.interfaces[key->local].addr, net->config.steering) !=
                net->config.core)
            continue;
        *hash = flow_key_hash(key, net->key_flow);
        if (net_find(net, key, *hash) == FLOW_NONE)
            return true;
    }
    return false;
}

static int
local_choose(const struct net *net, const struct net_addr *remote, int local)
{
    bool v4 = net_addr_is_v4(remote);
    if (local >= (int)net->config.interface_count)
        return -1;
    for (unsigned i = 0; i < net->config.interface_count; i++)
        if ((local < 0 || local == (int)i) && net_addr_is_v4(&net->config.interfaces[i].addr) == v4)
            return (int)i;
    return -1;
}

struct net_conn *
net_connect(struct net *net, const struct net_addr *remote, uint16_t port, int local, void *user)
{
    struct flow_key key = {.remote_port = __builtin_bswap16(port)};
    uint32_t hash;

    local = local_choose(net, remote, local);
    if (local < 0 || ip_local(net, remote) >= 0)
        return NULL;
    key.local = (uint32_t)local;
    memcpy(key.remote, remote->bytes, 16);
    if (!port_choose(net, &key, &hash))
        return NULL;
    struct net_conn *c = conn_alloc(net, &key, hash);
    if (!c)
        return NULL;
    net->counters.connects++;
    c->state = TCP_SYN_SENT;
    c->flags = F_ACTIVE | F_ACCEPTED | F_TS | F_SACK | F_WSCALE | F_SYN_DUE | F_RTT;
    c->user = user;
    c->mss = TCP_MSS_MIN;
    c->snd_una = tcp_isn(net, &key);
    c->snd_nxt = c->tx_end = c->rtt_seq = c->snd_una + 1;
    c->rtt_start_us = (uint32_t)net->now_us;
    syn_timer(net, c);
    tcp_dirty(net, c);
    return c;
}
