/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/kernel.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

#include "client/wire/check.h"
#include "dataplane/core.h"
#include "tree/reader.h"
#include "dataplane/log.h"
#include "tree/key.h"

#define EVENTS_MAX 64
#define RECEIVE_BYTES_MAX 65536 /* of one connection in one turn */
#define ARENA_BYTES (EVENTS_MAX * RECEIVE_BYTES_MAX)
#define ACCEPTS_MAX 64 /* in one turn */
#define IOV_MAX_USED 64
/* After running out of descriptors the listener rests this long instead of spinning. */
#define ACCEPT_PAUSE_MS 100

/* --- connections per address --- */

#define PEER_COUNTERS 65536

struct peer_counts {
    uint8_t secret[TREE_SECRET_BYTES];
    _Atomic uint32_t counter[PEER_COUNTERS];
};

struct peer_counts *peer_counts_create(void)
{
    struct peer_counts *p = calloc(1, sizeof *p);
    if (p && getrandom(p->secret, sizeof p->secret, 0) != sizeof p->secret) {
        free(p);
        return NULL;
    }
    return p;
}

void peer_counts_destroy(struct peer_counts *p)
{
    free(p);
}

static void peer_slots(const struct peer_counts *p, const struct sockaddr_storage *peer,
                       uint32_t slot[2])
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)peer;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)peer;
    struct bytes address = {(const uint8_t *)&in6->sin6_addr, 16};
    if (peer->ss_family == AF_INET)
        address = (struct bytes){(const uint8_t *)&in->sin_addr, 4};
    else if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) /* the same peer, met by a socket of both
                                                     * families */
        address = (struct bytes){address.data + 12, 4};
    struct tree_key key = tree_key_of(p->secret, address);
    slot[0] = (uint32_t)key.lo % PEER_COUNTERS;
    slot[1] = (uint32_t)key.hi % PEER_COUNTERS;
}

/* Relaxed: a limit, not a lock. */
bool peer_enter(struct peer_counts *p, const struct sockaddr_storage *peer, uint32_t max)
{
    uint32_t slot[2];
    peer_slots(p, peer, slot);
    uint32_t a = atomic_fetch_add_explicit(&p->counter[slot[0]], 1, memory_order_relaxed);
    uint32_t b = atomic_fetch_add_explicit(&p->counter[slot[1]], 1, memory_order_relaxed);
    if (max == 0 || (a < b ? a : b) < max)
        return true;
    atomic_fetch_sub_explicit(&p->counter[slot[0]], 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&p->counter[slot[1]], 1, memory_order_relaxed);
    return false;
}

void peer_leave(struct peer_counts *p, const struct sockaddr_storage *peer)
{
    uint32_t slot[2];
    peer_slots(p, peer, slot);
    atomic_fetch_sub_explicit(&p->counter[slot[0]], 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&p->counter[slot[1]], 1, memory_order_relaxed);
}

/* --- the listener --- */

struct received {
    struct conn *conn;
    uint32_t offset, size; /* in the arena */
    bool hangup;
};

struct kernel {
    struct core *core;
    struct kernel_config config;
    int epoll;
    int listener;            /* -1: not listening any more */
    bool listener_paused;
    uint64_t listener_resume_ms;
    uint8_t *arena;          /* input of this turn */
    uint32_t received_count;
    struct received received[EVENTS_MAX];
};

/* epoll data: a connection, or one of these two addresses. */
static char listener_tag, waker_tag;

static int epoll_set(struct kernel *k, int operation, int fd, uint32_t events, void *tag)
{
    struct epoll_event event = {.events = events, .data.ptr = tag};
    return epoll_ctl(k->epoll, operation, fd, &event);
}

static int listener_open(const struct kernel_config *config)
{
    int family = config->address->sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int one = 1, zero = 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0 ||
        (family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero) != 0) ||
        bind(fd, config->address, config->address_size) != 0 || listen(fd, config->backlog) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

struct kernel *kernel_open(struct core *core, const struct kernel_config *config,
                           uint16_t *bound_port)
{
    struct kernel *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->core = core;
    k->config = *config;
    k->listener = k->epoll = -1;
    k->arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (k->arena == MAP_FAILED)
        k->arena = NULL;
    struct sockaddr_storage bound;
    socklen_t bound_size = sizeof bound;
    if (!k->arena || (k->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0 ||
        (k->listener = listener_open(config)) < 0 ||
        getsockname(k->listener, (struct sockaddr *)&bound, &bound_size) != 0 ||
        epoll_set(k, EPOLL_CTL_ADD, k->listener, EPOLLIN, &listener_tag) != 0 ||
        epoll_set(k, EPOLL_CTL_ADD, core->waker.fd, EPOLLIN, &waker_tag) != 0) {
        int saved = errno;
        kernel_close(k);
        errno = saved;
        return NULL;
    }
    /* sin_port and sin6_port lie at the same place. */
    *bound_port = ntohs(((const struct sockaddr_in *)&bound)->sin_port);
    core->backend = k;
    return k;
}

void kernel_stop_listening(struct kernel *k)
{
    if (k->listener >= 0)
        close(k->listener);
    k->listener = -1;
}

void kernel_close(struct kernel *k)
{
    if (!k)
        return;
    kernel_stop_listening(k);
    if (k->epoll >= 0)
        close(k->epoll);
    if (k->arena)
        munmap(k->arena, ARENA_BYTES);
    free(k);
}

/* --- the backend of a connection --- */

static void conn_want(struct kernel *k, struct conn *conn)
{
    uint32_t events = (conn->paused ? 0 : EPOLLIN) | (conn->writable_wait ? EPOLLOUT : 0);
    /* the descriptor is registered: cannot fail */
    (void)epoll_set(k, EPOLL_CTL_MOD, conn->fd, events, conn);
}

static void kernel_conn_drop(struct core *core, struct conn *conn)
{
    struct kernel *k = core->backend;
    if (conn->fd < 0)
        return;
    close(conn->fd);
    conn->fd = -1;
    peer_leave(k->config.peers, conn_peer(conn));
    atomic_fetch_sub_explicit(k->config.connections, 1, memory_order_relaxed);
    conn_detached(core, conn);
}

static unsigned output_vector(const struct conn *conn, struct iovec *iov)
{
    unsigned n = 0;
    for (struct out_chunk *chunk = conn->out_head; chunk && n < IOV_MAX_USED; chunk = chunk->next)
        iov[n++] = (struct iovec){(void *)(uintptr_t)(out_chunk_bytes(chunk) + chunk->start),
                                  chunk->end - chunk->start};
    return n;
}

static void kernel_flush(struct core *core, struct conn *conn)
{
    struct kernel *k = core->backend;
    bool wait = false;
    if (conn->out_bytes) {
        struct iovec iov[IOV_MAX_USED];
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = output_vector(conn, iov)};
        ssize_t n = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            conn_close(core, conn, true);
            return;
        }
        if (n > 0)
            conn_output_sent(core, conn, (size_t)n);
        wait = conn->out_bytes > 0;
    }
    if (wait != conn->writable_wait) {
        conn->writable_wait = wait;
        conn_want(k, conn);
    }
    /* Half-close, then wait for the peer's own end: closing with unread input would reset the
     * connection and the peer could lose our last reply (client-protocol.md section 13.5). */
    if (conn->state == CONN_CLOSING && conn->out_bytes == 0)
        shutdown(conn->fd, SHUT_WR);
}

static void kernel_pause(struct core *core, struct conn *conn, bool paused)
{
    (void)paused;
    if (conn->fd >= 0)
        conn_want(core->backend, conn);
}

static void kernel_conn_close(struct core *core, struct conn *conn, bool at_once)
{
    if (at_once) {
        kernel_conn_drop(core, conn);
    } else if (conn->paused && conn->fd >= 0) {
        conn->paused = false; /* what still comes is read and thrown away */
        conn_want(core->backend, conn);
    }
}

static const struct conn_backend kernel_backend = {kernel_flush, kernel_pause, kernel_conn_close};

/* --- accepting --- */

static void reset(int fd)
{
    struct linger linger = {1, 0};
    /* then it is an orderly close */
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

static bool accept_allowed(struct kernel *k, const struct sockaddr_storage *peer)
{
    uint32_t before = atomic_fetch_add_explicit(k->config.connections, 1, memory_order_relaxed);
    if ((k->config.connections_max == 0 || before < (uint32_t)k->config.connections_max) &&
        peer_enter(k->config.peers, peer, (uint32_t)k->config.connections_per_address_max))
        return true;
    atomic_fetch_sub_explicit(k->config.connections, 1, memory_order_relaxed);
    stat_add(&k->core->stats.connections_rejected, 1);
    return false;
}

static void accept_one(struct kernel *k, int fd, const struct sockaddr_storage *peer)
{
    if (!accept_allowed(k, peer)) {
        reset(fd);
        return;
    }
    int one = 1;
    /* slower without, still right */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (k->config.keepalive)
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    struct conn *conn = conn_open(k->core, &kernel_backend, (const struct sockaddr *)peer);
    if (conn)
        conn->fd = -1;
    if (!conn || epoll_set(k, EPOLL_CTL_ADD, fd, EPOLLIN, conn) != 0) {
        peer_leave(k->config.peers, peer);
        atomic_fetch_sub_explicit(k->config.connections, 1, memory_order_relaxed);
        reset(fd);
        if (conn)
            conn_close(k->core, conn, true);
        return;
    }
    conn->fd = fd;
}

static void accept_ready(struct kernel *k)
{
    for (int i = 0; i < ACCEPTS_MAX && k->listener >= 0; i++) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer;
        int fd =
            accept4(k->listener, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accept_one(k, fd, &peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            LOG_LIMITED(LOG_LEVEL_WARN, 1, "cannot accept connections: %s; trying again in %d ms",
                        strerror(errno), ACCEPT_PAUSE_MS);
            k->listener_paused = true;
            k->listener_resume_ms = k->core->now_ms + ACCEPT_PAUSE_MS;
            (void)epoll_set(k, EPOLL_CTL_MOD, k->listener, 0, &listener_tag);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

/* --- the turn --- */

static void receive(struct kernel *k, struct conn *conn, uint32_t *used)
{
    struct received *r = &k->received[k->received_count];
    ssize_t n = recv(conn->fd, k->arena + *used, RECEIVE_BYTES_MAX, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    *r = (struct received){conn, *used, n > 0 ? (uint32_t)n : 0, n <= 0};
    *used += r->size;
    k->received_count++;
}

/* Phase 1: take input off the sockets before V is loaded. */
static void take_events(struct kernel *k, const struct epoll_event *events, int count,
                        bool *accepting)
{
    uint32_t used = 0;
    k->received_count = 0;
    for (int i = 0; i < count; i++) {
        void *tag = events[i].data.ptr;
        if (tag == &listener_tag) {
            *accepting = true;
        } else if (tag == &waker_tag) {
            waker_drain(&k->core->waker);
        } else {
            struct conn *conn = tag;
            if (events[i].events & EPOLLOUT) {
                conn->writable_wait = false;
                core_mark_dirty(k->core, conn);
                conn_want(k, conn);
            }
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                receive(k, conn, &used);
        }
    }
}

/* Phase 2: look at it, at V. */
static void parse_received(struct kernel *k)
{
    for (uint32_t i = 0; i < k->received_count; i++) {
        struct received *r = &k->received[i];
        if (r->conn->state == CONN_CLOSED)
            continue;
        if (r->hangup)
            conn_hangup(k->core, r->conn);
        else if (conn_input(k->core, r->conn, k->arena + r->offset, r->size) == 0)
            conn_keep_input(k->core, r->conn, k->arena + r->offset, r->size);
    }
}

static int turn_timeout(struct kernel *k, int timeout_ms)
{
    if (k->listener_paused && (timeout_ms < 0 || timeout_ms > ACCEPT_PAUSE_MS))
        timeout_ms = ACCEPT_PAUSE_MS;
    int own_ms = core_timeout_ms(k->core);
    return own_ms >= 0 && (timeout_ms < 0 || own_ms < timeout_ms) ? own_ms : timeout_ms;
}

static int wait_events(struct kernel *k, struct epoll_event *events, int timeout_ms)
{
    timeout_ms = turn_timeout(k, timeout_ms);
    if (timeout_ms == 0)
        return epoll_wait(k->epoll, events, EVENTS_MAX, 0);
    waker_prepare(&k->core->waker);
    if (core_has_work(k->core))
        timeout_ms = 0;
    reader_offline();
    int count = epoll_wait(k->epoll, events, EVENTS_MAX, timeout_ms);
    reader_online();
    waker_done(&k->core->waker);
    return count;
}

void kernel_turn(struct kernel *k, int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    bool accepting = false;
    int count = wait_events(k, events, timeout_ms);
    k->core->idle = count <= 0;
    take_events(k, events, count, &accepting);
    core_begin_turn(k->core);
    if (k->core->draining)
        kernel_stop_listening(k);
    parse_received(k);
    if (accepting)
        accept_ready(k);
    if (k->listener_paused && k->core->now_ms >= k->listener_resume_ms) {
        k->listener_paused = false;
        (void)epoll_set(k, EPOLL_CTL_MOD, k->listener, EPOLLIN, &listener_tag);
    }
    core_end_turn(k->core);
    reader_quiescent();
}
