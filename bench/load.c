/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/load.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/wire/check.h"

#define DRAIN_NS (2ull * 1000000000u)
#define FILL_NS_MAX (300ull * 1000000000u)
#define FILL_CONNECTIONS 4
#define FILL_DEPTH 128
#define WRITER_DEPTH 64 /* requests in flight per connection that only writes */

volatile sig_atomic_t load_stop;

int load_fail(char *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, 256, format, arguments);
    va_end(arguments);
    return -1;
}

void load_result_init(struct load_result *r)
{
    *r = (struct load_result){0};
    r->latency = calloc(1, sizeof *r->latency);
    r->latency_writes = calloc(1, sizeof *r->latency_writes);
    CHECK(r->latency && r->latency_writes);
}

void load_result_free(struct load_result *r)
{
    free(r->latency);
    free(r->latency_writes);
}

struct load_account load_account_begin(pid_t server)
{
    struct load_account a = {.machine = cputime_of_machine(), .own = cputime_of_self()};
    a.server_known = server > 0 && cputime_of_process(server, &a.server) == 0;
    a.start_ns = clock_ns();
    return a;
}

static struct cputime spent(struct cputime end, struct cputime start)
{
    return (struct cputime){end.user_s - start.user_s, end.system_s - start.system_s};
}

void load_account_end(const struct load_account *a, pid_t server, struct load_result *out)
{
    struct cputime peer;
    out->window_s = (double)(clock_ns() - a->start_ns) / 1e9;
    out->own_cpu = spent(cputime_of_self(), a->own);
    out->server_cpu_known = a->server_known && cputime_of_process(server, &peer) == 0;
    struct machine_time machine = cputime_of_machine();
    out->steal_s = machine.steal_s - a->machine.steal_s;
    if (!out->server_cpu_known)
        return;
    out->server_cpu = spent(peer, a->server);
    double others_s = machine.busy_s - a->machine.busy_s - out->own_cpu.user_s
                      - out->own_cpu.system_s - out->server_cpu.user_s - out->server_cpu.system_s;
    out->others_s = others_s > 0 ? others_s : 0; /* clocks of different grain */
}

void load_note_idle(struct load_result *r, uint64_t idle_ns)
{
    double idle_s = (double)idle_ns / 1e9;
    double own_s = r->own_cpu.user_s + r->own_cpu.system_s;
    double share = own_s > 0 && idle_s < own_s ? 1 - idle_s / own_s : 1;
    r->own_cpu.user_s *= share;
    r->own_cpu.system_s *= share;
}

/* ---- fill ---- */

struct fill {
    struct swarm *swarm;
    enum bench_op op;
    uint32_t next, done, keys;
    bool existed;
    int32_t error;
};

static void fill_next(struct fill *f, uint32_t connection)
{
    if (f->next < f->keys && swarm_submit(f->swarm, connection, f->op, f->next, 0))
        f->next++;
}

static void fill_on_reply(void *context, const struct swarm_reply *r)
{
    struct fill *f = context;
    f->done++;
    if (r->reply.error == ZK_NODEEXISTS)
        f->existed = true;
    else if (r->reply.error)
        f->error = r->reply.error;
    fill_next(f, r->connection);
}

/* One operation on keys 0 .. keys-1, each once. */
static int fill_pass(const struct load_options *o, enum bench_op op, uint32_t keys, bool *existed,
                     char *error)
{
    struct fill f = {.op = op, .keys = keys};
    struct swarm_config config = {
        .protocol = o->protocol,
        .keys = &o->keyspace,
        .address = o->address,
        .address_bytes = o->address_bytes,
        .connections = FILL_CONNECTIONS,
        .depth = FILL_DEPTH,
        .on_reply = fill_on_reply,
        .context = &f,
    };
    f.swarm = swarm_open(&config, error);
    if (!f.swarm)
        return -1;
    for (uint32_t i = 0; i < FILL_CONNECTIONS * FILL_DEPTH; i++)
        fill_next(&f, i % FILL_CONNECTIONS);
    uint64_t end_ns = clock_ns() + FILL_NS_MAX;
    int rc = 0;
    while (rc == 0 && f.done < f.keys && !load_stop && clock_ns() < end_ns)
        rc = swarm_poll(f.swarm, 100);
    if (rc < 0)
        load_fail(error, "fill: %s", swarm_error(f.swarm));
    else if (f.error)
        rc = load_fail(error, "fill: error %d (%s)", f.error, zk_error_text(f.error));
    else if (f.done < f.keys)
        rc = load_fail(error, "fill: stopped at %u of %u keys", f.done, f.keys);
    if (existed)
        *existed = f.existed;
    swarm_close(f.swarm);
    return rc;
}

int load_fill(const struct load_options *o, char *error)
{
    bool existed = false;
    if (o->protocol != &protocol_zk)
        return fill_pass(o, BENCH_SET, o->keys, NULL, error);
    if (fill_pass(o, BENCH_CREATE_PREFIX, 1, NULL, error) < 0)
        return -1;
    if (o->workload == WORKLOAD_CREATE || o->workload == WORKLOAD_PING)
        return 0;
    if (fill_pass(o, BENCH_CREATE, o->keys, &existed, error) < 0)
        return -1;
    /* What was there before may have another value: make all alike. */
    return existed ? fill_pass(o, BENCH_SET, o->keys, NULL, error) : 0;
}

/* ---- closed loop ---- */

enum phase { PHASE_WARMUP, PHASE_WINDOW, PHASE_DRAIN };

struct worker {
    const struct load_options *options;
    struct swarm *swarm;
    uint32_t first_connection, connections; /* of the run's connections: this worker's share */
    uint32_t create_key, create_step;
    uint32_t write_credit, writer_next; /* of write_connections: share owed, whose turn */
    uint64_t random;
    enum phase phase;
    pthread_barrier_t *start, *end;
    uint64_t window_end_ns; /* set by the main thread between the two barriers of `start` */
    struct load_result result;
    uint64_t idle_ns; /* of the window */
    char error[256];
    bool failed;
};

static uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* Uniform in [0, bound) without a division (Lemire). */
static uint32_t random_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)(((random_next(state) >> 32) * bound) >> 32);
}

static void submit_next(struct worker *w, uint32_t connection, uint64_t now_ns)
{
    const struct load_options *o = w->options;
    static const enum bench_op op_of[] = {
        [WORKLOAD_GET] = BENCH_GET,           [WORKLOAD_SET] = BENCH_SET,
        [WORKLOAD_CREATE] = BENCH_CREATE,     [WORKLOAD_EXISTS] = BENCH_EXISTS,
        [WORKLOAD_CHILDREN] = BENCH_CHILDREN, [WORKLOAD_PING] = BENCH_PING,
    };
    enum bench_op op = op_of[o->workload];
    uint32_t key = random_below(&w->random, o->keys);
    if (o->write_percent && !o->write_connections
        && random_below(&w->random, 100) < o->write_percent)
        op = BENCH_SET;
    if (op == BENCH_CREATE) {
        key = w->create_key;
        w->create_key += w->create_step;
    }
    (void)swarm_submit(w->swarm, connection, op, key,
                       now_ns); /* room is there: one reply, one request */
}

/* A read was answered: the share of writes that goes with it falls due on the writing connections.
 */
static void submit_writes(struct worker *w, uint64_t now_ns)
{
    const struct load_options *o = w->options;
    w->write_credit += o->write_percent;
    if (w->write_credit < 100 - o->write_percent)
        return;
    w->write_credit -= 100 - o->write_percent;
    for (uint32_t tries = 0; tries < o->write_connections; tries++) {
        uint32_t writer = w->connections + w->writer_next;
        w->writer_next = (w->writer_next + 1) % o->write_connections;
        uint32_t key = random_below(&w->random, o->keys);
        if (swarm_submit(w->swarm, writer, BENCH_SET, key, now_ns))
            return;
    }
    /* All writers are full: the server is behind, and the share of writes in the result shows it.
     */
}

static bool reply_is_wrong(const struct worker *w, const struct swarm_reply *r)
{
    const struct load_options *o = w->options;
    if (r->reply.error)
        return true;
    return r->op == BENCH_GET && r->reply.data_bytes != o->keyspace.value_bytes;
}

static void run_on_reply(void *context, const struct swarm_reply *r)
{
    struct worker *w = context;
    if (w->phase == PHASE_WINDOW) {
        bool write = r->op == BENCH_SET || r->op == BENCH_CREATE;
        histogram_record(write ? w->result.latency_writes : w->result.latency,
                         r->now_ns - r->sent_ns);
        w->result.replies++;
    }
    if (UNLIKELY(reply_is_wrong(w, r)) && w->result.errors++ == 0)
        w->result.first_error = r->reply.error;
    if (w->phase == PHASE_DRAIN || r->connection >= w->connections)
        return;
    submit_next(w, r->connection, r->now_ns);
    if (w->options->write_connections)
        submit_writes(w, r->now_ns);
}

static int run_until(struct worker *w, uint64_t end_ns, uint64_t count_max)
{
    while (!load_stop && clock_ns() < end_ns && (count_max == 0 || w->result.replies < count_max))
        if (swarm_poll(w->swarm, 10) < 0)
            return -1;
    return 0;
}

static int worker_open(struct worker *w)
{
    const struct load_options *o = w->options;
    uint32_t depth = (o->outstanding + o->connections - 1) / o->connections;
    if (o->write_connections && depth < WRITER_DEPTH)
        depth = WRITER_DEPTH; /* a bound only: readers keep their own count in flight */
    struct swarm_config config = {
        .protocol = o->protocol,
        .keys = &o->keyspace,
        .address = o->address,
        .address_bytes = o->address_bytes,
        .connections = w->connections + o->write_connections,
        .depth = depth,
        .spin = o->spin,
        .on_reply = run_on_reply,
        .context = w,
    };
    w->swarm = swarm_open(&config, w->error);
    if (!w->swarm)
        return -1;
    uint64_t now_ns = clock_ns();
    for (uint32_t i = 0; i < w->connections; i++) {
        uint32_t n = o->outstanding / o->connections
                     + (w->first_connection + i < o->outstanding % o->connections ? 1 : 0);
        for (uint32_t d = 0; d < n; d++)
            submit_next(w, i, now_ns);
    }
    return 0;
}

/* Barriers: all workers are warm -> main takes the account and sets the end -> window -> all done
 * -> main closes it. */
static void *worker_main(void *argument)
{
    struct worker *w = argument;
    const struct load_options *o = w->options;
    w->failed =
        worker_open(w) < 0 || run_until(w, clock_ns() + (uint64_t)(o->warmup_s * 1e9), 0) < 0;
    pthread_barrier_wait(w->start);
    pthread_barrier_wait(w->start);
    w->phase = PHASE_WINDOW;
    uint64_t idle_before_ns = w->swarm ? swarm_idle_ns(w->swarm) : 0;
    uint64_t count = o->count_max ? (o->count_max + o->threads - 1) / o->threads : 0;
    if (!w->failed)
        w->failed = run_until(w, w->window_end_ns, count) < 0;
    w->phase = PHASE_DRAIN;
    w->idle_ns = w->swarm ? swarm_idle_ns(w->swarm) - idle_before_ns : 0;
    pthread_barrier_wait(w->end);
    uint64_t drain_end_ns = clock_ns() + DRAIN_NS;
    while (!w->failed && swarm_in_flight(w->swarm) && clock_ns() < drain_end_ns)
        w->failed = swarm_poll(w->swarm, 10) < 0;
    if (w->failed && w->swarm)
        snprintf(w->error, sizeof w->error, "%s", swarm_error(w->swarm));
    swarm_close(w->swarm);
    return NULL;
}

static void workers_prepare(const struct load_options *o, struct worker *workers,
                            pthread_barrier_t *start, pthread_barrier_t *end)
{
    uint32_t first = 0;
    for (uint32_t i = 0; i < o->threads; i++) {
        struct worker *w = &workers[i];
        *w = (struct worker){.options = o, .first_connection = first, .start = start, .end = end};
        w->connections = o->connections / o->threads + (i < o->connections % o->threads ? 1 : 0);
        w->random = (o->seed + i) * 0x9e3779b97f4a7c15u | 1;
        /* Names not used by an earlier run against the same server. */
        w->create_key = (uint32_t)((uint64_t)time(NULL) % 100000 * 40000) + i;
        w->create_step = o->threads;
        load_result_init(&w->result);
        first += w->connections;
    }
}

static int workers_collect(const struct load_options *o, struct worker *workers,
                           struct load_result *out, char *error)
{
    int rc = 0;
    for (uint32_t i = 0; i < o->threads; i++) {
        struct worker *w = &workers[i];
        if (out->errors == 0)
            out->first_error = w->result.first_error;
        out->errors += w->result.errors;
        out->replies += w->result.replies;
        load_note_idle(out, w->idle_ns);
        histogram_merge(out->latency, w->result.latency);
        histogram_merge(out->latency_writes, w->result.latency_writes);
        if (w->failed && rc == 0)
            rc = load_fail(error, "%s", w->error);
        load_result_free(&w->result);
    }
    return rc;
}

int load_run(const struct load_options *o, struct load_result *out, char *error)
{
    CHECK(o->threads >= 1 && o->connections >= o->threads && o->outstanding >= o->connections);
    struct worker *workers = calloc(o->threads, sizeof *workers);
    pthread_t *threads = calloc(o->threads, sizeof *threads);
    CHECK(workers && threads);
    pthread_barrier_t start, end;
    CHECK(pthread_barrier_init(&start, NULL, o->threads + 1) == 0);
    CHECK(pthread_barrier_init(&end, NULL, o->threads + 1) == 0);
    workers_prepare(o, workers, &start, &end);
    for (uint32_t i = 0; i < o->threads; i++)
        CHECK(pthread_create(&threads[i], NULL, worker_main, &workers[i]) == 0);
    pthread_barrier_wait(&start);
    struct load_account account = load_account_begin(o->server_pid);
    for (uint32_t i = 0; i < o->threads; i++)
        workers[i].window_end_ns = account.start_ns + (uint64_t)(o->window_s * 1e9);
    pthread_barrier_wait(&start);
    pthread_barrier_wait(&end);
    load_account_end(&account, o->server_pid, out);
    for (uint32_t i = 0; i < o->threads; i++)
        pthread_join(threads[i], NULL);
    int rc = workers_collect(o, workers, out, error);
    if (rc == 0 && out->replies == 0)
        rc = load_fail(error, "no reply in the window");
    pthread_barrier_destroy(&start);
    pthread_barrier_destroy(&end);
    free(workers);
    free(threads);
    return rc;
}
