/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The key of a path: XXH3, 128 bits, keyed by a secret that is drawn when the store is made, so
 * that nobody outside can choose paths that collide. "/" and "" are the same znode and give the
 * same key.
 *
 * The only place that includes xxHash inline for paths; readers hash here without a call.
 */
#ifndef SENGI_TREE_KEY_H
#define SENGI_TREE_KEY_H

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include "tree/version.h"

#define TREE_SECRET_BYTES 192
static_assert(TREE_SECRET_BYTES >= XXH3_SECRET_SIZE_MIN, "XXH3 reads that much");

/* Apart, and without the code for long input, which would have registers saved for every path. */
#define TREE_PATH_SHORT_BYTES 128
__attribute__((noinline, flatten, unused)) static XXH128_hash_t
tree_hash_short(const uint8_t *path, size_t size, const uint8_t secret[TREE_SECRET_BYTES])
{
    if (size > TREE_PATH_SHORT_BYTES)
        __builtin_unreachable();
    return XXH3_128bits_withSecret(path, size, secret, TREE_SECRET_BYTES);
}

static inline struct tree_key tree_key_of(const uint8_t secret[TREE_SECRET_BYTES],
                                          struct bytes path)
{
    if (__builtin_expect(path.size == 0, 0))
        path = BYTES_OF("/");
    if (__builtin_expect(path.size <= TREE_PATH_SHORT_BYTES, 1)) {
        XXH128_hash_t h = tree_hash_short(path.data, path.size, secret);
        return (struct tree_key){h.low64, h.high64};
    }
    XXH128_hash_t h = XXH3_128bits_withSecret(path.data, path.size, secret, TREE_SECRET_BYTES);
    return (struct tree_key){h.low64, h.high64};
}

#endif
