/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tests/tree/tree_dump.h"

/* Paths due now, joined by blanks. */
static const char *due(struct env *e, int64_t now_ms, int64_t never_used_ms_max, uint32_t max)
{
    static char joined[1024];
    struct buffer out;
    buffer_init(&out, 1 << 16);
    uint32_t n = tree_reap_candidates(e->t, now_ms, never_used_ms_max, max, &out);
    struct jute_reader r = jute_reader_of(out.data, out.size);
    joined[0] = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct bytes path = jute_read_bytes(&r);
        snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%.*s", i ? " " : "",
                 (int)path.size, (const char *)path.data);
    }
    assert_false(r.failed || jute_left(&r));
    buffer_free(&out);
    return joined;
}

static void containers_are_due_when_they_had_children_and_have_none(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    struct env e;
    env_init(&e, &config);
    assert_int_equal(0, env_create_as(&e, SESSION_A, OP_CREATE_CONTAINER, "/new", "", 4));
    assert_int_equal(0, env_create_as(&e, SESSION_A, OP_CREATE_CONTAINER, "/used", "", 4));
    assert_int_equal(0, env_create(&e, "/used/x"));
    assert_string_equal("", due(&e, 1 << 30, 0, 10));
    assert_string_equal("/new", due(&e, 1501, 500, 10));
    assert_string_equal("", due(&e, 1500, 500, 10));
    assert_int_equal(0, env_delete(&e, "/used/x", -1));
    assert_string_equal("/used", due(&e, 1000, 0, 10));
    buffer_put_bytes(&e.body, text("/used"));
    assert_int_equal(0, env_send_server(&e, 0, OP_DELETE_CONTAINER));
    assert_string_equal("", due(&e, 1000, 0, 10));
    tree_rollback(e.t, e.zxid - 1);
    assert_string_equal("/used", due(&e, 1000, 0, 10));
    env_free(&e);
}

static void ttl_znodes_are_due_when_their_data_is_old_and_they_are_childless(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    struct env e;
    env_init(&e, &config);
    assert_int_equal(0, env_create_ttl(&e, "/t", 5, 100));
    assert_string_equal("", due(&e, 1100, 0, 10));
    assert_string_equal("/t", due(&e, 1101, 0, 10));
    e.now_ms = 1050;
    assert_int_equal(0, env_set_data(&e, "/t", "x", -1));
    assert_string_equal("", due(&e, 1150, 0, 10));
    assert_int_equal(0, env_create(&e, "/t/x"));
    assert_string_equal("", due(&e, 5000, 0, 10));
    assert_int_equal(0, env_delete(&e, "/t/x", -1));
    assert_string_equal("/t", due(&e, 5000, 0, 10)); /* children do not move mtime */
    env_free(&e);
}

static void a_bounded_scan_goes_round(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    struct env e;
    env_init(&e, &config);
    for (char c = 'a'; c <= 'e'; c++)
        assert_int_equal(0, env_create_ttl(&e, (char[]){'/', c, 0}, 5, 1));
    assert_string_equal("/a /b", due(&e, 5000, 0, 2));
    assert_string_equal("/c /d", due(&e, 5000, 0, 2));
    assert_string_equal("/e /a", due(&e, 5000, 0, 2));
    assert_string_equal("", due(&e, 5000, 0, 0));
    tree_checks(e.t);
    env_free(&e);
}

int main(void)
{
    reader_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(containers_are_due_when_they_had_children_and_have_none),
        cmocka_unit_test(ttl_znodes_are_due_when_their_data_is_old_and_they_are_childless),
        cmocka_unit_test(a_bounded_scan_goes_round),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    reader_unregister();
    return rc;
}
