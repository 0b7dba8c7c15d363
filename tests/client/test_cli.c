/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: what a line at the prompt means: words, quotes, flags, ACL text. Method: calls without a
 * server; a command that needs one is never reached.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "client/cli.h"

static void split_is(const char *line, int count, const char *const *words)
{
    char copy[256], *out[8];
    snprintf(copy, sizeof copy, "%s", line);
    assert_int_equal(cli_split(copy, out, 8), count);
    for (int i = 0; i < count; i++)
        assert_string_equal(out[i], words[i]);
}

static void words_are_split_at_blanks_and_kept_by_quotes(void **state)
{
    (void)state;
    split_is("", 0, NULL);
    split_is("  \t\n", 0, NULL);
    split_is(" get  /a\n", 2, (const char *[]){"get", "/a"});
    split_is("set /a \"two words\"", 3, (const char *[]){"set", "/a", "two words"});
    split_is("set /a ''", 3, (const char *[]){"set", "/a", ""});
    split_is("a'b c'd", 1, (const char *[]){"ab cd"});
    split_is("'\"' \"'\"", 2, (const char *[]){"\"", "'"});
    split_is("a\\ b \\\" '\\'", 3, (const char *[]){"a b", "\"", "\\"});
}

static void an_open_quote_is_an_error(void **state)
{
    (void)state;
    char line[] = "set /a \"x", *out[8];
    assert_int_equal(cli_split(line, out, 8), -1);
}

static void words_beyond_the_limit_are_left(void **state)
{
    (void)state;
    char line[] = "a b c d", *out[2];
    assert_int_equal(cli_split(line, out, 2), 2);
    assert_string_equal(out[1], "b");
}

static void an_acl_is_read_from_both_ends_of_its_entry(void **state)
{
    (void)state;
    struct acl_entry_text acl[CLI_ACL_MAX];
    assert_int_equal(cli_acl_parse("world:anyone:r,digest:u:aGFzaA==:cdrwa,ip:::1:w", acl), 3);
    assert_int_equal(acl[0].perms, PERM_READ);
    assert_int_equal(acl[1].perms, PERM_ALL);
    assert_true(bytes_equal(acl[1].scheme, BYTES_OF("digest")));
    assert_true(bytes_equal(acl[1].id, BYTES_OF("u:aGFzaA==")));
    assert_true(bytes_equal(acl[2].id, BYTES_OF("::1")));
    assert_int_equal(acl[2].perms, PERM_WRITE);
}

static void a_malformed_acl_is_refused(void **state)
{
    (void)state;
    struct acl_entry_text acl[CLI_ACL_MAX];
    assert_int_equal(cli_acl_parse("world:anyone", acl), -1);
    assert_int_equal(cli_acl_parse("world:anyone:rx", acl), -1);
    assert_int_equal(cli_acl_parse("r", acl), -1);
    char many[CLI_ACL_MAX * 6 + 16] = "";
    for (int i = 0; i <= CLI_ACL_MAX; i++)
        memcpy(many + 6 * i, "a:b:r,", 7);
    assert_int_equal(cli_acl_parse(many, acl), -1);
}

static void wrong_usage_needs_no_server(void **state)
{
    (void)state;
    struct cli cli = {.options = {.servers = "127.0.0.1:1"}};
    char *const lines[][6] = {
        {"nosuch"},         {"get"},       {"get", "/a", "/b"},     {"get", "-x", "/a"},
        {"set", "/a"},      {"set", "-v"}, {"create", "-ss", "/a"}, {"4lw"},
        {"4lw", "toolong"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        int n = 0;
        while (lines[i][n])
            n++;
        assert_int_equal(cli_execute(&cli, n, (char **)(uintptr_t)lines[i]), CLI_USAGE);
    }
    assert_null(cli.client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_split_at_blanks_and_kept_by_quotes),
        cmocka_unit_test(an_open_quote_is_an_error),
        cmocka_unit_test(words_beyond_the_limit_are_left),
        cmocka_unit_test(an_acl_is_read_from_both_ends_of_its_entry),
        cmocka_unit_test(a_malformed_acl_is_refused),
        cmocka_unit_test(wrong_usage_needs_no_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
