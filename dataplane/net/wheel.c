/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/net/wheel.h"

#include "client/wire/check.h"
#include "dataplane/net/tcp.h"

#define FIRING (WHEEL_LEVELS * WHEEL_SLOTS)
#define HEAD_BIT 0x80000000u /* in wheel_prev: not an entry but the number of a slot */

void
wheel_init(struct wheel *wheel, struct net_conn *conns, uint32_t now)
{
    *wheel = (struct wheel){.conns = conns, .now = now};
    for (unsigned i = 0; i <= FIRING; i++)
        wheel->heads[i] = WHEEL_NONE;
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

static void
slot_push(struct wheel *wheel, uint32_t slot, uint32_t id)
{
    struct net_conn *c = &wheel->conns[id];
    c->wheel_next = wheel->heads[slot];
    c->wheel_prev = slot | HEAD_BIT;
    if (c->wheel_next != WHEEL_NONE)
        wheel->conns[c->wheel_next].wheel_prev = id;
    wheel->heads[slot] = id;
    slot_mark(wheel, slot);
}

static void
slot_unlink(struct wheel *wheel, uint32_t id)
{
    struct net_conn *c = &wheel->conns[id];
    if (c->wheel_next != WHEEL_NONE)
        wheel->conns[c->wheel_next].wheel_prev = c->wheel_prev;
    if (c->wheel_prev & HEAD_BIT) {
        uint32_t slot = c->wheel_prev & ~HEAD_BIT;
        wheel->heads[slot] = c->wheel_next;
        slot_mark(wheel, slot);
    } else {
        wheel->conns[c->wheel_prev].wheel_next = c->wheel_next;
    }
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
    CHECK(wheel->conns[id].flags & F_WHEEL);
    slot_unlink(wheel, id);
    wheel->conns[id].flags &= ~F_WHEEL;
    wheel->count--;
}

/* Distribute a slot of a higher level over the levels below: wheel->now is its first ms. */
static void
cascade(struct wheel *wheel, uint32_t slot)
{
    uint32_t id = wheel->heads[slot];
    wheel->heads[slot] = WHEEL_NONE;
    slot_mark(wheel, slot);
    while (id != WHEEL_NONE) {
        uint32_t next = wheel->conns[id].wheel_next;
        uint32_t tick_ms;
        slot_push(wheel, slot_of(wheel, wheel->conns[id].wheel_due, &tick_ms), id);
        id = next;
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
    uint32_t id = wheel->heads[slot];
    if (id == WHEEL_NONE)
        return;
    /* Move the whole list: firing one entry may add others to this slot for the next round. */
    wheel->heads[FIRING] = id;
    wheel->conns[id].wheel_prev = FIRING | HEAD_BIT;
    wheel->heads[slot] = WHEEL_NONE;
    slot_mark(wheel, slot);
}

uint32_t
wheel_advance(struct wheel *wheel, uint32_t to)
{
    while (wheel->heads[FIRING] == WHEEL_NONE) {
        if (wheel->now == to)
            return WHEEL_NONE;
        if (wheel->count == 0 || (int32_t)(wheel->hint - to) > 0) {
            wheel->now = to;
            return WHEEL_NONE;
        }
        uint32_t step = next_occupied_ms(wheel);
        CHECK(step != UINT32_MAX);
        wheel->hint = wheel->now + step;
        if (step > to - wheel->now)
            continue; /* the hint was early */
        wheel->now += step;
        tick(wheel);
    }
    uint32_t id = wheel->heads[FIRING];
    wheel_remove(wheel, id);
    return id;
}
