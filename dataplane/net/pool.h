/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Objects of one size, taken from slabs that are allocated when first needed and kept until the
 * end. Last freed, first used again, so that a working set stays in the cache. Where it is larger
 * than that, pool_ahead() names the objects that come next: the free ones are kept track of in a
 * row, for a list through them would have to be fetched one after another.
 *
 * Invariant: used <= allocated <= max; free[0 .. allocated - used) are the free objects.
 */
#ifndef SENGI_DATAPLANE_NET_POOL_H
#define SENGI_DATAPLANE_NET_POOL_H

#include "client/wire/check.h"

#include <stddef.h>
#include <stdint.h>

#define POOL_SLAB_OBJECTS 64

struct pool_slab;

struct pool {
    size_t object_bytes;
    uint64_t max, allocated, used; /* objects */
    void **free;
    uint64_t free_room;            /* >= allocated, doubles */
    struct pool_slab *slabs;
};

void pool_init(struct pool *pool, size_t object_bytes, uint64_t objects_max);
void pool_destroy(struct pool *pool);

/** Allocate another slab. @return 0; -1: limit reached or out of memory. */
int pool_allocate(struct pool *pool);

/** Uninitialised memory of object_bytes, aligned to 16; NULL: limit reached or out of memory. */
static inline void *
pool_get(struct pool *pool)
{
    if (UNLIKELY(pool->used == pool->allocated) && pool_allocate(pool) < 0)
        return NULL;
    return pool->free[pool->allocated - ++pool->used];
}

static inline void
pool_put(struct pool *pool, void *object)
{
    CHECK(pool->used > 0);
    pool->free[pool->allocated - pool->used--] = object;
}

/** What pool_get() will return after `ahead` others, if nothing is put; NULL: not allocated yet. */
static inline void *
pool_ahead(const struct pool *pool, uint64_t ahead)
{
    uint64_t n = pool->allocated - pool->used;
    return n > ahead ? pool->free[n - 1 - ahead] : NULL;
}

#endif
