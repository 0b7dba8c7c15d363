/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/net/instance.h"
#include "dataplane/net/ip.h"

enum {
    OPTION_END,
    OPTION_NOP,
    OPTION_MSS,
    OPTION_WSCALE,
    OPTION_SACK_OK,
    OPTION_SACK,
    OPTION_TS = 8
};

#define OPTION_TS_ALIGNED 0x0101080au /* NOP NOP TS 10: what every stack sends */

static void
option_take(struct segment *seg, const uint8_t *p, unsigned length)
{
    switch (p[0]) {
    case OPTION_MSS:
        if (length == 4 && (seg->flags & TCP_SYN))
            seg->mss = load16(p + 2);
        break;
    case OPTION_WSCALE:
        if (length == 3 && (seg->flags & TCP_SYN))
            seg->wscale = p[2] > TCP_WSCALE_MAX ? TCP_WSCALE_MAX : p[2]; /* RFC 7323 2.3 */
        break;
    case OPTION_SACK_OK:
        if (length == 2 && (seg->flags & TCP_SYN))
            seg->sack_ok = true;
        break;
    case OPTION_SACK:
        if (length >= 10 && (length - 2) % 8 == 0) {
            seg->sack = p + 2;
            seg->sack_count = (uint8_t)((length - 2) / 8);
        }
        break;
    case OPTION_TS:
        if (length == 10) {
            seg->has_ts = true;
            seg->tsval = load32(p + 2);
            seg->tsecr = load32(p + 6);
        }
        break;
    default:
        break; /* RFC 9293 MUST-6: unknown options are skipped */
    }
}

int
tcp_options_parse(struct segment *seg, const uint8_t *header, unsigned bytes)
{
    const uint8_t *p = header + TCP_HEADER_BYTES, *end = header + bytes;

    seg->has_ts = seg->sack_ok = false;
    seg->wscale = TCP_WSCALE_NONE;
    seg->sack_count = 0;
    seg->mss = 0;
    if (LIKELY(end - p == 12 && load32(p) == OPTION_TS_ALIGNED)) {
        seg->has_ts = true;
        seg->tsval = load32(p + 4);
        seg->tsecr = load32(p + 8);
        return 0;
    }
    while (p < end && *p != OPTION_END) {
        if (*p == OPTION_NOP) {
            p++;
            continue;
        }
        /* RFC 9293 MUST-7: an illegal length must not crash; what it hides cannot be trusted. */
        if (end - p < 2 || p[1] < 2 || p[1] > end - p)
            return -1;
        option_take(seg, p, p[1]);
        p += p[1];
    }
    return 0;
}

static uint8_t *
timestamp_write(uint8_t *p, uint32_t tsval, uint32_t tsecr)
{
    store32(p, OPTION_TS_ALIGNED);
    store32(p + 4, tsval);
    store32(p + 8, tsecr);
    return p + 12;
}

unsigned
tcp_options_timestamp(uint8_t *out, uint32_t tsval, uint32_t tsecr)
{
    return (unsigned)(timestamp_write(out, tsval, tsecr) - out);
}

unsigned
tcp_options_syn(uint8_t *out, const struct syn_options *options)
{
    uint8_t *p = out;
    p[0] = OPTION_MSS;
    p[1] = 4;
    store16(p + 2, options->mss);
    p += 4;
    if (options->sack) {
        memcpy(p, (uint8_t[]){OPTION_NOP, OPTION_NOP, OPTION_SACK_OK, 2}, 4);
        p += 4;
    }
    if (options->ts)
        p = timestamp_write(p, options->tsval, options->tsecr);
    if (options->wscale != TCP_WSCALE_NONE) {
        memcpy(p, (uint8_t[]){OPTION_NOP, OPTION_WSCALE, 3, options->wscale}, 4);
        p += 4;
    }
    return (unsigned)(p - out);
}

bool
tcp_ooo_range(const struct tcp_extra *extra, uint32_t seq, struct sack_range *range)
{
    const struct chunk *k = extra->ooo;
    while (k) {
        range->start = k->seq + k->start;
        range->end = k->seq + k->end;
        for (k = k->next; k && k->seq + k->start == range->end; k = k->next)
            range->end = k->seq + k->end;
        if (seq_upto(range->start, seq) && seq_before(seq, range->end))
            return true;
    }
    return false;
}

/*
 * RFC 2018 section 4: first the range with the segment that caused this ACK, then those reported
 * before.
 */
static unsigned
sack_collect(const struct tcp_extra *extra, struct sack_range *ranges, unsigned max)
{
    unsigned n = 0;
    if (extra->dsack_start != extra->dsack_end)
        ranges[n++] = (struct sack_range){extra->dsack_start, extra->dsack_end};
    unsigned first = n;
    for (unsigned i = 0; i < extra->ooo_recent_count && n < max; i++) {
        if (!tcp_ooo_range(extra, extra->ooo_recent[i], &ranges[n]))
            continue;
        bool known = false;
        for (unsigned j = first; j < n; j++)
            known |= ranges[j].start == ranges[n].start;
        n += !known;
    }
    return n;
}

static unsigned
sack_count(const struct net_conn *c, struct sack_range *ranges)
{
    return c->flags & F_SACK ? sack_collect(c->extra, ranges, c->flags & F_TS ? 3 : 4) : 0;
}

unsigned
tcp_sack_bytes(const struct net_conn *c)
{
    struct sack_range ranges[4];
    unsigned n = sack_count(c, ranges);
    return n ? 4 + 8 * n : 0;
}

static void
sack_write(struct net *net, struct net_conn *c, uint8_t *p)
{
    struct sack_range ranges[4];
    unsigned n = sack_count(c, ranges);

    c->extra->dsack_start = c->extra->dsack_end = 0;
    if (n) {
        memcpy(p, (uint8_t[]){OPTION_NOP, OPTION_NOP, OPTION_SACK, (uint8_t)(2 + 8 * n)}, 4);
        p += 4;
        for (unsigned i = 0; i < n; i++, p += 8) {
            store32(p, ranges[i].start);
            store32(p + 4, ranges[i].end);
        }
    }
    tcp_extra_trim(net, c);
}

void
tcp_options_write(struct net *net, struct net_conn *c, uint8_t *out)
{
    if (c->flags & F_TS)
        out = timestamp_write(out, net->now_ms + c->ts_offset, c->ts_recent);
    if (UNLIKELY(c->extra != NULL))
        sack_write(net, c, out);
}
