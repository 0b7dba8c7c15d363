/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/snapshotter.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "client/wire/check.h"
#include "persist/purge.h"

enum { IDLE, RUNNING, DONE };

struct snapshotter {
    struct snapshotter_config config;
    pthread_t thread;
    /* P0: the thread stores DONE with release behind err and took_ms; P1: control loads with
     * acquire before it reads them. */
    _Atomic int state;
    atomic_bool cancel;
    bool cut; /* the walk ran out of memory: what was written is not the tree */
    struct tree_snapshot *snapshot;
    size_t purge_keep; /* 0 = no purge */
    int err;
    uint32_t took_ms;
    /* of the walk */
    uint32_t session_at, acl_at;
};

struct snapshotter *snapshotter_create(const struct snapshotter_config *config)
{
    struct snapshotter *s = calloc(1, sizeof *s);
    if (s)
        s->config = *config;
    return s;
}

/* --- the source that snapshot_write() pulls from --- */

static void source_session(void *ctx, session_id_t *id, int32_t *timeout_ms)
{
    struct snapshotter *s = ctx;
    const struct tree_session *session = &tree_snapshot_sessions(s->snapshot)[s->session_at++];
    *id = session->id;
    *timeout_ms = session->timeout_ms;
}

static void source_acl(void *ctx, int64_t *key, struct txn_acl *acl)
{
    struct snapshotter *s = ctx;
    struct bytes wire = tree_snapshot_acl(s->snapshot, s->acl_at++, key);
    CHECK(wire.size >= 4);
    acl->count = (int32_t)be32_load(wire.data);
    acl->raw = wire;
}

static bool source_node(void *ctx, struct snapshot_node *node)
{
    struct snapshotter *s = ctx;
    if (tree_snapshot_next(s->snapshot, &node->path, &node->data, &node->acl_key, &node->stat))
        return true;
    s->cut = tree_snapshot_error(s->snapshot) != 0;
    if (s->cut)
        atomic_store_explicit(&s->cancel, true, memory_order_relaxed);
    return s->cut; /* cancelled before the node is looked at */
}

static struct snapshot_digest source_digest(void *ctx)
{
    const struct snapshotter *s = ctx;
    return (struct snapshot_digest){s->config.digest, tree_snapshot_zxid(s->snapshot),
                                    tree_snapshot_digest(s->snapshot)};
}

static int write_snapshot(struct snapshotter *s)
{
    s->session_at = s->acl_at = 0;
    struct snapshot_source source = {
        .ctx = s,
        .session_count = (int32_t)tree_snapshot_session_count(s->snapshot),
        .acl_count = (int32_t)tree_snapshot_acl_count(s->snapshot),
        .next_session = source_session,
        .next_acl = source_acl,
        .next_node = source_node,
        .digest = source_digest,
    };
    struct snapshot_options options = {s->config.compression, s->config.no_last_zxid, &s->cancel};
    int err = snapshot_write(s->config.storage, s->config.directory->snap,
                             tree_snapshot_zxid(s->snapshot), &source, &options, NULL);
    if (s->cut)
        atomic_store_explicit(&s->cancel, false, memory_order_relaxed);
    s->cut = false;
    return err;
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

static void *snapshotter_run(void *arg)
{
    struct snapshotter *s = arg;
    uint64_t start = now_ms();
    s->err = write_snapshot(s);
    if (!s->err && s->purge_keep) {
        struct purge_report report;
        /* tried again next time */
        (void)purge_run(s->config.storage, s->config.directory, s->purge_keep, &report);
    }
    s->took_ms = (uint32_t)(now_ms() - start);
    atomic_store_explicit(&s->state, DONE, memory_order_release); /* P0 */
    waker_wake(s->config.done_waker);
    return NULL;
}

bool snapshotter_idle(const struct snapshotter *s)
{
    return atomic_load_explicit(&s->state, memory_order_relaxed) == IDLE;
}

bool snapshotter_begin(struct snapshotter *s, struct tree_snapshot *snapshot, size_t purge_keep)
{
    if (!snapshotter_idle(s))
        return false;
    s->snapshot = snapshot;
    s->purge_keep = purge_keep;
    atomic_store_explicit(&s->state, RUNNING, memory_order_relaxed);
    if (pthread_create(&s->thread, NULL, snapshotter_run, s) == 0)
        return true;
    s->snapshot = NULL;
    atomic_store_explicit(&s->state, IDLE, memory_order_relaxed);
    return false;
}

bool snapshotter_has_done(struct snapshotter *s)
{
    return atomic_load_explicit(&s->state, memory_order_acquire) == DONE; /* P1 */
}

struct tree_snapshot *snapshotter_done(struct snapshotter *s, int *err, uint32_t *took_ms)
{
    if (!snapshotter_has_done(s))
        return NULL;
    pthread_join(s->thread, NULL);
    *err = s->err;
    *took_ms = s->took_ms;
    struct tree_snapshot *snapshot = s->snapshot;
    s->snapshot = NULL;
    atomic_store_explicit(&s->state, IDLE, memory_order_relaxed);
    return snapshot;
}

int snapshotter_write(struct snapshotter *s, struct tree_snapshot *snapshot)
{
    CHECK(atomic_load_explicit(&s->state, memory_order_relaxed) == IDLE);
    s->snapshot = snapshot;
    int err = write_snapshot(s);
    s->snapshot = NULL;
    return err;
}

struct tree_snapshot *snapshotter_destroy(struct snapshotter *s)
{
    if (!s)
        return NULL;
    struct tree_snapshot *snapshot = NULL;
    if (atomic_load_explicit(&s->state, memory_order_relaxed) != IDLE) {
        atomic_store_explicit(&s->cancel, true, memory_order_relaxed);
        pthread_join(s->thread, NULL);
        snapshot = s->snapshot;
    }
    free(s);
    return snapshot;
}
