/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tests/tree/tree_dump.h"

static int setup_with(void **state, bool enforce)
{
    struct env *e = malloc(sizeof *e);
    struct tree_config config = env_config();
    config.enforce_quota = enforce;
    env_init(e, &config);
    env_session(e, SESSION_A, 30000);
    *state = e;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, false);
}

static int setup_enforced(void **state)
{
    return setup_with(state, true);
}

static int teardown(void **state)
{
    tree_checks(((struct env *)*state)->t);
    env_free(*state);
    free(*state);
    return 0;
}

/* The chain of parents and both nodes, as the quota tool makes them. */
static void quota_make(struct env *e, const char *subject, const char *limits)
{
    static const char root[] = "/zookeeper/quota";
    char path[256];
    size_t n = sizeof root - 1 + strlen(subject);
    for (size_t end = 1; end <= strlen(subject); end++) {
        if (subject[end] && subject[end] != '/')
            continue;
        snprintf(path, sizeof path, "%s%.*s", root, (int)end, subject);
        (void)env_create(e, path);
    }
    snprintf(path + n, sizeof path - n, "/zookeeper_limits");
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE, path, limits, 0));
    snprintf(path + n, sizeof path - n, "/zookeeper_stats");
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE, path, "count=0,bytes=0", 0));
    tree_publish(e->t);
}

static int32_t create(struct env *e, const char *path, const char *data)
{
    int32_t err = env_create_as(e, SESSION_A, OP_CREATE, path, data, 0);
    tree_publish(e->t); /* usage counts once it is visible */
    return err;
}

static void text_is_parsed_as_the_java_classes_do(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        struct quota_text q;
    } rows[] = {
        {"count=5,bytes=7", true, {5, 7, -1, -1}},
        {"bytes=7;count=5", true, {5, 7, -1, -1}},
        {"count=5,bytes=7=;byteHardLimit=9;countHardLimit=8", true, {5, 7, 9, 8}},
        {",;count=-1,;,bytes=0", true, {-1, 0, -1, -1}},
        {"other=3", true, {-1, -1, -1, -1}},
        {"", false, {0}},
        {"count", false, {0}},
        {"count=", false, {0}},
        {"count=x,bytes=1", false, {0}},
        {"count=1x", false, {0}},
        {"count=99999999999999999999", false, {0}},
        {"count=-", false, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct quota_text q;
        bool ok = quota_text_read(text(rows[i].text), &q);
        if (ok != rows[i].ok || (ok && memcmp(&q, &rows[i].q, sizeof q) != 0))
            fail_msg("row %zu", i);
    }
    assert_false(quota_text_read(BYTES_NULL, &(struct quota_text){0}));
    char out[QUOTA_TEXT_BYTES_MAX];
    quota_text_write(&(struct quota_text){5, 7, -1, -1}, out);
    assert_string_equal("count=5,bytes=7", out);
    quota_text_write(&(struct quota_text){-1, 7, 9, 8}, out);
    assert_string_equal("count=-1,bytes=7=;byteHardLimit=9;countHardLimit=8", out);
}

static void usage_follows_creates_deletes_and_data(void **state)
{
    struct env *e = *state;
    const char *stats = "/zookeeper/quota/q/zookeeper_stats";
    assert_int_equal(0, create(e, "/q", "12345"));
    assert_int_equal(0, create(e, "/q/a", "1"));
    quota_make(e, "/q", "count=100,bytes=100");
    assert_data(e, stats, "count=2,bytes=6"); /* the real usage, not what was written */
    int64_t mzxid = stat_long(env_node(e, stats), STAT_MZXID);
    uint64_t digest = tree_digest(e->t);
    assert_int_equal(0, create(e, "/q/b", "22"));
    assert_true(digest != tree_digest(e->t));
    assert_data(e, stats, "count=3,bytes=8");
    assert_int_equal(0, env_set_data(e, "/q", NULL, -1));
    assert_data(e, stats, "count=3,bytes=3");
    assert_int_equal(0, env_delete(e, "/q/b", -1));
    assert_data(e, stats, "count=2,bytes=1");
    assert_int_equal(0, create(e, "/qq", "not below"));
    assert_data(e, stats, "count=2,bytes=1");
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE, "/q/e", "eee", 1));
    assert_data(e, stats, "count=3,bytes=4");
    assert_int_equal(0, env_send(e, SESSION_A, OP_CLOSE_SESSION));
    assert_data(e, stats, "count=2,bytes=1");
    const struct version *v = env_node(e, stats); /* bookkeeping leaves no trace in Stat */
    assert_int_equal(mzxid, stat_long(v, STAT_MZXID));
    assert_int_equal(0, stat_int(v, STAT_VERSION));
    assert_int_equal(strlen("count=2,bytes=1"), stat_int(v, STAT_DATA_LENGTH));
}

static void bookkeeping_makes_no_change_records(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, create(e, "/q", ""));
    quota_make(e, "/q", "count=100");
    assert_int_equal(0, env_create(e, "/q/a"));
    struct tree_txn *txns = tree_commit(e->t, e->zxid);
    assert_int_equal(1, txns->change_count);
    store_show(tree_store(e->t), e->zxid);
    store_retire(tree_store(e->t), &txns);
}

static void only_the_deepest_quota_of_a_path_counts(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, create(e, "/q", ""));
    assert_int_equal(0, create(e, "/q/d", ""));
    quota_make(e, "/q", "count=100");
    quota_make(e, "/q/d", "count=100");
    assert_int_equal(0, create(e, "/q/d/x", "1"));
    assert_int_equal(0, create(e, "/q/y", "22"));
    assert_data(e, "/zookeeper/quota/q/d/zookeeper_stats", "count=2,bytes=1");
    assert_data(e, "/zookeeper/quota/q/zookeeper_stats", "count=3,bytes=2");
    assert_int_equal(0, env_delete(e, "/zookeeper/quota/q/d/zookeeper_limits", -1));
    assert_int_equal(0, create(e, "/q/d/z", "333"));
    assert_data(e, "/zookeeper/quota/q/d/zookeeper_stats", "count=2,bytes=1");
    assert_data(e, "/zookeeper/quota/q/zookeeper_stats", "count=4,bytes=5");
}

static void hard_limits_are_enforced_and_soft_ones_are_not(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, create(e, "/h", ""));
    assert_int_equal(0, create(e, "/s", ""));
    quota_make(e, "/h", "count=1,bytes=1=;byteHardLimit=10;countHardLimit=3");
    quota_make(e, "/s", "count=1,bytes=1");
    assert_int_equal(0, create(e, "/h/a", "12345"));
    assert_int_equal(ZK_QUOTAEXCEEDED, create(e, "/h/b", "123456"));
    assert_int_equal(0, create(e, "/h/b", "12345"));
    assert_int_equal(ZK_QUOTAEXCEEDED, create(e, "/h/c", ""));
    assert_int_equal(ZK_QUOTAEXCEEDED,
                     env_set_data(e, "/h/a", "123456", 99)); /* before the version */
    assert_int_equal(ZK_BADVERSION,
                     env_set_data(e, "/h/a", "54321", 99)); /* same size: not checked */
    assert_int_equal(0, env_set_data(e, "/zookeeper/quota/h/zookeeper_limits",
                                     "count=-1,bytes=-1=;byteHardLimit=4", -1));
    assert_int_equal(0, create(e, "/s/a", "more than one byte"));
    assert_int_equal(ZK_QUOTAEXCEEDED,
                     env_set_data(e, "/h/a", "1", -1)); /* shrinks, but stays above */
    assert_int_equal(0, create(e, "/h/c", ""));
    assert_int_equal(0, env_set_data(e, "/zookeeper/quota/h/zookeeper_limits", "gibberish", -1));
    tree_publish(e->t);
    assert_int_equal(0, create(e, "/h/d", "as much as you like"));
}

static void without_enforcement_nothing_is_refused(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, create(e, "/h", ""));
    quota_make(e, "/h", "count=-1,bytes=-1=;byteHardLimit=1;countHardLimit=1");
    assert_int_equal(0, create(e, "/h/a", "12345"));
    assert_data(e, "/zookeeper/quota/h/zookeeper_stats", "count=2,bytes=5");
}

/* hazards.md row G and semantics.md section 21. */
static void odd_quota_nodes_are_plain_nodes(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, create(e, "/zookeeper/quota/zookeeper_limits", "count=0"));
    assert_int_equal(0, create(e, "/zookeeper/quota/zookeeper_stats", "mine"));
    assert_data(e, "/zookeeper/quota/zookeeper_stats", "mine");
    assert_int_equal(0, create(e, "/zookeeper_limits", ""));
    assert_int_equal(0, create(e, "/zookeeper/quotax", ""));
    assert_int_equal(0, create(e, "/zookeeper/quotax/zookeeper_limits", "count=0"));
    assert_int_equal(0, e->t->ledger.lists[MARK_QUOTA].count);
    assert_int_equal(0, create(e, "/a", ""));
    assert_int_equal(0, env_delete(e, "/zookeeper_limits", -1));
    assert_int_equal(0, env_delete(e, "/zookeeper/quota/zookeeper_limits", -1));
    assert_int_equal(0, create(e, "/zookeeper/quota/a", ""));
    assert_int_equal(0, create(e, "/zookeeper/quota/a/zookeeper_limits", "hostile text \xff"));
    assert_int_equal(0, create(e, "/a/b", "")); /* no stats node at all */
    assert_int_equal(0, create(e, "/zookeeper/quota/a/zookeeper_stats", ""));
    assert_int_equal(0, env_set_data(e, "/zookeeper/quota/a/zookeeper_stats", "hostile too", -1));
    assert_int_equal(0, create(e, "/a/c", ""));
    assert_data(e, "/zookeeper/quota/a/zookeeper_stats", "hostile too");
}

/* Written by a server whose snapshot was fuzzy: the stats are wrong and are counted anew before
 * anybody reads them. One was far too long, and a TTL znode. */
static void usage_is_counted_anew_after_loading(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    struct stat_persisted zero = {0}, ttl = {.ephemeral_owner = OWNER_TTL_MASK | 1000};
    static char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    const struct {
        const char *path, *data;
    } nodes[] = {{"", ""},
                 {"/a", "12"},
                 {"/a/b", "345"},
                 {"/zookeeper", ""},
                 {"/zookeeper/quota", ""},
                 {"/zookeeper/quota/a", ""},
                 {"/zookeeper/quota/a/zookeeper_limits", "count=9"},
                 {"/zookeeper/quota/a/zookeeper_stats", "count=77,bytes=77"},
                 {"/zookeeper/quota/a/b", ""},
                 {"/zookeeper/quota/a/b/zookeeper_limits", "count=9"},
                 {"/zookeeper/quota/a/b/zookeeper_stats", longer}};
    struct env e;
    env_init(&e, &config);
    tree_destroy(e.t);
    e.t = tree_create(&config);
    e.zxid = 9;
    assert_int_equal(0, tree_load_begin(e.t, 9));
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
        assert_int_equal(0, tree_load_node(e.t, text(nodes[i].path), text(nodes[i].data), -1,
                                           nodes[i].data == longer ? &ttl : &zero));
    assert_int_equal(0, tree_load_end(e.t));
    assert_data(&e, "/zookeeper/quota/a/zookeeper_stats", "count=2,bytes=5");
    assert_data(&e, "/zookeeper/quota/a/b/zookeeper_stats", "count=1,bytes=3");
    assert_int_equal(0, tree_load_finish(e.t));
    tree_checks(e.t);
    assert_int_equal(0, env_create(&e, "/a/c"));
    assert_data(&e, "/zookeeper/quota/a/zookeeper_stats", "count=3,bytes=5");
    tree_rollback(e.t, 9); /* the count of the load stays */
    e.zxid = 9;
    assert_data(&e, "/zookeeper/quota/a/zookeeper_stats", "count=2,bytes=5");
    assert_int_equal(0, env_create(&e, "/b"));
    assert_data(&e, "/zookeeper/quota/a/zookeeper_stats", "count=2,bytes=5");
    tree_checks(e.t);
    env_free(&e);
}

int main(void)
{
    reader_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_parsed_as_the_java_classes_do),
        cmocka_unit_test_setup_teardown(usage_follows_creates_deletes_and_data, setup, teardown),
        cmocka_unit_test_setup_teardown(bookkeeping_makes_no_change_records, setup, teardown),
        cmocka_unit_test_setup_teardown(only_the_deepest_quota_of_a_path_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(hard_limits_are_enforced_and_soft_ones_are_not,
                                        setup_enforced, teardown),
        cmocka_unit_test_setup_teardown(without_enforcement_nothing_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(odd_quota_nodes_are_plain_nodes, setup, teardown),
        cmocka_unit_test(usage_is_counted_anew_after_loading),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    reader_unregister();
    return rc;
}
