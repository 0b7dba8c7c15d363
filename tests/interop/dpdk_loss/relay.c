/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A bad wire between the kernel's TCP and a server on net_tap: frames go from one to the other
 * through this process, which loses, delays, reorders, duplicates and corrupts them and swallows
 * long ones. The same seed and the same frames have the same fate.
 *
 *      kernel -- TAP `near` (made here) == relay == packet socket on `far` -- net_tap -- server
 *
 * Usage: relay near far seed key=value...
 *   loss, duplicate, reorder, corrupt   per million frames
 *   delay, jitter                       us; a frame waits delay + 0..jitter
 *   reorder_delay                       us more for those that are to be overtaken
 *   mtu                                 longer IP packets vanish without a word; 0: none do
 *
 * Says "ready" once both ends are open, ends when its input ends, and then prints what it did.
 * Corruption flips one bit behind the Ethernet header of IPv4 and IPv6 frames: ARP has no checksum
 * of its own, a real wire's frame check would have caught it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRAME_BYTES_MAX 2048
#define WAITING_MAX 65536
#define ETHERNET_BYTES 14

#define OPTIONS(X) \
    X(loss) X(duplicate) X(reorder) X(corrupt) X(delay) X(jitter) X(reorder_delay) X(mtu)
#define COUNTERS(X) \
    X(carried) X(lost) X(duplicated) X(reordered) X(corrupted) X(swallowed) X(overflowed) X(refused)

struct waiting {
    uint64_t due_us, order;
    int to;
    uint16_t len;
    uint8_t *data;
};

static struct {
    int near, far;
    uint64_t random, order;
    struct waiting heap[WAITING_MAX]; /* the next one to leave is the first */
    unsigned count;
#define X(name) uint32_t name;
    OPTIONS(X)
#undef X
    struct {
#define X(name) uint64_t name;
        COUNTERS(X)
#undef X
    } done;
} relay;

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint32_t random_next(void)
{
    relay.random ^= relay.random << 13;
    relay.random ^= relay.random >> 7;
    relay.random ^= relay.random << 17;
    return (uint32_t)(relay.random >> 20);
}

static bool chance(uint32_t per_million)
{
    return random_next() % 1000000 < per_million;
}

/* ---- frames under way ---- */

static bool before(const struct waiting *a, const struct waiting *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void swap(unsigned a, unsigned b)
{
    struct waiting w = relay.heap[a];
    relay.heap[a] = relay.heap[b];
    relay.heap[b] = w;
}

static void heap_push(struct waiting w)
{
    unsigned at = relay.count++;
    relay.heap[at] = w;
    for (; at && before(&relay.heap[at], &relay.heap[(at - 1) / 2]); at = (at - 1) / 2)
        swap(at, (at - 1) / 2);
}

static struct waiting heap_pop(void)
{
    struct waiting first = relay.heap[0];
    relay.heap[0] = relay.heap[--relay.count];
    for (unsigned at = 0, child; (child = 2 * at + 1) < relay.count; at = child) {
        if (child + 1 < relay.count && before(&relay.heap[child + 1], &relay.heap[child]))
            child++;
        if (!before(&relay.heap[child], &relay.heap[at]))
            break;
        swap(at, child);
    }
    return first;
}

static void queue(int to, const uint8_t *frame, uint16_t len, uint64_t due_us)
{
    if (relay.count == WAITING_MAX) {
        relay.done.overflowed++;
        return;
    }
    struct waiting w = {due_us, relay.order++, to, len, malloc(len)};
    if (!w.data)
        abort();
    memcpy(w.data, frame, len);
    heap_push(w);
}

/* A full queue of the other side is a loss like any other. */
static void leave(void)
{
    struct waiting w = heap_pop();
    if (write(w.to, w.data, w.len) != w.len)
        relay.done.refused++;
    free(w.data);
}

/* ---- fates ---- */

static bool is_ip(const uint8_t *frame)
{
    unsigned type = (unsigned)frame[12] << 8 | frame[13];
    return type == ETH_P_IP || type == ETH_P_IPV6;
}

/* Each frame draws the same number of times, so that one fate does not change the next frame's. */
static void carry(int to, uint8_t *frame, uint16_t len)
{
    bool lost = chance(relay.loss), twice = chance(relay.duplicate);
    bool late = chance(relay.reorder), corrupt = chance(relay.corrupt);
    uint32_t jitter = random_next(), bit = random_next();
    uint64_t due_us = now_us() + relay.delay + (relay.jitter ? jitter % relay.jitter : 0);
    relay.done.carried++;
    if (relay.mtu && len > relay.mtu + ETHERNET_BYTES) {
        relay.done.swallowed++;
        return;
    }
    if (lost) {
        relay.done.lost++;
        return;
    }
    if (twice) {
        relay.done.duplicated++;
        queue(to, frame, len, due_us);
    }
    if (corrupt && is_ip(frame) && len > ETHERNET_BYTES) {
        relay.done.corrupted++;
        bit %= (len - ETHERNET_BYTES) * 8u;
        frame[ETHERNET_BYTES + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    relay.done.reordered += late;
    queue(to, frame, len, due_us + (late ? relay.reorder_delay : 0));
}

/* Take all that waits at one end. */
static void take(int from, int to)
{
    uint8_t frame[FRAME_BYTES_MAX];
    struct sockaddr_ll address = {0};
    for (;;) {
        socklen_t size = sizeof address;
        ssize_t n = from == relay.far
                        ? recvfrom(from, frame, sizeof frame, MSG_DONTWAIT,
                                   (struct sockaddr *)&address, &size)
                        : read(from, frame, sizeof frame);
        if (n < ETHERNET_BYTES)
            return;
        if (from != relay.far || address.sll_pkttype != PACKET_OUTGOING)
            carry(to, frame, (uint16_t)n);
    }
}

/* ---- the two ends ---- */

static int open_tap(const char *name)
{
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0) {
        perror(name);
        exit(1);
    }
    return fd;
}

static int open_packet_socket(const char *name)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = __builtin_bswap16(ETH_P_ALL),
                                  .sll_ifindex = (int)if_nametoindex(name)};
    int fd = socket(AF_PACKET, SOCK_RAW, address.sll_protocol), bytes = 8 << 20;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        perror(name);
        exit(1);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes); /* else less room */
    return fd;
}

static void set_option(const char *text)
{
    const char *value = strchr(text, '=');
    size_t n = value ? (size_t)(value - text) : 0;
#define X(name)                                              \
    if (n == sizeof #name - 1 && !strncmp(text, #name, n)) { \
        relay.name = (uint32_t)strtoul(value + 1, NULL, 10); \
        return;                                              \
    }
    OPTIONS(X)
#undef X
    fprintf(stderr, "relay: what is %s?\n", text);
    exit(2);
}

/* Until standard input ends. */
static void run(void)
{
    struct pollfd fds[3] = {{relay.near, POLLIN, 0}, {relay.far, POLLIN, 0}, {0, POLLIN, 0}};
    while (!fds[2].revents) {
        uint64_t now = now_us();
        while (relay.count && relay.heap[0].due_us <= now)
            leave();
        uint64_t wait_us = relay.count ? relay.heap[0].due_us - now : 1000000;
        struct timespec wait = {(time_t)(wait_us / 1000000), (long)(wait_us % 1000000) * 1000};
        if (ppoll(fds, 3, &wait, NULL) < 0 && errno != EINTR)
            return;
        if (fds[0].revents)
            take(relay.near, relay.far);
        if (fds[1].revents)
            take(relay.far, relay.near);
    }
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: relay near far seed key=value...\n");
        return 2;
    }
    relay.random = strtoull(argv[3], NULL, 10) * 0x9e3779b97f4a7c15u | 1;
    for (int i = 4; i < argc; i++)
        set_option(argv[i]);
    relay.near = open_tap(argv[1]);
    relay.far = open_packet_socket(argv[2]);
    puts("ready");
    fflush(stdout);
    run();
#define X(name) printf(#name " %" PRIu64 "\n", relay.done.name);
    COUNTERS(X)
#undef X
    return 0;
}
