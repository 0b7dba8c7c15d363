/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Every allocation of the store fails in turn. The store's sources are compiled into this program
 * with malloc and friends replaced, so nothing but the store is hit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>
#include <urcu/urcu-qsbr.h>
#include <zlib.h>

static long fault_at; /* 0: never; n: the n-th allocation from now fails, and all after it when
                       * fault_stays */
static bool fault_stays;
static long fault_hits;

static bool fault(void)
{
    if (fault_at == 0 || --fault_at > 0)
        return false;
    fault_at = fault_stays ? 1 : 0;
    fault_hits++;
    return true;
}

static void *fault_malloc(size_t n)
{
    return fault() ? NULL : malloc(n);
}

static void *fault_calloc(size_t n, size_t size)
{
    return fault() ? NULL : calloc(n, size);
}

static void *fault_realloc(void *p, size_t n)
{
    return fault() ? NULL : realloc(p, n);
}

static void *fault_aligned_alloc(size_t alignment, size_t n)
{
    return fault() ? NULL : aligned_alloc(alignment, n);
}

#define malloc(n) fault_malloc(n)
#define calloc(n, size) fault_calloc(n, size)
#define realloc(p, n) fault_realloc(p, n)
#define aligned_alloc(alignment, n) fault_aligned_alloc(alignment, n)
#include "tree/acl_table.c"
#include "tree/children.c"
#include "tree/index.c"
#include "tree/retire.c"
#include "tree/store.c"
#include "tree/store_change.c"
#include "tree/walk.c"
#undef malloc
#undef calloc
#undef realloc
#undef aligned_alloc

static struct bytes text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, (uint32_t)strlen(s)};
}

static uint8_t big[2000];

static int add(struct store *s, const char *path, uint32_t data_size, uint32_t acl)
{
    struct store_node n = {.path = text(path), .data = {big, data_size}, .acl = acl};
    n.stat.pzxid = s->newest;
    return store_add(s, &n, (int32_t)s->newest);
}

/** Intern a list of its own for n, whole or not at all. */
static int acl_make(struct store *s, int n, uint32_t *id)
{
    uint8_t wire[64];
    struct jute_writer w = jute_writer_of(wire, sizeof wire);
    jute_write_int(&w, 1);
    jute_write_int(&w, n);
    jute_write_bytes(&w, BYTES_OF("ip"));
    jute_write_bytes(&w, BYTES_OF("1.2.3.4"));
    return acl_intern(s->acls, (struct bytes){wire, (uint32_t)jute_written(&w)}, id);
}

/**
 * One txn with every kind of change, many of them, on nodes old and new. @return 0, or what failed;
 * then it is aborted.
 */
static int txn(struct store *s, zxid_t zxid)
{
    char path[64];
    int err = store_begin(s, zxid);
    if (err)
        return err;
    for (int i = 0; !err && i < 120; i++) {
        snprintf(path, sizeof path, "/dir/z%ld-%d", (long)zxid, i);
        uint32_t acl = 0;
        err = i % 3 ? 0 : acl_make(s, i, &acl);
        if (err)
            break;
        err = add(s, path, i % 4 ? 10 : 600, acl);
        if (err)
            acl_drop(s->acls, acl); /* on error the use is still ours */
        if (!err && i % 5 == 0)
            err = store_set_data(s, text(path), store_key(s, text(path)),
                                 (struct bytes){big, i % 2 ? 900 : 3}, 1, zxid, 1);
        if (!err && i % 7 == 0)
            err = store_remove(s, text(path));
        if (!err && i % 14 == 0)
            err = add(s, path, 20, 0);
    }
    uint32_t acl;
    if (!err)
        err = store_set_data(s, text("/old"), store_key(s, text("/old")), (struct bytes){big, 700},
                             2, zxid, 1);
    if (!err && (err = acl_make(s, 777, &acl)) == 0 &&
        (err = store_set_acl(s, text("/old"), acl, 1)) != 0)
        acl_drop(s->acls, acl);
    if (!err)
        err = store_set_data_quietly(s, text("/quiet"), (struct bytes){big, 1});
    if (!err)
        err = store_touch_parent(s, text("/"), 1000, zxid);
    if (!err)
        err = store_remove(s, text("/gone"));
    if (err)
        store_abort(s);
    else
        (void)store_end(s);
    return err;
}

static void finish(struct store *s, zxid_t zxid)
{
    struct tree_txn *txns = store_commit(s, zxid);
    store_show(s, zxid);
    store_retire(s, &txns);
}

static struct store *store_make(void)
{
    struct store_config config = {.digest_enabled = true};
    struct store *s = store_create_empty(&config);
    if (!s)
        return NULL;
    store_set_offline(s, true);
    if (store_begin(s, 1) != 0 || add(s, "/dir", 1, 0) || add(s, "/old", 2, 0) ||
        add(s, "/quiet", 2, 0) || add(s, "/gone", 600, 0))
        abort();
    (void)store_end(s);
    finish(s, 1);
    return s;
}

/* Goal: S5; an aborted txn leaves no trace wherever memory ran out. Method: the n-th allocation of
 * a large txn fails, for n = 1 until it goes through; then the same txn must succeed. Once with one
 * failure, once with memory gone for good. */
static void each_allocation_of_a_txn_may_fail(void **state)
{
    (void)state;
    for (int stays = 0; stays < 2; stays++) {
        long n = 0;
        for (int err = -1; err; ) {
            struct store *s = store_make();
            struct tree_counters before = s->counters;
            uint64_t entries = s->index.entries;
            n++;
            fault_at = n;
            fault_stays = stays;
            fault_hits = 0;
            err = txn(s, 2);
            fault_at = 0;
            if (err) {
                assert_int_equal(err, STORE_ENOMEM);
                assert_memory_equal(&before, &s->counters, sizeof before);
                assert_int_equal(s->index.entries, entries);
                assert_int_equal(acl_count(s->acls), 0);
                assert_int_equal(s->newest, 1);
                store_check(s);
                assert_int_equal(txn(s, 2), 0);
            } else if (fault_hits) {
                err = -1; /* done without: a larger table was put off, for one */
            }
            finish(s, 2);
            store_check(s);
            assert_int_equal(s->counters.nodes, 5 - 1 + 120 - 18 + 9);
            assert_int_equal(s->index.entries, s->counters.nodes);
            store_destroy(s);
        }
        assert_true(n > 300);
    }
}

/* Goal: creating a store fails cleanly. */
static void each_allocation_of_a_new_store_may_fail(void **state)
{
    (void)state;
    struct store_config config = {.digest_enabled = true};
    fault_stays = false;
    for (long n = 1;; n++) {
        fault_at = n;
        fault_hits = 0;
        struct store *s = store_create_empty(&config);
        fault_at = 0;
        assert_int_equal(s == NULL, fault_hits != 0);
        if (s) {
            store_destroy(s);
            assert_true(n > 4);
            return;
        }
    }
}

/* Goal: a walk that runs out of memory says so and does not look like a shorter tree. */
static void each_allocation_of_a_walk_may_fail(void **state)
{
    (void)state;
    enum { LEVELS = 700 }; /* the path buffer and the stack of frames have to grow */
    static char path[2 * LEVELS + 1];
    struct store_config config = {.digest_enabled = false};
    struct store *s = store_create_empty(&config);
    assert_int_equal(store_load_begin(s, 1), 0);
    for (int i = 0; i < LEVELS; i++) {
        memcpy(path + 2 * i, "/a", 3);
        struct store_node node = {.path = text(path), .data = text("")};
        assert_int_equal(store_load(s, &node), 0);
    }
    fault_stays = false;
    for (long n = 1;; n++) {
        fault_at = n;
        fault_hits = 0;
        struct store_walk *w = store_walk_begin(s, text("/"), 1);
        struct bytes got;
        const struct version *v;
        int count = 0;
        while (w && store_walk_next(w, &got, &v))
            count++;
        fault_at = 0;
        assert_int_equal(!w || store_walk_error(w) == STORE_ENOMEM, fault_hits != 0);
        assert_int_equal(count == LEVELS + 1, fault_hits == 0);
        store_walk_end(w);
        if (!fault_hits) {
            assert_true(n > LEVELS);
            break;
        }
    }
    store_destroy(s);
}

/* Goal: loading stops with an error and the store can be destroyed. */
static void each_allocation_of_a_load_may_fail(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        struct store_config config = {.digest_enabled = true};
        struct store *s = store_create_empty(&config);
        assert_int_equal(store_load_begin(s, 9), 0);
        fault_at = n;
        fault_stays = false;
        fault_hits = 0;
        int err = 0;
        uint64_t loaded = 1;
        char path[32];
        for (int i = 0; !err && i < 200; i++) {
            snprintf(path, sizeof path, "/n%d", i);
            struct store_node node = {.path = text(i == 100 ? "" : path),
                                      .data = {big, i % 9 ? 5 : 700}};
            err = store_load(s, &node);
            loaded += !err && i != 100;
        }
        long hits = fault_hits;
        fault_at = 0;
        assert_int_equal(s->counters.nodes, loaded);
        store_check(s);
        store_destroy(s);
        if (!hits) {
            assert_true(n > 300);
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_of_a_txn_may_fail),
        cmocka_unit_test(each_allocation_of_a_new_store_may_fail),
        cmocka_unit_test(each_allocation_of_a_walk_may_fail),
        cmocka_unit_test(each_allocation_of_a_load_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
