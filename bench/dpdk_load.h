/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Closed-loop load or a watch flood over a DPDK port and our own TCP, one core, polling; and raw
 * frames for the port's own limits.
 *
 *   lane_receive -> net_burst -> on_data -> replies counted, next requests queued -> net_flush ->
 * lane_transmit
 *
 * Phases and rules are load.h's. The generator polls, so it always uses a whole CPU: as its own CPU
 * time it reports the time in turns that found frames, which tells whether it or the server was the
 * limit. The clock is read once per turn: a latency runs from the turn that queued the request to
 * the turn that received the reply.
 */
#ifndef SENGI_BENCH_DPDK_LOAD_H
#define SENGI_BENCH_DPDK_LOAD_H

#include "bench/load.h"
#include "dataplane/dpdk/lane.h"

struct dpdk_target {
    struct device *device;
    struct lane *lane;
    struct net_addr server;
    uint16_t server_port;
    struct net_interface own;
};

/** Closed loop as load_run(); options->address is not looked at. 0, or -1 with a line in `error`
 * (256 bytes). */
int dpdk_load_run(const struct load_options *options, const struct dpdk_target *target,
                  struct load_result *out, char *error);

/**
 * options->outstanding raw frames of frame_bytes bouncing off a peer that sends every frame back
 * (testpmd macswap). Latency per frame. As dpdk_load_run.
 */
int dpdk_raw_run(const struct load_options *options, const struct dpdk_target *target,
                 uint16_t frame_bytes, struct load_result *out, char *error);

#endif
