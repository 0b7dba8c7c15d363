/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/dpdk/lane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ring.h>

#include "client/wire/check.h"

#define SPARE_MBUFS 32

struct lane {
    /* config */
    struct device *dev;
    unsigned index;
    uint32_t frame_bytes_max; /* of a frame as long as the MTU allows */
    bool has_queue;
    struct lane **all;
    void (*woken)(void *ctx, unsigned lane);
    void *woken_ctx;
    struct rte_ring *arrived; /* frames that other lanes received for this one */
    struct rte_ring *leaving; /* frames that lanes without a queue send through this one; NULL: none
                               * do */

    /* owned by the lane's thread */
    struct rte_mbuf *received[LANE_FRAMES_MAX];
    struct net_frame frames[LANE_FRAMES_MAX];
    unsigned frame_count;
    struct rte_mbuf *pending[LANE_PENDING_MAX + DEVICE_BURST_MAX];
    unsigned pending_count;
    struct rte_mbuf *spare[SPARE_MBUFS];
    unsigned spare_count;
    bool wake[DEVICE_LANES_MAX]; /* lanes that got something in this turn */
    bool wake_any;
    struct lane_counters counters;
};

/* --- receiving --- */

/* What the device says of the TCP checksum. NONE is not "no information", which is UNKNOWN: the
 * data is right though the field is not, as between virtual machines, which leave it unfinished. */
static uint16_t frame_flags(struct lane *lane, const struct rte_mbuf *m)
{
    if (!lane->dev->rx_checksum)
        return 0;
    uint64_t verdict = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
    if (verdict == RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN)
        return 0;
    if (verdict == RTE_MBUF_F_RX_L4_CKSUM_BAD)
        return NET_FRAME_CHECKSUM_BAD;
    lane_count(&lane->counters.checksum_verified, 1);
    return NET_FRAME_CHECKSUM_GOOD;
}

static void keep(struct lane *lane, struct rte_mbuf *m)
{
    CHECK(lane->frame_count < LANE_FRAMES_MAX);
    lane->received[lane->frame_count] = m;
    lane->frames[lane->frame_count++] = (struct net_frame){.data = rte_pktmbuf_mtod(m, uint8_t *),
                                                           .len = m->data_len,
                                                           .flags = frame_flags(lane, m)};
}

static void hand_over(struct lane *lane, unsigned to, struct rte_mbuf *m)
{
    if (rte_ring_mp_enqueue(lane->all[to]->arrived, m)) {
        rte_pktmbuf_free(m);
        lane_count(&lane->counters.dropped_arrived_full, 1);
        return;
    }
    lane->wake[to] = lane->wake_any = true;
    lane_count(&lane->counters.handed_over, 1);
}

static void hand_to_all(struct lane *lane, struct rte_mbuf *m)
{
    for (unsigned to = 0; to < lane->dev->lanes; to++) {
        if (to == lane->index)
            continue;
        rte_mbuf_refcnt_update(m, 1);
        hand_over(lane, to, m);
    }
    keep(lane, m);
}

/* @return false: dropped. */
static bool make_one(struct lane *lane, struct rte_mbuf *m)
{
    lane_count(&lane->counters.segmented, 1);
    if (rte_pktmbuf_linearize(m) == 0)
        return true;
    rte_pktmbuf_free(m);
    lane_count(&lane->counters.dropped_segments, 1);
    return false;
}

static void steer(struct lane *lane, struct rte_mbuf *m)
{
    if (UNLIKELY(m->pkt_len > lane->frame_bytes_max))
        lane_count(&lane->counters.oversized, 1);
    if (UNLIKELY(m->nb_segs > 1) && !make_one(lane, m))
        return;
    unsigned owner = lane->index;
    if (lane->dev->lanes > 1)
        owner = net_frame_core(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, lane->dev->steering);
    if (owner == lane->index)
        keep(lane, m);
    else if (owner == NET_CORE_ALL)
        hand_to_all(lane, m);
    else
        hand_over(lane, owner, m);
}

static void receive_burst(struct lane *lane)
{
    struct rte_mbuf *burst[DEVICE_BURST_MAX];
    if (lane->dev->guarded && !atomic_load_explicit(&lane->dev->link_up, memory_order_relaxed))
        return;
    if (!device_enter(lane->dev, lane->index)) {
        lane_count(&lane->counters.held_out, 1);
        return;
    }
    unsigned n = rte_eth_rx_burst(lane->dev->id, (uint16_t)lane->index, burst, DEVICE_BURST_MAX);
    device_leave(lane->dev, lane->index);
    if (n == 0)
        return;
    lane_count(&lane->counters.received, n);
    for (unsigned i = 0; i < n; i++)
        rte_prefetch0(rte_pktmbuf_mtod(burst[i], void *));
    for (unsigned i = 0; i < n; i++)
        steer(lane, burst[i]);
}

static void take_over(struct lane *lane)
{
    void *burst[DEVICE_BURST_MAX];
    unsigned n = rte_ring_sc_dequeue_burst(lane->arrived, burst, DEVICE_BURST_MAX, NULL);
    for (unsigned i = 0; i < n; i++)
        keep(lane, burst[i]);
    if (n)
        lane_count(&lane->counters.taken_over, n);
}

static void wake_others(struct lane *lane)
{
    if (!lane->wake_any)
        return;
    for (unsigned to = 0; to < lane->dev->lanes; to++) {
        if (lane->wake[to] && lane->woken)
            lane->woken(lane->woken_ctx, to);
        lane->wake[to] = false;
    }
    lane->wake_any = false;
}

unsigned lane_receive(struct lane *lane, struct net_frame **frames)
{
    CHECK(lane->frame_count == 0);
    if (lane->has_queue)
        receive_burst(lane);
    if (lane->dev->lanes > 1) {
        take_over(lane);
        wake_others(lane);
    }
    lane_count(&lane->counters.polls, 1);
    if (lane->frame_count == 0)
        lane_count(&lane->counters.polls_empty, 1);
    *frames = lane->frames;
    return lane->frame_count;
}

void lane_release(struct lane *lane)
{
    if (lane->frame_count)
        rte_pktmbuf_free_bulk(lane->received, lane->frame_count);
    lane->frame_count = 0;
}

/* --- sending --- */

/* Frames of lanes that have no queue of their own. */
static void collect_leaving(struct lane *lane)
{
    void **room = (void **)&lane->pending[lane->pending_count];
    if (lane->pending_count < LANE_PENDING_MAX)
        lane->pending_count +=
            rte_ring_sc_dequeue_burst(lane->leaving, room, DEVICE_BURST_MAX, NULL);
}

static unsigned send_to_lane0(struct lane *lane, struct rte_mbuf **frames, unsigned n)
{
    unsigned sent = rte_ring_mp_enqueue_burst(lane->all[0]->leaving, (void **)frames, n, NULL);
    if (sent < n) {
        rte_pktmbuf_free_bulk(frames + sent, n - sent);
        lane_count(&lane->counters.dropped_leaving_full, n - sent);
    }
    lane->wake[0] = lane->wake_any = true;
    return n;
}

/* Drivers may have to look at frames whose checksums the device fills in. @return how many of them,
 * from the first on, can be offered; if none, the first is dropped. */
static uint16_t prepare(struct lane *lane, struct rte_mbuf **frames, uint16_t n)
{
    uint16_t ready = rte_eth_tx_prepare(lane->dev->id, (uint16_t)lane->index, frames, n);
    if (UNLIKELY(ready == 0)) {
        rte_pktmbuf_free(frames[0]);
        lane_count(&lane->counters.dropped_unprepared, 1);
    }
    return ready;
}

/* @return how many frames are done with, sent or dropped. */
static unsigned send_to_device(struct lane *lane, struct rte_mbuf **frames, unsigned n)
{
    if (!device_enter(lane->dev, lane->index))
        return 0;
    unsigned done = 0, dropped = 0;
    while (done < n) {
        uint16_t ask = (uint16_t)(n - done < DEVICE_BURST_MAX ? n - done : DEVICE_BURST_MAX);
        if (lane->dev->tx_checksum && (ask = prepare(lane, frames + done, ask)) == 0) {
            done++, dropped++;
            continue;
        }
        uint16_t got = rte_eth_tx_burst(lane->dev->id, (uint16_t)lane->index, frames + done, ask);
        done += got;
        if (got < ask) {
            lane_count(&lane->counters.refused, 1);
            break;
        }
    }
    device_leave(lane->dev, lane->index);
    lane_count(&lane->counters.sent, done - dropped);
    return done;
}

/*
 * With the link down nothing can leave; what waits is stale by the time it is up. TCP sends again.
 */
static void drop_pending(struct lane *lane)
{
    rte_pktmbuf_free_bulk(lane->pending, lane->pending_count);
    lane->pending_count = 0;
}

unsigned lane_transmit(struct lane *lane)
{
    if (lane->leaving)
        collect_leaving(lane);
    unsigned n = lane->pending_count;
    if (n) {
        unsigned sent = lane->has_queue ? send_to_device(lane, lane->pending, n)
                                        : send_to_lane0(lane, lane->pending, n);
        lane->pending_count -= sent;
        if (lane->pending_count && !atomic_load_explicit(&lane->dev->link_up, memory_order_relaxed))
            drop_pending(lane);
        else if (lane->pending_count)
            memmove(lane->pending, lane->pending + sent,
                    lane->pending_count * sizeof(*lane->pending));
    }
    wake_others(lane);
    return lane->pending_count;
}

static uint8_t *lane_frame_alloc(void *ctx, uint16_t bytes, void **frame)
{
    struct lane *lane = ctx;
    if (lane->pending_count >= LANE_PENDING_MAX)
        (void)lane_transmit(lane);
    if (lane->spare_count == 0 && lane->pending_count < LANE_PENDING_MAX &&
        rte_pktmbuf_alloc_bulk(lane->dev->tx_pool[lane->index], lane->spare, SPARE_MBUFS) == 0)
        lane->spare_count = SPARE_MBUFS;
    if (lane->spare_count == 0 || lane->pending_count >= LANE_PENDING_MAX) {
        lane_count(&lane->counters.alloc_failed, 1);
        return NULL;
    }
    struct rte_mbuf *m = lane->spare[--lane->spare_count];
    CHECK(bytes <= rte_pktmbuf_tailroom(m));
    *frame = m;
    return rte_pktmbuf_mtod(m, uint8_t *);
}

static void lane_frame_send(void *ctx, void *frame, uint16_t len, const struct net_offload *offload)
{
    struct lane *lane = ctx;
    struct rte_mbuf *m = frame;
    m->data_len = len;
    m->pkt_len = len;
    if (offload) {
        m->l2_len = offload->l2_bytes;
        m->l3_len = offload->l3_bytes;
        m->l4_len = offload->l4_bytes;
        m->ol_flags |=
            RTE_MBUF_F_TX_TCP_CKSUM | (offload->ipv6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4);
    }
    CHECK(lane->pending_count < LANE_PENDING_MAX + DEVICE_BURST_MAX);
    lane->pending[lane->pending_count++] = m;
}

struct net_output lane_output(struct lane *lane)
{
    return (struct net_output){
        .ctx = lane, .frame_alloc = lane_frame_alloc, .frame_send = lane_frame_send};
}

/* --- making --- */

/* As !rte_ring_empty(), whose plain loads race with other lanes. What orders this look against
 * their push is the waker (waker.h, K0 and K1). */
static bool ring_waits(const struct rte_ring *ring)
{
    return __atomic_load_n(&ring->prod.tail, __ATOMIC_RELAXED) !=
           __atomic_load_n(&ring->cons.tail, __ATOMIC_RELAXED);
}

bool lane_has_work(const struct lane *lane)
{
    return ring_waits(lane->arrived) || (lane->leaving && ring_waits(lane->leaving)) ||
           lane->pending_count > 0;
}

struct lane_counters *lane_counters(struct lane *lane)
{
    return &lane->counters;
}

static struct rte_ring *ring_make(const char *what, unsigned index)
{
    char name[RTE_RING_NAMESIZE];
    snprintf(name, sizeof(name), "sengi_%s_%u", what, index);
    return rte_ring_create(name, LANE_RING_ENTRIES, SOCKET_ID_ANY, RING_F_SC_DEQ);
}

static void ring_drain(struct rte_ring *ring)
{
    void *m;
    while (ring && rte_ring_sc_dequeue(ring, &m) == 0)
        rte_pktmbuf_free(m);
    rte_ring_free(ring);
}

void lanes_destroy(struct device *dev, struct lane **lanes)
{
    for (unsigned i = 0; i < dev->lanes; i++) {
        struct lane *lane = lanes[i];
        if (!lane)
            continue;
        lane_release(lane);
        drop_pending(lane);
        rte_pktmbuf_free_bulk(lane->spare, lane->spare_count);
        ring_drain(lane->arrived);
        ring_drain(lane->leaving);
        free(lane);
        lanes[i] = NULL;
    }
}

int lanes_create(struct device *dev, struct lane **lanes, void (*woken)(void *ctx, unsigned lane),
                 void *ctx)
{
    bool ok = true;
    memset(lanes, 0, dev->lanes * sizeof(*lanes));
    for (unsigned i = 0; i < dev->lanes; i++) {
        struct lane *lane = aligned_alloc(64, (sizeof(*lane) + 63) / 64 * 64);
        if (!lane) {
            ok = false;
            break;
        }
        memset(lane, 0, sizeof(*lane));
        lanes[i] = lane;
        lane->dev = dev;
        lane->index = i;
        lane->frame_bytes_max = dev->mtu_bytes + RTE_ETHER_HDR_LEN;
        lane->has_queue = i < dev->queues;
        lane->all = lanes;
        lane->woken = woken;
        lane->woken_ctx = ctx;
        lane->arrived = ring_make("arrived", i);
        if (i == 0 && dev->queues < dev->lanes)
            lane->leaving = ring_make("leaving", i);
        ok = ok && lane->arrived && (i > 0 || dev->queues == dev->lanes || lane->leaving);
    }
    if (!ok)
        lanes_destroy(dev, lanes);
    return ok ? 0 : -1;
}
