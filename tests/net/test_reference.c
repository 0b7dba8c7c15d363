/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * net_send_reference(): bytes that are read where they lie until they are acknowledged. A holder
 * that nobody holds overwrites its bytes, so that reading them late shows in the stream. And
 * net_send_room(): bytes that are written where they are sent from.
 */
#include "tests/net/rig.h"

#define VALUES 12

struct value {
    unsigned holds, held_ever;
    uint32_t size;
    uint8_t *bytes;
};

static struct value values[VALUES];

static void
hold(void *ctx, void *holder)
{
    struct value *v = holder;
    (void)ctx;
    assert_true(v->holds > 0); /* by the sender, who calls */
    v->holds++;
    v->held_ever++;
}

static void
drop(void *ctx, void *holder)
{
    struct value *v = holder;
    (void)ctx;
    assert_true(v->holds > 0);
    if (--v->holds == 0)
        memset(v->bytes, 0xee, v->size);
}

static uint8_t
byte_at(uint32_t value, uint32_t i)
{
    return (uint8_t)(i * 7 + (i >> 9) + value * 13);
}

static void
values_make(void)
{
    for (uint32_t v = 0; v < VALUES; v++) {
        uint32_t size = v % 3 == 0 ? 5000 : v % 3 == 1 ? 65535 * 2 + 17 : 1;
        values[v] = (struct value){1, 0, size, malloc(size)};
        for (uint32_t i = 0; i < size; i++)
            values[v].bytes[i] = byte_at(v, i);
    }
}

static unsigned
values_held(void)
{
    unsigned holds = 0;
    for (unsigned v = 0; v < VALUES; v++)
        holds += values[v].holds;
    return holds;
}

static void
values_free(void)
{
    for (unsigned v = 0; v < VALUES; v++)
        free(values[v].bytes);
}

/* As rig_config(), with 40 000 bytes of queue: values go in pieces. */
static void
open_wire(struct wire *w, uint64_t seed)
{
    wire_open(w, seed);
    rig_close(&w->host[0]);
    memset(&w->host[0], 0, sizeof w->host[0]);
    struct net_config c = rig_config(&w->host[0], 1);
    c.limits.tx_bytes_max = 40000;
    c.callbacks.reference_hold = hold;
    c.callbacks.reference_drop = drop;
    rig_open(&w->host[0], &c);
    rig_turn(&w->host[0], NULL, w->now_us);
}

/** Between the values 3 copied bytes each: "<v>". Lets go of a value as soon as it is queued. */
struct sender {
    uint32_t value, part, done; /* part 0: copied bytes, 1: value */
};

static bool
sender_push(struct wire *w, struct net_conn *conn, struct sender *s)
{
    struct net *net = w->host[0].net;
    while (s->value < VALUES) {
        struct value *v = &values[s->value];
        uint8_t text[3] = {'<', (uint8_t)('a' + s->value), '>'};
        uint32_t size = s->part ? v->size : sizeof text;
        uint32_t n = s->part ? net_send_reference(net, conn, v->bytes + s->done, size - s->done, v)
                             : net_send(net, conn, text + s->done, size - s->done);
        s->done += n;
        if (s->done < size)
            return false;
        if (s->part) {
            drop(NULL, v);
            s->value++;
        }
        s->part = !s->part;
        s->done = 0;
    }
    return true;
}

static void
assert_received(const struct rig_app *a)
{
    const uint8_t *p = a->in;
    for (uint32_t v = 0; v < VALUES; v++) {
        assert_true(p[0] == '<' && p[1] == 'a' + v && p[2] == '>');
        p += 3;
        for (uint32_t i = 0; i < values[v].size; i++)
            if (*p++ != byte_at(v, i))
                fail_msg("byte %u of value %u", i, v);
    }
    assert_int_equal(p - a->in, a->in_bytes);
}

static struct rig_app *
connect_pair(struct wire *w, struct rig_app **server)
{
    struct rig_app *a = wire_connect(w, false, NULL, 0);
    wire_run(w, 20000000);
    assert_true(a->connected && w->host[0].apps);
    *server = w->host[0].apps;
    return a;
}

static void
references_are_read_until_acknowledged_and_no_longer(void **state)
{
    static const struct wire_faults faults[] = {
        {.delay_us = 100},
        {.delay_us = 100, .drop_ppm = 50000},
        {.delay_us = 100, .drop_ppm = 20000, .duplicate_ppm = 20000, .reorder_ppm = 50000,
         .jitter_us = 2000},
    };
    (void)state;
    for (unsigned round = 0; round < 9; round++) {
        struct wire w;
        struct rig_app *server;
        struct sender s = {0};
        values_make();
        open_wire(&w, round + 1);
        struct rig_app *a = connect_pair(&w, &server);
        w.faults = faults[round / 3];
        while (!sender_push(&w, server->conn, &s)) {
            net_check(w.host[0].net);
            rig_turn(&w.host[0], NULL, w.now_us);
            wire_run(&w, 1000);
        }
        wire_run(&w, 60000000);
        assert_received(a);
        assert_int_equal(values_held(), 0);
        assert_true(values[1].held_ever > 1); /* it was queued in pieces */
        wire_close(&w);
        values_free();
    }
}

/* However it ends: what was not acknowledged is let go of. */
static void
a_connection_that_ends_lets_go_of_what_it_held(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        struct wire w;
        struct rig_app *server;
        struct sender s = {0};
        values_make();
        open_wire(&w, 1);
        struct rig_app *a = connect_pair(&w, &server);
        assert_false(sender_push(&w, server->conn, &s));
        unsigned others = VALUES - s.value;
        assert_true(values_held() > others);
        rig_turn(&w.host[0], NULL, w.now_us);
        if (how == 0) {
            net_abort(w.host[0].net, server->conn);
            server->conn = NULL;
        } else if (how == 1) {
            net_abort(w.host[1].net, a->conn);
            a->conn = NULL;
            rig_turn(&w.host[1], NULL, w.now_us);
            wire_run(&w, 1000000);
        }
        if (how < 2)
            assert_int_equal(values_held(), others);
        wire_close(&w); /* 2: net_destroy() */
        assert_int_equal(values_held(), others);
        values_free();
    }
}

/* The limit of a queue counts referenced bytes as it does copied ones. */
static void
a_full_queue_takes_nothing_and_holds_nothing(void **state)
{
    struct wire w;
    struct rig_app *server;
    (void)state;
    values_make();
    open_wire(&w, 1);
    (void)connect_pair(&w, &server);
    struct value *v = &values[1];
    assert_int_equal(net_send_reference(w.host[0].net, server->conn, v->bytes, v->size, v), 40000);
    assert_int_equal(v->holds, 2);
    assert_int_equal(net_send_reference(w.host[0].net, server->conn, v->bytes, v->size, v), 0);
    assert_int_equal(v->holds, 2);
    struct net_usage u;
    net_usage(w.host[0].net, &u);
    assert_int_equal(u.buffers_bytes, 256); /* not by the bytes it stands for */
    wire_close(&w);
    assert_int_equal(v->holds, 1);
    values_free();
}

static uint8_t
stream_byte(uint64_t at)
{
    return (uint8_t)(at * 11 + (at >> 8));
}

/* Up to `n` bytes of the stream, one way or the other. @return bytes queued. */
static uint32_t
stream_push(struct wire *w, struct net_conn *conn, uint64_t at, uint32_t n)
{
    uint8_t bytes[5000];
    uint32_t room, wanted = n + (uint32_t)(wire_random(w) % 2000);
    uint8_t *p = wire_random(w) % 4 ? net_send_room(w->host[0].net, conn, n, wanted, &room) : NULL;
    uint32_t size = !p ? n : n + (uint32_t)(wire_random(w) % (room - n + 1));
    for (uint32_t i = 0; i < size; i++)
        *((p ? p : bytes) + i) = stream_byte(at + i);
    if (!p)
        return net_send(w->host[0].net, conn, bytes, n);
    net_send_written(w->host[0].net, conn, size);
    return size;
}

static void
bytes_written_where_they_are_sent_from_arrive_as_copied_ones_do(void **state)
{
    const uint64_t total = 300000;
    (void)state;
    for (unsigned round = 0; round < 6; round++) {
        struct wire w;
        struct rig_app *server;
        open_wire(&w, round + 1);
        struct rig_app *a = connect_pair(&w, &server);
        w.faults = (struct wire_faults){.delay_us = 100, .drop_ppm = round % 2 ? 30000 : 0};
        uint64_t sent = 0;
        while (sent < total) {
            uint32_t some = 1 + (uint32_t)(wire_random(&w) % (round % 3 ? 300 : 4000));
            sent += stream_push(&w, server->conn, sent, some);
            net_check(w.host[0].net);
            if (wire_random(&w) % 4 == 0) {
                rig_turn(&w.host[0], NULL, w.now_us);
                wire_run(&w, 300);
            }
        }
        rig_turn(&w.host[0], NULL, w.now_us);
        wire_run(&w, 60000000);
        assert_int_equal(a->in_bytes, sent);
        for (uint64_t i = 0; i < sent; i++)
            if (a->in[i] != stream_byte(i))
                fail_msg("byte %lu", (unsigned long)i);
        wire_close(&w);
    }
}

/* Little in little memory; where there is no room, none is taken. */
static void
room_is_as_large_as_what_is_wanted_of_it(void **state)
{
    struct wire w;
    struct rig_app *server;
    struct net_usage u;
    uint32_t room = 0;
    (void)state;
    open_wire(&w, 1);
    (void)connect_pair(&w, &server);
    struct net *net = w.host[0].net;
    assert_null(net_send_room(net, server->conn, 2033, 2033, &room));
    assert_non_null(net_send_room(net, server->conn, 200, 200, &room));
    assert_int_equal(room, 240);
    net_send_written(net, server->conn, 200);
    net_usage(net, &u);
    assert_int_equal(u.buffers_bytes, 256);
    assert_non_null(net_send_room(net, server->conn, 40, 40, &room));
    assert_int_equal(room, 40); /* the rest of it */
    net_send_written(net, server->conn, 1);
    assert_non_null(net_send_room(net, server->conn, 40, 40, &room));
    assert_int_equal(room, 2032);
    net_send_written(net, server->conn, 2000);
    while (net_send(net, server->conn, (const uint8_t *)"0123456789", 10) == 10)
        continue;
    assert_null(net_send_room(net, server->conn, 1, 1, &room)); /* the queue's limit */
    wire_close(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_are_read_until_acknowledged_and_no_longer),
        cmocka_unit_test(a_connection_that_ends_lets_go_of_what_it_held),
        cmocka_unit_test(a_full_queue_takes_nothing_and_holds_nothing),
        cmocka_unit_test(bytes_written_where_they_are_sent_from_arrive_as_copied_ones_do),
        cmocka_unit_test(room_is_as_large_as_what_is_wanted_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
