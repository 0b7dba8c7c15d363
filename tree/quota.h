/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Quotas (semantics.md section 15): which subtrees have one, keeping their usage, and refusing what
 * exceeds it.
 *
 *   /zookeeper/quota + S + /zookeeper_limits  exists: S is a quota root (a mark in the ledger)
 *   /zookeeper/quota + S + /zookeeper_stats   rewritten by every change at or below S, in its txn
 *
 * Is: bookkeeping on top of the store, undone with the txn. Text that clients wrote and that does
 * not parse has no effect; the node /zookeeper/quota/zookeeper_limits (a quota on nothing) is a
 * plain node.
 *
 * Finding the deepest root of a path is one pass over the path: a polynomial hash modulo 2^61 - 1
 * with a secret base, looked up at each "/". Context: writer only.
 */
#ifndef SENGI_TREE_QUOTA_H
#define SENGI_TREE_QUOTA_H

#include "client/wire/types.h"

struct tree;

struct quota {
    uint64_t base;         /* of the hash; secret */
    uint32_t longest_root; /* no root is longer, in bytes */
};

void quota_init(struct quota *q);

/** After a znode was added, before or after it is gone, after its data changed. 0 or
 * TREE_ENOMEM. */
int quota_added(struct tree *t, struct bytes path, uint32_t data_bytes);
int quota_removed(struct tree *t, struct bytes path, uint32_t data_bytes);
int quota_changed(struct tree *t, struct bytes path, uint32_t data_bytes_before,
                  uint32_t data_bytes);

/** May `count` znodes and `bytes` be added at path? @return 0 or ZK_QUOTAEXCEEDED. Only asked with
 * enforce_quota. */
int quota_check(struct tree *t, struct bytes path, int64_t count, int64_t bytes);

/** A znode found while loading. 0 or TREE_ENOMEM. */
int quota_loaded(struct tree *t, struct bytes path);
/** The last one has been: count all usage anew, as a fuzzy snapshot can have it wrong. 0 or
 * TREE_ENOMEM. */
int quota_load_end(struct tree *t);

/** count=<n>,bytes=<n>[=;byteHardLimit=<n>;countHardLimit=<n>]; -1 = not given. */
struct quota_text {
    int64_t count, bytes, byte_hard, count_hard;
};
/** @return false when it does not parse. Any thread. */
bool quota_text_read(struct bytes text, struct quota_text *out);
#define QUOTA_TEXT_BYTES_MAX 160
size_t quota_text_write(const struct quota_text *q, char out[QUOTA_TEXT_BYTES_MAX]);

#endif
