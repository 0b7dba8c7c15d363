/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The Linux kernel as the oracle, second part: options of the hand-shake, timestamps, both sides'
 * windows, and the states before a connection (LISTEN, CLOSED, SYN-SENT).
 *
 * Each script has a name, and its outcome is a text. Where the texts differ, explained[] says why,
 * and what ours is: an explanation does not hide another answer of ours.
 */
#include "tests/net/oracle.h"

#include <fnmatch.h>

#define OUTCOME_BYTES 512

/** Patterns as of the shell; the first whose name and outcome match explains. */
static struct {
    const char *name, *ours, *why;
    unsigned used;
} explained[] = {
    {"SYN with MSS 100", "S+1 mss 1460; upto 2160, first 216",
     "a smaller MSS is taken as 216: tiny segments are an attack; Linux's floor is 88", 0},
    {"SYN with MSS 1", "S+1 mss 1460; upto 2160, first 216", "the same", 0},
    {"SYN with a length *", "-",
     "what an illegal length hides cannot be trusted: dropped; Linux takes the options before it",
     0},
    {"SYN with a kind without length", "-", "the same", 0},
    {"timestamp one older, *", "A+?,? echo 0 echo 0",
     "RFC 7323 5.3: older is older; Linux forgives one tick", 0},
    {"timestamp older, * ack, exact", "A+?,? echo 0 echo 0",
     "Linux lets an ACK overtaken a moment ago pass in silence; RFC 7323 5.3 wants an answer", 0},
    {"timestamp *, ESTABLISHED fin, exact", "A+2,1 echo * echo *",
     "we acknowledge a FIN at once, Linux delays it like data when quick ACKs are off", 0},
    {"timestamp *, FIN-WAIT-1 fin, ahead", "A+1,2 echo 0 echo 0",
     "a FIN beyond the next byte proves data after close: Linux resets for the proof, we when the "
     "data comes",
     0},
    {"timestamp *, CLOSE-WAIT [df]*", "A+2,1 echo * echo *",
     "data or a FIN after the peer's FIN: an ACK (RFC 9293); Linux is silent", 0},
    {"timestamp *, LAST-ACK [df]*", "A+2,2 echo * echo *", "the same", 0},
    {"window, rst* at its edge+0", "- | A+1,1",
     "the edge itself lies outside the window (RFC 9293 3.4); Linux counts it in", 0},
    {"full window, fin at +0", "window 0 A+1,0",
     "a FIN takes no room: both accept it, we acknowledge it at once", 0},
    {"full window, data+fin at -10", "window 0 A+1,0",
     "the same behind old data, where Linux wants room for it", 0},
    {"peer's window of 1", "1",
     "half of the largest window is worth a segment (RFC 9293 3.8.6.2.1), of one byte too", 0},
    {"peer's window that opens by a byte", "0, 1", "the same", 0},
    {"peer's window of 1459", "1459", "the same; Linux cuts halves of it", 0},
    {"peer's window that shrinks with an ACK", "8760, 8760, 20440",
     "the congestion window allows all of the peer's; Linux sends less in one burst", 0},
    {"peer's window and partial ACKs", "5840, 5840, 7300, 10220",
     "with data in flight only whole segments leave (3.8.6.2.1); Linux fills what there is", 0},
};

static unsigned scripts_run, scripts_alike;

/** What became of one script. */
struct outcome {
    char text[OUTCOME_BYTES];
    size_t size;
};

__attribute__((format(printf, 2, 3))) static void
note(struct outcome *o, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(o->text + o->size, sizeof o->text - o->size, format, args);
    va_end(args);
    assert_true(n >= 0 && o->size + (size_t)n < sizeof o->text);
    o->size += (size_t)n;
}

static void
note_answers(struct outcome *o, struct subject *s)
{
    char text[256];
    describe(s, text, sizeof text);
    note(o, "%s", text);
}

/* @return false: they differ, and nothing says why. */
static bool
compare(const char *name, void (*run)(const void *script, struct subject *s, struct outcome *o),
        const void *script)
{
    struct outcome o[2];
    scripts_run++;
    for (unsigned try = 0; try < TRIES; try++) {
        for (unsigned kernel = 0; kernel < 2; kernel++) {
            struct subject s;
            o[kernel] = (struct outcome){0};
            subject_open(&s, kernel, port_next++);
            run(script, &s, &o[kernel]);
            subject_end(&s);
        }
        if (strcmp(o[0].text, o[1].text) == 0) {
            scripts_alike++;
            return true;
        }
    }
    for (unsigned i = 0; i < sizeof explained / sizeof *explained; i++)
        if (fnmatch(explained[i].name, name, 0) == 0 &&
            fnmatch(explained[i].ours, o[0].text, 0) == 0) {
            explained[i].used++;
            return true;
        }
    print_message("%s: ours \"%s\", Linux \"%s\"\n", name, o[0].text, o[1].text);
    return false;
}

/* ---- what both applications do ---- */

static void
subject_send(struct subject *s, unsigned bytes)
{
    static const uint8_t block[40000];
    assert_true(bytes <= sizeof block);
    seen_clear(s);
    if (s->kernel) {
        int room = 400000;
        setsockopt(s->socket, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        assert_int_equal(send(s->socket, block, bytes, MSG_NOSIGNAL), bytes);
    } else {
        assert_int_equal(net_send(s->h.net, s->h.apps->conn, block, bytes), bytes);
        rig_turn(&s->h, NULL, s->now_us += 100);
    }
    collect(s, ANSWER_MS);
}

/* The right edge of what was sent in answer, as an offset in the stream; 0: nothing. */
static unsigned
sent_upto(const struct subject *s)
{
    unsigned edge = 0;
    for (unsigned i = 0; i < s->seen_count; i++) {
        struct peer_segment r = peer_read(&s->seen[i]);
        unsigned end = r.seq + r.bytes - s->isn - 1;
        edge = r.bytes && end > edge ? end : edge;
    }
    return edge;
}

/* ---- options of a SYN ---- */

struct syn_script {
    const char *name;
    uint8_t options[40];
    unsigned bytes;
};

#define SYN(text, ...) {text, {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})}
#define TS(value) 8, 10, 0, 0, value, 0, 0, 0, 0, 0
static const struct syn_script syn_scripts[] = {
    {"none", {0}, 0},
    SYN("MSS 1460", 2, 4, 5, 0xb4),
    SYN("MSS 1200", 2, 4, 4, 0xb0),
    SYN("MSS 536", 2, 4, 2, 0x18),
    SYN("MSS 216", 2, 4, 0, 216),
    SYN("MSS 100", 2, 4, 0, 100),
    SYN("MSS 1", 2, 4, 0, 1),
    SYN("MSS 0", 2, 4, 0, 0),
    SYN("MSS 9000", 2, 4, 0x23, 0x28),
    SYN("MSS 65535", 2, 4, 0xff, 0xff),
    SYN("MSS of three bytes", 2, 3, 5, 0),
    SYN("MSS twice", 2, 4, 5, 0xb4, 2, 4, 2, 0x18),
    SYN("shift 0", 2, 4, 5, 0xb4, 3, 3, 0, 0),
    SYN("shift 7", 2, 4, 5, 0xb4, 3, 3, 7, 0),
    SYN("shift 14", 2, 4, 5, 0xb4, 3, 3, 14, 0),
    SYN("shift 15", 2, 4, 5, 0xb4, 3, 3, 15, 0),
    SYN("shift 255", 2, 4, 5, 0xb4, 3, 3, 255, 0),
    SYN("shift of four bytes", 2, 4, 5, 0xb4, 3, 4, 7, 0),
    SYN("SACK", 2, 4, 5, 0xb4, 4, 2, 0, 0),
    SYN("SACK of three bytes", 2, 4, 5, 0xb4, 4, 3, 0, 0),
    SYN("SACK blocks", 2, 4, 5, 0xb4, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0),
    SYN("timestamp", 2, 4, 5, 0xb4, TS(5), 0, 0),
    SYN("timestamp 0", 2, 4, 5, 0xb4, TS(0), 0, 0),
    SYN("timestamp of nine bytes", 2, 4, 5, 0xb4, 8, 9, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0),
    SYN("all", 2, 4, 5, 0xb4, 4, 2, TS(9), 1, 3, 3, 7),
    SYN("all without MSS", 4, 2, TS(9), 1, 3, 3, 7),
    SYN("all in another order", 3, 3, 7, 1, TS(9), 4, 2, 2, 4, 5, 0xb4),
    SYN("all after padding", 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 5, 0xb4, 4, 2, TS(9), 1, 3, 3, 7),
    SYN("the end before all", 0, 2, 4, 5, 0xb4, 4, 2, 0),
    SYN("an unknown option", 2, 4, 5, 0xb4, 254, 4, 1, 2, 4, 2, 0, 0),
    SYN("an unknown option of two bytes", 253, 2, 2, 4, 5, 0xb4, 0, 0),
    SYN("a Fast Open request", 2, 4, 5, 0xb4, 34, 2, 1, 1),
    SYN("user timeout", 2, 4, 5, 0xb4, 28, 4, 0, 30),
    SYN("a length of 0", 2, 4, 5, 0xb4, 254, 0, 4, 2),
    SYN("a length of 1", 2, 4, 5, 0xb4, 254, 1, 4, 2),
    SYN("a length beyond the end", 2, 4, 5, 0xb4, 4, 2, 254, 9),
    SYN("a kind without length", 2, 4, 5, 0xb4, 1, 1, 1, 254),
};
#define SYN_SCRIPTS (sizeof syn_scripts / sizeof *syn_scripts)

/* Which options came back, and what the timestamp echoes. A shift is each one's own. */
static void
note_options(struct outcome *o, const struct subject *s)
{
    unsigned n;
    if (s->seen_count == 0)
        return;
    struct peer_segment r = peer_read(&s->seen[0]);
    const uint8_t *mss = peer_option(&r, 2, &n), *ts = peer_option(&r, 8, &n);
    if (mss)
        note(o, " mss %u", load16(mss));
    note(o, "%s%s", peer_option(&r, 3, &n) ? " shift" : "", peer_option(&r, 4, &n) ? " sack" : "");
    if (ts)
        note(o, " ts %u", load32(ts + 4));
}

/* The SYN-ACK; then how many of 4000 bytes leave at once, and in segments of which size. */
static void
syn_run(const void *script, struct subject *s, struct outcome *o)
{
    const struct syn_script *sc = script;
    struct peer_segment syn = basic(s, TCP_SYN, PEER_ISN, 0, 0);
    memcpy(syn.options, sc->options, sc->bytes);
    syn.options_bytes = (sc->bytes + 3) / 4 * 4;
    inject_for(s, syn, 50);
    note_answers(o, s);
    note_options(o, s);
    if (s->seen_count == 0)
        return;
    struct peer_segment r = peer_read(&s->seen[0]);
    if ((r.flags & (TCP_SYN | TCP_RST)) != TCP_SYN)
        return;
    s->isn = r.seq;
    s->snd_nxt = s->snd_una = r.seq + 1;
    unsigned n;
    const uint8_t *ts = peer_option(&r, 8, &n);
    if (ts) {
        s->ts = true;
        s->tsval = 0x10000000;
        s->tsecr = load32(ts);
    }
    say(s, TCP_ACK, s->rcv_nxt, s->snd_nxt, 0);
    subject_accept(s);
    subject_send(s, 4000);
    note(o, "; upto %u", sent_upto(s));
    note(o, ", first %u", s->seen_count ? peer_read(&s->seen[0]).bytes : 0);
}

static void
each_set_of_options_is_agreed_on_as_by_linux(void **state)
{
    unsigned different = 0;
    (void)state;
    skip_without_tap();
    for (unsigned i = 0; i < SYN_SCRIPTS; i++) {
        char name[80];
        snprintf(name, sizeof name, "SYN with %s", syn_scripts[i].name);
        different += !compare(name, syn_run, &syn_scripts[i]);
    }
    assert_int_equal(different, 0);
}

/* ---- timestamps ---- */

#define TSVAL 0x10000000u
static const struct {
    const char *name;
    int32_t offset;
} stamps[] = {{"half round older", INT32_MIN + 1}, {"much older", -100000}, {"older", -2},
              {"one older", -1},                   {"equal", 0},            {"newer", 1},
              {"much newer", 100000},              {"none", INT32_MIN}};
#define STAMPS 8

struct stamp_script {
    unsigned state, class, stamp;
    int32_t at;
};

/* The answers, the timestamp they echo, and that of the answer to a later old duplicate. */
static void
stamp_run(const void *script, struct subject *s, struct outcome *o)
{
    const struct stamp_script *sc = script;
    s->ts = true;
    s->tsval = TSVAL;
    bring_to(s, sc->state);
    const struct class *c = &classes[sc->class];
    struct peer_segment seg = basic(s, c->flags, s->rcv_nxt + (uint32_t)sc->at,
                                    c->flags & TCP_ACK ? s->snd_una : 0, c->bytes);
    if (stamps[sc->stamp].offset == INT32_MIN) {
        memcpy(seg.options, (uint8_t[]){1, 1, 1, 1}, 4);
        seg.options_bytes = 4;
    }
    s->tsval += (uint32_t)stamps[sc->stamp].offset;
    inject(s, seg);
    note_answers(o, s);
    for (unsigned again = 0; again < 2; again++) {
        unsigned n;
        const uint8_t *ts = NULL;
        struct peer_segment r;
        if (s->seen_count) {
            r = peer_read(&s->seen[s->seen_count - 1]);
            ts = peer_option(&r, 8, &n);
        }
        if (ts)
            note(o, " echo %d", (int)(load32(ts + 4) - TSVAL));
        s->tsval = TSVAL + 200000;
        if (!again)
            say(s, TCP_ACK, s->rcv_nxt - 200, s->snd_una, 10);
    }
}

static void
timestamps_are_judged_as_by_linux(void **state)
{
    static const unsigned states[] = {ESTAB, FIN1, CLOSEW, LASTACK};
    static const unsigned kinds[] = {0, 1, 2, 4, 6}; /* ack, data, fin, rst, syn */
    unsigned different = 0;
    (void)state;
    skip_without_tap();
    for (unsigned st = 0; st < 4; st++)
        for (unsigned k = 0; k < 5; k++)
            for (unsigned t = 0; t < STAMPS; t++)
                for (int32_t at = 0; at <= 1000; at += 1000) {
                    struct stamp_script sc = {states[st], kinds[k], t, at};
                    char name[100];
                    snprintf(name, sizeof name, "timestamp %s, %s %s, %s", stamps[t].name,
                             state_names[sc.state], classes[sc.class].name,
                             at ? "ahead" : "exact");
                    different += !compare(name, stamp_run, &sc);
                }
    assert_int_equal(different, 0);
}

/* ---- our receive window ---- */

struct edge_script {
    unsigned class, bytes;
    int32_t at; /* from the right edge */
};

static void
edge_run(const void *script, struct subject *s, struct outcome *o)
{
    const struct edge_script *sc = script;
    struct peer_segment r;
    bring_to(s, ESTAB);
    say(s, TCP_ACK, s->rcv_nxt - 100, s->snd_nxt, 10); /* an answer tells the window */
    assert_true(s->seen_count > 0);
    r = peer_read(&s->seen[0]);
    uint32_t edge = r.ack + r.wnd;
    const struct class *c = &classes[sc->class];
    say(s, c->flags, edge + (uint32_t)sc->at, c->flags & TCP_ACK ? s->snd_una : 0, sc->bytes);
    note_answers(o, s);
    say(s, TCP_ACK, s->rcv_nxt - 200, s->snd_una, 10);
    note(o, " | ");
    note_answers(o, s);
}

static void
the_right_edge_of_the_window_is_kept_as_by_linux(void **state)
{
    static const int32_t at[] = {-11, -10, -9, -1, 0, 1, 2};
    unsigned different = 0;
    (void)state;
    skip_without_tap();
    for (unsigned c = 0; c < CLASSES; c++)
        for (unsigned i = 0; i < sizeof at / sizeof *at; i++) {
            struct edge_script sc = {c, classes[c].bytes, at[i]};
            char name[80];
            snprintf(name, sizeof name, "window, %s at its edge%+d", classes[c].name, at[i]);
            different += !compare(name, edge_run, &sc);
        }
    assert_int_equal(different, 0);
}

/* The peer fills the window of an application that does not read; then one more segment. */
static void
full_run(const void *script, struct subject *s, struct outcome *o)
{
    const struct edge_script *sc = script;
    bring_to(s, ESTAB);
    s->h.consume_max = 0;
    uint32_t wnd = 1;
    for (unsigned i = 0; wnd && i < 300; i++) { /* by twos: a lone one's ACK is delayed */
        inject_for(s, basic(s, TCP_ACK, s->rcv_nxt, s->snd_nxt, 1000), 0);
        inject_for(s, basic(s, TCP_ACK, s->rcv_nxt + 1000, s->snd_nxt, 1000), 60);
        if (s->seen_count == 0)
            continue;
        struct peer_segment r = peer_read(&s->seen[s->seen_count - 1]);
        s->rcv_nxt = r.ack;
        wnd = r.wnd;
    }
    note(o, "window %u", wnd);
    const struct class *c = &classes[sc->class];
    uint32_t base = s->rcv_nxt;
    say(s, c->flags, base + (uint32_t)sc->at, c->flags & TCP_ACK ? s->snd_una : 0, sc->bytes);
    note(o, " ");
    for (unsigned i = 0; i < s->seen_count; i++) {
        struct peer_segment r = peer_read(&s->seen[i]);
        note(o, "%c%+d,%u", r.flags & TCP_RST ? 'R' : 'A', (int)(r.ack - base), r.wnd);
    }
}

static void
a_full_window_is_kept_as_by_linux(void **state)
{
    static const int32_t at[] = {-10, -1, 0, 1, 1000};
    unsigned different = 0;
    (void)state;
    skip_without_tap();
    for (unsigned c = 0; c < CLASSES; c++)
        for (unsigned i = 0; i < sizeof at / sizeof *at; i++) {
            struct edge_script sc = {c, classes[c].bytes, at[i]};
            char name[80];
            snprintf(name, sizeof name, "full window, %s at %+d", classes[c].name, at[i]);
            different += !compare(name, full_run, &sc);
        }
    assert_int_equal(different, 0);
}

/* ---- the peer's window ---- */

#define STEPS_MAX 4
struct window_script {
    const char *name;
    struct {
        unsigned ack; /* of bytes sent before, at most so many; */
        uint16_t wnd;
    } steps[STEPS_MAX];
};
static const struct window_script window_scripts[] = {
    {"of 0", {{0, 0}}},
    {"of 1", {{0, 1}}},
    {"of 100", {{0, 100}}},
    {"of 1459", {{0, 1459}}},
    {"of one segment", {{0, 1460}}},
    {"of one segment and a byte", {{0, 1461}}},
    {"of two segments", {{0, 2920}}},
    {"of five segments", {{0, 7300}}},
    {"of 10000", {{0, 10000}}},
    {"of 30000", {{0, 30000}}},
    {"that opens", {{0, 0}, {0, 5840}}},
    {"that opens by a byte", {{0, 0}, {0, 1}}},
    {"that opens in two steps", {{0, 1460}, {0, 2920}, {0, 8760}}},
    {"that moves with the ACKs", {{0, 4380}, {1460, 4380}, {2920, 4380}, {4380, 4380}}},
    {"that shrinks", {{0, 10000}, {0, 2000}, {0, 14600}}},
    {"that shrinks with an ACK", {{0, 10000}, {2920, 2000}, {5840, 14600}}},
    {"that closes", {{0, 5840}, {5840, 0}, {5840, 5840}}},
    {"that closes half-way", {{0, 5840}, {2920, 0}, {5840, 0}, {5840, 1460}}},
    {"and partial ACKs", {{0, 5840}, {1000, 5840}, {2000, 5840}, {5000, 5840}}},
};
#define WINDOW_SCRIPTS (sizeof window_scripts / sizeof *window_scripts)

static void
window_run(const void *script, struct subject *s, struct outcome *o)
{
    const struct window_script *sc = script;
    struct peer_segment syn = basic(s, TCP_SYN, PEER_ISN, 0, 0);
    memcpy(syn.options, (uint8_t[]){2, 4, 0x05, 0xb4}, 4);
    syn.options_bytes = 4;
    handshake(s, &syn);
    unsigned upto = 0;
    for (unsigned i = 0; i < STEPS_MAX && (i == 0 || sc->steps[i].wnd || sc->steps[i].ack); i++) {
        unsigned acked = sc->steps[i].ack < upto ? sc->steps[i].ack : upto;
        struct peer_segment ack = basic(s, TCP_ACK, s->rcv_nxt, s->isn + 1 + acked, 0);
        ack.wnd = sc->steps[i].wnd;
        inject(s, ack);
        if (i == 0) {
            subject_accept(s);
            subject_send(s, 30000);
        }
        unsigned edge = sent_upto(s);
        upto = edge > upto ? edge : upto;
        note(o, "%s%u", i ? ", " : "", upto);
    }
}

static void
the_peers_window_is_used_as_by_linux(void **state)
{
    unsigned different = 0;
    (void)state;
    skip_without_tap();
    for (unsigned i = 0; i < WINDOW_SCRIPTS; i++) {
        char name[80];
        snprintf(name, sizeof name, "peer's window %s", window_scripts[i].name);
        different += !compare(name, window_run, &window_scripts[i]);
    }
    assert_int_equal(different, 0);
}

/* ---- before a connection ---- */

struct early_script {
    uint8_t flags;
    unsigned bytes;
    uint32_t ack;
    bool listening;
};

/* Flags, and numbers relative to what they answer. */
static void
note_bare(struct outcome *o, const struct subject *s, uint32_t seq, uint32_t ack)
{
    for (unsigned i = 0; i < s->seen_count; i++) {
        struct peer_segment r = peer_read(&s->seen[i]);
        note(o, "%s%s%s", r.flags & TCP_RST ? "R" : "", r.flags & TCP_SYN ? "S" : "",
             r.flags & TCP_ACK ? "A" : "");
        if (!(r.flags & TCP_SYN))
            note(o, " seq %s", r.seq == ack ? "their ack" : r.seq == 0 ? "0" : "other");
        if (r.flags & TCP_ACK)
            note(o, " ack %+d", (int)(r.ack - seq));
        note(o, " wnd %s;", r.wnd ? "some" : "0");
    }
    if (s->seen_count == 0)
        note(o, "-");
}

static void
early_run(const void *script, struct subject *s, struct outcome *o)
{
    const struct early_script *sc = script;
    struct peer_segment seg = basic(s, sc->flags, PEER_ISN, sc->ack, sc->bytes);
    seg.destination_port = sc->listening ? RIG_PORT : 9;
    inject_for(s, seg, 5);
    note_bare(o, s, PEER_ISN, sc->ack);
}

static void
segments_to_no_connection_are_answered_as_by_linux(void **state)
{
    static const uint8_t flags[] = {
        0, TCP_FIN, TCP_PSH, TCP_URG, TCP_ACK, TCP_ACK | TCP_FIN, TCP_ACK | TCP_PSH, TCP_RST,
        TCP_RST | TCP_ACK, TCP_RST | TCP_SYN, TCP_SYN, TCP_SYN | TCP_PSH, TCP_SYN | TCP_FIN,
        TCP_SYN | TCP_ACK, TCP_SYN | TCP_URG, TCP_FIN | TCP_PSH | TCP_URG, 0x3f};
    unsigned different = 0;
    (void)state;
    skip_without_tap();
    for (unsigned listening = 0; listening < 2; listening++)
        for (unsigned i = 0; i < sizeof flags; i++)
            for (unsigned n = 0; n < 4; n++) {
                struct early_script sc = {flags[i], n & 1 ? 10 : 0, n & 2 ? 77777 : 0, listening};
                char name[80];
                snprintf(name, sizeof name, "%s, flags %02x, %u bytes, ack %u",
                         listening ? "LISTEN" : "CLOSED", flags[i], sc.bytes, sc.ack);
                different += !compare(name, early_run, &sc);
            }
    assert_int_equal(different, 0);
}

static void
connect_subject(struct subject *s)
{
    seen_clear(s);
    if (s->kernel) {
        uint16_t own = (uint16_t)(20000 + s->port % 5000);
        struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(own)};
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(s->port)};
        to.sin_addr.s_addr = htonl(0x0a000002);
        s->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        assert_int_equal(bind(s->socket, (struct sockaddr *)&from, sizeof from), 0);
        assert_int_equal(connect(s->socket, (struct sockaddr *)&to, sizeof to), -1);
        assert_int_equal(errno, EINPROGRESS);
    } else {
        struct net_addr to = net_addr_v4(0x0a000002);
        struct rig_app *app = rig_app_new(&s->h);
        rig_turn(&s->h, NULL, s->now_us);
        app->conn = net_connect(s->h.net, &to, s->port, -1, app);
        assert_non_null(app->conn);
        rig_turn(&s->h, NULL, s->now_us);
        static const uint8_t arp[] = {0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2,
                                      2, 0, 0, 0, 0, 1, 10, 0, 0, 1};
        struct rig_frame f = {calloc(1, 42), 42};
        memcpy(f.data, (uint8_t[]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6}, 14);
        memcpy(f.data + 14, arp, sizeof arp);
        rig_discard(&s->h);
        rig_turn(&s->h, &f, s->now_us);
    }
    collect(s, SURE_ANSWER_MS);
    assert_true(s->seen_count > 0);
}

/* '?' still asking, 'C' connected, 'x' failed */
static char
connect_state(const struct subject *s)
{
    if (!s->kernel)
        return s->h.apps->gone ? 'x' : s->h.apps->connected ? 'C' : '?';
    struct pollfd p = {s->socket, POLLOUT, 0};
    if (poll(&p, 1, 0) == 0)
        return '?';
    return p.revents & (POLLERR | POLLHUP) ? 'x' : 'C';
}

static void
syn_sent_run(const void *script, struct subject *s, struct outcome *o)
{
    const struct early_script *sc = script;
    connect_subject(s);
    struct peer_segment syn = peer_read(&s->seen[0]);
    assert_int_equal(syn.flags & 0x3f, TCP_SYN);
    struct peer_segment seg =
        basic(s, sc->flags, PEER_ISN, sc->flags & TCP_ACK ? syn.seq + sc->ack : 0, sc->bytes);
    seg.destination_port = syn.source_port;
    inject_for(s, seg, 5);
    note_bare(o, s, PEER_ISN, seg.ack);
    note(o, " %c", connect_state(s));
}

static void
segments_in_syn_sent_are_answered_as_by_linux(void **state)
{
    static const uint8_t flags[] = {0, TCP_FIN, TCP_ACK, TCP_ACK | TCP_FIN, TCP_RST,
                                    TCP_RST | TCP_ACK, TCP_SYN, TCP_SYN | TCP_ACK,
                                    TCP_SYN | TCP_FIN, TCP_SYN | TCP_ACK | TCP_FIN,
                                    TCP_SYN | TCP_RST, TCP_SYN | TCP_ACK | TCP_RST};
    static const uint32_t acks[] = {(uint32_t)-100, 0, 1, 2, 100000};
    unsigned different = 0;
    (void)state;
    skip_without_tap();
    for (unsigned i = 0; i < sizeof flags; i++)
        for (unsigned a = 0; a < 5; a++) {
            struct early_script sc = {flags[i], 0, acks[a], false};
            char name[80];
            if (!(flags[i] & TCP_ACK) && a)
                continue;
            snprintf(name, sizeof name, "SYN-SENT, flags %02x, ack %+d", flags[i], (int)acks[a]);
            different += !compare(name, syn_sent_run, &sc);
        }
    assert_int_equal(different, 0);
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
                  scripts_run - scripts_alike);
    assert_true(scripts_run >= 400 && scripts_alike >= scripts_run * 3 / 4);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_set_of_options_is_agreed_on_as_by_linux),
        cmocka_unit_test(timestamps_are_judged_as_by_linux),
        cmocka_unit_test(the_right_edge_of_the_window_is_kept_as_by_linux),
        cmocka_unit_test(a_full_window_is_kept_as_by_linux),
        cmocka_unit_test(the_peers_window_is_used_as_by_linux),
        cmocka_unit_test(segments_to_no_connection_are_answered_as_by_linux),
        cmocka_unit_test(segments_in_syn_sent_are_answered_as_by_linux),
        cmocka_unit_test(most_answers_are_alike_and_the_others_explained),
    };
    return cmocka_run_group_tests(tests, kernel_up, NULL);
}
