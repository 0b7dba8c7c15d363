/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Applying logged txns (disk-formats.md sections 4 and 5.6): no checks of who may, and forgiving
 * where a fuzzy snapshot already holds the effect. Nothing here recurses, whatever the depth of the
 * tree.
 *
 * Where ours differs from DataTree: a delete that replays onto a znode with children removes these
 * too (they belong to a later life of the path and come back with their own txns), where Java
 * leaves orphans behind.
 */
#include "tree/tree_internal.h"

struct apply {
    struct tree *t;
    const struct txn_header *header;
};

static int ignored(struct apply *a)
{
    a->t->apply_ignored++;
    return 0;
}

/* A null vector lets everybody in, as an empty one does: both are kept as empty. */
static struct bytes acl_wire(const struct txn_acl *acl)
{
    static const uint8_t empty[4];
    return acl->count > 0 ? acl->raw : (struct bytes){empty, sizeof empty};
}

/* The node is there already: its ACL is refreshed and, for type 1 only, the parent's numbers
 * (section 4.1). */
static int create_again(struct apply *a, int32_t type, const struct txn_create *txn,
                        int32_t cversion)
{
    struct tree *t = a->t;
    uint32_t id;
    if (acl_intern(store_acls(t->store), acl_wire(&txn->acl), &id))
        return TREE_ENOMEM;
    int32_t aversion = (int32_t)be32_load(tree_newest(t, txn->path)->stat + STAT_AVERSION);
    if (store_set_acl(t->store, txn->path, id, aversion)) {
        acl_drop(store_acls(t->store), id);
        return TREE_ENOMEM;
    }
    if (type == OP_CREATE &&
        store_touch_parent(t->store, path_parent(txn->path), cversion, a->header->zxid))
        return TREE_ENOMEM;
    return ignored(a);
}

static int64_t owner_of(const struct apply *a, int32_t type, const struct txn_create *txn)
{
    if (type == OP_CREATE_CONTAINER)
        return OWNER_CONTAINER;
    if (type == OP_CREATE_TTL)
        return OWNER_TTL_MASK | txn->ttl_ms;
    return txn->ephemeral ? a->header->client_id : 0;
}

static int apply_create(struct apply *a, int32_t type, const struct txn_create *txn)
{
    struct tree *t = a->t;
    if (!path_valid(txn->path) || txn->path.size == 1)
        return ZK_MARSHALLINGERROR;
    if (type == OP_CREATE_TTL && (txn->ttl_ms < 1 || txn->ttl_ms > TTL_MS_MAX))
        return ZK_MARSHALLINGERROR;
    const struct version *parent = tree_newest(t, path_parent(txn->path));
    if (!parent)
        return ignored(a);
    int32_t cversion = txn->parent_cversion;
    if (cversion == -1 && parent->cversion < INT32_MAX)
        cversion = parent->cversion + 1;
    if (tree_newest(t, txn->path))
        return create_again(a, type, txn, cversion);
    zxid_t z = a->header->zxid;
    struct store_node node = {.path = txn->path, .data = txn->data};
    node.stat = (struct stat_persisted){.czxid = z,
                                        .mzxid = z,
                                        .pzxid = z,
                                        .ctime = a->header->time_ms,
                                        .mtime = a->header->time_ms,
                                        .ephemeral_owner = owner_of(a, type, txn)};
    if (acl_intern(store_acls(t->store), acl_wire(&txn->acl), &node.acl))
        return TREE_ENOMEM;
    return tree_node_add(t, &node, cversion);
}

static int apply_delete(struct apply *a, struct bytes path)
{
    struct tree *t = a->t;
    if (!path_splittable(path) || path_special(path))
        return ignored(a);
    if (!tree_newest(t, path_parent(path)))
        return ignored(a);
    if (tree_newest(t, path))
        return tree_node_remove(t, path);
    if (store_touch_parent(t->store, path_parent(path), INT32_MIN, a->header->zxid))
        return TREE_ENOMEM;
    return ignored(a);
}

static int apply_set_data(struct apply *a, const struct txn_set_data *txn)
{
    struct tree_key key = store_key(a->t->store, txn->path);
    if (!txn->path.data || !store_newest(a->t->store, key))
        return ignored(a);
    return tree_node_set_data(a->t, txn, key, a->header->zxid, a->header->time_ms);
}

static int apply_set_acl(struct apply *a, const struct txn_set_acl *txn)
{
    struct tree *t = a->t;
    uint32_t id;
    if (!txn->path.data || !tree_newest(t, txn->path))
        return ignored(a);
    if (acl_intern(store_acls(t->store), acl_wire(&txn->acl), &id))
        return TREE_ENOMEM;
    if (store_set_acl(t->store, txn->path, id, txn->version)) {
        acl_drop(store_acls(t->store), id);
        return TREE_ENOMEM;
    }
    return 0;
}

/* First the listed paths, then whatever the session still owns. */
static int apply_close_session(struct apply *a, struct txn_paths paths)
{
    struct bytes path;
    int rc = 0;
    while (rc == 0 && txn_paths_next(&paths, &path))
        rc = apply_delete(a, path);
    return rc ? rc : tree_session_end(a->t, a->header->client_id);
}

static int apply_part(struct apply *a, const struct txn_body *body)
{
    switch (body->type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        return apply_create(a, body->type, &body->create);
    case OP_DELETE:
    case OP_DELETE_CONTAINER:
        return apply_delete(a, body->delete.path);
    case OP_SET_DATA:
    case OP_RECONFIG:
        return apply_set_data(a, &body->set_data);
    case OP_SET_ACL:
        return apply_set_acl(a, &body->set_acl);
    case OP_CREATE_SESSION:
        return ledger_session_set(&a->t->ledger, a->header->client_id,
                                  body->create_session.timeout_ms)
                   ? TREE_ENOMEM
                   : 0;
    case OP_CLOSE_SESSION:
        return apply_close_session(a, body->close_session.paths);
    case OP_CHECK:
    case OP_ERROR:
        return 0;
    default:
        CHECK(!"txn_body_read() knows no other");
        return ZK_MARSHALLINGERROR;
    }
}

static int apply_body(struct apply *a, const struct txn_body *body)
{
    if (body->type != OP_MULTI)
        return apply_part(a, body);
    if (txn_multi_failed(body->multi)) /* nothing of it was done (section 3.4) */
        return 0;
    struct txn_multi multi = body->multi;
    struct txn_body part;
    int rc = 0;
    while (rc == 0 && txn_multi_next(&multi, &part))
        rc = apply_part(a, &part);
    return rc;
}

/* While loading nobody reads yet: nothing needs to wait for anybody. */
static void show_at_once(struct tree *t)
{
    zxid_t z = tree_newest_zxid(t);
    struct tree_txn *txns = tree_commit(t, z);
    store_show(t->store, z);
    store_retire(t->store, &txns);
    ledger_forget(&t->ledger, z);
}

int tree_apply(struct tree *t, const struct txn_header *header, struct bytes body)
{
    struct apply a = {t, header};
    struct txn_body decoded;
    struct jute_reader r = jute_reader_of(body.data, body.size);
    if (!txn_type_loggable(header->type) || header->zxid <= tree_newest_zxid(t) ||
        txn_body_read(header->type, &r, &decoded))
        return ZK_MARSHALLINGERROR;
    uint64_t ignored_before = t->apply_ignored;
    if (tree_begin(t, header->zxid))
        return TREE_ENOMEM;
    int rc = apply_body(&a, &decoded);
    if (rc) {
        tree_abort(t);
        t->apply_ignored = ignored_before;
        return rc;
    }
    rc = tree_end(t);
    if (rc == 0 && t->loading)
        show_at_once(t);
    return rc;
}
