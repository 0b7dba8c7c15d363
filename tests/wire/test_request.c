/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/wire/buffer.h"
#include "client/wire/request.h"

/* "00 01 61" -> bytes in a buffer of exactly that size, so that a sanitizer sees any read behind
 * its end. */
static struct bytes hex(const char *text)
{
    static uint8_t *last[16];
    static unsigned turn;
    size_t n = 0;
    uint8_t *out = malloc(strlen(text) / 2 + 1), *exact;
    unsigned value;
    for (const char *p = text; *p;) {
        if (*p == ' ') {
            p++;
            continue;
        }
        assert_int_equal(1, sscanf(p, "%2x", &value));
        out[n++] = (uint8_t)value;
        p += 2;
    }
    exact = malloc(n ? n : 1);
    memcpy(exact, out, n);
    free(out);
    free(last[turn % 16]);
    last[turn++ % 16] = exact;
    return (struct bytes){exact, (uint32_t)n};
}

static void assert_bytes(struct bytes got, const char *text)
{
    assert_non_null(got.data);
    assert_int_equal(strlen(text), got.size);
    assert_memory_equal(text, got.data, got.size);
}

#define OPEN_ACL "00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65"
#define CREATE_A "00000002 2f61 00000002 6869 " OPEN_ACL

static int decode(int32_t opcode, const char *text, struct request *out)
{
    const struct opcode_info *op = opcode_find(opcode);
    assert_non_null(op);
    return request_decode(op, hex(text), out);
}

/* client-protocol.md 15.2. */
static void create_is_decoded_as_in_the_worked_example(void **state)
{
    (void)state;
    struct request q;
    assert_int_equal(0, decode(OP_CREATE, CREATE_A "00000003", &q));
    assert_bytes(q.path, "/a");
    assert_bytes(q.data, "hi");
    assert_int_equal(1, q.acl.count);
    struct jute_reader r = jute_reader_of(q.acl.raw.data, q.acl.raw.size);
    struct acl_entry e;
    assert_true(acl_view_next(&r, &e));
    assert_int_equal(31, e.perms);
    assert_bytes(e.id.scheme, "world");
    assert_bytes(e.id.id, "anyone");
    assert_false(acl_view_next(&r, &e));
    assert_int_equal(3, q.flags);
    assert_int_equal(-1, q.ttl);
}

static void every_shape_puts_its_fields_in_place(void **state)
{
    (void)state;
    struct request q;
    assert_int_equal(0, decode(OP_GET_DATA, "00000002 2f61 01", &q));
    assert_true(q.watch);
    assert_int_equal(0, decode(OP_GET_DATA, "00000002 2f61 00", &q));
    assert_false(q.watch);
    assert_int_equal(0, decode(OP_EXISTS, "00000002 2f61 80", &q));
    assert_true(q.watch); /* any non-zero byte is true */
    assert_int_equal(0, decode(OP_DELETE, "00000002 2f61 fffffffe", &q));
    assert_int_equal(-2, q.version);
    assert_int_equal(0, decode(OP_SET_DATA, "00000002 2f61 ffffffff 00000007", &q));
    assert_null(q.data.data);
    assert_int_equal(7, q.version);
    assert_int_equal(0, decode(OP_SET_DATA, "00000002 2f61 00000000 00000007", &q));
    assert_non_null(q.data.data);
    assert_int_equal(0, q.data.size);
    assert_int_equal(0, decode(OP_SET_ACL, "00000002 2f61" OPEN_ACL "00000004", &q));
    assert_int_equal(4, q.version);
    assert_int_equal(0, decode(OP_CREATE_TTL, CREATE_A "00000005 00000000000003e8", &q));
    assert_int_equal(5, q.flags);
    assert_int_equal(1000, q.ttl);
    assert_int_equal(0, decode(OP_ADD_WATCH, "00000002 2f61 00000001", &q));
    assert_int_equal(1, q.flags);
    assert_int_equal(0, decode(OP_SYNC, "ffffffff", &q));
    assert_null(q.path.data);
    assert_int_equal(0, decode(OP_RECONFIG, "ffffffff 00000000 ffffffff ffffffffffffffff", &q));
    assert_int_equal(0, decode(OP_CREATE_SESSION, "00007530", &q));
    assert_int_equal(30000, q.flags);
    assert_int_equal(0, decode(OP_PING, "", &q));
    assert_int_equal(0, decode(OP_CLOSE_SESSION, "0102", &q)); /* trailing bytes are ignored */
}

/* Each prefix of each record ends early; exact-size buffers let a sanitizer see a read too far. */
static void every_record_cut_short_is_a_marshalling_error(void **state)
{
    (void)state;
    static const struct {
        int32_t op;
        const char *text;
    } rows[] = {
        {OP_CREATE, CREATE_A "00000000"},
        {OP_CREATE_TTL, CREATE_A "00000005 00000000000003e8"},
        {OP_DELETE, "00000002 2f61 ffffffff"},
        {OP_SET_DATA, "00000002 2f61 00000001 7a ffffffff"},
        {OP_SET_ACL, "00000002 2f61" OPEN_ACL "ffffffff"},
        {OP_EXISTS, "00000002 2f61 00"},
        {OP_GET_ACL, "00000002 2f61"},
        {OP_REMOVE_WATCHES, "00000002 2f61 00000001"},
        {OP_RECONFIG, "ffffffff 00000001 61 ffffffff ffffffffffffffff"},
        {OP_SET_WATCHES2,
         "0000000000000005 00000001 00000002 2f61 00000000 ffffffff 00000000 00000001 00000000"},
        {OP_MULTI, "0000000d 00 ffffffff 00000002 2f61 00000001 ffffffff 01 ffffffff"},
        {OP_MULTI_READ, "00000004 00 ffffffff 00000002 2f61 00 ffffffff 01 ffffffff"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bytes whole = hex(rows[i].text);
        struct request q;
        assert_int_equal(0, request_decode(opcode_find(rows[i].op), whole, &q));
        for (uint32_t n = 0; n < whole.size; n++) {
            uint8_t *cut = malloc(n ? n : 1);
            memcpy(cut, whole.data, n);
            int rc = request_decode(opcode_find(rows[i].op), (struct bytes){cut, n}, &q);
            free(cut);
            if (rc != ZK_MARSHALLINGERROR)
                fail_msg("row %zu cut to %u bytes was accepted", i, n);
        }
    }
}

static void lengths_and_counts_that_lie_are_refused_without_work(void **state)
{
    (void)state;
    static const struct {
        int32_t op;
        const char *text;
    } rows[] = {
        {OP_GET_ACL, "7fffffff 2f61"}, /* longer than the frame */
        {OP_GET_ACL, "fffffffe"},      /* negative, not null */
        {OP_GET_ACL, "80000000"},
        {OP_SET_ACL, "00000002 2f61 7fffffff 00000000 00000000"}, /* 2^31 entries */
        {OP_CREATE, "00000002 2f61 00000000 00000002 0000001f 00000000 00000000 00000000"},
        {OP_SET_WATCHES, "0000000000000005 7fffffff 00000000 00000000"},
        {OP_SET_WATCHES, "0000000000000005 00000001 00000009 2f61 00000000 00000000"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct request q;
        if (decode(rows[i].op, rows[i].text, &q) != ZK_MARSHALLINGERROR)
            fail_msg("row %zu was accepted", i);
    }
}

static void a_null_acl_vector_is_kept_and_other_negative_counts_are_empty(void **state)
{
    (void)state;
    struct request q;
    assert_int_equal(0, decode(OP_SET_ACL, "00000002 2f61 ffffffff 00000000", &q));
    assert_int_equal(-1, q.acl.count);
    assert_int_equal(0, decode(OP_SET_ACL, "00000002 2f61 fffffff0 00000000", &q));
    assert_int_equal(0, q.acl.count);
}

#define END "ffffffff 01 ffffffff"
#define HEAD(type) type " 00 ffffffff "

/* client-protocol.md 15.4. */
static void a_multi_is_walked_operation_by_operation(void **state)
{
    (void)state;
    struct request q;
    assert_int_equal(
        0, decode(OP_MULTI,
                  HEAD("0000000d") "00000002 2f61 00000001" HEAD(
                      "00000001") "00000002 2f62 00000000" OPEN_ACL
                                  "00000000" HEAD("00000002") "00000005 2f6e6f7065 ffffffff" HEAD(
                                      "00000005") "00000002 2f61 00000001 7a ffffffff" END,
                  &q));
    bool reads = true;
    assert_int_equal(4, multi_count(q.body, &reads));
    assert_false(reads);
    static const int32_t types[] = {OP_CHECK, OP_CREATE, OP_DELETE, OP_SET_DATA};
    static const char *paths[] = {"/a", "/b", "/nope", "/a"};
    struct jute_reader r = jute_reader_of(q.body.data, q.body.size);
    struct multi_op op;
    for (int i = 0; i < 4; i++) {
        assert_true(multi_next(&r, &op));
        assert_int_equal(types[i], op.op->number);
        assert_bytes(op.request.path, paths[i]);
    }
    assert_false(multi_next(&r, &op));
}

static void an_empty_multi_has_no_operations(void **state)
{
    (void)state;
    struct request q;
    bool reads;
    assert_int_equal(0, decode(OP_MULTI, END, &q));
    assert_int_equal(0, multi_count(q.body, &reads));
    assert_int_equal(0, decode(OP_MULTI_READ, END, &q));
}

/* client-protocol.md section 7 and semantics.md, Additions 4 and 5. */
static void inside_a_multi_the_flags_decide_what_a_create_is(void **state)
{
    (void)state;
    static const struct {
        const char *type, *flags, *ttl;
        int32_t op; /* 0: does not decode */
    } rows[] = {
        {"00000001", "00000000", "", OP_CREATE},
        {"00000001", "00000003", "", OP_CREATE},
        {"00000001", "00000004", "", OP_CREATE_CONTAINER},
        {"00000001", "00000005", "", 0},
        {"00000001", "00000007", "", 0},
        {"00000001", "ffffffff", "", 0},
        {"0000000f", "00000001", "", OP_CREATE2},
        {"0000000f", "00000004", "", OP_CREATE_CONTAINER},
        {"0000000f", "00000006", "", 0},
        {"00000013", "00000000", "", OP_CREATE_CONTAINER},
        {"00000013", "00000001", "", OP_CREATE_CONTAINER},
        {"00000013", "00000004", "", OP_CREATE_CONTAINER},
        {"00000013", "00000005", "", 0},
        {"00000015", "00000005", "00000000000003e8", OP_CREATE_TTL},
        {"00000015", "00000000", "00000000000003e8", OP_CREATE},
        {"00000015", "00000004", "ffffffffffffffff", OP_CREATE_CONTAINER},
        {"00000015", "00000063", "00000000000003e8", OP_CREATE_TTL},
        {"00000015", "ffffffff", "00000000000003e8", OP_CREATE_TTL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[512];
        snprintf(text, sizeof text, "%s 00 ffffffff %s %s %s %s", rows[i].type, CREATE_A,
                 rows[i].flags, rows[i].ttl, END);
        struct request q;
        int rc = decode(OP_MULTI, text, &q);
        if (rc != (rows[i].op ? 0 : ZK_MARSHALLINGERROR))
            fail_msg("row %zu: %d", i, rc);
        if (rc)
            continue;
        struct jute_reader r = jute_reader_of(q.body.data, q.body.size);
        struct multi_op op;
        assert_true(multi_next(&r, &op));
        if (op.op->number != rows[i].op)
            fail_msg("row %zu is done as %s", i, op.op->name);
        assert_int_equal(rows[i].op == OP_CREATE_TTL ? 1000 : -1, op.request.ttl);
    }
}

static void a_multi_of_the_wrong_kind_does_not_decode(void **state)
{
    (void)state;
    static const struct {
        int32_t op;
        const char *text;
        int rc;
    } rows[] = {
        {OP_MULTI, HEAD("00000004") "00000002 2f61 00" END, ZK_MARSHALLINGERROR},
        {OP_MULTI,
         HEAD("00000002") "00000002 2f61 00000000" HEAD("00000008") "00000002 2f61 00" END,
         ZK_MARSHALLINGERROR},
        {OP_MULTI_READ,
         HEAD("00000008") "00000002 2f61 00" HEAD("00000002") "00000002 2f61 00000000" END,
         ZK_MARSHALLINGERROR},
        {OP_MULTI_READ,
         HEAD("00000002") "00000002 2f61 00000000" HEAD("00000008") "00000002 2f61 00" END,
         ZK_MARSHALLINGERROR},
        /* these decode, and break off when they are served */
        {OP_MULTI_READ, HEAD("00000002") "00000002 2f61 00000000" END, 0},
        {OP_MULTI_READ, HEAD("00000004") "ffffffff 00" END, 0}, /* null path */
        {OP_MULTI_READ, HEAD("00000008") "00000002 2f61 00" HEAD("00000004") "00000002 2f61 01" END,
         0},
        {OP_MULTI, HEAD("00000002") "ffffffff 00000000" END, ZK_MARSHALLINGERROR}, /* null path */
        {OP_MULTI, HEAD("0000000e") END END, ZK_MARSHALLINGERROR}, /* no multi in a multi */
        {OP_MULTI, HEAD("00000007") "00000002 2f61" OPEN_ACL "00000000" END, ZK_MARSHALLINGERROR},
        {OP_MULTI, HEAD("00000063") END, ZK_MARSHALLINGERROR},
        {OP_MULTI, HEAD("00000001") "00000002 2f61 00000000 ffffffff 00000000" END,
         ZK_MARSHALLINGERROR}, /* null ACL */
        {OP_MULTI, HEAD("00000013") "00000002 2f61 00000000 ffffffff 00000004" END,
         ZK_MARSHALLINGERROR},
        /* createTTL fails as an operation: -8 for its ttl or flags, else -114 */
        {OP_MULTI, HEAD("00000015") "00000002 2f61 00000000 ffffffff 00000005 00000000000003e8" END,
         0},
        {OP_MULTI, HEAD("00000015") "00000002 2f61 00000000 ffffffff 00000000 00000000000003e8" END,
         0},
        {OP_MULTI, HEAD("00000014") "00000002 2f61" END, ZK_MARSHALLINGERROR},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct request q;
        if (decode(rows[i].op, rows[i].text, &q) != rows[i].rc)
            fail_msg("row %zu", i);
    }
}

static void a_read_inside_a_multi_read_sets_no_watch(void **state)
{
    (void)state;
    struct request q;
    assert_int_equal(0, decode(OP_MULTI_READ, HEAD("00000004") "00000002 2f61 01" END, &q));
    struct jute_reader r = jute_reader_of(q.body.data, q.body.size);
    struct multi_op op;
    assert_true(multi_next(&r, &op));
    assert_false(op.request.watch);
}

static void set_watches_lists_are_read_apart(void **state)
{
    (void)state;
    struct set_watches sw;
    struct bytes body =
        hex("0000000000000005 00000002 00000002 2f61 00000002 2f62 ffffffff 00000001 ffffffff "
            "00000001 00000002 2f70 00000000");
    assert_int_equal(0, set_watches_read(opcode_find(OP_SET_WATCHES2), body, &sw));
    assert_int_equal(5, sw.relative_zxid);
    assert_int_equal(5, sw.lists_count);
    assert_int_equal(2, sw.count[SETW_DATA]);
    assert_bytes(jute_read_bytes(&sw.paths[SETW_DATA]), "/a");
    assert_bytes(jute_read_bytes(&sw.paths[SETW_DATA]), "/b");
    assert_int_equal(0, jute_left(&sw.paths[SETW_DATA]));
    assert_int_equal(-1, sw.count[SETW_EXIST]);
    assert_int_equal(1, sw.count[SETW_CHILD]);
    assert_null(jute_read_bytes(&sw.paths[SETW_CHILD]).data);
    assert_bytes(jute_read_bytes(&sw.paths[SETW_PERSISTENT]), "/p");
    assert_int_equal(0, set_watches_read(opcode_find(OP_SET_WATCHES), body, &sw));
    assert_int_equal(3, sw.lists_count);
}

static void an_auth_packet_gives_scheme_and_bytes(void **state)
{
    (void)state;
    struct auth_packet a;
    assert_int_equal(
        0, auth_packet_read(hex("00000000 00000006 646967657374 00000006 626f623a7077"), &a));
    assert_bytes(a.scheme, "digest");
    assert_bytes(a.auth, "bob:pw");
    assert_int_equal(0, auth_packet_read(hex("00000000 00000006 646967657374 ffffffff"), &a));
    assert_null(a.auth.data);
    assert_int_equal(ZK_MARSHALLINGERROR, auth_packet_read(hex("00000000 00000006 6469"), &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_is_decoded_as_in_the_worked_example),
        cmocka_unit_test(every_shape_puts_its_fields_in_place),
        cmocka_unit_test(every_record_cut_short_is_a_marshalling_error),
        cmocka_unit_test(lengths_and_counts_that_lie_are_refused_without_work),
        cmocka_unit_test(a_null_acl_vector_is_kept_and_other_negative_counts_are_empty),
        cmocka_unit_test(a_multi_is_walked_operation_by_operation),
        cmocka_unit_test(an_empty_multi_has_no_operations),
        cmocka_unit_test(inside_a_multi_the_flags_decide_what_a_create_is),
        cmocka_unit_test(a_multi_of_the_wrong_kind_does_not_decode),
        cmocka_unit_test(a_read_inside_a_multi_read_sets_no_watch),
        cmocka_unit_test(set_watches_lists_are_read_apart),
        cmocka_unit_test(an_auth_packet_gives_scheme_and_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
