/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* The hash index: growth, chains, removal, and readers while it doubles. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/wire/check.h"
#include "tree/index.h"
#include "tree/key.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define MANY 200000u
#else
#define MANY 1000000u
#endif

static uint8_t secret[TREE_SECRET_BYTES];

static struct tree_key key_of(uint32_t i)
{
    return tree_key_of(secret, (struct bytes){(const uint8_t *)&i, sizeof i});
}

static struct version *versions_make(uint32_t count)
{
    struct version *v = calloc(count, sizeof *v);
    assert_non_null(v);
    for (uint32_t i = 0; i < count; i++)
        v[i].key_lo = key_of(i).lo;
    return v;
}

/* Tables that were superseded, kept as a grace period would keep them. */
struct graveyard {
    struct index_retired *first;
    int count;
};

static void graveyard_add(void *ctx, struct index_retired *table)
{
    struct graveyard *g = ctx;
    table->next = g->first;
    g->first = table;
    g->count++;
}

static void graveyard_free(struct graveyard *g)
{
    for (struct index_retired *t = g->first, *next; t; t = next) {
        next = t->next;
        index_retired_free(t);
    }
    g->first = NULL;
}

/* Goal: entries are found through every stage of every doubling, absent keys never. Method: grow
 * from the smallest table, look at old, new and absent keys after each insert. */
static void entries_stay_found_while_the_index_grows(void **state)
{
    (void)state;
    struct graveyard g = {0};
    struct index ix;
    struct version *v = versions_make(MANY);
    assert_int_equal(index_init(&ix, 0, graveyard_add, &g), 0);
    uint64_t seed = 1;
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(index_insert(&ix, key_of(i), &v[i]), 0);
        assert_int_equal(ix.entries, i + 1);
        for (int k = 0; k < 3; k++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            uint32_t any = (uint32_t)(seed >> 33) % (i + i / 4 + 1);
            struct version *found = index_find(&ix, key_of(any));
            if (found != (any <= i ? &v[any] : NULL))
                fail_msg("entry %u of %u", any, i + 1);
            if (index_confirm(&ix, key_of(any), index_candidate(&ix, key_of(any))) != found)
                fail_msg("entry %u of %u, in a burst", any, i + 1);
        }
        if (i < 3000)
            for (uint32_t k = 0; k <= i; k++)
                if (index_find(&ix, key_of(k)) != &v[k])
                    fail_msg("entry %u of %u", k, i + 1);
    }
    index_check(&ix);
    assert_true(g.count >= 10);
    /*
     * between 0.4 and 0.8 full: 10 to 25 bytes per entry with overflow buckets, both tables while
     * splitting
     */
    assert_in_range(index_heap_bytes(&ix) / MANY, 9, 40);
    graveyard_free(&g);
    index_free(&ix);
    free(v);
}

/* Goal: a table sized for n entries takes them without doubling. */
static void an_index_sized_beforehand_does_not_double(void **state)
{
    (void)state;
    struct graveyard g = {0};
    struct index ix;
    struct version *v = versions_make(100000);
    assert_int_equal(index_init(&ix, 100000, graveyard_add, &g), 0);
    for (uint32_t i = 0; i < 100000; i++)
        assert_int_equal(index_insert(&ix, key_of(i), &v[i]), 0);
    assert_int_equal(g.count, 0);
    assert_null(ix.old);
    index_check(&ix);
    index_free(&ix);
    free(v);
}

/*
 * Goal: replace and remove act on their entry only, freed slots are used again. Method: against an
 * array of pointers.
 */
static void replaced_and_removed_entries_match_an_array(void **state)
{
    (void)state;
    enum { KEYS = 4000 };
    struct graveyard g = {0};
    struct index ix;
    struct version *v = versions_make(KEYS), *w = versions_make(KEYS);
    struct version **now = calloc(KEYS, sizeof *now);
    assert_int_equal(index_init(&ix, 0, graveyard_add, &g), 0);
    uint64_t seed = 3, entries = 0;
    for (int step = 0; step < 200000; step++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        uint32_t i = (uint32_t)(seed >> 33) % KEYS;
        struct tree_key key = key_of(i);
        assert_ptr_equal(index_find(&ix, key), now[i]);
        if (!now[i]) {
            now[i] = &v[i];
            assert_int_equal(index_insert(&ix, key, now[i]), 0);
            entries++;
        } else if ((seed >> 20) % 2) {
            struct version *other = now[i] == &v[i] ? &w[i] : &v[i];
            index_replace(&ix, key, now[i], other);
            now[i] = other;
        } else {
            index_remove(&ix, key, now[i]);
            now[i] = NULL;
            entries--;
        }
        assert_int_equal(ix.entries, entries);
    }
    index_check(&ix);
    size_t bytes = index_heap_bytes(&ix);
    assert_true(bytes < KEYS * 40);
    graveyard_free(&g);
    index_free(&ix);
    free(v);
    free(w);
    free(now);
}

/*
 * Goal: keys with the same bucket and the same tag are told apart by key.lo, in chains of any
 * length. Method: forged keys.
 */
static void equal_tags_in_one_bucket_are_told_apart(void **state)
{
    (void)state;
    enum { KEYS = 60 };
    struct index ix;
    struct version *v = calloc(KEYS, sizeof *v);
    assert_int_equal(index_init(&ix, 100000, NULL, NULL), 0);
    for (int tags = 0; tags < 2; tags++) {
        /* tag 0 as well: a free slot must not match it */
        uint64_t hi = tags ? 0xabcd000000000000ull : 0;
        for (uint32_t i = 0; i < KEYS; i++) {
            struct tree_key key = {(uint64_t)i << 40 | 5, hi};
            assert_null(index_find(&ix, key));
            assert_true(index_candidate(&ix, key) == (i ? &v[0] : NULL));
            v[i].key_lo = key.lo;
            assert_int_equal(index_insert(&ix, key, &v[i]), 0);
            for (uint32_t k = 0; k <= i; k++)
                assert_ptr_equal(index_find(&ix, (struct tree_key){(uint64_t)k << 40 | 5, hi}),
                                 &v[k]);
            assert_null(index_find(&ix, (struct tree_key){key.lo, hi ^ 1ull << 48}));
            assert_ptr_equal(index_confirm(&ix, key, index_candidate(&ix, key)), &v[i]);
        }
        for (uint32_t i = 0; i < KEYS; i++)
            index_remove(&ix, (struct tree_key){(uint64_t)i << 40 | 5, hi}, &v[i]);
    }
    assert_int_equal(ix.entries, 0);
    index_free(&ix);
    free(v);
}

static void mark(void *ctx, struct version *v)
{
    (void)ctx;
    v->acl++;
}

/* Goal: index_each gives each entry once, in the midst of a doubling too. */
static void each_gives_every_entry_once(void **state)
{
    (void)state;
    enum { KEYS = 5000 };
    struct graveyard g = {0};
    struct index ix;
    struct version *v = versions_make(KEYS);
    assert_int_equal(index_init(&ix, 0, graveyard_add, &g), 0);
    int splitting = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_int_equal(index_insert(&ix, key_of(i), &v[i]), 0);
        if (i % 97)
            continue;
        splitting += ix.old != NULL;
        index_each(&ix, mark, NULL);
        for (uint32_t k = 0; k < KEYS; k++) {
            assert_int_equal(v[k].acl, k <= i);
            v[k].acl = 0;
        }
    }
    assert_true(splitting > 3);
    graveyard_free(&g);
    index_free(&ix);
    free(v);
}

/* --- readers while it doubles --- */

struct race {
    struct index ix;
    struct version *v;
    _Atomic uint32_t inserted; /* the reader's V: entries below are in */
    _Atomic bool stop;
};

static void *reader_main(void *arg)
{
    struct race *r = arg;
    uint64_t seed = (uint64_t)(uintptr_t)&r, lookups = 0;
    while (!atomic_load_explicit(&r->stop, memory_order_acquire)) {
        uint32_t n = atomic_load_explicit(&r->inserted, memory_order_acquire);
        for (int k = 0; n && k < 32; k++, lookups++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            /* the newest ones too: their buckets are the likeliest to be split just now */
            uint32_t i = k % 2 ? (uint32_t)(seed >> 33) % n : n - 1 - (uint32_t)k % n % 32;
            CHECK(index_find(&r->ix, key_of(i)) == &r->v[i]);
        }
    }
    return (void *)(uintptr_t)lookups;
}

/* Goal: X1 and X2. Method: two readers look for everything that was announced, from the smallest
 * table to the last. Retired tables are kept until the end, as a grace period would. */
static void readers_find_all_entries_while_it_doubles(void **state)
{
    (void)state;
    struct race *r = calloc(1, sizeof *r);
    struct graveyard g = {0};
    r->v = versions_make(MANY);
    assert_int_equal(index_init(&r->ix, 0, graveyard_add, &g), 0);
    pthread_t thread[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, reader_main, r), 0);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(index_insert(&r->ix, key_of(i), &r->v[i]), 0);
        atomic_store_explicit(&r->inserted, i + 1, memory_order_release);
    }
    atomic_store_explicit(&r->stop, true, memory_order_release);
    for (int i = 0; i < 2; i++) {
        void *lookups;
        pthread_join(thread[i], &lookups);
        assert_true((uintptr_t)lookups > 0);
    }
    graveyard_free(&g);
    index_free(&r->ix);
    free(r->v);
    free(r);
}

int main(void)
{
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (uint8_t)(i * 131 + 7);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_stay_found_while_the_index_grows),
        cmocka_unit_test(an_index_sized_beforehand_does_not_double),
        cmocka_unit_test(replaced_and_removed_entries_match_an_array),
        cmocka_unit_test(equal_tags_in_one_bucket_are_told_apart),
        cmocka_unit_test(each_gives_every_entry_once),
        cmocka_unit_test(readers_find_all_entries_while_it_doubles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
