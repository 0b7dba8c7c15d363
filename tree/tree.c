/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <stdlib.h>

#include "tree/tree_internal.h"

struct tree *tree_create(const struct tree_config *config)
{
    CHECK(config->entry_bytes_max > CLOSE_SESSION_BYTES_MIN);
    struct tree *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->config = *config;
    t->config.store.digest_enabled = config->digest_enabled;
    if (ledger_init(&t->ledger)) {
        free(t);
        return NULL;
    }
    t->store = store_create_empty(&t->config.store);
    if (!t->store) {
        ledger_free(&t->ledger);
        free(t);
        return NULL;
    }
    quota_init(&t->quota);
    buffer_init(&t->path, config->entry_bytes_max);
    buffer_init(&t->acl, config->entry_bytes_max);
    return t;
}

void tree_destroy(struct tree *t)
{
    if (!t)
        return;
    store_destroy(t->store);
    ledger_free(&t->ledger);
    buffer_free(&t->path);
    buffer_free(&t->acl);
    free(t->load_acls.rows);
    free(t);
}

struct store *tree_store(struct tree *t)
{
    return t->store;
}

enum owner_kind owner_kind_of(int64_t raw)
{
    if (raw == 0)
        return OWNED_NONE;
    if (raw == OWNER_CONTAINER)
        return OWNED_CONTAINER;
    bool ttl = (raw & OWNER_TTL_MASK) == OWNER_TTL_MASK && (raw & ~OWNER_TTL_MASK) <= TTL_MS_MAX;
    return ttl && (raw & ~OWNER_TTL_MASK) != 0 ? OWNED_TTL : OWNED_SESSION;
}

/* --- txns --- */

int tree_begin(struct tree *t, zxid_t zxid)
{
    if (store_begin(t->store, zxid))
        return TREE_ENOMEM;
    ledger_begin(&t->ledger, zxid);
    return 0;
}

int tree_end(struct tree *t)
{
    if (ledger_end(&t->ledger, store_counters(t->store)->digest)) {
        tree_abort(t);
        return TREE_ENOMEM;
    }
    (void)store_end(t->store); /* found again through tree_commit() */
    return 0;
}

void tree_abort(struct tree *t)
{
    ledger_abort(&t->ledger);
    store_abort(t->store);
}

struct tree_txn *tree_commit(struct tree *t, zxid_t upto)
{
    /* What was committed before and is shown by now needs no looking back (tree_ledger.h L3). */
    ledger_forget(&t->ledger, store_visible(t->store));
    return store_commit(t->store, upto);
}

void tree_rollback(struct tree *t, zxid_t keep)
{
    store_rollback(t->store, keep);
    ledger_rollback(&t->ledger, keep);
}

zxid_t tree_newest_zxid(const struct tree *t)
{
    return ledger_newest(&t->ledger);
}

uint64_t tree_digest(const struct tree *t)
{
    return store_counters(t->store)->digest;
}

uint64_t tree_apply_ignored(const struct tree *t)
{
    return t->apply_ignored;
}

/* --- changes --- */

const struct version *tree_newest(struct tree *t, struct bytes path)
{
    return store_newest(t->store, store_key(t->store, path));
}

/* Which kind of mark a raw owner asks for; MARK_KINDS: none. */
static enum mark_kind mark_kind_of(int64_t raw)
{
    switch (owner_kind_of(raw)) {
    case OWNED_SESSION:
        return MARK_EPHEMERAL;
    case OWNED_CONTAINER:
        return MARK_CONTAINER;
    case OWNED_TTL:
        return MARK_TTL;
    default:
        return MARK_KINDS;
    }
}

static int mark_add(struct tree *t, struct bytes path, int64_t owner_raw)
{
    enum mark_kind kind = mark_kind_of(owner_raw);
    if (kind == MARK_KINDS)
        return 0;
    return ledger_add(&t->ledger, kind, owner_raw, path, store_key(t->store, path).lo) ? TREE_ENOMEM
                                                                                       : 0;
}

int tree_node_add(struct tree *t, const struct store_node *node, int32_t parent_cversion)
{
    if (store_add(t->store, node, parent_cversion)) {
        acl_drop(store_acls(t->store), node->acl);
        return TREE_ENOMEM;
    }
    int rc = mark_add(t, node->path, node->stat.ephemeral_owner);
    return rc ? rc : quota_added(t, node->path, node->data.size);
}

int tree_node_mark(struct tree *t, struct bytes path, int64_t owner_raw)
{
    int rc = mark_add(t, path, owner_raw);
    if (rc == 0)
        rc = quota_loaded(t, path);
    ledger_settle(&t->ledger);
    return rc;
}

static int leaf_remove(struct tree *t, struct bytes path)
{
    struct tree_key key = store_key(t->store, path);
    const struct version *v = store_newest(t->store, key);
    CHECK(v && version_num_children(v) == 0);
    uint32_t data_bytes = version_data_size(v);
    bool owned = version_owner_raw(v) != 0;
    if (store_remove(t->store, path))
        return TREE_ENOMEM;
    struct mark *m = owned ? ledger_find(&t->ledger, path, key.lo) : NULL;
    if (m && ledger_remove(&t->ledger, m))
        return TREE_ENOMEM;
    return quota_removed(t, path, data_bytes);
}

/* Paths of a subtree, top first, as jute strings with their offsets behind them. */
static int subtree_collect(struct tree *t, struct bytes path, struct buffer *paths,
                           struct buffer *offsets)
{
    struct store_walk *walk = store_walk_begin(t->store, path, INT64_MAX);
    struct bytes below;
    const struct version *v;
    if (!walk)
        return TREE_ENOMEM;
    while (store_walk_next(walk, &below, &v)) {
        buffer_put_long(offsets, (int64_t)paths->size);
        buffer_put_bytes(paths, below);
    }
    int rc = store_walk_error(walk);
    store_walk_end(walk);
    return rc || paths->failed || offsets->failed ? TREE_ENOMEM : 0;
}

static int subtree_remove(struct tree *t, struct bytes path)
{
    struct buffer paths, offsets;
    buffer_init(&paths, SIZE_MAX);
    buffer_init(&offsets, SIZE_MAX);
    int rc = subtree_collect(t, path, &paths, &offsets);
    for (size_t at = offsets.size; rc == 0 && at > 0; at -= 8) {
        uint64_t offset = be64_load(offsets.data + at - 8);
        struct jute_reader r = jute_reader_of(paths.data + offset, paths.size - offset);
        rc = leaf_remove(t, jute_read_bytes(&r));
    }
    buffer_free(&paths);
    buffer_free(&offsets);
    return rc;
}

int tree_node_remove(struct tree *t, struct bytes path)
{
    const struct version *v = tree_newest(t, path);
    CHECK(v);
    return LIKELY(version_num_children(v) == 0) ? leaf_remove(t, path) : subtree_remove(t, path);
}

int tree_node_set_data(struct tree *t, const struct txn_set_data *set, struct tree_key key,
                       zxid_t zxid, int64_t time_ms)
{
    const struct version *v = store_newest(t->store, key);
    CHECK(v);
    uint32_t before = version_data_size(v);
    if (store_set_data(t->store, set->path, key, set->data, set->version, zxid, time_ms))
        return TREE_ENOMEM;
    return quota_changed(t, set->path, before, set->data.size);
}

bool tree_allows(const struct tree *t, const struct version *v, int32_t perms,
                 const struct auth_set *auth)
{
    return t->config.skip_acl || acl_allows(store_acls(t->store), v->acl, perms, auth);
}
