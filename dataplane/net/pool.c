/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/net/pool.h"

#include <stdlib.h>
#include <string.h>

#define SLAB_HEADER_BYTES 64

struct pool_slab {
    struct pool_slab *next;
};

void
pool_init(struct pool *pool, size_t object_bytes, uint64_t objects_max)
{
    CHECK(object_bytes > 0 && object_bytes % 16 == 0);
    *pool = (struct pool){.object_bytes = object_bytes, .max = objects_max};
}

void
pool_destroy(struct pool *pool)
{
    for (struct pool_slab *slab = pool->slabs, *next; slab; slab = next) {
        next = slab->next;
        free(slab);
    }
    free(pool->free);
    *pool = (struct pool){0};
}

static int
row_allocate(struct pool *pool, uint64_t objects)
{
    uint64_t room = pool->free_room ? pool->free_room : POOL_SLAB_OBJECTS;
    while (room < objects)
        room *= 2;
    if (room == pool->free_room)
        return 0;
    void **grown = malloc(room * sizeof *grown);
    if (!grown)
        return -1;
    if (pool->free)
        memcpy(grown, pool->free, (pool->allocated - pool->used) * sizeof *grown);
    free(pool->free);
    pool->free = grown;
    pool->free_room = room;
    return 0;
}

int
pool_allocate(struct pool *pool)
{
    uint64_t n = pool->max - pool->allocated;
    if (n > POOL_SLAB_OBJECTS)
        n = POOL_SLAB_OBJECTS;
    if (n == 0 || row_allocate(pool, pool->allocated + n) < 0)
        return -1;
    size_t bytes = SLAB_HEADER_BYTES + n * pool->object_bytes;
    struct pool_slab *slab = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    if (!slab)
        return -1;
    slab->next = pool->slabs;
    pool->slabs = slab;
    uint8_t *first = (uint8_t *)slab + SLAB_HEADER_BYTES;
    uint64_t free_count = pool->allocated - pool->used;
    for (uint64_t i = 0; i < n; i++)
        pool->free[free_count + i] = first + (n - 1 - i) * pool->object_bytes;
    pool->allocated += n;
    return 0;
}
