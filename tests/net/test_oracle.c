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
