/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: one line is one write, in the form of the header; levels and the rate limit hold.
 * Method: the logger writes into a pipe, whose reads keep what one write put in apart from the next
 * by its newline.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/log.h"

/* Read what was logged, closing the writing end. */
static char *drained(int fd, int writing_end)
{
    static char text[1 << 20];
    size_t size = 0;
    ssize_t n;
    log_open(STDERR_FILENO, LOG_LEVEL_INFO);
    close(writing_end);
    while ((n = read(fd, text + size, sizeof text - size - 1)) > 0)
        size += (size_t)n;
    text[size] = '\0';
    close(fd);
    return text;
}

static void a_line_has_time_level_and_message(void **state)
{
    (void)state;
    char line[128];
    size_t size = log_format(line, sizeof line, 1795176000123, LOG_LEVEL_INFO, "listening");
    assert_string_equal(line, "2026-11-20T12:00:00.123Z INFO listening\n");
    assert_int_equal(size, strlen(line));
}

static void control_bytes_cannot_forge_a_line(void **state)
{
    (void)state;
    char line[128];
    log_format(line, sizeof line, 0, LOG_LEVEL_WARN, "a\nb\x1b[m\x7f");
    assert_string_equal(line, "1970-01-01T00:00:00.000Z WARN a?b?[m?\n");
}

static void a_long_message_is_cut_and_still_ends_in_a_newline(void **state)
{
    (void)state;
    char line[LOG_LINE_BYTES], message[2 * LOG_LINE_BYTES];
    memset(message, 'x', sizeof message - 1);
    message[sizeof message - 1] = '\0';
    size_t size = log_format(line, sizeof line, 0, LOG_LEVEL_ERROR, message);
    assert_int_equal(size, LOG_LINE_BYTES - 1);
    assert_string_equal(line + size - 5, "x...\n");
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    log_open(fds[1], LOG_LEVEL_WARN);
    assert_true(log_enabled(LOG_LEVEL_ERROR));
    assert_false(log_enabled(LOG_LEVEL_INFO));
    LOG_INFO("hidden");
    LOG_WARN("shown %d", 1);
    char *text = drained(fds[0], fds[1]);
    assert_null(strstr(text, "hidden"));
    assert_non_null(strstr(text, "Z WARN shown 1\n"));
}

#define THREADS 4
#define LINES 100

static void *many_lines(void *letter)
{
    char word[33];
    memset(word, *(const char *)letter, 32);
    word[32] = '\0';
    for (int i = 0; i < LINES; i++)
        LOG_INFO("%s", word);
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    int fds[2];
    pthread_t threads[THREADS];
    assert_int_equal(pipe(fds), 0); /* 4 * 100 lines of 64 bytes fit its 64 KiB */
    log_open(fds[1], LOG_LEVEL_INFO);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, many_lines, &"abcd"[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    int lines = 0;
    char *rest;
    for (char *line = strtok_r(drained(fds[0], fds[1]), "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest), lines++) {
        assert_int_equal(strlen(line), 24 + 6 + 32);
        for (int i = 1; i < 32; i++)
            assert_int_equal(line[30 + i], line[30]);
    }
    assert_int_equal(lines, THREADS * LINES);
}

static void a_call_site_is_limited_per_second_and_tells_what_it_left_out(void **state)
{
    (void)state;
    struct log_limit limit = {0};
    uint32_t suppressed;
    int passed = 0;
    for (int i = 0; i < 10; i++)
        passed += log_limit_pass(&limit, 5, 3, &suppressed);
    assert_int_equal(passed, 3);
    assert_int_equal(suppressed, 0);
    assert_true(log_limit_pass(&limit, 6, 3, &suppressed));
    assert_int_equal(suppressed, 7);
    assert_true(log_limit_pass(&limit, 7, 3, &suppressed));
    assert_int_equal(suppressed, 0);
}

static void the_first_line_of_a_call_site_passes_in_second_zero(void **state)
{
    (void)state;
    struct log_limit limit = {0};
    uint32_t suppressed = 9;
    assert_true(log_limit_pass(&limit, 0, 1, &suppressed));
    assert_int_equal(suppressed, 0);
    assert_false(log_limit_pass(&limit, 0, 1, &suppressed));
}

static void a_limited_place_writes_at_most_its_lines(void **state)
{
    (void)state;
    FILE *f = tmpfile();
    assert_non_null(f);
    log_open(fileno(f), LOG_LEVEL_INFO);
    for (int i = 0; i < 1000; i++)
        LOG_LIMITED(LOG_LEVEL_WARN, 2, "bad frame from %s", "peer");
    log_open(STDERR_FILENO, LOG_LEVEL_INFO);
    /* A second may have passed meanwhile: two lines and one about those left out for each. */
    fseek(f, 0, SEEK_END);
    assert_true(ftell(f) >= 2 * 40 && ftell(f) < 50 * 100);
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_and_message),
        cmocka_unit_test(control_bytes_cannot_forge_a_line),
        cmocka_unit_test(a_long_message_is_cut_and_still_ends_in_a_newline),
        cmocka_unit_test(lines_below_the_level_are_not_written),
        cmocka_unit_test(lines_of_threads_do_not_mix),
        cmocka_unit_test(a_call_site_is_limited_per_second_and_tells_what_it_left_out),
        cmocka_unit_test(the_first_line_of_a_call_site_passes_in_second_zero),
        cmocka_unit_test(a_limited_place_writes_at_most_its_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
