/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * getAllChildrenNumber: counts descendants by walking the tree at a pinned zxid, a slice per step,
 * so that a directory of millions delays nobody (hazards.md section 0, row K).
 *
 * Meanwhile the connection gets the events of later txns, so an answer about the pinned zxid would
 * show a state before them (G3). What is created and deleted below the path while the walk goes on
 * is therefore counted as it is committed, and the answer is of the txn before it.
 */
#include <stdlib.h>

#include "client/wire/check.h"
#include "dataplane/control.h"
#include "tree/path.h"

static zxid_t committed(const struct control *c)
{
    struct zab_status status;
    zab_status(c->zab, &status);
    return status.committed;
}

static void walk_answer(struct control *c, struct op *op, int32_t err, int32_t count)
{
    uint8_t number[4];
    be32_store(number, (uint32_t)count);
    op->err = err;
    op->zxid = committed(c);
    if (!err && !op_answer(op, number, sizeof number))
        op->err = ZK_MARSHALLINGERROR;
    control_finish(c, op);
}

/* May this connection count below the path, at the committed state? 0 or the error to answer. */
static int32_t walk_refused(struct control *c, const struct op *op, struct bytes path)
{
    if (!path.data)
        return ZK_MARSHALLINGERROR;
    struct tree_key key = store_key(c->store, path);
    const struct version *v = version_at(index_find(store_index(c->store), key), committed(c));
    if (!v)
        return ZK_NONODE;
    bool allowed = c->server->config.skip_acl ||
                   acl_allows(store_acls(c->store), v->acl, PERM_READ, op->auth);
    return allowed ? 0 : ZK_NOAUTH;
}

void control_walk_begin(struct control *c, struct op *op)
{
    struct request request;
    int32_t err = request_decode(op->info, (struct bytes){op->body, op->body_size}, &request);
    if (!err)
        err = walk_refused(c, op, request.path);
    if (!err && c->walk_count == WALKS_MAX) {
        op_list_push(&c->walks_waiting, op);
        return;
    }
    struct walk *walk = err ? NULL : calloc(1, sizeof *walk);
    if (!walk) {
        walk_answer(c, op, err ? err : ZK_MARSHALLINGERROR, 0);
        return;
    }
    (void)store_pin(c->store);
    walk->op = op;
    walk->path = request.path; /* in the op's body */
    walk->at = store_walk_begin(c->store, request.path, committed(c));
    /*
     * The znode itself is not counted; the root under its other name "" counts its alias "/" (as
     * ZooKeeper's map).
     */
    walk->count = request.path.size ? -1 : 0;
    walk->next = c->walks;
    c->walks = walk;
    c->walk_count++;
}

/* A txn is committed that the walks under way do not see. */
void control_walk_note(struct control *c, const struct tree_txn *txn)
{
    for (struct walk *walk = c->walks; walk; walk = walk->next) {
        for (uint32_t i = 0; i < txn->change_count; i++) {
            const struct tree_change *change = &txn->changes[i];
            struct bytes path = {change->path, change->path_size};
            if (change->kind == CHANGE_DATA || path.size <= walk->path.size ||
                !path_under(path, walk->path))
                continue;
            walk->count += change->kind == CHANGE_CREATED ? 1 : -1;
        }
    }
}

/* One slice. True when it has reached the end. */
static bool walk_slice(struct walk *walk, uint32_t nodes)
{
    struct bytes path;
    const struct version *v;
    for (uint32_t i = 0; i < nodes; i++) {
        if (!walk->at || !store_walk_next(walk->at, &path, &v))
            return true;
        walk->count++;
    }
    return false;
}

bool control_walk_step(struct control *c)
{
    struct walk **link = &c->walks;
    uint32_t slice = c->walk_count ? WALK_STEP_NODES / c->walk_count : 0;
    while (*link) {
        struct walk *walk = *link;
        if (!walk_slice(walk, slice)) {
            link = &walk->next;
            continue;
        }
        *link = walk->next;
        c->walk_count--;
        bool whole = walk->at && store_walk_error(walk->at) == 0;
        int32_t err = whole ? walk_refused(c, walk->op, walk->path) : ZK_MARSHALLINGERROR;
        walk_answer(c, walk->op, err, walk->count);
        if (walk->at)
            store_walk_end(walk->at);
        store_unpin(c->store);
        free(walk);
    }
    while (c->walks_waiting.count && c->walk_count < WALKS_MAX)
        control_walk_begin(c, op_list_pop(&c->walks_waiting));
    return c->walks != NULL;
}
