/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The data of a znode when it is large: immutable, counted, so that a reply can be sent from it.
 *
 *   version --tail--> bytes of a value <--- queued reply, unacknowledged segments (dataplane)
 *
 * The tree holds a value once, from the version that was made with it until the txn that superseded
 * that version is retired and its grace period has passed. Whoever sends from it holds it from the
 * read until the last byte is acknowledged. So it is freed when it is superseded, past a grace
 * period, sent and acknowledged, by whichever of the two lets go last.
 *
 * Ordering
 *   H0  a hold is taken inside a read-side critical section: the tree's own is given up only after
 *       a grace period, so the count is at least 1 and the increment needs no order
 *   H1  letting go is a release, and the last one acquires: without it the bytes could be freed,
 *       and used again, while another core's reads of them are still under way
 */
#ifndef SENGI_TREE_VALUE_H
#define SENGI_TREE_VALUE_H

#include <stdatomic.h>
#include <stddef.h>

#include "tree/version.h"

/**
 * Data of this size and more is a value; below, copying it twice costs no more than holding it.
 * Measured by `bench/run dpdk-value-reference` (sengi-bench-tcp values).
 */
#define VALUE_BYTES_MIN 4096u

struct value {
    _Atomic uint32_t holds;
    uint32_t size;
    uint8_t bytes[];
};

/** A copy of data, held once. NULL: out of memory. */
struct value *value_new(struct bytes data);

/** Context: any thread inside a read-side critical section that found it, or a holder. */
static inline void value_hold(struct value *value)
{
    (void)atomic_fetch_add_explicit(&value->holds, 1, memory_order_relaxed); /* H0 */
}

/** Let go of one hold; frees with the last. Context: any. */
void value_drop(struct value *value);

/** The value whose bytes these are. */
static inline struct value *value_of(const void *bytes)
{
    return (struct value *)((uintptr_t)bytes - offsetof(struct value, bytes));
}

/** The value of a live version, or NULL: its data is small. Borrowed as version_data() is. */
static inline struct value *version_value(const struct version *v)
{
    return version_data_size(v) >= VALUE_BYTES_MIN ? value_of(version_data(v).data) : NULL;
}

static_assert(VALUE_BYTES_MIN > VERSION_INLINE_BYTES_MAX, "a value lies outside its version");

#endif
