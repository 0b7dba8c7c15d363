/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Lanes over memory, in place of lane.c and its device: what stations need to run as they do at a
 * port, without EAL. Every ring is one of C11 atomics (dataplane/ring.h), so that TSan sees all
 * that orders one thread before another.
 *
 *    wire_put() --in--> [lane 0] --handed--> [lane 1] ...      wire_put() picks a queue by chance:
 *                          |                    |              frames reach their owner by steering
 *    wire_take() <--out----+--------------------+
 *
 * Frames are exact-size blocks of malloc. A full ring drops and counts, as a port would; frames to
 * send wait in `pending` and frame_alloc refuses beyond its size.
 *
 * A program that includes this file links sengi_dpdk but takes neither lane.c nor device.c from it.
 */
#ifndef SENGI_TESTS_DPDK_MEMORY_LANE_H
#define SENGI_TESTS_DPDK_MEMORY_LANE_H

#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"
#include "dataplane/dpdk/lane.h"
#include "dataplane/ring.h"

#define MEMORY_LANES_MAX 4
#define MEMORY_RING_ENTRIES 256
#define MEMORY_PENDING_MAX 64

struct blob {
    uint16_t len;
    uint8_t data[];
};

struct lane {
    /* config */
    unsigned index, lanes;
    struct lane *all;
    void (*wake_lane)(unsigned lane);
    void (*wake_wire)(void);
    /* shared */
    struct ring in, out;                   /* from and to the wire */
    struct ring handed[MEMORY_LANES_MAX];  /* by the lane that handed over */
    struct lane_counters counters;
    /* owned by the lane's thread */
    struct blob *received[LANE_FRAMES_MAX];
    struct net_frame frames[LANE_FRAMES_MAX];
    unsigned frame_count;
    struct blob *pending[MEMORY_PENDING_MAX];
    unsigned pending_count;
};

static inline struct blob *blob_new(const uint8_t *data, uint16_t len)
{
    struct blob *b = malloc(sizeof *b + len);
    CHECK(b);
    b->len = len;
    if (data)
        memcpy(b->data, data, len);
    return b;
}

static void lane_keep(struct lane *lane, struct blob *b)
{
    CHECK(lane->frame_count < LANE_FRAMES_MAX);
    lane->received[lane->frame_count] = b;
    lane->frames[lane->frame_count++] = (struct net_frame){.data = b->data, .len = b->len};
}

static void lane_hand(struct lane *lane, unsigned to, struct blob *b)
{
    if (!ring_push(&lane->all[to].handed[lane->index], b)) {
        free(b);
        lane_count(&lane->counters.dropped_arrived_full, 1);
        return;
    }
    lane_count(&lane->counters.handed_over, 1);
    lane->wake_lane(to);
}

static void lane_steer(struct lane *lane, struct blob *b)
{
    unsigned owner = net_frame_core(
        b->data, b->len, (struct net_steering){lane->lanes, NET_STEERING_ENTRIES});
    if (owner == NET_CORE_ALL) {
        for (unsigned to = 0; to < lane->lanes; to++)
            if (to != lane->index)
                lane_hand(lane, to, blob_new(b->data, b->len));
        owner = lane->index;
    }
    if (owner == lane->index)
        lane_keep(lane, b);
    else
        lane_hand(lane, owner, b);
}

unsigned lane_receive(struct lane *lane, struct net_frame **frames)
{
    struct blob *b;
    CHECK(lane->frame_count == 0);
    for (unsigned n = 0; n < DEVICE_BURST_MAX && (b = ring_pop(&lane->in)); n++)
        lane_steer(lane, b);
    for (unsigned from = 0; from < lane->lanes; from++)
        while (lane->frame_count < LANE_FRAMES_MAX && (b = ring_pop(&lane->handed[from])))
            lane_keep(lane, b);
    *frames = lane->frames;
    return lane->frame_count;
}

void lane_release(struct lane *lane)
{
    while (lane->frame_count)
        free(lane->received[--lane->frame_count]);
}

unsigned lane_transmit(struct lane *lane)
{
    unsigned sent = 0;
    while (sent < lane->pending_count && ring_push(&lane->out, lane->pending[sent]))
        sent++;
    lane->pending_count -= sent;
    memmove(lane->pending, lane->pending + sent, lane->pending_count * sizeof lane->pending[0]);
    if (sent)
        lane->wake_wire();
    return lane->pending_count;
}

bool lane_has_work(const struct lane *lane)
{
    struct lane *l = &lane->all[lane->index]; /* ring_count() notes what it has seen */
    bool work = ring_count(&l->in) || l->pending_count;
    for (unsigned from = 0; from < l->lanes; from++)
        work = work || ring_count(&l->handed[from]);
    return work;
}

struct lane_counters *lane_counters(struct lane *lane)
{
    return &lane->counters;
}

static uint8_t *memory_frame_alloc(void *ctx, uint16_t bytes, void **frame)
{
    struct lane *lane = ctx;
    if (lane->pending_count == MEMORY_PENDING_MAX && lane_transmit(lane) == MEMORY_PENDING_MAX)
        return NULL;
    struct blob *b = blob_new(NULL, bytes);
    *frame = b;
    return b->data;
}

static void memory_frame_send(void *ctx, void *frame, uint16_t len,
                              const struct net_offload *offload)
{
    struct lane *lane = ctx;
    struct blob *b = frame;
    CHECK(!offload && len <= b->len && lane->pending_count < MEMORY_PENDING_MAX);
    b->len = len;
    lane->pending[lane->pending_count++] = b;
}

struct net_output lane_output(struct lane *lane)
{
    return (struct net_output){
        .ctx = lane, .frame_alloc = memory_frame_alloc, .frame_send = memory_frame_send};
}

/* There is no device whose link could go down. */
bool device_check_link(struct device *dev, uint64_t now_us)
{
    (void)dev, (void)now_us;
    return false;
}

static struct lane *memory_lanes_create(unsigned lanes, void (*wake_lane)(unsigned lane),
                                        void (*wake_wire)(void))
{
    struct lane *all = aligned_alloc(64, (lanes * sizeof *all + 63) / 64 * 64);
    CHECK(all && lanes <= MEMORY_LANES_MAX);
    memset(all, 0, lanes * sizeof *all);
    for (unsigned i = 0; i < lanes; i++) {
        struct lane *l = &all[i];
        l->index = i, l->lanes = lanes, l->all = all;
        l->wake_lane = wake_lane, l->wake_wire = wake_wire;
        CHECK(ring_init(&l->in, MEMORY_RING_ENTRIES) == 0);
        CHECK(ring_init(&l->out, MEMORY_RING_ENTRIES) == 0);
        for (unsigned from = 0; from < lanes; from++)
            CHECK(ring_init(&l->handed[from], MEMORY_RING_ENTRIES) == 0);
    }
    return all;
}

static void memory_ring_drain(struct ring *ring)
{
    struct blob *b;
    while ((b = ring_pop(ring)))
        free(b);
    ring_free(ring);
}

/* After all threads that used them have ended. */
static void memory_lanes_destroy(struct lane *all)
{
    unsigned lanes = all->lanes;
    for (unsigned i = 0; i < lanes; i++) {
        struct lane *l = &all[i];
        lane_release(l);
        while (l->pending_count)
            free(l->pending[--l->pending_count]);
        memory_ring_drain(&l->in);
        memory_ring_drain(&l->out);
        for (unsigned from = 0; from < lanes; from++)
            memory_ring_drain(&l->handed[from]);
    }
    free(all);
}

#endif
