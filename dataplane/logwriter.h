/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The log thread: takes batches of sealed records, appends and flushes them, hands them back.
 *
 *   control --ring--> batch k+1 (what arrived meanwhile)
 *   log thread:       batch k: one pwrite, one fdatasync
 *   control <--ring-- batch k-1: durable, or the error that ends the log
 *
 * Group commit without a timer: a batch is whatever was prepared while the one before it was being
 * flushed, and longer only while reads want the CPU that the flush would take (log_submit() in
 * control.c).
 */
#ifndef SENGI_DATAPLANE_LOGWRITER_H
#define SENGI_DATAPLANE_LOGWRITER_H

#include "client/wire/buffer.h"
#include "dataplane/waker.h"
#include "persist/txnlog.h"

/**
 * Bytes of records that one batch may hold; beyond, the control core waits for the log (then it is
 * disk-bound).
 */
#define LOG_BATCH_BYTES_MAX (64u << 20)
#define LOG_BATCHES 3

struct log_batch {
    struct buffer records; /* laid out as on disk, sealed */
    zxid_t first, last;    /* 0, 0: nothing to append */
    bool roll;             /* begin a new file behind this batch */
    /* filled in by the log thread */
    int err;               /* PERSIST_* */
    uint32_t flush_us;
    uint32_t cpu_us;       /* of the log thread, for this batch */
    uint64_t log_bytes;    /* written since the last roll, padding included */
};

struct logwriter;

struct logwriter_config {
    struct storage storage;
    const char *directory;
    struct txnlog_options options;
    zxid_t last_zxid;
    bool force_sync; /* false: acknowledged before it is on disk (forceSync=no) */
    struct waker *done_waker;
};

/** Open the log and start the thread. @return 0 and *out; a PERSIST_* code. */
int logwriter_start(struct logwriter **out, const struct logwriter_config *config);
/** Hand over a batch. At most LOG_BATCHES are under way. Control core. */
void logwriter_submit(struct logwriter *w, struct log_batch *batch);
/** A batch that is done, or NULL. Control core. */
struct log_batch *logwriter_done(struct logwriter *w);
bool logwriter_has_done(struct logwriter *w);
/**
 * Finish what was submitted, close the log, end the thread. @return what closing the log returned.
 */
int logwriter_stop(struct logwriter *w);

#endif
