/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Payload in: straight from the frame to the application when it is in order, else into bounded
 * reassembly.
 *
 *      in order, application reading     on_data(frame bytes)             nothing is copied
 *      in order, application paused      extra->unread, window closes     until net_resume()
 *      ahead of rcv_nxt                  extra->ooo, duplicate ACK        bounded, each and in all
 *      behind rcv_nxt                    dropped, ACK with DSACK
 *
 * rcv_nxt moves only over bytes that the application took or that are kept for it.
 */
#include "dataplane/net/instance.h"

struct tcp_extra *
tcp_extra_get(struct net *net, struct net_conn *c)
{
    if (!c->extra) {
        c->extra = pool_get(&net->extras);
        if (c->extra)
            memset(c->extra, 0, sizeof *c->extra);
    }
    return c->extra;
}

void
tcp_extra_trim(struct net *net, struct net_conn *c)
{
    struct tcp_extra *e = c->extra;
    if (!e || e->ooo || e->unread || e->sacked_count || e->fin_known ||
        e->dsack_start != e->dsack_end)
        return;
    pool_put(&net->extras, e);
    c->extra = NULL;
}

void
tcp_dsack_note(struct net *net, struct net_conn *c, uint32_t start, uint32_t end)
{
    struct tcp_extra *e;
    if (!(c->flags & F_SACK) || start == end || !(e = tcp_extra_get(net, c)))
        return;
    if (e->dsack_start == e->dsack_end) {
        e->dsack_start = start;
        e->dsack_end = end;
    /* touch: report as one */
    } else if (seq_upto(start, e->dsack_end) && seq_upto(e->dsack_start, end)) {
        e->dsack_start = seq_min(e->dsack_start, start);
        e->dsack_end = seq_max(e->dsack_end, end);
    }
}

void
tcp_unread_free(struct net *net, struct net_conn *c)
{
    struct tcp_extra *e = c->extra;
    if (!e)
        return;
    for (struct chunk *k = e->unread, *next; k; k = next) {
        next = k->next;
        chunk_bury(net, k);
    }
    e->unread = e->unread_tail = NULL;
    e->unread_bytes = 0;
}

void
tcp_receive_free(struct net *net, struct net_conn *c)
{
    struct tcp_extra *e = c->extra;
    if (!e)
        return;
    net->ooo_chunks -= e->ooo_chunks;
    for (struct chunk *k = e->ooo, *next; k; k = next) {
        next = k->next;
        chunk_bury(net, k);
    }
    tcp_unread_free(net, c);
    pool_put(&net->extras, e);
    c->extra = NULL;
}

uint32_t
tcp_window_edge(const struct net *net, const struct net_conn *c)
{
    uint32_t window = net->config.limits.rx_window_bytes;
    /* RFC 9293 3.8.6.2.2: no silly windows; RFC 7323 2.4: never back. */
    uint32_t half = window / 2, step = c->mss < half ? c->mss : half;
    int32_t more = (int32_t)(window - (c->rcv_adv - c->rcv_nxt)); /* at most */
    if (LIKELY(more < (int32_t)step))
        return c->rcv_adv;
    uint32_t unread = c->extra ? c->extra->unread_bytes : 0;
    window = unread < window ? window - unread : 0;
    if (window > 65535u << c->rcv_wscale)
        window = 65535u << c->rcv_wscale;
    uint32_t edge = c->rcv_nxt + window;
    if (!seq_before(c->rcv_adv, edge) || edge - c->rcv_adv < step)
        return c->rcv_adv;
    return edge;
}

/* @return bytes kept. */
static uint32_t
unread_append(struct net *net, struct net_conn *c, const uint8_t *bytes, uint32_t n)
{
    struct tcp_extra *e = tcp_extra_get(net, c);
    uint32_t kept = 0;
    while (e && kept < n) {
        struct chunk *tail = e->unread ? e->unread_tail : NULL;
        if (!tail || tail->end == CHUNK_PAYLOAD_BYTES) {
            struct chunk *k = chunk_get(net);
            if (!k)
                break;
            if (tail)
                tail->next = k;
            else
                e->unread = k;
            e->unread_tail = tail = k;
        }
        uint32_t part = CHUNK_PAYLOAD_BYTES - tail->end;
        if (part > n - kept)
            part = n - kept;
        memcpy(tail->data + tail->end, bytes + kept, part);
        tail->end = (uint16_t)(tail->end + part);
        kept += part;
    }
    if (e)
        e->unread_bytes += kept;
    return kept;
}

/*
 * Next bytes of the stream. @return false: not all of them were taken, or the connection is gone.
 */
static inline __attribute__((always_inline)) bool
deliver(struct net *net, struct net_conn *c, const uint8_t *bytes, uint32_t n)
{
    uint32_t taken = 0;
    if (UNLIKELY(!(c->flags & F_ACCEPTED))) { /* net_shutdown(), or in the middle of a drain */
        c->rcv_nxt += n;
        return true;
    }
    if (LIKELY(!(c->flags & F_PAUSED))) {
        taken = net->config.callbacks.on_data(c->user, c, bytes, n);
        CHECK(taken <= n);
        if (c->state == TCP_CLOSED)
            return false;
        if (!(c->flags & F_ACCEPTED))
            taken = n; /* net_close() from inside: it has seen all it wanted */
        if (taken < n)
            c->flags |= F_PAUSED;
    }
    if (UNLIKELY(taken < n))
        taken += unread_append(net, c, bytes + taken, n - taken);
    c->rcv_nxt += taken;
    net->counters.bytes_in += taken;
    if (taken < n) {
        net->counters.drop_rx_memory++;
        c->flags |= F_ACK_NOW;
        return false;
    }
    return true;
}

static void
eof_tell(struct net *net, struct net_conn *c)
{
    if ((c->flags & (F_ACCEPTED | F_PAUSED | F_EOF_TOLD)) != F_ACCEPTED)
        return;
    c->flags |= F_EOF_TOLD;
    net->config.callbacks.on_eof(c->user, c);
}

/* RFC 9293 3.10.7.4, eighth check. */
static void
fin_receive(struct net *net, struct net_conn *c)
{
    c->rcv_nxt++;
    c->flags |= F_FIN_RCVD | F_ACK_NOW;
    tcp_dirty(net, c);
    switch (c->state) {
    case TCP_ESTABLISHED:
        c->state = TCP_CLOSE_WAIT;
        eof_tell(net, c);
        break;
    case TCP_FIN_WAIT_1:
        c->state = TCP_CLOSING;
        break;
    case TCP_FIN_WAIT_2:
        tcp_time_wait(net, c);
        break;
    default:
        break;
    }
}

/* One entry per range: those that the new segment joined to its own go. */
static void
ooo_remember(struct tcp_extra *e, uint32_t seq)
{
    struct sack_range range;
    unsigned n = 0;
    if (!tcp_ooo_range(e, seq, &range))
        return;
    uint32_t recent[4] = {0};
    recent[n++] = seq;
    for (unsigned i = 0; i < e->ooo_recent_count && n < 4; i++)
        if (seq_before(e->ooo_recent[i], range.start) || !seq_before(e->ooo_recent[i], range.end))
            recent[n++] = e->ooo_recent[i];
    memcpy(e->ooo_recent, recent, sizeof recent);
    e->ooo_recent_count = (uint8_t)n;
}

static struct chunk *
ooo_chunk(struct net *net, struct tcp_extra *e, uint32_t seq)
{
    uint32_t chunks_max = net->config.limits.reassembly_bytes_max / CHUNK_BYTES;
    if (e->ooo_chunks >= chunks_max || e->ooo_chunks >= TCP_OOO_CHUNKS_MAX ||
        net->ooo_chunks >= net->ooo_chunks_max)
        return NULL;
    struct chunk *k = chunk_get(net);
    if (!k)
        return NULL;
    k->seq = seq;
    e->ooo_chunks++;
    net->ooo_chunks++;
    return k;
}

/* Keep what of [seq, seq + n) is not kept already. @return false: no room for all of it. */
static bool
ooo_insert(struct net *net, struct net_conn *c, uint32_t seq, const uint8_t *bytes, uint32_t n)
{
    struct tcp_extra *e = c->extra;
    struct chunk **link = &e->ooo, *before = NULL;
    while (n) {
        while (*link && seq_upto((*link)->seq + (*link)->end, seq)) {
            before = *link;
            link = &before->next;
        }
        struct chunk *k = *link;
        uint32_t part = n;
        if (k && seq_upto(k->seq + k->start, seq)) { /* the first copy stays */
            uint32_t have = k->seq + k->end - seq;
            part = have < n ? have : n;
            tcp_dsack_note(net, c, seq, seq + part);
        } else {
            if (k && k->seq + k->start - seq < part)
                part = k->seq + k->start - seq;
            if (!before || before->seq + before->end != seq || before->end == CHUNK_PAYLOAD_BYTES) {
                before = ooo_chunk(net, e, seq);
                if (!before)
                    return false;
                before->next = k;
                *link = before;
            }
            if (part > (uint32_t)CHUNK_PAYLOAD_BYTES - before->end)
                part = CHUNK_PAYLOAD_BYTES - before->end;
            memcpy(before->data + before->end, bytes, part);
            before->end = (uint16_t)(before->end + part);
            link = &before->next;
        }
        seq += part;
        bytes += part;
        n -= part;
    }
    return true;
}

/* Deliver what has become contiguous. @return false: the connection is gone. */
static bool
ooo_drain(struct net *net, struct net_conn *c)
{
    struct chunk *k;
    while (c->extra && (k = c->extra->ooo) && seq_upto(k->seq + k->start, c->rcv_nxt)) {
        struct tcp_extra *e = c->extra;
        e->ooo = k->next;
        e->ooo_chunks--;
        net->ooo_chunks--;
        uint32_t end = k->seq + k->end;
        bool taken = true;
        if (seq_before(c->rcv_nxt, end)) {
            uint32_t skip = c->rcv_nxt - k->seq;
            taken = deliver(net, c, k->data + skip, k->end - skip);
        }
        chunk_bury(net, k); /* on_data's bytes stay readable until the turn ends */
        if (c->state == TCP_CLOSED)
            return false;
        if (!taken)
            break;
    }
    return true;
}

static void
receive_ahead(struct net *net, struct net_conn *c, const struct segment *seg, uint32_t start,
              const uint8_t *bytes, uint32_t n, bool fin)
{
    struct tcp_extra *e = tcp_extra_get(net, c);
    if (e && n) {
        if (ooo_insert(net, c, start, bytes, n))
            net->counters.out_of_order++;
        else
            net->counters.drop_reassembly++;
        ooo_remember(e, start);
    } else if (n) {
        net->counters.drop_reassembly++;
    }
    if (e && fin) {
        e->fin_known = true;
        e->fin_seq = seg->seq + seg->bytes;
    }
    tcp_extra_trim(net, c);
    tcp_send_ack(net, c); /* RFC 5681 4.2: at once, each time */
}

static inline void
ack_owe(struct net *net, struct net_conn *c)
{
    c->flags |= F_ACK_DELAYED;
    if (c->rcv_nxt - c->last_ack >= 2u * c->mss)
        c->flags |= F_ACK_NOW; /* RFC 5681 4.2: every second full segment */
    tcp_dirty(net, c);
}

void
tcp_receive_predicted(struct net *net, struct net_conn *c, const uint8_t *bytes, uint32_t n)
{
    if (LIKELY(deliver(net, c, bytes, n)))
        ack_owe(net, c);
    else if (c->state != TCP_CLOSED)
        tcp_dirty(net, c);
}

void
tcp_receive_in_order(struct net *net, struct net_conn *c, const uint8_t *bytes, uint32_t n,
                          bool fin)
{
    bool hole = c->extra && (c->extra->ooo || c->extra->fin_known);

    if (n && !deliver(net, c, bytes, n)) {
        if (c->state != TCP_CLOSED)
            tcp_dirty(net, c);
        return;
    }
    if (UNLIKELY(hole)) {
        c->flags |= F_ACK_NOW; /* RFC 5681 4.2: at once when a gap fills */
        if (!ooo_drain(net, c))
            return;
        if (c->extra && c->extra->fin_known && c->rcv_nxt == c->extra->fin_seq)
            fin = true;
        if (fin && c->extra)
            c->extra->fin_known = false;
        tcp_extra_trim(net, c);
    }
    ack_owe(net, c);
    if (UNLIKELY(fin))
        fin_receive(net, c);
}

static void
receive_old(struct net *net, struct net_conn *c, const struct segment *seg)
{
    net->counters.duplicate_data++;
    tcp_dsack_note(net, c, seg->seq, seq_min(seg->seq + seg->bytes, c->rcv_nxt));
    tcp_send_ack(net, c);
}

void
tcp_receive(struct net *net, struct net_conn *c, const struct segment *seg)
{
    uint32_t start = seg->seq, end = seg->seq + seg->bytes;
    bool fin = seg->flags & TCP_FIN;
    const uint8_t *bytes = seg->payload;

    if (c->flags & F_FIN_RCVD) { /* the stream is complete: only old segments can be right */
        tcp_send_ack(net, c);
        return;
    }
    if (UNLIKELY(seq_before(start, c->rcv_nxt))) {
        if (seq_upto(end, c->rcv_nxt) && !(fin && end == c->rcv_nxt)) {
            receive_old(net, c, seg);
            return;
        }
        tcp_dsack_note(net, c, start, c->rcv_nxt);
        bytes += c->rcv_nxt - start;
        start = c->rcv_nxt;
    }
    if (UNLIKELY(!(c->flags & (F_ACCEPTED | F_DISCARD)) && seq_before(start, end))) {
        net->counters.drop_after_close++; /* RFC 1122 4.2.2.13: nobody will read this */
        net_abort(net, c);
        return;
    }
    if (UNLIKELY(seq_before(c->rcv_adv, end))) {
        end = seq_max(c->rcv_adv, start);
        fin = false;
        net->counters.drop_window++;
        if (start == end) {
            tcp_send_ack(net, c);
            return;
        }
    }
    if (LIKELY(start == c->rcv_nxt))
        tcp_receive_in_order(net, c, bytes, end - start, fin);
    else
        receive_ahead(net, c, seg, start, bytes, end - start, fin);
}

void
tcp_resume(struct net *net, struct net_conn *c)
{
    c->flags &= ~(F_RESUME | F_PAUSED);
    while (c->extra && c->extra->unread) {
        struct chunk *k = c->extra->unread;
        uint32_t n = (uint32_t)(k->end - k->start);
        c->extra->unread = k->next; /* off the list: a net_close() on the last bytes is orderly */
        c->extra->unread_bytes -= n;
        uint32_t taken = net->config.callbacks.on_data(c->user, c, k->data + k->start, n);
        CHECK(taken <= n);
        if (taken == n || !(c->flags & F_ACCEPTED)) {
            chunk_bury(net, k);
            if (!(c->flags & F_ACCEPTED))
                return; /* closed, whichever way */
            continue;
        }
        k->start = (uint16_t)(k->start + taken);
        k->next = c->extra->unread;
        if (!k->next)
            c->extra->unread_tail = k;
        c->extra->unread = k;
        c->extra->unread_bytes += n - taken;
        c->flags |= F_PAUSED;
        break;
    }
    tcp_extra_trim(net, c);
    uint32_t gain = tcp_window_edge(net, c) - c->rcv_adv;
    if (gain >= 2u * c->mss || gain >= net->config.limits.rx_window_bytes / 2)
        c->flags |= F_ACK_NOW; /* tell the peer that the window is open again */
    if (c->flags & F_FIN_RCVD)
        eof_tell(net, c);
}
