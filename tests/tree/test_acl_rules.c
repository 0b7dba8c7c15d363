/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tests/tree/tree_env.h"

static struct auth_set *auth_of(const char *ip, const char *digest)
{
    struct auth_set *set = auth_set_of_ip(ip);
    if (digest) {
        struct auth_set *with = auth_set_with(set, text("digest"), text(digest));
        auth_set_drop(set);
        set = with;
    }
    return set;
}

/* Is a holder of (ip, digest) let in by one entry? */
static bool allows(int32_t perms, const char *scheme, const char *id, int32_t wanted,
                   const char *ip, const char *digest)
{
    struct acl_table *table = acl_table_create(NULL, NULL);
    struct buffer wire;
    uint32_t acl;
    buffer_init(&wire, 1 << 16);
    buffer_put_int(&wire, 1);
    put_acl(&wire, perms, scheme, id);
    assert_int_equal(0, acl_intern(table, (struct bytes){wire.data, (uint32_t)wire.size}, &acl));
    struct auth_set *auth = auth_of(ip, digest);
    bool ok = acl_allows(table, acl, wanted, auth);
    auth_set_drop(auth);
    buffer_free(&wire);
    acl_table_destroy(table);
    return ok;
}

static void permissions_are_any_of_the_wanted_bits(void **state)
{
    (void)state;
    assert_true(allows(PERM_READ, "world", "anyone", PERM_READ | PERM_ADMIN, "1.2.3.4", NULL));
    assert_true(allows(PERM_ADMIN, "world", "anyone", PERM_READ | PERM_ADMIN, "1.2.3.4", NULL));
    assert_false(allows(PERM_READ, "world", "anyone", PERM_WRITE, "1.2.3.4", NULL));
    assert_false(allows(0, "world", "anyone", PERM_ALL, "1.2.3.4", NULL));
    assert_false(allows(PERM_ALL, "world", "nobody", PERM_READ, "1.2.3.4", NULL));
}

static void digest_ids_must_be_equal(void **state)
{
    (void)state;
    assert_true(allows(PERM_ALL, "digest", "bob:x", PERM_READ, "1.2.3.4", "bob:x"));
    assert_false(allows(PERM_ALL, "digest", "bob:x", PERM_READ, "1.2.3.4", "bob:y"));
    assert_false(allows(PERM_ALL, "digest", "bob:x", PERM_READ, "1.2.3.4", "bob:xx"));
    assert_false(allows(PERM_ALL, "digest", "bob:x", PERM_READ, "1.2.3.4", NULL));
    assert_false(allows(PERM_ALL, "sasl", "bob", PERM_READ, "1.2.3.4", "bob"));
    assert_false(allows(PERM_ALL, "digest", NULL, PERM_READ, "1.2.3.4", "bob:x"));
    assert_false(allows(PERM_ALL, NULL, NULL, PERM_READ, "1.2.3.4", "bob:x"));
}

static void ip_entries_match_by_prefix_within_a_family(void **state)
{
    (void)state;
    static const struct {
        const char *entry, *peer;
        bool match;
    } rows[] = {
        {"10.1.2.3", "10.1.2.3", true},
        {"10.1.2.3", "10.1.2.4", false},
        {"10.1.0.0/16", "10.1.255.9", true},
        {"10.1.0.0/16", "10.2.0.0", false},
        {"10.1.2.3/31", "10.1.2.2", true},
        {"10.1.2.3/31", "10.1.2.4", false},
        {"0.0.0.0/0", "9.9.9.9", true},
        {"128.0.0.0/1", "127.0.0.1", false},
        {"::1", "0:0:0:0:0:0:0:1", true},
        {"2001:db8::/32", "2001:db8:5:0:0:0:0:9", true},
        {"2001:db8::/33", "2001:db8:8000:0:0:0:0:9", false},
        {"2001:db8::/33", "2001:db8:7fff:0:0:0:0:9", true},
        {"::/0", "10.1.2.3", false},
        {"0.0.0.0/0", "0:0:0:0:0:0:0:1", false},
        {"1:2:3::7:8", "1:2:3:0:0:0:7:8", true},
        {"1::", "1:0:0:0:0:0:0:0", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (allows(PERM_ALL, "ip", rows[i].entry, PERM_READ, rows[i].peer, NULL) != rows[i].match)
            fail_msg("%s against %s", rows[i].entry, rows[i].peer);
}

static void super_the_server_itself_and_open_nodes_are_not_looked_at(void **state)
{
    (void)state;
    struct acl_table *table = acl_table_create(NULL, NULL);
    struct buffer wire;
    uint32_t closed, empty;
    buffer_init(&wire, 1 << 16);
    buffer_put_int(&wire, 1);
    put_acl(&wire, 0, "world", "anyone");
    assert_int_equal(0, acl_intern(table, (struct bytes){wire.data, (uint32_t)wire.size}, &closed));
    assert_int_equal(0, acl_intern(table, BYTES_OF("\0\0\0\0"), &empty));
    struct auth_set *plain = auth_set_of_ip("1.2.3.4"),
                    *super = auth_set_with(plain, text("super"), text(""));
    assert_false(acl_allows(table, closed, PERM_ALL, plain));
    assert_true(acl_allows(table, closed, PERM_ALL, super));
    assert_true(acl_allows(table, closed, PERM_ALL, NULL));
    assert_true(acl_allows(table, ACL_OPEN, PERM_ALL, plain));
    assert_true(acl_allows(table, empty, PERM_ALL, plain));
    auth_set_drop(plain);
    auth_set_drop(super);
    buffer_free(&wire);
    acl_table_destroy(table);
}

/* --- accepting lists --- */

struct entry {
    int32_t perms;
    const char *scheme, *id;
};

/* Fix a list; *count gets the number of entries stored. */
static int fix(const struct entry *entries, int32_t n, const struct auth_set *auth,
               struct buffer *out)
{
    struct buffer asked;
    buffer_init(&asked, 1 << 22);
    buffer_put_int(&asked, n);
    for (int32_t i = 0; i < n; i++)
        put_acl(&asked, entries[i].perms, entries[i].scheme, entries[i].id);
    struct jute_reader r = jute_reader_of(asked.data, asked.size);
    struct acl_view view = acl_view_read(&r);
    assert_false(r.failed);
    out->size = 0;
    int rc = acl_fix(view, auth, out);
    if (rc)
        assert_int_equal(0, out->size);
    buffer_free(&asked);
    return rc;
}

static const struct {
    struct entry e;
    int rc;
} single_rows[] = {
    {{31, "world", "anyone"}, 0},
    {{0, "world", "anyone"}, 0},
    {{-1, "world", "anyone"}, 0}, /* unknown bits are kept */
    {{31, "world", "Anyone"}, ZK_INVALIDACL},
    {{31, "world", NULL}, ZK_MARSHALLINGERROR},
    {{31, NULL, "anyone"}, ZK_INVALIDACL},
    {{31, NULL, NULL}, ZK_INVALIDACL},
    {{31, "auth", "whatever"}, ZK_INVALIDACL}, /* nobody is logged in */
    {{31, "super", ""}, ZK_INVALIDACL},
    {{31, "sasl", "bob"}, ZK_INVALIDACL},
    {{31, "x509", "CN=a"}, ZK_INVALIDACL},
    {{31, "", ""}, ZK_INVALIDACL},
    {{31, "digest", "a:b"}, 0},
    {{31, "digest", ":b"}, 0},
    {{31, "digest", "a:b:"}, 0},
    {{31, "digest", "a:b::"}, 0},
    {{31, "digest", "a"}, ZK_INVALIDACL},
    {{31, "digest", "a:"}, ZK_INVALIDACL},
    {{31, "digest", ":"}, ZK_INVALIDACL},
    {{31, "digest", ""}, ZK_INVALIDACL},
    {{31, "digest", "a:b:c"}, ZK_INVALIDACL},
    {{31, "digest", NULL}, ZK_MARSHALLINGERROR},
    {{31, "ip", "1.2.3.4"}, 0},
    {{31, "ip", "1.2.3.4/0"}, 0},
    {{31, "ip", "1.2.3.4/32"}, 0},
    {{31, "ip", "1.2.3.4/33"}, ZK_INVALIDACL},
    {{31, "ip", "1.2.3.4/"}, ZK_INVALIDACL},
    {{31, "ip", "1.2.3.4/-1"}, ZK_INVALIDACL},
    {{31, "ip", "1.2.3"}, ZK_INVALIDACL},
    {{31, "ip", "1.2.3.4.5"}, ZK_INVALIDACL},
    {{31, "ip", "1.2.3.256"}, ZK_INVALIDACL},
    {{31, "ip", "1.2..4"}, ZK_INVALIDACL},
    {{31, "ip", "1.2.3.99999999999999999999"}, ZK_INVALIDACL},
    {{31, "ip", "host"}, ZK_INVALIDACL},
    {{31, "ip", ""}, ZK_INVALIDACL},
    {{31, "ip", "/8"}, ZK_INVALIDACL},
    {{31, "ip", NULL}, ZK_MARSHALLINGERROR},
    {{31, "ip", "::"}, 0},
    {{31, "ip", "::1/128"}, 0},
    {{31, "ip", "::1/129"}, ZK_INVALIDACL},
    {{31, "ip", "1:2:3:4:5:6:7:8"}, 0},
    {{31, "ip", "1:2:3:4:5:6:7"}, ZK_INVALIDACL},
    {{31, "ip", "1:2:3:4:5:6:7:8:9"}, ZK_INVALIDACL},
    {{31, "ip", "1::2::3"}, ZK_INVALIDACL},
    {{31, "ip", ":1"}, ZK_INVALIDACL},
    {{31, "ip", "1:"}, ZK_INVALIDACL},
    {{31, "ip", ":::"}, ZK_INVALIDACL},
    {{31, "ip", "12345::"}, ZK_INVALIDACL},
    {{31, "ip", "::ffff:1.2.3.4"}, ZK_INVALIDACL},
    {{31, "ip", "fe80::1%eth0"}, ZK_INVALIDACL},
};

static void single_entries_are_accepted_or_refused_by_their_scheme(void **state)
{
    (void)state;
    struct auth_set *auth = auth_set_of_ip("1.2.3.4");
    struct buffer out;
    buffer_init(&out, 1 << 16);
    for (size_t i = 0; i < sizeof single_rows / sizeof *single_rows; i++) {
        int rc = fix(&single_rows[i].e, 1, auth, &out);
        if (rc != single_rows[i].rc)
            fail_msg("row %zu (%s:%s): %d", i, single_rows[i].e.scheme, single_rows[i].e.id, rc);
        if (rc == 0)
            assert_int_equal(single_rows[i].e.perms, (int32_t)be32_load(out.data + 4));
    }
    assert_int_equal(ZK_INVALIDACL, fix(NULL, 0, auth, &out));
    assert_int_equal(ZK_INVALIDACL, acl_fix((struct acl_view){BYTES_NULL, -1}, auth, &out));
    auth_set_drop(auth);
    buffer_free(&out);
}

static void auth_entries_become_the_logins_of_the_connection(void **state)
{
    (void)state;
    struct auth_set *one = auth_of("1.2.3.4", "bob:x"),
                    *two = auth_set_with(one, text("digest"), text("eve:y"));
    struct auth_set *super = auth_set_with(two, text("super"), text(""));
    struct buffer out;
    struct jute_reader r;
    struct acl_entry e;
    buffer_init(&out, 1 << 16);
    static const struct entry asked[] = {{PERM_READ, "auth", NULL}, {PERM_ALL, "world", "anyone"}};
    assert_int_equal(0, fix(asked, 2, super, &out));
    assert_int_equal(3, be32_load(out.data));
    r = jute_reader_of(out.data + 4, out.size - 4);
    assert_true(acl_view_next(&r, &e) && bytes_equal(e.id.id, text("eve:y")) &&
                e.perms == PERM_READ);
    assert_true(acl_view_next(&r, &e) && bytes_equal(e.id.id, text("bob:x")) &&
                e.perms == PERM_READ);
    assert_true(acl_view_next(&r, &e) && bytes_equal(e.id.id, text("anyone")) &&
                e.perms == PERM_ALL);
    assert_false(acl_view_next(&r, &e));
    auth_set_drop(one);
    auth_set_drop(two);
    auth_set_drop(super);
    buffer_free(&out);
}

static void exact_duplicates_are_removed_and_nulls_behind_equals_throw(void **state)
{
    (void)state;
    struct auth_set *auth = auth_set_of_ip("1.2.3.4");
    struct buffer out;
    buffer_init(&out, 1 << 16);
    static const struct entry same[] = {
        {1, "world", "anyone"}, {2, "world", "anyone"}, {1, "world", "anyone"}};
    assert_int_equal(0, fix(same, 3, auth, &out));
    assert_int_equal(2, be32_load(out.data));
    static const struct entry behind[] = {{1, "world", "anyone"}, {1, NULL, "x"}};
    assert_int_equal(ZK_MARSHALLINGERROR, fix(behind, 2, auth, &out));
    static const struct entry other[] = {{1, "world", "anyone"}, {2, NULL, "x"}};
    assert_int_equal(ZK_INVALIDACL, fix(other, 2, auth, &out)); /* perms differ: never compared */
    auth_set_drop(auth);
    buffer_free(&out);
}

/* hazards.md section 0, row K. */
static void long_lists_are_bounded_and_cheap(void **state)
{
    (void)state;
    struct auth_set *auth = auth_set_of_ip("1.2.3.4");
    struct buffer out;
    buffer_init(&out, 1 << 22);
    enum { N = 36000 };
    struct entry *entries = calloc(N, sizeof *entries);
    for (int i = 0; i < N; i++)
        entries[i] = (struct entry){i, "world", "anyone"};
    assert_int_equal(ZK_INVALIDACL, fix(entries, N, auth, &out));
    assert_int_equal(ZK_INVALIDACL, fix(entries, ACL_ENTRIES_MAX + 1, auth, &out));
    assert_int_equal(0, fix(entries, ACL_ENTRIES_MAX, auth, &out));
    assert_int_equal(ACL_ENTRIES_MAX, be32_load(out.data));
    for (int i = 0; i < N; i++)
        entries[i].perms = i % 100; /* duplicates do not count */
    assert_int_equal(0, fix(entries, N, auth, &out));
    assert_int_equal(100, be32_load(out.data));
    free(entries);
    auth_set_drop(auth);
    buffer_free(&out);
}

static void digest_ids_are_shown_without_their_secret(void **state)
{
    (void)state;
    struct acl_table *table = acl_table_create(NULL, NULL);
    struct buffer wire, out, want;
    uint32_t id;
    buffer_init(&wire, 1 << 16);
    buffer_init(&out, 1 << 16);
    buffer_init(&want, 1 << 16);
    buffer_put_int(&wire, 3);
    put_acl(&wire, 31, "digest", "bob:secret");
    put_acl(&wire, 1, "ip", "1.2.3.4");
    put_acl(&wire, 1, "digest", ":b");
    buffer_put_int(&want, 3);
    put_acl(&want, 31, "digest", "bob:x");
    put_acl(&want, 1, "ip", "1.2.3.4");
    put_acl(&want, 1, "digest", ":x");
    assert_int_equal(0, acl_intern(table, (struct bytes){wire.data, (uint32_t)wire.size}, &id));
    acl_write_redacted(acl_get(table, id), &out);
    assert_int_equal(want.size, out.size);
    assert_memory_equal(want.data, out.data, out.size);
    buffer_free(&wire);
    buffer_free(&out);
    buffer_free(&want);
    acl_table_destroy(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permissions_are_any_of_the_wanted_bits),
        cmocka_unit_test(digest_ids_must_be_equal),
        cmocka_unit_test(ip_entries_match_by_prefix_within_a_family),
        cmocka_unit_test(super_the_server_itself_and_open_nodes_are_not_looked_at),
        cmocka_unit_test(single_entries_are_accepted_or_refused_by_their_scheme),
        cmocka_unit_test(auth_entries_become_the_logins_of_the_connection),
        cmocka_unit_test(exact_duplicates_are_removed_and_nulls_behind_equals_throw),
        cmocka_unit_test(long_lists_are_bounded_and_cheap),
        cmocka_unit_test(digest_ids_are_shown_without_their_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
