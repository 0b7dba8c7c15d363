/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Sessions as the control core tracks them (semantics.md section 13): owner connection, expiry
 * buckets, closing.
 *
 *   data core:  stores conn->heard_ms with every request (a line that it writes anyway, relaxed)
 *   control:    keeps sessions in buckets of one tick; when a bucket is due it looks at the owner's
 *               heard_ms and either moves the session to the bucket of its real expiry or expires
 *               it
 *
 * So renewing a session costs a store on the core that owns the connection, nothing crosses cores,
 * and a request does not touch the session.
 *
 * Invariants
 *   E1  An open session is in exactly one bucket; a closing one in none.
 *   E2  A struct session is freed only when it is closed and no connection refers to it (refs ==
 *       0).
 *   E3  Only CLOCK_MONOTONIC decides (ZOOKEEPER-1366).
 *   E4  session->conn, when set, can be read: a connection is freed after control has let go of it
 *       (C2), which is session_detach().
 */
#ifndef SENGI_DATAPLANE_SESSION_H
#define SENGI_DATAPLANE_SESSION_H

#include <assert.h>

#include "client/wire/types.h"

struct conn;

struct session {
    /* owned by control; the data core of its connection may read the id */
    session_id_t id;
    int64_t heard_ms;   /* opened, renewed or let go of; its owner may have heard since */
    int32_t timeout_ms;
    uint32_t refs;      /* connections that were handed this session and are not detached yet */
    struct conn *conn;  /* the connection that owns it now, or NULL */
    struct session *hash_next;
    struct session *bucket_next, **bucket_link;
    uint32_t bucket;    /* the low bits: session_bucket_ms() */
    uint16_t core;      /* of the owning connection */
    bool closing;       /* closeSession is under way: in no bucket */
    bool closed;        /* closeSession applied; out of the table */
};
static_assert(sizeof(struct session) == 64, "of a million idle clients each has one");

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
/** A connection has let go, the owner or an earlier one. Frees a closed session with the last. */
void session_detach(struct session *s, const struct conn *conn);
/** Monotonic ms at which the open session expires if nothing more is heard of it. */
int64_t session_bucket_ms(const struct session_table *t, const struct session *s);

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
