/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tests/tree/tree_dump.h"

static struct tree *tree_empty(void)
{
    struct tree_config config = env_config();
    struct tree *t = tree_create(&config);
    assert_non_null(t);
    return t;
}

static const struct version *node(struct tree *t, const char *path)
{
    return store_newest(tree_store(t), store_key(tree_store(t), text(path)));
}

static void nodes_come_back_with_every_number(void **state)
{
    (void)state;
    struct tree *t = tree_empty();
    struct stat_persisted zero = {0};
    struct stat_persisted s = {.czxid = 1,
                               .mzxid = 2,
                               .ctime = 3,
                               .mtime = 4,
                               .version = 5,
                               .cversion = 6,
                               .aversion = 7,
                               .pzxid = 9};
    assert_int_equal(0, tree_load_begin(t, 0x20));
    assert_int_equal(0, tree_load_session(t, SESSION_A, 4000));
    assert_int_equal(0,
                     tree_load_acl(t, 7, BYTES_OF("\0\0\0\1\0\0\0\1\0\0\0\5world\0\0\0\6anyone")));
    assert_int_equal(0,
                     tree_load_acl(t, 3, BYTES_OF("\0\0\0\1\0\0\0\2\0\0\0\5world\0\0\0\6anyone")));
    assert_int_equal(0, tree_load_node(t, text(""), text(""), -1, &zero));
    assert_int_equal(0, tree_load_node(t, text("/p"), BYTES_NULL, 7, &s));
    s.ephemeral_owner = SESSION_A;
    assert_int_equal(0, tree_load_node(t, text("/p/e"), text("x"), 3, &s));
    s.ephemeral_owner = OWNER_CONTAINER;
    assert_int_equal(0, tree_load_node(t, text("/p/c"), text(""), -1, &s));
    s.ephemeral_owner = OWNER_TTL_MASK | 77;
    assert_int_equal(0, tree_load_node(t, text("/p/t"), text(""), -1, &s));
    assert_int_equal(0, tree_load_end(t));
    assert_int_equal(0x20, tree_newest_zxid(t));
    assert_int_equal(0, tree_load_finish(t));
    const struct version *v = node(t, "/p");
    assert_null(version_data(v).data);
    assert_int_equal(9, stat_long(v, STAT_PZXID));
    assert_int_equal(2 * 6 - 3, stat_int(v, STAT_CVERSION));
    assert_int_equal(6, v->cversion);
    assert_int_equal(1, be32_load(acl_get(store_acls(tree_store(t)), v->acl)->wire + 4));
    assert_int_equal(2,
                     be32_load(acl_get(store_acls(tree_store(t)), node(t, "/p/e")->acl)->wire + 4));
    assert_int_equal(SESSION_A, stat_long(node(t, "/p/e"), STAT_OWNER));
    assert_int_equal(0, stat_long(node(t, "/p/c"), STAT_OWNER));
    assert_true(version_owner_raw(node(t, "/p/t")) == (OWNER_TTL_MASK | 77));
    assert_int_equal(1, t->ledger.ephemerals);
    assert_int_equal(1, t->ledger.lists[MARK_CONTAINER].count);
    assert_int_equal(1, t->ledger.lists[MARK_TTL].count);
    assert_non_null(node(t, "/zookeeper/config")); /* made where missing */
    assert_int_equal(3, acl_count(store_acls(tree_store(t))) +
                            1); /* two of the file; READ is config's as well */
    tree_checks(t);
    tree_destroy(t);
}

static void what_cannot_be_a_snapshot_is_told_apart(void **state)
{
    (void)state;
    struct tree *t = tree_empty();
    struct stat_persisted zero = {0};
    assert_int_equal(0, tree_load_begin(t, 1));
    assert_int_equal(0, tree_load_node(t, text(""), text(""), -1, &zero));
    assert_int_equal(ZK_NONODE, tree_load_node(t, text("/a/b"), text(""), -1, &zero));
    assert_int_equal(0, tree_load_node(t, text("/a"), text(""), -1, &zero));
    assert_int_equal(ZK_NODEEXISTS, tree_load_node(t, text("/a"), text(""), -1, &zero));
    static const char *bad[] = {"/", "//", "a", "/a/", "/a//b", "/\x01", NULL};
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(ZK_BADARGUMENTS, tree_load_node(t, text(bad[i]), text(""), -1, &zero));
    assert_int_equal(ZK_MARSHALLINGERROR, tree_load_acl(t, 1, BYTES_OF("\0\0\0\1\0\0\0\1")));
    assert_int_equal(ZK_MARSHALLINGERROR, tree_load_acl(t, 1, BYTES_OF("\0\0\0\0x")));
    assert_int_equal(
        0, tree_load_acl(t, 1, BYTES_OF("\xff\xff\xff\xff"))); /* a null vector lets everybody in */
    assert_int_equal(0, tree_load_node(t, text("/open"), text(""), 1, &zero));
    assert_int_equal(0, tree_load_node(t, text("/lost"), text(""), 99, &zero)); /* ZOOKEEPER-4846 */
    assert_int_equal(0, tree_load_end(t));
    assert_int_equal(0, tree_load_finish(t));
    struct auth_set *auth = auth_set_of_ip("1.2.3.4");
    assert_true(acl_allows(store_acls(tree_store(t)), node(t, "/open")->acl, PERM_ALL, auth));
    assert_false(acl_allows(store_acls(tree_store(t)), node(t, "/lost")->acl, PERM_ALL, auth));
    auth_set_drop(auth);
    tree_checks(t);
    tree_destroy(t);
}

/* A fuzzy snapshot can hold ephemerals of a session that it does not list. */
static void ephemerals_without_a_session_are_named_and_closed(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    struct env e;
    env_init(&e, &config);
    tree_destroy(e.t);
    e.t = tree_create(&config);
    struct stat_persisted zero = {0}, owned = {.ephemeral_owner = 55};
    assert_int_equal(0, tree_load_begin(e.t, 9));
    assert_int_equal(0, tree_load_session(e.t, SESSION_A, 4000));
    assert_int_equal(0, tree_load_node(e.t, text(""), text(""), -1, &zero));
    assert_int_equal(0, tree_load_node(e.t, text("/x"), text(""), -1, &owned));
    assert_int_equal(0, tree_load_node(e.t, text("/x/below"), text(""), -1, &zero));
    assert_int_equal(0, tree_load_end(e.t));
    assert_int_equal(0, tree_load_finish(e.t));
    session_id_t orphans[4];
    assert_int_equal(1, tree_orphans_copy(e.t, orphans, 4));
    assert_int_equal(55, orphans[0]);
    assert_int_equal(1, tree_session_count(e.t));
    e.zxid = 9;
    assert_int_equal(0, env_send_server(&e, 55, OP_CLOSE_SESSION));
    assert_null(env_node(&e, "/x"));
    assert_int_equal(0, tree_orphans_copy(e.t, orphans, 4));
    tree_checks(e.t);
    env_free(&e);
}

/* Server id 255 is possible where TTL types are off: its sessions begin with the TTL's byte. */
static void sessions_of_server_255_are_no_ttls(void **state)
{
    (void)state;
    const session_id_t session = (session_id_t)0xff12345678900000;
    struct tree_config config = env_config();
    struct env e;
    env_init(&e, &config);
    env_session(&e, session, 30000);
    assert_int_equal(0, env_create_as(&e, session, OP_CREATE, "/e", "", 1));
    assert_true(stat_long(env_node(&e, "/e"), STAT_OWNER) == session);
    assert_int_equal(1, store_counters(tree_store(e.t))->ephemerals);
    assert_int_equal(ZK_NOCHILDRENFOREPHEMERALS, env_create(&e, "/e/x"));
    assert_int_equal(0, env_send(&e, session, OP_CLOSE_SESSION));
    assert_null(env_node(&e, "/e"));
    tree_checks(e.t);
    env_free(&e);
}

static void loaded_txns_are_visible_at_once(void **state)
{
    (void)state;
    struct tree *t = tree_empty();
    assert_int_equal(0, tree_load_begin(t, 0));
    assert_int_equal(0, tree_load_end(t));
    struct buffer body;
    buffer_init(&body, 1 << 16);
    for (int i = 1; i <= 5000; i++) {
        struct txn_header h = {.client_id = i, .zxid = i, .type = OP_CREATE_SESSION};
        body.size = 0;
        buffer_put_int(&body, 1000);
        assert_int_equal(0, tree_apply(t, &h, buffer_bytes(&body)));
        assert_int_equal(i, store_visible(tree_store(t)));
    }
    assert_int_equal(0, tree_load_finish(t));
    assert_int_equal(5000, tree_session_count(t));
    assert_true(t->ledger.undo_mask < 1024); /* nothing was kept for looking back */
    tree_checks(t);
    buffer_free(&body);
    tree_destroy(t);
}

int main(void)
{
    reader_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_come_back_with_every_number),
        cmocka_unit_test(what_cannot_be_a_snapshot_is_told_apart),
        cmocka_unit_test(ephemerals_without_a_session_are_named_and_closed),
        cmocka_unit_test(sessions_of_server_255_are_no_ttls),
        cmocka_unit_test(loaded_txns_are_visible_at_once),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    reader_unregister();
    return rc;
}
