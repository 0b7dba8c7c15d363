/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "persist/logfile.h"

#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"
#include "persist/txnlog.h"

#define END_MARK 'B'
#define RECORD_BYTES_MAX (TXNLOG_RECORD_HEAD + PERSIST_ENTRY_BYTES_MAX + TXNLOG_RECORD_TAIL)
/* Holds the largest record and leaves most refills far apart. */
#define WINDOW_BYTES ((size_t)4 << 20)
/* Bytes checksummed or read again during a search, per byte of file, plus some for small files. */
#define SEARCH_WORK_FACTOR 4
#define SEARCH_WORK_BASE ((uint64_t)64 << 20)
/* A later record of the same log is at most this many epochs ahead. */
#define SEARCH_EPOCHS_MAX 65536

static_assert(WINDOW_BYTES >= 1 + RECORD_BYTES_MAX, "the window holds any record");

int logfile_open(struct logfile *f, struct storage s, const char *dir, const char *name)
{
    char path[STORAGE_PATH_BYTES_MAX];
    *f = (struct logfile){.s = s, .file = -1};
    if (storage_path(path, dir, name))
        return PERSIST_EREFUSED;
    int rc = f->file = s.ops->open(s.ctx, path, STORAGE_READ);
    if (rc < 0)
        return rc;
    rc = s.ops->size(s.ctx, f->file, &f->size);
    f->window_room = f->size < WINDOW_BYTES ? (size_t)f->size : WINDOW_BYTES;
    f->window = malloc(f->window_room + 1);
    if (!rc && !f->window)
        rc = PERSIST_ENOMEM;
    if (rc)
        logfile_close(f);
    return rc;
}

void logfile_close(struct logfile *f)
{
    if (f->file >= 0)
        f->s.ops->close(f->s.ctx, f->file);
    free(f->window);
    f->file = -1;
    f->window = NULL;
}

/* The n bytes at an offset, or NULL: behind the end of the file, or f->error is set. */
static const uint8_t *at(struct logfile *f, uint64_t offset, size_t n)
{
    CHECK(n <= WINDOW_BYTES);
    if (offset > f->size || n > f->size - offset)
        return NULL;
    CHECK(n <= f->window_room);
    if (offset < f->window_offset || offset + n > f->window_offset + f->window_bytes) {
        int64_t got = f->s.ops->pread(f->s.ctx, f->file, f->window, f->window_room, offset);
        if (got < 0 || (uint64_t)got < n) {
            f->error = got < 0 ? (int)got : PERSIST_EIO; /* shrank while being read */
            f->window_bytes = 0;
            return NULL;
        }
        f->window_offset = offset;
        f->window_bytes = (size_t)got;
    }
    return f->window + (offset - f->window_offset);
}

/* End of the last non-zero byte in [from, size), or from. */
static uint64_t nonzero_end(struct logfile *f, uint64_t from)
{
    static const uint8_t zeros[4096];
    uint64_t last = from;
    for (uint64_t o = from; o < f->size && !f->error;) {
        size_t n = f->size - o < sizeof zeros ? (size_t)(f->size - o) : sizeof zeros;
        const uint8_t *p = at(f, o, n);
        if (!p)
            break;
        if (memcmp(p, zeros, n) != 0) {
            size_t i = n;
            while (p[i - 1] == 0)
                i--;
            last = o + i;
        }
        o += n;
    }
    return last;
}

static enum logfile_state stop(struct logfile *f, enum logfile_state state, const char *reason)
{
    f->reason = reason;
    return state;
}

static enum logfile_state header_read(struct logfile *f)
{
    const uint8_t *h = at(f, 0, TXNLOG_FILE_HEADER_BYTES);
    if (f->size == 0)
        return stop(f, LOGFILE_HEADLESS, "the file is empty");
    if (!h)
        return stop(f, LOGFILE_HEADLESS, "the file ends inside its header");
    if (be32_load(h) != TXNLOG_MAGIC)
        return stop(f, LOGFILE_HEADLESS, "the file does not begin with ZKLG");
    f->offset = TXNLOG_FILE_HEADER_BYTES;
    return LOGFILE_RECORD;
}

/* Whether an intact record begins at the offset; *entry is it. NULL reason: yes. */
static const char *record_reason(struct logfile *f, uint64_t offset, struct bytes *entry)
{
    const uint8_t *p = at(f, offset, TXNLOG_RECORD_HEAD);
    if (!p)
        return "the file ends inside a record's head";
    uint64_t crc = be64_load(p);
    uint32_t n = be32_load(p + 8);
    if (n == 0)
        return "a record of length zero with data behind it";
    if (n > PERSIST_ENTRY_BYTES_MAX)
        return "a record longer than any that ZooKeeper reads";
    p = at(f, offset, TXNLOG_RECORD_HEAD + n + TXNLOG_RECORD_TAIL);
    if (!p)
        return "the file ends inside a record";
    *entry = (struct bytes){p + TXNLOG_RECORD_HEAD, n};
    if (entry->data[n] != END_MARK)
        return "a record without its end mark";
    if (crc != isal_adler32(1, entry->data, n))
        return "a record whose checksum does not match";
    return NULL;
}

static enum logfile_state record_read(struct logfile *f)
{
    struct bytes entry;
    const char *reason = record_reason(f, f->offset, &entry);
    if (f->error)
        return LOGFILE_BAD;
    if (reason) {
        uint64_t end = nonzero_end(f, f->offset);
        return end == f->offset ? stop(f, LOGFILE_END, "the records end here")
                                : stop(f, LOGFILE_BAD, reason);
    }
    int rc = txn_entry_read(entry, &f->txn);
    if (rc)
        return stop(f, LOGFILE_STRANGE, txn_error_text(rc));
    f->entry = entry;
    f->record_offset = f->offset;
    f->offset += TXNLOG_RECORD_HEAD + (uint64_t)entry.size + TXNLOG_RECORD_TAIL;
    CHECK(f->offset <= f->size);
    return LOGFILE_RECORD;
}

int logfile_next(struct logfile *f, enum logfile_state *state)
{
    CHECK(f->file >= 0 && !f->error);
    *state = LOGFILE_RECORD;
    if (f->offset == 0)
        *state = header_read(f);
    if (*state == LOGFILE_RECORD)
        *state = record_read(f);
    return f->error;
}

/* Cheap look at a head and the first bytes of the entry: could a later record begin here? */
static bool later_plausible(const uint8_t *p, size_t left, zxid_t above)
{
    if (left < TXNLOG_RECORD_HEAD + TXN_HEADER_BYTES || be32_load(p) != 0)
        return false;
    uint32_t n = be32_load(p + 8);
    if (n < TXN_HEADER_BYTES || n > PERSIST_ENTRY_BYTES_MAX)
        return false;
    const uint8_t *entry = p + TXNLOG_RECORD_HEAD;
    zxid_t zxid = (zxid_t)be64_load(entry + 12);
    if (zxid <= above || (zxid >> 32) - (above >> 32) > SEARCH_EPOCHS_MAX)
        return false;
    return txn_type_loggable((int32_t)be32_load(entry + 28));
}

static bool later_at(struct logfile *f, uint64_t offset, uint64_t *work, struct logfile_later *out)
{
    struct bytes entry = BYTES_NULL;
    uint64_t window_before = f->window_offset;
    const char *reason = record_reason(f, offset, &entry);
    *work += TXNLOG_RECORD_HEAD + entry.size;
    if (f->window_offset != window_before)
        *work += f->window_bytes;
    if (reason)
        return false;
    out->found = true;
    out->offset = offset;
    out->zxid = (zxid_t)be64_load(entry.data + 12);
    return true;
}

int logfile_find_later(struct logfile *f, uint64_t from, zxid_t above, struct logfile_later *out)
{
    const size_t least = TXNLOG_RECORD_HEAD + TXN_HEADER_BYTES + TXNLOG_RECORD_TAIL;
    uint64_t work = 0, work_max = SEARCH_WORK_BASE + f->size * SEARCH_WORK_FACTOR;
    CHECK(!f->error);
    *out = (struct logfile_later){.offset = from, .last_nonzero = nonzero_end(f, from)};
    for (uint64_t o = from; o + least <= out->last_nonzero && !f->error; o++) {
        const uint8_t *p = at(f, o, least);
        if (!p)
            break;
        size_t left = (size_t)(f->window_offset + f->window_bytes - o);
        if (!later_plausible(p, left, above))
            continue;
        if (later_at(f, o, &work, out))
            break;
        if (work > work_max) {
            out->found = true; /* cannot be told apart in bounded time: the safe side */
            out->offset = o;
            break;
        }
    }
    return f->error;
}
