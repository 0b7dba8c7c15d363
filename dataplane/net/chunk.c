/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Memory of streams, in two sizes. Most of what waits for an ACK is one reply of a hundred bytes or
 * two: in small chunks, those of very many connections share few pages.
 */
#include "dataplane/net/instance.h"

/*
 * Many connections' ACKs come late and together, so that what they free is out of the cache when it
 * is used again: of chunks to come, as much is fetched as a usual reply takes.
 */
#define CHUNKS_AHEAD 8
#define CHUNK_AHEAD_BYTES CHUNK_SMALL_BYTES

static inline struct chunk *
chunk_from(struct net *net, struct pool *pool, uint16_t start)
{
    struct chunk *k = pool_get(pool);
    if (UNLIKELY(!k))
        return NULL;
    k->next = NULL;
    k->start = start;
    k->end = 0;
    if (net_prefetches(net)) { /* here: gcc drops calls of a function that only fetches */
        const char *later = pool_ahead(pool, CHUNKS_AHEAD);
        for (unsigned at = 0; later && at < CHUNK_AHEAD_BYTES; at += 64)
            __builtin_prefetch(later + at, 1);
    }
    return k;
}

static struct chunk *
chunk_counted(struct net *net, struct chunk *k)
{
    if (UNLIKELY(!k))
        net->counters.buffer_refused++;
    return k;
}

struct chunk *
chunk_get(struct net *net)
{
    return chunk_counted(net, chunk_from(net, &net->chunks, 0));
}

struct chunk *
chunk_get_small(struct net *net)
{
    return chunk_from(net, &net->small_chunks, CHUNK_IS_SMALL);
}

struct chunk *
chunk_get_reference(struct net *net)
{
    return chunk_counted(net, chunk_from(net, &net->small_chunks, CHUNK_IS_REFERENCE));
}
