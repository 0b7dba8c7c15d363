/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The hash index: full path -> newest version, in buckets of one cache line.
 *
 *   bucket, 64 bytes: 7 slots of { tag 16 bits | pointer 48 bits }, 1 overflow pointer
 *   table: 2^n buckets; doubled by splitting a few old buckets with each insert, under readers
 *
 * Ordering
 *   X1  A slot is stored with release after the version it exposes is complete; pairs with the
 *       acquire load in index_find. Without it a reader could see a version's bytes before they are
 *       written.
 *   X2  While doubling, an old bucket is copied to the new table, then `split` is stored with
 *       release. The old bucket keeps its contents, so a reader that loaded the older `split` still
 *       finds every version that its V can see: versions with vzxid <= V were installed before V
 *       was stored, hence in the place that reader looks.
 *   X3  A table that is no longer used is freed like a superseded version (version.h I3).
 *
 * Overflow buckets come from slabs of their table and are never unlinked before it is superseded.
 * Entries never move within a table, so a reader cannot miss one that stays. Without memory for a
 * larger table, the chains get longer.
 *
 * One writer; readers as in version.h.
 */
#ifndef SENGI_TREE_INDEX_H
#define SENGI_TREE_INDEX_H

#include "tree/version.h"

#define INDEX_SLOTS 7

struct index_bucket {
    _Atomic uint64_t slot[INDEX_SLOTS]; /* 0 = free */
    _Atomic(struct index_bucket *) overflow;
};
static_assert(sizeof(struct index_bucket) == 64, "one cache line");

/** What readers see of the table; replaced as a whole when doubling begins or ends. */
struct index_view {
    /* constant once published */
    struct index_bucket *buckets; /* the current table */
    uint64_t mask;                /* buckets - 1 */
    struct index_bucket *old;     /* table being split, or NULL */
    uint64_t old_mask;
    _Atomic uint64_t split; /* old buckets below this have moved */
};

/**
 * A table no reader can newly find. Linked by `next` while it waits for its grace period, so
 * waiting takes no memory.
 */
struct index_retired {
    struct index_retired *next;
};

struct index_table;

struct index {
    _Atomic(struct index_view *) view;
    /* owned by the writer */
    uint64_t entries;
    struct index_table *table; /* current */
    struct index_table *old;   /* being split into `table`, or NULL */
    void (*retire)(void *ctx, struct index_retired *table); /* for a deferred index_retired_free */
    void *retire_ctx;
};

/**
 * @param entries_expected Size the first table for this many (0 = smallest).
 * @param retire  Takes each superseded table; NULL: it is freed at once (no readers).
 * @return 0 or -1 out of memory.
 */
int index_init(struct index *ix, uint64_t entries_expected,
               void (*retire)(void *ctx, struct index_retired *table), void *ctx);
/** Free the tables, not the versions in them. No readers. */
void index_free(struct index *ix);
/** The grace period of a retired table has passed. Any thread. */
void index_retired_free(struct index_retired *table);

static inline struct index_bucket *index_bucket_of(const struct index *ix, struct tree_key key)
{
    struct index_view *view = atomic_load_explicit(&ix->view, memory_order_acquire);
    if (view->old) {
        uint64_t b = key.lo & view->old_mask;
        if (b >= atomic_load_explicit(&view->split, memory_order_acquire))
            return &view->old[b];
    }
    return &view->buckets[key.lo & view->mask];
}

static inline void index_prefetch(const struct index *ix, struct tree_key key)
{
    __builtin_prefetch(index_bucket_of(ix, key), 0, 3);
}

/** Newest version of the path (may be a tombstone or not yet visible), or NULL. Compares the tag
 * and key_lo: 80 bits of a keyed hash (two of 10^9 paths collide with a chance of 10^-6). Any
 * reader. */
struct version *index_find(const struct index *ix, struct tree_key key);

/**
 * Stage two of a burst: first version whose tag matches, prefetched and not yet compared, or NULL.
 * A burst of lookups is
 *   for each: index_prefetch(key);
 *   for each: c = index_candidate(key);
 *   for each: v = index_confirm(key, c);
 * all in one read-side critical section.
 */
const struct version *index_candidate(const struct index *ix, struct tree_key key);

/** Stage three: as index_find, without a second look at the bucket nearly always. */
static inline const struct version *index_confirm(const struct index *ix, struct tree_key key,
                                                  const struct version *candidate)
{
    if (__builtin_expect(candidate != NULL && candidate->key_lo == key.lo, 1))
        return candidate;
    return index_find(ix, key);
}

/* Writer only. */
/** Insert (key absent). @return 0 or -1 out of memory, nothing changed. */
int index_insert(struct index *ix, struct tree_key key, struct version *v);
/** Replace the version of a present key. */
void index_replace(struct index *ix, struct tree_key key, struct version *old, struct version *new);
/** Remove a present key. */
void index_remove(struct index *ix, struct tree_key key, struct version *v);
/**
 * Call `each` for every newest version, in no order. Writer only; `each` must not change the index.
 */
void index_each(const struct index *ix, void (*each)(void *ctx, struct version *v), void *ctx);
/** Invariants as code; CHECKs. */
void index_check(const struct index *ix);
/** Heap bytes of tables and overflow buckets. */
size_t index_heap_bytes(const struct index *ix);

#endif
