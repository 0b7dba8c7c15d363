/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * SYN cookies (RFC 4987 3.6): when half-open connections reach their limit, the SYN-ACK's sequence
 * number carries what we would have kept, and nothing is kept.
 *
 *      cookie = F(flow) + peer's ISN + (minute << 24) + ((F(flow, minute) + mss index) mod 2^24)
 *
 * after D. J. Bernstein and Linux: increasing in time, valid for the running minute (64 s) and the
 * one before. Window scale and SACK ride in the low bits of the timestamp, which the peer's ACK
 * echoes; without timestamps they are not agreed.
 */
#include "dataplane/net/instance.h"
#include "dataplane/net/ip.h"

#define COOKIE_MINUTE_US 64000000ull
#define COOKIE_AGE_MAX 2       /* minutes, exclusive */
#define TS_OPTION_BITS 5       /* scale (15: none), SACK */
#define TS_OPTION_MASK ((1u << TS_OPTION_BITS) - 1)
#define TS_SACK 16u
#define TS_NO_SCALE 15u

static const uint16_t cookie_mss[] = {TCP_MSS_MIN, 536, 1200, 1300, 1400, 1440, 1460, 8940};
#define COOKIE_MSS_COUNT (sizeof cookie_mss / sizeof *cookie_mss)

static uint32_t
cookie_hash(const struct net *net, const struct flow_key *key, uint64_t minute)
{
    uint64_t words[4];
    memcpy(words, key, 24);
    words[3] = minute;
    return (uint32_t)siphash_words(net->key_cookie, words, 4, 2, 4);
}

static uint32_t cookie_make(const struct net *net, const struct flow_key *key, uint32_t peer_isn,
                            unsigned mss_index)
{
    uint64_t minute = net->now_us / COOKIE_MINUTE_US;
    uint32_t inner = (cookie_hash(net, key, minute + 1) + mss_index) & 0xffffff;
    return cookie_hash(net, key, 0) + peer_isn + ((uint32_t)minute << 24) + inner;
}

/* @return index into cookie_mss; -1: not ours, or too old. */
static int
cookie_check(const struct net *net, const struct flow_key *key, uint32_t cookie, uint32_t peer_isn)
{
    uint64_t minute = net->now_us / COOKIE_MINUTE_US;
    cookie -= cookie_hash(net, key, 0) + peer_isn;
    uint32_t age = ((uint32_t)minute - (cookie >> 24)) & 0xff;
    if (age >= COOKIE_AGE_MAX || age > minute)
        return -1;
    uint32_t index = (cookie - cookie_hash(net, key, minute - age + 1)) & 0xffffff;
    return index < COOKIE_MSS_COUNT ? (int)index : -1;
}

static uint32_t
timestamp_offset(const struct net *net, const struct flow_key *key)
{
    uint64_t words[3];
    memcpy(words, key, sizeof words);
    return (uint32_t)siphash_words(net->key_timestamp, words, 3, 2, 4);
}

/*
 * The clock, set back by at most 32 ms so that its low bits carry the options; never ahead of the
 * true one.
 */
static uint32_t
timestamp_with_options(const struct net *net, const struct segment *seg)
{
    uint32_t bits = seg->wscale == TCP_WSCALE_NONE ? TS_NO_SCALE : seg->wscale;
    if (seg->sack_ok)
        bits |= TS_SACK;
    uint32_t ts = (net->now_ms & ~TS_OPTION_MASK) | bits;
    if (seq_before(net->now_ms, ts))
        ts -= TS_OPTION_MASK + 1;
    return ts;
}

void
cookie_send(struct net *net, const struct segment *seg)
{
    uint8_t options[TCP_OPTIONS_BYTES_MAX];
    uint16_t ours = tcp_mss_announced(net, seg->key.local);
    bool v4 = net_addr_is_v4(&net->config.interfaces[seg->key.local].addr);
    unsigned mss = seg->mss ? seg->mss : v4 ? TCP_MSS_DEFAULT_V4 : TCP_MSS_DEFAULT_V6;
    unsigned index = COOKIE_MSS_COUNT - 1;
    while (index > 0 && cookie_mss[index] > mss)
        index--;
    struct syn_options o = {
        .mss = ours,
        .wscale = seg->has_ts && seg->wscale != TCP_WSCALE_NONE ? (uint8_t)tcp_wscale(net)
                                                                 : TCP_WSCALE_NONE,
        .sack = seg->has_ts && seg->sack_ok,
        .ts = seg->has_ts,
        .tsval = timestamp_with_options(net, seg) + timestamp_offset(net, &seg->key),
        .tsecr = seg->tsval,
    };
    uint32_t window = net->config.limits.rx_window_bytes;
    struct bare_segment s = {
        .key = &seg->key,
        .mac = seg->frame + 6,
        .seq = cookie_make(net, &seg->key, seg->seq, index),
        .ack = seg->seq + 1,
        .wnd = (uint16_t)(window < 65535 ? window : 65535),
        .flags = TCP_SYN | TCP_ACK,
        .options = options,
        .options_bytes = tcp_options_syn(options, &o),
    };
    if (!tcp_send_bare(net, &s))
        return;
    net->counters.cookies_sent++;
    net->cookie_sent_us = net->now_us;
}

/* The SYN as it must have been, rebuilt from cookie and timestamp. */
static void cookie_syn(const struct net *net, const struct segment *seg, unsigned mss_index,
                       struct segment *syn)
{
    *syn = *seg;
    syn->seq = seg->seq - 1;
    syn->mss = cookie_mss[mss_index];
    syn->sack_ok = false;
    syn->wscale = TCP_WSCALE_NONE;
    if (seg->has_ts) {
        uint32_t bits = (seg->tsecr - timestamp_offset(net, &seg->key)) & TS_OPTION_MASK;
        syn->sack_ok = bits & TS_SACK;
        if ((bits & 15) != TS_NO_SCALE)
            syn->wscale =
                (uint8_t)(bits & 15) > TCP_WSCALE_MAX ? TCP_WSCALE_MAX : (uint8_t)(bits & 15);
    }
}

bool
cookie_input(struct net *net, const struct segment *seg)
{
    struct segment syn;

    /* Without a cookie sent lately there is nothing to guess at. */
    if (net->cookie_sent_us == 0 ||
        net->now_us - net->cookie_sent_us > COOKIE_AGE_MAX * COOKIE_MINUTE_US ||
        (seg->flags & (TCP_SYN | TCP_RST)))
        return false;
    int index = cookie_check(net, &seg->key, seg->ack - 1, seg->seq - 1);
    if (index < 0) {
        net->counters.drop_cookie++;
        return false;
    }
    struct net_conn *c = conn_alloc(net, &seg->key, seg->hash);
    if (!c) {
        net->counters.drop_accept_full++;
        return true;
    }
    net->counters.cookies_accepted++;
    cookie_syn(net, seg, (unsigned)index, &syn);
    memcpy(c->mac, seg->frame + 6, 6);
    c->flags |= F_MAC;
    tcp_options_agree(net, c, &syn);
    c->snd_una = seg->ack - 1;
    c->snd_nxt = c->tx_end = seg->ack;
    /* From here on it is a hand-shake like any other, whose last segment is this one. */
    c->state = TCP_SYN_RCVD;
    net->half_open++;
    tcp_input(net, seg);
    return true;
}
