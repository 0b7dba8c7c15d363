/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/session.h"

#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"
#include "dataplane/conn.h"

/* Buckets are kept in a ring of slots by bucket number; a session further ahead than the ring
 * shares a slot and is simply looked at early. */
#define BUCKET_SLOTS 1024
#define HASH_SLOTS_FIRST 256

struct session_table {
    int64_t tick_ms;
    int64_t due_bucket; /* every bucket below has been looked at */
    struct session **hash;
    uint32_t hash_mask;
    uint32_t count;      /* in the table: open and closing */
    uint32_t open_count; /* in buckets */
    struct session *slot[BUCKET_SLOTS];
};

static uint32_t hash_of(session_id_t id)
{
    return (uint32_t)(((uint64_t)id * 0x9e3779b97f4a7c15ull) >> 32);
}

struct session_table *session_table_create(int64_t tick_ms, int64_t now_ms)
{
    CHECK(tick_ms > 0);
    struct session_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->hash = calloc(HASH_SLOTS_FIRST, sizeof *t->hash);
    if (!t->hash) {
        free(t);
        return NULL;
    }
    t->hash_mask = HASH_SLOTS_FIRST - 1;
    t->tick_ms = tick_ms;
    t->due_bucket = now_ms / tick_ms;
    return t;
}

void session_table_destroy(struct session_table *t)
{
    if (!t)
        return;
    for (uint32_t i = 0; i <= t->hash_mask; i++)
        for (struct session *s = t->hash[i], *next; s; s = next) {
            next = s->hash_next;
            free(s);
        }
    free(t->hash);
    free(t);
}

/* A failed growth is no error: chains only get longer. */
static void hash_grow(struct session_table *t)
{
    uint32_t slots = (t->hash_mask + 1) * 2;
    struct session **hash = calloc(slots, sizeof *hash);
    if (!hash)
        return;
    for (uint32_t i = 0; i <= t->hash_mask; i++)
        for (struct session *s = t->hash[i], *next; s; s = next) {
            next = s->hash_next;
            uint32_t at = hash_of(s->id) & (slots - 1);
            s->hash_next = hash[at];
            hash[at] = s;
        }
    free(t->hash);
    t->hash = hash;
    t->hash_mask = slots - 1;
}

/* ExpiryQueue.roundToNextInterval: (time / interval + 1) * interval (semantics.md section 13.3). */
static int64_t expiry_bucket(const struct session_table *t, int64_t heard_ms, int32_t timeout_ms)
{
    /* A snapshot or log may hold any timeout; a bucket below 0 would have no slot. */
    return (heard_ms + (timeout_ms > 0 ? timeout_ms : 0)) / t->tick_ms + 1;
}

static void bucket_link(struct session_table *t, struct session *s, int64_t bucket)
{
    struct session **head = &t->slot[bucket % BUCKET_SLOTS];
    s->bucket = (uint32_t)bucket;
    s->bucket_next = *head;
    if (*head)
        (*head)->bucket_link = &s->bucket_next;
    s->bucket_link = head;
    *head = s;
}

static void bucket_unlink(struct session *s)
{
    *s->bucket_link = s->bucket_next;
    if (s->bucket_next)
        s->bucket_next->bucket_link = s->bucket_link;
    s->bucket_link = NULL;
    s->bucket_next = NULL;
}

struct session *session_open(struct session_table *t, session_id_t id, int32_t timeout_ms,
                             int64_t now_ms)
{
    CHECK(!session_find(t, id));
    struct session *s = malloc(sizeof *s);
    if (!s)
        return NULL;
    memset(s, 0, sizeof *s);
    s->id = id;
    s->timeout_ms = timeout_ms;
    s->heard_ms = now_ms;
    if (t->count > t->hash_mask)
        hash_grow(t);
    struct session **head = &t->hash[hash_of(id) & t->hash_mask];
    s->hash_next = *head;
    *head = s;
    bucket_link(t, s, expiry_bucket(t, now_ms, timeout_ms));
    t->count++;
    t->open_count++;
    return s;
}

struct session *session_find(struct session_table *t, session_id_t id)
{
    struct session *s = t->hash[hash_of(id) & t->hash_mask];
    while (s && s->id != id)
        s = s->hash_next;
    return s;
}

void session_renew(struct session_table *t, struct session *s, int32_t timeout_ms, int64_t now_ms)
{
    CHECK(s->bucket_link);
    s->timeout_ms = timeout_ms;
    s->heard_ms = now_ms;
    bucket_unlink(s);
    bucket_link(t, s, expiry_bucket(t, now_ms, timeout_ms));
}

void session_begin_close(struct session_table *t, struct session *s)
{
    CHECK(!s->closing);
    s->closing = true;
    bucket_unlink(s);
    t->open_count--;
}

void session_finish_close(struct session_table *t, struct session *s)
{
    CHECK(!s->closed && !s->bucket_link);
    struct session **link = &t->hash[hash_of(s->id) & t->hash_mask];
    while (*link != s)
        link = &(*link)->hash_next;
    *link = s->hash_next;
    t->count--;
    s->closed = true;
    if (s->refs == 0)
        free(s);
}

static int64_t last_heard_ms(const struct session *s)
{
    int64_t heard_ms =
        s->conn ? atomic_load_explicit(&s->conn->heard_ms, memory_order_relaxed) : 0;
    return heard_ms > s->heard_ms ? heard_ms : s->heard_ms;
}

void session_detach(struct session *s, const struct conn *conn)
{
    CHECK(s->refs > 0);
    if (s->conn == conn) {
        s->heard_ms = last_heard_ms(s);
        s->conn = NULL;
    }
    if (--s->refs == 0 && s->closed)
        free(s); /* an open one stays until it expires */
}

int64_t session_bucket_ms(const struct session_table *t, const struct session *s)
{
    return (t->due_bucket + (int32_t)(s->bucket - (uint32_t)t->due_bucket)) * t->tick_ms;
}

static void session_look(struct session_table *t, struct session *s, int64_t now_ms,
                         void (*expire)(void *ctx, struct session *s), void *ctx)
{
    int64_t bucket = expiry_bucket(t, last_heard_ms(s), s->timeout_ms);
    if (bucket * t->tick_ms <= now_ms) {
        expire(ctx, s); /* may free it */
        return;
    }
    bucket_unlink(s);
    bucket_link(t, s, bucket);
}

void session_expire_due(struct session_table *t, int64_t now_ms,
                        void (*expire)(void *ctx, struct session *s), void *ctx)
{
    int64_t until = now_ms / t->tick_ms; /* buckets with bucket * tick <= now */
    if (until - t->due_bucket > BUCKET_SLOTS)
        t->due_bucket = until - BUCKET_SLOTS; /* a long pause: each slot once is all of them */
    while (t->due_bucket <= until) {
        struct session *s = t->slot[t->due_bucket % BUCKET_SLOTS];
        while (s) {
            struct session *next = s->bucket_next;
            session_look(t, s, now_ms, expire, ctx);
            s = next;
        }
        t->due_bucket++;
    }
}

int64_t session_next_ms(const struct session_table *t)
{
    return t->open_count ? t->due_bucket * t->tick_ms : INT64_MAX;
}

uint32_t session_count(const struct session_table *t)
{
    return t->open_count;
}

void session_each(struct session_table *t, void (*each)(void *ctx, const struct session *s),
                  void *ctx)
{
    for (int64_t b = t->due_bucket; b < t->due_bucket + BUCKET_SLOTS; b++)
        for (const struct session *s = t->slot[b % BUCKET_SLOTS]; s; s = s->bucket_next)
            each(ctx, s);
}
