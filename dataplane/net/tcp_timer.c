/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What a deadline does. A connection has up to three of them (rtx_due, delack_due, slow_due) and
 * one place in the wheel.
 *
 *   unacknowledged:  RTX_PROBE --probe sent--> RTX_TIMEOUT --RTO, doubled--> RTX_TIMEOUT ...
 *                    until the user timeout
 *   window closed:   RTX_PERSIST, doubled, until the window opens or the user timeout
 */
#include "dataplane/net/instance.h"

#define BLACK_HOLE_TIMEOUTS 3 /* as many RTOs of a full segment in a row: suspect the path MTU */

void
tcp_timer_place(struct net *net, struct net_conn *c, uint32_t due)
{
    uint32_t id = conn_id(net, c);
    if (c->flags & F_WHEEL)
        wheel_remove(&net->wheel, id);
    wheel_add(&net->wheel, id, due);
}

void
tcp_timer_idle(struct net *net, struct net_conn *c)
{
    if ((c->flags & (F_WHEEL | F_SLOW | F_ACK_TIMED | F_WRITABLE_DUE)) == F_WHEEL)
        wheel_forget(&net->wheel, conn_id(net, c));
}

void
tcp_keepalive_arm(struct net *net, struct net_conn *c)
{
    if (net->config.times.keepalive_ms == 0)
        return;
    c->last_rx_ms = net->now_ms;
    c->flags |= F_SLOW;
    c->slow_due = net->now_ms + net->config.times.keepalive_ms;
    tcp_timer_arm(net, c, c->slow_due);
}

/* @return false: nothing has moved for too long, and the connection is gone. */
static bool
stalled_check(struct net *net, struct net_conn *c)
{
    if (c->backoff == 0)
        c->stalled_ms = net->now_ms;
    if (net->now_ms - c->stalled_ms >= net->config.times.user_timeout_ms) {
        tcp_send_rst(net, c);
        tcp_drop(net, c, NET_CLOSED_TIMEOUT);
        return false;
    }
    if (c->backoff < TCP_BACKOFF_MAX)
        c->backoff = (c->backoff + 1) & TCP_BACKOFF_MAX;
    return true;
}

static void
syn_timeout(struct net *net, struct net_conn *c)
{
    if (c->backoff >= TCP_SYN_TRIES_MAX) {
        if (c->flags & F_ACCEPTED)
            tcp_drop(net, c, NET_CLOSED_TIMEOUT);
        else
            conn_remove(net, c);
        return;
    }
    c->backoff = (c->backoff + 1) & TCP_BACKOFF_MAX;
    c->flags |= F_SYN_DUE;
    c->flags &= ~F_RTT; /* Karn */
    net->counters.retransmits++;
    c->rtx_due = net->now_ms + (net->config.times.syn_rto_ms << c->backoff);
    tcp_dirty(net, c);
}

/* RFC 4821 in its simplest form: full segments vanish, so try what every path carries. */
static void
black_hole_check(struct net *net, struct net_conn *c)
{
    bool v4 = net_addr_is_v4(&net->config.interfaces[c->key.local].addr);
    uint16_t safe = v4 ? TCP_MSS_DEFAULT_V4 - 12 : TCP_MSS_DEFAULT_V6 - 12;
    if (c->backoff < BLACK_HOLE_TIMEOUTS || c->mss <= safe || c->tx_end - c->snd_una <= safe)
        return;
    c->mss = safe;
    net->counters.mtu_black_hole++;
}

static void
retransmission_timeout(struct net *net, struct net_conn *c)
{
    if (!stalled_check(net, c))
        return;
    net->counters.rto_fired++;
    black_hole_check(net, c);
    if (c->backoff >= 2)
        (void)neighbour_resolve(net, c); /* the next hop may have moved; until known better, keep
                                          * the old */
    tcp_loss_enter(net, c);
    c->rtx = RTX_NONE; /* armed by what tcp_output sends, or at its end */
}

/*
 * RFC 8985 7.3: new data if there is room for it, else the last segment again. Either way the peer
 * answers at once.
 */
static void
tail_probe(struct net *net, struct net_conn *c)
{
    uint32_t flight = c->snd_nxt - c->snd_una;
    uint32_t unsent = (c->flags & F_FIN_SENT) ? 0 : c->tx_end - c->snd_nxt;
    uint32_t mss = tcp_mss_now(c);
    uint32_t n = unsent < mss ? unsent : mss;
    bool old = n == 0 || c->snd_wnd < flight + n;
    uint32_t seq = c->snd_nxt;

    c->rtx = RTX_NONE;
    if (old) {
        uint32_t fin = (c->flags & F_FIN_SENT) != 0;
        n = flight - fin < mss ? flight - fin : mss;
        seq = c->snd_nxt - fin - n;
        if (!tcp_send_segment(net, c, seq, n, fin ? TCP_FIN | TCP_PSH : TCP_PSH))
            goto out;
        net->counters.retransmits++;
        net->counters.retransmit_bytes += n;
        c->flags &= ~F_RTT;
        c->flags |= F_PROBE_OLD;
    } else {
        if (!tcp_send_segment(net, c, seq, n, n == unsent ? TCP_PSH : 0))
            goto out;
        c->snd_nxt += n;
        net->counters.bytes_out += n;
    }
    net->counters.tail_probes++;
    c->flags |= F_PROBED;
    c->rtx_next = c->snd_nxt;
out:
    tcp_rearm(net, c);
}

static void
window_probe(struct net *net, struct net_conn *c)
{
    if (!stalled_check(net, c))
        return;
    uint32_t unsent = c->tx_end - c->snd_nxt;
    uint32_t n = unsent < c->snd_wnd ? unsent : c->snd_wnd;
    c->rtx = RTX_NONE;
    if (n > 0) { /* held back to avoid a silly window: long enough */
        if (n > tcp_mss_now(c))
            n = tcp_mss_now(c);
        if (tcp_send_segment(net, c, c->snd_nxt, n, n == unsent ? TCP_PSH : 0)) {
            c->snd_nxt += n;
            net->counters.bytes_out += n;
        }
    } else if (tcp_send_segment(net, c, c->snd_una - 1, 0, 0)) {
        net->counters.window_probes++; /* an old sequence number: the answer tells the window */
    }
    tcp_rearm(net, c);
}

static void
rtx_fire(struct net *net, struct net_conn *c)
{
    if (c->state <= TCP_SYN_RCVD)
        syn_timeout(net, c);
    else if (c->rtx == RTX_PROBE)
        tail_probe(net, c);
    else if (c->rtx == RTX_PERSIST)
        window_probe(net, c);
    else
        retransmission_timeout(net, c);
}

static void
slow_fire(struct net *net, struct net_conn *c)
{
    const struct net_times *times = &net->config.times;

    if (c->state == TCP_FIN_WAIT_2) {
        net->counters.closed_timeout++;
        conn_remove(net, c); /* nobody is left to tell */
        return;
    }
    uint32_t idle = net->now_ms - c->last_rx_ms;
    uint32_t interval = times->keepalive_ms / 4 ? times->keepalive_ms / 4 : 1;
    if (idle < times->keepalive_ms) {
        c->slow_due = c->last_rx_ms + times->keepalive_ms;
    } else if (c->probes >= TCP_KEEPALIVE_TRIES_MAX) {
        tcp_send_rst(net, c);
        tcp_drop(net, c, NET_CLOSED_KEEPALIVE);
        return;
    } else {
        c->probes++;
        net->counters.keepalives++;
        (void)tcp_send_segment(net, c, c->snd_nxt - 1, 0, 0);
        c->slow_due = net->now_ms + interval;
    }
    tcp_timer_arm(net, c, c->slow_due);
}

static bool
is_due(const struct net *net, uint32_t due)
{
    return (int32_t)(net->now_ms - due) >= 0;
}

static void
writable_retry(struct net *net, struct net_conn *c)
{
    c->flags &= ~F_WRITABLE_DUE;
    if (!(c->flags & F_WANT_WRITABLE))
        return;
    if (net->chunks.used < net->chunks.max && net->small_chunks.used < net->small_chunks.max) {
        c->flags &= ~F_WANT_WRITABLE;
        net->config.callbacks.on_writable(c->user, c);
    } else {
        c->flags |= F_WRITABLE_DUE;
        tcp_timer_arm(net, c, net->now_ms + 10);
    }
}

void
tcp_timer(struct net *net, struct net_conn *c)
{
    if ((c->flags & F_ACK_TIMED) && is_due(net, c->delack_due)) {
        c->flags |= F_ACK_NOW;
        net->counters.acks_delayed++;
        tcp_dirty(net, c);
    }
    if (c->rtx != RTX_NONE && is_due(net, c->rtx_due))
        rtx_fire(net, c);
    if (c->state != TCP_CLOSED && (c->flags & F_WRITABLE_DUE))
        writable_retry(net, c);
    if (c->state != TCP_CLOSED && (c->flags & F_SLOW) && is_due(net, c->slow_due))
        slow_fire(net, c);
    if (c->state == TCP_CLOSED)
        return;
    /* Put back for whatever is still ahead. */
    if (c->rtx != RTX_NONE)
        tcp_timer_arm(net, c, c->rtx_due);
    if ((c->flags & (F_ACK_TIMED | F_ACK_NOW)) == F_ACK_TIMED)
        tcp_timer_arm(net, c, c->delack_due);
    if (c->flags & F_SLOW)
        tcp_timer_arm(net, c, c->slow_due);
}
