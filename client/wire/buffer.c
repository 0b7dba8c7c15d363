/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "client/wire/buffer.h"

#include <stdlib.h>

#include "client/wire/check.h"

#define BUFFER_BYTES_FIRST 256

void buffer_init(struct buffer *b, size_t size_max)
{
    *b = (struct buffer){.size_max = size_max};
}

void buffer_free(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){.size_max = b->size_max};
}

static bool buffer_grow(struct buffer *b, size_t wanted)
{
    size_t capacity = b->capacity ? b->capacity : BUFFER_BYTES_FIRST;
    while (capacity < wanted)
        capacity *= 2;
    if (capacity > b->size_max)
        capacity = b->size_max;
    uint8_t *data = realloc(b->data, capacity);
    if (!data)
        return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

uint8_t *buffer_room(struct buffer *b, size_t n)
{
    CHECK(b->size <= b->capacity && b->capacity <= b->size_max);
    if (b->failed || n > b->size_max - b->size ||
        (b->size + n > b->capacity && !buffer_grow(b, b->size + n))) {
        b->failed = true;
        return NULL;
    }
    uint8_t *p = b->data + b->size;
    b->size += n;
    return p;
}

void buffer_put_int(struct buffer *b, int32_t v)
{
    uint8_t *p = buffer_room(b, 4);
    if (p)
        be32_store(p, (uint32_t)v);
}

void buffer_put_long(struct buffer *b, int64_t v)
{
    uint8_t *p = buffer_room(b, 8);
    if (p)
        be64_store(p, (uint64_t)v);
}

void buffer_put_bool(struct buffer *b, bool v)
{
    uint8_t *p = buffer_room(b, 1);
    if (p)
        *p = v;
}

void buffer_put_raw(struct buffer *b, const void *data, size_t n)
{
    uint8_t *p = n ? buffer_room(b, n) : NULL; /* nothing into an empty buffer: no pointer to add
                                                * to */
    if (p)
        memcpy(p, data, n);
}

void buffer_put_bytes(struct buffer *b, struct bytes v)
{
    buffer_put_int(b, v.data ? (int32_t)v.size : -1);
    if (v.data)
        buffer_put_raw(b, v.data, v.size);
}
