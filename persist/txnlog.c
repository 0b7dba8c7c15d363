/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "persist/txnlog.h"

#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"
#include "client/wire/jute.h"
#include "client/wire/txn.h"
#include "persist/acknowledged.h"

/* Where a new file is written before it gets its name; not a name that ZooKeeper would read. */
#define TMP_NAME "tmp-log"
#define END_MARK 'B'
/* Java grows a file when less than this is left (disk-formats.md 3.7). */
#define PREALLOCATE_LOW_BYTES 4096
/*
 * Of log that stays in memory: steps of this. Only a recovery reads it again; without this each
 * page written is a new one that the kernel (and below a virtual machine its host) has to find.
 */
#define FORGET_BYTES (1u << 20)
/* Zeros are put down in steps of FILL_BYTES when less than FILL_LOW_BYTES of them are ahead. */
#define FILL_BYTES (4u << 20)
#define FILL_LOW_BYTES (1u << 20)
#define RECORD_OVERHEAD (TXNLOG_RECORD_HEAD + TXNLOG_RECORD_TAIL)

struct txnlog {
    /* config */
    struct storage s;
    struct txnlog_options options;
    char dir[STORAGE_PATH_BYTES_MAX];

    /* the current file; file == -1 between files. durable_offset <= tail */
    int file;
    zxid_t file_zxid;
    uint64_t tail;           /* where the next record goes */
    uint64_t durable_offset; /* acknowledged up to here */
    uint64_t flushed;        /* synced up to here; ahead of durable_offset after a new file only */
    uint64_t forgotten;      /* not in memory up to here; <= flushed */
    uint64_t filled;         /* zeros on the device from the tail's block up to here; 0: none */
    bool fill_refused;
    uint64_t allocated;      /* size of the file; tail <= allocated but when preallocation fails */

    /* durable_zxid <= appended_zxid */
    zxid_t appended_zxid;
    zxid_t durable_zxid;

    uint64_t rolled_bytes; /* of files ended by the size limit since the last txnlog_roll() */
    int failure;
    struct acknowledged companion;
};

static void txnlog_check(const struct txnlog *log)
{
    CHECK(log->durable_zxid <= log->appended_zxid);
    CHECK(log->durable_offset <= log->tail);
    CHECK(log->forgotten <= log->flushed);
    CHECK(log->file >= 0 || log->tail == 0);
}

int txnlog_open(struct txnlog **out, struct storage s, const char *dir,
                const struct txnlog_options *options, zxid_t last_zxid)
{
    *out = NULL;
    CHECK(last_zxid >= 0);
    if (strlen(dir) >= STORAGE_PATH_BYTES_MAX)
        return PERSIST_EREFUSED;
    struct txnlog *log = calloc(1, sizeof *log);
    if (!log)
        return PERSIST_ENOMEM;
    log->s = s;
    log->options = options ? *options : TXNLOG_OPTIONS_DEFAULT;
    memcpy(log->dir, dir, strlen(dir) + 1);
    log->file = -1;
    log->appended_zxid = log->durable_zxid = last_zxid;
    int rc = acknowledged_open(&log->companion, s, dir);
    if (rc) {
        free(log);
        return rc;
    }
    *out = log;
    return PERSIST_OK;
}

int txnlog_seal(uint8_t *record, size_t entry_bytes)
{
    if (entry_bytes > PERSIST_ENTRY_BYTES_MAX)
        return PERSIST_ETOOBIG;
    CHECK(entry_bytes >= TXN_HEADER_BYTES);
    const uint8_t *entry = record + TXNLOG_RECORD_HEAD;
    /* The entry alone, neither length nor end mark, whatever Java's comment says (section 3.2). */
    be64_store(record, isal_adler32(1, entry, entry_bytes));
    be32_store(record + 8, (uint32_t)entry_bytes);
    record[TXNLOG_RECORD_HEAD + entry_bytes] = END_MARK;
    return (int)(entry_bytes + RECORD_OVERHEAD);
}

/* A batch that is not whole records would poison the log for good: our own bug, found before it is
 * written. Checksums were made a moment ago and are left alone. */
static void batch_check(const uint8_t *batch, size_t size, zxid_t first, zxid_t last)
{
    size_t at = 0;
    zxid_t zxid = 0;
    while (at < size) {
        CHECK(size - at > RECORD_OVERHEAD + TXN_HEADER_BYTES - 1);
        size_t entry_bytes = be32_load(batch + at + 8);
        CHECK(entry_bytes >= TXN_HEADER_BYTES && entry_bytes <= PERSIST_ENTRY_BYTES_MAX);
        CHECK(entry_bytes <= size - at - RECORD_OVERHEAD);
        CHECK(batch[at + TXNLOG_RECORD_HEAD + entry_bytes] == END_MARK);
        zxid_t next = (zxid_t)be64_load(batch + at + TXNLOG_RECORD_HEAD + 12);
        CHECK(at == 0 ? next == first : next > zxid);
        zxid = next;
        at += entry_bytes + RECORD_OVERHEAD;
    }
    CHECK(at == size && zxid == last);
}

/* The first failure is final (invariant 5). */
static int fail(struct txnlog *log, int rc)
{
    CHECK(rc < 0);
    log->failure = rc;
    return rc;
}

static struct acknowledged_claim claim_of(const struct txnlog *log, uint64_t batch_end,
                                          zxid_t batch_zxid, bool whole)
{
    return (struct acknowledged_claim){.file_zxid = log->file_zxid,
                                       .durable_offset = log->durable_offset,
                                       .durable_zxid = log->durable_zxid,
                                       .batch_end = batch_end,
                                       .batch_zxid = batch_zxid,
                                       .whole = whole};
}

/* Flush the file. The transfers of batch and claim overlap; the claim must be there first. */
static int flush(struct txnlog *log)
{
    struct storage s = log->s;
    if (log->companion.in_transfer) {
        int rc = s.ops->write_out(s.ctx, log->file, false);
        if (!rc)
            rc = acknowledged_transfer(&log->companion);
        if (rc)
            return rc;
    }
    return s.ops->sync(s.ctx, log->file);
}

/* Room for `need` bytes at the tail, in units, so that most flushes find the size unchanged. No
 * space for a whole unit is no error yet: the records themselves may still fit. */
static int grow(struct txnlog *log, uint64_t need)
{
    uint64_t unit = log->options.preallocate_bytes;
    if (unit == 0 || log->tail + need + PREALLOCATE_LOW_BYTES < log->allocated)
        return PERSIST_OK;
    uint64_t end = log->allocated + unit;
    while (end < log->tail + need + PREALLOCATE_LOW_BYTES)
        end += unit;
    int rc = log->s.ops->preallocate(log->s.ctx, log->file, log->allocated, end - log->allocated);
    if (rc == PERSIST_ENOSPC)
        return PERSIST_OK;
    if (!rc)
        log->allocated = end;
    return rc;
}

static int file_fill(struct txnlog *log, const uint8_t *batch, size_t size, zxid_t last_zxid)
{
    uint8_t header[TXNLOG_FILE_HEADER_BYTES];
    be32_store(header, TXNLOG_MAGIC);
    be32_store(header + 4, 2);
    be64_store(header + 8, 0); /* dbid; Java writes 0 */
    log->allocated = log->tail = log->durable_offset = TXNLOG_FILE_HEADER_BYTES;
    struct acknowledged_claim claim = claim_of(log, log->tail + size, last_zxid, true);
    int rc = acknowledged_before(&log->companion, &claim);
    if (!rc)
        rc = storage_write(log->s, log->file, header, sizeof header, 0);
    if (!rc)
        rc = grow(log, size);
    if (!rc)
        rc = storage_write(log->s, log->file, batch, size, TXNLOG_FILE_HEADER_BYTES);
    /* Synced before it gets its name: a file system may otherwise keep the name and lose the size.
     */
    return rc ? rc : flush(log);
}

/* Create log.<first_zxid> with its first batch. Invariant 1. */
static int file_begin(struct txnlog *log, zxid_t first_zxid, zxid_t last_zxid, const uint8_t *batch,
                      size_t size)
{
    char name[DIRECTORY_NAME_BYTES_MAX], path[STORAGE_PATH_BYTES_MAX], tmp[STORAGE_PATH_BYTES_MAX];
    struct storage s = log->s;
    directory_log_name(name, first_zxid);
    if (storage_path(path, log->dir, name) || storage_path(tmp, log->dir, TMP_NAME))
        return PERSIST_EREFUSED;
    int file = s.ops->open(s.ctx, tmp, STORAGE_CREATE);
    if (file < 0)
        return file;
    log->file = file;
    log->file_zxid = first_zxid;
    int rc = file_fill(log, batch, size, last_zxid);
    if (!rc)
        rc = s.ops->rename(s.ctx, tmp, path);
    if (!rc) {
        log->flushed = log->tail + size;
        return s.ops->sync_dir(s.ctx, log->dir);
    }
    (void)s.ops->unlink(s.ctx,
                        tmp); /* best effort, gives the space back; recovery removes it too */
    return rc;
}

/* Of a block that is on the device the kernel would read the rest, if only its front was written.
 * The rest is zeros: the block that the batch ends in is written whole. */
static int cover_last_block(struct txnlog *log, size_t size)
{
    static const uint8_t zeros[STORAGE_BLOCK_BYTES];
    uint64_t end = log->tail + size, block = end / sizeof zeros * sizeof zeros;
    if (block < log->tail || block == end || block + sizeof zeros > log->filled)
        return PERSIST_OK;
    return storage_write(log->s, log->file, zeros, sizeof zeros, block);
}

static int file_continue(struct txnlog *log, zxid_t last_zxid, const uint8_t *batch, size_t size)
{
    struct acknowledged_claim claim = claim_of(log, log->tail + size, last_zxid, false);
    int rc = grow(log, size);
    if (!rc)
        rc = acknowledged_before(&log->companion, &claim);
    if (!rc)
        rc = cover_last_block(log, size);
    return rc ? rc : storage_write(log->s, log->file, batch, size, log->tail);
}

int txnlog_append(struct txnlog *log, zxid_t first_zxid, zxid_t last_zxid, const uint8_t *batch,
                  size_t size)
{
    txnlog_check(log);
    if (log->failure)
        return PERSIST_EFAILED;
    if (first_zxid <= log->appended_zxid)
        return PERSIST_EORDER;
    batch_check(batch, size, first_zxid, last_zxid);
    int rc = log->file < 0 ? file_begin(log, first_zxid, last_zxid, batch, size)
                           : file_continue(log, last_zxid, batch, size);
    if (rc)
        return fail(log, rc);
    log->tail += size;
    if (log->allocated < log->tail)
        log->allocated = log->tail;
    log->appended_zxid = last_zxid;
    txnlog_check(log);
    return PERSIST_OK;
}

static int file_end(struct txnlog *log)
{
    struct storage s = log->s;
    int rc = PERSIST_OK;
    CHECK(log->durable_offset == log->tail);
    /* Without padding the end of the file is the end of the log, to any reader. */
    if (log->allocated > log->tail) {
        rc = s.ops->truncate(s.ctx, log->file, log->tail);
        if (!rc)
            rc = s.ops->sync(s.ctx, log->file);
    }
    if (!rc)
        rc = acknowledged_sync(&log->companion);
    if (rc)
        return fail(log, rc);
    s.ops->close(s.ctx, log->file);
    log->rolled_bytes += log->tail;
    log->file = -1;
    log->tail = log->durable_offset = log->flushed = log->forgotten = log->allocated = 0;
    log->filled = 0;
    return PERSIST_OK;
}

/* The unit under the tail stays: the next append writes into its last page. */
static void forget(struct txnlog *log)
{
    uint64_t end = log->flushed / FORGET_BYTES * FORGET_BYTES;
    if (end == log->forgotten)
        return;
    log->s.ops->forget(log->s.ctx, log->file, log->forgotten, end - log->forgotten);
    log->forgotten = end;
}

int txnlog_sync(struct txnlog *log)
{
    txnlog_check(log);
    if (log->failure)
        return PERSIST_EFAILED;
    if (log->durable_zxid == log->appended_zxid)
        return PERSIST_OK;
    int rc = log->flushed == log->tail ? PERSIST_OK : flush(log);
    if (rc)
        return fail(log, rc);
    log->durable_zxid = log->appended_zxid;
    log->durable_offset = log->flushed = log->tail;
    forget(log);
    struct acknowledged_claim claim = claim_of(log, log->tail, log->durable_zxid, false);
    rc = acknowledged_after(&log->companion, &claim);
    if (rc)
        return fail(log, rc);
    if (log->options.size_limit_bytes && log->tail > log->options.size_limit_bytes)
        return file_end(log);
    txnlog_check(log);
    return PERSIST_OK;
}

void txnlog_ahead(struct txnlog *log)
{
    uint64_t unit = log->options.preallocate_bytes;
    if (log->failure || log->file < 0 || log->fill_refused || unit == 0 ||
        log->filled >= log->tail + FILL_LOW_BYTES ||
        grow(log, unit < FILL_BYTES ? unit : FILL_BYTES))
        return;
    uint64_t block = STORAGE_BLOCK_BYTES;
    uint64_t from = (log->tail + block - 1) / block * block;
    from = log->filled > from ? log->filled : from;
    uint64_t end = from + FILL_BYTES;
    end = end < log->allocated ? end : log->allocated / block * block;
    if (end <= from)
        return;
    int rc = log->s.ops->fill(log->s.ctx, log->file, from, end - from);
    if (!rc)
        log->filled = end;
    else if (rc != PERSIST_ENOSPC)
        log->fill_refused = true;
}

int txnlog_roll(struct txnlog *log)
{
    int rc = txnlog_sync(log);
    if (!rc && log->file >= 0)
        rc = file_end(log);
    if (!rc)
        log->rolled_bytes = 0;
    return rc;
}

zxid_t txnlog_durable_zxid(const struct txnlog *log)
{
    return log->durable_zxid;
}

zxid_t txnlog_appended_zxid(const struct txnlog *log)
{
    return log->appended_zxid;
}

uint64_t txnlog_bytes(const struct txnlog *log)
{
    return log->rolled_bytes + log->allocated;
}

int txnlog_failure(const struct txnlog *log)
{
    return log->failure;
}

int txnlog_close(struct txnlog *log)
{
    if (!log)
        return PERSIST_OK;
    int rc = txnlog_roll(log);
    if (log->file >= 0)
        log->s.ops->close(log->s.ctx, log->file);
    acknowledged_close(&log->companion);
    free(log);
    return rc;
}
