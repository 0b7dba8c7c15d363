/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The Linux kernel as a peer: a TAP device in a network namespace of this process's own. Nothing of
 * the host's network is touched, and all of it ends with the process.
 */
#ifndef SENGI_TESTS_NET_TAP_H
#define SENGI_TESTS_NET_TAP_H

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* From <netinet/tcp.h>, whose state names are ours too. */
#define TAP_TCP_NODELAY 1
#define TAP_TCP_QUICKACK 12

#define TAP_NAME "sengi0"
#define TAP_SETTLE_MS_MAX 10000

/* Linux's struct in6_ifreq; its header clashes with the C library's. */
struct tap_in6_ifreq {
    struct in6_addr addr;
    uint32_t prefix_bits;
    int index;
};

__attribute__((unused)) static void
tap_write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    if (fd >= 0) {
        if (write(fd, text, strlen(text)) < 0)
            fprintf(stderr, "%s: %s\n", path, strerror(errno));
        close(fd);
    }
}

static int
tap_namespace(void)
{
    char map[64];
    uid_t uid = getuid();
    gid_t gid = getgid();
    if (unshare(CLONE_NEWNET) == 0)
        return 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return -1;
    snprintf(map, sizeof map, "0 %u 1", uid);
    tap_write_file("/proc/self/setgroups", "deny");
    tap_write_file("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %u 1", gid);
    tap_write_file("/proc/self/gid_map", map);
    return 0;
}

static int
tap_address(int s, struct ifreq *ifr, uint32_t address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    memcpy(&ifr->ifr_addr, &in, sizeof in);
    if (ioctl(s, SIOCSIFADDR, ifr) < 0)
        return -1;
    in.sin_addr.s_addr = htonl(0xffffff00);
    memcpy(&ifr->ifr_netmask, &in, sizeof in);
    return ioctl(s, SIOCSIFNETMASK, ifr);
}

/* The kernel takes an address in steps of its own, without asking the wire (accept_dad) but in a
 * worker thread; until then nobody can send from it. */
static void
tap_address_v6_settles(const struct in6_addr *address)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_addr = *address};
    int s = socket(AF_INET6, SOCK_DGRAM, 0);
    for (unsigned i = 0; i < TAP_SETTLE_MS_MAX; i++) {
        if (bind(s, (struct sockaddr *)&in, sizeof in) == 0 || errno != EADDRNOTAVAIL)
            break;
        (void)poll(NULL, 0, 1);
    }
    close(s);
}

static void
tap_address_v6(uint8_t host)
{
    int s = socket(AF_INET6, SOCK_DGRAM, 0);
    struct tap_in6_ifreq r = {.prefix_bits = 64, .index = (int)if_nametoindex(TAP_NAME)};
    r.addr.s6_addr[0] = 0xfd;
    r.addr.s6_addr[15] = host;
    if (s < 0)
        return;
    /* without IPv6 in the kernel the tests of it see no address and say so */
    if (ioctl(s, SIOCSIFADDR, &r) == 0)
        tap_address_v6_settles(&r.addr);
    close(s);
}

/**
 * @param host  The kernel's end becomes 10.0.0.<host>/24, fd00::<host>/64, MAC
 *              02:00:00:00:00:<host>.
 * @return the device; -1: not possible here, *why says what was missing.
 */
__attribute__((unused)) static int
tap_open(uint8_t host, const char **why)
{
    struct ifreq ifr = {0};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (fd < 0) {
        *why = "/dev/net/tun cannot be opened";
        return -1;
    }
    close(fd);
    if (tap_namespace() < 0) {
        *why = "no network namespace can be made";
        return -1;
    }
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    memcpy(ifr.ifr_name, TAP_NAME, sizeof TAP_NAME);
    ifr.ifr_flags = IFF_TAP | IFF_NO_PI;
    *why = "no TAP device can be made in a new network namespace";
    if (fd < 0 || s < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
        return -1;
    tap_write_file("/proc/sys/net/ipv6/conf/" TAP_NAME "/accept_dad", "0");
    ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(ifr.ifr_hwaddr.sa_data, (uint8_t[]){2, 0, 0, 0, 0, host}, 6);
    if (ioctl(s, SIOCSIFHWADDR, &ifr) < 0 || tap_address(s, &ifr, 0x0a000000u + host) < 0)
        return -1;
    ifr.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(s, SIOCSIFFLAGS, &ifr) < 0)
        return -1;
    tap_address_v6(host);
    close(s);
    return fd;
}

/** Wait up to ms for a frame. @return its bytes; 0: none. */
__attribute__((unused)) static unsigned
tap_read(int fd, uint8_t *frame, unsigned size, int ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    ssize_t n = read(fd, frame, size);
    if (n < 0 && ms && poll(&p, 1, ms) > 0)
        n = read(fd, frame, size);
    return n > 0 ? (unsigned)n : 0;
}

#endif
