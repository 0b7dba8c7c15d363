/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The SACK scoreboard, and what RFC 6675 asks of it: which bytes are lost, how many are in the
 * network ("pipe"), what to send next. A peer without SACK is treated alike, a duplicate ACK
 * standing for one segment that arrived (RFC 6582).
 *
 * Bounded: SACK_RANGES_MAX ranges; one that does not fit is forgotten, which costs at most a
 * needless retransmission. Renege-safe (RFC 2018 section 8): nothing is freed before it is
 * acknowledged, and an RTO clears the board.
 */
#include "dataplane/net/instance.h"
#include "dataplane/net/ip.h"

static bool
range_valid(const struct net_conn *c, struct sack_range r)
{
    return seq_before(r.start, r.end) && seq_before(c->snd_una, r.start) &&
           seq_upto(r.end, c->snd_nxt);
}

/* Insert and merge. @return true: it covers something new. */
static bool
range_add(struct tcp_extra *extra, struct sack_range r)
{
    unsigned i = 0, n = extra->sacked_count, j;
    while (i < n && seq_before(extra->sacked[i].end, r.start))
        i++;
    if (i < n && seq_upto(extra->sacked[i].start, r.start) && seq_upto(r.end, extra->sacked[i].end))
        return false;
    for (j = i; j < n && seq_upto(extra->sacked[j].start, r.end); j++) {
        r.start = seq_min(r.start, extra->sacked[j].start);
        r.end = seq_max(r.end, extra->sacked[j].end);
    }
    if (j == i) { /* touches none: make room */
        if (n == SACK_RANGES_MAX)
            return false;
        memmove(&extra->sacked[i + 1], &extra->sacked[i], (n - i) * sizeof r);
        extra->sacked_count++;
    } else { /* replaces [i, j) */
        memmove(&extra->sacked[i + 1], &extra->sacked[j], (n - j) * sizeof r);
        extra->sacked_count = (uint16_t)(n - (j - i) + 1);
    }
    extra->sacked[i] = r;
    return true;
}

static struct sack_range
range_load(const struct segment *seg, unsigned i)
{
    return (struct sack_range){load32(seg->sack + 8 * i), load32(seg->sack + 8 * i + 4)};
}

bool
sack_update(struct net *net, struct net_conn *c, const struct segment *seg, bool *dsack)
{
    bool news = false;
    *dsack = false;
    if (!(c->flags & F_SACK))
        return false;
    net->counters.sack_received++;
    struct sack_range first = range_load(seg, 0);
    /* RFC 2883 section 4: below the ACK, or inside the second block. */
    *dsack = seq_upto(first.end, seg->ack);
    if (seg->sack_count > 1 && !*dsack) {
        struct sack_range second = range_load(seg, 1);
        *dsack = seq_upto(second.start, first.start) && seq_upto(first.end, second.end);
    }
    for (unsigned i = *dsack; i < seg->sack_count && i < 4; i++) {
        struct sack_range r = range_load(seg, i);
        if (seq_upto(r.end, c->snd_una))
            continue; /* overtaken by a newer ACK */
        if (!range_valid(c, r) || !tcp_extra_get(net, c)) {
            net->counters.sack_ignored++;
            continue;
        }
        news |= range_add(c->extra, r);
    }
    return news;
}

void
sack_advance(struct net *net, struct net_conn *c)
{
    struct tcp_extra *extra = c->extra;
    unsigned gone = 0;
    if (!extra || extra->sacked_count == 0)
        return;
    while (gone < extra->sacked_count && seq_upto(extra->sacked[gone].end, c->snd_una))
        gone++;
    extra->sacked_count = (uint16_t)(extra->sacked_count - gone);
    memmove(extra->sacked, extra->sacked + gone, extra->sacked_count * sizeof *extra->sacked);
    if (extra->sacked_count && seq_upto(extra->sacked[0].start, c->snd_una))
        extra->sacked[0].start = c->snd_una + 1; /* reneged and acknowledged: keep the invariant */
    if (extra->sacked_count && seq_upto(extra->sacked[0].end, extra->sacked[0].start))
        extra->sacked_count = 0;
    tcp_extra_trim(net, c);
}

void
sack_clear(struct net *net, struct net_conn *c)
{
    if (c->extra) {
        c->extra->sacked_count = 0;
        tcp_extra_trim(net, c);
    }
}

static unsigned
sacked_count(const struct net_conn *c)
{
    return c->extra ? c->extra->sacked_count : 0;
}

/*
 * Duplicate ACKs or SACKed segments that mean loss: 3; fewer when too little is outstanding to ever
 * cause three and there is nothing new to send (RFC 5827 early retransmit); 1 once a tail loss
 * probe has given reordering its time.
 */
static unsigned
loss_threshold(const struct net_conn *c)
{
    if ((c->flags & F_PROBED) && seq_before(c->snd_una, c->rtx_next))
        return 1;
    uint32_t outstanding = c->snd_nxt - c->snd_una;
    if (c->tx_end == c->snd_nxt || (c->flags & F_FIN_SENT)) {
        uint32_t segments = (outstanding + c->mss - 1) / c->mss;
        if (segments < 2 && sacked_count(c) == 0)
            return TCP_DUPACKS; /* the loss of the only segment causes no duplicates */
        if (segments <= TCP_DUPACKS)
            return segments > 2 ? segments - 1 : 1;
    }
    return TCP_DUPACKS;
}

/* RFC 6675 section 4 IsLost(): of the hole just before sacked[i]. */
static bool
hole_lost(const struct net_conn *c, unsigned i)
{
    const struct tcp_extra *extra = c->extra;
    unsigned threshold = loss_threshold(c);
    uint32_t bytes = 0;
    if (extra->sacked_count - i >= threshold)
        return true;
    for (; i < extra->sacked_count; i++)
        bytes += extra->sacked[i].end - extra->sacked[i].start;
    return bytes > (threshold - 1) * c->mss;
}

bool
sack_head_lost(const struct net_conn *c)
{
    if (c->dupacks >= loss_threshold(c))
        return true;
    return sacked_count(c) && hole_lost(c, 0);
}

static uint32_t
overlap(uint32_t start, uint32_t end, uint32_t upto)
{
    return seq_before(start, upto) ? seq_min(end, upto) - start : 0;
}

/* SACKed bytes below `upto`. */
static uint32_t
sacked_bytes(const struct net_conn *c, uint32_t upto)
{
    uint32_t bytes = 0;
    for (unsigned i = 0; i < sacked_count(c); i++)
        bytes += overlap(c->extra->sacked[i].start, c->extra->sacked[i].end, upto);
    return bytes;
}

/* RFC 6675 SetPipe() over the holes. */
static uint32_t
pipe_of_holes(const struct net_conn *c)
{
    const struct tcp_extra *extra = c->extra;
    uint32_t pipe = 0, start = c->snd_una;
    for (unsigned i = 0; i <= extra->sacked_count; i++) {
        uint32_t end = i < extra->sacked_count ? extra->sacked[i].start : c->snd_nxt;
        bool lost = i < extra->sacked_count && hole_lost(c, i);
        if (!lost)
            pipe += end - start;
        pipe += overlap(start, end, c->rtx_next);
        if (i < extra->sacked_count)
            start = extra->sacked[i].end;
    }
    return pipe;
}

uint32_t
sack_pipe(const struct net_conn *c)
{
    uint32_t flight = c->snd_nxt - c->snd_una, out = 0;

    if (!(c->flags & (F_RECOVERY | F_LOSS))) {
        out = sacked_bytes(c, c->snd_nxt);
        if (out == 0 && c->dupacks) /* RFC 3042 limited transmit */
            out = (c->dupacks < 2 ? c->dupacks : 2u) * c->mss;
        return flight > out ? flight - out : 0;
    }
    if (c->flags & F_LOSS) {
        uint32_t lost = seq_before(c->rtx_next, c->recover) ? c->recover - c->rtx_next : 0;
        out = lost + sacked_bytes(c, seq_min(c->rtx_next, c->recover));
        return flight > out ? flight - out : 0;
    }
    if (sacked_count(c))
        return pipe_of_holes(c);
    out = c->dupacks * (uint32_t)c->mss;
    if (c->rtx_next == c->snd_una)
        out += c->mss;
    return flight > out ? flight - out : 0;
}

/* In F_LOSS all that is not SACKed is to be sent again. */
static uint32_t
next_in_loss(const struct net_conn *c, uint32_t *seq)
{
    uint32_t at = c->rtx_next;
    for (unsigned i = 0; i < sacked_count(c); i++) {
        const struct sack_range *r = &c->extra->sacked[i];
        if (seq_before(at, r->start))
            break;
        at = seq_max(at, r->end);
    }
    *seq = at;
    if (!seq_before(at, c->recover))
        return 0;
    uint32_t end = c->recover;
    for (unsigned i = 0; i < sacked_count(c); i++)
        if (seq_before(at, c->extra->sacked[i].start)) {
            end = seq_min(end, c->extra->sacked[i].start);
            break;
        }
    return end - at;
}

uint32_t
sack_next(const struct net_conn *c, bool rescue, uint32_t *seq)
{
    if (c->flags & F_LOSS)
        return next_in_loss(c, seq);
    if (sacked_count(c) == 0) { /* NewReno: the head, once per partial ACK */
        *seq = c->snd_una;
        return c->rtx_next == c->snd_una ? c->snd_nxt - c->snd_una : 0;
    }
    uint32_t start = c->snd_una;
    for (unsigned i = 0; i < c->extra->sacked_count; i++) {
        uint32_t end = c->extra->sacked[i].start;
        uint32_t at = seq_max(start, c->rtx_next);
        bool head = i == 0 && c->rtx_next == c->snd_una;
        if (seq_before(at, end) && (rescue || head || hole_lost(c, i))) {
            *seq = at;
            return end - at;
        }
        start = c->extra->sacked[i].end;
    }
    return 0;
}
