/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The companion of the log: how far it was durable. File `acknowledged` beside the logs; ZooKeeper
 * ignores it, so the log's own format stays untouched.
 *
 *      log.1f  |.......durable.......|....batch that may be half written....|
 *                                    ^durable_offset                        ^batch_end
 *
 * Without it, a record that does not check could be either: torn by a power failure before anybody
 * was told (cut it), or damaged after it was acknowledged (never cut it silently).
 *
 * Invariants
 *  1. Everything before durable_offset was synced before the claim was written: a claim may be old,
 *     never wrong.
 *  2. A claim with batch_end == b is written before the first byte of that batch is, and nothing
 *     behind b before that batch is synced. Thus if bytes behind b are seen, all before b was.
 *  3. While `chained`, the claim of a batch reaches the device before the flush that makes the
 *     batch durable, and so is durable whenever the batch is acknowledged. Thus nothing behind
 *     the batch_end of the newest durable claim was ever acknowledged.
 *  4. `whole`: the first batch of a file. The file gets its name only after the batch is durable,
 *     so if the name is there, so must the batch be.
 *  5. Claims made before a batch alternate between two slots, claims made after a flush have a
 *     third one, each in its own page with its own checksum: a torn write leaves the one before.
 *
 * Invariant 2 wants a sync between batches. Whoever appends several before one sync (forceSync=no)
 * may have a torn log refused after a power failure that could have been cut; nothing is lost.
 *
 * A claim costs a small write into the page cache and, while chained, an overlapped transfer; the
 * file is synced by itself only when a log file ends.
 *
 * Context: the log thread writes; recovery reads before that thread exists.
 */
#ifndef SENGI_PERSIST_ACKNOWLEDGED_H
#define SENGI_PERSIST_ACKNOWLEDGED_H

#include "persist/storage.h"

#define ACKNOWLEDGED_NAME "acknowledged"

struct acknowledged_claim {
    zxid_t file_zxid;        /* names the log file */
    uint64_t durable_offset; /* in that file */
    zxid_t durable_zxid;     /* last txn before durable_offset, in this file or an earlier one */
    uint64_t batch_end;      /* >= durable_offset */
    zxid_t batch_zxid;       /* last txn of the batch, >= durable_zxid */
    bool whole;              /* invariant 4 */
    bool chained;            /* invariant 3; set by the writer */
};

struct acknowledged {
    struct storage s;
    int file;
    uint64_t sequence; /* of the newest claim */
    uint64_t batches;  /* which of the two slots is next */
    bool chained;      /* the storage keeps invariant 3 */
    bool in_transfer;  /* a claim is on its way to the device */
};

/** Open or create dir/acknowledged for writing. 0, or a storage error. */
int acknowledged_open(struct acknowledged *a, struct storage s, const char *dir);

/** Claim before a batch is written; acknowledged_transfer() must follow before it is synced. */
int acknowledged_before(struct acknowledged *a, const struct acknowledged_claim *claim);

/** Wait until the claim of acknowledged_before() is on the device. 0 or a storage error. */
int acknowledged_transfer(struct acknowledged *a);

/** Claim after a sync: batch_end == durable_offset. Seen by whoever comes after a kill -9. */
int acknowledged_after(struct acknowledged *a, const struct acknowledged_claim *claim);

/** Make the last claim durable by itself. */
int acknowledged_sync(struct acknowledged *a);

void acknowledged_close(struct acknowledged *a);

/**
 * Newest claim of dir.
 *
 * @return 0; PERSIST_ENOENT no file; PERSIST_EDAMAGE a file without a single good claim; other
 *         storage errors.
 */
int acknowledged_read(struct storage s, const char *dir, struct acknowledged_claim *claim);

/** Make dir claim nothing, durably: before history is taken back on purpose (TRUNC, SNAP). */
int acknowledged_clear(struct storage s, const char *dir);

#endif
