/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Every allocation of tree_prepare and tree_apply fails in turn, once and from then on: the answer
 * is TREE_ENOMEM and nothing has changed, or the request went through.
 *
 * malloc and friends are replaced for the whole program by ones on top of the next library's. The
 * sanitizers check their own allocator, so under them this test has nothing to do.
 */
#include <dlfcn.h>

#include "tests/tree/tree_dump.h"

/* GCC's own macros first: a header defines __has_feature to 0 for compilers without it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZER 1
#elif defined(__clang__) && defined(__has_feature)
#define SANITIZER __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#else
#define SANITIZER 0
#endif

static _Thread_local long fault_at; /* 0: never; n: the n-th allocation from now on fails */
static bool fault_stays;

#if !(SANITIZER)
#define FAULTS 1

static bool fault(void)
{
    if (fault_at == 0 || --fault_at > 0)
        return false;
    fault_at = fault_stays ? 1 : 0;
    return true;
}

void *malloc(size_t n)
{
    static void *(*next)(size_t);
    if (!next)
        next = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    return fault() ? NULL : next(n);
}

void *calloc(size_t n, size_t size)
{
    static void *(*next)(size_t, size_t);
    if (!next)
        next = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    return fault() ? NULL : next(n, size);
}

void *realloc(void *p, size_t n)
{
    static void *(*next)(void *, size_t);
    if (!next)
        next = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    return fault() ? NULL : next(p, n);
}
#else
#define FAULTS 0
#endif

#define ALLOCATIONS_MAX 3000

struct scenario {
    const char *name;
    session_id_t session;
    int32_t opcode;
    void (*put)(struct buffer *b);
};

static void put_plain(struct buffer *b)
{
    put_create(b, "/new", "data", 0);
}

static void put_large(struct buffer *b)
{
    static char large[5000];
    memset(large, 'l', sizeof large - 1);
    put_create(b, "/q/large", large, 0);
}

static void put_sequential_ephemeral(struct buffer *b)
{
    put_create(b, "/q/e-", "data", 3);
}

static void put_acls(struct buffer *b)
{
    buffer_put_bytes(b, text("/new"));
    buffer_put_bytes(b, text("data"));
    buffer_put_int(b, 20);
    for (int i = 0; i < 20; i++)
        put_acl(b, i, "digest", "bob:x");
    buffer_put_int(b, 0);
}

static void put_container(struct buffer *b)
{
    put_create(b, "/c", "", 4);
}

static void put_exists(struct buffer *b)
{
    put_create(b, "/q", "", 0);
}

static void put_delete(struct buffer *b)
{
    put_path_version(b, "/q/a", -1);
}

static void put_data(struct buffer *b)
{
    put_set_data(b, "/q/a", "longer than before", -1);
}

static void put_acl_change(struct buffer *b)
{
    buffer_put_bytes(b, text("/q/a"));
    buffer_put_int(b, 1);
    put_acl(b, PERM_READ, "digest", "eve:y");
    buffer_put_int(b, -1);
}

static void put_stats(struct buffer *b)
{
    put_create(b, "/zookeeper/quota/q/b/zookeeper_stats", "", 0);
}

static void put_limits(struct buffer *b)
{
    put_create(b, "/zookeeper/quota/q/b/zookeeper_limits", "count=1", 0);
}

static void put_multi_of(struct buffer *b, int32_t last_version)
{
    for (int i = 0; i < 5; i++) {
        put_multi_header(b, OP_CREATE);
        put_create(b, "/q/m-", "1", i % 4);
    }
    put_multi_header(b, OP_SET_DATA);
    put_set_data(b, "/q", "x", -1);
    put_multi_header(b, OP_DELETE);
    put_path_version(b, "/q/a", last_version);
    put_multi_end(b);
}

static void put_multi_good(struct buffer *b)
{
    put_multi_of(b, 0);
}

static void put_multi_bad(struct buffer *b)
{
    put_multi_of(b, 7);
}

static void put_timeout(struct buffer *b)
{
    buffer_put_int(b, 5000);
}

static void put_nothing(struct buffer *b)
{
    (void)b;
}

static const struct scenario scenarios[] = {
    {"create", SESSION_A, OP_CREATE, put_plain},
    {"large create", SESSION_A, OP_CREATE2, put_large},
    {"sequential ephemeral", SESSION_A, OP_CREATE, put_sequential_ephemeral},
    {"many ACL entries", SESSION_A, OP_CREATE, put_acls},
    {"container", SESSION_A, OP_CREATE_CONTAINER, put_container},
    {"refusal", SESSION_A, OP_CREATE, put_exists},
    {"delete", SESSION_A, OP_DELETE, put_delete},
    {"setData", SESSION_A, OP_SET_DATA, put_data},
    {"setACL", SESSION_A, OP_SET_ACL, put_acl_change},
    {"quota stats", SESSION_A, OP_CREATE, put_stats},
    {"quota limits", SESSION_A, OP_CREATE, put_limits},
    {"multi", SESSION_A, OP_MULTI, put_multi_good},
    {"failed multi", SESSION_A, OP_MULTI, put_multi_bad},
    {"createSession", 99, OP_CREATE_SESSION, put_timeout},
    {"closeSession", SESSION_B, OP_CLOSE_SESSION, put_nothing},
};

/* A tree with some of everything. */
static void world_init(struct env *e)
{
    struct tree_config config = env_config();
    env_init(e, &config);
    env_session(e, SESSION_A, 30000);
    env_session(e, SESSION_B, 30000);
    static const char *paths[] = {"/q", "/q/a", "/q/b", "/zookeeper/quota/q",
                                  "/zookeeper/quota/q/b"};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(0, env_create(e, paths[i]));
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE,
                                      "/zookeeper/quota/q/zookeeper_limits", "count=500", 0));
    assert_int_equal(0, env_create(e, "/zookeeper/quota/q/zookeeper_stats"));
    for (int i = 0; i < 40; i++)
        assert_int_equal(0, env_create_as(e, SESSION_B, OP_CREATE, "/q/b/e", "", 3));
    tree_publish(e->t);
}

/* One attempt with the n-th allocation failing. */
static enum tree_verdict attempt(struct env *e, const struct scenario *s, long n,
                                 struct buffer *entry)
{
    struct buffer reply;
    buffer_init(&reply, 1 << 20);
    buffer_free(entry); /* so that its growth can fail as well */
    e->body.size = 0;
    s->put(&e->body);
    struct tree_answer answer = {.body = &reply};
    struct tree_request rq = {.session = s->session,
                              .op = opcode_find(s->opcode),
                              .body = {e->body.data, (uint32_t)e->body.size},
                              .auth = e->auth,
                              .zxid = e->zxid + 1,
                              .time_ms = 5000};
    fault_at = n;
    enum tree_verdict verdict = tree_prepare(e->t, &rq, entry, &answer);
    fault_at = 0;
    if (verdict == TREE_ENOMEM)
        assert_true(entry->size == 0 && reply.size == 0 && !entry->failed && !reply.failed);
    buffer_free(&reply);
    return verdict;
}

static void every_failed_allocation_of_a_write_leaves_the_tree_as_it_was(void **state)
{
    (void)state;
    struct env e;
    struct buffer before, after, entry;
    world_init(&e);
    buffer_init(&before, 1 << 22);
    buffer_init(&after, 1 << 22);
    buffer_init(&entry, 1 << 22);
    tree_dump(e.t, &before);
    for (int i = 0; FAULTS && i < (int)(sizeof scenarios / sizeof *scenarios) * 2; i++) {
        const struct scenario *s = &scenarios[i / 2];
        long n = 1, failures = 0;
        fault_stays = i % 2;
        for (; n < ALLOCATIONS_MAX; n++) {
            if (attempt(&e, s, n, &entry) != TREE_ENOMEM)
                break;
            failures++;
            tree_dump(e.t, &after);
            assert_dumps_equal(&before, &after, s->name, (int)n);
            assert_int_equal(e.zxid, tree_newest_zxid(e.t));
        }
        if (failures < 1 || n == ALLOCATIONS_MAX)
            fail_msg("%s: %ld failures, %ld attempts", s->name, failures, n);
        tree_rollback(e.t, e.zxid);
        tree_dump(e.t, &after);
        assert_dumps_equal(&before, &after, "rollback", i);
        tree_checks(e.t);
    }
    env_free(&e);
    buffer_free(&before);
    buffer_free(&after);
    buffer_free(&entry);
}

static void every_failed_allocation_of_a_replay_leaves_the_tree_as_it_was(void **state)
{
    (void)state;
    struct env a, b;
    struct buffer before, after, entry;
    world_init(&a);
    world_init(&b);
    buffer_init(&before, 1 << 22);
    buffer_init(&after, 1 << 22);
    buffer_init(&entry, 1 << 22);
    tree_dump(b.t, &before);
    for (size_t i = 0; FAULTS && i < sizeof scenarios / sizeof *scenarios; i++) {
        struct txn txn;
        assert_int_equal(TREE_TXN, attempt(&a, &scenarios[i], 0, &entry));
        assert_int_equal(TXN_OK, txn_entry_read(buffer_bytes(&entry), &txn));
        for (long n = 1; n < ALLOCATIONS_MAX; n++) {
            fault_at = n;
            int rc = tree_apply(b.t, &txn.header, txn.body_bytes);
            fault_at = 0;
            if (rc == 0)
                break;
            assert_int_equal(TREE_ENOMEM, rc);
            tree_dump(b.t, &after);
            assert_dumps_equal(&before, &after, scenarios[i].name, (int)n);
        }
        assert_true(tree_digest(a.t) == tree_digest(b.t));
        tree_rollback(a.t, a.zxid);
        tree_rollback(b.t, b.zxid);
        tree_checks(b.t);
    }
    env_free(&a);
    env_free(&b);
    buffer_free(&before);
    buffer_free(&after);
    buffer_free(&entry);
}

int main(void)
{
    reader_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failed_allocation_of_a_write_leaves_the_tree_as_it_was),
        cmocka_unit_test(every_failed_allocation_of_a_replay_leaves_the_tree_as_it_was),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    reader_unregister();
    return rc;
}
