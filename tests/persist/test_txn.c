/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: every txn form of disk-formats.md 3.4 and 3.6 is read, old ones included, and nothing
 * malformed gets past. Method: encode, decode, encode again; cut entries at every byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "client/wire/txn.h"

static const uint8_t open_acl[] = {0,   0,   0,   1, 0, 0, 0, 31,  0,   0,   0,   5,   'w', 'o',
                                   'r', 'l', 'd', 0, 0, 0, 6, 'a', 'n', 'y', 'o', 'n', 'e'};

static struct jute_writer begin(uint8_t *out, size_t room, int32_t type)
{
    struct jute_writer w = jute_writer_of(out, room);
    struct txn_header h = {7, 8, 9, 10, type};
    txn_header_write(&w, &h);
    return w;
}

static struct bytes entry_of(const struct jute_writer *w)
{
    assert_false(w->failed);
    return (struct bytes){w->start, (uint32_t)jute_written(w)};
}

static void check_same_again(struct bytes entry)
{
    uint8_t again[1024];
    struct txn txn;
    assert_int_equal(txn_entry_read(entry, &txn), TXN_OK);
    struct jute_writer w = jute_writer_of(again, sizeof again);
    txn_body_write(&w, &txn.body);
    assert_int_equal(jute_written(&w), txn.body_bytes.size);
    assert_memory_equal(again, txn.body_bytes.data, txn.body_bytes.size);
}

static void every_kind_comes_out_as_it_went_in(void **state)
{
    (void)state;
    static const int32_t creates[] = {OP_CREATE, OP_CREATE2, OP_CREATE_CONTAINER, OP_CREATE_TTL};
    uint8_t b[1024];
    struct txn txn;
    for (int i = 0; i < 4; i++) {
        struct txn_create c = {BYTES_OF("/p"), BYTES_NULL, {{open_acl, sizeof open_acl}, 1},
                               i < 2,          5,          i == 3 ? 1234 : 0};
        struct jute_writer w = begin(b, sizeof b, creates[i]);
        txn_create_write(&w, creates[i], &c);
        check_same_again(entry_of(&w));
        txn_digest_write(&w, 0xabcdef);
        check_same_again(entry_of(&w));
        assert_int_equal(txn_entry_read(entry_of(&w), &txn), TXN_OK);
        assert_true(txn.has_digest);
        assert_int_equal(txn.digest.tree, 0xabcdef);
        assert_int_equal(txn.header.client_id, 7);
        assert_int_equal(txn.header.zxid, 9);
        assert_null(txn.body.create.data.data);
        assert_int_equal(txn.body.create.ephemeral, i < 2);
        assert_int_equal(txn.body.create.parent_cversion, 5);
        assert_int_equal(txn.body.create.ttl_ms, i == 3 ? 1234 : 0);
        assert_int_equal(txn.body.create.acl.count, 1);
    }
    struct jute_writer w = begin(b, sizeof b, OP_SET_ACL);
    struct txn_set_acl a = {BYTES_OF("/p"), {{open_acl, sizeof open_acl}, 1}, 3};
    txn_set_acl_write(&w, &a);
    check_same_again(entry_of(&w));
    w = begin(b, sizeof b, OP_CLOSE_SESSION);
    txn_close_session_write(&w, 2);
    jute_write_bytes(&w, BYTES_OF("/a"));
    jute_write_bytes(&w, BYTES_OF("/bb"));
    check_same_again(entry_of(&w));
}

static void a_create_of_the_oldest_form_has_no_parent_cversion(void **state)
{
    (void)state;
    uint8_t b[1024];
    struct txn txn;
    struct txn_create c = {
        BYTES_OF("/p"), BYTES_OF("x"), {{open_acl, sizeof open_acl}, 1}, true, 5, 0};
    struct jute_writer w = begin(b, sizeof b, OP_CREATE);
    txn_create_write(&w, OP_CREATE, &c);
    struct bytes entry = entry_of(&w);
    for (int cut = 1; cut <= 4; cut++) {
        entry.size--;
        assert_int_equal(txn_entry_read(entry, &txn), TXN_OK);
        assert_int_equal(txn.body.create.parent_cversion, -1);
        assert_true(txn.body.create.ephemeral);
        assert_false(txn.has_digest);
    }
    entry.size--;
    assert_int_equal(txn_entry_read(entry, &txn), TXN_EBODY);
}

static void a_close_session_without_vector_is_empty_and_keeps_its_digest(void **state)
{
    (void)state;
    uint8_t b[256];
    struct txn txn;
    struct jute_writer w = begin(b, sizeof b, OP_CLOSE_SESSION);
    assert_int_equal(txn_entry_read(entry_of(&w), &txn), TXN_OK);
    assert_int_equal(txn.body.close_session.paths.count, 0);
    assert_false(txn.has_digest);
    static const uint64_t digests[] = {0, 1, 0x51c6d660, 0xffffffffffffffff, 0x0000000100000001};
    for (size_t i = 0; i < sizeof digests / sizeof digests[0]; i++) {
        w = begin(b, sizeof b, OP_CLOSE_SESSION);
        txn_digest_write(&w, digests[i]);
        assert_int_equal(txn_entry_read(entry_of(&w), &txn), TXN_OK);
        assert_int_equal(txn.body.close_session.paths.count, 0);
        assert_true(txn.has_digest);
        assert_int_equal(txn.digest.tree, digests[i]);
    }
    /* 12 bytes that are a vector: one path of four bytes. */
    w = begin(b, sizeof b, OP_CLOSE_SESSION);
    txn_close_session_write(&w, 1);
    jute_write_bytes(&w, BYTES_OF("/abc"));
    assert_int_equal(txn_entry_read(entry_of(&w), &txn), TXN_OK);
    assert_int_equal(txn.body.close_session.paths.count, 1);
    assert_false(txn.has_digest);
}

/* disk-formats.md 3.11, failed multi. */
static void a_failed_multi_is_the_worked_example(void **state)
{
    (void)state;
    uint8_t b[512];
    struct txn txn;
    struct jute_writer w = begin(b, sizeof b, OP_MULTI);
    struct txn_create c = {
        BYTES_OF("/m2"), BYTES_OF("1"), {{open_acl, sizeof open_acl}, 1}, false, 6, 0};
    txn_multi_write(&w, 3);
    size_t mark = txn_multi_part_begin(&w, OP_CREATE);
    txn_create_write(&w, OP_CREATE, &c);
    txn_multi_part_end(&w, mark);
    txn_multi_error_write(&w, ZK_NONODE);
    txn_multi_error_write(&w, ZK_RUNTIMEINCONSISTENCY);
    txn_digest_write(&w, 0x3f9281cbe);
    static const uint8_t tail[] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0x9b,
                                   0xff, 0xff, 0xff, 0xff, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xfe};
    struct bytes entry = entry_of(&w);
    assert_int_equal(be32_load(entry.data + 40), 0x2c);
    assert_memory_equal(entry.data + 44 + 0x2c, tail, sizeof tail);
    check_same_again(entry);
    assert_int_equal(txn_entry_read(entry, &txn), TXN_OK);
    assert_true(txn_multi_failed(txn.body.multi));
    assert_true(txn.has_digest);
    struct txn_body part;
    int32_t types[] = {OP_CREATE, OP_ERROR, OP_ERROR};
    for (int i = 0; i < 3; i++) {
        assert_true(txn_multi_next(&txn.body.multi, &part));
        assert_int_equal(part.type, types[i]);
    }
    assert_false(txn_multi_next(&txn.body.multi, &part));
    assert_int_equal(part.error.code, ZK_RUNTIMEINCONSISTENCY);
}

static void what_zookeeper_does_not_know_is_refused(void **state)
{
    (void)state;
    uint8_t b[256] = {0};
    struct txn txn;
    for (int32_t type = -200; type < 200; type++) {
        be32_store(b + 28, (uint32_t)type);
        int rc = txn_entry_read((struct bytes){b, sizeof b}, &txn);
        assert_int_equal(rc == TXN_ETYPE, !txn_type_loggable(type));
    }
    assert_false(txn_type_loggable(OP_CHECK)); /* ZOOKEEPER-2623 */
    assert_int_equal(txn_entry_read((struct bytes){b, 31}, &txn), TXN_EHEADER);
    /* An ACL count that only some readers take for empty. */
    struct jute_writer acl = begin(b, sizeof b, OP_SET_ACL);
    jute_write_bytes(&acl, BYTES_OF("/p"));
    jute_write_int(&acl, -8);
    jute_write_int(&acl, 1);
    assert_int_equal(txn_entry_read(entry_of(&acl), &txn), TXN_EBODY);
    /* A multi in a multi, and a part with a type of its own. */
    static const int32_t bad[] = {OP_MULTI, OP_CREATE_SESSION, OP_CLOSE_SESSION, OP_SET_ACL, 99};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct jute_writer w = begin(b, sizeof b, OP_MULTI);
        jute_write_int(&w, 1);
        jute_write_int(&w, bad[i]);
        jute_write_bytes(&w, BYTES_OF("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
        assert_int_equal(txn_entry_read(entry_of(&w), &txn), TXN_EBODY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_comes_out_as_it_went_in),
        cmocka_unit_test(a_create_of_the_oldest_form_has_no_parent_cversion),
        cmocka_unit_test(a_close_session_without_vector_is_empty_and_keeps_its_digest),
        cmocka_unit_test(a_failed_multi_is_the_worked_example),
        cmocka_unit_test(what_zookeeper_does_not_know_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
