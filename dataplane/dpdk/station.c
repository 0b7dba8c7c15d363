/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/dpdk/station.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_lcore.h>

#include "client/wire/check.h"
#include "dataplane/core.h"
#include "dataplane/kernel.h"
#include "dataplane/log.h"
#include "tree/reader.h"

#define IDLE_SPIN_US 50
/* Without input for so long, the port has time for a flush (log_submit() in control.c). Clients
 * that wait for each reply come in bursts, with pauses of a few microseconds between. */
#define IDLE_FLUSH_US 20
#define EMPTY_POLLS_MAX 15
#define SHOW_US 10000
#define PAUSE_US_MIN 20
#define PAUSE_US_MAX 1000
/*
 * With an interrupt descriptor; bounds what a lost interrupt costs, and how late the link is looked
 * at.
 */
#define INTERRUPT_SLEEP_US_MAX 20000

/* --- limits on connections --- */

static void peer_left(struct station *s, const struct sockaddr_storage *peer)
{
    peer_leave(s->server->peers, peer);
    atomic_fetch_sub_explicit(&s->server->connections, 1, memory_order_relaxed);
}

static bool peer_allowed(struct station *s, const struct sockaddr_storage *peer)
{
    const struct config *c = &s->server->config;
    uint32_t before = atomic_fetch_add_explicit(&s->server->connections, 1, memory_order_relaxed);
    if (!s->closing && !s->core->draining &&
        (c->max_cnxns == 0 || before < (uint32_t)c->max_cnxns) &&
        peer_enter(s->server->peers, peer, (uint32_t)c->max_client_cnxns))
        return true;
    atomic_fetch_sub_explicit(&s->server->connections, 1, memory_order_relaxed);
    stat_add(&s->core->stats.connections_rejected, 1);
    return false;
}

/* --- the backend of a connection --- */

static void station_conn_drop(struct core *core, struct conn *conn, bool at_once)
{
    struct station *s = core->backend;
    if (!conn->net_conn)
        return;
    if (at_once)
        net_close(s->net, conn->net_conn);
    else
        net_shutdown(s->net, conn->net_conn);
    conn->net_conn = NULL;
    peer_left(s, conn_peer(conn));
    conn_detached(core, conn);
}

static uint32_t send_chunk(struct station *s, struct conn *conn, const struct out_chunk *chunk)
{
    const uint8_t *bytes = out_chunk_bytes(chunk) + chunk->start;
    uint32_t size = chunk->end - chunk->start;
    if (UNLIKELY(chunk->value != NULL))
        return net_send_reference(s->net, conn->net_conn, bytes, size, chunk->value);
    return net_send(s->net, conn->net_conn, bytes, size);
}

static void station_flush(struct core *core, struct conn *conn)
{
    struct station *s = core->backend;
    if (!conn->net_conn)
        return;
    while (conn->out_head) {
        const struct out_chunk *chunk = conn->out_head;
        uint32_t size = chunk->end - chunk->start;
        uint32_t sent = send_chunk(s, conn, chunk);
        if (sent)
            conn_output_sent(core, conn, sent);
        if (sent < size) {
            conn->writable_wait = true;
            return;
        }
    }
    if (conn->state == CONN_CLOSING)
        /* TCP sends the FIN behind what it has queued. Half-close, as the kernel listener does: a
         * RST for requests on their way could cost the peer our last reply. */
        station_conn_drop(core, conn, false);
}

static void station_pause(struct core *core, struct conn *conn, bool paused)
{
    struct station *s = core->backend;
    if (!paused && conn->net_conn)
        net_resume(s->net, conn->net_conn);
}

static void station_conn_close(struct core *core, struct conn *conn, bool at_once)
{
    if (at_once) {
        station_conn_drop(core, conn, true);
    } else if (conn->paused) {
        conn->paused = false; /* what still comes is read and thrown away */
        station_pause(core, conn, false);
    }
}

static uint8_t *station_room(struct core *core, struct conn *conn, uint32_t least, uint32_t wanted,
                             uint32_t *room)
{
    const struct station *s = core->backend;
    return net_send_room(s->net, conn->net_conn, least, wanted, room);
}

static void station_written(struct core *core, struct conn *conn, uint32_t n)
{
    const struct station *s = core->backend;
    net_send_written(s->net, conn->net_conn, n);
}

static const struct conn_backend station_backend = {station_flush, station_pause,
                                                    station_conn_close, station_room,
                                                    station_written};

/* --- what TCP reports: the station of this thread --- */

static _Thread_local struct station *here;

static void peer_address(const struct net_conn *nc, struct sockaddr_storage *out)
{
    struct net_addr addr;
    uint16_t port;
    net_conn_peer(nc, &addr, &port);
    memset(out, 0, sizeof(*out));
    if (net_addr_is_v4(&addr)) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        memcpy(&in->sin_addr, addr.bytes + 12, 4);
    } else {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        memcpy(&in6->sin6_addr, addr.bytes, 16);
    }
}

static void *on_accept(void *ctx, struct net_conn *nc)
{
    struct station *s = ctx;
    struct sockaddr_storage peer;
    peer_address(nc, &peer);
    if (!peer_allowed(s, &peer))
        return NULL;
    struct conn *conn = conn_open(s->core, &station_backend, (const struct sockaddr *)&peer);
    if (!conn) {
        peer_left(s, &peer);
        return NULL;
    }
    conn->net_conn = nc;
    return conn;
}

static uint32_t on_data(void *user, struct net_conn *nc, const uint8_t *bytes, uint32_t n)
{
    struct conn *conn = user;
    CHECK(conn->net_conn == nc);
    uint32_t used = (uint32_t)conn_input(here->core, conn, bytes, n);
    if (here->flushing) {
        burst_run(here->core); /* invariant 2 */
        here->again = true;
    }
    return used;
}

static void on_eof(void *user, struct net_conn *nc)
{
    struct conn *conn = user;
    CHECK(conn->net_conn == nc);
    conn_hangup(here->core, conn);
}

static void on_writable(void *user, struct net_conn *nc)
{
    struct conn *conn = user;
    CHECK(conn->net_conn == nc);
    conn->writable_wait = false;
    core_mark_dirty(here->core, conn);
}

static void on_closed(void *user, struct net_conn *nc, enum net_closed reason)
{
    struct conn *conn = user;
    CHECK(conn->net_conn == nc && reason != NET_CLOSED_NONE);
    conn->net_conn = NULL;
    peer_left(here, conn_peer(conn));
    conn_detached(here->core, conn);
}

/* The server opens no connections. */
static void on_connected(void *user, struct net_conn *nc)
{
    (void)user, (void)nc;
    CHECK(!"a connection was opened");
}

static void on_reference_hold(void *ctx, void *holder)
{
    core_value_hold(((struct station *)ctx)->core, holder);
}

static void on_reference_drop(void *ctx, void *holder)
{
    core_value_drop(((struct station *)ctx)->core, holder);
}

static const struct net_callbacks callbacks = {
    .on_accept = on_accept, .on_connected = on_connected, .on_data = on_data, .on_eof = on_eof,
    .on_writable = on_writable, .on_closed = on_closed, .prefetch = conn_prefetch,
    .reference_hold = on_reference_hold, .reference_drop = on_reference_drop};

/* --- open, close --- */

int station_open(struct station *s, const struct net_config *config, char *error, size_t error_size)
{
    struct net_config own = *config;
    own.core = s->index;
    own.steering = s->dev->steering;
    own.checksum_offload = s->dev->tx_checksum;
    own.output = lane_output(s->lane);
    own.callbacks = callbacks;
    own.callbacks_ctx = s;
    s->pause_us = PAUSE_US_MIN;
    s->rx_fd = -1;
    if (s->dev->rx_interrupts && s->index < s->dev->queues)
        s->rx_fd = rte_eth_dev_rx_intr_ctl_q_get_fd(s->dev->id, (uint16_t)s->index);
    s->net = net_create(&own);
    if (!s->net) {
        const char *why = net_config_error(&own);
        snprintf(error, error_size, "dpdk: %s",
                 why ? why : "out of memory for the connection tables");
        return -1;
    }
    s->core->backend = s;
    return 0;
}

void station_close(struct station *s)
{
    net_destroy(s->net);
    s->net = NULL;
}

/* net_tap looks at its descriptor only after a signal for it was handled. By default any thread
 * gets that signal; let it be this one, so that it is handled before the next poll and nobody else
 * is interrupted. */
static void own_signals(const struct station *s)
{
    struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = gettid()};
    if (s->dev->tap && s->rx_fd >= 0 && fcntl(s->rx_fd, F_SETOWN_EX, &owner))
        LOG_WARN("dpdk: frames of %s are signalled to other threads: %s", s->dev->name,
                 strerror(errno));
}

/* First turn, in the core's own thread: mempool caches are per registered thread. The thread that
 * brought EAL up is registered. */
static void enter(struct station *s)
{
    s->entered = true;
    here = s;
    if (rte_lcore_id() == LCORE_ID_ANY && rte_thread_register())
        LOG_WARN("dpdk: core %u works without buffer caches: %s", s->index,
                 rte_strerror(rte_errno));
    own_signals(s);
    if (s->cpu < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)s->cpu, &set);
    int err = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
    if (err)
        LOG_WARN("dpdk.cores: core %u cannot run on CPU %d: %s", s->index, s->cpu, strerror(err));
}

/* --- counters for others --- */

static void show_counters(struct station *s, uint64_t now_us)
{
    const struct net_counters *c = net_counters(s->net);
    s->show_us = now_us + SHOW_US;
#define X(name, text) atomic_store_explicit(&s->tcp.name, c->name, memory_order_relaxed);
    NET_COUNTERS(X)
#undef X
}

/* --- sleeping --- */

static uint64_t sleep_bound_us(struct station *s, int timeout_ms)
{
    uint64_t bound = s->rx_fd >= 0 ? INTERRUPT_SLEEP_US_MAX : s->pause_us;
    uint64_t now_us = server_now_us(), next_us = net_next_us(s->net);
    uint64_t timer = next_us <= now_us ? 0 : next_us - now_us;
    int core_ms = core_timeout_ms(s->core);
    bound = timer < bound ? timer : bound;
    if (core_ms >= 0 && (uint64_t)core_ms * 1000 < bound)
        bound = (uint64_t)core_ms * 1000;
    if (timeout_ms >= 0 && (uint64_t)timeout_ms * 1000 < bound)
        bound = (uint64_t)timeout_ms * 1000;
    return bound;
}

static void sleep_until_work(struct station *s, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = s->core->waker.fd, .events = POLLIN},
                            {.fd = s->rx_fd, .events = POLLIN}};
    uint64_t bound_us = sleep_bound_us(s, timeout_ms);
    if (bound_us == 0)
        return;
    waker_prepare(&s->core->waker);
    if (!core_has_work(s->core) && !lane_has_work(s->lane)) {
        struct timespec bound = {.tv_sec = (time_t)(bound_us / 1000000),
                                 .tv_nsec = (long)(bound_us % 1000000) * 1000};
        /*
         * Drivers without a separate enable (net_tap) answer -ENOTSUP: their descriptor is always
         * live.
         */
        if (s->rx_fd >= 0)
            (void)rte_eth_dev_rx_intr_enable(s->dev->id, (uint16_t)s->index);
        lane_count(&lane_counters(s->lane)->sleeps, 1);
        show_counters(s, s->core->now_us);
        reader_offline();
        /* woken, interrupted or timed out: the turn looks itself */
        (void)ppoll(fds, s->rx_fd >= 0 ? 2 : 1, &bound, NULL);
        reader_online();
        if (s->rx_fd >= 0)
            (void)rte_eth_dev_rx_intr_disable(s->dev->id, (uint16_t)s->index);
    }
    waker_done(&s->core->waker);
    if (fds[0].revents & POLLIN)
        waker_drain(&s->core->waker);
    s->pause_us = s->pause_us * 2 < PAUSE_US_MAX ? s->pause_us * 2 : PAUSE_US_MAX;
}

static void rest(struct station *s, bool busy, int timeout_ms)
{
    s->core->idle = !busy && s->idle_since_us &&
                    s->core->now_us - s->idle_since_us >= IDLE_FLUSH_US;
    if (busy || core_has_work(s->core) || lane_has_work(s->lane)) {
        s->idle_since_us = 0;
        s->pause_us = PAUSE_US_MIN;
        return;
    }
    if (s->idle_since_us == 0)
        s->idle_since_us = s->core->now_us;
    if (s->may_sleep && timeout_ms != 0 && s->core->now_us - s->idle_since_us >= IDLE_SPIN_US)
        sleep_until_work(s, timeout_ms);
}

/* --- the turn --- */

/* Nothing received and nothing else to do: look at the queue again without a whole turn, most of
 * which would be reading the clock. Timers come late by EMPTY_POLLS_MAX polls at most, well below a
 * microsecond each. */
static unsigned poll_some(struct station *s, struct net_frame **frames)
{
    for (unsigned polls = 0;; polls++) {
        unsigned n = lane_receive(s->lane, frames);
        if (n || polls == EMPTY_POLLS_MAX || core_has_work(s->core) || lane_has_work(s->lane))
            return n;
        reader_quiescent();
    }
}

void station_turn(struct station *s, int timeout_ms)
{
    struct net_frame *frames;
    if (UNLIKELY(!s->entered))
        enter(s);
    unsigned n = poll_some(s, &frames);
    core_begin_turn(s->core);
    uint64_t now_us = s->core->now_us;
    net_burst(s->net, frames, n, now_us);
    core_end_turn(s->core);
    (void)net_timers(s->net, now_us); /* asked for again before sleeping */
    s->again = false;
    s->flushing = true;
    uint32_t unsent = net_flush(s->net);
    s->flushing = false;
    (void)lane_transmit(s->lane); /* what stays is lane_has_work() */
    lane_release(s->lane);
    if (s->index == 0 && device_check_link(s->dev, now_us))
        net_announce(s->net);
    reader_quiescent();
    if (now_us >= s->show_us)
        show_counters(s, now_us);
    rest(s, n > 0 || unsent > 0 || s->again, timeout_ms);
}

/* The core is no more run; only TCP still works, without callbacks, for nobody is left to call. */
void station_farewell_begin(struct station *s)
{
    s->closing = true;
    const struct core *core = s->core;
    for (struct conn *conn = conn_first(core); conn; conn = conn_next(core, conn)) {
        if (conn->net_conn)
            net_close(s->net, conn->net_conn);
        conn->net_conn = NULL;
    }
}

bool station_farewell_turn(struct station *s)
{
    struct net_frame *frames;
    struct net_usage usage;
    here = s;
    unsigned n = lane_receive(s->lane, &frames);
    uint64_t now_us = server_now_us();
    net_burst(s->net, frames, n, now_us);
    (void)net_timers(s->net, now_us);
    (void)net_flush(s->net);
    unsigned pending = lane_transmit(s->lane);
    lane_release(s->lane);
    net_usage(s->net, &usage);
    return usage.conns == 0 && pending == 0;
}
