/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A ZooKeeper session over one TCP connection, for C programs: blocking calls, or pipelined
 * requests.
 *
 *   client_open --> client_begin .. jute_write_* .. client_commit --> client_poll --> client_close
 *                   \_______ many requests may be in flight ______/    replies, in request order
 *
 * Is: handshake, framing, xids, pings, watch events. Is not: a reconnecting client. When the
 * connection is gone every call returns CLIENT_ELOST; the caller may open again with the old
 * session (client_resume) and sets its watches anew. The blocking calls for each operation are in
 * client/calls.h.
 *
 * Numbered promises:
 *   1. Replies come in request order; a server that breaks this gives CLIENT_EPROTO.
 *   2. A watch event is handed over before any later reply (the server's order is kept).
 *   3. While client_poll runs, the session is kept alive by pings; a server silent for the session
 * timeout is lost.
 *
 * One thread at a time per client; different clients are independent.
 */
#ifndef SENGI_CLIENT_CLIENT_H
#define SENGI_CLIENT_CLIENT_H

#include "client/wire/jute.h"
#include "client/wire/opcodes.h"
#include "client/wire/types.h"

/* Errors of the client's own; server errors are ZK_* of types.h. */
#define CLIENT_ERRORS(X)                                                                           \
    X(CLIENT_EADDRESS, -1001, "server address not understood")                                     \
    X(CLIENT_ECONNECT, -1002, "no server could be reached")                                        \
    X(CLIENT_EEXPIRED, -1003, "session expired")                                                   \
    X(CLIENT_ELOST, -1004, "connection lost")                                                      \
    X(CLIENT_EPROTO, -1005, "the server broke the protocol")                                       \
    X(CLIENT_ETIMEOUT, -1006, "no answer in time")                                                 \
    X(CLIENT_EMEMORY, -1007, "out of memory")                                                      \
    X(CLIENT_ETOOBIG, -1008, "request longer than a frame may be")

enum client_error {
#define X(name, value, text) name = value,
    CLIENT_ERRORS(X)
#undef X
};

/** Text for a CLIENT_* or ZK_* code. Static storage, never NULL. */
const char *client_error_text(int code);

struct client_event {
    int32_t type; /* enum watch_event_type */
    zxid_t zxid;  /* of the txn that fired it; -1 from servers before 3.9 and for catch-up events */
    struct bytes path;
};

struct client_options {
    const char *servers; /* "host:port,[v6]:port,host"; tried in this order; port 2181 if absent */
    int32_t session_ms;  /* wanted session timeout; 0 = 30 000 */
    int32_t connect_ms;  /* to reach one server and shake hands; 0 = 5 000 */
    uint32_t reply_bytes_max; /* a longer frame is CLIENT_EPROTO; 0 = 64 MiB */
    bool read_only;           /* accept a server without quorum */
    /* Called from client_poll (and every call above it). `event` is borrowed until return. NULL:
     * dropped. */
    void (*on_event)(void *context, const struct client_event *event);
    void *context;
};

struct client_reply {
    int32_t xid;
    int32_t error; /* 0 or ZK_* */
    zxid_t zxid;
    struct bytes body; /* borrowed until the next client_poll or call */
};

struct client;

/**
 * Connect to the first server that answers and open a session.
 *
 * @param options  Borrowed until return (the callback's context: until close).
 * @param out      On 0: owned by the caller, client_close. Otherwise NULL.
 * @return 0; CLIENT_EADDRESS, CLIENT_ECONNECT, CLIENT_EMEMORY.
 * Blocks up to connect_ms per server address, plus name resolution.
 */
int client_open(const struct client_options *options, struct client **out);

/**
 * After CLIENT_ELOST: connect again and take the same session over. Watches set before are gone.
 *
 * @return 0; CLIENT_ECONNECT (try later); CLIENT_EEXPIRED (open a new one).
 */
int client_resume(struct client *c);

/**
 * Start a request: `w` may take up to body_bytes_max bytes of its record. Ends with client_commit,
 * or is forgotten when another begins.
 *
 * @return 0; CLIENT_ELOST; CLIENT_EMEMORY.
 */
int client_begin(struct client *c, enum zk_opcode op, size_t body_bytes_max, struct jute_writer *w);

/**
 * Queue the begun request; it leaves with the next client_poll or client_flush.
 *
 * @param xid  Out, may be NULL: names the reply. XID_AUTH for auth requests.
 * @return 0; CLIENT_ETOOBIG if the writer failed (nothing is queued).
 */
int client_commit(struct client *c, const struct jute_writer *w, int32_t *xid);

/** Send all that is queued. @return 0 or CLIENT_ELOST. Blocks while the socket is full, at most the
 * session timeout. */
int client_flush(struct client *c);

/**
 * Send what is queued and take one reply.
 *
 * @param timeout_ms  0 = what is there already; -1 = as long as the session lives.
 * @return 1 with *reply; 0 timed out; CLIENT_ELOST, CLIENT_EPROTO.
 */
int client_poll(struct client *c, int timeout_ms, struct client_reply *reply);

/** Requests committed and not yet answered. */
uint32_t client_outstanding(const struct client *c);

/** For poll(2): readable means client_poll has work. -1 when lost. Call client_poll at least every
 * session/3 ms. */
int client_fd(const struct client *c);

session_id_t client_session(const struct client *c);

/** As granted by the server, ms. */
int32_t client_session_ms(const struct client *c);

/** "host:port" as given, of the server connected to. Borrowed from c. */
const char *client_server(const struct client *c);

/** Highest zxid seen in a reply. */
zxid_t client_last_zxid(const struct client *c);

/** Close the session (waits up to 2 s for the answer) and free. NULL is allowed. */
void client_close(struct client *c);

#endif
