/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The logs that ZooKeeper itself wrote (tests/interop/fixtures), from the first txn on: applied,
 * each digest in them must be the tree's; turned back into requests and prepared, each entry must
 * come out with the same bytes.
 */
#include <inttypes.h>

#include "client/wire/txn.h"
#include "tests/tree/tree_dump.h"

#define FIXTURES SENGI_SOURCE_DIR "/tests/interop/fixtures/"
#define LOG_HEADER_BYTES 16
#define RECORD_HEADER_BYTES 12

/* Log files in the order of their zxids. */
static const struct {
    const char *directory;
    const char *logs[6];
    int txns;
} fixtures[] = {
    {"zookeeper-3.8.0", {"1", "6f", "cc", "11c", "169", "1c9"}, 500},
    {"zookeeper-3.9", {"1", "6a", "ba", "10c", "19c", "1f3"}, 500},
    {"zookeeper-3.9-gz", {"1", "6e", "f5", "151", "1c2", NULL}, 499},
};

struct java {
    struct tree *t;
    struct auth_set *super;
    struct buffer body, entry, reply;
    int txns, prepared;
};

/* Body of the request that such a txn comes from. @return its opcode, 0: none can be told. */
static int32_t put_request(struct buffer *b, const struct txn_body *x)
{
    switch (x->type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        buffer_put_bytes(b, x->create.path);
        buffer_put_bytes(b, x->create.data);
        buffer_put_raw(b, x->create.acl.raw.data, x->create.acl.raw.size);
        buffer_put_int(b, x->type == OP_CREATE_TTL         ? 5
                          : x->type == OP_CREATE_CONTAINER ? 4
                                                           : x->create.ephemeral);
        if (x->type == OP_CREATE_TTL)
            buffer_put_long(b, x->create.ttl_ms);
        return x->type;
    case OP_DELETE:
        buffer_put_bytes(b, x->delete.path);
        buffer_put_int(b, -1);
        return x->type;
    case OP_SET_DATA:
        buffer_put_bytes(b, x->set_data.path);
        buffer_put_bytes(b, x->set_data.data);
        buffer_put_int(b, x->set_data.version - 1);
        return x->type;
    case OP_SET_ACL:
        buffer_put_bytes(b, x->set_acl.path);
        buffer_put_raw(b, x->set_acl.acl.raw.data, x->set_acl.acl.raw.size);
        buffer_put_int(b, x->set_acl.version - 1);
        return x->type;
    case OP_CHECK:
        buffer_put_bytes(b, x->check.path);
        buffer_put_int(b, x->check.version - 1);
        return x->type;
    case OP_CREATE_SESSION:
        buffer_put_int(b, x->create_session.timeout_ms);
        return x->type;
    case OP_CLOSE_SESSION:
        return x->type;
    default:
        return 0;
    }
}

static int32_t put_any_request(struct buffer *b, const struct txn_body *x)
{
    struct txn_multi multi;
    struct txn_body part;
    b->size = 0;
    if (x->type != OP_MULTI)
        return put_request(b, x);
    multi = x->multi;
    if (txn_multi_failed(multi))
        return 0;
    while (txn_multi_next(&multi, &part)) {
        put_multi_header(b, part.type);
        assert_int_equal(part.type, put_request(b, &part));
    }
    put_multi_end(b);
    return OP_MULTI;
}

static void prepare_entry(struct java *j, int32_t opcode, const struct txn *x, struct bytes entry)
{
    struct tree_answer answer = {.body = &j->reply};
    struct tree_request rq = {.session = x->header.client_id,
                              .cxid = x->header.cxid,
                              .op = opcode_find(opcode),
                              .body = buffer_bytes(&j->body),
                              .auth = j->super,
                              .zxid = x->header.zxid,
                              .time_ms = x->header.time_ms};
    static const uint8_t nothing[1];
    if (!rq.body.data)
        rq.body = (struct bytes){nothing, 0};
    j->entry.size = j->reply.size = 0;
    assert_int_equal(TREE_TXN, tree_prepare(j->t, &rq, &j->entry, &answer));
    if (j->entry.size != entry.size || memcmp(j->entry.data, entry.data, entry.size) != 0)
        fail_msg("entry of txn 0x%" PRIx64 ", type %d, err %d differs", x->header.zxid, opcode,
                 answer.err);
    j->prepared++;
}

static void java_entry(struct java *j, struct bytes entry, bool prepare)
{
    struct txn x;
    assert_int_equal(TXN_OK, txn_entry_read(entry, &x));
    int32_t opcode = prepare ? put_any_request(&j->body, &x.body) : 0;
    if (opcode)
        prepare_entry(j, opcode, &x, entry);
    else
        assert_int_equal(0, tree_apply(j->t, &x.header, x.body_bytes));
    if (x.has_digest && x.digest.tree != tree_digest(j->t))
        fail_msg("digest of txn 0x%" PRIx64 " is not the tree's", x.header.zxid);
    j->txns++;
}

static void java_log(struct java *j, const char *path, bool prepare)
{
    static uint8_t bytes[1 << 20];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file), at = LOG_HEADER_BYTES;
    fclose(file);
    while (at + RECORD_HEADER_BYTES <= size && be32_load(bytes + at + 8) != 0) {
        struct bytes entry = {bytes + at + RECORD_HEADER_BYTES, be32_load(bytes + at + 8)};
        assert_true(at + RECORD_HEADER_BYTES + entry.size < size);
        java_entry(j, entry, prepare);
        at += RECORD_HEADER_BYTES + entry.size + 1;
    }
}

static void java_run(bool prepare)
{
    for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++) {
        struct tree_config config = env_config();
        config.multi_create2 = true;
        struct auth_set *ip = auth_set_of_ip("127.0.0.1");
        struct java j = {.t = env_tree(&config),
                         .super = auth_set_with(ip, text("super"), text(""))};
        auth_set_drop(ip);
        buffer_init(&j.body, 1 << 22);
        buffer_init(&j.entry, 1 << 22);
        buffer_init(&j.reply, 1 << 22);
        for (int n = 0; n < 6 && fixtures[i].logs[n]; n++) {
            char path[512];
            snprintf(path, sizeof path, FIXTURES "%s/version-2/log.%s", fixtures[i].directory,
                     fixtures[i].logs[n]);
            java_log(&j, path, prepare);
        }
        assert_int_equal(fixtures[i].txns, j.txns);
        assert_int_equal(0, tree_apply_ignored(j.t));
        if (prepare)
            assert_true(j.prepared > fixtures[i].txns - 5);
        tree_checks(j.t);
        tree_destroy(j.t);
        auth_set_drop(j.super);
        buffer_free(&j.body);
        buffer_free(&j.entry);
        buffer_free(&j.reply);
    }
}

static void logs_of_java_servers_replay_with_every_digest_equal(void **state)
{
    (void)state;
    java_run(false);
}

static void requests_behind_them_are_logged_with_the_same_bytes(void **state)
{
    (void)state;
    java_run(true);
}

int main(void)
{
    reader_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_of_java_servers_replay_with_every_digest_equal),
        cmocka_unit_test(requests_behind_them_are_logged_with_the_same_bytes),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    reader_unregister();
    return rc;
}
