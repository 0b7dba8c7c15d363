/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* Interned ACL lists: ids, uses, reuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tree/acl.h"

/** A list of one entry, different for each n (n < 0: world:anyone with -n as its permissions). */
static struct bytes list(uint8_t out[128], int n)
{
    struct jute_writer w = jute_writer_of(out, 128);
    char id[32];
    int size = snprintf(id, sizeof id, "user%d", n);
    jute_write_int(&w, 1);
    jute_write_int(&w, n < 0 ? -n : 31);
    jute_write_bytes(&w, n < 0 ? BYTES_OF("world") : BYTES_OF("digest"));
    jute_write_bytes(&w,
                     n < 0 ? BYTES_OF("anyone") : (struct bytes){(uint8_t *)id, (uint32_t)size});
    return (struct bytes){out, (uint32_t)jute_written(&w)};
}

static uint32_t intern(struct acl_table *t, int n)
{
    uint8_t b[128];
    uint32_t id;
    assert_int_equal(acl_intern(t, list(b, n), &id), 0);
    return id;
}

static void assert_list(struct acl_table *t, uint32_t id, int n)
{
    uint8_t b[128];
    struct bytes want = list(b, n);
    const struct acl_list *got = acl_get(t, id);
    assert_int_equal(got->count, 1);
    assert_int_equal(got->wire_bytes, want.size);
    assert_memory_equal(got->wire, want.data, want.size);
}

static void the_open_list_is_id_0_and_never_counted(void **state)
{
    (void)state;
    struct acl_table *t = acl_table_create(NULL, NULL);
    assert_int_equal(intern(t, -31), ACL_OPEN);
    assert_list(t, ACL_OPEN, -31);
    acl_hold(t, ACL_OPEN);
    for (int i = 0; i < 5; i++)
        acl_drop(t, ACL_OPEN);
    assert_list(t, ACL_OPEN, -31);
    assert_int_equal(acl_count(t), 0);
    assert_int_not_equal(intern(t, -1), ACL_OPEN);
    acl_table_destroy(t);
}

static void equal_lists_share_an_id_until_the_last_use_is_dropped(void **state)
{
    (void)state;
    struct acl_table *t = acl_table_create(NULL, NULL);
    uint32_t a = intern(t, 1), b = intern(t, 2);
    assert_int_not_equal(a, b);
    assert_int_equal(intern(t, 1), a);
    acl_hold(t, a);
    assert_int_equal(acl_uses(t, a), 3);
    acl_drop(t, a);
    acl_drop(t, a);
    assert_list(t, a, 1);
    assert_int_equal(acl_count(t), 2);
    acl_drop(t, a);
    assert_int_equal(acl_count(t), 1);
    assert_int_equal(acl_next(t, 0), b);
    assert_int_equal(acl_next(t, b), 0);
    assert_int_equal(intern(t, 3), a); /* the free id is used again */
    assert_list(t, a, 3);
    assert_list(t, b, 2);
    acl_table_destroy(t);
}

/*
 * Goal: ids stay right through growth of chains and pages. Method: against an array of uses,
 * thousands of lists.
 */
static void random_uses_match_an_array(void **state)
{
    (void)state;
    enum { LISTS = 10000 };
    struct acl_table *t = acl_table_create(NULL, NULL);
    static uint32_t id_of[LISTS], uses[LISTS];
    uint64_t seed = 9, in_use = 0;
    for (int step = 0; step < 300000; step++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        int n = (int)((seed >> 33) % LISTS);
        bool drop = (seed >> 20) % 100 < (step / 50000 % 2 ? 70 : 35);
        if (drop && uses[n]) {
            acl_drop(t, id_of[n]);
            in_use -= --uses[n] == 0;
        } else if (!drop) {
            uint32_t id = intern(t, n);
            if (uses[n])
                assert_int_equal(id, id_of[n]);
            in_use += uses[n]++ == 0;
            id_of[n] = id;
        }
        if (uses[n]) {
            assert_list(t, id_of[n], n);
            assert_int_equal(acl_uses(t, id_of[n]), uses[n]);
        }
    }
    assert_int_equal(acl_count(t), in_use);
    uint64_t seen = 0;
    for (uint32_t id = 0; (id = acl_next(t, id));)
        seen++;
    assert_int_equal(seen, in_use);
    acl_table_destroy(t);
}

static size_t retired_bytes;
static void *retired;

static void keep(void *ctx, void *memory, size_t bytes)
{
    assert_ptr_equal(ctx, &retired_bytes);
    retired = memory;
    retired_bytes = bytes;
}

static void a_list_without_uses_goes_to_the_retire_function(void **state)
{
    (void)state;
    struct acl_table *t = acl_table_create(keep, &retired_bytes);
    uint32_t id = intern(t, 1);
    const struct acl_list *l = acl_get(t, id);
    acl_drop(t, id);
    assert_non_null(retired);
    assert_int_equal(l->count, 1); /* still there for whoever holds it */
    assert_true(retired_bytes > l->wire_bytes);
    free(retired);
    acl_table_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_open_list_is_id_0_and_never_counted),
        cmocka_unit_test(equal_lists_share_an_id_until_the_last_use_is_dropped),
        cmocka_unit_test(random_uses_match_an_array),
        cmocka_unit_test(a_list_without_uses_goes_to_the_retire_function),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
