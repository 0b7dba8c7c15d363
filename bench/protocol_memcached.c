/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/protocol.h"

#include <stdio.h>
#include <string.h>

static size_t memcached_none(uint8_t *out)
{
    (void)out; /* no handshake and no farewell */
    return 0;
}

static ptrdiff_t memcached_hello_reply(const uint8_t *in, size_t size)
{
    (void)in, (void)size; /* never asked: there is no hello */
    return -1;
}

static size_t memcached_encode(const struct keyspace *keys, const struct bench_request *request,
                               uint8_t *out)
{
    uint8_t *p = out;
    switch (request->op) {
    case BENCH_GET:
        memcpy(p, "get ", 4);
        p += 4;
        p += key_write(keys, request->key, p);
        memcpy(p, "\r\n", 2);
        return (size_t)(p + 2 - out);
    case BENCH_SET:
    case BENCH_CREATE:
        memcpy(p, "set ", 4);
        p += 4;
        p += key_write(keys, request->key, p);
        p += snprintf((char *)p, 32, " 0 0 %u\r\n", keys->value_bytes);
        memcpy(p, keys->value, keys->value_bytes);
        p += keys->value_bytes;
        memcpy(p, "\r\n", 2);
        return (size_t)(p + 2 - out);
    case BENCH_PING: memcpy(p, "mn\r\n", 4); return 4;
    default: return 0;
    }
}

/* VALUE <key> <flags> <bytes>\r\n<data>\r\nEND\r\n */
static ptrdiff_t parse_value(const uint8_t *in, size_t size, const uint8_t *line_end,
                             struct bench_reply *out)
{
    const uint8_t *p = line_end;
    while (p > in && p[-1] != ' ')
        p--;
    uint32_t bytes = 0;
    for (; p < line_end - 1; p++) {
        if (*p < '0' || *p > '9' || bytes > 100u << 20)
            return -1;
        bytes = bytes * 10 + (uint32_t)(*p - '0');
    }
    size_t total = (size_t)(line_end + 1 - in) + bytes + 7;
    if (size < total)
        return 0;
    if (memcmp(in + total - 7, "\r\nEND\r\n", 7) != 0)
        return -1;
    out->data_bytes = bytes;
    return (ptrdiff_t)total;
}

static ptrdiff_t memcached_parse(const uint8_t *in, size_t size, struct bench_reply *out)
{
    const uint8_t *line_end = memchr(in, '\n', size);
    if (!line_end)
        return size > 4096 ? -1 : 0;
    *out = (struct bench_reply){0};
    if (size > 6 && memcmp(in, "VALUE ", 6) == 0)
        return parse_value(in, size, line_end, out);
    ptrdiff_t n = line_end + 1 - in;
    bool good =
        (n == 8 && memcmp(in, "STORED\r\n", 8) == 0) || (n == 4 && memcmp(in, "MN\r\n", 4) == 0);
    out->error = good ? 0 : -1;
    return n;
}

const struct bench_protocol protocol_memcached = {
    "memcached",      memcached_none,  memcached_hello_reply,
    memcached_encode, memcached_parse, memcached_none,
};
