/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The watch tables of one data core: who wants to hear of which path (semantics.md section 12).
 *
 *      path "/a" --first--> watch{owner 1, DATA} <-> watch{owner 2, DATA|CHILD} <-> ...
 *      found by tree_key         |                       |
 *                            owner 1's list          owner 2's list     (both ways: O(1) removal)
 *
 * ZooKeeper keeps two tables, data and child. Here one watch holds the modes of one owner on one
 * path for both:
 *
 *      mode              in data table   in child table   lives until
 *      WATCH_DATA        yes             -                its first event
 *      WATCH_CHILD       -               yes              its first event
 *      WATCH_PERSISTENT  yes             yes              removed
 *      WATCH_RECURSIVE   yes             -                removed; fires for descendants too
 *
 * The two tables can be merged because nothing sets or removes PERSISTENT in only one of them.
 *
 * Is: matching of change records to owners. Is not: permission filter, encoding, sessions; those
 * are the deliver callback's. setWatches' catch-up (12.7) is the caller's: it compares zxids and
 * calls watch_add for the rest.
 *
 * Invariants (watch_check_all() is these as code)
 *   W1  A watch has at least one mode and is in three places: its path's list, its owner's list,
 *       the (path, owner) hash.
 *   W2  At most one watch per (path, owner). A path without watches does not exist.
 *   W3  watches <= limits.watches_max, an owner's watches <= limits.watches_per_owner_max, bytes <=
 *       limits.bytes_max.
 *   W4  Counters equal what a walk over all watches would count.
 *   W5  Per change each owner gets at most one event for the changed path and one for its parent.
 *
 * Memory: 40 bytes per watch, 56 per path and the path's text once, 4 to 8 bytes of hash bucket
 * each. Pools grow by chunks and keep what they have; hash tables grow by one bucket per insertion,
 * so no insertion pays for a rehash. Work per change: the watchers, plus one pass over the path's
 * bytes when recursive watches exist at all.
 *
 * Single-threaded: everything here is for the core that owns the table.
 */
#ifndef SENGI_DATAPLANE_WATCH_H
#define SENGI_DATAPLANE_WATCH_H

#include "client/wire/types.h"
#include "tree/store.h"

struct watch_table;

enum watch_mode {
    WATCH_DATA = 1,       /* getData, exists */
    WATCH_CHILD = 2,      /* getChildren, getChildren2 */
    WATCH_PERSISTENT = 4, /* addWatch mode 0 */
    WATCH_RECURSIVE = 8,  /* addWatch mode 1 */
};

/** WatcherType of checkWatches and removeWatches (client-protocol.md section 9). */
enum watch_type {
    WATCH_TYPE_CHILDREN = 1,
    WATCH_TYPE_DATA = 2,
    WATCH_TYPE_ANY = 3,
    WATCH_TYPE_PERSISTENT = 4,
    WATCH_TYPE_PERSISTENT_RECURSIVE = 5,
};

/** addWatch's mode number -> modes; 0: not a mode (answer ZK_MARSHALLINGERROR). */
static inline unsigned watch_modes_of(int32_t add_watch_mode)
{
    return add_watch_mode == 0 ? WATCH_PERSISTENT : add_watch_mode == 1 ? WATCH_RECURSIVE : 0;
}

/** Bounds. 0 means the default in brackets. */
struct watch_limits {
    uint32_t watches_max;           /* this core [16 Mi] */
    uint32_t watches_per_owner_max; /* one connection [1 Mi] */
    uint64_t bytes_max;             /* watches, paths and their text, without hash buckets [1
                                     * GiB] */
};
#define WATCHES_MAX_DEFAULT (16u << 20)
#define WATCHES_PER_OWNER_MAX_DEFAULT (1u << 20)
#define WATCH_BYTES_MAX_DEFAULT (1ull << 30)

/**
 * Embedded in a connection. Zero-initialise; read `watches`, touch nothing else. Must not move
 * while watches > 0.
 */
struct watch_owner {
    uint32_t watches;      /* (path) entries of this owner */
    uint32_t data_watches; /* of these, in the data table */
    uint32_t first;        /* head of its list, valid while watches > 0 */
    uint32_t spare;
    uint64_t fired;        /* last trigger that collected it */
    struct watch_owner *next, *prev; /* owners that have watches */
};

/**
 * Sizes for wchs, mntr and metrics. "data" counts the data table only, as wchs, wchc and wchp do.
 */
struct watch_counters {
    uint32_t owners, data_owners;   /* connections with at least one watch */
    uint32_t paths, data_paths;     /* watched paths */
    uint32_t watches;               /* (path, owner) pairs */
    uint32_t data_watches;          /* entries of the data table: "Total watches" of wchs */
    uint32_t child_watches;         /* entries of the child table; zk_watch_count = data + child */
    uint32_t recursive_watches;
    uint64_t bytes;                 /* as bounded by bytes_max */
    uint64_t fired;                 /* events handed to deliver, ever */
    uint64_t refused;               /* watch_add() calls that met a limit, ever */
};

/**
 * One event for one owner. Must only queue: no call into this table is allowed before watch_fire()
 * returns.
 *
 * @param owner  The connection's embedded part.
 * @param path   Borrowed until return.
 * @param acl    Interned ACL to test the READ permission of the owner's ids against (semantics.md
 *               12.5). The one-shot watch is consumed whatever the callback decides.
 */
typedef void watch_deliver(void *ctx, struct watch_owner *owner, enum watch_event_type type,
                           struct bytes path, uint32_t acl);

/**
 * An empty table. @param limits Borrowed; NULL = all defaults. @return NULL: out of memory.
 * Context: init.
 */
struct watch_table *watch_table_create(const struct watch_limits *limits);

/**
 * Free it. Owners that still have watches are left with dangling lists: only at shutdown. NULL is
 * allowed.
 */
void watch_table_destroy(struct watch_table *t);

/**
 * Add modes to the watch of (path, owner). Modes that are set already change nothing.
 *
 * @param key    store_key() of the path. "" and "/" have one key and are told apart by size: a
 *               watch on "" never fires.
 * @param path   Borrowed; copied if the path is new here.
 * @param modes  One or more of enum watch_mode.
 * @return 0; -1 a limit is reached or out of memory, nothing changed. Context: owner core.
 *         Allocates, bounded.
 */
int watch_add(struct watch_table *t, struct watch_owner *owner, struct tree_key key,
              struct bytes path, unsigned modes);

/**
 * Turn one change record into events, in the order of semantics.md 12.3; consume the one-shot
 * watches that match.
 *
 * @param change  Borrowed.
 * Context: owner core, not from within deliver. Work: see the head of this file.
 */
void watch_fire(struct watch_table *t, const struct tree_change *change, watch_deliver *deliver,
                void *ctx);

/**
 * Is there a watch of that type (semantics.md 12.6)? @return 0 or ZK_NOWATCHER;
 * ZK_MARSHALLINGERROR: no such type.
 */
int watch_check(const struct watch_table *t, const struct watch_owner *owner, struct tree_key key,
                struct bytes path, int32_t type);

/**
 * Remove that type from the owner's watch on the path. @return as watch_check(); on an error
 * nothing changed.
 */
int watch_remove(struct watch_table *t, struct watch_owner *owner, struct tree_key key,
                 struct bytes path, int32_t type);

/** The connection closes: remove all its watches. O(its own watches). */
void watch_owner_clear(struct watch_table *t, struct watch_owner *owner);

/** Valid until watch_table_destroy(). Context: owner core. */
const struct watch_counters *watch_counters(const struct watch_table *t);

/**
 * Walks for wchc and wchp, data table only: skip owners with data_watches == 0. The table must not
 * change meanwhile.
 *
 *     for (struct watch_owner *o = watch_owner_first(t); o; o = watch_owner_next(o))
 *         watch_owner_paths(t, o, print_path, ctx);
 */
struct watch_owner *watch_owner_first(const struct watch_table *t);
struct watch_owner *watch_owner_next(const struct watch_owner *owner);
void watch_owner_paths(const struct watch_table *t, const struct watch_owner *owner,
                       void (*visit)(void *ctx, struct bytes path), void *ctx);
/** Every (path, owner) of the data table, grouped by path. */
void watch_path_owners(const struct watch_table *t,
                       void (*visit)(void *ctx, struct bytes path, const struct watch_owner *owner),
                       void *ctx);

/** Invariants W1-W4 as code; CHECKs. Tests. */
void watch_check_all(const struct watch_table *t);

#endif
