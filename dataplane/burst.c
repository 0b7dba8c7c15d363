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

static bool names_a_znode(const struct opcode_info *info)
{
    return info && info->class == CLASS_READ && info->number != OP_MULTI_READ && info->number != OP_WHO_AM_I;
}

void burst_add(struct core *core, struct conn *conn, const struct opcode_info *info, int32_t xid, struct bytes body,
               struct op *op)
{
    if (core->burst_count == BURST_ITEMS_MAX)
        burst_run(core);
    struct burst_item *item = &core->burst[core->burst_count++];
    item->conn = conn;
    item->info = info;
    item->xid = xid;
    item->op = op;
    item->version = NULL;
    item->well_formed = info && request_decode(info, body, &item->request) == 0;
    conn->burst_items++;
    if (names_a_znode(info) && item->well_formed && item->request.path.data) {
        item->key = store_key(core->store, item->request.path);
        index_prefetch(store_index(core->store), item->key);
    }
    /* Ids that an auth packet adds count for everything behind it, also for what goes to the control core. */
    if (info && info->class == CLASS_CONN && info->number != OP_PING)
        burst_run(core);
}

static void burst_find(struct core *core)
{
    const struct index *index = store_index(core->store);
    for (uint32_t i = 0; i < core->burst_count; i++) {
        struct burst_item *item = &core->burst[i];
        if (!names_a_znode(item->info) || !item->well_formed || !item->request.path.data)
            continue;
        item->version = index_candidate(index, item->key);
        if (item->version) {
            __builtin_prefetch((const uint8_t *)item->version + 64);
            __builtin_prefetch((const uint8_t *)item->version + 128);
        }
    }
}

/* The candidate matched 16 bits of the hash; another 64 are compared here. */
static const struct version *burst_version(struct core *core, const struct burst_item *item)
{
    const struct version *v = item->version;
    if (v && v->key_lo != item->key.lo)
        v = index_find(store_index(core->store), item->key);
    return version_at(v, core->visible);
}

void burst_run(struct core *core)
{
    if (core->burst_count == 0)
        return;
    burst_find(core);
    uint32_t count = core->burst_count;
    for (uint32_t i = 0; i < count; i++) {
        struct burst_item *item = &core->burst[i];
        struct conn *conn = item->conn;
        if (conn->state == CONN_ESTABLISHED) {
            if (item->version)
                item->version = burst_version(core, item);
            serve_item(core, item);
        }
        if (item->op) {
            conn->pending_bytes -= item->op->body_size;
            op_free(item->op);
        }
        conn_burst_item_done(core, conn);
    }
    CHECK(core->burst_count == count); /* serving adds nothing */
    core->burst_count = 0;
}
