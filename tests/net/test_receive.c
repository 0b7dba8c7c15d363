/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The receiving side and its limits: order, window, timestamps, acknowledgements, reassembly bombs,
 * slow readers, memory.
 */
#include "tests/net/rig.h"

#define ISN 1000u

struct link {
    struct rig_host h;
    struct rig_app *app;
    uint64_t now_us;
    uint32_t ack;   /* our ACK number to them */
    uint32_t tsval; /* 0: no timestamps */
    uint16_t port;
};

static uint8_t stream[1 << 20];

static void
link_send(struct link *l, uint32_t at, unsigned bytes)
{
    struct peer_segment s = {.seq = ISN + 1 + at, .ack = l->ack, .flags = TCP_ACK, .wnd = 60000,
                             .payload = stream + at % sizeof stream, .bytes = bytes,
                             .source_port = l->port};
    if (l->tsval) {
        memcpy(s.options, (uint8_t[]){1, 1, 8, 10}, 4);
        store32(s.options + 4, l->tsval);
        store32(s.options + 8, 0);
        s.options_bytes = 12;
    }
    peer_send(&l->h, &s, l->now_us);
}

static void
link_handshake(struct link *l, uint16_t port)
{
    struct peer_segment s = {.seq = ISN, .flags = TCP_SYN, .wnd = 60000,
                             .options = {2, 4, 0x05, 0xb4, 1, 3, 3, 0, 1, 1, 4, 2, 1, 1, 8, 10},
                             .options_bytes = l->tsval ? 24 : 12, .source_port = port};
    store32(s.options + 16, l->tsval);
    peer_send(&l->h, &s, l->now_us);
    l->port = port;
    l->ack = peer_read(&l->h.out[0]).seq + 1;
    link_send(l, 0, 0);
    l->app = l->h.apps;
}

static void link_open(struct link *l, const struct net_limits *limits,
                      const struct net_times *times, uint32_t tsval)
{
    memset(l, 0, sizeof *l);
    for (unsigned i = 0; i < sizeof stream; i++)
        stream[i] = (uint8_t)(i * 2654435761u >> 23);
    struct net_config c = rig_config(&l->h, 1);
    if (limits)
        c.limits = *limits;
    if (times)
        c.times = *times;
    l->now_us = 5000000;
    l->tsval = tsval;
    rig_open(&l->h, &c);
    link_handshake(l, PEER_PORT);
}

static struct peer_segment
last(struct link *l)
{
    assert_true(l->h.out_count > 0);
    return peer_read(&l->h.out[l->h.out_count - 1]);
}

static void
assert_received(struct link *l, size_t n)
{
    assert_int_equal(l->app->in_bytes, n);
    assert_memory_equal(l->app->in, stream, n);
}

static void
data_in_order_waits_for_an_answer_to_ride_on(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, NULL, NULL, 0);
    link_send(&l, 0, 100);
    assert_int_equal(l.h.out_count, 0);
    rig_wait(&l.h, &l.now_us, 25);
    assert_int_equal(l.h.out_count, 1);
    assert_int_equal(last(&l).ack, ISN + 101);
    rig_discard(&l.h);
    rig_wait(&l.h, &l.now_us, 1000);
    assert_int_equal(l.h.out_count, 0);
    assert_received(&l, 100);
    rig_close(&l.h);
}

static void
every_second_full_segment_is_acknowledged_at_once(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, NULL, NULL, 0);
    for (unsigned i = 0; i < 10; i++) {
        link_send(&l, i * 1460, 1460);
        assert_int_equal(l.h.out_count, i % 2);
    }
    assert_received(&l, 14600);
    rig_close(&l.h);
}

static void
segments_in_any_order_are_put_together(void **state)
{
    struct link l;
    (void)state;
    for (unsigned seed = 0; seed < 200; seed++) {
        uint32_t r = seed + 1;
        link_open(&l, NULL, NULL, 0);
        /* Random overlapping pieces of 4000 bytes until all is there. */
        for (unsigned i = 0; i < 5000 && l.app->in_bytes < 4000; i++) {
            r = r * 1664525 + 1013904223;
            unsigned at = (r >> 8) % 4200, n = 1 + (r >> 20) % 600;
            at = at < 200 ? 0 : at - 200;
            if (at + n > 4000)
                n = 4000 - at;
            link_send(&l, at, n);
        }
        assert_received(&l, 4000);
        rig_wait(&l.h, &l.now_us, 25);
        struct net_usage u;
        net_usage(l.h.net, &u);
        assert_int_equal(u.buffers_bytes, 0);
        rig_close(&l.h);
    }
}

static void
sack_blocks_name_the_newest_range_first(void **state)
{
    struct link l;
    unsigned n;
    (void)state;
    link_open(&l, NULL, NULL, 0);
    link_send(&l, 1000, 100);
    link_send(&l, 3000, 100);
    link_send(&l, 2000, 100);
    struct peer_segment r = last(&l);
    const uint8_t *sack = peer_option(&r, 5, &n);
    assert_int_equal(n, 24);
    assert_int_equal(load32(sack), ISN + 2001);
    assert_int_equal(load32(sack + 4), ISN + 2101);
    assert_int_equal(load32(sack + 8), ISN + 3001);
    assert_int_equal(load32(sack + 16), ISN + 1001);
    assert_int_equal(r.ack, ISN + 1);
    link_send(&l, 2100, 900); /* joins two */
    r = last(&l);
    sack = peer_option(&r, 5, &n);
    assert_int_equal(n, 16);
    assert_int_equal(load32(sack), ISN + 2001);
    assert_int_equal(load32(sack + 4), ISN + 3101);
    rig_close(&l.h);
}

static void
a_duplicate_is_reported_by_dsack(void **state)
{
    struct link l;
    unsigned n;
    (void)state;
    link_open(&l, NULL, NULL, 0);
    link_send(&l, 0, 100);
    link_send(&l, 0, 50);
    struct peer_segment r = last(&l);
    const uint8_t *sack = peer_option(&r, 5, &n);
    assert_int_equal(n, 8);
    assert_int_equal(load32(sack), ISN + 1);
    assert_int_equal(load32(sack + 4), ISN + 51);
    assert_int_equal(r.ack, ISN + 101);
    link_send(&l, 5000, 1);
    r = last(&l);
    (void)peer_option(&r, 5, &n);
    assert_int_equal(n, 8); /* reported once */
    assert_received(&l, 100);
    rig_close(&l.h);
}

static void
a_fin_that_overtakes_data_waits_for_it(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, NULL, NULL, 0);
    peer_send(&l.h,
              &(struct peer_segment){
                  .seq = ISN + 1 + 200, .ack = l.ack, .flags = TCP_ACK | TCP_FIN, .wnd = 6000},
              l.now_us);
    assert_false(l.app->eof);
    link_send(&l, 100, 100);
    assert_false(l.app->eof);
    link_send(&l, 0, 100);
    assert_true(l.app->eof);
    assert_received(&l, 200);
    assert_int_equal(last(&l).ack, ISN + 202);
    rig_close(&l.h);
}

static void
data_beyond_the_window_is_cut_off(void **state)
{
    struct link l;
    struct net_limits limits = {.conns_max = 4, .rx_window_bytes = 4096};
    (void)state;
    link_open(&l, &limits, NULL, 0);
    link_send(&l, 4000, 200); /* 96 bytes fit */
    link_send(&l, 0, 1400);
    link_send(&l, 1400, 1400);
    link_send(&l, 2800, 1200);
    assert_received(&l, 4096);
    assert_int_equal(last(&l).ack, ISN + 1 + 4096);
    rig_close(&l.h);
}

static void
a_fin_beyond_the_window_is_cut_off_too(void **state)
{
    struct link l;
    struct net_limits limits = {.conns_max = 4, .rx_window_bytes = 4096};
    (void)state;
    link_open(&l, &limits, NULL, 0);
    link_send(&l, 0, 1400);
    link_send(&l, 1400, 1400);
    l.h.consume_max = 0; /* from here on the window only shrinks */
    link_send(&l, 2800, 1000);
    uint32_t room = l.app->conn->rcv_adv - l.app->conn->rcv_nxt;
    struct peer_segment s = {.seq = ISN + 3801,
                             .ack = l.ack,
                             .flags = TCP_ACK | TCP_FIN,
                             .wnd = 9000,
                             .payload = stream + 3800,
                             .bytes = room + 10};
    peer_send(&l.h, &s, l.now_us);
    assert_int_equal(l.app->conn->state, TCP_ESTABLISHED);
    l.h.consume_max = UINT32_MAX;
    net_resume(l.h.net, l.app->conn);
    rig_turn(&l.h, NULL, l.now_us);
    assert_false(l.app->eof);
    assert_received(&l, 3800 + room);
    rig_close(&l.h);
}

/*
 * Header prediction takes timestamped data in order: it must refuse all that the long way refuses.
 */
static void
the_short_way_checks_as_strictly_as_the_long_one(void **state)
{
    struct link l;
    struct net_limits limits = {.conns_max = 4, .rx_window_bytes = 2048};
    (void)state;
    link_open(&l, &limits, NULL, 1000);
    uint32_t ack = l.ack;
    l.tsval = 1001;
    l.ack = ack + 1; /* acknowledges what was never sent */
    link_send(&l, 0, 10);
    assert_received(&l, 0);
    l.ack = ack - 5000000;
    link_send(&l, 0, 10);
    assert_received(&l, 0);
    l.ack = ack;
    link_send(&l, 0, 10);
    assert_received(&l, 10);
    l.tsval = 1000; /* older */
    link_send(&l, 10, 10);
    assert_received(&l, 10);
    l.tsval = 1001;
    uint32_t room = l.app->conn->rcv_adv - l.app->conn->rcv_nxt;
    assert_true(room < 2500);
    link_send(&l, 10, 2500); /* more than the window */
    assert_received(&l, 10 + room);
    rig_wait(&l.h, &l.now_us, 25);
    struct peer_segment s = {.seq = ISN + 11 + room, .ack = l.ack, .flags = TCP_ACK, .wnd = 100,
                             .options = {1, 1, 8, 10, 0, 0, 3, 0xea}, .options_bytes = 12};
    peer_send(&l.h, &s, l.now_us);
    net_send(l.h.net, l.app->conn, stream, 1000);
    rig_turn(&l.h, NULL, l.now_us);
    assert_int_equal(l.h.out_count, 0); /* nor is the peer's window ever exceeded */
    rig_close(&l.h);
}

static void
a_paused_application_closes_the_window_and_resume_opens_it(void **state)
{
    struct link l;
    struct net_limits limits = {.conns_max = 4, .rx_window_bytes = 20000};
    (void)state;
    link_open(&l, &limits, NULL, 0);
    l.h.consume_max = 1000;
    uint32_t edge = 0;
    for (unsigned at = 0; at < 20000; at += 1000) {
        link_send(&l, at, 1000);
        rig_wait(&l.h, &l.now_us, 25);
        struct peer_segment r = last(&l);
        assert_true(edge == 0 || (int32_t)(r.ack + r.wnd - edge) >= 0); /* N2 */
        edge = r.ack + r.wnd;
    }
    assert_received(&l, 1000);
    struct peer_segment r = last(&l);
    assert_int_equal(r.ack, ISN + 20001);
    assert_true(r.wnd <= 1000);
    link_send(&l, 20000 + r.wnd, 100); /* beyond */
    l.h.consume_max = UINT32_MAX;
    rig_discard(&l.h);
    net_resume(l.h.net, l.app->conn);
    rig_turn(&l.h, NULL, l.now_us);
    assert_received(&l, 20000);
    assert_int_equal(l.h.out_count, 1); /* the window update */
    assert_int_equal(last(&l).wnd, 20000);
    link_send(&l, 20000, 500);
    assert_received(&l, 20500);
    rig_close(&l.h);
}

static void
eof_is_told_only_after_all_was_read(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, NULL, NULL, 0);
    l.h.consume_max = 10;
    link_send(&l, 0, 100);
    peer_send(&l.h,
              &(struct peer_segment){
                  .seq = ISN + 101, .ack = l.ack, .flags = TCP_ACK | TCP_FIN, .wnd = 6000},
              l.now_us);
    assert_int_equal(last(&l).ack, ISN + 102);
    assert_false(l.app->eof);
    l.h.consume_max = 40;
    net_resume(l.h.net, l.app->conn);
    rig_turn(&l.h, NULL, l.now_us);
    assert_false(l.app->eof);
    l.h.consume_max = UINT32_MAX;
    net_resume(l.h.net, l.app->conn);
    rig_turn(&l.h, NULL, l.now_us);
    assert_true(l.app->eof);
    assert_received(&l, 100);
    rig_close(&l.h);
}

/*
 * RFC 7323 5: an old duplicate from before the sequence numbers wrapped is known by its timestamp.
 */
static void
old_timestamps_are_refused(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, NULL, NULL, 0x10000);
    l.tsval = 0x10010;
    link_send(&l, 0, 10);
    l.tsval = 0x1000f;
    link_send(&l, 10, 10);
    assert_int_equal(l.app->in_bytes, 10);
    assert_int_equal(last(&l).ack, ISN + 11);
    assert_int_equal(net_counters(l.h.net)->drop_paws, 1);
    l.tsval = 0x10010; /* the same is fine */
    link_send(&l, 10, 10);
    rig_wait(&l.h, &l.now_us, 25);
    l.tsval += 0x7fffffff; /* almost half way round is newer, */
    link_send(&l, 20, 10);
    assert_int_equal(l.app->in_bytes, 30);
    rig_wait(&l.h, &l.now_us, 25);
    l.tsval += 0x80000001; /* more is older */
    link_send(&l, 30, 10);
    assert_int_equal(l.app->in_bytes, 30);
    l.now_us += 25ull * 24 * 3600 * 1000000; /* after 24 days' silence it says nothing (5.5) */
    link_send(&l, 30, 10);
    assert_int_equal(l.app->in_bytes, 40);
    rig_close(&l.h);
}

static void
a_reset_is_not_stopped_by_its_timestamp(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, NULL, NULL, 0x10000);
    struct peer_segment s = {.seq = ISN + 1, .flags = TCP_RST,
                             .options = {1, 1, 8, 10, 0, 0, 0, 1}, .options_bytes = 12};
    peer_send(&l.h, &s, l.now_us);
    assert_true(l.app->gone);
    rig_close(&l.h);
}

static void
the_echoed_timestamp_is_of_the_segment_that_moved_the_ack(void **state)
{
    struct link l;
    unsigned n;
    (void)state;
    link_open(&l, NULL, NULL, 100);
    l.tsval = 200;
    link_send(&l, 1000, 100); /* out of order: must not be echoed (RFC 7323 4.3 (b)) */
    struct peer_segment r = last(&l);
    assert_int_equal(load32(peer_option(&r, 8, &n) + 4), 100);
    l.tsval = 300;
    link_send(&l, 0, 1000);
    r = last(&l);
    assert_int_equal(load32(peer_option(&r, 8, &n) + 4), 300);
    rig_close(&l.h);
}

static void
sequence_numbers_may_wrap_in_mid_stream(void **state)
{
    struct rig_host h = {0};
    (void)state;
    struct net_config c = rig_config(&h, 1);
    rig_open(&h, &c);
    uint32_t isn = 0xfffffff0u;
    peer_send(&h, &(struct peer_segment){.seq = isn, .flags = TCP_SYN, .wnd = 60000}, 5000000);
    uint32_t ack = peer_read(&h.out[0]).seq + 1;
    for (unsigned i = 0; i < 10; i++)
        peer_send(&h,
                  &(struct peer_segment){.seq = isn + 1 + i * 5,
                                         .ack = ack,
                                         .flags = TCP_ACK,
                                         .wnd = 60000,
                                         .payload = (const uint8_t *)"12345",
                                         .bytes = 5},
                  5000000);
    assert_int_equal(h.apps->in_bytes, 50);
    rig_close(&h);
}

/*
 * Goal: reassembly memory has a bound per connection and in all, and in-order data still gets
 * through.
 */
static void
reassembly_bombs_hit_their_limits(void **state)
{
    struct link l;
    struct net_usage u;
    struct net_limits limits = {.conns_max = 64, .reassembly_bytes_max = 65536,
                                .buffers_bytes_max = 2 << 20, .reassembly_bytes_total = 512 << 10};
    (void)state;
    link_open(&l, &limits, NULL, 0);
    for (unsigned i = 0; i < 60000; i += 3)
        link_send(&l, 10 + i, 1); /* one byte every three */
    net_usage(l.h.net, &u);
    assert_true(u.buffers_bytes <= 65536 + 1024);
    assert_true(net_counters(l.h.net)->drop_reassembly > 15000);
    for (unsigned c = 1; c < 30; c++) {
        link_handshake(&l, (uint16_t)(PEER_PORT + c));
        for (unsigned i = 0; i < 60000; i += 1000)
            link_send(&l, 10 + i, 500);
        net_usage(l.h.net, &u);
        assert_true(u.buffers_bytes <= (512 << 10) + 30 * 256);
    }
    link_send(&l, 0, 10);
    link_send(&l, 10, 100);
    assert_true(l.app->in_bytes >= 110);
    rig_close(&l.h);
}

/* An overlapping segment with other bytes must not change what was received first. */
static void
the_first_copy_of_a_byte_wins(void **state)
{
    struct link l;
    uint8_t other[100];
    (void)state;
    link_open(&l, NULL, NULL, 0);
    memset(other, 0xee, sizeof other);
    link_send(&l, 50, 50);
    peer_send(&l.h,
              &(struct peer_segment){.seq = ISN + 1 + 50,
                                     .ack = l.ack,
                                     .flags = TCP_ACK,
                                     .wnd = 60000,
                                     .payload = other,
                                     .bytes = 50},
              l.now_us);
    link_send(&l, 0, 50);
    assert_received(&l, 100);
    rig_close(&l.h);
}

/* ---- slow readers ---- */

static void
a_reader_that_never_acknowledges_holds_no_more_than_its_cap(void **state)
{
    struct link l;
    struct net_usage u;
    struct net_limits limits = {.conns_max = 4, .tx_bytes_max = 65536};
    (void)state;
    link_open(&l, &limits, NULL, 0);
    assert_int_equal(net_send(l.h.net, l.app->conn, stream, sizeof stream), 65536);
    assert_int_equal(net_send(l.h.net, l.app->conn, stream, 1), 0);
    rig_turn(&l.h, NULL, l.now_us);
    net_usage(l.h.net, &u);
    assert_true(u.buffers_bytes <= 65536 + 65536 / 50 + 2048);
    rig_wait(&l.h, &l.now_us, 65000);
    assert_true(l.app->gone);
    net_usage(l.h.net, &u);
    assert_int_equal(u.buffers_bytes, 0);
    rig_close(&l.h);
}

static void
a_closed_window_is_probed_and_not_for_ever(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, NULL, NULL, 0);
    net_send(l.h.net, l.app->conn, stream, 1000);
    rig_turn(&l.h, NULL, l.now_us);
    l.now_us += 1000;
    struct peer_segment closed = {.seq = ISN + 1, .ack = l.ack + 1000, .flags = TCP_ACK, .wnd = 0};
    peer_send(&l.h, &closed, l.now_us);
    l.app->out = stream;
    l.app->out_bytes = 5000;
    rig_push(l.app);
    unsigned probes = 0;
    for (unsigned ms = 0; ms < 20000; ms++) {
        rig_wait(&l.h, &l.now_us, 1);
        if (l.h.out_count) {
            struct peer_segment r = last(&l);
            assert_int_equal(r.bytes, 0);
            assert_int_equal(r.seq, l.ack + 999);
            probes++;
            peer_send(&l.h, &closed, l.now_us); /* answered: still closed */
        }
        rig_discard(&l.h);
    }
    assert_in_range(probes, 6, 12);
    /* Opening lets everything out. */
    closed.wnd = 60000;
    peer_send(&l.h, &closed, l.now_us);
    assert_int_equal(l.h.out_count, 4);
    assert_int_equal(peer_read(&l.h.out[0]).bytes, 1460);
    closed.ack += 5000;
    closed.wnd = 0;
    peer_send(&l.h, &closed, l.now_us);
    l.app->out_sent = 0;
    rig_push(l.app);
    for (unsigned ms = 0; ms < 70000 && !l.app->gone; ms++) {
        rig_wait(&l.h, &l.now_us, 1);
        if (l.h.out_count)
            peer_send(&l.h, &closed, l.now_us);
        rig_discard(&l.h);
    }
    assert_true(l.app->gone);
    assert_int_equal(l.app->reason, NET_CLOSED_TIMEOUT);
    rig_close(&l.h);
}

static void
silly_windows_are_not_filled(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, NULL, NULL, 0);
    net_send(l.h.net, l.app->conn, stream, 1460);
    rig_turn(&l.h, NULL, l.now_us);
    l.now_us += 1000;
    struct peer_segment s = {.seq = ISN + 1, .ack = l.ack + 1460, .flags = TCP_ACK, .wnd = 100};
    peer_send(&l.h, &s, l.now_us);
    net_send(l.h.net, l.app->conn, stream, 10000);
    rig_turn(&l.h, NULL, l.now_us);
    assert_int_equal(l.h.out_count, 0); /* 100 bytes of room are not worth a segment */
    rig_wait(&l.h, &l.now_us, 200);     /* the persist timer takes them after all */
    assert_true(l.h.out_count >= 1);
    assert_int_equal(peer_read(&l.h.out[0]).bytes, 100);
    rig_close(&l.h);
}

static void
writable_comes_when_half_the_queue_is_free(void **state)
{
    struct link l;
    struct net_limits limits = {.conns_max = 4, .tx_bytes_max = 8192};
    (void)state;
    link_open(&l, &limits, NULL, 0);
    l.app->out = stream;
    l.app->out_bytes = 100000;
    rig_discard(&l.h);
    rig_push(l.app);
    uint32_t acked = 0;
    for (unsigned i = 0; i < 1000 && acked < 100000; i++) {
        rig_turn(&l.h, NULL, l.now_us += 1000);
        for (unsigned j = 0; j < l.h.out_count; j++) {
            struct peer_segment r = peer_read(&l.h.out[j]);
            if (r.seq == l.ack + acked) {
                assert_memory_equal(r.payload, stream + acked, r.bytes);
                acked += r.bytes;
            }
        }
        rig_discard(&l.h);
        struct peer_segment s = {
            .seq = ISN + 1, .ack = l.ack + acked, .flags = TCP_ACK, .wnd = 60000};
        struct rig_frame f = peer_write(&s);
        rig_turn(&l.h, &f, l.now_us);
    }
    assert_int_equal(acked, 100000);
    rig_close(&l.h);
}

static void
an_empty_buffer_pool_delays_and_loses_nothing(void **state)
{
    struct link l;
    struct net_limits limits = {.conns_max = 4, .buffers_bytes_max = 65536};
    (void)state;
    link_open(&l, &limits, NULL, 0);
    struct rig_app *first = l.app;
    uint32_t first_ack = l.ack;
    assert_in_range(net_send(l.h.net, first->conn, stream, 200000), 54000, 65536 * 7 / 8);
    link_handshake(&l, PEER_PORT + 1);
    l.app->out = stream;
    l.app->out_bytes = 1000;
    rig_push(l.app);
    assert_int_equal(l.app->out_sent, 0);
    assert_true(net_counters(l.h.net)->buffer_refused > 0);
    net_abort(l.h.net, first->conn);
    first->conn = NULL;
    (void)first_ack;
    rig_wait(&l.h, &l.now_us, 30);
    assert_int_equal(l.app->out_sent, 1000);
    rig_close(&l.h);
}

static uint64_t
buffers_bytes(const struct link *l)
{
    struct net_usage usage;
    net_usage(l->h.net, &usage);
    return usage.buffers_bytes;
}

/* Goal: a reply that waits for its ACK costs a small chunk; when there are no more of them it costs
 * a large one and is sent all the same. 64 KiB make 32 small ones. */
static void
a_small_reply_takes_a_small_chunk_while_there_are_any(void **state)
{
    struct link l;
    struct net_limits limits = {.conns_max = 64, .buffers_bytes_max = 65536};
    (void)state;
    link_open(&l, &limits, NULL, 0);
    for (unsigned i = 0; i < 40; i++) {
        if (i)
            link_handshake(&l, (uint16_t)(PEER_PORT + i));
        uint64_t before = buffers_bytes(&l);
        assert_int_equal(net_send(l.h.net, l.app->conn, stream, 240), 240);
        assert_int_equal(buffers_bytes(&l) - before, i < 32 ? 256 : 2048);
        net_check(l.h.net);
    }
    assert_int_equal(net_send(l.h.net, l.app->conn, stream + 240, 1000), 1000);
    assert_int_equal(net_counters(l.h.net)->buffer_refused, 0);
    rig_close(&l.h);
}

static void
refused_frames_are_tried_again_at_the_next_flush(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, NULL, NULL, 0);
    l.h.alloc_budget = 2;
    net_send(l.h.net, l.app->conn, stream, 5 * 1460);
    net_timers(l.h.net, l.now_us);
    assert_int_equal(net_flush(l.h.net), 1);
    assert_int_equal(l.h.out_count, 2);
    l.h.alloc_budget = UINT32_MAX;
    assert_int_equal(net_flush(l.h.net), 0);
    assert_int_equal(l.h.out_count, 5);
    assert_int_equal(net_counters(l.h.net)->retransmits, 0);
    rig_close(&l.h);
}

/*
 * A connection that dies while it waits for a frame must not give its place away before its turn.
 */
static void
a_dead_connection_in_the_ring_keeps_its_slot(void **state)
{
    struct link l;
    struct net_limits limits = {.conns_max = 2};
    struct net_addr to = net_addr_v4(0x0a000002);
    (void)state;
    link_open(&l, &limits, NULL, 0);
    struct rig_app *b = l.app;
    link_handshake(&l, PEER_PORT + 1);
    net_send(l.h.net, b->conn, stream, 10);
    net_send(l.h.net, l.app->conn, stream, 10);
    l.h.alloc_budget = 0;
    net_abort(l.h.net, l.app->conn);
    l.app->conn = NULL;
    assert_int_equal(net_flush(l.h.net), 2);
    struct rig_app *c = rig_app_new(&l.h);
    assert_null(net_connect(l.h.net, &to, 80, -1, c));
    net_check(l.h.net);
    l.h.alloc_budget = UINT32_MAX;
    assert_int_equal(net_flush(l.h.net), 0);
    c->conn = net_connect(l.h.net, &to, 80, -1, c);
    assert_non_null(c->conn);
    rig_close(&l.h);
}

static const uint8_t *seen_at[8];
static uint32_t seen_bytes[8];
static unsigned seen_count;

static uint32_t
remember_data(void *user, struct net_conn *conn, const uint8_t *bytes, uint32_t n)
{
    (void)user, (void)conn;
    seen_at[seen_count] = bytes;
    seen_bytes[seen_count++] = n;
    return n;
}

/*
 * What on_data was shown stays readable until net_flush() returns, also what came from reassembly.
 */
static void
bytes_stay_until_the_flush(void **state)
{
    struct link l = {.now_us = 5000000};
    static const struct {
        unsigned at, bytes;
    } order[] = {{100, 100}, {0, 100}, {300, 100}, {200, 100}, {500, 100}, {400, 100}};
    struct rig_frame f[6];
    struct net_frame nf[6];
    (void)state;
    struct net_config c = rig_config(&l.h, 1);
    c.callbacks.on_data = remember_data;
    rig_open(&l.h, &c);
    for (unsigned i = 0; i < sizeof stream; i++)
        stream[i] = (uint8_t)(i * 2654435761u >> 23);
    link_handshake(&l, PEER_PORT);
    seen_count = 0;
    for (unsigned i = 0; i < 6; i++) {
        f[i] = peer_write(&(struct peer_segment){.seq = ISN + 1 + order[i].at, .ack = l.ack,
                                                 .flags = TCP_ACK, .wnd = 60000,
                                                 .payload = stream + order[i].at,
                                                 .bytes = order[i].bytes});
        nf[i] = (struct net_frame){f[i].data, f[i].len, 0};
    }
    net_burst(l.h.net, nf, 6, l.now_us);
    uint32_t at = 0;
    for (unsigned i = 0; i < seen_count; at += seen_bytes[i++])
        assert_memory_equal(seen_at[i], stream + at, seen_bytes[i]);
    assert_int_equal(at, 600);
    net_flush(l.h.net);
    for (unsigned i = 0; i < 6; i++)
        free(f[i].data);
    rig_close(&l.h);
}

/* RFC 9293 3.8.6.2.2: the window opens in steps worth a segment. */
static void
a_window_that_opens_by_crumbs_is_not_advertised(void **state)
{
    struct link l;
    struct net_limits limits = {.conns_max = 4, .rx_window_bytes = 20000};
    (void)state;
    link_open(&l, &limits, NULL, 0);
    l.h.consume_max = 0;
    for (unsigned at = 0; at < 20000; at += 1000)
        link_send(&l, at, 1000);
    rig_wait(&l.h, &l.now_us, 25);
    assert_int_equal(last(&l).wnd, 0);
    for (unsigned eaten = 100; eaten <= 1400; eaten += 100) {
        l.h.consume_max = 100;
        rig_discard(&l.h);
        net_resume(l.h.net, l.app->conn);
        rig_turn(&l.h, NULL, l.now_us);
        assert_int_equal(l.h.out_count, 0);
        link_send(&l, 20000, 1); /* a window probe */
        assert_int_equal(last(&l).wnd, 0);
    }
    l.h.consume_max = 3000;
    net_resume(l.h.net, l.app->conn);
    rig_discard(&l.h);
    rig_turn(&l.h, NULL, l.now_us);
    assert_int_equal(last(&l).wnd, 4400);
    rig_close(&l.h);
}

static void
keepalive_finds_a_dead_peer_and_leaves_a_live_one(void **state)
{
    struct link l;
    struct net_times times = {.keepalive_ms = 10000};
    (void)state;
    link_open(&l, NULL, &times, 0);
    unsigned probes = 0;
    for (unsigned ms = 0; ms < 60000; ms++) {
        rig_wait(&l.h, &l.now_us, 1);
        if (l.h.out_count) {
            assert_int_equal(last(&l).seq, l.ack - 1);
            probes++;
            link_send(&l, 0, 0);
        }
        rig_discard(&l.h);
    }
    assert_int_equal(probes, 6);
    assert_false(l.app->gone);
    rig_wait(&l.h, &l.now_us, 30000);
    assert_true(l.app->gone);
    assert_int_equal(l.app->reason, NET_CLOSED_KEEPALIVE);
    rig_close(&l.h);
}

/*
 * Goal: N3 and the 512-byte bound. Method: 20000 idle connections after one request each, memory
 * read off.
 */
static void
an_idle_connection_costs_under_512_bytes_and_no_timer(void **state)
{
    struct link l;
    struct net_usage u;
    struct net_limits limits = {.conns_max = 20000, .time_wait_max = 1};
    (void)state;
    memset(&l, 0, sizeof l);
    l.now_us = 5000000;
    struct net_config c = rig_config(&l.h, 1);
    c.limits = limits;
    rig_open(&l.h, &c);
    for (unsigned i = 0; i < 20000; i++) {
        struct peer_segment s = {.seq = ISN, .flags = TCP_SYN, .wnd = 60000,
                                 .source_port = (uint16_t)(20000 + i)};
        struct rig_frame f = peer_write(&s);
        struct net_frame nf = {f.data, f.len, 0};
        net_burst(l.h.net, &nf, 1, l.now_us);
        free(f.data);
        s.ack = peer_read(&l.h.out[0]).seq + 1;
        rig_discard(&l.h);
        s.seq = ISN + 1;
        s.flags = TCP_ACK;
        s.payload = (const uint8_t *)"ping";
        s.bytes = 4;
        f = peer_write(&s);
        nf = (struct net_frame){f.data, f.len, 0};
        net_burst(l.h.net, &nf, 1, l.now_us);
        free(f.data);
        net_send(l.h.net, l.h.apps->conn, stream, 100);
        net_flush(l.h.net);
        rig_discard(&l.h);
        s.seq += 4;
        s.ack += 100;
        s.bytes = 0;
        f = peer_write(&s);
        nf = (struct net_frame){f.data, f.len, 0};
        net_burst(l.h.net, &nf, 1, l.now_us);
        net_flush(l.h.net);
        free(f.data);
    }
    net_timers(l.h.net, l.now_us + 100000);
    net_usage(l.h.net, &u);
    assert_int_equal(u.conns, 20000);
    assert_int_equal(u.timers, 0);
    assert_int_equal(net_next_us(l.h.net), UINT64_MAX);
    assert_int_equal(u.buffers_bytes, 0);
    assert_true((u.tables_bytes + u.buffers_allocated_bytes) / 20000 < 512);
    rig_close(&l.h);
}

static void
a_peer_that_moves_to_another_mac_is_followed(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, NULL, NULL, 0);
    struct peer_segment s = {.seq = ISN + 1, .ack = l.ack, .flags = TCP_ACK, .wnd = 60000,
                             .payload = stream, .bytes = 1};
    struct rig_frame f = peer_write(&s);
    f.data[11] = 77;
    rig_discard(&l.h);
    rig_turn(&l.h, &f, l.now_us);
    net_send(l.h.net, l.app->conn, stream, 1);
    rig_turn(&l.h, NULL, l.now_us);
    assert_int_equal(l.h.out[0].data[5], 77);
    /* but not by a segment that is not acceptable */
    s.seq += 5000000;
    f = peer_write(&s);
    f.data[11] = 66;
    rig_turn(&l.h, &f, l.now_us);
    net_send(l.h.net, l.app->conn, stream, 1);
    rig_discard(&l.h);
    rig_turn(&l.h, NULL, l.now_us);
    assert_int_equal(l.h.out[0].data[5], 77);
    rig_close(&l.h);
}

/* An application may close or abort from inside any callback, in the middle of a drain. */
static void
closing_inside_a_callback_is_safe(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, NULL, NULL, 0);
    link_send(&l, 100, 100);
    link_send(&l, 300, 100);
    l.h.close_on_data = true;
    link_send(&l, 0, 100);
    assert_int_equal(l.app->in_bytes, 100);
    assert_int_equal(l.h.callbacks_after_end, 0);
    assert_true(last(&l).flags & (TCP_FIN | TCP_RST));
    rig_close(&l.h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_in_order_waits_for_an_answer_to_ride_on),
        cmocka_unit_test(every_second_full_segment_is_acknowledged_at_once),
        cmocka_unit_test(segments_in_any_order_are_put_together),
        cmocka_unit_test(sack_blocks_name_the_newest_range_first),
        cmocka_unit_test(a_duplicate_is_reported_by_dsack),
        cmocka_unit_test(a_fin_that_overtakes_data_waits_for_it),
        cmocka_unit_test(data_beyond_the_window_is_cut_off),
        cmocka_unit_test(a_fin_beyond_the_window_is_cut_off_too),
        cmocka_unit_test(the_short_way_checks_as_strictly_as_the_long_one),
        cmocka_unit_test(a_paused_application_closes_the_window_and_resume_opens_it),
        cmocka_unit_test(eof_is_told_only_after_all_was_read),
        cmocka_unit_test(old_timestamps_are_refused),
        cmocka_unit_test(a_reset_is_not_stopped_by_its_timestamp),
        cmocka_unit_test(the_echoed_timestamp_is_of_the_segment_that_moved_the_ack),
        cmocka_unit_test(sequence_numbers_may_wrap_in_mid_stream),
        cmocka_unit_test(reassembly_bombs_hit_their_limits),
        cmocka_unit_test(the_first_copy_of_a_byte_wins),
        cmocka_unit_test(a_reader_that_never_acknowledges_holds_no_more_than_its_cap),
        cmocka_unit_test(a_closed_window_is_probed_and_not_for_ever),
        cmocka_unit_test(silly_windows_are_not_filled),
        cmocka_unit_test(writable_comes_when_half_the_queue_is_free),
        cmocka_unit_test(an_empty_buffer_pool_delays_and_loses_nothing),
        cmocka_unit_test(a_small_reply_takes_a_small_chunk_while_there_are_any),
        cmocka_unit_test(refused_frames_are_tried_again_at_the_next_flush),
        cmocka_unit_test(a_dead_connection_in_the_ring_keeps_its_slot),
        cmocka_unit_test(bytes_stay_until_the_flush),
        cmocka_unit_test(a_window_that_opens_by_crumbs_is_not_advertised),
        cmocka_unit_test(keepalive_finds_a_dead_peer_and_leaves_a_live_one),
        cmocka_unit_test(an_idle_connection_costs_under_512_bytes_and_no_timer),
        cmocka_unit_test(a_peer_that_moves_to_another_mac_is_followed),
        cmocka_unit_test(closing_inside_a_callback_is_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
