/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Random lives of a tree. What was prepared is rolled back at random, what was committed is applied
 * to a second tree from the entries alone, and a snapshot pinned in the middle of it all, with txns
 * pending, is loaded into a third tree that replays the rest. All must be equal to the last byte of
 * every Stat, ACL, session and ephemeral, and every digest in an entry must be the tree's.
 */
#include <inttypes.h>

#include "client/wire/txn.h"
#include "tests/tree/tree_dump.h"

#define STEPS 3000
#define BATCH_MAX 6

struct life {
    struct env e;
    uint64_t random;
    struct tree *second;
    struct buffer log; /* committed entries, each as a jute buffer */
    struct buffer entries[BATCH_MAX];
    zxid_t zxids[BATCH_MAX];
    uint64_t done[4]; /* requests answered with 0, refused, rolled back, failed multis */
};

static uint32_t draw(struct life *l, uint32_t below)
{
    l->random ^= l->random << 13;
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    return (uint32_t)(l->random >> 32) % below;
}

static const char *draw_path(struct life *l)
{
    static const char *paths[] = {
        "/a",
        "/a/b",
        "/a/b/c",
        "/a/c",
        "/b",
        "/b/d",
        "/c",
        "/c/e",
        "/",
        "/zookeeper/quota/a",
        "/zookeeper/quota/a/b",
        "/zookeeper/quota/a/zookeeper_limits",
        "/zookeeper/quota/a/zookeeper_stats",
        "/zookeeper/quota/a/b/zookeeper_limits",
        "/zookeeper/quota/a/b/zookeeper_stats",
        "/zookeeper/quota/zookeeper_limits",
        "/zookeeper",
        "/a/",
        "nope",
        "/x/y/z",
        "/zookeeper/config",
    };
    return paths[draw(l, sizeof paths / sizeof *paths)];
}

static const char *draw_data(struct life *l)
{
    static const char *data[] = {
        "",       "x", "some data", NULL, "count=3,bytes=10", "count=-1,bytes=7=;countHardLimit=9",
        "count=x"};
    static char large[3000];
    uint32_t i = draw(l, 8);
    memset(large, 'L', sizeof large - 1);
    return i < 7 ? data[i] : large;
}

static session_id_t draw_session(struct life *l)
{
    return 0x0100000000000000 + draw(l, 5);
}

static void put_draw_acl(struct life *l)
{
    struct buffer *b = &l->e.body;
    switch (draw(l, 10)) {
    case 0:
        buffer_put_int(b, 2);
        put_acl(b, PERM_READ | PERM_ADMIN, "ip", "127.0.0.0/8");
        put_acl(b, PERM_ALL, "digest", "bob:x");
        break;
    case 1:
        buffer_put_int(b, 1);
        put_acl(b, PERM_READ | PERM_CREATE | PERM_DELETE, "world", "anyone");
        break;
    case 2:
        buffer_put_int(b, 1);
        put_acl(b, PERM_ALL, draw(l, 2) ? "auth" : NULL, "");
        break;
    default:
        put_open_acl(b);
    }
}

static void put_draw_create(struct life *l, int32_t op)
{
    struct buffer *b = &l->e.body;
    int32_t flags = (int32_t)draw(l, 8);
    if (op == OP_CREATE_TTL && draw(l, 4))
        flags = 5 + (int32_t)draw(l, 2);
    else if (op != OP_CREATE_TTL && draw(l, 8))
        flags = (int32_t)draw(l, 4);
    buffer_put_bytes(b, text(draw_path(l)));
    buffer_put_bytes(b, text(draw_data(l)));
    put_draw_acl(l);
    buffer_put_int(b, flags);
    if (op == OP_CREATE_TTL)
        buffer_put_long(b, (int64_t)draw(l, 2000));
}

static void put_draw_operation(struct life *l, int32_t op)
{
    struct buffer *b = &l->e.body;
    int32_t version = draw(l, 3) ? -1 : (int32_t)draw(l, 4);
    switch (op) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        put_draw_create(l, op);
        break;
    case OP_SET_DATA:
        put_set_data(b, draw_path(l), draw_data(l), version);
        break;
    case OP_SET_ACL:
        buffer_put_bytes(b, text(draw_path(l)));
        put_draw_acl(l);
        buffer_put_int(b, version);
        break;
    case OP_DELETE:
    case OP_CHECK:
        put_path_version(b, draw_path(l), version);
        break;
    case OP_DELETE_CONTAINER:
        buffer_put_bytes(b, text(draw_path(l)));
        break;
    case OP_CREATE_SESSION:
        buffer_put_int(b, 4000 + (int32_t)draw(l, 9));
        break;
    default:
        break;
    }
}

static void put_draw_multi(struct life *l)
{
    static const int32_t ops[] = {OP_CREATE,     OP_CREATE, OP_CREATE2,  OP_CREATE_CONTAINER,
                                  OP_CREATE_TTL, OP_DELETE, OP_SET_DATA, OP_CHECK};
    for (uint32_t n = draw(l, 5); n > 0; n--) {
        int32_t op = ops[draw(l, sizeof ops / sizeof *ops)];
        put_multi_header(&l->e.body, op);
        put_draw_operation(l, op);
    }
    put_multi_end(&l->e.body);
}

/* One random request; its entry goes to `out` if it became a txn. */
static void life_request(struct life *l, struct buffer *out)
{
    static const int32_t ops[] = {
        OP_CREATE,        OP_CREATE,          OP_CREATE, OP_CREATE2,        OP_CREATE_CONTAINER,
        OP_CREATE_TTL,    OP_DELETE,          OP_DELETE, OP_SET_DATA,       OP_SET_DATA,
        OP_SET_ACL,       OP_MULTI,           OP_MULTI,  OP_CREATE_SESSION, OP_CREATE_SESSION,
        OP_CLOSE_SESSION, OP_DELETE_CONTAINER};
    int32_t op = ops[draw(l, sizeof ops / sizeof *ops)], err;
    l->e.now_ms += draw(l, 100);
    if (op == OP_MULTI)
        put_draw_multi(l);
    else
        put_draw_operation(l, op);
    bool server = op == OP_CREATE_SESSION || op == OP_DELETE_CONTAINER || draw(l, 10) == 0;
    err =
        server ? env_send_server(&l->e, draw_session(l), op) : env_send(&l->e, draw_session(l), op);
    l->done[err ? 1 : 0]++;
    l->done[3] += op == OP_MULTI && l->e.reply.size > 4 &&
                  be32_load(l->e.reply.data) == (uint32_t)-1 && l->e.reply.data[4] == 0;
    out->size = 0;
    buffer_put_raw(out, l->e.last_entry.data, l->e.last_entry.size);
}

static void apply_entry(struct tree *t, struct bytes entry)
{
    struct txn txn;
    assert_int_equal(TXN_OK, txn_entry_read(entry, &txn));
    assert_int_equal(0, tree_apply(t, &txn.header, txn.body_bytes));
    assert_int_equal(txn.header.type != OP_ERROR, txn.has_digest);
    if (txn.has_digest && txn.digest.tree != tree_digest(t))
        fail_msg("digest of txn 0x%" PRIx64 " is not the tree's", txn.header.zxid);
}

/* Prepare a batch, take a part of it back, commit the rest. */
static void life_batch(struct life *l, int step)
{
    struct buffer before, after;
    struct env *e = &l->e;
    uint32_t n = 1 + draw(l, BATCH_MAX), made = 0, keep;
    buffer_init(&before, 64 << 20);
    buffer_init(&after, 64 << 20);
    keep = draw(l, 3) ? UINT32_MAX : draw(l, n);
    for (uint32_t i = 0; i < n; i++) {
        if (made == keep && before.size == 0)
            tree_dump(e->t, &before);
        zxid_t z = e->zxid;
        life_request(l, &l->entries[made]);
        l->zxids[made] = e->zxid;
        made += e->zxid > z;
    }
    if (keep < made) {
        zxid_t z = l->zxids[keep] - 1;
        l->done[2] += made - keep;
        tree_rollback(e->t, z);
        assert_int_equal(z, tree_newest_zxid(e->t));
        e->zxid = z;
        made = keep;
        tree_dump(e->t, &after);
        assert_dumps_equal(&before, &after, "rollback", step);
    }
    tree_publish(e->t);
    for (uint32_t i = 0; i < made; i++) {
        struct bytes entry = buffer_bytes(&l->entries[i]);
        buffer_put_bytes(&l->log, entry);
        apply_entry(l->second, entry);
        tree_publish(l->second);
    }
    buffer_free(&before);
    buffer_free(&after);
}

/* --- snapshots --- */

static struct tree *snapshot_load(struct tree_snapshot *s, const struct tree_config *config)
{
    struct tree *t = tree_create(config);
    struct bytes path, data;
    int64_t key;
    struct stat_persisted stat;
    assert_int_equal(0, tree_load_begin(t, tree_snapshot_zxid(s)));
    for (uint32_t i = 0; i < tree_snapshot_session_count(s); i++)
        assert_int_equal(0, tree_load_session(t, tree_snapshot_sessions(s)[i].id,
                                              tree_snapshot_sessions(s)[i].timeout_ms));
    for (uint32_t i = 0; i < tree_snapshot_acl_count(s); i++) {
        struct bytes wire = tree_snapshot_acl(s, i, &key);
        assert_int_equal(0, tree_load_acl(t, key, wire));
    }
    while (tree_snapshot_next(s, &path, &data, &key, &stat))
        assert_int_equal(0, tree_load_node(t, path, data, key, &stat));
    assert_int_equal(0, tree_snapshot_error(s));
    assert_int_equal(0, tree_load_end(t));
    assert_true(tree_digest(t) == tree_snapshot_digest(s));
    return t;
}

static void replay(struct tree *t, const struct buffer *log)
{
    struct jute_reader r = jute_reader_of(log->data, log->size);
    while (jute_left(&r)) {
        struct bytes entry = jute_read_bytes(&r);
        if ((zxid_t)be64_load(entry.data + 12) > tree_newest_zxid(t))
            apply_entry(t, entry);
    }
}

/* Usage of quotas is counted anew after loading, and differs from the running count where roots are
 * nested or limits came after the nodes (as upstream): compare what does not depend on it. */
static void assert_equal_but_for_usage(struct tree *a, struct tree *b, int step)
{
    struct buffer x, y;
    buffer_init(&x, 64 << 20);
    buffer_init(&y, 64 << 20);
    dump_sessions(a, &x);
    dump_sessions(b, &y);
    assert_dumps_equal(&x, &y, "sessions after snapshot and replay", step);
    assert_true(tree_digest(a) == tree_digest(b));
    assert_true(store_counters(tree_store(a))->nodes == store_counters(tree_store(b))->nodes);
    assert_true(store_counters(tree_store(a))->ephemerals ==
                store_counters(tree_store(b))->ephemerals);
    buffer_free(&x);
    buffer_free(&y);
}

static void life_run(uint64_t seed)
{
    struct life l = {.random = seed};
    struct tree_config config = env_config();
    struct buffer a, b;
    env_init(&l.e, &config);
    l.second = env_tree(&config);
    buffer_init(&l.log, 64 << 20);
    buffer_init(&a, 64 << 20);
    buffer_init(&b, 64 << 20);
    for (int i = 0; i < BATCH_MAX; i++)
        buffer_init(&l.entries[i], 1 << 20);
    struct tree_snapshot *snapshot = NULL;
    for (int step = 0; step < STEPS; step++) {
        life_batch(&l, step);
        tree_dump(l.e.t, &a);
        tree_dump(l.second, &b);
        assert_dumps_equal(&a, &b, "apply", step);
        if (step % 64 == 0) {
            tree_checks(l.e.t);
            tree_checks(l.second);
        }
        if (step == STEPS / 2) { /* pinned with something pending, which is then taken back */
            for (int i = 0; i < 4; i++)
                life_request(&l, &l.entries[0]);
            snapshot = tree_snapshot_begin(l.e.t);
            assert_non_null(snapshot);
            l.e.zxid = tree_snapshot_zxid(snapshot);
            tree_rollback(l.e.t, l.e.zxid);
        }
    }
    struct tree *third = snapshot_load(snapshot, &config);
    replay(third, &l.log);
    assert_int_equal(0, tree_load_finish(third));
    tree_checks(third);
    assert_equal_but_for_usage(l.e.t, third, STEPS);
    tree_snapshot_end(l.e.t, &snapshot);
    tree_checks(l.e.t);
    /* a run that did too little does not count */
    for (int i = 0; i < 4; i++)
        if (l.done[i] < 100)
            fail_msg("only %" PRIu64 " of kind %d", l.done[i], i);
    tree_destroy(third);
    tree_destroy(l.second);
    env_free(&l.e);
    for (int i = 0; i < BATCH_MAX; i++)
        buffer_free(&l.entries[i]);
    buffer_free(&l.log);
    buffer_free(&a);
    buffer_free(&b);
}

static void random_lives_are_the_same_prepared_applied_and_replayed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        printf("seed %" PRIu64 "\n", seed);
        life_run(seed * UINT64_C(0x9E3779B97F4A7C15));
    }
}

/* --- fuzzy snapshots, disk-formats.md sections 4.1, 4.2 and 5.6 --- */

static int apply(struct tree *t, const struct txn_header *h, struct buffer *body)
{
    int rc = tree_apply(t, h, buffer_bytes(body));
    body->size = 0;
    return rc;
}

static void put_create_txn(struct buffer *b, const char *path, const char *data, bool ephemeral,
                           int32_t cversion)
{
    buffer_put_bytes(b, text(path));
    buffer_put_bytes(b, text(data));
    put_open_acl(b);
    buffer_put_bool(b, ephemeral);
    buffer_put_int(b, cversion);
}

struct replayed {
    struct tree *t;
    struct buffer body;
    struct txn_header h;
};

static void replayed_init(struct replayed *r)
{
    struct tree_config config = env_config();
    *r = (struct replayed){.t = env_tree(&config), .h = {.time_ms = 7, .client_id = SESSION_A}};
    buffer_init(&r->body, 1 << 20);
}

static int replayed_apply(struct replayed *r, int32_t type)
{
    r->h.zxid++;
    r->h.type = type;
    return apply(r->t, &r->h, &r->body);
}

static const struct version *node(struct replayed *r, const char *path)
{
    return store_newest(tree_store(r->t), store_key(tree_store(r->t), text(path)));
}

static void replayed_free(struct replayed *r)
{
    tree_checks(r->t);
    tree_publish(r->t);
    tree_destroy(r->t);
    buffer_free(&r->body);
}

static void a_create_that_is_there_already_refreshes_acl_and_parent(void **state)
{
    (void)state;
    struct replayed r;
    replayed_init(&r);
    put_create_txn(&r.body, "/a", "x", false, 1);
    assert_int_equal(0, replayed_apply(&r, OP_CREATE));
    buffer_put_bytes(&r.body, text("/a"));
    buffer_put_int(&r.body, 1);
    put_acl(&r.body, PERM_READ, "world", "anyone");
    buffer_put_int(&r.body, 4);
    assert_int_equal(0, replayed_apply(&r, OP_SET_ACL));
    put_create_txn(&r.body, "/a", "y", false, 5);
    assert_int_equal(0, replayed_apply(&r, OP_CREATE2)); /* not type 1: the parent stays */
    assert_int_equal(1, node(&r, "/")->cversion);
    assert_int_equal(ACL_OPEN, node(&r, "/a")->acl);
    assert_int_equal(4, stat_int(node(&r, "/a"), STAT_AVERSION));
    assert_int_equal(1, tree_apply_ignored(r.t));
    put_create_txn(&r.body, "/a", "y", false, 5);
    assert_int_equal(0, replayed_apply(&r, OP_CREATE));
    assert_int_equal(5, node(&r, "/")->cversion);
    assert_int_equal(4, stat_long(node(&r, "/"), STAT_PZXID));
    assert_int_equal(1, version_data(node(&r, "/a")).size);
    assert_int_equal('x', version_data(node(&r, "/a")).data[0]);
    assert_int_equal(1, stat_long(node(&r, "/a"), STAT_CZXID));
    replayed_free(&r);
}

static void the_parents_count_is_raised_only_and_minus_one_means_plus_one(void **state)
{
    (void)state;
    struct replayed r;
    replayed_init(&r);
    put_create_txn(&r.body, "/a", "", false, 10);
    assert_int_equal(0, replayed_apply(&r, OP_CREATE));
    put_create_txn(&r.body, "/b", "", false, 3);
    assert_int_equal(0, replayed_apply(&r, OP_CREATE));
    assert_int_equal(10, node(&r, "/")->cversion);
    assert_int_equal(1, stat_long(node(&r, "/"), STAT_PZXID));
    put_create_txn(&r.body, "/c", "", false, -1);
    assert_int_equal(0, replayed_apply(&r, OP_CREATE));
    assert_int_equal(11, node(&r, "/")->cversion);
    assert_int_equal(3, stat_long(node(&r, "/"), STAT_PZXID));
    replayed_free(&r);
}

static void a_delete_of_nothing_still_raises_the_parents_pzxid(void **state)
{
    (void)state;
    struct replayed r;
    replayed_init(&r);
    buffer_put_bytes(&r.body, text("/gone"));
    assert_int_equal(0, replayed_apply(&r, OP_DELETE));
    assert_int_equal(1, stat_long(node(&r, "/"), STAT_PZXID));
    buffer_put_bytes(&r.body, text("/no/parent"));
    assert_int_equal(0, replayed_apply(&r, OP_DELETE));
    put_create_txn(&r.body, "/no/parent", "", false, 1);
    assert_int_equal(0, replayed_apply(&r, OP_CREATE));
    put_set_data(&r.body, "/gone", "x", 1);
    assert_int_equal(0, replayed_apply(&r, OP_SET_DATA));
    assert_int_equal(4, tree_apply_ignored(r.t));
    replayed_free(&r);
}

/* Log: delete /a, create /a, create /a/b, deep below. The snapshot had caught all of it. */
static void a_delete_replayed_onto_children_takes_them_and_they_come_back(void **state)
{
    (void)state;
    struct replayed r;
    replayed_init(&r);
    put_create_txn(&r.body, "/a", "", false, 1);
    assert_int_equal(0, replayed_apply(&r, OP_CREATE));
    char path[20000] = "/a";
    for (int i = 0; i < 4000; i++) { /* row I: deep trees cost no stack */
        memcpy(path + strlen(path), "/b", 3);
        put_create_txn(&r.body, path, "", i == 3999, 1);
        assert_int_equal(0, replayed_apply(&r, OP_CREATE));
    }
    uint64_t digest = tree_digest(r.t);
    buffer_put_bytes(&r.body, text("/a"));
    assert_int_equal(0, replayed_apply(&r, OP_DELETE));
    assert_null(node(&r, "/a"));
    assert_int_equal(0, r.t->ledger.ephemerals);
    tree_rollback(r.t, r.h.zxid - 1);
    assert_true(digest == tree_digest(r.t));
    assert_int_equal(1, r.t->ledger.ephemerals);
    replayed_free(&r);
}

static void close_session_removes_listed_paths_and_what_is_left(void **state)
{
    (void)state;
    struct replayed r;
    replayed_init(&r);
    buffer_put_int(&r.body, 30000);
    assert_int_equal(0, replayed_apply(&r, OP_CREATE_SESSION));
    for (char c = 'a'; c <= 'd'; c++) {
        char path[] = {'/', c, 0};
        put_create_txn(&r.body, path, "", c != 'd', 1 + c - 'a');
        assert_int_equal(0, replayed_apply(&r, OP_CREATE));
    }
    buffer_put_int(&r.body, 3);
    buffer_put_bytes(&r.body, text("/a"));
    buffer_put_bytes(&r.body, text("/missing"));
    buffer_put_bytes(&r.body, text("/d")); /* listed: goes although it is nobody's */
    assert_int_equal(0, replayed_apply(&r, OP_CLOSE_SESSION));
    assert_int_equal(1, version_num_children(node(&r, "/")));
    assert_int_equal(0, tree_session_count(r.t));
    assert_int_equal(0, r.t->ledger.owners_count - 1); /* kept by the undo log only */
    r.h.client_id =
        99; /* a session nobody knows, and the body of servers without closeSessionTxn */
    assert_int_equal(0, replayed_apply(&r, OP_CLOSE_SESSION));
    replayed_free(&r);
}

static void a_failed_multi_in_the_log_does_nothing(void **state)
{
    (void)state;
    struct replayed r;
    replayed_init(&r);
    buffer_put_int(&r.body, 2);
    buffer_put_int(&r.body, OP_DELETE);
    buffer_put_int(&r.body, 7);
    buffer_put_bytes(&r.body, text("/zz"));
    buffer_put_int(&r.body, OP_ERROR);
    buffer_put_int(&r.body, 4);
    buffer_put_int(&r.body, ZK_NONODE);
    assert_int_equal(0, replayed_apply(&r, OP_MULTI));
    assert_int_equal(0, stat_long(node(&r, "/"), STAT_PZXID));
    replayed_free(&r);
}

static void txns_that_no_server_could_have_logged_are_refused(void **state)
{
    (void)state;
    struct replayed r;
    replayed_init(&r);
    assert_int_equal(ZK_MARSHALLINGERROR, replayed_apply(&r, 13)); /* row A */
    r.h.zxid = 0;
    assert_int_equal(ZK_MARSHALLINGERROR, replayed_apply(&r, 999));
    r.h.zxid = 0;
    static const char *paths[] = {"//", "/a//b", "nope", "", "/", "/\x01", NULL};
    for (size_t i = 0; i < 7; i++) {
        put_create_txn(&r.body, paths[i], "", false, 1);
        assert_int_equal(ZK_MARSHALLINGERROR, replayed_apply(&r, OP_CREATE));
        r.h.zxid = 0;
    }
    put_create_txn(&r.body, "/a", "", false, 1);
    r.body.size -= 9; /* cut short */
    assert_int_equal(ZK_MARSHALLINGERROR, replayed_apply(&r, OP_CREATE));
    r.h.zxid = -1;
    put_create_txn(&r.body, "/a", "", false, 1);
    assert_int_equal(ZK_MARSHALLINGERROR,
                     replayed_apply(&r, OP_CREATE)); /* zxid 0: not above the newest */
    assert_true(tree_digest(r.t) == 1371985504);
    replayed_free(&r);
}

int main(void)
{
    reader_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lives_are_the_same_prepared_applied_and_replayed),
        cmocka_unit_test(a_create_that_is_there_already_refreshes_acl_and_parent),
        cmocka_unit_test(the_parents_count_is_raised_only_and_minus_one_means_plus_one),
        cmocka_unit_test(a_delete_of_nothing_still_raises_the_parents_pzxid),
        cmocka_unit_test(a_delete_replayed_onto_children_takes_them_and_they_come_back),
        cmocka_unit_test(close_session_removes_listed_paths_and_what_is_left),
        cmocka_unit_test(a_failed_multi_in_the_log_does_nothing),
        cmocka_unit_test(txns_that_no_server_could_have_logged_are_refused),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    reader_unregister();
    return rc;
}
