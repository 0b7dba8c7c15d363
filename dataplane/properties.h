/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Reader of Java-properties text (java.util.Properties.load), one key at a time, with the line of
 * each key.
 *
 * Is: comments (# !), separators (= : blank), escapes (\t \n \r \f \uXXXX), continuation lines, all
 * three line ends. Is not: a map; a later key does not replace an earlier one here.
 *
 * Differs from Java: bytes above 127 are passed on as they are (Java reads Latin-1), \uXXXX becomes
 * UTF-8; a NUL, half a surrogate pair or an overlong line is an error; a lone backslash at the end
 * of the text is nothing, not an empty key.
 *
 *     properties_open(&r, text, size);
 *     while ((result = properties_next(&r)) != PROPERTIES_END)
 *         if (result == PROPERTIES_KEY) use(r.key, r.value, r.line); else complain(r.line, result);
 *
 * No allocation; work linear in size. Any thread.
 */
#ifndef SENGI_DATAPLANE_PROPERTIES_H
#define SENGI_DATAPLANE_PROPERTIES_H

#include <stddef.h>
#include <stdint.h>

#define PROPERTIES_LINE_BYTES_MAX 8192 /* one logical line, continuation lines joined */

enum properties_result {
    PROPERTIES_END = 0,
    PROPERTIES_KEY = 1,
    PROPERTIES_ELONG = -1,   /* logical line above PROPERTIES_LINE_BYTES_MAX */
    PROPERTIES_EESCAPE = -2, /* \u without four hex digits, or half a surrogate pair */
    PROPERTIES_ENUL = -3,    /* NUL byte, raw or as \u0000 */
};

struct properties_reader {
    /* result of the last properties_next(), valid until the next one */
    const char *key, *value; /* terminated; into raw */
    uint32_t line;           /* where the key stands, from 1 */
    /* private */
    const char *p, *end;
    uint32_t line_next;
    char raw[PROPERTIES_LINE_BYTES_MAX + 1];
};

/** Start reading. text is borrowed while the reader is used; it need not be terminated. */
void properties_open(struct properties_reader *r, const char *text, size_t size);

/**
 * Read the next key.
 *
 * @return PROPERTIES_KEY with r->key, r->value, r->line set; PROPERTIES_END; or an error with
 * r->line set, after which reading may go on with the line behind it.
 */
enum properties_result properties_next(struct properties_reader *r);

/** Text for an error result. Static storage. */
const char *properties_error_text(enum properties_result result);

#endif
