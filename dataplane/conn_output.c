/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Output of a connection: a queue of chunks. Chunks of the usual size come from the core's pool, so
 * that replies cost no allocation; a reply larger than a chunk gets one of its own.
 */
#include <stdlib.h>

#include "client/wire/check.h"
#include "client/wire/request.h"
#include "dataplane/core.h"

static struct out_chunk *chunk_new(struct core *core, size_t n, bool first)
{
    first = first && n <= OUTPUT_CHUNK_BYTES_FIRST;
    struct chunk_pool *pool = first ? &core->first_chunks : &core->chunks;
    uint32_t capacity = first                    ? OUTPUT_CHUNK_BYTES_FIRST
                        : n > OUTPUT_CHUNK_BYTES ? (uint32_t)n
                                                 : OUTPUT_CHUNK_BYTES;
    struct out_chunk *chunk = pool->free;
    if (chunk && n <= OUTPUT_CHUNK_BYTES) {
        pool->free = chunk->next;
        pool->count--;
    } else {
        chunk = malloc(sizeof *chunk + capacity);
        if (!chunk)
            return NULL;
        chunk->capacity = capacity;
        chunk->value = NULL;
    }
    chunk->next = NULL;
    chunk->start = chunk->end = 0;
    return chunk;
}

void core_value_hold(struct core *core, struct value *value)
{
    value_hold(value);
    core->value_bytes += value->size;
}

void core_value_drop(struct core *core, struct value *value)
{
    CHECK(core->value_bytes >= value->size);
    core->value_bytes -= value->size;
    value_drop(value);
}

static void chunk_free(struct core *core, struct out_chunk *chunk)
{
    if (UNLIKELY(chunk->value != NULL)) {
        core_value_drop(core, chunk->value);
        chunk->value = NULL;
    }
    bool first = chunk->capacity == OUTPUT_CHUNK_BYTES_FIRST;
    struct chunk_pool *pool = first ? &core->first_chunks : &core->chunks;
    if ((!first && chunk->capacity != OUTPUT_CHUNK_BYTES) ||
        pool->count >= (first ? CHUNK_POOL_FIRST_MAX : CHUNK_POOL_MAX)) {
        free(chunk);
        return;
    }
    chunk->next = pool->free;
    pool->free = chunk;
    pool->count++;
}

/* C4: a peer that does not read is cut rather than skipped. */
static bool output_over_limit(const struct core *core, const struct conn *conn)
{
    return conn->out_bytes > OUTPUT_BYTES_MAX ||
           (core->out_bytes > OUTPUT_TOTAL_BYTES_MAX && conn->out_bytes > OUTPUT_PAUSE_BYTES);
}

static uint8_t *output_cut(struct core *core, struct conn *conn)
{
    conn->cut = true;
    core_mark_dirty(core, conn);
    return NULL;
}

uint8_t *conn_room(struct core *core, struct conn *conn, size_t n)
{
    CHECK(n > 0 && n <= REPLY_BYTES_MAX);
    if (conn->state == CONN_CLOSED || conn->cut)
        return NULL;
    if (UNLIKELY(output_over_limit(core, conn))) {
        stat_add(&core->stats.slow_readers_cut, 1);
        return output_cut(core, conn);
    }
    struct out_chunk *tail = conn->out_tail;
    if (!tail || tail->capacity - tail->end < n) {
        struct out_chunk *chunk = chunk_new(core, n, !tail);
        if (!chunk)
            return output_cut(core, conn);
        if (tail)
            tail->next = chunk;
        else
            conn->out_head = chunk;
        conn->out_tail = tail = chunk;
    }
    uint8_t *room = tail->data + tail->end;
    tail->end += (uint32_t)n;
    conn->out_bytes += n;
    core->out_bytes += n;
    core_mark_dirty(core, conn);
    return room;
}

bool conn_reply_value(struct core *core, struct conn *conn, struct bytes head, struct value *value,
                      struct bytes tail)
{
    struct out_chunk *middle = chunk_new(core, 1, true), *last = chunk_new(core, tail.size, true);
    uint8_t *room = middle && last ? conn_room(core, conn, head.size) : output_cut(core, conn);
    if (!room) {
        if (middle)
            chunk_free(core, middle);
        if (last)
            chunk_free(core, last);
        return false;
    }
    memcpy(room, head.data, head.size);
    core_value_hold(core, value);
    middle->value = value;
    middle->end = value->size;
    middle->next = last;
    memcpy(last->data, tail.data, tail.size);
    last->end = tail.size;
    conn->out_tail->next = middle;
    conn->out_tail = last;
    conn->out_bytes += value->size + tail.size;
    core->out_bytes += value->size + tail.size;
    return true;
}

void conn_output_sent(struct core *core, struct conn *conn, size_t n)
{
    CHECK(n <= conn->out_bytes);
    conn->out_bytes -= n;
    core->out_bytes -= n;
    stat_add(&core->stats.bytes_sent, n);
    struct out_chunk *chunk;
    while ((chunk = conn->out_head)) {
        size_t here = chunk->end - chunk->start;
        if (n < here) {
            chunk->start += (uint32_t)n;
            return;
        }
        n -= here;
        conn->out_head = chunk->next;
        if (!conn->out_head)
            conn->out_tail = NULL;
        chunk_free(core, chunk);
    }
    CHECK(n == 0);
}

void conn_output_drop(struct core *core, struct conn *conn)
{
    for (struct out_chunk *chunk = conn->out_head, *next; chunk; chunk = next) {
        next = chunk->next;
        chunk_free(core, chunk);
    }
    core->out_bytes -= conn->out_bytes;
    conn->out_bytes = 0;
    conn->out_head = conn->out_tail = NULL;
}

void conn_reply(struct core *core, struct conn *conn, int32_t xid, zxid_t zxid, int32_t err,
                const void *body, size_t size)
{
    uint8_t *room = conn_room(core, conn, 4 + REPLY_HEADER_BYTES + size);
    if (!room)
        return;
    reply_header_write(room, (uint32_t)size, xid, zxid, err);
    if (size)
        memcpy(room + 4 + REPLY_HEADER_BYTES, body, size);
    conn_note_reply(core, conn, size);
}
