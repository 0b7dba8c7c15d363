/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The versioned znode store: what changes the tree, one txn at a time, each undoable until it is
 * committed.
 *
 *   store_begin(z) -> store_add/remove/set_... -> store_end     pending txn z, invisible
 *                                              -> store_abort   nothing happened
 *   store_commit(upto)  pending txns become a list to publish   (push to rings, then store_show)
 *   store_rollback(z)   undo pending txns above z, newest first (leadership lost)
 *   store_retire(txn)   after every core has drained past it: what it superseded is freed after a
 *                       grace period
 *
 * So "tree + outstanding changes" of ZooKeeper's PrepRequestProcessor is simply the newest versions
 * here, and applying a committed txn is one store of visible_zxid.
 *
 * Invariants
 *   S1  visible <= committed <= newest; pending txns have consecutive places in the queue,
 *       ascending zxid.
 *   S2  A reader at V sees exactly the txns with zxid <= V.
 *   S3  Every znode but the root has a live parent whose children tree holds its name (at every
 *       zxid).
 *   S4  Counters (nodes, bytes, digest) belong to the newest state; each txn carries them as of its
 *       end.
 *   S5  Store calls between begin and end must not fail half-way: on an error the call changed
 *       nothing, the caller aborts the txn.
 *
 *   S6  ACL uses: a node holds one use of its list; the use a txn released is dropped after the
 *       txn's grace period, the use an undone txn had taken is dropped at once.
 *
 * Deferred frees: a retired or undone txn is handed to call_rcu() of liburcu-qsbr as it is (its
 * undo log names what is to be freed), so retiring allocates nothing. After the grace period the
 * writer takes the txns back, frees, and uses them again: what one thread allocates and another
 * frees costs the heap several times as much. Threads that read the tree follow reader.h.
 *
 * Ordering: T0/T1 below, X1-X3 in index.h, A1-A2 in acl_table.c, D0-D2 in retire.c.
 *
 * One writer (the control core). Readers use tree.h.
 */
#ifndef SENGI_TREE_STORE_H
#define SENGI_TREE_STORE_H

#include "tree/acl.h"
#include "tree/children.h"
#include "tree/index.h"
#include "tree/version.h"

struct store;

enum store_error { STORE_OK = 0, STORE_ENOMEM = -1 };

enum change_kind { CHANGE_CREATED, CHANGE_DELETED, CHANGE_DATA };

/**
 * One changed znode, for watch dispatch (semantics.md section 12.3). Borrowed until the txn is
 * retired.
 */
struct tree_change {
    enum change_kind kind;
    uint32_t acl;        /* of the znode: the new one's, or the one it had */
    uint32_t parent_acl; /* created and deleted only */
    uint32_t path_size;
    uint32_t parent_size; /* of the parent's path, which path begins with; 1 for the root */
    const uint8_t *path;
    struct tree_key key, parent_key; /* parent_key: created and deleted only */
};

/** Counters of the whole tree at some zxid. */
struct tree_counters {
    uint64_t nodes;       /* znodes, root included */
    uint64_t ephemerals;
    uint64_t data_bytes;  /* path characters + data bytes, as approximate_data_size counts them */
    uint64_t digest;      /* sum of node digests (semantics.md section 17) */
};

/** A pending or committed txn. Fields are read-only outside tree/. */
struct tree_txn {
    struct tree_txn *next; /* list in zxid order */
    zxid_t zxid;
    uint32_t change_count;
    struct tree_change *changes;
    struct tree_counters counters; /* after this txn */
    struct txn_undo *undo;         /* private to the store */
};

struct store_config {
    uint64_t entries_expected; /* size of the first index table; 0 = small */
    const uint8_t *secret;     /* 136+ bytes for XXH3; NULL = drawn from getrandom() */
    bool digest_enabled;
};

/** An empty store: only the root "/" exists, all zero, open ACL. NULL: out of memory. */
struct store *store_create_empty(const struct store_config *config);
void store_destroy(struct store *s);

struct index *store_index(struct store *s);
struct acl_table *store_acls(struct store *s);
/**
 * "" and "/" are both the root. Any thread. Readers may hash inline: tree_key_of(store_secret(s),
 * path) of key.h.
 */
struct tree_key store_key(const struct store *s, struct bytes path);
/** TREE_SECRET_BYTES, constant as long as the store. */
const uint8_t *store_secret(const struct store *s);

/** Newest live version of a path, pending txns included; NULL if it does not exist. Writer only. */
const struct version *store_newest(struct store *s, struct tree_key key);

/* --- a txn --- */

/** Open txn z. Nothing else is open. z > every earlier one. @return 0 or STORE_ENOMEM. */
int store_begin(struct store *s, zxid_t zxid);

struct store_node {
    struct bytes path;            /* full path; not "/" */
    struct bytes data;
    uint32_t acl;                 /* one use is taken over by the node */
    struct stat_persisted stat;   /* czxid ... pzxid, raw owner */
};

/**
 * Add a znode: parent present, node absent (both checked by the caller; CHECKed here).
 * The parent's children tree, numChildren and wire cversion follow; its stored cversion becomes
 * `parent_cversion` and its pzxid the txn's zxid, if parent_cversion is larger than the present one
 * (disk-formats.md section 4.1). Adds a CHANGE_CREATED. On error the ACL use stays the caller's.
 */
int store_add(struct store *s, const struct store_node *node, int32_t parent_cversion);

/** Remove a childless znode; parent.pzxid = txn zxid if larger. Adds a CHANGE_DELETED. */
int store_remove(struct store *s, struct bytes path);

/**
 * New data; version, mzxid, mtime as given. Adds a CHANGE_DATA.
 *
 * @param key  store_key() of the path, which callers have.
 */
int store_set_data(struct store *s, struct bytes path, struct tree_key key, struct bytes data,
                   int32_t version, zxid_t mzxid, int64_t mtime);

/**
 * New data, no Stat field but dataLength, no change record: quota bookkeeping (semantics.md section
 * 9).
 */
int store_set_data_quietly(struct store *s, struct bytes path, struct bytes data);

/** New ACL (takes over one use) and aversion. */
int store_set_acl(struct store *s, struct bytes path, uint32_t acl, int32_t aversion);

/** Only parent effects of a create or delete that found its node in place already (replay of fuzzy
 * snapshots): both numbers if cversion is larger than the present one; INT32_MIN (a delete): pzxid
 * alone, if larger. */
int store_touch_parent(struct store *s, struct bytes parent_path, int32_t cversion, zxid_t pzxid);

/** Counters as of now, inside the open txn too. */
const struct tree_counters *store_counters(const struct store *s);

/** Close the txn: it is pending now. @return the txn, borrowed. */
struct tree_txn *store_end(struct store *s);
/** Undo everything since store_begin. */
void store_abort(struct store *s);

/* --- pending txns --- */

/**
 * Take the pending txns with zxid <= upto off the queue, in order. Owned by the caller until
 * store_retire.
 */
struct tree_txn *store_commit(struct store *s, zxid_t upto);
/** Undo pending txns with zxid > keep. */
void store_rollback(struct store *s, zxid_t keep);

/**
 * T0: make everything up to zxid visible (store-release). Pairs with T1 in store_visible(). The
 * caller has pushed change records and completions for these txns into every core's ring before, so
 * a core that loads V finds them all (G3).
 */
void store_show(struct store *s, zxid_t zxid);
/** T1 (load-acquire). Once per loop turn. Any thread. */
zxid_t store_visible(const struct store *s);

/** Every core has drained past this list of txns: free what they superseded, after a grace period.
 * Consumes it (*txns may be NULL: only goes on with what earlier calls left). Work per call is
 * bounded: after a pin, several calls catch up. */
void store_retire(struct store *s, struct tree_txn **txns);

/** Something waits to be freed: store_retire() is to be called again before long. Writer thread. */
bool store_retires(const struct store *s);

/**
 * Wait until everything handed over for a deferred free is freed. Blocks for a grace period:
 * shutdown and tests.
 */
void store_settle(struct store *s);

/**
 * No thread but the writer reads from now on (true: start-up replay) or others may (false, the
 * state after creation). Offline, what is retired or undone is freed at once instead of after a
 * grace period.
 */
void store_set_offline(struct store *s, bool offline);

/**
 * Hold back every deferred free from now on, so that another thread can walk the tree at the
 * visible zxid (snapshot). Pins nest by count. @return the pinned zxid. Writer thread.
 */
zxid_t store_pin(struct store *s);
void store_unpin(struct store *s);

/* --- loading (no readers, no open txn, nothing pending or waiting to be retired) --- */

/** Begin to fill an empty store with a snapshot as of zxid, which is visible at once. @return 0. */
int store_load_begin(struct store *s, zxid_t zxid);
/**
 * Add a node read from a snapshot; parent present, node absent (CHECKed). Path "" or "/": the
 * root's data, ACL and Stat are set instead. vzxid = zxid given to store_load_begin. No undo, no
 * change record; memory is freed at once.
 */
int store_load(struct store *s, const struct store_node *node);
/** Other data for a znode that is loaded, its Stat but for dataLength as it was. @return 0 or
 * STORE_ENOMEM. */
int store_load_data(struct store *s, struct bytes path, struct bytes data);

/* --- walking at a zxid (any thread that holds a pin, or the writer) --- */

struct store_walk;
/** Depth first, parents before children, children in byte order, from `path` down, as of zxid
 * (INT64_MAX: newest state, writer only). NULL: no such node or out of memory. A walking thread
 * other than the writer needs no reader.h: the pin holds everything. The tree must not change at
 * zxid during the walk. */
struct store_walk *store_walk_begin(struct store *s, struct bytes path, zxid_t zxid);
/**
 * Next znode: path borrowed until the next call; the root's is "". false at the end or when memory
 * ran out.
 */
bool store_walk_next(struct store_walk *w, struct bytes *path, const struct version **v);
/** @return 0; STORE_ENOMEM: the walk ended early. */
int store_walk_error(const struct store_walk *w);
void store_walk_end(struct store_walk *w);

struct store_memory {
    uint64_t index_bytes, version_bytes, children_bytes, data_bytes, acl_bytes;
};
/**
 * Heap bytes by kind, of the newest state (counted, not estimated: malloc_usable_size). Inline data
 * is part of version_bytes, data_bytes is what lies outside. Visits every znode: for the bench, not
 * for a server under load. Writer thread.
 */
void store_memory(const struct store *s, struct store_memory *out);

/** Invariants as code, whole tree; CHECKs. Tests. */
void store_check(struct store *s);

#endif
