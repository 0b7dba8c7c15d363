/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Client requests, decoded: views into the frame, nothing copied, nothing allocated
 * (client-protocol.md section 6.2).
 *
 *   frame bytes -> request_decode() by the opcode's shape (opcodes.h) -> struct request -> whoever
 *   serves it
 *
 * Vectors stay in the frame and are read by iterators. A record that ends early is an error; bytes
 * left over after the last field are ignored, as ZooKeeper does. Any thread.
 */
#ifndef SENGI_CLIENT_WIRE_REQUEST_H
#define SENGI_CLIENT_WIRE_REQUEST_H

#include "client/wire/jute.h"
#include "client/wire/opcodes.h"

/** An ACL vector where it lies: `raw` is the elements without the count. count == -1: null
 * vector. */
struct acl_view {
    struct bytes raw;
    int32_t count;
};

struct acl_entry {
    int32_t perms;
    struct auth_id id;
};

/** Smallest wire size of an ACL entry: perms and two string lengths. */
#define ACL_ENTRY_BYTES_MIN 12

/** Step through an ACL view: `r` starts as jute_reader_of(view.raw). False at the end. Entries were
 * checked on decode. */
bool acl_view_next(struct jute_reader *r, struct acl_entry *out);

/** Read a whole ACL vector as a view; sets r->failed when it is malformed. */
struct acl_view acl_view_read(struct jute_reader *r);

/** One decoded request. Fields that the opcode's shape does not have are zero. Borrowed from the
 * frame. */
struct request {
    struct bytes path; /* data == NULL: null path */
    struct bytes data; /* create, setData */
    struct acl_view acl;
    int32_t version; /* expected version, -1 = any */
    /* create flags; addWatch mode; watcher type of check/removeWatches; auth type; timeOut */
    int32_t flags;
    int64_t ttl; /* ms; -1 unless createTTL; always -1 in other opcodes */
    bool watch;  /* exists, getData, getChildren, getChildren2 */
    /* the whole record: multi, setWatches, reconfig, auth, sasl are read on from here */
    struct bytes body;
};

/**
 * Decode the record behind a request header.
 *
 * @param op    Row of the opcode list.
 * @param body  The frame behind the header. Borrowed as long as *out is used.
 * @return 0; ZK_MARSHALLINGERROR when the record ends early, has a bad length or a bad count.
 *         Vector bodies of setWatches and the operations of a multi are checked here once, so that
 *         their iterators cannot fail. A multi of the wrong kind, of mixed kinds, with a bad create
 *         flag, a null path or a null ACL vector does not decode either. A multiRead may name null
 *         paths, or nothing but writes: refused when it is served.
 * Context: any thread; no allocation. A null ACL vector of a single create or setACL is kept as
 * count -1.
 */
int request_decode(const struct opcode_info *op, struct bytes body, struct request *out);

/* --- multi and multiRead (client-protocol.md section 10) --- */

struct multi_op {
    /* The operation that is done, after the rules of section 7 for flags inside a multi; it decides
     * the result type on the wire too (semantics.md, Additions 5): CREATE answers as 1, the other
     * creates as 15. */
    const struct opcode_info *op;
    const struct opcode_info *asked; /* the opcode in the MultiHeader */
    /* a null path is possible in a multiRead, never in a multi */
    struct request request;
};

/** Step through a multi's operations: `r` starts as jute_reader_of(request.body). False at the end
 * marker. */
bool multi_next(struct jute_reader *r, struct multi_op *out);

/** Number of operations and whether they are of read kind (getData, getChildren). The body was
 * checked on decode. */
int32_t multi_count(struct bytes body, bool *read_kind);

/* --- setWatches, setWatches2 --- */

enum set_watches_list {
    SETW_DATA,
    SETW_EXIST,
    SETW_CHILD,
    SETW_PERSISTENT,
    SETW_RECURSIVE,
    SETW_LISTS
};

struct set_watches {
    zxid_t relative_zxid;
    int lists_count;           /* 3 for setWatches, 5 for setWatches2 */
    int32_t count[SETW_LISTS]; /* -1: null vector (answered -5 when it is reached) */
    /* jute_read_bytes() count times; a null path is possible (-5) */
    struct jute_reader paths[SETW_LISTS];
};

/** Read the record. @return 0 or ZK_MARSHALLINGERROR. */
int set_watches_read(const struct opcode_info *op, struct bytes body, struct set_watches *out);

/* --- auth, reconfig --- */

struct auth_packet {
    int32_t type;
    struct bytes scheme, auth;
};
int auth_packet_read(struct bytes body, struct auth_packet *out);

/* --- connect --- */

struct connect_request {
    int32_t protocol_version;
    zxid_t last_zxid_seen;
    int32_t timeout_ms;
    session_id_t session;
    struct bytes passwd;
    bool has_read_only, read_only; /* the optional 45th byte (section 3.3) */
};

/** @return 0 or ZK_MARSHALLINGERROR (then close without an answer). */
int connect_request_read(struct bytes frame, struct connect_request *out);

#define CONNECT_RESPONSE_BYTES_MAX 41

/**
 * Write a ConnectResponse frame with its length.
 *
 * @param session 0 for "refused or expired": timeout and password are then sent as zeros.
 * @param passwd  16 bytes, or NULL with session 0.
 * @return bytes written, 40 or 41.
 */
size_t connect_response_write(uint8_t out[CONNECT_RESPONSE_BYTES_MAX], session_id_t session,
                              int32_t timeout_ms, const uint8_t *passwd, bool has_read_only,
                              bool read_only);

/** Reply frame header: length (of header + body), xid, zxid, err. Writes 20 bytes. */
static inline void reply_header_write(uint8_t out[4 + REPLY_HEADER_BYTES], uint32_t body_bytes,
                                      int32_t xid, zxid_t zxid, int32_t err)
{
    be32_store(out, REPLY_HEADER_BYTES + body_bytes);
    be32_store(out + 4, (uint32_t)xid);
    be64_store(out + 8, (uint64_t)zxid);
    be32_store(out + 16, (uint32_t)err);
}

/** ZooKeeper's session password: java.util.Random seeded with id ^ 0xB3415C00 (client-protocol.md
 * section 13.3). */
void session_passwd(session_id_t session, uint8_t out[PASSWD_BYTES]);

#endif
