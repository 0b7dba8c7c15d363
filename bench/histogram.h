/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A latency histogram with log-spaced buckets, in the manner of HdrHistogram (which Debian does not
 * package).
 *
 * Values are nanoseconds. Below 128 each value has its own bucket; above, each power of two is cut
 * into 128 equal buckets, so that a reported quantile is at most 1/128 (0.8 %) above the true one
 * and never below it. Recording is one index computation and one increment; no allocation. One
 * writer; merge after the writer has ended.
 */
#ifndef SENGI_BENCH_HISTOGRAM_H
#define SENGI_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 7
/* Values from 2^41 ns (36 minutes) on are counted in the last bucket. */
#define HISTOGRAM_TOP_BIT 40
#define HISTOGRAM_BUCKETS ((HISTOGRAM_TOP_BIT - HISTOGRAM_SUB_BITS + 2) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t min_ns, max_ns; /* exact; 0 while count == 0 */
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

/** Bucket of a value: 0 <= result < HISTOGRAM_BUCKETS, monotonic in the value. */
static inline uint32_t histogram_index(uint64_t value_ns)
{
    const uint32_t sub = 1u << HISTOGRAM_SUB_BITS;
    if (value_ns < sub)
        return (uint32_t)value_ns;
    uint32_t exponent = 63u - (uint32_t)__builtin_clzll(value_ns);
    if (exponent > HISTOGRAM_TOP_BIT)
        return HISTOGRAM_BUCKETS - 1;
    uint32_t shift = exponent - HISTOGRAM_SUB_BITS;
    return ((shift + 1) << HISTOGRAM_SUB_BITS) + (uint32_t)(value_ns >> shift) - sub;
}

static inline void histogram_record(struct histogram *h, uint64_t value_ns)
{
    h->bucket[histogram_index(value_ns)]++;
    if (h->count == 0 || value_ns < h->min_ns)
        h->min_ns = value_ns;
    if (value_ns > h->max_ns)
        h->max_ns = value_ns;
    h->count++;
    h->sum_ns += value_ns;
}

/** Highest value that falls into a bucket, ns. */
uint64_t histogram_bucket_top(uint32_t index);

/** Smallest bucket top with at least quantile * count values at or below it, ns; capped by max_ns.
 * 0 if empty. */
uint64_t histogram_quantile(const struct histogram *h, double quantile);

/** Add every value of `from` to `into`. */
void histogram_merge(struct histogram *into, const struct histogram *from);

#endif
