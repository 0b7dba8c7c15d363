/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/properties.h"

#include <stdbool.h>
#include <string.h>

#include "client/wire/check.h"

void properties_open(struct properties_reader *r, const char *text, size_t size)
{
    CHECK(text || size == 0);
    r->key = r->value = "";
    r->line = 0;
    r->p = text;
    r->end = text + size;
    r->line_next = 1;
}

const char *properties_error_text(enum properties_result result)
{
    switch (result) {
    case PROPERTIES_ELONG:
        return "line is longer than 8192 bytes";
    case PROPERTIES_EESCAPE:
        return "\\u needs four hexadecimal digits (and both halves of a surrogate pair)";
    case PROPERTIES_ENUL:
        return "line holds a NUL byte";
    case PROPERTIES_END:
    case PROPERTIES_KEY:
        break;
    }
    return "no error";
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static bool line_end(char c)
{
    return c == '\n' || c == '\r';
}

/* Step over one line end; \r\n is one. */
static void line_end_skip(struct properties_reader *r)
{
    if (r->p[0] == '\r' && r->end - r->p > 1 && r->p[1] == '\n')
        r->p++;
    r->p++;
    r->line_next++;
}

static void comment_skip(struct properties_reader *r)
{
    while (r->p < r->end && !line_end(*r->p))
        r->p++;
}

/*
 * Collect one logical line into raw, as java.util.Properties.LineReader does: leading blanks of
 * every natural line go, a comment is one only while nothing was collected, an odd number of
 * backslashes at the end joins the next line.
 *
 * Returns its length; -1 at the end of the text. *overlong tells that bytes were dropped.
 */
static int logical_line_read(struct properties_reader *r, bool *overlong)
{
    int size = 0;
    bool skip_blanks = true, joined = false, backslash = false;
    *overlong = false;
    while (r->p < r->end) {
        char c = *r->p;
        if (skip_blanks) {
            if (blank(c) || (!joined && line_end(c))) {
                if (line_end(c))
                    line_end_skip(r);
                else
                    r->p++;
                continue;
            }
            skip_blanks = joined = false;
        }
        if (size == 0)
            r->line = r->line_next;
        if (size == 0 && (c == '#' || c == '!')) {
            comment_skip(r);
            skip_blanks = true;
        } else if (!line_end(c)) {
            backslash = c == '\\' && !backslash;
            *overlong = *overlong || size == PROPERTIES_LINE_BYTES_MAX;
            if (size < PROPERTIES_LINE_BYTES_MAX)
                r->raw[size++] = c;
            r->p++;
        } else {
            line_end_skip(r);
            if (size > 0 && !backslash)
                return size;
            size -= backslash;
            joined = backslash;
            skip_blanks = true;
            backslash = false;
        }
    }
    if (backslash)
        size--;
    return size > 0 ? size : -1;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four digits behind \u, or -1. */
static int32_t unit_read(const char *p, const char *end)
{
    int32_t unit = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static char *utf8_write(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 63));
        *out++ = (char)(0x80 | (c & 63));
    } else {
        *out++ = (char)(0xf0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 63));
        *out++ = (char)(0x80 | (c >> 6 & 63));
        *out++ = (char)(0x80 | (c & 63));
    }
    return out;
}

/* Decode the digits behind "\u" at *p; *p moves on by what was used. */
static enum properties_result unicode_decode(const char **p, const char *end, char **out)
{
    int32_t unit = unit_read(*p, end);
    if (unit < 0)
        return PROPERTIES_EESCAPE;
    *p += 4;
    if (unit == 0)
        return PROPERTIES_ENUL;
    if (unit >= 0xd800 && unit < 0xe000) {
        int32_t low = -1;
        if (end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u')
            low = unit_read(*p + 2, end);
        if (unit >= 0xdc00 || low < 0xdc00 || low >= 0xe000)
            return PROPERTIES_EESCAPE;
        *p += 6;
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    *out = utf8_write(*out, (uint32_t)unit);
    return PROPERTIES_KEY;
}

/* Undo the escapes of [p, end) in place and terminate: what comes out is never longer than what
 * went in. */
static enum properties_result decode(char *p, const char *end)
{
    char *out = p;
    const char *in = p;
    while (in < end) {
        char c = *in++;
        if (c == '\0')
            return PROPERTIES_ENUL;
        if (c != '\\' || in == end) {
            *out++ = c;
            continue;
        }
        c = *in++;
        if (c == 'u') {
            enum properties_result result = unicode_decode(&in, end, &out);
            if (result != PROPERTIES_KEY)
                return result;
            continue;
        }
        *out++ = c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 'f' ? '\f' : c;
    }
    CHECK(out <= end);
    *out = '\0';
    return PROPERTIES_KEY;
}

enum properties_result properties_next(struct properties_reader *r)
{
    bool overlong;
    int size = logical_line_read(r, &overlong);
    if (size < 0)
        return PROPERTIES_END;
    if (overlong)
        return PROPERTIES_ELONG;
    char *end = r->raw + size, *key_end = r->raw, *value;
    while (key_end < end && *key_end != '=' && *key_end != ':' && !blank(*key_end))
        key_end += *key_end == '\\' && end - key_end > 1 ? 2 : 1;
    value = key_end;
    while (value < end && blank(*value))
        value++;
    if (value < end && (*value == '=' || *value == ':'))
        value++;
    while (value < end && blank(*value))
        value++;
    r->key = r->raw;
    r->value = value;
    /* The value first: terminating the key may overwrite the separator, never the value behind it.
     */
    enum properties_result result = decode(value, end);
    return result == PROPERTIES_KEY ? decode(r->raw, key_end) : result;
}
