/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Removing snapshots and logs that no recovery needs (disk-formats.md section 7).
 *
 *      keep the newest n snapshots;  Z = zxid of the oldest kept
 *      keep logs with name >= Z, and the one with the greatest name <= Z;  remove the others
 *
 * Unlike Java, only snapshots that read back with good checksums count among the n
 * (ZOOKEEPER-3231).
 *
 * Context: a housekeeping thread; may run beside the log and the snapshot writer. May block.
 */
#ifndef SENGI_PERSIST_PURGE_H
#define SENGI_PERSIST_PURGE_H

#include "persist/directory.h"
#include "persist/storage.h"

#define PURGE_KEEP_MIN 3

struct purge_report {
    size_t snapshots_removed, logs_removed, snapshots_bad;
};

/**
 * @param keep  autopurge.snapRetainCount; raised to PURGE_KEEP_MIN.
 * @return 0, also when there are fewer good snapshots than `keep` (then nothing is removed but what
 *         is older than the oldest of them); storage errors: what was not removed stays.
 */
int purge_run(struct storage s, const struct directory *d, size_t keep,
              struct purge_report *report);

#endif
