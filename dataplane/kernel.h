/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The kernel listener: TCP sockets of the operating system behind one epoll per data core.
 *
 *   turn:  epoll_wait -> one recv per ready connection into the arena
 *          core_begin_turn: V, drain
 *          parse the arena -> burst
 *          core_end_turn: one writev per connection with output
 *
 * Every data core listens by itself (SO_REUSEPORT spreads the connections). With nothing to do the
 * thread sleeps in epoll_wait, offline for RCU.
 */
#ifndef SENGI_DATAPLANE_KERNEL_H
#define SENGI_DATAPLANE_KERNEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct core;
struct kernel;

/** Connections per peer address, counted by all cores: two hashed counters per address, the smaller
 * one is the count (count-min sketch; never too small, almost never too large). */
struct peer_counts;
struct peer_counts *peer_counts_create(void);
void peer_counts_destroy(struct peer_counts *counts);
/**
 * Counts a connection; true unless there were `max` already (0: no limit), then it is not counted.
 * Any thread.
 */
bool peer_enter(struct peer_counts *counts, const struct sockaddr_storage *peer, uint32_t max);
void peer_leave(struct peer_counts *counts, const struct sockaddr_storage *peer);

struct kernel_config {
    const struct sockaddr *address;
    socklen_t address_size;
    int backlog;
    bool keepalive;
    int connections_per_address_max; /* 0 = unlimited */
    int connections_max;             /* of the whole server; 0 = unlimited */
    struct peer_counts *peers;       /* shared by all cores */
    _Atomic uint32_t *connections;   /* of the whole server */
};

/**
 * Open the listener of one core. NULL: errno says why. @param bound_port receives the port (config
 * may say 0).
 */
struct kernel *kernel_open(struct core *core, const struct kernel_config *config,
                           uint16_t *bound_port);
/** Close the listening socket and go on serving what is connected. */
void kernel_stop_listening(struct kernel *kernel);
void kernel_close(struct kernel *kernel);

/**
 * One turn of the core's loop.
 * @param timeout_ms how long the turn may sleep when nothing is ready; -1 for ever, 0 not at all.
 */
void kernel_turn(struct kernel *kernel, int timeout_ms);

#endif
