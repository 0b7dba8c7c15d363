/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/protocol.h"

#include "client/wire/jute.h"
#include "client/wire/opcodes.h"

/* The longest a ZooKeeper with tickTime 2000 grants. */
#define SESSION_TIMEOUT_MS 40000
#define HELLO_BYTES                                                                                \
    49 /* ConnectRequest with its readOnly byte (client-protocol.md section 3.1), framed */

static size_t zk_hello(uint8_t *out)
{
    memset(out, 0, HELLO_BYTES);
    be32_store(out, HELLO_BYTES - 4);
    be32_store(out + 16, SESSION_TIMEOUT_MS);
    be32_store(out + 28, PASSWD_BYTES);
    return HELLO_BYTES;
}

static ptrdiff_t zk_hello_reply(const uint8_t *in, size_t size)
{
    if (size < 4)
        return 0;
    uint32_t frame = be32_load(in);
    if (frame < 36 || frame > 64)
        return -1;
    if (size < 4 + (size_t)frame)
        return 0;
    bool refused = be32_load(in + 8) == 0;
    return refused ? -1 : (ptrdiff_t)(4 + frame);
}

static const int32_t opcode_of[] = {
    [BENCH_GET] = OP_GET_DATA,         [BENCH_GET_WATCH] = OP_GET_DATA,
    [BENCH_SET] = OP_SET_DATA,         [BENCH_CREATE] = OP_CREATE,
    [BENCH_EXISTS] = OP_EXISTS,        [BENCH_CHILDREN] = OP_GET_CHILDREN2,
    [BENCH_CREATE_PREFIX] = OP_CREATE, [BENCH_PING] = OP_PING,
};

static void write_open_acl_and_flags(struct jute_writer *w)
{
    jute_write_int(w, 1);
    jute_write_int(w, PERM_ALL);
    jute_write_bytes(w, BYTES_OF("world"));
    jute_write_bytes(w, BYTES_OF("anyone"));
    jute_write_int(w, 0);
}

static size_t zk_encode(const struct keyspace *keys, const struct bench_request *request,
                        uint8_t *out)
{
    struct jute_writer w = jute_writer_of(out + 4, REQUEST_OVERHEAD_MAX - 4 + keys->value_bytes);
    jute_write_int(&w, request->op == BENCH_PING ? XID_PING : request->xid);
    jute_write_int(&w, opcode_of[request->op]);
    if (request->op != BENCH_PING) {
        bool is_prefix = request->op == BENCH_CHILDREN || request->op == BENCH_CREATE_PREFIX;
        uint8_t *path = jute_room(&w, 4);
        size_t n = keys->prefix_bytes;
        if (is_prefix)
            jute_write_raw(&w, keys->prefix, n);
        else
            w.p += n = key_write(keys, request->key, w.p);
        be32_store(path, (uint32_t)n);
    }
    switch (request->op) {
    case BENCH_GET:
    case BENCH_GET_WATCH:
    case BENCH_EXISTS:
    case BENCH_CHILDREN: jute_write_bool(&w, request->op == BENCH_GET_WATCH); break;
    case BENCH_SET:
        jute_write_bytes(&w, (struct bytes){keys->value, keys->value_bytes});
        jute_write_int(&w, -1);
        break;
    case BENCH_CREATE:
        jute_write_bytes(&w, (struct bytes){keys->value, keys->value_bytes});
        write_open_acl_and_flags(&w);
        break;
    case BENCH_CREATE_PREFIX:
        jute_write_bytes(&w, BYTES_NULL);
        write_open_acl_and_flags(&w);
        break;
    case BENCH_PING: break;
    }
    be32_store(out, (uint32_t)jute_written(&w));
    return 4 + jute_written(&w);
}

static ptrdiff_t zk_parse(const uint8_t *in, size_t size, struct bench_reply *out)
{
    if (size < 4)
        return 0;
    uint32_t frame = be32_load(in);
    if (frame < REPLY_HEADER_BYTES || frame > INT32_MAX - 4)
        return -1;
    if (size < 4 + (size_t)frame)
        return 0;
    out->xid = (int32_t)be32_load(in + 4);
    out->error = (int32_t)be32_load(in + 16);
    out->is_event = out->xid == XID_NOTIFICATION;
    out->data_bytes = frame >= REPLY_HEADER_BYTES + 4 ? be32_load(in + 20) : 0;
    return (ptrdiff_t)(4 + frame);
}

static size_t zk_goodbye(uint8_t *out)
{
    be32_store(out, REQUEST_HEADER_BYTES);
    be32_store(out + 4, 0x7fffffff);
    be32_store(out + 8, (uint32_t)OP_CLOSE_SESSION);
    return 4 + REQUEST_HEADER_BYTES;
}

const struct bench_protocol protocol_zk = {"zk",      zk_hello, zk_hello_reply,
                                           zk_encode, zk_parse, zk_goodbye};
