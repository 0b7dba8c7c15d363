/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * One blocking call per ZooKeeper operation, on top of client.h.
 *
 * Every call returns 0, a ZK_* code from the server or a CLIENT_* code. Replies to requests that
 * the caller has pipelined before are lost: do not mix the two styles while client_outstanding() >
 * 0. What a call hands out as struct bytes or struct names is borrowed from the client until its
 * next call. Watch events may be delivered from within any call.
 */
#ifndef SENGI_CLIENT_CALLS_H
#define SENGI_CLIENT_CALLS_H

#include "client/client.h"

/** The Stat record (client-protocol.md section 6.1). */
struct znode_stat {
    zxid_t czxid, mzxid;
    int64_t ctime_ms, mtime_ms; /* since 1970 */
    int32_t version, cversion, aversion;
    session_id_t ephemeral_owner;
    int32_t data_bytes, children_count;
    zxid_t pzxid;
};

/** Read a Stat; zeroes and r->failed when it is short. */
struct znode_stat znode_stat_read(struct jute_reader *r);

/** A vector of strings in a reply: walk it with names_next. */
struct names {
    int32_t count; /* left to read */
    struct jute_reader reader;
};

/** Next name, or false at the end. */
bool names_next(struct names *n, struct bytes *out);

/** One ACL entry. */
struct acl_entry_text {
    int32_t perms;
    struct bytes scheme, id;
};

/** ACL vectors for calls: world:anyone with all rights. */
extern const struct acl_entry_text acl_open[1];

/* Create flags (client-protocol.md section 7). */
enum create_mode {
    CREATE_PERSISTENT,
    CREATE_EPHEMERAL,
    CREATE_PERSISTENT_SEQUENTIAL,
    CREATE_EPHEMERAL_SEQUENTIAL,
    CREATE_CONTAINER,
    CREATE_TTL,
    CREATE_SEQUENTIAL_TTL,
};

struct create_call {
    struct bytes path, data; /* data == NULL: null */
    const struct acl_entry_text *acl;
    uint32_t acl_count;
    enum create_mode mode;
    int64_t ttl_ms; /* for the two TTL modes */
};

/** @param created  The path with its sequence number; may be NULL. @param stat may be NULL. */
int call_create(struct client *c, const struct create_call *create, struct bytes *created,
                struct znode_stat *stat);

/** @param version  -1 = any. */
int call_delete(struct client *c, struct bytes path, int32_t version);

int call_exists(struct client *c, struct bytes path, bool watch, struct znode_stat *stat);

/** @param data  data == NULL: the znode holds null. */
int call_get(struct client *c, struct bytes path, bool watch, struct bytes *data,
             struct znode_stat *stat);

/** @param version  -1 = any. @param stat may be NULL. */
int call_set(struct client *c, struct bytes path, struct bytes data, int32_t version,
             struct znode_stat *stat);

/** Bare names in the server's order. */
int call_children(struct client *c, struct bytes path, bool watch, struct names *children,
                  struct znode_stat *stat);

/** @param acl  Reader behind the count; *count entries of perms:int, scheme:ustring, id:ustring. */
int call_get_acl(struct client *c, struct bytes path, int32_t *count, struct jute_reader *acl,
                 struct znode_stat *stat);

/** @param version  Expected aversion, -1 = any. @param stat may be NULL. */
int call_set_acl(struct client *c, struct bytes path, const struct acl_entry_text *acl,
                 uint32_t acl_count, int32_t version, struct znode_stat *stat);

/** After it returns, reads on this session see every write committed before it was called. */
int call_sync(struct client *c, struct bytes path);

/** Add an identity to this connection. ZK_AUTHFAILED: the server closes the connection. */
int call_add_auth(struct client *c, struct bytes scheme, struct bytes auth);

/** Ephemeral znodes of this session whose path starts with prefix. */
int call_ephemerals(struct client *c, struct bytes prefix, struct names *paths);

/** All znodes below path. */
int call_children_number(struct client *c, struct bytes path, int32_t *number);

/** @param ids  Reader behind the count; *count entries of scheme:ustring, user:ustring. */
int call_who_am_i(struct client *c, int32_t *count, struct jute_reader *ids);

/** @param mode  0 persistent, 1 persistent recursive. */
int call_add_watch(struct client *c, struct bytes path, int32_t mode);

/** @param type  1 children, 2 data, 3 any (client-protocol.md section 9). */
int call_remove_watches(struct client *c, struct bytes path, int32_t type);

#endif
