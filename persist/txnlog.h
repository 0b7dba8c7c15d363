/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Writer of the transaction log: ZooKeeper's own log.<hex> files (disk-formats.md section 3).
 *
 *      batch   | head 12 | entry | 1 | head 12 | entry | 1 | ...
 *                ^crc, len         ^'B'
 *                laid out by the caller exactly as on disk, sealed in place, one pwrite
 *
 *      log.1f  | header 16 | record | record | record | 0 0 0 0 0 0 . . . . |
 *                                             ^tail      ^filled   ^preallocated end
 *
 * Is: group commit on one thread: append, sync, append, sync. Is not: a queue, a thread, a reader
 * (recover.h), a judge of what a txn says.
 *
 * Invariants
 *  1. A log.* name appears only with its header and first records behind it, and durably so when
 *     txnlog_sync() returns 0. Never an empty log.* (ZOOKEEPER-2332).
 *  2. Nothing is appended behind bytes this object did not write: a restart begins a new file.
 *  3. zxids rise within the log: first_zxid > last appended.
 *  4. durable_zxid <= appended_zxid; both only rise.
 *  5. The first failure of a write or a flush is final (fsync lies after an error: the kernel may
 *     have dropped the pages): every later call returns PERSIST_EFAILED. Recover from disk anew.
 *  6. No entry is larger than PERSIST_ENTRY_BYTES_MAX, what Java reads back by default.
 *
 * Beside the logs stands `acknowledged` (acknowledged.h), which tells a later recovery how far this
 * log was durable. Context: one log thread, which may block. No allocation after open.
 */
#ifndef SENGI_PERSIST_TXNLOG_H
#define SENGI_PERSIST_TXNLOG_H

#include "persist/directory.h"
#include "persist/storage.h"

/** Bytes that the caller leaves free before and behind each entry. */
#define TXNLOG_RECORD_HEAD 12
#define TXNLOG_RECORD_TAIL 1

/** jute.maxbuffer + extrasize at their defaults (disk-formats.md section 1). */
#define PERSIST_ENTRY_BYTES_MAX 2097150

#define TXNLOG_FILE_HEADER_BYTES 16
#define TXNLOG_MAGIC 0x5a4b4c47u /* "ZKLG" */
#define TXNLOG_PREALLOCATE_BYTES_DEFAULT (64u << 20)

struct txnlog_options {
    uint64_t preallocate_bytes; /* zookeeper.preAllocSize in bytes; 0 = none */
    uint64_t
        size_limit_bytes; /* zookeeper.txnLogSizeLimitInKb in bytes; 0 = none: roll behind it */
};

#define TXNLOG_OPTIONS_DEFAULT ((struct txnlog_options){TXNLOG_PREALLOCATE_BYTES_DEFAULT, 0})

struct txnlog;

/**
 * Make a writer. Touches no log file; the first append makes one.
 *
 * @param dir        version-2 of the log directory; copied.
 * @param last_zxid  What recovery ended with: appends must lie above it.
 * @return 0 and *out owned by the caller (txnlog_close); PERSIST_ENOMEM; a storage error.
 */
int txnlog_open(struct txnlog **out, struct storage s, const char *dir,
                const struct txnlog_options *options, zxid_t last_zxid);

/**
 * Fill crc, length and end mark around an entry.
 *
 * @param record  Start of the head; the entry lies TXNLOG_RECORD_HEAD behind it.
 * @return Bytes of the whole record; PERSIST_ETOOBIG for an entry over PERSIST_ENTRY_BYTES_MAX:
 *         nothing is written then. Any thread.
 */
int txnlog_seal(uint8_t *record, size_t entry_bytes);

/**
 * Write sealed records with one pwrite. They are durable only after txnlog_sync().
 *
 * @param first_zxid, last_zxid  Of the batch; first_zxid names the file when a new one begins.
 * @param batch  Borrowed until return. size > 0.
 * @return 0; PERSIST_EORDER first_zxid <= the last one, nothing done; PERSIST_ENOSPC and other
 *         storage errors, final; PERSIST_EFAILED.
 */
int txnlog_append(struct txnlog *log, zxid_t first_zxid, zxid_t last_zxid, const uint8_t *batch,
                  size_t size);

/**
 * Make all that was appended durable; then durable_zxid == appended_zxid.
 *
 * @return 0; a storage error, final; PERSIST_EFAILED. With nothing new it returns 0 at once.
 */
int txnlog_sync(struct txnlog *log);

/**
 * Make ready for appends to come: space, and zeros where they will go (storage.h, fill). For a
 * moment in which nobody waits for the log; may block for some milliseconds. What cannot be made
 * ready only makes the appends slower.
 */
void txnlog_ahead(struct txnlog *log);

/** End the current file: sync, cut the padding; the next append begins a new one. As txnlog_sync().
 */
int txnlog_roll(struct txnlog *log);

zxid_t txnlog_durable_zxid(const struct txnlog *log);
zxid_t txnlog_appended_zxid(const struct txnlog *log);

/** Bytes of files written since the last roll, padding included: what zookeeper.snapSizeLimitInKb
 * counts. */
uint64_t txnlog_bytes(const struct txnlog *log);

/** 0, or the error that closed the log for good. */
int txnlog_failure(const struct txnlog *log);

/** Roll, note the end in the companion, free. NULL is allowed. Returns what txnlog_roll() returned.
 */
int txnlog_close(struct txnlog *log);

#endif
