/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The three languages the load generator speaks, behind one table, so that everything else is the
 * same code for both sides of a ratio: ZooKeeper jute, memcached text, redis RESP.
 *
 * Every protocol answers in request order; a ZooKeeper watch event comes between replies and says
 * so (reply.is_event). All use the same key: "<prefix>/k<10 digits>", which is a valid znode path,
 * memcached key and redis key.
 */
#ifndef SENGI_BENCH_PROTOCOL_H
#define SENGI_BENCH_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_PREFIX_BYTES_MAX 64
#define KEY_BYTES_MAX (KEY_PREFIX_BYTES_MAX + 12)
#define REQUEST_OVERHEAD_MAX (KEY_BYTES_MAX + 128) /* a request is at most this plus the value */

enum bench_op {
    BENCH_GET,
    BENCH_GET_WATCH, /* getData leaving a watch */
    BENCH_SET,
    BENCH_CREATE,
    BENCH_EXISTS,
    BENCH_CHILDREN,      /* getChildren2 of the prefix itself */
    BENCH_CREATE_PREFIX, /* the parent of all keys */
    BENCH_PING,          /* the protocol's floor: no lookup */
};

/* What all requests of a run share. Borrowed by protocols, never changed during a run. */
struct keyspace {
    char prefix[KEY_PREFIX_BYTES_MAX + 1]; /* no '/' at its end */
    size_t prefix_bytes;
    const uint8_t *value;
    uint32_t value_bytes;
};

struct bench_request {
    enum bench_op op;
    uint32_t key;
    int32_t xid; /* > 0; carried by jute only */
};

struct bench_reply {
    bool is_event;
    int32_t xid;         /* 0 where the protocol has none */
    int32_t error;       /* 0, a ZooKeeper code, or -1 for another protocol's miss or error */
    uint32_t data_bytes; /* value or number of children in the reply; 0 where there is none */
};

struct bench_protocol {
    const char *name;
    /** First bytes of a connection, or 0 where there is no handshake. At most REQUEST_OVERHEAD_MAX
     * bytes. */
    size_t (*hello)(uint8_t *out);
    /** Take the answer to hello. Bytes taken, 0 for more needed, -1 refused or malformed. */
    ptrdiff_t (*hello_reply)(const uint8_t *in, size_t size);
    /** Write one request; bytes written, at most REQUEST_OVERHEAD_MAX + value_bytes. 0: the
     * protocol has no such operation. */
    size_t (*encode)(const struct keyspace *keys, const struct bench_request *request,
                     uint8_t *out);
    /** Take one reply. Bytes taken, 0 for more needed, -1 malformed. */
    ptrdiff_t (*parse)(const uint8_t *in, size_t size, struct bench_reply *out);
    /** Last bytes of a connection (closeSession), or 0. */
    size_t (*goodbye)(uint8_t *out);
};

extern const struct bench_protocol protocol_zk, protocol_memcached, protocol_redis;

/** By name, or NULL. */
const struct bench_protocol *protocol_find(const char *name);

/** Write the key's bytes (no terminator); returns how many, at most KEY_BYTES_MAX. */
size_t key_write(const struct keyspace *keys, uint32_t key, uint8_t *out);

#endif
