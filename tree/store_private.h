/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What the files of the store share: store.c (txns and their queue), store_change.c (changes),
 * retire.c (undo and deferred frees), walk.c. Nobody else includes this.
 *
 *   free -> open -> pending -> caller's -> held -> waste -> done -> free
 *
 *   open     from store_begin to store_end          held    retired by the caller, waits for pins
 *   pending  until store_commit                     waste   waits for its grace period
 *   caller's committed, until store_retire          done    is over, for the writer to free
 *
 * store_abort and store_rollback take a short cut: open or pending -> waste.
 */
#ifndef SENGI_TREE_STORE_PRIVATE_H
#define SENGI_TREE_STORE_PRIVATE_H

#include <stdalign.h>
#include <stdlib.h>

#include "client/wire/check.h"
#include "tree/key.h"
#include "tree/reader.h"
#include "tree/store.h"
#include "tree/value.h"

enum undo_kind {
    UNDO_SLOT,           /* a: the version before (NULL: key was absent); undone: a, b: what to
                          * free */
    UNDO_DEAD,           /* a tombstone was put at key; retired: a: the tombstone if it was still
                          * there */
    UNDO_FREE_IF_UNDONE, /* a: made by this txn */
    UNDO_FREE_IF_RETIRED,/* a: superseded by this txn */
    UNDO_FREE_ALWAYS,    /* a: made and superseded inside this txn, but readers may have passed
                          * it */
    UNDO_ACL_TAKEN,
    UNDO_ACL_RELEASED,
};

struct undo_entry {
    uint16_t kind; /* enum undo_kind */
    bool value;    /* UNDO_FREE_*: a is a struct value */
    uint32_t acl;
    void *a;
    union {
        struct tree_key key;
        void *b;
    };
};

/** Paths of change records. */
struct path_chunk {
    struct path_chunk *next;
    size_t used, size;
    uint8_t bytes[];
};

enum txn_fate { TXN_OPEN, TXN_UNDONE, TXN_RETIRED };

struct txn_undo {
    struct rcu_head rcu; /* used in the first txn of a batch */
    struct store *store;
    enum txn_fate fate;
    uint32_t count, capacity; /* entries */
    struct undo_entry *entries;
    uint32_t changes_capacity;
    struct path_chunk *paths;
    struct tree_counters before;
    zxid_t before_zxid;
    struct index_retired *tables; /* in the first txn of a batch */
    struct tree_txn *batch_last;  /* in the first txn of a batch */
};

struct store_txn {
    struct tree_txn pub; /* first */
    struct txn_undo undo;
};

struct txn_list {
    struct tree_txn *head, *tail;
    uint64_t count;
};

struct store {
    /* config and what readers use */
    struct index index;
    uint8_t secret[TREE_SECRET_BYTES];
    bool digest_enabled;
    /* shared */
    alignas(64) _Atomic zxid_t visible;
    alignas(64) _Atomic(struct tree_txn *) done; /* D0, D1: their grace period is over, for the
                                                  * writer to take back */
    _Atomic uint64_t batches_done; /* D2 */
    /* owned by the writer */
    alignas(64) struct acl_table *acls;
    struct tree_key root_key;
    zxid_t newest, committed, retired; /* visible <= committed <= newest; retired <= committed */
    struct tree_counters counters;
    struct store_txn *open;
    struct txn_list pending, held, waste, spare;
    struct tree_txn *over;  /* taken from `done`, not freed yet */
    uint64_t txns_out;      /* committed, not yet given to store_retire */
    uint64_t batches_given; /* to call_rcu, ever */
    struct index_retired *tables; /* superseded tables, for the next batch */
    uint32_t pins;
    bool offline, loading;
};

static inline void txn_list_append(struct txn_list *list, struct tree_txn *head,
                                   struct tree_txn *tail, uint64_t count)
{
    CHECK(head && tail && tail->next == NULL);
    if (list->tail)
        list->tail->next = head;
    else
        list->head = head;
    list->tail = tail;
    list->count += count;
}

static inline void txn_list_push(struct txn_list *list, struct tree_txn *txn)
{
    txn->next = list->head;
    list->head = txn;
    if (!list->tail)
        list->tail = txn;
    list->count++;
}

static inline struct tree_txn *txn_list_pop(struct txn_list *list)
{
    struct tree_txn *txn = list->head;
    if (!txn)
        return NULL;
    list->head = txn->next;
    if (!list->head)
        list->tail = NULL;
    list->count--;
    txn->next = NULL;
    return txn;
}

/* store.c */

/** Room for n more entries in the open txn. @return 0 or STORE_ENOMEM. */
int undo_reserve(struct store *s, uint32_t n);
/** Add an entry; reserved before. */
void undo_push(struct store *s, struct undo_entry entry);

/* retire.c */

/** A txn, fresh or used before. NULL: out of memory. */
struct store_txn *txn_take(struct store *s);
void txn_free(struct tree_txn *txn);
/** Undo a txn completely; it goes to the waste. */
void txn_undo(struct store *s, struct tree_txn *txn);
/** Process held txns, at most `max`, and hand the waste over if nothing is pinned. */
void retire_run(struct store *s, uint64_t max);
/** Retire everything and wait until it is freed. For the end of the store. */
void retire_finish(struct store *s);
/** For index_init. */
void retire_table(void *store, struct index_retired *table);

/* store_change.c */

/**
 * A version with everything but prev set, and its key; *external is the data block if there is one.
 * NULL: no memory.
 */
struct version *version_create(const struct store *s, zxid_t vzxid, const struct store_node *node,
                               struct tree_key key);
void version_free_tail(struct version *v);
/** Digest of one znode, 0 where it does not count. */
uint64_t version_digest(const struct store *s, const struct version *v, struct bytes path);
/** Add to (+1) or take from (-1) the counters what one znode counts. */
void counters_add(struct store *s, const struct version *v, struct bytes path, int sign);
/** Wire cversion from the stored one and numChildren. */
void version_update_cversion(struct version *v);

#endif
