/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A data core: one loop that owns connections, their watches and their output.
 *
 *   turn:  backend polls (epoll, or rx burst): which connections have input
 *          V = visible_zxid (acquire); drain the ring up to V: complete writes, fire own watches
 *          input -> requests -> burst; the whole burst is served at V
 *          flush output, push ops to the control core, timers
 *          quiescent state
 *
 * G1, G3: all reads of a turn are served at one V, after everything up to V has been drained. Input
 * is received before V is loaded, so that a reply never shows less than what was acknowledged to
 * anybody before its request was sent.
 *
 * The loop never blocks except in the kernel backend's epoll_wait, as an offline RCU reader.
 */
#ifndef SENGI_DATAPLANE_CORE_H
#define SENGI_DATAPLANE_CORE_H

#include <stdatomic.h>

#include "client/wire/check.h"
#include "client/wire/opcodes.h"
#include "dataplane/conn.h"
#include "dataplane/ring.h"
#include "dataplane/waker.h"
#include "dataplane/watch.h"
#include "tree/key.h"
#include "tree/tree.h"

struct server;

#define BURST_ITEMS_MAX 64
#define QUICK_ROWS 16
#define AUTH_OF_PEERS 1024
#define CORE_RING_ENTRIES 4096
#define CHUNK_POOL_MAX 1024       /* chunks of OUTPUT_CHUNK_BYTES kept for reuse */
#define CHUNK_POOL_FIRST_MAX 16384 /* of OUTPUT_CHUNK_BYTES_FIRST */

/** A value held for a peer of this core, and let go of: counted in core->value_bytes. */
void core_value_hold(struct core *core, struct value *value);
void core_value_drop(struct core *core, struct value *value);

/** A request on its way through the prefetch stages. */
struct burst_item {
    struct conn *conn;
    const struct opcode_info *info;
    struct op *op; /* the waiting request that owns the bytes, or NULL: bytes lie in the input */
    struct bytes body; /* the request record, in op or in the input */
    int32_t xid;
    bool quick; /* getData without a watch, as it came in: serve_get_data_run() may do */
    bool well_formed;
    bool finds; /* names a znode: key is set, version is looked up */
    struct tree_key key;
    const struct version *version;
    struct request request;
};

/** Counters that other threads read: written by the owner only, relaxed. */
struct core_stats {
    _Alignas(64) _Atomic uint64_t received, sent, bytes_received, bytes_sent;
    _Atomic uint64_t connections, outstanding, watches, watch_paths;
    _Atomic uint64_t latency_ms_sum, latency_count, latency_ms_min, latency_ms_max;
    _Atomic uint64_t ops[OPX_COUNT];
    _Atomic uint64_t bad_frames, unknown_ops, slow_readers_cut, sessionless_expired,
        connections_rejected, auth_failed, words;
    _Atomic int64_t response_bytes_last, response_bytes_min, response_bytes_max;
    _Atomic uint64_t notifications[5]; /* by enum watch_event_type */
    _Atomic uint64_t watch_bytes;      /* of all notifications */
};

static inline void stat_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

struct core {
    /* config, set before the loop starts */
    struct server *server;
    struct store *store;
    const struct acl_table *acls;
    const struct index *index_of_tree;
    const uint8_t *secret; /* of the tree's keys */
    const struct opcode_info *quick_rows[QUICK_ROWS]; /* by opcode, of burst_add_reads() */
    uint16_t index;
    uint32_t frame_bytes_max;
    bool auth_enforced;

    /* shared with control */
    struct ring to_control;   /* struct op */
    struct ring from_control; /* struct batch */
    _Alignas(64) _Atomic uint64_t drained;  /* sequence of the last batch walked (D0, control.c) */
    struct waker waker;

    /* owned by the loop */
    _Alignas(64) zxid_t visible; /* V of this turn */
    uint64_t now_us, now_ms;     /* monotonic, read once per turn */
    uint32_t burst_count;
    bool idle;     /* this turn brought no input */
    bool pushed;   /* something went to control in this turn */
    bool draining; /* the server is stopping: no more input is looked at */
    bool stopping; /* OP_STOP came: leave the loop when output is flushed */
    struct burst_item burst[BURST_ITEMS_MAX];
    struct op_list overflow; /* ops that did not fit into to_control */
    struct conn *conns;  /* all but these: */
    struct conn *timed;  /* without session, or closing */
    struct conn *dirty;  /* have output */
    struct conn *resume; /* an op of theirs came back in this drain */
    struct conn *dead;   /* to be looked at at the end of the turn */
    struct chunk_pool {
        struct out_chunk *free;
        uint32_t count;
    } chunks, first_chunks;
    uint64_t out_bytes; /* queued to all peers */
    uint64_t value_bytes; /* of values held for peers, as often as they are */
    struct watch_table *watches;
    uint64_t sessionless_check_ms;
    struct auth_set *auth_of_peers[AUTH_OF_PEERS]; /* by hash of the address; those used last */
    struct buffer scratch; /* replies whose size is not known beforehand */
    void *backend; /* struct kernel, or the DPDK port's per-core state */
    /* counted in this turn, added to stats at its end: one store each instead of one per request */
    struct {
        uint64_t requests, replies;
        uint64_t quick;      /* answered within the turn, latency 0 ms */
        uint64_t quick_gets; /* the same, by serve_get_data_run() */
        int64_t response_last, response_min, response_max;
    } turn;
    struct core_stats stats;
};

/** A new core. NULL: out of memory or descriptors. Freed after its thread has ended. */
struct core *core_create(struct server *server, uint16_t index);
void core_destroy(struct core *core);

/** Start of a turn, after input was received: read the clock, load V, drain the ring up to V. */
void core_begin_turn(struct core *core);
/** End of a turn: serve what is left of the burst, flush, hand ops over, timers, free what was
 * closed. The caller reports its quiescent state afterwards. */
void core_end_turn(struct core *core);
/** Is there work that needs no new input? Looked at again between waker_prepare() and sleeping. */
bool core_has_work(struct core *core);
/** ms until the next timer of this core is due, -1 for none. */
int core_timeout_ms(const struct core *core);
/** Size of a reply, header included; counted by the caller. */
static inline void core_note_size(struct core *core, int64_t bytes)
{
    core->turn.response_last = bytes;
    if (bytes > core->turn.response_max)
        core->turn.response_max = bytes;
    if (bytes < core->turn.response_min)
        core->turn.response_min = bytes;
}
/** A reply that took `ms`, or `replies` of them that took none. */
void core_note_latency(struct core *core, uint64_t ms, uint64_t replies);

/** Hand an op to the control core. Takes it over. */
void core_submit(struct core *core, struct op *op);
/**
 * Note that a connection has output or is to be closed behind it; its backend's flush runs at the
 * end of the turn.
 */
static inline void core_mark_dirty(struct core *core, struct conn *conn)
{
    if (conn->dirty)
        return;
    conn->dirty = true;
    conn->dirty_next = core->dirty;
    core->dirty = conn;
}
/** More writes are under way than globalOutstandingLimit allows, and than this core's share. */
bool core_over_outstanding_limit(const struct core *core);

/** Requests that came in whole and are read in place. */
static inline void conn_note_requests(struct core *core, struct conn *conn, uint32_t count)
{
    conn->reads_new += count;
    if (UNLIKELY(conn->reads_new > INT32_MAX))
        conn_stats_fold(conn);
    core->turn.requests += count;
    atomic_store_explicit(&conn->heard_ms, (int64_t)core->now_ms, memory_order_relaxed);
}

/* burst.c */
/**
 * Make room for one more item. Comes before anything is decided about the request that will take
 * it: a full burst is served, and what it postpones goes to the front of its connection's
 * `waiting`.
 */
static inline void burst_room(struct core *core);
/**
 * Queue reads whose request is path and watch (exists, getData, getChildren, getChildren2) from the
 * front [p, end) of the input of a connection that nothing holds up, as many as there is room for.
 *
 * @return the end of those taken: any other request, or malformed, or not here in whole.
 */
const uint8_t *burst_add_reads(struct core *core, struct conn *conn, const uint8_t *p,
                               const uint8_t *end);
/** Queue a request that is served on this core; burst_room() was called. */
void burst_add(struct core *core, struct conn *conn, const struct opcode_info *info, int32_t xid,
               struct bytes body, struct op *op);
/** Serve everything queued, at core->visible. Afterwards no input bytes are referred to. */
void burst_run(struct core *core);

static inline void burst_room(struct core *core)
{
    if (UNLIKELY(core->burst_count == BURST_ITEMS_MAX))
        burst_run(core);
}

/* serve_*.c: one request that is served on the data core; its znode was looked up. */
void serve_item(struct core *core, struct burst_item *item);
/**
 * The first of the items [item, end), and those behind it of the same connection, as long as they
 * are usual getData: open ACL, no watch, data in the version.
 *
 * @return the first that is not served; `item`, nothing done: serve_item() must.
 */
struct burst_item *serve_get_data_run(struct core *core, struct burst_item *item,
                                      const struct burst_item *end);
void serve_watch_item(struct core *core, struct burst_item *item);
void serve_conn_item(struct core *core, struct burst_item *item);
/** Queue a WatcherEvent. */
void serve_event(struct core *core, struct conn *conn, zxid_t zxid, enum watch_event_type type,
                 struct bytes path);
/** May the connection do any of `perms` under this ACL? */
bool serve_allowed(const struct core *core, const struct conn *conn, uint32_t acl, int32_t perms);
/** Stands for a request that enforced authentication refuses. */
extern const struct opcode_info serve_refused;

/* word.c: four-letter words */
/** True if the bytes begin with a known word, and it has been dealt with. */
bool word_serve(struct core *core, struct conn *conn, const uint8_t *bytes, size_t n);
/** The bytes begin with a word that needs more of them (stmk and its mask). */
bool word_incomplete(const struct core *core, const uint8_t *bytes, size_t n);
/** A word's text came back from the control core. */
void word_complete(struct core *core, struct conn *conn, struct op *op);
/** Append this core's part of a collected word to op->answer. */
void word_collect(struct core *core, struct op *op);

#endif
