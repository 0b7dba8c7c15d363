/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/logwriter.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "client/wire/check.h"
#include "dataplane/ring.h"

#define SLICE_NS 100000 /* the shortest that Linux grants */

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

/* sched_setattr(2) has no wrapper in libc. */
struct sched_attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

/* This thread runs for microseconds between waits for the disk. Beside a core that polls on the
 * same CPU it would begin each time at the scheduler's next tick, milliseconds late; a thread that
 * asks for a short slice begins at once. Linux 6.12; older ones refuse or take no notice. */
static void ask_for_short_slices(void)
{
    struct sched_attributes attributes = {
        .size = sizeof attributes, .policy = SCHED_OTHER, .runtime_ns = SLICE_NS};
    errno = 0;
    attributes.nice = getpriority(PRIO_PROCESS, 0);
    if (!errno)
        (void)syscall(SYS_sched_setattr, 0, &attributes, 0); /* slower without, still right */
}

static void *logwriter_run(void *arg)
{
    struct logwriter *w = arg;
    ask_for_short_slices();
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
        txnlog_ahead(w->log);
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
