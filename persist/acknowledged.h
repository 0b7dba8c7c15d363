/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The companion of the log: how far it was durable. File `acknowledged` beside the logs; ZooKeeper
 * ignores it, so the log's own format stays untouched.
 *
 *      log.1f  |.......durable.......|....batch that may be half written....|
 *                                    ^durable_offset                        ^batch_end
 *
 * Without it, the last record of a log that does not check could be either: torn by a power failure
 * before anybody was told (cut it), or damaged after it was acknowledged (never cut it silently).
 *
 * Invariants
 *  1. Everything before durable_offset was synced before the claim was written; so the claim may be
 *     old, never wrong.
 *  2. A claim with batch_end == b is written before the first byte of that batch is. Thus if bytes
 *     behind b are seen, everything before b had been synced.
 *  3. Claims alternate between two slots in different pages, each with its own checksum: a torn
 *     write spoils one and leaves the one before.
 *
 * A claim costs one small write into the page cache; it is synced when a log file ends and every
 * ACKNOWLEDGED_SYNC_INTERVAL batches. Missing or spoilt is no error: then nothing is claimed.
 *
 * Context: the log thread writes; recovery reads before that thread exists.
 */
#ifndef SENGI_PERSIST_ACKNOWLEDGED_H
#define SENGI_PERSIST_ACKNOWLEDGED_H

#include "persist/storage.h"

#define ACKNOWLEDGED_NAME "acknowledged"
#define ACKNOWLEDGED_SYNC_INTERVAL 1024

struct acknowledged_claim {
    zxid_t file_zxid;        /* names the log file */
    uint64_t durable_offset; /* in that file */
    uint64_t batch_end;      /* >= durable_offset */
    zxid_t durable_zxid;     /* last txn before durable_offset, in this file or an earlier one */
};

struct acknowledged {
    struct storage s;
    int file; /* -1: could not be opened; then nothing is claimed */
    uint64_t sequence;
    uint32_t unsynced; /* claims since the last sync */
};

/** Open or create dir/acknowledged for writing. 0, or a storage error: then *a claims nothing. */
int acknowledged_open(struct acknowledged *a, struct storage s, const char *dir);

/** Write a claim. 0 or a storage error; the claim before stays readable. */
int acknowledged_write(struct acknowledged *a, const struct acknowledged_claim *claim);

/** Make the last claim durable. */
int acknowledged_sync(struct acknowledged *a);

void acknowledged_close(struct acknowledged *a);

/** Newest claim of dir. True and *claim, or false when there is none that checks. */
bool acknowledged_read(struct storage s, const char *dir, struct acknowledged_claim *claim);

/** Make dir claim nothing, durably: before history is taken back on purpose (TRUNC, SNAP). 0 or a
 * storage error. */
int acknowledged_clear(struct storage s, const char *dir);

#endif
