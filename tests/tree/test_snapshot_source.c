/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* What a pinned snapshot gives is the visible state, to the last session, whatever is pending or
 * happens later. */
#include <pthread.h>

#include "tests/tree/tree_dump.h"

/* Everything the snapshot gives, as bytes; ACL keys resolved. */
static void snapshot_dump(struct tree_snapshot *s, struct buffer *out)
{
    struct bytes path, data;
    int64_t key, acl_key;
    struct stat_persisted stat;
    memset(&stat, 0, sizeof stat); /* its padding is dumped too */
    out->size = 0;
    while (tree_snapshot_next(s, &path, &data, &acl_key, &stat)) {
        buffer_put_bytes(out, path);
        buffer_put_bytes(out, data);
        buffer_put_raw(out, &stat, sizeof stat);
        bool found = acl_key == -1;
        for (uint32_t i = 0; i < tree_snapshot_acl_count(s) && !found; i++) {
            struct bytes wire = tree_snapshot_acl(s, i, &key);
            found = key == acl_key;
            if (found)
                buffer_put_bytes(out, wire);
        }
        assert_true(found);
    }
    assert_int_equal(0, tree_snapshot_error(s));
}

static bool snapshot_has(const struct tree_snapshot *s, session_id_t id, int32_t timeout_ms)
{
    for (uint32_t i = 0; i < tree_snapshot_session_count(s); i++)
        if (tree_snapshot_sessions(s)[i].id == id)
            return tree_snapshot_sessions(s)[i].timeout_ms == timeout_ms;
    return false;
}

static void acl_create(struct env *e, const char *path, const char *id)
{
    buffer_put_bytes(&e->body, text(path));
    buffer_put_bytes(&e->body, text("data"));
    buffer_put_int(&e->body, 2);
    put_acl(&e->body, PERM_READ, "digest", id);
    put_acl(&e->body, PERM_ALL, "world", "anyone");
    buffer_put_int(&e->body, 0);
    assert_int_equal(0, env_send(e, SESSION_A, OP_CREATE));
}

static void pending_txns_do_not_show_in_a_snapshot(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    struct env e;
    struct buffer before, after;
    env_init(&e, &config);
    buffer_init(&before, 1 << 22);
    buffer_init(&after, 1 << 22);
    env_session(&e, SESSION_A, 1000);
    env_session(&e, SESSION_B, 2000);
    acl_create(&e, "/a", "bob:x");
    assert_int_equal(0, env_create_as(&e, SESSION_A, OP_CREATE, "/a/e", "", 1));
    tree_publish(e.t);
    struct tree_snapshot *s = tree_snapshot_begin(e.t);
    snapshot_dump(s, &before);
    uint64_t digest = tree_digest(e.t);
    zxid_t z = e.zxid;
    tree_snapshot_end(e.t, &s);
    /* pending: a session more, one less, one changed; nodes, data, ACLs */
    env_session(&e, 77, 3000);
    env_session(&e, SESSION_B, 9999);
    assert_int_equal(0, env_send(&e, SESSION_A, OP_CLOSE_SESSION));
    acl_create(&e, "/b", "eve:y");
    assert_int_equal(0, env_set_data(&e, "/a", "other", -1));
    assert_int_equal(0, env_delete(&e, "/b", -1));
    s = tree_snapshot_begin(e.t);
    assert_int_equal(z, tree_snapshot_zxid(s));
    assert_true(digest == tree_snapshot_digest(s));
    assert_int_equal(2, tree_snapshot_session_count(s));
    assert_true(snapshot_has(s, SESSION_A, 1000) && snapshot_has(s, SESSION_B, 2000));
    /* committed but not yet shown is not visible either */
    struct tree_txn *txns = tree_commit(e.t, e.zxid);
    struct tree_snapshot *second = tree_snapshot_begin(e.t);
    assert_int_equal(z, tree_snapshot_zxid(second));
    assert_true(snapshot_has(second, SESSION_A, 1000) && !snapshot_has(second, 77, 3000));
    store_show(tree_store(e.t), e.zxid);
    store_retire(tree_store(e.t), &txns);
    /* and what happens after the pin does not matter: lists and ids are reused meanwhile */
    for (int i = 0; i < 200; i++) {
        char path[32], id[32];
        snprintf(path, sizeof path, "/n%d", i);
        snprintf(id, sizeof id, "u%d:z", i);
        acl_create(&e, path, id);
        if (i % 2)
            assert_int_equal(0, env_delete(&e, path, -1));
        tree_publish(e.t);
    }
    assert_int_equal(0, env_delete(&e, "/a", -1));
    tree_publish(e.t);
    snapshot_dump(s, &after);
    assert_dumps_equal(&before, &after, "snapshot with pending txns", 0);
    snapshot_dump(second, &after);
    assert_dumps_equal(&before, &after, "snapshot between commit and show", 0);
    tree_snapshot_end(e.t, &s);
    tree_snapshot_end(e.t, &second);
    s = tree_snapshot_begin(e.t);
    assert_int_equal(e.zxid, tree_snapshot_zxid(s));
    assert_true(tree_digest(e.t) == tree_snapshot_digest(s));
    assert_int_equal(2, tree_snapshot_session_count(s));
    assert_true(snapshot_has(s, 77, 3000) && snapshot_has(s, SESSION_B, 9999));
    tree_snapshot_end(e.t, &s);
    tree_checks(e.t);
    buffer_free(&before);
    buffer_free(&after);
    env_free(&e);
}

struct walker {
    struct tree_snapshot *snapshot;
    struct buffer dump;
};

static void *walker_run(void *arg)
{
    struct walker *w = arg;
    snapshot_dump(w->snapshot, &w->dump);
    return NULL;
}

/* Another thread walks while every node is changed, removed and made anew. */
static void a_snapshot_walked_by_another_thread_stands_still(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    struct env e;
    struct buffer before;
    env_init(&e, &config);
    buffer_init(&before, 1 << 24);
    env_session(&e, SESSION_A, 1000);
    for (int i = 0; i < 3000; i++)
        acl_create(&e,
                   (char[]){'/', (char)('a' + i / 676), (char)('a' + i / 26 % 26),
                            (char)('a' + i % 26), 0},
                   i % 2 ? "bob:x" : "eve:y");
    tree_publish(e.t);
    struct tree_snapshot *s = tree_snapshot_begin(e.t);
    snapshot_dump(s, &before);
    tree_snapshot_end(e.t, &s);
    for (int round = 0; round < 3; round++) {
        struct walker w = {.snapshot = tree_snapshot_begin(e.t)};
        pthread_t thread;
        buffer_init(&w.dump, 1 << 24);
        assert_int_equal(0, pthread_create(&thread, NULL, walker_run, &w));
        for (int i = 0; i < 3000; i++) {
            char path[] = {'/', (char)('a' + i / 676), (char)('a' + i / 26 % 26),
                           (char)('a' + i % 26), 0};
            assert_int_equal(0, i % 3 ? env_set_data(&e, path, "changed", -1)
                                      : env_delete(&e, path, -1));
            if (i % 3 == 0)
                acl_create(&e, path, "new:z");
            if (i % 16 == 0)
                tree_publish(e.t);
            reader_quiescent();
        }
        reader_offline();
        pthread_join(thread, NULL);
        reader_online();
        if (round == 0)
            assert_dumps_equal(&before, &w.dump, "concurrent walk", round);
        assert_int_equal(3004, store_counters(tree_store(e.t))->nodes);
        tree_snapshot_end(e.t, &w.snapshot);
        tree_publish(e.t);
        buffer_free(&w.dump);
    }
    tree_checks(e.t);
    buffer_free(&before);
    env_free(&e);
}

/* disk-formats.md 5.10: the nodes of a fresh server. */
static void a_fresh_tree_gives_the_nodes_of_the_minimal_snapshot(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool open;
        int32_t aversion;
    } rows[] = {{"", true, 0},
                {"/zookeeper", true, 0},
                {"/zookeeper/config", false, -1},
                {"/zookeeper/quota", true, 0}};
    struct tree_config config = env_config();
    struct tree *t = env_tree(&config);
    struct tree_snapshot *s = tree_snapshot_begin(t);
    struct bytes path, data;
    int64_t key, first_key;
    struct stat_persisted stat;
    assert_int_equal(0, tree_snapshot_session_count(s));
    assert_int_equal(1, tree_snapshot_acl_count(s));
    struct bytes wire = tree_snapshot_acl(s, 0, &first_key);
    assert_int_equal(1, first_key);
    assert_int_equal(27, wire.size);
    for (int i = 0; i < 4; i++) {
        assert_true(tree_snapshot_next(s, &path, &data, &key, &stat));
        assert_true(bytes_equal(path, text(rows[i].path)));
        assert_true(data.data && data.size == 0);
        assert_int_equal(rows[i].open ? -1 : 1, key);
        assert_int_equal(rows[i].aversion, stat.aversion);
        assert_true(stat.cversion == 0 && stat.ephemeral_owner == 0 && stat.pzxid == 0 &&
                    stat.version == 0);
    }
    assert_false(tree_snapshot_next(s, &path, &data, &key, &stat));
    tree_snapshot_end(t, &s);
    tree_destroy(t);
}

int main(void)
{
    reader_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pending_txns_do_not_show_in_a_snapshot),
        cmocka_unit_test(a_snapshot_walked_by_another_thread_stands_still),
        cmocka_unit_test(a_fresh_tree_gives_the_nodes_of_the_minimal_snapshot),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    reader_unregister();
    return rc;
}
