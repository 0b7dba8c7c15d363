/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Sengi's own TCP/IP: frames in, time in -> frames out.
 *
 * Is: Ethernet, ARP, ND, IPv4, IPv6, ICMP echo and errors, and TCP for one core with one queue. Is
 * not: a driver, a clock, a thread, a socket, a router. No DPDK type appears here, nothing is
 * logged, and the same calls with the same bytes give the same frames, so that two stacks can be
 * joined in virtual time and a port to any driver is two functions (struct net_output).
 *
 *    driver                    struct net (one per core)                       application
 *   rx burst --net_burst()--> eth > arp | nd | icmp | tcp_input --on_data, on_eof-> decode, look up
 *                                     |                 \--on_accept, on_closed-->   |
 *   tx burst <--frame_send()-- tcp_output <--net_flush()-- queue <---net_send()------+
 *                                     ^
 *   clock ---net_timers()----> wheel: retransmit, probe, delayed ACK, keepalive, FIN_WAIT_2
 *
 * A turn of the owner's loop:
 *
 *      net_burst(net, frames, n, now_us);   input and callbacks; hand-shake replies, duplicate ACKs
 *                                           and RSTs leave at once
 *      ...                                  the application answers what it collected: net_send()
 *      next = net_timers(net, now_us);      whatever is due
 *      net_flush(net);                      one pass over the touched connections: data with ACKs
 *                                           riding on it, FINs
 *      (free the received frames)
 *
 * so that all replies of one turn to one peer leave in as few segments as possible, and a request
 * that is answered in the same turn costs one segment in and one segment out, with no pure ACK.
 *
 * Invariants (net_check() is these as code):
 *   N1  snd_una <= snd_nxt <= tx_end + 1 (FIN), all modulo 2^32; the send queue holds exactly
 *       [snd_una, tx_end).
 *   N2  The right edge of the advertised window never moves left.
 *   N3  A connection that has nothing to send, nothing unacknowledged and no ACK owed has no
 *       deadline (unless keepalive is configured); it costs sizeof(struct net_conn) + two
 *       flow-table entries, under 512 bytes.
 *   N4  Every byte given to on_data was covered by a verified checksum, lies in sequence and is
 *       given once.
 *   N5  Memory is bounded by struct net_limits whatever arrives; nothing is allocated by an
 *       announced length.
 *   N6  Work per received segment is bounded by constants (reassembly and scoreboard ranges have a
 *       maximum).
 *
 * Who may call: everything here is for the one thread that owns the instance. Instances share
 * nothing.
 *
 * Where the rules come from: RFC 9293 (TCP), 7323 (scale, timestamps), 6298 (RTO), 5681/6582/6675
 * (congestion, NewReno, SACK), 2018, 8985 section 7 (tail loss probe), 5961 (blind attacks), 6528
 * (ISN), 4987 (SYN cookies), 6691 (MSS), 6191 and 1337 (TIME-WAIT), 1122, 826, 4861, 792, 4443,
 * 1191/8201 with 5927. Ours differs: RTO floor of 5 ms and a probe before every RTO (see
 * rto_min_ms), no urgent data, no Fast Open, no Nagle, IP fragments and options refused.
 */
#ifndef SENGI_DATAPLANE_NET_NET_H
#define SENGI_DATAPLANE_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct net;
struct net_conn;

#define NET_ADDRESSES_MAX 8
#define NET_LISTEN_PORTS_MAX 4
#define NET_BURST_MAX 64 /* frames looked ahead of at a time; net_burst() takes any number */
#define NET_ETHERNET_BYTES 14
#define NET_MTU_MIN 576
#define NET_MTU_MAX 9216

/**
 * An IPv6 address, or an IPv4 address in its mapped form ::ffff:a.b.c.d. All zero = none. Network
 * byte order.
 */
struct net_addr {
    uint8_t bytes[16];
};

/**
 * One address of the port. prefix_bits counts bits of the family's own address: 0..32 or 0..128.
 */
struct net_interface {
    struct net_addr addr;
    uint8_t prefix_bits;
};

/** Bounds. 0 means the default in brackets. Bytes count memory taken, not payload carried. */
struct net_limits {
    uint32_t conns_max;              /* connections of all states but TIME-WAIT [65536] */
    uint32_t half_open_max; /* SYN_RCVD kept as connections; above: SYN cookies. UINT32_MAX: cookies
                               always [1024] */
    uint32_t time_wait_max;          /* 48-byte entries; the oldest goes first [16384] */
    uint32_t tx_bytes_max;           /* per connection: queued + unacknowledged [4 MiB] */
    uint32_t rx_window_bytes;        /* per connection: advertised window and unread bytes [256
                                      * KiB] */
    uint32_t reassembly_bytes_max;   /* per connection: out-of-order data [256 KiB] */
    uint64_t buffers_bytes_max;      /* all connections: send queues, unread and out-of-order data;
                                      * an eighth is for lone small replies and for references
                                      * [1 GiB] */
    uint64_t reassembly_bytes_total; /* all connections: out-of-order data [buffers_bytes_max /
                                      * 4] */
};

/** Times in ms. 0 means the default in brackets. */
struct net_times {
    /* [5]; at most 1000. The least that RTO and tail loss probe wait beyond the round trip. Linux's
     * constant is 200, for a peer may hold its ACK back; here the estimator knows: it begins with
     * an allowance for Linux's 40 ms, samples of late ACKs and needless repetitions (RFC 2883) keep
     * it, and ACKs that ride on the next request take it away. */
    uint32_t rto_min_ms;
    uint32_t rto_max_ms;       /* [60000] */
    uint32_t syn_rto_ms;       /* first retransmission of SYN and SYN-ACK [1000] */
    uint32_t delayed_ack_ms;   /* [20]; at most 500 */
    uint32_t keepalive_ms;     /* idle time before the first probe [0: off] */
    uint32_t user_timeout_ms;  /* no progress of queued data, zero windows included ->
                                * NET_CLOSED_TIMEOUT [30000] */
    uint32_t fin_wait_ms;      /* FIN_WAIT_2 after net_close() [60000] */
    uint32_t time_wait_ms;     /* [60000] */
};

/**
 * A received frame from the Ethernet header on, without FCS. Borrowed; see net_burst(). Never
 * written to.
 */
struct net_frame {
    uint8_t *data;
    uint16_t len;
    uint16_t flags; /* NET_FRAME_* */
};
enum {
    NET_FRAME_CHECKSUM_GOOD = 1, /* hardware vouches for the TCP segment, if it is one: ours is
                                  * skipped, and its checksum need not be right */
    NET_FRAME_CHECKSUM_BAD = 2,  /* hardware found a checksum wrong: dropped and counted */
};

/** What the hardware has to fill in, when config.checksum_offload is set: the TCP checksum, whose
 *  field holds the pseudo-header sum (folded, not inverted). An IPv4 header is complete: to sum its
 *  20 bytes costs no more than to ask for it. */
struct net_offload {
    uint8_t l2_bytes, l3_bytes, l4_bytes;
    bool ipv6;
};

/**
 * Where frames go. Called from net_burst, net_timers, net_flush, net_close, net_abort and
 * net_announce only.
 */
struct net_output {
    void *ctx;
    /** A buffer for a frame of up to `bytes` bytes. @return its first byte, and in *frame a handle
     *  for frame_send; NULL: none now (a data segment or owed ACK is tried again at the next
     *  net_flush(); other replies are dropped). Each frame got is passed to frame_send before the
     *  calling function returns. */
    uint8_t *(*frame_alloc)(void *ctx, uint16_t bytes, void **frame);
    /** Takes over the frame, now `len` bytes from the Ethernet header on. `offload` is NULL when
     *  all checksums are complete, else borrowed till return. */
    void (*frame_send)(void *ctx, void *frame, uint16_t len, const struct net_offload *offload);
};

#define NET_CLOSED_REASONS(X)                                    \
    X(NET_CLOSED_RESET, "reset by peer")                         \
    X(NET_CLOSED_REFUSED, "connection refused")                  \
    X(NET_CLOSED_TIMEOUT, "no progress within the user timeout") \
    X(NET_CLOSED_KEEPALIVE, "keepalive probes not answered")

/** Why a connection is gone without the application asking for it. */
enum net_closed {
    NET_CLOSED_NONE = 0,
#define X(name, text) name,
    NET_CLOSED_REASONS(X)
#undef X
};

/**
 * The application. ctx is net_config.callbacks_ctx; user is what on_accept returned or net_connect
 * was given.
 *
 * Callbacks run inside net_burst(), net_timers() and net_flush(), never inside the application's
 * own calls. Within one, every net_* call on any connection is allowed except net_burst,
 * net_timers, net_flush and net_destroy. After net_close(), net_abort() or on_closed a connection
 * has no further callbacks and its pointer is dead.
 */
struct net_callbacks {
    /**
     * A client's hand-shake is complete. @return user pointer; NULL refuses (the peer gets RST).
     */
    void *(*on_accept)(void *ctx, struct net_conn *conn);
    /** net_connect() succeeded: the connection may send. */
    void (*on_connected)(void *user, struct net_conn *conn);
    /**
     * The next bytes of the stream, in order, each given once.
     *
     * @param bytes  Borrowed. Stays readable until net_flush() returns, provided the caller of
     *               net_burst() keeps the frames that long: a burst's requests may be collected
     *               first and served together.
     * @return bytes consumed, 0..n. Less than n pauses: the rest is kept, the window closes by it,
     *               and on_data is not
     *         called again before net_resume(). Not for splitting frames: an application assembles
     *         its own.
     */
    uint32_t (*on_data)(void *user, struct net_conn *conn, const uint8_t *bytes, uint32_t n);
    /**
     * The peer has sent its FIN and all data before it was consumed. Sending still works; answer
     * with net_close().
     */
    void (*on_eof)(void *user, struct net_conn *conn);
    /**
     * net_send() had accepted less than it was given, and at least half of the queue is free again.
     */
    void (*on_writable)(void *user, struct net_conn *conn);
    /**
     * The connection is gone; conn is valid until return only. Also ends a net_connect() that
     * failed.
     */
    void (*on_closed)(void *user, struct net_conn *conn, enum net_closed reason);
    /**
     * A segment for this connection is in the burst: prefetch what on_data will touch. Called for
     * all of a burst before the first on_data. May be NULL. Must not change anything.
     */
    void (*prefetch)(void *user);
    /**
     * What keeps the bytes of net_send_reference() alive; see there. Unlike the others these also
     * run within the application's own calls, net_destroy() included. NULL: never used.
     */
    void (*reference_hold)(void *ctx, void *holder);
    void (*reference_drop)(void *ctx, void *holder);
};

/**
 * How flows are spread over cores: by Toeplitz hash of source, destination and ports with
 * NET_STEERING_KEY repeated, modulo entries, modulo cores. A port whose RSS has that key and a
 * table of so many entries, entry i naming queue i % cores, delivers each frame to its core.
 */
struct net_steering {
    unsigned cores, entries;
};
#define NET_STEERING_KEY 0x6d5a
#define NET_STEERING_ENTRIES 128 /* where no table sets another number */

/** Copied by net_create(). Zero-initialise, then fill in. */
struct net_config {
    uint8_t mac[6];
    uint16_t mtu; /* IP packet bytes, NET_MTU_MIN..NET_MTU_MAX [1500] */
    struct net_interface interfaces[NET_ADDRESSES_MAX];
    unsigned interface_count; /* 1..NET_ADDRESSES_MAX */
    struct net_addr gateway_v4, gateway_v6;
    uint16_t listen_ports[NET_LISTEN_PORTS_MAX]; /* host order */
    unsigned listen_port_count;
    uint8_t secret[32]; /* unpredictable; keys of flow hash, ISN, timestamps and cookies come from
                         * it */
    uint64_t seed;      /* of port choice and jitter; need not be secret */
    bool checksum_offload;
    /* Connections opened here get a local port that net_frame_core() maps to this core. */
    unsigned core;
    struct net_steering steering; /* cores 0 or 1: none */
    struct net_limits limits;
    struct net_times times;
    struct net_output output;
    struct net_callbacks callbacks;
    void *callbacks_ctx;
};

/* Counters of one instance. Name and meaning are what telemetry shows. */
#define NET_COUNTERS(X)                                                   \
    X(frames_in, "frames received")                                       \
    X(frames_out, "frames sent")                                          \
    X(frame_alloc_failed, "no transmit buffer")                           \
    X(drop_short, "frame too short for its headers")                      \
    X(drop_not_ours, "other destination MAC or address")                  \
    X(drop_ethertype, "other Ethernet type or IP protocol")               \
    X(drop_ip_header, "malformed IP header or length")                    \
    X(drop_ip_options, "IPv4 options or IPv6 extension headers")          \
    X(drop_ip_fragment, "IP fragments")                                   \
    X(drop_ip_source, "impossible source address")                        \
    X(drop_checksum, "wrong IP, ICMP or TCP checksum")                    \
    X(drop_tcp_header, "malformed TCP header or options")                 \
    X(drop_no_port, "segment to no connection and no listener")           \
    X(drop_syn_full, "SYN dropped: connection table full")                \
    X(drop_accept_full, "hand-shake finished with connection table full") \
    X(drop_cookie, "ACK with no valid cookie")                            \
    X(drop_paws, "segment older than the last timestamp")                 \
    X(drop_window, "segment outside the receive window")                  \
    X(drop_ack, "ACK outside the sent range")                             \
    X(drop_no_ack, "segment without ACK flag")                            \
    X(drop_reassembly, "out-of-order data beyond its limits")             \
    X(drop_rx_memory, "in-order data with no buffer for it")              \
    X(drop_after_close, "data after net_close()")                         \
    X(drop_challenge_limit, "challenge ACK withheld by its limit")        \
    X(drop_icmp, "ICMP malformed or not answered")                        \
    X(drop_icmp_quote, "ICMP error whose quote matches nothing sent")     \
    X(drop_arp, "ARP malformed, not for us or unsolicited")               \
    X(drop_nd, "neighbour discovery malformed or unsolicited")            \
    X(arp_replies, "ARP requests answered")                               \
    X(nd_replies, "neighbour solicitations answered")                     \
    X(neighbour_queries, "ARP requests and solicitations sent")           \
    X(echo_replies, "ICMP echo requests answered")                        \
    X(mtu_reduced, "path MTU lowered by ICMP")                            \
    X(mtu_black_hole, "MSS lowered after repeated timeouts")              \
    X(syn_in, "SYN received by a listener")                               \
    X(cookies_sent, "SYN cookies sent")                                   \
    X(cookies_accepted, "SYN cookies accepted")                           \
    X(accepted, "connections accepted")                                   \
    X(connects, "connections opened")                                     \
    X(connected, "opened connections established")                        \
    X(closed_orderly, "connections closed by FIN both ways")              \
    X(closed_reset, "connections reset by peer")                          \
    X(closed_aborted, "connections reset by us")                          \
    X(closed_timeout, "connections timed out")                            \
    X(time_wait_entered, "TIME-WAIT entries made")                        \
    X(time_wait_evicted, "TIME-WAIT entries recycled early")              \
    X(time_wait_reused, "TIME-WAIT entries reused by a new SYN")          \
    X(segments_in, "TCP segments received")                               \
    X(segments_out, "TCP segments sent")                                  \
    X(bytes_in, "payload bytes received in order")                        \
    X(bytes_out, "payload bytes sent for the first time")                 \
    X(acks_pure, "ACKs sent without data")                                \
    X(acks_duplicate, "duplicate ACKs received")                          \
    X(acks_delayed, "ACKs sent by the delayed-ACK timer")                 \
    X(resets_out, "RSTs sent")                                            \
    X(challenge_acks, "challenge ACKs sent")                              \
    X(out_of_order, "segments kept out of order")                         \
    X(duplicate_data, "segments with only old data")                      \
    X(retransmits, "segments retransmitted")                              \
    X(retransmit_bytes, "payload bytes retransmitted")                    \
    X(rto_fired, "retransmission timeouts")                               \
    X(tail_probes, "tail loss probes")                                    \
    X(fast_recoveries, "fast recoveries entered")                         \
    X(sack_received, "ACKs with SACK blocks")                             \
    X(sack_ignored, "SACK blocks refused")                                \
    X(window_probes, "zero-window probes")                                \
    X(keepalives, "keepalive probes")                                     \
    X(send_short, "net_send() accepted less than given")                  \
    X(buffer_refused, "buffer pool at its limit")

struct net_counters {
#define X(name, text) uint64_t name;
    NET_COUNTERS(X)
#undef X
};

/** What an instance holds now. */
struct net_usage {
    uint32_t conns;       /* all states */
    uint32_t half_open;   /* of these, SYN_RCVD */
    uint32_t time_wait;
    uint32_t timers;      /* connections with an entry in the wheel */
    uint64_t tables_bytes; /* flow table, connections in use, TIME-WAIT, neighbours */
    uint64_t buffers_bytes; /* chunks in use */
    uint64_t buffers_allocated_bytes; /* chunks in use or pooled */
};

/**
 * Make an instance. All its memory but the pooled buffers is taken here (untouched pages are not
 * resident).
 *
 * @param config  Borrowed; copied.
 * @return NULL: out of memory or a config value outside its stated range (net_config_error() says
 *         which).
 * Context: init only.
 */
struct net *net_create(const struct net_config *config);

/** The first thing wrong with a config, as text in static storage; NULL: nothing. Context: any. */
const char *net_config_error(const struct net_config *config);

/**
 * Free everything, without a word to any peer and without callbacks. NULL is allowed. Context:
 * owner, or after it.
 */
void net_destroy(struct net *net);

/**
 * Take in a burst of frames.
 *
 * @param frames  Borrowed until return; the bytes until the next net_flush() returns if on_data's
 *                bytes are used later.
 * @param n       Any number.
 * @param now_us  Monotonic; all time in the instance comes from here and net_timers(). Must not go
 *                back.
 * Context: owner. Never blocks; allocates only to grow the buffer pool within
 * limits.buffers_bytes_max.
 */
void net_burst(struct net *net, const struct net_frame *frames, unsigned n, uint64_t now_us);

/**
 * Do what is due. Call once per turn; a call with nothing due costs a compare.
 *
 * @return now_us at which there may be something to do next; UINT64_MAX: nothing until a frame or
 *                an application call.
 *         An early call does no harm. Ask again after net_flush() or net_next_us() before sleeping.
 * Context: owner.
 */
uint64_t net_timers(struct net *net, uint64_t now_us);

/** As net_timers()'s result, without doing anything. */
uint64_t net_next_us(const struct net *net);

/**
 * Build and send what the touched connections may send: data, ACKs, FINs; then free what was
 * closed.
 *
 * @return connections still waiting for a transmit buffer: 0 unless frame_alloc refused. They are
 *                     tried first next time.
 * Context: owner. Ends the life of bytes given to on_data.
 */
uint32_t net_flush(struct net *net);

/**
 * Queue bytes to a peer. They are copied; they leave at the next net_flush() as far as the windows
 * allow.
 *
 * @return bytes accepted, 0..n: bounded by limits.tx_bytes_max and the buffer pool. Less than n:
 *               on_writable will come.
 *         0 also after the peer's reset was seen. Context: owner.
 */
uint32_t net_send(struct net *net, struct net_conn *conn, const uint8_t *bytes, uint32_t n);

/**
 * As net_send() of bytes that are yet to be written: into the queue itself.
 *
 * @param least   The room has to be in one piece.
 * @param wanted  What may follow there: a hint.
 * @param room    Bytes there are, >= least.
 * @return where to write, to be followed by net_send_written() before any other call for conn;
 *         NULL: no room like that, net_send() takes what fits. Context: owner.
 */
uint8_t *net_send_room(struct net *net, struct net_conn *conn, uint32_t least, uint32_t wanted,
                       uint32_t *room);
/** The first n bytes of the room are written, 1..room. */
void net_send_written(struct net *net, struct net_conn *conn, uint32_t n);

/**
 * As net_send() of bytes that are not copied but read where they lie, perhaps several times, until
 * the peer has acknowledged them: they must not change. On a result above 0 the instance has called
 * callbacks.reference_hold(holder), and calls reference_drop() once it needs no more.
 */
uint32_t net_send_reference(struct net *net, struct net_conn *conn, const uint8_t *bytes,
                            uint32_t n, void *holder);

/** Bytes net_send() would take now as far as the connection's own limit goes. */
uint32_t net_send_space(const struct net *net, const struct net_conn *conn);

/** Bytes queued or unacknowledged. 0: the peer's TCP has everything. */
uint32_t net_unacked_bytes(const struct net_conn *conn);

/**
 * After on_data consumed less than it was given: deliver what was kept (on_data runs within the
 * next net_flush()).
 */
void net_resume(struct net *net, struct net_conn *conn);

/**
 * No more to send and nothing more to hear: FIN after the queued data, then TIME-WAIT where due.
 * Data that arrives from now on is answered with RST (RFC 1122 4.2.2.13). The pointer is dead.
 * Context: owner.
 */
void net_close(struct net *net, struct net_conn *conn);

/**
 * As net_close(), but what the peer still sends is acknowledged and thrown away until its FIN, as
 * are unread bytes: a RST would take from it the last bytes that we sent, if it has not read them
 * yet. Lasts for times.fin_wait_ms at most after our FIN was acknowledged.
 */
void net_shutdown(struct net *net, struct net_conn *conn);

/** RST now, forget all. The pointer is dead. Context: owner. */
void net_abort(struct net *net, struct net_conn *conn);

/**
 * Open a connection. on_connected or on_closed will come, not before the next net_burst() or
 * net_timers().
 *
 * The instance's time is that of the last net_burst() or net_timers(): call one before the first
 * net_connect().
 *
 * @param local   Index into config.interfaces, or -1: the first of the remote's family.
 * @param port    Host order.
 * @return NULL: table full, no free local port or no address of that family. Context: owner.
 */
struct net_conn *net_connect(struct net *net, const struct net_addr *remote, uint16_t port,
                             int local, void *user);

/** Peer and own address of a connection. Ports in host order; any out pointer may be NULL. */
void net_conn_peer(const struct net_conn *conn, struct net_addr *addr, uint16_t *port);
void net_conn_local(const struct net *net, const struct net_conn *conn, struct net_addr *addr,
                    uint16_t *port);

/** The user pointer, and how to change it. */
void *net_conn_user(const struct net_conn *conn);
void net_conn_set_user(struct net_conn *conn, void *user);

/** Smoothed round trip in us; 0 before the first sample. */
uint32_t net_conn_rtt_us(const struct net_conn *conn);

/**
 * Announce the addresses (gratuitous ARP, unsolicited NA): once the link is up, and after it came
 * back.
 */
void net_announce(struct net *net);

/**
 * Counters and occupancy, valid until net_destroy(). Context: owner; another thread may read them
 * torn.
 */
const struct net_counters *net_counters(const struct net *net);
void net_usage(const struct net *net, struct net_usage *usage);

/**
 * Which core a frame belongs to, by the addresses and ports of its flow (of the quoted packet for
 * ICMP errors); the same for both directions.
 *
 * @return 0..cores-1; NET_CORE_ALL: give it to every core (ARP and ND replies). Context: any; pure.
 */
unsigned net_frame_core(const uint8_t *data, uint16_t len, struct net_steering steering);
#define NET_CORE_ALL UINT32_MAX

/**
 * The invariants N1-N3, and every list and table against each other. For tests: slow. Aborts on a
 * violation.
 */
void net_check(const struct net *net);

/** "10.0.0.1" or "fe80::1" -> *addr. @return 0; -1 not an address. */
int net_addr_parse(const char *text, struct net_addr *addr);
/** Mapped form of an IPv4 address given in host order. */
struct net_addr net_addr_v4(uint32_t host_order);
bool net_addr_is_v4(const struct net_addr *addr);
/** @param text at least 46 bytes. @return text. */
char *net_addr_format(const struct net_addr *addr, char *text, size_t size);

/** Text of a reason. Static storage. */
const char *net_closed_text(enum net_closed reason);

#endif
