/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Timer wheel: three levels of 256 slots of 1 ms, 256 ms and 65.5 s.
 *
 * An entry per connection, at its earliest deadline or before: deadlines that move later leave the
 * entry where it is, and when it fires early it is put back. So an ACK that defers a timer touches
 * nothing here. Deadlines beyond the horizon (4.6 h) fire at the horizon and are put back.
 *
 *      heads[slot] -> block, not full -> block, full -> ... -> block, full
 *                     id, id, ...         net_conn.wheel_at is an entry's place
 *
 * Entries lie in blocks and not in a list through the connections: of a million connections each is
 * a cache miss, which a list takes one after another, and a row of ids all at once. A connection
 * that has nothing left to wait for strikes out its id: what is passed later is not the connection,
 * which would be out of the cache by then.
 *
 * Invariants: an entry in level 0 is due within 256 ms, one in level 1 within 65 s, and no entry is
 * due before `now`; those struck out may be anywhere. Only the first block of a slot is not full,
 * none is empty, and forgotten <= forgotten_max: so the blocks of wheel_init() do.
 */
#ifndef SENGI_DATAPLANE_NET_WHEEL_H
#define SENGI_DATAPLANE_NET_WHEEL_H

#include <stdint.h>

#define WHEEL_LEVELS 3
#define WHEEL_SLOTS 256
#define WHEEL_NONE UINT32_MAX
#define WHEEL_BLOCK_ENTRIES 126

struct net_conn;

struct wheel_block {
    uint32_t next;  /* of the slot, or of the free blocks */
    uint16_t slot;
    uint16_t count; /* 1..WHEEL_BLOCK_ENTRIES while in a slot */
    uint32_t ids[WHEEL_BLOCK_ENTRIES]; /* WHEEL_NONE: forgotten */
};
_Static_assert(sizeof(struct wheel_block) == 512, "whole cache lines");

struct wheel {
    struct net_conn *conns; /* ids index this */
    struct wheel_block *blocks;
    uint32_t blocks_fresh, blocks_max; /* [blocks_fresh, blocks_max) were never used */
    uint32_t free_head;
    uint32_t now;           /* ms: all up to and including this has fired */
    uint32_t count;         /* of connections in it */
    uint32_t forgotten, forgotten_max; /* entries struck out */
    uint32_t hint;          /* ms: no slot needs a look before; exact after a search, else early */
    uint32_t heads[WHEEL_LEVELS * WHEEL_SLOTS + 1]; /* last: the slot being fired */
    uint64_t occupied[WHEEL_LEVELS][WHEEL_SLOTS / 64];
};

/** @return 0; -1: out of memory. */
int wheel_init(struct wheel *wheel, struct net_conn *conns, uint32_t conns_max, uint32_t now);
void wheel_destroy(struct wheel *wheel);
/** c must not be in the wheel. Due now or before now fires with the next tick. */
void wheel_add(struct wheel *wheel, uint32_t id, uint32_t due);
/** c must be in the wheel. */
void wheel_remove(struct wheel *wheel, uint32_t id);
/** As wheel_remove(), but touches no other connection: for those that come by the million. */
void wheel_forget(struct wheel *wheel, uint32_t id);

/**
 * Advance towards `to`. @return an entry that fires, removed from the wheel; WHEEL_NONE: wheel->now
 * == to. Call again until WHEEL_NONE; entries may be added and removed between calls.
 */
uint32_t wheel_advance(struct wheel *wheel, uint32_t to);

/**
 * @return ms from wheel->now to the next tick worth a call, >= 1; UINT32_MAX: the wheel is empty.
 * May be early.
 */
static inline uint32_t
wheel_next_ms(const struct wheel *wheel)
{
    if (wheel->count == 0)
        return UINT32_MAX;
    uint32_t left = wheel->hint - wheel->now;
    return (int32_t)left > 0 ? left : 1;
}

#endif
