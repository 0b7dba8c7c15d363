/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Two instances joined in virtual time over a seeded wire that drops, duplicates, reorders and
 * corrupts. Streams must be byte-equal, everything must end once faults stop, and all buffers must
 * come back.
 */
#include "tests/net/rig.h"

static uint8_t *
pattern(size_t n, uint32_t seed)
{
    uint8_t *p = malloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        p[i] = (uint8_t)(seed >> 24);
    }
    return p;
}

static void
assert_all_returned(struct wire *w)
{
    for (unsigned i = 0; i < 2; i++) {
        struct net_usage u;
        net_usage(w->host[i].net, &u);
        assert_int_equal(u.conns, 0);
        assert_int_equal(u.half_open, 0);
        assert_int_equal(u.buffers_bytes, 0);
        assert_int_equal(u.time_wait, 0);
        assert_int_equal(u.timers, 0);
    }
}

/*
 * Goal: the hand-shake, a request and its reply cost the minimum of segments. Method: count them on
 * a clean wire.
 */
static void
a_request_and_its_reply_cost_one_segment_each(void **state)
{
    struct wire w;
    (void)state;
    wire_open(&w, 1);
    w.host[0].echo = true;
    struct rig_app *a = wire_connect(&w, false, NULL, 0);
    wire_run(&w, 50000);
    assert_true(a->connected);
    assert_int_equal(w.host[0].accepted, 1);
    uint64_t before = w.carried;
    wire_send(&w, 1, a->conn, "ping", 4);
    wire_run(&w, 1000);
    assert_int_equal(w.carried - before, 2);
    assert_int_equal(a->in_bytes, 4);
    assert_memory_equal(a->in, "ping", 4);
    /* The next request carries the ACK of the last reply. */
    wire_send(&w, 1, a->conn, "pong", 4);
    wire_run(&w, 1000);
    assert_int_equal(w.carried - before, 4);
    /* Then the ACK of the last reply, late but not missed; and silence. */
    wire_run(&w, 2000000);
    assert_int_equal(w.carried - before, 5);
    assert_int_equal(net_counters(w.host[0].net)->tail_probes, 0);
    assert_int_equal(net_counters(w.host[0].net)->rto_fired, 0);
    wire_close(&w);
}

/*
 * Goal: a client that asks now and then, and so delays each ACK, is not sent every reply twice.
 * Method: count its frames, before and after a conversation in which its ACKs came at once.
 */
static void
a_delayed_ack_is_taken_for_a_loss_once_per_conversation(void **state)
{
    struct wire w;
    (void)state;
    wire_open(&w, 1);
    w.host[0].echo = true;
    struct rig_app *a = wire_connect(&w, false, NULL, 0);
    wire_run(&w, 50000);
    for (unsigned i = 0; i < 10; i++) {
        uint64_t before = w.carried;
        wire_send(&w, 1, a->conn, "ping", 4);
        wire_run(&w, 1000000);
        /* request, reply, ACK; once a probe, after the conversation */
        assert_int_equal(w.carried - before, i == 5 ? 4 : 3);
        for (unsigned j = 0; j < 20 && i == 4; j++) {
            wire_send(&w, 1, a->conn, "ping", 4);
            wire_run(&w, 1000);
        }
    }
    assert_int_equal(net_counters(w.host[0].net)->tail_probes, 1);
    assert_int_equal(net_counters(w.host[0].net)->rto_fired, 0);
    wire_close(&w);
}

struct transfer {
    size_t up, down;
    struct wire_faults faults;
    bool v6;
};

/*
 * Both directions at once, then an orderly close from the client; faults stop after 20 virtual
 * seconds.
 */
static void
transfer_run(const struct transfer *t, uint64_t seed)
{
    struct wire w;
    uint8_t *up = pattern(t->up, (uint32_t)seed), *down = pattern(t->down, (uint32_t)seed + 1);

    wire_open(&w, seed);
    w.faults = t->faults;
    w.host[0].close_on_eof = true;
    struct rig_app *a = wire_connect(&w, t->v6, up, t->up);
    struct rig_app *s = NULL;
    bool closed = false;
    uint64_t calm_us = w.now_us + 20000000;
    for (uint64_t steps = 0; wire_step(&w); steps++) {
        if (w.now_us > calm_us)
            w.faults = (struct wire_faults){.delay_us = 100, .mtu = t->faults.mtu};
        assert_true(steps < 3000000);
        if (!s && w.host[0].apps) {
            s = w.host[0].apps;
            s->out = down;
            s->out_bytes = t->down;
            rig_push(s);
        }
        if (a->gone) { /* a SYN can be lost six times in a row: then there is no stream to
                        * compare */
            assert_false(a->connected);
            break;
        }
        if (!closed && s && a->conn && a->in_bytes == t->down && s->in_bytes == t->up) {
            closed = true;
            net_close(w.host[1].net, a->conn);
            a->conn = NULL;
        }
    }
    if (!a->gone) {
        assert_true(closed);
        assert_true(s->eof || s->gone);
        assert_int_equal(s->in_bytes, t->up);
        assert_int_equal(a->in_bytes, t->down);
        assert_true(t->up == 0 || memcmp(s->in, up, t->up) == 0);
        assert_true(t->down == 0 || memcmp(a->in, down, t->down) == 0);
        assert_int_equal(a->reason, 0);
    }
    wire_run(&w, 400000000);
    assert_all_returned(&w);
    wire_close(&w);
    free(up);
    free(down);
}

static void
streams_are_equal_on_a_clean_wire(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,    1,    2,    1447,  1448,    1449,
                                   2032, 2033, 5000, 65536, 1 << 20, 5 << 20};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        transfer_run(&(struct transfer){.up = sizes[i], .down = 100, .faults = {.delay_us = 50}},
                     i + 1);
        transfer_run(
            &(struct transfer){.up = 100, .down = sizes[i], .faults = {.delay_us = 50}, .v6 = true},
            i + 1);
    }
}

static void
streams_survive_loss(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 60; seed++)
        transfer_run(&(struct transfer){.up = 1000 * seed,
                                        .down = 200000 / seed,
                                        .faults = {.drop_ppm = 3000 * seed, .delay_us = 200},
                                        .v6 = seed % 2},
                     seed);
}

static void
streams_survive_reordering_and_duplication(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 40; seed++)
        transfer_run(&(struct transfer){.up = 3000 * seed,
                                        .down = 100000,
                                        .faults = {.reorder_ppm = 10000 * seed,
                                                   .duplicate_ppm = 5000 * seed,
                                                   .delay_us = 100,
                                                   .jitter_us = 100 * seed}},
                     seed);
}

static void
corruption_is_never_delivered(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 40; seed++)
        transfer_run(&(struct transfer){.up = 60000,
                                        .down = 60000,
                                        .faults = {.corrupt_ppm = 5000 * seed, .delay_us = 100},
                                        .v6 = seed % 2},
                     seed);
}

static void
streams_survive_everything_at_once(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 150; seed++)
        transfer_run(&(struct transfer){.up = seed * 777 % 40000,
                                        .down = seed * 1313 % 60000,
                                        .faults = {.drop_ppm = 50000,
                                                   .duplicate_ppm = 50000,
                                                   .reorder_ppm = 100000,
                                                   .corrupt_ppm = 20000,
                                                   .delay_us = 300,
                                                   .jitter_us = 2000},
                                        .v6 = seed % 3 == 0},
                     1000 + seed);
}

static void
a_path_that_swallows_full_segments_is_survived(void **state)
{
    (void)state;
    transfer_run(
        &(struct transfer){.up = 100000, .down = 100000, .faults = {.delay_us = 100, .mtu = 1000}},
        7);
}

static void
close_all(struct rig_host *h)
{
    for (struct rig_app *s = h->apps; s; s = s->next)
        if (s->conn) {
            net_close(h->net, s->conn);
            s->conn = NULL;
        }
}

/* Goal: connections come and go without leaving anything. Method: 3000 opened, used and closed from
 * either side, over a lossy wire, 60 at a time, with a small TIME-WAIT table. */
static void
a_storm_of_reconnects_leaves_nothing_behind(void **state)
{
    struct wire w;
    (void)state;
    wire_open(&w, 11);
    w.faults.drop_ppm = 20000;
    w.host[0].echo = true;
    w.host[0].close_on_eof = true;
    for (unsigned round = 0; round < 50; round++) {
        struct rig_app *first = w.host[1].apps;
        for (unsigned i = 0; i < 60; i++)
            wire_connect(&w, i % 2, (const uint8_t *)"request", 7);
        wire_run(&w, 30000000); /* a SYN and the data behind it may be lost four times in a row */
        unsigned n = 0;
        for (struct rig_app *a = w.host[1].apps; a != first; a = a->next, n++) {
            assert_true(a->gone || a->in_bytes == 7);
            if (!a->conn)
                continue;
            (round + n) % 7 ? net_close(w.host[1].net, a->conn) : net_abort(w.host[1].net, a->conn);
            a->conn = NULL;
        }
        if (round % 3 == 0)
            close_all(&w.host[0]);
        rig_turn(&w.host[0], NULL, w.now_us);
        rig_turn(&w.host[1], NULL, w.now_us);
        wire_run(&w, 1000000);
    }
    w.faults.drop_ppm = 0;
    close_all(&w.host[0]); /* those whose peer's RST was lost */
    rig_turn(&w.host[0], NULL, w.now_us);
    wire_run(&w, 400000000);
    assert_true(w.host[0].accepted >= 2900);
    assert_all_returned(&w);
    wire_close(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_and_its_reply_cost_one_segment_each),
        cmocka_unit_test(a_delayed_ack_is_taken_for_a_loss_once_per_conversation),
        cmocka_unit_test(streams_are_equal_on_a_clean_wire),
        cmocka_unit_test(streams_survive_loss),
        cmocka_unit_test(streams_survive_reordering_and_duplication),
        cmocka_unit_test(corruption_is_never_delivered),
        cmocka_unit_test(streams_survive_everything_at_once),
        cmocka_unit_test(a_storm_of_reconnects_leaves_nothing_behind),
        cmocka_unit_test(a_path_that_swallows_full_segments_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
