/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Real peers: the Linux kernel's TCP through a TAP, both ways round, both families, clean and with
 * losses. Bytes must come back equal. Real time here is the kernel's; the test waits on events
 * only, and for a bounded while.
 */
#include "tests/net/rig.h"
#include "tests/net/tap.h"

#include <arpa/inet.h>
#include <time.h>

#define CLIENTS_MAX 32
#define PATIENCE_US 60000000

static int tap_fd = -1;
static const char *tap_missing = "the kernel's end was not set up";

/** A kernel socket that sends `bytes` bytes of the pattern and expects as many back. */
struct client {
    int fd;
    size_t bytes, sent, got;
    bool shut, ended;
};

struct world {
    struct rig_host h;
    struct client clients[CLIENTS_MAX];
    unsigned count;
    unsigned drop_ppm;
    uint32_t random;
    uint64_t start_us;
};

static uint8_t pattern[1 << 20];

static uint64_t
now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static bool
lost(struct world *w)
{
    w->random = w->random * 1664525 + 1013904223;
    return (w->random >> 8) % 1000000 < w->drop_ppm;
}

static void
world_open(struct world *w, unsigned drop_ppm)
{
    memset(w, 0, sizeof *w);
    for (unsigned i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i * 2654435761u >> 24);
    struct net_config c = rig_config(&w->h, 1);
    rig_open(&w->h, &c);
    w->drop_ppm = drop_ppm;
    w->random = drop_ppm + 7;
    w->start_us = now_us();
    w->h.close_on_eof = true;
}

/* Frames both ways once. @return frames moved. */
static unsigned
exchange(struct world *w)
{
    static uint8_t buffers[64][2048];
    struct net_frame frames[64];
    unsigned n = 0, moved;
    while (n < 64) {
        unsigned len = tap_read(tap_fd, buffers[n], sizeof buffers[n], 0);
        if (!len)
            break;
        if (!lost(w)) {
            frames[n].data = buffers[n];
            frames[n].flags = 0;
            frames[n++].len = (uint16_t)len;
        }
    }
    uint64_t now = now_us();
    net_burst(w->h.net, frames, n, now);
    net_timers(w->h.net, now);
    net_flush(w->h.net);
    moved = n + w->h.out_count;
    for (unsigned i = 0; i < w->h.out_count; i++)
        if (!lost(w) && write(tap_fd, w->h.out[i].data, w->h.out[i].len) < 0)
            assert_int_equal(errno, EAGAIN);
    rig_discard(&w->h);
    return moved;
}

static unsigned
client_serve(struct client *c)
{
    uint8_t in[65536];
    unsigned moved = 0;
    if (c->fd < 0)
        return 0;
    if (c->sent < c->bytes) {
        ssize_t n = send(c->fd, pattern + c->sent, c->bytes - c->sent, MSG_NOSIGNAL);
        if (n > 0) {
            c->sent += (size_t)n;
            moved++;
        }
    }
    ssize_t n = recv(c->fd, in, sizeof in, 0);
    if (n > 0) {
        assert_true(c->got + (size_t)n <= c->bytes);
        assert_memory_equal(in, pattern + c->got, (size_t)n);
        c->got += (size_t)n;
        moved++;
    } else if (n == 0) {
        c->ended = true;
        close(c->fd);
        c->fd = -1;
        return 1;
    }
    if (c->got == c->bytes && !c->shut) {
        c->shut = true;
        shutdown(c->fd, SHUT_WR);
    }
    return moved;
}

static void
wait_for_events(struct world *w)
{
    struct pollfd p[CLIENTS_MAX + 1] = {{tap_fd, POLLIN, 0}};
    for (unsigned i = 0; i < w->count; i++) {
        const struct client *c = &w->clients[i];
        p[i + 1] =
            (struct pollfd){c->fd, (short)(c->sent < c->bytes ? POLLIN | POLLOUT : POLLIN), 0};
    }
    uint64_t next = net_next_us(w->h.net), now = now_us();
    int ms = next == UINT64_MAX ? 1000 : next <= now ? 0 : (int)((next - now) / 1000 + 1);
    (void)poll(p, w->count + 1, ms < 1000 ? ms : 1000);
}

/* Until every client has everything back and has seen the end. */
static void
world_run(struct world *w)
{
    for (bool done = false; !done;) {
        unsigned moved = exchange(w);
        done = true;
        for (unsigned i = 0; i < w->count; i++) {
            moved += client_serve(&w->clients[i]);
            done &= w->clients[i].ended;
        }
        if (now_us() - w->start_us > PATIENCE_US)
            fail_msg("stuck: client 0 sent %zu, got %zu of %zu", w->clients[0].sent,
                     w->clients[0].got, w->clients[0].bytes);
        if (!moved)
            wait_for_events(w);
    }
    net_check(w->h.net);
}

static void
client_connect(struct world *w, bool v6, size_t bytes)
{
    struct client *c = &w->clients[w->count++];
    *c = (struct client){.bytes = bytes};
    int r;
    if (v6) {
        struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(RIG_PORT)};
        to.sin6_addr.s6_addr[0] = 0xfd;
        to.sin6_addr.s6_addr[15] = 1;
        c->fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
        r = connect(c->fd, (struct sockaddr *)&to, sizeof to);
    } else {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(RIG_PORT)};
        to.sin_addr.s_addr = htonl(0x0a000001);
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        r = connect(c->fd, (struct sockaddr *)&to, sizeof to);
    }
    if (r < 0 && errno != EINPROGRESS)
        fail_msg("connect: %s", strerror(errno));
}

static void
skip_without_tap(void)
{
    if (tap_fd < 0) {
        print_message("skipped: %s\n", tap_missing);
        skip();
    }
}

static void
assert_world_ends(struct world *w)
{
    for (unsigned i = 0; i < w->count; i++)
        assert_int_equal(w->clients[i].got, w->clients[i].bytes);
    assert_int_equal(net_counters(w->h.net)->drop_checksum, 0);
    rig_close(&w->h);
}

static void
linux_clients_get_their_bytes_back(void **state)
{
    struct world w;
    (void)state;
    skip_without_tap();
    world_open(&w, 0);
    w.h.echo = true;
    for (unsigned i = 0; i < 16; i++)
        client_connect(&w, i % 4 == 3, i == 0 ? sizeof pattern : 1 + i * i * 1000);
    world_run(&w);
    assert_int_equal(w.h.accepted, 16);
    assert_world_ends(&w);
}

static void
linux_clients_get_their_bytes_back_through_losses(void **state)
{
    (void)state;
    skip_without_tap();
    static const unsigned ppm[] = {10000, 50000, 200000};
    for (unsigned i = 0; i < 3; i++) {
        struct world w;
        world_open(&w, ppm[i]);
        w.h.echo = true;
        for (unsigned j = 0; j < 8; j++)
            client_connect(&w, j % 2, i == 2 ? 5000 : 100000);
        world_run(&w);
        assert_world_ends(&w);
    }
}

/* The other way round: our active open to a Linux listener, which echoes. */
static void
a_linux_server_is_reached_by_net_connect(void **state)
{
    struct world w;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(RIG_PORT)};
    struct net_addr to = net_addr_v4(0x0a000002);
    static uint8_t buffer[65536];
    size_t echoed = 0, queued = 0;
    (void)state;
    skip_without_tap();
    world_open(&w, 20000);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), fd = -1, on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(listener, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(listener, 8), 0);
    struct rig_app *a = rig_app_new(&w.h);
    net_timers(w.h.net, now_us());
    a->out = pattern;
    a->out_bytes = sizeof pattern;
    a->conn = net_connect(w.h.net, &to, RIG_PORT, -1, a);
    while (a->in_bytes < sizeof pattern) {
        unsigned moved = exchange(&w);
        assert_false(a->gone);
        if (fd < 0)
            fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd >= 0 && queued == echoed) {
            ssize_t n = recv(fd, buffer, sizeof buffer, 0);
            queued += n > 0 ? (size_t)n : 0;
            moved += n > 0;
        }
        if (fd >= 0 && echoed < queued) {
            ssize_t n = send(fd, pattern + echoed, queued - echoed, MSG_NOSIGNAL);
            echoed += n > 0 ? (size_t)n : 0;
            moved += n > 0;
        }
        assert_true(now_us() - w.start_us < PATIENCE_US);
        if (!moved) {
            struct pollfd p[3] = {{tap_fd, POLLIN, 0}, {listener, POLLIN, 0}, {fd, POLLIN, 0}};
            (void)poll(p, 3, 5);
        }
    }
    assert_memory_equal(a->in, pattern, sizeof pattern);
    net_close(w.h.net, a->conn);
    a->conn = NULL;
    ssize_t n = -1;
    while (n != 0 && now_us() - w.start_us < PATIENCE_US) {
        if (!exchange(&w))
            (void)poll(&(struct pollfd){tap_fd, POLLIN, 0}, 1, 5);
        n = recv(fd, buffer, sizeof buffer, 0);
    }
    assert_int_equal(n, 0); /* our FIN arrived */
    close(fd);
    close(listener);
    exchange(&w);
    rig_close(&w.h);
}

/* A paused application closes the window to a Linux sender; resuming lets all of it through. */
static void
a_linux_sender_waits_for_a_paused_application(void **state)
{
    struct world w;
    (void)state;
    skip_without_tap();
    world_open(&w, 0);
    w.h.echo = true;
    w.h.consume_max = 1000;
    client_connect(&w, false, 800000);
    for (uint64_t pause_until = now_us() + 100000; now_us() < pause_until;) {
        (void)(exchange(&w) + client_serve(&w.clients[0]));
        wait_for_events(&w);
    }
    assert_true(w.clients[0].got <= 1000);
    w.h.consume_max = UINT32_MAX;
    net_resume(w.h.net, w.h.apps->conn);
    world_run(&w);
    assert_world_ends(&w);
}

static int
kernel_up(void **state)
{
    (void)state;
    tap_fd = tap_open(2, &tap_missing);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linux_clients_get_their_bytes_back),
        cmocka_unit_test(linux_clients_get_their_bytes_back_through_losses),
        cmocka_unit_test(a_linux_server_is_reached_by_net_connect),
        cmocka_unit_test(a_linux_sender_waits_for_a_paused_application),
    };
    return cmocka_run_group_tests(tests, kernel_up, NULL);
}
