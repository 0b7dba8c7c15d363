/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: replies of the three protocols are recognised wherever the bytes are cut, and nonsense is
 * refused. Method: each reply is fed at every length up to its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/protocol.h"
#include "client/wire/jute.h"

/* Every shorter piece asks for more; the whole gives `expected` and takes exactly its own bytes. */
static void reply_is(const struct bench_protocol *p, const void *bytes, size_t n,
                     struct bench_reply expected)
{
    struct bench_reply reply;
    uint8_t *exact = malloc(n + 1);
    assert_non_null(exact);
    for (size_t i = 0; i < n; i++) {
        memcpy(exact, bytes, i);
        ptrdiff_t rc = p->parse(exact, i, &reply);
        if (rc != 0)
            fail_msg("%zu of %zu bytes: %td", i, n, rc);
    }
    memcpy(exact, bytes, n);
    exact[n] = 'V'; /* the next reply's first byte */
    reply = (struct bench_reply){0};
    assert_int_equal(p->parse(exact, n + 1, &reply), n);
    assert_int_equal(reply.error, expected.error);
    assert_int_equal(reply.data_bytes, expected.data_bytes);
    assert_int_equal(reply.is_event, expected.is_event);
    free(exact);
}

#define REPLY_IS(protocol, text, ...)                                                              \
    reply_is(&(protocol), text, sizeof(text) - 1, (struct bench_reply){__VA_ARGS__})

static void memcached_replies_are_recognised(void **state)
{
    (void)state;
    REPLY_IS(protocol_memcached, "STORED\r\n", .error = 0);
    REPLY_IS(protocol_memcached, "MN\r\n", .error = 0);
    REPLY_IS(protocol_memcached, "END\r\n", .error = -1);
    REPLY_IS(protocol_memcached, "SERVER_ERROR out of memory\r\n", .error = -1);
    REPLY_IS(protocol_memcached, "VALUE /a/k1 0 5\r\nab\ncd\r\nEND\r\n", .data_bytes = 5);
    REPLY_IS(protocol_memcached, "VALUE k 0 0\r\n\r\nEND\r\n", .data_bytes = 0);
}

static void redis_replies_are_recognised(void **state)
{
    (void)state;
    REPLY_IS(protocol_redis, "+OK\r\n", .error = 0);
    REPLY_IS(protocol_redis, "$-1\r\n", .error = -1);
    REPLY_IS(protocol_redis, "-ERR no\r\n", .error = -1);
    REPLY_IS(protocol_redis, "$7\r\nab\r\ncde\r\n", .data_bytes = 7);
    REPLY_IS(protocol_redis, "$0\r\n\r\n", .data_bytes = 0);
}

static void zk_replies_are_recognised(void **state)
{
    (void)state;
    uint8_t frame[4 + REPLY_HEADER_BYTES + 4 + 3] = {0};
    be32_store(frame, sizeof frame - 4);
    be32_store(frame + 4, 7);
    be32_store(frame + 20, 3);
    reply_is(&protocol_zk, frame, sizeof frame, (struct bench_reply){.data_bytes = 3});
    be32_store(frame + 4, (uint32_t)XID_NOTIFICATION);
    reply_is(&protocol_zk, frame, sizeof frame,
             (struct bench_reply){.is_event = true, .data_bytes = 3});
    be32_store(frame, REPLY_HEADER_BYTES);
    be32_store(frame + 16, (uint32_t)ZK_NONODE);
    reply_is(&protocol_zk, frame, 20, (struct bench_reply){.is_event = true, .error = ZK_NONODE});
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    struct bench_reply reply;
    static const char cut[] = "VALUE k 0 3\r\nabcXXXXXXX";
    assert_int_equal(protocol_memcached.parse((const uint8_t *)cut, sizeof cut - 1, &reply), -1);
    static const char sign[] = "VALUE k 0 -3\r\nabc\r\nEND\r\n";
    assert_int_equal(protocol_memcached.parse((const uint8_t *)sign, sizeof sign - 1, &reply), -1);
    static const char huge[] = "$99999999999999999999\r\n";
    assert_int_equal(protocol_redis.parse((const uint8_t *)huge, sizeof huge - 1, &reply), -1);
    static const char kind[] = "hello\r\n";
    assert_int_equal(protocol_redis.parse((const uint8_t *)kind, sizeof kind - 1, &reply), -1);
    static uint8_t endless[5000];
    memset(endless, 'x', sizeof endless);
    assert_int_equal(protocol_memcached.parse(endless, sizeof endless, &reply), -1);
    assert_int_equal(protocol_redis.parse(endless, sizeof endless, &reply), -1);
    static const uint8_t lengths[][4] = {{0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 15}, {0x80, 0, 0, 0}};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(protocol_zk.parse(lengths[i], 4, &reply), -1);
}

static void keys_are_the_same_for_all(void **state)
{
    (void)state;
    struct keyspace keys = {.prefix = "/p", .prefix_bytes = 2};
    uint8_t out[KEY_BYTES_MAX];
    assert_int_equal(key_write(&keys, 4294967295u, out), 14);
    assert_memory_equal(out, "/p/k4294967295", 14);
    key_write(&keys, 30, out);
    assert_memory_equal(out, "/p/k0000000030", 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memcached_replies_are_recognised),
        cmocka_unit_test(redis_replies_are_recognised),
        cmocka_unit_test(zk_replies_are_recognised),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(keys_are_the_same_for_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
