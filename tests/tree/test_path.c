/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/wire/jute.h"
#include "tree/path.h"

/* In memory of exactly its size, so that a sanitizer sees a read behind it. */
static bool valid(const char *data, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1);
    memcpy(exact, data, size);
    bool ok = path_valid((struct bytes){exact, (uint32_t)size});
    free(exact);
    return ok;
}

#define V(literal) valid(literal, sizeof(literal) - 1)

static void paths_follow_the_table_of_rules(void **state)
{
    (void)state;
    assert_true(V("/"));
    assert_true(V("/a") && V("/a/b c/...") && V("/.a") && V("/a..") && V("/...") && V("/~") &&
                V("/!"));
    assert_false(V("") || V("foo") || V("a/b") || V("/a/") || V("//") || V("/a//b") || V("//a"));
    assert_false(V("/.") || V("/..") || V("/a/.") || V("/a/..") || V("/./b") || V("/../b") ||
                 V("/a/./b"));
    assert_false(V("/a\0b") || V("/\x01") || V("/a\x1f/b") || V("/\x7f"));
    assert_false(path_valid(BYTES_NULL));
}

/* U+0080-9F, U+D800-F8FF, U+FFF0-FFFF and their neighbours. */
static void forbidden_ranges_end_where_they_should(void **state)
{
    (void)state;
    assert_false(V("/\xc2\x80") || V("/\xc2\x85") || V("/\xc2\x9f"));
    assert_true(V("/\xc2\xa0") && V("/\xc3\xa9") && V("/\xdf\xbf") && V("/\xe0\xa0\x80"));
    assert_true(V("/\xed\x9f\xbf")); /* U+D7FF */
    assert_false(V("/\xed\xa0\x80") || V("/\xed\xbf\xbf") || V("/\xee\x80\x80") ||
                 V("/\xef\xa3\xbf"));
    assert_true(V("/\xef\xa4\x80")); /* U+F900 */
    assert_true(V("/\xef\xbf\xaf")); /* U+FFEF */
    assert_false(V("/\xef\xbf\xb0") || V("/\xef\xbf\xbd") ||
                 V("/\xef\xbf\xbf")); /* U+FFFD: was malformed */
}

static void malformed_utf8_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    assert_false(V("/\x80") || V("/\xbf") || V("/\xc0\x80") || V("/\xc1\xbf"));
    assert_false(V("/\xc3") || V("/\xc3/a") || V("/\xe2\x82") || V("/\xe2\x82/") || V("/\xe2/b"));
    assert_false(V("/\xe0\x80\x80") || V("/\xe0\x9f\xbf")); /* overlong */
    assert_false(V("/\xf0\x9f\x98\x80") || V("/\xf5\x80\x80\x80") || V("/\xff"));
}

static void every_code_point_of_the_bmp_is_judged_by_its_number(void **state)
{
    (void)state;
    for (uint32_t c = 1; c <= 0xffff; c++) {
        char p[4] = "/";
        size_t n;
        if (c < 0x80) {
            p[1] = (char)c;
            n = 2;
        } else if (c < 0x800) {
            p[1] = (char)(0xC0 | c >> 6);
            p[2] = (char)(0x80 | (c & 0x3F));
            n = 3;
        } else {
            p[1] = (char)(0xE0 | c >> 12);
            p[2] = (char)(0x80 | (c >> 6 & 0x3F));
            p[3] = (char)(0x80 | (c & 0x3F));
            n = 4;
        }
        bool want = !(c < 0x20 || (c >= 0x7F && c <= 0x9F) || (c >= 0xD800 && c <= 0xF8FF) ||
                      c >= 0xFFF0 || c == '/' || c == '.');
        if (valid(p, n) != want)
            fail_msg("U+%04X", c);
    }
}

static void paths_are_taken_apart_at_the_last_slash(void **state)
{
    (void)state;
    static const struct {
        const char *path, *parent, *name;
    } rows[] = {{"/a", "/", "a"},
                {"/a/b", "/a", "b"},
                {"/", "/", ""},
                {"/a/", "/a", ""},
                {"//x", "/", "x"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bytes p = {(const uint8_t *)rows[i].path, (uint32_t)strlen(rows[i].path)};
        assert_true(bytes_equal(path_parent(p), (struct bytes){(const uint8_t *)rows[i].parent,
                                                               (uint32_t)strlen(rows[i].parent)}));
        assert_int_equal(strlen(rows[i].name), path_name(p).size);
    }
    assert_true(path_splittable(BYTES_OF("a/")) && !path_splittable(BYTES_OF("a")) &&
                !path_splittable(BYTES_OF("/\0")));
    assert_false(path_splittable(BYTES_NULL));
}

static void under_means_whole_components(void **state)
{
    (void)state;
    assert_true(path_under(BYTES_OF("/a"), BYTES_OF("/a")) &&
                path_under(BYTES_OF("/a/b"), BYTES_OF("/a")));
    assert_true(path_under(BYTES_OF("/a"), BYTES_OF("/")));
    assert_false(path_under(BYTES_OF("/ab"), BYTES_OF("/a")) ||
                 path_under(BYTES_OF("/"), BYTES_OF("/a")));
    assert_true(path_special(BYTES_OF("/")) && path_special(BYTES_OF("/zookeeper/config")));
    assert_false(path_special(BYTES_OF("/zookeeper/quota/a")) ||
                 path_special(BYTES_OF("/zookeepe")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_follow_the_table_of_rules),
        cmocka_unit_test(forbidden_ranges_end_where_they_should),
        cmocka_unit_test(malformed_utf8_is_refused_wherever_it_stands),
        cmocka_unit_test(every_code_point_of_the_bmp_is_judged_by_its_number),
        cmocka_unit_test(paths_are_taken_apart_at_the_last_slash),
        cmocka_unit_test(under_means_whole_components),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
