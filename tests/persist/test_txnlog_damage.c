/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: damage to what was acknowledged is never mistaken for the end of the log (hazards.md, rows
 * E, F, M and section 2.2). Method: write a log, damage it in every way listed there, recover.
 * Either everything acknowledged is there, or the start is refused with file and offset, and
 * nothing on disk has changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "persist/acknowledged.h"
#include "tests/persist/batch.h"

#define BASE 90

static const struct txnlog_options options = {4096, 0};

/* Two files, log.1 (1..6) and log.7 (7..15), as after a kill -9: the second with its padding. */
static struct mem_disk *two_logs(bool killed)
{
    struct mem_disk *d = mem_new();
    struct txnlog *log;
    assert_int_equal(txnlog_open(&log, mem_storage(d), BATCH_DIR, &options, 0), PERSIST_OK);
    for (zxid_t z = 1; z <= 15; z += 3) {
        assert_int_equal(batch_append(log, batch_of(z, z + 2, BASE)), PERSIST_OK);
        assert_int_equal(txnlog_sync(log), PERSIST_OK);
        if (z == 4)
            assert_int_equal(txnlog_roll(log), PERSIST_OK);
    }
    if (killed)
        d->dead = true;
    (void)txnlog_close(log);
    mem_process_kill(d);
    return d;
}

static bool same_files(const struct mem_disk *a, const struct mem_disk *b)
{
    if (a->now.count != b->now.count)
        return false;
    for (int i = 0; i < a->now.count; i++) {
        int j = mem_find(&b->now, a->now.names[i].path);
        if (j < 0)
            return false;
        const struct mem_content *x = &a->inodes[a->now.names[i].inode].now,
                                 *y = &b->inodes[b->now.names[j].inode].now;
        if (x->size != y->size || (x->size && memcmp(x->data, y->data, x->size) != 0))
            return false;
    }
    return true;
}

/* Recover d; true when it was refused. Nothing in between is allowed. */
static bool all_or_refused(struct mem_disk *d, zxid_t last, const char *what, long where)
{
    struct seen seen;
    struct recover_report report;
    struct mem_disk *before = mem_copy(d);
    int rc = batch_recover(d, BASE, &seen, &report);
    bool refused = rc == PERSIST_EDAMAGE || rc == PERSIST_EREFUSED;
    if (!refused && (rc || seen.last != last || seen.wrong))
        print_error("%s at %ld: rc %d, last %ld, wrong %lu\n%s%s\n", what, where, rc,
                    (long)seen.last, (unsigned long)seen.wrong, report.text, report.refusal);
    if (refused) {
        assert_true(strstr(report.refusal, BATCH_DIR) != NULL);
        assert_true(same_files(before, d));
    } else {
        assert_int_equal(rc, PERSIST_OK);
        assert_int_equal(seen.last, last);
        assert_int_equal(seen.wrong, 0);
    }
    mem_free(before);
    return refused;
}

static void every_flipped_bit_in_acknowledged_records_is_noticed(void **state)
{
    (void)state;
    static const char *const names[] = {BATCH_DIR "/log.1", BATCH_DIR "/log.7"};
    for (int killed = 0; killed < 2; killed++) {
        struct mem_disk *base = two_logs(killed);
        for (int n = 0; n < 2; n++) {
            size_t used = TXNLOG_FILE_HEADER_BYTES + (n ? 3 : 2) * batch_of(1, 3, BASE)->size;
            for (size_t at = 0; at < used && at < mem_file(base, names[n])->size; at += 3) {
                struct mem_disk *d = mem_copy(base);
                mem_file(d, names[n])->data[at] ^= (uint8_t)(1 << at % 8);
                /* The header's version and dbid are read by nobody, as in Java. */
                bool refused = all_or_refused(d, 15, names[n], (long)at);
                bool read = at < 4 || at >= TXNLOG_FILE_HEADER_BYTES;
                if (read && at < used - 200)
                    assert_true(refused);
                mem_free(d);
            }
        }
        mem_free(base);
    }
}

/* Row F. ZooKeeper starts without the writes behind the hole and accepts new ones. */
static void a_zeroed_or_garbled_sector_anywhere_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {BATCH_DIR "/log.1", BATCH_DIR "/log.7"};
    struct mem_disk *base = two_logs(true);
    for (int n = 0; n < 2; n++)
        for (int how = 0; how < 2; how++)
            for (size_t at = 0;; at += MEM_SECTOR) {
                size_t used = TXNLOG_FILE_HEADER_BYTES + (n ? 3 : 2) * batch_of(1, 3, BASE)->size;
                if (at >= used)
                    break;
                struct mem_disk *d = mem_copy(base);
                struct mem_content *f = mem_file(d, names[n]);
                size_t size = f->size - at < MEM_SECTOR ? f->size - at : MEM_SECTOR;
                memset(f->data + at, how ? 0xa5 : 0, size);
                bool refused = all_or_refused(d, 15, names[n], (long)at);
                if (at + MEM_SECTOR <= used)
                    assert_true(refused);
                mem_free(d);
            }
    mem_free(base);
}

/* Row M. */
static void swapped_and_repeated_sectors_are_refused(void **state)
{
    (void)state;
    struct mem_disk *base = two_logs(true);
    size_t used = TXNLOG_FILE_HEADER_BYTES + 3 * batch_of(1, 3, BASE)->size;
    for (size_t a = 0; a + MEM_SECTOR <= used; a += MEM_SECTOR)
        for (size_t b = 0; b + MEM_SECTOR <= used; b += MEM_SECTOR) {
            uint8_t sector[MEM_SECTOR];
            if (a == b)
                continue;
            for (int swap = 0; swap < 2; swap++) {
                struct mem_disk *d = mem_copy(base);
                struct mem_content *f = mem_file(d, BATCH_DIR "/log.7");
                memcpy(sector, f->data + b, sizeof sector);
                memcpy(f->data + b, f->data + a, sizeof sector);
                if (swap)
                    memcpy(f->data + a, sector, sizeof sector);
                assert_true(all_or_refused(d, 15, "swap", (long)(a * 10000 + b)));
                mem_free(d);
            }
        }
    mem_free(base);
}

static void a_record_repeated_in_full_is_refused(void **state)
{
    (void)state;
    struct mem_disk *d = two_logs(true);
    struct mem_content *f = mem_file(d, BATCH_DIR "/log.7");
    struct batch *b = batch_of(13, 15, BASE);
    size_t end = TXNLOG_FILE_HEADER_BYTES + batch_of(7, 9, BASE)->size;
    end += batch_of(10, 12, BASE)->size;
    b = batch_of(13, 15, BASE);
    memcpy(f->data + end + b->size, b->bytes, b->size);
    assert_true(all_or_refused(d, 15, "repeated", 0));
    mem_free(d);
}

static void a_missing_log_file_is_refused(void **state)
{
    (void)state;
    struct mem_disk *d = two_logs(true);
    mem_remove(d, BATCH_DIR "/log.1");
    assert_true(all_or_refused(d, 15, "first missing", 0));
    mem_free(d);
    d = two_logs(true);
    mem_remove(d, BATCH_DIR "/log.7"); /* only the companion knows that there was one */
    assert_true(all_or_refused(d, 15, "last missing", 0));
    mem_free(d);
}

static void every_truncation_of_acknowledged_records_is_refused(void **state)
{
    (void)state;
    struct mem_disk *base = two_logs(false);
    uint64_t size = mem_file(base, BATCH_DIR "/log.7")->size;
    for (uint64_t to = 0; to < size; to++) {
        struct mem_disk *d = mem_copy(base);
        mem_content_size(mem_file(d, BATCH_DIR "/log.7"), to);
        assert_true(all_or_refused(d, 15, "truncated", (long)to));
        mem_free(d);
    }
    mem_free(base);
}

/* The companion is a help, not a risk: whatever happens to it, intact logs load. */
static void a_damaged_or_missing_companion_loses_nothing(void **state)
{
    (void)state;
    struct mem_disk *base = two_logs(true);
    uint64_t size = mem_file(base, BATCH_DIR "/" ACKNOWLEDGED_NAME)->size;
    for (uint64_t at = 0; at < size; at += at % 4096 < 80 ? 1 : 509) {
        struct mem_disk *d = mem_copy(base);
        mem_file(d, BATCH_DIR "/" ACKNOWLEDGED_NAME)->data[at] ^= 0x10;
        assert_false(all_or_refused(d, 15, "companion", (long)at));
        mem_free(d);
    }
    mem_remove(base, BATCH_DIR "/" ACKNOWLEDGED_NAME);
    assert_false(all_or_refused(base, 15, "companion missing", 0));
    mem_free(base);
}

/* What a power failure leaves of the companion: the content it had at an earlier moment. */
static void companion_restore(struct mem_disk *d, const struct mem_content *old)
{
    mem_content_set(mem_file(d, BATCH_DIR "/" ACKNOWLEDGED_NAME), old->data, old->size);
}

static struct mem_content companion_copy(struct mem_disk *d, bool durable)
{
    struct mem_content c = {NULL, 0};
    int name = mem_find(&d->now, BATCH_DIR "/" ACKNOWLEDGED_NAME);
    const struct mem_inode *i = &d->inodes[d->now.names[name].inode];
    const struct mem_content *from = durable ? &i->durable : &i->now;
    mem_content_set(&c, from->data, from->size);
    return c;
}

static struct txnlog *batches(struct mem_disk *d, zxid_t from, zxid_t to, struct txnlog *log)
{
    if (!log)
        assert_int_equal(txnlog_open(&log, mem_storage(d), BATCH_DIR, &options, from - 1), 0);
    for (zxid_t z = from; z <= to; z += 3) {
        assert_int_equal(batch_append(log, batch_of(z, z + 2, BASE)), PERSIST_OK);
        assert_int_equal(txnlog_sync(log), PERSIST_OK);
    }
    return log;
}

/* Damage in the last acknowledged batch, torn bytes of the next behind it: they prove the flush. */
static void damage_before_a_torn_batch_is_refused(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct txnlog *log = batches(d, 1, 6, NULL);
    struct mem_content durable = companion_copy(d, true);
    struct mem_content *f = mem_file(d, BATCH_DIR "/log.1");
    size_t a = TXNLOG_FILE_HEADER_BYTES + batch_of(1, 3, BASE)->size;
    size_t b = a + batch_of(4, 6, BASE)->size;
    f->data[a + 30] ^= 1;                         /* 4 */
    memset(f->data + a + 300, 0xee, b - a - 300); /* 5, 6 */
    memset(f->data + b, 0x11, 200);               /* a piece of 7 */
    d->dead = true;
    (void)txnlog_close(log);
    mem_process_kill(d);
    companion_restore(d, &durable);
    assert_true(all_or_refused(d, 6, "before a torn batch", 0));
    free(durable.data);
    mem_free(d);
}

static void an_old_claim_without_chain_proves_nothing(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    d->chained = false;
    struct txnlog *log = batches(d, 1, 6, NULL);
    struct mem_content old = companion_copy(d, false);
    (void)batches(d, 7, 12, log);
    size_t at = TXNLOG_FILE_HEADER_BYTES + batch_of(1, 3, BASE)->size;
    at += batch_of(4, 6, BASE)->size;
    mem_file(d, BATCH_DIR "/log.1")->data[at + 50] ^= 1; /* 7, acknowledged */
    d->dead = true;
    (void)txnlog_close(log);
    mem_process_kill(d);
    companion_restore(d, &old);
    assert_true(all_or_refused(d, 12, "old claim", 0));
    free(old.data);
    mem_free(d);
}

/* The file has its name, so its first batch was flushed, whatever else got lost. */
static void damage_in_the_first_batch_of_a_file_is_refused(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct txnlog *log = batches(d, 1, 3, NULL);
    struct mem_content durable = companion_copy(d, true);
    size_t last = TXNLOG_FILE_HEADER_BYTES + batch_of(1, 2, BASE)->size;
    mem_file(d, BATCH_DIR "/log.1")->data[last + 50] ^= 1;
    d->dead = true;
    (void)txnlog_close(log);
    mem_process_kill(d);
    companion_restore(d, &durable);
    assert_true(all_or_refused(d, 3, "first batch", 0));
    free(durable.data);
    mem_free(d);
}

static void a_torn_claim_leaves_the_one_before(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct acknowledged a;
    struct acknowledged_claim claim = {1, 100, 5, 200, 7, false, false}, got;
    assert_int_equal(acknowledged_open(&a, mem_storage(d), BATCH_DIR), PERSIST_OK);
    for (int i = 0; i < 4; i++) {
        claim.durable_offset = 100 + (uint64_t)i;
        assert_int_equal(acknowledged_before(&a, &claim), PERSIST_OK);
    }
    assert_int_equal(acknowledged_read(mem_storage(d), BATCH_DIR, &got), PERSIST_OK);
    assert_int_equal(got.durable_offset, 103);
    struct mem_content *f = mem_file(d, BATCH_DIR "/" ACKNOWLEDGED_NAME);
    for (int page = 0; page < 2; page++) {
        f->data[page * 4096 + 20] ^= 1;
        assert_int_equal(acknowledged_read(mem_storage(d), BATCH_DIR, &got), PERSIST_OK);
        assert_true(got.durable_offset >= 102);
        f->data[page * 4096 + 20] ^= 1;
    }
    acknowledged_close(&a);
    mem_free(d);
}

/* Java's directories have no companion; damage before the last record shows all the same. */
static void without_companion_damage_before_the_last_record_is_refused(void **state)
{
    (void)state;
    struct mem_disk *base = two_logs(true);
    mem_remove(base, BATCH_DIR "/" ACKNOWLEDGED_NAME);
    struct batch *b = batch_of(13, 14, BASE);
    size_t before_last = TXNLOG_FILE_HEADER_BYTES + batch_of(7, 9, BASE)->size;
    before_last += batch_of(10, 12, BASE)->size;
    b = batch_of(13, 14, BASE);
    before_last += b->size;
    for (size_t at = TXNLOG_FILE_HEADER_BYTES; at < before_last; at++) {
        struct mem_disk *d = mem_copy(base);
        mem_file(d, BATCH_DIR "/log.7")->data[at] ^= 0x42;
        assert_true(all_or_refused(d, 15, "no companion", (long)at));
        mem_free(d);
    }
    mem_free(base);
}

static void without_companion_a_torn_last_record_is_cut_and_reported(void **state)
{
    (void)state;
    struct mem_disk *d = two_logs(true);
    struct seen seen;
    struct recover_report report;
    mem_remove(d, BATCH_DIR "/" ACKNOWLEDGED_NAME);
    size_t last = TXNLOG_FILE_HEADER_BYTES + batch_of(7, 9, BASE)->size;
    last += batch_of(10, 12, BASE)->size;
    last += batch_of(13, 14, BASE)->size;
    mem_file(d, BATCH_DIR "/log.7")->data[last + 100] ^= 0x42;
    assert_int_equal(batch_recover(d, BASE, &seen, &report), PERSIST_OK);
    assert_int_equal(seen.last, 14);
    assert_int_equal(report.cut_bytes, batch_of(15, 15, BASE)->size);
    assert_true(strstr(report.text, "log.7:") != NULL);
    assert_int_equal(mem_file(d, BATCH_DIR "/log.7")->size, last);
    mem_free(d);
}

/* Row E: ZooKeeper refuses to start. */
static void an_empty_or_headerless_newest_log_is_dropped_with_a_report(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        bool kept; /* under another name */
    } files[] = {{"", 0, false},
                 {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32, false},
                 {"ZKLG\0\0\0\2\0\0\0\0\0\0\0\0", 16, false},
                 {"ZKLG\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0\7\7", 22, false},
                 {"ZKLG\0", 5, true},
                 {"something else that is long enough", 34, true}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct mem_disk *d = two_logs(true);
        mem_put(d, BATCH_DIR "/log.10", files[i].bytes, files[i].size);
        assert_false(all_or_refused(d, 15, "empty", (long)i));
        assert_null(mem_file(d, BATCH_DIR "/log.10"));
        assert_int_equal(mem_file(d, BATCH_DIR "/damaged-log.10") != NULL, files[i].kept);
        mem_free(d);
    }
}

static void a_record_that_zookeeper_cannot_decode_is_refused_by_name(void **state)
{
    (void)state;
    struct mem_disk *d = two_logs(false);
    struct seen seen;
    struct recover_report report;
    struct mem_content *f = mem_file(d, BATCH_DIR "/log.7");
    struct batch *b = batch_of(16, 16, BASE);
    be32_store(b->bytes + TXNLOG_RECORD_HEAD + 28, OP_CHECK); /* row A: a bare check */
    (void)txnlog_seal(b->bytes, b->size - TXNLOG_RECORD_HEAD - TXNLOG_RECORD_TAIL);
    uint64_t end = f->size;
    mem_content_write(f, end, b->bytes, b->size);
    assert_int_equal(batch_recover(d, BASE, &seen, &report), PERSIST_EDAMAGE);
    assert_true(strstr(report.refusal, "unknown to ZooKeeper") != NULL);
    mem_free(d);
}

/* Bytes made so that at each of many places 2 MB must be summed up to see that no record is there.
 */
static void hostile_bytes_behind_the_tail_cost_bounded_work(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    const size_t size = 6u << 20;
    uint8_t *bytes = calloc(1, size);
    be32_store(bytes, TXNLOG_MAGIC);
    be32_store(bytes + 4, 2);
    /* A plausible head every 64 bytes, each announcing a large entry. */
    for (size_t at = 16; at + 64 < size; at += 64) {
        be64_store(bytes + at, 1);
        be32_store(bytes + at + 8, PERSIST_ENTRY_BYTES_MAX - 20);
        be64_store(bytes + at + 12 + 12, 5);
        be32_store(bytes + at + 12 + 28, OP_SET_DATA);
        bytes[at + 54] = 'B'; /* the end mark of one that begins 2097136 bytes before */
    }
    memset(bytes + 17, 0xee, 30);
    mem_put(d, BATCH_DIR "/log.1", bytes, size);
    struct seen seen;
    struct recover_report report;
    int rc = batch_recover(d, BASE, &seen, &report);
    assert_int_equal(rc, PERSIST_EDAMAGE); /* given up, on the safe side */
    assert_int_equal(seen.count, 0);
    assert_true(d->calls < 100); /* windows of 4 MiB: the reads show the work */
    free(bytes);
    mem_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_in_acknowledged_records_is_noticed),
        cmocka_unit_test(a_zeroed_or_garbled_sector_anywhere_is_refused),
        cmocka_unit_test(swapped_and_repeated_sectors_are_refused),
        cmocka_unit_test(a_record_repeated_in_full_is_refused),
        cmocka_unit_test(a_missing_log_file_is_refused),
        cmocka_unit_test(every_truncation_of_acknowledged_records_is_refused),
        cmocka_unit_test(a_damaged_or_missing_companion_loses_nothing),
        cmocka_unit_test(damage_before_a_torn_batch_is_refused),
        cmocka_unit_test(an_old_claim_without_chain_proves_nothing),
        cmocka_unit_test(damage_in_the_first_batch_of_a_file_is_refused),
        cmocka_unit_test(a_torn_claim_leaves_the_one_before),
        cmocka_unit_test(without_companion_damage_before_the_last_record_is_refused),
        cmocka_unit_test(without_companion_a_torn_last_record_is_cut_and_reported),
        cmocka_unit_test(an_empty_or_headerless_newest_log_is_dropped_with_a_report),
        cmocka_unit_test(a_record_that_zookeeper_cannot_decode_is_refused_by_name),
        cmocka_unit_test(hostile_bytes_behind_the_tail_cost_bounded_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
