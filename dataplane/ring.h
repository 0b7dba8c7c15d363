/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A bounded queue of pointers between exactly two threads: one pushes, one pops.
 *
 *      producer                                     consumer
 *      slots[tail & mask] = p                       tail = load tail         (R1)
 *      store tail + 1            (R0) ------------> p = slots[head & mask]
 *      load head                 (R3) <------------ store head + 1           (R2)
 *
 * Invariants
 *   1. head <= tail <= head + capacity, both counted modulo 2^32 and never masked in the struct.
 *   2. The slots [head, tail) belong to the consumer, all others to the producer.
 *   3. head_seen <= head and tail_seen <= tail: a stale copy of the other side's index only makes
 *      the ring look fuller to the producer and emptier to the consumer, never the reverse.
 *
 * Each side keeps its own line: the other side's index is read again only when the copy says full
 * or empty, so a busy ring moves one line per burst, not one per pointer.
 *
 * Who may call: ring_push, ring_room: the producer. ring_pop, ring_peek, ring_count: the consumer.
 * Two threads may take turns in one role if something else orders them (a join, a lock).
 *
 * What happens when it is full is the caller's named policy; ring_push() only says so. Pointers
 * still inside are not freed by ring_free(). NULL cannot be pushed.
 */
#ifndef SENGI_DATAPLANE_RING_H
#define SENGI_DATAPLANE_RING_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_LINE_BYTES 64
#define RING_CAPACITY_MAX (1u << 30)

struct ring {
    /* config: written by ring_init only */
    alignas(RING_LINE_BYTES) void **slots; /* owned; mask + 1 of them */
    uint32_t mask;
    /* owned by the producer, tail read by the consumer */
    alignas(RING_LINE_BYTES) _Atomic uint32_t tail;
    uint32_t head_seen;
    /* owned by the consumer, head read by the producer */
    alignas(RING_LINE_BYTES) _Atomic uint32_t head;
    uint32_t tail_seen;
};
static_assert(sizeof(struct ring) == 3 * RING_LINE_BYTES,
              "a line for each side and one that nobody writes");

/**
 * Make an empty ring.
 *
 * @param ring      Caller's, aligned to RING_LINE_BYTES; not moved afterwards.
 * @param capacity  Pointers it must hold; rounded up to a power of two. 1..RING_CAPACITY_MAX.
 * @return 0; -1 out of memory, *ring zeroed.
 * Context: init only, before the two threads know of it.
 */
int ring_init(struct ring *ring, uint32_t capacity);

/** Free the slots. A zeroed ring is allowed. Context: after both threads are done with it. */
void ring_free(struct ring *ring);

/** Free slots, at least. Producer. */
static inline uint32_t ring_room(struct ring *ring)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    /* R3: pairs with R2. The consumer's read of a slot comes before our next write to it. */
    ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
    return ring->mask + 1 - (tail - ring->head_seen);
}

/** Append p, not NULL. @return false: full, nothing changed. Producer; never blocks. */
static inline bool ring_push(struct ring *ring, void *p)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - ring->head_seen > ring->mask && ring_room(ring) == 0)
        return false;
    ring->slots[tail & ring->mask] = p;
    /* R0: pairs with R1. Publishes the slot, and all that the producer wrote before (the pointed-to
     * object), ahead of the tail that exposes it; otherwise the consumer could follow a stale
     * pointer. */
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}

/** Pointers waiting, at least. Consumer. */
static inline uint32_t ring_count(struct ring *ring)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    /* R1: pairs with R0. */
    ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
    return ring->tail_seen - head;
}

/** The oldest pointer, left in place; NULL: empty. Consumer. */
static inline void *ring_peek(struct ring *ring)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head == ring->tail_seen && ring_count(ring) == 0)
        return NULL;
    return ring->slots[head & ring->mask];
}

/** Take the oldest pointer; NULL: empty. Consumer; never blocks. */
static inline void *ring_pop(struct ring *ring)
{
    void *p = ring_peek(ring);
    if (p) {
        uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
        /*
         * R2: pairs with R3. The slot was read before it is given back; otherwise the producer
         * could overwrite it.
         */
        atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    }
    return p;
}

#endif
