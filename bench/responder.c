/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/responder.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench/load.h"
#include "client/wire/check.h"
#include "client/wire/jute.h"
#include "client/wire/opcodes.h"

#define INPUT_BYTES (2u << 20)
#define OUTPUT_BYTES (32u << 20)
#define PEERS_MAX 65536

enum dialect { DIALECT_UNKNOWN, DIALECT_ZK, DIALECT_MEMCACHED, DIALECT_REDIS };

struct peer {
    enum dialect dialect;
    bool greeted;
    uint8_t redis_verb;
    uint32_t redis_lines_left;
    uint32_t rest_bytes;
    uint8_t *rest;
};

struct responder {
    int epoll_fd, listener;
    uint32_t value_bytes;
    uint8_t *zk_get, *memcached_get, *redis_get; /* whole canned replies */
    size_t zk_get_bytes, memcached_get_bytes, redis_get_bytes;
    uint8_t *input, *output;
    size_t output_bytes;
    struct peer peers[PEERS_MAX]; /* by file descriptor */
};

static void emit(struct responder *r, const void *data, size_t n)
{
    if (OUTPUT_BYTES - r->output_bytes >= n) {
        memcpy(r->output + r->output_bytes, data, n);
        r->output_bytes += n;
    }
}

static void emit_zk_reply(struct responder *r, const uint8_t *request)
{
    int32_t op = (int32_t)be32_load(request + 8);
    uint8_t *out = r->output + r->output_bytes;
    if (op == OP_GET_DATA) {
        emit(r, r->zk_get, r->zk_get_bytes);
    } else {
        size_t body = op == OP_SET_DATA || op == OP_EXISTS ? STAT_BYTES : op == OP_CREATE ? 4 : 0;
        uint8_t reply[4 + REPLY_HEADER_BYTES + STAT_BYTES] = {0};
        be32_store(reply, (uint32_t)(REPLY_HEADER_BYTES + body));
        emit(r, reply, 4 + REPLY_HEADER_BYTES + body);
    }
    memcpy(out + 4, request + 4, 4); /* xid */
}

static size_t serve_zk(struct responder *r, struct peer *p, const uint8_t *in, size_t size)
{
    size_t used = 0;
    while (size - used >= 4) {
        uint32_t frame = be32_load(in + used);
        if (size - used < 4 + (size_t)frame)
            break;
        if (!p->greeted) {
            uint8_t hello[41] = {0};
            be32_store(hello, 37);
            be32_store(hello + 8, 40000);
            be64_store(hello + 12, 1);
            be32_store(hello + 20, PASSWD_BYTES);
            emit(r, hello, sizeof hello);
            p->greeted = true;
        } else if (frame >= 8) {
            emit_zk_reply(r, in + used);
        }
        used += 4 + frame;
    }
    return used;
}

static size_t serve_memcached(struct responder *r, const uint8_t *in, size_t size)
{
    size_t used = 0;
    const uint8_t *line_end;
    while ((line_end = memchr(in + used, '\n', size - used))) {
        size_t line = (size_t)(line_end + 1 - in) - used;
        if (in[used] == 'g') {
            emit(r, r->memcached_get, r->memcached_get_bytes);
        } else if (in[used] == 'm') {
            emit(r, "MN\r\n", 4);
        } else {
            size_t whole = line + r->value_bytes + 2;
            if (size - used < whole)
                break;
            line = whole;
            emit(r, "STORED\r\n", 8);
        }
        used += line;
    }
    return used;
}

/* A request is "*N\r\n" and N times "$len\r\nbytes\r\n"; none of our keys or values holds a line
 * feed. */
static size_t serve_redis(struct responder *r, struct peer *p, const uint8_t *in, size_t size)
{
    size_t used = 0;
    const uint8_t *line_end;
    while ((line_end = memchr(in + used, '\n', size - used))) {
        if (p->redis_lines_left == 0) {
            p->redis_lines_left = 2 * (uint32_t)(in[used + 1] & 7);
            p->redis_verb = 0;
        } else {
            if (!p->redis_verb && in[used] != '$')
                p->redis_verb = in[used];
            if (--p->redis_lines_left == 0 && p->redis_verb == 'G')
                emit(r, r->redis_get, r->redis_get_bytes);
            else if (p->redis_lines_left == 0)
                emit(r, "+OK\r\n", 5);
        }
        used = (size_t)(line_end + 1 - in);
    }
    return used;
}

static void peer_drop(struct responder *r, int fd)
{
    free(r->peers[fd].rest);
    r->peers[fd] = (struct peer){0};
    close(fd);
}

static bool send_all(int fd, const uint8_t *data, size_t n)
{
    while (n) {
        ssize_t sent =
            send(fd, data, n, MSG_NOSIGNAL); /* blocking: the peer reads whatever we write */
        if (sent <= 0)
            return false;
        data += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool serve(struct responder *r, int fd)
{
    struct peer *p = &r->peers[fd];
    if (p->rest_bytes)
        memcpy(r->input, p->rest, p->rest_bytes);
    ssize_t n = recv(fd, r->input + p->rest_bytes, INPUT_BYTES - p->rest_bytes, MSG_DONTWAIT);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    size_t size = p->rest_bytes + (size_t)n, used = 0;
    if (p->dialect == DIALECT_UNKNOWN)
        p->dialect = r->input[0] == 0     ? DIALECT_ZK
                     : r->input[0] == '*' ? DIALECT_REDIS
                                          : DIALECT_MEMCACHED;
    r->output_bytes = 0;
    switch (p->dialect) {
    case DIALECT_ZK: used = serve_zk(r, p, r->input, size); break;
    case DIALECT_REDIS: used = serve_redis(r, p, r->input, size); break;
    default: used = serve_memcached(r, r->input, size); break;
    }
    p->rest_bytes = (uint32_t)(size - used);
    if (p->rest_bytes) {
        free(p->rest);
        p->rest = malloc(p->rest_bytes);
        CHECK(p->rest != NULL);
        memcpy(p->rest, r->input + used, p->rest_bytes);
    }
    return p->rest_bytes < INPUT_BYTES && send_all(fd, r->output, r->output_bytes);
}

static void take_new(struct responder *r)
{
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    int on = 1;
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fd >= PEERS_MAX || epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
        close(fd);
}

static void canned_replies(struct responder *r)
{
    uint32_t n = r->value_bytes;
    size_t room = n + 256;
    r->zk_get = calloc(1, room);
    r->memcached_get = calloc(1, room);
    r->redis_get = calloc(1, room);
    CHECK(r->zk_get && r->memcached_get && r->redis_get);
    r->zk_get_bytes = 4 + REPLY_HEADER_BYTES + 4 + n + STAT_BYTES;
    be32_store(r->zk_get, (uint32_t)r->zk_get_bytes - 4);
    be32_store(r->zk_get + 20, n);
    int head =
        snprintf((char *)r->memcached_get, room, "VALUE /sengi-bench/k0000000000 0 %u\r\n", n);
    memset(r->memcached_get + head, 'x', n);
    memcpy(r->memcached_get + head + n, "\r\nEND\r\n", 7);
    r->memcached_get_bytes = (size_t)head + n + 7;
    head = snprintf((char *)r->redis_get, room, "$%u\r\n", n);
    memset(r->redis_get + head, 'x', n);
    memcpy(r->redis_get + head + n, "\r\n", 2);
    r->redis_get_bytes = (size_t)head + n + 2;
}

int responder_listen(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0
        || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 1024) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int responder_run(int listener, uint32_t value_bytes)
{
    struct responder *r = calloc(1, sizeof *r);
    CHECK(r != NULL);
    r->listener = listener;
    r->value_bytes = value_bytes;
    r->input = malloc(INPUT_BYTES);
    r->output = malloc(OUTPUT_BYTES);
    r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    CHECK(r->input && r->output);
    canned_replies(r);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, events[256];
    int rc = r->epoll_fd < 0 ? -1 : epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, listener, &e);
    while (rc == 0 && !load_stop) {
        int n = epoll_wait(r->epoll_fd, events, 256, 200);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                take_new(r);
            else if (!serve(r, fd))
                peer_drop(r, fd);
        }
    }
    for (int fd = 0; fd < PEERS_MAX; fd++)
        free(r->peers[fd].rest);
    close(r->epoll_fd);
    close(listener);
    free(r->zk_get);
    free(r->memcached_get);
    free(r->redis_get);
    free(r->input);
    free(r->output);
    free(r);
    return rc;
}
