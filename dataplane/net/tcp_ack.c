/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * ACK processing: what is acknowledged, the round trip, the congestion window, the send window.
 *
 *   open        --new ACK-->                               open: slow start below ssthresh, else
 *                                                          one MSS per window
 *   open        --loss_threshold duplicates or SACKs-->    F_RECOVERY
 *   any         --RTO (tcp_timer.c)-->                     F_LOSS
 *   F_RECOVERY, F_LOSS  --snd_una >= recover-->            open
 */
#include "dataplane/net/instance.h"

#define CWND_MAX (1u << 28)

uint32_t
tcp_window_initial(const struct net_conn *c)
{
    /* RFC 6928 section 2. */
    uint32_t mss = c->mss, floor = 2 * mss > 14600 ? 2 * mss : 14600;
    return 10 * mss < floor ? 10 * mss : floor;
}

uint32_t
tcp_half_flight(const struct net_conn *c)
{
    uint32_t half = (c->snd_nxt - c->snd_una) / 2, floor = 2u * c->mss;
    return half > floor ? half : floor;
}

/* RFC 6298 section 2, in eighths and quarters. */
void
tcp_rtt_sample(struct net_conn *c, uint32_t rtt_us)
{
    if (rtt_us < 8)
        rtt_us = 8;
    if (rtt_us > 60000000)
        return; /* no path is that long: a forged or ancient echo */
    if (c->srtt_us8 == 0) {
        c->srtt_us8 = 8 * rtt_us;
        c->rttvar_us4 = 2 * rtt_us; /* of the hand-shake, whose ACK is never late: others may be */
        if (c->rttvar_us4 < TCP_ACK_DELAY_US)
            c->rttvar_us4 = TCP_ACK_DELAY_US;
        return;
    }
    int32_t error = (int32_t)rtt_us - (int32_t)(c->srtt_us8 / 8);
    c->srtt_us8 = (uint32_t)((int32_t)c->srtt_us8 + error);
    if (c->srtt_us8 == 0)
        c->srtt_us8 = 1;
    uint32_t magnitude = (uint32_t)(error < 0 ? -error : error);
    c->rttvar_us4 += magnitude - c->rttvar_us4 / 4;
}

/*
 * RFC 6298 2.3. Round trips here include the time that the peer held its ACK back, so that half of
 * them is a margin as well: the ACKs of an idle client all come after 40 ms, with no variance.
 */
uint32_t
tcp_rto_ms(const struct net *net, const struct net_conn *c)
{
    const struct net_times *times = &net->config.times;
    uint64_t rto = times->syn_rto_ms;
    if (c->srtt_us8) {
        uint32_t spread = times->rto_min_ms * 1000;
        if (spread < c->rttvar_us4)
            spread = c->rttvar_us4;
        if (spread < c->srtt_us8 / 16)
            spread = c->srtt_us8 / 16;
        rto = (c->srtt_us8 / 8 + spread + 999) / 1000;
    }
    rto <<= c->backoff;
    return rto < times->rto_max_ms ? (uint32_t)rto : times->rto_max_ms;
}

/* RFC 7323 4: by the timestamp that comes back. */
static inline void
rtt_echoed(const struct net *net, struct net_conn *c, const struct segment *seg)
{
    int32_t ms = (int32_t)(tcp_timestamp(net, c) - seg->tsecr);
    if (LIKELY(seg->tsecr && ms >= 0 && ms < 60000))
        tcp_rtt_sample(c, ms ? (uint32_t)ms * 1000 : 500);
}

static void
rtt_measure(struct net *net, struct net_conn *c, const struct segment *seg)
{
    if (c->flags & F_RTT) {
        if (seq_upto(c->rtt_seq, seg->ack)) {
            tcp_rtt_sample(c, (uint32_t)net->now_us - c->rtt_start_us);
            c->flags &= ~F_RTT;
        }
    } else if ((c->flags & F_TS) && seg->has_ts) {
        rtt_echoed(net, c, seg);
    }
}

/* RFC 5681 3.1, growing only while the window is what holds us back (RFC 7661 in spirit). */
static void
cwnd_grow(struct net_conn *c, uint32_t acked)
{
    if (!(c->flags & F_CWND_LIMITED) && !(c->flags & F_LOSS))
        return;
    if (c->cwnd < c->ssthresh) {
        c->cwnd += acked;
    } else {
        uint32_t step = (uint32_t)((uint64_t)c->mss * acked / c->cwnd);
        c->cwnd += step ? step : 1;
    }
    if (c->cwnd > CWND_MAX)
        c->cwnd = CWND_MAX;
}

static void
recovery_enter(struct net *net, struct net_conn *c)
{
    net->counters.fast_recoveries++;
    c->ssthresh = tcp_half_flight(c);
    c->cwnd = c->ssthresh;
    c->flags |= F_RECOVERY;
    c->flags &= ~(F_RTT | F_PROBED | F_PROBE_OLD);
    c->recover = c->snd_nxt;
    c->rtx_next = c->snd_una;
    c->rtx = RTX_NONE; /* re-armed as a plain RTO */
    tcp_dirty(net, c);
}

/*
 * After an RTO: everything not SACKed anew is sent again, from slow start (RFC 5681 3.1, RFC 6675
 * 5.1).
 */
void
tcp_loss_enter(struct net *net, struct net_conn *c)
{
    if (!(c->flags & F_LOSS) || c->backoff <= 1)
        c->ssthresh = tcp_half_flight(c);
    c->cwnd = c->mss;
    c->flags |= F_LOSS;
    c->flags &= ~(F_RECOVERY | F_RTT | F_PROBED | F_PROBE_OLD);
    c->recover = c->snd_nxt;
    c->rtx_next = c->snd_una;
    c->dupacks = 0;
    sack_clear(net, c);
    tcp_dirty(net, c);
}

/*
 * RFC 8985 7.4: an ACK beyond the probe without a duplicate report means that the probe repaired a
 * loss.
 */
static void
probe_judge(struct net_conn *c, uint32_t ack, bool dsack)
{
    if (!(c->flags & F_PROBED) || seq_before(ack, c->rtx_next))
        return;
    if (ack == c->rtx_next && !dsack && (c->flags & F_PROBE_OLD))
        return; /* original or probe? the next ACK tells */
    if (!dsack && (c->flags & F_PROBE_OLD)) {
        c->ssthresh = tcp_half_flight(c);
        if (c->cwnd > c->ssthresh)
            c->cwnd = c->ssthresh;
    }
    c->flags &= ~(F_PROBED | F_PROBE_OLD);
}

/*
 * What we sent again had arrived: the ACK was held back for longer than we waited. Its echoed
 * timestamp is that of the repetition and hides this, so let the estimator know; the next ACKs that
 * come at once bring it down again.
 */
static void
late_ack_learn(const struct net *net, struct net_conn *c)
{
    uint32_t late_us = 2000 * tcp_rto_ms(net, c);
    if (late_us < TCP_ACK_DELAY_US)
        late_us = TCP_ACK_DELAY_US;
    tcp_rtt_sample(c, late_us < TCP_ACK_DELAY_US_MAX ? late_us : TCP_ACK_DELAY_US_MAX);
}

static void
dupacks_forgive(struct net_conn *c, uint32_t acked)
{
    uint32_t segments = acked / c->mss + (acked % c->mss != 0);
    c->dupacks = c->dupacks > segments ? (c->dupacks - segments) & TCP_DUPACKS_SATURATED : 0;
}

static void
ack_in_recovery(struct net *net, struct net_conn *c, uint32_t acked)
{
    if (seq_upto(c->recover, c->snd_una)) {
        if (c->flags & F_RECOVERY)
            c->cwnd = c->ssthresh;
        c->flags &= ~(F_RECOVERY | F_LOSS);
        c->dupacks = 0;
        return;
    }
    if (c->flags & F_LOSS) {
        c->rtx_next = seq_max(c->rtx_next, c->snd_una);
        cwnd_grow(c, acked);
    } else if (c->flags & F_SACK) {
        c->rtx_next = seq_max(c->rtx_next, c->snd_una);
    } else { /* RFC 6582: a partial ACK names the next hole */
        dupacks_forgive(c, acked);
        c->rtx_next = c->snd_una;
    }
    tcp_dirty(net, c);
}

/* All of our FIN is acknowledged. @return false: the connection is gone. */
static bool
fin_acked(struct net *net, struct net_conn *c)
{
    switch (c->state) {
    case TCP_FIN_WAIT_1:
        c->state = TCP_FIN_WAIT_2;
        c->flags |= F_SLOW;
        c->slow_due = net->now_ms + net->config.times.fin_wait_ms;
        tcp_timer_arm(net, c, c->slow_due);
        return true;
    case TCP_CLOSING:
        tcp_time_wait(net, c);
        return false;
    case TCP_LAST_ACK:
        net->counters.closed_orderly++;
        conn_remove(net, c);
        return false;
    default:
        return true;
    }
}

static bool
ack_new(struct net *net, struct net_conn *c, const struct segment *seg, bool dsack)
{
    uint32_t acked = seg->ack - c->snd_una;

    rtt_measure(net, c, seg);
    c->backoff = 0;
    c->snd_una = seg->ack;
    tcp_queue_trim(net, c, seq_min(seg->ack, c->tx_end));
    if (UNLIKELY(c->extra != NULL))
        sack_advance(net, c);
    probe_judge(c, seg->ack, dsack);
    if (UNLIKELY(c->flags & (F_RECOVERY | F_LOSS))) {
        ack_in_recovery(net, c, acked);
    } else {
        c->dupacks = 0;
        cwnd_grow(c, acked);
    }
    c->flags &= ~F_CWND_LIMITED;
    c->rtx = RTX_NONE; /* RFC 6298 5.3: restart */
    tcp_rearm(net, c);
    if (UNLIKELY((c->flags & F_FIN_SENT) && c->snd_una == c->tx_end + 1) && !fin_acked(net, c))
        return false;
    if (UNLIKELY(c->flags & F_WANT_WRITABLE) &&
        net_send_space(net, c) >= net->config.limits.tx_bytes_max / 2) {
        c->flags &= ~F_WANT_WRITABLE;
        net->config.callbacks.on_writable(c->user, c);
    }
    return c->state != TCP_CLOSED;
}

void
tcp_ack_predicted(struct net *net, struct net_conn *c, const struct segment *seg)
{
    rtt_echoed(net, c, seg);
    c->snd_una = seg->ack;
    tcp_queue_trim(net, c, seg->ack);
    c->backoff = 0;
    c->rtx = RTX_NONE; /* RFC 6298 5.3: restart */
    if (c->snd_una != c->snd_nxt)
        tcp_rearm(net, c);
    else if (seg->bytes == 0) /* else the answer will want a timer again */
        tcp_timer_idle(net, c);
}

/* RFC 5681 section 2: outstanding data, no payload, no SYN or FIN, same ACK, same window. */
static bool
ack_is_duplicate(const struct net_conn *c, const struct segment *seg, uint32_t wnd)
{
    return seg->ack == c->snd_una && c->snd_nxt != c->snd_una && segment_len(seg) == 0 &&
           wnd == c->snd_wnd;
}

static void
ack_duplicate(struct net *net, struct net_conn *c, bool dsack, bool news)
{
    net->counters.acks_duplicate++;
    if (dsack && !news)
        return; /* tells of a duplicate, not of a loss */
    if ((c->flags & F_SACK) && !news && !(c->flags & F_LOSS))
        return; /* RFC 6675 section 2: with SACK only new information counts */
    if (c->dupacks < TCP_DUPACKS_SATURATED)
        c->dupacks++;
    if (c->flags & F_RECOVERY)
        tcp_dirty(net, c);
}

/*
 * RFC 9293 3.10.7.4: only news may move the window. WL2 is not kept: as in Linux, an ACK that
 * advances is news.
 */
static void
window_update(struct net *net, struct net_conn *c, const struct segment *seg, uint32_t wnd)
{
    bool news = seg->ack != c->snd_una || seq_before(c->snd_wl1, seg->seq) ||
                (seg->seq == c->snd_wl1 && (wnd > c->snd_wnd || wnd == 0));
    if (!news)
        return;
    bool opened = wnd > c->snd_wnd;
    if (opened && wnd > c->snd_wnd_max)
        c->snd_wnd_max = wnd;
    c->snd_wnd = wnd;
    c->snd_wl1 = seg->seq;
    if (opened && c->rtx == RTX_PERSIST) {
        c->rtx = RTX_NONE;
        c->backoff = 0;
        tcp_dirty(net, c);
    }
}

static bool
ack_establishes(struct net *net, struct net_conn *c, const struct segment *seg)
{
    if (!seq_before(c->snd_una, seg->ack) || seq_before(c->snd_nxt, seg->ack)) {
        tcp_refuse(net, seg); /* RFC 9293 3.10.7.4, fifth check, SYN-RECEIVED */
        return false;
    }
    rtt_measure(net, c, seg);
    c->snd_una = seg->ack;
    c->flags &= ~F_RTT;
    c->snd_wnd = (uint32_t)seg->wnd << c->snd_wscale;
    c->snd_wnd_max = c->snd_wnd;
    c->snd_wl1 = seg->seq;
    return tcp_establish(net, c);
}

bool
tcp_ack(struct net *net, struct net_conn *c, const struct segment *seg)
{
    uint32_t wnd = (uint32_t)seg->wnd << c->snd_wscale;
    bool dsack = false, news = false;

    if (UNLIKELY(c->state == TCP_SYN_RCVD))
        return ack_establishes(net, c, seg);
    /* RFC 5961 5.2: both bounds; outside, the whole segment is discarded. */
    bool old = seq_before(seg->ack, c->snd_una);
    if (UNLIKELY(seq_before(c->snd_nxt, seg->ack) ||
                 (old && seq_before(seg->ack, c->snd_una - c->snd_wnd_max)))) {
        net->counters.drop_ack++;
        tcp_send_challenge(net, c);
        return false;
    }
    if (UNLIKELY(old))
        return true; /* overtaken by a newer ACK; its data may be good */
    if (UNLIKELY(seg->sack_count))
        news = sack_update(net, c, seg, &dsack);
    if (UNLIKELY(dsack)) {
        if (c->flags & (F_PROBE_OLD | F_LOSS))
            late_ack_learn(net, c);
        probe_judge(c, seg->ack, true);
    }
    bool duplicate = ack_is_duplicate(c, seg, wnd);
    window_update(net, c, seg, wnd);
    if (seg->ack != c->snd_una) {
        if (!ack_new(net, c, seg, dsack))
            return false;
    } else if (duplicate || news) {
        ack_duplicate(net, c, dsack, news);
    }
    if (c->dupacks || news) {
        if (!(c->flags & (F_RECOVERY | F_LOSS)) && c->snd_una != c->snd_nxt && sack_head_lost(c))
            recovery_enter(net, c);
        tcp_dirty(net, c); /* limited transmit, or room in the pipe */
    }
    if (!(c->flags & F_FIN_SENT) && (c->tx_end != c->snd_nxt || (c->flags & F_FIN_QUEUED)))
        tcp_dirty(net, c);
    return true;
}
