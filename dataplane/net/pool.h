/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Objects of one size, taken from slabs that are allocated when first needed and kept until the
 * end. Last freed, first used again, so that a working set stays in the cache.
 *
 * Invariant: used <= allocated <= max.
 */
#ifndef SENGI_DATAPLANE_NET_POOL_H
#define SENGI_DATAPLANE_NET_POOL_H

#include "client/wire/check.h"

#include <stddef.h>
#include <stdint.h>

#define POOL_SLAB_OBJECTS 64

struct pool_link;

struct pool {
    size_t object_bytes;
    uint64_t max, allocated, used; /* objects */
    struct pool_link *free, *slabs;
};

void pool_init(struct pool *pool, size_t object_bytes, uint64_t objects_max);
void pool_destroy(struct pool *pool);

/* A free object's first bytes are a link. */
struct pool_link {
    struct pool_link *next;
};

/** Allocate another slab. @return 0; -1: limit reached or out of memory. */
int pool_allocate(struct pool *pool);

/** Uninitialised memory of object_bytes, aligned to 16; NULL: limit reached or out of memory. */
static inline void *
pool_get(struct pool *pool)
{
    if (UNLIKELY(!pool->free) && pool_allocate(pool) < 0)
        return NULL;
    struct pool_link *object = pool->free;
    pool->free = object->next;
    pool->used++;
    return object;
}

static inline void
pool_put(struct pool *pool, void *object)
{
    struct pool_link *link = object;
    CHECK(pool->used > 0);
    link->next = pool->free;
    pool->free = link;
    pool->used--;
}

#endif
