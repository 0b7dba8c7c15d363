/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* The SPSC ring: order, bounds, and hand-over between two threads (run under TSan too). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "dataplane/ring.h"

/*
 * Goal: capacity is rounded up, full and empty are told exactly. Method: fill, drain, many times
 * around.
 */
static void a_ring_holds_its_capacity_and_gives_back_in_order(void **state)
{
    (void)state;
    struct ring ring;
    assert_int_equal(ring_init(&ring, 5), 0);
    for (uintptr_t round = 0; round < 100; round++) {
        assert_null(ring_pop(&ring));
        assert_int_equal(ring_room(&ring), 8);
        for (uintptr_t i = 1; i <= 8; i++)
            assert_true(ring_push(&ring, (void *)(round * 8 + i)));
        assert_false(ring_push(&ring, (void *)1));
        assert_int_equal(ring_count(&ring), 8);
        for (uintptr_t i = 1; i <= 8; i++) {
            assert_ptr_equal(ring_peek(&ring), (void *)(round * 8 + i));
            assert_ptr_equal(ring_pop(&ring), (void *)(round * 8 + i));
        }
    }
    ring_free(&ring);
}

/* Goal: the indices may wrap around 2^32. Method: start both just below it. */
static void a_ring_survives_the_wrap_of_its_indices(void **state)
{
    (void)state;
    struct ring ring;
    assert_int_equal(ring_init(&ring, 4), 0);
    uint32_t start = UINT32_MAX - 5;
    atomic_store_explicit(&ring.head, start, memory_order_relaxed);
    atomic_store_explicit(&ring.tail, start, memory_order_relaxed);
    ring.head_seen = ring.tail_seen = start;
    uintptr_t in = 1, out = 1;
    for (int turn = 0; turn < 20; turn++) {
        while (ring_push(&ring, (void *)in))
            in++;
        assert_int_equal(in - out, 4);
        for (int i = 0; i < 3; i++)
            assert_ptr_equal(ring_pop(&ring), (void *)out++);
    }
    ring_free(&ring);
}

#define HANDED_OVER 300000
struct item {
    uint64_t number, twice;
};

static void *produce(void *arg)
{
    struct ring *ring = arg;
    for (uint64_t i = 1; i <= HANDED_OVER; i++) {
        struct item *item = malloc(sizeof(*item));
        *item = (struct item){i, 2 * i};
        while (!ring_push(ring, item))
            sched_yield();
    }
    return NULL;
}

/* Goal: what was written before a push is seen after the pop, nothing lost or doubled. Method: two
 * threads, a small ring so that both sides meet full and empty; the consumer frees what it got
 * (TSan and ASan watch the contents). */
static void a_ring_hands_objects_from_one_thread_to_another(void **state)
{
    (void)state;
    struct ring ring;
    assert_int_equal(ring_init(&ring, 16), 0);
    pthread_t producer;
    assert_int_equal(pthread_create(&producer, NULL, produce, &ring), 0);
    for (uint64_t expected = 1; expected <= HANDED_OVER; expected++) {
        struct item *item;
        while (!(item = ring_pop(&ring)))
            sched_yield();
        assert_int_equal(item->number, expected);
        assert_int_equal(item->twice, 2 * expected);
        free(item);
    }
    pthread_join(producer, NULL);
    assert_null(ring_pop(&ring));
    ring_free(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ring_holds_its_capacity_and_gives_back_in_order),
        cmocka_unit_test(a_ring_survives_the_wrap_of_its_indices),
        cmocka_unit_test(a_ring_hands_objects_from_one_thread_to_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
