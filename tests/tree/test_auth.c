/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tests/tree/tree_env.h"

#define SUPER_ADMIN "super:xQJmxLMiHGwaqBvst5y6rkB6HQs="

static struct auth_config config = {
    .digest_enabled = true, .digest_algorithm = "SHA1", .super_digest = SUPER_ADMIN};

static bool has(const struct auth_set *set, const char *scheme, const char *id)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (bytes_equal(set->ids[i].scheme, text(scheme)) && bytes_equal(set->ids[i].id, text(id)))
            return true;
    return false;
}

static int serve(struct auth_set **set, const char *scheme, const char *auth)
{
    return auth_serve(&config, set, text(scheme), text(auth));
}

/* semantics.md 6.3; without a colon as DigestAuthenticationProvider.generateDigest of 3.8.0
 * answers. */
static void digest_logins_give_the_known_ids(void **state)
{
    (void)state;
    struct auth_set *set = auth_set_of_ip("10.0.0.1");
    assert_int_equal(0, serve(&set, "digest", "bob:pw"));
    assert_int_equal(0, serve(&set, "digest", "bob"));
    assert_int_equal(0, serve(&set, "digest", ""));
    assert_int_equal(0, serve(&set, "digest", ":x"));
    assert_int_equal(0, serve(&set, "digest", "bob:pw")); /* repeated: adds nothing */
    assert_int_equal(5, set->count);
    assert_true(has(set, "ip", "10.0.0.1"));
    assert_true(has(set, "digest", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM="));
    assert_true(has(set, "digest", "bob:SBgazSKz7a68ikR4aKfffOYpkgo="));
    assert_true(has(set, "digest", ":2jmj7l5rSw0yVb/vlWAYkK/YBwk="));
    assert_true(has(set, "digest", ":57b19mLA2vMhI/edHul/TytWqWE="));
    assert_false(set->super);
    auth_set_drop(set);
}

static void the_super_login_adds_both_ids(void **state)
{
    (void)state;
    struct auth_set *set = auth_set_of_ip("10.0.0.1");
    assert_int_equal(0, serve(&set, "digest", "super:wrong"));
    assert_false(set->super);
    assert_int_equal(0, serve(&set, "digest", "super:admin"));
    assert_true(set->super && has(set, "super", "") && has(set, "digest", SUPER_ADMIN));
    auth_set_drop(set);
}

static void schemes_without_a_login_fail_and_change_nothing(void **state)
{
    (void)state;
    static const char *schemes[] = {"world", "super", "sasl", "x509", "auth", "nonsense", "", NULL};
    struct auth_set *set = auth_set_of_ip("10.0.0.1"), *before = set;
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(ZK_AUTHFAILED, serve(&set, schemes[i], "a:b"));
        assert_ptr_equal(before, set);
    }
    assert_int_equal(ZK_AUTHFAILED, serve(&set, "digest", NULL));
    assert_int_equal(0, serve(&set, "ip", "anything"));
    assert_int_equal(1, set->count);
    config.digest_enabled = false;
    assert_int_equal(ZK_AUTHFAILED, serve(&set, "digest", "bob:pw"));
    config.digest_enabled = true;
    auth_set_drop(set);
}

static void other_digest_algorithms_can_be_named(void **state)
{
    (void)state;
    struct auth_config sha256 = {.digest_enabled = true, .digest_algorithm = "SHA-256"};
    struct auth_set *set = auth_set_of_ip("10.0.0.1");
    assert_int_equal(0, auth_serve(&sha256, &set, text("digest"), text("bob:pw")));
    assert_int_equal(2, set->count);
    assert_true(has(set, "digest", "bob:lXdkgIa9O1CDDWAryQ0pe9wUYi2LkG6M7Uocn/Vyn2g="));
    sha256.digest_algorithm = "no such digest";
    assert_int_equal(ZK_AUTHFAILED, auth_serve(&sha256, &set, text("digest"), text("bob:pw")));
    auth_set_drop(set);
}

static void assert_users(const struct auth_set *set, const char *users)
{
    char got[256] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        struct bytes id = set->ids[i].id;
        const uint8_t *colon = memchr(id.data, ':', id.size);
        int bytes = colon ? (int)(colon - id.data) : (int)id.size;
        at += (size_t)snprintf(got + at, sizeof got - at, "%.*s ", bytes, (const char *)id.data);
    }
    assert_string_equal(users, got);
}

/* Goal: the order of the ids, which ACLs and whoAmI show, is that of ZooKeeper. Method: what Java
 * 17 printed for a ConcurrentHashMap of Debian's Id, filled in this order. */
static void ids_are_in_the_order_of_a_java_map(void **state)
{
    (void)state;
    static const char *logins[] = {"nocolon", "bob:pw", "zo\u00eb:pw", "\U0001f600:pw", "alice:x"};
    struct auth_set *set = auth_set_of_ip("10.0.0.1");
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(0, serve(&set, "digest", logins[i]));
    assert_users(set, "bob \U0001f600 alice nocolon 10.0.0.1 zo\u00eb ");
    auth_set_drop(set);
    set = auth_set_of_ip("10.0.0.1");
    for (int i = 0; i < 20; i++) { /* the map grows once */
        char login[8];
        snprintf(login, sizeof login, "u%d:p", i);
        assert_int_equal(0, serve(&set, "digest", login));
    }
    assert_users(set, "u3 u18 u17 u5 u7 u11 u14 u19 10.0.0.1 u9 u15 u2 u8 u12 u0 u1 u13 u6 u16 "
                      "u4 u10 ");
    auth_set_drop(set);
}

static void ids_of_a_connection_are_bounded(void **state)
{
    (void)state;
    struct auth_set *set = auth_set_of_ip("10.0.0.1");
    char login[AUTH_ID_BYTES_MAX + 2];
    int accepted = 0;
    for (int i = 0; i < 200; i++) {
        snprintf(login, sizeof login, "u%d:p", i);
        accepted += serve(&set, "digest", login) == 0;
    }
    assert_int_equal(AUTH_IDS_MAX - 1, accepted);
    assert_int_equal(AUTH_IDS_MAX, set->count);
    auth_set_drop(set);
    set = auth_set_of_ip("10.0.0.1");
    memset(login, 'u', sizeof login - 1);
    login[sizeof login - 1] = 0;
    assert_int_equal(ZK_AUTHFAILED, serve(&set, "digest", login));
    login[AUTH_ID_BYTES_MAX] = 0; /* the id would be longer than one may be */
    assert_int_equal(ZK_AUTHFAILED, serve(&set, "digest", login));
    login[AUTH_ID_BYTES_MAX - 40] = 0;
    assert_int_equal(0, serve(&set, "digest", login));
    auth_set_drop(set);
}

static void a_set_in_use_stays_as_it_was(void **state)
{
    (void)state;
    struct auth_set *set = auth_set_of_ip("10.0.0.1"), *in_flight = auth_set_hold(set);
    assert_int_equal(0, serve(&set, "digest", "bob:pw"));
    assert_int_equal(1, in_flight->count);
    assert_int_equal(2, set->count);
    auth_set_drop(set);
    assert_true(has(in_flight, "ip", "10.0.0.1"));
    auth_set_drop(in_flight);
    auth_set_drop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest_logins_give_the_known_ids),
        cmocka_unit_test(the_super_login_adds_both_ids),
        cmocka_unit_test(schemes_without_a_login_fail_and_change_nothing),
        cmocka_unit_test(other_digest_algorithms_can_be_named),
        cmocka_unit_test(ids_are_in_the_order_of_a_java_map),
        cmocka_unit_test(ids_of_a_connection_are_bounded),
        cmocka_unit_test(a_set_in_use_stays_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
