/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What the kernel says about processor time: of a process, of ourselves, and taken away by the host
 * (steal).
 */
#ifndef SENGI_BENCH_CPUTIME_H
#define SENGI_BENCH_CPUTIME_H

#include <stdint.h>
#include <sys/types.h>

struct cputime {
    double user_s, system_s;
};

/** All threads of a process, from /proc/PID/stat (resolution: one clock tick, 10 ms). 0, or -1 if
 * it is gone. */
int cputime_of_process(pid_t pid, struct cputime *out);

/** This process, all threads. */
struct cputime cputime_of_self(void);

/** Since boot, summed over all CPUs; zeroes where the kernel does not say. */
struct machine_time {
    double busy_s;  /* spent by anybody here */
    double steal_s; /* withheld by the host */
};
struct machine_time cputime_of_machine(void);

/** Monotonic clock, ns. */
uint64_t clock_ns(void);

#endif
