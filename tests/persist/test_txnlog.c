/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: what the writer leaves on disk is ZooKeeper's format to the byte and keeps its invariants.
 * Method: worked examples of disk-formats.md 3.11, and a disk in memory that can be looked at.
 */
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/persist/batch.h"
#include "tests/scratch.h"

static const struct txnlog_options small = {4096, 0};

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (; *hex; hex++) {
        unsigned v;
        if (*hex == ' ')
            continue;
        assert_int_equal(sscanf(hex, "%2x", &v), 1);
        out[n++] = (uint8_t)v;
        hex++;
    }
    return n;
}

static struct txnlog *log_open(struct mem_disk *d, const struct txnlog_options *o, zxid_t last)
{
    struct txnlog *log;
    assert_int_equal(txnlog_open(&log, mem_storage(d), BATCH_DIR, o, last), PERSIST_OK);
    return log;
}

static void a_new_file_is_the_worked_example_to_the_byte(void **state)
{
    (void)state;
    uint8_t expected[256], record[256];
    size_t n = from_hex("5a4b4c47 00000002 0000000000000000"
                        "00000000bbac0a16 00000030 0200000cad750000 00000000 0000000100000001"
                        "000001a1f84c0313 fffffff6 00007530 00000002 0000000051c6d660 42",
                        expected);
    struct jute_writer w = jute_writer_of(record + TXNLOG_RECORD_HEAD, 200);
    struct txn_header h = {0x0200000cad750000, 0, 0x100000001, 0x1a1f84c0313, OP_CREATE_SESSION};
    txn_header_write(&w, &h);
    txn_create_session_write(&w, 30000);
    txn_digest_write(&w, 0x51c6d660);
    int size = txnlog_seal(record, jute_written(&w));
    assert_int_equal(size, n - 16);

    struct mem_disk *d = mem_new();
    struct txnlog_options none = {0, 0};
    struct txnlog *log = log_open(d, &none, 0);
    assert_int_equal(txnlog_append(log, h.zxid, h.zxid, record, (size_t)size), PERSIST_OK);
    assert_int_equal(txnlog_sync(log), PERSIST_OK);
    struct mem_content *file = mem_file(d, BATCH_DIR "/log.100000001");
    assert_non_null(file);
    assert_int_equal(file->size, n);
    assert_memory_equal(file->data, expected, n);
    assert_int_equal(txnlog_close(log), PERSIST_OK);
    mem_free(d);
}

static void records_of_every_kind_are_the_worked_examples(void **state)
{
    (void)state;
    static const uint8_t acl[] = {0,   0,   0,   1, 0, 0, 0, 31,  0,   0,   0,   5,   'w', 'o',
                                  'r', 'l', 'd', 0, 0, 0, 6, 'a', 'n', 'y', 'o', 'n', 'e'};
    uint8_t expected[256], record[256];
    struct jute_writer w = jute_writer_of(record + TXNLOG_RECORD_HEAD, 200);
    struct txn_header h = {0x0200000cad750000, 1, 0x100000002, 0x1a1f84c0320, OP_CREATE};
    struct txn_create create = {BYTES_OF("/a"), BYTES_OF("x"), {{acl, sizeof acl}, 1}, false, 1, 0};
    txn_header_write(&w, &h);
    txn_create_write(&w, OP_CREATE, &create);
    txn_digest_write(&w, 0x1d2f48ed7);
    size_t n = from_hex("0000000099030c56 00000057 0200000cad750000 00000001 0000000100000002"
                        "000001a1f84c0320 00000001 00000002 2f61 00000001 78 00000001 0000001f"
                        "00000005 776f726c64 00000006 616e796f6e65 00 00000001 00000002"
                        "00000001d2f48ed7 42",
                        expected);
    assert_int_equal(txnlog_seal(record, jute_written(&w)), n);
    assert_memory_equal(record, expected, n);

    w = jute_writer_of(record + TXNLOG_RECORD_HEAD, 200);
    h = (struct txn_header){0x0200000cad750000, 9, 0x10000000a, 0x1a1f84c035c, OP_ERROR};
    txn_header_write(&w, &h);
    txn_error_write(&w, ZK_NODEEXISTS);
    n = from_hex("00000000654b0b15 00000024 0200000cad750000 00000009 000000010000000a"
                 "000001a1f84c035c ffffffff ffffff92 42",
                 expected);
    assert_int_equal(txnlog_seal(record, jute_written(&w)), n);
    assert_memory_equal(record, expected, n);

    w = jute_writer_of(record + TXNLOG_RECORD_HEAD, 200);
    h = (struct txn_header){0x0200000cad750000, 14, 0x10000000e, 0x1a1f84c0373, OP_CLOSE_SESSION};
    txn_header_write(&w, &h);
    txn_close_session_write(&w, 1);
    jute_write_bytes(&w, BYTES_OF("/a/e"));
    txn_digest_write(&w, 0x3ab759130);
    n = from_hex(
        "000000000b880aab 00000038 0200000cad750000 0000000e 000000010000000e"
        "000001a1f84c0373 fffffff5 00000001 00000004 2f612f65 00000002 00000003ab759130 42",
        expected);
    assert_int_equal(txnlog_seal(record, jute_written(&w)), n);
    assert_memory_equal(record, expected, n);
}

static void what_is_appended_is_read_back_across_rolled_files_and_restarts(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct seen seen;
    struct recover_report report;
    struct txnlog *log = log_open(d, &small, 0);
    d->short_writes = true;
    for (zxid_t z = 1; z <= 90; z += 3) {
        assert_int_equal(batch_append(log, batch_of(z, z + 2, 200)), PERSIST_OK);
        assert_int_equal(txnlog_sync(log), PERSIST_OK);
        assert_int_equal(txnlog_durable_zxid(log), z + 2);
        if (z % 30 == 1)
            assert_int_equal(txnlog_roll(log), PERSIST_OK);
    }
    assert_int_equal(txnlog_close(log), PERSIST_OK);
    assert_int_equal(batch_recover(d, 200, &seen, &report), PERSIST_OK);
    assert_int_equal(seen.count, 90);
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(report.cut_bytes, 0);
    assert_int_equal(report.logs, 4);

    log = log_open(d, &small, report.last_zxid);
    zxid_t epoch2 = ((zxid_t)2 << 32) + 1;
    assert_int_equal(batch_append(log, batch_of(epoch2, epoch2 + 4, 200)), PERSIST_OK);
    assert_int_equal(txnlog_close(log), PERSIST_OK);
    assert_int_equal(batch_recover(d, 200, &seen, &report), PERSIST_OK);
    assert_int_equal(seen.count, 95);
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(report.last_zxid, epoch2 + 4);
    mem_free(d);
}

/* Java grows files so that the first is 16 bytes longer than the unit (section 3.7). */
static void files_are_preallocated_in_units_and_end_without_padding(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct txnlog *log = log_open(d, &small, 0);
    assert_null(mem_file(d, BATCH_DIR "/log.1"));
    assert_int_equal(batch_append(log, batch_of(1, 1, 10)), PERSIST_OK);
    struct mem_content *file = mem_file(d, BATCH_DIR "/log.1");
    assert_int_equal(file->size, 16 + 2 * 4096); /* 4096 alone leaves less than Java's reserve */
    size_t one = batch_of(1, 1, 10)->size;
    assert_int_equal(txnlog_bytes(log), file->size);
    assert_int_equal(txnlog_roll(log), PERSIST_OK);
    assert_int_equal(mem_file(d, BATCH_DIR "/log.1")->size, 16 + one);
    assert_int_equal(txnlog_bytes(log), 0);
    assert_int_equal(txnlog_close(log), PERSIST_OK);
    assert_int_equal(mem_file(d, BATCH_DIR "/"
                                           "acknowledged") != NULL,
                     1);
    mem_free(d);
}

static void the_size_limit_begins_a_new_file(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct txnlog_options o = {0, 300};
    struct txnlog *log = log_open(d, &o, 0);
    for (zxid_t z = 1; z <= 10; z++) {
        assert_int_equal(batch_append(log, batch_of(z, z, 100)), PERSIST_OK);
        assert_int_equal(txnlog_sync(log), PERSIST_OK);
    }
    assert_int_equal(txnlog_close(log), PERSIST_OK);
    struct seen seen;
    struct recover_report report;
    assert_int_equal(batch_recover(d, 100, &seen, &report), PERSIST_OK);
    assert_int_equal(seen.count, 10);
    assert_true(report.logs >= 4);
    mem_free(d);
}

static void an_entry_that_zookeeper_could_not_read_back_is_refused(void **state)
{
    (void)state;
    uint8_t *record = calloc(1, PERSIST_ENTRY_BYTES_MAX + 64);
    assert_int_equal(txnlog_seal(record, PERSIST_ENTRY_BYTES_MAX + 1), PERSIST_ETOOBIG);
    assert_int_equal(be64_load(record), 0);
    assert_int_equal(txnlog_seal(record, PERSIST_ENTRY_BYTES_MAX), PERSIST_ENTRY_BYTES_MAX + 13);
    free(record);
}

static void a_zxid_that_does_not_rise_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct txnlog *log = log_open(d, &small, 7);
    assert_int_equal(batch_append(log, batch_of(7, 7, 10)), PERSIST_EORDER);
    assert_null(mem_file(d, BATCH_DIR "/log.7"));
    assert_int_equal(batch_append(log, batch_of(8, 9, 10)), PERSIST_OK);
    assert_int_equal(batch_append(log, batch_of(9, 9, 10)), PERSIST_EORDER);
    assert_int_equal(txnlog_appended_zxid(log), 9);
    assert_int_equal(txnlog_failure(log), PERSIST_OK);
    assert_int_equal(txnlog_close(log), PERSIST_OK);
    mem_free(d);
}

/* fsyncgate: after one failed flush the kernel may have thrown the pages away. */
static void the_first_failed_flush_is_final(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct txnlog *log = log_open(d, &small, 0);
    assert_int_equal(batch_append(log, batch_of(1, 2, 10)), PERSIST_OK);
    assert_int_equal(txnlog_sync(log), PERSIST_OK);
    assert_int_equal(batch_append(log, batch_of(3, 3, 10)), PERSIST_OK);
    d->fail_at = d->calls + 1;
    d->fail_with = PERSIST_EIO;
    assert_int_equal(txnlog_sync(log), PERSIST_EIO);
    assert_int_equal(txnlog_durable_zxid(log), 2);
    assert_int_equal(txnlog_sync(log), PERSIST_EFAILED);
    assert_int_equal(batch_append(log, batch_of(4, 4, 10)), PERSIST_EFAILED);
    assert_int_equal(txnlog_roll(log), PERSIST_EFAILED);
    assert_int_equal(txnlog_failure(log), PERSIST_EIO);
    assert_int_equal(txnlog_close(log), PERSIST_EFAILED);
    mem_free(d);
}

static void a_full_disk_ends_the_log_and_keeps_what_was_acknowledged(void **state)
{
    (void)state;
    for (uint64_t space = 1; space < 12000; space += 97) {
        struct mem_disk *d = mem_new();
        struct txnlog *log;
        zxid_t acked = 0;
        d->space = space;
        d->short_writes = true;
        int rc = txnlog_open(&log, mem_storage(d), BATCH_DIR, &small, 0);
        for (zxid_t z = 1; z <= 40 && !rc; z += 2) {
            rc = batch_append(log, batch_of(z, z + 1, 100));
            if (!rc)
                rc = txnlog_sync(log);
            if (!rc)
                acked = z + 1;
        }
        assert_true(rc == PERSIST_OK || rc == PERSIST_ENOSPC);
        (void)txnlog_close(log);
        mem_process_kill(d);
        struct seen seen;
        struct recover_report report;
        rc = batch_recover(d, 100, &seen, &report);
        if (rc)
            print_error("space %lu: %s\n", (unsigned long)space, report.refusal);
        assert_int_equal(rc, PERSIST_OK);
        assert_true(seen.last >= acked);
        assert_int_equal(seen.wrong, 0);
        assert_null(mem_file(d, BATCH_DIR "/tmp-log"));
        mem_free(d);
    }
}

/* Goal: a log written without pause takes a bounded part of the memory, and the page that the next
 * record goes to is not read back for it. */
static void what_is_durable_is_forgotten_but_never_the_end(void **state)
{
    (void)state;
    enum { EACH = 16, STEP = 1 << 20 };
    struct mem_disk *d = mem_new();
    struct txnlog *log = log_open(d, &small, 0);
    uint64_t tail = TXNLOG_FILE_HEADER_BYTES;
    for (zxid_t z = 1; tail < 2 * STEP + STEP / 2; z += EACH) {
        const struct batch *b = batch_of(z, z + EACH - 1, 3900);
        assert_int_equal(batch_append(log, b), PERSIST_OK);
        assert_int_equal(d->forgotten, tail / STEP * STEP);
        assert_int_equal(txnlog_sync(log), PERSIST_OK);
        tail += b->size;
        assert_int_equal(d->forgotten, tail / STEP * STEP);
    }
    assert_int_equal(txnlog_close(log), PERSIST_OK);
    mem_free(d);
}

/* Goal: where the log grows there are zeros on the device already, in units of its own, and never
 * over a record (the disk in memory looks). */
static void zeros_are_put_down_ahead_of_the_tail(void **state)
{
    (void)state;
    enum { EACH = 16, UNIT = 6 << 20 };
    struct txnlog_options options = {UNIT, 0};
    struct mem_disk *d = mem_new();
    struct txnlog *log = log_open(d, &options, 0);
    uint64_t tail = TXNLOG_FILE_HEADER_BYTES;
    txnlog_ahead(log); /* no file yet */
    assert_int_equal(d->fills, 0);
    for (zxid_t z = 1; tail < UNIT + UNIT / 4; z += EACH) {
        const struct batch *b = batch_of(z, z + EACH - 1, 3900);
        assert_int_equal(batch_append(log, b), PERSIST_OK);
        assert_int_equal(txnlog_sync(log), PERSIST_OK);
        tail += b->size;
        txnlog_ahead(log);
        assert_true(d->filled > tail);
    }
    assert_in_range(d->fills, 2, 5); /* in steps, not at each append */
    assert_int_equal(txnlog_close(log), PERSIST_OK);
    mem_free(d);
}

/* Bytes of a file's data that the file system has only promised; -1: it does not say. */
static int64_t promised_bytes(const char *path, uint64_t upto)
{
    uint8_t room[sizeof(struct fiemap) + 64 * sizeof(struct fiemap_extent)] = {0};
    struct fiemap *map = (struct fiemap *)room;
    map->fm_length = upto;
    map->fm_extent_count = 64;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : ioctl(fd, FS_IOC_FIEMAP, map);
    if (fd >= 0)
        (void)close(fd);
    if (rc < 0)
        return -1;
    int64_t bytes = 0;
    for (uint32_t i = 0; i < map->fm_mapped_extents; i++)
        if (map->fm_extents[i].fe_flags & FIEMAP_EXTENT_UNWRITTEN)
            bytes += (int64_t)map->fm_extents[i].fe_length;
    return bytes;
}

/* Goal: on a real file system the zeros are there, so that a flush transfers data and nothing
 * else, and what recovery reads is the same. */
static void a_real_file_needs_no_notes_of_the_file_system(void **state)
{
    (void)state;
    char dir[SCRATCH_BYTES], path[SCRATCH_BYTES + 16];
    struct txnlog *log;
    struct txnlog_options options = {1 << 20, 0};
    scratch_make(dir);
    assert_int_equal(txnlog_open(&log, storage_file(), dir, &options, 0), PERSIST_OK);
    for (zxid_t z = 1; z < 100; z += 3) {
        assert_int_equal(batch_append(log, batch_of(z, z + 2, 1000)), PERSIST_OK);
        assert_int_equal(txnlog_sync(log), PERSIST_OK);
        txnlog_ahead(log);
    }
    snprintf(path, sizeof path, "%s/log.1", dir);
    int64_t promised = promised_bytes(path, 1 << 20);
    assert_int_equal(txnlog_close(log), PERSIST_OK);
    struct seen seen;
    struct recover_report report;
    assert_int_equal(batch_recover_in(storage_file(), dir, 1000, &seen, &report), PERSIST_OK);
    assert_int_equal(seen.last, 99);
    assert_int_equal(seen.wrong, 0);
    scratch_remove(dir);
    if (promised < 0)
        skip();
    assert_int_equal(promised, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_file_is_the_worked_example_to_the_byte),
        cmocka_unit_test(records_of_every_kind_are_the_worked_examples),
        cmocka_unit_test(what_is_appended_is_read_back_across_rolled_files_and_restarts),
        cmocka_unit_test(files_are_preallocated_in_units_and_end_without_padding),
        cmocka_unit_test(the_size_limit_begins_a_new_file),
        cmocka_unit_test(what_is_durable_is_forgotten_but_never_the_end),
        cmocka_unit_test(zeros_are_put_down_ahead_of_the_tail),
        cmocka_unit_test(a_real_file_needs_no_notes_of_the_file_system),
        cmocka_unit_test(an_entry_that_zookeeper_could_not_read_back_is_refused),
        cmocka_unit_test(a_zxid_that_does_not_rise_is_refused_and_changes_nothing),
        cmocka_unit_test(the_first_failed_flush_is_final),
        cmocka_unit_test(a_full_disk_ends_the_log_and_keeps_what_was_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
