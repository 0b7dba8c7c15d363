/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* Goal: the two ways to match tags give the same bits. Method: random buckets with few tags, so
 * that free slots, tag 0, tags with the sign bit and pointers of all ones come together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tree/index_match.h"

static uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t draw_slot(uint64_t *state)
{
    uint64_t x = draw(state);
    uint64_t tag = (x % 7) << 48 | (x >> 20 & 1) << 63;
    uint64_t pointer = (x & 15) == 3 ? 0xffff00000000ull | (x >> 40 & 0xff) : x >> 3;
    return x >> 9 & 3 ? tag | (pointer & INDEX_POINTER_MASK) | 1 : 0;
}

static void both_ways_to_match_tags_agree(void **state)
{
    (void)state;
    _Alignas(64) struct index_bucket bucket;
    uint64_t random = 88172645463325252ull;
    uint32_t matches = 0;
    for (int round = 0; round < 300000; round++) {
        for (int i = 0; i < INDEX_SLOTS; i++)
            atomic_init(&bucket.slot[i], draw_slot(&random));
        atomic_init(&bucket.overflow, (struct index_bucket *)(uintptr_t)(draw_slot(&random) >> 17));
        uint64_t tag = (draw(&random) % 8) << 48 | (random >> 40 & 1) << 63;
        uint32_t plain = index_match_plain(&bucket, tag);
        assert_int_equal(index_match(&bucket, tag), plain);
        matches += plain != 0;
    }
    assert_true(matches > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_ways_to_match_tags_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
