/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * currentEpoch and acceptedEpoch (disk-formats.md section 2.2): two small text files in the
 * snapshot directory, replaced atomically. Standalone servers read and write neither.
 *
 * Invariant at every crash point, kept by the order in which the caller writes:
 *      epoch of the last zxid <= currentEpoch <= acceptedEpoch
 *
 * Context: control thread, may block.
 */
#ifndef SENGI_PERSIST_EPOCH_H
#define SENGI_PERSIST_EPOCH_H

#include "persist/storage.h"

struct epoch_pair {
    int64_t current;  /* currentEpoch */
    int64_t accepted; /* acceptedEpoch */
};

/**
 * Java's load rules: missing files are created from the epoch of last_zxid; a current epoch behind
 * the log is taken from currentEpoch.tmp if there is one.
 *
 * @param why  why[why_bytes]: reason in words on error.
 * @return 0; PERSIST_EREFUSED the log is ahead of currentEpoch, acceptedEpoch is behind it, or a
 * file does not hold one number; storage errors.
 */
int epoch_load(struct storage s, const char *snap_dir, zxid_t last_zxid, struct epoch_pair *out,
               char *why, size_t why_bytes);

/** Replace the file; durable when it returns 0. A failure is fatal for the term: see the invariant.
 */
int epoch_write_current(struct storage s, const char *snap_dir, int64_t epoch);
int epoch_write_accepted(struct storage s, const char *snap_dir, int64_t epoch);

#endif
