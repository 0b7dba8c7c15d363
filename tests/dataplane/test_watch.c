/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The watch tables against semantics.md section 12: its examples, limits, and a naive model under
 * random steps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/watch.h"

#define OWNERS 12

struct event {
    unsigned owner;
    enum watch_event_type type;
    uint32_t acl;
    char path[64];
};

/* What deliver was told since the last look. */
static struct {
    struct event events[OWNERS * 2];
    unsigned count;
} heard;
static struct watch_owner owners[OWNERS];
static struct watch_table *table;

static void hear(void *ctx, struct watch_owner *owner, enum watch_event_type type,
                 struct bytes path, uint32_t acl)
{
    assert_ptr_equal(ctx, &heard);
    assert_true(heard.count < OWNERS * 2 && path.size < sizeof(heard.events[0].path));
    struct event *e = &heard.events[heard.count++];
    *e = (struct event){.owner = (unsigned)(owner - owners), .type = type, .acl = acl};
    memcpy(e->path, path.data, path.size);
}

static struct bytes bytes_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

/* Stands for store_key(): "" and "/" are the same znode. */
static struct tree_key key_of(const char *path)
{
    struct tree_key key = {14695981039346656037u, 7};
    for (const char *p = *path ? path : "/"; *p; p++) {
        key.lo = (key.lo ^ (uint8_t)*p) * 1099511628211u;
        key.hi = key.hi * 31 + (uint8_t)*p;
    }
    return key;
}

static void parent_of(const char *path, char *parent)
{
    size_t size = (size_t)(strrchr(path, '/') - path);
    memcpy(parent, path, size ? size : 1);
    parent[size ? size : 1] = 0;
}

/* ACL ids 100 for the znode and 200 for its parent, to see which is asked for. */
static void fire(enum change_kind kind, const char *path)
{
    char parent[64];
    parent_of(path, parent);
    struct tree_change change = {
        .kind = kind, .acl = 100, .parent_acl = 200, .path = (const uint8_t *)path,
        .path_size = (uint32_t)strlen(path), .parent_size = (uint32_t)strlen(parent),
        .key = key_of(path), .parent_key = key_of(parent)};
    heard.count = 0;
    watch_fire(table, &change, hear, &heard);
}

static void add(unsigned owner, const char *path, unsigned modes)
{
    assert_int_equal(watch_add(table, &owners[owner], key_of(path), bytes_of(path), modes), 0);
}

static int check(unsigned owner, const char *path, int type)
{
    return watch_check(table, &owners[owner], key_of(path), bytes_of(path), type);
}

static int drop(unsigned owner, const char *path, int type)
{
    return watch_remove(table, &owners[owner], key_of(path), bytes_of(path), type);
}

static void assert_event(unsigned at, enum watch_event_type type, const char *path, uint32_t acl)
{
    assert_true(at < heard.count);
    assert_int_equal(heard.events[at].type, type);
    assert_string_equal(heard.events[at].path, path);
    assert_int_equal(heard.events[at].acl, acl);
}

static int set_up(void **state)
{
    (void)state;
    memset(owners, 0, sizeof(owners));
    memset(&heard, 0, sizeof(heard));
    table = watch_table_create(NULL);
    return table ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < OWNERS; i++)
        watch_owner_clear(table, &owners[i]);
    watch_check_all(table);
    const struct watch_counters *c = watch_counters(table);
    int left =
        c->watches || c->paths || c->bytes || c->owners || c->data_watches || c->child_watches;
    watch_table_destroy(table);
    return left;
}

/* The examples of semantics.md 12.4, one test each, one connection. */
static void deleting_a_watched_child_of_a_watched_parent_gives_two_events(void **state)
{
    (void)state;
    add(0, "/w/x", WATCH_DATA | WATCH_CHILD);
    add(0, "/w", WATCH_CHILD);
    fire(CHANGE_DELETED, "/w/x");
    assert_int_equal(heard.count, 2);
    assert_event(0, EVENT_NODE_DELETED, "/w/x", 100);
    assert_event(1, EVENT_NODE_CHILDREN_CHANGED, "/w", 200);
    assert_int_equal(watch_counters(table)->watches, 0);
}

static void
persistent_and_recursive_on_a_parent_hear_of_a_creation_and_of_the_children(void **state)
{
    (void)state;
    add(0, "/w", WATCH_PERSISTENT);
    add(0, "/w", WATCH_RECURSIVE);
    for (int turn = 0; turn < 2; turn++) {
        fire(CHANGE_CREATED, "/w/r");
        assert_int_equal(heard.count, 2);
        assert_event(0, EVENT_NODE_CREATED, "/w/r", 100);
        assert_event(1, EVENT_NODE_CHILDREN_CHANGED, "/w", 200);
    }
}

static void a_deletion_uses_up_both_one_shot_watches_and_spares_the_persistent_one(void **state)
{
    (void)state;
    add(0, "/p", WATCH_PERSISTENT);
    add(0, "/p", WATCH_DATA);
    add(0, "/p", WATCH_CHILD);
    fire(CHANGE_DELETED, "/p");
    assert_int_equal(heard.count, 1);
    assert_event(0, EVENT_NODE_DELETED, "/p", 100);
    assert_int_equal(check(0, "/p", WATCH_TYPE_DATA), ZK_NOWATCHER);
    assert_int_equal(check(0, "/p", WATCH_TYPE_CHILDREN), ZK_NOWATCHER);
    fire(CHANGE_CREATED, "/p");
    assert_int_equal(heard.count, 1);
    assert_event(0, EVENT_NODE_CREATED, "/p", 100);
}

static void all_modes_on_one_path_give_one_event(void **state)
{
    (void)state;
    add(0, "/w", WATCH_DATA);
    add(0, "/w", WATCH_PERSISTENT);
    add(0, "/w", WATCH_RECURSIVE);
    fire(CHANGE_DATA, "/w");
    assert_int_equal(heard.count, 1);
    assert_event(0, EVENT_NODE_DATA_CHANGED, "/w", 100);
    assert_int_equal(check(0, "/w", WATCH_TYPE_DATA), ZK_NOWATCHER);
    assert_int_equal(check(0, "/w", WATCH_TYPE_PERSISTENT), 0);
    assert_int_equal(check(0, "/w", WATCH_TYPE_PERSISTENT_RECURSIVE), 0);
}

static void a_multi_fires_change_by_change(void **state)
{
    (void)state;
    add(0, "/w", WATCH_DATA | WATCH_CHILD);
    add(0, "/w/m1", WATCH_DATA);
    fire(CHANGE_CREATED, "/w/m1");
    assert_int_equal(heard.count, 2);
    assert_event(0, EVENT_NODE_CREATED, "/w/m1", 100);
    assert_event(1, EVENT_NODE_CHILDREN_CHANGED, "/w", 200);
    fire(CHANGE_DATA, "/w");
    assert_int_equal(heard.count, 1);
    assert_event(0, EVENT_NODE_DATA_CHANGED, "/w", 100);
    fire(CHANGE_CREATED, "/w/m2");
    assert_int_equal(heard.count, 0);
}

static void recursive_watches_hear_of_every_descendant_but_not_of_child_lists(void **state)
{
    (void)state;
    add(0, "/", WATCH_RECURSIVE);
    add(1, "/a", WATCH_RECURSIVE);
    add(2, "/a/b", WATCH_RECURSIVE);
    add(3, "/ab", WATCH_RECURSIVE);
    fire(CHANGE_CREATED, "/a/b/c");
    assert_int_equal(heard.count, 3);
    for (unsigned i = 0; i < heard.count; i++)
        assert_event(i, EVENT_NODE_CREATED, "/a/b/c", 100);
    fire(CHANGE_DATA, "/a");
    assert_int_equal(heard.count, 2);
    fire(CHANGE_DATA, "/");
    assert_int_equal(heard.count, 1);
    assert_int_equal(heard.events[0].owner, 0);
}

/*
 * Goal: one event though a recursive watch matches above and the one-shot child watch below; both
 * tables consulted.
 */
static void a_recursive_ancestor_and_a_child_watch_share_one_deletion_event(void **state)
{
    (void)state;
    add(0, "/a", WATCH_RECURSIVE);
    add(0, "/a/b", WATCH_CHILD);
    add(1, "/a/b", WATCH_CHILD);
    fire(CHANGE_DELETED, "/a/b");
    assert_int_equal(heard.count, 2);
    assert_int_not_equal(heard.events[0].owner, heard.events[1].owner);
    assert_int_equal(check(0, "/a/b", WATCH_TYPE_ANY), ZK_NOWATCHER);
}

static void a_watch_on_the_empty_path_never_fires(void **state)
{
    (void)state;
    add(0, "", WATCH_DATA | WATCH_CHILD | WATCH_RECURSIVE);
    fire(CHANGE_CREATED, "/a");
    assert_int_equal(heard.count, 0);
    fire(CHANGE_DATA, "/");
    assert_int_equal(heard.count, 0);
    add(0, "/", WATCH_CHILD);
    fire(CHANGE_CREATED, "/a");
    assert_int_equal(heard.count, 1);
    assert_event(0, EVENT_NODE_CHILDREN_CHANGED, "/", 200);
}

/* semantics.md 12.6. */
static void removing_by_type_takes_just_that_type(void **state)
{
    (void)state;
    add(0, "/a", WATCH_DATA | WATCH_CHILD | WATCH_PERSISTENT | WATCH_RECURSIVE);
    add(1, "/a", WATCH_DATA);
    assert_int_equal(drop(0, "/a", 0), ZK_MARSHALLINGERROR);
    assert_int_equal(drop(0, "/a", 6), ZK_MARSHALLINGERROR);
    assert_int_equal(drop(0, "/b", WATCH_TYPE_ANY), ZK_NOWATCHER);
    assert_int_equal(drop(2, "/a", WATCH_TYPE_ANY), ZK_NOWATCHER);
    assert_int_equal(watch_remove(table, &owners[0], key_of(""), BYTES_NULL, WATCH_TYPE_ANY),
                     ZK_NOWATCHER);
    for (int type = WATCH_TYPE_CHILDREN; type <= WATCH_TYPE_PERSISTENT_RECURSIVE; type++) {
        if (type == WATCH_TYPE_ANY)
            continue;
        assert_int_equal(check(0, "/a", type), 0);
        assert_int_equal(drop(0, "/a", type), 0);
        assert_int_equal(drop(0, "/a", type), ZK_NOWATCHER);
    }
    assert_int_equal(check(0, "/a", WATCH_TYPE_ANY), ZK_NOWATCHER);
    add(1, "/a", WATCH_PERSISTENT | WATCH_CHILD);
    assert_int_equal(drop(1, "/a", WATCH_TYPE_ANY), 0);
    assert_int_equal(watch_counters(table)->watches, 0);
}

static void limits_refuse_and_leave_everything_as_it_was(void **state)
{
    (void)state;
    struct watch_limits limits = {.watches_max = 6, .watches_per_owner_max = 4, .bytes_max = 2000};
    struct watch_table *small = watch_table_create(&limits);
    char path[2048];
    for (int i = 0; i < 10; i++) {
        snprintf(path, sizeof(path), "/n%d", i);
        int error =
            watch_add(small, &owners[i < 5 ? 0 : 1], key_of(path), bytes_of(path), WATCH_DATA);
        assert_int_equal(error, i < 4 || i == 5 || i == 6 ? 0 : -1);
        watch_check_all(small);
    }
    /* Another mode of a watch that exists needs no room. */
    assert_int_equal(watch_add(small, &owners[0], key_of("/n1"), bytes_of("/n1"), WATCH_CHILD), 0);
    watch_owner_clear(small, &owners[0]);
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[sizeof(path) - 1] = 0;
    assert_int_equal(watch_add(small, &owners[0], key_of(path), bytes_of(path), WATCH_RECURSIVE),
                     -1);
    assert_int_equal(watch_counters(small)->watches, 2);
    assert_int_equal(watch_counters(small)->refused, 5);
    watch_check_all(small);
    watch_owner_clear(small, &owners[1]);
    watch_table_destroy(small);
}

/* Goal: 50 000 watchers of one path are told once each and cost nothing afterwards; the hash tables
 * have grown past their first chunk meanwhile. */
static unsigned flood_count;

static void flood_hear(void *ctx, struct watch_owner *owner, enum watch_event_type type,
                       struct bytes path, uint32_t acl)
{
    (void)path, (void)acl;
    assert_int_equal(type, EVENT_NODE_DATA_CHANGED);
    assert_true(owner >= (struct watch_owner *)ctx);
    flood_count++;
}

static void a_flood_of_watchers_is_told_once_each(void **state)
{
    (void)state;
    enum { MANY = 50000 };
    struct watch_owner *many = calloc(MANY, sizeof(*many));
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(watch_add(table, &many[i], key_of("/hot"), bytes_of("/hot"), WATCH_DATA),
                         0);
        char path[32];
        snprintf(path, sizeof(path), "/own/%d", i);
        assert_int_equal(watch_add(table, &many[i], key_of(path), bytes_of(path), WATCH_PERSISTENT),
                         0);
    }
    watch_check_all(table);
    struct tree_change change = {.kind = CHANGE_DATA,
                                 .path = (const uint8_t *)"/hot",
                                 .path_size = 4,
                                 .parent_size = 1,
                                 .key = key_of("/hot"),
                                 .parent_key = key_of("/")};
    flood_count = 0;
    watch_fire(table, &change, flood_hear, many);
    assert_int_equal(flood_count, MANY);
    watch_fire(table, &change, flood_hear, many);
    assert_int_equal(flood_count, MANY);
    assert_int_equal(watch_counters(table)->watches, MANY);
    watch_check_all(table);
    for (int i = 0; i < MANY; i++)
        watch_owner_clear(table, &many[i]);
    watch_check_all(table);
    free(many);
}

/* --- the naive model: modes[owner][path], and semantics.md 12.2 and 12.3 word for word --- */

static const char *const universe[] = {
    "/",        "",     "/a",     "/b",     "/ab",  "/a/b",   "/a/bc",    "/a/b/c",
    "/a/b/c/d", "/b/a", "/b/a/c", "/c",     "/c/c", "/c/c/c", "/c/c/c/c", "/c/c/c/c/c",
    "/d",       "/d/e", "/d/ef",  "/d/e/f", "/a/x", "/a/y",   "/a/z",     "/zookeeper"};
#define PATHS (sizeof(universe) / sizeof(universe[0]))
static unsigned modes[OWNERS][PATHS];
static bool collected[OWNERS];
static struct event expected[OWNERS * 2];
static unsigned expected_count;

static bool is_ancestor(const char *ancestor, const char *path)
{
    size_t size = strlen(ancestor);
    if (strcmp(ancestor, "/") == 0)
        return path[1] != 0;
    return size > 0 && strncmp(ancestor, path, size) == 0 && path[size] == '/';
}

static void model_trigger(bool data_table, const char *path, enum watch_event_type type,
                          uint32_t acl, const bool *skip)
{
    unsigned once = data_table ? WATCH_DATA : WATCH_CHILD;
    for (unsigned o = 0; o < OWNERS; o++) {
        bool hit = false;
        for (unsigned p = 0; p < PATHS; p++) {
            unsigned *m = &modes[o][p];
            if (strcmp(universe[p], path) == 0 &&
                (*m & (once | WATCH_PERSISTENT | (data_table ? WATCH_RECURSIVE : 0)))) {
                hit = true;
                *m &= ~once;
            }
            if (data_table && (*m & WATCH_RECURSIVE) && is_ancestor(universe[p], path))
                hit = true;
        }
        collected[o] = hit || (skip && skip[o]);
        if (hit && !(skip && skip[o])) {
            struct event *e = &expected[expected_count++];
            *e = (struct event){.owner = o, .type = type, .acl = acl};
            memcpy(e->path, path, strlen(path) + 1);
        }
    }
}

static void model_fire(enum change_kind kind, const char *path)
{
    char parent[64];
    parent_of(path, parent);
    expected_count = 0;
    memset(expected, 0, sizeof(expected));
    memset(collected, 0, sizeof(collected));
    if (kind == CHANGE_DATA) {
        model_trigger(true, path, EVENT_NODE_DATA_CHANGED, 100, NULL);
        return;
    }
    model_trigger(true, path, kind == CHANGE_CREATED ? EVENT_NODE_CREATED : EVENT_NODE_DELETED, 100,
                  NULL);
    if (kind == CHANGE_DELETED) {
        bool first[OWNERS];
        memcpy(first, collected, sizeof(first));
        model_trigger(false, path, EVENT_NODE_DELETED, 100, first);
    }
    model_trigger(false, parent, EVENT_NODE_CHILDREN_CHANGED, 200, NULL);
}

/*
 * By step (the changed path's events come first), then by owner: order among connections is not
 * specified.
 */
static int event_compare(const void *a, const void *b)
{
    const struct event *x = a, *y = b;
    bool late_x = x->type == EVENT_NODE_CHILDREN_CHANGED,
         late_y = y->type == EVENT_NODE_CHILDREN_CHANGED;
    return late_x != late_y ? late_x - late_y : (int)x->owner - (int)y->owner;
}

static void compare_events(void)
{
    assert_int_equal(heard.count, expected_count);
    for (unsigned i = 1; i < heard.count; i++)
        assert_false(heard.events[i - 1].type == EVENT_NODE_CHILDREN_CHANGED &&
                     heard.events[i].type != EVENT_NODE_CHILDREN_CHANGED);
    qsort(heard.events, heard.count, sizeof(struct event), event_compare);
    qsort(expected, expected_count, sizeof(struct event), event_compare);
    assert_memory_equal(heard.events, expected, heard.count * sizeof(struct event));
}

static void compare_counters(void)
{
    unsigned watches = 0, data = 0, child = 0, data_owners = 0, data_paths = 0;
    bool path_has[PATHS] = {false};
    for (unsigned o = 0; o < OWNERS; o++) {
        unsigned own = 0;
        for (unsigned p = 0; p < PATHS; p++) {
            bool in_data = modes[o][p] & (WATCH_DATA | WATCH_PERSISTENT | WATCH_RECURSIVE);
            watches += modes[o][p] != 0;
            own += in_data;
            child += !!(modes[o][p] & (WATCH_CHILD | WATCH_PERSISTENT));
            path_has[p] |= in_data;
        }
        data += own;
        data_owners += own > 0;
        assert_int_equal(owners[o].data_watches, own);
    }
    for (unsigned p = 0; p < PATHS; p++)
        data_paths += path_has[p];
    const struct watch_counters *c = watch_counters(table);
    assert_int_equal(c->watches, watches);
    assert_int_equal(c->data_watches, data);
    assert_int_equal(c->child_watches, child);
    assert_int_equal(c->data_owners, data_owners);
    assert_int_equal(c->data_paths, data_paths);
}

static unsigned type_mask(int type)
{
    static const unsigned masks[] = {0,  WATCH_CHILD,      WATCH_DATA,
                                     15, WATCH_PERSISTENT, WATCH_RECURSIVE};
    return masks[type];
}

static uint64_t seed = 20260;

static unsigned draw(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static void step_remove(unsigned o, unsigned p)
{
    int type = 1 + (int)draw(5);
    int want = modes[o][p] & type_mask(type) ? 0 : ZK_NOWATCHER;
    assert_int_equal(check(o, universe[p], type), want);
    assert_int_equal(drop(o, universe[p], type), want);
    modes[o][p] &= ~type_mask(type);
}

static void step_fire(void)
{
    unsigned p = draw(PATHS);
    if (universe[p][0] == 0)
        return;
    /* The root is never created or deleted. */
    enum change_kind kind = p == 0 ? CHANGE_DATA : (enum change_kind)draw(3);
    fire(kind, universe[p]);
    model_fire(kind, universe[p]);
    compare_events();
}

static void random_steps_agree_with_the_naive_model(void **state)
{
    (void)state;
    memset(modes, 0, sizeof(modes));
    for (unsigned step = 0; step < 1200000; step++) {
        unsigned o = draw(OWNERS), p = draw(PATHS), what = draw(100);
        if (what < 55) {
            unsigned m = 1 + draw(15);
            if (m & WATCH_RECURSIVE && draw(4))
                m = WATCH_DATA;
            add(o, universe[p], m);
            modes[o][p] |= m;
        } else if (what < 75) {
            step_remove(o, p);
        } else if (what < 99) {
            step_fire();
        } else {
            watch_owner_clear(table, &owners[o]);
            memset(modes[o], 0, sizeof(modes[o]));
        }
        if (step % 97 == 0) {
            compare_counters();
            watch_check_all(table);
        }
    }
}

/* --- the walks behind wchc and wchp --- */

#define WALK_BYTES 64

static void visit_path(void *ctx, struct bytes path)
{
    char *text = ctx;
    size_t size = strlen(text);
    snprintf(text + size, WALK_BYTES - size, "%.*s ", (int)path.size, (const char *)path.data);
}

static void visit_pair(void *ctx, struct bytes path, const struct watch_owner *owner)
{
    (void)path;
    (*(unsigned *)ctx) |= 1u << (owner - owners);
}

static void walks_show_the_data_table_only(void **state)
{
    (void)state;
    add(0, "/d", WATCH_DATA);
    add(0, "/c", WATCH_CHILD);
    add(1, "/c", WATCH_CHILD);
    add(2, "/r", WATCH_RECURSIVE);
    char text[WALK_BYTES] = "";
    unsigned seen = 0;
    for (struct watch_owner *o = watch_owner_first(table); o; o = watch_owner_next(o), seen++)
        watch_owner_paths(table, o, visit_path, text);
    assert_int_equal(seen, 3);
    assert_true(strcmp(text, "/d /r ") == 0 || strcmp(text, "/r /d ") == 0);
    unsigned mask = 0;
    watch_path_owners(table, visit_pair, &mask);
    assert_int_equal(mask, 1u << 0 | 1u << 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(deleting_a_watched_child_of_a_watched_parent_gives_two_events),
        TEST(persistent_and_recursive_on_a_parent_hear_of_a_creation_and_of_the_children),
        TEST(a_deletion_uses_up_both_one_shot_watches_and_spares_the_persistent_one),
        TEST(all_modes_on_one_path_give_one_event),
        TEST(a_multi_fires_change_by_change),
        TEST(recursive_watches_hear_of_every_descendant_but_not_of_child_lists),
        TEST(a_recursive_ancestor_and_a_child_watch_share_one_deletion_event),
        TEST(a_watch_on_the_empty_path_never_fires),
        TEST(removing_by_type_takes_just_that_type),
        TEST(limits_refuse_and_leave_everything_as_it_was),
        TEST(a_flood_of_watchers_is_told_once_each),
        TEST(random_steps_agree_with_the_naive_model),
        TEST(walks_show_the_data_table_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
