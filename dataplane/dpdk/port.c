/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/dpdk/port.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "client/wire/check.h"
#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/memif.h"
#include "dataplane/dpdk/station.h"
#include "dataplane/log.h"

#define ERROR_BYTES 512
#define CONNS_PER_CORE_MAX (1u << 18)
/* What TCP may hold of output and of input that nobody has read yet. A connection queues its output
 * itself beyond that (conn.h, C4), so this only has to cover what is on its way: 256 KiB are 20
 * Gbit/s at 100 us. */
#define TX_BYTES_PER_CONN_MAX (256u << 10)
#define BUFFER_BYTES_PER_CORE_MAX (256ull << 20)
#define KEEPALIVE_MS 7200000 /* as the kernel's default */
#define FAREWELL_US 500000

/* EAL is one per process, so this is too. */
static struct {
    struct server *server;
    bool eal_up, device_up, telemetry_up;
    unsigned stations_up;
    struct device dev;
    struct lane *lanes[DEVICE_LANES_MAX];
    struct station stations[DEVICE_LANES_MAX];
} port;

static unsigned cpus_allowed(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

static unsigned port_core_count(const struct server *server)
{
    const struct config *c = &server->config;
    unsigned count = c->dpdk_cores.count;
    if (count == 0)
        count = c->cores > 0 ? (unsigned)c->cores : cpus_allowed() > 2 ? cpus_allowed() - 1 : 1;
    return count < DEVICE_LANES_MAX ? count : DEVICE_LANES_MAX;
}

/* --- configuration --- */

static struct net_addr address_of(const struct config_address *a)
{
    struct net_addr addr;
    if (a->v6) {
        memcpy(addr.bytes, a->bytes, 16);
        return addr;
    }
    return net_addr_v4((uint32_t)a->bytes[0] << 24 | (uint32_t)a->bytes[1] << 16 |
                       (uint32_t)a->bytes[2] << 8 | a->bytes[3]);
}

static int net_configure(const struct config *c, struct net_config *out)
{
    *out = (struct net_config){.mtu = (uint16_t)c->dpdk_mtu_bytes, .listen_port_count = 1};
    memcpy(out->mac, port.dev.mac.addr_bytes, sizeof(out->mac));
    for (uint32_t i = 0; i < c->dpdk_address_count && i < NET_ADDRESSES_MAX; i++)
        out->interfaces[out->interface_count++] =
            (struct net_interface){.addr = address_of(&c->dpdk_addresses[i]),
                                   .prefix_bits = c->dpdk_addresses[i].prefix_bits};
    if (c->dpdk_gateway4_set)
        out->gateway_v4 = address_of(&c->dpdk_gateway4);
    if (c->dpdk_gateway6_set)
        out->gateway_v6 = address_of(&c->dpdk_gateway6);
    out->listen_ports[0] = (uint16_t)c->client_port;
    out->limits.conns_max = CONNS_PER_CORE_MAX;
    out->limits.tx_bytes_max = TX_BYTES_PER_CONN_MAX;
    out->limits.buffers_bytes_max = BUFFER_BYTES_PER_CORE_MAX;
    out->times.rto_min_ms = (uint32_t)c->dpdk_rto_min_ms;
    out->times.keepalive_ms = c->client_tcp_keep_alive ? KEEPALIVE_MS : 0;
    return getrandom(out->secret, sizeof(out->secret), 0) == (ssize_t)sizeof(out->secret) &&
                   getrandom(&out->seed, sizeof(out->seed), 0) == (ssize_t)sizeof(out->seed)
               ? 0
               : -1;
}

/* --- start --- */

static void woken(void *ctx, unsigned lane)
{
    struct server *server = ctx;
    waker_wake(&server->cores[lane]->waker);
}

static int stations_open(struct server *server, char *error, size_t error_size)
{
    const struct config *c = &server->config;
    bool pinned = c->dpdk_cores.count > 0 || c->dpdk_idle == CONFIG_IDLE_POLL;
    struct net_config net;
    if (lanes_create(&port.dev, port.lanes, c->dpdk_idle == CONFIG_IDLE_SLEEP ? woken : NULL,
                     server) ||
        net_configure(c, &net)) {
        snprintf(error, error_size, "dpdk: %s", strerror(errno ? errno : ENOMEM));
        return -1;
    }
    for (unsigned i = 0; i < port.dev.lanes; i++) {
        struct station *s = &port.stations[i];
        *s = (struct station){.server = server,
                              .core = server->cores[i],
                              .dev = &port.dev,
                              .lane = port.lanes[i],
                              .index = i,
                              .may_sleep = c->dpdk_idle == CONFIG_IDLE_SLEEP,
                              .cpu = -1};
        if (pinned)
            s->cpu = c->dpdk_cores.count ? c->dpdk_cores.ids[i] : (int)i;
        if (station_open(s, &net, error, error_size))
            return -1;
        port.stations_up++;
    }
    return 0;
}

/* A core that polls where it was not told to would share a CPU unasked. */
static int cpus_check(const struct config *c, char *error, size_t error_size)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed))
        return 0; /* cannot tell; the core itself will */
    for (uint32_t i = 0; i < c->dpdk_cores.count; i++) {
        if (CPU_ISSET((unsigned)c->dpdk_cores.ids[i], &allowed))
            continue;
        snprintf(error, error_size,
                 "dpdk.cores: CPU %d is not there, or not one that this process may use",
                 c->dpdk_cores.ids[i]);
        return -1;
    }
    return 0;
}

static int open_all(struct server *server, char *error, size_t error_size)
{
    const struct config *c = &server->config;
    struct device_config device = {.name = c->dpdk_port, .mtu_bytes = (uint16_t)c->dpdk_mtu_bytes,
                                   .lanes = (uint16_t)server->port_core_count,
                                   .interrupts = c->dpdk_idle == CONFIG_IDLE_SLEEP,
                                   .offload = c->dpdk_offload};
    memif_sockets_clean(c->dpdk_eal);
    if (cpus_check(c, error, error_size) ||
        eal_start(c->dpdk_eal, device_memory_mb(&device), error, error_size))
        return -1;
    port.eal_up = true;
    if (device_open(&port.dev, &device, error, error_size))
        return -1;
    port.device_up = true;
    if (stations_open(server, error, error_size))
        return -1;
    telemetry_open(port.stations, port.stations_up);
    port.telemetry_up = true;
    return 0;
}

static const char *steering_text(const struct device *dev)
{
    if (dev->lanes == 1)
        return "not needed";
    if (!dev->rss)
        return "in software";
    return dev->queues == dev->lanes ? "by the device" : "by the device to its queues";
}

static const char *checksum_text(const struct device *dev)
{
    if (dev->rx_checksum && dev->tx_checksum)
        return "by the device";
    return dev->rx_checksum   ? "of received segments by the device"
           : dev->tx_checksum ? "of sent segments by the device"
                              : "in software";
}

static const char *idle_text(const struct config *c)
{
    if (c->dpdk_idle == CONFIG_IDLE_POLL)
        return "polls";
    return port.dev.rx_interrupts && port.stations[0].rx_fd >= 0 ? "sleeps until an interrupt"
                                                                 : "sleeps in short pauses";
}

static void log_up(const struct config *c)
{
    const uint8_t *mac = port.dev.mac.addr_bytes;
    char address[64];
    struct net_addr first = address_of(&c->dpdk_addresses[0]);
    net_addr_format(&first, address, sizeof(address));
    LOG_INFO("DPDK port %s (%s, %02x:%02x:%02x:%02x:%02x:%02x, MTU %u) serves %s port %d on %u "
             "core%s; steering %s, checksums %s, idle %s",
             port.dev.name, port.dev.driver, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5],
             port.dev.mtu_bytes, address, c->client_port, port.dev.lanes,
             port.dev.lanes == 1 ? "" : "s", steering_text(&port.dev), checksum_text(&port.dev),
             idle_text(c));
}

static int port_start(struct server *server)
{
    char error[ERROR_BYTES] = "";
    CHECK(!port.server);
    port.server = server;
    if (open_all(server, error, sizeof(error))) {
        LOG_ERROR("%s", error);
        return EXIT_CODE_INVALID_INVOCATION;
    }
    log_up(&server->config);
    return 0;
}

static void port_turn(struct server *server, struct core *core, int timeout_ms)
{
    (void)server;
    station_turn(core->backend, timeout_ms);
}

static void farewell(void)
{
    uint64_t deadline_us = server_now_us() + FAREWELL_US;
    bool done = false;
    for (unsigned i = 0; i < port.stations_up; i++)
        station_farewell_begin(&port.stations[i]);
    while (!done && server_now_us() < deadline_us) {
        done = true;
        for (unsigned i = 0; i < port.stations_up; i++)
            done = station_farewell_turn(&port.stations[i]) && done;
        sched_yield();
    }
}

/* Also after a start that failed half-way. */
static void port_stop(struct server *server)
{
    (void)server;
    if (port.telemetry_up)
        telemetry_close();
    farewell();
    for (unsigned i = 0; i < port.stations_up; i++)
        station_close(&port.stations[i]);
    if (port.device_up) {
        lanes_destroy(&port.dev, port.lanes);
        device_close(&port.dev);
    }
    if (port.eal_up)
        eal_stop();
    memset(&port, 0, sizeof(port));
}

const struct server_port dpdk_server_port = {
    .start = port_start, .core_count = port_core_count, .turn = port_turn, .stop = port_stop};
