/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* create, create2, createContainer, createTTL: semantics.md sections 4.1 and 8, client-protocol.md
 * section 7. */
#include <stdio.h>

#include "tree/prepare_internal.h"

#define FLAGS_MAX 6
#define FLAGS_TTL_MIN 5
#define SEQUENCE_BYTES_MAX 11 /* a sign and ten digits */

struct create_mode {
    bool ephemeral, sequential;
    int64_t owner_raw;
};

/* Steps 1 to 3: what the flags, the opcode and the ttl ask for together. */
static int create_mode(const struct write *w, const struct opcode_info *op, const struct request *q,
                       struct create_mode *mode)
{
    bool ttl_op = op->number == OP_CREATE_TTL, container = op->number == OP_CREATE_CONTAINER;
    if (q->flags < 0 || q->flags > FLAGS_MAX)
        return ZK_BADARGUMENTS;
    bool ttl_flag = q->flags >= FLAGS_TTL_MIN;
    if (ttl_flag && !w->t->config.extended_types)
        return ZK_UNIMPLEMENTED;
    if (ttl_flag != ttl_op || (ttl_op && (q->ttl < 1 || q->ttl > TTL_MS_MAX)))
        return ZK_BADARGUMENTS;
    mode->ephemeral = !container && (q->flags == 1 || q->flags == 3);
    mode->sequential = q->flags == 2 || q->flags == 3 || q->flags == FLAGS_MAX;
    mode->owner_raw = mode->ephemeral ? w->rq->session
                      : container     ? OWNER_CONTAINER
                      : ttl_op        ? (OWNER_TTL_MASK | q->ttl)
                                      : 0;
    return 0;
}

/* Step 9. The suffix is the parent's count of creations so far. */
static int sequence_append(struct write *w, const struct version *parent, struct bytes *path)
{
    struct buffer *b = buffer_reset(&w->t->path);
    char suffix[SEQUENCE_BYTES_MAX + 1];
    int n = snprintf(suffix, sizeof suffix, "%010d", parent->cversion);
    buffer_put_raw(b, path->data, path->size);
    buffer_put_raw(b, suffix, (size_t)n);
    if (b->failed) /* an entry with this path would be too long as well */
        return ZK_BADARGUMENTS;
    *path = buffer_bytes(b);
    return 0;
}

/* G5: the closeSession of the owner must fit into an entry, this path included. */
static bool close_fits(const struct write *w, struct bytes path)
{
    const struct owner *o = ledger_owner(&w->t->ledger, w->rq->session);
    return CLOSE_SESSION_BYTES_MIN + o->close_bytes + 4 + path.size <= w->t->config.entry_bytes_max;
}

/* Steps 4 to 13. *path: in the one asked for, out the final one. *parent_cversion: the parent's new
 * one. */
static int create_check(struct write *w, const struct request *q, const struct create_mode *mode,
                        struct bytes *path, int32_t *parent_cversion)
{
    struct tree *t = w->t;
    const struct owner *o = mode->ephemeral ? ledger_owner(&t->ledger, w->rq->session) : NULL;
    if (mode->ephemeral && !(o && o->is_session))
        return ZK_SESSIONEXPIRED;
    if (!path->data)
        return ZK_MARSHALLINGERROR;
    if (!path_splittable(*path))
        return ZK_BADARGUMENTS;
    int rc = acl_fix(q->acl, w->rq->auth, buffer_reset(&t->acl));
    if (rc)
        return rc;
    const struct version *parent = tree_newest(t, path_parent(*path));
    if (!parent)
        return ZK_NONODE;
    if (!tree_allows(t, parent, PERM_CREATE, w->rq->auth))
        return ZK_NOAUTH;
    rc = mode->sequential ? sequence_append(w, parent, path) : 0;
    if (rc)
        return rc;
    if (!path_valid(*path))
        return ZK_BADARGUMENTS;
    if (tree_newest(t, *path))
        return ZK_NODEEXISTS;
    if (owner_kind_of(version_owner_raw(parent)) == OWNED_SESSION)
        return ZK_NOCHILDRENFOREPHEMERALS;
    if (t->config.enforce_quota && quota_check(t, *path, 1, q->data.size) != 0)
        return ZK_QUOTAEXCEEDED;
    if (mode->ephemeral && !close_fits(w, *path))
        return ZK_BADARGUMENTS;
    /* At its end the counter stays where it is, as upstream's tree does (semantics.md, Additions
     * 10). */
    *parent_cversion = parent->cversion == INT32_MAX ? INT32_MAX : parent->cversion + 1;
    return 0;
}

static int create_log(struct write *w, int32_t type, const struct txn_create *txn)
{
    size_t bytes = jute_bytes_size(txn->path) + jute_bytes_size(txn->data) + txn->acl.raw.size + 4;
    bytes += type == OP_CREATE_TTL ? 8 : type == OP_CREATE_CONTAINER ? 0 : 1;
    struct jute_writer out;
    int rc = write_room(w, bytes, &out);
    if (rc)
        return rc;
    txn_create_write(&out, type, txn);
    CHECK(!out.failed && out.p == out.end);
    return 0;
}

int prepare_create(struct write *w, const struct opcode_info *op, const struct request *q)
{
    struct tree *t = w->t;
    struct create_mode mode;
    struct bytes path = q->path;
    int32_t parent_cversion;
    int rc = create_mode(w, op, q, &mode);
    if (rc == 0)
        rc = create_check(w, q, &mode, &path, &parent_cversion);
    if (rc)
        return rc;
    struct bytes wire = buffer_bytes(&t->acl);
    struct txn_create txn = {.path = path,
                             .data = q->data,
                             .acl = {wire, (int32_t)be32_load(wire.data)},
                             .ephemeral = mode.ephemeral,
                             .parent_cversion = parent_cversion,
                             .ttl_ms = q->ttl};
    rc = create_log(w, prepare_txn_type(w, op), &txn);
    if (rc)
        return rc;
    zxid_t z = w->rq->zxid;
    struct store_node node = {.path = path, .data = q->data};
    node.stat = (struct stat_persisted){.czxid = z,
                                        .mzxid = z,
                                        .pzxid = z,
                                        .ctime = w->rq->time_ms,
                                        .mtime = w->rq->time_ms,
                                        .ephemeral_owner = mode.owner_raw};
    if (acl_intern(store_acls(t->store), wire, &node.acl))
        return TREE_ENOMEM;
    rc = tree_node_add(t, &node, parent_cversion);
    if (rc)
        return rc;
    write_result(w, op->number == OP_CREATE ? OP_CREATE : OP_CREATE2);
    buffer_put_bytes(w->reply, path);
    if (op->number != OP_CREATE)
        write_stat(w, store_key(t->store, path));
    return 0;
}
