/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/net/checksum.h"

#include <string.h>

/* Words of 32 bits into 64-bit lanes: no carry to look after (2^32 words fit), so the compiler may use vectors. */
uint64_t
checksum_add(uint64_t sum, const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t lane[4] = {0, 0, 0, 0};

    sum = (sum & 0xffffffff) + (sum >> 32);
    for (; size >= 32; size -= 32, p += 32) {
        uint64_t w[4];
        memcpy(w, p, 32);
        for (int i = 0; i < 4; i++)
            lane[i] += (w[i] & 0xffffffff) + (w[i] >> 32);
    }
    for (; size >= 4; size -= 4, p += 4) {
        uint32_t w;
        memcpy(&w, p, 4);
        sum += w;
    }
    if (size >= 2) {
        uint16_t w;
        memcpy(&w, p, 2);
        sum += w;
        p += 2;
        size -= 2;
    }
    if (size) {
        uint16_t w = 0;
        memcpy(&w, p, 1); /* RFC 1071: an odd byte is followed by a zero in memory */
        sum += w;
    }
    return sum + lane[0] + lane[1] + lane[2] + lane[3];
}
