/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: the reader takes what java.util.Properties.load takes, and bounded errors come out of
 * anything else. Method: small texts; each case lists the keys, values and lines expected.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/properties.h"

struct expected {
    const char *key, *value;
    uint32_t line;
};

static void expect(const char *text, const struct expected *expected)
{
    struct properties_reader r;
    properties_open(&r, text, strlen(text));
    for (; expected->key; expected++) {
        assert_int_equal(properties_next(&r), PROPERTIES_KEY);
        assert_string_equal(r.key, expected->key);
        assert_string_equal(r.value, expected->value);
        assert_int_equal(r.line, expected->line);
    }
    assert_int_equal(properties_next(&r), PROPERTIES_END);
    assert_int_equal(properties_next(&r), PROPERTIES_END);
}

#define EXPECT(text, ...) expect(text, (const struct expected[]){__VA_ARGS__, {NULL, NULL, 0}})

static void separators_are_equals_colon_or_blank(void **state)
{
    (void)state;
    EXPECT("a=1\nb:2\nc 3\nd\t4\ne = 5\nf : 6\ng  7\nh=:8\ni==9\n", {"a", "1", 1}, {"b", "2", 2},
           {"c", "3", 3}, {"d", "4", 4}, {"e", "5", 5}, {"f", "6", 6}, {"g", "7", 7},
           {"h", ":8", 8}, {"i", "=9", 9});
    EXPECT("server.1=host:2888:3888\n", {"server.1", "host:2888:3888", 1});
    EXPECT("alone", {"alone", "", 1});
    EXPECT("=value\n", {"", "value", 1});
}

static void trailing_blanks_belong_to_the_value(void **state)
{
    (void)state;
    EXPECT("a=1 \t\n", {"a", "1 \t", 1});
}

static void comments_and_empty_lines_count_for_the_line_number(void **state)
{
    (void)state;
    EXPECT("# c\n\n  ! c \\\n \t \nkey=v\n#end", {"key", "v", 5});
    EXPECT("a=1#2\n", {"a", "1#2", 1});
}

static void all_three_line_ends_are_one_line_each(void **state)
{
    (void)state;
    EXPECT("a=1\r\nb=2\rc=3\n\rd=4", {"a", "1", 1}, {"b", "2", 2}, {"c", "3", 3}, {"d", "4", 5});
}

static void a_backslash_at_the_end_joins_lines_without_leading_blanks(void **state)
{
    (void)state;
    EXPECT("a=1,\\\n   2,\\\r\n\t3\nb=4\n", {"a", "1,2,3", 1}, {"b", "4", 4});
    EXPECT("a=1\\\\\nb=2\n", {"a", "1\\", 1}, {"b", "2", 2});
    EXPECT("a=1\\\n# no comment\n", {"a", "1# no comment", 1});
    EXPECT("a=1\\\n\nb=2\n", {"a", "1", 1}, {"b", "2", 3});
    EXPECT("a=1\\", {"a", "1", 1});
    EXPECT("a=1\n\\", {"a", "1", 1});
    EXPECT("a=1\n\\\n", {"a", "1", 1});
}

static void escapes_are_undone_in_key_and_value(void **state)
{
    (void)state;
    EXPECT("a\\ b\\=c\\:d=\\t\\n\\r\\f\\q\\\"\n", {"a b=c:d", "\t\n\r\fq\"", 1});
    EXPECT("k=\\u0041\\u00e9\\u20AC\\uD83D\\uDE00\n",
           {"k", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 1});
}

static void bytes_above_ascii_pass_through(void **state)
{
    (void)state;
    EXPECT("dataDir=/d\xc3\xa4ta/\xff\n", {"dataDir", "/d\xc3\xa4ta/\xff", 1});
}

static void expect_error(const char *text, size_t size, enum properties_result error, uint32_t line)
{
    struct properties_reader r;
    properties_open(&r, text, size);
    assert_int_equal(properties_next(&r), error);
    assert_int_equal(r.line, line);
    assert_int_equal(properties_next(&r), PROPERTIES_KEY);
    assert_string_equal(r.key, "next");
    assert_int_equal(properties_next(&r), PROPERTIES_END);
}

#define EXPECT_ERROR(text, error, line) expect_error(text, sizeof(text) - 1, error, line)

static void a_bad_line_is_an_error_and_the_next_one_is_read(void **state)
{
    (void)state;
    EXPECT_ERROR("\n a=\\u12G4\nnext=1", PROPERTIES_EESCAPE, 2);
    EXPECT_ERROR("a=\\u12\nnext=1", PROPERTIES_EESCAPE, 1);
    EXPECT_ERROR("a=\\uD83D\nnext=1", PROPERTIES_EESCAPE, 1);
    EXPECT_ERROR("a=\\uD83Dx\\uDE00\nnext=1", PROPERTIES_EESCAPE, 1);
    EXPECT_ERROR("a=\\uDE00\nnext=1", PROPERTIES_EESCAPE, 1);
    EXPECT_ERROR("a=\\u0000\nnext=1", PROPERTIES_ENUL, 1);
    EXPECT_ERROR("a=b\0c\nnext=1", PROPERTIES_ENUL, 1);
    EXPECT_ERROR("a\0b=c\nnext=1", PROPERTIES_ENUL, 1);
}

static void a_line_of_the_longest_size_is_read_and_one_byte_more_is_refused(void **state)
{
    (void)state;
    size_t sizes[] = {PROPERTIES_LINE_BYTES_MAX, PROPERTIES_LINE_BYTES_MAX + 1,
                      5 * PROPERTIES_LINE_BYTES_MAX};
    for (int i = 0; i < 3; i++) {
        char *text = malloc(sizes[i] + 8);
        memset(text, 'v', sizes[i]);
        memcpy(text, "k=", 2);
        memcpy(text + sizes[i], "\nnext=1", 7);
        if (i == 0) {
            struct properties_reader r;
            properties_open(&r, text, sizes[i] + 7);
            assert_int_equal(properties_next(&r), PROPERTIES_KEY);
            assert_int_equal(strlen(r.value), PROPERTIES_LINE_BYTES_MAX - 2);
            assert_int_equal(properties_next(&r), PROPERTIES_KEY);
            assert_int_equal(r.line, 2);
        } else {
            expect_error(text, sizes[i] + 7, PROPERTIES_ELONG, 1);
        }
        free(text);
    }
}

/* A bomb of continuation lines is one logical line: bounded by the same size, read to its end once.
 */
static void endless_continuation_is_bounded(void **state)
{
    (void)state;
    size_t lines = 200000, size = lines * 4;
    char *text = malloc(size + 8);
    for (size_t i = 0; i < lines; i++)
        memcpy(text + 4 * i, "ab\\\n", 4);
    memcpy(text + size, "c\nnext=1", 8);
    expect_error(text, size + 8, PROPERTIES_ELONG, 1);
    free(text);
}

static void every_prefix_of_a_file_ends(void **state)
{
    (void)state;
    static const char text[] = "# c\\\na\\u0041=\\uD83D\\uDE00\\\n  x\r\nb\\\\=c\\\n\n!x\n d : e\\";
    for (size_t size = 0; size < sizeof text; size++) {
        char *exact = malloc(size ? size : 1);
        struct properties_reader r;
        int steps = 0;
        memcpy(exact, text, size);
        properties_open(&r, exact, size);
        while (properties_next(&r) != PROPERTIES_END)
            assert_true(++steps < 10);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(separators_are_equals_colon_or_blank),
        cmocka_unit_test(trailing_blanks_belong_to_the_value),
        cmocka_unit_test(comments_and_empty_lines_count_for_the_line_number),
        cmocka_unit_test(all_three_line_ends_are_one_line_each),
        cmocka_unit_test(a_backslash_at_the_end_joins_lines_without_leading_blanks),
        cmocka_unit_test(escapes_are_undone_in_key_and_value),
        cmocka_unit_test(bytes_above_ascii_pass_through),
        cmocka_unit_test(a_bad_line_is_an_error_and_the_next_one_is_read),
        cmocka_unit_test(a_line_of_the_longest_size_is_read_and_one_byte_more_is_refused),
        cmocka_unit_test(endless_continuation_is_bounded),
        cmocka_unit_test(every_prefix_of_a_file_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
