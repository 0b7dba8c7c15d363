/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * G1, G2 and G3 on the way that frames of a DPDK port take, all in one process, so that TSan sees
 * every thread: stations with our own TCP, one thread each, the control core, the log thread, and
 * clients (tests/interop/ordering/roles.h) that look for what must never be seen.
 *
 *      roles, a thread each --socketpair--> swarm --frames--> lanes --> stations --> server_run()
 *                                       (our TCP)   by chance   (memory_lane.h)
 *
 * The swarm's thread speaks TCP for all clients. Nothing waits on time: a run ends when so many
 * multis were written and every client has seen enough.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "dataplane/dpdk/station.h"
#include "dataplane/log.h"
#include "dataplane/waker.h"
#include "tests/dpdk/memory_lane.h"
#include "tests/scratch.h"
#include "tests/interop/ordering/roles.h"

#define PORT 2181
#define SERVER_ADDRESS 0x0a000001u
#define SWARM_ADDRESS 0x0a000002u
#define PIPES_MAX 256
#define BURST 64

/* One client's stream: its socketpair's other end, and its connection. */
struct pipe {
    int fd; /* -1: free */
    struct net_conn *conn;
    bool connected, paused;
};

static struct {
    struct lane *lanes;
    unsigned lane_count;
    struct server *server;
    struct station stations[MEMORY_LANES_MAX];
    struct net_counters counted[MEMORY_LANES_MAX]; /* by the stations, until they closed */
    struct device dev;
    sem_t up;

    /* the swarm's thread */
    struct net *net;
    uint32_t random, loss_per_mille;
    uint64_t lost, frames;
    pthread_t swarm;
    struct waker waker;
    _Atomic bool stop;
    struct pipe pipes[PIPES_MAX];
    int dialled[2]; /* a pipe(2) for descriptors of new clients */
} rig;

/* ---- publication: a moment is made long, so that a store too early shows ---- */

void __real_store_show(struct store *s, zxid_t zxid);
void __wrap_store_show(struct store *s, zxid_t zxid);

void __wrap_store_show(struct store *s, zxid_t zxid)
{
    sched_yield();
    __real_store_show(s, zxid);
    sched_yield();
}

/* ---- the server's side: what port.c does, without a device ---- */

static void wake_station(unsigned lane)
{
    waker_wake(&rig.server->cores[lane]->waker);
}

static void wake_swarm(void)
{
    waker_wake(&rig.waker);
}

static struct net_config net_config_of(uint32_t address, uint8_t id)
{
    struct net_config c = {.mac = {2, 0, 0, 0, 0, id},
                           .mtu = 1500,
                           .interfaces = {{net_addr_v4(address), 24}},
                           .interface_count = 1,
                           .seed = id};
    memset(c.secret, id, sizeof c.secret);
    c.limits.conns_max = 1024;
    return c;
}

static int port_start(struct server *server)
{
    struct net_config net = net_config_of(SERVER_ADDRESS, 1);
    char error[256];
    net.listen_ports[net.listen_port_count++] = PORT;
    rig.dev = (struct device){.lanes = (uint16_t)rig.lane_count};
    rig.server = server;
    for (unsigned i = 0; i < rig.lane_count; i++) {
        struct station *s = &rig.stations[i];
        *s = (struct station){.server = server,
                              .core = server->cores[i],
                              .dev = &rig.dev,
                              .lane = &rig.lanes[i],
                              .index = i,
                              .may_sleep = true,
                              .cpu = -1};
        CHECK(station_open(s, &net, error, sizeof error) == 0);
    }
    sem_post(&rig.up);
    return 0;
}

static unsigned port_core_count(const struct server *server)
{
    (void)server;
    return rig.lane_count;
}

static void port_turn(struct server *server, struct core *core, int timeout_ms)
{
    (void)server;
    station_turn(core->backend, timeout_ms);
}

/* The cores' threads have ended; the swarm must not wake them any more. */
static void port_stop(struct server *server)
{
    (void)server;
    atomic_store_explicit(&rig.stop, true, memory_order_release);
    wake_swarm();
    pthread_join(rig.swarm, NULL);
    for (unsigned i = 0; i < rig.lane_count; i++) { /* before the cores, whose values it may hold */
        rig.counted[i] = *net_counters(rig.stations[i].net);
        station_close(&rig.stations[i]);
    }
}

static const struct server_port memory_port = {port_start, port_core_count, port_turn, port_stop};

static void *server_thread(void *directory)
{
    static struct config config;
    config_init(&config);
    config.session_timeout_ms_min = 4000;
    config.session_timeout_ms_max = 40000;
    config.max_client_cnxns = 0;
    config.cores = 1;
    config.dpdk_enabled = true;
    config.client_port = 0;
    snprintf(config.client_port_address, sizeof config.client_port_address, "127.0.0.1");
    snprintf(config.data_dir, sizeof config.data_dir, "%s", (const char *)directory);
    snprintf(config.data_log_dir, sizeof config.data_log_dir, "%s", (const char *)directory);
    int code = server_run(&config, &memory_port);
    CHECK(code == EXIT_CODE_FINISHED);
    return NULL;
}

/* ---- the swarm's side ---- */

static bool lost(void)
{
    rig.random = rig.random * 1664525 + 1013904223;
    rig.frames++;
    bool yes = (rig.random >> 8) % 1000 < rig.loss_per_mille;
    rig.lost += yes;
    return yes;
}

static uint8_t *swarm_frame_alloc(void *ctx, uint16_t bytes, void **frame)
{
    struct blob *b = blob_new(NULL, bytes);
    (void)ctx;
    *frame = b;
    return b->data;
}

/* To a queue by chance: most frames come to a lane that does not own them. */
static void swarm_frame_send(void *ctx, void *frame, uint16_t len,
                             const struct net_offload *offload)
{
    struct blob *b = frame;
    (void)ctx, (void)offload;
    b->len = len;
    bool gone = lost();
    unsigned lane = (rig.random >> 16) % rig.lane_count;
    if (gone || !ring_push(&rig.lanes[lane].in, b))
        free(b);
    else
        wake_station(lane);
}

static void *swarm_accept(void *ctx, struct net_conn *conn)
{
    (void)ctx, (void)conn; /* listens nowhere */
    return NULL;
}

static void swarm_connected(void *user, struct net_conn *conn)
{
    (void)conn;
    ((struct pipe *)user)->connected = true;
}

static uint32_t swarm_data(void *user, struct net_conn *conn, const uint8_t *bytes, uint32_t n)
{
    struct pipe *p = user;
    (void)conn;
    ssize_t done = send(p->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done < 0 && errno != EAGAIN)
        return n; /* the role has closed its end; ours follows */
    uint32_t taken = done < 0 ? 0 : (uint32_t)done;
    p->paused = taken < n;
    return taken;
}

static void pipe_end(struct pipe *p)
{
    if (p->conn)
        net_close(rig.net, p->conn);
    p->conn = NULL;
    close(p->fd);
    p->fd = -1;
}

static void swarm_eof(void *user, struct net_conn *conn)
{
    (void)conn;
    pipe_end(user);
}

static void swarm_writable(void *user, struct net_conn *conn)
{
    (void)user, (void)conn; /* asked for by net_send_space() */
}

static void swarm_closed(void *user, struct net_conn *conn, enum net_closed reason)
{
    struct pipe *p = user;
    (void)conn, (void)reason; /* a role that still needs it sees the end of its stream */
    p->conn = NULL;
    pipe_end(p);
}

/* Called by the roles. */
static int dial(void)
{
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK(write(rig.dialled[1], &ends[0], sizeof ends[0]) == sizeof ends[0]);
    return ends[1];
}

static void take_dialled(void)
{
    struct net_addr to = net_addr_v4(SERVER_ADDRESS);
    int fd;
    while (read(rig.dialled[0], &fd, sizeof fd) == sizeof fd) {
        struct pipe *p = rig.pipes;
        while (p < rig.pipes + PIPES_MAX && p->fd >= 0)
            p++;
        CHECK(p < rig.pipes + PIPES_MAX);
        *p = (struct pipe){.fd = fd};
        p->conn = net_connect(rig.net, &to, PORT, -1, p);
        CHECK(p->conn);
    }
}

/* @return bytes moved either way are to be expected. */
static bool pipe_turn(struct pipe *p)
{
    uint8_t bytes[4096];
    if (p->paused) {
        p->paused = false;
        net_resume(rig.net, p->conn);
    }
    uint32_t space = p->connected ? net_send_space(rig.net, p->conn) : 0;
    if (space == 0)
        return false;
    ssize_t n = recv(p->fd, bytes, space < sizeof bytes ? space : sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n > 0)
        CHECK(net_send(rig.net, p->conn, bytes, (uint32_t)n) == (uint32_t)n);
    else
        pipe_end(p);
    return true;
}

static bool frames_wait(void)
{
    bool wait = false;
    for (unsigned i = 0; i < rig.lane_count; i++)
        wait = wait || ring_count(&rig.lanes[i].out);
    return wait;
}

/* @return there may be more to do at once. */
static bool swarm_turn(void)
{
    struct blob *blobs[MEMORY_LANES_MAX * BURST];
    struct net_frame frames[MEMORY_LANES_MAX * BURST];
    unsigned n = 0, kept = 0;
    for (unsigned i = 0; i < rig.lane_count; i++)
        for (unsigned j = 0; j < BURST && (blobs[n] = ring_pop(&rig.lanes[i].out)); j++, n++)
            if (!lost())
                frames[kept++] = (struct net_frame){.data = blobs[n]->data, .len = blobs[n]->len};
    uint64_t now_us = server_now_us();
    net_burst(rig.net, frames, kept, now_us);
    take_dialled();
    bool moved = n > 0;
    for (struct pipe *p = rig.pipes; p < rig.pipes + PIPES_MAX; p++)
        if (p->fd >= 0)
            moved = pipe_turn(p) || moved;
    (void)net_timers(rig.net, now_us); /* asked for again before sleeping */
    (void)net_flush(rig.net);          /* frame_alloc never refuses */
    while (n)
        free(blobs[--n]);
    return moved;
}

static void swarm_sleep(void)
{
    struct pollfd fds[PIPES_MAX + 2] = {{.fd = rig.waker.fd, .events = POLLIN},
                                        {.fd = rig.dialled[0], .events = POLLIN}};
    nfds_t count = 2;
    for (struct pipe *p = rig.pipes; p < rig.pipes + PIPES_MAX; p++) {
        if (p->fd < 0)
            continue;
        bool reads = p->connected && net_send_space(rig.net, p->conn);
        fds[count++] = (struct pollfd){
            .fd = p->fd, .events = (short)((reads ? POLLIN : 0) | (p->paused ? POLLOUT : 0))};
    }
    uint64_t now_us = server_now_us(), next_us = net_next_us(rig.net);
    int ms = next_us == UINT64_MAX ? -1 : next_us <= now_us ? 0 : (int)((next_us - now_us) / 1000);
    waker_prepare(&rig.waker);
    if (!frames_wait() && !atomic_load_explicit(&rig.stop, memory_order_relaxed))
        (void)poll(fds, count, ms); /* the turn looks itself */
    waker_done(&rig.waker);
    waker_drain(&rig.waker);
}

static void *swarm_thread(void *arg)
{
    (void)arg;
    while (!atomic_load_explicit(&rig.stop, memory_order_acquire))
        if (!swarm_turn())
            swarm_sleep();
    return NULL;
}

/* ---- runs ---- */

static void rig_open(unsigned lanes, uint32_t loss_per_mille)
{
    memset(&rig, 0, sizeof rig);
    rig.lane_count = lanes;
    rig.loss_per_mille = loss_per_mille;
    rig.random = lanes + loss_per_mille;
    rig.lanes = memory_lanes_create(lanes, wake_station, wake_swarm);
    rig.waker.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(rig.waker.fd >= 0 && pipe2(rig.dialled, O_CLOEXEC | O_NONBLOCK) == 0);
    sem_init(&rig.up, 0, 0);
    for (unsigned i = 0; i < PIPES_MAX; i++)
        rig.pipes[i].fd = -1;
    struct net_config net = net_config_of(SWARM_ADDRESS, 2);
    net.output = (struct net_output){NULL, swarm_frame_alloc, swarm_frame_send};
    net.callbacks = (struct net_callbacks){.on_accept = swarm_accept,
                                           .on_connected = swarm_connected,
                                           .on_data = swarm_data,
                                           .on_eof = swarm_eof,
                                           .on_writable = swarm_writable,
                                           .on_closed = swarm_closed};
    rig.net = net_create(&net);
    CHECK(rig.net);
    (void)net_timers(rig.net, server_now_us()); /* its first time */
}

/* Frames came by the wrong queue and from the right one; with losses, TCP had to work. */
static void assert_the_way_was_taken(void)
{
    uint64_t handed = 0, accepted = 0, retransmits = 0, wrong = 0;
    for (unsigned i = 0; i < rig.lane_count; i++) {
        const struct net_counters *c = &rig.counted[i];
        assert_true(c->accepted > 0);
        handed += atomic_load(&rig.lanes[i].counters.handed_over);
        accepted += c->accepted;
        retransmits += c->retransmits;
        wrong += c->drop_checksum + c->drop_no_port;
    }
    assert_true(rig.lane_count == 1 || handed > 100);
    assert_true(rig.loss_per_mille == 0 || (rig.lost > 100 && retransmits > 0));
    assert_int_equal(wrong, 0);
    print_message("%u cores: %llu frames, %llu lost, %llu handed over, %llu connections\n",
                  rig.lane_count, (unsigned long long)rig.frames, (unsigned long long)rig.lost,
                  (unsigned long long)handed, (unsigned long long)accepted);
}

static void rig_close(void)
{
    net_destroy(rig.net);
    for (unsigned i = 0; i < PIPES_MAX; i++)
        if (rig.pipes[i].fd >= 0)
            close(rig.pipes[i].fd);
    memory_lanes_destroy(rig.lanes);
    close(rig.waker.fd);
    close(rig.dialled[0]);
    close(rig.dialled[1]);
}

static void run(unsigned lanes, uint32_t loss_per_mille, int64_t multis)
{
    char directory[SCRATCH_BYTES];
    pthread_t server;
    scratch_make(directory);
    rig_open(lanes, loss_per_mille);
    assert_int_equal(pthread_create(&server, NULL, server_thread, directory), 0);
    while (sem_wait(&rig.up) != 0)
        ; /* interrupted */
    assert_int_equal(pthread_create(&rig.swarm, NULL, swarm_thread, NULL), 0);
    struct ordering config = {
        .connect = dial, .seed = lanes, .multis_min = multis, .event_zxids = true};
    int64_t wrong = ordering_run(&config);
    raise(SIGTERM);
    pthread_join(server, NULL);
    assert_the_way_was_taken();
    rig_close();
    scratch_remove(directory);
    assert_int_equal(wrong, 0);
}

static void one_core_keeps_the_order(void **state)
{
    (void)state;
    run(1, 0, 1000);
}

static void several_cores_keep_the_order_whichever_queue_a_frame_comes_by(void **state)
{
    (void)state;
    run(3, 0, 1000);
}

static void several_cores_keep_the_order_through_losses(void **state)
{
    (void)state;
    run(2, 20, 500);
}

int main(void)
{
    log_open(2, LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_core_keeps_the_order),
        cmocka_unit_test(several_cores_keep_the_order_whichever_queue_a_frame_comes_by),
        cmocka_unit_test(several_cores_keep_the_order_through_losses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
