/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Zab as a pure state machine: an event in, the work it asks for out.
 *
 *      client write --PROPOSE(z)--> zab_step --ready.append--> log thread: write, flush
 *                                      ^  |                         |
 *                                      |  +--ready.commit--> tree   |
 *                                      +--------PERSISTED(z)--------+
 *
 * Is: who leads, which proposals are open, what is committed. Is not: a clock, socket, file,
 * thread, allocator or log; the txns' contents and the tree are none of its business. Same state
 * and same event give the same ready.
 *
 * This is an ensemble of one: the server leads from its start, and its own log is the quorum. What
 * an ensemble of several adds has its place: peers' messages become further event kinds, what to
 * send becomes further fields of struct zab_ready (before `commit`), and the rule for "a quorum has
 * it" is one function.
 *
 * Phases                    legal events
 *   ZAB_LOOKING   initial   START
 *   ZAB_LEADING             PROPOSE, PERSISTED, PERSIST_FAILED, TICK
 *   ZAB_FAILED    final     all but START, PROPOSE is refused, the others do nothing
 *
 * Invariants (zab_check() is these as code)
 *   Z1  committed <= persisted <= proposed; all three only grow.
 *   Z2  A zxid is committed only when a quorum has it on stable storage (G4); alone: committed ==
 *       persisted.
 *   Z3  Proposals are consecutive: each zxid is its predecessor + 1.
 *   Z4  The window holds exactly the proposals in (committed, proposed], at most
 *       window_proposals_max of them, and at most window_bytes_max bytes unless it is a single one.
 *   Z5  After PERSIST_FAILED nothing is appended or committed any more: what a failed flush left on
 *       the disk is unknown, and a later one that succeeds proves nothing about it.
 *
 * zxids: epoch << 32 | counter. A ZooKeeper server standing alone goes on from the last zxid of its
 * files, whatever epoch that has (0 in a fresh directory, first txn 0x1), by adding 1; after
 * counter 0xffffffff comes the next epoch's counter 0 (ZooKeeperServer.java getNextZxid has no
 * roll-over rule; only Leader.java propose() has one, and ends its term there, quorum-protocol.md
 * 14.2). Ours does the same: no zxid is ever used twice and order is kept, which is all that
 * standing alone needs.
 *
 * Context of every function: the control core. Never blocks or allocates.
 */
#ifndef SENGI_ZAB_ZAB_H
#define SENGI_ZAB_ZAB_H

#include "client/wire/types.h"

struct zab;

#define ZAB_ERRORS(X)                                           \
    X(ZAB_OK, 0, "ok")                                          \
    X(ZAB_BUSY, -1, "proposal window full")                     \
    X(ZAB_EFAILED, -2, "the log has failed: no further writes") \
    X(ZAB_EZXID, -3, "zxid out of range")

enum zab_error {
#define X(name, value, text) name = value,
    ZAB_ERRORS(X)
#undef X
};

/** Text for a ZAB_* code. Static storage, never NULL. */
const char *zab_error_text(int error);

enum zab_state { ZAB_LOOKING, ZAB_LEADING, ZAB_FAILED };

struct zab_config {
    uint32_t window_proposals_max; /* open proposals; 1..ZAB_WINDOW_PROPOSALS_MAX */
    uint64_t window_bytes_max;     /* their entries' bytes; >= 1 */
};
#define ZAB_WINDOW_PROPOSALS_MAX (1u << 20)

enum zab_event_kind {
    ZAB_START,          /* recovery is done: start.last_zxid is the last txn in the files, 0 if
                         * none */
    ZAB_PROPOSE,        /* propose.zxid == zab_next_zxid(), propose.entry the encoded txn */
    ZAB_PERSISTED,      /* the log is on stable storage up to persisted.zxid; may repeat or lag,
                         * never jumps ahead */
    ZAB_PERSIST_FAILED, /* a write or flush of the log failed */
    ZAB_TICK,           /* another tickTime has passed */
};

struct zab_event {
    enum zab_event_kind kind;
    union {
        struct {
            zxid_t last_zxid;
        } start;
        struct {
            zxid_t zxid;
            struct bytes entry; /* borrowed until return: alone, only its size is looked at */
        } propose;
        struct {
            zxid_t zxid;
        } persisted;
    };
};

/** The work of one step. Do its parts in this order. */
struct zab_ready {
    enum zab_state state;
    /* 1. Append the proposals append_from..append_to to the log and flush it; say so by
     *    ZAB_PERSISTED. None: from > to. Must not wait for anything. */
    zxid_t append_from, append_to;
    /*
     * 2. Apply and publish everything up to here. Grows from step to step or stays; it is on stable
     * storage.
     */
    zxid_t commit;
    /* Health, for warnings: ticks since the oldest open proposal was proposed or the log last made
     * progress, whichever is later; 0 while nothing is open. */
    uint32_t stalled_ticks;
};

/** What is known now; see the invariants. */
struct zab_status {
    enum zab_state state;
    zxid_t proposed, persisted, committed;
    uint32_t window_proposals;
    uint64_t window_bytes;
};

/** Bytes of memory that zab_init() needs, aligned as malloc's. config: valid. */
size_t zab_bytes(const struct zab_config *config);

/**
 * Make a replica in state ZAB_LOOKING.
 *
 * @param memory  zab_bytes(config) bytes, the caller's until it stops using the replica.
 * @param config  Borrowed; copied.
 */
struct zab *zab_init(void *memory, const struct zab_config *config);

/**
 * Feed one event and collect the work it asks for.
 *
 * @param event  Borrowed until return. An event that is illegal in the present phase, a PROPOSE out
 *               of sequence and a PERSISTED of what was never proposed are bugs of the caller
 *               (CHECK).
 * @param ready  Overwritten; after an error it asks for no work.
 * @return 0; ZAB_BUSY the window is full (ask again after a commit); ZAB_EFAILED proposing after
 *         PERSIST_FAILED; ZAB_EZXID start.last_zxid is negative (damaged files), or the zxids are
 *         used up. On an error nothing changed.
 */
int zab_step(struct zab *z, const struct zab_event *event, struct zab_ready *ready);

/** The zxid that the next PROPOSE must carry. State ZAB_LEADING. */
zxid_t zab_next_zxid(const struct zab *z);

/**
 * Would a PROPOSE of that size be accepted now? The same answer as zab_step() would give, without
 * the step.
 */
int zab_can_propose(const struct zab *z, uint32_t entry_bytes);

void zab_status(const struct zab *z, struct zab_status *status);

/** Invariants Z1-Z4 as code; CHECKs. */
void zab_check(const struct zab *z);

#endif
