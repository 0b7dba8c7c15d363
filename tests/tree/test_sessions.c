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

static void sessions_are_found_with_their_timeout(void **state)
{
    struct env *e = *state;
    int32_t timeout = 0;
    assert_true(tree_session_find(e->t, SESSION_A, &timeout));
    assert_int_equal(30000, timeout);
    assert_false(tree_session_find(e->t, SESSION_B, NULL));
    assert_int_equal(1, tree_session_count(e->t));
    env_session(e, SESSION_A, 4000); /* resumed elsewhere with another one */
    assert_true(tree_session_find(e->t, SESSION_A, &timeout));
    assert_int_equal(4000, timeout);
    assert_int_equal(1, tree_session_count(e->t));
}

static void closing_removes_the_sessions_ephemerals_and_nothing_else(void **state)
{
    struct env *e = *state;
    env_session(e, SESSION_B, 30000);
    assert_int_equal(0, env_create(e, "/d"));
    for (int i = 0; i < 100; i++) {
        char path[32];
        snprintf(path, sizeof path, "/d/%d", i);
        assert_int_equal(0,
                         env_create_as(e, i % 2 ? SESSION_A : SESSION_B, OP_CREATE, path, "", 1));
    }
    assert_int_equal(0, env_delete(e, "/d/1", -1));
    assert_int_equal(0, env_send(e, SESSION_A, OP_CLOSE_SESSION));
    assert_int_equal(OP_CLOSE_SESSION, env_entry_type(e));
    assert_int_equal(49, be32_load(e->last_entry.data + 32));
    assert_int_equal(50, version_num_children(env_node(e, "/d")));
    assert_non_null(env_node(e, "/d/0"));
    assert_null(env_node(e, "/d/3"));
    assert_int_equal(e->zxid, stat_long(env_node(e, "/d"), STAT_PZXID));
    assert_int_equal(1, tree_session_count(e->t));
    assert_int_equal(ZK_SESSIONEXPIRED, env_create_as(e, SESSION_A, OP_CREATE, "/late", "", 1));
    assert_int_equal(0, env_send_server(e, SESSION_A, OP_CLOSE_SESSION)); /* twice: an empty one */
    assert_int_equal(48, e->last_entry.size);
}

static void a_close_taken_back_brings_everything_back(void **state)
{
    struct env *e = *state;
    struct buffer before, after;
    buffer_init(&before, 1 << 22);
    buffer_init(&after, 1 << 22);
    for (int i = 0; i < 1000; i++) {
        char path[32];
        snprintf(path, sizeof path, "/e%d", i);
        assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE, path, "", 1));
    }
    tree_publish(e->t);
    tree_dump(e->t, &before);
    zxid_t z = e->zxid;
    assert_int_equal(0, env_send(e, SESSION_A, OP_CLOSE_SESSION));
    env_session(e, SESSION_A, 5); /* and the id comes back, and is closed again */
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE, "/e5", "", 1));
    assert_int_equal(0, env_send(e, SESSION_A, OP_CLOSE_SESSION));
    tree_rollback(e->t, z);
    e->zxid = z;
    tree_dump(e->t, &after);
    assert_dumps_equal(&before, &after, "rollback", 0);
    buffer_free(&before);
    buffer_free(&after);
}

static uint32_t ephemerals(struct env *e, const char *prefix)
{
    struct buffer out;
    buffer_init(&out, 1 << 20);
    tree_ephemerals_write(e->t, SESSION_A, text(prefix), &out);
    struct jute_reader r = jute_reader_of(out.data, out.size);
    int32_t n = jute_read_int(&r);
    for (int32_t i = 0; i < n; i++)
        (void)jute_read_bytes(&r);
    assert_false(r.failed || jute_left(&r));
    buffer_free(&out);
    return (uint32_t)n;
}

static void ephemerals_are_listed_by_plain_prefix(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE, "/e", "", 1));
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE, "/e2", "", 1));
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE, "/f", "", 1));
    assert_int_equal(2, ephemerals(e, "/e"));
    assert_int_equal(1, ephemerals(e, "/e2"));
    assert_int_equal(3, ephemerals(e, "/"));
    assert_int_equal(3, ephemerals(e, ""));
    assert_int_equal(3, ephemerals(e, " / "));
    assert_int_equal(3, ephemerals(e, NULL));
    assert_int_equal(0, ephemerals(e, "//"));
    assert_int_equal(0, ephemerals(e, "e"));
}

struct seen_list {
    struct tree_session *rows;
    int count;
};

static void seen_put(void *ctx, session_id_t id, int32_t timeout_ms)
{
    struct seen_list *list = ctx;
    list->rows[list->count++] = (struct tree_session){id, timeout_ms};
}

/* Sessions as of an earlier zxid, against a record of what they were. */
static void sessions_can_be_looked_at_as_of_any_pending_zxid(void **state)
{
    (void)state;
    enum { TXNS = 400, IDS = 12 };
    struct ledger l;
    int32_t history[TXNS + 1][IDS] = {{0}}; /* timeouts, 0 = no session */
    uint64_t random = 88172645463325252u;
    assert_int_equal(0, ledger_init(&l));
    for (int z = 1; z <= TXNS; z++) {
        memcpy(history[z], history[z - 1], sizeof history[z]);
        ledger_begin(&l, z);
        for (int n = 0; n < 3; n++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            int id = (int)(random >> 33) % IDS, timeout = (int)(random >> 20) % 3 ? z * 10 + n : 0;
            assert_int_equal(0, timeout ? ledger_session_set(&l, id + 1, timeout)
                                        : ledger_session_clear(&l, id + 1));
            history[z][id] = timeout;
        }
        assert_int_equal(0, ledger_end(&l, (uint64_t)z));
        if (z % 50 == 0) {
            ledger_forget(&l, z - 60);
            ledger_check(&l);
        }
    }
    for (int z = TXNS; z >= 340; z--) {
        struct tree_session seen[IDS];
        struct seen_list list = {seen, 0};
        int count = 0;
        ledger_each_session_at(&l, z, seen_put, &list);
        for (int id = 0; id < IDS; id++)
            count += history[z][id] != 0;
        assert_int_equal(count, list.count);
        for (int i = 0; i < list.count; i++)
            assert_int_equal(history[z][seen[i].id - 1], seen[i].timeout_ms);
        assert_int_equal(z, ledger_digest_at(&l, z));
    }
    ledger_rollback(&l, 350);
    assert_int_equal(350, ledger_newest(&l));
    for (int id = 0; id < IDS; id++) {
        const struct owner *o = ledger_owner(&l, id + 1);
        assert_int_equal(history[350][id], o && o->is_session ? o->timeout_ms : 0);
    }
    ledger_check(&l);
    ledger_free(&l);
}

int main(void)
{
    reader_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sessions_are_found_with_their_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_removes_the_sessions_ephemerals_and_nothing_else,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_close_taken_back_brings_everything_back, setup, teardown),
        cmocka_unit_test_setup_teardown(ephemerals_are_listed_by_plain_prefix, setup, teardown),
        cmocka_unit_test(sessions_can_be_looked_at_as_of_any_pending_zxid),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    reader_unregister();
    return rc;
}
