/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/dpdk/device.h"

#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>

#include "client/wire/check.h"
#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/rss.h"
#include "dataplane/log.h"

#define MBUF_ROOM_MIN 2048u
#define MEMIF_BSIZE_DEFAULT 2048
#define LINK_CHECK_US 1000
/* A memif client without a link starts its port again, at first and at last after so long: a start
 * that cuts off a slow peer's answer would only be cut off again by the next. */
#define RESTART_US_MIN 1000000u
#define RESTART_US_MAX 8000000u
/* The interrupt thread waits so long for a lane to leave the driver, ... */
#define HOLD_WAIT_MS_MAX 1000
/* ... and a lane stays out so long if the disconnection that was announced does not happen. */
#define HOLD_US_MAX 200000

/* --- memory --- */

static uint32_t mbuf_room(uint16_t mtu_bytes)
{
    uint32_t frame = mtu_bytes + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
    uint32_t room = frame < MBUF_ROOM_MIN ? MBUF_ROOM_MIN : (frame + 63) / 64 * 64;
    return room + RTE_PKTMBUF_HEADROOM;
}

uint32_t device_memory_mb(const struct device_config *config)
{
    uint64_t mbuf_bytes = sizeof(struct rte_mbuf) + mbuf_room(config->mtu_bytes) + 256;
    mbuf_bytes = (mbuf_bytes + 4095) / 4096 * 4096; /* without huge pages an mbuf does not cross a
                                                     * page's end */
    uint64_t bytes = config->lanes * (uint64_t)(DEVICE_RX_MBUFS + DEVICE_TX_MBUFS) * mbuf_bytes;
    return (uint32_t)(bytes >> 20) + 64;
}

static int pools_create(struct device *dev, char *error, size_t error_size)
{
    uint16_t room = (uint16_t)mbuf_room(dev->mtu_bytes);
    int socket = rte_eth_dev_socket_id(dev->id);
    for (unsigned i = 0; i < dev->lanes; i++) {
        char name[RTE_MEMPOOL_NAMESIZE];
        snprintf(name, sizeof(name), "sengi_rx_%u", i);
        dev->rx_pool[i] =
            rte_pktmbuf_pool_create(name, DEVICE_RX_MBUFS, DEVICE_MBUF_CACHE, 0, room, socket);
        snprintf(name, sizeof(name), "sengi_tx_%u", i);
        dev->tx_pool[i] =
            rte_pktmbuf_pool_create(name, DEVICE_TX_MBUFS, DEVICE_MBUF_CACHE, 0, room, socket);
        if (!dev->rx_pool[i] || !dev->tx_pool[i]) {
            snprintf(error, error_size,
                     "dpdk: no memory for packet buffers (%s): %u MB of huge pages are needed, or "
                     "-m with --no-huge",
                     rte_strerror(rte_errno),
                     device_memory_mb(&(struct device_config){.mtu_bytes = dev->mtu_bytes,
                                                              .lanes = dev->lanes}));
            return -1;
        }
    }
    return 0;
}

/* --- finding --- */

static int find_only(struct device *dev, char *error, size_t error_size)
{
    unsigned count = 0;
    uint16_t id;
    char names[256] = "";
    size_t size = 0;
    RTE_ETH_FOREACH_DEV(id) {
        char name[RTE_ETH_NAME_MAX_LEN] = "";
        (void)rte_eth_dev_get_name_by_port(id, name);
        if (size < sizeof(names))
            size += (size_t)snprintf(names + size, sizeof(names) - size, "%s%s", count ? ", " : "",
                                     name);
        dev->id = id;
        count++;
    }
    if (count == 1)
        return 0;
    if (count)
        snprintf(error, error_size, "dpdk.port: there are %u ports, name one of: %s", count, names);
    else
        snprintf(error, error_size,
                 "dpdk.port: DPDK has found no port%s%s%s; add --vdev or -a to dpdk.eal, or bind a "
                 "device",
                 *eal_first_error() ? " (" : "", eal_first_error(), *eal_first_error() ? ")" : "");
    return -1;
}

static int find(struct device *dev, const char *name, char *error, size_t error_size)
{
    if (!*name)
        return find_only(dev, error, error_size);
    if (rte_eth_dev_get_port_by_name(name, &dev->id) == 0)
        return 0;
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (*end == 0 && number < RTE_MAX_ETHPORTS && rte_eth_dev_is_valid_port((uint16_t)number)) {
        dev->id = (uint16_t)number;
        return 0;
    }
    snprintf(error, error_size, "dpdk.port: DPDK has no port named %s", name);
    return -1;
}

static bool driver_is(const struct device *dev, const char *name)
{
    return strcmp(dev->driver, name) == 0;
}

static const char *device_arguments(const struct rte_eth_dev_info *info)
{
    const struct rte_devargs *devargs = info->device ? rte_dev_devargs(info->device) : NULL;
    return devargs && devargs->args ? devargs->args : "";
}

static bool on_vdev_bus(const struct rte_eth_dev_info *info)
{
    const struct rte_bus *bus = info->device ? rte_dev_bus(info->device) : NULL;
    return bus && strcmp(rte_bus_name(bus), "vdev") == 0;
}

/* --- checking --- */

static int check_memif(struct device *dev, const struct rte_eth_dev_info *info, char *error,
                       size_t error_size)
{
    const char *arguments = device_arguments(info);
    const char *bsize_text = strstr(arguments, "bsize=");
    unsigned long bsize =
        bsize_text ? strtoul(bsize_text + strlen("bsize="), NULL, 10) : MEMIF_BSIZE_DEFAULT;
    if (dev->mtu_bytes + (unsigned)RTE_ETHER_HDR_LEN > bsize) {
        snprintf(error, error_size,
                 "dpdk.mtu: %u and %u of Ethernet header exceed memif's bsize of %lu",
                 dev->mtu_bytes, (unsigned)RTE_ETHER_HDR_LEN, bsize);
        return -1;
    }
    dev->guarded = true;
    dev->memif_client = !strstr(arguments, "role=server") && !strstr(arguments, "role=master");
    return 0;
}

static int check_mtu(const struct device *dev, const struct rte_eth_dev_info *info, char *error,
                     size_t error_size)
{
    if (dev->guarded)
        return 0; /* memif's own limit is bsize; what it reports here does not follow it */
    unsigned mtu_max = info->max_mtu;
    if (info->max_rx_pktlen != UINT32_MAX && info->max_rx_pktlen < mtu_max + RTE_ETHER_HDR_LEN)
        mtu_max = info->max_rx_pktlen - RTE_ETHER_HDR_LEN;
    if (dev->mtu_bytes <= mtu_max)
        return 0;
    snprintf(error, error_size, "dpdk.mtu: %u is more than the %u of port %s", dev->mtu_bytes,
             mtu_max, dev->name);
    return -1;
}

/* net_tap computes the checksums that it offers, in more time than we need, and has no RSS though
 * it claims every kind. Other virtual devices pass on what their backend or members can do. */
static void decide(struct device *dev, const struct device_config *config,
                   const struct rte_eth_dev_info *info)
{
    unsigned queues = dev->lanes;
    queues = queues < info->max_rx_queues ? queues : info->max_rx_queues;
    queues = queues < info->max_tx_queues ? queues : info->max_tx_queues;
    /* A memif peer decides how many rings it brings; one it has in any case. */
    if (dev->guarded || queues == 0)
        queues = 1;
    dev->queues = (uint16_t)queues;
    dev->link_events = *info->dev_flags & RTE_ETH_DEV_INTR_LSC;
    dev->tap = driver_is(dev, "net_tap");
    bool offload = config->offload == CONFIG_OFFLOAD_ON ||
                   (config->offload == CONFIG_OFFLOAD_AUTO && !dev->tap);
    dev->rx_checksum = offload && (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_TCP_CKSUM);
    dev->tx_checksum = offload && (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_TCP_CKSUM);
    dev->rss = offload && !dev->tap && queues > 1 && rss_types(info) != 0;
    dev->steering = (struct net_steering){dev->lanes, NET_STEERING_ENTRIES};
    dev->rx_interrupts = dev->tap || (config->interrupts && !on_vdev_bus(info));
}

/* --- setting up --- */

static struct rte_eth_conf device_setup(const struct device *dev,
                                        const struct rte_eth_dev_info *info)
{
    struct rte_eth_conf conf = {0};
    if (!dev->guarded)
        conf.rxmode.mtu = dev->mtu_bytes;
    if (dev->rx_checksum)
        conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
    if (dev->tx_checksum)
        conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
    if (dev->rss)
        rss_ask(info, &conf);
    conf.intr_conf.lsc = dev->link_events;
    conf.intr_conf.rxq = dev->rx_interrupts;
    return conf;
}

static int configure(struct device *dev, const struct rte_eth_dev_info *info)
{
    struct rte_eth_conf conf = device_setup(dev, info);
    int result = rte_eth_dev_configure(dev->id, dev->queues, dev->queues, &conf);
    if (result && dev->rss && rss_ask_without_key(info, &conf))
        result = rte_eth_dev_configure(dev->id, dev->queues, dev->queues, &conf);
    if (result == 0 || !dev->rx_interrupts)
        return result;
    dev->rx_interrupts = false;
    conf.intr_conf.rxq = 0;
    return rte_eth_dev_configure(dev->id, dev->queues, dev->queues, &conf);
}

static int queues_setup(struct device *dev)
{
    uint16_t rx = DEVICE_RX_DESCRIPTORS, tx = DEVICE_TX_DESCRIPTORS;
    int result = rte_eth_dev_adjust_nb_rx_tx_desc(dev->id, &rx, &tx);
    unsigned socket = (unsigned)rte_eth_dev_socket_id(dev->id);
    for (uint16_t q = 0; result == 0 && q < dev->queues; q++) {
        result = rte_eth_rx_queue_setup(dev->id, q, rx, socket, NULL, dev->rx_pool[q]);
        if (result == 0)
            result = rte_eth_tx_queue_setup(dev->id, q, tx, socket, NULL);
    }
    return result;
}

static int start(struct device *dev, const struct rte_eth_dev_info *info, char *error,
                 size_t error_size)
{
    int result = configure(dev, info);
    if (result == 0) {
        int mtu = dev->guarded ? 0 : rte_eth_dev_set_mtu(dev->id, dev->mtu_bytes);
        if (mtu != 0 && mtu != -ENOTSUP)
            result = mtu;
    }
    if (result == 0)
        result = queues_setup(dev);
    if (result == 0)
        result = rte_eth_dev_start(dev->id);
    if (result && dev->memif_client) { /* its server may come later: restart_when_due() */
        LOG_WARN("dpdk: port %s finds no memif server yet and goes on trying", dev->name);
        result = 0;
    }
    if (result == 0 && dev->rss)
        dev->steering.entries = rss_spread(dev->id, dev->queues, dev->lanes);
    if (result)
        snprintf(error, error_size, "dpdk.port: %s cannot be started: %s", dev->name,
                 rte_strerror(-result));
    return result ? -1 : 0;
}

/* --- memif's disconnections: see the head of device.h --- */

/* This thread is a lane, or lane 0 restarting its port: never waits for lanes. */
static _Thread_local bool thread_is_lane;

static void wait_outside(struct device *dev)
{
    struct timespec pause = {0, 1000};
    for (unsigned lane = 0; lane < dev->lanes; lane++) {
        for (uint32_t us = 0; us < HOLD_WAIT_MS_MAX * 1000; us++) {
            if (!atomic_load_explicit(&dev->polling[lane].inside, memory_order_seq_cst)) /* H3 */
                break;
            nanosleep(&pause, NULL);
        }
    }
}

static void hear_memif(void *ctx, const char *line)
{
    struct device *dev = ctx;
    if (strstr(line, "Disconnected, id:")) {
        atomic_store_explicit(&dev->hold, 0, memory_order_release);
    } else if (!thread_is_lane &&
               (strstr(line, "Invalid message size") || strstr(line, "Disconnect received"))) {
        atomic_store_explicit(&dev->hold, 1, memory_order_seq_cst); /* H2 */
        wait_outside(dev);
    }
}

/* --- open, close --- */

/* net_tap has the kernel send a real-time signal per frame. When their queue is full the kernel
 * sends SIGIO instead, whose default action would end the process. */
static void ignore_sigio(void)
{
    struct sigaction action;
    if (sigaction(SIGIO, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
        (void)signal(SIGIO, SIG_IGN);
}

static int prepare(struct device *dev, const struct device_config *config,
                   struct rte_eth_dev_info *info, char *error, size_t error_size)
{
    if (find(dev, config->name, error, error_size))
        return -1;
    (void)rte_eth_dev_get_name_by_port(dev->id, dev->name);
    if (rte_eth_dev_info_get(dev->id, info) || rte_eth_macaddr_get(dev->id, &dev->mac)) {
        snprintf(error, error_size, "dpdk.port: %s does not say what it can do", dev->name);
        return -1;
    }
    dev->driver = info->driver_name ? info->driver_name : "unknown driver";
    if (driver_is(dev, "net_memif") && check_memif(dev, info, error, error_size))
        return -1;
    if (check_mtu(dev, info, error, error_size))
        return -1;
    decide(dev, config, info);
    return 0;
}

int device_open(struct device *dev, const struct device_config *config, char *error,
                size_t error_size)
{
    CHECK(config->lanes >= 1 && config->lanes <= DEVICE_LANES_MAX);
    struct rte_eth_dev_info info;
    dev->lanes = config->lanes;
    dev->mtu_bytes = config->mtu_bytes;
    if (prepare(dev, config, &info, error, error_size))
        return -1;
    if (dev->tap)
        ignore_sigio();
    if (dev->guarded) {
        /* for the lines that hear_memif() needs */
        (void)rte_log_set_level_pattern("pmd.net.memif*", RTE_LOG_DEBUG);
        eal_listen(hear_memif, dev);
    }
    if (pools_create(dev, error, error_size) || start(dev, &info, error, error_size)) {
        device_close(dev);
        return -1;
    }
    return 0;
}

void device_close(struct device *dev)
{
    eal_listen(NULL, NULL);
    thread_is_lane = true;
    (void)rte_eth_dev_stop(dev->id); /* fails if it was not started: nothing to stop */
    uint16_t id;
    RTE_ETH_FOREACH_DEV(id)
        (void)rte_eth_dev_close(id); /* also ports that dpdk.eal made and nobody asked for */
    for (unsigned i = 0; i < dev->lanes; i++) {
        rte_mempool_free(dev->rx_pool[i]);
        rte_mempool_free(dev->tx_pool[i]);
    }
    thread_is_lane = false;
}

/* --- link --- */

static void restart(struct device *dev)
{
    (void)rte_eth_dev_stop(dev->id);
    int result = rte_eth_dev_start(dev->id);
    if (result)
        LOG_LIMITED(LOG_LEVEL_WARN, 1, "dpdk: port %s does not start again: %s", dev->name,
                    rte_strerror(-result));
}

/* An announced disconnection that did not happen must not keep the lanes out for ever. */
static void release_hold(struct device *dev, uint64_t now_us)
{
    if (!atomic_load_explicit(&dev->hold, memory_order_relaxed))
        dev->hold_since_us = 0;
    else if (dev->hold_since_us == 0)
        dev->hold_since_us = now_us;
    else if (now_us - dev->hold_since_us > HOLD_US_MAX)
        atomic_store_explicit(&dev->hold, 0, memory_order_release);
}

static void restart_when_due(struct device *dev, bool up, uint64_t now_us)
{
    if (up || dev->restart_us == 0) {
        dev->restart_wait_us = RESTART_US_MIN;
        dev->restart_us = now_us + dev->restart_wait_us;
    } else if (now_us >= dev->restart_us) {
        if (dev->restart_wait_us < RESTART_US_MAX)
            dev->restart_wait_us *= 2;
        dev->restart_us = now_us + dev->restart_wait_us;
        restart(dev);
    }
}

bool device_check_link(struct device *dev, uint64_t now_us)
{
    if (now_us < dev->link_check_us)
        return false;
    dev->link_check_us = now_us + LINK_CHECK_US * (dev->link_events || dev->guarded ? 1 : 100);
    thread_is_lane = true;
    if (dev->guarded)
        release_hold(dev, now_us);
    struct rte_eth_link link = {0};
    if (rte_eth_link_get_nowait(dev->id, &link))
        return false;
    bool was_up = atomic_load_explicit(&dev->link_up, memory_order_relaxed);
    if (dev->memif_client)
        restart_when_due(dev, link.link_status, now_us);
    if (was_up == (link.link_status == RTE_ETH_LINK_UP))
        return false;
    atomic_store_explicit(&dev->link_up, link.link_status, memory_order_relaxed);
    atomic_fetch_add_explicit(&dev->link_changes, 1, memory_order_relaxed);
    return !was_up;
}
