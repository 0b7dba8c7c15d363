/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The control core: the only writer of the tree. Sessions, request checking, Zab, commit,
 * publication.
 *
 *   ops from data cores ---> control_request.c: check, prepare txn z, encode it into the log batch
 *                                |  zab_step(PROPOSE z)
 *                                v
 *                          log thread: write, flush ----> zab_step(PERSISTED z) -> ready.commit
 *                                                              |
 *   control.c: tree_commit(z), ops with zxid <= z  ---->  one batch: txns + finished ops
 *              push it into every core's ring, THEN store visible_zxid (G3), then wake who sleeps
 *
 * Ops that need no txn (sync, getEphemerals, a handshake that resumes) are evaluated at the newest
 * state and stamped with its zxid; they wait in the same queue until that zxid is committed, so
 * that everything leaves in zxid order.
 *
 * Invariants
 *   K1  pending is in zxid order; every op in it has zxid <= proposed.
 *   K2  A batch is published only when every core's ring has room for it: all cores get it or none.
 *   K3  visible <= committed <= persisted (G4).
 *   K4  Nothing is acknowledged after the log has failed: the process ends.
 *
 * Context: one thread. Never blocks; allocates.
 */
#ifndef SENGI_DATAPLANE_CONTROL_H
#define SENGI_DATAPLANE_CONTROL_H

#include "dataplane/core.h"
#include "dataplane/logwriter.h"
#include "dataplane/restore.h"
#include "dataplane/server.h"
#include "dataplane/session.h"
#include "dataplane/snapshotter.h"
#include "dataplane/waker.h"
#include "zab/zab.h"

/* Proposals in flight and their bytes; beyond, ops wait. */
#define WINDOW_PROPOSALS_MAX 65536
#define WINDOW_BYTES_MAX (48u << 20)
/* Ops taken from one core's ring in one step, so that no core starves another. */
#define STEP_OPS_MAX 1024
/* Znodes that a step visits for all getAllChildrenNumber under way, before it goes on with other
 * work. */
#define WALK_STEP_NODES 2048
/* Under way at a time; the others, at most one of each connection, wait for their turn. */
#define WALKS_MAX 64
static_assert(WALK_STEP_NODES / WALKS_MAX > 0, "each walk goes on in each step");

/** A count of descendants under way: a walk at a pinned zxid, and what was committed since. */
struct walk {
    struct walk *next;
    struct op *op;
    struct bytes path;     /* borrowed from op */
    struct store_walk *at;
    int32_t count;
};

/** A four-letter word whose parts are being collected from the cores. */
struct collect {
    struct collect *next;
    struct op *op;       /* to be answered */
    uint32_t parts_left;
    struct buffer text;  /* parts so far, in order of arrival */
    uint64_t numbers[4]; /* sums of what the parts counted */
};

/** How long something took, in ms; written by control, relaxed. */
struct control_times {
    _Atomic int64_t count, sum, min, max;
};

struct control {
    /* config */
    struct server *server;
    struct tree *tree;
    struct store *store;
    struct waker own_waker;
    struct waker *waker; /* own_waker, or the only data core's */

    /* writes */
    struct zab *zab;
    struct op_list stalled; /* waiting for room in the window or in the log batch */
    struct op_list pending; /* K1 */
    struct logwriter *logwriter;
    struct log_batch batches[LOG_BATCHES];
    struct log_batch *idle[LOG_BATCHES];
    uint32_t idle_count;
    struct log_batch *filling;
    uint32_t log_busy; /* batches at the log thread */
    struct buffer reply;

    /* publication */
    struct batch *building;      /* the next batch, or NULL */
    struct batch *published;     /* not yet drained by all, oldest first */
    struct batch **published_tail;
    uint64_t sequence;

    /* sessions */
    struct session_table *sessions;
    session_id_t next_session_id;

    /* snapshots */
    struct snapshotter *snapshotter;
    uint64_t txns_since_snapshot, snapshot_after_txns;
    uint64_t log_bytes_since_roll, snapshot_after_bytes;
    bool snapshot_wanted;

    /* reaper of containers and TTL znodes */
    int64_t reap_next_ms, reap_one_next_ms;
    struct buffer reap_paths;
    size_t reap_at;

    struct walk *walks;
    uint32_t walk_count;
    struct op_list walks_waiting;
    struct collect *collects;

    struct digest_log digests; /* for the word `hash` */

    uint64_t now_us, now_ms; /* monotonic, read once per step */
    int64_t wall_ms;         /* since 1970, of the step's txns; 0: not read yet */
    uint64_t flush_next_us;  /* not before, while there is other work for the only CPU */
    uint64_t give_way_us;    /* the CPU is not offered again before; one_thread only */
    int64_t tick_next_ms;
    bool stopping, failed;

    /* metrics; relaxed reads by whoever answers mntr */
    _Atomic uint64_t commits, proposals, snapshots_failed, sessions_expired, connection_requests,
        revalidated;
    struct control_times fsync_ms, snapshot_ms;
};

/**
 * After recovery: open the log, take over sessions. @return PERSIST_* or ZAB_* code; says why
 * itself.
 */
int control_create(struct control **out, struct server *server, zxid_t last_zxid);
void control_destroy(struct control *c);

/** One step. Call again at once while it returns true. */
bool control_step(struct control *c);
/** Is there work that came in meanwhile? Looked at between waker_prepare() and sleeping. */
bool control_has_work(struct control *c);
/** ms until a timer is due; -1 never. */
int control_timeout_ms(const struct control *c);
/** The loop of a control core with a thread of its own, until it has stopped. */
void control_run(struct control *c);

/* --- between the files of the control core --- */

/** Put an op into the batch under construction: its core gets it back with the next publication. */
void control_finish(struct control *c, struct op *op);
/** Make an op that tells a core something. */
void control_tell(struct control *c, uint16_t core, enum op_kind kind, struct conn *conn,
                  struct session *session);
/** Take one op from a data core (or of our own making) in. control_request.c */
void control_take(struct control *c, struct op *op);
/** Go on with ops that waited for the window. */
void control_unstall(struct control *c);
/** A pending op's zxid is committed: effects on sessions, then back to its core. */
void control_committed(struct control *c, struct op *op);
/** Expiry of sessions. */
void control_expire(struct control *c);
/** Containers and TTL znodes. control_reap.c */
void control_reap(struct control *c);
int64_t control_reap_next_ms(const struct control *c);
/** getAllChildrenNumber. control_walk.c */
void control_walk_begin(struct control *c, struct op *op);
bool control_walk_step(struct control *c);
void control_walk_note(struct control *c, const struct tree_txn *txn);
/** Four-letter words. control_word.c */
void control_word(struct control *c, struct op *op);
void control_word_collected(struct control *c, struct op *part);

#endif
