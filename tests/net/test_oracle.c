/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The Linux kernel as the oracle: the same scripted segments to its TCP through a TAP and to ours,
 * answers compared.
 *
 * A script brings a connection into a state, sends one segment (state x class x position), then an
 * old duplicate that shows whether the connection still lives. Answers are written as kind,
 * acknowledgement and sequence relative to the initial numbers. Where the two differ, explained[]
 * must say why.
 */
#include "tests/net/oracle_explained.h"
#include "tests/net/rig.h"
#include "tests/net/tap.h"

#include <arpa/inet.h>

#define PEER_ISN 100000u
#define STATES 8
/* a kernel timer may add a segment on a busy machine: only what repeats is a difference */
#define TRIES 4

static const char *const state_names[STATES] = {"SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1",
                                                "FIN-WAIT-2",   "CLOSE-WAIT",  "CLOSING",
                                                "LAST-ACK",     "TIME-WAIT"};

/** One of the two implementations under the same script. */
struct subject {
    bool kernel;
    int tap, listener, socket;
    struct rig_host h;
    uint64_t now_us;
    uint16_t port; /* of the peer: one per script */
    uint32_t isn, snd_una, snd_nxt, rcv_nxt;
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

#define ANSWER_MS 2      /* for an answer that may not come */
#define SURE_ANSWER_MS 2000

static void
inject_for(struct subject *s, struct peer_segment seg, int ms)
{
    seg.source_port = s->port;
    struct rig_frame f = peer_write(&seg);
    seen_clear(s);
    if (s->kernel) {
        assert_int_equal(write(s->tap, f.data, f.len), f.len);
        free(f.data);
    } else {
        rig_turn(&s->h, &f, s->now_us += 100);
    }
    collect(s, ms);
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

static const struct {
    const char *name;
    int32_t offset;
} positions[] = {
    {"old", -100}, {"just before", -1}, {"exact", 0}, {"ahead", 1000}, {"beyond", 50000000}};
#define POSITIONS 5

static const char *const ack_names[] = {"very old", "old", "una", "nxt", "beyond"};
#define ACKS 5

struct script {
    unsigned state, class, position, ack; /* ack: index into ack_names */
};

static void
script_run(const struct script *sc, bool kernel, char *out, size_t size)
{
    struct subject s;
    subject_open(&s, kernel, port_next++);
    bring_to(&s, sc->state);
    uint32_t acks[ACKS] = {s.snd_una - 1000000, s.snd_una - 10, s.snd_una, s.snd_nxt,
                           s.snd_nxt + 1};
    const struct class *c = &classes[sc->class];
    say(&s, c->flags, s.rcv_nxt + (uint32_t)positions[sc->position].offset,
        c->flags & TCP_ACK ? acks[sc->ack] : 0, c->bytes);
    describe(&s, out, size);
    size_t n = strlen(out);
    say(&s, TCP_ACK, s.rcv_nxt - 200, sc->state == S_RCVD ? s.snd_nxt : s.snd_una, 10);
    char alive = '-'; /* an old duplicate: does it live? */
    if (s.seen_count)
        alive = peer_read(&s.seen[0]).flags & TCP_RST ? 'R' : 'A';
    snprintf(out + n, size - n, " | %c", alive);
    subject_end(&s);
}


static struct explanation *
explain(const struct script *sc)
{
    for (unsigned i = 0; i < sizeof explained / sizeof *explained; i++) {
        struct explanation *e = &explained[i];
        if ((e->states & BIT(sc->state)) && (e->classes & BIT(sc->class)) &&
            (e->positions & BIT(sc->position)) && (e->acks & BIT(sc->ack)))
            return e;
    }
    return NULL;
}

static unsigned scripts_run, scripts_alike, scripts_explained;

/* @return false: they differ and nothing says why. */
static bool
script_compare(const struct script *sc)
{
    char ours[256], theirs[256];
    scripts_run++;
    for (unsigned try = 0; try < TRIES; try++) {
        script_run(sc, false, ours, sizeof ours);
        script_run(sc, true, theirs, sizeof theirs);
        if (strcmp(ours, theirs) == 0) {
            scripts_alike++;
            return true;
        }
    }
    struct explanation *e = explain(sc);
    if (e) {
        e->used++;
        scripts_explained++;
        return true;
    }
    print_message("%s, %s %s, ack %s: ours %s, Linux %s\n", state_names[sc->state],
                  classes[sc->class].name, positions[sc->position].name, ack_names[sc->ack], ours,
                  theirs);
    return false;
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
each_segment_in_each_state_is_answered_as_linux_answers(void **state)
{
    unsigned unexplained = 0;
    (void)state;
    skip_without_tap();
    for (unsigned st = 0; st < STATES; st++)
        for (unsigned c = 0; c < CLASSES; c++)
            for (unsigned p = 0; p < POSITIONS; p++)
                unexplained += !script_compare(&(struct script){st, c, p, 2});
    assert_int_equal(unexplained, 0);
}

static void
each_ack_number_in_each_state_is_answered_as_linux_answers(void **state)
{
    unsigned unexplained = 0;
    (void)state;
    skip_without_tap();
    for (unsigned st = 0; st < STATES; st++)
        for (unsigned a = 0; a < ACKS; a++)
            if (a != 2)
                for (unsigned c = 0; c < 3; c++)
                    unexplained += !script_compare(&(struct script){st, c, 2, a});
    assert_int_equal(unexplained, 0);
}

static void
most_answers_are_alike_and_the_others_explained(void **state)
{
    (void)state;
    skip_without_tap();
    for (unsigned i = 0; i < sizeof explained / sizeof *explained; i++)
        if (explained[i].used == 0)
            print_message("not met with this kernel: %s\n", explained[i].why);
    print_message("%u scripts: %u alike, %u differ as explained\n", scripts_run, scripts_alike,
                  scripts_explained);
    assert_true(scripts_run >= 250 && scripts_alike >= scripts_run * 3 / 4);
}

/* ---- sequences of data: the ACKs, SACK blocks and bytes of random overlapping segments ---- */

struct told {
    uint32_t ack;
    struct sack_range blocks[4]; /* without a DSACK */
    unsigned count;
    bool answered, dsack;
};

static struct told
told_by(struct subject *s)
{
    struct told t = {0};
    unsigned n = 0;
    if (s->seen_count == 0)
        return t;
    struct peer_segment r = peer_read(&s->seen[s->seen_count - 1]);
    const uint8_t *sack = peer_option(&r, 5, &n);
    t.answered = true;
    t.ack = r.ack;
    for (unsigned i = 0; sack && i < n; i += 8)
        t.blocks[t.count++] = (struct sack_range){load32(sack + i), load32(sack + i + 4)};
    t.dsack = t.count && (seq_upto(t.blocks[0].end, r.ack) ||
                          (t.count > 1 && seq_upto(t.blocks[1].start, t.blocks[0].start) &&
                           seq_upto(t.blocks[0].end, t.blocks[1].end)));
    if (t.dsack)
        memmove(t.blocks, t.blocks + 1, --t.count * sizeof *t.blocks);
    return t;
}

/*
 * The same ACK, and the same newest range. Linux may not have joined that range with its neighbours
 * yet, and reports of duplicates differ where a segment overlaps several earlier ones: it then
 * names one of the pieces, or none.
 */
static bool
told_alike(const struct told *ours, const struct told *theirs)
{
    if (ours->answered != theirs->answered || ours->ack != theirs->ack)
        return false;
    if ((ours->count == 0) != (theirs->count == 0))
        return false;
    return ours->count == 0 || (seq_upto(ours->blocks[0].start, theirs->blocks[0].start) &&
                                seq_upto(theirs->blocks[0].end, ours->blocks[0].end));
}

static unsigned dsacks_alike, dsacks_different;

#define RANDOM_STEPS 14

/* @return false: the answers differ. The last steps fill every hole. */
static bool
random_run(unsigned seed, bool print)
{
    struct subject s[2];
    struct told t[2] = {{0}};
    bool alike = true;
    for (unsigned k = 0; k < 2; k++) {
        subject_open(&s[k], k, port_next++);
        struct peer_segment syn = basic(&s[k], TCP_SYN, PEER_ISN, 0, 0);
        memcpy(syn.options, (uint8_t[]){2, 4, 0x05, 0xb4, 1, 1, 4, 2}, 8);
        syn.options_bytes = 8;
        handshake(&s[k], &syn);
        say(&s[k], TCP_ACK, s[k].rcv_nxt, s[k].snd_nxt, 0);
        subject_accept(&s[k]);
    }
    uint32_t r = seed * 2654435761u + 1;
    for (unsigned step = 0; step < RANDOM_STEPS && alike; step++) {
        r = r * 1664525 + 1013904223;
        unsigned at = 100 + (r >> 8) % 29 * 100, n = 100 * (1 + (r >> 20) % 4);
        if (step >= RANDOM_STEPS - 3) {
            at = (step - (RANDOM_STEPS - 3)) * 1100;
            n = 1200;
        }
        for (unsigned k = 0; k < 2; k++) {
            say(&s[k], TCP_ACK, s[k].rcv_nxt + at, s[k].snd_nxt, n);
            t[k] = told_by(&s[k]);
        }
        if (step >= RANDOM_STEPS - 3 && (!t[0].answered || !t[1].answered))
            continue; /* when an ACK of in-order data is delayed is each one's own affair */
        alike = told_alike(&t[0], &t[1]);
        *(t[0].dsack == t[1].dsack ? &dsacks_alike : &dsacks_different) += t[0].dsack || t[1].dsack;
        if (!alike && print)
            print_message("seed %u, step %u, %u+%u: ours %u, %u blocks, Linux %u, %u blocks\n",
                          seed, step, at, n, t[0].ack - PEER_ISN, t[0].count, t[1].ack - PEER_ISN,
                          t[1].count);
    }
    for (unsigned k = 0; k < 2; k++) { /* an old duplicate shows how far each has come */
        say(&s[k], TCP_ACK, s[k].rcv_nxt, s[k].snd_nxt, 100);
        t[k] = told_by(&s[k]);
        subject_end(&s[k]);
    }
    return alike && t[0].ack == PEER_ISN + 1 + 3400 && t[1].ack == t[0].ack;
}

static void
random_overlapping_segments_are_acknowledged_as_by_linux(void **state)
{
    unsigned different = 0;
    (void)state;
    skip_without_tap();
    for (unsigned seed = 0; seed < 60; seed++) {
        bool alike = false;
        for (unsigned try = 0; try < TRIES && !alike; try++)
            alike = random_run(seed, try == TRIES - 1);
        different += !alike;
    }
    print_message("60 scripts; duplicates reported alike %u, otherwise %u\n", dsacks_alike,
                  dsacks_different);
    assert_int_equal(different, 0);
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_segment_in_each_state_is_answered_as_linux_answers),
        cmocka_unit_test(each_ack_number_in_each_state_is_answered_as_linux_answers),
        cmocka_unit_test(most_answers_are_alike_and_the_others_explained),
        cmocka_unit_test(random_overlapping_segments_are_acknowledged_as_by_linux),
    };
    return cmocka_run_group_tests(tests, kernel_up, NULL);
}
