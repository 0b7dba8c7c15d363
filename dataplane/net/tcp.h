/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * TCP, inside: the connection and the calls between its files. Not for applications (net.h is).
 *
 *   tcp_input.c    state machine: lookup, acceptability, RST, SYN, FIN
 *   tcp_open.c     hand-shakes, RST to nobody
 *   tcp_close.c    net_close, removal
 *   tcp_ack.c      ACK processing, RTT, congestion control
 *   sack.c         scoreboard, loss, pipe
 *   tcp_receive.c  payload: in order, reassembly, window
 *   tcp_output.c   segments out
 *   tcp_timer.c    what a deadline does
 *
 * Sequence numbers are compared by seq_before() alone. Times here are ms of net->now_ms (wraps
 * after 49 days, compared by difference) unless they end in _us.
 */
#ifndef SENGI_DATAPLANE_NET_TCP_H
#define SENGI_DATAPLANE_NET_TCP_H

#include "client/wire/check.h"
#include "dataplane/net/flow.h"
#include "dataplane/net/net.h"

/* Header flags, RFC 9293 3.1. */
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_PSH = 8, TCP_ACK = 16, TCP_URG = 32 };

#define TCP_HEADER_BYTES 20
#define TCP_OPTIONS_BYTES_MAX 40
/* a smaller announced MSS is taken as this: tiny segments are an attack */
#define TCP_MSS_MIN 216
#define TCP_MSS_DEFAULT_V4 536 /* RFC 9293 3.7.1 */
#define TCP_MSS_DEFAULT_V6 1220
#define TCP_WSCALE_MAX 14
#define TCP_DUPACKS 3
/* a lone segment's ACK may be this late: Linux's comes after 40 ms and a jiffy */
#define TCP_ACK_DELAY_US 50000u
#define TCP_ACK_DELAY_US_MAX 500000u /* RFC 9293 3.8.6.3 */
/* before a probe of two segments and more, whose ACK may not be late (the same) */
#define TCP_PROBE_MS 5u
#define TCP_SYN_TRIES_MAX 5      /* R2 for SYN and SYN-ACK */
#define TCP_KEEPALIVE_TRIES_MAX 5
/* challenge ACKs per connection and second, +- random (RFC 5961 section 10) */
#define TCP_CHALLENGE_MAX 10
#define TCP_OOO_CHUNKS_MAX 160   /* bounds the walk of one insertion */

enum tcp_state {
    TCP_CLOSED, /* on the dead list, freed by the next net_flush() */
    TCP_SYN_SENT,
    TCP_SYN_RCVD,
    TCP_ESTABLISHED,
    TCP_FIN_WAIT_1,
    TCP_FIN_WAIT_2,
    TCP_CLOSE_WAIT,
    TCP_CLOSING,
    TCP_LAST_ACK,
    TCP_STATES,
};

enum tcp_flag {
    F_TS = 1 << 0,         /* timestamps agreed */
    F_SACK = 1 << 1,       /* SACK agreed */
    F_ACTIVE = 1 << 2,     /* opened by net_connect */
    F_ACCEPTED = 1 << 3,   /* the application knows it: callbacks are due */
    F_MAC = 1 << 4,        /* next-hop MAC known */
    F_ACK_NOW = 1 << 5,    /* owed with the next net_flush() */
    F_ACK_DELAYED = 1 << 6, /* owed, but not at once */
    F_DIRTY = 1 << 7,      /* in net->dirty */
    F_SYN_DUE = 1 << 8,    /* SYN or SYN-ACK to (re)send */
    F_FIN_QUEUED = 1 << 9, /* FIN follows tx_end */
    F_FIN_SENT = 1 << 10,  /* snd_nxt == tx_end + 1 at least once */
    F_RECOVERY = 1 << 11,  /* fast recovery up to `recover` */
    F_LOSS = 1 << 12,      /* after an RTO, up to `recover` */
    F_PROBED = 1 << 13,    /* a tail loss probe is outstanding; rtx_next is its end */
    F_PROBE_OLD = 1 << 14, /* that probe was a retransmission */
    F_PAUSED = 1 << 15,    /* on_data took less than given */
    F_RESUME = 1 << 16,    /* net_resume() called */
    F_WANT_WRITABLE = 1 << 17,
    F_RTT = 1 << 18,       /* rtt_seq, rtt_start_us time a segment (no timestamps) */
    F_WHEEL = 1 << 19,     /* in the wheel at wheel_due */
    F_SLOW = 1 << 20,      /* slow_due is armed: keepalive or FIN_WAIT_2 */
    F_FIN_RCVD = 1 << 21,  /* rcv_nxt includes the peer's FIN */
    F_EOF_TOLD = 1 << 22,  /* on_eof was called */
    F_PARKED = 1 << 23,    /* waits for its neighbour */
    F_CWND_LIMITED = 1 << 24, /* cwnd, not the application, held data back since the last ACK */
    F_WSCALE = 1 << 25,    /* window scaling offered or agreed */
    F_DISCARD = 1 << 28,   /* net_shutdown(): what still comes is acknowledged and thrown away */
    F_WRITABLE_DUE = 1 << 26, /* the buffer pool was empty: ask again at delack_due */
    F_LONE = 1 << 29, /* the send queue is one small chunk: it is freed without a look at it */
    F_ACK_TIMED = 1 << 27, /* F_ACK_DELAYED has seen a net_flush(): owed at delack_due */
};

/** What rtx_due stands for. */
enum tcp_rtx {
    RTX_NONE,
    RTX_PROBE,   /* tail loss probe */
    RTX_TIMEOUT, /* RTO */
    RTX_PERSIST, /* zero window */
};

/**
 * One connection: two hot cache lines and a cold one. Ports in `key` in network order.
 *
 * snd_una <= snd_nxt <= tx_end + (FIN_QUEUED), and SYN takes the place before the first byte.
 * snd_nxt never goes back: retransmission has its own pointer, rtx_next.
 */
struct net_conn {
    /* input: line 0 */
    struct flow_key key;
    uint32_t rcv_nxt;
    uint32_t rcv_adv;  /* right edge advertised, >= rcv_nxt but for a FIN or an unasked byte */
    uint32_t snd_una;
    uint32_t snd_nxt;
    uint32_t snd_wnd;  /* bytes, scaled */
    uint32_t ts_recent;
    uint32_t snd_wl1;  /* seq of the segment that last set snd_wnd */
    uint32_t flags;    /* enum tcp_flag */
    void *user;
    /* output: line 1 */
    uint8_t mac[6];
    uint16_t mss;      /* payload bytes per segment, timestamps already taken off */
    struct chunk *tx_head; /* [snd_una, tx_end) */
    struct tcp_extra *extra;
    uint32_t tx_end;
    uint32_t last_ack; /* ACK number last sent (RFC 7323 4.3) */
    uint32_t cwnd;
    uint32_t srtt_us8; /* 8 * SRTT; 0: no sample yet */
    uint32_t rttvar_us4;
    uint32_t rtx_due;
    uint32_t ts_offset;
    uint32_t wheel_due, wheel_at; /* F_WHEEL: when and where in the wheel */
    uint32_t state : 4;       /* enum tcp_state */
    uint32_t rtx : 2;         /* enum tcp_rtx */
    uint32_t backoff : 4;     /* consecutive timeouts */
    uint32_t snd_wscale : 4, rcv_wscale : 4;
    uint32_t dupacks : 6;     /* saturates */
    uint32_t ts_recent_age : 8; /* now_ms >> 24 when ts_recent was set */
    /* cold: line 2 */
    uint32_t ssthresh;
    union {
        uint32_t recover; /* F_RECOVERY, F_LOSS: snd_nxt at entry */
        uint32_t rtt_seq; /* F_RTT: ACK beyond this ends the timing */
    };
    uint32_t rtx_next;    /* recovery: all below is retransmitted or SACKed; F_PROBED: end of the
                           * probe */
    uint32_t snd_wnd_max; /* largest window the peer ever offered (RFC 5961 5.2) */
    uint32_t slow_due;
    uint32_t last_rx_ms;
    uint32_t stalled_ms;   /* backoff > 0: when it left 0, the base of the user timeout */
    uint32_t delack_due;   /* F_ACK_TIMED */
    uint32_t rtt_start_us;
    uint32_t link;         /* of the free and the dead list */
    uint16_t challenge_second;
    uint8_t challenge_count;
    uint8_t probes;        /* keepalive probes unanswered */
    /* when there are two chunks: the last, and the one last read for new data (NULL: the head) */
    struct chunk *tx_tail, *tx_cursor;
} __attribute__((aligned(64)));
#define TCP_DUPACKS_SATURATED 63
#define TCP_BACKOFF_MAX 15
_Static_assert(sizeof(struct net_conn) == 192, "two hot lines and a cold one");
_Static_assert(offsetof(struct net_conn, mac) == 64 && offsetof(struct net_conn, ssthresh) == 128,
               "what a segment in and a segment out touch lies in the first 128 bytes");

#define SACK_RANGES_MAX 20

struct sack_range {
    uint32_t start, end;
};

/** What only a connection in trouble needs; from a pool, freed when nothing is in it. */
struct tcp_extra {
    struct chunk *ooo;          /* sorted, disjoint, all beyond rcv_nxt */
    struct chunk *unread, *unread_tail;
    uint32_t unread_bytes;
    uint32_t ooo_chunks;
    uint32_t ooo_recent[4];     /* a byte of each range, the last touched first (RFC 2018 section
                                 * 4) */
    uint32_t fin_seq;           /* of a FIN beyond rcv_nxt */
    uint32_t dsack_start, dsack_end; /* duplicate to report with the next ACK (RFC 2883) */
    uint8_t ooo_recent_count;
    bool fin_known;
    uint16_t sacked_count;
    struct sack_range sacked[SACK_RANGES_MAX]; /* sorted, disjoint, not touching, in (snd_una,
                                                * snd_nxt] */
};
_Static_assert(sizeof(struct tcp_extra) <= 240, "small: one per connection in trouble");

/** A received segment, checked for form, in host byte order. Borrows the frame. */
struct segment {
    const uint8_t *frame;
    const uint8_t *payload;
    struct flow_key key;
    uint32_t hash;
    uint32_t likely; /* connection to prefetch for, or FLOW_NONE: a guess by the hash alone */
    uint32_t seq, ack;
    uint32_t tsval, tsecr;
    uint16_t bytes; /* payload */
    uint16_t wnd;
    uint8_t flags;
    bool has_ts, sack_ok;
    uint8_t wscale; /* TCP_WSCALE_NONE: no option */
    uint8_t sack_count;
    uint16_t mss;   /* 0: no option */
    const uint8_t *sack; /* sack_count pairs of big-endian u32 */
};
#define TCP_WSCALE_NONE 0xff

static inline bool
seq_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static inline bool
seq_upto(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) <= 0;
}

static inline uint32_t
seq_max(uint32_t a, uint32_t b)
{
    return seq_before(a, b) ? b : a;
}

static inline uint32_t
seq_min(uint32_t a, uint32_t b)
{
    return seq_before(a, b) ? a : b;
}

/** SEG.LEN: payload plus SYN and FIN. */
static inline uint32_t
segment_len(const struct segment *seg)
{
    return seg->bytes + ((seg->flags & TCP_SYN) != 0) + ((seg->flags & TCP_FIN) != 0);
}

/* tcp_options.c */
/** Parse the options of a header of `bytes` bytes in all. @return 0; -1 malformed. */
int tcp_options_parse(struct segment *seg, const uint8_t *header, unsigned bytes);

/** SYN options: what a listener or connecting side announces. */
struct syn_options {
    uint16_t mss;
    uint8_t wscale; /* TCP_WSCALE_NONE: none */
    bool sack, ts;
    uint32_t tsval, tsecr;
};
/** @param out TCP_OPTIONS_BYTES_MAX bytes. @return bytes written, a multiple of 4. */
unsigned tcp_options_syn(uint8_t *out, const struct syn_options *options);
/** The timestamp option alone. */
unsigned tcp_options_timestamp(uint8_t *out, uint32_t tsval, uint32_t tsecr);
/** Options of any other segment of c: timestamp, SACK blocks. Writes tcp_options_bytes() bytes. */
void tcp_options_write(struct net *net, struct net_conn *c, uint8_t *out);
unsigned tcp_sack_bytes(const struct net_conn *c);
static inline unsigned
tcp_options_bytes(const struct net_conn *c)
{
    _Static_assert(F_TS == 1, "a factor");
    unsigned bytes = (c->flags & F_TS) * 12;
    return LIKELY(!c->extra) ? bytes : bytes + tcp_sack_bytes(c);
}

/** The contiguous range of out-of-order data around seq. @return false: there is none. */
bool tcp_ooo_range(const struct tcp_extra *extra, uint32_t seq, struct sack_range *range);

/* tcp_input.c */
void tcp_input(struct net *net, const struct segment *seg);
/** Ends a connection that the peer or time ended: tells the application, removes it. */
void tcp_drop(struct net *net, struct net_conn *c, enum net_closed reason);

/* tcp_open.c */
void tcp_listen_input(struct net *net, const struct segment *seg);
/** The third segment of a hand-shake. @return false: refused, connection gone. */
bool tcp_establish(struct net *net, struct net_conn *c);
void tcp_syn_sent_input(struct net *net, struct net_conn *c, const struct segment *seg);
/** RST in answer to a segment that belongs to nothing (RFC 9293 3.10.7.1). */
void tcp_refuse(struct net *net, const struct segment *seg);
bool tcp_is_listening(const struct net *net, uint16_t port_network_order);
/** SYN in SYN_SENT, SYN-ACK in SYN_RCVD. @return false: no frame. */
bool tcp_send_syn(struct net *net, struct net_conn *c);
/** Window scale to announce for config.limits.rx_window_bytes. */
unsigned tcp_wscale(const struct net *net);
uint16_t tcp_mss_announced(const struct net *net, unsigned local);
/** Options of the peer's SYN into c: those it has and we want. */
void tcp_options_agree(const struct net *net, struct net_conn *c, const struct segment *seg);
/** RFC 6528. */
uint32_t tcp_isn(const struct net *net, const struct flow_key *key);
/** A listener's new connection for a SYN; isn 0: a keyed one. */
void tcp_accept_syn(struct net *net, const struct segment *seg, uint32_t isn);

/* tcp_ack.c */
/** @return false: the segment must not be processed further. */
bool tcp_ack(struct net *net, struct net_conn *c, const struct segment *seg);
void tcp_rtt_sample(struct net_conn *c, uint32_t rtt_us);
uint32_t tcp_rto_ms(const struct net *net, const struct net_conn *c);
uint32_t tcp_window_initial(const struct net_conn *c);
void tcp_loss_enter(struct net *net, struct net_conn *c);
/** RFC 5681 (4): half the flight, at least two segments. */
uint32_t tcp_half_flight(const struct net_conn *c);

/** The part of tcp_ack() for an ACK that advances on an undisturbed connection; see predicted(). */
void tcp_ack_predicted(struct net *net, struct net_conn *c, const struct segment *seg);

/* tcp_receive.c */
/** Bytes that begin at rcv_nxt and fit the window, and the FIN after them. */
void tcp_receive_in_order(struct net *net, struct net_conn *c, const uint8_t *bytes, uint32_t n,
                          bool fin);
/** As tcp_receive_in_order() of data on an undisturbed connection; see predicted(). */
void tcp_receive_predicted(struct net *net, struct net_conn *c, const uint8_t *bytes, uint32_t n);
/** Payload and FIN of an acceptable segment. */
void tcp_receive(struct net *net, struct net_conn *c, const struct segment *seg);
/** Deliver what net_resume() asked for. */
void tcp_resume(struct net *net, struct net_conn *c);
/** Right edge to advertise now. */
uint32_t tcp_window_edge(const struct net *net, const struct net_conn *c);
/** Free reassembly and unread data. */
void tcp_receive_free(struct net *net, struct net_conn *c);
/** Report a duplicate with the next ACK (RFC 2883), if SACK was agreed. */
void tcp_dsack_note(struct net *net, struct net_conn *c, uint32_t start, uint32_t end);
/** Throw away what the application has not taken. */
void tcp_unread_free(struct net *net, struct net_conn *c);
struct tcp_extra *tcp_extra_get(struct net *net, struct net_conn *c);
/** Give `extra` back if nothing is in it. */
void tcp_extra_trim(struct net *net, struct net_conn *c);

/* tcp_output.c */
/** All that c may send now. @return false: no transmit buffer; try again. */
bool tcp_output(struct net *net, struct net_conn *c);
/** One segment [seq, seq + bytes) with flags. @return false: no transmit buffer. */
bool tcp_send_segment(struct net *net, struct net_conn *c, uint32_t seq, uint32_t bytes,
                      uint8_t flags);
/** Payload bytes that fit the next segment. */
uint32_t tcp_mss_now(const struct net_conn *c);
/** A pure ACK at once. Without a transmit buffer it stays owed. */
void tcp_send_ack(struct net *net, struct net_conn *c);
/** As tcp_send_ack, within the limit of RFC 5961 section 10. */
void tcp_send_challenge(struct net *net, struct net_conn *c);
void tcp_send_rst(struct net *net, struct net_conn *c);
/** A segment of no connection: RST, cookie SYN-ACK, TIME-WAIT ACK. */
struct bare_segment {
    const struct flow_key *key;
    const uint8_t *mac;
    uint32_t seq, ack;
    uint16_t wnd;
    uint8_t flags;
    const uint8_t *options;
    unsigned options_bytes;
};
bool tcp_send_bare(struct net *net, const struct bare_segment *s);
/** Arm what must be armed after sending or after an ACK. */
void tcp_rearm(struct net *net, struct net_conn *c);
void tcp_touch(struct net *net, struct net_conn *c);
/** Have net_flush() look at c. */
static inline void
tcp_dirty(struct net *net, struct net_conn *c)
{
    if (!(c->flags & F_DIRTY))
        tcp_touch(net, c);
}
/** Our timestamp clock for c. */
uint32_t tcp_timestamp(const struct net *net, const struct net_conn *c);
/** Free [tx_head .. upto). */
void tcp_queue_trim(struct net *net, struct net_conn *c, uint32_t upto);

/* tcp_timer.c */
void tcp_timer(struct net *net, struct net_conn *c);
/** Put c into the wheel at `due`, from a later place if it has one. */
void tcp_timer_place(struct net *net, struct net_conn *c, uint32_t due);
/** Make sure tcp_timer runs at `due` or before. */
static inline void
tcp_timer_arm(struct net *net, struct net_conn *c, uint32_t due)
{
    if (UNLIKELY(!(c->flags & F_WHEEL) || (int32_t)(c->wheel_due - due) > 0))
        tcp_timer_place(net, c, due); /* else it fires before, and is put back then */
}
/** Everything is acknowledged: no deadline is left but what the flags say. */
void tcp_timer_idle(struct net *net, struct net_conn *c);
void tcp_keepalive_arm(struct net *net, struct net_conn *c);

/* tcp_close.c */
struct net_conn *conn_alloc(struct net *net, const struct flow_key *key, uint32_t hash);
/** Out of all tables, memory back; the slot itself is free after the next net_flush(). */
void conn_remove(struct net *net, struct net_conn *c);
/** Both FINs are through and it is ours to wait: a TIME-WAIT entry takes over. */
void tcp_time_wait(struct net *net, struct net_conn *c);

/* sack.c */
/**
 * Merge the blocks of an ACK. @return true: something new was SACKed. *dsack: the first block
 * reports a duplicate.
 */
bool sack_update(struct net *net, struct net_conn *c, const struct segment *seg, bool *dsack);
/** Forget what lies below snd_una. */
void sack_advance(struct net *net, struct net_conn *c);
void sack_clear(struct net *net, struct net_conn *c);
/** RFC 6675 IsLost() for the first unacknowledged byte. */
bool sack_head_lost(const struct net_conn *c);
/** RFC 6675 SetPipe(), with duplicate ACKs counted for a peer without SACK. */
uint32_t sack_pipe(const struct net_conn *c);
static inline uint32_t
tcp_pipe(const struct net_conn *c)
{
    bool plain = !(c->flags & (F_RECOVERY | F_LOSS)) && !c->extra && !c->dupacks;
    return plain ? c->snd_nxt - c->snd_una : sack_pipe(c);
}
/** RFC 6675 NextSeg() rules 1 and 3. @return bytes to retransmit at *seq; 0: nothing. */
uint32_t sack_next(const struct net_conn *c, bool rescue, uint32_t *seq);

/* steer.c */
/** The core that net_frame_core() gives the frames of this connection to. */
unsigned net_flow_core(const struct flow_key *key, const struct net_addr *local,
                       struct net_steering steering);

/* syncookie.c */
/** Answer a SYN without keeping anything. */
void cookie_send(struct net *net, const struct segment *seg);
/** @return true: the ACK carried a valid cookie and was consumed. */
bool cookie_input(struct net *net, const struct segment *seg);

/* timewait.c */
int timewait_init(struct net *net);
void timewait_destroy(struct net *net);
/** c is already removed; its slot is still readable. */
void timewait_add(struct net *net, const struct net_conn *c, bool ts);
void timewait_input(struct net *net, uint32_t index, const struct segment *seg);
void timewait_expire(struct net *net);
/** @return ms until the oldest expires; UINT32_MAX: none. */
uint32_t timewait_next_ms(const struct net *net);
uint32_t timewait_count(const struct net *net);
const struct flow_key *timewait_key(const struct net *net, uint32_t index);

#endif
