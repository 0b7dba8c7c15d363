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

/** Seconds the host has withheld from all CPUs since boot; 0 where the kernel does not say. */
double cputime_steal_s(void);

/** Monotonic clock, ns. */
uint64_t clock_ns(void);

#endif
