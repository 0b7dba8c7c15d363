/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A text that grows while it is put together, up to a bound that its owner sets.
 *
 * An append that does not fit is dropped whole and marks the text as full: what is there stays a
 * prefix that ends where an append ended. Any thread; allocates.
 */
#ifndef SENGI_DATAPLANE_TEXT_H
#define SENGI_DATAPLANE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/** Growing text with a bound. Invariant: size < room <= bytes_max, or all zero; data[size] == 0. */
struct text_buffer {
    char *data; /* owned; NULL while empty */
    size_t size, room, bytes_max;
    bool full; /* an append did not fit (or memory ran out) and was dropped whole, as was everything
                  after it */
};

/** An empty buffer that never holds more than bytes_max bytes. */
struct text_buffer text_buffer_of(size_t bytes_max);
/** Free the bytes; the buffer is empty again. */
void text_buffer_free(struct text_buffer *b);
/** Append printf-like text. */
__attribute__((format(printf, 2, 3))) void text_append(struct text_buffer *b, const char *format,
                                                       ...);
/** Append bytes as they are, NULs too. */
void text_append_bytes(struct text_buffer *b, const void *bytes, size_t size);
/** Append a number as Java's Double.toString() prints one rounded to four decimals: "0.0",
 * "0.6881", "1.2E7". */
void text_append_double(struct text_buffer *b, double number);

#endif
