/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Segments out. A turn's answers are queued by net_send() and leave here, from net_flush(), in as
 * few segments as the windows allow; every segment carries the newest ACK, so an owed ACK leaves
 * alone only when nothing else does.
 *
 *   tcp_output:  lost segments (F_RECOVERY, F_LOSS)  ->  new data, FIN  ->  owed ACK  ->  deadlines
 */
#include "dataplane/net/instance.h"
#include "dataplane/net/ip_out.h"

#define PERSIST_MIN_MS 50u

void
tcp_touch(struct net *net, struct net_conn *c)
{
    c->flags |= F_DIRTY;
    net->dirty[net->dirty_tail++ & net->dirty_mask] = conn_id(net, c);
}

uint32_t
tcp_timestamp(const struct net *net, const struct net_conn *c)
{
    return net->now_ms + c->ts_offset;
}

/* ---- the send queue ---- */

uint32_t
net_send_space(const struct net *net, const struct net_conn *c)
{
    if ((c->state != TCP_ESTABLISHED && c->state != TCP_CLOSE_WAIT) || (c->flags & F_FIN_QUEUED))
        return 0;
    uint32_t queued = c->tx_end - c->snd_una, max = net->config.limits.tx_bytes_max;
    return queued < max ? max - queued : 0;
}

uint32_t
net_unacked_bytes(const struct net_conn *c)
{
    if (c->state < TCP_ESTABLISHED)
        return 0;
    uint32_t bytes = c->tx_end - c->snd_una;
    return (int32_t)bytes > 0 ? bytes : 0; /* -1 once the FIN is acknowledged */
}

static struct chunk *
queue_tail(const struct net_conn *c)
{
    struct chunk *head = c->tx_head;
    return head && head->next ? c->tx_tail : head;
}

/* Another chunk at the end of the queue, if there is one (@return k). */
static struct chunk *
queue_append(struct net_conn *c, struct chunk *k)
{
    struct chunk *head = c->tx_head, *tail = queue_tail(c);
    if (!k)
        return NULL;
    k->seq = c->tx_end;
    if (!tail) {
        c->tx_head = k;
        return k;
    }
    if (tail == head)
        c->tx_cursor = NULL;
    c->flags &= ~F_LONE;
    tail->next = k;
    c->tx_tail = k;
    return k;
}

/* The chunk that the next bytes go to, with room for `least`; a small one for little that nothing
 * waits before. NULL: none to be had. */
static inline struct chunk *
queue_room(struct net *net, struct net_conn *c, uint32_t least, uint32_t wanted)
{
    struct chunk *k = queue_tail(c);
    if (k && k->end + least <= chunk_capacity(k))
        return k;
    struct chunk *fresh = NULL;
    if (!k && wanted <= CHUNK_SMALL_PAYLOAD_BYTES)
        fresh = chunk_get_small(net);
    if (LIKELY(fresh != NULL))
        c->flags |= F_LONE;
    else
        fresh = chunk_get(net);
    return queue_append(c, fresh);
}

static inline void
queue_advance(struct net_conn *c, struct chunk *k, uint32_t n)
{
    k->end = (uint16_t)(k->end + n);
    c->tx_end += n;
}

/* What net_send() owes after it took `done` of `n` bytes. */
static inline void
queued_upto(struct net *net, struct net_conn *c, uint32_t done, uint32_t n)
{
    if (done)
        tcp_dirty(net, c);
    if (UNLIKELY(done < n) && (c->flags & F_ACCEPTED)) {
        net->counters.send_short++;
        c->flags |= F_WANT_WRITABLE;
        if (c->tx_end == c->snd_una) { /* no ACK will come to wake us */
            c->flags |= F_WRITABLE_DUE;
            tcp_timer_arm(net, c, net->now_ms + 10);
        }
    }
}

uint32_t
net_send(struct net *net, struct net_conn *c, const uint8_t *bytes, uint32_t n)
{
    uint32_t space = net_send_space(net, c), done = 0;
    uint32_t take = n < space ? n : space;

    while (done < take) {
        struct chunk *k = queue_room(net, c, 1, take - done);
        if (!k)
            break;
        uint32_t part = chunk_capacity(k) - k->end;
        if (part > take - done)
            part = take - done;
        memcpy(k->data + k->end, bytes + done, part);
        queue_advance(c, k, part);
        done += part;
    }
    queued_upto(net, c, done, n);
    return done;
}

uint8_t *
net_send_room(struct net *net, struct net_conn *c, uint32_t least, uint32_t wanted, uint32_t *room)
{
    uint32_t space = net_send_space(net, c);
    if (UNLIKELY(space < least || least > CHUNK_PAYLOAD_BYTES))
        return NULL;
    struct chunk *k = queue_room(net, c, least, wanted);
    if (UNLIKELY(!k))
        return NULL;
    uint32_t free_bytes = chunk_capacity(k) - k->end;
    *room = free_bytes < space ? free_bytes : space;
    return k->data + k->end;
}

void
net_send_written(struct net *net, struct net_conn *c, uint32_t n)
{
    struct chunk *k = queue_tail(c);
    CHECK(n > 0 && k->end + n <= chunk_capacity(k));
    queue_advance(c, k, n);
    tcp_dirty(net, c);
}

uint32_t
net_send_reference(struct net *net, struct net_conn *c, const uint8_t *bytes, uint32_t n,
                   void *holder)
{
    uint32_t space = net_send_space(net, c), done = 0;
    uint32_t take = n < space ? n : space;
    struct chunk *last = NULL, *k;

    while (done < take && (k = queue_append(c, chunk_get_reference(net))) != NULL) {
        uint32_t part = take - done;
        if (part > CHUNK_REFERENCE_BYTES_MAX)
            part = CHUNK_REFERENCE_BYTES_MAX;
        k->end = (uint16_t)part;
        k->reference.bytes = bytes + done;
        k->reference.holder = NULL;
        c->tx_end += part;
        done += part;
        last = k;
    }
    if (last) { /* chunks are freed in order: the last keeps them all */
        last->reference.holder = holder;
        net->config.callbacks.reference_hold(net->config.callbacks_ctx, holder);
    }
    queued_upto(net, c, done, n);
    return done;
}

void
tcp_queue_trim(struct net *net, struct net_conn *c, uint32_t upto)
{
    struct chunk *k = c->tx_head;
    if (LIKELY((c->flags & F_LONE) && upto == c->tx_end)) {
        pool_put(&net->small_chunks, k);
        c->tx_head = NULL;
        c->flags &= ~F_LONE;
        return;
    }
    while (k && seq_upto(k->seq + k->end, upto)) {
        c->flags &= ~F_LONE;
        c->tx_head = k->next;
        if (k->next && c->tx_cursor == k)
            c->tx_cursor = NULL;
        if (UNLIKELY(chunk_reference(k)) && k->reference.holder)
            net->config.callbacks.reference_drop(net->config.callbacks_ctx, k->reference.holder);
        chunk_put(net, k);
        k = c->tx_head;
    }
}

/*
 * Large values are seldom in the cache, and where a page ends nothing fetches ahead by itself: what
 * leaves so many segments from now is on its way while those before are copied and summed.
 */
#define REFERENCE_SEGMENTS_AHEAD 2

static inline void
chunk_copy(const struct chunk *k, uint32_t at, uint8_t *out, uint32_t n)
{
    if (LIKELY(!chunk_reference(k))) {
        memcpy(out, k->data + at, n);
        return;
    }
    const uint8_t *bytes = k->reference.bytes;
    uint32_t from = at + REFERENCE_SEGMENTS_AHEAD * n;
    uint32_t upto = from + n < k->end ? from + n : k->end;
    for (; from < upto; from += 64)
        __builtin_prefetch(bytes + from);
    memcpy(out, bytes + at, n);
}

static void
queue_copy(struct net_conn *c, uint32_t seq, uint8_t *out, uint32_t n)
{
    struct chunk *head = c->tx_head;
    if (LIKELY(!head->next)) { /* the cursor lies in the cold line */
        chunk_copy(head, seq - head->seq, out, n);
        return;
    }
    struct chunk *k = c->tx_cursor;
    if (!k || seq_before(seq, k->seq))
        k = head;
    while (n) {
        while (seq_upto(k->seq + k->end, seq))
            k = k->next;
        uint32_t at = seq - k->seq, part = k->end - at;
        if (part > n)
            part = n;
        chunk_copy(k, at, out, part);
        out += part;
        seq += part;
        n -= part;
    }
    c->tx_cursor = k;
}

/* ---- one segment ---- */

static void header_write(uint8_t *p, const struct flow_key *key, uint32_t seq, uint32_t ack,
                         unsigned header_bytes, uint8_t flags, uint16_t wnd)
{
    memcpy(p, &key->local_port, 2);
    memcpy(p + 2, &key->remote_port, 2);
    store32(p + 4, seq);
    store32(p + 8, ack);
    p[12] = (uint8_t)(header_bytes << 2);
    p[13] = flags;
    store16(p + 14, wnd);
    store32(p + 16, 0); /* checksum, urgent pointer */
}

bool
tcp_send_bare(struct net *net, const struct bare_segment *s)
{
    unsigned header = TCP_HEADER_BYTES + s->options_bytes;
    struct ip_out out;
    if (!ip_begin(net, &out, s->mac, s->key->local, s->key->remote, PROTOCOL_TCP, header))
        return false;
    header_write(out.l4, s->key, s->seq, s->ack, header, s->flags, s->wnd);
    if (s->options_bytes)
        memcpy(out.l4 + TCP_HEADER_BYTES, s->options, s->options_bytes);
    net->counters.segments_out++;
    ip_send(net, &out, 16);
    return true;
}

/*
 * The window field for the right edge to advertise, rounded up: the edge must not move left by the
 * scaling.
 */
static uint16_t
window_field(struct net *net, struct net_conn *c)
{
    uint32_t edge = tcp_window_edge(net, c);
    uint32_t window = seq_before(c->rcv_nxt, edge) ? edge - c->rcv_nxt : 0;
    uint32_t field = (window + (1u << c->rcv_wscale) - 1) >> c->rcv_wscale;
    if (field > 65535)
        field = 65535;
    c->rcv_adv = seq_max(c->rcv_adv, c->rcv_nxt + (field << c->rcv_wscale));
    return (uint16_t)field;
}

bool
tcp_send_segment(struct net *net, struct net_conn *c, uint32_t seq, uint32_t bytes, uint8_t flags)
{
    unsigned header = TCP_HEADER_BYTES + tcp_options_bytes(c);
    struct ip_out out;

    if (!ip_begin(net, &out, c->mac, c->key.local, c->key.remote, PROTOCOL_TCP, header + bytes))
        return false;
    header_write(out.l4, &c->key, seq, c->rcv_nxt, header, flags | TCP_ACK, window_field(net, c));
    tcp_options_write(net, c, out.l4 + TCP_HEADER_BYTES);
    if (bytes)
        queue_copy(c, seq, out.l4 + header, bytes);
    net->counters.segments_out++;
    ip_send(net, &out, 16);
    c->last_ack = c->rcv_nxt;
    c->flags &= ~(F_ACK_NOW | F_ACK_DELAYED | F_ACK_TIMED);
    return true;
}

void
tcp_send_ack(struct net *net, struct net_conn *c)
{
    uint32_t seq = c->snd_nxt;
    /* Beyond a shrunken window the peer would not accept it (RFC 9293 3.8.6, as Linux). */
    if (seq_before(c->snd_una + c->snd_wnd, seq))
        seq = c->snd_una + c->snd_wnd;
    if (tcp_send_segment(net, c, seq, 0, 0)) {
        net->counters.acks_pure++;
    } else {
        c->flags |= F_ACK_NOW;
        tcp_dirty(net, c);
    }
}

void
tcp_send_challenge(struct net *net, struct net_conn *c)
{
    uint16_t second = (uint16_t)(net->now_ms >> 10);
    if (c->challenge_second != second || c->challenge_count == 0) { /* count: left, plus one */
        c->challenge_second = second;
        c->challenge_count =
            (uint8_t)(TCP_CHALLENGE_MAX / 2 + net_random(net) % TCP_CHALLENGE_MAX + 1);
    }
    if (c->challenge_count == 1) {
        net->counters.drop_challenge_limit++;
        return;
    }
    c->challenge_count--;
    net->counters.challenge_acks++;
    tcp_send_ack(net, c);
}

void
tcp_send_rst(struct net *net, struct net_conn *c)
{
    struct bare_segment s = {.key = &c->key,
                             .mac = c->mac,
                             .seq = c->snd_nxt,
                             .ack = c->rcv_nxt,
                             .flags = TCP_RST | TCP_ACK};
    net->counters.resets_out += tcp_send_bare(net, &s);
}

/* ---- what may be sent ---- */

uint32_t
tcp_mss_now(const struct net_conn *c)
{
    const struct tcp_extra *e = c->extra;
    bool blocks = e && (c->flags & F_SACK) && (e->ooo || e->dsack_start != e->dsack_end);
    return blocks ? c->mss - 36u : c->mss; /* SACK blocks take their room from the data */
}

/*
 * Again [seq, seq + n) as one segment, n counting a FIN. @return sequence numbers sent; 0: no
 * frame.
 */
static uint32_t
segment_again(struct net *net, struct net_conn *c, uint32_t seq, uint32_t n)
{
    uint32_t mss = tcp_mss_now(c);
    if (n > mss)
        n = mss;
    uint32_t bytes = seq_before(seq, c->tx_end) ? c->tx_end - seq : 0;
    if (bytes > n)
        bytes = n;
    uint8_t flags = seq + bytes == c->tx_end ? TCP_PSH : 0;
    bool fin = (c->flags & F_FIN_SENT) && seq + bytes == c->tx_end;
    if (!tcp_send_segment(net, c, seq, bytes, fin ? flags | TCP_FIN : flags))
        return 0;
    c->flags &= ~F_RTT; /* Karn */
    net->counters.retransmits++;
    net->counters.retransmit_bytes += bytes;
    return bytes + fin;
}

static bool
output_lost(struct net *net, struct net_conn *c)
{
    uint32_t pipe = tcp_pipe(c), seq, n;
    bool rescue = false;
    /*
     * The head leaves whatever the pipe says: it is the one the peer waits for (RFC 6675 5, (4.3)).
     */
    bool head = c->rtx_next == c->snd_una;

    while (head || pipe + c->mss <= c->cwnd) {
        n = sack_next(c, rescue, &seq);
        if (n == 0 && !rescue && c->tx_end == c->snd_nxt && (c->flags & F_SACK)) {
            rescue = true; /* NextSeg rule 3: nothing new to send, so a hole not yet proved lost */
            continue;
        }
        if (n == 0)
            break;
        uint32_t sent = segment_again(net, c, seq, n);
        if (sent == 0)
            return false;
        c->rtx_next = seq_max(c->rtx_next, seq + sent);
        pipe += sent;
        head = false;
        if (c->rtx == RTX_NONE)
            tcp_rearm(net, c);
    }
    return true;
}

/*
 * Window and congestion window together. @return bytes that may leave after `pipe` bytes in the
 * network.
 */
static uint32_t
room(struct net_conn *c, uint32_t pipe)
{
    uint32_t flight = c->snd_nxt - c->snd_una;
    uint32_t by_peer = c->snd_wnd > flight ? c->snd_wnd - flight : 0;
    uint32_t by_path = c->cwnd > pipe ? c->cwnd - pipe : 0;
    return by_peer < by_path ? by_peer : by_path;
}

/*
 * RFC 5681 4.1: after an idle time of more than an RTO the old window says nothing. rtx_due is the
 * last deadline.
 */
static void
restart_after_idle(struct net *net, struct net_conn *c)
{
    if (c->snd_una != c->snd_nxt || (int32_t)(net->now_ms - c->rtx_due) <= 0)
        return;
    uint32_t initial = tcp_window_initial(c);
    if (net->now_ms - c->rtx_due > tcp_rto_ms(net, c) && c->cwnd > initial)
        c->cwnd = initial;
}

/* How much of `unsent` to put into the next segment; 0: wait (RFC 9293 3.8.6.2.1). */
static uint32_t
segment_size(const struct net_conn *c, uint32_t unsent, uint32_t space)
{
    uint32_t mss = tcp_mss_now(c);
    uint32_t n = unsent < mss ? unsent : mss;
    if (n <= space)
        return n;
    if (c->snd_una == c->snd_nxt && space >= c->snd_wnd_max / 2 && space > 0)
        return space; /* the peer's buffer is small: half of it is worth a segment */
    return 0;
}

/* An ACK that only a lone segment lets be late. */
static bool
ack_may_wait(const struct net_conn *c)
{
    return c->snd_nxt - c->snd_una < 2u * c->mss;
}

static void
segment_sent(struct net *net, struct net_conn *c, uint32_t bytes, bool fin)
{
    bool could_wait = ack_may_wait(c);

    if (!(c->flags & (F_TS | F_RTT | F_RECOVERY | F_LOSS))) {
        c->flags |= F_RTT;
        c->rtt_seq = c->snd_nxt + bytes + fin;
        c->rtt_start_us = (uint32_t)net->now_us;
    }
    c->snd_nxt += bytes + fin;
    net->counters.bytes_out += bytes;
    if (fin)
        c->flags |= F_FIN_SENT;
    if (c->rtx == RTX_PROBE && could_wait && !ack_may_wait(c))
        c->rtx = RTX_NONE; /* a probe is due sooner now */
    if (c->rtx == RTX_NONE || c->rtx == RTX_PERSIST) {
        if (c->rtx == RTX_PERSIST)
            c->backoff = 0;
        c->rtx = RTX_NONE;
        tcp_rearm(net, c);
    }
}

static bool
output_new(struct net *net, struct net_conn *c)
{
    if ((c->flags & F_FIN_SENT) ||
        ((c->flags & F_LOSS) && seq_before(c->rtx_next, c->recover)))
        return true;
    bool fin_queued = c->flags & F_FIN_QUEUED;
    if (c->tx_end == c->snd_nxt && !fin_queued)
        return true;
    restart_after_idle(net, c);
    uint32_t pipe = tcp_pipe(c);
    while (!(c->flags & F_FIN_SENT)) {
        uint32_t unsent = c->tx_end - c->snd_nxt;
        if (unsent == 0 && !fin_queued)
            break;
        uint32_t space = room(c, pipe);
        uint32_t n = segment_size(c, unsent, space);
        if (unsent && n == 0) {
            if (c->cwnd <= pipe + c->mss)
                c->flags |= F_CWND_LIMITED;
            break;
        }
        bool fin = fin_queued && n == unsent; /* a FIN may go one beyond the window, as Linux's
                                               * does */
        uint8_t flags = n == unsent ? TCP_PSH : 0;
        if (!tcp_send_segment(net, c, c->snd_nxt, n, fin ? flags | TCP_FIN : flags))
            return false;
        segment_sent(net, c, n, fin);
        pipe += n + fin;
    }
    if (2 * pipe >= c->cwnd && c->cwnd < c->ssthresh)
        c->flags |= F_CWND_LIMITED; /* slow start: RFC 7661 counts half-used as used */
    return true;
}

/* ---- deadlines ---- */

static bool
probe_wanted(const struct net_conn *c)
{
    return !(c->flags & (F_RECOVERY | F_LOSS | F_PROBED)) && c->backoff == 0 && c->srtt_us8;
}

/*
 * RFC 8985 7.2: 2 SRTT and a little, not beyond the RTO; the ACK of less than two segments may be
 * delayed, so that the probe takes the place of the first RTO, which has learned by how much.
 */
static inline uint32_t
lone_probe_ms(const struct net *net, const struct net_conn *c)
{
    const uint32_t short_us = 1000;
    uint32_t rto_min = net->config.times.rto_min_ms, rto = rto_min + 1;
    if (UNLIKELY(c->srtt_us8 > 8 * short_us || c->rttvar_us4 > rto_min * 1000))
        rto = tcp_rto_ms(net, c); /* else it is the same */
    return rto;
}

static uint32_t
probe_ms(const struct net *net, const struct net_conn *c)
{
    uint32_t rto = lone_probe_ms(net, c);
    if (ack_may_wait(c))
        return rto;
    uint32_t probe = (c->srtt_us8 / 4 + 999) / 1000 + TCP_PROBE_MS;
    return probe < rto ? probe : rto;
}

void
tcp_rearm(struct net *net, struct net_conn *c)
{
    bool waiting =
        !(c->flags & F_FIN_SENT) && (c->tx_end != c->snd_nxt || (c->flags & F_FIN_QUEUED));

    if (c->rtx != RTX_NONE || (c->snd_una == c->snd_nxt && !waiting))
        return;
    uint32_t rto;
    if (c->snd_una != c->snd_nxt && probe_wanted(c)) {
        c->rtx = RTX_PROBE;
        rto = probe_ms(net, c);
    } else if (c->snd_una != c->snd_nxt) {
        c->rtx = RTX_TIMEOUT;
        rto = tcp_rto_ms(net, c);
    } else {
        c->rtx = RTX_PERSIST;
        rto = tcp_rto_ms(net, c);
        if (rto < PERSIST_MIN_MS << c->backoff)
            rto = PERSIST_MIN_MS << c->backoff;
        if (rto > net->config.times.rto_max_ms)
            rto = net->config.times.rto_max_ms;
    }
    c->rtx_due = net->now_ms + rto;
    tcp_timer_arm(net, c, c->rtx_due);
}

/* tcp_rearm() after what one_segment_does(). */
static inline void
rearm_lone(struct net *net, struct net_conn *c)
{
    c->rtx = RTX_PROBE;
    c->rtx_due = net->now_ms + lone_probe_ms(net, c);
    tcp_timer_arm(net, c, c->rtx_due);
}

/* ---- all of it ---- */

/* The usual answer: it fits one segment, nothing is in flight, nothing is unusual. Then
 * tcp_output() is one segment and one deadline. */
static inline bool
one_segment_does(const struct net *net, const struct net_conn *c)
{
    uint32_t unsent = c->tx_end - c->snd_nxt;
    const uint32_t unusual = F_RECOVERY | F_LOSS | F_PROBED | F_FIN_QUEUED;
    return c->state == TCP_ESTABLISHED && c->rtx == RTX_NONE && c->backoff == 0 && c->srtt_us8 &&
           (c->flags & (F_TS | unusual)) == F_TS && !c->extra && c->snd_una == c->snd_nxt &&
           unsent - 1 < c->mss && unsent <= c->snd_wnd && 2 * unsent < c->cwnd &&
           ((int32_t)(net->now_ms - c->rtx_due) <= 0 || c->cwnd <= tcp_window_initial(c));
}

bool
tcp_output(struct net *net, struct net_conn *c)
{
    if (LIKELY(one_segment_does(net, c))) {
        uint32_t n = c->tx_end - c->snd_nxt;
        if (!tcp_send_segment(net, c, c->snd_nxt, n, TCP_PSH))
            return false;
        c->snd_nxt = c->tx_end;
        net->counters.bytes_out += n;
        rearm_lone(net, c);
        return true;
    }
    if (UNLIKELY(c->state <= TCP_SYN_RCVD)) {
        if (!(c->flags & F_SYN_DUE) || (!(c->flags & F_MAC) && !neighbour_resolve(net, c)))
            return true;
        return tcp_send_syn(net, c);
    }
    if (UNLIKELY(c->flags & (F_RECOVERY | F_LOSS)) && !output_lost(net, c))
        return false;
    if (!output_new(net, c))
        return false;
    if (c->flags & F_ACK_NOW) {
        tcp_send_ack(net, c);
        if (c->flags & F_ACK_NOW)
            return false;
    } else if ((c->flags & (F_ACK_DELAYED | F_ACK_TIMED)) == F_ACK_DELAYED) {
        c->flags |= F_ACK_TIMED;
        c->delack_due = net->now_ms + net->config.times.delayed_ack_ms;
        tcp_timer_arm(net, c, c->delack_due);
    }
    if (c->rtx == RTX_NONE)
        tcp_rearm(net, c);
    return true;
}
