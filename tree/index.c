/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tree/index.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "client/wire/check.h"
#include "tree/index_match.h"

#define BUCKETS_MIN 16
#define HUGE_BYTES (2u << 20)      /* tables from here on are mmap'ed and ask for huge pages */
#define SLAB_BUCKETS_MIN 16
#define SLAB_BUCKETS_MAX 4096
/* a doubling ends after half as many inserts as the old table has buckets */
#define SPLITS_PER_INSERT 2
#define POINTER_MASK INDEX_POINTER_MASK
#define TAG_MASK INDEX_TAG_MASK

struct slab {
    struct slab *next;
    size_t used, count;
    struct index_bucket *buckets;
};

struct index_table {
    struct index_retired retired; /* first: what readers' grace period hands back */
    struct index_bucket *buckets;
    uint64_t mask;
    struct slab *slabs;
    uint64_t slab_bytes;
    struct index_view splitting, settled; /* views that have this table as the current one */
};

static uint64_t slot_of(struct tree_key key, const struct version *v)
{
    uint64_t pointer = (uint64_t)(uintptr_t)v;
    CHECK(pointer != 0 && (pointer & TAG_MASK) == 0);
    return (key.hi & TAG_MASK) | pointer;
}

static struct version *slot_version(uint64_t slot)
{
    return (struct version *)(uintptr_t)(slot & POINTER_MASK);
}

/** The version in the first of the matching slots. NULL: it was taken out meanwhile. */
static inline struct version *bucket_version(const struct index_bucket *bucket, uint32_t match)
{
    /*
     * X1: pairs with the release in bucket_put(). Without it the version's bytes might not be there
     * yet.
     */
    return slot_version(
        atomic_load_explicit(&bucket->slot[__builtin_ctz(match)], memory_order_acquire));
}

struct version *index_find(const struct index *ix, struct tree_key key)
{
    uint64_t tag = key.hi & TAG_MASK;
    const struct index_bucket *bucket = index_bucket_of(ix, key);
    do {
        for (uint32_t m = index_match(bucket, tag); m; m &= m - 1) {
            struct version *v = bucket_version(bucket, m);
            if (LIKELY(v && v->key_lo == key.lo))
                return v;
        }
        bucket = atomic_load_explicit(&bucket->overflow, memory_order_acquire);
    } while (UNLIKELY(bucket != NULL));
    return NULL;
}

const struct version *index_candidate(const struct index *ix, struct tree_key key)
{
    uint64_t tag = key.hi & TAG_MASK;
    const struct index_bucket *bucket = index_bucket_of(ix, key);
    do {
        uint32_t m = index_match(bucket, tag);
        if (LIKELY(m)) {
            const struct version *v = bucket_version(bucket, m);
            __builtin_prefetch(v, 0, 3);
            __builtin_prefetch((const uint8_t *)v + 64, 0, 3);
            return v;
        }
        bucket = atomic_load_explicit(&bucket->overflow, memory_order_acquire);
    } while (bucket);
    return NULL;
}

/* --- tables --- */

static void *buckets_alloc(size_t bytes)
{
    if (bytes < HUGE_BYTES) {
        void *p = aligned_alloc(sizeof(struct index_bucket), bytes);
        return p ? memset(p, 0, bytes) : NULL;
    }
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    (void)madvise(p, bytes, MADV_HUGEPAGE); /* advice only: works without, with more TLB misses */
    return p;
}

static void buckets_free(void *p, size_t bytes)
{
    if (bytes < HUGE_BYTES)
        free(p);
    else
        CHECK(munmap(p, bytes) == 0);
}

static size_t table_bytes(const struct index_table *t)
{
    return (t->mask + 1) * sizeof(struct index_bucket);
}

static struct index_table *table_create(uint64_t buckets)
{
    CHECK(buckets && (buckets & (buckets - 1)) == 0);
    struct index_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->mask = buckets - 1;
    t->buckets = buckets_alloc(buckets * sizeof *t->buckets);
    if (!t->buckets) {
        free(t);
        return NULL;
    }
    t->settled = (struct index_view){.buckets = t->buckets, .mask = t->mask};
    return t;
}

static void table_free(struct index_table *t)
{
    while (t->slabs) {
        struct slab *slab = t->slabs;
        t->slabs = slab->next;
        free(slab->buckets);
        free(slab);
    }
    buckets_free(t->buckets, table_bytes(t));
    free(t);
}

void index_retired_free(struct index_retired *table)
{
    table_free((struct index_table *)table);
}

static struct index_bucket *overflow_alloc(struct index_table *t)
{
    struct slab *slab = t->slabs;
    if (!slab || slab->used == slab->count) {
        size_t count = !slab ? SLAB_BUCKETS_MIN
                       : slab->count < SLAB_BUCKETS_MAX ? slab->count * 2 : SLAB_BUCKETS_MAX;
        slab = malloc(sizeof *slab);
        if (!slab)
            return NULL;
        slab->buckets =
            aligned_alloc(sizeof(struct index_bucket), count * sizeof(struct index_bucket));
        if (!slab->buckets) {
            free(slab);
            return NULL;
        }
        memset(slab->buckets, 0, count * sizeof(struct index_bucket));
        slab->count = count;
        slab->used = 0;
        slab->next = t->slabs;
        t->slabs = slab;
        t->slab_bytes += count * sizeof(struct index_bucket);
    }
    return &slab->buckets[slab->used++];
}

int index_init(struct index *ix, uint64_t entries_expected,
               void (*retire)(void *ctx, struct index_retired *table), void *ctx)
{
    uint64_t buckets = BUCKETS_MIN;
    while (buckets * INDEX_SLOTS * 4 / 5 < entries_expected)
        buckets *= 2;
    *ix = (struct index){.retire = retire, .retire_ctx = ctx};
    ix->table = table_create(buckets);
    if (!ix->table)
        return -1;
    atomic_store_explicit(&ix->view, &ix->table->settled, memory_order_release);
    return 0;
}

void index_free(struct index *ix)
{
    if (ix->old)
        table_free(ix->old);
    if (ix->table)
        table_free(ix->table);
    memset(ix, 0, sizeof *ix);
}

/* --- changing --- */

static void bucket_put(struct index_bucket *bucket, int i, uint64_t slot)
{
    /* X1: pairs with the acquire in index_match(). */
    atomic_store_explicit(&bucket->slot[i], slot, memory_order_release);
}

/** Put into the first free slot of the chain, lengthening it if need be. @return 0 or -1. */
static int chain_put(struct index_table *t, struct index_bucket *bucket, uint64_t slot)
{
    for (;;) {
        for (int i = 0; i < INDEX_SLOTS; i++) {
            if (atomic_load_explicit(&bucket->slot[i], memory_order_relaxed) == 0) {
                bucket_put(bucket, i, slot);
                return 0;
            }
        }
        struct index_bucket *next = atomic_load_explicit(&bucket->overflow, memory_order_relaxed);
        if (!next) {
            next = overflow_alloc(t);
            if (!next)
                return -1;
            bucket_put(next, 0, slot);
            /* X1: with what it holds */
            atomic_store_explicit(&bucket->overflow, next, memory_order_release);
            return 0;
        }
        bucket = next;
    }
}

/** Find where a version sits. CHECKs that it is there. */
static struct index_bucket *chain_find(struct index_bucket *bucket, uint64_t slot, int *at)
{
    for (; bucket; bucket = atomic_load_explicit(&bucket->overflow, memory_order_relaxed)) {
        for (int i = 0; i < INDEX_SLOTS; i++) {
            if (atomic_load_explicit(&bucket->slot[i], memory_order_relaxed) == slot) {
                *at = i;
                return bucket;
            }
        }
    }
    CHECK(!"version is not in the index");
    return NULL;
}

static void chain_prefetch_versions(const struct index_bucket *bucket)
{
    for (int i = 0; i < INDEX_SLOTS; i++) {
        uint64_t slot = atomic_load_explicit(&bucket->slot[i], memory_order_relaxed);
        if (slot)
            __builtin_prefetch(&slot_version(slot)->key_lo, 0, 3);
    }
}

/**
 * Copy old bucket b to its two new places. @return 0; -1 out of memory: the new places are empty
 * again.
 */
static int split_bucket(struct index_table *old, struct index_table *new, uint64_t b)
{
    struct index_bucket *halves[2] = {&new->buckets[b], &new->buckets[b + old->mask + 1]};
    for (struct index_bucket *from = &old->buckets[b]; from;
         from = atomic_load_explicit(&from->overflow, memory_order_relaxed)) {
        for (int i = 0; i < INDEX_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&from->slot[i], memory_order_relaxed);
            if (!slot)
                continue;
            int half = (slot_version(slot)->key_lo & (old->mask + 1)) != 0;
            if (chain_put(new, halves[half], slot) == 0)
                continue;
            /* the few overflow buckets already taken stay with the table, unused */
            memset(halves[0], 0, sizeof *halves[0]);
            memset(halves[1], 0, sizeof *halves[1]);
            return -1;
        }
    }
    return 0;
}

static void split_some(struct index *ix)
{
    struct index_table *old = ix->old, *new = ix->table;
    uint64_t split = atomic_load_explicit(&new->splitting.split, memory_order_relaxed);
    for (int i = 0; i < SPLITS_PER_INSERT && split <= old->mask; i++) {
        if (split_bucket(old, new, split) != 0)
            return; /* later inserts try again */
        /*
         * X2: pairs with the acquire in index_bucket_of(). Without it a reader could look into an
         * empty bucket.
         */
        atomic_store_explicit(&new->splitting.split, ++split, memory_order_release);
    }
    if (split <= old->mask) {
        chain_prefetch_versions(&old->buckets[split]);
        return;
    }
    atomic_store_explicit(&ix->view, &new->settled, memory_order_release); /* X2, X3 */
    ix->old = NULL;
    if (ix->retire)
        ix->retire(ix->retire_ctx, &old->retired);
    else
        table_free(old);
}

static void double_start(struct index *ix)
{
    struct index_table *old = ix->table, *new = table_create((old->mask + 1) * 2);
    if (!new)
        return; /* longer chains until there is memory */
    new->splitting = (struct index_view){new->buckets, new->mask, old->buckets, old->mask, 0};
    ix->old = old;
    ix->table = new;
    atomic_store_explicit(&ix->view, &new->splitting, memory_order_release); /* X2 */
}

/** The table that the key's bucket belongs to at present. */
static struct index_table *table_of(const struct index *ix, struct tree_key key)
{
    if (ix->old && (key.lo & ix->old->mask) >=
                       atomic_load_explicit(&ix->table->splitting.split, memory_order_relaxed))
        return ix->old;
    return ix->table;
}

int index_insert(struct index *ix, struct tree_key key, struct version *v)
{
    CHECK(v->key_lo == key.lo);
    CHECK_SLOW(index_find(ix, key) == NULL);
    if (ix->old)
        split_some(ix);
    else if (ix->entries * 5 >= (ix->table->mask + 1) * INDEX_SLOTS * 4)
        double_start(ix);
    if (chain_put(table_of(ix, key), index_bucket_of(ix, key), slot_of(key, v)) != 0)
        return -1;
    ix->entries++;
    return 0;
}

void index_replace(struct index *ix, struct tree_key key, struct version *old, struct version *new)
{
    CHECK(new->key_lo == key.lo);
    int at;
    struct index_bucket *bucket = chain_find(index_bucket_of(ix, key), slot_of(key, old), &at);
    bucket_put(bucket, at, slot_of(key, new));
}

void index_remove(struct index *ix, struct tree_key key, struct version *v)
{
    CHECK(ix->entries > 0);
    int at;
    struct index_bucket *bucket = chain_find(index_bucket_of(ix, key), slot_of(key, v), &at);
    bucket_put(bucket, at, 0);
    ix->entries--;
}

/* --- looking at the whole --- */

static void buckets_each(const struct index_bucket *buckets, uint64_t from, uint64_t to,
                         void (*each)(void *ctx, struct version *v), void *ctx)
{
    for (uint64_t b = from; b < to; b++) {
        for (const struct index_bucket *bucket = &buckets[b]; bucket;
             bucket = atomic_load_explicit(&bucket->overflow, memory_order_relaxed)) {
            for (int i = 0; i < INDEX_SLOTS; i++) {
                uint64_t slot = atomic_load_explicit(&bucket->slot[i], memory_order_relaxed);
                if (slot)
                    each(ctx, slot_version(slot));
            }
        }
    }
}

void index_each(const struct index *ix, void (*each)(void *ctx, struct version *v), void *ctx)
{
    if (!ix->old) {
        buckets_each(ix->table->buckets, 0, ix->table->mask + 1, each, ctx);
        return;
    }
    uint64_t split = atomic_load_explicit(&ix->table->splitting.split, memory_order_relaxed);
    buckets_each(ix->table->buckets, 0, split, each, ctx);
    buckets_each(ix->table->buckets, ix->old->mask + 1, ix->old->mask + 1 + split, each, ctx);
    buckets_each(ix->old->buckets, split, ix->old->mask + 1, each, ctx);
}

static void count_one(void *ctx, struct version *v)
{
    CHECK(v->vzxid >= 0);
    ++*(uint64_t *)ctx;
}

void index_check(const struct index *ix)
{
    uint64_t count = 0;
    index_each(ix, count_one, &count);
    CHECK(count == ix->entries);
    CHECK(!ix->old || ix->table->mask == ix->old->mask * 2 + 1);
}

size_t index_heap_bytes(const struct index *ix)
{
    size_t bytes = table_bytes(ix->table) + ix->table->slab_bytes;
    return ix->old ? bytes + table_bytes(ix->old) + ix->old->slab_bytes : bytes;
}
