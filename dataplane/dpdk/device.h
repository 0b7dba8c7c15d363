/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * One Ethernet port of DPDK: found, checked, configured, started; link and teardown.
 *
 *      struct device_config --device_open()--> device info --> queues, mempools, MTU --> started
 *                                                 |
 *                        what the device cannot do is decided here, once; lanes just read it
 *
 * Invariants
 *   P1  Queue i belongs to lane i, for i < queues; 1 <= queues <= lanes. Lanes without a queue send
 *       and receive through the rings of lanes that have one.
 *   P2  A frame is never longer than what one buffer of the device holds: mtu + 14 <=
 *       frame_bytes_max, and for memif mtu + 14 <= bsize (a chain over two memif slots damages
 *       later traffic).
 *   P3  While `hold` is set, no lane is inside rx_burst or tx_burst of a memif port (see below).
 *
 * memif unmaps its rings in EAL's interrupt thread when the peer goes away, without asking whether
 * a lcore is inside rx_burst. It logs a line just before, though, in that thread: device.c listens
 * for it, sets `hold` and waits until every lane is outside. So a port of that driver is entered
 * with device_enter() and left with device_leave():
 *
 *      lane                                        interrupt thread
 *      polling = 1            (H0)                 hold = 1               (H2)
 *      hold set? then leave   (H1)                 polling set? wait      (H3)
 *      rx_burst, tx_burst                          unmap the rings
 *      polling = 0                                 hold = 0
 *
 * H0-H1 and H2-H3 are each a store before a load of the other side's variable, both sequentially
 * consistent: not both can miss the other, so either the lane leaves at once or the interrupt
 * thread waits for it.
 */
#ifndef SENGI_DATAPLANE_DPDK_DEVICE_H
#define SENGI_DATAPLANE_DPDK_DEVICE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "dataplane/config.h"
#include "dataplane/net/net.h"

#define DEVICE_LANES_MAX 64
#define DEVICE_BURST_MAX 64
#define DEVICE_RX_DESCRIPTORS 1024
#define DEVICE_TX_DESCRIPTORS 1024
/* Per lane. Received: descriptors, a burst in hand, frames on their way to other lanes. Sent:
 * descriptors and the frames that wait for room in them. */
#define DEVICE_RX_MBUFS 8191
#define DEVICE_TX_MBUFS 8191
#define DEVICE_MBUF_CACHE 256

struct device_config {
    const char *name; /* PCI address, vdev name, port number, or "": the only port there is.
                       * Borrowed */
    uint16_t mtu_bytes;
    uint16_t lanes; /* 1..DEVICE_LANES_MAX */
    bool interrupts; /* wanted: lanes will sleep */
    enum config_offload offload;
};

/** Set by a lane while it is inside the driver. */
struct device_polling {
    alignas(64) _Atomic uint32_t inside;
};

struct device {
    /* config: written by device_open() */
    uint16_t id;
    uint16_t lanes, queues;
    uint16_t mtu_bytes;
    char name[RTE_ETH_NAME_MAX_LEN];
    const char *driver;
    struct rte_ether_addr mac;
    struct net_steering steering; /* which lane owns a flow, whatever the device does */
    bool rss;          /* the device spreads flows over its queues by the same rule (rss.h) */
    bool rx_checksum;  /* it says of TCP checksums whether they are right */
    bool tx_checksum;  /* it fills them in */
    bool rx_interrupts; /* a queue has a descriptor that is readable when frames wait */
    bool tap;           /* net_tap: the kernel signals each frame */
    bool guarded;      /* memif: enter and leave */
    bool memif_client; /* restarted while the link stays down */
    bool link_events;  /* the driver keeps the link state by itself: asking for it costs no system
                        * call */
    struct rte_mempool *rx_pool[DEVICE_LANES_MAX]; /* of queue i */
    struct rte_mempool *tx_pool[DEVICE_LANES_MAX]; /* of lane i: memif's fast path wants one pool
                                                    * per burst */

    /* shared */
    alignas(64) _Atomic uint32_t hold;
    _Atomic uint32_t link_up;
    _Atomic uint64_t link_changes;
    struct device_polling polling[DEVICE_LANES_MAX];

    /* owned by lane 0 */
    uint64_t link_check_us, hold_since_us;
    uint64_t restart_us, restart_wait_us; /* of a memif client without a link */
};

/** MB of memory that device_open() will take for its mempools. */
uint32_t device_memory_mb(const struct device_config *config);

/**
 * Find and start a port. EAL runs.
 *
 * @param dev    The caller's, zeroed; in place until device_close().
 * @param error  On failure: one line without newline that says what to change.
 * @return 0 or -1 (nothing left open). Context: start-up.
 */
int device_open(struct device *dev, const struct device_config *config, char *error,
                size_t error_size);

/** Stop and release. Context: no lane uses the port any more. */
void device_close(struct device *dev);

/**
 * Lane 0, once per turn: notice the link going up or down; restart a memif client that stays down.
 *
 * A memif client that connects between its server's EAL initialisation and port start can stay down
 * for good; stopping and starting it once a second until the link is up cures it.
 *
 * @return true if the link has come up since the last call.
 */
bool device_check_link(struct device *dev, uint64_t now_us);

/** May lane `lane` call the driver now? If so it must call device_leave() afterwards, soon. */
static inline bool device_enter(struct device *dev, unsigned lane)
{
    if (!dev->guarded)
        return true;
    atomic_store_explicit(&dev->polling[lane].inside, 1, memory_order_seq_cst);         /* H0 */
    if (__builtin_expect(atomic_load_explicit(&dev->hold, memory_order_seq_cst), 0)) { /* H1 */
        atomic_store_explicit(&dev->polling[lane].inside, 0, memory_order_release);
        return false;
    }
    return true;
}

static inline void device_leave(struct device *dev, unsigned lane)
{
    if (dev->guarded)
        atomic_store_explicit(&dev->polling[lane].inside, 0, memory_order_release);
}

#endif
