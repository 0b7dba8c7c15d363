/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/logwriter.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#include "client/wire/check.h"
#include "dataplane/ring.h"

struct logwriter {
    struct logwriter_config config;
    struct txnlog *log;
    struct ring submitted, done;
    sem_t available;
    pthread_t thread;
    uint64_t cpu_us; /* of the log thread, up to the end of the last batch */
    bool stopping; /* written before the last sem_post, read after its sem_wait */
    int close_error;
};

static uint64_t clock_us(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static void write_batch(struct logwriter *w, struct log_batch *batch)
{
    uint64_t start_us = clock_us(CLOCK_MONOTONIC);
    batch->err = 0;
    if (batch->records.size)
        batch->err = txnlog_append(w->log, batch->first, batch->last, batch->records.data,
                                   batch->records.size);
    if (!batch->err && w->config.force_sync)
        batch->err = txnlog_sync(w->log);
    batch->flush_us = (uint32_t)(clock_us(CLOCK_MONOTONIC) - start_us);
    batch->log_bytes = txnlog_bytes(w->log);
    if (!batch->err && batch->roll)
        batch->err = txnlog_roll(w->log);
    uint64_t cpu_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
    batch->cpu_us = (uint32_t)(cpu_us - w->cpu_us);
    w->cpu_us = cpu_us;
}

static void *logwriter_run(void *arg)
{
    struct logwriter *w = arg;
    for (;;) {
        while (sem_wait(&w->available) != 0)
            CHECK(errno == EINTR);
        struct log_batch *batch = ring_pop(&w->submitted);
        if (!batch) {
            CHECK(w->stopping);
            break;
        }
        write_batch(w, batch);
        bool pushed = ring_push(&w->done, batch);
        CHECK(pushed);
        waker_wake(w->config.done_waker);
    }
    w->close_error = txnlog_close(w->log);
    return NULL;
}

int logwriter_start(struct logwriter **out, const struct logwriter_config *config)
{
    struct logwriter *w = aligned_alloc(64, (sizeof *w + 63) / 64 * 64);
    if (!w)
        return PERSIST_ENOMEM;
    memset(w, 0, sizeof *w);
    w->config = *config;
    int err = txnlog_open(&w->log, config->storage, config->directory, &config->options,
                          config->last_zxid);
    if (err) {
        free(w);
        return err;
    }
    if (ring_init(&w->submitted, LOG_BATCHES + 1) != 0 ||
        ring_init(&w->done, LOG_BATCHES + 1) != 0 || sem_init(&w->available, 0, 0) != 0 ||
        pthread_create(&w->thread, NULL, logwriter_run, w) != 0) {
        (void)txnlog_close(w->log); /* nothing was appended */
        ring_free(&w->submitted);
        ring_free(&w->done);
        free(w);
        return PERSIST_ENOMEM;
    }
    *out = w;
    return 0;
}

void logwriter_submit(struct logwriter *w, struct log_batch *batch)
{
    bool pushed = ring_push(&w->submitted, batch);
    CHECK(pushed);
    sem_post(&w->available);
}

struct log_batch *logwriter_done(struct logwriter *w)
{
    return ring_pop(&w->done);
}

bool logwriter_has_done(struct logwriter *w)
{
    return ring_peek(&w->done) != NULL;
}

int logwriter_stop(struct logwriter *w)
{
    w->stopping = true;
    sem_post(&w->available);
    pthread_join(w->thread, NULL);
    int err = w->close_error;
    ring_free(&w->submitted);
    ring_free(&w->done);
    sem_destroy(&w->available);
    free(w);
    return err;
}
