/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * getAllChildrenNumber: counts descendants by walking the tree at a pinned zxid, a slice per step,
 * so that a directory of millions delays nobody (hazards.md section 0, row K).
 */
#include <stdlib.h>

#include "client/wire/check.h"
#include "dataplane/control.h"

static void walk_answer(struct control *c, struct op *op, int32_t err, int32_t count)
{
    uint8_t number[4];
    be32_store(number, (uint32_t)count);
    op->err = err;
    if (!err && !op_answer(op, number, sizeof number))
        op->err = ZK_MARSHALLINGERROR;
    control_finish(c, op);
}

/* The znode at the committed state, or the error to answer. */
static int32_t walk_refused(struct control *c, const struct op *op, const struct request *request)
{
    if (!request->path.data)
        return ZK_MARSHALLINGERROR;
    struct tree_key key = store_key(c->store, request->path);
    const struct version *v = version_at(index_find(store_index(c->store), key), op->zxid);
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
        err = walk_refused(c, op, &request);
    struct walk *walk = !err && c->walk_count < WALKS_MAX ? calloc(1, sizeof *walk) : NULL;
    if (!walk) {
        walk_answer(c, op, err ? err : ZK_MARSHALLINGERROR, 0);
        return;
    }
    (void)store_pin(c->store);
    walk->op = op;
    walk->at = store_walk_begin(c->store, request.path, op->zxid);
    /*
     * The znode itself is not counted; the root under its other name "" counts its alias "/" (as
     * ZooKeeper's map).
     */
    walk->count = request.path.size ? -1 : 0;
    walk->next = c->walks;
    c->walks = walk;
    c->walk_count++;
}

/* One slice. True when it has reached the end. */
static bool walk_slice(struct walk *walk)
{
    struct bytes path;
    const struct version *v;
    for (int i = 0; i < WALK_STEP_NODES; i++) {
        if (!walk->at || !store_walk_next(walk->at, &path, &v))
            return true;
        walk->count++;
    }
    return false;
}

bool control_walk_step(struct control *c)
{
    struct walk **link = &c->walks;
    while (*link) {
        struct walk *walk = *link;
        if (!walk_slice(walk)) {
            link = &walk->next;
            continue;
        }
        *link = walk->next;
        c->walk_count--;
        walk_answer(c, walk->op, walk->at ? 0 : ZK_MARSHALLINGERROR, walk->count);
        if (walk->at)
            store_walk_end(walk->at);
        store_unpin(c->store);
        free(walk);
    }
    return c->walks != NULL;
}
