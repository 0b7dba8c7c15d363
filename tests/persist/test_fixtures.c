/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: directories that ZooKeeper itself wrote load to exactly the tree its clients saw.
 * Method: recover into the model, compare every znode, Stat and ACL with tree.txt (read over the
 * wire before the server was killed), and the tree digest after every txn with the one in the txn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "persist/recover.h"
#include "tests/persist/model.h"

#define FIXTURES SENGI_SOURCE_DIR "/tests/interop/fixtures/zookeeper-"
#define LINE_BYTES 65536

static struct directory directory_of(const char *fixture)
{
    struct directory d;
    snprintf(d.snap, sizeof d.snap, FIXTURES "%s/version-2", fixture);
    memcpy(d.log, d.snap, sizeof d.log);
    snprintf(d.initialize, sizeof d.initialize, FIXTURES "%s/initialize", fixture);
    return d;
}

static void load(struct model *m, const char *fixture, struct recover_report *report)
{
    struct directory d = directory_of(fixture);
    struct recover_options options = {.read_only = true};
    struct recover_sink sink = model_sink(m);
    *m = (struct model){.check_digests = true};
    int rc = recover_run(storage_file(), &d, &options, &sink, report);
    if (rc)
        print_error("%s\n%s\n", report->refusal, report->text);
    assert_int_equal(rc, PERSIST_OK);
}

/* "-" is empty, "null" is null. */
static size_t unhex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    if (strcmp(hex, "-") == 0 || strcmp(hex, "null") == 0)
        return 0;
    for (; hex[0] && hex[1]; hex += 2) {
        unsigned v;
        assert_int_equal(sscanf(hex, "%2x", &v), 1);
        out[n++] = (uint8_t)v;
    }
    return n;
}

static int children_of(const struct model *m, const struct model_node *parent)
{
    int n = 0;
    for (size_t i = 0; i < m->node_count; i++) {
        const char *p = m->nodes[i].path, *last = strrchr(p, '/');
        n += last && (size_t)(last - p) == parent->path_size &&
             memcmp(p, parent->path, parent->path_size) == 0;
    }
    return n;
}

static void compare_node(struct model *m, const uint8_t *path, size_t path_size,
                         const uint8_t *data, size_t data_size, const uint8_t *acl, size_t acl_size,
                         const long long *v)
{
    struct model_node *n = path_size == 1 ? model_find(m, "", 0) : model_find(m, path, path_size);
    if (!n)
        print_error("%.*s is missing\n", (int)path_size, path);
    assert_non_null(n);
    /* The quota's counters are kept by each server for itself, outside the txns (section 4.3). */
    bool local = strstr(n->path, "/zookeeper_stats") != NULL;
    if (!local) {
        assert_int_equal(n->data_size, data_size);
        assert_memory_equal(n->data, data, data_size);
    }
    assert_int_equal(n->acl.size, acl_size);
    assert_memory_equal(n->acl.data, acl, acl_size);
    const struct stat_persisted *s = &n->stat;
    /* Clients see 0 for containers and TTL nodes; the digest covers what is stored. */
    int64_t owner = s->ephemeral_owner < 0 ? 0 : s->ephemeral_owner;
    const long long got[] = {s->czxid,    s->mzxid,    s->ctime, s->mtime, s->version,
                             s->cversion, s->aversion, owner,    s->pzxid, children_of(m, n)};
    for (int i = 0; i < 10; i++) {
        if (got[i] != v[i])
            print_error("%s: field %d is %lld, not %lld\n", n->path, i, got[i], v[i]);
        assert_int_equal(got[i], v[i]);
    }
}

/* Returns the number of znodes in tree.txt. */
static size_t compare(struct model *m, const char *fixture)
{
    static char line[LINE_BYTES], path[LINE_BYTES], data[LINE_BYTES], acl[LINE_BYTES];
    static uint8_t path_b[LINE_BYTES], data_b[LINE_BYTES], acl_b[LINE_BYTES];
    char name[1024];
    size_t count = 0;
    snprintf(name, sizeof name, FIXTURES "%s/tree.txt", fixture);
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        long long v[10];
        assert_int_equal(sscanf(line, "%s %s %s %lld %lld %lld %lld %lld %lld %lld %lld %lld %lld",
                                path, data, acl, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6],
                                &v[7], &v[8], &v[9]),
                         13);
        size_t p = unhex(path, path_b), d = unhex(data, data_b), a = unhex(acl, acl_b);
        compare_node(m, path_b, p, data_b, d, acl_b, a, v);
        count++;
    }
    fclose(f);
    return count;
}

/* Digest samples of the four-letter word `hash`: "zxid: digest", decimal. */
static void check_fixture(const char *fixture, uint64_t txns_min)
{
    struct model m;
    struct recover_report report;
    load(&m, fixture, &report);
    assert_true(report.has_snapshot);
    assert_true(report.txns >= txns_min);
    assert_int_equal(report.snapshots_rejected, 0);
    assert_int_equal(report.cut_bytes, 0);
    assert_int_equal(compare(&m, fixture), m.node_count);
    assert_int_equal(m.digests_wrong, 0);
    assert_true(m.digests_compared > 0);
    assert_int_equal(report.last_zxid, m.last_zxid);
    model_clear(&m);
}

static void a_directory_of_zookeeper_3_8_0_loads_to_the_tree_its_clients_saw(void **state)
{
    (void)state;
    check_fixture("3.8.0", 20);
}

static void a_directory_of_zookeeper_3_9_loads_to_the_tree_its_clients_saw(void **state)
{
    (void)state;
    check_fixture("3.9", 1);
}

static void gzip_snapshots_load_like_plain_ones(void **state)
{
    (void)state;
    check_fixture("3.9-gz", 20);
}

/* Goal: the oldest snapshot and every log give the same tree as the newest. Method: name snapshot.0
 * the only one, by a storage that hides the others; digests of `hash` samples on the way. */
struct hiding {
    storage_list_fn *each;
    void *arg;
};

static int list_hiding(void *arg, const char *name)
{
    struct hiding *h = arg;
    if (strncmp(name, "snapshot.", 9) == 0 && strcmp(name, "snapshot.0") != 0)
        return 0;
    return h->each(h->arg, name);
}

static int hiding_list(void *ctx, const char *dir, storage_list_fn *each, void *arg)
{
    struct hiding h = {each, arg};
    struct storage s = storage_file();
    return s.ops->list(ctx, dir, list_hiding, &h);
}

static int on_txn_with_samples(void *ctx, const struct txn *txn, struct bytes entry)
{
    struct model *m = ctx;
    int rc = model_on_txn(m, txn, entry);
    if (txn->header.zxid == 0x80)
        assert_int_equal(model_digest(m), 261873052881);
    if (txn->header.zxid == 0x100)
        assert_int_equal(model_digest(m), 544993593514);
    if (txn->header.zxid == 0x180)
        assert_int_equal(model_digest(m), 654362523478);
    return rc;
}

static void all_logs_from_the_first_txn_on_give_the_same_tree_and_the_digests_of_hash(void **state)
{
    (void)state;
    struct storage_ops ops = *storage_file().ops;
    ops.list = hiding_list;
    struct storage s = {&ops, NULL};
    struct directory d = directory_of("3.8.0");
    struct recover_options options = {.read_only = true};
    struct model m = {.check_digests = true};
    struct recover_sink sink = model_sink(&m);
    struct recover_report report;
    sink.txn = on_txn_with_samples;
    int rc = recover_run(s, &d, &options, &sink, &report);
    if (rc)
        print_error("%s\n", report.refusal);
    assert_int_equal(rc, PERSIST_OK);
    assert_int_equal(report.snapshot_zxid, 0);
    assert_int_equal(report.logs, 6);
    assert_int_equal(compare(&m, "3.8.0"), m.node_count);
    assert_int_equal(m.digests_wrong, 0);
    assert_true(m.digests_compared > 400);
    model_clear(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_of_zookeeper_3_8_0_loads_to_the_tree_its_clients_saw),
        cmocka_unit_test(a_directory_of_zookeeper_3_9_loads_to_the_tree_its_clients_saw),
        cmocka_unit_test(gzip_snapshots_load_like_plain_ones),
        cmocka_unit_test(all_logs_from_the_first_txn_on_give_the_same_tree_and_the_digests_of_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
