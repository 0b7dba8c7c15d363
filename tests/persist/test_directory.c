/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: names, places, epoch files and purging follow disk-formats.md sections 2 and 7, on a real
 * file system too. Method: memory with faults, and one directory under TMPDIR.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "persist/epoch.h"
#include "persist/purge.h"
#include "persist/snapshot.h"
#include "tests/persist/batch.h"
#include "tests/persist/model.h"

#define FIXTURE SENGI_SOURCE_DIR "/tests/interop/fixtures/zookeeper-3.8.0/version-2"

static void names_are_read_as_java_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool log, snapshot;
        zxid_t zxid;
        enum snapshot_compression how;
    } rows[] = {{"log.1", true, false, 1, 0},
                {"log.100000001", true, false, 0x100000001, 0},
                {"log.1f.tmp", true, false, 0x1f, 0},
                {"log.", false, false, 0, 0},
                {"log.xyz", false, false, 0, 0},
                {"log", false, false, 0, 0},
                {"log.00000000000000001", false, false, 0, 0},
                {"log.ffffffffffffffff", false, false, 0, 0},
                {"snapshot.0", false, true, 0, SNAPSHOT_PLAIN},
                {"snapshot.1f.gz", false, true, 0x1f, SNAPSHOT_GZ},
                {"snapshot.1F.GZ", false, true, 0x1f, SNAPSHOT_GZ},
                {"snapshot.1f.snappy", false, true, 0x1f, SNAPSHOT_SNAPPY},
                {"snapshot.1f.tmp", false, true, 0x1f, SNAPSHOT_PLAIN},
                {"snapshot.gz", false, false, 0, 0},
                {"tmp-snapshot.1f", false, false, 0, 0},
                {"acknowledged", false, false, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        zxid_t zxid = 0;
        enum snapshot_compression how = SNAPSHOT_PLAIN;
        assert_int_equal(directory_log_parse(rows[i].name, &zxid), rows[i].log);
        if (rows[i].log)
            assert_int_equal(zxid, rows[i].zxid);
        assert_int_equal(directory_snapshot_parse(rows[i].name, &zxid, &how), rows[i].snapshot);
        if (rows[i].snapshot) {
            assert_int_equal(zxid, rows[i].zxid);
            assert_int_equal(how, rows[i].how);
        }
    }
    char name[DIRECTORY_NAME_BYTES_MAX];
    directory_log_name(name, 0x200000abc);
    assert_string_equal(name, "log.200000abc");
    directory_snapshot_name(name, 0, SNAPSHOT_GZ);
    assert_string_equal(name, "snapshot.0.gz");
}

static void mixed_up_directories_are_refused_with_javas_words(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct directory dir;
    char why[512];
    mem_put(d, "data/version-2/snapshot.1", "", 0);
    mem_put(d, "logs/version-2/log.1", "", 0);
    assert_int_equal(directory_open(&dir, mem_storage(d), "data", "logs", true, why, sizeof why),
                     PERSIST_OK);
    assert_string_equal(dir.snap, "data/version-2");
    assert_string_equal(dir.log, "logs/version-2");
    assert_string_equal(dir.initialize, "logs/initialize");
    assert_int_equal(directory_open(&dir, mem_storage(d), "logs", "data", true, why, sizeof why),
                     PERSIST_EREFUSED);
    assert_non_null(strstr(why, "Log directory has snapshot files"));
    assert_non_null(strstr(why, "Check if dataLogDir and dataDir configuration is correct."));
    mem_remove(d, "data/version-2/snapshot.1");
    assert_int_equal(directory_open(&dir, mem_storage(d), "logs", "data", true, why, sizeof why),
                     PERSIST_EREFUSED);
    assert_non_null(strstr(why, "Snapshot directory has log files"));
    mem_put(d, "data/version-2/snapshot.1", "", 0);
    mem_put(d, "data/version-2/log.1", "", 0);
    assert_int_equal(directory_open(&dir, mem_storage(d), "data", NULL, true, why, sizeof why),
                     PERSIST_OK);
    mem_free(d);
}

static void epochs_follow_javas_load_rules(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct storage s = mem_storage(d);
    struct epoch_pair e;
    char why[512];
    zxid_t in_2 = ((zxid_t)2 << 32) + 7;
    assert_int_equal(epoch_load(s, "d", in_2, &e, why, sizeof why), PERSIST_OK);
    assert_int_equal(e.current, 2);
    assert_int_equal(e.accepted, 2);
    struct mem_content *f = mem_file(d, "d/currentEpoch");
    assert_int_equal(f->size, 1); /* no newline */
    assert_memory_equal(f->data, "2", 1);

    assert_int_equal(epoch_write_accepted(s, "d", 10), PERSIST_OK);
    assert_int_equal(epoch_write_current(s, "d", 9), PERSIST_OK);
    assert_int_equal(epoch_load(s, "d", in_2, &e, why, sizeof why), PERSIST_OK);
    assert_int_equal(e.current, 9);
    assert_int_equal(e.accepted, 10);
    assert_null(mem_file(d, "d/currentEpoch.tmp"));

    zxid_t in_11 = (zxid_t)11 << 32;
    assert_int_equal(epoch_load(s, "d", in_11, &e, why, sizeof why), PERSIST_EREFUSED);
    assert_non_null(strstr(why, "older than the last zxid"));
    mem_put(d, "d/currentEpoch.tmp", "11", 2);
    assert_int_equal(epoch_load(s, "d", in_11, &e, why, sizeof why), PERSIST_EREFUSED);
    assert_non_null(strstr(why, "less than the current epoch")); /* accepted is still 10 */
    assert_int_equal(epoch_write_accepted(s, "d", 11), PERSIST_OK);
    assert_int_equal(epoch_load(s, "d", in_11, &e, why, sizeof why), PERSIST_OK);
    assert_int_equal(e.current, 11);

    static const char *const bad[] = {"", "x", "1 2", "-3", "99999999999", "1x", "\n5"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mem_content_set(mem_file(d, "d/acceptedEpoch"), bad[i], strlen(bad[i]));
        assert_int_equal(epoch_load(s, "d", 0, &e, why, sizeof why), PERSIST_EREFUSED);
    }
    mem_content_set(mem_file(d, "d/acceptedEpoch"), "12\n", 3);
    assert_int_equal(epoch_load(s, "d", 0, &e, why, sizeof why), PERSIST_OK);
    assert_int_equal(e.accepted, 12);
    mem_free(d);
}

static bool half(void *arg)
{
    uint64_t *seed = arg;
    uint64_t z = *seed += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) & 1;
}

/* ZOOKEEPER-1653, 4269: old or new, nothing else, at any power cut. */
static void an_epoch_file_is_old_or_new_after_any_power_cut(void **state)
{
    (void)state;
    bool done = false;
    for (uint64_t call = 1; !done; call++)
        for (uint64_t seed = 0; seed < 16; seed++) {
            struct mem_disk *d = mem_new();
            uint64_t random = seed * 977 + call;
            mem_put(d, "d/currentEpoch", "4", 1);
            mem_put(d, "d/acceptedEpoch", "5", 1);
            d->cut_at = call;
            int rc = epoch_write_current(mem_storage(d), "d", 5);
            done = !d->dead;
            mem_power_cut(d, half, &random);
            struct epoch_pair e;
            char why[256];
            assert_int_equal(epoch_load(mem_storage(d), "d", 0, &e, why, sizeof why), PERSIST_OK);
            assert_true(e.current == 5 || (e.current == 4 && rc != PERSIST_OK));
            mem_free(d);
        }
}

static void copy_fixture(struct mem_disk *d)
{
    static const char *const names[] = {
        "log.1",      "log.6f",      "log.cc",      "log.11c",      "log.169",      "log.1c9",
        "snapshot.0", "snapshot.6d", "snapshot.ca", "snapshot.11a", "snapshot.167", "snapshot.1c7"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[4096];
        uint8_t *bytes = malloc(1 << 17);
        snprintf(path, sizeof path, FIXTURE "/%s", names[i]);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        size_t n = fread(bytes, 1, 1 << 17, f);
        fclose(f);
        snprintf(path, sizeof path, BATCH_DIR "/%s", names[i]);
        mem_put(d, path, bytes, n);
        free(bytes);
    }
}

static uint64_t recovered_digest(struct mem_disk *d)
{
    struct directory dir = batch_directory(BATCH_DIR);
    struct model m = {0};
    struct recover_sink sink = model_sink(&m);
    struct recover_report report;
    int rc = recover_run(mem_storage(d), &dir, NULL, &sink, &report);
    if (rc)
        print_error("%s\n", report.refusal);
    assert_int_equal(rc, PERSIST_OK);
    uint64_t digest = model_digest(&m);
    model_clear(&m);
    return digest;
}

static void purging_keeps_what_the_kept_snapshots_need(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct directory dir = batch_directory(BATCH_DIR);
    struct purge_report report;
    copy_fixture(d);
    uint64_t digest = recovered_digest(d);
    /* 1 is raised to 3: snapshots 11a, 167, 1c7 stay; log.cc holds 11b. */
    assert_int_equal(purge_run(mem_storage(d), &dir, 1, &report), PERSIST_OK);
    assert_int_equal(report.snapshots_removed, 3);
    assert_int_equal(report.logs_removed, 2);
    assert_non_null(mem_file(d, BATCH_DIR "/log.cc"));
    assert_null(mem_file(d, BATCH_DIR "/log.6f"));
    assert_int_equal(recovered_digest(d), digest);
    mem_remove(d, BATCH_DIR "/snapshot.1c7");
    mem_remove(d, BATCH_DIR "/snapshot.167");
    assert_int_equal(recovered_digest(d), digest); /* from the oldest kept alone */
    mem_free(d);
}

/* ZOOKEEPER-3231: bad snapshots do not count among those to keep. */
static void purging_never_counts_a_damaged_snapshot(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct directory dir = batch_directory(BATCH_DIR);
    struct purge_report report;
    copy_fixture(d);
    uint64_t digest = recovered_digest(d);
    mem_file(d, BATCH_DIR "/snapshot.1c7")->data[100] ^= 1;
    mem_file(d, BATCH_DIR "/snapshot.167")->data[100] ^= 1;
    mem_file(d, BATCH_DIR "/snapshot.11a")->data[100] ^= 1;
    assert_int_equal(purge_run(mem_storage(d), &dir, 3, &report), PERSIST_OK);
    assert_int_equal(report.snapshots_bad, 3);
    assert_int_equal(report.snapshots_removed, 0);
    assert_int_equal(recovered_digest(d), digest);
    mem_free(d);
}

static void a_purge_that_fails_anywhere_loses_nothing(void **state)
{
    (void)state;
    struct directory dir = batch_directory(BATCH_DIR);
    struct mem_disk *base = mem_new();
    copy_fixture(base);
    uint64_t digest = recovered_digest(base);
    bool done = false;
    for (uint64_t call = 1; !done; call++)
        for (int how = 0; how < 3; how++) {
            struct mem_disk *d = mem_copy(base);
            struct purge_report report;
            uint64_t random = call;
            d->fail_with = PERSIST_EIO;
            d->fail_at = how < 2 ? d->calls + call : 0;
            d->fail_sticky = how == 1;
            d->cut_at = how == 2 ? d->calls + call : 0;
            uint64_t limit = d->calls + call;
            (void)purge_run(mem_storage(d), &dir, 3, &report);
            done = d->calls < limit;
            mem_power_cut(d, half, &random);
            assert_int_equal(recovered_digest(d), digest);
            mem_free(d);
        }
    mem_free(base);
}

/* The kernel's file system behind the same table. */
static void the_file_backend_writes_recovers_and_keeps_others_out(void **state)
{
    (void)state;
    char base[] = "/tmp/sengi-persist-XXXXXX", path[STORAGE_PATH_BYTES_MAX], why[512];
    assert_non_null(mkdtemp(base));
    struct storage s = storage_file();
    struct directory dir;
    snprintf(path, sizeof path, "%s/a/b", base);
    assert_int_equal(directory_open(&dir, s, path, NULL, false, why, sizeof why), PERSIST_EREFUSED);
    assert_int_equal(directory_open(&dir, s, path, NULL, true, why, sizeof why), PERSIST_OK);
    struct txnlog *log;
    assert_int_equal(txnlog_open(&log, s, dir.log, NULL, 0), PERSIST_OK);
    for (zxid_t z = 1; z <= 30; z += 2) {
        assert_int_equal(batch_append(log, batch_of(z, z + 1, 400)), PERSIST_OK);
        assert_int_equal(txnlog_sync(log), PERSIST_OK);
    }
    struct stat st;
    assert_int_equal(storage_path(path, dir.log, "log.1"), PERSIST_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 16 + 67108864); /* as Java's */
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(dir.log, &st), 0);
    assert_int_equal(st.st_mode & 0777 & ~0750, 0);
    struct seen seen = {.data_base = 400};
    struct recover_sink sink = seen_sink(&seen);
    struct recover_options options = {.trust_empty = true, .read_only = true};
    struct recover_report report;
    assert_int_equal(recover_run(s, &dir, &options, &sink, &report), PERSIST_OK);
    assert_int_equal(seen.count, 30);
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(txnlog_close(log), PERSIST_OK);
    uint64_t bytes = 0;
    assert_int_equal(storage_dir_bytes(s, dir.log, &bytes), PERSIST_OK);
    assert_true(bytes > 30 * 400 && bytes < 40000);
    seen = (struct seen){.data_base = 400};
    options.read_only = false;
    assert_int_equal(recover_run(s, &dir, &options, &sink, &report), PERSIST_OK);
    assert_int_equal(seen.count, 30);
    static const char *const leftovers[] = {
        "/a/b/version-2/log.1", "/a/b/version-2/acknowledged", "/a/b/version-2", "/a/b", "/a", ""};
    for (size_t i = 0; i < sizeof leftovers / sizeof leftovers[0]; i++) {
        snprintf(path, sizeof path, "%s%s", base, leftovers[i]);
        assert_int_equal(remove(path), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read_as_java_reads_them),
        cmocka_unit_test(mixed_up_directories_are_refused_with_javas_words),
        cmocka_unit_test(epochs_follow_javas_load_rules),
        cmocka_unit_test(an_epoch_file_is_old_or_new_after_any_power_cut),
        cmocka_unit_test(purging_keeps_what_the_kept_snapshots_need),
        cmocka_unit_test(purging_never_counts_a_damaged_snapshot),
        cmocka_unit_test(a_purge_that_fails_anywhere_loses_nothing),
        cmocka_unit_test(the_file_backend_writes_recovers_and_keeps_others_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
