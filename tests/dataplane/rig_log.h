/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The log thread, stepped by hand: takes the place of logwriter.c in the test program (same
 * functions, no thread), so that a test decides when a batch is durable, and whether it ever is.
 *
 *   rig_log.held      batches wait until rig_log_step(); else they are done as soon as they are
 *                     handed over
 *   rig_log.fail      the next batch and all behind it fail
 *   rig_log.cpu_us    what a batch costs the log thread
 *   rig_log.memory    nothing is written; else the real files are, as logwriter.c does
 *
 * With RIG_LOG_THREAD defined the real log thread runs, and a step of the control core waits for
 * it.
 */
#ifndef SENGI_TESTS_DATAPLANE_RIG_LOG_H
#define SENGI_TESTS_DATAPLANE_RIG_LOG_H

#include <poll.h>
#include <stdlib.h>

#include "client/wire/check.h"
#include "dataplane/control.h"
#include "dataplane/logwriter.h"

static struct {
    bool held, fail, memory;
    uint32_t cpu_us;
    uint64_t batches, records_bytes; /* done so far */
    struct logwriter *writer;
} rig_log;

#ifdef RIG_LOG_THREAD
#define RIG_LOG_IS_A_THREAD true

static inline bool rig_log_step(void)
{
    return false;
}

static inline void rig_log_wait(struct control *c)
{
    while (c->log_busy && !logwriter_has_done(c->logwriter)) {
        struct pollfd fd = {c->waker->fd, POLLIN, 0};
        waker_prepare(c->waker);
        if (!logwriter_has_done(c->logwriter) && poll(&fd, 1, -1) > 0)
            waker_drain(c->waker);
        waker_done(c->waker);
    }
}
#else
#define RIG_LOG_IS_A_THREAD false

static inline void rig_log_wait(struct control *c)
{
    (void)c; /* the test says when a batch is done */
}

struct logwriter {
    struct logwriter_config config;
    struct txnlog *log; /* NULL: memory */
    struct log_batch *submitted[LOG_BATCHES], *done[LOG_BATCHES];
    unsigned submitted_count, done_count;
};

int logwriter_start(struct logwriter **out, const struct logwriter_config *config)
{
    struct logwriter *w = calloc(1, sizeof *w);
    CHECK(w);
    w->config = *config;
    if (!rig_log.memory) {
        int err = txnlog_open(&w->log, config->storage, config->directory, &config->options,
                              config->last_zxid);
        if (err) {
            free(w);
            return err;
        }
    }
    rig_log.writer = *out = w;
    return 0;
}

static inline int rig_log_write(struct logwriter *w, struct log_batch *batch)
{
    if (rig_log.fail)
        return PERSIST_EIO;
    if (!w->log)
        return 0;
    int err = 0;
    if (batch->records.size)
        err = txnlog_append(w->log, batch->first, batch->last, batch->records.data,
                            batch->records.size);
    if (!err)
        err = txnlog_sync(w->log);
    batch->log_bytes = txnlog_bytes(w->log);
    if (!err && batch->roll)
        err = txnlog_roll(w->log);
    return err;
}

/** One batch is written. False: none waits. */
static inline bool rig_log_step(void)
{
    struct logwriter *w = rig_log.writer;
    if (!w || !w->submitted_count)
        return false;
    struct log_batch *batch = w->submitted[0];
    w->submitted_count--;
    memmove(w->submitted, w->submitted + 1, w->submitted_count * sizeof w->submitted[0]);
    batch->err = rig_log_write(w, batch);
    batch->flush_us = 0;
    batch->cpu_us = rig_log.cpu_us;
    rig_log.batches++;
    rig_log.records_bytes += batch->records.size;
    CHECK(w->done_count < LOG_BATCHES);
    w->done[w->done_count++] = batch;
    return true;
}

void logwriter_submit(struct logwriter *w, struct log_batch *batch)
{
    CHECK(w->submitted_count < LOG_BATCHES);
    w->submitted[w->submitted_count++] = batch;
    if (!rig_log.held)
        rig_log_step();
}

struct log_batch *logwriter_done(struct logwriter *w)
{
    if (!w->done_count)
        return NULL;
    struct log_batch *batch = w->done[0];
    w->done_count--;
    memmove(w->done, w->done + 1, w->done_count * sizeof w->done[0]);
    return batch;
}

bool logwriter_has_done(struct logwriter *w)
{
    return w->done_count > 0;
}

int logwriter_stop(struct logwriter *w)
{
    while (rig_log_step())
        continue;
    int err = w->log ? txnlog_close(w->log) : 0;
    rig_log.writer = NULL;
    free(w);
    return err;
}
#endif

#endif
