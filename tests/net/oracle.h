/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The Linux kernel's TCP (through a TAP) and ours as subjects of the same scripts: a connection is
 * brought into a state, segments are put to it, its answers are written as text.
 */
#ifndef SENGI_TESTS_NET_ORACLE_H
#define SENGI_TESTS_NET_ORACLE_H

#include "tests/net/rig.h"
#include "tests/net/tap.h"

#include <arpa/inet.h>

#define PEER_ISN 100000u
enum { S_RCVD, ESTAB, FIN1, FIN2, CLOSEW, CLOSING, LASTACK, TIMEW };
#define STATES 8
/* a kernel timer may add a segment on a busy machine: only what repeats is a difference */
#define TRIES 4

static const char *const state_names[STATES] = {"SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1",
                                                "FIN-WAIT-2",   "CLOSE-WAIT",  "CLOSING",
                                                "LAST-ACK",     "TIME-WAIT"};

struct class {
    const char *name;
    uint8_t flags;
    unsigned bytes;
};
static const struct class classes[] = {
    {"ack", TCP_ACK, 0},         {"data", TCP_ACK, 10},  {"fin", TCP_ACK | TCP_FIN, 0},
    {"data+fin", TCP_ACK | TCP_FIN, 10}, {"rst", TCP_RST, 0}, {"rst+ack", TCP_RST | TCP_ACK, 0},
    {"syn", TCP_SYN, 0},         {"syn+ack", TCP_SYN | TCP_ACK, 0}, {"no flags", 0, 10},
};
#define CLASSES 9

/** One of the two implementations under the same script. */
struct subject {
    bool kernel;
    int tap, listener, socket;
    struct rig_host h;
    uint64_t now_us;
    uint16_t port; /* of the peer: one per script */
    uint32_t isn, snd_una, snd_nxt, rcv_nxt;
    bool ts;              /* every segment of the peer that has no options carries a timestamp */
    uint32_t tsval, tsecr;
    struct rig_frame seen[16];
    unsigned seen_count;
};

static int tap_fd = -1, listener_fd = -1;
static const char *tap_missing = "the kernel's end was not set up";
static uint16_t port_next = 10000;

static void
seen_clear(struct subject *s)
{
    for (unsigned i = 0; i < s->seen_count; i++)
        free(s->seen[i].data);
    s->seen_count = 0;
}

static void
seen_add(struct subject *s, const uint8_t *bytes, unsigned n)
{
    if (n < 54 || load16(bytes + 12) != 0x0800 || bytes[23] != 6 || load16(bytes + 36) != s->port ||
        s->seen_count == 16)
        return;
    struct rig_frame f = {malloc(n), (uint16_t)n};
    memcpy(f.data, bytes, n);
    s->seen[s->seen_count++] = f;
}

/* The kernel answers within write(). Wait at most ms for the first frame. */
static void
collect(struct subject *s, int ms)
{
    uint8_t frame[2048];
    unsigned n;
    if (!s->kernel) {
        for (unsigned i = 0; i < s->h.out_count; i++)
            seen_add(s, s->h.out[i].data, s->h.out[i].len);
        rig_discard(&s->h);
        return;
    }
    while ((n = tap_read(s->tap, frame, sizeof frame, s->seen_count ? 0 : ms)))
        seen_add(s, frame, n);
}

/* The newest timestamp goes back with the peer's next segment. */
static void
timestamp_note(struct subject *s)
{
    unsigned n;
    const uint8_t *ts = NULL;
    if (s->ts && s->seen_count) {
        struct peer_segment r = peer_read(&s->seen[s->seen_count - 1]);
        ts = peer_option(&r, 8, &n);
        s->tsecr = ts ? load32(ts) : s->tsecr;
    }
}

#define ANSWER_MS 2      /* for an answer that may not come */
#define SURE_ANSWER_MS 2000

static void
inject_for(struct subject *s, struct peer_segment seg, int ms)
{
    seg.source_port = s->port;
    if (s->ts && seg.options_bytes == 0) {
        memcpy(seg.options, (uint8_t[]){1, 1, 8, 10}, 4);
        store32(seg.options + 4, s->tsval);
        store32(seg.options + 8, s->tsecr);
        seg.options_bytes = 12;
    }
    struct rig_frame f = peer_write(&seg);
    seen_clear(s);
    if (s->kernel) {
        assert_int_equal(write(s->tap, f.data, f.len), f.len);
        free(f.data);
    } else {
        rig_turn(&s->h, &f, s->now_us += 100);
    }
    collect(s, ms);
    timestamp_note(s);
}

static void
inject(struct subject *s, struct peer_segment seg)
{
    inject_for(s, seg, ANSWER_MS);
}

static struct peer_segment
basic(struct subject *s, uint8_t flags, uint32_t seq, uint32_t ack, unsigned bytes)
{
    static const uint8_t payload[2000];
    (void)s;
    return (struct peer_segment){.seq = seq, .ack = ack, .flags = flags, .wnd = 30000,
                                 .payload = payload, .bytes = bytes};
}

static void
say(struct subject *s, uint8_t flags, uint32_t seq, uint32_t ack, unsigned bytes)
{
    inject(s, basic(s, flags, seq, ack, bytes));
}

/* The peer's FIN. Its ACK may be delayed, and must not be taken for the answer to what follows. */
static void
say_fin(struct subject *s, uint32_t ack)
{
    inject_for(s, basic(s, TCP_FIN | TCP_ACK, s->rcv_nxt++, ack, 0), SURE_ANSWER_MS);
}

static void
subject_accept(struct subject *s)
{
    if (!s->kernel)
        return;
    struct pollfd p = {listener_fd, POLLIN, 0};
    struct sockaddr_in from = {0};
    do { /* connections that another script established and left come first */
        socklen_t size = sizeof from;
        if (s->socket >= 0)
            close(s->socket);
        assert_true(poll(&p, 1, SURE_ANSWER_MS) == 1);
        s->socket = accept4(listener_fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK);
        assert_true(s->socket >= 0);
    } while (ntohs(from.sin_port) != s->port);
    int off = 0, on = 1;
    /* delay ACKs, as ours does */
    setsockopt(s->socket, IPPROTO_TCP, TAP_TCP_QUICKACK, &off, sizeof off);
    setsockopt(s->socket, IPPROTO_TCP, TAP_TCP_NODELAY, &on, sizeof on);
}

static void
subject_close(struct subject *s)
{
    seen_clear(s);
    if (s->kernel) {
        close(s->socket);
        s->socket = -1;
    } else {
        net_close(s->h.net, s->h.apps->conn);
        s->h.apps->conn = NULL;
        rig_discard(&s->h);
        rig_turn(&s->h, NULL, s->now_us += 100);
    }
    collect(s, SURE_ANSWER_MS);
    assert_true(s->seen_count > 0);
    struct peer_segment fin = peer_read(&s->seen[0]);
    assert_true(fin.flags & TCP_FIN);
    s->snd_nxt = fin.seq + 1;
}

static void
subject_open(struct subject *s, bool kernel, uint16_t port)
{
    memset(s, 0, sizeof *s);
    s->kernel = kernel;
    s->socket = -1;
    s->port = port;
    s->tap = tap_fd;
    s->now_us = 5000000;
    s->rcv_nxt = PEER_ISN + 1;
    if (!kernel) {
        struct net_config c = rig_config(&s->h, 1);
        c.limits.rx_window_bytes = 60000;
        rig_open(&s->h, &c);
    }
}

static void
subject_end(struct subject *s)
{
    /*
     * Whatever is left of the kernel's connection ends now, so that its timers disturb no other
     * script.
     */
    if (s->kernel) {
        struct linger l = {1, 0};
        if (s->socket >= 0) {
            setsockopt(s->socket, SOL_SOCKET, SO_LINGER, &l, sizeof l);
            close(s->socket);
        } else {
            say(s, TCP_RST, s->rcv_nxt, 0, 0);
        }
        collect(s, 0);
    } else {
        rig_close(&s->h);
    }
    seen_clear(s);
}

static void
handshake(struct subject *s, const struct peer_segment *syn)
{
    inject_for(s, *syn, SURE_ANSWER_MS);
    assert_true(s->seen_count > 0);
    struct peer_segment r = peer_read(&s->seen[0]);
    assert_int_equal(r.flags & 0x3f, TCP_SYN | TCP_ACK);
    s->isn = s->snd_una = r.seq;
    s->snd_nxt = r.seq + 1;
}

static void
bring_to(struct subject *s, unsigned state)
{
    struct peer_segment syn = basic(s, TCP_SYN, PEER_ISN, 0, 0);
    handshake(s, &syn);
    if (state == S_RCVD)
        return;
    s->snd_una++;
    say(s, TCP_ACK, s->rcv_nxt, s->snd_nxt, 0);
    subject_accept(s);
    if (state == CLOSEW || state == LASTACK)
        say_fin(s, s->snd_nxt);
    if (state == FIN1 || state == FIN2 || state == CLOSING || state == LASTACK || state == TIMEW)
        subject_close(s);
    if (state == CLOSING)
        say_fin(s, s->snd_una);
    if (state == FIN2 || state == TIMEW) {
        say(s, TCP_ACK, s->rcv_nxt, s->snd_nxt, 0);
        s->snd_una = s->snd_nxt;
    }
    if (state == TIMEW)
        say_fin(s, s->snd_nxt);
}

/* "A+1,2": an ACK of one byte beyond the peer's ISN, sent at 2 beyond its own. */
static void
describe(struct subject *s, char *out, size_t size)
{
    size_t at = 0;
    out[0] = 0;
    if (s->seen_count == 0)
        snprintf(out, size, "-");
    for (unsigned i = 0; i < s->seen_count && at < size; i++) {
        struct peer_segment r = peer_read(&s->seen[i]);
        if (r.flags & TCP_RST)
            at += (size_t)snprintf(out + at, size - at, "R");
        else if (r.flags & TCP_SYN)
            at += (size_t)snprintf(out + at, size - at, "S+%d", (int)(r.ack - PEER_ISN));
        else
            at += (size_t)snprintf(out + at, size - at, "%c+%d,%d", r.flags & TCP_FIN ? 'F' : 'A',
                                   (int)(r.ack - PEER_ISN), (int)(r.seq - s->isn));
    }
}

static void
skip_without_tap(void)
{
    if (tap_fd < 0) {
        print_message("skipped: %s\n", tap_missing);
        skip();
    }
}

static int
kernel_up(void **state)
{
    (void)state;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(RIG_PORT)};
    struct arpreq arp = {.arp_flags = ATF_PERM | ATF_COM, .arp_dev = TAP_NAME};
    int on = 1, window = 30000;

    tap_fd = tap_open(1, &tap_missing);
    if (tap_fd < 0)
        return 0;
    in.sin_addr.s_addr = htonl(0x0a000002);
    memcpy(&arp.arp_pa, &in, sizeof in);
    memcpy(arp.arp_ha.sa_data, "\2\0\0\0\0\2", 6);
    arp.arp_ha.sa_family = ARPHRD_ETHER;
    listener_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(ioctl(listener_fd, SIOCSARP, &arp), 0);
    setsockopt(listener_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener_fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
    in.sin_addr.s_addr = htonl(INADDR_ANY);
    assert_int_equal(bind(listener_fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(listener_fd, 128), 0);
    tap_write_file("/proc/sys/net/ipv4/tcp_invalid_ratelimit", "0");
    return 0;
}

#endif
