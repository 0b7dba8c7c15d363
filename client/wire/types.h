/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Words that every module shares: zxid, session id, error codes, limits.
 *
 * Is: plain types and numbers of the ZooKeeper protocols. Is not: a place for state or functions
 * that do work.
 */
#ifndef SENGI_CLIENT_WIRE_TYPES_H
#define SENGI_CLIENT_WIRE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** epoch << 32 | counter. 0 before the first txn. */
typedef int64_t zxid_t;
/** 0 = none. Top byte: id of the server that created the session. */
typedef int64_t session_id_t;

/**
 * Borrowed bytes. data == NULL is jute's null (wire length -1); size == 0 with data != NULL is the
 * empty value.
 */
struct bytes {
    const uint8_t *data;
    uint32_t size;
};

#define BYTES_NULL ((struct bytes){NULL, 0})
#define BYTES_OF(literal) ((struct bytes){(const uint8_t *)(literal), sizeof(literal) - 1})

/* Errors that a client can see (ZooKeeper KeeperException.Code), and the text for people. */
#define ZK_ERRORS(X)                                                                \
    X(ZK_OK, 0, "ok")                                                               \
    X(ZK_RUNTIMEINCONSISTENCY, -2, "runtime inconsistency")                         \
    X(ZK_DATAINCONSISTENCY, -3, "data inconsistency")                               \
    X(ZK_MARSHALLINGERROR, -5, "request could not be decoded")                      \
    X(ZK_UNIMPLEMENTED, -6, "operation not implemented")                            \
    X(ZK_BADARGUMENTS, -8, "invalid arguments")                                     \
    X(ZK_NEWCONFIGNOQUORUM, -13, "no quorum of the new configuration is connected") \
    X(ZK_RECONFIGINPROGRESS, -14, "another reconfiguration is in progress")         \
    X(ZK_NONODE, -101, "node does not exist")                                       \
    X(ZK_NOAUTH, -102, "not authorised")                                            \
    X(ZK_BADVERSION, -103, "version conflict")                                      \
    X(ZK_NOCHILDRENFOREPHEMERALS, -108, "ephemeral nodes may not have children")    \
    X(ZK_NODEEXISTS, -110, "node exists")                                           \
    X(ZK_NOTEMPTY, -111, "node has children")                                       \
    X(ZK_SESSIONEXPIRED, -112, "session expired")                                   \
    X(ZK_INVALIDACL, -114, "invalid ACL")                                           \
    X(ZK_AUTHFAILED, -115, "authentication failed")                                 \
    X(ZK_SESSIONMOVED, -118, "session moved")                                       \
    X(ZK_NOTREADONLY, -119, "write sent to a read-only server")                     \
    X(ZK_EPHEMERALONLOCALSESSION, -120, "ephemeral node on a local session")        \
    X(ZK_NOWATCHER, -121, "no such watcher")                                        \
    X(ZK_RECONFIGDISABLED, -123, "reconfiguration is disabled")                     \
    X(ZK_SESSIONCLOSEDREQUIRESASLAUTH, -124, "authentication required")             \
    X(ZK_QUOTAEXCEEDED, -125, "quota exceeded")                                     \
    X(ZK_THROTTLEDOP, -127, "operation throttled")

enum zk_error {
#define X(name, value, text) name = value,
    ZK_ERRORS(X)
#undef X
};

/** Text for a ZK_* code. Static storage, never NULL. */
const char *zk_error_text(int32_t code);

/* Permission bits of an ACL entry. */
enum {
    PERM_READ = 1,
    PERM_WRITE = 2,
    PERM_CREATE = 4,
    PERM_DELETE = 8,
    PERM_ADMIN = 16,
    PERM_ALL = 31
};

/* WatcherEvent.type and the one state a server sends (client-protocol.md section 9). */
enum watch_event_type {
    EVENT_NODE_CREATED = 1,
    EVENT_NODE_DELETED = 2,
    EVENT_NODE_DATA_CHANGED = 3,
    EVENT_NODE_CHILDREN_CHANGED = 4,
};
#define KEEPER_STATE_SYNC_CONNECTED 3

/* Special xids (client-protocol.md section 4.1). */
#define XID_NOTIFICATION (-1)
#define XID_PING (-2)
#define XID_AUTH (-4)

/* Raw ephemeralOwner values (disk-formats.md section 3.5). */
#define OWNER_CONTAINER INT64_MIN
#define OWNER_TTL_MASK ((int64_t)0xff00000000000000ull)
#define TTL_MS_MAX 0xffffffffffll

/* Limits. Each is a number of bytes unless its name says otherwise. */
#define FRAME_BYTES_DEFAULT 0xfffff /* jute.maxbuffer */
#define STAT_BYTES 68
#define STAT_PERSISTED_BYTES 60
#define PASSWD_BYTES 16
#define REPLY_HEADER_BYTES 16
#define REQUEST_HEADER_BYTES 8

/**
 * The ten numbers a znode keeps on disk (StatPersisted); cversion counts creations of children
 * only.
 */
struct stat_persisted {
    zxid_t czxid, mzxid;
    int64_t ctime, mtime; /* ms since 1970 */
    int32_t version, cversion, aversion;
    int64_t ephemeral_owner; /* raw */
    zxid_t pzxid;
};

/** One authentication id of a connection, or the id of an ACL entry. Borrowed. */
struct auth_id {
    struct bytes scheme, id;
};

#endif
