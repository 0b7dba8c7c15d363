/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A tree of many like znodes for the in-process programs.
 *
 *   /bench/g00000000042/k000000017     30 bytes, the last name 10; ZNODES_PER_PARENT children each
 *
 * Built as a server does it at start: store_load on an empty store, one znode after another.
 */
#ifndef SENGI_BENCH_ZNODES_H
#define SENGI_BENCH_ZNODES_H

#include "tree/store.h"

#define ZNODES_PER_PARENT 1000
#define ZNODES_PATH_BYTES 30
#define ZNODES_NAME_BYTES 10
#define ZNODES_ZXID 1

/** A store with `count` znodes of data_bytes each below /bench, visible at ZNODES_ZXID. Exits on
 * failure. */
struct store *znodes_build(uint64_t count, uint32_t data_bytes);

/** Path of the i-th. */
struct bytes znodes_path(uint64_t i, char out[ZNODES_PATH_BYTES + 1]);

/** xorshift; *state != 0. */
uint64_t znodes_random(uint64_t *state);

/** A count from the command line, or exit 1. */
uint64_t znodes_count_argument(const char *text, uint64_t min, uint64_t max);

#endif
