/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Below TCP: what is accepted as a frame, ARP, neighbour discovery, ICMP, steering.
 */
#include "tests/net/rig.h"

#define NOW 5000000

static void
open_default(struct rig_host *h)
{
    struct net_config c = rig_config(h, 1);
    rig_open(h, &c);
}

static void
give(struct rig_host *h, const uint8_t *bytes, unsigned len)
{
    struct rig_frame f = {malloc(len), (uint16_t)len};
    memcpy(f.data, bytes, len);
    rig_discard(h);
    rig_turn(h, &f, NOW);
}

static uint64_t
total_drops(const struct rig_host *h)
{
    const struct net_counters *n = net_counters(h->net);
    return n->drop_short + n->drop_not_ours + n->drop_ethertype + n->drop_ip_header +
           n->drop_ip_options + n->drop_ip_fragment + n->drop_ip_source + n->drop_checksum +
           n->drop_tcp_header + n->drop_icmp + n->drop_arp + n->drop_nd;
}

static struct rig_frame
good_syn(void)
{
    return peer_write(&(struct peer_segment){.seq = 5, .flags = TCP_SYN, .wnd = 100});
}

static void
header_sum(uint8_t *frame)
{
    store16(frame + 24, 0);
    uint16_t sum = (uint16_t)~checksum_fold(checksum_add(0, frame + 14, 20));
    memcpy(frame + 24, &sum, 2);
}

/* Each way of being wrong costs one drop, under its own name, and no answer. */
static void
malformed_frames_are_dropped_and_counted_by_reason(void **state)
{
    static const struct {
        const char *what;
        unsigned at;
        uint8_t value;
        bool fix_header;
        size_t counter;
    } cases[] = {
#define C(name) offsetof(struct net_counters, name)
        {"other MAC", 5, 9, false, C(drop_not_ours)},
        {"broadcast MAC", 0, 3, false, C(drop_not_ours)},
        {"other type", 12, 0x88, false, C(drop_ethertype)},
        {"version", 14, 0x65, true, C(drop_ip_header)},
        {"header length 4", 14, 0x44, true, C(drop_ip_header)},
        {"options", 14, 0x46, true, C(drop_ip_options)},
        {"total beyond frame", 17, 200, true, C(drop_ip_header)},
        {"total below header", 17, 19, true, C(drop_ip_header)},
        {"total cuts TCP", 17, 39, true, C(drop_short)},
        {"more fragments", 20, 0x20, true, C(drop_ip_fragment)},
        {"fragment offset", 21, 1, true, C(drop_ip_fragment)},
        {"other protocol", 23, 17, true, C(drop_ethertype)},
        {"header checksum", 22, 63, false, C(drop_checksum)},
        {"source 127", 26, 127, true, C(drop_ip_source)},
        {"source multicast", 26, 224, true, C(drop_ip_source)},
        {"source 0", 26, 0, true, C(drop_ip_source)},
        {"other destination", 33, 9, true, C(drop_not_ours)},
        {"TCP checksum", 50, 1, false, C(drop_checksum)},
        {"data offset 4", 46, 0x40, false, C(drop_tcp_header)},
        {"data offset beyond", 46, 0xf0, false, C(drop_tcp_header)},
#undef C
    };
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig_host h = {0};
        open_default(&h);
        struct rig_frame f = good_syn();
        f.data[cases[i].at] = cases[i].value;
        if (cases[i].fix_header)
            header_sum(f.data);
        give(&h, f.data, f.len);
        free(f.data);
        const struct net_counters *n = net_counters(h.net);
        if (h.out_count || total_drops(&h) != 1 ||
            *(const uint64_t *)((const char *)n + cases[i].counter) != 1)
            fail_msg("%s: not dropped under its name", cases[i].what);
        rig_close(&h);
    }
}

/* A SYN from one of our addresses to fd::1, as IPv6. */
static struct rig_frame
own_syn6(void)
{
    struct rig_frame f = {calloc(1, 74), 74};
    memcpy(f.data, "\2\0\0\0\0\1\2\0\0\0\0\2\x86\xdd\x60", 15);
    store16(f.data + 18, 20);
    f.data[20] = 6;
    f.data[21] = 64;
    f.data[22] = f.data[38] = 0xfd;
    f.data[37] = f.data[53] = 1;
    store16(f.data + 54, PEER_PORT);
    store16(f.data + 56, RIG_PORT);
    store16(f.data + 66, 0x5002);
    uint64_t sum = checksum_pseudo(6, 20);
    uint16_t v = (uint16_t)~checksum_fold(checksum_add(sum, f.data + 22, 52));
    memcpy(f.data + 70, &v, 2);
    return f;
}

/* The same of IPv6, where headers of extensions take the place of options. */
static void
malformed_ipv6_is_dropped_and_counted_by_reason(void **state)
{
    static const struct {
        const char *what;
        unsigned at, bytes; /* of the frame, set to `value` */
        uint8_t value;
        size_t counter;
    } cases[] = {
#define C(name) offsetof(struct net_counters, name)
        {"version", 14, 1, 0x40, C(drop_ip_header)},
        {"payload beyond frame", 19, 1, 21, C(drop_ip_header)},
        {"payload cuts TCP", 19, 1, 19, C(drop_short)},
        {"fragment", 20, 1, 44, C(drop_ip_fragment)},
        {"hop-by-hop options", 20, 1, 0, C(drop_ip_options)},
        {"routing header", 20, 1, 43, C(drop_ip_options)},
        {"authentication header", 20, 1, 51, C(drop_ip_options)},
        {"destination options", 20, 1, 60, C(drop_ip_options)},
        {"other protocol", 20, 1, 17, C(drop_ethertype)},
        {"ICMP of IPv4", 20, 1, 1, C(drop_ethertype)},
        {"source multicast", 22, 1, 0xff, C(drop_ip_source)},
        {"source unspecified", 22, 16, 0, C(drop_ip_source)},
        {"other destination", 53, 1, 9, C(drop_not_ours)},
        {"destination all nodes", 38, 1, 0xff, C(drop_not_ours)},
        {"multicast MAC", 0, 1, 0x33, C(drop_not_ours)},
        {"TCP checksum", 70, 1, 1, C(drop_checksum)},
#undef C
    };
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig_host h = {0};
        open_default(&h);
        struct rig_frame f = own_syn6();
        f.data[37] = 2;
        store16(f.data + 70, (uint16_t)(load16(f.data + 70) - 1));
        memset(f.data + cases[i].at, cases[i].value, cases[i].bytes);
        give(&h, f.data, f.len);
        free(f.data);
        const struct net_counters *n = net_counters(h.net);
        if (h.out_count || total_drops(&h) != 1 ||
            *(const uint64_t *)((const char *)n + cases[i].counter) != 1)
            fail_msg("%s: not dropped under its name", cases[i].what);
        rig_close(&h);
    }
}

/* RFC 1122 4.2.3.10: whichever port it is for, nobody of our name is answered. */
static void
segments_from_our_own_address_are_dropped(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct rig_host h = {0};
        struct peer_segment s = {.seq = 5, .flags = TCP_SYN, .wnd = 100, .source_host = 1,
                                 .destination_port = i ? 999 : 0};
        open_default(&h);
        struct rig_frame f = i < 2 ? peer_write(&s) : own_syn6();
        give(&h, f.data, f.len);
        free(f.data);
        assert_int_equal(h.out_count, 0);
        assert_int_equal(net_counters(h.net)->drop_ip_source, 1);
        assert_int_equal(total_drops(&h), 1);
        rig_close(&h);
    }
}

/* Own addresses of the other family are kept as 0 where IPv4's are looked up. */
static void
the_null_address_is_not_ours(void **state)
{
    struct rig_host h = {0};
    struct net_config c = rig_config(&h, 1);
    (void)state;
    assert_false(net_addr_is_v4(&c.interfaces[1].addr));
    rig_open(&h, &c);
    struct rig_frame f = good_syn();
    memset(f.data + 30, 0, 4);
    header_sum(f.data);
    give(&h, f.data, f.len);
    free(f.data);
    assert_int_equal(net_counters(h.net)->drop_not_ours, 1);
    rig_close(&h);
}

static void
truncation_at_every_byte_is_survived(void **state)
{
    struct rig_host h = {0};
    (void)state;
    open_default(&h);
    struct rig_frame f = good_syn();
    for (unsigned n = 0; n < f.len; n++) {
        give(&h, f.data, n ? n : 1);
        assert_int_equal(h.out_count, 0);
    }
    give(&h, f.data, f.len);
    assert_int_equal(h.out_count, 1);
    free(f.data);
    rig_close(&h);
}

static void
every_option_length_is_survived(void **state)
{
    struct rig_host h = {0};
    (void)state;
    open_default(&h);
    for (unsigned kind = 0; kind < 256; kind++)
        for (unsigned length = 0; length < 256; length += length < 44 ? 1 : 53) {
            struct peer_segment s = {.seq = 5, .flags = TCP_SYN, .wnd = 100, .options_bytes = 8,
                                     .source_port = 7};
            memcpy(s.options, (uint8_t[]){1, (uint8_t)kind, (uint8_t)length, 0, 0, 0, 0, 0}, 8);
            peer_send(&h, &s, NOW);
            bool legal = kind < 2 || (length >= 2 && length <= 7);
            if (kind == 1)
                legal = h.out_count; /* NOP: what follows is parsed as another option */
            assert_int_equal(h.out_count, legal);
        }
    rig_close(&h);
}

static void
hardware_verdicts_on_checksums_are_believed(void **state)
{
    struct rig_host h = {0};
    (void)state;
    open_default(&h);
    struct rig_frame f = good_syn();
    f.data[50] ^= 0xff;
    struct net_frame good = {f.data, f.len, NET_FRAME_CHECKSUM_GOOD},
                     bad = {f.data, f.len, NET_FRAME_CHECKSUM_BAD};
    net_burst(h.net, &bad, 1, NOW);
    assert_int_equal(h.out_count, 0);
    net_burst(h.net, &good, 1, NOW);
    assert_int_equal(h.out_count, 1);
    f.data[24] ^= 0xff; /* of the IP header they are not asked */
    net_burst(h.net, &good, 1, NOW);
    assert_int_equal(h.out_count, 1);
    assert_int_equal(net_counters(h.net)->drop_checksum, 2);
    free(f.data);
    rig_close(&h);
}


static void
offload_send(void *ctx, void *frame, uint16_t len, const struct net_offload *offload)
{
    struct rig_host *h = ctx;
    if (offload) { /* do what the hardware would */
        uint8_t *p = frame, *l3 = p + offload->l2_bytes, *l4 = l3 + offload->l3_bytes;
        unsigned bytes = len - offload->l2_bytes - offload->l3_bytes;
        assert_int_equal(offload->l4_bytes, l4[12] >> 4 << 2);
        uint16_t sum = (uint16_t)~checksum_fold(checksum_add(0, l4, bytes));
        memcpy(l4 + 16, &sum, 2);
    }
    rig_frame_send(h, frame, len, NULL);
}

static void
offloaded_checksums_come_out_right(void **state)
{
    struct rig_host h = {0};
    (void)state;
    struct net_config c = rig_config(&h, 1);
    c.checksum_offload = true;
    c.output.frame_send = offload_send;
    rig_open(&h, &c);
    struct rig_frame f = good_syn();
    give(&h, f.data, f.len);
    (void)peer_read(&h.out[0]); /* verifies both sums */
    free(f.data);
    rig_close(&h);
}

static const uint8_t arp_request[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 2, 8, 6,
                                        0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2,
                                        0, 0, 0, 0, 0, 0, 10, 0, 0, 1};

static void
an_arp_request_for_us_is_answered_and_no_other(void **state)
{
    struct rig_host h = {0};
    uint8_t p[42];
    (void)state;
    open_default(&h);
    give(&h, arp_request, 42);
    assert_int_equal(h.out_count, 1);
    const uint8_t *r = h.out[0].data;
    assert_memory_equal(
        r,
        "\2\0\0\0\0\2\2\0\0\0\0\1\10\6\0\1\10\0\6\4\0\2\2\0\0\0\0\1\12\0\0\1\2\0\0\0\0\2\12\0\0\2",
        42);
    memcpy(p, arp_request, 42);
    p[41] = 7;
    give(&h, p, 42);
    assert_int_equal(h.out_count, 0);
    memcpy(p, arp_request, 42);
    p[31] = 1; /* somebody claims our address: no answer, no change */
    give(&h, p, 42);
    assert_int_equal(h.out_count, 0);
    give(&h, arp_request, 41);
    assert_int_equal(h.out_count, 0);
    rig_close(&h);
}

static void
unasked_arp_replies_teach_nothing(void **state)
{
    struct rig_host h = {0};
    uint8_t p[42];
    (void)state;
    open_default(&h);
    memcpy(p, arp_request, 42);
    p[21] = 2;
    for (unsigned i = 0; i < 1000; i++) {
        p[30] = (uint8_t)(i >> 8);
        p[31] = (uint8_t)i;
        give(&h, p, 42);
    }
    assert_int_equal(net_counters(h.net)->drop_arp, 1000);
    /* A connection to one of these addresses has to ask. */
    struct rig_app *a = rig_app_new(&h);
    struct net_addr to = net_addr_v4(0x0a000002);
    a->conn = net_connect(h.net, &to, 1, -1, a);
    rig_turn(&h, NULL, NOW);
    assert_int_equal(load16(h.out[0].data + 12), 0x0806);
    rig_close(&h);
}

/* RFC 4861 7.3 in spirit: what a neighbour said half a minute ago is used and asked for again. */
static void
an_old_answer_is_used_and_asked_for_again(void **state)
{
    struct rig_host h = {0};
    uint8_t reply[42];
    uint64_t now = NOW;
    (void)state;
    open_default(&h);
    memcpy(reply, arp_request, 42);
    reply[21] = 2; /* from 10.0.0.2 */
    for (unsigned i = 0; i < 3; i++) {
        struct rig_app *a = rig_app_new(&h);
        struct net_addr to = net_addr_v4(0x0a000002);
        rig_turn(&h, NULL, now);
        rig_discard(&h);
        a->conn = net_connect(h.net, &to, (uint16_t)(1 + i), -1, a);
        rig_turn(&h, NULL, now);
        bool asked = load16(h.out[0].data + 12) == 0x0806;
        bool syn = load16(h.out[h.out_count - 1].data + 12) == 0x0800;
        assert_int_equal(asked, i != 1);
        assert_int_equal(syn, i != 0);
        if (i == 0)
            give(&h, reply, 42);
        net_abort(h.net, a->conn);
        a->conn = NULL;
        now += i == 0 ? 29000000 : 2000000;
    }
    rig_close(&h);
}

static void
a_remote_beyond_the_link_is_reached_by_the_gateway(void **state)
{
    struct rig_host h = {0};
    (void)state;
    struct net_config c = rig_config(&h, 1);
    c.gateway_v4 = net_addr_v4(0x0a0000fe);
    rig_open(&h, &c);
    struct rig_app *a = rig_app_new(&h);
    struct net_addr far = net_addr_v4(0x08080808), near = net_addr_v4(0x0a000005);
    a->conn = net_connect(h.net, &far, 1, -1, a);
    rig_turn(&h, NULL, NOW);
    assert_memory_equal(h.out[0].data + 38, "\12\0\0\376", 4);
    rig_discard(&h);
    a = rig_app_new(&h);
    a->conn = net_connect(h.net, &near, 1, -1, a);
    rig_turn(&h, NULL, NOW);
    assert_memory_equal(h.out[0].data + 38, "\12\0\0\5", 4);
    rig_close(&h);
}

static struct rig_frame
icmp6(const uint8_t *mac, const uint8_t *source, const uint8_t *to, const uint8_t *body, unsigned n)
{
    struct rig_frame f = {calloc(1, 54 + n), (uint16_t)(54 + n)};
    memcpy(f.data, mac, 6);
    memcpy(f.data + 6, "\2\0\0\0\0\2\x86\xdd\x60", 9);
    store16(f.data + 18, (uint16_t)n);
    f.data[20] = 58;
    f.data[21] = 255;
    memcpy(f.data + 22, source, 16);
    memcpy(f.data + 38, to, 16);
    memcpy(f.data + 54, body, n);
    uint64_t sum = checksum_pseudo(58, (uint16_t)n);
    uint16_t v = (uint16_t)~checksum_fold(checksum_add(sum, f.data + 22, 32 + n));
    memcpy(f.data + 56, &v, 2);
    return f;
}

static const uint8_t addr_ours[16] = {0xfd, [15] = 1}, addr_peer[16] = {0xfd, [15] = 2};
static const uint8_t addr_group[16] = {0xff, 2, [11] = 1, 0xff, 0, 0, 1}, addr_none[16];
static const uint8_t mac_ours[6] = {2, 0, 0, 0, 0, 1}, mac_group[6] = {0x33, 0x33, 0xff, 0, 0, 1};

static void
a_neighbour_solicitation_is_answered(void **state)
{
    struct rig_host h = {0};
    uint8_t body[32] = {135, [8] = 0xfd, [23] = 1, 1, 1, 2, 0, 0, 0, 0, 2};
    (void)state;
    open_default(&h);
    struct rig_frame f = icmp6(mac_group, addr_peer, addr_group, body, 32);
    rig_turn(&h, &f, NOW);
    assert_int_equal(h.out_count, 1);
    const uint8_t *r = h.out[0].data;
    assert_memory_equal(r, "\2\0\0\0\0\2", 6);
    assert_int_equal(r[54], 136);
    assert_int_equal(r[58], 0x60); /* solicited, override */
    assert_memory_equal(r + 62, addr_ours, 16);
    assert_memory_equal(r + 78, "\2\1\2\0\0\0\0\1", 8);
    rig_discard(&h);
    f = icmp6(mac_group, addr_none, addr_group, body, 24); /* duplicate address detection */
    rig_turn(&h, &f, NOW);
    assert_int_equal(h.out_count, 1);
    assert_int_equal(h.out[0].data[58], 0x20);
    assert_int_equal(h.out[0].data[38], 0xff);
    rig_close(&h);
}

static void
forwarded_or_broken_neighbour_discovery_is_dropped(void **state)
{
    struct rig_host h = {0};
    uint8_t body[32] = {135, [8] = 0xfd, [23] = 1, 1, 0, 2, 0, 0, 0, 0, 2};
    (void)state;
    open_default(&h);
    struct rig_frame f = icmp6(mac_group, addr_peer, addr_group, body, 32); /* option length 0 */
    rig_turn(&h, &f, NOW);
    body[25] = 1;
    f = icmp6(mac_group, addr_peer, addr_group, body, 32);
    f.data[21] = 254; /* a router passed it on (RFC 4861 7.1.1) */
    rig_turn(&h, &f, NOW);
    body[25] = 9; /* option beyond the end */
    f = icmp6(mac_group, addr_peer, addr_group, body, 32);
    rig_turn(&h, &f, NOW);
    assert_int_equal(h.out_count, 0);
    assert_int_equal(net_counters(h.net)->drop_nd, 3);
    rig_close(&h);
}

static void
echo_is_answered_in_both_families(void **state)
{
    struct rig_host h = {0};
    uint8_t body[40] = {128, 0, 0, 0, 1, 2, 3, 4, 5};
    (void)state;
    open_default(&h);
    struct rig_frame f = icmp6(mac_ours, addr_peer, addr_ours, body, 40);
    rig_turn(&h, &f, NOW);
    assert_int_equal(h.out_count, 1);
    assert_int_equal(h.out[0].data[54], 129);
    assert_memory_equal(h.out[0].data + 58, body + 4, 36);
    uint8_t p[60] = {2, 0,         0, 0, 0, 1,  2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 45, [22] = 64,
                     1, [26] = 10, 0, 0, 2, 10, 0, 0, 1, 8, 0, 0, 0, 1, 2,    3, 4, 9};
    header_sum(p);
    uint16_t sum = (uint16_t)~checksum_fold(checksum_add(0, p + 34, 25));
    memcpy(p + 36, &sum, 2);
    give(&h, p, 60); /* with Ethernet padding */
    assert_int_equal(h.out_count, 1);
    assert_int_equal(h.out[0].len, 59);
    assert_int_equal(h.out[0].data[34], 0);
    assert_int_equal(checksum_fold(checksum_add(0, h.out[0].data + 34, 25)), 0xffff);
    p[40] ^= 1;
    give(&h, p, 60);
    assert_int_equal(h.out_count, 0);
    rig_close(&h);
}

/* ---- path MTU ---- */

struct mtu_scene {
    struct rig_host h;
    uint32_t isn;
};

static void
too_big(struct mtu_scene *s, uint32_t quoted_seq, uint16_t quoted_port, uint16_t mtu)
{
    uint8_t p[70] = {2,    0,        0,         0, 0, 1,  2,         0, 0,         0, 0, 9,
                     8,    0,        0x45,      0, 0, 56, [22] = 64, 1, [26] = 10, 0, 0, 9,
                     10,   0,        0,         1, 3, 4,  0,         0, 0,         0, 0, 0,
                     0x45, [51] = 6, [54] = 10, 0, 0, 1,  10,        0, 0,         2};
    store16(p + 40, mtu);
    store16(p + 62, RIG_PORT);
    store16(p + 64, quoted_port);
    store32(p + 66, quoted_seq);
    header_sum(p);
    uint16_t sum = (uint16_t)~checksum_fold(checksum_add(0, p + 34, 36));
    memcpy(p + 36, &sum, 2);
    give(&s->h, p, 70);
}

static void
only_a_too_big_about_data_in_flight_lowers_the_mss(void **state)
{
    struct mtu_scene s = {0};
    static const uint8_t block[4000];
    (void)state;
    open_default(&s.h);
    peer_send(&s.h,
              &(struct peer_segment){.seq = 5,
                                     .flags = TCP_SYN,
                                     .wnd = 60000,
                                     .options = {2, 4, 0x05, 0xb4},
                                     .options_bytes = 4},
              NOW);
    s.isn = peer_read(&s.h.out[0]).seq;
    peer_send(&s.h,
              &(struct peer_segment){.seq = 6, .ack = s.isn + 1, .flags = TCP_ACK, .wnd = 60000},
              NOW);
    net_send(s.h.net, s.h.apps->conn, block, sizeof block);
    rig_turn(&s.h, NULL, NOW);
    assert_int_equal(s.h.out_count, 3);
    too_big(&s, s.isn, PEER_PORT, 1000);              /* before the window */
    too_big(&s, s.isn + 4001, PEER_PORT, 1000);       /* beyond it */
    too_big(&s, s.isn + 1, PEER_PORT + 1, 1000);      /* another connection */
    assert_int_equal(net_counters(s.h.net)->drop_icmp_quote, 3);
    assert_int_equal(s.h.apps->conn->mss, 1460);
    too_big(&s, s.isn + 1, PEER_PORT, 1000);
    assert_int_equal(s.h.apps->conn->mss, 960);
    assert_int_equal(s.h.out_count, 5); /* sent again at once, in pieces that fit */
    assert_int_equal(peer_read(&s.h.out[0]).bytes, 960);
    too_big(&s, s.isn + 1, PEER_PORT, 68); /* absurd: taken as the floor */
    assert_int_equal(s.h.apps->conn->mss, 536);
    too_big(&s, s.isn + 1, PEER_PORT, 1400); /* never up */
    assert_int_equal(s.h.apps->conn->mss, 536);
    assert_int_equal(net_counters(s.h.net)->rto_fired, 0);
    rig_close(&s.h);
}

static void
other_icmp_errors_do_not_end_a_connection(void **state)
{
    struct mtu_scene s = {0};
    (void)state;
    open_default(&s.h);
    peer_send(&s.h, &(struct peer_segment){.seq = 5, .flags = TCP_SYN, .wnd = 60000}, NOW);
    s.isn = peer_read(&s.h.out[0]).seq;
    peer_send(&s.h,
              &(struct peer_segment){.seq = 6, .ack = s.isn + 1, .flags = TCP_ACK, .wnd = 60000},
              NOW);
    for (uint8_t code = 0; code < 16; code++) {
        uint8_t p[70] = {2,    0,        0,         0, 0, 1,    2,         0, 0,         0, 0, 9,
                         8,    0,        0x45,      0, 0, 56,   [22] = 64, 1, [26] = 10, 0, 0, 9,
                         10,   0,        0,         1, 3, code, 0,         0, 0,         0, 0, 0,
                         0x45, [51] = 6, [54] = 10, 0, 0, 1,    10,        0, 0,         2};
        store16(p + 62, RIG_PORT);
        store16(p + 64, PEER_PORT);
        store32(p + 66, s.isn + 1);
        header_sum(p);
        uint16_t sum = (uint16_t)~checksum_fold(checksum_add(0, p + 34, 36));
        memcpy(p + 36, &sum, 2);
        give(&s.h, p, 70);
    }
    assert_false(s.h.apps->gone);
    rig_close(&s.h);
}

/* ---- steering ---- */

static const struct net_steering four = {4, NET_STEERING_ENTRIES},
                                 eight = {8, NET_STEERING_ENTRIES};

static void
both_directions_and_errors_of_a_flow_go_to_one_core(void **state)
{
    unsigned per_core[8] = {0};
    (void)state;
    for (unsigned port = 1; port <= 8000; port++) {
        struct rig_frame f = peer_write(
            &(struct peer_segment){.seq = 1, .flags = TCP_SYN, .source_port = (uint16_t)port});
        unsigned core = net_frame_core(f.data, f.len, eight);
        assert_true(core < 8);
        per_core[core]++;
        uint8_t back[54];
        memcpy(back, f.data, 54);
        memcpy(back + 26, f.data + 30, 4);
        memcpy(back + 30, f.data + 26, 4);
        memcpy(back + 34, f.data + 36, 2);
        memcpy(back + 36, f.data + 34, 2);
        assert_int_equal(net_frame_core(back, 54, eight), core);
        uint8_t error[70] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0, 0x45, [23] = 1, [34] = 3, 4};
        memcpy(error + 42, back + 14, 28);
        assert_int_equal(net_frame_core(error, 70, eight), core);
        struct flow_key key = {.remote_port = __builtin_bswap16((uint16_t)port),
                               .local_port = __builtin_bswap16(RIG_PORT)};
        struct net_addr remote = net_addr_v4(0x0a000002), local = net_addr_v4(0x0a000001);
        memcpy(key.remote, &remote, 16);
        assert_int_equal(net_flow_core(&key, &local, eight), core);
        free(f.data);
    }
    for (unsigned i = 0; i < 8; i++)
        assert_in_range(per_core[i], 700, 1300);
}

static void
arp_replies_go_to_every_core_and_requests_to_one(void **state)
{
    uint8_t p[42];
    (void)state;
    memcpy(p, arp_request, 42);
    assert_int_equal(net_frame_core(p, 42, four), 0);
    p[21] = 2;
    assert_int_equal(net_frame_core(p, 42, four), NET_CORE_ALL);
    for (unsigned n = 0; n < 42; n++)
        (void)net_frame_core(p, (uint16_t)n, four);
}

static void
opened_connections_get_a_port_of_their_core(void **state)
{
    (void)state;
    for (unsigned core = 0; core < 4; core++) {
        struct rig_host h = {0};
        struct net_config c = rig_config(&h, 1);
        c.core = core;
        c.steering = four;
        rig_open(&h, &c);
        struct net_addr to = net_addr_v4(0x0a000002);
        for (unsigned i = 0; i < 50; i++) {
            struct rig_app *a = rig_app_new(&h);
            a->conn = net_connect(h.net, &to, 80, -1, a);
            struct rig_frame f = peer_write(&(struct peer_segment){
                .source_port = 80, .destination_port = __builtin_bswap16(a->conn->key.local_port)});
            assert_int_equal(net_frame_core(f.data, f.len, four), core);
            free(f.data);
        }
        rig_close(&h);
    }
}

static void
announcing_names_every_address(void **state)
{
    struct rig_host h = {0};
    (void)state;
    open_default(&h);
    net_announce(h.net);
    assert_int_equal(h.out_count, 2);
    assert_memory_equal(h.out[0].data + 28, "\12\0\0\1", 4);
    assert_memory_equal(h.out[0].data + 38, "\12\0\0\1", 4);
    assert_int_equal(h.out[1].data[54], 136);
    rig_close(&h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_frames_are_dropped_and_counted_by_reason),
        cmocka_unit_test(malformed_ipv6_is_dropped_and_counted_by_reason),
        cmocka_unit_test(segments_from_our_own_address_are_dropped),
        cmocka_unit_test(the_null_address_is_not_ours),
        cmocka_unit_test(truncation_at_every_byte_is_survived),
        cmocka_unit_test(every_option_length_is_survived),
        cmocka_unit_test(hardware_verdicts_on_checksums_are_believed),
        cmocka_unit_test(offloaded_checksums_come_out_right),
        cmocka_unit_test(an_arp_request_for_us_is_answered_and_no_other),
        cmocka_unit_test(unasked_arp_replies_teach_nothing),
        cmocka_unit_test(an_old_answer_is_used_and_asked_for_again),
        cmocka_unit_test(a_remote_beyond_the_link_is_reached_by_the_gateway),
        cmocka_unit_test(a_neighbour_solicitation_is_answered),
        cmocka_unit_test(forwarded_or_broken_neighbour_discovery_is_dropped),
        cmocka_unit_test(echo_is_answered_in_both_families),
        cmocka_unit_test(only_a_too_big_about_data_in_flight_lowers_the_mss),
        cmocka_unit_test(other_icmp_errors_do_not_end_a_connection),
        cmocka_unit_test(both_directions_and_errors_of_a_flow_go_to_one_core),
        cmocka_unit_test(arp_replies_go_to_every_core_and_requests_to_one),
        cmocka_unit_test(opened_connections_get_a_port_of_their_core),
        cmocka_unit_test(announcing_names_every_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
