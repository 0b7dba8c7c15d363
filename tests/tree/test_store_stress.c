/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Readers on their own threads against one writer: what a reader sees at V must be exactly the
 * state at V.
 *
 *   /g<i>        data: 8 bytes, the zxid of the last txn that changed the group
 *   /g<i>/x, /y  always made, changed and removed together; their data is the same 8 bytes, then
 *   filling (sometimes enough to
 *                be kept outside the version), and their ACL list names it too
 *   /fill/n<k>   k = 0, 1, 2, ...: a fixed number per txn, so that V says which must be there; the
 *   index doubles all the time
 *
 * The writer also aborts and rolls back, and pins the tree for a thread that walks it whole. It
 * retires a txn only when every reader has announced a V past it, as the control core does.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "client/wire/check.h"
#include "tree/key.h"
#include "tree/reader.h"
#include "tree/store.h"
#include "tree/tree.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define TXNS 1000
#else
#define TXNS 6300 /* times FILL_PER_TXN: 400 000 znodes */
#endif
#define FILL_PER_TXN 64
#define GROUPS 16
#define READERS 2
#define OUTSTANDING_MAX 512
#define BURST 32
#define PATH_BYTES 32
#define ACL_ID_AT (4 + 4 + 4 + 6 + 4) /* in the wire bytes of acl_for()'s lists */

struct stress {
    struct store *s;
    struct {
        alignas(64) _Atomic zxid_t drained;
        uint64_t reads, found;
    } reader[READERS];
    _Atomic bool stop;
    _Atomic zxid_t walk_at;    /* > 0: the walker has work */
    _Atomic uint64_t walk_nodes; /* what it must count */
    uint64_t walks;
};

static uint32_t rnd(uint64_t *state, uint32_t below)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*state >> 33) % below;
}

static struct bytes path_print(char *out, const char *format, unsigned a)
{
    int n = snprintf(out, PATH_BYTES, format, a);
    return (struct bytes){(uint8_t *)out, (uint32_t)n};
}

/** Every txn adds FILL_PER_TXN names; the first one is zxid 2. */
static uint32_t fill_at(zxid_t v)
{
    return v < 2 ? 0 : (uint32_t)(v - 1) * FILL_PER_TXN;
}

static const struct version *get(struct stress *t, zxid_t v, struct bytes path)
{
    return tree_get(t->s, tree_key_of(store_secret(t->s), path), v);
}

static void check_group(struct stress *t, zxid_t v, unsigned g)
{
    char p[3][PATH_BYTES];
    const struct version *parent = get(t, v, path_print(p[0], "/g%u", g));
    const struct version *x = get(t, v, path_print(p[1], "/g%u/x", g));
    const struct version *y = get(t, v, path_print(p[2], "/g%u/y", g));
    CHECK(parent && parent->vzxid <= v);
    CHECK(!x == !y);
    CHECK(version_num_children(parent) == (x ? 2 : 0));
    CHECK(children_count(parent->children) == (x ? 2 : 0));
    if (!x)
        return;
    struct bytes dx = version_data(x), dy = version_data(y), dp = version_data(parent);
    CHECK(dx.size == dy.size && memcmp(dx.data, dy.data, dx.size) == 0);
    CHECK(memcmp(dx.data, dp.data, 8) == 0);
    CHECK((zxid_t)be64_load(dx.data) <= v);
    for (uint32_t i = 8; i < dx.size; i++)
        CHECK(dx.data[i] == dx.data[7]);
    const struct acl_list *acl = acl_get(store_acls(t->s), x->acl);
    CHECK(acl->count == 1 && memcmp(acl->wire + ACL_ID_AT, dx.data, 8) == 0);
}

static void check_fill(struct stress *t, zxid_t v, uint64_t *seed)
{
    char p[BURST][PATH_BYTES];
    struct tree_key key[BURST];
    uint32_t k[BURST], filled = fill_at(v);
    for (int i = 0; i < BURST; i++) {
        k[i] = rnd(seed, filled + filled / 8 + 1);
        key[i] = tree_key_of(store_secret(t->s), path_print(p[i], "/fill/n%u", k[i]));
        index_prefetch(store_index(t->s), key[i]);
    }
    const struct version *candidate[BURST];
    for (int i = 0; i < BURST; i++)
        candidate[i] = index_candidate(store_index(t->s), key[i]);
    for (int i = 0; i < BURST; i++) {
        const struct version *n =
            version_at(index_confirm(store_index(t->s), key[i], candidate[i]), v);
        CHECK(!n == (k[i] >= filled));
        CHECK(!n || version_data(n).size == 0);
    }
    const struct version *dir = get(t, v, BYTES_OF("/fill"));
    CHECK(version_num_children(dir) == filled && children_count(dir->children) == filled);
    uint32_t i = rnd(seed, filled + 1);
    char name[PATH_BYTES];
    CHECK(children_contains(dir->children, path_print(name, "n%u", i)) == (i < filled));
}

struct reader_arg {
    struct stress *t;
    int id;
};

static void *reader_main(void *arg)
{
    struct reader_arg *a = arg;
    struct stress *t = a->t;
    uint64_t seed = (uint64_t)a->id + 77;
    zxid_t last = 0;
    reader_register();
    while (!atomic_load_explicit(&t->stop, memory_order_acquire)) {
        zxid_t v = store_visible(t->s);
        CHECK(v >= last);
        last = v;
        /* as a core after it has drained its ring: from here on it reads at v only */
        atomic_store_explicit(&t->reader[a->id].drained, v, memory_order_release);
        for (int i = 0; i < 4; i++)
            check_group(t, v, rnd(&seed, GROUPS));
        check_fill(t, v, &seed);
        t->reader[a->id].reads++;
        reader_quiescent();
        if (rnd(&seed, 64) == 0) {
            reader_offline();
            sched_yield();
            reader_online();
        }
    }
    reader_unregister();
    return NULL;
}

/** Walks the whole tree at a pinned zxid. Not an RCU reader: the pin alone must hold everything. */
static void *walker_main(void *arg)
{
    struct stress *t = arg;
    while (!atomic_load_explicit(&t->stop, memory_order_acquire)) {
        zxid_t v = atomic_load_explicit(&t->walk_at, memory_order_acquire);
        if (v == 0) {
            sched_yield();
            continue;
        }
        struct store_walk *w = store_walk_begin(t->s, BYTES_OF("/"), v);
        struct bytes path;
        const struct version *n;
        uint64_t count = 0;
        while (store_walk_next(w, &path, &n)) {
            CHECK(n->vzxid <= v);
            count++;
        }
        store_walk_end(w);
        CHECK(count == atomic_load_explicit(&t->walk_nodes, memory_order_relaxed));
        for (unsigned g = 0; g < GROUPS; g++)
            check_group(t, v, g);
        t->walks++;
        atomic_store_explicit(&t->walk_at, 0, memory_order_release);
    }
    return NULL;
}

/* --- the writer --- */

struct writer {
    struct stress *t;
    uint64_t seed;
    zxid_t zxid;
    bool present[GROUPS];
    struct tree_txn *out[OUTSTANDING_MAX]; /* ring of shown txns, each with its zxid */
    zxid_t out_zxid[OUTSTANDING_MAX];
    uint32_t out_first, out_count;
    uint64_t nodes_visible;
    bool pinned;
};

/** A list that only this txn uses: ids are freed and given out again all the time. */
static uint32_t acl_for(struct store *s, uint64_t value)
{
    uint8_t wire[64], id_bytes[8];
    struct jute_writer w = jute_writer_of(wire, sizeof wire);
    be64_store(id_bytes, value);
    jute_write_int(&w, 1);
    jute_write_int(&w, PERM_ALL);
    jute_write_bytes(&w, BYTES_OF("digest"));
    jute_write_bytes(&w, (struct bytes){id_bytes, sizeof id_bytes});
    uint32_t id;
    CHECK(acl_intern(store_acls(s), (struct bytes){wire, (uint32_t)jute_written(&w)}, &id) == 0);
    return id;
}

static void add(struct writer *w, struct bytes path, struct bytes data, uint32_t acl)
{
    struct store_node n = {.path = path, .data = data, .acl = acl};
    n.stat.czxid = n.stat.mzxid = n.stat.pzxid = w->zxid;
    CHECK(store_add(w->t->s, &n, (int32_t)w->zxid) == 0);
}

static void change_group(struct writer *w, unsigned g)
{
    uint8_t data[1024];
    uint32_t size = rnd(&w->seed, 4) ? 8 + rnd(&w->seed, 40) : 600;
    be64_store(data, (uint64_t)w->zxid);
    memset(data + 8, data[7], sizeof data - 8);
    struct bytes d = {data, size};
    char p[3][PATH_BYTES];
    struct bytes parent = path_print(p[0], "/g%u", g), x = path_print(p[1], "/g%u/x", g),
                 y = path_print(p[2], "/g%u/y", g);
    struct store *s = w->t->s;
    CHECK(store_set_data(s, parent, store_key(s, parent), (struct bytes){data, 8}, 0, w->zxid,
                         0) == 0);
    bool remove = w->present[g] && rnd(&w->seed, 2);
    if (remove) {
        CHECK(store_remove(s, x) == 0 && store_remove(s, y) == 0);
        w->present[g] = false;
    }
    if (w->present[g]) {
        CHECK(store_set_data(s, x, store_key(s, x), d, 1, w->zxid, 0) == 0 &&
              store_set_data(s, y, store_key(s, y), d, 1, w->zxid, 0) == 0);
        CHECK(store_set_acl(s, x, acl_for(s, (uint64_t)w->zxid), 1) == 0);
        CHECK(store_set_acl(s, y, acl_for(s, (uint64_t)w->zxid), 1) == 0);
    } else if (!remove || rnd(&w->seed, 3) == 0) {
        add(w, x, d, acl_for(s, (uint64_t)w->zxid));
        add(w, y, d, acl_for(s, (uint64_t)w->zxid));
        w->present[g] = true;
    }
}

static void txn_body(struct writer *w)
{
    char p[PATH_BYTES];
    CHECK(store_begin(w->t->s, w->zxid) == 0);
    for (uint32_t k = fill_at(w->zxid) - FILL_PER_TXN; k < fill_at(w->zxid); k++)
        add(w, path_print(p, "/fill/n%u", k), BYTES_OF(""), 0);
    unsigned g = rnd(&w->seed, GROUPS);
    change_group(w, g);
    change_group(w, rnd(&w->seed, 2) ? g : rnd(&w->seed, GROUPS));
}

static void retire_drained(struct writer *w)
{
    zxid_t drained = INT64_MAX;
    for (int r = 0; r < READERS; r++) {
        zxid_t d = atomic_load_explicit(&w->t->reader[r].drained, memory_order_acquire);
        drained = d < drained ? d : drained;
    }
    while (w->out_count && w->out_zxid[w->out_first] <= drained) {
        store_retire(w->t->s, &w->out[w->out_first]);
        w->out_first = (w->out_first + 1) % OUTSTANDING_MAX;
        w->out_count--;
    }
}

static void show(struct writer *w)
{
    struct tree_txn *txns = store_commit(w->t->s, w->zxid);
    CHECK(txns);
    while (retire_drained(w), w->out_count == OUTSTANDING_MAX)
        sched_yield();
    for (struct tree_txn *txn = txns; txn; txn = txn->next)
        w->nodes_visible = txn->counters.nodes;
    store_show(w->t->s, w->zxid);
    uint32_t at = (w->out_first + w->out_count++) % OUTSTANDING_MAX;
    w->out[at] = txns;
    w->out_zxid[at] = w->zxid;
}

/** Build txns only to undo them, while readers look. */
static void txn_undone(struct writer *w)
{
    bool present[GROUPS];
    memcpy(present, w->present, sizeof present);
    zxid_t start = w->zxid;
    uint32_t count = 1 + rnd(&w->seed, 3);
    for (uint32_t i = 0; i < count; i++) {
        w->zxid = start + i;
        txn_body(w);
        if (i + 1 < count || rnd(&w->seed, 2))
            (void)store_end(w->t->s);
        else
            store_abort(w->t->s);
    }
    store_rollback(w->t->s, start - 1);
    w->zxid = start;
    memcpy(w->present, present, sizeof present);
}

static void pin_sometimes(struct writer *w)
{
    struct stress *t = w->t;
    if (w->pinned && atomic_load_explicit(&t->walk_at, memory_order_acquire) == 0) {
        store_unpin(t->s);
        w->pinned = false;
    } else if (!w->pinned && rnd(&w->seed, 40) == 0) {
        atomic_store_explicit(&t->walk_nodes, w->nodes_visible, memory_order_relaxed);
        atomic_store_explicit(&t->walk_at, store_pin(t->s), memory_order_release);
        w->pinned = true;
    }
}

static void writer_run(struct writer *w)
{
    char p[PATH_BYTES];
    CHECK(store_begin(w->t->s, 1) == 0);
    w->zxid = 1;
    add(w, BYTES_OF("/fill"), BYTES_OF(""), 0);
    for (unsigned g = 0; g < GROUPS; g++)
        add(w, path_print(p, "/g%u", g), BYTES_OF("\0\0\0\0\0\0\0\0"), 0);
    (void)store_end(w->t->s);
    show(w);
}

static void readers_see_exactly_the_state_at_v(void **state)
{
    (void)state;
    struct stress *t = aligned_alloc(64, sizeof *t);
    memset(t, 0, sizeof *t);
    struct store_config config = {.digest_enabled = false};
    t->s = store_create_empty(&config);
    struct writer w = {.t = t, .seed = 5};
    writer_run(&w);
    pthread_t thread[READERS], walker;
    struct reader_arg arg[READERS];
    for (int i = 0; i < READERS; i++) {
        arg[i] = (struct reader_arg){t, i};
        assert_int_equal(pthread_create(&thread[i], NULL, reader_main, &arg[i]), 0);
    }
    assert_int_equal(pthread_create(&walker, NULL, walker_main, t), 0);
    for (int i = 0; i < TXNS; i++) {
        w.zxid++;
        if (rnd(&w.seed, 8) == 0)
            txn_undone(&w);
        txn_body(&w);
        (void)store_end(t->s);
        show(&w);
        pin_sometimes(&w);
    }
    while (w.pinned)
        sched_yield(), pin_sometimes(&w);
    while (retire_drained(&w), w.out_count)
        sched_yield();
    atomic_store_explicit(&t->stop, true, memory_order_release);
    for (int i = 0; i < READERS; i++) {
        pthread_join(thread[i], NULL);
        print_message("reader %d: %lu bursts\n", i, (unsigned long)t->reader[i].reads);
        assert_true(t->reader[i].reads > 0);
    }
    pthread_join(walker, NULL);
    print_message("%lu walks, %lu znodes\n", (unsigned long)t->walks,
                  (unsigned long)store_counters(t->s)->nodes);
    assert_true(t->walks > 0);
    store_check(t->s);
    store_destroy(t->s);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_exactly_the_state_at_v),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
