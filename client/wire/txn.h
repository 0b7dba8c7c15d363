/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Transactions as they stand in the log and in PROPOSAL packets (disk-formats.md sections 3.3
 * to 3.6).
 *
 *      entry = header (32) | body (by type) | digest (12, optional)
 *
 * Is: decoding into borrowed views and encoding straight into a log record. Is not: rules about
 * what a txn does.
 *
 * Invariants
 *  1. A body that txn_body_read() or txn_entry_read() accepted is well-formed to its last byte:
 *     walking its paths, its ACL or the parts of its multi cannot fail and needs no further check.
 *  2. Every view points into the caller's bytes and lives as long as they do. Nothing is allocated.
 *  3. A multi holds no multi: decoding never nests deeper than one.
 *  4. Only types that Java knows are accepted or written ("Unsupported Txn" stops a Java server for
 *     good).
 *
 * Types are the opcodes of opcodes.h; CHECK (13) is known inside a multi only. Any thread.
 */
#ifndef SENGI_CLIENT_WIRE_TXN_H
#define SENGI_CLIENT_WIRE_TXN_H

#include "client/wire/jute.h"
#include "client/wire/opcodes.h"
#include "client/wire/types.h"

#define TXN_HEADER_BYTES 32
#define TXN_DIGEST_BYTES 12
#define TXN_DIGEST_VERSION 2

#define TXN_ERRORS(X)                                                                              \
    X(TXN_OK, 0, "ok")                                                                             \
    X(TXN_EHEADER, -1, "transaction header cut short")                                             \
    X(TXN_ETYPE, -2, "transaction type unknown to ZooKeeper")                                      \
    X(TXN_EBODY, -3, "transaction body malformed")

enum txn_error {
#define X(name, value, text) name = value,
    TXN_ERRORS(X)
#undef X
};

/** Text for a TXN_* code. Static storage, never NULL. */
const char *txn_error_text(int code);

struct txn_header {
    session_id_t client_id;
    int32_t cxid; /* 0 for what the server itself asks for */
    zxid_t zxid;
    int64_t time_ms; /* since 1970, the leader's clock */
    int32_t type;    /* OP_* */
};

/** Digest of the whole tree after the txn. Only version TXN_DIGEST_VERSION can be compared. */
struct txn_digest {
    int32_t version;
    uint64_t tree;
};

/** vector<ACL>, count included, exactly as on the wire: what a writer copies and an ACL table
 * compares. */
struct txn_acl {
    struct bytes raw;
    int32_t count; /* -1 = null vector */
};

/** create, create2, createContainer, createTTL. */
struct txn_create {
    struct bytes path, data; /* data may be null */
    struct txn_acl acl;
    bool ephemeral; /* create, create2 */
    int32_t
        parent_cversion; /* -1: none recorded (files of 3.3 and older), take the parent's own + 1 */
    int64_t ttl_ms;      /* createTTL, else 0 */
};

/** setData and reconfig: version is the new one. */
struct txn_set_data {
    struct bytes path, data;
    int32_t version;
};

struct txn_set_acl {
    struct bytes path;
    struct txn_acl acl;
    int32_t version; /* the new aversion */
};

/** Paths of a closeSession; walk with txn_paths_next(). */
struct txn_paths {
    int32_t count; /* left to walk */
    struct bytes raw;
};

/** Parts of a multi; walk with txn_multi_next(). */
struct txn_multi {
    int32_t count; /* left to walk */
    struct bytes raw;
};

struct txn_body {
    int32_t type; /* selects the member */
    union {
        struct txn_create create; /* OP_CREATE, OP_CREATE2, OP_CREATE_CONTAINER, OP_CREATE_TTL */
        struct {
            struct bytes path;
        } delete;                     /* OP_DELETE, OP_DELETE_CONTAINER */
        struct txn_set_data set_data; /* OP_SET_DATA, OP_RECONFIG */
        struct txn_set_acl set_acl;   /* OP_SET_ACL */
        struct {
            struct bytes path;
            int32_t version;    /* the node's version + 1 */
        } check;                /* OP_CHECK, in a multi only */
        struct txn_multi multi; /* OP_MULTI */
        struct {
            int32_t timeout_ms;
        } create_session; /* OP_CREATE_SESSION */
        struct {
            struct txn_paths paths;
        } close_session; /* OP_CLOSE_SESSION; count 0 also for the old empty body */
        struct {
            int32_t code; /* ZK_*, negative */
        } error;          /* OP_ERROR */
    };
};

/** One entry, decoded. */
struct txn {
    struct txn_header header;
    struct txn_body body;
    struct bytes
        body_bytes; /* the body's own bytes, empty but never null for an empty closeSession */
    bool has_digest;
    struct txn_digest digest; /* version 0 and tree 0 without one */
};

/* ---- reading ---- */

/** True for a type that may stand in a txn header. */
bool txn_type_loggable(int32_t type);

/** True for a type that may stand inside a multi. */
bool txn_type_in_multi(int32_t type);

/** Fails r on fewer than TXN_HEADER_BYTES. Does not judge the type. */
struct txn_header txn_header_read(struct jute_reader *r);

/** vector<ACL> as raw bytes; fails r on a malformed one. */
struct txn_acl txn_acl_read(struct jute_reader *r);

/**
 * Decode a body of the given type and leave r behind it.
 *
 * A CREATE that ends behind its `ephemeral` is the oldest form; a CLOSE_SESSION without vector is
 * the form of servers with closeSessionTxn switched off: both are accepted, and a digest behind the
 * latter is left for the caller.
 *
 * @return 0; TXN_ETYPE; TXN_EBODY. On error *out is undefined and r has failed.
 */
int txn_body_read(int32_t type, struct jute_reader *r, struct txn_body *out);

/**
 * Decode header, body and digest of one entry. Bytes behind the digest are ignored, as by Java.
 *
 * @param entry  Borrowed; *out points into it.
 * @return 0; TXN_EHEADER; TXN_ETYPE; TXN_EBODY. On error *out is undefined.
 */
int txn_entry_read(struct bytes entry, struct txn *out);

/** Next path, or false at the end. Advances *paths (walk a copy to keep the original). */
bool txn_paths_next(struct txn_paths *paths, struct bytes *path);

/** Next part, or false at the end. Advances *multi (walk a copy to keep the original). */
bool txn_multi_next(struct txn_multi *multi, struct txn_body *part);

/** True when any part is an error: then nothing of the multi is applied (disk-formats.md
 * section 3.4). */
bool txn_multi_failed(struct txn_multi multi);

/* ---- writing ---- */

void txn_header_write(struct jute_writer *w, const struct txn_header *header);
void txn_digest_write(struct jute_writer *w, uint64_t tree);

/** Layout by type: OP_CREATE, OP_CREATE2, OP_CREATE_CONTAINER (no `ephemeral`), OP_CREATE_TTL.
 * acl.raw as in the struct. */
void txn_create_write(struct jute_writer *w, int32_t type, const struct txn_create *txn);
void txn_delete_write(struct jute_writer *w, struct bytes path);
void txn_set_data_write(struct jute_writer *w, const struct txn_set_data *txn);
void txn_set_acl_write(struct jute_writer *w, const struct txn_set_acl *txn);
void txn_check_write(struct jute_writer *w, struct bytes path, int32_t version);
void txn_create_session_write(struct jute_writer *w, int32_t timeout_ms);
void txn_error_write(struct jute_writer *w, int32_t code);

/** Head of a closeSession; the caller writes `count` paths with jute_write_bytes() behind it.
 * Always the vector form. */
void txn_close_session_write(struct jute_writer *w, int32_t count);

/**
 * A multi, written in place: head, then for each part begin, its body with one of the functions
 * above, end.
 *
 * @return Mark of the part, to be handed to txn_multi_part_end(), which fills in its length.
 */
void txn_multi_write(struct jute_writer *w, int32_t count);
size_t txn_multi_part_begin(struct jute_writer *w, int32_t type);
void txn_multi_part_end(struct jute_writer *w, size_t mark);

/** A part that says: nothing of this multi was done, this one because of `code`. */
void txn_multi_error_write(struct jute_writer *w, int32_t code);

/** Any decoded body, back to its bytes: multi and closeSession included (always in the vector
 * form). */
void txn_body_write(struct jute_writer *w, const struct txn_body *body);

#endif
