/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: a power failure at any moment, with any subset of the unsynced sectors and directory
 * changes on the disk, loses nothing that was acknowledged (hazards.md 4.5). Method: the power goes
 * off before the n-th storage call, for every n; then every subset (or, where there are too many, a
 * seeded sample) of what was pending reaches the disk; recover; go on writing; recover again.
 *
 * A refusal is allowed where the disk alone cannot tell a tear from damage; it is counted, and its
 * share is bounded. Silent loss is never allowed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/persist/batch.h"

#define SUBSETS_MAX 256
#define BATCHES 6

struct scenario {
    uint32_t data_base; /* size of the txns: small ones share sectors, large ones span several */
    int records;        /* per batch */
    int roll_every;     /* batches; 0 = never */
    struct txnlog_options options;
    bool unchained; /* the storage promises no order between companion and log */
};

struct tally {
    uint64_t images, refused, cut;
};

/* Runs until done or dead. Returns the last acknowledged zxid. */
static zxid_t run(struct mem_disk *d, const struct scenario *sc)
{
    struct txnlog *log;
    zxid_t acked = 0, z = 1;
    if (txnlog_open(&log, mem_storage(d), BATCH_DIR, &sc->options, 0))
        return 0;
    for (int i = 0; i < BATCHES; i++, z += sc->records) {
        if (batch_append(log, batch_of(z, z + sc->records - 1, sc->data_base)) || txnlog_sync(log))
            break;
        acked = txnlog_durable_zxid(log);
        txnlog_ahead(log);
        if (sc->roll_every && i % sc->roll_every == sc->roll_every - 1 && txnlog_roll(log))
            break;
    }
    if (!d->dead && !d->fail_at)
        assert_int_equal(acked, z - 1);
    (void)txnlog_close(log);
    return acked;
}

struct choice {
    uint64_t bits; /* exhaustive: one per pending thing */
    uint64_t seed; /* else a generator */
};

static bool choose_bit(void *arg)
{
    struct choice *c = arg;
    bool yes = c->bits & 1;
    c->bits >>= 1;
    return yes;
}

static bool choose_random(void *arg)
{
    struct choice *c = arg;
    c->seed ^= c->seed << 13;
    c->seed ^= c->seed >> 7;
    c->seed ^= c->seed << 17;
    return c->seed >> 40 & 1;
}

/* After recovery the server goes on: what it then acknowledges must survive as well. */
static void go_on(struct mem_disk *d, const struct scenario *sc, zxid_t last)
{
    struct txnlog *log;
    struct seen seen;
    struct recover_report report;
    assert_int_equal(txnlog_open(&log, mem_storage(d), BATCH_DIR, &sc->options, last), PERSIST_OK);
    assert_int_equal(batch_append(log, batch_of(last + 1, last + 3, sc->data_base)), PERSIST_OK);
    assert_int_equal(txnlog_sync(log), PERSIST_OK);
    assert_int_equal(txnlog_close(log), PERSIST_OK);
    int rc = batch_recover(d, sc->data_base, &seen, &report);
    if (rc)
        print_error("second start: %s\n", report.refusal);
    assert_int_equal(rc, PERSIST_OK);
    assert_int_equal(seen.last, last + 3);
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(report.cut_bytes, 0);
}

static void check_image(struct mem_disk *d, const struct scenario *sc, zxid_t acked,
                        struct tally *tally, const char *what)
{
    struct seen seen;
    struct recover_report report;
    tally->images++;
    int rc = batch_recover(d, sc->data_base, &seen, &report);
    if (rc == PERSIST_EDAMAGE) {
        assert_true(strlen(report.refusal) > 0);
        tally->refused++;
        return;
    }
    if (rc || seen.last < acked || seen.wrong)
        print_error("%s: rc %d, acknowledged %ld, recovered %ld, wrong %lu\n%s\n%s\n", what, rc,
                    (long)acked, (long)seen.last, (unsigned long)seen.wrong, report.refusal,
                    report.text);
    assert_int_equal(rc, PERSIST_OK);
    assert_true(seen.last >= acked);
    assert_int_equal(seen.wrong, 0);
    tally->cut += report.cut_bytes > 0;
    go_on(d, sc, seen.last);
}

static void every_subset(const struct mem_disk *d, const struct scenario *sc, zxid_t acked,
                         uint64_t call, struct tally *tally)
{
    uint64_t pending = mem_pending(d);
    bool exhaustive = pending < 8;
    uint64_t count = exhaustive ? (uint64_t)1 << pending : SUBSETS_MAX;
    for (uint64_t i = 0; i < count; i++) {
        char what[128];
        struct mem_disk *image = mem_copy(d);
        struct choice c = {i, 0x9e3779b97f4a7c15u * (call * 1000 + i + 1)};
        snprintf(what, sizeof what, "power off before call %lu, %s %lu of %lu", (unsigned long)call,
                 exhaustive ? "subset" : "seed", (unsigned long)i, (unsigned long)count);
        mem_power_cut(image, exhaustive ? choose_bit : choose_random, &c);
        check_image(image, sc, acked, tally, what);
        mem_free(image);
    }
}

static void power_off_everywhere(const struct scenario *sc, struct tally *tally)
{
    *tally = (struct tally){0, 0, 0};
    for (uint64_t call = 1;; call++) {
        struct mem_disk *d = mem_new();
        d->cut_at = call;
        d->chained = !sc->unchained;
        zxid_t acked = run(d, sc);
        bool done = !d->dead;
        every_subset(d, sc, acked, call, tally);
        mem_free(d);
        if (done)
            break;
    }
    print_message("%lu images, %lu with a torn tail cut, %lu refused\n",
                  (unsigned long)tally->images, (unsigned long)tally->cut,
                  (unsigned long)tally->refused);
    assert_true(tally->images > 100);
}

static void nothing_lost_nor_refused(const struct scenario *sc)
{
    struct tally t;
    power_off_everywhere(sc, &t);
    assert_int_equal(t.refused, 0);
}

static void small_single_records_are_neither_lost_nor_refused(void **state)
{
    (void)state;
    nothing_lost_nor_refused(&(struct scenario){20, 1, 0, {4096, 0}, false});
    nothing_lost_nor_refused(&(struct scenario){20, 1, 0, {4096, 0}, true});
}

static void single_records_over_many_sectors_are_neither_lost_nor_refused(void **state)
{
    (void)state;
    nothing_lost_nor_refused(&(struct scenario){3000, 1, 0, {4096, 0}, false});
    nothing_lost_nor_refused(&(struct scenario){3000, 1, 0, {4096, 0}, true});
}

/* ZOOKEEPER-2560: sectors of one batch reach the disk in any order. */
static void torn_batches_are_neither_lost_nor_refused(void **state)
{
    (void)state;
    nothing_lost_nor_refused(&(struct scenario){150, 8, 0, {4096, 0}, false});
    nothing_lost_nor_refused(&(struct scenario){700, 5, 0, {4096, 0}, false});
}

static void rolled_files_are_neither_lost_nor_refused(void **state)
{
    (void)state;
    nothing_lost_nor_refused(&(struct scenario){150, 3, 2, {4096, 0}, false});
    nothing_lost_nor_refused(&(struct scenario){150, 3, 1, {4096, 0}, false});
}

static void logs_without_preallocation_are_neither_lost_nor_refused(void **state)
{
    (void)state;
    nothing_lost_nor_refused(&(struct scenario){300, 4, 0, {0, 1500}, false});
    nothing_lost_nor_refused(&(struct scenario){300, 4, 0, {0, 0}, false});
}

/* Where no order can be had between companion and log, a torn batch may look like damage: then it
 * is refused, never guessed. */
static void without_any_order_between_files_batches_are_never_lost(void **state)
{
    (void)state;
    struct tally t;
    power_off_everywhere(&(struct scenario){150, 8, 0, {4096, 0}, true}, &t);
    assert_true(t.refused > 0 && t.refused * 2 < t.images);
    power_off_everywhere(&(struct scenario){150, 3, 2, {4096, 0}, true}, &t);
    assert_true(t.refused * 2 < t.images);
}

/* kill -9: the page cache survives, so nothing is torn beyond the call that was under way. */
static void a_killed_process_never_leads_to_a_refusal(void **state)
{
    (void)state;
    const struct scenario sc = {150, 5, 2, {4096, 0}, false};
    struct tally tally = {0, 0, 0};
    bool done = false;
    for (uint64_t call = 1; !done; call++) {
        struct mem_disk *d = mem_new();
        d->cut_at = call;
        d->short_writes = true;
        zxid_t acked = run(d, &sc);
        done = !d->dead;
        mem_process_kill(d);
        check_image(d, &sc, acked, &tally, "killed");
        mem_free(d);
    }
    assert_int_equal(tally.refused, 0);
}

/* The images above end in a second crash too: recovery itself is cut off everywhere. */
static void a_power_failure_during_recovery_loses_nothing(void **state)
{
    (void)state;
    const struct scenario sc = {700, 3, 0, {4096, 0}, false};
    struct mem_disk *first = mem_new();
    struct txnlog *log;
    assert_int_equal(txnlog_open(&log, mem_storage(first), BATCH_DIR, &sc.options, 0), 0);
    assert_int_equal(batch_append(log, batch_of(1, 3, 700)), PERSIST_OK);
    assert_int_equal(txnlog_sync(log), PERSIST_OK);
    assert_int_equal(batch_append(log, batch_of(4, 4, 700)), PERSIST_OK);
    struct mem_content *file = mem_file(first, BATCH_DIR "/log.1");
    file->data[16 + batch_of(1, 3, 700)->size + 600] ^= 1; /* torn: acknowledged up to 3 only */
    bool done = false;
    struct tally tally = {0, 0, 0};
    for (uint64_t call = 1; !done; call++) {
        struct mem_disk *d = mem_copy(first);
        struct seen seen;
        struct recover_report report;
        mem_process_kill(d);
        d->cut_at = call;
        int rc = batch_recover(d, 700, &seen, &report);
        done = !d->dead;
        if (done)
            assert_int_equal(rc, PERSIST_OK);
        every_subset(d, &sc, 3, call, &tally);
        mem_free(d);
    }
    assert_int_equal(tally.refused, 0);
    (void)txnlog_close(log);
    mem_free(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_single_records_are_neither_lost_nor_refused),
        cmocka_unit_test(single_records_over_many_sectors_are_neither_lost_nor_refused),
        cmocka_unit_test(torn_batches_are_neither_lost_nor_refused),
        cmocka_unit_test(rolled_files_are_neither_lost_nor_refused),
        cmocka_unit_test(logs_without_preallocation_are_neither_lost_nor_refused),
        cmocka_unit_test(without_any_order_between_files_batches_are_never_lost),
        cmocka_unit_test(a_killed_process_never_leads_to_a_refusal),
        cmocka_unit_test(a_power_failure_during_recovery_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
