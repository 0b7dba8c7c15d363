/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A lane: what lies between one data core and the port. Frames in, in bursts, steered to the core
 * that owns the flow; frames out, kept until the device takes them.
 *
 *      rx queue --burst--> owner? --mine--> frames of this turn --> net_burst()
 *                            |                     ^
 *                            +--other lane's--> its `arrived` ring
 *
 *      net: frame_alloc, frame_send --> pending (in order) --burst--> tx queue, or `leaving`
 *
 *      turn:  lane_receive -> net_burst ... net_flush -> lane_transmit -> lane_release
 *
 * Which lane owns a frame: net_frame_core() says, the same for both directions of a flow, whichever
 * queue it came by. A device with RSS is set to the same rule (rss.h), so that frames arrive where
 * they belong; what does not is handed over and counted. ARP replies and neighbour advertisements
 * go to every lane, as references to one mbuf that nobody writes to.
 *
 * Bounds: a full `arrived` or `leaving` ring drops the frame and counts it (TCP repairs it); at
 * most LANE_PENDING_MAX frames wait to be sent, then frame_alloc refuses and net keeps the segment.
 *
 * Who may call: the lane's own thread; counters: any thread, relaxed.
 */
#ifndef SENGI_DATAPLANE_DPDK_LANE_H
#define SENGI_DATAPLANE_DPDK_LANE_H

#include "dataplane/dpdk/device.h"
#include "dataplane/net/net.h"

struct lane;

/* of one turn: a burst received, and as many from other lanes */
#define LANE_FRAMES_MAX (2 * DEVICE_BURST_MAX)
#define LANE_PENDING_MAX 2048
#define LANE_RING_ENTRIES 2048

#define LANE_COUNTERS(X)                                                             \
    X(polls, "turns of the loop")                                                    \
    X(polls_empty, "turns without a received frame")                                 \
    X(sleeps, "times gone to sleep")                                                 \
    X(received, "frames received from the device")                                   \
    X(sent, "frames taken by the device")                                            \
    X(handed_over, "received frames given to other lanes")                           \
    X(taken_over, "frames got from other lanes")                                     \
    X(dropped_arrived_full, "received frames dropped: ring of the owner full")       \
    X(dropped_leaving_full, "frames to send dropped: ring of the sending lane full") \
    X(dropped_segments, "received frames dropped: too many segments")                \
    X(dropped_unprepared, "frames to send dropped: the device cannot fill them in")  \
    X(segmented, "received frames of several segments, made one")                    \
    X(oversized, "received frames longer than the MTU")                              \
    X(checksum_verified, "received segments that the device vouched for")            \
    X(refused, "times that the device did not take all frames offered")              \
    X(alloc_failed, "times that no buffer to send was free")                         \
    X(held_out, "turns without polling: link about to go down")

struct lane_counters {
#define X(name, text) _Atomic uint64_t name;
    LANE_COUNTERS(X)
#undef X
};

/**
 * Make the lanes of a port, all at once: they refer to each other.
 *
 * @param lanes  dev->lanes pointers, filled in.
 * @param woken  Called by a lane's thread after it gave frames to lane `lane`, which may be asleep;
 *               NULL: nobody sleeps.
 * @return 0; -1 out of memory, nothing left.
 */
int lanes_create(struct device *dev, struct lane **lanes, void (*woken)(void *ctx, unsigned lane),
                 void *ctx);
void lanes_destroy(struct device *dev, struct lane **lanes);

/** What net_create() needs of the lane. */
struct net_output lane_output(struct lane *lane);

/**
 * Frames for this core: at most LANE_FRAMES_MAX, valid until lane_release(). @return their number.
 */
unsigned lane_receive(struct lane *lane, struct net_frame **frames);

/**
 * Offer pending frames to the device; what it refuses stays, in order. @return frames still
 * pending.
 */
unsigned lane_transmit(struct lane *lane);

/** Give back the frames of this turn. */
void lane_release(struct lane *lane);

/** Frames wait in this lane's rings. For the look before sleeping. */
bool lane_has_work(const struct lane *lane);

struct lane_counters *lane_counters(struct lane *lane);

static inline void lane_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

#endif
