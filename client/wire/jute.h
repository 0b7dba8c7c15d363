/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Jute, ZooKeeper's binary encoding (client-protocol.md section 1): big-endian, no tags, no
 * padding.
 *
 *   reader  borrowed bytes -> values. The first malformed field sets `failed`; every later read
 *   gives zero values, so a
 *           record is read straight through and checked once at its end.
 *   writer  values -> caller's buffer. What does not fit sets `failed` and writes nothing beyond
 *   the end.
 *
 * No allocation, no state besides the struct. Any thread.
 */
#ifndef SENGI_CLIENT_WIRE_JUTE_H
#define SENGI_CLIENT_WIRE_JUTE_H

#include <string.h>

#include "client/wire/types.h"

static inline uint32_t be32_load(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap32(v);
}

static inline uint64_t be64_load(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap64(v);
}

static inline void be32_store(void *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof v);
}

static inline void be64_store(void *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof v);
}

struct jute_reader {
    const uint8_t *p, *end; /* p <= end */
    bool failed;
};

static inline struct jute_reader jute_reader_of(const void *data, size_t size)
{
    return (struct jute_reader){data, (const uint8_t *)data + size, false};
}

static inline size_t jute_left(const struct jute_reader *r)
{
    return (size_t)(r->end - r->p);
}

/** Take n raw bytes; NULL and failed if fewer are left. */
static inline const uint8_t *jute_take(struct jute_reader *r, size_t n)
{
    if (r->failed || jute_left(r) < n) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += n;
    return p;
}

static inline int32_t jute_read_int(struct jute_reader *r)
{
    const uint8_t *p = jute_take(r, 4);
    return p ? (int32_t)be32_load(p) : 0;
}

static inline int64_t jute_read_long(struct jute_reader *r)
{
    const uint8_t *p = jute_take(r, 8);
    return p ? (int64_t)be64_load(p) : 0;
}

static inline bool jute_read_bool(struct jute_reader *r)
{
    const uint8_t *p = jute_take(r, 1);
    return p && *p != 0;
}

/**
 * buffer or ustring: length -1 is null, any other negative or overlong length fails. Borrowed from
 * the input.
 */
static inline struct bytes jute_read_bytes(struct jute_reader *r)
{
    int32_t n = jute_read_int(r);
    if (r->failed || n == -1)
        return BYTES_NULL;
    if (n < 0 || (size_t)n > jute_left(r)) {
        r->failed = true;
        return BYTES_NULL;
    }
    struct bytes b = {r->p, (uint32_t)n};
    r->p += n;
    return b;
}

/**
 * Vector count. -1 (null) gives -1, other values <= 0 give 0; a count that cannot fit into the
 * bytes left, at element_bytes_min each, fails at once (hazards.md section 3.2: no allocation by
 * announced size).
 */
static inline int32_t jute_read_count(struct jute_reader *r, size_t element_bytes_min)
{
    int32_t n = jute_read_int(r);
    if (r->failed)
        return 0;
    if (n < 0)
        return n == -1 ? -1 : 0;
    if ((size_t)n > jute_left(r) / element_bytes_min) {
        r->failed = true;
        return 0;
    }
    return n;
}

struct jute_writer {
    uint8_t *start, *p, *end; /* start <= p <= end */
    bool failed;
};

static inline struct jute_writer jute_writer_of(void *data, size_t size)
{
    return (struct jute_writer){data, data, (uint8_t *)data + size, false};
}

static inline size_t jute_written(const struct jute_writer *w)
{
    return (size_t)(w->p - w->start);
}

/** Room for n raw bytes, or NULL and failed. */
static inline uint8_t *jute_room(struct jute_writer *w, size_t n)
{
    if (w->failed || (size_t)(w->end - w->p) < n) {
        w->failed = true;
        return NULL;
    }
    uint8_t *p = w->p;
    w->p += n;
    return p;
}

static inline void jute_write_int(struct jute_writer *w, int32_t v)
{
    uint8_t *p = jute_room(w, 4);
    if (p)
        be32_store(p, (uint32_t)v);
}

static inline void jute_write_long(struct jute_writer *w, int64_t v)
{
    uint8_t *p = jute_room(w, 8);
    if (p)
        be64_store(p, (uint64_t)v);
}

static inline void jute_write_bool(struct jute_writer *w, bool v)
{
    uint8_t *p = jute_room(w, 1);
    if (p)
        *p = v;
}

/** Bytes as they are, without a length. */
static inline void jute_write_raw(struct jute_writer *w, const void *data, size_t n)
{
    uint8_t *p = jute_room(w, n);
    if (p && n)
        memcpy(p, data, n);
}

/** buffer or ustring; data == NULL writes null. */
static inline void jute_write_bytes(struct jute_writer *w, struct bytes b)
{
    jute_write_int(w, b.data ? (int32_t)b.size : -1);
    if (b.data)
        jute_write_raw(w, b.data, b.size);
}

/** Wire size of a buffer or ustring. */
static inline size_t jute_bytes_size(struct bytes b)
{
    return 4 + (b.data ? (size_t)b.size : 0);
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (!a.data) == (!b.data) &&
           (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif
