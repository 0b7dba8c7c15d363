/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Loss and its repair: every pattern of loss, delay and duplication over short exchanges; SACK
 * recovery, NewReno, tail loss probe and RTO each where it is due, and what they may cost.
 */
#include "dataplane/net/instance.h"
#include "tests/net/rig.h"

#define MSS 1448u
#define FATES 4  /* lost, carried, duplicated, delayed */
#define FRAMES 8 /* of an exchange, whose fate is written in `fates` */

/* Slow builds take one exchange in seven; all are run without a sanitizer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define EXCHANGE_STEP 7
#else
#define EXCHANGE_STEP 1
#endif

/** A request and an answer of so many segments, and what becomes of the frames after `skip`. */
struct exchange {
    unsigned up, down; /* segments; the last one is not full */
    unsigned skip;
    int fates[FRAMES];
    unsigned position; /* frames seen */
};

static int
exchange_fate(struct wire *w, unsigned from, const struct rig_frame *frame)
{
    struct exchange *e = w->fate_ctx;
    (void)from, (void)frame;
    unsigned at = e->position++ - e->skip;
    return at < FRAMES ? e->fates[at] : 1;
}

static void
exchange_fail(const struct exchange *e, const char *what)
{
    char fates[FRAMES + 1] = {0};
    for (unsigned i = 0; i < FRAMES; i++)
        fates[i] = (char)('0' + e->fates[i]);
    fail_msg("%u segments up, %u down, fates %s after %u frames: %s", e->up, e->down, fates,
             e->skip, what);
}

/* Differ everywhere. Filled by exchange_setup(). */
static uint8_t request[FRAMES * MSS], answer[FRAMES * MSS];

static int
exchange_setup(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof answer; i++) {
        answer[i] = (uint8_t)(i * 31 >> 3);
        request[i] = (uint8_t)~answer[i];
    }
    return 0;
}

/* Once the request is there, the answer; once that is there, both close. @return us it took. */
static uint64_t
exchange_steps(const struct exchange *e, struct wire *w, struct rig_app *a)
{
    size_t up_bytes = e->up * MSS - 100, down_bytes = e->down * MSS - 100;
    uint64_t start = w->now_us, done = 0;
    while (wire_step_until(w, start + 200000000)) {
        struct rig_app *b = w->host[0].apps;
        if (b && b->conn && b->in_bytes == up_bytes && !b->out) {
            b->out = answer;
            b->out_bytes = down_bytes;
            rig_push(b);
            net_flush(w->host[0].net);
        }
        if (a->conn && a->in_bytes == down_bytes) {
            done = w->now_us - start;
            net_close(w->host[1].net, a->conn);
            a->conn = NULL;
            net_flush(w->host[1].net);
        }
    }
    return done;
}

/* @return virtual us until the answer was there; 0: the hand-shake was rightly given up. */
static uint64_t
exchange_run(struct exchange *e)
{
    struct wire w;
    struct net_usage u;
    unsigned lost = 0;

    e->position = 0;
    for (unsigned i = 0; i < FRAMES; i++)
        lost += e->fates[i] == 0;
    wire_open(&w, 1);
    w.fate = exchange_fate;
    w.fate_ctx = e;
    w.host[0].close_on_eof = true;
    struct rig_app *a = wire_connect(&w, false, request, e->up * MSS - 100);
    uint64_t done = exchange_steps(e, &w, a);
    struct rig_app *b = w.host[0].apps;
    if (a->gone && !a->connected && lost >= 6) {
        wire_close(&w);
        return 0;
    }
    if (!done || a->gone || b->in_bytes != a->out_bytes ||
        memcmp(a->in, answer, e->down * MSS - 100) != 0 || memcmp(b->in, request, b->in_bytes) != 0)
        exchange_fail(e, "not delivered");
    for (unsigned i = 0; i < 2; i++) {
        net_usage(w.host[i].net, &u);
        if (u.conns + u.time_wait + u.buffers_bytes)
            exchange_fail(e, "something stays behind");
    }
    wire_close(&w);
    return done;
}

/* Every fate of FRAMES frames after `skip`. @return the longest time. */
static uint64_t
exchange_each_fate(unsigned up, unsigned down, unsigned skip)
{
    struct exchange e = {.up = up, .down = down, .skip = skip};
    uint64_t worst = 0;
    for (unsigned digits = 0; digits >> (2 * FRAMES) == 0; digits += EXCHANGE_STEP) {
        for (unsigned i = 0; i < FRAMES; i++)
            e.fates[i] = (int)(digits >> (2 * i) & (FATES - 1));
        uint64_t us = exchange_run(&e);
        worst = us > worst ? us : worst;
    }
    return worst;
}

#define HANDSHAKE_FRAMES 5 /* ARP twice, SYN, SYN-ACK, ACK */

/* 4^8 fates of each: short requests and answers, and bursts either way. */
static void
every_fate_of_eight_segments_is_survived_quickly(void **state)
{
    static const struct {
        unsigned up, down;
    } shapes[] = {{1, 1}, {2, 3}, {8, 1}, {1, 8}};
    (void)state;
    for (unsigned i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        uint64_t worst = exchange_each_fate(shapes[i].up, shapes[i].down, HANDSHAKE_FRAMES);
        assert_in_range(worst, 5000, 5000000); /* back-off from 50 ms, never a minute */
    }
}

static void
every_fate_of_the_first_eight_frames_is_survived(void **state)
{
    (void)state;
    (void)exchange_each_fate(2, 3, 0);
    (void)exchange_each_fate(2, 3, 2);
}

/* The n-th order of FRAMES things, as how much later each is. */
static void
order_write(unsigned n, int fates[FRAMES])
{
    int left[FRAMES];
    for (int i = 0; i < FRAMES; i++)
        left[i] = i;
    for (unsigned i = 0; i < FRAMES; i++) {
        unsigned at = n % (FRAMES - i);
        n /= FRAMES - i;
        fates[i] = 3 + left[at];
        memmove(left + at, left + at + 1, (FRAMES - i - at - 1) * sizeof *left);
    }
}

/* 8! orders in which a request of eight segments arrives, and as many of the answer's. */
static void
every_order_of_eight_segments_is_survived(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 40320; n += EXCHANGE_STEP) {
        struct exchange e = {.up = FRAMES, .down = 1, .skip = HANDSHAKE_FRAMES};
        order_write(n, e.fates);
        (void)exchange_run(&e);
        if (n % 8)
            continue; /* the other way round the code is the same: an eighth of them */
        e = (struct exchange){.up = 1, .down = FRAMES, .skip = HANDSHAKE_FRAMES + 1};
        order_write(n, e.fates);
        (void)exchange_run(&e);
    }
}

/* ---- a scripted receiver, so that each rule is seen alone ---- */

struct flow {
    struct rig_host h;
    struct net_conn *conn;
    uint64_t now_us;
    uint32_t isn;  /* first payload byte is isn + 1 */
    uint32_t tsval;
    bool sack;
};

static void
flow_ack(struct flow *f, uint32_t upto, const uint32_t *blocks, unsigned count)
{
    struct peer_segment s = {.seq = 1001, .ack = f->isn + 1 + upto, .flags = TCP_ACK, .wnd = 8000};
    if (count) {
        s.options[0] = s.options[1] = 1;
        s.options[2] = 5;
        s.options[3] = (uint8_t)(2 + 8 * count);
        for (unsigned i = 0; i < 2 * count; i++)
            store32(s.options + 4 + 4 * i, f->isn + 1 + blocks[i]);
        s.options_bytes = 4 + 8 * count;
    }
    peer_send(&f->h, &s, f->now_us);
}

static void
flow_open(struct flow *f, bool sack)
{
    memset(f, 0, sizeof *f);
    f->now_us = 5000000;
    f->sack = sack;
    struct net_config c = rig_config(&f->h, 1);
    rig_open(&f->h, &c);
    struct peer_segment s = {.seq = 1000, .flags = TCP_SYN, .wnd = 64000,
                             .options = {2, 4, 0x05, 0xa8, 1, 3, 3, 7, 1, 1, 4, 2},
                             .options_bytes = sack ? 12 : 8};
    peer_send(&f->h, &s, f->now_us);
    f->isn = peer_read(&f->h.out[0]).seq;
    f->now_us += 1000;
    flow_ack(f, 0, NULL, 0);
    f->conn = f->h.apps->conn;
}

static void
flow_write(struct flow *f, unsigned segments)
{
    static uint8_t block[100 * MSS];
    rig_discard(&f->h);
    assert_int_equal(net_send(f->h.net, f->conn, block, segments * MSS), segments * MSS);
    rig_turn(&f->h, NULL, f->now_us);
}

static unsigned
seen_segment(struct flow *f, unsigned i)
{
    assert_true(i < f->h.out_count);
    struct peer_segment s = peer_read(&f->h.out[i]);
    return (s.seq - f->isn - 1) / MSS;
}

static void
a_hole_shown_by_sack_is_filled_once_within_a_round_trip(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    flow_write(&f, 10);
    assert_int_equal(f.h.out_count, 10);
    f.now_us += 1000;
    /* 0 and 4 are lost. */
    flow_ack(&f, 0, (uint32_t[]){MSS, 2 * MSS}, 1);
    assert_int_equal(f.h.out_count, 0);
    flow_ack(&f, 0, (uint32_t[]){MSS, 3 * MSS}, 1);
    assert_int_equal(f.h.out_count, 0);
    flow_ack(&f, 0, (uint32_t[]){MSS, 4 * MSS}, 1);
    assert_int_equal(f.h.out_count, 1);
    assert_int_equal(seen_segment(&f, 0), 0);
    unsigned again[10] = {0};
    for (unsigned i = 5; i < 10; i++) {
        flow_ack(&f, 0, (uint32_t[]){5 * MSS, (i + 1) * MSS, MSS, 4 * MSS}, 2);
        for (unsigned j = 0; j < f.h.out_count; j++)
            again[seen_segment(&f, j)]++;
    }
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(again[i], i == 4);
    flow_ack(&f, 4 * MSS, (uint32_t[]){5 * MSS, 10 * MSS}, 1);
    assert_int_equal(f.h.out_count, 0);
    flow_ack(&f, 10 * MSS, NULL, 0);
    assert_int_equal(net_unacked_bytes(f.conn), 0);
    assert_int_equal(net_counters(f.h.net)->retransmits, 2);
    assert_int_equal(net_counters(f.h.net)->fast_recoveries, 1);
    assert_int_equal(f.conn->cwnd, f.conn->ssthresh);
    assert_int_equal(f.conn->ssthresh, 5 * MSS);
    rig_close(&f.h);
}

static void
without_sack_three_duplicates_and_partial_acks_repair(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, false);
    flow_write(&f, 10);
    f.now_us += 1000;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(net_counters(f.h.net)->retransmits, 0);
        flow_ack(&f, 0, NULL, 0);
    }
    assert_int_equal(f.h.out_count, 1);
    assert_int_equal(seen_segment(&f, 0), 0);
    for (unsigned i = 0; i < 5; i++)
        flow_ack(&f, 0, NULL, 0);
    assert_int_equal(net_counters(f.h.net)->retransmits, 1);
    /* RFC 6582: a partial ACK makes the next hole leave at once. */
    flow_ack(&f, 4 * MSS, NULL, 0);
    assert_int_equal(seen_segment(&f, 0), 4);
    assert_int_equal(net_counters(f.h.net)->retransmits, 2);
    flow_ack(&f, 10 * MSS, NULL, 0);
    assert_int_equal(net_counters(f.h.net)->rto_fired, 0);
    rig_close(&f.h);
}

static void
a_lost_tail_is_probed_before_the_rto_and_without_collapse(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    flow_write(&f, 3);
    rig_discard(&f.h);
    uint32_t cwnd = f.conn->cwnd;
    f.now_us += 1000;
    flow_ack(&f, 2 * MSS, NULL, 0); /* the last is missing */
    rig_wait(&f.h, &f.now_us, 52);
    assert_int_equal(f.h.out_count, 1);
    assert_int_equal(seen_segment(&f, 0), 2);
    assert_int_equal(net_counters(f.h.net)->tail_probes, 1);
    assert_int_equal(net_counters(f.h.net)->rto_fired, 0);
    assert_int_equal(f.conn->cwnd, cwnd);
    /* A probe that shows a hole repairs it without waiting for three duplicates. */
    flow_ack(&f, 3 * MSS, NULL, 0);
    flow_write(&f, 3);
    f.now_us += 1000;
    flow_ack(&f, 3 * MSS, (uint32_t[]){5 * MSS, 6 * MSS}, 1);
    rig_close(&f.h);
}

/* RFC 8985 7.4: a DSACK for the probe says that nothing was lost; without one, the probe repaired a
 * loss and the window is halved once. */
static void
only_a_probe_that_repaired_a_loss_costs_window(void **state)
{
    (void)state;
    for (unsigned spurious = 0; spurious < 2; spurious++) {
        struct flow f;
        flow_open(&f, true);
        flow_write(&f, 10);
        f.now_us += 1000;
        flow_ack(&f, 9 * MSS, NULL, 0);
        uint32_t cwnd = f.conn->cwnd;
        rig_wait(&f.h, &f.now_us, 52);
        assert_int_equal(net_counters(f.h.net)->tail_probes, 1);
        flow_ack(&f, 10 * MSS, NULL, 0);
        if (spurious)
            flow_ack(&f, 10 * MSS, (uint32_t[]){9 * MSS, 10 * MSS}, 1);
        flow_write(&f, 1);
        flow_ack(&f, 11 * MSS, NULL, 0);
        assert_int_equal(f.conn->cwnd < cwnd, !spurious);
        assert_int_equal(net_counters(f.h.net)->fast_recoveries, 0);
        rig_close(&f.h);
    }
}

static unsigned
sent_again(const struct flow *f)
{
    const struct net_counters *n = net_counters(f->h.net);
    return (unsigned)(n->retransmits + n->tail_probes + n->rto_fired);
}

/* One answer, nothing after it: Linux acknowledges after 40 ms and up to a tick of its clock. */
static void
an_ack_as_late_as_linux_sends_it_causes_no_retransmission(void **state)
{
    (void)state;
    struct flow f;
    uint32_t acked = 0;
    flow_open(&f, true);
    for (unsigned i = 0; i < 40; i++) {
        flow_write(&f, 1);
        rig_wait(&f.h, &f.now_us, 40 + i % 11);
        flow_ack(&f, acked += MSS, NULL, 0);
        rig_wait(&f.h, &f.now_us, 300);
    }
    assert_int_equal(net_unacked_bytes(f.conn), 0);
    assert_int_equal(sent_again(&f), 0);
    rig_close(&f.h);
}

/* While two segments and more are outstanding no ACK may be late, and the probe need not wait. */
static void
a_probe_of_two_segments_does_not_wait_for_a_delayed_ack(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    flow_write(&f, 2);
    rig_wait(&f.h, &f.now_us, 8);
    assert_int_equal(net_counters(f.h.net)->tail_probes, 1);
    assert_int_equal(seen_segment(&f, f.h.out_count - 1), 1);
    rig_close(&f.h);
}

/* The peer holds each ACK back for 190 ms, and has everything. @return needless repetitions. */
static unsigned
answers_acked_late(struct flow *f, uint32_t *acked, unsigned n)
{
    unsigned before = sent_again(f);
    for (unsigned i = 0; i < n; i++) {
        unsigned now = sent_again(f);
        flow_write(f, 1);
        for (unsigned ms = 0; ms < 190 && sent_again(f) == now; ms++)
            rig_wait(&f->h, &f->now_us, 1);
        *acked += MSS;
        flow_ack(f, *acked, (uint32_t[]){*acked - MSS, *acked}, sent_again(f) != now);
    }
    return sent_again(f) - before;
}

static void
needless_repetitions_teach_how_late_acks_are(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    uint32_t acked = 0;
    assert_in_range(answers_acked_late(&f, &acked, 10), 1, 8); /* a probe counts as two */
    assert_int_equal(answers_acked_late(&f, &acked, 30), 0);
    rig_close(&f.h);
}

/* A client that asks at once carries its ACKs on its requests: a lost answer shows within ms. */
static void
prompt_acks_bring_the_probe_forward(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    uint32_t acked = 0;
    for (unsigned i = 0; i < 30; i++) {
        flow_write(&f, 1);
        f.now_us += 300;
        flow_ack(&f, acked += MSS, NULL, 0);
    }
    flow_write(&f, 1);
    rig_wait(&f.h, &f.now_us, 7);
    assert_int_equal(net_counters(f.h.net)->tail_probes, 1);
    /* That one was needless, and the client has gone idle: its next ACKs are late. */
    acked += MSS;
    flow_ack(&f, acked, (uint32_t[]){acked - MSS, acked}, 1);
    for (unsigned i = 0; i < 20; i++) {
        flow_write(&f, 1);
        rig_wait(&f.h, &f.now_us, 44);
        flow_ack(&f, acked += MSS, NULL, 0);
    }
    assert_int_equal(net_counters(f.h.net)->tail_probes, 1);
    assert_int_equal(net_counters(f.h.net)->rto_fired, 0);
    rig_close(&f.h);
}

/* Karn: the ACK of a segment sent twice times neither. */
static void
a_retransmitted_segment_gives_no_round_trip_sample(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    flow_write(&f, 1);
    uint32_t rtt = net_conn_rtt_us(f.conn);
    rig_wait(&f.h, &f.now_us, 900);
    assert_true(net_counters(f.h.net)->rto_fired > 2);
    flow_ack(&f, MSS, NULL, 0);
    assert_int_equal(net_conn_rtt_us(f.conn), rtt);
    rig_close(&f.h);
}

static void
rtos_double_and_recover_from_slow_start(void **state)
{
    struct flow f;
    unsigned at[8], n = 0;
    uint64_t asked = 0;
    (void)state;
    flow_open(&f, true);
    flow_write(&f, 10);
    rig_discard(&f.h);
    for (unsigned ms = 1; ms < 10000 && n < 8; ms++) {
        f.now_us += 1000;
        rig_turn(&f.h, NULL, f.now_us);
        if (f.h.out_count) {
            /* From the second RTO on, the next hop is asked for as well. */
            assert_int_equal(f.h.out_count - net_counters(f.h.net)->neighbour_queries + asked, 1);
            asked = net_counters(f.h.net)->neighbour_queries;
            if (n)
                assert_int_equal(seen_segment(&f, f.h.out_count - 1), 0);
            at[n++] = ms;
        }
        rig_discard(&f.h);
    }
    /* Probe, then RTOs: intervals double. */
    assert_true(n >= 7);
    for (unsigned i = 3; i < n; i++)
        assert_in_range(at[i] - at[i - 1], 2 * (at[i - 1] - at[i - 2]) - 2,
                        2 * (at[i - 1] - at[i - 2]) + 2);
    assert_int_equal(f.conn->cwnd, f.conn->mss);
    /* Everything is sent again in slow start: two per ACK. */
    uint32_t mss = f.conn->mss;
    unsigned total = 0;
    uint32_t acked = mss;
    for (unsigned i = 0; i < 200 && net_unacked_bytes(f.conn); i++) {
        flow_ack(&f, acked, NULL, 0);
        total += f.h.out_count;
        assert_in_range(f.h.out_count, 0, 3);
        acked = acked + mss < 10 * MSS ? acked + mss : 10 * MSS;
    }
    assert_int_equal(net_unacked_bytes(f.conn), 0);
    assert_in_range(total, 9, 30); /* the other nine, in pieces of the smaller MSS */
    rig_close(&f.h);
}

static void
nothing_acknowledged_within_the_user_timeout_ends_the_connection(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    flow_write(&f, 1);
    rig_discard(&f.h);
    rig_wait(&f.h, &f.now_us, 29000);
    assert_int_equal(f.h.closed, 0);
    rig_wait(&f.h, &f.now_us, 32000);
    assert_int_equal(f.h.closed, 1);
    assert_int_equal(f.h.apps->reason, NET_CLOSED_TIMEOUT);
    assert_true(peer_read(&f.h.out[f.h.out_count - 1]).flags & TCP_RST); /* RFC 9293 3.8.3 */
    assert_in_range(net_counters(f.h.net)->retransmits, 8, 20);
    rig_close(&f.h);
}

/* RFC 2018 section 8: SACKed data may vanish at the receiver; the sender must still have it. */
static void
a_receiver_that_reneges_still_gets_everything(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    flow_write(&f, 4);
    f.now_us += 1000;
    flow_ack(&f, 0, (uint32_t[]){MSS, 4 * MSS}, 1);
    assert_int_equal(seen_segment(&f, 0), 0);
    flow_ack(&f, MSS, NULL, 0); /* it forgot 1..3 */
    unsigned seen[4] = {0};
    rig_discard(&f.h);
    for (unsigned ms = 0; ms < 500 && !(seen[1] && seen[2] && seen[3]); ms++) {
        rig_wait(&f.h, &f.now_us, 1);
        for (unsigned i = 0; i < f.h.out_count; i++) {
            seen[seen_segment(&f, i)]++; /* after an RTO whole, not what was never SACKed */
            assert_true(!net_counters(f.h.net)->rto_fired || peer_read(&f.h.out[i]).bytes == MSS);
        }
        rig_discard(&f.h);
        for (unsigned i = 1; i < 4 && seen[i]; i++)
            flow_ack(&f, (i + 1) * MSS, NULL, 0);
        for (unsigned i = 0; i < f.h.out_count; i++)
            seen[seen_segment(&f, i)]++;
        rig_discard(&f.h);
    }
    flow_ack(&f, 4 * MSS, NULL, 0);
    assert_int_equal(net_unacked_bytes(f.conn), 0);
    rig_close(&f.h);
}

static void
absurd_sack_blocks_change_nothing(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    flow_write(&f, 10);
    static const uint32_t absurd[][2] = {
        {20 * MSS, 21 * MSS},         /* never sent */
        {2 * MSS, MSS},               /* inverted */
        {0, 1u << 31},                /* everything and more */
        {(uint32_t)-5000, MSS},       /* from before the start */
        {MSS, MSS},                   /* empty */
    };
    for (unsigned i = 0; i < 5; i++) {
        flow_ack(&f, 0, absurd[i], 1);
        assert_true(!f.conn->extra || f.conn->extra->sacked_count == 0);
    }
    assert_int_equal(net_counters(f.h.net)->retransmits, 0);
    rig_close(&f.h);
}

static void
the_scoreboard_is_bounded(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    flow_write(&f, 10);
    for (unsigned i = 0; i < 3000; i++) {
        uint32_t at = 10 + i * 4 % (9 * MSS);
        flow_ack(&f, 0, (uint32_t[]){at, at + 1}, 1);
        if (f.conn->extra)
            assert_true(f.conn->extra->sacked_count <= SACK_RANGES_MAX);
    }
    flow_ack(&f, 10 * MSS, NULL, 0);
    assert_int_equal(net_unacked_bytes(f.conn), 0);
    assert_null(f.conn->extra);
    rig_close(&f.h);
}

/*
 * Savage et al. 1999: many small ACKs for one segment must not open the window faster than the
 * bytes do.
 */
static void
split_acks_do_not_inflate_the_window(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    flow_write(&f, 60);
    rig_discard(&f.h);
    uint32_t cwnd = f.conn->cwnd;
    for (unsigned i = 1; i <= 100; i++)
        flow_ack(&f, i * MSS / 100, NULL, 0);
    assert_true(f.conn->cwnd - cwnd <= MSS);
    rig_close(&f.h);
}

static void
slow_start_doubles_until_loss_then_halves(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    uint32_t start = f.conn->cwnd, acked = 0;
    assert_int_equal(start, 10 * MSS);
    flow_write(&f, 60);
    assert_int_equal(f.h.out_count, 10);
    for (unsigned i = 0; i < 10; i++)
        flow_ack(&f, acked += MSS, NULL, 0);
    assert_int_equal(f.conn->cwnd, 2 * start);
    flow_ack(&f, acked, (uint32_t[]){acked + MSS, acked + 4 * MSS}, 1);
    assert_int_equal(f.conn->ssthresh, start);
    rig_close(&f.h);
}

/* RFC 6675 SetPipe(): what is lost is not in the network, so several holes are filled at once. */
static void
lost_segments_leave_room_in_the_pipe(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    flow_write(&f, 10);
    f.now_us += 1000;
    for (unsigned i = 6; i <= 8; i++) /* 0 to 4 are lost */
        flow_ack(&f, 0, (uint32_t[]){5 * MSS, i * MSS}, 1);
    /* A window of five, of which 8 and 9 are under way. */
    assert_int_equal(f.h.out_count, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(seen_segment(&f, i), i);
    rig_close(&f.h);
}

/* RFC 6675 NextSeg() (3): a hole that too few SACKs prove is filled if nothing new waits. */
static void
a_hole_near_the_end_is_filled_when_nothing_is_left_to_send(void **state)
{
    struct flow f;
    unsigned again[10] = {0};
    (void)state;
    flow_open(&f, true);
    flow_write(&f, 10);
    f.now_us += 1000;
    for (unsigned i = 2; i <= 10; i++) { /* 0 and 7 are lost */
        if (i == 8)
            continue;
        uint32_t start = i > 8 ? 8 * MSS : MSS;
        flow_ack(&f, 0, (uint32_t[]){start, i * MSS, MSS, 7 * MSS}, i > 8 ? 2 : 1);
        for (unsigned j = 0; j < f.h.out_count; j++)
            again[seen_segment(&f, j)]++;
    }
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(again[i], i == 0 || i == 7);
    rig_close(&f.h);
}

/* RFC 8985 7.3: where there is something new to send, the probe is that. */
static void
a_probe_is_of_new_data_if_there_is_any(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    f.conn->cwnd = 2 * MSS;
    flow_write(&f, 4);
    assert_int_equal(f.h.out_count, 2);
    rig_discard(&f.h);
    while (f.h.out_count == 0)
        rig_wait(&f.h, &f.now_us, 1);
    assert_int_equal(seen_segment(&f, 0), 2);
    assert_int_equal(net_counters(f.h.net)->tail_probes, 1);
    assert_int_equal(net_counters(f.h.net)->retransmits, 0);
    rig_close(&f.h);
}

/* RFC 5681 3.1: above ssthresh one segment more per window, and only while the window is what holds
 * us back. */
static void
congestion_avoidance_adds_a_segment_per_window(void **state)
{
    struct flow f;
    uint32_t acked = 0;
    (void)state;
    flow_open(&f, true);
    f.conn->ssthresh = f.conn->cwnd = 10 * MSS;
    flow_write(&f, 60);
    for (unsigned window = 10; window < 13; window++) {
        assert_int_equal(f.h.out_count, window);
        acked += window * MSS;
        f.now_us += 1000;
        flow_ack(&f, acked, NULL, 0);
        assert_int_equal(f.conn->cwnd, (window + 1) * MSS);
    }
    rig_close(&f.h);
}

/* RFC 5681 3.1 (4): half of what was in flight, once for however many RTOs of the same segment. */
static void
an_rto_halves_the_threshold_once(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    flow_write(&f, 10);
    for (unsigned rtos = 0; rtos < 3; rtos = (unsigned)net_counters(f.h.net)->rto_fired) {
        rig_wait(&f.h, &f.now_us, 1);
        rig_discard(&f.h);
        if (net_counters(f.h.net)->rto_fired)
            assert_int_equal(f.conn->ssthresh, 5 * MSS);
    }
    rig_close(&f.h);
}

/* RFC 5681 4.1. */
static void
after_an_idle_time_the_window_is_the_initial_one(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    flow_write(&f, 1);
    f.now_us += 1000;
    flow_ack(&f, MSS, NULL, 0);
    f.conn->cwnd = 40 * MSS;
    f.now_us += 1000;
    flow_write(&f, 30);
    assert_int_equal(f.h.out_count, 30); /* no pause: all at once */
    flow_ack(&f, 31 * MSS, NULL, 0);
    f.now_us += 3000000;
    flow_write(&f, 30);
    assert_int_equal(f.h.out_count, 10);
    rig_close(&f.h);
}

/* RFC 3042: each of the first two duplicates lets a new segment out, beyond the window. */
static void
two_duplicates_let_two_new_segments_out(void **state)
{
    (void)state;
    for (unsigned sack = 0; sack < 2; sack++) {
        struct flow f;
        flow_open(&f, sack);
        flow_write(&f, 20);
        assert_int_equal(f.h.out_count, 10);
        f.now_us += 1000;
        for (unsigned i = 1; i < 3; i++) {
            flow_ack(&f, 0, (uint32_t[]){MSS, (i + 1) * MSS}, sack);
            assert_int_equal(f.h.out_count, 1);
            assert_int_equal(seen_segment(&f, 0), 9 + i);
        }
        flow_ack(&f, 0, (uint32_t[]){MSS, 4 * MSS}, sack);
        assert_int_equal(seen_segment(&f, 0), 0);
        rig_close(&f.h);
    }
}

static void
the_rto_grows_to_its_limit_and_no_further(void **state)
{
    struct flow f;
    (void)state;
    flow_open(&f, true);
    f.h.net->config.times.rto_max_ms = 300;
    f.h.net->config.times.user_timeout_ms = 1000000;
    flow_write(&f, 1);
    rig_wait(&f.h, &f.now_us, 2000);
    uint64_t before = net_counters(f.h.net)->rto_fired;
    rig_discard(&f.h);
    rig_wait(&f.h, &f.now_us, 3000);
    assert_in_range(net_counters(f.h.net)->rto_fired - before, 9, 10);
    rig_close(&f.h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fate_of_eight_segments_is_survived_quickly),
        cmocka_unit_test(every_fate_of_the_first_eight_frames_is_survived),
        cmocka_unit_test(every_order_of_eight_segments_is_survived),
        cmocka_unit_test(a_hole_shown_by_sack_is_filled_once_within_a_round_trip),
        cmocka_unit_test(without_sack_three_duplicates_and_partial_acks_repair),
        cmocka_unit_test(a_lost_tail_is_probed_before_the_rto_and_without_collapse),
        cmocka_unit_test(only_a_probe_that_repaired_a_loss_costs_window),
        cmocka_unit_test(an_ack_as_late_as_linux_sends_it_causes_no_retransmission),
        cmocka_unit_test(a_probe_of_two_segments_does_not_wait_for_a_delayed_ack),
        cmocka_unit_test(needless_repetitions_teach_how_late_acks_are),
        cmocka_unit_test(prompt_acks_bring_the_probe_forward),
        cmocka_unit_test(a_retransmitted_segment_gives_no_round_trip_sample),
        cmocka_unit_test(rtos_double_and_recover_from_slow_start),
        cmocka_unit_test(nothing_acknowledged_within_the_user_timeout_ends_the_connection),
        cmocka_unit_test(a_receiver_that_reneges_still_gets_everything),
        cmocka_unit_test(absurd_sack_blocks_change_nothing),
        cmocka_unit_test(the_scoreboard_is_bounded),
        cmocka_unit_test(split_acks_do_not_inflate_the_window),
        cmocka_unit_test(slow_start_doubles_until_loss_then_halves),
        cmocka_unit_test(lost_segments_leave_room_in_the_pipe),
        cmocka_unit_test(a_hole_near_the_end_is_filled_when_nothing_is_left_to_send),
        cmocka_unit_test(a_probe_is_of_new_data_if_there_is_any),
        cmocka_unit_test(congestion_avoidance_adds_a_segment_per_window),
        cmocka_unit_test(an_rto_halves_the_threshold_once),
        cmocka_unit_test(after_an_idle_time_the_window_is_the_initial_one),
        cmocka_unit_test(two_duplicates_let_two_new_segments_out),
        cmocka_unit_test(the_rto_grows_to_its_limit_and_no_further),
    };
    return cmocka_run_group_tests(tests, exchange_setup, NULL);
}
