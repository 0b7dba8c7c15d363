/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The state machine's input side, in the order of RFC 9293 3.10.7.4 with the changes of RFC 7323
 * and 5961.
 *
 * Where ours differs: RST is judged before PAWS (RFC 7323 5.2 wants that); a segment without a
 * timestamp on a connection that agreed on them is processed (as Linux does; 7323 3.2 only says
 * SHOULD drop); URG is ignored.
 */
#include "dataplane/net/instance.h"
#include "dataplane/net/ip.h"

/* RFC 5961 3.2: exactly the next byte resets, elsewhere in the window is challenged. */
static void
reset_input(struct net *net, struct net_conn *c, const struct segment *seg)
{
    if (seg->seq == c->rcv_nxt) {
        if (c->state == TCP_SYN_RCVD && !(c->flags & F_ACTIVE))
            conn_remove(net, c); /* back to LISTEN, which is no connection */
        else
            tcp_drop(net, c, c->state == TCP_SYN_RCVD ? NET_CLOSED_REFUSED : NET_CLOSED_RESET);
    } else if (seq_before(c->rcv_nxt, seg->seq) && seq_before(seg->seq, c->rcv_adv)) {
        tcp_send_challenge(net, c);
    } else {
        net->counters.drop_window++;
    }
}

/* RFC 7323 5.2; a ts_recent of more than 24 days is no longer comparable (5.5). */
static bool
paws_reject(const struct net *net, const struct net_conn *c, const struct segment *seg)
{
    if (LIKELY(!(c->flags & F_TS) || !seg->has_ts || !seq_before(seg->tsval, c->ts_recent)))
        return false;
    return (uint8_t)((net->now_ms >> 24) - c->ts_recent_age) < 128;
}

/*
 * What an unacceptable segment is answered with: an ACK, without limit only where data asks for it.
 */
static void
reject(struct net *net, struct net_conn *c, const struct segment *seg)
{
    if (seg->bytes == 0) {
        tcp_send_challenge(net, c);
        return;
    }
    if (seq_upto(seg->seq + seg->bytes, c->rcv_nxt))
        tcp_dsack_note(net, c, seg->seq, seg->seq + seg->bytes);
    tcp_send_ack(net, c);
}

/*
 * RFC 9293 3.4, made wider as Linux does: a segment that touches the window from either side is
 * processed (and trimmed), so that its ACK counts even when our window is zero.
 */
static bool
acceptable(const struct net_conn *c, const struct segment *seg)
{
    uint32_t end = seg->seq + segment_len(seg);
    return seq_upto(c->rcv_nxt, end) && seq_upto(seg->seq, c->rcv_adv);
}

static void
timestamp_take(struct net *net, struct net_conn *c, const struct segment *seg)
{
    c->ts_recent = seg->tsval;
    c->ts_recent_age = net->now_ms >> 24;
}

/* The next hop is where an acceptable segment came from. */
static void
mac_follow(struct net_conn *c, const struct segment *seg)
{
    if (memcmp(c->mac, seg->frame + 6, 6) != 0)
        memcpy(c->mac, seg->frame + 6, 6);
}

/*
 * Header prediction (Van Jacobson 1990): the next data, or an ACK of more, on a connection where
 * nothing is unusual and nothing waits to be sent. What segment_input() would do beyond
 * predicted_input() is nothing then.
 */
static inline bool
predicted(const struct net_conn *c, const struct segment *seg)
{
    const uint32_t unusual = F_RTT | F_RECOVERY | F_LOSS | F_PROBED | F_PAUSED | F_WANT_WRITABLE |
                             F_FIN_QUEUED | F_CWND_LIMITED;
    const uint32_t usual = F_TS | F_ACCEPTED;
    return c->state == TCP_ESTABLISHED && c->dupacks == 0 && !c->extra &&
           (c->flags & (usual | unusual)) == usual && (seg->flags & ~TCP_PSH) == TCP_ACK &&
           seg->has_ts && seg->sack_count == 0 && seg->seq == c->rcv_nxt &&
           (seg->bytes | (seg->ack ^ c->snd_una)) &&
           seq_upto(seg->seq + seg->bytes, c->rcv_adv) && c->tx_end == c->snd_nxt &&
           seg->ack - c->snd_una <= c->snd_nxt - c->snd_una &&
           seq_upto(c->ts_recent, seg->tsval);
}

static void
predicted_input(struct net *net, struct net_conn *c, const struct segment *seg)
{
    uint32_t wnd = (uint32_t)seg->wnd << c->snd_wscale;
    if (seq_upto(seg->seq, c->last_ack))
        timestamp_take(net, c, seg);
    mac_follow(c, seg);
    if (seg->ack != c->snd_una || c->snd_wl1 != seg->seq || wnd > c->snd_wnd) {
        if (wnd > c->snd_wnd && wnd > c->snd_wnd_max)
            c->snd_wnd_max = wnd;
        c->snd_wnd = wnd;
        c->snd_wl1 = seg->seq;
    }
    if (seg->ack != c->snd_una)
        tcp_ack_predicted(net, c, seg);
    if (LIKELY(seg->bytes != 0))
        tcp_receive_predicted(net, c, seg->payload, seg->bytes);
}

static void
segment_input(struct net *net, struct net_conn *c, const struct segment *seg)
{
    if (UNLIKELY(seg->flags & TCP_RST)) {
        reset_input(net, c, seg);
        return;
    }
    if (UNLIKELY(seg->flags & TCP_SYN)) {
        if (c->state == TCP_SYN_RCVD && seg->seq + 1 == c->rcv_nxt && !(seg->flags & TCP_ACK))
            (void)tcp_send_syn(net, c); /* our SYN-ACK was lost, or late */
        else if (c->state == TCP_SYN_RCVD && seg->seq + 1 == c->rcv_nxt && (c->flags & F_ACTIVE))
            (void)(tcp_ack(net, c, seg) && (tcp_send_ack(net, c), true)); /* simultaneous open */
        else
            tcp_send_challenge(net, c); /* RFC 5961 4.2, in every synchronised state, wherever it
                                         * lies */
        return;
    }
    if (UNLIKELY(!(seg->flags & TCP_ACK))) { /* before it could cause an ACK: nobody sends these */
        net->counters.drop_no_ack++;
        return;
    }
    if (UNLIKELY(paws_reject(net, c, seg))) {
        net->counters.drop_paws++;
        reject(net, c, seg);
        return;
    }
    if (UNLIKELY(!acceptable(c, seg))) {
        net->counters.drop_window++;
        reject(net, c, seg);
        return;
    }
    if ((c->flags & F_TS) && seg->has_ts && seq_upto(c->ts_recent, seg->tsval) &&
        seq_upto(seg->seq, c->last_ack))
        timestamp_take(net, c, seg);
    mac_follow(c, seg);
    if (!tcp_ack(net, c, seg))
        return;
    if (seg->bytes || (seg->flags & TCP_FIN))
        tcp_receive(net, c, seg);
}

/* A segment of no connection. */
static void
stray_input(struct net *net, const struct segment *seg)
{
    if (UNLIKELY(ip_local(net, (const struct net_addr *)seg->key.remote) >= 0)) {
        net->counters.drop_ip_source++;
    } else if (tcp_is_listening(net, seg->key.local_port)) {
        tcp_listen_input(net, seg);
    } else {
        net->counters.drop_no_port++;
        tcp_refuse(net, seg);
    }
}

/* The connection that was fetched for the segment is its own, and still is one. */
static inline bool
likely_right(const struct net *net, const struct segment *seg)
{
    if (UNLIKELY(seg->likely == FLOW_NONE))
        return false;
    const struct net_conn *c = &net->conns[seg->likely];
    return flow_key_equal(&c->key, &seg->key) && c->state != TCP_CLOSED;
}

void
tcp_input(struct net *net, const struct segment *seg)
{
    uint32_t id = seg->likely;
    if (UNLIKELY(!likely_right(net, seg)))
        id = net_find(net, &seg->key, seg->hash);
    if (UNLIKELY(id == FLOW_NONE)) {
        stray_input(net, seg);
        return;
    }
    if (UNLIKELY(id & FLOW_TIME_WAIT)) {
        timewait_input(net, id & ~FLOW_TIME_WAIT, seg);
        return;
    }
    struct net_conn *c = &net->conns[id];
    if (net->config.times.keepalive_ms) {
        c->last_rx_ms = net->now_ms;
        c->probes = 0;
    }
    if (LIKELY(predicted(c, seg)))
        predicted_input(net, c, seg);
    else if (UNLIKELY(c->state == TCP_SYN_SENT))
        tcp_syn_sent_input(net, c, seg);
    else
        segment_input(net, c, seg);
}
