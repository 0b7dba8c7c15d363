/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: recovery picks the right snapshot, replays without a hole, and never takes missing data for
 * an empty database (disk-formats.md 2.3, 2.4; ZOOKEEPER-3644). Method: directories in memory, put
 * together by the writers and damaged by hand; every storage call made to fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "persist/acknowledged.h"
#include "persist/snapshot.h"
#include "tests/persist/batch.h"
#include "tests/persist/model.h"

#define BASE 60

static const struct txnlog_options options = {4096, 0};

/* A snapshot of nothing but the root, under the given zxid. */
static void source_nothing(void *ctx, session_id_t *id, int32_t *timeout_ms)
{
    (void)ctx, (void)id, (void)timeout_ms;
    abort();
}

static void source_no_acl(void *ctx, int64_t *key, struct txn_acl *acl)
{
    (void)ctx, (void)key, (void)acl;
    abort();
}

static bool source_root(void *ctx, struct snapshot_node *node)
{
    bool *given = ctx;
    *node = (struct snapshot_node){{(const uint8_t *)"", 0}, BYTES_NULL, SNAPSHOT_ACL_OPEN, {0}};
    *given = !*given;
    return *given;
}

static struct snapshot_digest source_digest(void *ctx)
{
    (void)ctx;
    return (struct snapshot_digest){false, 0, 0};
}

static int put_snapshot(struct mem_disk *d, zxid_t zxid)
{
    bool given = false;
    struct snapshot_source source = {&given,       0, 0, source_nothing, source_no_acl, source_root,
                                     source_digest};
    return snapshot_write(mem_storage(d), BATCH_DIR, zxid, &source, NULL, NULL);
}

static void put_logs(struct mem_disk *d, zxid_t first, zxid_t last, zxid_t per_file)
{
    struct txnlog *log;
    assert_int_equal(txnlog_open(&log, mem_storage(d), BATCH_DIR, &options, first - 1), PERSIST_OK);
    for (zxid_t z = first; z <= last; z++) {
        assert_int_equal(batch_append(log, batch_of(z, z, BASE)), PERSIST_OK);
        assert_int_equal(txnlog_sync(log), PERSIST_OK);
        if ((z - first + 1) % per_file == 0)
            assert_int_equal(txnlog_roll(log), PERSIST_OK);
    }
    assert_int_equal(txnlog_close(log), PERSIST_OK);
}

static int recover_with(struct mem_disk *d, const struct recover_options *o, struct model *m,
                        struct recover_report *report)
{
    struct directory dir = batch_directory(BATCH_DIR);
    struct recover_sink sink = model_sink(m);
    *m = (struct model){0};
    return recover_run(mem_storage(d), &dir, o, &sink, report);
}

static void expect(struct mem_disk *d, int rc, zxid_t snapshot, zxid_t last)
{
    struct model m;
    struct recover_report report;
    int got = recover_with(d, NULL, &m, &report);
    if (got != rc)
        print_error("%s%s\n", report.text, report.refusal);
    assert_int_equal(got, rc);
    if (rc == PERSIST_OK) {
        assert_int_equal(report.snapshot_zxid, snapshot);
        assert_int_equal(report.last_zxid, last);
        assert_int_equal(m.txns, last - snapshot);
        assert_int_equal(m.txns, report.txns);
    } else {
        assert_true(strlen(report.refusal) > 20);
    }
    model_clear(&m);
}

static void the_newest_snapshot_and_the_txns_behind_it_are_fed(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    put_logs(d, 1, 20, 6);
    assert_int_equal(put_snapshot(d, 0), PERSIST_OK);
    expect(d, PERSIST_OK, 0, 20);
    for (zxid_t z = 1; z <= 20; z++) {
        assert_int_equal(put_snapshot(d, z), PERSIST_OK);
        expect(d, PERSIST_OK, z, 20);
    }
    mem_free(d);
}

static void a_damaged_newest_snapshot_is_passed_over(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct model m;
    struct recover_report report;
    put_logs(d, 1, 20, 6);
    assert_int_equal(put_snapshot(d, 3), PERSIST_OK);
    assert_int_equal(put_snapshot(d, 15), PERSIST_OK);
    mem_file(d, BATCH_DIR "/snapshot.f")->data[40] ^= 1;
    mem_put(d, BATCH_DIR "/snapshot.10", "", 0);
    mem_put(d, BATCH_DIR "/snapshot.11.snappy", "\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16);
    assert_int_equal(recover_with(d, NULL, &m, &report), PERSIST_OK);
    assert_int_equal(report.snapshot_zxid, 3);
    assert_int_equal(report.snapshots_rejected, 3);
    assert_int_equal(m.txns, 17);
    assert_int_equal(m.node_count, 1); /* what the bad ones gave was thrown away */
    assert_true(strstr(report.text, "snapshot.f") && strstr(report.text, "snappy"));
    model_clear(&m);

    /* Without reset() nothing of a bad one may reach the sink at all. */
    struct directory dir = batch_directory(BATCH_DIR);
    struct recover_sink sink = model_sink(&m);
    m = (struct model){0};
    sink.reset = NULL;
    assert_int_equal(recover_run(mem_storage(d), &dir, NULL, &sink, &report), PERSIST_OK);
    assert_int_equal(m.node_count, 1);
    model_clear(&m);
    mem_free(d);
}

static void an_older_snapshot_whose_logs_are_gone_is_refused(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    put_logs(d, 1, 20, 6); /* log.1 .7 .d .13 */
    assert_int_equal(put_snapshot(d, 3), PERSIST_OK);
    assert_int_equal(put_snapshot(d, 15), PERSIST_OK);
    mem_remove(d, BATCH_DIR "/log.1");
    expect(d, PERSIST_OK, 15, 20);
    mem_file(d, BATCH_DIR "/snapshot.f")->data[40] ^= 1;
    expect(d, PERSIST_EDAMAGE, 0, 0);
    mem_free(d);
}

static void missing_data_is_not_an_empty_database(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    put_logs(d, 1, 5, 9);
    expect(d, PERSIST_EREFUSED, 0, 0); /* log entries, no snapshot */
    struct model m;
    struct recover_report report;
    struct recover_options trust = {.trust_empty = true};
    assert_int_equal(recover_with(d, &trust, &m, &report), PERSIST_OK);
    assert_int_equal(m.txns, 5);
    assert_false(report.created);
    model_clear(&m);

    assert_int_equal(put_snapshot(d, 5), PERSIST_OK);
    mem_file(d, BATCH_DIR "/snapshot.5")->data[20] ^= 1;
    expect(d, PERSIST_EDAMAGE, 0, 0); /* a snapshot, but none that loads */
    mem_free(d);

    d = mem_new();
    put_logs(d, 1, 5, 9);
    mem_remove(d, BATCH_DIR "/log.1"); /* all gone but the companion */
    expect(d, PERSIST_EDAMAGE, 0, 0);
    mem_free(d);
}

static void an_empty_directory_is_a_new_database_if_it_may_be(void **state)
{
    (void)state;
    struct model m;
    struct recover_report report;
    struct recover_options no = {.no_autocreate = true};
    struct mem_disk *d = mem_new();
    assert_int_equal(recover_with(d, NULL, &m, &report), PERSIST_OK);
    assert_true(report.created);
    assert_int_equal(report.last_zxid, 0);
    assert_int_equal(recover_with(d, &no, &m, &report), PERSIST_OK);
    assert_false(report.created);
    assert_int_equal(report.last_zxid, -1);
    mem_put(d, "d/initialize", "", 0);
    assert_int_equal(recover_with(d, &no, &m, &report), PERSIST_OK);
    assert_true(report.created);
    assert_null(mem_file(d, "d/initialize")); /* counts once */

    /* A crash in the very first start leaves half of snapshot.0: still nothing is lost. */
    mem_put(d, BATCH_DIR "/snapshot.0", "ZKSN", 4);
    assert_int_equal(recover_with(d, NULL, &m, &report), PERSIST_OK);
    assert_true(report.created);
    mem_free(d);
}

static void a_hole_between_zxids_is_refused_with_its_place(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct model m;
    struct recover_report report;
    put_logs(d, 1, 20, 5); /* log.1 .6 .b .10 */
    assert_int_equal(put_snapshot(d, 2), PERSIST_OK);
    mem_remove(d, BATCH_DIR "/log.6");
    assert_int_equal(recover_with(d, NULL, &m, &report), PERSIST_EDAMAGE);
    assert_true(strstr(report.refusal, BATCH_DIR "/log.") != NULL);
    assert_true(strstr(report.refusal, "0xb") != NULL);
    assert_true(strstr(report.refusal, "truncate -s") != NULL);
    model_clear(&m);
    mem_free(d);
}

static void an_epoch_that_does_not_begin_at_one_is_a_hole(void **state)
{
    (void)state;
    for (int counter = 1; counter <= 2; counter++) {
        struct mem_disk *d = mem_new();
        zxid_t epoch = (zxid_t)3 << 32;
        put_logs(d, 1, 5, 9);
        put_logs(d, epoch + counter, epoch + 4, 9);
        assert_int_equal(put_snapshot(d, 0), PERSIST_OK);
        struct model m;
        struct recover_report report;
        assert_int_equal(recover_with(d, NULL, &m, &report),
                         counter == 1 ? PERSIST_OK : PERSIST_EDAMAGE);
        model_clear(&m);
        mem_free(d);
    }
}

/* Java leaves a torn tail where it is and goes on in the next file (section 3.9). */
static void a_torn_tail_in_an_older_file_is_explained_by_the_next(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    put_logs(d, 1, 5, 9);
    put_logs(d, 6, 9, 9);
    mem_remove(d, BATCH_DIR "/" ACKNOWLEDGED_NAME);
    struct mem_content *f = mem_file(d, BATCH_DIR "/log.1");
    struct batch *b = batch_of(6, 7, BASE);
    b->bytes[20] ^= 1; /* 6 torn, 7 whole: never acknowledged, for log.6 goes on at 6 */
    mem_content_write(f, f->size, b->bytes, b->size);
    mem_content_size(f, f->size + 4096);
    assert_int_equal(put_snapshot(d, 0), PERSIST_OK);
    expect(d, PERSIST_OK, 0, 9);
    mem_free(d);
}

static void leftovers_of_a_crash_are_removed(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    put_logs(d, 1, 5, 9);
    assert_int_equal(put_snapshot(d, 0), PERSIST_OK);
    mem_put(d, BATCH_DIR "/tmp-log", "x", 1);
    mem_put(d, BATCH_DIR "/tmp-snapshot.3", "x", 1);
    mem_put(d, BATCH_DIR "/log.6", "", 0);
    struct model m;
    struct recover_report report;
    struct recover_options look = {.read_only = true};
    struct mem_disk *before = mem_copy(d);
    assert_int_equal(recover_with(d, &look, &m, &report), PERSIST_OK);
    assert_int_equal(d->now.count, before->now.count);
    model_clear(&m);
    expect(d, PERSIST_OK, 0, 5);
    assert_int_equal(d->now.count, before->now.count - 3);
    mem_free(before);
    mem_free(d);
}

static int refusing_txn(void *ctx, const struct txn *txn, struct bytes entry)
{
    (void)ctx, (void)entry;
    return txn->header.zxid == 3 ? PERSIST_ENOMEM : PERSIST_OK;
}

static void what_the_sink_returns_ends_recovery(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct directory dir = batch_directory(BATCH_DIR);
    struct recover_report report;
    struct recover_options trust = {.trust_empty = true};
    struct recover_sink sink = {.txn = refusing_txn};
    put_logs(d, 1, 5, 9);
    assert_int_equal(recover_run(mem_storage(d), &dir, &trust, &sink, &report), PERSIST_ENOMEM);
    assert_true(strstr(report.refusal, "0x3") != NULL);
    mem_free(d);
}

/* _fault: whichever call fails, nothing is lost: the next start without fault finds everything. */
static void any_failing_storage_call_loses_nothing(void **state)
{
    (void)state;
    static const int errors[] = {PERSIST_EIO, PERSIST_ENOSPC, PERSIST_EACCES};
    struct mem_disk *base = mem_new();
    put_logs(base, 1, 12, 5);
    assert_int_equal(put_snapshot(base, 3), PERSIST_OK);
    mem_put(base, BATCH_DIR "/log.d", "", 0);
    for (int e = 0; e < 3; e++)
        for (int sticky = 0; sticky < 2; sticky++) {
            bool done = false;
            for (uint64_t call = 1; !done; call++) {
                struct mem_disk *d = mem_copy(base);
                struct model m;
                struct recover_report report;
                d->fail_at = d->calls + call;
                d->fail_with = errors[e];
                d->fail_sticky = sticky;
                int rc = recover_with(d, NULL, &m, &report);
                done = d->calls < d->fail_at;
                if (rc == PERSIST_OK)
                    assert_int_equal(report.last_zxid, 12);
                else
                    assert_true(strlen(report.refusal) > 0);
                model_clear(&m);
                mem_process_kill(d);
                expect(d, PERSIST_OK, 3, 12);
                mem_free(d);
            }
        }
    mem_free(base);
}

/* The same for the writer: each call of append, sync, roll and close fails in turn. */
static void any_failing_call_of_the_writer_loses_nothing_acknowledged(void **state)
{
    (void)state;
    static const int errors[] = {PERSIST_EIO, PERSIST_ENOSPC};
    for (int e = 0; e < 2; e++) {
        bool done = false;
        for (uint64_t call = 1; !done; call++) {
            struct mem_disk *d = mem_new();
            struct txnlog *log;
            zxid_t acked = 0;
            d->fail_at = call;
            d->fail_with = errors[e];
            int rc = txnlog_open(&log, mem_storage(d), BATCH_DIR, &options, 0);
            for (zxid_t z = 1; z <= 60 && !rc; z += 3) {
                rc = batch_append(log, batch_of(z, z + 2, BASE));
                if (!rc)
                    rc = txnlog_sync(log);
                if (!rc)
                    acked = z + 2;
                if (!rc && z % 15 == 1)
                    rc = txnlog_roll(log);
                if (rc) {
                    assert_true(txnlog_durable_zxid(log) >= acked);
                    assert_int_equal(txnlog_sync(log), PERSIST_EFAILED);
                }
            }
            if (log)
                (void)txnlog_close(log);
            done = d->calls < call;
            mem_process_kill(d);
            struct seen seen;
            struct recover_report report;
            rc = batch_recover(d, BASE, &seen, &report);
            if (rc)
                print_error("call %lu: %s\n", (unsigned long)call, report.refusal);
            assert_int_equal(rc, PERSIST_OK);
            assert_true(seen.last >= acked);
            assert_int_equal(seen.wrong, 0);
            mem_free(d);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_snapshot_and_the_txns_behind_it_are_fed),
        cmocka_unit_test(a_damaged_newest_snapshot_is_passed_over),
        cmocka_unit_test(an_older_snapshot_whose_logs_are_gone_is_refused),
        cmocka_unit_test(missing_data_is_not_an_empty_database),
        cmocka_unit_test(an_empty_directory_is_a_new_database_if_it_may_be),
        cmocka_unit_test(a_hole_between_zxids_is_refused_with_its_place),
        cmocka_unit_test(an_epoch_that_does_not_begin_at_one_is_a_hole),
        cmocka_unit_test(a_torn_tail_in_an_older_file_is_explained_by_the_next),
        cmocka_unit_test(leftovers_of_a_crash_are_removed),
        cmocka_unit_test(what_the_sink_returns_ends_recovery),
        cmocka_unit_test(any_failing_storage_call_loses_nothing),
        cmocka_unit_test(any_failing_call_of_the_writer_loses_nothing_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
