/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/net/pool.h"

#include <stdlib.h>

#define SLAB_HEADER_BYTES 64

void
pool_init(struct pool *pool, size_t object_bytes, uint64_t objects_max)
{
    CHECK(object_bytes >= sizeof(struct pool_link) && object_bytes % 16 == 0);
    *pool = (struct pool){.object_bytes = object_bytes, .max = objects_max};
}

void
pool_destroy(struct pool *pool)
{
    for (struct pool_link *slab = pool->slabs, *next; slab; slab = next) {
        next = slab->next;
        free(slab);
    }
    *pool = (struct pool){0};
}

int
pool_allocate(struct pool *pool)
{
    uint64_t n = pool->max - pool->allocated;
    if (n > POOL_SLAB_OBJECTS)
        n = POOL_SLAB_OBJECTS;
    if (n == 0)
        return -1;
    size_t bytes = SLAB_HEADER_BYTES + n * pool->object_bytes;
    struct pool_link *slab = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    if (!slab)
        return -1;
    slab->next = pool->slabs;
    pool->slabs = slab;
    pool->allocated += n;
    uint8_t *first = (uint8_t *)slab + SLAB_HEADER_BYTES;
    for (uint64_t i = n; i-- > 0;) {
        struct pool_link *object = (void *)(first + i * pool->object_bytes);
        object->next = pool->free;
        pool->free = object;
    }
    return 0;
}
