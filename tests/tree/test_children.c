/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* Children trees against a sorted array of names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/wire/check.h"
#include "client/wire/jute.h"
#include "tree/children.h"

static uint64_t seed_state;

static uint32_t rnd(uint32_t below)
{
    seed_state = seed_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(seed_state >> 33) % below;
}

/* --- a sink that keeps the books: what a change replaced is freed, or (undo) what it made --- */

#define NODES_PER_CHANGE_MAX 96
#define LEAF CHILDREN_LEAF_BYTES_MAX

struct books {
    struct children *made[NODES_PER_CHANGE_MAX], *replaced[NODES_PER_CHANGE_MAX];
    int made_count, replaced_count;
};

static void book_made(void *ctx, struct children *node)
{
    struct books *b = ctx;
    b->made[b->made_count++] = node;
}

static void book_replaced(void *ctx, struct children *node)
{
    struct books *b = ctx;
    b->replaced[b->replaced_count++] = node;
}

static void books_free(struct children **nodes, int count)
{
    for (int i = 0; i < count; i++)
        children_node_free(nodes[i]);
}

static void books_check(const struct books *b, int levels)
{
    assert_in_range(b->made_count, 0, CHILDREN_MADE_MAX(levels));
    assert_in_range(b->replaced_count, 0, CHILDREN_REPLACED_MAX(levels));
}

static struct children *insert(struct children *root, struct bytes name)
{
    struct books b = {.made_count = 0};
    struct children_sink sink = {book_made, book_replaced, &b};
    struct children *out = children_insert(root, name, &sink);
    assert_non_null(out);
    books_check(&b, children_levels(root));
    books_free(b.replaced, b.replaced_count);
    return out;
}

static struct children *removed(struct children *root, struct bytes name)
{
    struct books b = {.made_count = 0};
    struct children_sink sink = {book_made, book_replaced, &b};
    struct children *out = root;
    assert_int_equal(children_remove(root, name, &sink, &out), 0);
    books_check(&b, children_levels(root));
    books_free(b.replaced, b.replaced_count);
    return out;
}

/* --- the model --- */

struct model {
    struct bytes *name; /* sorted, owned */
    int count, capacity;
};

static int compare(struct bytes a, struct bytes b)
{
    int c = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return c ? c : (int)a.size - (int)b.size;
}

static int model_place(const struct model *m, struct bytes name, bool *found)
{
    int low = 0, high = m->count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (compare(m->name[middle], name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < m->count && compare(m->name[low], name) == 0;
    return low;
}

static void model_insert(struct model *m, int at, struct bytes name)
{
    if (m->count == m->capacity) {
        m->capacity = m->capacity ? m->capacity * 2 : 16;
        m->name = realloc(m->name, (size_t)m->capacity * sizeof *m->name);
    }
    memmove(&m->name[at + 1], &m->name[at], (size_t)(m->count - at) * sizeof *m->name);
    uint8_t *copy = malloc(name.size + 1);
    memcpy(copy, name.data, name.size);
    m->name[at] = (struct bytes){copy, name.size};
    m->count++;
}

static void model_remove(struct model *m, int at)
{
    free((uint8_t *)m->name[at].data);
    memmove(&m->name[at], &m->name[at + 1], (size_t)(--m->count - at) * sizeof *m->name);
}

static void model_free(struct model *m)
{
    while (m->count)
        model_remove(m, m->count - 1);
    free(m->name);
}

static void assert_same(const struct children *root, const struct model *m)
{
    children_check(root);
    assert_int_equal(children_count(root), m->count);
    size_t bytes = children_wire_bytes(root), at = 0;
    uint8_t *wire = malloc(bytes + 1);
    assert_int_equal(children_copy(root, wire), bytes);
    struct children_cursor c;
    children_cursor_init(&c, root);
    for (int i = 0; i < m->count; i++) {
        struct bytes name;
        assert_true(children_cursor_next(&c, &name));
        assert_int_equal(compare(name, m->name[i]), 0);
        assert_int_equal(be32_load(wire + at), m->name[i].size);
        assert_memory_equal(wire + at + 4, m->name[i].data, m->name[i].size);
        at += 4 + m->name[i].size;
    }
    struct bytes none;
    assert_false(children_cursor_next(&c, &none));
    assert_int_equal(at, bytes);
    free(wire);
}

/* --- names of all sizes around the limits of a leaf --- */

static uint8_t name_buffer[1u << 20];

static struct bytes name_random(int kind)
{
    static const uint32_t edges[] = {1,
                                     2,
                                     LEAF / 4 - 5,
                                     LEAF / 4 - 4,
                                     LEAF / 4 - 3,
                                     LEAF / 2 - 5,
                                     LEAF / 2 - 4,
                                     LEAF / 2 - 3,
                                     LEAF - 10,
                                     LEAF - 5,
                                     LEAF - 4,
                                     LEAF - 3,
                                     LEAF + 1,
                                     LEAF * 2,
                                     5000};
    uint32_t size;
    switch (kind) {
    case 0: size = 1 + rnd(3); break;                                  /* many equal ones */
    case 1: size = 10; break;
    case 2: size = edges[rnd(sizeof edges / sizeof *edges)]; break;
    default: size = 1 + rnd(rnd(20) ? 40 : 3000);
    }
    memset(name_buffer, 'x', size); /* long common beginnings */
    for (uint32_t i = size > 6 && rnd(2) ? size - 6 : 0, n = 0; i < size && n < 6; i++, n++)
        name_buffer[i] = (uint8_t)(rnd(4) ? 'a' + rnd(4) : 0xfe + rnd(2));
    return (struct bytes){name_buffer, size};
}

/** Make a change and take it back: the old tree is what it was. */
static void change_and_undo(struct children *root, const struct model *m, struct bytes name,
                            bool present)
{
    struct books b = {.made_count = 0};
    struct children_sink sink = {book_made, book_replaced, &b};
    struct children *out = NULL;
    if (present)
        assert_int_equal(children_remove(root, name, &sink, &out), 0);
    else
        out = children_insert(root, name, &sink);
    children_check(out);
    assert_int_equal(children_contains(out, name), !present);
    books_free(b.made, b.made_count);
    assert_same(root, m);
}

static void life(uint64_t seed, int kind, int steps, int size_aim)
{
    seed_state = seed;
    struct children *root = NULL;
    struct model m = {0};
    for (int i = 0; i < steps; i++) {
        bool found;
        bool shrink = rnd(100) < (m.count > size_aim ? 70u : 35u) || (i > steps * 3 / 4 && rnd(3));
        struct bytes name = name_random(kind);
        int at = model_place(&m, name, &found);
        if (shrink && m.count && !found) {
            at = (int)rnd((uint32_t)m.count);
            name = m.name[at];
            found = true;
        }
        assert_int_equal(children_contains(root, name), found);
        if (rnd(40) == 0)
            change_and_undo(root, &m, name, found);
        if (found) {
            root = removed(root, name);
            model_remove(&m, at);
        } else {
            root = insert(root, name);
            model_insert(&m, at, name);
        }
        if (rnd(20) == 0)
            assert_same(root, &m);
    }
    while (m.count) {
        int at = (int)rnd((uint32_t)m.count);
        root = removed(root, m.name[at]);
        model_remove(&m, at);
        if (m.count % 64 == 0)
            assert_same(root, &m);
    }
    assert_null(root);
    model_free(&m);
}

/*
 * Goal: names stay sorted and complete through splits and merges. Method: random lives, several
 * mixes of name sizes.
 */
static void random_inserts_and_removals_match_a_sorted_array(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++)
        for (uint64_t seed = 1; seed <= 6; seed++)
            life(seed * 31 + (uint64_t)kind, kind, 1500, seed % 2 ? 100 : 3000);
}

static struct bytes numbered(uint8_t *out, uint32_t i)
{
    return (struct bytes){out, (uint32_t)snprintf((char *)out, 11, "%010u", i)};
}

/*
 * Goal: queues of sequential names fill their leaves. Method: ascending and descending inserts,
 * bytes per name.
 */
static void sequential_names_leave_full_leaves(void **state)
{
    (void)state;
    for (int direction = 0; direction < 2; direction++) {
        struct children *root = NULL;
        uint8_t name[32];
        const uint32_t count = 20000;
        for (uint32_t i = 0; i < count; i++)
            root = insert(root, numbered(name, direction ? count - 1 - i : i));
        children_check(root);
        assert_int_equal(children_count(root), count);
        assert_true(children_heap_bytes(root) < count * 14 * 11 / 10);
        for (uint32_t i = 0; i < count; i++)
            root = removed(root, numbered(name, i));
        assert_null(root);
    }
}

/*
 * Goal: emptying from the front, the middle and the back keeps the tree shallow. Method: remove in
 * strides.
 */
static void a_thinned_out_tree_shrinks_with_its_names(void **state)
{
    (void)state;
    struct children *root = NULL;
    uint8_t name[32];
    const uint32_t count = 30000;
    for (uint32_t i = 0; i < count; i++)
        root = insert(root, numbered(name, i * 7919 % count));
    for (uint32_t i = 0; i < count; i++)
        if (i % 100)
            root = removed(root, numbered(name, i));
    children_check(root);
    assert_int_equal(children_count(root), count / 100);
    assert_true(children_heap_bytes(root) < count / 100 * 14 * 5);
    assert_true(children_levels(root) <= 3);
    for (uint32_t i = 0; i < count; i += 100)
        assert_true(children_contains(root, numbered(name, i)));
    children_free_all(root);
}

/* Goal: one directory holds a million names. Method: insert shuffled, look at each, remove half. */
static void a_million_names_in_one_directory(void **state)
{
    (void)state;
    struct children *root = NULL;
    uint8_t name[32];
    const uint32_t count = 1000000;
    for (uint32_t i = 0; i < count; i++)
        root = insert(root, numbered(name, (uint32_t)((uint64_t)i * 611953 % count)));
    assert_int_equal(children_count(root), count);
    assert_int_equal(children_wire_bytes(root), count * 14);
    struct children_cursor c;
    children_cursor_init(&c, root);
    struct bytes got;
    for (uint32_t i = 0; i < count; i++) {
        struct bytes want = numbered(name, i);
        assert_true(children_cursor_next(&c, &got) && compare(got, want) == 0);
    }
    for (uint32_t i = 0; i < count; i += 2)
        root = removed(root, numbered(name, i));
    children_check(root);
    assert_int_equal(children_count(root), count / 2);
    assert_false(children_contains(root, numbered(name, 10)));
    assert_true(children_contains(root, numbered(name, 11)));
    children_free_all(root);
}

/* Goal: names up to a megabyte between small ones. Method: giant names first, last and between. */
static void a_megabyte_name_gets_a_leaf_of_its_own(void **state)
{
    (void)state;
    struct children *root = NULL;
    struct model m = {0};
    uint8_t small[32];
    for (uint32_t i = 0; i < 200; i++) {
        struct bytes n = numbered(small, i * 2);
        root = insert(root, n);
        bool found;
        model_insert(&m, model_place(&m, n, &found), n);
    }
    for (uint32_t i = 0; i < 6; i++) {
        struct bytes n = {name_buffer, (1u << 20) - 10 + i};
        memset(name_buffer, i % 3 == 0 ? '!' : i % 3 == 1 ? '~' : '0', n.size);
        if (i % 3 == 2)
            (void)numbered(name_buffer, 101 + i * 2);
        root = insert(root, n);
        bool found;
        model_insert(&m, model_place(&m, n, &found), n);
        assert_same(root, &m);
    }
    while (m.count) {
        root = removed(root, m.name[m.count / 2]);
        model_remove(&m, m.count / 2);
    }
    assert_null(root);
    model_free(&m);
}

/* Goal: errors change nothing. Method: remove what is not there. */
static void removing_an_absent_name_is_reported(void **state)
{
    (void)state;
    struct books b = {.made_count = 0};
    struct children_sink sink = {book_made, book_replaced, &b};
    struct children *out = NULL, *root = insert(NULL, BYTES_OF("b"));
    assert_int_equal(children_remove(NULL, BYTES_OF("a"), &sink, &out), -1);
    assert_int_equal(children_remove(root, BYTES_OF("a"), &sink, &out), -1);
    assert_int_equal(children_remove(root, BYTES_OF("bb"), &sink, &out), -1);
    assert_int_equal(b.made_count + b.replaced_count, 0);
    assert_int_equal(children_count(root), 1);
    children_free_all(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_inserts_and_removals_match_a_sorted_array),
        cmocka_unit_test(sequential_names_leave_full_leaves),
        cmocka_unit_test(a_thinned_out_tree_shrinks_with_its_names),
        cmocka_unit_test(a_million_names_in_one_directory),
        cmocka_unit_test(a_megabyte_name_gets_a_leaf_of_its_own),
        cmocka_unit_test(removing_an_absent_name_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
