/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A station: one data core at the DPDK port. Its turn:
 *
 *      lane_receive                     frames of this core (before V is loaded: core.h)
 *      core_begin_turn                  clock, V, drain
 *      net_burst -> on_data -> conn_input -> burst
 *      core_end_turn                    serve at V; output -> net_send
 *      net_timers, net_flush            segments -> lane
 *      lane_transmit, lane_release      frames leave; the received ones are given back
 *      reader_quiescent
 *
 * Invariants
 *   1. conn->net_conn != NULL exactly while TCP still knows the connection; the connection is
 *      detached in the same call that clears it.
 *   2. Input bytes referred to by the burst lie in frames that are released after the burst has
 *      run. Bytes delivered within net_flush() live only that long: the burst is run before on_data
 *      returns.
 *
 * Sleeping (dpdk.idle=sleep): after IDLE_SPIN_US without work the station waits for its waker, for
 * the queue's interrupt descriptor where the driver has one, else no longer than a pause that
 * doubles from PAUSE_US_MIN to PAUSE_US_MAX.
 */
#ifndef SENGI_DATAPLANE_DPDK_STATION_H
#define SENGI_DATAPLANE_DPDK_STATION_H

#include "dataplane/dpdk/lane.h"
#include "dataplane/net/net.h"
#include "dataplane/server.h"

/* Copy of struct net_counters, in its order, that other threads may read. */
struct station_tcp {
#define X(name, text) _Atomic uint64_t name;
    NET_COUNTERS(X)
#undef X
};

struct station {
    /* shared: written by the core's thread, every SHOW_US at least and before it sleeps */
    struct station_tcp tcp;
    /* config */
    struct server *server;
    struct core *core;
    struct device *dev;
    struct lane *lane;
    struct net *net;
    unsigned index;
    int cpu;       /* to be pinned to; -1: not */
    int rx_fd;     /* readable when the queue has frames; -1: the driver has none */
    bool may_sleep;
    /* owned by the core's thread */
    bool entered;  /* the thread has introduced itself */
    bool flushing; /* inside net_flush() */
    bool again;    /* input came within net_flush(): what it led to is handed over in another
                    * turn */
    bool closing;  /* the server stops: no new connections */
    uint64_t show_us;       /* when the copy of the counters is due */
    uint64_t idle_since_us; /* 0: not idle */
    uint32_t pause_us;
};

/**
 * A station for core; everything else is in place. @return -1: net_config_error() or out of memory,
 * said in error.
 */
int station_open(struct station *s, const struct net_config *config, char *error,
                 size_t error_size);
void station_close(struct station *s);

/** One turn; timeout_ms as kernel_turn()'s. Context: the core's thread. */
void station_turn(struct station *s, int timeout_ms);

/**
 * After the cores' threads have ended, in the thread that stops the server: FIN to every peer, then
 * turns of TCP alone, of all stations alternately since they hand frames to each other.
 *
 * @return true when nothing is left to be sent or acknowledged.
 */
void station_farewell_begin(struct station *s);
bool station_farewell_turn(struct station *s);

/* telemetry.c */
/** Register the commands. stations[0..count) must stay until telemetry_close(). */
void telemetry_open(struct station *stations, unsigned count);
void telemetry_close(void);

#endif
