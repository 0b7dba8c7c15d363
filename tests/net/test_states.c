/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Every state x every class of segment x every position of its sequence number, against a table
 * written from RFC 9293 3.10.7.4 and RFC 5961; then the same for ACK numbers, and the ways through
 * the closing states.
 */
#include "tests/net/rig.h"

#define PEER_ISN 1000
#define NOW 5000000

/** A connection brought into one state by a scripted peer without options. */
struct scene {
    struct rig_host h;
    struct net_conn *conn;
    uint32_t rcv_nxt; /* what the peer sends next */
    uint32_t snd_una, snd_nxt;
};

static void
say(struct scene *s, uint8_t flags, uint32_t seq, uint32_t ack, unsigned bytes)
{
    static const uint8_t payload[64];
    peer_send(&s->h,
              &(struct peer_segment){.seq = seq, .ack = ack, .flags = flags, .wnd = 60000,
                                     .payload = payload, .bytes = bytes},
              NOW);
}

static void
application_closes(struct scene *s)
{
    net_close(s->h.net, s->conn);
    s->h.apps->conn = NULL;
    rig_discard(&s->h);
    rig_turn(&s->h, NULL, NOW);
    struct peer_segment fin = peer_read(&s->h.out[0]);
    assert_true(fin.flags & TCP_FIN);
    s->snd_nxt = fin.seq + 1;
}

static void
peer_closes(struct scene *s, uint32_t ack)
{
    say(s, TCP_FIN | TCP_ACK, s->rcv_nxt, ack, 0);
    s->rcv_nxt++;
    assert_int_equal(s->h.out_count, 1);
    assert_int_equal(peer_read(&s->h.out[0]).ack, s->rcv_nxt);
}

#define TIME_WAIT TCP_STATES

static void
scene_open(struct scene *s, unsigned state)
{
    memset(s, 0, sizeof *s);
    struct net_config c = rig_config(&s->h, 1);
    rig_open(&s->h, &c);
    say(s, TCP_SYN, PEER_ISN, 0, 0);
    s->snd_una = peer_read(&s->h.out[0]).seq;
    s->snd_nxt = s->snd_una + 1;
    s->rcv_nxt = PEER_ISN + 1;
    if (state == TCP_SYN_RCVD)
        return;
    s->snd_una++;
    say(s, TCP_ACK, s->rcv_nxt, s->snd_nxt, 0);
    s->conn = s->h.apps->conn;
    if (state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK)
        peer_closes(s, s->snd_nxt);
    if (state == TCP_FIN_WAIT_1 || state == TCP_FIN_WAIT_2 || state == TCP_CLOSING ||
        state == TCP_LAST_ACK || state == TIME_WAIT)
        application_closes(s);
    if (state == TCP_CLOSING)
        peer_closes(s, s->snd_una);
    if (state == TCP_FIN_WAIT_2 || state == TIME_WAIT) {
        say(s, TCP_ACK, s->rcv_nxt, s->snd_nxt, 0);
        s->snd_una = s->snd_nxt;
    }
    if (state == TIME_WAIT)
        peer_closes(s, s->snd_nxt);
    if (state != TIME_WAIT)
        assert_int_equal(s->conn->state, state);
}

/* What came back: '-' nothing, 'A' one pure ACK of all received, 'R' a RST. */
static char
answer(struct scene *s)
{
    if (s->h.out_count == 0)
        return '-';
    assert_int_equal(s->h.out_count, 1);
    struct peer_segment r = peer_read(&s->h.out[0]);
    if (r.flags & TCP_RST)
        return 'R';
    if (r.flags == TCP_ACK && r.bytes == 0)
        return 'A';
    if (r.flags == (TCP_SYN | TCP_ACK))
        return 'S';
    return r.flags & TCP_FIN ? 'F' : '?';
}

static char
state_letter(struct scene *s)
{
    struct net_usage u;
    net_usage(s->h.net, &u);
    if (u.time_wait)
        return 'T';
    if (u.conns == 0)
        return 'x';
    return s->conn     ? "xsrE12WCL"[s->conn->state]
           : s->h.apps ? "xsrE12WCL"[s->h.apps->conn->state]
                       : 'r';
}

enum { OLD, EXACT, AHEAD, BEYOND, POSITIONS };
static const int32_t offset[POSITIONS] = {-100, 0, 1000, 50000000};

struct class {
    const char *name;
    uint8_t flags;
    unsigned bytes;
};
static const struct class classes[] = {
    {"ack", TCP_ACK, 0},         {"data", TCP_ACK, 10},       {"fin", TCP_ACK | TCP_FIN, 0},
    {"data+fin", TCP_ACK | TCP_FIN, 10}, {"rst", TCP_RST, 0}, {"syn", TCP_SYN, 0},
    {"syn+ack", TCP_SYN | TCP_ACK, 0},   {"no flags", 0, 10},
};
#define CLASSES 8

/*
 * answer and state after, for old, exact, ahead, beyond. The ACK number is SND.UNA: it acknowledges
 * nothing new.
 */
struct row {
    unsigned state;
    const char *expect[CLASSES];
};
static const struct row table[] = {
    /*               ack            data           fin            data+fin       rst            syn
                     syn+ack        no flags */
    {TCP_ESTABLISHED, {"AE -E -E AE", "AE -E AE AE", "AE AW AE AE", "AE AW AE AE", "-E -x AE -E",
                       "AE AE AE AE", "AE AE AE AE", "-E -E -E -E"}},
    {TCP_CLOSE_WAIT,  {"AW -W -W AW", "AW AW AW AW", "AW AW AW AW", "AW AW AW AW", "-W -x AW -W",
                       "AW AW AW AW", "AW AW AW AW", "-W -W -W -W"}},
    {TCP_FIN_WAIT_1,  {"A1 -1 -1 A1", "A1 Rx Rx A1", "A1 AC A1 A1", "A1 Rx Rx A1", "-1 -x A1 -1",
                       "A1 A1 A1 A1", "A1 A1 A1 A1", "-1 -1 -1 -1"}},
    {TCP_FIN_WAIT_2,  {"A2 -2 -2 A2", "A2 Rx Rx A2", "A2 AT A2 A2", "A2 Rx Rx A2", "-2 -x A2 -2",
                       "A2 A2 A2 A2", "A2 A2 A2 A2", "-2 -2 -2 -2"}},
    {TCP_CLOSING,     {"AC -C -C AC", "AC AC AC AC", "AC AC AC AC", "AC AC AC AC", "-C -x AC -C",
                       "AC AC AC AC", "AC AC AC AC", "-C -C -C -C"}},
    {TCP_LAST_ACK,    {"AL -L -L AL", "AL AL AL AL", "AL AL AL AL", "AL AL AL AL", "-L -x AL -L",
                       "AL AL AL AL", "AL AL AL AL", "-L -L -L -L"}},
    /*
     * RFC 1337: a RST does not end it. A new SYN with a higher number starts anew (RFC 9293 MAY-2):
     * 'S'.
     */
    {TIME_WAIT,       {"-T -T -T -T", "AT AT AT AT", "AT AT AT AT", "AT AT AT AT", "-T -T -T -T",
                       "AT AT Sr Sr", "AT AT AT AT", "AT AT AT AT"}},
    /*
     * The ACK number is the ISN, which acknowledges nothing: RST (RFC 9293). A SYN again is
     * answered again.
     */
    {TCP_SYN_RCVD,    {"Ar Rr Rr Ar", "Ar Rr Rr Ar", "Ar Rr Rr Ar", "Ar Rr Rr Ar", "-r -x Ar -r",
                       "Ar Ar Ar Ar", "Ar Ar Ar Ar", "-r -r -r -r"}},
};

static void
each_segment_in_each_state_at_each_position_does_what_the_rfc_says(void **state)
{
    (void)state;
    unsigned cases = 0;
    for (unsigned r = 0; r < sizeof table / sizeof *table; r++)
        for (unsigned c = 0; c < CLASSES; c++)
            for (unsigned p = 0; p < POSITIONS; p++, cases++) {
                struct scene s;
                scene_open(&s, table[r].state);
                say(&s, classes[c].flags, s.rcv_nxt + (uint32_t)offset[p], s.snd_una,
                    classes[c].bytes);
                char got[3] = {answer(&s), state_letter(&s), 0};
                if (memcmp(got, table[r].expect[c] + 3 * p, 2) != 0)
                    fail_msg("state %u, %s, position %u: %s, expected %.2s", table[r].state,
                             classes[c].name, p, got, table[r].expect[c] + 3 * p);
                if (got[0] == 'A' && table[r].state != TIME_WAIT) {
                    struct peer_segment a = peer_read(&s.h.out[0]);
                    assert_true((int32_t)(a.ack - s.rcv_nxt) >= 0 && a.ack - s.rcv_nxt <= 11);
                    assert_int_equal(a.seq, s.snd_nxt);
                }
                rig_close(&s.h);
            }
    assert_int_equal(cases, 8 * CLASSES * POSITIONS);
}

/* ACK numbers: too old, old, current, all, too new. */
static void
each_ack_number_in_each_state_does_what_the_rfc_says(void **state)
{
    static const struct {
        unsigned state;
        const char *expect; /* very old, old, una, nxt, beyond */
    } rows[] = {
        {TCP_ESTABLISHED, "AE -E -E -E AE"}, {TCP_CLOSE_WAIT, "AW -W -W -W AW"},
        {TCP_FIN_WAIT_1, "A1 -1 -1 -2 A1"},  {TCP_FIN_WAIT_2, "A2 -2 -2 -2 A2"},
        {TCP_CLOSING, "AC -C -C -T AC"},     {TCP_LAST_ACK, "AL -L -L -x AL"},
        {TIME_WAIT, "-T -T -T -T -T"},       {TCP_SYN_RCVD, "Rr Rr Rr -E Rr"},
    };
    (void)state;
    for (unsigned r = 0; r < sizeof rows / sizeof *rows; r++)
        for (unsigned p = 0; p < 5; p++) {
            struct scene s;
            scene_open(&s, rows[r].state);
            uint32_t ack[] = {s.snd_una - 1000000, s.snd_una - 10, s.snd_una, s.snd_nxt,
                              s.snd_nxt + 1};
            say(&s, TCP_ACK, s.rcv_nxt, ack[p], 0);
            char got[3] = {answer(&s), state_letter(&s), 0};
            if (memcmp(got, rows[r].expect + 3 * p, 2) != 0)
                fail_msg("state %u, ack %u: %s, expected %.2s", rows[r].state, p, got,
                         rows[r].expect + 3 * p);
            rig_close(&s.h);
        }
}

/* RFC 5961 5.2: data with an ACK outside the sent range is not taken either. */
static void
data_with_an_impossible_ack_is_not_delivered(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, TCP_ESTABLISHED);
    say(&s, TCP_ACK, s.rcv_nxt, s.snd_nxt + 1, 10);
    assert_int_equal(s.h.apps->in_bytes, 0);
    say(&s, TCP_ACK, s.rcv_nxt, s.snd_una - 70000, 10);
    assert_int_equal(s.h.apps->in_bytes, 0);
    say(&s, TCP_ACK, s.rcv_nxt, s.snd_nxt, 10);
    assert_int_equal(s.h.apps->in_bytes, 10);
    rig_close(&s.h);
}

static void
challenge_acks_are_limited_per_connection(void **state)
{
    struct scene s;
    unsigned answers = 0;
    (void)state;
    scene_open(&s, TCP_ESTABLISHED);
    for (unsigned i = 0; i < 1000; i++) {
        say(&s, TCP_RST, s.rcv_nxt + 1 + i, 0, 0);
        answers += s.h.out_count;
    }
    assert_in_range(answers, 4, 16);
    assert_int_equal(s.conn->state, TCP_ESTABLISHED);
    /* Another connection has its own allowance: no side channel between them (CVE-2016-5696). */
    peer_send(&s.h, &(struct peer_segment){.seq = 1, .flags = TCP_SYN, .wnd = 9, .source_port = 9},
              NOW);
    uint32_t isn = peer_read(&s.h.out[0]).seq;
    peer_send(&s.h,
              &(struct peer_segment){
                  .seq = 2, .ack = isn + 1, .flags = TCP_ACK, .wnd = 9, .source_port = 9},
              NOW);
    peer_send(&s.h, &(struct peer_segment){.seq = 9, .flags = TCP_RST, .source_port = 9}, NOW);
    assert_int_equal(s.h.out_count, 1);
    /* And a second later this one has a new one. */
    peer_send(&s.h, &(struct peer_segment){.seq = s.rcv_nxt + 5, .flags = TCP_RST}, NOW + 1100000);
    assert_int_equal(s.h.out_count, 1);
    rig_close(&s.h);
}

static void
a_reset_tells_the_application_once(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, TCP_ESTABLISHED);
    say(&s, TCP_RST, s.rcv_nxt, 0, 0);
    assert_int_equal(s.h.closed, 1);
    assert_int_equal(s.h.apps->reason, NET_CLOSED_RESET);
    say(&s, TCP_RST, s.rcv_nxt, 0, 0);
    assert_int_equal(s.h.closed, 1);
    rig_close(&s.h);
}

static void
simultaneous_close_ends_in_time_wait_on_both_sides(void **state)
{
    struct wire w;
    struct net_usage u;
    (void)state;
    wire_open(&w, 5);
    struct rig_app *a = wire_connect(&w, false, NULL, 0);
    wire_run(&w, 10000);
    struct rig_app *b = w.host[0].apps;
    net_close(w.host[1].net, a->conn);
    net_close(w.host[0].net, b->conn);
    a->conn = b->conn = NULL;
    rig_turn(&w.host[0], NULL, w.now_us);
    rig_turn(&w.host[1], NULL, w.now_us);
    wire_run(&w, 100000);
    for (unsigned i = 0; i < 2; i++) {
        net_usage(w.host[i].net, &u);
        assert_int_equal(u.conns, 0);
        assert_int_equal(u.time_wait, 1);
    }
    wire_run(&w, 61000000);
    net_usage(w.host[0].net, &u);
    assert_int_equal(u.time_wait, 0);
    wire_close(&w);
}

static void
a_half_closed_connection_still_sends(void **state)
{
    struct scene s;
    uint8_t block[100] = {7};
    (void)state;
    scene_open(&s, TCP_CLOSE_WAIT);
    assert_true(s.h.apps->eof);
    assert_int_equal(net_send(s.h.net, s.conn, block, sizeof block), sizeof block);
    rig_discard(&s.h);
    rig_turn(&s.h, NULL, NOW);
    assert_int_equal(peer_read(&s.h.out[0]).bytes, 100);
    net_close(s.h.net, s.conn);
    s.h.apps->conn = NULL;
    rig_discard(&s.h);
    rig_turn(&s.h, NULL, NOW);
    assert_int_equal(peer_read(&s.h.out[0]).flags, TCP_FIN | TCP_ACK | TCP_PSH);
    say(&s, TCP_ACK, s.rcv_nxt, s.snd_nxt + 101, 0);
    struct net_usage u;
    net_usage(s.h.net, &u);
    assert_int_equal(u.conns + u.time_wait, 0);
    rig_close(&s.h);
}

static void
queued_data_leaves_before_the_fin_in_one_segment(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, TCP_ESTABLISHED);
    assert_int_equal(net_send(s.h.net, s.conn, (const uint8_t *)"bye", 3), 3);
    net_close(s.h.net, s.conn);
    s.h.apps->conn = NULL;
    rig_turn(&s.h, NULL, NOW);
    assert_int_equal(s.h.out_count, 1);
    struct peer_segment r = peer_read(&s.h.out[0]);
    assert_int_equal(r.flags, TCP_FIN | TCP_ACK | TCP_PSH);
    assert_memory_equal(r.payload, "bye", 3);
    rig_close(&s.h);
}

static void
closing_with_unread_bytes_resets(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, TCP_ESTABLISHED);
    s.h.consume_max = 4;
    say(&s, TCP_ACK, s.rcv_nxt, s.snd_nxt, 10);
    assert_int_equal(s.h.apps->in_bytes, 4);
    rig_discard(&s.h);
    net_close(s.h.net, s.conn);
    s.h.apps->conn = NULL;
    rig_turn(&s.h, NULL, NOW);
    assert_int_equal(answer(&s), 'R');
    rig_close(&s.h);
}

/* The peer may not have read our last bytes: a RST would take them from it. */
static void
after_a_shutdown_late_data_is_acknowledged_and_thrown_away(void **state)
{
    (void)state;
    for (unsigned acked = 0; acked < 2; acked++) {
        struct scene s;
        struct net_usage u;
        scene_open(&s, TCP_ESTABLISHED);
        s.h.consume_max = 4;
        say(&s, TCP_ACK, s.rcv_nxt, s.snd_nxt, 10); /* six stay unread */
        s.rcv_nxt += 10;
        assert_int_equal(net_send(s.h.net, s.conn, (const uint8_t *)"bye", 3), 3);
        net_shutdown(s.h.net, s.conn);
        s.h.apps->conn = NULL;
        rig_discard(&s.h);
        rig_turn(&s.h, NULL, NOW);
        assert_int_equal(peer_read(&s.h.out[0]).flags, TCP_FIN | TCP_ACK | TCP_PSH);
        uint32_t ack = s.snd_nxt + (acked ? 4 : 0);
        for (unsigned i = 0; i < 100; i++, s.rcv_nxt += 50) {
            say(&s, TCP_ACK, s.rcv_nxt + 50, ack, 50); /* out of order: kept, then dropped too */
            say(&s, TCP_ACK, s.rcv_nxt, ack, 50);
            s.rcv_nxt += 50;
        }
        assert_int_equal(net_counters(s.h.net)->resets_out, 0);
        rig_discard(&s.h);
        say(&s, TCP_FIN | TCP_ACK, s.rcv_nxt, s.snd_nxt + 4, 0);
        assert_int_equal(answer(&s), 'A');
        assert_int_equal(peer_read(&s.h.out[0]).ack, s.rcv_nxt + 1);
        assert_int_equal(s.h.apps->in_bytes, 4);
        net_usage(s.h.net, &u);
        assert_int_equal(u.conns, 0);
        assert_int_equal(u.time_wait, 1);
        assert_int_equal(u.buffers_bytes, 0);
        rig_close(&s.h);
    }
}

static void
fin_wait_2_ends_without_a_peer(void **state)
{
    struct scene s;
    struct net_usage u;
    uint64_t now = NOW;
    (void)state;
    scene_open(&s, TCP_FIN_WAIT_2);
    rig_discard(&s.h);
    rig_wait(&s.h, &now, 59000);
    net_usage(s.h.net, &u);
    assert_int_equal(u.conns, 1);
    rig_wait(&s.h, &now, 2000);
    net_usage(s.h.net, &u);
    assert_int_equal(u.conns, 0);
    assert_int_equal(s.h.out_count, 0);
    rig_close(&s.h);
}

static void
a_lost_last_ack_is_answered_from_time_wait(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, TIME_WAIT);
    say(&s, TCP_FIN | TCP_ACK, s.rcv_nxt - 1, s.snd_nxt, 0);
    struct peer_segment r = peer_read(&s.h.out[0]);
    assert_int_equal(r.flags, TCP_ACK);
    assert_int_equal(r.ack, s.rcv_nxt);
    assert_int_equal(r.seq, s.snd_nxt);
    rig_close(&s.h);
}

static void
time_wait_reuse_starts_beyond_the_old_numbers(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, TIME_WAIT);
    say(&s, TCP_SYN, s.rcv_nxt + 1, 0, 0);
    struct peer_segment r = peer_read(&s.h.out[0]);
    assert_int_equal(r.flags, TCP_SYN | TCP_ACK);
    assert_true((int32_t)(r.seq - s.snd_nxt) > 65535);
    assert_int_equal(net_counters(s.h.net)->time_wait_reused, 1);
    rig_close(&s.h);
}

static void
time_wait_keeps_to_its_limit_and_recycles_the_oldest(void **state)
{
    struct rig_host h = {0};
    struct net_usage u;
    (void)state;
    struct net_config c = rig_config(&h, 1);
    c.limits.time_wait_max = 10;
    rig_open(&h, &c);
    for (unsigned i = 0; i < 25; i++) {
        uint16_t port = (uint16_t)(100 + i);
        peer_send(&h,
                  &(struct peer_segment){.seq = 1, .flags = TCP_SYN, .wnd = 9, .source_port = port},
                  NOW);
        uint32_t isn = peer_read(&h.out[0]).seq;
        struct peer_segment a = {
            .seq = 2, .ack = isn + 1, .flags = TCP_ACK, .wnd = 9, .source_port = port};
        peer_send(&h, &a, NOW);
        net_close(h.net, h.apps->conn);
        h.apps->conn = NULL;
        rig_turn(&h, NULL, NOW);
        a.flags = TCP_FIN | TCP_ACK;
        a.ack++;
        peer_send(&h, &a, NOW);
        net_usage(h.net, &u);
        assert_int_equal(u.conns, 0);
        assert_int_equal(u.time_wait, i < 10 ? i + 1 : 10);
    }
    assert_int_equal(net_counters(h.net)->time_wait_evicted, 15);
    rig_close(&h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_segment_in_each_state_at_each_position_does_what_the_rfc_says),
        cmocka_unit_test(each_ack_number_in_each_state_does_what_the_rfc_says),
        cmocka_unit_test(data_with_an_impossible_ack_is_not_delivered),
        cmocka_unit_test(challenge_acks_are_limited_per_connection),
        cmocka_unit_test(a_reset_tells_the_application_once),
        cmocka_unit_test(simultaneous_close_ends_in_time_wait_on_both_sides),
        cmocka_unit_test(a_half_closed_connection_still_sends),
        cmocka_unit_test(queued_data_leaves_before_the_fin_in_one_segment),
        cmocka_unit_test(closing_with_unread_bytes_resets),
        cmocka_unit_test(after_a_shutdown_late_data_is_acknowledged_and_thrown_away),
        cmocka_unit_test(fin_wait_2_ends_without_a_peer),
        cmocka_unit_test(a_lost_last_ack_is_answered_from_time_wait),
        cmocka_unit_test(time_wait_reuse_starts_beyond_the_old_numbers),
        cmocka_unit_test(time_wait_keeps_to_its_limit_and_recycles_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
