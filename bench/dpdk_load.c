/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/dpdk_load.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "client/wire/check.h"

#define OPEN_NS_MAX (30ull * 1000000000u)
#define DRAIN_NS (2ull * 1000000000u)
#define HANDSHAKES_MAX 64 /* at once */
#define WRITER_DEPTH 64
#define ARMING_MAX 256 /* watches being set at once */
#define ROUND_NS_MAX (10ull * 1000000000u)
#define SCRATCH_BYTES (1u << 20)
/* Requests leave after so many frames have been looked at. With all connections in one burst,
 * server and generator would take turns, each idle while the other works on the whole burst. */
#define TURN_FRAMES 32

enum phase { PHASE_OPEN, PHASE_WARMUP, PHASE_WINDOW, PHASE_DRAIN };

struct sent {
    uint64_t sent_ns;
    int32_t xid;
    enum bench_op op;
};

struct loader;

struct client {
    struct loader *loader;
    struct net_conn *conn; /* NULL: not open */
    bool greeted, writer;
    int32_t xid_next;
    uint32_t head, in_flight, depth;
    struct sent *sent; /* depth entries */
    uint8_t *rest;     /* the start of an incomplete reply */
    uint32_t rest_bytes, rest_room;
};

struct loader {
    const struct load_options *options;
    const struct dpdk_target *target;
    struct load_result *out;
    struct net *net;
    struct client *clients;
    uint32_t count, opened, greeted; /* clients: readers, then writers */
    uint64_t in_flight, random, now_ns,
        busy_ns; /* busy_ns: in turns of the window that found frames */
    bool busy;
    uint32_t write_credit, writer_next;
    uint32_t armed, fired, written; /* watch flood: of this round */
    uint64_t set_ns, last_event_ns;
    enum phase phase;
    const char *failure;
    uint8_t *scratch; /* requests of one on_data call */
    uint32_t scratch_bytes;
};

static void fail(struct loader *l, const char *what)
{
    if (!l->failure)
        l->failure = what;
}

static uint32_t random_below(struct loader *l, uint32_t bound)
{
    uint64_t x = l->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    l->random = x;
    return (uint32_t)(((x >> 32) * bound) >> 32);
}

/* Encode one request behind the others in the scratch. */
static void append(struct loader *l, struct client *c, enum bench_op op)
{
    const struct keyspace *keys = &l->options->keyspace;
    CHECK(l->scratch_bytes + REQUEST_OVERHEAD_MAX + keys->value_bytes <= SCRATCH_BYTES);
    struct bench_request request = {op, random_below(l, l->options->keys), c->xid_next};
    l->scratch_bytes += (uint32_t)protocol_zk.encode(keys, &request, l->scratch + l->scratch_bytes);
    uint32_t slot = c->head + c->in_flight;
    c->sent[slot >= c->depth ? slot - c->depth : slot] = (struct sent){l->now_ns, c->xid_next, op};
    c->xid_next = c->xid_next == INT32_MAX ? 1 : c->xid_next + 1;
    c->in_flight++;
    l->in_flight++;
}

static void send_scratch(struct loader *l, struct client *c)
{
    uint32_t n = l->scratch_bytes;
    l->scratch_bytes = 0;
    if (n && net_send(l->net, c->conn, l->scratch, n) != n)
        fail(l, "a connection's send queue is full");
}

static void submit(struct loader *l, struct client *c)
{
    const struct load_options *o = l->options;
    bool write =
        o->workload == WORKLOAD_SET || c->writer
        || (o->write_percent && !o->write_connections && random_below(l, 100) < o->write_percent);
    append(l, c, write ? BENCH_SET : BENCH_GET);
}

/* As load.c: the share of writes that goes with a read falls due on a writing connection. */
static struct client *writer_due(struct loader *l)
{
    const struct load_options *o = l->options;
    if (!o->write_connections)
        return NULL;
    l->write_credit += o->write_percent;
    if (l->write_credit < 100 - o->write_percent)
        return NULL;
    l->write_credit -= 100 - o->write_percent;
    for (uint32_t tries = 0; tries < o->write_connections; tries++) {
        struct client *c = &l->clients[o->connections + l->writer_next];
        l->writer_next = (l->writer_next + 1) % o->write_connections;
        if (c->in_flight < c->depth)
            return c;
    }
    return NULL;
}

static void take_event(struct loader *l)
{
    l->fired++;
    l->last_event_ns = l->now_ns;
    if (l->phase == PHASE_WINDOW)
        histogram_record(l->out->latency, l->now_ns - l->set_ns);
}

/* One reply matched with its request; true: the connection may send another. */
static bool take_reply(struct loader *l, struct client *c, const struct bench_reply *reply)
{
    if (reply->is_event) {
        take_event(l);
        return false;
    }
    struct sent sent = c->sent[c->head];
    if (c->in_flight == 0 || reply->xid != sent.xid) {
        fail(l, "replies out of order");
        return false;
    }
    c->head = c->head + 1 == c->depth ? 0 : c->head + 1;
    c->in_flight--;
    l->in_flight--;
    bool wrong = reply->error
                 || (sent.op == BENCH_GET && reply->data_bytes != l->options->keyspace.value_bytes);
    if (wrong && l->out->errors++ == 0)
        l->out->first_error = reply->error;
    if (l->options->workload == WORKLOAD_WATCH) {
        (*(sent.op == BENCH_SET ? &l->written : &l->armed))++;
        return false;
    }
    if (l->phase == PHASE_WINDOW) {
        histogram_record(sent.op == BENCH_SET ? l->out->latency_writes : l->out->latency,
                         l->now_ns - sent.sent_ns);
        l->out->replies++;
    }
    return l->phase != PHASE_DRAIN;
}

/* Parse what lies there; bytes used. Requests that follow go to the scratch; writes due are
 * counted. */
static uint32_t digest(struct loader *l, struct client *c, const uint8_t *in, uint32_t n,
                       uint32_t *reads)
{
    uint32_t used = 0;
    while (used < n && !l->failure) {
        struct bench_reply reply;
        ptrdiff_t taken = c->greeted ? protocol_zk.parse(in + used, n - used, &reply)
                                     : protocol_zk.hello_reply(in + used, n - used);
        if (taken < 0)
            fail(l, c->greeted ? "malformed reply" : "session refused");
        if (taken <= 0)
            break;
        used += (uint32_t)taken;
        if (!c->greeted) {
            c->greeted = true;
            l->greeted++;
        } else if (take_reply(l, c, &reply) && !c->writer) {
            submit(l, c);
            ++*reads;
        }
    }
    return used;
}

static void keep_rest(struct client *c, const uint8_t *bytes, uint32_t n)
{
    if (c->rest_room < c->rest_bytes + n) {
        c->rest_room = 2 * (c->rest_bytes + n);
        c->rest = realloc(c->rest, c->rest_room);
        CHECK(c->rest != NULL);
    }
    memcpy(c->rest + c->rest_bytes, bytes, n);
    c->rest_bytes += n;
}

static uint32_t on_data(void *user, struct net_conn *conn, const uint8_t *bytes, uint32_t n)
{
    struct client *c = user;
    struct loader *l = c->loader;
    uint32_t reads = 0;
    CHECK(c->conn == conn);
    if (c->rest_bytes) {
        keep_rest(c, bytes, n);
        uint32_t used = digest(l, c, c->rest, c->rest_bytes, &reads);
        c->rest_bytes -= used;
        memmove(c->rest, c->rest + used, c->rest_bytes);
    } else {
        uint32_t used = digest(l, c, bytes, n, &reads);
        if (used < n)
            keep_rest(c, bytes + used, n - used);
    }
    send_scratch(l, c);
    for (struct client *writer; reads > 0; reads--) {
        if ((writer = writer_due(l))) {
            append(l, writer, BENCH_SET);
            send_scratch(l, writer);
        }
    }
    return n;
}

static void on_connected(void *user, struct net_conn *conn)
{
    struct client *c = user;
    uint8_t hello[REQUEST_OVERHEAD_MAX];
    uint32_t n = (uint32_t)protocol_zk.hello(hello);
    if (net_send(c->loader->net, conn, hello, n) != n)
        fail(c->loader, "a connection's send queue is full");
}

static void *on_accept(void *ctx, struct net_conn *conn)
{
    (void)ctx, (void)conn; /* we listen on no port */
    return NULL;
}

static void on_eof(void *user, struct net_conn *conn)
{
    struct client *c = user;
    (void)conn; /* the run ends */
    fail(c->loader, "closed by the server");
}

static void on_writable(void *user, struct net_conn *conn)
{
    (void)user, (void)conn; /* a short net_send ends the run */
}

static void on_closed(void *user, struct net_conn *conn, enum net_closed reason)
{
    struct client *c = user;
    (void)conn;
    c->conn = NULL;
    fail(c->loader, net_closed_text(reason));
}

static void turn(struct loader *l)
{
    struct net_frame *frames;
    unsigned n = lane_receive(l->target->lane, &frames), at = 0;
    uint64_t before_ns = l->now_ns;
    l->now_ns = clock_ns();
    if (l->busy && l->phase == PHASE_WINDOW)
        l->busy_ns += l->now_ns - before_ns;
    l->busy = n > 0;
    uint64_t now_us = l->now_ns / 1000;
    do {
        unsigned part = n - at < TURN_FRAMES ? n - at : TURN_FRAMES;
        net_burst(l->net, frames + at, part, now_us);
        (void)net_timers(l->net, now_us); /* polled every turn */
        (void)net_flush(l->net);          /* what waits for a buffer is tried again */
        (void)lane_transmit(l->target->lane);
        at += part;
    } while (at < n);
    lane_release(l->target->lane);
    if (device_check_link(l->target->device, now_us))
        net_announce(l->net);
}

static int turn_until(struct loader *l, uint64_t end_ns, uint64_t replies_max)
{
    do
        turn(l);
    while (!l->failure && !load_stop && l->now_ns < end_ns
           && (replies_max == 0 || l->out->replies < replies_max));
    return l->failure ? -1 : 0;
}

static int open_clients(struct loader *l)
{
    const struct dpdk_target *t = l->target;
    uint64_t end_ns = clock_ns() + OPEN_NS_MAX;
    while (l->greeted < l->count) {
        bool link = atomic_load_explicit(&t->device->link_up, memory_order_relaxed);
        while (link && l->opened < l->count && l->opened - l->greeted < HANDSHAKES_MAX) {
            struct client *c = &l->clients[l->opened];
            c->conn = net_connect(l->net, &t->server, t->server_port, -1, c);
            if (!c->conn)
                break;
            l->opened++;
        }
        turn(l);
        if (l->now_ns > end_ns)
            fail(l, link ? "connecting took too long" : "the link stays down");
        if (l->failure || load_stop)
            return -1;
    }
    return 0;
}

static int loader_prepare(struct loader *l)
{
    const struct load_options *o = l->options;
    struct net_config config = {
        .mtu = l->target->device->mtu_bytes,
        .interfaces = {l->target->own},
        .interface_count = 1,
        .seed = o->seed,
        .checksum_offload = l->target->device->tx_checksum,
        .output = lane_output(l->target->lane),
        .callbacks = {on_accept, on_connected, on_data, on_eof, on_writable, on_closed},
    };
    memcpy(config.mac, l->target->device->mac.addr_bytes, sizeof config.mac);
    if (getrandom(config.secret, sizeof config.secret, 0) != (ssize_t)sizeof config.secret)
        return -1;
    l->net = net_create(&config);
    l->scratch = malloc(SCRATCH_BYTES);
    l->count = o->connections + (o->workload == WORKLOAD_WATCH ? 1 : o->write_connections);
    l->clients = calloc(l->count, sizeof *l->clients);
    l->random = o->seed * 0x9e3779b97f4a7c15u | 1;
    if (!l->net || !l->scratch || !l->clients)
        return -1;
    for (uint32_t i = 0; i < l->count; i++) {
        struct client *c = &l->clients[i];
        bool writer = i >= o->connections;
        uint32_t depth = (o->outstanding + o->connections - 1) / o->connections;
        *c = (struct client){.loader = l, .xid_next = 1, .writer = writer};
        c->depth = writer ? WRITER_DEPTH : depth;
        c->sent = calloc(c->depth, sizeof *c->sent);
        if (!c->sent)
            return -1;
    }
    return 0;
}

static void loader_free(struct loader *l)
{
    for (uint32_t i = 0; l->clients && i < l->count; i++) {
        free(l->clients[i].sent);
        free(l->clients[i].rest);
    }
    net_destroy(l->net);
    free(l->clients);
    free(l->scratch);
}

static void start_requests(struct loader *l)
{
    const struct load_options *o = l->options;
    for (uint32_t i = 0; i < o->connections; i++) {
        struct client *c = &l->clients[i];
        uint32_t n = o->outstanding / o->connections + (i < o->outstanding % o->connections);
        while (n-- > 0)
            submit(l, c);
        send_scratch(l, c);
    }
}

/* Until *counter is goal: turns. */
static int flood_wait(struct loader *l, const uint32_t *counter, uint32_t goal)
{
    uint64_t end_ns = l->now_ns + ROUND_NS_MAX;
    while (*counter < goal && !l->failure) {
        turn(l);
        if (l->out->errors || l->now_ns > end_ns || load_stop)
            fail(l, "watch: a round that did not end");
    }
    return l->failure ? -1 : 0;
}

/* As load_watch.c: arm all, write once, wait for all events. The last client is the writer. */
static int flood_round(struct loader *l)
{
    uint32_t watchers = l->options->connections;
    l->armed = l->fired = l->written = 0;
    for (uint32_t i = 0; i < watchers; i++) {
        if (flood_wait(l, &l->armed, i < ARMING_MAX ? 0 : i - ARMING_MAX) < 0)
            return -1;
        append(l, &l->clients[i], BENCH_GET_WATCH);
        send_scratch(l, &l->clients[i]);
    }
    if (flood_wait(l, &l->armed, watchers) < 0)
        return -1;
    l->set_ns = l->now_ns = clock_ns();
    append(l, &l->clients[watchers], BENCH_SET);
    send_scratch(l, &l->clients[watchers]);
    if (flood_wait(l, &l->fired, watchers) < 0 || flood_wait(l, &l->written, 1) < 0)
        return -1;
    if (l->fired != watchers)
        fail(l, "watch: more events than watches");
    if (l->phase == PHASE_WINDOW) {
        l->out->rounds++;
        l->out->events += l->fired;
        l->out->replies += watchers + 1;
        l->out->delivering_s += (double)(l->last_event_ns - l->set_ns) / 1e9;
    }
    return l->failure ? -1 : 0;
}

static int flood_until(struct loader *l, uint64_t end_ns)
{
    int rc = 0;
    while (rc == 0 && l->now_ns < end_ns && !load_stop)
        rc = flood_round(l);
    return rc;
}

static int run_until(struct loader *l, uint64_t end_ns, uint64_t count_max)
{
    return l->options->workload == WORKLOAD_WATCH ? flood_until(l, end_ns)
                                                  : turn_until(l, end_ns, count_max);
}

/* closeSession, FIN, and turns until the server's TCP has both. */
static void say_goodbye(struct loader *l)
{
    uint8_t bytes[REQUEST_OVERHEAD_MAX];
    uint32_t n = (uint32_t)protocol_zk.goodbye(bytes);
    for (uint32_t i = 0; i < l->opened; i++) {
        if (!l->clients[i].conn)
            continue;
        (void)net_send(l->net, l->clients[i].conn, bytes, n); /* a courtesy */
        net_close(l->net, l->clients[i].conn);
        l->clients[i].conn = NULL;
    }
    struct net_usage usage;
    uint64_t end_ns = clock_ns() + DRAIN_NS / 4;
    do {
        turn(l);
        net_usage(l->net, &usage);
    } while (usage.conns > 0 && l->now_ns < end_ns);
}

int dpdk_load_run(const struct load_options *o, const struct dpdk_target *target,
                  struct load_result *out, char *error)
{
    struct loader l = {.options = o, .target = target, .out = out};
    int rc = loader_prepare(&l);
    if (rc < 0)
        load_fail(error, "out of memory");
    if (rc == 0)
        rc = open_clients(&l);
    if (rc == 0) {
        l.now_ns = clock_ns();
        if (o->workload != WORKLOAD_WATCH)
            start_requests(&l);
        l.phase = PHASE_WARMUP;
        rc = run_until(&l, l.now_ns + (uint64_t)(o->warmup_s * 1e9), 0);
    }
    if (rc == 0) {
        struct load_account account = load_account_begin(o->server_pid);
        l.phase = PHASE_WINDOW;
        rc = run_until(&l, account.start_ns + (uint64_t)(o->window_s * 1e9), o->count_max);
        load_account_end(&account, o->server_pid, out);
        out->own_cpu = (struct cputime){(double)l.busy_ns / 1e9, 0};
        if (rc == 0 && out->replies == 0)
            fail(&l, "no reply in the window");
        l.phase = PHASE_DRAIN;
        uint64_t end_ns = clock_ns() + DRAIN_NS;
        while (rc == 0 && l.in_flight && l.now_ns < end_ns)
            rc = turn_until(&l, 0, 0);
    }
    if (l.failure)
        rc = load_fail(error, "%s", l.failure);
    if (l.net)
        say_goodbye(&l);
    loader_free(&l);
    return rc;
}
