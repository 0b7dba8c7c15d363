/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/protocol.h"

#include <stdio.h>
#include <string.h>

static size_t redis_none(uint8_t *out)
{
    (void)out; /* no handshake and no farewell */
    return 0;
}

static ptrdiff_t redis_hello_reply(const uint8_t *in, size_t size)
{
    (void)in, (void)size; /* never asked: there is no hello */
    return -1;
}

static uint8_t *write_text(uint8_t *p, const char *text)
{
    size_t n = strlen(text);
    memcpy(p, text, n);
    return p + n;
}

static uint8_t *write_length(uint8_t *p, size_t n)
{
    char digits[24];
    size_t i = sizeof digits;
    do
        digits[--i] = (char)('0' + n % 10);
    while (n /= 10);
    *p++ = '$';
    memcpy(p, digits + i, sizeof digits - i);
    return write_text(p + sizeof digits - i, "\r\n");
}

static size_t redis_encode(const struct keyspace *keys, const struct bench_request *request,
                           uint8_t *out)
{
    size_t key_bytes = keys->prefix_bytes + 12;
    uint8_t *p = out;
    switch (request->op) {
    case BENCH_GET:
        p = write_text(p, "*2\r\n$3\r\nGET\r\n");
        p = write_length(p, key_bytes);
        p += key_write(keys, request->key, p);
        return (size_t)(write_text(p, "\r\n") - out);
    case BENCH_SET:
    case BENCH_CREATE:
        p = write_text(p, "*3\r\n$3\r\nSET\r\n");
        p = write_length(p, key_bytes);
        p += key_write(keys, request->key, p);
        p = write_length(write_text(p, "\r\n"), keys->value_bytes);
        memcpy(p, keys->value, keys->value_bytes);
        return (size_t)(write_text(p + keys->value_bytes, "\r\n") - out);
    case BENCH_PING: return (size_t)(write_text(p, "*1\r\n$4\r\nPING\r\n") - out);
    default: return 0;
    }
}

static ptrdiff_t redis_parse(const uint8_t *in, size_t size, struct bench_reply *out)
{
    const uint8_t *line_end = memchr(in, '\n', size);
    if (!line_end)
        return size > 4096 ? -1 : 0;
    *out = (struct bench_reply){0};
    size_t line = (size_t)(line_end + 1 - in);
    switch (in[0]) {
    case '+':
    case ':': return (ptrdiff_t)line;
    case '-': out->error = -1; return (ptrdiff_t)line;
    case '$': break;
    default: return -1;
    }
    if (in[1] == '-') { /* null bulk: no such key */
        out->error = -1;
        return (ptrdiff_t)line;
    }
    uint32_t bytes = 0;
    for (const uint8_t *p = in + 1; p < line_end - 1; p++) {
        if (*p < '0' || *p > '9' || bytes > 100u << 20)
            return -1;
        bytes = bytes * 10 + (uint32_t)(*p - '0');
    }
    if (size < line + bytes + 2)
        return 0;
    out->data_bytes = bytes;
    return (ptrdiff_t)(line + bytes + 2);
}

const struct bench_protocol protocol_redis = {
    "redis", redis_none, redis_hello_reply, redis_encode, redis_parse, redis_none,
};
