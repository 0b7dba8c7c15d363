/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The workloads: fill, closed loop, watch flood; and what they measured.
 *
 *   fill --> warm-up --> measured window --> drain
 *
 * Closed loop: every connection keeps its depth of requests in flight; a reply calls for the next
 * request. The window is bounded in time and, if asked, in count; only replies that arrive inside
 * it count. (A closed loop slows down together with the server: its latencies are service times
 * under this load, not what an open stream of arrivals would see.)
 *
 * Watch flood: connection 0 writes, the others watch one znode. A round: all watchers read it
 * leaving a watch; when all have answers, one setData; the round ends with the last event. Two
 * rates come out: events/s while delivering (from sending setData to the last event) and events/s
 * over whole rounds, re-arming included.
 */
#ifndef SENGI_BENCH_LOAD_H
#define SENGI_BENCH_LOAD_H

#include <signal.h>
#include <sys/types.h>

#include "bench/cputime.h"
#include "bench/histogram.h"
#include "bench/swarm.h"
#include "client/wire/types.h"

enum workload {
    WORKLOAD_GET,
    WORKLOAD_SET,
    WORKLOAD_CREATE,
    WORKLOAD_EXISTS,
    WORKLOAD_CHILDREN,
    WORKLOAD_PING,
    WORKLOAD_WATCH
};

struct load_options {
    const struct bench_protocol *protocol;
    enum workload workload;
    struct sockaddr_storage address;
    socklen_t address_bytes;
    struct keyspace keyspace;
    uint32_t connections;
    uint32_t outstanding; /* over all connections; >= connections */
    uint32_t keys;
    uint32_t write_percent; /* of the operations of WORKLOAD_GET */
    /* 0: writes come up on the reading connections, which wait for them. Else so many more
     * connections only write, pipelined, at write_percent of all operations as long as the server
     * keeps up; needs threads == 1. */
    uint32_t write_connections;
    double warmup_s, window_s;
    uint64_t count_max; /* replies (watch: rounds) in the window; 0 = no bound */
    uint32_t threads;
    uint64_t seed;
    pid_t server_pid; /* 0 = do not ask */
    bool fill;
    bool spin; /* generator threads never sleep; their CPU time is then the time not idle */
};

struct load_result {
    uint64_t replies, errors, events, rounds;
    int32_t first_error;       /* code of the first failed reply */
    double window_s;           /* as measured */
    double delivering_s;       /* watch flood: sum over rounds of setData sent -> last event */
    struct histogram *latency; /* reads (and every other operation that is not a write); watch:
                                  event after setData */
    struct histogram *latency_writes;
    bool server_cpu_known;
    struct cputime server_cpu, own_cpu; /* within the window */
    double steal_s;
    double others_s; /* CPU time of everybody but server and generator; needs server_pid */
};

/** Set by the signal handler: every phase ends early and the result covers what was measured. */
extern volatile sig_atomic_t load_stop;

/** Make every key exist with the keyspace's value. 0, or -1 with a line in `error` (256 bytes). */
int load_fill(const struct load_options *options, char *error);

/** Closed loop on one thread or several. 0, or -1 with a line in `error`. The result owns two
 * histograms. */
int load_run(const struct load_options *options, struct load_result *out, char *error);

/** Watch flood. As load_run. */
int load_watch(const struct load_options *options, struct load_result *out, char *error);

/** Write a line into a 256-byte error buffer; returns -1, so that the caller can end with it. */
int load_fail(char *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Histograms and zeroes. */
void load_result_init(struct load_result *r);
void load_result_free(struct load_result *r);

/** Start and end of the accounting that surrounds a window. */
struct load_account {
    struct cputime server, own;
    bool server_known;
    struct machine_time machine;
    uint64_t start_ns;
};
/** Take what a spinning generator spent on nothing out of its CPU time. */
void load_note_idle(struct load_result *r, uint64_t idle_ns);
struct load_account load_account_begin(pid_t server);
void load_account_end(const struct load_account *a, pid_t server, struct load_result *out);

#endif
