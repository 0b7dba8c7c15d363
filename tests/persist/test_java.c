/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: ZooKeeper's own tools read what Sengi wrote. Method: recover a fixture, write its tree as a
 * snapshot and its txns as logs, let the SnapshotFormatter and the TxnLogToolkit of Debian's
 * ZooKeeper read both, compare what they print with what they print of ZooKeeper's own files.
 * Skipped where there is no Java or no ZooKeeper.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "persist/recover.h"
#include "persist/txnlog.h"
#include "tests/persist/model.h"

#define FIXTURE SENGI_SOURCE_DIR "/tests/interop/fixtures/zookeeper-3.8.0/version-2"
#define JARS "/usr/share/java"
#define CLASSPATH                                                                                  \
    JARS "/zookeeper.jar:" JARS "/zookeeper-jute.jar:" JARS "/slf4j-api.jar:" JARS                 \
         "/commons-cli.jar:" JARS "/snappy-java.jar:" JARS "/commons-io.jar:" JARS                 \
         "/metrics-core.jar"
#define OUTPUT_BYTES ((size_t)4 << 20)

struct copy {
    struct model m;
    struct txnlog *log;
    uint8_t *record;
};

/* Every txn is appended as it came, the snapshot's model stays as it was at the snapshot. */
static int copy_txn(void *ctx, const struct txn *txn, struct bytes entry)
{
    struct copy *c = ctx;
    zxid_t zxid = txn->header.zxid;
    memcpy(c->record + TXNLOG_RECORD_HEAD, entry.data, entry.size);
    int n = txnlog_seal(c->record, entry.size);
    assert_true(n > 0);
    assert_int_equal(txnlog_append(c->log, zxid, zxid, c->record, (size_t)n), PERSIST_OK);
    return txnlog_sync(c->log);
}

struct feed {
    struct model *m;
    size_t session, acl, node;
};

static void feed_session(void *ctx, session_id_t *id, int32_t *timeout_ms)
{
    struct feed *f = ctx;
    *id = f->m->sessions[f->session].id;
    *timeout_ms = f->m->sessions[f->session++].timeout_ms;
}

static void feed_acl(void *ctx, int64_t *key, struct txn_acl *acl)
{
    struct feed *f = ctx;
    *key = f->m->acls[f->acl].key;
    acl->raw = f->m->acls[f->acl++].raw;
    acl->count = (int32_t)be32_load(acl->raw.data);
}

static bool feed_node(void *ctx, struct snapshot_node *out)
{
    struct feed *f = ctx;
    if (f->node == f->m->node_count)
        return false;
    const struct model_node *n = &f->m->nodes[f->node++];
    *out = (struct snapshot_node){{(const uint8_t *)n->path, n->path_size},
                                  {n->data_null ? NULL : n->data, n->data_size},
                                  n->acl_key,
                                  n->stat};
    return true;
}

static struct snapshot_digest feed_digest(void *ctx)
{
    struct feed *f = ctx;
    return (struct snapshot_digest){true, f->m->snapshot_zxid, model_digest(f->m)};
}

static void copy_fixture(const char *to)
{
    struct copy c = {.record = malloc(PERSIST_ENTRY_BYTES_MAX + 64)};
    struct directory d = {FIXTURE, FIXTURE, FIXTURE "/none"};
    struct recover_options options = {.read_only = true};
    struct recover_sink sink = model_sink(&c.m);
    struct recover_report report;
    struct txnlog_options none = {0, 0};
    sink.txn = copy_txn;
    sink.ctx = &c;
    sink.reset = NULL;
    assert_int_equal(txnlog_open(&c.log, storage_file(), to, &none, 0), PERSIST_OK);
    assert_int_equal(recover_run(storage_file(), &d, &options, &sink, &report), PERSIST_OK);
    assert_int_equal(txnlog_close(c.log), PERSIST_OK);
    struct feed f = {.m = &c.m};
    struct snapshot_source source = {&f,
                                     (int32_t)c.m.session_count,
                                     (int32_t)c.m.acl_count,
                                     feed_session,
                                     feed_acl,
                                     feed_node,
                                     feed_digest};
    assert_int_equal(snapshot_write(storage_file(), to, c.m.snapshot_zxid, &source, NULL, NULL),
                     PERSIST_OK);
    model_clear(&c.m);
    free(c.record);
}

/* Standard output of a ZooKeeper tool; asserts that it succeeded. */
static char *tool(const char *class_and_arguments)
{
    char command[2048];
    char *out = malloc(OUTPUT_BYTES);
    snprintf(command, sizeof command,
             "java -Dzookeeper.extendedTypesEnabled=true -cp " CLASSPATH " "
             "org.apache.zookeeper.server.%s 2>/dev/null",
             class_and_arguments);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(out, 1, OUTPUT_BYTES - 1, p);
    out[n] = 0;
    int status = pclose(p);
    if (status)
        print_error("%s\n%s\n", command, out);
    assert_int_equal(status, 0);
    return out;
}

/* Lines that both outputs have are the same from the first line with `from` on, but for lines with
 * `but`. */
static void assert_same_output(const char *a, const char *b, const char *from, const char *but)
{
    a = strstr(a, from);
    b = strstr(b, from);
    assert_true(a && b);
    while (*a && *b) {
        size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");
        char line[4096];
        snprintf(line, sizeof line, "%.*s", (int)(n < 4000 ? n : 4000), a);
        if (!but || !strstr(line, but)) {
            if (n != m || memcmp(a, b, n) != 0)
                print_error("ZooKeeper's: %.*s\nSengi's:     %.*s\n", (int)n, a, (int)m, b);
            assert_true(n == m && memcmp(a, b, n) == 0);
        }
        a += n + (a[n] == '\n');
        b += m + (b[m] == '\n');
    }
    assert_int_equal(*a, *b);
}

static void zookeepers_tools_read_snapshots_and_logs_of_sengi(void **state)
{
    (void)state;
    char to[] = "/tmp/sengi-java-XXXXXX", arguments[512], path[512];
    if (access(JARS "/zookeeper.jar", R_OK) != 0 || system("command -v java >/dev/null") != 0) {
        print_message("no Java or no ZooKeeper here\n");
        skip();
    }
    assert_non_null(mkdtemp(to));
    copy_fixture(to);

    char *java = tool("SnapshotFormatter " FIXTURE "/snapshot.1c7");
    snprintf(arguments, sizeof arguments, "SnapshotFormatter %s/snapshot.1c7", to);
    char *ours = tool(arguments);
    assert_true(strlen(ours) > 10000);
    assert_same_output(java, ours, "ZNode Details", NULL);
    free(java);
    free(ours);

    /* Our log begins where the snapshot ends, ZooKeeper's at log.1c9. */
    java = tool("persistence.TxnLogToolkit --dump " FIXTURE "/log.1c9");
    snprintf(arguments, sizeof arguments, "persistence.TxnLogToolkit --dump %s/log.1c8", to);
    ours = tool(arguments);
    assert_null(strstr(ours, "CRC ERROR"));
    assert_same_output(java, ours, "zxid 0x1c9 ", "EOF reached");
    free(java);
    free(ours);
    static const char *const names[] = {"/snapshot.1c7", "/log.1c8", "/acknowledged", ""};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s%s", to, names[i]);
        assert_int_equal(remove(path), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zookeepers_tools_read_snapshots_and_logs_of_sengi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
