/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What txns mean beside the znodes: sessions, and which paths are ephemeral, container, TTL or
 * quota root. Undoable txn by txn, in step with the store.
 *
 *   owner (a session, or an id that only owns ephemerals) --list--> mark(path) <--hash table-- path
 *   containers, ttls                                      --list--> mark(path)
 *
 *   undo: [ ... | changes of txn 17, end | changes of txn 18, end | changes of the open txn ]
 *          forgotten once visible               undone by rollback      undone by abort
 *
 * Invariants
 *   L1  Undo entries ascend in zxid; each txn ends with a LEDGER_END that carries the tree digest
 *       after it.
 *   L2  An owner lives while it is a session, owns a mark, or is named by an undo entry; a removed
 *       mark lives in its undo entry. So undoing never allocates and cannot fail.
 *   L3  Entries of txns that are not yet visible are kept (ledger_forget), so the state at the
 *       visible zxid can always be derived: newest state, changes above taken back
 *       (ledger_each_session_at).
 *
 * Context: writer only.
 */
#ifndef SENGI_TREE_TREE_LEDGER_H
#define SENGI_TREE_TREE_LEDGER_H

#include "client/wire/types.h"

enum mark_kind { MARK_EPHEMERAL, MARK_CONTAINER, MARK_TTL, MARK_QUOTA, MARK_KINDS };

struct mark_list {
    struct mark *first, *last;
    uint64_t count;
};

/** A session, or the owner of ephemerals without one (only while loading and replaying). */
struct owner {
    struct owner *chain;
    session_id_t id;
    int32_t timeout_ms; /* meaningful while is_session */
    bool is_session;
    uint32_t references; /* L2: marks + undo entries + is_session */
    struct mark_list marks;
    uint64_t close_bytes; /* of a closeSession's path list: 4 + path bytes, summed over marks */
    /* scratch of ledger_each_session_at */
    uint64_t look;
    bool look_session;
    int32_t look_timeout_ms;
};

struct mark {
    struct mark *chain, *prev, *next;
    struct owner *owner; /* of an ephemeral, else NULL */
    uint64_t hash;
    enum mark_kind kind;
    uint32_t path_size;
    uint8_t path[];
};

static inline struct bytes mark_path(const struct mark *m)
{
    return (struct bytes){m->path, m->path_size};
}

struct ledger_undo {
    zxid_t zxid;
    enum { LEDGER_SESSION, LEDGER_ADDED, LEDGER_REMOVED, LEDGER_END } kind;
    bool was_session;       /* LEDGER_SESSION */
    int32_t was_timeout_ms; /* LEDGER_SESSION */
    union {
        struct owner *owner; /* LEDGER_SESSION */
        struct mark *mark;   /* LEDGER_ADDED, LEDGER_REMOVED */
        uint64_t digest;     /* LEDGER_END */
    };
};

struct mark_table {
    struct mark **slots;
    uint64_t mask, count;
};

struct ledger {
    struct mark_table marks[2];         /* 0: znodes by kind, 1: quota roots */
    struct mark_list lists[MARK_KINDS]; /* containers, TTLs, quota roots */
    struct owner **owners;
    uint64_t owners_mask, owners_count;
    uint64_t sessions, ephemerals;
    struct ledger_undo *undo; /* ring of undo_mask + 1 */
    /* counters that only grow: head <= open_from <= tail */
    uint64_t undo_mask, undo_head, undo_tail;
    uint64_t open_from; /* first entry of the open txn */
    zxid_t open_zxid;   /* 0: none open */
    zxid_t base_zxid;   /* the last txn whose entries were forgotten */
    uint64_t base_digest;
    uint64_t looks;
};

/** @return 0 or -1 out of memory. */
int ledger_init(struct ledger *l);
void ledger_free(struct ledger *l);

/* --- a txn --- */

void ledger_begin(struct ledger *l, zxid_t zxid);
/** @return 0 or -1 out of memory: abort then. */
int ledger_end(struct ledger *l, uint64_t digest);
/** Take back everything since ledger_begin. */
void ledger_abort(struct ledger *l);
/** Take back ended txns with zxid > keep, newest first. */
void ledger_rollback(struct ledger *l, zxid_t keep);
/** Loading: what the open txn did so far stays, and the txn stays open. */
void ledger_settle(struct ledger *l);
/** Zxid of the newest ended txn, 0 or the base's without one. */
zxid_t ledger_newest(const struct ledger *l);
/** Txns up to `visible` will never be taken back nor looked behind: drop what they kept. */
void ledger_forget(struct ledger *l, zxid_t visible);

/* --- changes, inside an open txn; 0 or -1 out of memory, nothing changed then --- */

int ledger_session_set(struct ledger *l, session_id_t id, int32_t timeout_ms);
/** No effect when it is no session. */
int ledger_session_clear(struct ledger *l, session_id_t id);
/** @param hash of the path, any that ledger_find is asked with. Not there yet (CHECKed).
 *  @param owner only for MARK_EPHEMERAL. */
int ledger_add(struct ledger *l, enum mark_kind kind, session_id_t owner, struct bytes path,
               uint64_t hash);
/** The mark is freed when the txn is forgotten. */
int ledger_remove(struct ledger *l, struct mark *m);

/* --- newest state --- */

/** NULL: neither a session nor an owner of ephemerals. */
struct owner *ledger_owner(const struct ledger *l, session_id_t id);
/** Mark of a znode (any kind but quota). */
struct mark *ledger_find(const struct ledger *l, struct bytes path, uint64_t hash);
/** Quota root with this path. */
struct mark *ledger_find_quota(const struct ledger *l, struct bytes path, uint64_t hash);
/** Move a mark to the end of its list, so that a bounded scan goes round. */
void ledger_rotate(struct ledger *l, struct mark *m);

/** Sessions as of `zxid` >= the forgotten ones. */
void ledger_each_session_at(struct ledger *l, zxid_t zxid,
                            void (*each)(void *ctx, session_id_t id, int32_t timeout_ms),
                            void *ctx);
/** Tree digest as of `zxid` >= the forgotten ones. */
uint64_t ledger_digest_at(const struct ledger *l, zxid_t zxid);
/** The state at zxid came from elsewhere (a snapshot). Nothing is kept at this point. */
void ledger_base(struct ledger *l, zxid_t zxid, uint64_t digest);

/** Owners, in any order: start with NULL, ends with NULL. */
struct owner *ledger_owner_next(const struct ledger *l, const struct owner *after);

/** Invariants as code; CHECKs. */
void ledger_check(const struct ledger *l);

#endif
