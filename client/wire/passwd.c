/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "client/wire/request.h"

/* java.util.Random: a 48-bit linear congruential generator. */
#define RANDOM_MASK ((UINT64_C(1) << 48) - 1)
#define RANDOM_MULTIPLIER UINT64_C(0x5DEECE66D)
#define SESSION_SECRET UINT64_C(0xB3415C00) /* SessionTrackerImpl.superSecret */

void session_passwd(session_id_t session, uint8_t out[PASSWD_BYTES])
{
    uint64_t state = (((uint64_t)session ^ SESSION_SECRET) ^ RANDOM_MULTIPLIER) & RANDOM_MASK;
    for (int i = 0; i < PASSWD_BYTES; i += 4) {
        state = (state * RANDOM_MULTIPLIER + 0xB) & RANDOM_MASK;
        uint32_t value = (uint32_t)(state >> 16);
        for (int b = 0; b < 4; b++)
            out[i + b] = (uint8_t)(value >> (8 * b));
    }
}
