/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: quantiles are never below the true ones and at most 1/128 above. Method: compare with
 * sorted values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bench/histogram.h"

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void every_value_lies_in_its_bucket(void **state)
{
    (void)state;
    uint32_t last = 0;
    for (uint64_t v = 1; v < 1ull << 41; v += v / 500 + 1) {
        uint32_t i = histogram_index(v);
        assert_true(i >= last && i < HISTOGRAM_BUCKETS);
        assert_true(v <= histogram_bucket_top(i));
        assert_true(i == 0 || v > histogram_bucket_top(i - 1));
        last = i;
    }
    assert_int_equal(histogram_index(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void quantiles_are_close_to_the_sorted_values(void **state)
{
    (void)state;
    enum { N = 20000 };
    static uint64_t values[N];
    static struct histogram h;
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < N; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        values[i] = x >> (x % 36 + 24); /* below 2^40: inside the measured range */
        histogram_record(&h, values[i]);
    }
    qsort(values, N, sizeof *values, by_value);
    const double quantiles[] = {0.001, 0.1, 0.5, 0.9, 0.99, 0.999};
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        uint64_t exact = values[(size_t)(quantiles[i] * N + 0.9999999) - 1];
        uint64_t told = histogram_quantile(&h, quantiles[i]);
        assert_true(told >= exact);
        assert_true(told <= exact + exact / 128 + 1);
    }
    assert_int_equal(histogram_quantile(&h, 1), values[N - 1]);
    assert_int_equal(h.min_ns, values[0]);
}

static void merging_is_the_same_as_recording_into_one(void **state)
{
    (void)state;
    static struct histogram a, b, both;
    for (uint64_t v = 10; v < 5000; v += 7) {
        histogram_record(v % 2 ? &a : &b, v * v);
        histogram_record(&both, v * v);
    }
    histogram_merge(&a, &b);
    assert_memory_equal(&a, &both, sizeof both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_lies_in_its_bucket),
        cmocka_unit_test(quantiles_are_close_to_the_sorted_values),
        cmocka_unit_test(merging_is_the_same_as_recording_into_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
