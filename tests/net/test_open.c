/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Hand-shakes: options, ISNs, retransmission, SYN floods and cookies, refusals, active open.
 */
#include "dataplane/net/instance.h"
#include "tests/net/rig.h"

static const uint8_t full_options[] = {2,    4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0,
                                       0x10, 0, 0,    0,    0, 0, 1, 3,  3, 7};

static struct peer_segment
syn(uint32_t seq)
{
    struct peer_segment s = {.seq = seq, .flags = TCP_SYN, .wnd = 64000};
    memcpy(s.options, full_options, sizeof full_options);
    s.options_bytes = sizeof full_options;
    return s;
}

static struct peer_segment
ack_of(const struct peer_segment *synack, uint32_t seq)
{
    struct peer_segment s = {.seq = seq, .ack = synack->seq + 1, .flags = TCP_ACK, .wnd = 500};
    const uint8_t *ts = peer_option(synack, 8, NULL);
    if (ts) {
        memcpy(s.options, (uint8_t[]){1, 1, 8, 10, 0, 0, 0x10, 5}, 8);
        memcpy(s.options + 8, ts, 4);
        s.options_bytes = 12;
    }
    s.source_port = synack->destination_port;
    s.source_host = 0;
    return s;
}

static struct peer_segment
only(struct rig_host *h)
{
    assert_int_equal(h->out_count, 1);
    return peer_read(&h->out[0]);
}

static void
open_default(struct rig_host *h)
{
    struct net_config c = rig_config(h, 1);
    rig_open(h, &c);
}

static void
a_syn_is_answered_with_the_options_it_offered(void **state)
{
    struct rig_host h = {0};
    unsigned n;
    (void)state;
    open_default(&h);
    struct peer_segment s = syn(1000);
    peer_send(&h, &s, 5000000);
    struct peer_segment r = only(&h);
    assert_int_equal(r.flags, TCP_SYN | TCP_ACK);
    assert_int_equal(r.ack, 1001);
    assert_int_equal(load16(peer_option(&r, 2, &n)), 1460);
    assert_int_equal(*peer_option(&r, 3, &n), 3); /* 256 KiB need a shift of 3 */
    assert_non_null(peer_option(&r, 4, &n));
    assert_int_equal(load32(peer_option(&r, 8, &n) + 4), 0x1000);
    assert_int_equal(r.wnd, 65535);
    struct peer_segment a = ack_of(&r, 1001);
    peer_send(&h, &a, 5001000);
    assert_int_equal(h.out_count, 0);
    assert_int_equal(h.accepted, 1);
    rig_close(&h);
}

static void
a_syn_without_options_gets_none_but_the_mss(void **state)
{
    struct rig_host h = {0};
    (void)state;
    open_default(&h);
    struct peer_segment s = {.seq = 7, .flags = TCP_SYN, .wnd = 1000};
    peer_send(&h, &s, 5000000);
    struct peer_segment r = only(&h);
    assert_int_equal(r.options_bytes, 4);
    struct peer_segment a = ack_of(&r, 8);
    peer_send(&h, &a, 5001000);
    /* RFC 9293 3.7.1: without the option, segments of 536 bytes. */
    uint8_t block[3000] = {0};
    net_send(h.net, h.apps->conn, block, sizeof block);
    rig_turn(&h, NULL, 5002000);
    assert_int_equal(peer_read(&h.out[0]).bytes, 500); /* half of the small window, then wait */
    rig_close(&h);
}

static void
a_tiny_mss_is_raised_to_the_floor(void **state)
{
    struct rig_host h = {0};
    uint8_t block[600] = {0};
    (void)state;
    open_default(&h);
    struct peer_segment s = {
        .seq = 7, .flags = TCP_SYN, .wnd = 60000, .options = {2, 4, 0, 1}, .options_bytes = 4};
    peer_send(&h, &s, 5000000);
    struct peer_segment r = only(&h);
    struct peer_segment a = ack_of(&r, 8);
    a.wnd = 60000;
    peer_send(&h, &a, 5001000);
    net_send(h.net, h.apps->conn, block, sizeof block);
    rig_turn(&h, NULL, 5002000);
    assert_int_equal(h.out_count, 3);
    assert_int_equal(peer_read(&h.out[0]).bytes, TCP_MSS_MIN);
    rig_close(&h);
}

static void
a_lost_syn_ack_is_sent_again_and_given_up_in_the_end(void **state)
{
    struct rig_host h = {0};
    struct net_usage u;
    (void)state;
    open_default(&h);
    struct peer_segment s = syn(1000);
    uint64_t now = 5000000;
    peer_send(&h, &s, now);
    struct peer_segment first = only(&h);
    peer_send(&h, &s, now); /* the client asks again */
    struct peer_segment again = only(&h);
    assert_int_equal(again.seq, first.seq);
    rig_discard(&h);
    for (unsigned ms = 1000; ms <= 16000; ms *= 2) { /* RFC 6298 5.5 */
        rig_wait(&h, &now, ms - 1);
        assert_int_equal(h.out_count, 0);
        rig_wait(&h, &now, 1);
        assert_int_equal(only(&h).seq, first.seq);
        rig_discard(&h);
    }
    rig_wait(&h, &now, 40000);
    assert_int_equal(h.out_count, 0);
    net_usage(h.net, &u);
    assert_int_equal(u.conns, 0);
    assert_int_equal(u.half_open, 0);
    assert_int_equal(h.accepted + h.closed, 0);
    rig_close(&h);
}

static void
isns_differ_by_connection_and_grow_with_time(void **state)
{
    struct rig_host h = {0};
    uint32_t isn[200];
    (void)state;
    open_default(&h);
    for (unsigned i = 0; i < 200; i++) {
        struct peer_segment s = syn(1000);
        s.source_port = (uint16_t)(20000 + i);
        peer_send(&h, &s, 5000000);
        isn[i] = only(&h).seq;
    }
    /* Neighbouring ports: no two differences alike, bits about half set. */
    unsigned bits = 0;
    for (unsigned i = 1; i < 200; i++) {
        bits += (unsigned)__builtin_popcount(isn[i] - isn[i - 1]);
        for (unsigned j = 1; j < i; j++)
            assert_int_not_equal(isn[i] - isn[i - 1], isn[j] - isn[j - 1]);
    }
    assert_in_range(bits, 199 * 15, 199 * 17);
    /* RFC 6528: the same connection a second later is 250000 further. */
    struct rig_host later = {0};
    open_default(&later);
    struct peer_segment s = syn(1000);
    s.source_port = 20000;
    peer_send(&later, &s, 6000000);
    assert_int_equal(only(&later).seq - isn[0], 250000);
    rig_close(&later);
    rig_close(&h);
}

static void
the_secret_changes_every_isn(void **state)
{
    struct rig_host a = {0}, b = {0};
    (void)state;
    struct net_config c = rig_config(&a, 1);
    rig_open(&a, &c);
    c = rig_config(&b, 1);
    c.secret[31] ^= 1;
    rig_open(&b, &c);
    struct peer_segment s = syn(1000);
    peer_send(&a, &s, 5000000);
    peer_send(&b, &s, 5000000);
    assert_int_not_equal(only(&a).seq, only(&b).seq);
    rig_close(&a);
    rig_close(&b);
}

static void
segments_to_nobody_are_reset(void **state)
{
    struct rig_host h = {0};
    (void)state;
    open_default(&h);
    struct peer_segment s = {
        .seq = 50, .ack = 77, .flags = TCP_ACK, .bytes = 3, .payload = (uint8_t *)"abc"};
    peer_send(&h, &s, 5000000); /* to the listener */
    struct peer_segment r = only(&h);
    assert_int_equal(r.flags, TCP_RST);
    assert_int_equal(r.seq, 77);
    s = (struct peer_segment){.seq = 50, .flags = TCP_SYN, .destination_port = 99};
    peer_send(&h, &s, 5000000); /* to a closed port */
    r = only(&h);
    assert_int_equal(r.flags, TCP_RST | TCP_ACK);
    assert_int_equal(r.ack, 51);
    s = (struct peer_segment){.seq = 50, .flags = TCP_RST, .destination_port = 99};
    peer_send(&h, &s, 5000000);
    assert_int_equal(h.out_count, 0);
    s = (struct peer_segment){.seq = 50, .flags = TCP_SYN | TCP_FIN};
    peer_send(&h, &s, 5000000);
    assert_int_equal(h.out_count, 0);
    s = (struct peer_segment){.seq = 50, .flags = 0};
    peer_send(&h, &s, 5000000);
    assert_int_equal(h.out_count, 0);
    rig_close(&h);
}

static void
a_connection_that_the_application_refuses_is_reset(void **state)
{
    struct rig_host h = {0};
    (void)state;
    open_default(&h);
    h.refuse = true;
    struct peer_segment s = syn(1000);
    peer_send(&h, &s, 5000000);
    struct peer_segment r = only(&h), a = ack_of(&r, 1001);
    peer_send(&h, &a, 5000100);
    r = only(&h);
    assert_true(r.flags & TCP_RST);
    assert_int_equal(r.seq, a.ack);
    rig_close(&h);
}

/*
 * RFC 9293 3.10.7.4: an ACK outside what was sent resets in SYN-RECEIVED, and does not establish.
 */
static void
a_wrong_ack_does_not_finish_a_hand_shake(void **state)
{
    struct rig_host h = {0};
    (void)state;
    open_default(&h);
    struct peer_segment s = syn(1000);
    peer_send(&h, &s, 5000000);
    struct peer_segment r = only(&h), a = ack_of(&r, 1001);
    for (int off = -1; off <= 1; off += 2) {
        struct peer_segment wrong = a;
        wrong.ack += (uint32_t)off;
        peer_send(&h, &wrong, 5000100);
        struct peer_segment answer = only(&h);
        assert_int_equal(answer.flags, TCP_RST);
        assert_int_equal(answer.seq, wrong.ack);
    }
    assert_int_equal(h.accepted, 0);
    peer_send(&h, &a, 5000200);
    assert_int_equal(h.accepted, 1);
    rig_close(&h);
}

static void
set_half_open(struct net_config *c, uint32_t n)
{
    c->limits.half_open_max = n;
    c->limits.conns_max = 2000;
}

static void
a_flood_of_100000_syns_costs_no_memory_and_no_connection(void **state)
{
    struct rig_host h = {0};
    struct net_usage before, after;
    (void)state;
    struct net_config c = rig_config(&h, 1);
    set_half_open(&c, 100);
    rig_open(&h, &c);
    struct peer_segment s = syn(1000);
    peer_send(&h, &s, 5000000);
    struct peer_segment r = only(&h), a = ack_of(&r, 1001);
    peer_send(&h, &a, 5000000);
    for (unsigned i = 0; i < 100; i++) {
        s = syn(1000);
        s.source_port = (uint16_t)(1000 + i);
        s.source_host = 99;
        struct rig_frame f = peer_write(&s);
        struct net_frame nf = {f.data, f.len, 0};
        net_burst(h.net, &nf, 1, 5000000);
        free(f.data);
    }
    rig_discard(&h);
    net_usage(h.net, &before);
    for (unsigned i = 0; i < 100000; i++) {
        s = syn(i * 77);
        s.source_port = (uint16_t)(1024 + i % 60000);
        s.source_host = (uint8_t)(10 + i / 60000);
        struct rig_frame f = peer_write(&s);
        struct net_frame nf = {f.data, f.len, 0};
        net_burst(h.net, &nf, 1, 5000001 + i);
        free(f.data);
        assert_int_equal(h.out_count, 1);
        rig_discard(&h);
    }
    net_usage(h.net, &after);
    assert_int_equal(after.conns, before.conns);
    assert_int_equal(after.half_open, 100);
    assert_int_equal(after.tables_bytes, before.tables_bytes);
    assert_int_equal(after.buffers_allocated_bytes, 0);
    assert_int_equal(net_counters(h.net)->cookies_sent, 100000);
    /* In the middle of it, a new client gets in by its cookie, with all its options. */
    s = syn(424242);
    s.source_port = 50505;
    peer_send(&h, &s, 5200000);
    r = only(&h);
    a = ack_of(&r, 424243);
    a.payload = (const uint8_t *)"ruok";
    a.bytes = 4;
    peer_send(&h, &a, 5210000);
    assert_int_equal(h.accepted, 2);
    assert_int_equal(h.apps->in_bytes, 4);
    uint8_t block[5000] = {1};
    rig_discard(&h);
    net_send(h.net, h.apps->conn, block, sizeof block);
    rig_turn(&h, NULL, 5211000);
    r = peer_read(&h.out[0]);
    assert_int_equal(r.bytes, 1448); /* MSS 1460 less timestamps; window 500 << 7 */
    assert_int_equal(h.out_count, 4);
    rig_close(&h);
}

static void
only_a_genuine_and_fresh_cookie_opens(void **state)
{
    struct rig_host h = {0};
    (void)state;
    struct net_config c = rig_config(&h, 1);
    set_half_open(&c, UINT32_MAX);
    rig_open(&h, &c);
    uint64_t now = 500000000;
    struct peer_segment s = syn(1000);
    peer_send(&h, &s, now);
    struct peer_segment r = only(&h), a = ack_of(&r, 1001);
    struct net_usage u;
    net_usage(h.net, &u);
    assert_int_equal(u.conns, 0);
    for (unsigned i = 0; i < 3; i++) { /* another ACK number, another ISN, another port */
        struct peer_segment forged = a;
        forged.ack += (i == 0) * 1000;
        forged.seq += (i == 1) * 256;
        forged.source_port = (uint16_t)(PEER_PORT + (i == 2));
        peer_send(&h, &forged, now + 1000);
        assert_true(only(&h).flags & TCP_RST);
    }
    /* More than two minutes old, while cookies are still being sent. */
    struct peer_segment other = syn(5);
    other.source_port = 999;
    peer_send(&h, &other, now + 150000000);
    peer_send(&h, &a, now + 150000000);
    assert_int_equal(h.accepted, 0);
    peer_send(&h, &s, now + 150000000);
    r = only(&h);
    a = ack_of(&r, 1001);
    peer_send(&h, &a, now + 150000000 + 60000000);
    assert_int_equal(h.accepted, 1);
    rig_close(&h);
}

static void
cookies_carry_each_mss_and_option(void **state)
{
    static const uint16_t mss[] = {100, 216, 535, 536, 1220, 1460, 9000};
    static const uint16_t sent[] = {216, 216, 216, 536, 1200, 1460, 1460};
    (void)state;
    for (unsigned i = 0; i < 7; i++)
        for (unsigned options = 0; options < 2; options++) {
            struct rig_host h = {0};
            struct net_config c = rig_config(&h, 1);
            set_half_open(&c, UINT32_MAX);
            rig_open(&h, &c);
            struct peer_segment s = syn(1000);
            store16(s.options + 2, mss[i]);
            if (!options)
                s.options_bytes = 4;
            peer_send(&h, &s, 5000000);
            struct peer_segment r = only(&h), a = ack_of(&r, 1001);
            a.wnd = options ? 500 : 60000;
            peer_send(&h, &a, 5001000);
            assert_int_equal(h.accepted, 1);
            uint8_t block[20000] = {1};
            net_send(h.net, h.apps->conn, block, sizeof block);
            rig_turn(&h, NULL, 5002000);
            assert_int_equal(peer_read(&h.out[0]).bytes, sent[i] - 12 * options);
            rig_close(&h);
        }
}

static void
a_full_table_drops_syns_and_keeps_what_it_has(void **state)
{
    struct rig_host h = {0};
    (void)state;
    struct net_config c = rig_config(&h, 1);
    c.limits.conns_max = 3;
    rig_open(&h, &c);
    for (unsigned i = 0; i < 5; i++) {
        struct peer_segment s = syn(1000);
        s.source_port = (uint16_t)(5000 + i);
        peer_send(&h, &s, 5000000);
        assert_int_equal(h.out_count, i < 3);
        if (h.out_count) {
            struct peer_segment r = only(&h), a = ack_of(&r, 1001);
            peer_send(&h, &a, 5000000);
        }
    }
    assert_int_equal(h.accepted, 3);
    assert_int_equal(net_counters(h.net)->drop_syn_full, 2);
    net_abort(h.net, h.apps->conn);
    h.apps->conn = NULL;
    rig_turn(&h, NULL, 5000000);
    struct peer_segment s = syn(1000);
    s.source_port = 6000;
    peer_send(&h, &s, 5000000);
    assert_int_equal(h.out_count, 1); /* the slot came back */
    rig_close(&h);
}

static void
connecting_to_a_closed_port_is_refused(void **state)
{
    struct wire w;
    (void)state;
    wire_open(&w, 3);
    struct net_addr to = net_addr_v4(0x0a000001);
    struct rig_app *a = rig_app_new(&w.host[1]);
    a->conn = net_connect(w.host[1].net, &to, 9, -1, a);
    wire_run(&w, 1000000);
    assert_true(a->gone);
    assert_int_equal(a->reason, NET_CLOSED_REFUSED);
    wire_close(&w);
}

static int
fate_none(struct wire *w, unsigned from, const struct rig_frame *frame)
{
    (void)w, (void)from, (void)frame;
    return 0;
}

static void
connecting_to_nobody_times_out(void **state)
{
    struct wire w;
    (void)state;
    wire_open(&w, 3);
    w.fate = fate_none;
    struct rig_app *a = wire_connect(&w, false, NULL, 0);
    wire_run(&w, 100000000);
    assert_true(a->gone);
    assert_int_equal(a->reason, NET_CLOSED_TIMEOUT);
    assert_in_range(net_counters(w.host[1].net)->neighbour_queries, 2, 10);
    wire_close(&w);
}

static int
fate_first_syn(struct wire *w, unsigned from, const struct rig_frame *frame)
{
    unsigned *seen = w->fate_ctx;
    if (from == 1 && frame->len > 54 && load16(frame->data + 12) == 0x0800 &&
        frame->data[47] == TCP_SYN)
        return (*seen)++ > 0;
    return 1;
}

static void
a_lost_syn_is_sent_again_after_a_second(void **state)
{
    struct wire w;
    unsigned seen = 0;
    (void)state;
    wire_open(&w, 3);
    w.fate = fate_first_syn;
    w.fate_ctx = &seen;
    struct rig_app *a = wire_connect(&w, false, NULL, 0);
    wire_run(&w, 900000);
    assert_false(a->connected);
    wire_run(&w, 200000);
    assert_true(a->connected);
    wire_close(&w);
}

/* RFC 9293 figure 8. Method: both sides get the other's SYN; each then answers with SYN-ACK. */
static void
simultaneous_open_connects(void **state)
{
    struct rig_host h = {0};
    (void)state;
    open_default(&h);
    struct net_addr to = net_addr_v4(0x0a000002);
    struct rig_app *app = rig_app_new(&h);
    rig_turn(&h, NULL, 5000000);
    app->conn = net_connect(h.net, &to, PEER_PORT, -1, app);
    rig_turn(&h, NULL, 5000000);
    uint8_t arp[42] = {2, 0, 0, 0, 0, 1, 2, 0,  0, 0, 0, 2, 8, 6, 0, 1, 8, 0,  6, 4, 0,
                       2, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1};
    struct rig_frame f = {malloc(42), 42};
    memcpy(f.data, arp, 42);
    rig_discard(&h);
    rig_turn(&h, &f, 5000000);
    struct peer_segment r = only(&h);
    assert_int_equal(r.flags, TCP_SYN);
    struct peer_segment s = syn(9000);
    s.destination_port = r.source_port;
    peer_send(&h, &s, 5001000);
    struct peer_segment both = only(&h);
    assert_int_equal(both.flags, TCP_SYN | TCP_ACK);
    assert_int_equal(both.seq, r.seq);
    assert_int_equal(both.ack, 9001);
    s.flags = TCP_SYN | TCP_ACK;
    s.ack = r.seq + 1;
    peer_send(&h, &s, 5002000);
    assert_true(app->connected);
    assert_int_equal(h.accepted, 0);
    rig_close(&h);
}

/* RFC 5681 3.1: two lost SYN-ACKs are congestion, one may be a slow path. */
static void
a_hand_shake_that_took_three_tries_begins_with_one_segment(void **state)
{
    (void)state;
    for (unsigned tries = 2; tries <= 3; tries++) {
        struct rig_host h = {0};
        static uint8_t block[20000];
        uint64_t now = 5000000;
        open_default(&h);
        struct peer_segment s = syn(1000);
        s.options_bytes = 4; /* the MSS alone */
        peer_send(&h, &s, now);
        struct peer_segment a = ack_of(&(struct peer_segment){.seq = only(&h).seq}, 1001);
        a.source_port = PEER_PORT;
        a.wnd = 60000;
        rig_wait(&h, &now, tries == 2 ? 1500 : 3500);
        assert_int_equal(h.out_count, tries);
        peer_send(&h, &a, now);
        net_send(h.net, h.apps->conn, block, sizeof block);
        rig_discard(&h);
        rig_turn(&h, NULL, now);
        assert_int_equal(h.out_count, tries == 2 ? 10 : 1);
        rig_close(&h);
    }
}

/* RFC 7323 2.2, 2.3: the window of a SYN is never scaled, and a shift above 14 is 14. */
static void
windows_are_scaled_but_for_the_syn_and_by_14_at_most(void **state)
{
    struct rig_host h = {0};
    static uint8_t block[20000];
    (void)state;
    open_default(&h);
    struct peer_segment s = syn(1000);
    s.options[19] = 15;
    s.wnd = 600;
    peer_send(&h, &s, 5000000);
    struct peer_segment r = only(&h);
    assert_int_equal(h.net->conns[0].snd_wnd, 600);
    struct peer_segment a = ack_of(&r, 1001);
    a.wnd = 1;
    peer_send(&h, &a, 5001000);
    assert_int_equal(h.apps->conn->snd_wnd, 1u << 14);
    net_send(h.net, h.apps->conn, block, sizeof block);
    rig_turn(&h, NULL, 5001000);
    struct peer_segment last = peer_read(&h.out[h.out_count - 1]);
    assert_in_range(last.seq + last.bytes - r.seq - 1, 10 * 1448, 1u << 14);
    /* Ours: 256 KiB by a shift of 3, of which the peer sees all. */
    assert_int_equal((uint32_t)last.wnd << 3, 256u << 10);
    rig_close(&h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_syn_is_answered_with_the_options_it_offered),
        cmocka_unit_test(a_syn_without_options_gets_none_but_the_mss),
        cmocka_unit_test(a_tiny_mss_is_raised_to_the_floor),
        cmocka_unit_test(a_lost_syn_ack_is_sent_again_and_given_up_in_the_end),
        cmocka_unit_test(isns_differ_by_connection_and_grow_with_time),
        cmocka_unit_test(the_secret_changes_every_isn),
        cmocka_unit_test(segments_to_nobody_are_reset),
        cmocka_unit_test(a_connection_that_the_application_refuses_is_reset),
        cmocka_unit_test(a_wrong_ack_does_not_finish_a_hand_shake),
        cmocka_unit_test(a_flood_of_100000_syns_costs_no_memory_and_no_connection),
        cmocka_unit_test(only_a_genuine_and_fresh_cookie_opens),
        cmocka_unit_test(cookies_carry_each_mss_and_option),
        cmocka_unit_test(a_full_table_drops_syns_and_keeps_what_it_has),
        cmocka_unit_test(connecting_to_a_closed_port_is_refused),
        cmocka_unit_test(connecting_to_nobody_times_out),
        cmocka_unit_test(a_lost_syn_is_sent_again_after_a_second),
        cmocka_unit_test(simultaneous_open_connects),
        cmocka_unit_test(a_hand_shake_that_took_three_tries_begins_with_one_segment),
        cmocka_unit_test(windows_are_scaled_but_for_the_syn_and_by_14_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
