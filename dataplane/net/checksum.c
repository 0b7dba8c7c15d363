/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/net/checksum.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the odd last byte is the low one");

/*
 * 32 or 64 bytes a step with end-around carry. x86's add-with-carry chain is what compilers do not
 * find by themselves.
 */
static inline uint64_t
add_32_bytes(uint64_t sum, const uint8_t *p)
{
#if defined(__x86_64__)
    __asm__("addq 0(%1), %0\n\t"
            "adcq 8(%1), %0\n\t"
            "adcq 16(%1), %0\n\t"
            "adcq 24(%1), %0\n\t"
            "adcq $0, %0"
            : "+r"(sum)
            : "r"(p), "m"(*(const uint8_t(*)[32])p)
            : "cc");
    return sum;
#else
    uint64_t w[4];
    memcpy(w, p, 32);
    for (int i = 0; i < 4; i++) {
        sum += w[i];
        sum += sum < w[i];
    }
    return sum;
#endif
}

static inline uint64_t
add_64_bytes(uint64_t sum, const uint8_t *p)
{
#if defined(__x86_64__)
    __asm__("addq 0(%1), %0\n\t"
            "adcq 8(%1), %0\n\t"
            "adcq 16(%1), %0\n\t"
            "adcq 24(%1), %0\n\t"
            "adcq 32(%1), %0\n\t"
            "adcq 40(%1), %0\n\t"
            "adcq 48(%1), %0\n\t"
            "adcq 56(%1), %0\n\t"
            "adcq $0, %0"
            : "+r"(sum)
            : "r"(p), "m"(*(const uint8_t(*)[64])p)
            : "cc");
    return sum;
#else
    return add_32_bytes(add_32_bytes(sum, p), p + 32);
#endif
}

uint64_t
checksum_add(uint64_t sum, const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t small = 0; /* cannot overflow: at most seven words of 32 bits and an odd end */

    for (; size >= 64; size -= 64, p += 64)
        sum = add_64_bytes(sum, p);
    if (size >= 32) {
        sum = add_32_bytes(sum, p);
        p += 32;
        size -= 32;
    }
    for (; size >= 8; size -= 8, p += 8) {
        uint32_t w[2];
        memcpy(w, p, 8);
        small += (uint64_t)w[0] + w[1];
    }
    if (size >= 4) {
        uint32_t w;
        memcpy(&w, p, 4);
        small += w;
        p += 4;
        size -= 4;
    }
    if (size >= 2) {
        uint16_t w;
        memcpy(&w, p, 2);
        small += w;
        p += 2;
    }
    if (size & 1)
        small += *p; /* RFC 1071: an odd byte is followed by a zero in memory; little-endian */
    sum += small;
    return sum + (sum < small);
}
