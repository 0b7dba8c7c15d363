/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tests/tree/tree_dump.h"

static int setup(void **state)
{
    struct env *e = malloc(sizeof *e);
    struct tree_config config = env_config();
    env_init(e, &config);
    env_session(e, SESSION_A, 30000);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    tree_checks(((struct env *)*state)->t);
    env_free(*state);
    free(*state);
    return 0;
}

static void put_op_create(struct env *e, int32_t op, const char *path, const char *data,
                          int32_t flags)
{
    put_multi_header(&e->body, op);
    put_create(&e->body, path, data, flags);
}

static void put_op_version(struct env *e, int32_t op, const char *path, int32_t version)
{
    put_multi_header(&e->body, op);
    put_path_version(&e->body, path, version);
}

static void put_op_set(struct env *e, const char *path, const char *data, int32_t version)
{
    put_multi_header(&e->body, OP_SET_DATA);
    put_set_data(&e->body, path, data, version);
}

static int32_t send_multi(struct env *e)
{
    put_multi_end(&e->body);
    return env_send(e, SESSION_A, OP_MULTI);
}

static void assert_hex(const uint8_t *data, size_t size, const char *hex)
{
    size_t n = 0;
    unsigned value;
    for (const char *p = hex; *p; p += 2) {
        while (*p == ' ')
            p++;
        assert_int_equal(1, sscanf(p, "%2x", &value));
        assert_true(n < size);
        if (data[n] != value)
            fail_msg("byte %zu is %02x, not %02x", n, data[n], value);
        n++;
    }
    assert_int_equal(n, size);
}

/* client-protocol.md 15.4 */
static void a_failed_multi_is_answered_as_in_the_worked_example(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, env_create(e, "/a"));
    assert_int_equal(0, env_set_data(e, "/a", "yo", -1));
    zxid_t before = e->zxid;
    uint64_t digest = tree_digest(e->t);
    put_op_version(e, OP_CHECK, "/a", 1);
    put_op_create(e, OP_CREATE, "/b", "", 0);
    put_op_version(e, OP_DELETE, "/nope", -1);
    put_op_set(e, "/a", "z", -1);
    assert_int_equal(0, send_multi(e));
    assert_hex(
        e->reply.data, e->reply.size,
        "ffffffff 00 00000000 00000000 ffffffff 00 00000000 00000000 ffffffff 00 ffffff9b ffffff9b"
        "ffffffff 00 fffffffe fffffffe ffffffff 01 ffffffff");
    assert_int_equal(before + 1, e->zxid);
    assert_true(digest == tree_digest(e->t));
    assert_null(env_node(e, "/b"));
    assert_int_equal(OP_MULTI, env_entry_type(e));
    struct tree_txn *txns = tree_commit(e->t, e->zxid), *last = txns;
    while (last->next)
        last = last->next;
    assert_int_equal(e->zxid, last->zxid);
    assert_int_equal(0, last->change_count); /* no watch fires */
    store_show(tree_store(e->t), e->zxid);
    store_retire(tree_store(e->t), &txns);
}

/* disk-formats.md 3.11; the cversion of the example's parent was 5. */
static void a_failed_multi_is_logged_as_in_the_worked_example(void **state)
{
    struct env *e = *state;
    for (char c = 'a'; c <= 'e'; c++)
        assert_int_equal(0, env_create(e, (char[]){'/', c, 0}));
    put_op_create(e, OP_CREATE, "/m2", "1", 0);
    put_op_version(e, OP_DELETE, "/nope", -1);
    put_op_set(e, "/a", "z", -1);
    assert_int_equal(0, send_multi(e));
    assert_hex(
        e->last_entry.data + 32, e->last_entry.size - 32 - 12,
        "00000003 00000001 0000002c 000000032f6d32 0000000131 00000001 0000001f 00000005776f726c64"
        "00000006616e796f6e65 00 00000006 ffffffff 00000004 ffffff9b ffffffff 00000004 fffffffe");
    assert_int_equal(TXN_DIGEST_VERSION, be32_load(e->last_entry.data + e->last_entry.size - 12));
    assert_true(be64_load(e->last_entry.data + e->last_entry.size - 8) == tree_digest(e->t));
}

/* client-protocol.md 15.5 */
static void a_multi_that_succeeds_answers_each_operation_by_its_kind(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, env_create(e, "/a"));
    put_op_version(e, OP_CHECK, "/a", 0);
    put_op_create(e, OP_CREATE, "/b", "", 0);
    put_op_create(e, OP_CREATE2, "/b/c", "", 0);
    put_op_set(e, "/a", "z", -1);
    put_op_version(e, OP_DELETE, "/b/c", -1);
    assert_int_equal(0, send_multi(e));
    const uint8_t *p = e->reply.data;
    assert_hex(p, 9, "0000000d 00 00000000");
    assert_hex(p + 9, 15, "00000001 00 00000000 00000002 2f62");
    assert_hex(p + 24, 17, "0000000f 00 00000000 00000004 2f622f63");
    assert_int_equal(e->zxid, be64_load(p + 41)); /* czxid of /b/c */
    assert_hex(p + 109, 9, "00000005 00 00000000");
    assert_int_equal(1, be32_load(p + 118 + STAT_VERSION));
    assert_hex(p + 186, 18, "00000002 00 00000000 ffffffff 01 ffffffff");
    assert_int_equal(204, e->reply.size);
    assert_data(e, "/a", "z");
    assert_null(env_node(e, "/b/c"));
}

static void an_empty_multi_takes_a_zxid_and_answers_the_end_only(void **state)
{
    struct env *e = *state;
    zxid_t before = e->zxid;
    assert_int_equal(0, send_multi(e));
    assert_hex(e->reply.data, e->reply.size, "ffffffff 01 ffffffff");
    assert_int_equal(before + 1, e->zxid);
    assert_int_equal(OP_MULTI, env_entry_type(e));
}

static void later_operations_see_the_earlier_ones(void **state)
{
    struct env *e = *state;
    put_op_create(e, OP_CREATE, "/n", "", 0);
    put_op_create(e, OP_CREATE, "/n/s-", "", 3);
    put_op_create(e, OP_CREATE, "/n/s-", "", 2);
    put_op_set(e, "/n", "1", 0);
    put_op_set(e, "/n", "22", 1);
    put_op_version(e, OP_CHECK, "/n", 2);
    put_op_version(e, OP_DELETE, "/n/s-0000000000", -1);
    put_op_version(e, OP_DELETE, "/n/s-0000000001", 0);
    put_op_version(e, OP_DELETE, "/n", 2);
    put_op_create(e, OP_CREATE, "/n", "again", 0);
    assert_int_equal(0, send_multi(e));
    assert_int_not_equal(-1, (int32_t)be32_load(e->reply.data));
    assert_data(e, "/n", "again");
    assert_int_equal(0, stat_int(env_node(e, "/n"), STAT_VERSION));
    assert_int_equal(0, env_node(e, "/n")->cversion);
}

static void a_failed_multi_gives_its_sequence_numbers_back(void **state)
{
    struct env *e = *state;
    struct buffer before, after;
    buffer_init(&before, 1 << 20);
    buffer_init(&after, 1 << 20);
    assert_int_equal(0, env_create(e, "/s"));
    assert_int_equal(0, env_create(e, "/zookeeper/quota/s"));
    tree_dump(e->t, &before);
    put_op_create(e, OP_CREATE, "/s/x", "", 2);
    put_op_create(e, OP_CREATE, "/s/x", "", 3);
    put_op_create(e, OP_CREATE_CONTAINER, "/s/c", "", 4);
    put_op_create(e, OP_CREATE, "/zookeeper/quota/s/zookeeper_limits", "count=1", 0);
    put_op_version(e, OP_CHECK, "/s", 1);
    assert_int_equal(0, send_multi(e));
    assert_int_equal(-1, (int32_t)be32_load(e->reply.data));
    tree_dump(e->t, &after);
    assert_dumps_equal(&before, &after, "failed multi", 0);
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE, "/s/x", "", 2));
    assert_reply_path(e, 0, "/s/x0000000000");
    buffer_free(&before);
    buffer_free(&after);
}

/* semantics.md, Additions 1: a null where none may be fails the whole request, when it is
 * reached. */
static void nulls_inside_a_multi_fail_the_whole_request(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, env_create(e, "/a"));
    for (int i = 0; i < 5; i++) {
        put_op_create(e, OP_CREATE, "/b", "", 0);
        switch (i) {
        case 0:
            put_op_create(e, OP_CREATE, NULL, "", 0);
            break;
        case 1:
            put_op_version(e, OP_DELETE, NULL, -1);
            break;
        case 2:
            put_op_set(e, NULL, "", -1);
            break;
        case 3:
            put_op_version(e, OP_CHECK, NULL, -1);
            break;
        default:
            put_multi_header(&e->body, OP_CREATE);
            buffer_put_bytes(&e->body, text("/c"));
            buffer_put_bytes(&e->body, text(""));
            buffer_put_int(&e->body, 1);
            put_acl(&e->body, 31, "digest", NULL);
            buffer_put_int(&e->body, 0);
        }
        zxid_t before = e->zxid;
        assert_int_equal(ZK_MARSHALLINGERROR, send_multi(e));
        assert_int_equal(0, e->reply.size);
        assert_int_equal(before + 1, e->zxid);
        assert_int_equal(OP_ERROR, env_entry_type(e));
        assert_null(env_node(e, "/b"));
    }
    put_op_version(e, OP_DELETE, "/nope", -1); /* fails first, and the null counts all the same */
    put_op_version(e, OP_DELETE, NULL, -1);
    assert_int_equal(ZK_MARSHALLINGERROR, send_multi(e));
    assert_int_equal(0, e->reply.size);
}

/* semantics.md, Additions 5; disk-formats.md section 3.4 for the types in the log. */
static void result_and_log_types_follow_what_was_done(void **state)
{
    struct env *e = *state;
    static const struct {
        int32_t op, flags, result, logged;
    } rows[] = {{OP_CREATE, 0, 1, 1},     {OP_CREATE, 4, 15, 19},
                {OP_CREATE2, 0, 15, 1},   {OP_CREATE_CONTAINER, 0, 15, 19},
                {OP_CREATE_TTL, 0, 1, 1}, {OP_CREATE_TTL, 5, 15, 21}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[] = {'/', (char)('a' + i), 0};
        put_op_create(e, rows[i].op, path, "", rows[i].flags);
        if (rows[i].op == OP_CREATE_TTL)
            buffer_put_long(&e->body, 100);
        assert_int_equal(0, send_multi(e));
        assert_int_equal(rows[i].result, be32_load(e->reply.data));
        assert_int_equal(rows[i].logged, be32_load(e->last_entry.data + 36));
    }
    put_op_create(e, OP_CREATE_TTL, "/bad", "", 9);
    buffer_put_long(&e->body, 100);
    assert_int_equal(0, send_multi(e)); /* an operation error, not a decode error */
    assert_int_equal(ZK_BADARGUMENTS, (int32_t)be32_load(e->reply.data + 5));
}

/* 10 000 operations, then once more with the last one failing. */
static void a_multi_of_ten_thousand_operations_is_done_or_undone(void **state)
{
    struct env *e = *state;
    for (int failing = 1; failing >= 0; failing--) {
        put_op_create(e, OP_CREATE, "/d", "", 0);
        for (int i = 0; i < 9998; i++)
            put_op_create(e, OP_CREATE, "/d/n", "", i % 2 ? 2 : 3);
        put_op_version(e, OP_CHECK, "/d", failing);
        assert_int_equal(0, send_multi(e));
        if (failing) {
            assert_int_equal(10000u * 13 + 9, e->reply.size);
            assert_int_equal(ZK_BADVERSION, (int32_t)be32_load(e->reply.data + 9999 * 13 + 5));
            assert_null(env_node(e, "/d"));
            assert_true(e->last_entry.size <= ENTRY_BYTES_MAX);
        }
    }
    assert_int_equal(9998, version_num_children(env_node(e, "/d")));
    assert_int_equal(0, env_send(e, SESSION_A, OP_CLOSE_SESSION));
    assert_int_equal(4999, version_num_children(env_node(e, "/d")));
}

/* What a multi grows to must fit the log; its refusal must fit as well. */
static void a_multi_too_large_to_log_is_refused_in_a_form_that_fits(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    config.entry_bytes_max = 1000;
    struct env e;
    env_init(&e, &config);
    for (int i = 0; i < 40; i++)
        put_op_version(&e, OP_CHECK, "/", -1); /* 17 bytes each in the log as well */
    for (int i = 0; i < 20; i++)
        put_op_create(&e, OP_CREATE, "/n", "", 2); /* the suffix makes each longer than it came */
    assert_int_equal(0, send_multi(&e));
    assert_true(e.last_entry.size <= 1000);
    assert_int_equal(OP_MULTI, env_entry_type(&e));
    assert_int_equal(60u * 13 + 9, e.reply.size);
    assert_int_equal(ZK_OK, (int32_t)be32_load(e.reply.data + 5));
    assert_int_equal(ZK_RUNTIMEINCONSISTENCY, (int32_t)be32_load(e.reply.data + 59 * 13 + 5));
    assert_int_equal(1, version_num_children(env_node(&e, "/")));
    for (int i = 0; i < 200; i++)
        put_op_version(&e, OP_CHECK, "/", -1);
    assert_int_equal(ZK_BADARGUMENTS, send_multi(&e)); /* not even that fits: an error txn */
    assert_int_equal(36, e.last_entry.size);
    env_free(&e);
}

int main(void)
{
    reader_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_failed_multi_is_answered_as_in_the_worked_example, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failed_multi_is_logged_as_in_the_worked_example, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_multi_that_succeeds_answers_each_operation_by_its_kind,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_multi_takes_a_zxid_and_answers_the_end_only, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(later_operations_see_the_earlier_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_multi_gives_its_sequence_numbers_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nulls_inside_a_multi_fail_the_whole_request, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(result_and_log_types_follow_what_was_done, setup, teardown),
        cmocka_unit_test_setup_teardown(a_multi_of_ten_thousand_operations_is_done_or_undone, setup,
                                        teardown),
        cmocka_unit_test(a_multi_too_large_to_log_is_refused_in_a_form_that_fits),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    reader_unregister();
    return rc;
}
