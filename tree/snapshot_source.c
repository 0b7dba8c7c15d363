/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The exact state at the visible zxid, for a snapshot file, while writes go on.
 *
 *   copied when pinned   sessions (newest state with pending changes taken back), uses of all ACL
 *                        lists
 *   walked afterwards    znodes, by versions, as any reader at that zxid sees them
 *
 * A use of each list is held to the end, so that no id changes its meaning during the walk. Lists
 * that only pending txns use are written too: readers drop what no node refers to.
 */
#include <stdlib.h>

#include "tree/tree_internal.h"

struct snapshot_acl {
    uint32_t id;
    const struct acl_list *list;
};

struct tree_snapshot {
    zxid_t zxid;
    uint64_t digest;
    struct store_walk *walk;
    struct tree_session *sessions;
    uint32_t session_count, session_capacity;
    struct snapshot_acl *acls;
    uint32_t acl_count;
};

static void session_put(void *ctx, session_id_t id, int32_t timeout_ms)
{
    struct tree_snapshot *s = ctx;
    CHECK(s->session_count < s->session_capacity);
    s->sessions[s->session_count++] = (struct tree_session){id, timeout_ms};
}

static int sessions_copy(struct tree *t, struct tree_snapshot *s)
{
    /* Whoever is a session now or was one at the pinned zxid is an owner now (L2). */
    s->session_capacity = (uint32_t)t->ledger.owners_count;
    s->sessions = malloc((s->session_capacity + 1) * sizeof *s->sessions);
    if (!s->sessions)
        return TREE_ENOMEM;
    ledger_each_session_at(&t->ledger, s->zxid, session_put, s);
    return 0;
}

static int acls_hold(struct tree *t, struct tree_snapshot *s)
{
    struct acl_table *table = store_acls(t->store);
    s->acls = malloc((acl_count(table) + 1) * sizeof *s->acls);
    if (!s->acls)
        return TREE_ENOMEM;
    for (uint32_t id = acl_next(table, 0); id; id = acl_next(table, id)) {
        CHECK(s->acl_count < acl_count(table));
        acl_hold(table, id);
        s->acls[s->acl_count++] = (struct snapshot_acl){id, acl_get(table, id)};
    }
    return 0;
}

struct tree_snapshot *tree_snapshot_begin(struct tree *t)
{
    struct tree_snapshot *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->zxid = store_pin(t->store);
    s->digest = ledger_digest_at(&t->ledger, s->zxid);
    if (sessions_copy(t, s) == 0 && acls_hold(t, s) == 0)
        s->walk = store_walk_begin(t->store, PATH_ROOT, s->zxid);
    if (!s->walk)
        tree_snapshot_end(t, &s);
    return s;
}

void tree_snapshot_end(struct tree *t, struct tree_snapshot **snapshot)
{
    struct tree_snapshot *s = *snapshot;
    *snapshot = NULL;
    if (s->walk)
        store_walk_end(s->walk);
    for (uint32_t i = 0; i < s->acl_count; i++)
        acl_drop(store_acls(t->store), s->acls[i].id);
    store_unpin(t->store);
    free(s->acls);
    free(s->sessions);
    free(s);
}

zxid_t tree_snapshot_zxid(const struct tree_snapshot *s)
{
    return s->zxid;
}

uint64_t tree_snapshot_digest(const struct tree_snapshot *s)
{
    return s->digest;
}

uint32_t tree_snapshot_session_count(const struct tree_snapshot *s)
{
    return s->session_count;
}

const struct tree_session *tree_snapshot_sessions(const struct tree_snapshot *s)
{
    return s->sessions;
}

uint32_t tree_snapshot_acl_count(const struct tree_snapshot *s)
{
    return s->acl_count;
}

struct bytes tree_snapshot_acl(const struct tree_snapshot *s, uint32_t i, int64_t *key)
{
    CHECK(i < s->acl_count);
    *key = s->acls[i].id;
    return (struct bytes){s->acls[i].list->wire, s->acls[i].list->wire_bytes};
}

static void stat_read(const struct version *v, struct stat_persisted *out)
{
    out->czxid = (zxid_t)be64_load(v->stat + STAT_CZXID);
    out->mzxid = (zxid_t)be64_load(v->stat + STAT_MZXID);
    out->ctime = (int64_t)be64_load(v->stat + STAT_CTIME);
    out->mtime = (int64_t)be64_load(v->stat + STAT_MTIME);
    out->version = (int32_t)be32_load(v->stat + STAT_VERSION);
    out->cversion = v->cversion;
    out->aversion = (int32_t)be32_load(v->stat + STAT_AVERSION);
    out->ephemeral_owner = version_owner_raw(v);
    out->pzxid = (zxid_t)be64_load(v->stat + STAT_PZXID);
}

bool tree_snapshot_next(struct tree_snapshot *s, struct bytes *path, struct bytes *data,
                        int64_t *acl_key, struct stat_persisted *stat)
{
    const struct version *v;
    if (!store_walk_next(s->walk, path, &v))
        return false;
    *data = version_data(v);
    *acl_key = v->acl == ACL_OPEN ? -1 : (int64_t)v->acl;
    stat_read(v, stat);
    return true;
}

int tree_snapshot_error(const struct tree_snapshot *s)
{
    return store_walk_error(s->walk) ? TREE_ENOMEM : 0;
}
