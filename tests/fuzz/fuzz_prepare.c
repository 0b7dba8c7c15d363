/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A sequence of writes with arbitrary bodies: each is prepared, its entry applied to a second tree;
 * some are taken back. Both trees keep their invariants and equal digests, and every entry that was
 * made can be read back.
 *
 *   input: { opcode byte, session byte, length 2 bytes, body }*
 *   A body that begins with 0xff is taken as a path index and arguments, so that the fuzzer reaches
 *   valid requests fast.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/wire/check.h"
#include "client/wire/txn.h"
#include "tree/reader.h"
#include "tree/tree.h"

#define REQUESTS_MAX 200
#define ENTRY_BYTES_MAX 4000

static struct tree *tree_fresh(void)
{
    struct tree_config config = {.entry_bytes_max = ENTRY_BYTES_MAX,
                                 .extended_types = true,
                                 .enforce_quota = true,
                                 .digest_enabled = true};
    struct tree *t = tree_create(&config);
    CHECK(t && tree_load_begin(t, 0) == 0 && tree_load_end(t) == 0 && tree_load_finish(t) == 0);
    store_set_offline(tree_store(t), true); /* no readers: nothing waits for a grace period */
    return t;
}

static void publish(struct tree *t)
{
    zxid_t z = tree_newest_zxid(t);
    struct tree_txn *txns = tree_commit(t, z);
    if (txns)
        store_show(tree_store(t), z);
    store_retire(tree_store(t), &txns);
}

/* A short recipe -> a well-formed record of the opcode: path index, data length, flags, version. */
static struct bytes recipe(const struct opcode_info *op, struct bytes in, struct buffer *out)
{
    static const char *paths[] = {"/a",
                                  "/a/b",
                                  "/a/b/c",
                                  "/d",
                                  "/zookeeper/quota/a",
                                  "/zookeeper/quota/a/zookeeper_limits",
                                  "/zookeeper/quota/a/zookeeper_stats",
                                  "/",
                                  "/zookeeper/config",
                                  "/e/",
                                  "/q-"};
    uint8_t arg[5] = {0};
    memcpy(arg, in.data + 1, in.size - 1 < 5 ? in.size - 1 : 5);
    const char *path = paths[arg[0] % (sizeof paths / sizeof *paths)];
    out->size = 0;
    buffer_put_bytes(out, (struct bytes){(const uint8_t *)path, (uint32_t)strlen(path)});
    if (op->number == OP_DELETE || op->number == OP_DELETE_CONTAINER || op->number == OP_CHECK) {
        buffer_put_int(out, (int8_t)arg[1]);
    } else {
        if (op->number != OP_SET_ACL)
            buffer_put_bytes(
                out,
                (struct bytes){(const uint8_t *)"count=1,bytes=9=;byteHardLimit=9", arg[2] % 33});
        if (op->number != OP_SET_DATA) {
            buffer_put_int(out, 1);
            buffer_put_int(out, arg[3] % 64 ? 31 : arg[4]);
            buffer_put_bytes(out, BYTES_OF("world"));
            buffer_put_bytes(out, BYTES_OF("anyone"));
        }
        buffer_put_int(out, (int8_t)arg[1]);
        if (op->number == OP_CREATE_TTL)
            buffer_put_long(out, arg[4]);
    }
    return (struct bytes){out->data, (uint32_t)out->size};
}

struct run {
    struct tree *t, *second;
    struct auth_set *auth;
    struct buffer entry, reply, body;
    zxid_t zxid;
};

static void run_request(struct run *r, uint8_t opcode, uint8_t session, struct bytes body)
{
    static const int32_t ops[] = {
        OP_CREATE,         OP_CREATE2,       OP_CREATE_CONTAINER, OP_CREATE_TTL,
        OP_DELETE,         OP_SET_DATA,      OP_SET_ACL,          OP_MULTI,
        OP_CREATE_SESSION, OP_CLOSE_SESSION, OP_DELETE_CONTAINER, OP_RECONFIG};
    const struct opcode_info *op = opcode_find(ops[opcode % (sizeof ops / sizeof *ops)]);
    struct tree_answer answer = {.body = &r->reply};
    if (body.size && body.data[0] == 0xff && op->number != OP_MULTI)
        body = recipe(op, body, &r->body);
    struct tree_request rq = {.session = 1 + session % 3,
                              .op = op,
                              .body = body,
                              .auth =
                                  op->number == OP_DELETE_CONTAINER || session & 4 ? NULL : r->auth,
                              .zxid = r->zxid + 1,
                              .time_ms = r->zxid * 10};
    r->entry.size = r->reply.size = 0;
    enum tree_verdict verdict = tree_prepare(r->t, &rq, &r->entry, &answer);
    CHECK(verdict != TREE_ENOMEM);
    if (verdict == TREE_NO_TXN) {
        CHECK(r->entry.size == 0 && r->reply.size == 0);
        return;
    }
    CHECK(r->entry.size <= ENTRY_BYTES_MAX);
    if (session & 0x80) { /* leadership lost before it was committed */
        tree_rollback(r->t, r->zxid);
        CHECK(tree_digest(r->t) == tree_digest(r->second));
        return;
    }
    struct txn txn;
    r->zxid++;
    publish(r->t);
    CHECK(txn_entry_read((struct bytes){r->entry.data, (uint32_t)r->entry.size}, &txn) == TXN_OK);
    CHECK(tree_apply(r->second, &txn.header, txn.body_bytes) == 0);
    CHECK(tree_digest(r->second) == tree_digest(r->t) &&
          (!txn.has_digest || txn.digest.tree == tree_digest(r->t)));
    publish(r->second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool registered;
    if (!registered)
        reader_register();
    registered = true;
    struct run r = {.t = tree_fresh(), .second = tree_fresh(), .auth = auth_set_of_ip("127.0.0.1")};
    buffer_init(&r.entry, 1 << 20);
    buffer_init(&r.reply, 1 << 24);
    buffer_init(&r.body, 1 << 16);
    for (int n = 0; n < REQUESTS_MAX && size >= 4; n++) {
        size_t body = (size_t)data[2] << 8 | data[3];
        body = body < size - 4 ? body : size - 4;
        run_request(&r, data[0], data[1], (struct bytes){data + 4, (uint32_t)body});
        data += 4 + body;
        size -= 4 + body;
    }
    store_check(tree_store(r.t));
    store_check(tree_store(r.second));
    CHECK(tree_session_count(r.t) == tree_session_count(r.second));
    tree_destroy(r.t);
    tree_destroy(r.second);
    auth_set_drop(r.auth);
    buffer_free(&r.entry);
    buffer_free(&r.reply);
    buffer_free(&r.body);
    return 0;
}
