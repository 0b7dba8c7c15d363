/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The DPDK port as the server sees it: a table of functions. No DPDK type appears here.
 *
 *      port.c       start and stop: EAL (eal.h), device (device.h), one station per core
 *      station.c    one core: lane (lane.h) <-> TCP (net.h) <-> connections (conn.h); the turn;
 *                   sleeping
 *      telemetry.c  /sengi/cores, /sengi/tcp, /sengi/operations for dpdk-telemetry
 */
#ifndef SENGI_DATAPLANE_DPDK_PORT_H
#define SENGI_DATAPLANE_DPDK_PORT_H

#include "dataplane/server.h"

extern const struct server_port dpdk_server_port;

#endif
