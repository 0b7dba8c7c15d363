/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Which slots of a bucket carry a tag: 7 comparisons at once, without a branch, because where the
 * match is, is random.
 *
 * Two ways to the same bits, and an #ifdef because they are one line of the caller: SSE2, which
 * every x86-64 has, and plain C for other machines and for ThreadSanitizer, which cannot know that
 * the aligned halves of a 16-byte load are each read in one piece. A stale answer does no harm: the
 * caller loads the slot again with acquire and compares the key.
 */
#ifndef SENGI_TREE_INDEX_MATCH_H
#define SENGI_TREE_INDEX_MATCH_H

#include "tree/index.h"

#define INDEX_POINTER_MASK 0x0000ffffffffffffull
#define INDEX_TAG_MASK (~INDEX_POINTER_MASK)

static inline uint32_t index_match_plain(const struct index_bucket *bucket, uint64_t tag)
{
    uint32_t match = 0;
#pragma GCC unroll 7
    for (int i = INDEX_SLOTS - 1; i >= 0; i--) {
        uint64_t slot = atomic_load_explicit(&bucket->slot[i], memory_order_relaxed);
        /* equal tags leave 1 ... 2^48-1: the pointer; a free slot leaves 0 or a large number */
        match = match << 1 | ((slot ^ tag) - 1 < INDEX_POINTER_MASK);
    }
    return match;
}

#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
#include <emmintrin.h>

static inline __m128i index_match_two(const struct index_bucket *bucket, int pair, __m128i tags)
{
    return _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)bucket + pair), tags);
}

/* Upper halves of four slots' comparisons: the sign of each is that of the tag's comparison. */
static inline __m128i index_match_upper(__m128i a, __m128i b)
{
    return _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b),
                                           _MM_SHUFFLE(3, 1, 3, 1)));
}

/** Bit i is set when slot i carries the tag and a version. tag: the upper 16 bits, others 0. */
static inline uint32_t index_match(const struct index_bucket *bucket, uint64_t tag)
{
    if (__builtin_expect(tag == 0, 0))
        return index_match_plain(bucket, tag); /* a free slot looks the same */
    __m128i tags = _mm_set1_epi16((short)(tag >> 48));
    __m128i low = index_match_upper(index_match_two(bucket, 0, tags),
                                    index_match_two(bucket, 1, tags));
    __m128i high = index_match_upper(index_match_two(bucket, 2, tags),
                                     index_match_two(bucket, 3, tags));
    /* Saturating packs keep signs: 32 -> 16 -> 8 bits. Bit 7 is the overflow pointer's. */
    __m128i signs = _mm_packs_epi16(_mm_packs_epi32(low, high), _mm_setzero_si128());
    return (uint32_t)_mm_movemask_epi8(signs) & ((1u << INDEX_SLOTS) - 1);
}
#else
static inline uint32_t index_match(const struct index_bucket *bucket, uint64_t tag)
{
    return index_match_plain(bucket, tag);
}
#endif

#endif
