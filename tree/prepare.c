/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Checking writes and making txns of them (semantics.md section 4).
 *
 * Where ours differs from PrepRequestProcessor: opcode 20 is only known from the server itself;
 * createTTL with a plain flag and a negative ttl is -8 instead of the end of the process
 * (semantics.md section 21); entries that could not be read back are refused with -8 (G5).
 */
#include "tree/prepare_internal.h"

int write_room(struct write *w, size_t n, struct jute_writer *out)
{
    size_t bytes = w->entry->size - w->entry_start + n + TXN_DIGEST_BYTES;
    if (bytes > w->t->config.entry_bytes_max)
        return ZK_BADARGUMENTS;
    uint8_t *p = buffer_room(w->entry, n);
    if (!p)
        return TREE_ENOMEM;
    *out = jute_writer_of(p, n);
    return 0;
}

void write_cut(struct write *w, size_t entry_size, size_t reply_size)
{
    CHECK(entry_size <= w->entry->size && reply_size <= w->reply->size);
    w->entry->size = entry_size;
    w->entry->failed = false;
    w->reply->size = reply_size;
    w->reply->failed = false;
}

void write_result(struct write *w, int32_t type)
{
    if (!w->multi)
        return;
    buffer_put_int(w->reply, type);
    buffer_put_bool(w->reply, false);
    buffer_put_int(w->reply, ZK_OK);
}

void write_stat(struct write *w, struct tree_key key)
{
    const struct version *v = store_newest(w->t->store, key);
    CHECK(v);
    buffer_put_raw(w->reply, v->stat, STAT_BYTES);
}

int32_t prepare_txn_type(const struct write *w, const struct opcode_info *op)
{
    /* 3.8.0 and 3.8.1 stop in the middle of a multi at sub-type 15 (disk-formats.md section
     * 3.4). */
    bool plain = w->multi && op->number == OP_CREATE2 && !w->t->config.multi_create2;
    return plain ? OP_CREATE : op->number;
}

/* --- operations --- */

int prepare_delete(struct write *w, const struct request *q)
{
    struct tree *t = w->t;
    if (!q->path.data)
        return ZK_MARSHALLINGERROR;
    if (!path_splittable(q->path) || path_special(q->path))
        return ZK_BADARGUMENTS;
    const struct version *parent = tree_newest(t, path_parent(q->path));
    if (!parent)
        return ZK_NONODE;
    if (!tree_allows(t, parent, PERM_DELETE, w->rq->auth))
        return ZK_NOAUTH;
    const struct version *v = tree_newest(t, q->path);
    if (!v)
        return ZK_NONODE;
    if (q->version != -1 && q->version != (int32_t)be32_load(v->stat + STAT_VERSION))
        return ZK_BADVERSION;
    if (version_num_children(v) != 0)
        return ZK_NOTEMPTY;
    struct jute_writer out;
    int rc = write_room(w, jute_bytes_size(q->path), &out);
    if (rc)
        return rc;
    txn_delete_write(&out, q->path);
    write_result(w, OP_DELETE);
    return tree_node_remove(t, q->path);
}

/* Only from the reaper: no session, no ACL (section 4.6). */
static int prepare_delete_container(struct write *w, const struct request *q)
{
    struct tree *t = w->t;
    if (!q->path.data || !path_splittable(q->path) || path_special(q->path))
        return ZK_BADARGUMENTS;
    const struct version *v = tree_newest(t, q->path);
    if (!v)
        return ZK_NONODE;
    if (version_num_children(v) != 0)
        return ZK_NOTEMPTY;
    if (owner_kind_of(version_owner_raw(v)) == OWNED_SESSION)
        return ZK_BADVERSION;
    struct jute_writer out;
    int rc = write_room(w, jute_bytes_size(q->path), &out);
    if (rc)
        return rc;
    txn_delete_write(&out, q->path);
    return tree_node_remove(t, q->path);
}

int prepare_set_data(struct write *w, const struct request *q)
{
    struct tree *t = w->t;
    if (!q->path.data && w->multi)
        return ZK_MARSHALLINGERROR;
    if (!path_valid(q->path))
        return ZK_BADARGUMENTS;
    struct tree_key key = store_key(t->store, q->path);
    const struct version *v = store_newest(t->store, key);
    if (!v)
        return ZK_NONODE;
    if (!tree_allows(t, v, PERM_WRITE, w->rq->auth))
        return ZK_NOAUTH;
    if (t->config.enforce_quota &&
        quota_check(t, q->path, 0, (int64_t)q->data.size - version_data_size(v)) != 0)
        return ZK_QUOTAEXCEEDED;
    int32_t version = (int32_t)be32_load(v->stat + STAT_VERSION);
    if (q->version != -1 && q->version != version)
        return ZK_BADVERSION;
    version = (int32_t)((uint32_t)version + 1); /* wraps, and may become -1 (section 7) */
    struct jute_writer out;
    int rc = write_room(w, jute_bytes_size(q->path) + jute_bytes_size(q->data) + 4, &out);
    if (rc)
        return rc;
    struct txn_set_data set = {q->path, q->data, version};
    txn_set_data_write(&out, &set);
    rc = tree_node_set_data(t, &set, key, w->rq->zxid, w->rq->time_ms);
    if (rc)
        return rc;
    write_result(w, OP_SET_DATA);
    write_stat(w, key);
    return 0;
}

static int prepare_set_acl(struct write *w, const struct request *q)
{
    struct tree *t = w->t;
    if (!path_valid(q->path))
        return ZK_BADARGUMENTS;
    int rc = acl_fix(q->acl, w->rq->auth, buffer_reset(&t->acl));
    if (rc)
        return rc;
    struct tree_key key = store_key(t->store, q->path);
    const struct version *v = store_newest(t->store, key);
    if (!v)
        return ZK_NONODE;
    if (!tree_allows(t, v, PERM_ADMIN, w->rq->auth))
        return ZK_NOAUTH;
    int32_t aversion = (int32_t)be32_load(v->stat + STAT_AVERSION);
    if (q->version != -1 && q->version != aversion)
        return ZK_BADVERSION;
    aversion = (int32_t)((uint32_t)aversion + 1);
    struct bytes wire = buffer_bytes(&t->acl);
    struct jute_writer out;
    rc = write_room(w, jute_bytes_size(q->path) + wire.size + 4, &out);
    if (rc)
        return rc;
    txn_set_acl_write(
        &out, &(struct txn_set_acl){q->path, {wire, (int32_t)be32_load(wire.data)}, aversion});
    uint32_t id;
    if (acl_intern(store_acls(t->store), wire, &id))
        return TREE_ENOMEM;
    if (store_set_acl(t->store, q->path, id, aversion)) {
        acl_drop(store_acls(t->store), id);
        return TREE_ENOMEM;
    }
    write_stat(w, key);
    return 0;
}

int prepare_check(struct write *w, const struct request *q)
{
    if (!q->path.data)
        return ZK_MARSHALLINGERROR;
    if (!path_valid(q->path))
        return ZK_BADARGUMENTS;
    const struct version *v = tree_newest(w->t, q->path);
    if (!v)
        return ZK_NONODE;
    if (!tree_allows(w->t, v, PERM_READ, w->rq->auth))
        return ZK_NOAUTH;
    int32_t version = (int32_t)be32_load(v->stat + STAT_VERSION);
    if (q->version != -1 && q->version != version)
        return ZK_BADVERSION;
    struct jute_writer out;
    int rc = write_room(w, jute_bytes_size(q->path) + 4, &out);
    if (rc)
        return rc;
    txn_check_write(&out, q->path, (int32_t)((uint32_t)version + 1));
    write_result(w, OP_CHECK);
    return 0;
}

static int prepare_create_session(struct write *w, const struct request *q)
{
    struct jute_writer out;
    int rc = write_room(w, 4, &out);
    if (rc)
        return rc;
    txn_create_session_write(&out, q->flags);
    return ledger_session_set(&w->t->ledger, w->rq->session, q->flags) ? TREE_ENOMEM : 0;
}

/* How many of the owner's paths fit into one entry. All do when this server accepted them (G5); of
 * a session loaded from elsewhere the rest is not listed: whoever applies the txn removes it all
 * the same (disk-formats.md section 4). */
static int32_t close_paths_count(const struct tree *t, const struct owner *o, size_t *bytes)
{
    int32_t count = 0;
    *bytes = 0;
    for (const struct mark *m = o->marks.first; m; m = m->next) {
        size_t more = 4 + (size_t)m->path_size;
        if (CLOSE_SESSION_BYTES_MIN + *bytes + more > t->config.entry_bytes_max)
            break;
        *bytes += more;
        count++;
    }
    return count;
}

static int prepare_close_session(struct write *w)
{
    struct tree *t = w->t;
    struct owner *o = ledger_owner(&t->ledger, w->rq->session);
    size_t bytes = 0;
    int32_t count = o ? close_paths_count(t, o, &bytes) : 0;
    struct jute_writer out;
    int rc = write_room(w, 4 + bytes, &out);
    if (rc)
        return rc;
    txn_close_session_write(&out, count);
    const struct mark *m = o ? o->marks.first : NULL;
    for (int32_t i = 0; i < count; i++, m = m->next)
        jute_write_bytes(&out, mark_path(m));
    CHECK(!out.failed && out.p == out.end);
    return tree_session_end(t, w->rq->session);
}

/* A standalone server has no configuration to change (section 16). */
static int prepare_reconfig(const struct write *w)
{
    return w->t->config.reconfig_enabled ? ZK_UNIMPLEMENTED : ZK_RECONFIGDISABLED;
}

/* The dispatch over what may be written. */
static int prepare_operation(struct write *w, const struct request *q)
{
    switch (w->rq->op->number) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        return prepare_create(w, w->rq->op, q);
    case OP_DELETE:
        return prepare_delete(w, q);
    case OP_DELETE_CONTAINER:
        return w->rq->auth ? ZK_BADARGUMENTS : prepare_delete_container(w, q);
    case OP_SET_DATA:
        return prepare_set_data(w, q);
    case OP_SET_ACL:
        return prepare_set_acl(w, q);
    case OP_MULTI:
        return prepare_multi(w, q);
    case OP_RECONFIG:
        return prepare_reconfig(w);
    case OP_CREATE_SESSION:
        return prepare_create_session(w, q);
    case OP_CLOSE_SESSION:
        return prepare_close_session(w);
    default:
        CHECK(!"not a write");
        return ZK_UNIMPLEMENTED;
    }
}

/* --- the entry around it --- */

static int header_put(struct write *w, int32_t type)
{
    uint8_t *p = buffer_room(w->entry, TXN_HEADER_BYTES);
    if (!p)
        return TREE_ENOMEM;
    struct jute_writer out = jute_writer_of(p, TXN_HEADER_BYTES);
    txn_header_write(
        &out, &(struct txn_header){w->rq->session, w->rq->cxid, w->rq->zxid, w->rq->time_ms, type});
    return 0;
}

static int digest_put(struct write *w)
{
    if (!w->t->config.digest_enabled)
        return 0;
    uint8_t *p = buffer_room(w->entry, TXN_DIGEST_BYTES);
    if (!p)
        return TREE_ENOMEM;
    struct jute_writer out = jute_writer_of(p, TXN_DIGEST_BYTES);
    txn_digest_write(&out, tree_digest(w->t));
    return 0;
}

/* A refused request keeps its zxid: an error txn, without digest. */
static int refuse(struct write *w, int32_t code)
{
    write_cut(w, w->entry_start, w->reply_start);
    if (tree_begin(w->t, w->rq->zxid))
        return TREE_ENOMEM;
    int rc = header_put(w, OP_ERROR);
    if (rc == 0)
        buffer_put_int(w->entry, code);
    if (rc || w->entry->failed) {
        tree_abort(w->t);
        return TREE_ENOMEM;
    }
    return tree_end(w->t);
}

static int accept(struct write *w, const struct request *q)
{
    if (tree_begin(w->t, w->rq->zxid))
        return TREE_ENOMEM;
    w->open = true;
    int rc = header_put(w, w->rq->op->number);
    if (rc == 0)
        rc = prepare_operation(w, q);
    if (rc == 0)
        rc = digest_put(w);
    if (rc == 0 && w->reply->failed)
        rc = TREE_ENOMEM;
    if (rc) {
        if (w->open)
            tree_abort(w->t);
        return rc;
    }
    CHECK(w->entry->size - w->entry_start <= w->t->config.entry_bytes_max);
    return tree_end(w->t);
}

enum tree_verdict tree_prepare(struct tree *t, const struct tree_request *request,
                               struct buffer *entry, struct tree_answer *answer)
{
    CHECK(!t->loading && request->zxid > tree_newest_zxid(t) && !entry->failed &&
          !answer->body->failed);
    struct write w = {.t = t,
                      .rq = request,
                      .entry = entry,
                      .reply = answer->body,
                      .entry_start = entry->size,
                      .reply_start = answer->body->size};
    struct request q;
    int rc = request_decode(request->op, request->body, &q);
    /* An undecodable multi takes its zxid (section 2), nothing else does. */
    if (rc && request->op->number != OP_MULTI) {
        answer->err = rc;
        return TREE_NO_TXN;
    }
    if (rc == 0)
        rc = accept(&w, &q);
    answer->err = rc;
    if (rc && rc != TREE_ENOMEM)
        rc = refuse(&w, rc);
    if (rc) {
        write_cut(&w, w.entry_start, w.reply_start);
        return TREE_ENOMEM;
    }
    return TREE_TXN;
}
