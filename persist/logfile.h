/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Reading one log file, record by record, and telling how it ends.
 *
 * Is: a cursor that never guesses: it stops at the first place where no intact record begins and
 * says what is there. Is not: the judge of what that means (recover.h).
 *
 * A record counts by its own checksum and its place, never by a marker alone. Memory: one window,
 * whatever the file; work: linear in the file.
 *
 * Context: one thread per cursor, may block.
 */
#ifndef SENGI_PERSIST_LOGFILE_H
#define SENGI_PERSIST_LOGFILE_H

#include "client/wire/txn.h"
#include "persist/directory.h"
#include "persist/storage.h"

enum logfile_state {
    LOGFILE_RECORD,   /* txn and entry are valid until the next call */
    LOGFILE_END,      /* nothing but zeros up to the end of the file */
    LOGFILE_BAD,      /* something that is no intact record; see reason */
    LOGFILE_STRANGE,  /* an intact record that cannot be decoded; see reason */
    LOGFILE_HEADLESS, /* no file header; see reason */
};

struct logfile {
    struct storage s;
    int file;
    uint64_t size;   /* of the file */
    uint64_t offset; /* where the next record would begin */
    const char *reason;

    /* The record read last */
    uint64_t record_offset;
    struct txn txn;
    struct bytes entry;

    /* Window onto the file: bytes [window_offset, window_offset + window_bytes) */
    uint8_t *window;
    uint64_t window_offset;
    size_t window_bytes, window_room; /* window_bytes <= window_room */
    int error; /* storage error that ended reading, else 0 */
};

/** Open dir/name. 0; PERSIST_ENOMEM; a storage error. Close with logfile_close(). */
int logfile_open(struct logfile *f, struct storage s, const char *dir, const char *name);

/**
 * Go to the next record.
 *
 * @param state  What was found; once it is not LOGFILE_RECORD the cursor stays there.
 * @return 0, or a storage error.
 */
int logfile_next(struct logfile *f, enum logfile_state *state);

/** What a search for later records found. */
struct logfile_later {
    bool found;
    uint64_t offset; /* of the first intact record with zxid > above */
    zxid_t zxid;
    uint64_t
        last_nonzero; /* end of the last byte that is not zero, >= from; from when all are zero */
};

/**
 * Search [from, end of file) byte by byte for intact records with a zxid above the given one.
 *
 * Work is bounded by a multiple of the file's size; bytes made to exhaust it count as a find.
 * @return 0, or a storage error.
 */
int logfile_find_later(struct logfile *f, uint64_t from, zxid_t above, struct logfile_later *out);

void logfile_close(struct logfile *f);

#endif
