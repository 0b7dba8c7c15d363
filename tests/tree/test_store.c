/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The store against a model: a flat array of znodes, copied whole at each zxid that the test wants
 * to look back at.
 *
 * Random txns (create, remove, setData, setACL, quiet data, parent touches; several to a txn, often
 * on the same znode) are aborted, ended, committed, shown, rolled back and retired at random; after
 * each step the newest state, the visible state and every pending zxid are compared with the model,
 * and store_check() runs.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <zlib.h>

#include <cmocka.h>

#include "client/wire/check.h"
#include "tree/key.h"
#include "tree/reader.h"
#include "tree/store.h"
#include "tree/tree.h"

static uint64_t seed_state;

static uint32_t rnd(uint32_t below)
{
    seed_state += 0x9e3779b97f4a7c15ull;
    uint64_t z = seed_state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (uint32_t)((z ^ (z >> 31)) % below);
}

static struct bytes text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, (uint32_t)strlen(s)};
}

/* --- the model --- */

#define PATH_MAX_TEST 48
#define NODES_MAX 96
#define STATES_MAX 64

struct model_node {
    char path[PATH_MAX_TEST]; /* "/" is the root */
    bool null_data;
    uint32_t data_size;
    uint8_t data_fill; /* every byte of the data */
    uint32_t acl;
    struct stat_persisted stat;
};

struct model {
    zxid_t zxid;
    int count;
    struct model_node node[NODES_MAX];
};

struct model_history {
    int count;
    struct model state[STATES_MAX]; /* ascending zxid; the last one is the newest */
};

static struct model_node *model_find(struct model *m, const char *path)
{
    for (int i = 0; i < m->count; i++)
        if (strcmp(m->node[i].path, path) == 0)
            return &m->node[i];
    return NULL;
}

static void parent_of(const char *path, char *out)
{
    size_t n = (size_t)(strrchr(path, '/') - path);
    memcpy(out, path, n ? n : 1);
    out[n ? n : 1] = 0;
}

static int model_children(const struct model *m, const char *path)
{
    int n = 0;
    for (int i = 0; i < m->count; i++) {
        char parent[PATH_MAX_TEST];
        if (strcmp(m->node[i].path, "/") == 0)
            continue;
        parent_of(m->node[i].path, parent);
        n += strcmp(parent, path) == 0;
    }
    return n;
}

static uint64_t model_digest(const struct model *m)
{
    uint64_t sum = 0;
    for (int i = 0; i < m->count; i++) {
        const struct model_node *n = &m->node[i];
        if (strncmp(n->path, "/zookeeper/", 11) == 0)
            continue;
        uint8_t b[2048];
        size_t size = 0;
        if (strcmp(n->path, "/") != 0) {
            memcpy(b, n->path, strlen(n->path));
            size = strlen(n->path);
        }
        memset(b + size, n->data_fill, n->data_size);
        size += n->data_size;
        const int64_t longs[5] = {n->stat.czxid, n->stat.mzxid, n->stat.pzxid, n->stat.ctime,
                                  n->stat.mtime};
        const int32_t ints[3] = {n->stat.version, n->stat.cversion, n->stat.aversion};
        for (int k = 0; k < 5; k++, size += 8)
            be64_store(b + size, (uint64_t)longs[k]);
        for (int k = 0; k < 3; k++, size += 4)
            be32_store(b + size, (uint32_t)ints[k]);
        be64_store(b + size, (uint64_t)n->stat.ephemeral_owner);
        sum += (uint32_t)crc32(0, b, (uInt)size + 8);
    }
    return sum;
}

static struct tree_counters model_counters(const struct model *m)
{
    struct tree_counters c = {.digest = model_digest(m)};
    for (int i = 0; i < m->count; i++) {
        int64_t owner = m->node[i].stat.ephemeral_owner;
        c.nodes++;
        c.ephemerals +=
            owner != 0 && owner != OWNER_CONTAINER && (owner & OWNER_TTL_MASK) != OWNER_TTL_MASK;
        c.data_bytes += strlen(m->node[i].path) + m->node[i].data_size;
    }
    return c;
}

/* --- comparing --- */

static void assert_node(const struct model *m, const struct model_node *n, const struct version *v)
{
    assert_non_null(v);
    assert_int_equal((int64_t)be64_load(v->stat + STAT_CZXID), n->stat.czxid);
    assert_int_equal((int64_t)be64_load(v->stat + STAT_MZXID), n->stat.mzxid);
    assert_int_equal((int64_t)be64_load(v->stat + STAT_PZXID), n->stat.pzxid);
    assert_int_equal((int64_t)be64_load(v->stat + STAT_CTIME), n->stat.ctime);
    assert_int_equal((int64_t)be64_load(v->stat + STAT_MTIME), n->stat.mtime);
    assert_int_equal((int32_t)be32_load(v->stat + STAT_VERSION), n->stat.version);
    assert_int_equal((int32_t)be32_load(v->stat + STAT_AVERSION), n->stat.aversion);
    assert_int_equal(v->cversion, n->stat.cversion);
    int kids = model_children(m, n->path);
    assert_int_equal(version_num_children(v), kids);
    assert_int_equal((int32_t)be32_load(v->stat + STAT_CVERSION), 2 * n->stat.cversion - kids);
    assert_int_equal(version_owner_raw(v), n->stat.ephemeral_owner);
    bool shown = n->stat.ephemeral_owner > 0;
    assert_int_equal((int64_t)be64_load(v->stat + STAT_OWNER), shown ? n->stat.ephemeral_owner : 0);
    assert_int_equal(v->acl, n->acl);
    struct bytes data = version_data(v);
    assert_int_equal(data.data == NULL, n->null_data);
    assert_int_equal(data.size, n->data_size);
    for (uint32_t i = 0; i < data.size; i++)
        assert_int_equal(data.data[i], n->data_fill);
}

/** Every znode of the model is found at its zxid and nothing else: by key and by a walk. */
static void assert_state(struct store *s, struct model *m)
{
    for (int i = 0; i < m->count; i++)
        assert_node(m, &m->node[i], tree_get(s, store_key(s, text(m->node[i].path)), m->zxid));
    struct store_walk *w = store_walk_begin(s, text("/"), m->zxid);
    assert_non_null(w);
    struct bytes path;
    const struct version *v;
    int count = 0;
    while (store_walk_next(w, &path, &v)) {
        char name[PATH_MAX_TEST] = "/";
        memcpy(name, path.data, path.size);
        name[path.size ? path.size : 1] = 0;
        struct model_node *n = model_find(m, name);
        assert_non_null(n);
        assert_node(m, n, v);
        count++;
    }
    assert_int_equal(store_walk_error(w), 0);
    store_walk_end(w);
    assert_int_equal(count, m->count);
}

/** A path that the model does not have at its zxid is not found. */
static void assert_absent(struct store *s, struct model *m, const char *path)
{
    if (!model_find(m, path))
        assert_null(tree_get(s, store_key(s, text(path)), m->zxid));
}

static void assert_counters(const struct tree_counters *c, const struct model *m)
{
    struct tree_counters want = model_counters(m);
    assert_int_equal(c->nodes, want.nodes);
    assert_int_equal(c->ephemerals, want.ephemerals);
    assert_int_equal(c->data_bytes, want.data_bytes);
    assert_int_equal(c->digest, want.digest);
}

/* --- random changes to both --- */

#define ACLS 5
static uint8_t acl_wire[ACLS][64];
static uint32_t acl_size[ACLS];

static void acls_make(void)
{
    for (int i = 0; i < ACLS; i++) {
        struct jute_writer w = jute_writer_of(acl_wire[i], sizeof acl_wire[i]);
        jute_write_int(&w, 1);
        jute_write_int(&w, i ? i : 31);
        jute_write_bytes(&w, BYTES_OF("world"));
        jute_write_bytes(&w, BYTES_OF("anyone"));
        acl_size[i] = (uint32_t)jute_written(&w);
    }
}

static uint32_t acl_random(struct store *s)
{
    int i = (int)rnd(ACLS);
    uint32_t id;
    assert_int_equal(acl_intern(store_acls(s), (struct bytes){acl_wire[i], acl_size[i]}, &id), 0);
    assert_int_equal(id == ACL_OPEN, i == 0);
    return id;
}

static void path_random(char *out)
{
    static const char *const top[] = {"",        "/a",        "/b", "/zookeeper", "/zookeeper/q",
                                      "/a/deep", "/a/deep/er"};
    snprintf(out, PATH_MAX_TEST, "%s/%c%u", top[rnd(7)], "nm"[rnd(2)], rnd(4));
    if (rnd(4) == 0)
        snprintf(out, PATH_MAX_TEST, "%s", top[1 + rnd(6)]);
}

static uint8_t data_buffer[1024];

static struct bytes data_random(struct model_node *n)
{
    static const uint32_t sizes[] = {0, 1, 9, 100, 511, 512, 513, 700};
    n->null_data = rnd(8) == 0;
    n->data_size = n->null_data ? 0 : sizes[rnd(8)];
    n->data_fill = (uint8_t)rnd(256);
    memset(data_buffer, n->data_fill, sizeof data_buffer);
    return n->null_data ? BYTES_NULL : (struct bytes){data_buffer, n->data_size};
}

static int64_t owner_random(void)
{
    switch (rnd(5)) {
    case 0: return OWNER_CONTAINER;
    case 1: return OWNER_TTL_MASK | (int64_t)(1 + rnd(100000));
    case 2: return 0x100000000000001ll + rnd(3);
    default: return 0;
    }
}

static void op_create(struct store *s, struct model *m, const char *path)
{
    char parent_path[PATH_MAX_TEST];
    parent_of(path, parent_path);
    struct model_node *parent = model_find(m, parent_path);
    if (!parent || model_find(m, path) || m->count == NODES_MAX)
        return;
    struct model_node *n = &m->node[m->count];
    *n = (struct model_node){.acl = acl_random(s)};
    snprintf(n->path, sizeof n->path, "%s", path);
    struct bytes data = data_random(n);
    n->stat = (struct stat_persisted){m->zxid, m->zxid, 1000 + m->zxid, 1000 + m->zxid, 0,
                                      0,       0,       owner_random(), m->zxid};
    int32_t cversion = parent->stat.cversion + (rnd(6) ? 1 : -1);
    struct store_node node = {text(path), data, n->acl, n->stat};
    assert_int_equal(store_add(s, &node, cversion), 0);
    if (cversion > parent->stat.cversion) {
        parent->stat.cversion = cversion;
        parent->stat.pzxid = m->zxid;
    }
    m->count++;
}

static void op_remove(struct store *s, struct model *m, const char *path)
{
    struct model_node *n = model_find(m, path);
    if (!n || strcmp(path, "/") == 0 || model_children(m, path))
        return;
    char parent_path[PATH_MAX_TEST];
    parent_of(path, parent_path);
    assert_int_equal(store_remove(s, text(path)), 0);
    struct model_node *parent = model_find(m, parent_path);
    if (m->zxid > parent->stat.pzxid)
        parent->stat.pzxid = m->zxid;
    *n = m->node[--m->count];
}

static void op_set(struct store *s, struct model *m, const char *path, uint32_t what)
{
    struct model_node *n = model_find(m, path);
    if (!n)
        return;
    if (what == 0) {
        struct bytes data = data_random(n);
        n->stat.version++;
        n->stat.mzxid = m->zxid;
        n->stat.mtime = 5000 + m->zxid;
        int rc = store_set_data(s, text(path), store_key(s, text(path)), data, n->stat.version,
                                n->stat.mzxid, n->stat.mtime);
        assert_int_equal(rc, 0);
    } else if (what == 1) {
        assert_int_equal(store_set_data_quietly(s, text(path), data_random(n)), 0);
    } else if (what == 2) {
        n->acl = acl_random(s);
        assert_int_equal(store_set_acl(s, text(path), n->acl, ++n->stat.aversion), 0);
    } else {
        int32_t cversion = rnd(3) ? n->stat.cversion + (int32_t)rnd(3) - 1 : INT32_MIN;
        assert_int_equal(store_touch_parent(s, text(path), cversion, m->zxid), 0);
        if (cversion > n->stat.cversion)
            n->stat.cversion = cversion;
        else if (cversion != INT32_MIN)
            return;
        n->stat.pzxid = m->zxid;
    }
}

static void ops_random(struct store *s, struct model *m)
{
    uint32_t ops = rnd(10) == 0 ? 40 : rnd(6);
    char path[PATH_MAX_TEST];
    path_random(path);
    for (uint32_t i = 0; i < ops; i++) {
        if (rnd(3)) /* else: the same znode again */
            path_random(path);
        if (rnd(12) == 0)
            snprintf(path, sizeof path, "/");
        switch (rnd(5)) {
        case 0:
        case 1:
            if (strcmp(path, "/") != 0)
                op_create(s, m, path);
            break;
        case 2: op_remove(s, m, path); break;
        default: op_set(s, m, path, rnd(4));
        }
    }
}

/* --- the random life of a store --- */

struct life {
    struct store *s;
    struct model_history h; /* state[0]: visible; then one per txn above it */
    struct tree_txn *out[STATES_MAX]; /* shown, not retired */
    int out_count, committed; /* states 1..committed are committed, not shown */
    struct tree_txn *to_show;
    zxid_t next_zxid;
    uint32_t pins;
    struct model pinned;
};

static struct model *life_newest(struct life *l)
{
    return &l->h.state[l->h.count - 1];
}

static void life_txn(struct life *l)
{
    if (l->h.count == STATES_MAX)
        return;
    struct model *m = &l->h.state[l->h.count];
    *m = *life_newest(l);
    struct tree_counters before = *store_counters(l->s);
    m->zxid = l->next_zxid++;
    assert_int_equal(store_begin(l->s, m->zxid), 0);
    ops_random(l->s, m);
    assert_counters(store_counters(l->s), m);
    if (rnd(4) == 0) {
        store_abort(l->s);
        assert_memory_equal(store_counters(l->s), &before, sizeof before);
        return;
    }
    struct tree_txn *txn = store_end(l->s);
    assert_int_equal(txn->zxid, m->zxid);
    assert_memory_equal(&txn->counters, store_counters(l->s), sizeof txn->counters);
    l->h.count++;
}

static void life_commit_show(struct life *l)
{
    int pending = l->h.count - 1;
    if (pending == 0 || l->out_count == STATES_MAX)
        return;
    int n = 1 + (int)rnd((uint32_t)pending);
    struct tree_txn *txns = store_commit(l->s, l->h.state[n].zxid);
    int count = 0;
    for (struct tree_txn *t = txns; t; t = t->next)
        assert_int_equal(t->zxid, l->h.state[++count].zxid);
    assert_int_equal(count, n);
    store_show(l->s, l->h.state[n].zxid);
    l->out[l->out_count++] = txns;
    memmove(&l->h.state[0], &l->h.state[n], (size_t)(l->h.count - n) * sizeof l->h.state[0]);
    l->h.count -= n;
}

static void life_rollback(struct life *l)
{
    int keep = (int)rnd((uint32_t)l->h.count);
    store_rollback(l->s, l->h.state[keep].zxid);
    l->h.count = keep + 1;
}

static void life_retire(struct life *l, int max)
{
    for (; max > 0 && l->out_count > 0; max--) {
        store_retire(l->s, &l->out[0]);
        assert_null(l->out[0]);
        memmove(&l->out[0], &l->out[1], (size_t)--l->out_count * sizeof l->out[0]);
    }
}

static void life_pin(struct life *l)
{
    if (l->pins == 0 && rnd(2)) {
        assert_int_equal(store_pin(l->s), store_visible(l->s));
        l->pins = 1;
        l->pinned = l->h.state[0];
    } else if (l->pins) {
        assert_state(l->s, &l->pinned);
        store_unpin(l->s);
        l->pins = 0;
    }
}

static void life_check(struct life *l)
{
    store_check(l->s);
    char path[PATH_MAX_TEST];
    path_random(path);
    for (int i = 0; i < l->h.count; i++) {
        if (i > 1 && i < l->h.count - 1 && rnd(4))
            continue;
        assert_state(l->s, &l->h.state[i]);
        assert_absent(l->s, &l->h.state[i], path);
    }
    assert_counters(store_counters(l->s), life_newest(l));
    if (l->pins)
        assert_absent(l->s, &l->pinned, path);
}

static void life_run(uint64_t seed, int steps)
{
    struct life *l = calloc(1, sizeof *l);
    seed_state = seed;
    acls_make();
    struct store_config config = {.digest_enabled = true};
    l->s = store_create_empty(&config);
    assert_non_null(l->s);
    l->next_zxid = 1;
    l->h.count = 1;
    l->h.state[0].count = 1;
    l->h.state[0].node[0].path[0] = '/';
    store_set_offline(l->s, rnd(2));
    for (int i = 0; i < steps; i++) {
        switch (rnd(12)) {
        case 0: case 1: case 2: case 3: case 4: case 5: life_txn(l); break;
        case 6: case 7: life_commit_show(l); break;
        case 8: life_rollback(l); break;
        case 9: case 10: life_retire(l, (int)rnd(4)); break;
        default: life_pin(l);
        }
        life_check(l);
    }
    if (l->pins)
        store_unpin(l->s);
    life_retire(l, STATES_MAX);
    store_rollback(l->s, l->h.state[0].zxid);
    l->h.count = 1;
    life_check(l);
    /* all uses of ACLs but those of live znodes are gone, once the last batch has come back */
    struct tree_txn *none = NULL;
    store_retire(l->s, &none);
    store_settle(l->s);
    /* no tombstone is left over */
    assert_int_equal(store_index(l->s)->entries, l->h.state[0].count);
    uint64_t uses = 0, want = 0;
    for (uint32_t id = 0; (id = acl_next(store_acls(l->s), id));)
        uses += acl_uses(store_acls(l->s), id);
    for (int i = 0; i < l->h.state[0].count; i++)
        want += l->h.state[0].node[i].acl != ACL_OPEN;
    assert_int_equal(uses, want);
    store_destroy(l->s);
    free(l);
}

/* Goal: S2, S4, S6 and exact undo hold for any sequence. Method: random lives with many seeds. */
static void any_sequence_of_txns_matches_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++)
        life_run(seed, 300);
}

/* --- single behaviours --- */

static struct store *store_make(void)
{
    struct store_config config = {.digest_enabled = true};
    struct store *s = store_create_empty(&config);
    assert_non_null(s);
    return s;
}

static void load(struct store *s, const char *path, const char *data)
{
    struct store_node n = {.path = text(path), .data = text(data)};
    assert_int_equal(store_load(s, &n), 0);
}

/** Commit, show and retire everything pending. */
static void finish(struct store *s, zxid_t zxid)
{
    struct tree_txn *txns = store_commit(s, zxid);
    store_show(s, zxid);
    store_retire(s, &txns);
}

/*
 * Goal: digests are ZooKeeper's. Method: the fresh tree's sums, as a real server writes them
 * (semantics.md section 17).
 */
static void the_digest_of_a_fresh_tree_is_zookeepers(void **state)
{
    (void)state;
    struct store *s = store_make();
    assert_int_equal(store_counters(s)->digest, 68323592u);
    assert_int_equal(store_load_begin(s, 0), 0);
    load(s, "/zookeeper", "");
    assert_int_equal(store_counters(s)->digest, 1371985504u);
    load(s, "/zookeeper/quota", "");
    load(s, "/zookeeper/config", "");
    assert_int_equal(store_counters(s)->digest, 1371985504u);
    assert_int_equal(store_counters(s)->data_bytes, 44); /* approximate_data_size of a fresh
                                                          * server */
    assert_int_equal(store_counters(s)->nodes, 4);
    store_check(s);
    store_destroy(s);
}

static void the_root_has_two_names(void **state)
{
    (void)state;
    struct store *s = store_make();
    struct tree_key slash = store_key(s, text("/")), empty = store_key(s, text(""));
    assert_int_equal(slash.lo, empty.lo);
    assert_int_equal(slash.hi, empty.hi);
    assert_non_null(store_newest(s, empty));
    assert_int_equal(store_begin(s, 1), 0);
    assert_int_equal(store_set_data(s, text(""), store_key(s, text("")), text("abc"), 1, 1, 7), 0);
    (void)store_end(s);
    finish(s, 1);
    assert_int_equal(version_data_size(tree_get(s, slash, 1)), 3);
    store_check(s);
    store_destroy(s);
}

/*
 * Goal: a snapshot's Stat comes back as it was; counts follow. Method: load root and children, then
 * change them.
 */
static void loaded_znodes_keep_their_stat(void **state)
{
    (void)state;
    struct store *s = store_make();
    assert_int_equal(store_load_begin(s, 90), 0);
    assert_int_equal(store_visible(s), 90);
    struct store_node n = {.path = text(""), .data = text("root"),
                           .stat = {1, 2, 3, 4, 5, 6, 7, 0, 88}};
    assert_int_equal(store_load(s, &n), 0);
    n.path = text("/c");
    n.data = BYTES_NULL;
    n.stat.ephemeral_owner = OWNER_CONTAINER;
    assert_int_equal(store_load(s, &n), 0);
    n.path = text("/c/t");
    n.stat.ephemeral_owner = OWNER_TTL_MASK | 12345;
    assert_int_equal(store_load(s, &n), 0);
    n.path = text("/c/e");
    n.stat.ephemeral_owner = 0x7700000000000001;
    n.data = text("x");
    assert_int_equal(store_load(s, &n), 0);
    n.path = text("/"); /* the root once more, after its children */
    n.data = text("root2");
    n.stat.ephemeral_owner = 0;
    assert_int_equal(store_load(s, &n), 0);
    store_check(s);
    const struct version *root = store_newest(s, store_key(s, text("/")));
    assert_int_equal(root->vzxid, 90);
    assert_int_equal(version_num_children(root), 1);
    assert_int_equal((int32_t)be32_load(root->stat + STAT_CVERSION), 2 * 6 - 1);
    assert_int_equal(be64_load(root->stat + STAT_PZXID), 88);
    assert_int_equal(version_owner_raw(store_newest(s, store_key(s, text("/c")))), OWNER_CONTAINER);
    const struct version *ttl = store_newest(s, store_key(s, text("/c/t")));
    assert_int_equal(version_owner_raw(ttl), OWNER_TTL_MASK | 12345);
    assert_int_equal(be64_load(ttl->stat + STAT_OWNER), 0);
    assert_null(version_data(ttl).data);
    assert_int_equal(store_counters(s)->ephemerals, 1);
    assert_int_equal(store_counters(s)->nodes, 4);
    store_destroy(s);
}

static void assert_change(const struct store *s, const struct tree_change *c, enum change_kind kind,
                          const char *path, uint32_t parent_size, uint32_t acl, uint32_t parent_acl)
{
    assert_int_equal(c->kind, kind);
    assert_int_equal(c->path_size, strlen(path));
    assert_memory_equal(c->path, path, c->path_size);
    assert_int_equal(c->parent_size, parent_size);
    assert_int_equal(c->acl, acl);
    assert_int_equal(c->parent_acl, parent_acl);
    assert_int_equal(c->key.lo, store_key(s, text(path)).lo);
    if (kind != CHANGE_DATA)
        assert_int_equal(c->parent_key.lo, store_key(s, (struct bytes){c->path, parent_size}).lo);
}

/*
 * Goal: watch dispatch gets each change with path and ACLs as semantics.md section 12.3 needs them,
 * in order.
 */
static void change_records_tell_what_watches_need(void **state)
{
    (void)state;
    struct store *s = store_make();
    acls_make();
    uint32_t a, b;
    assert_int_equal(acl_intern(store_acls(s), (struct bytes){acl_wire[1], acl_size[1]}, &a), 0);
    assert_int_equal(acl_intern(store_acls(s), (struct bytes){acl_wire[2], acl_size[2]}, &b), 0);
    static char long_path[3000] = "/a/";
    memset(long_path + 3, 'x', sizeof long_path - 4);
    assert_int_equal(store_begin(s, 5), 0);
    struct store_node n = {.path = text("/a"), .data = text("1"), .acl = a};
    assert_int_equal(store_add(s, &n, 1), 0);
    n.path = text(long_path);
    n.acl = b;
    assert_int_equal(store_add(s, &n, 1), 0);
    assert_int_equal(store_set_acl(s, text("/a"), ACL_OPEN, 1), 0);
    assert_int_equal(store_set_data_quietly(s, text("/a"), text("q")), 0);
    assert_int_equal(store_set_data(s, text("/"), store_key(s, text("/")), text("2"), 1, 5, 5), 0);
    assert_int_equal(store_remove(s, text(long_path)), 0);
    struct tree_txn *txn = store_end(s);
    assert_int_equal(txn->change_count, 4);
    assert_change(s, &txn->changes[0], CHANGE_CREATED, "/a", 1, a, ACL_OPEN);
    assert_change(s, &txn->changes[1], CHANGE_CREATED, long_path, 2, b, a);
    assert_change(s, &txn->changes[2], CHANGE_DATA, "/", 1, ACL_OPEN, 0);
    assert_change(s, &txn->changes[3], CHANGE_DELETED, long_path, 2, b, ACL_OPEN);
    finish(s, 5);
    store_settle(s);
    assert_int_equal(acl_count(store_acls(s)), 0); /* neither list has a holder left */
    store_check(s);
    store_destroy(s);
}

/* Goal: what a txn superseded is freed without another txn, by calls that a server makes when it is
 * idle; and the store says until when. The released ACL tells. */
static void what_waits_to_be_freed_needs_no_further_write(void **state)
{
    (void)state;
    struct store *s = store_make();
    assert_false(store_retires(s));
    assert_int_equal(store_begin(s, 1), 0);
    uint32_t a;
    acls_make();
    assert_int_equal(acl_intern(store_acls(s), (struct bytes){acl_wire[1], acl_size[1]}, &a), 0);
    assert_int_equal(store_set_acl(s, text("/"), a, 1), 0);
    (void)store_end(s);
    finish(s, 1);
    assert_int_equal(store_begin(s, 2), 0);
    assert_int_equal(store_set_acl(s, text("/"), ACL_OPEN, 2), 0);
    (void)store_end(s);
    finish(s, 2);
    assert_true(store_retires(s));
    assert_int_equal(acl_count(store_acls(s)), 1);
    while (store_retires(s)) {
        struct tree_txn *none = NULL;
        store_retire(s, &none);
        (void)sched_yield();
    }
    assert_int_equal(acl_count(store_acls(s)), 0);
    store_destroy(s);
}

/*
 * Goal: depth is no limit: nothing recurses. Method: a chain of thousands of levels, walked and
 * removed.
 */
static void a_very_deep_tree_can_be_walked(void **state)
{
    (void)state;
    enum { LEVELS = 12000 };
    struct store *s = store_make();
    static char path[LEVELS * 2 + 1];
    assert_int_equal(store_load_begin(s, 1), 0);
    for (int i = 0; i < LEVELS; i++) {
        memcpy(path + 2 * i, "/a", 3);
        load(s, path, "");
    }
    struct store_walk *w = store_walk_begin(s, text("/"), 1);
    struct bytes got;
    const struct version *v;
    uint32_t count = 0;
    while (store_walk_next(w, &got, &v))
        assert_int_equal(got.size, 2 * count++);
    assert_int_equal(count, LEVELS + 1);
    store_walk_end(w);
    w = store_walk_begin(s, (struct bytes){(uint8_t *)path, LEVELS}, 1);
    for (count = 0; store_walk_next(w, &got, &v); count++)
        ;
    assert_int_equal(count, LEVELS / 2 + 1);
    store_walk_end(w);
    assert_null(store_walk_begin(s, text("/b"), 1));
    store_destroy(s);
}

/*
 * Goal: a directory far beyond one leaf of names, made and emptied in single txns (as a session
 * close does).
 */
static void a_txn_may_make_and_remove_thousands_of_znodes(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    struct store *s = store_make();
    struct tree_counters before = *store_counters(s);
    char path[32];
    for (int round = 0; round < 2; round++) {
        assert_int_equal(store_begin(s, 2 * round + 1), 0);
        for (int i = 0; i < COUNT; i++) {
            snprintf(path, sizeof path, "/n%d", i * 7919 % COUNT);
            struct store_node n = {.path = text(path), .data = text("d")};
            assert_int_equal(store_add(s, &n, i + 1), 0);
        }
        if (round == 0) {
            store_abort(s);
            assert_memory_equal(&before, store_counters(s), sizeof before);
            assert_int_equal(store_index(s)->entries, 1);
            store_check(s);
        }
    }
    (void)store_end(s);
    finish(s, 3);
    store_check(s);
    assert_int_equal(store_begin(s, 4), 0);
    for (int i = 0; i < COUNT; i++) {
        snprintf(path, sizeof path, "/n%d", i);
        assert_int_equal(store_remove(s, text(path)), 0);
    }
    (void)store_end(s);
    assert_int_equal(version_num_children(tree_get(s, store_key(s, text("/")), 3)), COUNT);
    finish(s, 4);
    for (struct tree_txn *none = NULL; store_index(s)->entries > 1;)
        store_retire(s, &none);
    assert_int_equal(store_counters(s)->nodes, 1);
    store_check(s);
    store_destroy(s);
}

/*
 * Goal: memory is bounded by live znodes, not by the number of txns. Method: the store's own count
 * stays where it was.
 */
static void changing_and_recreating_leaves_nothing_behind(void **state)
{
    (void)state;
    struct store *s = store_make();
    struct store_memory first = {0}, last;
    zxid_t zxid = 0;
    for (int i = 0; i < 3000; i++) {
        static uint8_t data[4000];
        assert_int_equal(store_begin(s, ++zxid), 0);
        struct store_node n = {.path = text("/x"), .data = {data, (uint32_t)(i % 4000)}};
        assert_int_equal(store_add(s, &n, i + 1), 0);
        (void)store_end(s);
        assert_int_equal(store_begin(s, ++zxid), 0);
        assert_int_equal(store_remove(s, text("/x")), 0);
        (void)store_end(s);
        finish(s, i % 2 ? zxid : zxid - 1);
        if (i == 1)
            store_memory(s, &first);
    }
    finish(s, zxid);
    store_memory(s, &last);
    assert_int_equal(store_index(s)->entries, 1);
    assert_memory_equal(&first, &last, sizeof first);
    store_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_sequence_of_txns_matches_the_model),
        cmocka_unit_test(the_digest_of_a_fresh_tree_is_zookeepers),
        cmocka_unit_test(the_root_has_two_names),
        cmocka_unit_test(loaded_znodes_keep_their_stat),
        cmocka_unit_test(change_records_tell_what_watches_need),
        cmocka_unit_test(what_waits_to_be_freed_needs_no_further_write),
        cmocka_unit_test(a_very_deep_tree_can_be_walked),
        cmocka_unit_test(a_txn_may_make_and_remove_thousands_of_znodes),
        cmocka_unit_test(changing_and_recreating_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
