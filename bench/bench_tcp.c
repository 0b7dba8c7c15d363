/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Rows of the DPDK dataplane that need no port:
 *
 *   sengi-bench-tcp turns TURNS CONNECTIONS DEPTH   getData through TCP; run under callgrind with
 *                                                   --toggle-collect=tcp_pair_serve
 *   sengi-bench-tcp cores CPU CPU                   reads/s of two polling cores against one
 *   sengi-bench-tcp idle CONNECTIONS                bytes per idle connection; reads/s over all of
 * them
 *   sengi-bench-tcp values                          server's time per getData by size of the value,
 *                                                   copied and sent from where it lies
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/cputime.h"
#include "bench/inprocess.h"
#include "bench/tcp_pair.h"
#include "client/wire/check.h"
#include "dataplane/server.h"
#include "tree/reader.h"
#include "tree/value.h"

extern const char *malloc_conf; /* the server's heap, as in dataplane/main.c */
const char *malloc_conf = SERVER_MALLOC_CONF;

#define ZNODES 10000
#define DATA_BYTES 100
#define BURST 64
#define ROUNDS 7
#define ROUND_TURNS 4000
#define IDLE_PASS_TURNS 20000
/* Before each pass, 300 ms of virtual time: deadlines left by the pass before are over, and each
 * read of this one pays for the ACK and the deadline of an earlier read. */
#define IDLE_LEAD_TURNS 15000

static struct tcp_pair *pair_new(struct server *server, uint16_t core, uint32_t connections)
{
    struct tcp_pair_config c = {server, core, ZNODES, DATA_BYTES, connections, core + 1u};
    return tcp_pair_create(&c);
}

static struct server *server_new(unsigned cores)
{
    struct store *store = znodes_build(ZNODES, DATA_BYTES);
    store_set_offline(store, false);
    return inprocess_server(store, cores);
}

static int run_turns(uint64_t turns, uint32_t connections, uint32_t depth)
{
    reader_register();
    struct tcp_pair *p = pair_new(server_new(1), 0, connections);
    uint64_t serve_ns = 0, in_before, out_before, in, out;
    tcp_pair_frames(p, &in_before, &out_before);
    for (uint64_t i = 0; i < turns; i++) {
        for (uint32_t c = 0; c < connections; c++)
            tcp_pair_ask(p, c, depth);
        tcp_pair_hear(p); /* sends */
        uint64_t start_ns = clock_ns();
        tcp_pair_serve(p);
        serve_ns += clock_ns() - start_ns;
    }
    tcp_pair_hear(p);
    uint64_t reads = turns * connections * depth;
    CHECK(tcp_pair_replies(p) == reads);
    tcp_pair_frames(p, &in, &out);
    printf("{\"reads\":%" PRIu64 ",\"turns\":%" PRIu64
           ",\"ns_per_read\":%.1f,\"frames_in\":%" PRIu64 ",\"frames_out\":%" PRIu64 "}\n",
           reads, turns, (double)serve_ns / (double)reads, in - in_before, out - out_before);
    return 0;
}

/* ---- two cores ---- */

struct runner {
    struct server *server;
    uint16_t core;
    uint64_t cpu;
    pthread_barrier_t *start;
    double rate[ROUNDS];
};

static void *run_core(void *argument)
{
    struct runner *r = argument;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(r->cpu, &set);
    CHECK(pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0);
    reader_register();
    struct tcp_pair *p = pair_new(r->server, r->core, BURST);
    for (int round = 0; round < ROUNDS; round++) {
        reader_offline();
        pthread_barrier_wait(r->start);
        reader_online();
        uint64_t start_ns = clock_ns();
        for (int i = 0; i < ROUND_TURNS; i++) {
            for (uint32_t c = 0; c < BURST; c++)
                tcp_pair_ask(p, c, 1);
            tcp_pair_hear(p);
            tcp_pair_serve(p);
        }
        r->rate[round] = ROUND_TURNS * (double)BURST / ((double)(clock_ns() - start_ns) / 1e9);
    }
    reader_unregister();
    return NULL;
}

static void run_cores(unsigned count, const uint64_t *cpus, double rate[ROUNDS])
{
    pthread_t threads[2];
    pthread_barrier_t start;
    struct server *server = server_new(count);
    struct runner runners[2];
    CHECK(pthread_barrier_init(&start, NULL, count) == 0);
    for (unsigned i = 0; i < count; i++) {
        runners[i] =
            (struct runner){.server = server, .core = (uint16_t)i, .cpu = cpus[i], .start = &start};
        CHECK(pthread_create(&threads[i], NULL, run_core, &runners[i]) == 0);
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    for (int round = 0; round < ROUNDS; round++) {
        rate[round] = 0;
        for (unsigned i = 0; i < count; i++)
            rate[round] += runners[i].rate[round];
    }
}

static int compare_cores(uint64_t a, uint64_t b)
{
    double one[ROUNDS], other[ROUNDS], both[ROUNDS];
    reader_register();
    run_cores(1, &a, one);
    run_cores(2, (uint64_t[]){a, b}, both);
    run_cores(1, &b, other);
    printf("{\"ratios\":[");
    for (int r = 0; r < ROUNDS; r++) /* against the mean of the two alone: they need not be alike */
        printf("%s%.4f", r ? "," : "", both[r] / ((one[r] + other[r]) / 2));
    printf("],\"one_per_s\":%.0f,\"two_per_s\":%.0f}\n", one[ROUNDS / 2], both[ROUNDS / 2]);
    return 0;
}

/* ---- idle connections ---- */

struct pass {
    double ns; /* of the server, per read */
    double frames_in, frames_out; /* per read: more than one is delayed ACKs and probes */
};

/* Each turn BURST of the first `among` connections at random. @return ns of the server. */
static uint64_t serve_turns(struct tcp_pair *p, uint32_t among, uint64_t *random, uint32_t turns)
{
    uint64_t serve_ns = 0;
    for (uint32_t i = 0; i < turns; i++) {
        for (uint32_t c = 0; c < BURST; c++)
            tcp_pair_ask(p, among == BURST ? c : (uint32_t)(znodes_random(random) % among), 1);
        tcp_pair_hear(p);
        uint64_t start_ns = clock_ns();
        tcp_pair_serve(p);
        serve_ns += clock_ns() - start_ns;
    }
    return serve_ns;
}

static struct pass serve_among(struct tcp_pair *p, uint32_t among, uint64_t *random)
{
    const double reads = (double)IDLE_PASS_TURNS * BURST;
    uint64_t in_before, out_before, in, out;
    (void)serve_turns(p, among, random, IDLE_LEAD_TURNS);
    tcp_pair_frames(p, &in_before, &out_before);
    uint64_t ns = serve_turns(p, among, random, IDLE_PASS_TURNS);
    tcp_pair_frames(p, &in, &out);
    return (struct pass){(double)ns / reads, (double)(in - in_before) / reads,
                         (double)(out - out_before) / reads};
}

static int measure_idle(uint32_t connections)
{
    uint64_t random = 88172645463325252u;
    reader_register();
    struct tcp_pair *p = pair_new(server_new(1), 0, connections);
    printf("%.1f bytes per idle connection on the server, TCP, connection and session\n",
           (double)tcp_pair_server_bytes(p) / connections);
    double ratios[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        struct pass few = serve_among(p, BURST, &random);
        struct pass all = serve_among(p, connections, &random);
        ratios[r] = few.ns / all.ns;
        printf("round %d: %.0f ns per read among %d connections, %.0f among all (frames per read:"
               " %.2f in, %.2f out)\n",
               r + 1, few.ns, BURST, all.ns, all.frames_in, all.frames_out);
    }
    printf("{\"bytes\":%.1f,\"ratios\":[", (double)tcp_pair_server_bytes(p) / connections);
    for (int r = 0; r < ROUNDS; r++)
        printf("%s%.4f", r ? "," : "", ratios[r]);
    printf("]}\n");
    return 0;
}

/* ---- values ---- */

#define VALUE_ZNODES 64
#define VALUE_TURNS 256 /* in a sample; a read by each of BURST connections in turn */

/* @return ns of the server per read, the ACKs of its answer included. */
static double read_values(struct tcp_pair *p)
{
    uint64_t ns = 0;
    for (uint32_t i = 0; i < VALUE_TURNS; i++) {
        uint64_t bytes = tcp_pair_client_bytes(p) + tcp_pair_reply_bytes(p);
        tcp_pair_ask(p, i % BURST, 1);
        while (tcp_pair_client_bytes(p) < bytes) {
            tcp_pair_hear(p);
            uint64_t start_ns = clock_ns();
            tcp_pair_serve(p);
            ns += clock_ns() - start_ns;
        }
    }
    return (double)ns / VALUE_TURNS;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One size, both ways in turn. @return median of reference against copy. */
static double compare_values(uint32_t size)
{
    double copy[ROUNDS], reference[ROUNDS], ratio[ROUNDS];
    struct store *store = znodes_build(VALUE_ZNODES, size);
    store_set_offline(store, false);
    struct server *server = inprocess_server(store, 2);
    struct tcp_pair *pairs[2];
    for (uint16_t i = 0; i < 2; i++) {
        struct tcp_pair_config c = {server, i, VALUE_ZNODES, size, BURST, i + 1u};
        pairs[i] = tcp_pair_create(&c);
        (void)read_values(pairs[i]);
    }
    tcp_pair_copy_values(pairs[0]);
    for (int r = 0; r < ROUNDS; r++) {
        copy[r] = read_values(pairs[0]);
        reference[r] = read_values(pairs[1]);
        ratio[r] = reference[r] / copy[r];
    }
    qsort(copy, ROUNDS, sizeof *copy, compare_double);
    qsort(reference, ROUNDS, sizeof *reference, compare_double);
    qsort(ratio, ROUNDS, sizeof *ratio, compare_double);
    printf("%8u bytes: copied %8.0f ns, by reference %8.0f ns, ratio %.2f (%.2f..%.2f)\n", size,
           copy[ROUNDS / 2], reference[ROUNDS / 2], ratio[ROUNDS / 2], ratio[0],
           ratio[ROUNDS - 1]);
    return ratio[ROUNDS / 2];
}

static int measure_values(void)
{
    static const uint32_t sizes[] = {1024, 2048, 4096, 8192, 16384, 32768, 65536, 262144, 1000000};
    const unsigned count = sizeof sizes / sizeof sizes[0];
    reader_register();
    printf("values are sent by reference from %u bytes on\n", VALUE_BYTES_MIN);
    double ratios[sizeof sizes / sizeof sizes[0]];
    for (unsigned i = 0; i < count; i++)
        ratios[i] = compare_values(sizes[i]);
    printf("{\"sizes\":[");
    for (unsigned i = 0; i < count; i++)
        printf("%s%u", i ? "," : "", sizes[i]);
    printf("],\"ratios\":[");
    for (unsigned i = 0; i < count; i++)
        printf("%s%.4f", i ? "," : "", ratios[i]);
    printf("],\"from\":%u}\n", VALUE_BYTES_MIN);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "turns") == 0)
        return run_turns(znodes_count_argument(argv[2], 1, 100000000),
                         (uint32_t)znodes_count_argument(argv[3], 1, 64),
                         (uint32_t)znodes_count_argument(argv[4], 1, 16));
    if (argc == 4 && strcmp(argv[1], "cores") == 0)
        return compare_cores(znodes_count_argument(argv[2], 0, 1023),
                             znodes_count_argument(argv[3], 0, 1023));
    if (argc == 3 && strcmp(argv[1], "idle") == 0)
        return measure_idle((uint32_t)znodes_count_argument(argv[2], 64, 4000000));
    if (argc == 2 && strcmp(argv[1], "values") == 0)
        return measure_values();
    fprintf(stderr, "usage: sengi-bench-tcp turns TURNS CONNECTIONS DEPTH | cores CPU CPU | idle "
                    "CONNECTIONS | values\n");
    return 1;
}
