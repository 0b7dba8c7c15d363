/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What a client writes and reads, for tests on the rig: frames into peer->unread, replies out of
 * peer->got.
 */
#ifndef SENGI_TESTS_DATAPLANE_RIG_CLIENT_H
#define SENGI_TESTS_DATAPLANE_RIG_CLIENT_H

#include "tests/dataplane/rig.h"

struct reply {
    int32_t xid, err;
    zxid_t zxid;
    struct bytes body; /* in peer->got: valid until more is received */
};

static inline struct bytes text(const char *s)
{
    return s ? (struct bytes){(const uint8_t *)s, (uint32_t)strlen(s)} : BYTES_NULL;
}

/* --- requests: begin, fields, end --- */

static inline size_t frame_begin(struct buffer *b, int32_t xid, int32_t op)
{
    size_t at = b->size;
    buffer_put_int(b, 0);
    buffer_put_int(b, xid);
    buffer_put_int(b, op);
    return at;
}

static inline void frame_end(struct buffer *b, size_t at)
{
    CHECK(!b->failed);
    be32_store(b->data + at, (uint32_t)(b->size - at - 4));
}

static inline void put_open_acl(struct buffer *b)
{
    buffer_put_int(b, 1);
    buffer_put_int(b, PERM_ALL);
    buffer_put_bytes(b, text("world"));
    buffer_put_bytes(b, text("anyone"));
}

/** getData, exists, getChildren, getChildren2. @return xid */
static inline int32_t send_read(struct rig_peer *p, int32_t op, const char *path, bool watch)
{
    size_t at = frame_begin(&p->unread, p->xid, op);
    buffer_put_bytes(&p->unread, text(path));
    buffer_put_bool(&p->unread, watch);
    frame_end(&p->unread, at);
    return p->xid++;
}

/** sync, getEphemerals, getAllChildrenNumber, getACL. */
static inline int32_t send_path(struct rig_peer *p, int32_t op, const char *path)
{
    size_t at = frame_begin(&p->unread, p->xid, op);
    buffer_put_bytes(&p->unread, text(path));
    frame_end(&p->unread, at);
    return p->xid++;
}

static inline int32_t send_create(struct rig_peer *p, const char *path, struct bytes data,
                                  int32_t flags)
{
    size_t at = frame_begin(&p->unread, p->xid, flags == 4 ? OP_CREATE_CONTAINER : OP_CREATE);
    buffer_put_bytes(&p->unread, text(path));
    buffer_put_bytes(&p->unread, data);
    put_open_acl(&p->unread);
    buffer_put_int(&p->unread, flags);
    frame_end(&p->unread, at);
    return p->xid++;
}

static inline int32_t send_set(struct rig_peer *p, const char *path, struct bytes data,
                               int32_t version)
{
    size_t at = frame_begin(&p->unread, p->xid, OP_SET_DATA);
    buffer_put_bytes(&p->unread, text(path));
    buffer_put_bytes(&p->unread, data);
    buffer_put_int(&p->unread, version);
    frame_end(&p->unread, at);
    return p->xid++;
}

/** delete (version), addWatch (mode), checkWatches, removeWatches (type). */
static inline int32_t send_path_int(struct rig_peer *p, int32_t op, const char *path,
                                    int32_t number)
{
    size_t at = frame_begin(&p->unread, p->xid, op);
    buffer_put_bytes(&p->unread, text(path));
    buffer_put_int(&p->unread, number);
    frame_end(&p->unread, at);
    return p->xid++;
}

/** A request without a record: ping, closeSession, whoAmI, or an opcode that does not exist. */
static inline int32_t send_bare(struct rig_peer *p, int32_t op)
{
    int32_t xid = op == OP_PING ? XID_PING : p->xid++;
    frame_end(&p->unread, frame_begin(&p->unread, xid, op));
    return xid;
}

static inline void send_auth(struct rig_peer *p, const char *scheme, const char *auth)
{
    size_t at = frame_begin(&p->unread, XID_AUTH, OP_AUTH);
    buffer_put_int(&p->unread, 0);
    buffer_put_bytes(&p->unread, text(scheme));
    buffer_put_bytes(&p->unread, text(auth));
    frame_end(&p->unread, at);
}

static inline void put_multi_header(struct buffer *b, int32_t type, bool done)
{
    buffer_put_int(b, type);
    buffer_put_bool(b, done);
    buffer_put_int(b, -1);
}

/** One multi: set both paths, or the second's version is wrong and nothing happens. */
static inline int32_t send_multi_set(struct rig_peer *p, const char *a, const char *b,
                                     struct bytes data, bool fails)
{
    size_t at = frame_begin(&p->unread, p->xid, OP_MULTI);
    put_multi_header(&p->unread, OP_SET_DATA, false);
    buffer_put_bytes(&p->unread, text(a));
    buffer_put_bytes(&p->unread, data);
    buffer_put_int(&p->unread, -1);
    put_multi_header(&p->unread, OP_SET_DATA, false);
    buffer_put_bytes(&p->unread, text(b));
    buffer_put_bytes(&p->unread, data);
    buffer_put_int(&p->unread, fails ? 1 << 30 : -1);
    put_multi_header(&p->unread, -1, true);
    frame_end(&p->unread, at);
    return p->xid++;
}

static inline void send_connect(struct rig_peer *p, zxid_t seen, int32_t timeout_ms,
                                session_id_t session, struct bytes passwd, bool with_flag)
{
    size_t at = p->unread.size;
    buffer_put_int(&p->unread, 0);
    buffer_put_int(&p->unread, 0);
    buffer_put_long(&p->unread, seen);
    buffer_put_int(&p->unread, timeout_ms);
    buffer_put_long(&p->unread, session);
    buffer_put_bytes(&p->unread, passwd);
    if (with_flag)
        buffer_put_bool(&p->unread, false);
    frame_end(&p->unread, at);
}

/* --- replies --- */

/** The next frame that the server sent, or false. */
static inline bool frame_next(struct rig_peer *p, struct bytes *frame)
{
    if (p->got.size - p->looked < 4)
        return false;
    uint32_t size = be32_load(p->got.data + p->looked);
    if (p->got.size - p->looked - 4 < size)
        return false;
    *frame = (struct bytes){p->got.data + p->looked + 4, size};
    p->looked += 4 + (size_t)size;
    return true;
}

static inline bool reply_next(struct rig_peer *p, struct reply *r)
{
    struct bytes frame;
    if (!frame_next(p, &frame))
        return false;
    CHECK(frame.size >= REPLY_HEADER_BYTES);
    *r = (struct reply){
        .xid = (int32_t)be32_load(frame.data),
        .zxid = (zxid_t)be64_load(frame.data + 4),
        .err = (int32_t)be32_load(frame.data + 12),
        .body = {frame.data + REPLY_HEADER_BYTES, frame.size - REPLY_HEADER_BYTES},
    };
    return true;
}

/** The answer to a handshake. True: there is a session now. */
static inline bool connected(struct rig_peer *p)
{
    struct bytes frame;
    if (!frame_next(p, &frame))
        return false;
    CHECK(frame.size == 36 || frame.size == 37);
    p->timeout_ms = (int32_t)be32_load(frame.data + 4);
    p->session = (session_id_t)be64_load(frame.data + 8);
    CHECK(be32_load(frame.data + 16) == PASSWD_BYTES);
    memcpy(p->passwd, frame.data + 20, PASSWD_BYTES);
    return p->session != 0;
}

/** A client with a new session; settles. */
static inline struct rig_peer *rig_client(unsigned core)
{
    static const uint8_t zeros[PASSWD_BYTES];
    struct rig_peer *p = rig_open(core);
    send_connect(p, 0, 10000, 0, (struct bytes){zeros, sizeof zeros}, true);
    rig_settle();
    CHECK(connected(p));
    return p;
}

/** Everything settles, then the next reply must be of this xid. */
static inline struct reply reply_of(struct rig_peer *p, int32_t xid)
{
    struct reply r;
    if (!reply_next(p, &r)) {
        rig_settle();
        CHECK(reply_next(p, &r));
    }
    if (r.xid != xid)
        fprintf(stderr, "xid %d instead of %d\n", r.xid, xid);
    CHECK(r.xid == xid);
    return r;
}

#endif
