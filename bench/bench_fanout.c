/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What the kernel itself can do for a watch event: one send() of 70 bytes to each of many loopback
 * sockets from one CPU, read on another that never sleeps. No server can deliver faster over
 * these sockets, one system call each.
 *
 *   sengi-bench-fanout CPU CPU SOCKETS
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/cputime.h"
#include "bench/responder.h"
#include "bench/znodes.h"
#include "client/wire/check.h"

#define EVENT_BYTES 70
#define ROUNDS 9

static void pin(uint64_t cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
}

/* The reader: connects all, then tells through `done` that it is ready and when each round is
 * complete. */
static void read_all(const struct sockaddr_in *server, uint32_t sockets, int done)
{
    struct epoll_event events[256];
    static uint8_t buffer[4096];
    int epoll = epoll_create1(0);
    for (uint32_t i = 0; i < sockets; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)server, sizeof *server) == 0);
        CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0);
    }
    CHECK(write(done, "r", 1) == 1);
    for (uint64_t bytes = 0, round = (uint64_t)sockets * EVENT_BYTES;;) {
        int n = epoll_wait(epoll, events, 256, 0);
        for (int i = 0; i < n; i++) {
            ssize_t got = recv(events[i].data.fd, buffer, sizeof buffer, 0);
            if (got <= 0)
                _exit(0);
            bytes += (uint64_t)got;
            if (bytes % round == 0)
                CHECK(write(done, "e", 1) == 1);
        }
    }
}

int main(int argc, char **argv)
{
    uint64_t sender = argc > 1 ? znodes_count_argument(argv[1], 0, 1023) : 0;
    uint64_t reader = argc > 2 ? znodes_count_argument(argv[2], 0, 1023) : 1;
    uint32_t sockets = argc > 3 ? (uint32_t)znodes_count_argument(argv[3], 1, 60000) : 10000;
    int listener = responder_listen(0), done[2], *fds = calloc(sockets, sizeof *fds);
    struct sockaddr_in address;
    socklen_t n = sizeof address;
    char answer;
    CHECK(listener >= 0 && fds && pipe(done) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &n) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pin(reader);
        close(listener);
        read_all(&address, sockets, done[1]);
    }
    close(done[1]);
    pin(sender);
    for (uint32_t i = 0; i < sockets; i++) {
        int on = 1;
        fds[i] = accept(listener, NULL, NULL);
        CHECK(fds[i] >= 0);
        CHECK(setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    }
    CHECK(read(done[0], &answer, 1) == 1);
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        static const uint8_t event[EVENT_BYTES];
        uint64_t start_ns = clock_ns();
        for (uint32_t i = 0; i < sockets; i++)
            CHECK(send(fds[i], event, sizeof event, MSG_NOSIGNAL) == sizeof event);
        CHECK(read(done[0], &answer, 1) == 1);
        double rate = sockets / ((double)(clock_ns() - start_ns) / 1e9);
        best = rate > best ? rate : best;
    }
    for (uint32_t i = 0; i < sockets; i++)
        close(fds[i]); /* ends the reader */
    waitpid(child, NULL, 0);
    printf("{\"events_per_s\":%.0f}\n", best);
    return 0;
}
