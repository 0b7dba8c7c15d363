/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The burst: requests of many connections, served in stages so that cache misses overlap.
 *
 *   burst_add   decode, hash the path, prefetch the bucket
 *   burst_run   1. tag match in the bucket, prefetch the version   2. read it, build the reply
 *
 * Order within a connection is the order of the items (C1).
 */
#include "client/wire/check.h"
#include "dataplane/core.h"

/* The shape of exists, getData, getChildren and getChildren2, read in place: path, watch. getACL's,
 * without the watch, is left to request_decode(), as is everything malformed or null. */
static bool decode_path_watch(struct bytes body, struct request *out)
{
    if (body.size < 5)
        return false;
    uint32_t size = be32_load(body.data);
    if (size > body.size - 5)
        return false;
    out->path = (struct bytes){body.data + 4, size};
    out->watch = body.data[4 + size] != 0;
    return true;
}

static bool names_a_znode(const struct opcode_info *info)
{
    return info && info->class == CLASS_READ && info->number != OP_MULTI_READ &&
           info->number != OP_WHO_AM_I;
}

bool burst_add_read(struct core *core, struct conn *conn, const uint8_t *frame, uint32_t size)
{
    uint32_t type = size >= REQUEST_HEADER_BYTES ? be32_load(frame + 4) : 0;
    const struct opcode_info *info = type < QUICK_ROWS ? core->quick_rows[type] : NULL;
    if (!info)
        return false;
    CHECK(core->burst_count < BURST_ITEMS_MAX);
    struct burst_item *item = &core->burst[core->burst_count];
    struct bytes body = {frame + REQUEST_HEADER_BYTES, size - REQUEST_HEADER_BYTES};
    if (!decode_path_watch(body, &item->request))
        return false;
    core->burst_count++;
    conn->burst_items++;
    item->conn = conn;
    item->info = info;
    item->xid = (int32_t)be32_load(frame);
    item->op = NULL;
    item->body = body;
    item->well_formed = item->finds = true;
    item->key = tree_key_of(core->secret, item->request.path);
    index_prefetch(core->index_of_tree, item->key);
    return true;
}

void burst_add(struct core *core, struct conn *conn, const struct opcode_info *info, int32_t xid,
               struct bytes body, struct op *op)
{
    CHECK(core->burst_count < BURST_ITEMS_MAX);
    struct burst_item *item = &core->burst[core->burst_count++];
    item->conn = conn;
    item->info = info;
    item->xid = xid;
    item->op = op;
    item->body = body;
    item->version = NULL;
    conn->burst_items++;
    bool znode = names_a_znode(info);
    item->finds = znode && decode_path_watch(body, &item->request);
    item->well_formed = item->finds || (info && request_decode(info, body, &item->request) == 0);
    item->finds = item->finds || (znode && item->well_formed && item->request.path.data);
    if (item->finds) {
        item->key = tree_key_of(core->secret, item->request.path);
        index_prefetch(core->index_of_tree, item->key);
    }
    /*
     * Ids that an auth packet adds count for everything behind it, also for what goes to the
     * control core.
     */
    if (info && info->class == CLASS_CONN && info->number != OP_PING)
        burst_run(core);
}

static void burst_find(struct core *core)
{
    for (uint32_t i = 0; i < core->burst_count; i++) {
        struct burst_item *item = &core->burst[i];
        if (!item->finds)
            continue;
        item->version = index_candidate(core->index_of_tree, item->key);
        if (item->version) /* its first two lines are on their way */
            __builtin_prefetch((const uint8_t *)item->version + 128);
    }
}

/* C4: a peer that has OUTPUT_PAUSE_BYTES to take first is served the rest later, in order. */
static bool burst_postpones(const struct conn *conn)
{
    return conn->postponed || conn->out_bytes > OUTPUT_PAUSE_BYTES;
}

static struct op *burst_postpone(struct core *core, struct burst_item *item)
{
    struct conn *conn = item->conn;
    conn->postponed = true;
    struct op *op = item->op;
    item->op = NULL;
    return op ? op : conn_postpone(core, conn, item->info, item->xid, item->body);
}

/* Back to the front of what waits, the last one first. */
static void burst_put_back(struct core *core, struct op **ops, uint32_t count)
{
    while (count--) {
        struct conn *conn = ops[count]->conn;
        conn->postponed = false;
        if (conn->state != CONN_ESTABLISHED) {
            op_free(ops[count]);
            continue;
        }
        op_list_push_front(&conn->waiting, ops[count]);
        core_mark_dirty(core, conn); /* so that conn_output_drained() looks at it */
    }
}

static void burst_serve(struct core *core, struct burst_item *item)
{
    if (item->finds)
        item->version = version_at(
            index_confirm(core->index_of_tree, item->key, item->version), core->visible);
    if (item->info != core->quick_rows[OP_GET_DATA] || !serve_get_data_quick(core, item))
        serve_item(core, item);
}

void burst_run(struct core *core)
{
    if (core->burst_count == 0)
        return;
    burst_find(core);
    uint32_t count = core->burst_count, postponed = 0;
    struct op *later[BURST_ITEMS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        struct burst_item *item = &core->burst[i];
        struct conn *conn = item->conn;
        if (conn->state == CONN_ESTABLISHED) {
            if (UNLIKELY(burst_postpones(conn))) {
                later[postponed] = burst_postpone(core, item);
                postponed += later[postponed] != NULL;
            } else {
                burst_serve(core, item);
            }
        }
        if (item->op) {
            conn->pending_bytes -= item->op->body_size;
            op_free(item->op);
        }
        conn_burst_item_done(core, conn);
    }
    CHECK(core->burst_count == count); /* serving adds nothing */
    core->burst_count = 0;
    burst_put_back(core, later, postponed);
}
