/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The flow table: 4-tuple -> connection or TIME-WAIT entry.
 *
 * Open addressing with linear probing over 8-byte slots {hash, id}, at most half full, so that a
 * look-up nearly always costs the one cache line that net_burst() has prefetched. Keyed with a
 * secret, or an attacker would choose the collisions. Removal shifts later slots back: no
 * tombstones.
 *
 *      hash of the key, with a secret --mask--> slot -> id --> the key there, compared in full
 */
#ifndef SENGI_DATAPLANE_NET_FLOW_H
#define SENGI_DATAPLANE_NET_FLOW_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/** A connection's name. Ports in network order; `local` is an index into config.interfaces. */
struct flow_key {
    uint8_t remote[16];
    uint16_t remote_port, local_port;
    uint32_t local;
};
_Static_assert(sizeof(struct flow_key) == 24, "hashed as three words");

static inline bool
flow_key_equal(const struct flow_key *a, const struct flow_key *b)
{
    uint64_t x[3], y[3];
    memcpy(x, a, sizeof x);
    memcpy(y, b, sizeof y);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2])) == 0;
}

/** Unknown to peers, so that they cannot choose collisions. */
struct flow_secret {
    uint64_t words[4];
};

static inline uint64_t
flow_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/** XXH3's short-input construction: words masked by secrets, 128-bit products folded. */
static inline uint32_t
flow_key_hash(const struct flow_key *key, struct flow_secret secret)
{
    uint64_t w[3];
    memcpy(w, key, sizeof w);
    uint64_t h = flow_fold(w[1] ^ secret.words[0], w[2] ^ secret.words[1]);
    h = flow_fold(h ^ secret.words[2], w[0] ^ secret.words[3]);
    return (uint32_t)(h ^ h >> 32);
}

#define FLOW_NONE UINT32_MAX
/* bit of an id: index of a TIME-WAIT entry, not of a connection */
#define FLOW_TIME_WAIT 0x80000000u

struct flow_slot {
    uint32_t hash;
    uint32_t id; /* FLOW_NONE: empty */
};

struct flow_table {
    struct flow_slot *slots;
    uint32_t mask;
    uint32_t count; /* <= (mask + 1) / 2 */
};

/** @return 0; -1 out of memory. */
int flow_init(struct flow_table *table, uint32_t entries_max);
void flow_destroy(struct flow_table *table);

/** The key must not be in the table. */
void flow_insert(struct flow_table *table, uint32_t hash, uint32_t id);
/** The pair must be in the table. */
void flow_remove(struct flow_table *table, uint32_t hash, uint32_t id);

static inline void
flow_prefetch(const struct flow_table *table, uint32_t hash)
{
    __builtin_prefetch(&table->slots[hash & table->mask]);
}

/** Walk the entries that may match: start with *slot = hash, call until FLOW_NONE. */
static inline uint32_t
flow_next(const struct flow_table *table, uint32_t hash, uint32_t *slot)
{
    for (;;) {
        const struct flow_slot *s = &table->slots[(*slot)++ & table->mask];
        if (s->id == FLOW_NONE || s->hash == hash)
            return s->id;
    }
}

#endif
