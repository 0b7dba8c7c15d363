/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * How far apart two CPUs are: nanoseconds for one cache line to pass from one to the other. A
 * virtual machine's host may move them while a benchmark runs; results of the near and the far case
 * are not comparable.
 *
 *   sengi-bench-transfer CPU CPU
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "bench/cputime.h"
#include "bench/znodes.h"
#include "client/wire/check.h"

#define ROUND_TRIPS 200000u

static struct {
    _Alignas(128) _Atomic uint32_t turn; /* even: the main thread's; odd: the other's */
} line;

static void pin(uint64_t cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    CHECK(pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0);
}

/* Each store passes the line to the other side, which spins on it. Release and acquire: nothing
 * else is shared. */
static void play(uint32_t parity)
{
    for (uint32_t i = parity; i < 2 * ROUND_TRIPS; i += 2) {
        while (atomic_load_explicit(&line.turn, memory_order_acquire) != i)
            ;
        atomic_store_explicit(&line.turn, i + 1, memory_order_release);
    }
}

static void *other(void *cpu)
{
    pin(*(uint64_t *)cpu);
    play(1);
    return NULL;
}

int main(int argc, char **argv)
{
    uint64_t a = argc > 1 ? znodes_count_argument(argv[1], 0, 1023) : 0;
    uint64_t b = argc > 2 ? znodes_count_argument(argv[2], 0, 1023) : 1;
    pthread_t thread;
    pin(a);
    CHECK(pthread_create(&thread, NULL, other, &b) == 0);
    uint64_t start_ns = clock_ns();
    play(0);
    pthread_join(thread, NULL);
    printf("{\"transfer_ns\":%.1f}\n", (double)(clock_ns() - start_ns) / (2.0 * ROUND_TRIPS));
    return 0;
}
