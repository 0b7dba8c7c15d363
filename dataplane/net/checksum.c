/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/net/checksum.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the odd last byte is the low one");

static inline uint64_t
load_word(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

/*
 * Words with end-around carry: one, four, and blocks of eight (at least one block). A chain of
 * x86's add-with-carry is what compilers do not find by themselves.
 */
#if defined(__x86_64__)
static inline uint64_t
add_word(uint64_t sum, uint64_t word)
{
    __asm__("addq %1, %0\n\t"
            "adcq $0, %0"
            : "+r"(sum)
            : "rm"(word)
            : "cc");
    return sum;
}

static inline uint64_t
add_four(uint64_t sum, const uint8_t *p)
{
    __asm__("addq 0(%1), %0\n\t"
            "adcq 8(%1), %0\n\t"
            "adcq 16(%1), %0\n\t"
            "adcq 24(%1), %0\n\t"
            "adcq $0, %0"
            : "+r"(sum)
            : "r"(p), "m"(*(const uint8_t(*)[32])p)
            : "cc");
    return sum;
}

static inline uint64_t
add_blocks(uint64_t sum, const uint8_t *p, size_t blocks)
{
    __asm__("clc\n"
            "1:\n\t"
            "adcq 0(%1), %0\n\t"
            "adcq 8(%1), %0\n\t"
            "adcq 16(%1), %0\n\t"
            "adcq 24(%1), %0\n\t"
            "adcq 32(%1), %0\n\t"
            "adcq 40(%1), %0\n\t"
            "adcq 48(%1), %0\n\t"
            "adcq 56(%1), %0\n\t"
            "leaq 64(%1), %1\n\t" /* neither this nor dec touches the carry */
            "decq %2\n\t"
            "jnz 1b\n\t"
            "adcq $0, %0"
            : "+r"(sum), "+r"(p), "+r"(blocks)
            :
            : "cc", "memory");
    return sum;
}
#else
static inline uint64_t
add_word(uint64_t sum, uint64_t word)
{
    sum += word;
    return sum + (sum < word);
}

static inline uint64_t
add_four(uint64_t sum, const uint8_t *p)
{
    for (unsigned i = 0; i < 4; i++)
        sum = add_word(sum, load_word(p + 8 * i));
    return sum;
}

static inline uint64_t
add_blocks(uint64_t sum, const uint8_t *p, size_t blocks)
{
    for (; blocks; blocks--, p += 64)
        sum = add_four(add_four(sum, p), p + 32);
    return sum;
}
#endif

/* The last 1 to 7 of `size` bytes, as a word with zeros behind them (RFC 1071: an odd byte is
 * followed by one; little-endian). */
static inline uint64_t
last_word(const uint8_t *data, size_t size)
{
    if (size >= 8)
        return load_word(data + size - 8) >> (64 - 8 * (size % 8));
    uint64_t word = 0;
    for (size_t i = size; i--;)
        word = word << 8 | data[i];
    return word;
}

uint64_t
checksum_add(uint64_t sum, const void *data, size_t size)
{
    const uint8_t *p = data;
    if (size >= 64) {
        sum = add_blocks(sum, p, size / 64);
        p += size & ~(size_t)63;
    }
    if (size & 32) {
        sum = add_four(sum, p);
        p += 32;
    }
    if (size & 16) {
        sum = add_word(add_word(sum, load_word(p)), load_word(p + 8));
        p += 16;
    }
    if (size & 8)
        sum = add_word(sum, load_word(p));
    if (size & 7)
        sum = add_word(sum, last_word(data, size));
    return sum;
}
