/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Sessions as the control core tracks them (semantics.md section 13): owner connection, expiry
 * buckets, closing.
 *
 *   data core:  stores session->heard_ms with every request (its own cache line, relaxed)
 *   control:    keeps sessions in buckets of one tick; when a bucket is due it looks at heard_ms
 *   and either moves the
 *               session to the bucket of its real expiry or expires it
 *
 * So renewing a session costs a store on the core that owns the connection, and nothing crosses
 * cores.
 *
 * Invariants
 *   E1  An open session is in exactly one bucket; a closing one in none.
 *   E2  A struct session is freed only when it is closed and no connection refers to it (refs ==
 *       0).
 *   E3  Only CLOCK_MONOTONIC decides (ZOOKEEPER-1366).
 */
#ifndef SENGI_DATAPLANE_SESSION_H
#define SENGI_DATAPLANE_SESSION_H

#include <stdatomic.h>

#include "client/wire/types.h"

struct conn;

struct session {
    /* shared: written by the data core that owns the connection, read by control; relaxed, a late
     * value only delays expiry by one look */
    _Alignas(64) _Atomic int64_t heard_ms;
    /*
     * shared: written by control, read by the data core; relaxed: requests behind it are refused by
     * control anyway
     */
    _Atomic bool closing;
    /* owned by control */
    session_id_t id;
    int32_t timeout_ms;
    uint16_t core;      /* of the owning connection */
    bool closed;        /* closeSession applied; out of the table */
    uint32_t refs;      /* connections that were handed this session and are not detached yet */
    struct conn *conn;  /* the connection that owns it now, or NULL */
    struct session *hash_next;
    struct session *bucket_next, **bucket_link;
    int64_t bucket_ms;
};

struct session_table;

/** @param tick_ms width of an expiry bucket. NULL: out of memory. */
struct session_table *session_table_create(int64_t tick_ms, int64_t now_ms);
void session_table_destroy(struct session_table *t);

/** New open session, heard of now. NULL: out of memory. */
struct session *session_open(struct session_table *t, session_id_t id, int32_t timeout_ms,
                             int64_t now_ms);
struct session *session_find(struct session_table *t, session_id_t id);
/** Resumed or moved: heard of now, perhaps with another timeout. */
void session_renew(struct session_table *t, struct session *s, int32_t timeout_ms, int64_t now_ms);
/** Mark closing: leaves its bucket, is found no longer as open (E1). */
void session_begin_close(struct session_table *t, struct session *s);
/** closeSession applied: out of the table, freed when the last connection detaches. */
void session_finish_close(struct session_table *t, struct session *s);
/** One connection has let go. Frees a closed session with the last one. */
void session_release(struct session_table *t, struct session *s);

/**
 * Sessions whose time is up. Each is looked at once per due bucket; those heard of since move on.
 * @param expire called with each expired session, still open; must call session_begin_close() on
 *               it.
 */
void session_expire_due(struct session_table *t, int64_t now_ms,
                        void (*expire)(void *ctx, struct session *s), void *ctx);
/**
 * ms of the next bucket boundary at which something may be due; INT64_MAX when there is no session.
 */
int64_t session_next_ms(const struct session_table *t);

uint32_t session_count(const struct session_table *t);
/** For `dump`: bucket by bucket, ascending. */
void session_each(struct session_table *t, void (*each)(void *ctx, const struct session *s),
                  void *ctx);

#endif
