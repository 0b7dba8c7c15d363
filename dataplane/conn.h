/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A client connection: bytes in -> frames -> requests -> replies -> bytes out. The same for every
 * backend.
 *
 *   backend (kernel.c, dpdk/station.c)     connection (conn.c)           elsewhere
 *   readable --conn_input()--> handshake, word, frames --+--> burst.c   reads, watches, pings
 *                                                        +--> op ring   writes, sync, ...
 *   writable <--flush()------- output chunks <-- replies, events <--+--- drained batches
 *
 * Invariants (G2)
 *   C1  Requests are answered in the order they came. While ops are in flight (ops_in_flight > 0),
 *       a request that is served on this core waits in `waiting`; once something waits, everything
 *       behind it waits too.
 *   C2  A connection is freed at the end of a turn, when its backend is done with it, nothing of it
 *       is in the burst or in flight, and the control core has let go of it (OP_DETACH came back).
 *       Until then pointers to it stay valid.
 *   C3  Before a session exists the connection holds no more memory than the bytes it has sent,
 *       rounded up to INPUT_BYTES_FIRST or doubled (G6).
 *   C4  Output beyond output_pause_bytes stops reading; beyond output_bytes_max the connection is
 *       cut: events are never skipped (G3).
 *
 * Context: everything here is for the data core that owns the connection.
 */
#ifndef SENGI_DATAPLANE_CONN_H
#define SENGI_DATAPLANE_CONN_H

#include <assert.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stddef.h>

#include "client/wire/check.h"
#include "client/wire/types.h"
#include "dataplane/op.h"
#include "dataplane/watch.h"
#include "tree/value.h"

struct core;
struct conn;
struct session;

#define INPUT_BYTES_FIRST 512
#define OUTPUT_CHUNK_BYTES 16384
/* The first chunk of a queue: an event to each of 10 000 watchers must not take 160 MB. */
#define OUTPUT_CHUNK_BYTES_FIRST 1024
/* Bytes queued to one peer beyond which we stop reading from it. */
#define OUTPUT_PAUSE_BYTES (1u << 20)
/*
 * Bytes queued to one peer beyond which it is cut: a reader this slow cannot be told every event.
 */
#define OUTPUT_BYTES_MAX (64u << 20)
/*
 * Bytes queued to all peers of a core; above, whoever has more than OUTPUT_PAUSE_BYTES queued and
 * adds to it is cut.
 */
#define OUTPUT_TOTAL_BYTES_MAX (512ull << 20)
/*
 * Bytes of values that queues of a core hold, each counted as often as it is held: what could be
 * kept from being freed. Above, replies are copied as smaller ones are, within the limits above.
 */
#define OUTPUT_VALUE_BYTES_MAX (1ull << 30)
/*
 * A single reply above this is answered with ZK_MARSHALLINGERROR instead (hazards.md section 0, row
 * J).
 */
#define REPLY_BYTES_MAX (256u << 20)
#define MULTI_READ_REPLY_BYTES_MAX (16u << 20)
/* Requests of one connection that may be in flight or waiting before we stop reading from it. */
#define REQUESTS_PENDING_MAX 1024
#define REQUESTS_PENDING_BYTES_MAX (4u << 20)

/**
 * Text of an address as Java prints it, without port: IPv4 as usual (mapped ones too), IPv6 as
 * eight groups.
 */
#define CONN_ADDRESS_BYTES 64
void conn_address_format(const struct sockaddr_storage *peer, char text[CONN_ADDRESS_BYTES]);

/** How a connection reaches its peer; one per backend. */
struct conn_backend {
    /**
     * Send what is queued (conn->out). What the peer does not take stays queued; the backend calls
     * again when it can.
     */
    void (*flush)(struct core *core, struct conn *conn);
    /** Stop or resume giving input. */
    void (*pause)(struct core *core, struct conn *conn, bool paused);
    /**
     * Half-close behind the queued output, or drop at once; conn_detached() follows, perhaps within
     * the call.
     */
    void (*close)(struct core *core, struct conn *conn, bool at_once);
    /**
     * Optional: where output can be written when nothing is queued, to be sent without flush() and
     * without a copy. As net_send_room() and net_send_written() (dataplane/net/net.h).
     */
    uint8_t *(*room)(struct core *core, struct conn *conn, uint32_t least, uint32_t wanted,
                     uint32_t *room);
    void (*written)(struct core *core, struct conn *conn, uint32_t n);
};

enum conn_state {
    CONN_NEW,         /* nothing decided: four-letter word or handshake */
    CONN_CONNECTING,  /* handshake at the control core; input paused */
    CONN_ESTABLISHED, /* has a session */
    CONN_CLOSING,     /* no more input is looked at; output is being flushed */
    CONN_CLOSED,      /* gone for the backend; waits for ops_in_flight == 0 */
};

struct out_chunk {
    struct out_chunk *next;
    struct value *value; /* held, its bytes stand for data[]; never the last of a queue; or NULL */
    uint32_t start, end, capacity; /* start <= end <= capacity (of a value: its size); [start, end)
                                    * is to be sent */
    uint8_t data[];
};

static inline const uint8_t *out_chunk_bytes(const struct out_chunk *chunk)
{
    return UNLIKELY(chunk->value != NULL) ? chunk->value->bytes : chunk->data;
}

/*
 * The first two lines are all that a getData reads and writes of its connection: of a million
 * connections each line is a cache miss. What is counted there goes to `stats` by
 * conn_stats_fold().
 */
struct conn {
    /* hot: input and the burst */
    const struct conn_backend *backend;
    union {             /* the backend's handle */
        void *net_conn; /* own TCP */
        int fd;         /* kernel */
    };
    uint8_t state;      /* enum conn_state */
    uint8_t last_op;    /* opcode_info.index or LAST_OP_*, for `cons` */
    uint8_t burst_items; /* items of this connection in the burst */
    bool has_read_only; /* the ConnectRequest had the optional byte */
    bool paused;        /* input stopped: handshake, output or pending requests above their
                         * limits */
    bool input_closed;  /* nothing behind the last request is looked at */
    bool barrier;       /* an op in flight that nothing may overtake (CLASS_CONTROL,
                         * closeSession) */
    bool detached;      /* the backend is done */
    bool cut;           /* output over its limit or out of memory: closed at the end of the turn */
    bool postponed;     /* output was full: a request of this burst waits, so do those behind it */
    bool resume;        /* in core->resume */
    bool dead;          /* in core->dead */
    bool dirty;         /* in core->dirty */
    bool timed;         /* in core->timed, else in core->conns */
    bool writable_wait; /* the backend waits until the peer takes more */
    uint32_t ops_in_flight;
    uint32_t input_size;
    struct out_chunk *out_head, *out_tail;
    uint32_t reads_new;     /* requests not in stats.received yet */
    uint32_t quick_replies; /* of serve_get_data_run(), not in stats yet */

    /* hot: replies */
    uint32_t out_bytes; /* <= OUTPUT_BYTES_MAX + REPLY_BYTES_MAX + a few */
    int32_t last_cxid;  /* -1 = none */
    /* shared: written by this core with every request, read by control (session.h); relaxed, a late
     * value only delays expiry by one look */
    _Atomic int64_t heard_ms;
    zxid_t last_zxid;
    uint64_t last_response_ms;
    struct op_list waiting;
    struct conn *dirty_next;

    /* cold */
    uint8_t *input;      /* partial frame, owned */
    uint32_t input_capacity;
    uint32_t pending_bytes; /* bodies in flight and waiting */
    struct session *session;
    struct auth_set *auth;
    struct watch_owner watches;
    struct conn *list_next, **list_link; /* core->timed: no session yet, or closing; core->conns */
    struct conn *later_next; /* core->resume or core->dead: a dead one is not resumed */
    uint64_t idle_since_ms;  /* last event, for connections in core->timed */
    uint64_t established_ms; /* wall clock, ms since 1970 */
    struct sockaddr_in6 peer; /* or a sockaddr_in: see conn_peer() */
    int32_t timeout_ms;      /* of the session */
    struct {
        uint32_t latency_ms_last, latency_ms_min, latency_ms_max;
        uint64_t received, sent, latency_ms_sum, latency_count;
    } stats;
};
#define LAST_OP_NONE 255
#define LAST_OP_NA 254

static_assert(sizeof(struct conn) <= 320, "an idle connection costs one allocation of this size");
static_assert(offsetof(struct conn, out_bytes) == 64 && offsetof(struct conn, input) == 128,
              "a read touches two lines");

/** Address of the peer; only as many bytes as its family has may be read. */
static inline const struct sockaddr_storage *conn_peer(const struct conn *conn)
{
    return (const struct sockaddr_storage *)&conn->peer;
}

/** Prefetch what input for a connection will touch; see struct net_callbacks. */
void conn_prefetch(void *conn);

/** Every connection of a core: those in core->timed first. */
struct conn *conn_first(const struct core *core);
struct conn *conn_next(const struct core *core, const struct conn *conn);
/** 0: none. */
session_id_t conn_session_id(const struct conn *conn);

/** A new connection of this core. @param peer copied. NULL: out of memory. */
struct conn *conn_open(struct core *core, const struct conn_backend *backend,
                       const struct sockaddr *peer);

/**
 * Bytes from the peer, in order.
 *
 * Whole frames are decoded in place and join the core's burst: `bytes` must stay valid until the
 * next burst_run(). What cannot be looked at yet (a partial frame, or frames behind a handshake) is
 * copied.
 * @return n, or 0 when input is paused: then the backend keeps the bytes until it is resumed.
 */
size_t conn_input(struct core *core, struct conn *conn, const uint8_t *bytes, size_t n);

/** Keep input that came just before a pause. */
void conn_keep_input(struct core *core, struct conn *conn, const uint8_t *bytes, size_t n);

/** The peer will send no more, or the backend failed. */
void conn_hangup(struct core *core, struct conn *conn);
/**
 * The backend is done with the connection: no call of the backend's will follow. Frees it when C2
 * allows.
 */
void conn_detached(struct core *core, struct conn *conn);

/** End a connection from our side: behind its queued output, or at once. */
void conn_close(struct core *core, struct conn *conn, bool at_once);

/** Contiguous room for n bytes of output, or NULL (out of memory or over the cap: the connection is
 * cut at the end of the turn; calls no backend and no watch table, so that events can be queued
 * from within watch_fire()). */
uint8_t *conn_room(struct core *core, struct conn *conn, size_t n);
/** Queue a reply frame with a ready body. */
void conn_reply(struct core *core, struct conn *conn, int32_t xid, zxid_t zxid, int32_t err,
                const void *body, size_t size);
/**
 * Queue a reply part of which is the bytes of a value, sent from where they lie: the value is held
 * until then.
 *
 * @param head  Copied, as is tail: header and what comes before the value, and what comes after.
 * @return false: the connection is being cut, as with conn_room().
 */
bool conn_reply_value(struct core *core, struct conn *conn, struct bytes head, struct value *value,
                      struct bytes tail);
/** After output was sent: drop `n` bytes from the queue's front. */
void conn_output_sent(struct core *core, struct conn *conn, size_t n);

/** Drop all queued output. */
void conn_output_drop(struct core *core, struct conn *conn);
/** Statistics of a reply: before conn_reply(), with what the request was; and of its size. */
void conn_note_latency(struct core *core, struct conn *conn, uint64_t start_us,
                       const struct opcode_info *info, int32_t xid, zxid_t zxid);
void conn_note_reply(struct core *core, struct conn *conn, size_t body_size);
/** Bring conn->stats up to date. */
void conn_stats_fold(struct conn *conn);

/**
 * A finished op came back (drained batch). Queues its reply; what waited behind it starts with
 * conn_resume().
 */
void conn_complete(struct core *core, struct op *op);
/** After a drain: start waiting requests and input again where limits allow. */
void conn_resume(struct core *core, struct conn *conn);
/** Output went out: input may be resumed. */
void conn_output_drained(struct core *core, struct conn *conn);
/**
 * A request that the burst cannot serve now because too much output is queued: as an op, to go back
 * to the front of `waiting`. NULL: out of memory, the connection is being cut.
 */
struct op *conn_postpone(struct core *core, struct conn *conn, const struct opcode_info *info,
                         int32_t xid, struct bytes body);
/** That many items of the burst have been served. */
void conn_burst_items_done(struct core *core, struct conn *conn, uint32_t count);
/** Connections in core->timed whose time is up are closed. Called about once a second. */
void conn_sweep_timed(struct core *core);
/** Free every connection as it is: the core's thread and the control core have ended. */
void conn_destroy_all(struct core *core);
/** C2: to be freed by conn_sweep_dead(), if nothing refers to it any more. */
void conn_free_later(struct core *core, struct conn *conn);
/** End of turn: free what C2 allows. */
void conn_sweep_dead(struct core *core);

#endif
