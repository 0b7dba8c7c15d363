/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Lanes and TCP over NICs of many capabilities (nic.h): where frames arrive, who verifies and who
 * fills in checksums. The clients are a few lines that write segments with DPDK's structs. Needs
 * neither root nor huge pages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include <rte_icmp.h>

#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/lane.h"
#include "tests/dpdk/nic.h"

#define LANES_MAX 4
#define FLOWS 200
#define SERVER_PORT 2181
#define CLIENT_PORT 40000
#define NOW_US 1000000

#define TCP4 RTE_ETH_RSS_NONFRAG_IPV4_TCP
#define TCP6 RTE_ETH_RSS_NONFRAG_IPV6_TCP
#define RX_TCP RTE_ETH_RX_OFFLOAD_TCP_CKSUM
#define TX_TCP RTE_ETH_TX_OFFLOAD_TCP_CKSUM
#define RX_ALL (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RX_TCP)
#define TX_ALL (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | TX_TCP)

/* A client's connection: even ones over IPv4, odd ones over IPv6. */
struct flow {
    uint32_t seq, ack;
    bool greeted, echoed;
};

static struct {
    struct device dev;
    struct lane *lanes[LANES_MAX];
    struct net *nets[LANES_MAX];
    unsigned accepted[LANES_MAX];
    struct flow flows[FLOWS];
} host;

static const char payload[] = "an odd number of bytes";

/* --- the application: an echo --- */

static void *on_accept(void *ctx, struct net_conn *conn)
{
    (void)conn;
    ++*(unsigned *)ctx;
    return ctx;
}

static uint32_t on_data(void *user, struct net_conn *conn, const uint8_t *bytes, uint32_t n)
{
    struct net *net = host.nets[(unsigned *)user - host.accepted];
    assert_int_equal(net_send(net, conn, bytes, n), n);
    return n;
}

static void on_event(void *user, struct net_conn *conn)
{
    (void)user, (void)conn;
}

static void on_closed(void *user, struct net_conn *conn, enum net_closed reason)
{
    (void)user, (void)conn, (void)reason;
    fail_msg("a connection was closed");
}

/* --- clients --- */

static const uint8_t server6[16] = {0xfd, [15] = 1}, client6[16] = {0xfd, [15] = 2};
static const uint8_t server4[4] = {10, 0, 0, 1}, client4[4] = {10, 0, 0, 2};

static void *ethernet(uint8_t *frame, uint16_t type)
{
    struct rte_ether_hdr *e = (void *)frame;
    e->dst_addr = host.dev.mac;
    memcpy(e->src_addr.addr_bytes, (uint8_t[]){2, 0, 0, 0, 0, 2}, 6);
    e->ether_type = rte_cpu_to_be_16(type);
    return e + 1;
}

static struct rte_ipv4_hdr *ipv4(uint8_t *frame, uint8_t protocol, unsigned bytes)
{
    struct rte_ipv4_hdr *ip = ethernet(frame, RTE_ETHER_TYPE_IPV4);
    *ip = (struct rte_ipv4_hdr){.version_ihl = 0x45, .time_to_live = 64, .next_proto_id = protocol};
    ip->total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + bytes));
    memcpy(&ip->src_addr, client4, 4);
    memcpy(&ip->dst_addr, server4, 4);
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    return ip;
}

static struct rte_ipv6_hdr *ipv6(uint8_t *frame, unsigned bytes)
{
    struct rte_ipv6_hdr *ip = ethernet(frame, RTE_ETHER_TYPE_IPV6);
    *ip = (struct rte_ipv6_hdr){.vtc_flow = RTE_BE32(6u << 28), .proto = IPPROTO_TCP,
                                .hop_limits = 64};
    ip->payload_len = rte_cpu_to_be_16((uint16_t)bytes);
    memcpy(ip->src_addr, client6, 16);
    memcpy(ip->dst_addr, server6, 16);
    return ip;
}

/* The next segment of flow i; *tcp: its header. @return bytes of the frame. */
static uint16_t segment(unsigned i, uint8_t *frame, uint8_t flags, unsigned bytes,
                        struct rte_tcp_hdr **tcp)
{
    const struct flow *f = &host.flows[i];
    bool v6 = i % 2;
    unsigned size = (unsigned)sizeof(**tcp) + bytes;
    void *ip = v6 ? (void *)ipv6(frame, size) : (void *)ipv4(frame, IPPROTO_TCP, size);
    struct rte_tcp_hdr *t = v6 ? (void *)((struct rte_ipv6_hdr *)ip + 1)
                               : (void *)((struct rte_ipv4_hdr *)ip + 1);
    *t = (struct rte_tcp_hdr){.data_off = sizeof(*t) << 2, .tcp_flags = flags,
                              .rx_win = RTE_BE16(60000), .dst_port = RTE_BE16(SERVER_PORT)};
    t->src_port = rte_cpu_to_be_16((uint16_t)(CLIENT_PORT + i));
    t->sent_seq = rte_cpu_to_be_32(f->seq);
    t->recv_ack = rte_cpu_to_be_32(f->ack);
    memcpy(t + 1, payload, bytes);
    t->cksum = v6 ? rte_ipv6_udptcp_cksum(ip, t) : rte_ipv4_udptcp_cksum(ip, t);
    *tcp = t;
    return (uint16_t)((uint8_t *)(t + 1) + bytes - frame);
}

static void say(unsigned i, uint8_t flags, unsigned bytes)
{
    alignas(struct rte_ether_hdr) uint8_t frame[NIC_FRAME_BYTES_MAX];
    struct rte_tcp_hdr *tcp;
    uint16_t len = segment(i, frame, flags, bytes, &tcp);
    nic_deliver(frame, len);
}

/* What the server sent is right, IP header and segment, and belongs to a flow. */
static void hear(const struct nic_frame *frame)
{
    const struct rte_ether_hdr *e = (const void *)frame->data;
    const struct rte_ipv4_hdr *ip4 = (const void *)(e + 1);
    const struct rte_ipv6_hdr *ip6 = (const void *)(e + 1);
    bool v6 = e->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6);
    const struct rte_tcp_hdr *t = v6 ? (const void *)(ip6 + 1) : (const void *)(ip4 + 1);
    if (!v6)
        assert_int_equal(rte_raw_cksum(ip4, sizeof(*ip4)), 0xffff);
    assert_int_equal(v6 ? rte_ipv6_udptcp_cksum_verify(ip6, t)
                        : rte_ipv4_udptcp_cksum_verify(ip4, t),
                     0);
    assert_int_equal(frame->filled_in, host.dev.tx_checksum);
    unsigned i = rte_be_to_cpu_16(t->dst_port) - CLIENT_PORT;
    assert_true(i < FLOWS && i % 2 == v6);
    struct flow *f = &host.flows[i];
    if (t->tcp_flags & RTE_TCP_SYN_FLAG) {
        f->greeted = true;
        f->ack = rte_be_to_cpu_32(t->sent_seq) + 1;
        f->seq++;
    }
    const uint8_t *data = (const uint8_t *)t + (t->data_off >> 4 << 2);
    if (frame->data + frame->len - data == sizeof(payload) &&
        memcmp(data, payload, sizeof(payload)) == 0)
        f->echoed = true;
}

/* --- the host --- */

static unsigned turn(unsigned i)
{
    struct net_frame *frames;
    unsigned n = lane_receive(host.lanes[i], &frames);
    net_burst(host.nets[i], frames, n, NOW_US);
    (void)net_flush(host.nets[i]);
    (void)lane_transmit(host.lanes[i]);
    lane_release(host.lanes[i]);
    return n;
}

/* Turns of all lanes until none has anything to do; then the clients hear what was sent. */
static void settle(void)
{
    for (unsigned idle = 0, i = 0; idle <= host.dev.lanes; i = (i + 1) % host.dev.lanes)
        idle = turn(i) ? 0 : idle + 1;
    for (unsigned i = 0; i < nic.taken_count; i++)
        hear(&nic.taken[i]);
    nic.taken_count = 0;
}

static struct net *net_make(unsigned lane)
{
    struct net_config c = {
        .mtu = 1500, .interface_count = 2, .listen_ports = {SERVER_PORT}, .listen_port_count = 1,
        .core = lane, .steering = host.dev.steering, .checksum_offload = host.dev.tx_checksum,
        .output = lane_output(host.lanes[lane]),
        .callbacks = {.on_accept = on_accept, .on_connected = on_event, .on_data = on_data,
                      .on_eof = on_event, .on_writable = on_event, .on_closed = on_closed},
        .callbacks_ctx = &host.accepted[lane]};
    c.interfaces[0] = (struct net_interface){net_addr_v4(0x0a000001), 24};
    memcpy(c.interfaces[1].addr.bytes, server6, 16);
    c.interfaces[1].prefix_bits = 64;
    memcpy(c.mac, host.dev.mac.addr_bytes, sizeof(c.mac));
    struct net *net = net_create(&c);
    assert_non_null(net);
    return net;
}

static void open_host(const struct nic_model *model, unsigned lanes, enum config_offload offload)
{
    char error[512] = "";
    memset(&host, 0, sizeof(host));
    memset(&nic, 0, sizeof(nic));
    nic.model = *model;
    struct device_config config = {
        .name = "net_ring0", .mtu_bytes = 1500, .lanes = (uint16_t)lanes, .offload = offload};
    if (device_open(&host.dev, &config, error, sizeof(error)))
        fail_msg("%s: %s", model->name, error);
    assert_int_equal(lanes_create(&host.dev, host.lanes, NULL, NULL), 0);
    nic.pool = host.dev.rx_pool[0];
    for (unsigned i = 0; i < lanes; i++)
        host.nets[i] = net_make(i);
    for (unsigned i = 0; i < FLOWS; i++)
        host.flows[i].seq = i * 1000;
}

/* Whatever happened, all mbufs are back in their pools. */
static void close_host(void)
{
    for (unsigned i = 0; i < host.dev.lanes; i++)
        net_destroy(host.nets[i]);
    for (unsigned i = 0; i < host.dev.lanes; i++)
        (void)lane_transmit(host.lanes[i]);
    lanes_destroy(&host.dev, host.lanes);
    for (unsigned i = 0; i < host.dev.lanes; i++) {
        assert_int_equal(rte_mempool_in_use_count(host.dev.rx_pool[i]), 0);
        assert_int_equal(rte_mempool_in_use_count(host.dev.tx_pool[i]), 0);
    }
    device_close(&host.dev);
}

static uint64_t lane_sum(size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < host.dev.lanes; i++)
        sum += atomic_load((_Atomic uint64_t *)((char *)lane_counters(host.lanes[i]) + offset));
    return sum;
}
#define COUNTER(name) lane_sum(offsetof(struct lane_counters, name))

static uint64_t wrong_checksums(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < host.dev.lanes; i++)
        sum += net_counters(host.nets[i])->drop_checksum;
    return sum;
}

static void greet_all(void)
{
    for (unsigned i = 0; i < FLOWS; i++)
        say(i, RTE_TCP_SYN_FLAG, 0);
    settle();
}

static void ask_all(void)
{
    for (unsigned i = 0; i < FLOWS; i++)
        say(i, RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG, sizeof(payload));
    settle();
}

static unsigned echoes(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < FLOWS; i++)
        n += host.flows[i].greeted && host.flows[i].echoed;
    return n;
}

/* --- RSS --- */

struct row {
    struct nic_model nic;
    unsigned lanes;
    bool by_device; /* no frame comes to another lane than its own */
};

static const struct row rows[] = {
    {{"like ixgbe", RX_ALL, TX_ALL, TCP4 | TCP6, 16, 40, 128, 0, false}, 2, true},
    {{"like i40e", RX_ALL, TX_ALL, TCP4 | TCP6, 16, 52, 512, 0, false}, 4, true},
    {{"three lanes", RX_ALL, TX_ALL, TCP4 | TCP6, 16, 40, 64, 0, false}, 3, true},
    {{"a table that follows the queues", RX_ALL, TX_ALL, TCP4 | TCP6, 16, 40, 512, 4, false},
     3, true},
    {{"an odd table", 0, 0, TCP4 | TCP6, 16, 40, 100, 0, false}, 3, true},
    {{"a table smaller than a group", 0, 0, TCP4 | TCP6, 16, 40, 2, 0, false}, 2, true},
    {{"like virtio with RSS", RX_TCP, TX_TCP, TCP4 | TCP6, 8, 40, 128, 0, false}, 2, true},
    {{"IPv4 alone is hashed", RX_ALL, TX_ALL, TCP4, 16, 40, 128, 0, false}, 2, false},
    {{"like vmxnet3, size of the key unsaid", 0, 0, TCP4 | TCP6, 16, 0, 8, 0, false}, 2, true},
    {{"takes no key", RX_ALL, TX_ALL, TCP4 | TCP6, 16, 0, 128, 0, false, true}, 2, false},
    {{"no table, no key", RX_ALL, TX_ALL, TCP4 | TCP6, 16, 0, 0, 0, false, true}, 2, false},
    {{"a table of its own", RX_ALL, TX_ALL, TCP4 | TCP6, 16, 40, 128, 0, true}, 2, false},
    {{"fewer queues than lanes", RX_ALL, TX_ALL, TCP4 | TCP6, 2, 40, 128, 0, false}, 4, false},
    {{"one queue", RX_ALL, TX_ALL, TCP4 | TCP6, 1, 40, 128, 0, false}, 2, false},
    {{"addresses alone are hashed", 0, 0, RTE_ETH_RSS_IPV4, 16, 40, 128, 0, false}, 2, false},
    {{"checksums alone", RX_ALL, TX_ALL, 0, 16, 0, 0, 0, false}, 2, false},
    {{"checksums of sent frames", 0, TX_ALL, 0, 1, 0, 0, 0, false}, 1, true},
    {{"checksums of received frames", RX_ALL, 0, 0, 1, 0, 0, 0, false}, 1, true},
    {{"checksums, but not of TCP", RTE_ETH_RX_OFFLOAD_IPV4_CKSUM, RTE_ETH_TX_OFFLOAD_UDP_CKSUM, 0,
      1, 0, 0, 0, false}, 1, true},
    {{"nothing", 0, 0, 0, 4, 0, 0, 0, false}, 2, false},
};

static void lanes_share(const struct row *row)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < row->lanes; i++) {
        sum += host.accepted[i];
        if (host.accepted[i] < FLOWS / row->lanes / 2)
            fail_msg("%s: lane %u has %u flows", row->nic.name, i, host.accepted[i]);
    }
    assert_int_equal(sum, FLOWS);
}

/* Goal: each frame of a flow comes to the core that owns it, by itself where the port can do so,
 * else handed over; and checksums are the port's work where it offers that. */
static void flows_are_served_at_their_lanes_whatever_a_nic_can_do(void **state)
{
    (void)state;
    for (unsigned r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        const struct row *row = &rows[r];
        open_host(&row->nic, row->lanes, CONFIG_OFFLOAD_AUTO);
        bool tcp_in = row->nic.rx_offload & RX_TCP, tcp_out = row->nic.tx_offload & TX_TCP;
        assert_int_equal(host.dev.rx_checksum, tcp_in);
        assert_int_equal(host.dev.tx_checksum, tcp_out);
        greet_all();
        ask_all();
        lanes_share(row);
        if (echoes() != FLOWS || (COUNTER(handed_over) == 0) != row->by_device)
            fail_msg("%s: %u of %u flows served, %lu frames handed over", row->nic.name, echoes(),
                     FLOWS, COUNTER(handed_over));
        assert_int_equal(COUNTER(checksum_verified), tcp_in ? 2 * FLOWS : 0);
        assert_int_equal(COUNTER(handed_over), COUNTER(taken_over));
        assert_int_equal(wrong_checksums(), 0);
        close_host();
    }
}

static void a_frame_that_came_by_the_wrong_queue_reaches_its_lane(void **state)
{
    (void)state;
    alignas(struct rte_ether_hdr) uint8_t frame[NIC_FRAME_BYTES_MAX];
    struct rte_tcp_hdr *tcp;
    open_host(&rows[0].nic, 2, CONFIG_OFFLOAD_AUTO);
    greet_all();
    assert_int_equal(COUNTER(handed_over), 0);
    for (unsigned i = 0; i < FLOWS; i++) {
        uint16_t len = segment(i, frame, RTE_TCP_ACK_FLAG, sizeof(payload), &tcp);
        nic_deliver_by(1 - nic_queue_of(frame), frame, len);
    }
    settle();
    assert_int_equal(echoes(), FLOWS);
    assert_int_equal(COUNTER(handed_over), FLOWS);
    close_host();
}

static void with_offload_off_the_port_is_asked_for_nothing(void **state)
{
    (void)state;
    open_host(&rows[0].nic, 2, CONFIG_OFFLOAD_OFF);
    assert_false(host.dev.rss || host.dev.rx_checksum || host.dev.tx_checksum);
    assert_false(nic.rss || nic.rx_offload || nic.tx_offload);
    greet_all();
    ask_all();
    assert_int_equal(echoes(), FLOWS);
    close_host();
}

/* --- checksums --- */

/* A SYN of flow i whose checksum is wrong. @return true if it was answered. */
static bool damaged_syn_passes(unsigned i, enum nic_verdict verdict)
{
    alignas(struct rte_ether_hdr) uint8_t frame[NIC_FRAME_BYTES_MAX];
    struct rte_tcp_hdr *tcp;
    uint16_t len = segment(i, frame, RTE_TCP_SYN_FLAG, 0, &tcp);
    tcp->cksum ^= 0x0100;
    nic.verdict = verdict;
    nic_deliver(frame, len);
    settle();
    return host.flows[i].greeted;
}

static void a_wrong_checksum_is_dropped_and_counted_whoever_finds_it(void **state)
{
    (void)state;
    for (unsigned v6 = 0; v6 < 2; v6++) {
        open_host(&rows[0].nic, 2, CONFIG_OFFLOAD_AUTO);
        assert_false(damaged_syn_passes(v6, NIC_CHECKS)); /* the port says so */
        assert_int_equal(wrong_checksums(), 1);
        assert_false(damaged_syn_passes(2 + v6, NIC_SILENT)); /* we find it */
        assert_int_equal(wrong_checksums(), 2);
        assert_int_equal(COUNTER(checksum_verified), 0);
        close_host();
    }
}

/* Between virtual machines nobody computes a sum that is not going over a wire. */
static void a_checksum_that_the_port_calls_unfinished_is_not_looked_at(void **state)
{
    (void)state;
    for (unsigned v6 = 0; v6 < 2; v6++) {
        open_host(&rows[0].nic, 2, CONFIG_OFFLOAD_AUTO);
        assert_true(damaged_syn_passes(v6, NIC_UNFINISHED));
        assert_int_equal(wrong_checksums(), 0);
        assert_int_equal(COUNTER(checksum_verified), 1);
        close_host();
        /* ... but a port that was not asked may not know. */
        open_host(&rows[0].nic, 2, CONFIG_OFFLOAD_OFF);
        assert_false(damaged_syn_passes(v6, NIC_UNFINISHED));
        close_host();
    }
}

/* What a port says is about TCP: headers and ICMP are verified by us. */
static void nothing_but_tcp_is_believed(void **state)
{
    (void)state;
    alignas(struct rte_ether_hdr) uint8_t frame[NIC_FRAME_BYTES_MAX] = {0};
    struct rte_tcp_hdr *tcp;
    open_host(&rows[0].nic, 2, CONFIG_OFFLOAD_AUTO);
    uint16_t len = segment(0, frame, RTE_TCP_SYN_FLAG, 0, &tcp);
    ((struct rte_ipv4_hdr *)(void *)(frame + RTE_ETHER_HDR_LEN))->hdr_checksum ^= 0x0100;
    nic_deliver(frame, len);
    settle();
    assert_int_equal(COUNTER(checksum_verified), 1);
    assert_int_equal(wrong_checksums(), 1);
    for (unsigned wrong = 0; wrong < 2; wrong++) {
        struct rte_ipv4_hdr *ip = ipv4(frame, IPPROTO_ICMP, 16);
        struct rte_icmp_hdr *icmp = (void *)(ip + 1);
        memset(icmp, 0, 16);
        icmp->icmp_type = RTE_IP_ICMP_ECHO_REQUEST;
        icmp->icmp_cksum = (uint16_t)(~rte_raw_cksum(icmp, 16) ^ wrong);
        nic_deliver(frame, (uint16_t)(RTE_ETHER_HDR_LEN + sizeof(*ip) + 16));
        (void)turn(0);
        assert_int_equal(nic.taken_count, !wrong);
        nic.taken_count = 0;
    }
    assert_int_equal(wrong_checksums(), 2);
    close_host();
}

static void a_frame_that_the_driver_refuses_is_dropped_and_the_others_leave(void **state)
{
    (void)state;
    open_host(&rows[0].nic, 1, CONFIG_OFFLOAD_AUTO);
    nic.refuse_next = true;
    greet_all();
    unsigned greeted = 0;
    for (unsigned i = 0; i < FLOWS; i++)
        greeted += host.flows[i].greeted;
    assert_int_equal(greeted, FLOWS - 1);
    assert_int_equal(COUNTER(dropped_unprepared), 1);
    assert_int_equal(COUNTER(sent), FLOWS - 1);
    close_host();
}

int main(void)
{
    char error[512], words[128];
    snprintf(words, sizeof(words),
             "--no-huge --no-pci --no-shconf --no-telemetry --file-prefix=sengi-nic-%d "
             "--vdev=net_ring0",
             getpid());
    if (eal_start(words, 512, error, sizeof(error))) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flows_are_served_at_their_lanes_whatever_a_nic_can_do),
        cmocka_unit_test(a_frame_that_came_by_the_wrong_queue_reaches_its_lane),
        cmocka_unit_test(with_offload_off_the_port_is_asked_for_nothing),
        cmocka_unit_test(a_wrong_checksum_is_dropped_and_counted_whoever_finds_it),
        cmocka_unit_test(a_checksum_that_the_port_calls_unfinished_is_not_looked_at),
        cmocka_unit_test(nothing_but_tcp_is_believed),
        cmocka_unit_test(a_frame_that_the_driver_refuses_is_dropped_and_the_others_leave),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eal_stop();
    return failed;
}
