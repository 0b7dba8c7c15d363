/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The parts below the connection, each against a plain model: checksum, SipHash, flow table, timer
 * wheel, pool, addresses.
 */
#include "dataplane/net/checksum.h"
#include "dataplane/net/flow.h"
#include "dataplane/net/net.h"
#include "dataplane/net/pool.h"
#include "dataplane/net/siphash.h"
#include "dataplane/net/tcp.h"
#include "dataplane/net/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static uint32_t seed;

static uint32_t
next_random(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

static uint16_t
sum_by_words(const uint8_t *p, size_t n)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i += 2) {
        sum += (uint32_t)(p[i] << 8 | (i + 1 < n ? p[i + 1] : 0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

static void
the_checksum_is_that_of_rfc_1071_at_every_length_and_alignment(void **state)
{
    static uint8_t data[9100];
    (void)state;
    seed = 1;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)next_random();
    for (size_t n = 0; n < 300; n++)
        for (size_t at = 0; at < 8; at++)
            assert_int_equal(__builtin_bswap16(checksum_fold(checksum_add(0, data + at, n))),
                             sum_by_words(data + at, n));
    memset(data, 0xff, sizeof data);
    assert_int_equal(checksum_fold(checksum_add(0, data, sizeof data)), 0xffff);
    for (size_t n = 0; n < 200; n++) { /* carries out of every step, into a sum that is full */
        uint64_t sum = UINT64_MAX - n / 3;
        uint16_t before = __builtin_bswap16(checksum_fold(sum));
        uint32_t both = (uint32_t)before + sum_by_words(data, n);
        assert_int_equal(__builtin_bswap16(checksum_fold(checksum_add(sum, data, n))),
                         (both & 0xffff) + (both >> 16));
    }
    /* RFC 1071 section 3, the example. */
    assert_int_equal(
        __builtin_bswap16(checksum_fold(checksum_add(0, "\x00\x01\xf2\x03\xf4\xf5\xf6\xf7", 8))),
        0xddf2);
}

/*
 * The reference vector of the paper's appendix: key 00..0f, input 00..07 and 00..0f less what whole
 * words cannot say.
 */
static void
siphash_matches_its_reference(void **state)
{
    struct siphash_key key = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
    uint64_t words[] = {0x0706050403020100ull};
    (void)state;
    assert_true(siphash_words(key, words, 1, 2, 4) == 0x93f5f5799a932462ull);
    assert_true(siphash_words(key, words, 0, 2, 4) == 0x726fdb47dd0e0e31ull);
}

static bool
table_has(const struct flow_table *t, uint32_t hash, uint32_t id)
{
    uint32_t slot = hash, found;
    while ((found = flow_next(t, hash, &slot)) != FLOW_NONE)
        if (found == id)
            return true;
    return false;
}

static void
the_flow_table_agrees_with_a_list_under_collisions(void **state)
{
    struct flow_table t;
    static uint32_t hashes[512];
    static bool in[512];
    (void)state;
    assert_int_equal(flow_init(&t, 512), 0);
    seed = 2;
    for (unsigned i = 0; i < 512; i++) /* crowded: few homes, some at the end of the table */
        hashes[i] = (next_random() % 3) << 16 | (1024 - 16 + next_random() % 40);
    for (unsigned step = 0; step < 40000; step++) {
        unsigned i = next_random() % 512;
        if (in[i])
            flow_remove(&t, hashes[i], i);
        else
            flow_insert(&t, hashes[i], i);
        in[i] = !in[i];
        if (step % 64 == 0)
            for (unsigned j = 0; j < 512; j++)
                assert_int_equal(table_has(&t, hashes[j], j), in[j]);
    }
    flow_destroy(&t);
}

#define TIMERS 300

static void
wheel_against_list(uint32_t start, unsigned stride, unsigned horizon)
{
    static struct wheel w;
    static struct net_conn conns[TIMERS];
    uint32_t due[TIMERS], now = start;
    memset(conns, 0, sizeof conns);
    assert_int_equal(wheel_init(&w, conns, TIMERS, start), 0);
    for (unsigned step = 0; step < 3000; step++) {
        for (unsigned k = 0; k < 5; k++) {
            uint32_t i = next_random() % TIMERS;
            if ((conns[i].flags & F_WHEEL) && next_random() % 2) {
                wheel_remove(&w, i);
            } else if (conns[i].flags & F_WHEEL) {
                wheel_forget(&w, i);
            } else {
                due[i] = now + 1 + next_random() % (next_random() % 4 ? 300 : horizon);
                wheel_add(&w, i, due[i]);
            }
        }
        uint32_t next = UINT32_MAX, id;
        for (unsigned i = 0; i < TIMERS; i++)
            if ((conns[i].flags & F_WHEEL) && due[i] - now < next)
                next = due[i] - now;
        assert_true(wheel_next_ms(&w) <= next);
        assert_true((next == UINT32_MAX) == (wheel_next_ms(&w) == UINT32_MAX));
        uint32_t to = now + next_random() % stride;
        uint32_t before = now;
        while ((id = wheel_advance(&w, to)) != WHEEL_NONE) {
            assert_true(due[id] == w.now && (int32_t)(w.now - before) >= 0);
            before = w.now;
        }
        now = to;
        for (unsigned i = 0; i < TIMERS; i++)
            if (conns[i].flags & F_WHEEL)
                assert_true((int32_t)(due[i] - now) > 0);
    }
    wheel_destroy(&w);
}

/* Deadlines set and forgotten faster than they pass: entries stay within the wheel's blocks, and
 * the last set fires. */
static void
the_wheel_forgets_without_growing(void **state)
{
    (void)state;
    static struct wheel w;
    static struct net_conn conns[TIMERS];
    memset(conns, 0, sizeof conns);
    assert_int_equal(wheel_init(&w, conns, TIMERS, 0), 0);
    for (unsigned round = 0; round < 1000; round++)
        for (uint32_t i = 0; i < TIMERS; i++) {
            wheel_add(&w, i, 1 + (round * 7 + i) % 5000);
            if (round < 999)
                wheel_forget(&w, i);
            assert_true(w.forgotten <= w.forgotten_max);
        }
    assert_int_equal(w.count, TIMERS);
    uint32_t fired = 0, id;
    while ((id = wheel_advance(&w, 5000)) != WHEEL_NONE) {
        assert_int_equal(w.now, 1 + (999 * 7 + id) % 5000);
        fired++;
    }
    assert_int_equal(fired, TIMERS);
    assert_int_equal(w.count, 0);
    assert_int_equal(w.forgotten, 0);
    assert_true(wheel_next_ms(&w) == UINT32_MAX);
    wheel_destroy(&w);
}

static void
the_wheel_fires_each_timer_in_its_millisecond(void **state)
{
    (void)state;
    seed = 3;
    wheel_against_list(0, 10, 1000);
    wheel_against_list(12345, 700, 100000);
    wheel_against_list(77, 60000, 16000000);
    wheel_against_list(0xffff0000u, 300, 200000); /* across the wrap of the clock */
    wheel_against_list(0xff000000u, 90000, 10000000);
}

static void
a_pool_stops_at_its_limit_and_reuses_the_last(void **state)
{
    struct pool p;
    void *got[100];
    (void)state;
    pool_init(&p, 64, 100);
    for (unsigned i = 0; i < 100; i++) {
        got[i] = pool_get(&p);
        assert_non_null(got[i]);
        memset(got[i], (int)i, 64);
    }
    assert_null(pool_get(&p));
    pool_put(&p, got[42]);
    assert_ptr_equal(pool_get(&p), got[42]);
    assert_int_equal(p.used, 100);
    pool_destroy(&p);
}

static void
addresses_are_read_and_written(void **state)
{
    struct net_addr a;
    char text[46];
    (void)state;
    assert_int_equal(net_addr_parse("192.0.2.7", &a), 0);
    assert_true(net_addr_is_v4(&a));
    assert_string_equal(net_addr_format(&a, text, sizeof text), "192.0.2.7");
    assert_int_equal(net_addr_parse("2001:db8::1", &a), 0);
    assert_false(net_addr_is_v4(&a));
    assert_string_equal(net_addr_format(&a, text, sizeof text), "2001:db8::1");
    assert_int_equal(net_addr_parse("1.2.3", &a), -1);
    assert_int_equal(net_addr_parse("", &a), -1);
}

static uint8_t *
no_frame(void *ctx, uint16_t bytes, void **frame)
{
    (void)ctx, (void)bytes, (void)frame;
    return NULL;
}

static void
a_config_out_of_range_is_named(void **state)
{
    struct net_config c = {0};
    (void)state;
    assert_string_equal(net_config_error(&c), "interface_count is not in 1..8");
    assert_null(net_create(&c));
    c.interface_count = 1;
    c.interfaces[0] = (struct net_interface){net_addr_v4(1), 33};
    assert_string_equal(net_config_error(&c), "an interface's prefix is longer than its address");
    c.interfaces[0].prefix_bits = 24;
    c.mtu = 300;
    assert_string_equal(net_config_error(&c), "mtu is not in 576..9216");
    c.mtu = 1500;
    c.times.delayed_ack_ms = 501;
    assert_non_null(net_config_error(&c));
    c.times.delayed_ack_ms = 0;
    assert_string_equal(net_config_error(&c), "no output");
    c.output.frame_alloc = no_frame;
    assert_string_equal(net_config_error(&c), "no output");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_that_of_rfc_1071_at_every_length_and_alignment),
        cmocka_unit_test(siphash_matches_its_reference),
        cmocka_unit_test(the_flow_table_agrees_with_a_list_under_collisions),
        cmocka_unit_test(the_wheel_fires_each_timer_in_its_millisecond),
        cmocka_unit_test(the_wheel_forgets_without_growing),
        cmocka_unit_test(a_pool_stops_at_its_limit_and_reuses_the_last),
        cmocka_unit_test(addresses_are_read_and_written),
        cmocka_unit_test(a_config_out_of_range_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
