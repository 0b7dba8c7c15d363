/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The burst: requests of many connections, served in stages so that cache misses overlap.
 *
 *   burst_add   decode, hash the path, prefetch the bucket
 *   burst_run   1. tag match in the bucket, prefetch the version   2. read it, build the reply
 *
 * Order within a connection is the order of the items (C1). Items that follow one another on a
 * connection are its run: what is per connection, is done once for it.
 */
#include "client/wire/check.h"
#include "dataplane/core.h"

/* The shape of exists, getData, getChildren and getChildren2, read in place: path, watch. getACL's,
 * without the watch, is left to request_decode(), as is everything malformed or null. */
#define PATH_WATCH_BYTES_MIN 5
static inline bool decode_path_watch(struct bytes body, struct request *out)
{
    if (body.size < PATH_WATCH_BYTES_MIN)
        return false;
    uint32_t size = be32_load(body.data);
    if (size > body.size - PATH_WATCH_BYTES_MIN)
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

/* A read at the front of the input. @return bytes of its frame; 0: it is something else, malformed
 * or not here in whole. */
static inline uint32_t item_of_read(struct core *core, struct burst_item *item,
                                    const uint8_t *bytes, size_t n)
{
    if (n < 4 + REQUEST_HEADER_BYTES)
        return 0;
    uint32_t size = be32_load(bytes), type = be32_load(bytes + 8);
    if (size > n - 4 || size > core->frame_bytes_max ||
        size < REQUEST_HEADER_BYTES + PATH_WATCH_BYTES_MIN || type >= QUICK_ROWS)
        return 0;
    item->body = (struct bytes){bytes + 4 + REQUEST_HEADER_BYTES, size - REQUEST_HEADER_BYTES};
    item->info = core->quick_rows[type];
    if (!item->info || !decode_path_watch(item->body, &item->request))
        return 0;
    item->quick = type == OP_GET_DATA && !item->request.watch;
    item->xid = (int32_t)be32_load(bytes + 4);
    item->op = NULL;
    item->well_formed = item->finds = true;
    item->key = tree_key_of(core->secret, item->request.path);
    index_prefetch(core->index_of_tree, item->key);
    return 4 + size;
}

const uint8_t *burst_add_reads(struct core *core, struct conn *conn, const uint8_t *p,
                               const uint8_t *end)
{
    struct burst_item *item = &core->burst[core->burst_count];
    uint32_t taken = 0;
    for (uint32_t size; item < &core->burst[BURST_ITEMS_MAX]; p += size, item++, taken++) {
        size = item_of_read(core, item, p, (size_t)(end - p));
        if (size == 0)
            break;
        item->conn = conn;
    }
    if (LIKELY(taken != 0)) {
        core->burst_count += taken;
        conn->burst_items = (uint8_t)(conn->burst_items + taken);
        conn_note_requests(core, conn, taken);
    }
    return p;
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
    item->quick = false;
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

/* Not inlined: a loop with registers of its own. */
__attribute__((noinline)) static void burst_find(struct core *core)
{
    const struct index *index = core->index_of_tree;
    struct burst_item *end = &core->burst[core->burst_count];
    for (struct burst_item *item = core->burst; item < end; item++) {
        if (!item->finds)
            continue;
        item->version = index_candidate(index, item->key);
        if (item->version) { /* its first two lines are on their way; 100 bytes of data take four */
            __builtin_prefetch((const uint8_t *)item->version + 128);
            __builtin_prefetch((const uint8_t *)item->version + 192);
        }
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

/* One item in the general way. @return what has to wait; see burst_postpone(). */
static struct op *burst_serve(struct core *core, struct burst_item *item)
{
    struct conn *conn = item->conn;
    struct op *later = NULL;
    if (conn->state == CONN_ESTABLISHED) {
        if (UNLIKELY(burst_postpones(conn))) {
            later = burst_postpone(core, item);
        } else {
            if (item->finds)
                item->version = version_at(
                    index_confirm(core->index_of_tree, item->key, item->version), core->visible);
            serve_item(core, item);
        }
    }
    if (item->op) {
        conn->pending_bytes -= item->op->body_size;
        op_free(item->op);
    }
    conn_burst_items_done(core, conn, 1);
    return later;
}

void burst_run(struct core *core)
{
    if (core->burst_count == 0)
        return;
    burst_find(core);
    uint32_t count = core->burst_count, postponed = 0;
    struct op *later[BURST_ITEMS_MAX];
    struct burst_item *item = core->burst, *end = item + count, *next;
    for (; item < end; item = next) {
        struct conn *conn = item->conn;
        next = item;
        if (LIKELY(item->quick && conn->state == CONN_ESTABLISHED && !burst_postpones(conn)))
            next = serve_get_data_run(core, item, end);
        if (UNLIKELY(next == item)) {
            later[postponed] = burst_serve(core, item);
            postponed += later[postponed] != NULL;
            next = item + 1;
        }
    }
    CHECK(core->burst_count == count); /* serving adds nothing */
    core->burst_count = 0;
    burst_put_back(core, later, postponed);
}
