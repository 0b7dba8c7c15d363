/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * struct net, inside: what the files of this folder share. Not for applications (net.h is).
 */
#ifndef SENGI_DATAPLANE_NET_INSTANCE_H
#define SENGI_DATAPLANE_NET_INSTANCE_H

#include "client/wire/check.h"
#include "dataplane/net/neighbour.h"
#include "dataplane/net/net.h"
#include "dataplane/net/pool.h"
#include "dataplane/net/siphash.h"
#include "dataplane/net/tcp.h"
#include "dataplane/net/wheel.h"

#define CHUNK_BYTES 2048
#define CHUNK_PAYLOAD_BYTES (CHUNK_BYTES - 16)
/* A usual reply, getData of 100 bytes, takes 192. */
#define CHUNK_SMALL_BYTES 256
#define CHUNK_SMALL_PAYLOAD_BYTES (CHUNK_SMALL_BYTES - 16)
/* Of limits.buffers_bytes_max, one in so many bytes is for small chunks. */
#define CHUNK_SMALL_SHARE 8

/* `start` of chunks in a send queue that are small (CHUNK_SMALL_BYTES of memory, `data` ends
 * early), and that are small for their bytes lie elsewhere: more than any other chunk's. */
#define CHUNK_IS_SMALL (UINT16_MAX - 1)
#define CHUNK_IS_REFERENCE UINT16_MAX
#define CHUNK_REFERENCE_BYTES_MAX 65535u

/**
 * A piece of a stream: sent and not acknowledged, out of order, or unread. Valid bytes:
 * data[start..end); in a send queue data[0..end), or reference.bytes[0..end).
 */
struct chunk {
    struct chunk *next;
    uint32_t seq; /* of the first byte of data */
    uint16_t start, end;
    union {
        uint8_t data[CHUNK_PAYLOAD_BYTES];
        struct { /* only in a send queue */
            const uint8_t *bytes;
            void *holder; /* NULL: a later chunk has it */
        } reference;
    };
};
_Static_assert(sizeof(struct chunk) == CHUNK_BYTES, "no padding");

#define CONN_NONE UINT32_MAX

struct timewait; /* timewait.c */

struct net {
    struct net_config config; /* defaults filled in */
    uint16_t mss_v4, mss_v6;  /* what we announce */
    uint32_t local_v4[NET_ADDRESSES_MAX]; /* config.interfaces' IPv4 addresses in network order; 0:
                                           * not one */
    struct flow_secret key_flow;
    struct siphash_key key_isn, key_cookie, key_timestamp;

    uint64_t now_us;
    uint32_t now_ms;
    uint64_t random; /* xorshift state, never 0 */
    bool in_callbacks; /* net_burst, net_timers or net_flush is running */

    struct net_conn *conns;
    uint32_t conns_fresh; /* conns[conns_fresh..] were never used: their pages are untouched */
    uint32_t free_head;   /* linked by net_conn.link */
    uint32_t dead_head;   /* TCP_CLOSED, free after the next net_flush() */
    uint32_t conn_count;  /* without the dead */
    uint32_t half_open;
    struct flow_table flows;
    struct wheel wheel;
    struct timewait *timewait;

    /*
     * Ring of connections to look at in net_flush(); each is in at most once (F_DIRTY), so it never
     * overflows.
     */
    uint32_t *dirty;
    uint32_t dirty_mask, dirty_head, dirty_tail;

    struct pool chunks, small_chunks, extras;
    uint64_t ooo_chunks; /* chunks that hold out-of-order data */
    uint64_t ooo_chunks_max;
    struct chunk *graveyard; /* consumed in this turn, readable until net_flush() returns */

    uint64_t cookie_sent_us; /* last time a cookie left; 0: never */
    uint32_t port_next;      /* of net_connect() */

    struct neighbour_table neighbours;
    struct net_counters counters;
};

static inline uint32_t
conn_id(const struct net *net, const struct net_conn *c)
{
    return (uint32_t)(c - net->conns);
}

/* Fewer connections than these stay in the cache, and fetching ahead is only more instructions. */
#define PREFETCH_CONNS_MIN 1024

static inline bool
net_prefetches(const struct net *net)
{
    return net->conn_count >= PREFETCH_CONNS_MIN;
}

/** xorshift64*: for jitter and port choice, never for secrets. */
static inline uint64_t
net_random(struct net *net)
{
    net->random ^= net->random >> 12;
    net->random ^= net->random << 25;
    net->random ^= net->random >> 27;
    return net->random * 0x2545f4914f6cdd1dull;
}

/** The connection or TIME-WAIT entry of a key. @return an id as in flow.h; FLOW_NONE. */
static inline uint32_t
net_find(const struct net *net, const struct flow_key *key, uint32_t hash)
{
    uint32_t slot = hash, id;
    while ((id = flow_next(&net->flows, hash, &slot)) != FLOW_NONE) {
        const struct flow_key *other =
            id & FLOW_TIME_WAIT ? timewait_key(net, id & ~FLOW_TIME_WAIT) : &net->conns[id].key;
        if (flow_key_equal(other, key))
            return id;
    }
    return FLOW_NONE;
}

static inline bool
chunk_reference(const struct chunk *chunk)
{
    return chunk->start == CHUNK_IS_REFERENCE;
}

/** What a chunk of a send queue can hold. */
static inline uint32_t
chunk_capacity(const struct chunk *chunk)
{
    if (chunk->start == CHUNK_IS_SMALL)
        return CHUNK_SMALL_PAYLOAD_BYTES;
    return chunk_reference(chunk) ? 0 : CHUNK_PAYLOAD_BYTES;
}

/* chunk.c */
/** NULL: none to be had, counted. */
struct chunk *chunk_get(struct net *net);
/** For a send queue. NULL: none to be had, chunk_get() will do. */
struct chunk *chunk_get_small(struct net *net);
/** For a send queue. NULL: none to be had, counted. Stands for bytes that lie elsewhere. */
struct chunk *chunk_get_reference(struct net *net);

static inline void
chunk_put(struct net *net, struct chunk *chunk)
{
    pool_put(chunk->start >= CHUNK_IS_SMALL ? &net->small_chunks : &net->chunks, chunk);
}
/** Free at the end of the turn: the application may still read it. */
static inline void
chunk_bury(struct net *net, struct chunk *chunk)
{
    chunk->next = net->graveyard;
    net->graveyard = chunk;
}

#endif
