/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/wire/request.h"

static const uint8_t request_45[] = {
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    7, /* version, lastZxidSeen */
    0,    0,    0x27, 0x10,                                              /* timeOut 10000 */
    1,    0,    0,    0x11, 0x30, 0xeb, 0,    0,                         /* session */
    0,    0,    0,    16,   0x17, 0xa5, 0x78, 0x4b, 0x58, 0x26, 0x7a, 0x76,
    0x4d, 0x2f, 0x96, 0x81, 0x61, 0x9a, 0x0f, 0x12, 1, /* readOnly */
};

static void a_connect_request_is_read_with_and_without_the_read_only_byte(void **state)
{
    (void)state;
    struct connect_request q;
    assert_int_equal(45, sizeof request_45);
    assert_int_equal(0, connect_request_read((struct bytes){request_45, 45}, &q));
    assert_int_equal(7, q.last_zxid_seen);
    assert_int_equal(10000, q.timeout_ms);
    assert_true(q.session == 0x0100001130eb0000);
    assert_int_equal(16, q.passwd.size);
    assert_true(q.has_read_only && q.read_only);
    assert_int_equal(0, connect_request_read((struct bytes){request_45, 44}, &q));
    assert_false(q.has_read_only || q.read_only);
}

static void a_connect_request_cut_short_is_refused(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 44; n++) {
        struct connect_request q;
        uint8_t *cut = malloc(n ? n : 1);
        memcpy(cut, request_45, n);
        assert_int_equal(ZK_MARSHALLINGERROR, connect_request_read((struct bytes){cut, n}, &q));
        free(cut);
    }
}

static void a_null_password_is_accepted_and_a_lying_length_is_not(void **state)
{
    (void)state;
    uint8_t frame[sizeof request_45];
    struct connect_request q;
    memcpy(frame, request_45, sizeof frame);
    be32_store(frame + 24, (uint32_t)-1);
    assert_int_equal(0, connect_request_read((struct bytes){frame, 28}, &q));
    assert_null(q.passwd.data);
    be32_store(frame + 24, (uint32_t)-2);
    assert_int_equal(ZK_MARSHALLINGERROR, connect_request_read((struct bytes){frame, 45}, &q));
    be32_store(frame + 24, 0x7fffffff);
    assert_int_equal(ZK_MARSHALLINGERROR, connect_request_read((struct bytes){frame, 45}, &q));
}

/* client-protocol.md 15.1. */
static void responses_are_the_worked_examples_to_the_byte(void **state)
{
    (void)state;
    static const uint8_t want[] = {0,    0,    0,    0x25, 0,    0,    0,    0,    0,    0,    0x27,
                                   0x10, 1,    0,    0,    0x11, 0x30, 0xeb, 0,    0,    0,    0,
                                   0,    0x10, 0x17, 0xa5, 0x78, 0x4b, 0x58, 0x26, 0x7a, 0x76, 0x4d,
                                   0x2f, 0x96, 0x81, 0x61, 0x9a, 0x0f, 0x12, 0};
    uint8_t out[CONNECT_RESPONSE_BYTES_MAX], passwd[PASSWD_BYTES];
    session_passwd(0x0100001130eb0000, passwd);
    assert_int_equal(41,
                     connect_response_write(out, 0x0100001130eb0000, 10000, passwd, true, false));
    assert_memory_equal(want, out, 41);
    assert_int_equal(40,
                     connect_response_write(out, 0x0100001130eb0000, 10000, passwd, false, false));
    assert_int_equal(0x24, out[3]);
    assert_memory_equal(want + 4, out + 4, 36);
}

static void a_refused_session_gets_zeros_only(void **state)
{
    (void)state;
    uint8_t want[CONNECT_RESPONSE_BYTES_MAX] = {0, 0, 0, 0x25}, out[CONNECT_RESPONSE_BYTES_MAX];
    want[23] = 16;
    assert_int_equal(41, connect_response_write(out, 0, 10000, NULL, true, false));
    assert_memory_equal(want, out, 41);
}

/* client-protocol.md 13.3. */
static void session_passwords_equal_the_test_vectors(void **state)
{
    (void)state;
    static const struct {
        session_id_t id;
        uint8_t passwd[PASSWD_BYTES];
    } rows[] = {
        {0x0100001130eb0000,
         {0x17, 0xa5, 0x78, 0x4b, 0x58, 0x26, 0x7a, 0x76, 0x4d, 0x2f, 0x96, 0x81, 0x61, 0x9a, 0x0f,
          0x12}},
        {0x0100001130eb0002,
         {0xf1, 0x62, 0x84, 0x4b, 0x18, 0x8f, 0xbb, 0xec, 0x63, 0xa9, 0xc7, 0x2a, 0xba, 0x88, 0xe6,
          0x77}},
        {0x0100001530b30000,
         {0x0f, 0xa4, 0xc0, 0xdc, 0xf0, 0x85, 0xd4, 0x1d, 0x05, 0x73, 0x13, 0xe5, 0xb9, 0xbf, 0xdc,
          0xf6}},
    };
    for (size_t i = 0; i < 3; i++) {
        uint8_t out[PASSWD_BYTES];
        session_passwd(rows[i].id, out);
        assert_memory_equal(rows[i].passwd, out, PASSWD_BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connect_request_is_read_with_and_without_the_read_only_byte),
        cmocka_unit_test(a_connect_request_cut_short_is_refused),
        cmocka_unit_test(a_null_password_is_accepted_and_a_lying_length_is_not),
        cmocka_unit_test(responses_are_the_worked_examples_to_the_byte),
        cmocka_unit_test(a_refused_session_gets_zeros_only),
        cmocka_unit_test(session_passwords_equal_the_test_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
