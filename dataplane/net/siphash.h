/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * SipHash-c-d (Aumasson, Bernstein 2012) over whole 64-bit words, for what peers see of a secret:
 * ISNs, cookies, timestamps (2-4), and to derive keys (4-8).
 */
#ifndef SENGI_DATAPLANE_NET_SIPHASH_H
#define SENGI_DATAPLANE_NET_SIPHASH_H

#include <stdint.h>

struct siphash_key {
    uint64_t k0, k1;
};

#define SIPHASH_ROTATE(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static inline void
siphash_rounds(uint64_t v[4], unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        v[0] += v[1];
        v[1] = SIPHASH_ROTATE(v[1], 13) ^ v[0];
        v[0] = SIPHASH_ROTATE(v[0], 32);
        v[2] += v[3];
        v[3] = SIPHASH_ROTATE(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = SIPHASH_ROTATE(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = SIPHASH_ROTATE(v[1], 17) ^ v[2];
        v[2] = SIPHASH_ROTATE(v[2], 32);
    }
}

/** Hash n words, which stand for 8 * n little-endian bytes. */
static inline uint64_t
siphash_words(struct siphash_key key, const uint64_t *words, unsigned n, unsigned c, unsigned d)
{
    uint64_t v[4] = {key.k0 ^ 0x736f6d6570736575ull, key.k1 ^ 0x646f72616e646f6dull,
                     key.k0 ^ 0x6c7967656e657261ull, key.k1 ^ 0x7465646279746573ull};
    uint64_t last = (uint64_t)(8 * n) << 56;

    for (unsigned i = 0; i < n; i++) {
        v[3] ^= words[i];
        siphash_rounds(v, c);
        v[0] ^= words[i];
    }
    v[3] ^= last;
    siphash_rounds(v, c);
    v[0] ^= last;
    v[2] ^= 0xff;
    siphash_rounds(v, d);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
