/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A data core behind our own TCP, and clients behind another instance of it, joined by memory: what
 * a core does at a DPDK port, without a driver. Virtual time for TCP.
 *
 *   tcp_pair_ask    clients send requests               -> frames to the server
 *   tcp_pair_serve  the server's turn (station_turn's)  -> frames to the clients
 *   tcp_pair_hear   clients take the replies
 *
 * One thread per pair; several pairs may share one store and server struct.
 */
#ifndef SENGI_BENCH_TCP_PAIR_H
#define SENGI_BENCH_TCP_PAIR_H

#include "bench/znodes.h"

struct server;
struct tcp_pair;

struct tcp_pair_config {
    struct server *server; /* shared, of inprocess_server() */
    uint16_t core;         /* index of this pair's core */
    uint64_t znodes;       /* of znodes_build() */
    uint32_t data_bytes;
    uint32_t connections;
    uint64_t seed;
};

/** Connect all; the calling thread must be a registered reader. Exits on failure. */
struct tcp_pair *tcp_pair_create(const struct tcp_pair_config *config);

/** One connection sends `depth` getData requests of random znodes; up to 64 x 16 before
 * tcp_pair_serve. */
void tcp_pair_ask(struct tcp_pair *p, uint32_t connection, uint32_t depth);

/** Not inlined: callgrind switches its counters on and off by this name. */
__attribute__((noinline)) void tcp_pair_serve(struct tcp_pair *p);

void tcp_pair_hear(struct tcp_pair *p);

/** Bytes that all clients received, and of one reply. */
uint64_t tcp_pair_client_bytes(const struct tcp_pair *p);
uint32_t tcp_pair_reply_bytes(const struct tcp_pair *p);

/** Replies received in whole, all checked by their size. */
uint64_t tcp_pair_replies(const struct tcp_pair *p);

/** From now on the server copies values into its replies, instead of sending from them. */
void tcp_pair_copy_values(struct tcp_pair *p);

/** Frames that the server has received and sent. */
void tcp_pair_frames(const struct tcp_pair *p, uint64_t *in, uint64_t *out);

/** Heap bytes that server-side calls have taken and not given back, tables of the core and TCP
 * included. */
int64_t tcp_pair_server_bytes(const struct tcp_pair *p);

#endif
