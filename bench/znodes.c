/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/znodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/wire/check.h"
#include "tree/acl.h"

#define DATA_BYTES_MAX (1u << 20)

static void digits(char *out, size_t width, uint64_t n)
{
    while (width-- > 0) {
        out[width] = (char)('0' + n % 10);
        n /= 10;
    }
}

struct bytes znodes_path(uint64_t i, char out[ZNODES_PATH_BYTES + 1])
{
    memcpy(out, "/bench/g00000000000/k000000000", ZNODES_PATH_BYTES + 1);
    digits(out + 8, 11, i / ZNODES_PER_PARENT);
    digits(out + 21, 9, i % ZNODES_PER_PARENT);
    return (struct bytes){(const uint8_t *)out, ZNODES_PATH_BYTES};
}

uint64_t znodes_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

uint64_t znodes_count_argument(const char *text, uint64_t min, uint64_t max)
{
    char *end;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    if (errno || *end || end == text || n < min || n > max) {
        fprintf(stderr, "%s is not a count from %llu to %llu\n", text, (unsigned long long)min,
                (unsigned long long)max);
        exit(1);
    }
    return n;
}

static void load(struct store *s, struct bytes path, struct bytes data)
{
    struct store_node node = {.path = path, .data = data, .acl = ACL_OPEN};
    node.stat =
        (struct stat_persisted){.czxid = ZNODES_ZXID, .mzxid = ZNODES_ZXID, .pzxid = ZNODES_ZXID};
    if (store_load(s, &node) != 0) {
        fprintf(stderr, "out of memory while building the tree\n");
        exit(2);
    }
}

struct store *znodes_build(uint64_t count, uint32_t data_bytes)
{
    static uint8_t data[DATA_BYTES_MAX];
    CHECK(data_bytes <= sizeof data);
    memset(data, 'x', data_bytes);
    struct store *s = store_create_empty(&(struct store_config){0});
    CHECK(s != NULL);
    store_set_offline(s, true);
    CHECK(store_load_begin(s, ZNODES_ZXID) == 0);
    load(s, BYTES_OF("/bench"), BYTES_NULL);
    char path[ZNODES_PATH_BYTES + 1];
    for (uint64_t i = 0; i < count; i++) {
        struct bytes p = znodes_path(i, path);
        if (i % ZNODES_PER_PARENT == 0)
            load(s, (struct bytes){p.data, ZNODES_PATH_BYTES - ZNODES_NAME_BYTES - 1}, BYTES_NULL);
        load(s, p, (struct bytes){data, data_bytes});
    }
    return s;
}
