/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Objects of one size, taken from slabs that are allocated when first needed and kept until the end. Last freed, first
 * used again, so that a working set stays in the cache.
 *
 * Invariant: used <= allocated <= max.
 */
#ifndef SENGI_DATAPLANE_NET_POOL_H
#define SENGI_DATAPLANE_NET_POOL_H

#include <stddef.h>
#include <stdint.h>

#define POOL_SLAB_OBJECTS 64

struct pool {
    size_t object_bytes;
    uint64_t max, allocated, used; /* objects */
    void *free;
    void *slabs;
};

void pool_init(struct pool *pool, size_t object_bytes, uint64_t objects_max);
void pool_destroy(struct pool *pool);

/** Uninitialised memory of object_bytes, aligned to 16; NULL: limit reached or out of memory. */
void *pool_get(struct pool *pool);
void pool_put(struct pool *pool, void *object);

#endif
