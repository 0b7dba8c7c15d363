/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A growing byte buffer with a bound, for replies and txns whose size is not known beforehand.
 * Never on the read path.
 */
#ifndef SENGI_CLIENT_WIRE_BUFFER_H
#define SENGI_CLIENT_WIRE_BUFFER_H

#include "client/wire/jute.h"

struct buffer {
    uint8_t *data; /* owned; NULL while capacity == 0 */
    size_t size;   /* size <= capacity <= size_max */
    size_t capacity;
    size_t size_max; /* named limit; set by buffer_init */
    bool failed;     /* an append did not fit: contents are not to be used */
};

void buffer_init(struct buffer *b, size_t size_max);
void buffer_free(struct buffer *b);

/** Room for n more bytes at the end, counted as written; NULL and failed when beyond size_max. */
uint8_t *buffer_room(struct buffer *b, size_t n);

void buffer_put_int(struct buffer *b, int32_t v);
void buffer_put_long(struct buffer *b, int64_t v);
void buffer_put_bool(struct buffer *b, bool v);
void buffer_put_raw(struct buffer *b, const void *data, size_t n);
/** Jute buffer or ustring: length and bytes, -1 for null. */
void buffer_put_bytes(struct buffer *b, struct bytes v);

#endif
