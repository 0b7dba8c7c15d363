/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A NIC in software, for what no virtual device offers: RSS with a key and a table, checksums. What
 * its hardware does with a frame is done by DPDK's reference code (rte_thash.h, rte_ip.h,
 * rte_net.h) and by none of ours.
 *
 *    nic_deliver() --hash, table--> queue --rx_burst--> lane ... lane --tx_burst--> nic_taken()
 *                    verdict                                            fills in
 *
 * It is a net_ring port with another's capabilities: the linker wraps the calls by which device.c
 * asks for them and uses them (tests/CMakeLists.txt); what net_ring does not know is not passed on
 * to it. After each start the port's entries in rte_eth_fp_ops become the functions below.
 */
#ifndef SENGI_TESTS_DPDK_NIC_H
#define SENGI_TESTS_DPDK_NIC_H

#include <stdalign.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_net.h>
#include <rte_tcp.h>
#include <rte_thash.h>

#include "client/wire/check.h"

#define NIC_QUEUES_MAX 16
#define NIC_QUEUE_FRAMES_MAX 256
#define NIC_TABLE_MAX 1024
#define NIC_TAKEN_MAX 1024
#define NIC_FRAME_BYTES_MAX 256

/* What it says of the checksums of received frames. */
enum nic_verdict {
    NIC_CHECKS,     /* good or bad, as they are */
    NIC_SILENT,     /* nothing (unknown) */
    NIC_UNFINISHED, /* "none": right, though the field is not */
};

struct nic_model {
    const char *name;
    uint64_t rx_offload, tx_offload, hash_types;
    uint16_t queues;
    uint8_t key_bytes;           /* 0: it does not say */
    uint16_t entries;            /* of the table; 0: it has none */
    uint16_t entries_configured; /* once it is configured, if that differs; 0: the same */
    bool table_fixed;            /* ... to its own, and not to be written */
    bool key_refused;            /* it does not say because it takes none */
};

struct nic_frame {
    uint16_t len;
    bool filled_in; /* the NIC computed its TCP checksum */
    alignas(struct rte_ether_hdr) uint8_t data[NIC_FRAME_BYTES_MAX];
};

static struct {
    struct nic_model model;
    /* as configured */
    uint64_t rx_offload, tx_offload, hash_types;
    uint16_t queues, entries;
    bool rss;
    alignas(uint32_t) uint8_t key[UINT8_MAX];
    uint16_t table[NIC_TABLE_MAX];
    struct rte_mempool *pool;
    /* frames */
    struct rte_mbuf *queue[NIC_QUEUES_MAX][NIC_QUEUE_FRAMES_MAX];
    unsigned count[NIC_QUEUES_MAX];
    void *queue_ids[NIC_QUEUES_MAX]; /* what the burst functions get: a pointer to its own place */
    struct nic_frame taken[NIC_TAKEN_MAX];
    unsigned taken_count;
    enum nic_verdict verdict;
    bool refuse_next; /* tx_prepare finds fault with one frame */
} nic;

/* --- what the hardware does --- */

/* Of a NIC that is not told one. */
static const uint8_t nic_key_own[40] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

/* @return false: not of the kinds that are hashed. */
static bool nic_hash(const uint8_t *frame, uint32_t *hash)
{
    const struct rte_ether_hdr *ether = (const void *)frame;
    union rte_thash_tuple t;
    if (ether->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) &&
        nic.hash_types & RTE_ETH_RSS_NONFRAG_IPV4_TCP) {
        const struct rte_ipv4_hdr *ip = (const void *)(ether + 1);
        const struct rte_tcp_hdr *tcp = (const void *)(ip + 1);
        if (ip->next_proto_id != IPPROTO_TCP)
            return false;
        t.v4.src_addr = rte_be_to_cpu_32(ip->src_addr);
        t.v4.dst_addr = rte_be_to_cpu_32(ip->dst_addr);
        t.v4.sport = rte_be_to_cpu_16(tcp->src_port);
        t.v4.dport = rte_be_to_cpu_16(tcp->dst_port);
        *hash = rte_softrss((uint32_t *)&t, RTE_THASH_V4_L4_LEN, nic.key);
        return true;
    }
    if (ether->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6) &&
        nic.hash_types & RTE_ETH_RSS_NONFRAG_IPV6_TCP) {
        const struct rte_ipv6_hdr *ip = (const void *)(ether + 1);
        const struct rte_tcp_hdr *tcp = (const void *)(ip + 1);
        if (ip->proto != IPPROTO_TCP)
            return false;
        rte_thash_load_v6_addrs(ip, &t);
        t.v6.sport = rte_be_to_cpu_16(tcp->src_port);
        t.v6.dport = rte_be_to_cpu_16(tcp->dst_port);
        *hash = rte_softrss((uint32_t *)&t, RTE_THASH_V6_L4_LEN, nic.key);
        return true;
    }
    return false;
}

static unsigned nic_queue_of(const uint8_t *frame)
{
    uint32_t hash;
    if (!nic.rss || !nic_hash(frame, &hash))
        return 0;
    return nic.entries ? nic.table[hash % nic.entries] : hash % nic.queues;
}

/* Headers of a TCP segment: see rte_net_get_ptype(). @return false: it is none. */
static bool nic_tcp_at(struct rte_mbuf *m, struct rte_net_hdr_lens *lens, bool *v6)
{
    uint32_t type = rte_net_get_ptype(m, lens, RTE_PTYPE_ALL_MASK);
    *v6 = RTE_ETH_IS_IPV6_HDR(type);
    return (type & RTE_PTYPE_L4_MASK) == RTE_PTYPE_L4_TCP;
}

static uint64_t nic_verdict_on(struct rte_mbuf *m)
{
    struct rte_net_hdr_lens lens;
    bool v6;
    if (!(nic.rx_offload & RTE_ETH_RX_OFFLOAD_TCP_CKSUM) || nic.verdict == NIC_SILENT)
        return RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN;
    if (nic.verdict == NIC_UNFINISHED)
        return RTE_MBUF_F_RX_L4_CKSUM_NONE;
    if (!nic_tcp_at(m, &lens, &v6))
        return RTE_MBUF_F_RX_L4_CKSUM_GOOD; /* some say so of what they did not look at */
    const void *ip = rte_pktmbuf_mtod_offset(m, void *, lens.l2_len);
    const void *tcp = rte_pktmbuf_mtod_offset(m, void *, lens.l2_len + lens.l3_len);
    int wrong = v6 ? rte_ipv6_udptcp_cksum_verify(ip, tcp) : rte_ipv4_udptcp_cksum_verify(ip, tcp);
    return wrong ? RTE_MBUF_F_RX_L4_CKSUM_BAD : RTE_MBUF_F_RX_L4_CKSUM_GOOD;
}

/* A frame arrives by a queue that is not the table's choice. */
static void nic_deliver_by(unsigned queue, const uint8_t *frame, uint16_t len)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(nic.pool);
    CHECK(m && queue < nic.queues && nic.count[queue] < NIC_QUEUE_FRAMES_MAX);
    memcpy(rte_pktmbuf_append(m, len), frame, len);
    m->ol_flags |= nic_verdict_on(m);
    nic.queue[queue][nic.count[queue]++] = m;
}

static __rte_unused void nic_deliver(const uint8_t *frame, uint16_t len)
{
    nic_deliver_by(nic_queue_of(frame), frame, len);
}

static uint16_t nic_rx_burst(void *queue, struct rte_mbuf **frames, uint16_t n)
{
    unsigned id = (unsigned)((void **)queue - nic.queue_ids);
    if (n > nic.count[id])
        n = (uint16_t)nic.count[id];
    memcpy(frames, nic.queue[id], n * sizeof(*frames));
    nic.count[id] -= n;
    memmove(nic.queue[id], nic.queue[id] + n, nic.count[id] * sizeof(*frames));
    return n;
}

/* As ixgbe, i40e, ice, ena, vmxnet3 and others do; a frame from us must not need it, for others do
 * nothing. */
static uint16_t nic_tx_prepare(void *queue, struct rte_mbuf **frames, uint16_t n)
{
    (void)queue;
    for (uint16_t i = 0; i < n; i++) {
        uint8_t before[NIC_FRAME_BYTES_MAX];
        struct rte_mbuf *m = frames[i];
        if (nic.refuse_next) {
            nic.refuse_next = i > 0;
            return i;
        }
        CHECK(m->data_len <= sizeof(before));
        memcpy(before, rte_pktmbuf_mtod(m, void *), m->data_len);
        CHECK(rte_net_intel_cksum_prepare(m) == 0);
        CHECK(memcmp(before, rte_pktmbuf_mtod(m, void *), m->data_len) == 0);
    }
    return n;
}

/* The field holds the pseudo header's sum: the sum of the segment is complete. */
static void nic_fill_in(struct rte_mbuf *m)
{
    unsigned at = m->l2_len + m->l3_len;
    struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, at);
    CHECK(nic.tx_offload & RTE_ETH_TX_OFFLOAD_TCP_CKSUM && m->l4_len == tcp->data_off >> 4 << 2);
    tcp->cksum = (uint16_t)~rte_raw_cksum(tcp, m->data_len - at);
}

static uint16_t nic_tx_burst(void *queue, struct rte_mbuf **frames, uint16_t n)
{
    (void)queue;
    for (uint16_t i = 0; i < n; i++) {
        struct rte_mbuf *m = frames[i];
        uint64_t asked = m->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK;
        struct nic_frame *f = &nic.taken[nic.taken_count++];
        CHECK(nic.taken_count <= NIC_TAKEN_MAX && m->data_len <= sizeof(f->data));
        CHECK(!(asked & RTE_MBUF_F_TX_IP_CKSUM)); /* it was not configured to */
        f->filled_in = (asked & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM;
        if (f->filled_in)
            nic_fill_in(m);
        f->len = m->data_len;
        memcpy(f->data, rte_pktmbuf_mtod(m, void *), f->len);
        rte_pktmbuf_free(m);
    }
    return n;
}

/* --- what the driver does --- */

int __real_rte_eth_dev_info_get(uint16_t port, struct rte_eth_dev_info *info);
int __wrap_rte_eth_dev_info_get(uint16_t port, struct rte_eth_dev_info *info);
int __wrap_rte_eth_dev_info_get(uint16_t port, struct rte_eth_dev_info *info)
{
    const struct nic_model *m = &nic.model;
    int result = __real_rte_eth_dev_info_get(port, info);
    info->rx_offload_capa = m->rx_offload;
    info->tx_offload_capa = m->tx_offload;
    info->flow_type_rss_offloads = m->hash_types;
    info->hash_key_size = m->key_bytes;
    info->reta_size = nic.queues ? nic.entries : m->entries;
    info->max_rx_queues = info->max_tx_queues = m->queues;
    return result;
}

static void nic_configure_rss(const struct rte_eth_conf *conf)
{
    const struct rte_eth_rss_conf *rss = &conf->rx_adv_conf.rss_conf;
    nic.rss = conf->rxmode.mq_mode & RTE_ETH_MQ_RX_RSS_FLAG;
    nic.hash_types = rss->rss_hf;
    CHECK((rss->rss_hf & ~nic.model.hash_types) == 0);
    CHECK(!rss->rss_key ||
          rss->rss_key_len == (nic.model.key_bytes ? nic.model.key_bytes : sizeof(nic_key_own)));
    if (rss->rss_key)
        memcpy(nic.key, rss->rss_key, rss->rss_key_len);
    else
        memcpy(nic.key, nic_key_own, sizeof(nic_key_own));
    nic.entries = nic.model.entries_configured ? nic.model.entries_configured : nic.model.entries;
    for (unsigned i = 0; i < nic.entries; i++)
        nic.table[i] = (uint16_t)((nic.entries - 1u - i) % nic.queues); /* nobody's guess */
}

int __real_rte_eth_dev_configure(uint16_t port, uint16_t rx, uint16_t tx,
                                 const struct rte_eth_conf *conf);
int __wrap_rte_eth_dev_configure(uint16_t port, uint16_t rx, uint16_t tx,
                                 const struct rte_eth_conf *conf);
int __wrap_rte_eth_dev_configure(uint16_t port, uint16_t rx, uint16_t tx,
                                 const struct rte_eth_conf *conf)
{
    struct rte_eth_conf rest = *conf;
    if (nic.model.key_refused && conf->rx_adv_conf.rss_conf.rss_key)
        return -EINVAL;
    nic.queues = rx;
    nic.rx_offload = conf->rxmode.offloads;
    nic.tx_offload = conf->txmode.offloads;
    CHECK(rx == tx && rx <= nic.model.queues);
    CHECK((nic.rx_offload & ~nic.model.rx_offload) == 0);
    CHECK((nic.tx_offload & ~nic.model.tx_offload) == 0);
    nic_configure_rss(conf);
    rest.rxmode.offloads = rest.txmode.offloads = 0;
    rest.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
    memset(&rest.rx_adv_conf, 0, sizeof(rest.rx_adv_conf));
    return __real_rte_eth_dev_configure(port, rx, tx, &rest);
}

int __real_rte_eth_dev_start(uint16_t port);
int __wrap_rte_eth_dev_start(uint16_t port);
int __wrap_rte_eth_dev_start(uint16_t port)
{
    int result = __real_rte_eth_dev_start(port);
    struct rte_eth_fp_ops *ops = &rte_eth_fp_ops[port];
    for (unsigned i = 0; i < NIC_QUEUES_MAX; i++)
        nic.queue_ids[i] = &nic.queue_ids[i];
    ops->rx_pkt_burst = nic_rx_burst;
    ops->tx_pkt_burst = nic_tx_burst;
    ops->tx_pkt_prepare = nic_tx_prepare;
    ops->rxq.data = ops->txq.data = nic.queue_ids;
    return result;
}

int __wrap_rte_eth_dev_rss_reta_update(uint16_t port, struct rte_eth_rss_reta_entry64 *groups,
                                       uint16_t entries);
int __wrap_rte_eth_dev_rss_reta_update(uint16_t port, struct rte_eth_rss_reta_entry64 *groups,
                                       uint16_t entries)
{
    (void)port;
    CHECK(nic.rss);
    if (nic.model.table_fixed || nic.entries == 0)
        return -ENOTSUP;
    if (entries != nic.entries)
        return -EINVAL;
    for (unsigned i = 0; i < entries; i++) {
        const struct rte_eth_rss_reta_entry64 *g = &groups[i / RTE_ETH_RETA_GROUP_SIZE];
        if (!(g->mask >> i % RTE_ETH_RETA_GROUP_SIZE & 1))
            continue;
        nic.table[i] = g->reta[i % RTE_ETH_RETA_GROUP_SIZE];
        CHECK(nic.table[i] < nic.queues);
    }
    return 0;
}

/* A net_ring port that was closed could not be had again. */
int __wrap_rte_eth_dev_close(uint16_t port);
int __wrap_rte_eth_dev_close(uint16_t port)
{
    (void)port;
    return 0;
}

#endif
