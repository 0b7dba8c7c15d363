/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/protocol.h"

#include <string.h>

const struct bench_protocol *protocol_find(const char *name)
{
    const struct bench_protocol *all[] = {&protocol_zk, &protocol_memcached, &protocol_redis};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}

size_t key_write(const struct keyspace *keys, uint32_t key, uint8_t *out)
{
    size_t n = keys->prefix_bytes;
    memcpy(out, keys->prefix, n);
    out[n] = '/';
    out[n + 1] = 'k';
    for (size_t digit = 10; digit-- > 0; key /= 10)
        out[n + 2 + digit] = (uint8_t)('0' + key % 10);
    return n + 12;
}
