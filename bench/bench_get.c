/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Row get-instructions: run this under callgrind with --toggle-collect=inprocess_turn; the
 * instructions collected, divided by the reads printed, are the price of one getData.
 *
 *   bench-get TURNS CONNECTIONS DEPTH     getData requests of 100-byte values, each turn
 * CONNECTIONS x DEPTH
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/cputime.h"
#include "bench/inprocess.h"
#include "bench/znodes.h"
#include "client/wire/check.h"

#define ZNODES 10000
#define DATA_BYTES 100

int main(int argc, char **argv)
{
    uint64_t turns = argc > 1 ? znodes_count_argument(argv[1], 1, 100000000) : 10000;
    uint32_t connections = argc > 2 ? (uint32_t)znodes_count_argument(argv[2], 1, 10000) : 64;
    uint32_t depth = argc > 3 ? (uint32_t)znodes_count_argument(argv[3], 1, 64) : 1;
    struct inprocess *p = inprocess_create(connections, ZNODES, DATA_BYTES);
    uint64_t in_turns_ns = 0;
    for (uint64_t i = 0; i < turns; i++) {
        inprocess_prepare(p, connections, depth);
        uint64_t start_ns = clock_ns();
        inprocess_turn(p);
        in_turns_ns += clock_ns() - start_ns;
    }
    uint64_t reads = turns * connections * depth;
    CHECK(inprocess_replies(p) == reads);
    printf("{\"reads\":%" PRIu64 ",\"ns_per_read\":%.1f}\n", reads,
           (double)in_turns_ns / (double)reads);
    inprocess_destroy(p);
    return 0;
}
