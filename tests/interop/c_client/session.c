/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Debian's C client (libzookeeper_mt) against a server: synchronous and asynchronous calls,
 * watches, multi, ACLs and auth, TTL and containers, removal of watches, and a restart of the
 * server under a live session.
 *
 * Usage: session host:port. To have the server restarted it prints "RESTART" and waits for a line
 * on stdin. Each check is counted; the last line says how many passed and failed.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <zookeeper/zookeeper.h>

#define WAIT_S 20
#define EVENTS_MAX 64

static int passed, failed;

#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        if (condition) {                                                                           \
            passed++;                                                                              \
        } else {                                                                                   \
            failed++;                                                                              \
            printf("FAIL: line %d: %s: ", __LINE__, #condition);                                   \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
        }                                                                                          \
    } while (0)
#define EXPECT_RC(call, want)                                                                      \
    do {                                                                                           \
        int rc_ = (call);                                                                          \
        EXPECT(rc_ == (want), "got %d (%s), want %d", rc_, zerror(rc_), (want));                   \
    } while (0)

/*
 * What watchers saw, in order; and a counter of completed asynchronous calls. All under the lock.
 */
struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct {
        int type, state;
        char path[128];
    } events[EVENTS_MAX];
    int events_count;
    int completions;
    int last_rc;
    char text[256];
    struct Stat stat;
    bool connected;
    bool expired;
    int connects;
};

static void seen_init(struct seen *s)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
}

static void watcher(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    struct seen *s = context ? context : (struct seen *)zoo_get_context(zh);
    pthread_mutex_lock(&s->lock);
    if (type == ZOO_SESSION_EVENT) {
        s->connected = state == ZOO_CONNECTED_STATE;
        s->connects += s->connected;
        s->expired |= state == ZOO_EXPIRED_SESSION_STATE;
    } else if (s->events_count < EVENTS_MAX) {
        s->events[s->events_count].type = type;
        s->events[s->events_count].state = state;
        snprintf(s->events[s->events_count].path, sizeof s->events[0].path, "%s", path);
        s->events_count++;
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* Wait until *value >= want, at most WAIT_S seconds. */
static bool seen_wait(struct seen *s, const int *value, int want)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&s->lock);
    int rc = 0;
    while (*value < want && rc == 0)
        rc = pthread_cond_timedwait(&s->changed, &s->lock, &until);
    bool ok = *value >= want;
    pthread_mutex_unlock(&s->lock);
    return ok;
}

static bool seen_event(struct seen *s, int index, int type, const char *path)
{
    if (!seen_wait(s, &s->events_count, index + 1))
        return false;
    return s->events[index].type == type && s->events[index].state == ZOO_CONNECTED_STATE &&
           strcmp(s->events[index].path, path) == 0;
}

static zhandle_t *open_session(const char *host, struct seen *s, int timeout_ms,
                               const clientid_t *id)
{
    seen_init(s);
    zhandle_t *zh = zookeeper_init(host, watcher, timeout_ms, id, s, 0);
    if (zh == NULL || !seen_wait(s, &s->connects, 1)) {
        printf("FAIL: no connection to %s\n", host);
        exit(1);
    }
    return zh;
}

static void completed(struct seen *s, int rc)
{
    pthread_mutex_lock(&s->lock);
    s->completions++;
    s->last_rc = rc;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void on_void(int rc, const void *data)
{
    completed((struct seen *)data, rc);
}

static void on_stat(int rc, const struct Stat *stat, const void *data)
{
    struct seen *s = (struct seen *)data;
    if (stat)
        s->stat = *stat;
    completed(s, rc);
}

static void on_data(int rc, const char *value, int size, const struct Stat *stat, const void *data)
{
    struct seen *s = (struct seen *)data;
    if (rc == ZOK && size >= 0 && size < (int)sizeof s->text) {
        memcpy(s->text, value, (size_t)size);
        s->text[size] = '\0';
        s->stat = *stat;
    }
    completed(s, rc);
}

static void on_string(int rc, const char *value, const void *data)
{
    struct seen *s = (struct seen *)data;
    if (value)
        snprintf(s->text, sizeof s->text, "%s", value);
    completed(s, rc);
}

static void on_string_stat(int rc, const char *value, const struct Stat *stat, const void *data)
{
    struct seen *s = (struct seen *)data;
    if (stat)
        s->stat = *stat;
    on_string(rc, value, data);
}

static void on_strings(int rc, const struct String_vector *strings, const void *data)
{
    struct seen *s = (struct seen *)data;
    s->stat.numChildren = strings ? strings->count : -1;
    completed(s, rc);
}

static void on_strings_stat(int rc, const struct String_vector *strings, const struct Stat *stat,
                            const void *data)
{
    if (stat)
        ((struct seen *)data)->stat = *stat;
    on_strings(rc, strings, data);
}

static void on_acl(int rc, struct ACL_vector *acl, struct Stat *stat, const void *data)
{
    (void)acl;
    on_stat(rc, stat, data);
}

/*
 * ---- the tests
 * -------------------------------------------------------------------------------------
 */

static void check_create_and_delete(zhandle_t *zh)
{
    char path[128];
    struct Stat st;
    EXPECT_RC(zoo_create(zh, "/c", "hello", 5, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path), ZOK);
    EXPECT(strcmp(path, "/c") == 0, "%s", path);
    EXPECT_RC(zoo_create(zh, "/c", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), ZNODEEXISTS);
    EXPECT_RC(zoo_create(zh, "/no/such", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), ZNONODE);
    EXPECT_RC(zoo_create2(zh, "/c/two", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path, &st),
              ZOK);
    EXPECT(st.dataLength == 0 && st.czxid == st.mzxid && st.czxid > 0, "czxid %lld",
           (long long)st.czxid);
    EXPECT_RC(zoo_create(zh, "/c/s-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, path, sizeof path),
              ZOK);
    EXPECT(strcmp(path, "/c/s-0000000001") == 0, "%s", path);
    EXPECT_RC(zoo_create(zh, "/c/e", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, path, sizeof path),
              ZOK);
    EXPECT_RC(zoo_exists(zh, "/c/e", 0, &st), ZOK);
    EXPECT(st.ephemeralOwner == zoo_client_id(zh)->client_id, "owner %llx",
           (long long)st.ephemeralOwner);
    EXPECT_RC(zoo_create(zh, "/c/e/x", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0),
              ZNOCHILDRENFOREPHEMERALS);
    EXPECT_RC(zoo_create2_ttl(zh, "/c/ttl", "t", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL,
                              3600000, path, sizeof path, &st),
              ZOK);
    EXPECT(st.ephemeralOwner == 0, "owner %llx", (long long)st.ephemeralOwner);
    EXPECT_RC(
        zoo_create(zh, "/c/box", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_CONTAINER, path, sizeof path),
        ZOK);
    EXPECT_RC(zoo_delete(zh, "/c", -1), ZNOTEMPTY);
    EXPECT_RC(zoo_delete(zh, "/c/two", 3), ZBADVERSION);
    EXPECT_RC(zoo_delete(zh, "/c/two", 0), ZOK);
    EXPECT_RC(zoo_delete(zh, "/c/two", -1), ZNONODE);
}

static void check_data(zhandle_t *zh)
{
    char value[64];
    int size = sizeof value;
    struct Stat st;
    EXPECT_RC(zoo_get(zh, "/c", 0, value, &size, &st), ZOK);
    EXPECT(size == 5 && memcmp(value, "hello", 5) == 0, "size %d", size);
    EXPECT_RC(zoo_set(zh, "/c", "v1", 2, 0), ZOK);
    EXPECT_RC(zoo_set(zh, "/c", "v2", 2, 0), ZBADVERSION);
    EXPECT_RC(zoo_set2(zh, "/c", "v22", 3, -1, &st), ZOK);
    EXPECT(st.version == 2 && st.dataLength == 3 && st.mzxid > st.czxid, "version %d", st.version);
    size = sizeof value;
    EXPECT_RC(zoo_get(zh, "/none", 0, value, &size, &st), ZNONODE);
    EXPECT_RC(zoo_exists(zh, "/none", 0, &st), ZNONODE);
    struct String_vector names = {0, NULL};
    EXPECT_RC(zoo_get_children2(zh, "/c", 0, &names, &st), ZOK);
    EXPECT(names.count == 4 && st.numChildren == 4, "children %d", names.count);
    deallocate_String_vector(&names);
    /* 5 creations and 1 deletion so far. */
    EXPECT(st.cversion == 6, "cversion %d", st.cversion);
    size_t big = 1000000;
    char *large = malloc(big), *back = malloc(big);
    memset(large, 'x', big);
    EXPECT_RC(zoo_create(zh, "/c/big", large, (int)big, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), ZOK);
    size = (int)big;
    EXPECT_RC(zoo_get(zh, "/c/big", 0, back, &size, NULL), ZOK);
    EXPECT(size == (int)big && memcmp(large, back, big) == 0, "size %d", size);
    free(large);
    free(back);
}

static void check_acl(zhandle_t *zh, const char *host)
{
    struct ACL entries[] = {{ZOO_PERM_ALL, {"auth", ""}}};
    struct ACL_vector own = {1, entries};
    struct seen seen;
    EXPECT_RC(zoo_create(zh, "/c/private", "p", 1, &own, 0, NULL, 0), ZINVALIDACL);
    seen_init(&seen);
    EXPECT_RC(zoo_add_auth(zh, "digest", "bob:pw", 6, on_void, &seen), ZOK);
    EXPECT(seen_wait(&seen, &seen.completions, 1) && seen.last_rc == ZOK, "auth %d", seen.last_rc);
    EXPECT_RC(zoo_create(zh, "/c/private", "p", 1, &own, 0, NULL, 0), ZOK);
    struct ACL_vector acl;
    struct Stat st;
    EXPECT_RC(zoo_get_acl(zh, "/c/private", &acl, &st), ZOK);
    EXPECT(acl.count == 1 && strcmp(acl.data[0].id.id, "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=") == 0,
           "count %d", acl.count);
    deallocate_ACL_vector(&acl);
    struct seen other;
    zhandle_t *stranger = open_session(host, &other, 10000, NULL);
    char value[8];
    int size = sizeof value;
    EXPECT_RC(zoo_get(stranger, "/c/private", 0, value, &size, &st), ZNOAUTH);
    EXPECT_RC(zoo_set(stranger, "/c/private", "q", 1, -1), ZNOAUTH);
    EXPECT_RC(zoo_get_acl(stranger, "/c/private", &acl, &st), ZNOAUTH);
    EXPECT_RC(zoo_set_acl(zh, "/c/private", 0, &ZOO_READ_ACL_UNSAFE), ZOK);
    EXPECT_RC(zoo_set_acl(zh, "/c/private", 0, &ZOO_OPEN_ACL_UNSAFE), ZNOAUTH);
    size = sizeof value;
    EXPECT_RC(zoo_get(stranger, "/c/private", 0, value, &size, &st), ZOK);
    EXPECT(st.aversion == 1 && st.version == 0, "aversion %d", st.aversion);
    EXPECT_RC(zookeeper_close(stranger), ZOK);
}

static void check_watches(zhandle_t *zh)
{
    struct seen data, exists, child;
    seen_init(&data), seen_init(&exists), seen_init(&child);
    char value[8];
    int size = sizeof value;
    struct String_vector names;
    EXPECT_RC(zoo_create(zh, "/w", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), ZOK);
    EXPECT_RC(zoo_wget(zh, "/w", watcher, &data, value, &size, NULL), ZOK);
    EXPECT_RC(zoo_wexists(zh, "/w/new", watcher, &exists, NULL), ZNONODE);
    EXPECT_RC(zoo_wget_children(zh, "/w", watcher, &child, &names), ZOK);
    EXPECT_RC(zoo_create(zh, "/w/new", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), ZOK);
    EXPECT(seen_event(&exists, 0, ZOO_CREATED_EVENT, "/w/new"), "count %d", exists.events_count);
    EXPECT(seen_event(&child, 0, ZOO_CHILD_EVENT, "/w"), "count %d", child.events_count);
    EXPECT_RC(zoo_set(zh, "/w", "1", 1, -1), ZOK);
    EXPECT_RC(zoo_set(zh, "/w", "2", 1, -1), ZOK);
    EXPECT(seen_event(&data, 0, ZOO_CHANGED_EVENT, "/w"), "count %d", data.events_count);
    EXPECT_RC(zoo_wexists(zh, "/w/new", watcher, &exists, NULL), ZOK);
    EXPECT_RC(zoo_delete(zh, "/w/new", -1), ZOK);
    EXPECT(seen_event(&exists, 1, ZOO_DELETED_EVENT, "/w/new"), "count %d", exists.events_count);
    /* A one-shot watch fires once: one event each, although more happened. */
    EXPECT(data.events_count == 1 && child.events_count == 1, "%d %d", data.events_count,
           child.events_count);
    size = sizeof value;
    EXPECT_RC(zoo_wget(zh, "/w", watcher, &data, value, &size, NULL), ZOK);
    EXPECT_RC(zoo_remove_watches(zh, "/w", ZWATCHTYPE_DATA, watcher, &data, 0), ZOK);
    EXPECT_RC(zoo_remove_watches(zh, "/w", ZWATCHTYPE_DATA, watcher, &data, 0), ZNOWATCHER);
    /*
     * Removing one watcher only asks the server (checkWatches), so its watch is still there to be
     * removed.
     */
    EXPECT_RC(zoo_remove_all_watches(zh, "/w", ZWATCHTYPE_ANY, 0), ZOK);
    EXPECT_RC(zoo_remove_all_watches(zh, "/w", ZWATCHTYPE_ANY, 0), ZNOWATCHER);
    EXPECT_RC(zoo_wget_children(zh, "/w", watcher, &child, &names), ZOK);
    EXPECT_RC(zoo_remove_all_watches(zh, "/w", ZWATCHTYPE_CHILD, 0), ZOK);
}

static void check_multi(zhandle_t *zh)
{
    zoo_op_t ops[6];
    zoo_op_result_t results[6];
    char made[3][64];
    struct Stat st;
    zoo_create_op_init(&ops[0], "/m", "0", 1, &ZOO_OPEN_ACL_UNSAFE, 0, made[0], sizeof made[0]);
    zoo_create_op_init(&ops[1], "/m/s-", "1", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, made[1],
                       sizeof made[1]);
    zoo_set_op_init(&ops[2], "/m", "new", 3, 0, &st);
    zoo_check_op_init(&ops[3], "/m", 1);
    zoo_create_op_init(&ops[4], "/m/x", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, made[2],
                       sizeof made[2]);
    zoo_delete_op_init(&ops[5], "/m/x", 0);
    EXPECT_RC(zoo_multi(zh, 6, ops, results), ZOK);
    for (int i = 0; i < 6; i++)
        EXPECT(results[i].err == ZOK, "op %d: %d", i, results[i].err);
    EXPECT(strcmp(made[1], "/m/s-0000000000") == 0, "%s", made[1]);
    EXPECT(st.version == 1 && st.dataLength == 3, "version %d", st.version);
    zoo_create_op_init(&ops[0], "/m2", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, made[0], sizeof made[0]);
    zoo_check_op_init(&ops[1], "/m", 77);
    zoo_delete_op_init(&ops[2], "/m", -1);
    EXPECT_RC(zoo_multi(zh, 3, ops, results), ZBADVERSION);
    EXPECT(results[0].err == ZOK && results[1].err == ZBADVERSION &&
               results[2].err == ZRUNTIMEINCONSISTENCY,
           "%d %d %d", results[0].err, results[1].err, results[2].err);
    EXPECT_RC(zoo_exists(zh, "/m2", 0, NULL), ZNONODE);
    EXPECT_RC(zoo_multi(zh, 0, ops, results), ZOK);
}

/* Every asynchronous call, all in flight at once: completions come in order, one each. */
static void check_async(zhandle_t *zh)
{
    struct seen s;
    seen_init(&s);
    EXPECT_RC(zoo_acreate(zh, "/as", "x", 1, &ZOO_OPEN_ACL_UNSAFE, 0, on_string, &s), ZOK);
    EXPECT_RC(zoo_acreate2(zh, "/as/2", "x", 1, &ZOO_OPEN_ACL_UNSAFE, 0, on_string_stat, &s), ZOK);
    EXPECT_RC(zoo_aset(zh, "/as", "yy", 2, -1, on_stat, &s), ZOK);
    EXPECT_RC(zoo_aexists(zh, "/as", 0, on_stat, &s), ZOK);
    EXPECT_RC(zoo_aget_children(zh, "/as", 0, on_strings, &s), ZOK);
    EXPECT_RC(zoo_aget_children2(zh, "/as", 0, on_strings_stat, &s), ZOK);
    EXPECT_RC(zoo_aget_acl(zh, "/as", on_acl, &s), ZOK);
    EXPECT_RC(zoo_aset_acl(zh, "/as", -1, &ZOO_OPEN_ACL_UNSAFE, on_void, &s), ZOK);
    EXPECT_RC(zoo_async(zh, "/as", on_string, &s), ZOK);
    EXPECT_RC(zoo_adelete(zh, "/as/2", -1, on_void, &s), ZOK);
    EXPECT_RC(zoo_aget(zh, "/as", 0, on_data, &s), ZOK);
    EXPECT(seen_wait(&s, &s.completions, 11), "completions %d", s.completions);
    EXPECT(s.last_rc == ZOK && strcmp(s.text, "yy") == 0, "rc %d text %s", s.last_rc, s.text);
    EXPECT(s.stat.version == 1 && s.stat.aversion == 1 && s.stat.cversion == 2,
           "version %d aversion %d cversion %d", s.stat.version, s.stat.aversion, s.stat.cversion);
    /* A thousand writes in flight on one session, then the last one's effect. */
    seen_init(&s);
    for (int i = 0; i < 1000; i++)
        zoo_aset(zh, "/as", "z", 1, i + 1, on_stat, &s);
    EXPECT(seen_wait(&s, &s.completions, 1000), "completions %d", s.completions);
    EXPECT(s.last_rc == ZOK && s.stat.version == 1001, "rc %d version %d", s.last_rc,
           s.stat.version);
}

static void check_config(zhandle_t *zh)
{
    char value[256];
    int size = sizeof value;
    struct Stat st;
    EXPECT_RC(zoo_getconfig(zh, 0, value, &size, &st), ZOK);
    EXPECT(size <= 0, "size %d", size);
    size = sizeof value;
    int rc = zoo_reconfig(zh, NULL, NULL, "server.1=h:1:2;3", -1, value, &size, &st);
    EXPECT(rc == ZUNIMPLEMENTED || rc == ZRECONFIGDISABLED, "rc %d", rc);
}

/*
 * The server is killed and started again: the session goes on, its ephemeral stays, its watches are
 * set again.
 */
static void check_restart(const char *host)
{
    struct seen s, kept, missed;
    char line[64];
    zhandle_t *zh = open_session(host, &s, 20000, NULL);
    seen_init(&kept), seen_init(&missed);
    clientid_t before = *zoo_client_id(zh);
    EXPECT_RC(zoo_create(zh, "/r", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), ZOK);
    EXPECT_RC(zoo_create(zh, "/r/e", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0), ZOK);
    EXPECT_RC(zoo_wexists(zh, "/r/later", watcher, &kept, NULL), ZNONODE);
    struct String_vector names;
    EXPECT_RC(zoo_wget_children(zh, "/r", watcher, &missed, &names), ZOK);
    printf("RESTART\n");
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL)
        exit(1);
    EXPECT(seen_wait(&s, &s.connects, 2), "connects %d", s.connects);
    EXPECT(!s.expired && zoo_client_id(zh)->client_id == before.client_id, "session %llx",
           (long long)zoo_client_id(zh)->client_id);
    EXPECT_RC(zoo_exists(zh, "/r/e", 0, NULL), ZOK);
    EXPECT_RC(zoo_create(zh, "/r/later", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), ZOK);
    EXPECT(seen_event(&kept, 0, ZOO_CREATED_EVENT, "/r/later"), "count %d", kept.events_count);
    EXPECT(seen_event(&missed, 0, ZOO_CHILD_EVENT, "/r"), "count %d", missed.events_count);
    /* The session can also be taken over by another handle with its id and password. */
    struct seen t;
    zhandle_t *taken = open_session(host, &t, 20000, &before);
    EXPECT(zoo_client_id(taken)->client_id == before.client_id, "session %llx",
           (long long)zoo_client_id(taken)->client_id);
    EXPECT_RC(zoo_exists(taken, "/r/e", 0, NULL), ZOK);
    EXPECT_RC(zookeeper_close(taken), ZOK);
    zookeeper_close(zh);
    zh = open_session(host, &s, 20000, NULL);
    EXPECT_RC(zoo_exists(zh, "/r/e", 0, NULL), ZNONODE);
    zookeeper_close(zh);
    /* An id that is no session: expired, not a new one. */
    before.client_id = 0x77;
    seen_init(&t);
    zh = zookeeper_init(host, watcher, 10000, &before, &t, 0);
    struct timespec pause = {0, 20000000};
    for (int i = 0; i < WAIT_S * 50 && !t.expired; i++)
        nanosleep(&pause, NULL);
    EXPECT(t.expired, "state %d", zoo_state(zh));
    zookeeper_close(zh);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s host:port\n", argv[0]);
        return 2;
    }
    zoo_set_debug_level(0);
    struct seen s;
    zhandle_t *zh = open_session(argv[1], &s, 30000, NULL);
    EXPECT(zoo_recv_timeout(zh) == 30000, "timeout %d", zoo_recv_timeout(zh));
    check_create_and_delete(zh);
    check_data(zh);
    check_acl(zh, argv[1]);
    check_watches(zh);
    check_multi(zh);
    check_async(zh);
    check_config(zh);
    EXPECT_RC(zookeeper_close(zh), ZOK);
    check_restart(argv[1]);
    printf("%d passed, %d failed\n", passed, failed);
    return failed ? 1 : 0;
}
