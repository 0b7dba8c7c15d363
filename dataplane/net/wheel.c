/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/net/wheel.h"

#include "client/wire/check.h"
#include "dataplane/net/tcp.h"

#include <stdbool.h>
#include <stdlib.h>

#define FIRING (WHEEL_LEVELS * WHEEL_SLOTS)
#define PLACES 128 /* per block in net_conn.wheel_at */
#define FORGOTTEN_SHARE 4 /* of the connections, one in so many may leave an entry behind */
#define FIRING_AHEAD 16 /* entries: their connections are fetched while others fire */

int
wheel_init(struct wheel *wheel, struct net_conn *conns, uint32_t conns_max, uint32_t now)
{
    *wheel = (struct wheel){.conns = conns, .now = now, .free_head = WHEEL_NONE};
    for (unsigned i = 0; i <= FIRING; i++)
        wheel->heads[i] = WHEEL_NONE;
    wheel->forgotten_max = conns_max / FORGOTTEN_SHARE;
    /* Full ones, one that is not per slot, and one that cascade() is emptying. */
    wheel->blocks_max =
        (conns_max + wheel->forgotten_max) / WHEEL_BLOCK_ENTRIES + FIRING + 2;
    wheel->blocks = aligned_alloc(64, wheel->blocks_max * sizeof *wheel->blocks);
    return wheel->blocks ? 0 : -1;
}

void
wheel_destroy(struct wheel *wheel)
{
    free(wheel->blocks);
    wheel->blocks = NULL;
}

static void
slot_mark(struct wheel *wheel, uint32_t slot)
{
    if (slot == FIRING)
        return;
    uint64_t *word = &wheel->occupied[slot / WHEEL_SLOTS][slot % WHEEL_SLOTS / 64];
    uint64_t bit = 1ull << (slot % 64);
    *word = wheel->heads[slot] == WHEEL_NONE ? *word & ~bit : *word | bit;
}

/* Another block in front of a slot. */
static struct wheel_block *
block_push(struct wheel *wheel, uint32_t slot)
{
    uint32_t b = wheel->free_head;
    if (b != WHEEL_NONE)
        wheel->free_head = wheel->blocks[b].next;
    else
        b = wheel->blocks_fresh++;
    CHECK(b < wheel->blocks_max);
    struct wheel_block *block = &wheel->blocks[b];
    block->next = wheel->heads[slot];
    block->slot = (uint16_t)slot;
    block->count = 0;
    wheel->heads[slot] = b;
    slot_mark(wheel, slot);
    return block;
}

static void
block_pop(struct wheel *wheel, uint32_t slot)
{
    uint32_t b = wheel->heads[slot];
    wheel->heads[slot] = wheel->blocks[b].next;
    wheel->blocks[b].next = wheel->free_head;
    wheel->free_head = b;
    slot_mark(wheel, slot);
}

static void
id_place(struct wheel *wheel, struct wheel_block *block, uint32_t index, uint32_t id)
{
    block->ids[index] = id;
    wheel->conns[id].wheel_at = (uint32_t)(block - wheel->blocks) * PLACES + index;
}

static void
slot_push(struct wheel *wheel, uint32_t slot, uint32_t id)
{
    uint32_t head = wheel->heads[slot];
    struct wheel_block *block = head == WHEEL_NONE ? NULL : &wheel->blocks[head];
    if (!block || block->count == WHEEL_BLOCK_ENTRIES)
        block = block_push(wheel, slot);
    id_place(wheel, block, block->count++, id);
}

/* What was pushed last. @return WHEEL_NONE: its connection has forgotten it. */
static uint32_t
slot_pop(struct wheel *wheel, uint32_t slot)
{
    struct wheel_block *block = &wheel->blocks[wheel->heads[slot]];
    uint32_t id = block->ids[--block->count];
    if (block->count == 0)
        block_pop(wheel, slot);
    wheel->forgotten -= id == WHEEL_NONE;
    return id;
}

/* The slot for a deadline, and the tick at which that slot must be looked at. */
static uint32_t
slot_of(const struct wheel *wheel, uint32_t due, uint32_t *tick_ms)
{
    *tick_ms = due;
    if (due - wheel->now < WHEEL_SLOTS)
        return due % WHEEL_SLOTS;
    *tick_ms = due >> 8 << 8;
    if ((((due >> 8) - (wheel->now >> 8)) & 0xffffff) < WHEEL_SLOTS)
        return WHEEL_SLOTS + (due >> 8) % WHEEL_SLOTS;
    if ((((due >> 16) - (wheel->now >> 16)) & 0xffff) >= WHEEL_SLOTS)
        due = wheel->now + ((WHEEL_SLOTS - 1) << 16);
    *tick_ms = due >> 16 << 16;
    return 2 * WHEEL_SLOTS + (due >> 16) % WHEEL_SLOTS;
}

void
wheel_add(struct wheel *wheel, uint32_t id, uint32_t due)
{
    struct net_conn *c = &wheel->conns[id];
    CHECK(!(c->flags & F_WHEEL));
    if ((int32_t)(due - wheel->now) <= 0)
        due = wheel->now + 1;
    c->wheel_due = due;
    c->flags |= F_WHEEL;
    uint32_t tick_ms, slot = slot_of(wheel, due, &tick_ms);
    if (wheel->count == 0 || (int32_t)(tick_ms - wheel->hint) < 0)
        wheel->hint = tick_ms;
    slot_push(wheel, slot, id);
    wheel->count++;
}

void
wheel_remove(struct wheel *wheel, uint32_t id)
{
    struct net_conn *c = &wheel->conns[id];
    uint32_t at = c->wheel_at;
    struct wheel_block *block = &wheel->blocks[at / PLACES];
    CHECK((c->flags & F_WHEEL) && block->ids[at % PLACES] == id);
    uint32_t last;
    do
        last = slot_pop(wheel, block->slot);
    while (last == WHEEL_NONE);
    if (last != id)
        id_place(wheel, block, at % PLACES, last);
    c->flags &= ~F_WHEEL;
    wheel->count--;
}

void
wheel_forget(struct wheel *wheel, uint32_t id)
{
    struct net_conn *c = &wheel->conns[id];
    uint32_t *place = &wheel->blocks[c->wheel_at / PLACES].ids[c->wheel_at % PLACES];
    if (wheel->forgotten == wheel->forgotten_max) {
        wheel_remove(wheel, id);
        return;
    }
    CHECK((c->flags & F_WHEEL) && *place == id);
    *place = WHEEL_NONE;
    c->flags &= ~F_WHEEL;
    wheel->count--;
    wheel->forgotten++;
}

/* To be fetched in advance; of a forgotten entry, something that does no harm. */
static const struct net_conn *
conn_of(const struct wheel *wheel, uint32_t id)
{
    return &wheel->conns[id == WHEEL_NONE ? 0 : id];
}

/* Distribute a slot of a higher level over the levels below: wheel->now is its first ms. */
static void
cascade(struct wheel *wheel, uint32_t slot)
{
    uint32_t b = wheel->heads[slot], tick_ms;
    wheel->heads[slot] = WHEEL_NONE;
    slot_mark(wheel, slot);
    while (b != WHEEL_NONE) {
        struct wheel_block *block = &wheel->blocks[b];
        for (uint32_t i = 0; i < block->count; i++)
            __builtin_prefetch(&conn_of(wheel, block->ids[i])->wheel_at, 1);
        for (uint32_t i = 0; i < block->count; i++) {
            uint32_t id = block->ids[i];
            if (id == WHEEL_NONE)
                wheel->forgotten--;
            else
                slot_push(wheel, slot_of(wheel, wheel->conns[id].wheel_due, &tick_ms), id);
        }
        uint32_t next = block->next;
        block->next = wheel->free_head;
        wheel->free_head = b;
        b = next;
    }
}

/* First occupied slot after `from` going round. @return its distance 1..WHEEL_SLOTS; 0: none. */
static uint32_t
occupied_after(const uint64_t occupied[WHEEL_SLOTS / 64], uint32_t from)
{
    for (uint32_t d = 1; d <= WHEEL_SLOTS;) {
        uint32_t slot = (from + d) % WHEEL_SLOTS;
        uint64_t word = occupied[slot / 64] >> (slot % 64);
        if (word) {
            d += (uint32_t)__builtin_ctzll(word);
            return d <= WHEEL_SLOTS ? d : 0;
        }
        d += 64 - slot % 64;
    }
    return 0;
}

/* ms to the next occupied slot, or to where one of a higher level must be distributed. */
static uint32_t
next_occupied_ms(const struct wheel *wheel)
{
    uint32_t next = UINT32_MAX;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        unsigned shift = 8 * level;
        uint32_t d = occupied_after(wheel->occupied[level], (wheel->now >> shift) % WHEEL_SLOTS);
        if (d) {
            uint32_t at = ((wheel->now >> shift) + d) << shift;
            if (at - wheel->now < next)
                next = at - wheel->now;
        }
    }
    return next;
}

static void
tick(struct wheel *wheel)
{
    uint32_t now = wheel->now;
    if (now % WHEEL_SLOTS == 0) {
        if ((now >> 8) % WHEEL_SLOTS == 0)
            cascade(wheel, 2 * WHEEL_SLOTS + (now >> 16) % WHEEL_SLOTS);
        cascade(wheel, WHEEL_SLOTS + (now >> 8) % WHEEL_SLOTS);
    }
    uint32_t slot = now % WHEEL_SLOTS;
    /* Move the whole slot: firing one entry may add others to it for the next round. */
    wheel->heads[FIRING] = wheel->heads[slot];
    wheel->heads[slot] = WHEEL_NONE;
    slot_mark(wheel, slot);
    for (uint32_t b = wheel->heads[FIRING]; b != WHEEL_NONE; b = wheel->blocks[b].next)
        wheel->blocks[b].slot = FIRING;
}

/* The connection that fires FIRING_AHEAD from now, or the last that is sure to. */
static const struct net_conn *
firing_ahead(const struct wheel *wheel)
{
    const struct wheel_block *block = &wheel->blocks[wheel->heads[FIRING]];
    uint32_t from_end = FIRING_AHEAD;
    if (block->count < from_end) {
        if (block->next == WHEEL_NONE)
            return conn_of(wheel, block->ids[0]);
        from_end -= block->count;
        block = &wheel->blocks[block->next];
    }
    return conn_of(wheel, block->ids[block->count - from_end]);
}

/* Bring what is due next into the FIRING slot. @return false: nothing is, wheel->now == to. */
static bool
firing_fill(struct wheel *wheel, uint32_t to)
{
    while (wheel->heads[FIRING] == WHEEL_NONE) {
        if (wheel->now == to)
            return false;
        if (wheel->count == 0 || (int32_t)(wheel->hint - to) > 0) {
            wheel->now = to;
            return false;
        }
        uint32_t step = next_occupied_ms(wheel);
        CHECK(step != UINT32_MAX);
        wheel->hint = wheel->now + step;
        if (step > to - wheel->now)
            continue; /* the hint was early */
        wheel->now += step;
        tick(wheel);
    }
    return true;
}

uint32_t
wheel_advance(struct wheel *wheel, uint32_t to)
{
    uint32_t id;
    do {
        if (!firing_fill(wheel, to))
            return WHEEL_NONE;
        id = slot_pop(wheel, FIRING);
    } while (id == WHEEL_NONE);
    if (wheel->heads[FIRING] != WHEEL_NONE) {
        const struct net_conn *ahead = firing_ahead(wheel);
        __builtin_prefetch(ahead, 1); /* here: gcc drops calls of a function that only fetches */
        __builtin_prefetch((const char *)ahead + 64, 1);
    }
    wheel->conns[id].flags &= ~F_WHEEL;
    wheel->count--;
    return id;
}
