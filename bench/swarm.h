/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Many client connections to one server in one thread, on epoll.
 *
 *   caller --swarm_submit--> per-connection output --swarm_poll--> socket
 *   caller <--on_reply/on_event-- swarm_poll <-- socket
 *
 * Is: sockets, framing, request order, time stamps. Is not: a workload; what to send next is the
 * caller's decision, taken in the callbacks. One recv and one send per ready connection and turn;
 * the clock is read once per ready connection, so a latency includes the generator's own work on
 * the requests before it in the same burst (it is never flattered).
 *
 * Invariants per connection: in_flight <= depth; replies match requests in order; a jute xid that
 * does not is an error of the server and ends the run.
 */
#ifndef SENGI_BENCH_SWARM_H
#define SENGI_BENCH_SWARM_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "bench/protocol.h"

#define SWARM_CONNECTIONS_MAX 60000
#define SWARM_DEPTH_MAX 4096

struct swarm;

/* What swarm_poll tells about one reply. */
struct swarm_reply {
    uint32_t connection;
    enum bench_op op;
    struct bench_reply reply;
    uint64_t sent_ns, now_ns;
};

struct swarm_config {
    const struct bench_protocol *protocol;
    const struct keyspace *keys; /* borrowed for the swarm's life */
    struct sockaddr_storage address;
    socklen_t address_bytes;
    uint32_t connections;
    uint32_t depth; /* requests in flight per connection, at most */
    bool spin;      /* look again at once instead of sleeping: nobody pays for waking us */
    void (*on_reply)(void *context, const struct swarm_reply *reply);
    void (*on_event)(void *context, uint32_t connection, uint64_t now_ns);
    void *context;
};

/**
 * Connect all and shake hands.
 *
 * @return NULL with a line in `error` (at least 256 bytes); else a swarm owned by the caller. Waits
 * at most 60 s.
 */
struct swarm *swarm_open(const struct swarm_config *config, char *error);

/** Queue one request; it leaves with the next swarm_poll. False: depth reached, or the protocol
 * lacks the operation. */
bool swarm_submit(struct swarm *s, uint32_t connection, enum bench_op op, uint32_t key,
                  uint64_t now_ns);

/**
 * Send what is queued, wait up to timeout_ms for replies and hand them to the callbacks.
 *
 * @return 0, or -1: a connection broke or answered nonsense; swarm_error says which.
 */
int swarm_poll(struct swarm *s, int timeout_ms);

/** While spinning: ns spent in turns that found nothing. */
uint64_t swarm_idle_ns(const struct swarm *s);

/** Requests sent or queued and not yet answered, over all connections. */
uint64_t swarm_in_flight(const struct swarm *s);

/** Why swarm_poll returned -1. Borrowed from s. */
const char *swarm_error(const struct swarm *s);

/** Say goodbye where the protocol has one, close and free. NULL is allowed. */
void swarm_close(struct swarm *s);

#endif
