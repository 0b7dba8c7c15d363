/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"

#define TEXT_ROOM_FIRST 1024

struct text_buffer text_buffer_of(size_t bytes_max)
{
    return (struct text_buffer){.bytes_max = bytes_max};
}

void text_buffer_free(struct text_buffer *b)
{
    free(b->data);
    *b = text_buffer_of(b->bytes_max);
}

/* Room for `more` bytes and the terminator, doubling up to the bound. */
static bool text_reserve(struct text_buffer *b, size_t more)
{
    if (more >= b->bytes_max || b->size >= b->bytes_max - more)
        return false;
    size_t room = b->room ? b->room : TEXT_ROOM_FIRST;
    while (room <= b->size + more)
        room *= 2;
    if (room > b->bytes_max)
        room = b->bytes_max;
    if (room == b->room)
        return true;
    char *data = realloc(b->data, room);
    if (!data)
        return false;
    b->data = data;
    b->room = room;
    return true;
}

void text_append_bytes(struct text_buffer *b, const void *bytes, size_t size)
{
    if (b->full || size == 0)
        return;
    if (!text_reserve(b, size)) {
        b->full = true;
        return;
    }
    memcpy(b->data + b->size, bytes, size);
    b->size += size;
    b->data[b->size] = 0;
}

void text_append(struct text_buffer *b, const char *format, ...)
{
    char small[512], *text = small;
    va_list arguments;
    if (b->full)
        return;
    va_start(arguments, format);
    int size = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    CHECK(size >= 0);
    if (!text_reserve(b, (size_t)size)) {
        b->full = true;
        return;
    }
    if ((size_t)size >= sizeof small) {
        text = b->data + b->size;
        va_start(arguments, format);
        vsnprintf(text, (size_t)size + 1, format, arguments);
        va_end(arguments);
    } else {
        memcpy(b->data + b->size, text, (size_t)size + 1);
    }
    b->size += (size_t)size;
    CHECK(b->size < b->room && b->room <= b->bytes_max);
}

/* Take zeroes off the end of a fraction, but leave one digit behind the point. */
static void zeroes_strip(char *text)
{
    size_t size = strlen(text);
    while (size > 2 && text[size - 1] == '0' && text[size - 2] != '.')
        text[--size] = '\0';
}

void text_append_double(struct text_buffer *b, double number)
{
    const char *sign = number < 0 ? "-" : "";
    char text[64];
    int exponent = 0;
    number = number < 0 ? -number : number;
    if (!(number <= 1e300)) { /* infinite or none: no counter gives that */
        text_append(b, "NaN");
        return;
    }
    while (number >= 1e7 ||
           (exponent > 0 && number >= 10)) { /* Double.toString() changes form here */
        number /= 10;
        exponent++;
    }
    if (exponent > 0) {
        snprintf(text, sizeof text, "%.10f", number);
        zeroes_strip(text);
        text_append(b, "%s%sE%d", sign, text, exponent);
        return;
    }
    /* Half up, as BigDecimal.setScale(4, HALF_UP) in AvgMinMaxCounter; printf would round to even.
     */
    long long scaled = (long long)(number * 1e4 + 0.5);
    if (scaled > 0 && scaled < 10) /* below 0.001 it changes form, too */
        snprintf(text, sizeof text, "%lld.0E-4", scaled);
    else
        snprintf(text, sizeof text, "%lld.%04lld", scaled / 10000, scaled % 10000);
    zeroes_strip(text);
    text_append(b, "%s%s", sign, text);
}
