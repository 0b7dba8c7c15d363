/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * From files to a served tree: directories that ZooKeeper wrote, and directories as a kill -9 of
 * this server leaves them at any moment. The log thread and the snapshot thread are real.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define RIG_LOG_THREAD
#include "dataplane/log.h"
#include "persist/acknowledged.h"
#include "tests/dataplane/rig_client.h"
#include "tests/scratch.h"

static char root[SCRATCH_BYTES]; /* of this test */

static int make_root(void **state)
{
    (void)state;
    log_open(-1, LOG_LEVEL_ERROR);
    scratch_make(root);
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    scratch_remove(root);
    return 0;
}

static void copy_file(const char *from, const char *to)
{
    char bytes[65536];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(in >= 0 && out >= 0);
    ssize_t n;
    while ((n = read(in, bytes, sizeof bytes)) > 0)
        assert_int_equal(write(out, bytes, (size_t)n), n);
    close(in);
    close(out);
}

/* from/version-2/name, if it is there: a temporary file may have been renamed meanwhile. */
static void copy_named(const char *from, const char *to, const char *name)
{
    char source[1024], target[1024];
    struct stat st;
    snprintf(source, sizeof source, "%s/version-2/%s", from, name);
    snprintf(target, sizeof target, "%s/version-2/%s", to, name);
    if (stat(source, &st) == 0)
        copy_file(source, target);
}

/* from/version-2 -> to/version-2, all snapshots or only the first. The server may go on writing:
 * the claim of what is durable is copied first, for it may be older than the logs, never newer. */
static void copy_directory(const char *from, const char *to, bool first_snapshot_only)
{
    char source[1024], target[1024];
    snprintf(target, sizeof target, "%s/version-2", to);
    mkdir(to, 0700);
    assert_int_equal(mkdir(target, 0700), 0);
    copy_named(from, to, ACKNOWLEDGED_NAME);
    snprintf(source, sizeof source, "%s/version-2", from);
    DIR *dir = opendir(source);
    assert_non_null(dir);
    struct dirent *e;
    while ((e = readdir(dir))) {
        bool later = !strncmp(e->d_name, "snapshot.", 9) && strcmp(e->d_name, "snapshot.0") &&
                     strcmp(e->d_name, "snapshot.0.gz");
        if (e->d_name[0] != '.' && strcmp(e->d_name, ACKNOWLEDGED_NAME) &&
            !(first_snapshot_only && later))
            copy_named(from, to, e->d_name);
    }
    closedir(dir);
}

static struct config files_config(const char *name)
{
    struct config config = rig_config();
    snprintf(config.data_dir, sizeof config.data_dir, "%s/%s", root, name);
    snprintf(config.data_log_dir, sizeof config.data_log_dir, "%s/%s", root, name);
    config.pre_alloc_size_kb = 64;
    config.snap_count = 60;
    config.extended_types_enabled = true;
    config.data_dir_autocreate = true;
    return config;
}

/* --- ZooKeeper's directories --- */

/* Digest of the last txn, as ZooKeeper logged it. */
static int note_digest(void *ctx, const struct txn *txn, struct bytes entry)
{
    (void)entry;
    if (txn->has_digest)
        *(uint64_t *)ctx = (uint64_t)txn->digest.tree;
    return 0;
}

static int skip_begin(void *ctx, zxid_t zxid)
{
    (void)ctx, (void)zxid;
    return 0;
}
static int skip_session(void *ctx, session_id_t id, int32_t timeout_ms)
{
    (void)ctx, (void)id, (void)timeout_ms;
    return 0;
}
static int skip_acl(void *ctx, int64_t key, const struct txn_acl *acl)
{
    (void)ctx, (void)key, (void)acl;
    return 0;
}
static int skip_node(void *ctx, const struct snapshot_node *node)
{
    (void)ctx, (void)node;
    return 0;
}
static int skip_end(void *ctx, zxid_t zxid, const struct snapshot_digest *digest)
{
    (void)ctx, (void)zxid, (void)digest;
    return 0;
}

static uint64_t digest_logged(const struct directory *directory, zxid_t *last)
{
    uint64_t digest = 0;
    struct recover_report *report = calloc(1, sizeof *report);
    struct recover_options options = {.read_only = true};
    struct recover_sink sink = {
        .snapshot = {NULL, skip_begin, skip_session, skip_acl, skip_node, skip_end},
        .txn = note_digest,
        .ctx = &digest,
    };
    assert_int_equal(recover_run(storage_file(), directory, &options, &sink, report), 0);
    *last = report->last_zxid;
    free(report);
    return digest;
}

static void load_fixture(const char *name, bool first_snapshot_only)
{
    char from[1024], to[512], why[1024];
    snprintf(from, sizeof from, "%s/tests/interop/fixtures/%s", SENGI_SOURCE_DIR, name);
    struct config config = files_config(name);
    snprintf(to, sizeof to, "%s/%s", root, name);
    copy_directory(from, to, first_snapshot_only);
    struct directory directory;
    assert_int_equal(directory_open(&directory, storage_file(), config.data_dir,
                                    config.data_log_dir, false, why, sizeof why),
                     0);
    zxid_t last;
    uint64_t expected = digest_logged(&directory, &last);
    struct tree *tree;
    struct recover_report *report = calloc(1, sizeof *report);
    struct digest_log *digests = calloc(1, sizeof *digests);
    assert_int_equal(restore_run(&config, &directory, &tree, digests, report), 0);
    assert_int_equal(report->last_zxid, last);
    assert_int_equal(tree_newest_zxid(tree), last);
    assert_true(last > 400);
    assert_true(expected != 0);
    assert_true(tree_digest(tree) == expected);
    assert_int_equal(first_snapshot_only, report->txns > 300);
    store_check(tree_store(tree));
    snprintf(from, sizeof from, "%s/tests/interop/fixtures/%s/hash.txt", SENGI_SOURCE_DIR, name);
    FILE *hash = fopen(from, "r");
    assert_non_null(hash);
    unsigned long long zxid, digest;
    unsigned samples = 0;
    while (fscanf(hash, "%llx: %llu", &zxid, &digest) == 2)
        for (uint32_t i = 0; i < digests->count; i++)
            if (digests->entries[i].zxid == (zxid_t)zxid) {
                assert_true(digests->entries[i].digest == digest);
                samples++;
            }
    fclose(hash);
    assert_true(!first_snapshot_only || samples >= 3);
    tree_destroy(tree);
    free(digests);
    free(report);
    scratch_remove(to);
}

static void directories_of_zookeeper_give_the_tree_whose_digest_it_logged(void **state)
{
    (void)state;
    reader_register();
    for (int first_only = 0; first_only < 2; first_only++) {
        load_fixture("zookeeper-3.8.0", first_only);
        load_fixture("zookeeper-3.9", first_only);
        load_fixture("zookeeper-3.9-gz", first_only);
    }
    reader_unregister();
}

static void a_directory_of_zookeeper_is_served_and_its_live_session_resumed(void **state)
{
    (void)state;
    char from[1024], to[512];
    snprintf(from, sizeof from, "%s/tests/interop/fixtures/zookeeper-3.9", SENGI_SOURCE_DIR);
    snprintf(to, sizeof to, "%s/served", root);
    copy_directory(from, to, false);
    struct config config = files_config("served");
    rig_start(&config, 2);
    struct rig_peer *p = rig_client(0);
    struct reply r = reply_of(p, send_read(p, OP_GET_CHILDREN2, "/eph", false));
    assert_int_equal(r.err, 0);
    assert_true(be32_load(r.body.data) > 0);
    int32_t made = send_create(p, "/from-sengi", text("x"), 0);
    assert_int_equal(reply_of(p, made).err, 0);
    for (int i = 0; i < 100; i++) { /* the old owner does not come back */
        rig_clock_advance_ms(1000);
        assert_int_equal(reply_of(p, send_bare(p, OP_PING)).err, 0);
    }
    r = reply_of(p, send_read(p, OP_GET_CHILDREN2, "/eph", false));
    assert_int_equal(be32_load(r.body.data), 0);
    rig_stop();
}

/* --- kill -9 --- */

static uint64_t rng;

static uint32_t rnd(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 32) % n;
}

/* What was acknowledged before the kill, and what had been asked. */
struct promise {
    session_id_t session;
    uint8_t passwd[PASSWD_BYTES];
    uint32_t created, created_asked; /* /n0 .. */
    zxid_t zxid;
};

static void run_until_killed(const char *copy, uint64_t seed, struct promise *promise)
{
    char path[64], to[512];
    rng = seed * 0x9e3779b97f4a7c15ull + 1;
    struct rig_peer *p = rig_client(0);
    promise->session = p->session;
    memcpy(promise->passwd, p->passwd, PASSWD_BYTES);
    assert_int_equal(reply_of(p, send_create(p, "/live", BYTES_NULL, 1)).err, 0);
    uint32_t steps = 20 + rnd(400);
    for (uint32_t i = 0; i < steps; i++) {
        if (rnd(2)) {
            snprintf(path, sizeof path, "/n%u", promise->created_asked++);
            send_create(p, path, text("some data"), 0);
        }
        if (rnd(2))
            rig_turn(rnd(2));
        else
            (void)rig_control();
    }
    struct reply r;
    while (reply_next(p, &r)) {
        assert_int_equal(r.err, 0);
        promise->created++;
        promise->zxid = r.zxid;
    }
    snprintf(to, sizeof to, "%s/%s", root, copy);
    copy_directory(rig.server->config.data_dir, to, false); /* the log thread may be writing */
}

static void check_promise(const struct promise *promise)
{
    char path[64];
    assert_true(store_visible(rig.server->store) >= promise->zxid);
    struct rig_peer *p = rig_open(1);
    send_connect(p, promise->zxid, 10000, promise->session,
                 (struct bytes){promise->passwd, PASSWD_BYTES}, true);
    rig_settle();
    assert_true(connected(p));
    assert_int_equal(reply_of(p, send_read(p, OP_EXISTS, "/live", false)).err, 0);
    bool ended = false;
    for (uint32_t i = 0; i < promise->created_asked; i++) {
        snprintf(path, sizeof path, "/n%u", i);
        int32_t err = reply_of(p, send_read(p, OP_GET_DATA, path, false)).err;
        assert_true(err == 0 || i >= promise->created);
        assert_true(err != 0 || !ended); /* a prefix of what was asked */
        ended = err != 0;
    }
    assert_int_equal(reply_of(p, send_create(p, "/after-", BYTES_NULL, 2)).err, 0);
}

/* Bytes of a record that never became whole, behind the newest log's last. */
static void tear_tail(const char *copy)
{
    struct directory directory;
    struct directory_list logs;
    char path[STORAGE_PATH_BYTES_MAX], why[1024], data_dir[512];
    snprintf(data_dir, sizeof data_dir, "%s/%s", root, copy);
    assert_int_equal(
        directory_open(&directory, storage_file(), data_dir, data_dir, false, why, sizeof why), 0);
    assert_int_equal(directory_list_logs(storage_file(), directory.log, &logs), 0);
    assert_true(logs.count > 0);
    zxid_t last;
    (void)digest_logged(&directory, &last);
    assert_int_equal(storage_path(path, directory.log, logs.entries[logs.count - 1].name), 0);
    directory_list_free(&logs);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    static uint8_t bytes[1 << 20];
    size_t n = fread(bytes, 1, sizeof bytes, f);
    while (n && !bytes[n - 1])
        n--;
    uint8_t torn[40];
    memset(torn, 0x5a, sizeof torn);
    fseek(f, (long)n, SEEK_SET);
    assert_int_equal(fwrite(torn, 1, sizeof torn, f), sizeof torn);
    fclose(f);
}

static void what_was_acknowledged_before_a_kill_is_there_after_it(void **state)
{
    (void)state;
    uint32_t created = 0, asked = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct promise promise = {0};
        char name[64], copy[64];
        snprintf(name, sizeof name, "run%u", (unsigned)seed);
        snprintf(copy, sizeof copy, "killed%u", (unsigned)seed);
        struct config config = files_config(name);
        rig_start(&config, 2);
        run_until_killed(copy, seed, &promise);
        rig_stop();
        created += promise.created;
        asked += promise.created_asked;
        if (seed % 3 == 0)
            tear_tail(copy);
        config = files_config(copy);
        rig_start(&config, 2);
        check_promise(&promise);
        rig_stop();
        rig_start(&config, 2); /* and once more: what was cut or begun then does no harm */
        check_promise(&promise);
        rig_stop();
    }
    assert_true(created > 100 && asked > created);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            directories_of_zookeeper_give_the_tree_whose_digest_it_logged, make_root, remove_root),
        cmocka_unit_test_setup_teardown(
            a_directory_of_zookeeper_is_served_and_its_live_session_resumed, make_root,
            remove_root),
        cmocka_unit_test_setup_teardown(what_was_acknowledged_before_a_kill_is_there_after_it,
                                        make_root, remove_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
