/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/histogram.h"

#include <math.h>
#include <stdbool.h>

uint64_t histogram_bucket_top(uint32_t index)
{
    const uint32_t sub = 1u << HISTOGRAM_SUB_BITS;
    if (index < sub)
        return index;
    uint32_t shift = (index >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t mantissa = sub + (index & (sub - 1));
    return ((mantissa + 1) << shift) - 1;
}

uint64_t histogram_quantile(const struct histogram *h, double quantile)
{
    if (h->count == 0)
        return 0;
    uint64_t wanted = (uint64_t)ceil(quantile * (double)h->count);
    if (wanted < 1)
        wanted = 1;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= wanted) {
            uint64_t top = histogram_bucket_top(i);
            bool open_ended = i == HISTOGRAM_BUCKETS - 1;
            return !open_ended && top < h->max_ns ? top : h->max_ns;
        }
    }
    return h->max_ns;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    if (from->count == 0)
        return;
    if (into->count == 0 || from->min_ns < into->min_ns)
        into->min_ns = from->min_ns;
    if (from->max_ns > into->max_ns)
        into->max_ns = from->max_ns;
    into->count += from->count;
    into->sum_ns += from->sum_ns;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->bucket[i] += from->bucket[i];
}
