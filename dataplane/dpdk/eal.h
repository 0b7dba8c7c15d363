/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * DPDK's environment layer, tamed: started once from the words of dpdk.eal, quiet, and with one
 * line when it refuses.
 *
 *      dpdk.eal --eal_start()--> words + defaults --rte_eal_init()--> its text --> one line
 *
 * Is: arguments, capture of EAL's output, log lines of EAL and of its drivers' libraries as ours.
 * Is not: ports and queues (device.h).
 *
 * Defaults, each only where the words do not speak of it:
 *   --lcores=0@(all CPUs we may use)  EAL makes no thread of its own for work, and does not pin the
 *   calling thread
 *   --huge-unlink                     a crashed process does not keep its huge pages
 *   -m <MB>                           with --no-huge: what the mempools need; EAL's own 64 MB are
 *   too little
 *
 * EAL prints usage texts to standard output and getopt's complaints to standard error; both are
 * redirected while rte_eal_init() runs. Context: start-up, one thread.
 */
#ifndef SENGI_DATAPLANE_DPDK_EAL_H
#define SENGI_DATAPLANE_DPDK_EAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EAL_WORDS_MAX 64
#define EAL_CAPTURE_BYTES_MAX 65536

/**
 * Start EAL. At most one call per process succeeds.
 *
 * @param words      Blank-separated EAL words, as in zoo.cfg. Borrowed.
 * @param memory_mb  What mempools will need; only used with --no-huge.
 * @param error      On failure: one line without newline that says what to change.
 * @return 0 or -1.
 */
int eal_start(const char *words, uint32_t memory_mb, char *error, size_t error_size);

/**
 * The first error that DPDK logged while it started, though it did start: a --vdev that did not
 * come up, say. "" = none.
 */
const char *eal_first_error(void);

/** Before the process ends: remove EAL's files. Nothing of DPDK may be used afterwards. */
void eal_stop(void);

/**
 * Be told of each log line of DPDK, in the thread that logs it, while it logs it: the driver does
 * not go on before `hear` returns (device.c needs that for memif). One listener; NULL: none.
 */
void eal_listen(void (*hear)(void *ctx, const char *line), void *ctx);

#endif
