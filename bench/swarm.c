/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/swarm.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench/cputime.h"
#include "client/wire/check.h"

#define EVENTS_PER_TURN 256
#define INPUT_BYTES_START (256u << 10)
#define INPUT_BYTES_MAX (256u << 20) /* one reply may be as long as a huge directory */
#define HANDSHAKES_MAX 32            /* at once */
#define OPEN_TIMEOUT_NS (60ull * 1000000000u)

struct sent {
    uint64_t sent_ns;
    int32_t xid;
    enum bench_op op;
};

struct connection {
    int fd;
    int32_t xid_next;
    uint32_t head, in_flight;     /* ring `sent`: oldest index and count */
    bool greeted, dirty, blocked; /* handshake done; has output to flush; waits for EPOLLOUT */
    struct sent *sent;            /* config.depth entries */
    uint8_t *out;
    size_t out_from, out_to, out_room; /* out_from <= out_to <= out_room */
    uint8_t *rest;                     /* the start of an incomplete reply */
    size_t rest_bytes, rest_room;
};

struct swarm {
    struct swarm_config config;
    int epoll_fd;
    struct connection *connections;
    uint32_t opened, greeted;
    uint32_t *dirty; /* connections with output, config.connections entries */
    uint32_t dirty_count;
    uint64_t in_flight, idle_ns;
    uint8_t *input;
    size_t input_room;
    char error[256];
};

static int fail(struct swarm *s, uint32_t connection, const char *what)
{
    if (!s->error[0])
        snprintf(s->error, sizeof s->error, "connection %u: %s", connection, what);
    return -1;
}

static void *grow(void *p, size_t bytes)
{
    p = realloc(p, bytes);
    if (!p) {
        fprintf(stderr, "sengi-bench: out of memory\n");
        exit(1);
    }
    return p;
}

static uint8_t *output_room(struct connection *c, size_t bytes)
{
    if (c->out_from == c->out_to)
        c->out_from = c->out_to = 0;
    if (c->out_room - c->out_to < bytes) {
        c->out_room = (c->out_to + bytes) * 2;
        c->out = grow(c->out, c->out_room);
    }
    return c->out + c->out_to;
}

static void mark_dirty(struct swarm *s, uint32_t index)
{
    struct connection *c = &s->connections[index];
    if (!c->dirty) {
        c->dirty = true;
        s->dirty[s->dirty_count++] = index;
    }
}

bool swarm_submit(struct swarm *s, uint32_t index, enum bench_op op, uint32_t key, uint64_t now_ns)
{
    struct connection *c = &s->connections[index];
    if (c->in_flight == s->config.depth)
        return false;
    struct bench_request request = {op, key, c->xid_next};
    uint8_t *room = output_room(c, REQUEST_OVERHEAD_MAX + s->config.keys->value_bytes);
    size_t bytes = s->config.protocol->encode(s->config.keys, &request, room);
    if (bytes == 0)
        return false;
    c->out_to += bytes;
    uint32_t slot = c->head + c->in_flight;
    if (slot >= s->config.depth)
        slot -= s->config.depth;
    c->sent[slot] = (struct sent){now_ns, c->xid_next, op};
    c->in_flight++;
    s->in_flight++;
    c->xid_next = c->xid_next == INT32_MAX ? 1 : c->xid_next + 1;
    mark_dirty(s, index);
    return true;
}

static void wait_for_room(struct swarm *s, uint32_t index, bool wait)
{
    struct connection *c = &s->connections[index];
    if (c->blocked == wait)
        return;
    c->blocked = wait;
    struct epoll_event e = {.events = EPOLLIN | (wait ? EPOLLOUT : 0u), .data.u32 = index};
    CHECK(epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, c->fd, &e) == 0);
}

static int flush(struct swarm *s, uint32_t index)
{
    struct connection *c = &s->connections[index];
    if (c->out_from == c->out_to)
        return 0;
    ssize_t n =
        send(c->fd, c->out + c->out_from, c->out_to - c->out_from, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return fail(s, index, strerror(errno));
    if (n > 0)
        c->out_from += (size_t)n;
    wait_for_room(s, index, c->out_from < c->out_to);
    return 0;
}

static int flush_dirty(struct swarm *s)
{
    int rc = 0;
    for (uint32_t i = 0; i < s->dirty_count; i++) {
        struct connection *c = &s->connections[s->dirty[i]];
        c->dirty = false;
        if (!c->blocked && flush(s, s->dirty[i]) < 0)
            rc = -1;
    }
    s->dirty_count = 0;
    return rc;
}

/* One whole reply has been parsed: match it with the oldest request and tell the caller. */
static int deliver(struct swarm *s, uint32_t index, const struct bench_reply *reply,
                   uint64_t now_ns)
{
    struct connection *c = &s->connections[index];
    if (reply->is_event) {
        if (s->config.on_event)
            s->config.on_event(s->config.context, index, now_ns);
        return 0;
    }
    if (c->in_flight == 0)
        return fail(s, index, "a reply that nobody asked for");
    struct sent sent = c->sent[c->head];
    if (reply->xid > 0 && reply->xid != sent.xid)
        return fail(s, index, "replies out of order (xid)");
    c->head = c->head + 1 == s->config.depth ? 0 : c->head + 1;
    c->in_flight--;
    s->in_flight--;
    struct swarm_reply out = {index, sent.op, *reply, sent.sent_ns, now_ns};
    s->config.on_reply(s->config.context, &out);
    return 0;
}

/* Bytes consumed, or -1. */
static ptrdiff_t digest(struct swarm *s, uint32_t index, const uint8_t *in, size_t size)
{
    struct connection *c = &s->connections[index];
    size_t used = 0;
    uint64_t now_ns = clock_ns();
    while (used < size) {
        struct bench_reply reply;
        ptrdiff_t n = c->greeted ? s->config.protocol->parse(in + used, size - used, &reply)
                                 : s->config.protocol->hello_reply(in + used, size - used);
        if (n < 0)
            return fail(s, index, c->greeted ? "malformed reply" : "handshake refused");
        if (n == 0)
            break;
        used += (size_t)n;
        if (!c->greeted) {
            c->greeted = true;
            s->greeted++;
        } else if (deliver(s, index, &reply, now_ns) < 0) {
            return -1;
        }
    }
    return (ptrdiff_t)used;
}

static int receive(struct swarm *s, uint32_t index)
{
    struct connection *c = &s->connections[index];
    size_t kept = c->rest_bytes;
    if (s->input_room - kept < INPUT_BYTES_START / 2) {
        if (s->input_room >= INPUT_BYTES_MAX)
            return fail(s, index, "reply longer than the generator's buffer");
        s->input_room *= 2;
        s->input = grow(s->input, s->input_room);
    }
    if (kept)
        memcpy(s->input, c->rest, kept);
    ssize_t n = recv(c->fd, s->input + kept, s->input_room - kept, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : fail(s, index, strerror(errno));
    if (n == 0)
        return fail(s, index, "closed by the server");
    size_t size = kept + (size_t)n;
    ptrdiff_t used = digest(s, index, s->input, size);
    if (used < 0)
        return -1;
    c->rest_bytes = size - (size_t)used;
    if (c->rest_bytes > c->rest_room) {
        c->rest_room = c->rest_bytes * 2;
        c->rest = grow(c->rest, c->rest_room);
    }
    if (c->rest_bytes)
        memcpy(c->rest, s->input + used, c->rest_bytes);
    return 0;
}

static int wait_events(struct swarm *s, struct epoll_event *events, int timeout_ms)
{
    if (!s->config.spin)
        return epoll_wait(s->epoll_fd, events, EVENTS_PER_TURN, timeout_ms);
    uint64_t start_ns = clock_ns(), now_ns = start_ns;
    int n;
    do {
        uint64_t before_ns = now_ns;
        n = epoll_wait(s->epoll_fd, events, EVENTS_PER_TURN, 0);
        now_ns = clock_ns();
        if (n == 0)
            s->idle_ns += now_ns - before_ns;
    } while (n == 0 && now_ns - start_ns < (uint64_t)timeout_ms * 1000000u);
    return n;
}

int swarm_poll(struct swarm *s, int timeout_ms)
{
    if (flush_dirty(s) < 0)
        return -1;
    struct epoll_event events[EVENTS_PER_TURN];
    int n = wait_events(s, events, timeout_ms);
    if (n < 0)
        return errno == EINTR ? 0 : fail(s, 0, strerror(errno));
    for (int i = 0; i < n; i++) {
        uint32_t index = events[i].data.u32;
        if ((events[i].events & ~(uint32_t)EPOLLOUT) && receive(s, index) < 0)
            return -1;
        if ((events[i].events & EPOLLOUT) && flush(s, index) < 0)
            return -1;
        /* Send at once what the replies called for: the server need not wait for the rest of our
         * turn. */
        if (s->dirty_count && flush_dirty(s) < 0)
            return -1;
    }
    return 0;
}

static int open_one(struct swarm *s, uint32_t index)
{
    struct connection *c = &s->connections[index];
    c->sent = calloc(s->config.depth, sizeof *c->sent);
    CHECK(c->sent != NULL);
    c->xid_next = 1;
    c->fd = socket(s->config.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return fail(s, index, strerror(errno));
    s->opened = index + 1;
    if (connect(c->fd, (struct sockaddr *)&s->config.address, s->config.address_bytes) < 0)
        return fail(s, index, strerror(errno));
    int on = 1;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on,
                     sizeof on); /* not TCP: nothing to turn off */
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = index};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, c->fd, &e) < 0)
        return fail(s, index, strerror(errno));
    size_t hello = s->config.protocol->hello(output_room(c, REQUEST_OVERHEAD_MAX));
    c->out_to += hello;
    if (hello) {
        mark_dirty(s, index);
    } else {
        c->greeted = true;
        s->greeted++;
    }
    return 0;
}

static int open_all(struct swarm *s)
{
    uint64_t end_ns = clock_ns() + OPEN_TIMEOUT_NS;
    for (uint32_t i = 0; i < s->config.connections; i++) {
        if (open_one(s, i) < 0)
            return -1;
        /* Let the server keep up: its accept queue is short, and what falls out of it waits for a
         * second. */
        while (s->greeted + HANDSHAKES_MAX < s->opened && clock_ns() < end_ns)
            if (swarm_poll(s, 10) < 0)
                return -1;
        if (clock_ns() > end_ns)
            return fail(s, i, "connecting took too long");
    }
    while (s->greeted < s->config.connections) {
        if (swarm_poll(s, 100) < 0)
            return -1;
        if (clock_ns() > end_ns)
            return fail(s, s->greeted, "handshakes took too long");
    }
    return 0;
}

struct swarm *swarm_open(const struct swarm_config *config, char *error)
{
    CHECK(config->connections > 0 && config->connections <= SWARM_CONNECTIONS_MAX);
    CHECK(config->depth > 0 && config->depth <= SWARM_DEPTH_MAX);
    struct swarm *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->config = *config;
    s->connections = calloc(config->connections, sizeof *s->connections);
    s->dirty = calloc(config->connections, sizeof *s->dirty);
    s->input_room = INPUT_BYTES_START;
    s->input = grow(NULL, s->input_room);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    CHECK(s->connections && s->dirty && s->epoll_fd >= 0);
    if (open_all(s) < 0) {
        snprintf(error, 256, "%s", s->error);
        swarm_close(s);
        return NULL;
    }
    return s;
}

uint64_t swarm_idle_ns(const struct swarm *s)
{
    return s->idle_ns;
}

uint64_t swarm_in_flight(const struct swarm *s)
{
    return s->in_flight;
}

const char *swarm_error(const struct swarm *s)
{
    return s->error;
}

void swarm_close(struct swarm *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->opened; i++) {
        struct connection *c = &s->connections[i];
        uint8_t farewell[REQUEST_OVERHEAD_MAX];
        size_t n = c->greeted ? s->config.protocol->goodbye(farewell) : 0;
        if (n)
            (void)!send(c->fd, farewell, n,
                        MSG_DONTWAIT | MSG_NOSIGNAL); /* a courtesy: the session times out anyhow */
        close(c->fd);
        free(c->sent);
        free(c->out);
        free(c->rest);
    }
    close(s->epoll_fd);
    free(s->connections);
    free(s->dirty);
    free(s->input);
    free(s);
}
