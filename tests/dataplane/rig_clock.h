/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Virtual time: takes the place of libc's clock_gettime() in the test program, so that sessions
 * expire without waiting.
 */
#ifndef SENGI_TESTS_DATAPLANE_RIG_CLOCK_H
#define SENGI_TESTS_DATAPLANE_RIG_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RIG_CLOCK_START_US 5000000000u
/* The wall clock runs beside the monotonic one. */
#define RIG_CLOCK_WALL_US 1700000000000000u

static _Atomic uint64_t rig_clock_us = RIG_CLOCK_START_US;

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    uint64_t us = atomic_load_explicit(&rig_clock_us, memory_order_relaxed);
#ifdef RIG_CLOCK_WALL_REAL /* a fuzzer's own limits go by it */
    if (clock == CLOCK_REALTIME)
        return (int)syscall(SYS_clock_gettime, clock, ts);
#endif
    if (clock == CLOCK_REALTIME)
        us += RIG_CLOCK_WALL_US;
    ts->tv_sec = (time_t)(us / 1000000u);
    ts->tv_nsec = (long)(us % 1000000u) * 1000;
    return 0;
}

static inline void rig_clock_advance_ms(uint64_t ms)
{
    atomic_fetch_add_explicit(&rig_clock_us, ms * 1000u, memory_order_relaxed);
}

#endif
