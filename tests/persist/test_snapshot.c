/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: snapshots are ZooKeeper's to the byte in both directions, appear only complete, and no
 * damage passes. Method: worked example of disk-formats.md 5.10; files of ZooKeeper read and
 * written again; power cuts before every storage call; every byte flipped, every length cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "persist/snapshot.h"
#include "tests/persist/memory_storage.h"
#include "tests/persist/model.h"

#define FIXTURES SENGI_SOURCE_DIR "/tests/interop/fixtures/zookeeper-"
#define DIR "d/version-2"

/* A model as the writer's source: parts in the order in which they were read. */
struct feed {
    struct model *m;
    size_t session, acl, node;
    struct snapshot_digest digest;
    atomic_bool *cancel_at_node; /* set after three nodes; may be NULL */
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
    if (f->cancel_at_node && f->node == 3)
        atomic_store(f->cancel_at_node, true);
    const struct model_node *n = &f->m->nodes[f->node++];
    out->path = (struct bytes){(const uint8_t *)n->path, n->path_size};
    out->data = (struct bytes){n->data_null ? NULL : n->data, n->data_size};
    out->acl_key = n->acl_key;
    out->stat = n->stat;
    return true;
}

static struct snapshot_digest feed_digest(void *ctx)
{
    return ((struct feed *)ctx)->digest;
}

static struct snapshot_source source_of(struct feed *f)
{
    return (struct snapshot_source){f,
                                    (int32_t)f->m->session_count,
                                    (int32_t)f->m->acl_count,
                                    feed_session,
                                    feed_acl,
                                    feed_node,
                                    feed_digest};
}

static int write_model(struct mem_disk *d, struct model *m, zxid_t zxid,
                       struct snapshot_digest digest, const struct snapshot_options *options)
{
    struct feed f = {.m = m, .digest = digest};
    struct snapshot_source source = source_of(&f);
    return snapshot_write(mem_storage(d), DIR, zxid, &source, options, NULL);
}

static int read_model(struct mem_disk *d, const char *name, struct model *m)
{
    char why[512];
    struct snapshot_counts counts;
    *m = (struct model){0};
    struct recover_sink sink = model_sink(m);
    int rc = snapshot_read(mem_storage(d), DIR, name, &sink.snapshot, &counts, why, sizeof why);
    assert_true(rc == PERSIST_OK || strlen(why) > 0);
    return rc;
}

static size_t load_file(const char *path, uint8_t **out)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    *out = malloc(1 << 20);
    size_t n = fread(*out, 1, 1 << 20, f);
    fclose(f);
    return n;
}

static const struct snapshot_digest no_digest = {false, 0, 0};

/* The tree of a fresh 3.9 server. */
static void fresh_model(struct model *m)
{
    static const uint8_t read_acl[] = {0,   0,   0,   1, 0, 0, 0, 1,   0,   0,   0,   5,   'w', 'o',
                                       'r', 'l', 'd', 0, 0, 0, 6, 'a', 'n', 'y', 'o', 'n', 'e'};
    static const char *const paths[] = {"", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"};
    struct txn_acl acl = {{read_acl, sizeof read_acl}, 1};
    *m = (struct model){0};
    model_on_acl(m, 1, &acl);
    for (int i = 0; i < 4; i++) {
        struct bytes path = {(const uint8_t *)paths[i], (uint32_t)strlen(paths[i])};
        struct bytes open_acl = {model_open_acl, sizeof model_open_acl};
        struct model_node *n =
            model_add(m, path, (struct bytes){(const uint8_t *)"", 0}, i == 2 ? acl.raw : open_acl);
        n->stat.aversion = i == 2 ? -1 : 0;
        n->acl_key = i == 2 ? 1 : SNAPSHOT_ACL_OPEN;
    }
}

static void a_fresh_tree_is_the_worked_example(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct model m;
    fresh_model(&m);
    assert_int_equal(write_model(d, &m, 0, no_digest, NULL), PERSIST_OK);
    struct mem_content *f = mem_file(d, DIR "/snapshot.0");
    assert_int_equal(f->size, 478);
    static const uint8_t seals[] = {0, 0, 0, 0, 0xb8, 0xa2, 0x3b, 0x49, 0, 0, 0, 1, '/'};
    assert_memory_equal(f->data + 0x19b, seals, sizeof seals);
    assert_int_equal(be64_load(f->data + 0x1bc), 0x95b93d59);
    assert_int_equal(be64_load(f->data + 0x1d1), 0xbde83f6d);
    assert_int_equal(
        write_model(d, &m, 0, no_digest, &(struct snapshot_options){.no_last_zxid = true}),
        PERSIST_OK);
    uint8_t *java;
    size_t n = load_file(FIXTURES "3.8.0/version-2/snapshot.0", &java);
    f = mem_file(d, DIR "/snapshot.0");
    assert_int_equal(f->size, n);
    assert_memory_equal(f->data, java, n);
    free(java);
    model_clear(&m);
    mem_free(d);
}

/* Read ZooKeeper's own file, write it again: the same bytes. */
static void same_again(const char *fixture, const char *name, zxid_t zxid, bool no_last_zxid)
{
    char path[512];
    uint8_t *java;
    struct mem_disk *d = mem_new();
    struct model m;
    snprintf(path, sizeof path, FIXTURES "%s/version-2/%s", fixture, name);
    size_t n = load_file(path, &java);
    snprintf(path, sizeof path, DIR "/%s", name);
    mem_put(d, path, java, n);
    assert_int_equal(read_model(d, name, &m), PERSIST_OK);
    size_t trailer = no_last_zxid ? 33 : 54;
    struct snapshot_digest digest = {true, (zxid_t)be64_load(java + n - trailer),
                                     be64_load(java + n - trailer + 12)};
    struct snapshot_options options = {SNAPSHOT_PLAIN, no_last_zxid, NULL};
    mem_remove(d, path);
    assert_int_equal(write_model(d, &m, zxid, digest, &options), PERSIST_OK);
    struct mem_content *f = mem_file(d, path);
    assert_int_equal(f->size, n);
    if (!no_last_zxid) /* Java's is what it had reached at the end; ours is the name's (5.8) */
        n -= 21;
    assert_memory_equal(f->data, java, n);
    free(java);
    model_clear(&m);
    mem_free(d);
}

static void files_of_zookeeper_come_out_as_they_went_in(void **state)
{
    (void)state;
    same_again("3.8.0", "snapshot.1c7", 0x1c7, true);
    same_again("3.8.0", "snapshot.11a", 0x11a, true);
    same_again("3.9", "snapshot.19b", 0x19b, false);
    same_again("3.9", "snapshot.1f1", 0x1f1, false);
}

/* A tree of some size: gets over the writer's buffer, with null data and every kind of owner. */
static void some_model(struct model *m, size_t nodes, size_t data_bytes)
{
    fresh_model(m);
    uint8_t *data = malloc(data_bytes + 1);
    for (size_t i = 0; i < nodes; i++) {
        char path[64];
        snprintf(path, sizeof path, i % 7 ? "/n%zu/child" : "/n%zu", i - i % 7);
        if (i % 7)
            snprintf(path + strlen(path), 24, "%zu", i);
        for (size_t k = 0; k < data_bytes; k++)
            data[k] = (uint8_t)(i * 31 + k);
        struct model_node *n =
            model_add(m, (struct bytes){(uint8_t *)path, (uint32_t)strlen(path)},
                      i % 5 ? (struct bytes){data, (uint32_t)(data_bytes - i % 3)} : BYTES_NULL,
                      (struct bytes){model_open_acl, sizeof model_open_acl});
        n->stat = (struct stat_persisted){.czxid = (zxid_t)i,
                                          .mzxid = (zxid_t)i + 1,
                                          .ctime = 17,
                                          .mtime = 18,
                                          .version = 3,
                                          .cversion = -1,
                                          .aversion = 4,
                                          .ephemeral_owner = i % 2 ? OWNER_CONTAINER : 77,
                                          .pzxid = (zxid_t)i + 2};
    }
    model_session_add(m, 77, 4000);
    model_session_add(m, -5, 9000);
    free(data);
}

static bool same_stat(const struct stat_persisted *x, const struct stat_persisted *y)
{
    return x->czxid == y->czxid && x->mzxid == y->mzxid && x->ctime == y->ctime &&
           x->mtime == y->mtime && x->version == y->version && x->cversion == y->cversion &&
           x->aversion == y->aversion && x->ephemeral_owner == y->ephemeral_owner &&
           x->pzxid == y->pzxid;
}

static bool same_model(const struct model *a, const struct model *b)
{
    bool same = a->node_count == b->node_count && a->session_count == b->session_count &&
                a->acl_count == b->acl_count;
    for (size_t i = 0; same && i < a->node_count; i++) {
        const struct model_node *x = &a->nodes[i], *y = &b->nodes[i];
        same = x->path_size == y->path_size && !memcmp(x->path, y->path, x->path_size) &&
               x->data_null == y->data_null && x->data_size == y->data_size &&
               !memcmp(x->data, y->data, x->data_size) && bytes_equal(x->acl, y->acl) &&
               same_stat(&x->stat, &y->stat);
    }
    for (size_t i = 0; same && i < a->session_count; i++)
        same = a->sessions[i].id == b->sessions[i].id &&
               a->sessions[i].timeout_ms == b->sessions[i].timeout_ms;
    return same;
}

static void what_is_written_is_read_back_plain_and_gzip(void **state)
{
    (void)state;
    for (int gz = 0; gz < 2; gz++)
        for (size_t nodes = 0; nodes < 1000; nodes = nodes * 3 + 1) {
            struct mem_disk *d = mem_new();
            struct model m, back;
            some_model(&m, nodes, 1500);
            struct snapshot_options o = {gz ? SNAPSHOT_GZ : SNAPSHOT_PLAIN, false, NULL};
            d->short_writes = true;
            assert_int_equal(write_model(d, &m, 0x2a, (struct snapshot_digest){true, 0x2a, 5}, &o),
                             PERSIST_OK);
            const char *name = gz ? "snapshot.2a.gz" : "snapshot.2a";
            assert_true(snapshot_plausible(mem_storage(d), DIR, name));
            assert_int_equal(read_model(d, name, &back), PERSIST_OK);
            assert_true(same_model(&m, &back));
            assert_int_equal(back.digests_compared, 1);
            assert_int_equal(back.snapshot_zxid, 0x2a);
            model_clear(&m);
            model_clear(&back);
            mem_free(d);
        }
}

static void no_flipped_bit_and_no_truncation_passes(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct model m, back;
    some_model(&m, 10, 40);
    assert_int_equal(write_model(d, &m, 9, no_digest, NULL), PERSIST_OK);
    struct mem_content *f = mem_file(d, DIR "/snapshot.9");
    uint64_t size = f->size;
    for (uint64_t i = 0; i < size; i++) {
        f->data[i] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(read_model(d, "snapshot.9", &back), PERSIST_EDAMAGE);
        model_clear(&back);
        f->data[i] ^= (uint8_t)(1 << i % 8);
    }
    for (uint64_t to = size - 1; to > 0; to--) {
        mem_content_size(f, to);
        int rc = read_model(d, "snapshot.9", &back);
        /* Complete behind each seal, as for ZooKeeper (section 5.2). */
        assert_int_equal(rc, to == size - 21 || to == size - 54 ? PERSIST_OK : PERSIST_EDAMAGE);
        model_clear(&back);
    }
    model_clear(&m);
    mem_free(d);
}

static void a_trailer_without_digest_part_is_understood(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct model m, back;
    fresh_model(&m);
    assert_int_equal(write_model(d, &m, 3, no_digest, NULL), PERSIST_OK);
    struct mem_content *f = mem_file(d, DIR "/snapshot.3");
    uint64_t at = f->size - 54; /* parts 8 and 9 right behind part 5 */
    be64_store(f->data + at, 3);
    be64_store(f->data + at + 8, adler32(1, f->data, (uInt)at + 8));
    memcpy(f->data + at + 16, "\0\0\0\1/", 5);
    mem_content_size(f, at + 21);
    assert_int_equal(read_model(d, "snapshot.3", &back), PERSIST_OK);
    assert_int_equal(back.node_count, 4);
    model_clear(&back);
    model_clear(&m);
    mem_free(d);
}

static void a_length_that_lies_costs_no_memory(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct model m, back;
    fresh_model(&m);
    assert_int_equal(write_model(d, &m, 3, no_digest, NULL), PERSIST_OK);
    struct mem_content *f = mem_file(d, DIR "/snapshot.3");
    static const struct {
        uint32_t at, value;
    } lies[] = {{0x10, 0x7fffffff}, {0x14, 0x7fffffff}, {0x20, 0x7fffffff}, {0x28, 0x7fffffff},
                {0x3b, 0x7fffffff}, {0x3f, 0x7fffffff}, {0x3f, 2000000},    {0x3f, 0x80000000},
                {0x87, 0x7fffffff}, {0x20, 0xfffffff8}};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        uint32_t was = be32_load(f->data + lies[i].at);
        be32_store(f->data + lies[i].at, lies[i].value);
        assert_int_equal(read_model(d, "snapshot.3", &back), PERSIST_EDAMAGE);
        model_clear(&back);
        be32_store(f->data + lies[i].at, was);
    }
    model_clear(&m);
    mem_free(d);
}

static void a_field_that_zookeeper_could_not_read_is_not_written(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct model m;
    fresh_model(&m);
    free(m.nodes[1].data);
    m.nodes[1].data_size = 2097150 + 1;
    m.nodes[1].data = calloc(1, m.nodes[1].data_size);
    assert_int_equal(write_model(d, &m, 3, no_digest, NULL), PERSIST_ETOOBIG);
    assert_int_equal(d->now.count, 0);
    m.nodes[1].data_size--;
    assert_int_equal(write_model(d, &m, 3, no_digest, NULL), PERSIST_OK);
    model_clear(&m);
    mem_free(d);
}

static void a_cancelled_snapshot_leaves_nothing(void **state)
{
    (void)state;
    struct mem_disk *d = mem_new();
    struct model m;
    atomic_bool cancel = false;
    some_model(&m, 50, 10);
    struct feed f = {.m = &m, .digest = no_digest, .cancel_at_node = &cancel};
    struct snapshot_source source = source_of(&f);
    struct snapshot_options o = {.cancel = &cancel};
    assert_int_equal(snapshot_write(mem_storage(d), DIR, 5, &source, &o, NULL), PERSIST_ECANCELLED);
    assert_true(f.node <= 5);
    assert_int_equal(d->now.count, 0);
    model_clear(&m);
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

/* ZOOKEEPER-3082: full disks and power cuts leave no half snapshot under its name. */
static void a_snapshot_appears_only_complete(void **state)
{
    (void)state;
    struct model m;
    some_model(&m, 400, 700);
    bool done = false;
    for (uint64_t call = 1; !done; call++)
        for (uint64_t seed = 0; seed < 8; seed++) {
            struct mem_disk *d = mem_new();
            uint64_t random = seed * 1000 + call;
            bool fault = seed % 2;
            if (fault)
                d->fail_at = call;
            else
                d->cut_at = call;
            d->fail_with = seed % 4 == 1 ? PERSIST_ENOSPC : PERSIST_EIO;
            int rc = write_model(d, &m, 7, no_digest, NULL);
            done = rc == PERSIST_OK && !d->dead;
            mem_power_cut(d, half, &random);
            struct model back;
            if (mem_file(d, DIR "/snapshot.7")) {
                assert_int_equal(read_model(d, "snapshot.7", &back), PERSIST_OK);
                assert_true(same_model(&m, &back));
                model_clear(&back);
            }
            if (done)
                assert_non_null(mem_file(d, DIR "/snapshot.7"));
            mem_free(d);
        }
    model_clear(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_tree_is_the_worked_example),
        cmocka_unit_test(files_of_zookeeper_come_out_as_they_went_in),
        cmocka_unit_test(what_is_written_is_read_back_plain_and_gzip),
        cmocka_unit_test(no_flipped_bit_and_no_truncation_passes),
        cmocka_unit_test(a_trailer_without_digest_part_is_understood),
        cmocka_unit_test(a_length_that_lies_costs_no_memory),
        cmocka_unit_test(a_field_that_zookeeper_could_not_read_is_not_written),
        cmocka_unit_test(a_cancelled_snapshot_leaves_nothing),
        cmocka_unit_test(a_snapshot_appears_only_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
