/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Reads, served on the data core at its snapshot (semantics.md section 4.7): no lock, no
 * allocation, no system call. A reply is its header and one or two memcpy of bytes that are kept in
 * wire form.
 */
#include "client/wire/check.h"
#include "dataplane/core.h"
#include "dataplane/server.h"

bool serve_allowed(const struct core *core, const struct conn *conn, uint32_t acl, int32_t perms)
{
    return acl == ACL_OPEN || core->server->config.skip_acl ||
           acl_allows(core->acls, acl, perms, conn->auth);
}

static void reply_error(struct core *core, struct burst_item *item, int32_t err)
{
    conn_reply(core, item->conn, item->xid, core->visible, err, NULL, 0);
}

/* Room for a reply of body_size bytes, header written. NULL: the connection is being cut, or the
 * reply is too large and was answered with an error. */
static uint8_t *reply_begin(struct core *core, struct burst_item *item, uint64_t body_size)
{
    if (UNLIKELY(body_size > REPLY_BYTES_MAX - 4 - REPLY_HEADER_BYTES)) {
        reply_error(core, item, ZK_MARSHALLINGERROR);
        return NULL;
    }
    uint8_t *room = conn_room(core, item->conn, 4 + REPLY_HEADER_BYTES + (size_t)body_size);
    if (UNLIKELY(!room))
        return NULL;
    reply_header_write(room, (uint32_t)body_size, item->xid, core->visible, ZK_OK);
    conn_note_reply(core, item->conn, (size_t)body_size);
    return room + 4 + REPLY_HEADER_BYTES;
}

/*
 * Watch and value belong together: the table holds it from V on, and everything up to V has been
 * drained.
 */
static bool watch_set(struct core *core, struct burst_item *item, unsigned modes)
{
    return watch_add(core->watches, &item->conn->watches, item->key, item->request.path, modes) ==
           0;
}

static void serve_exists(struct core *core, struct burst_item *item)
{
    const struct request *rq = &item->request;
    const struct version *v = item->version;
    if (rq->path.size && memchr(rq->path.data, 0, rq->path.size)) {
        reply_error(core, item, ZK_BADARGUMENTS);
        return;
    }
    if (v && !serve_allowed(core, item->conn, v->acl, PERM_READ)) {
        reply_error(core, item, ZK_NOAUTH);
        return;
    }
    if (rq->watch && !watch_set(core, item, WATCH_DATA)) {
        reply_error(core, item, ZK_BADARGUMENTS);
        return;
    }
    if (!v) {
        reply_error(core, item, ZK_NONODE);
        return;
    }
    uint8_t *p = reply_begin(core, item, STAT_BYTES);
    if (p)
        memcpy(p, v->stat, STAT_BYTES);
}

/* Errors that getData, getChildren and getChildren2 share; 0 when the value may be sent. */
static int32_t read_refused(struct core *core, struct burst_item *item, unsigned watch_modes)
{
    if (!item->version)
        return ZK_NONODE;
    if (!serve_allowed(core, item->conn, item->version->acl, PERM_READ))
        return ZK_NOAUTH;
    if (item->request.watch && !watch_set(core, item, watch_modes))
        return ZK_BADARGUMENTS;
    return 0;
}

/* The header of a reply with that much body, and the length of the data that opens it. */
#define DATA_HEAD_BYTES (4 + REPLY_HEADER_BYTES + 4)
/* larger ones are left to reply_begin(), which refuses them */
#define VALUE_REPLY_BYTES (REPLY_BYTES_MAX - DATA_HEAD_BYTES - STAT_BYTES)

static void serve_value(struct core *core, struct burst_item *item, struct value *value)
{
    uint8_t head[DATA_HEAD_BYTES];
    uint32_t body_size = 4 + value->size + STAT_BYTES;
    reply_header_write(head, body_size, item->xid, core->visible, ZK_OK);
    be32_store(head + 4 + REPLY_HEADER_BYTES, value->size);
    if (conn_reply_value(core, item->conn, (struct bytes){head, sizeof head}, value,
                         (struct bytes){item->version->stat, STAT_BYTES}))
        conn_note_reply(core, item->conn, body_size);
}

static void serve_get_data(struct core *core, struct burst_item *item)
{
    int32_t err = read_refused(core, item, WATCH_DATA);
    if (UNLIKELY(err)) {
        reply_error(core, item, err);
        return;
    }
    const struct version *v = item->version;
    struct value *value = version_value(v);
    if (value && core->value_bytes <= OUTPUT_VALUE_BYTES_MAX && value->size <= VALUE_REPLY_BYTES) {
        serve_value(core, item, value);
        return;
    }
    struct bytes data = version_data(v);
    uint8_t *p = reply_begin(core, item, 4 + (uint64_t)data.size + STAT_BYTES);
    if (UNLIKELY(!p))
        return;
    be32_store(p, data.data ? data.size : (uint32_t)-1);
    if (data.size)
        memcpy(p + 4, data.data, data.size);
    memcpy(p + 4 + data.size, v->stat, STAT_BYTES);
}

/* --- the usual case of getData, a run of them in one piece --- */

/* Where the replies of a run go: to the backend, or to the last chunk of the queue. */
struct run_room {
    struct out_chunk *chunk; /* NULL: the backend's */
    uint8_t *start, *next, *end;
};

/* An empty queue gets a chunk from the pool. @return false: conn_room() has to see to it. */
static inline bool run_queues(struct core *core, struct conn *conn, uint32_t size,
                              struct run_room *room)
{
    struct out_chunk *chunk = conn->out_tail;
    if (!chunk) {
        chunk = core->first_chunks.free;
        if (!chunk || conn->cut || size > OUTPUT_CHUNK_BYTES_FIRST)
            return false; /* an empty chunk must not stay in the queue */
        core->first_chunks.free = chunk->next;
        core->first_chunks.count--;
        chunk->next = NULL;
        chunk->start = chunk->end = 0;
        conn->out_head = conn->out_tail = chunk;
    }
    room->chunk = chunk;
    room->start = room->next = chunk->data + chunk->end;
    room->end = chunk->data + chunk->capacity;
    return size <= chunk->capacity - chunk->end;
}

static inline bool run_begin(struct core *core, struct conn *conn, uint32_t size,
                             struct run_room *room)
{
    const struct conn_backend *backend = conn->backend;
    uint32_t bytes = 0;
    room->start = NULL;
    if (backend->room && !conn->out_tail && !conn->cut)
        room->start = backend->room(core, conn, size, size * conn->burst_items, &bytes);
    if (!room->start)
        return run_queues(core, conn, size, room);
    room->chunk = NULL;
    room->next = room->start;
    room->end = room->start + bytes;
    return true;
}

static inline void run_end(struct core *core, struct conn *conn, const struct run_room *room)
{
    uint32_t bytes = (uint32_t)(room->next - room->start);
    if (!room->chunk) {
        conn->backend->written(core, conn, bytes);
        stat_add(&core->stats.bytes_sent, bytes);
        return;
    }
    room->chunk->end += bytes;
    conn->out_bytes += bytes;
    core->out_bytes += bytes;
    core_mark_dirty(core, conn);
}

/* Bytes of the reply to an item that is as usual: open ACL, no watch, data in the version. 0: it is
 * not. */
static inline uint32_t quick_reply_bytes(const struct core *core, const struct burst_item *item)
{
    const struct version *v = item->version;
    if (!item->quick || !v || v->key_lo != item->key.lo || v->vzxid > core->visible ||
        v->acl != ACL_OPEN ||
        v->flags & (VERSION_DEAD | VERSION_NULL | VERSION_EXTERNAL | VERSION_TTL))
        return 0;
    return DATA_HEAD_BYTES + version_data_size(v) + STAT_BYTES;
}

static inline void quick_reply_write(const struct core *core, const struct burst_item *item,
                                     uint8_t *p, uint32_t size)
{
    const struct version *v = item->version;
    uint32_t data_size = size - DATA_HEAD_BYTES - STAT_BYTES;
    reply_header_write(p, size - 4 - REPLY_HEADER_BYTES, item->xid, core->visible, ZK_OK);
    be32_store(p + 4 + REPLY_HEADER_BYTES, data_size);
    p += DATA_HEAD_BYTES;
    memcpy(p, v->tail, data_size);
    memcpy(p + data_size, v->stat, STAT_BYTES);
}

/* As conn_note_latency(), conn_note_reply() and conn_burst_items_done() of each reply. */
static inline void run_note(struct core *core, struct conn *conn, uint32_t replies)
{
    conn->quick_replies += replies;
    conn->last_op = OPX_GET_DATA;
    conn->last_zxid = core->visible;
    conn->last_response_ms = core->now_ms;
    core->turn.quick_gets += replies;
    core->turn.replies += replies;
    conn_burst_items_done(core, conn, replies);
}

struct burst_item *serve_get_data_run(struct core *core, struct burst_item *item,
                                      const struct burst_item *end)
{
    struct conn *conn = item->conn;
    uint32_t size = quick_reply_bytes(core, item), replies = 0;
    struct run_room room;
    if (UNLIKELY(size == 0 || !run_begin(core, conn, size, &room)))
        return item;
    do {
        quick_reply_write(core, item, room.next, size);
        room.next += size;
        core_note_size(core, size - 4);
        if (LIKELY(item->xid >= 0))
            conn->last_cxid = item->xid;
        replies++;
        if (++item == end || item->conn != conn)
            break;
        size = quick_reply_bytes(core, item);
    } while (size && size <= (size_t)(room.end - room.next));
    run_end(core, conn, &room);
    run_note(core, conn, replies);
    return item;
}

static void serve_get_children(struct core *core, struct burst_item *item, bool with_stat)
{
    int32_t err = read_refused(core, item, WATCH_CHILD);
    if (err) {
        reply_error(core, item, err);
        return;
    }
    const struct version *v = item->version;
    uint64_t names = v->children ? children_wire_bytes(v->children) : 0;
    uint8_t *p = reply_begin(core, item, 4 + names + (with_stat ? STAT_BYTES : 0));
    if (!p)
        return;
    be32_store(p, version_num_children(v));
    p += 4;
    if (names)
        p += children_copy(v->children, p);
    if (with_stat)
        memcpy(p, v->stat, STAT_BYTES);
}

static void serve_get_acl(struct core *core, struct burst_item *item)
{
    const struct version *v = item->version;
    if (!v || !serve_allowed(core, item->conn, v->acl, PERM_READ | PERM_ADMIN)) {
        reply_error(core, item, v ? ZK_NOAUTH : ZK_NONODE);
        return;
    }
    const struct acl_list *list = acl_get(core->acls, v->acl);
    struct buffer *out = &core->scratch;
    out->size = 0;
    out->failed = false;
    if (serve_allowed(core, item->conn, v->acl, PERM_ADMIN))
        buffer_put_raw(out, list->wire, list->wire_bytes);
    else
        acl_write_redacted(list, out);
    buffer_put_raw(out, v->stat, STAT_BYTES);
    if (out->failed)
        reply_error(core, item, ZK_MARSHALLINGERROR);
    else
        conn_reply(core, item->conn, item->xid, core->visible, ZK_OK, out->data, out->size);
}

/* --- multiRead (client-protocol.md section 10) --- */

static void multi_header(struct buffer *out, int32_t type, bool done, int32_t err)
{
    buffer_put_int(out, type);
    buffer_put_bool(out, done);
    buffer_put_int(out, err);
}

static void multi_read_one(struct core *core, struct conn *conn, const struct multi_op *one,
                           struct buffer *out)
{
    struct tree_key key = store_key(core->store, one->request.path);
    const struct version *v = tree_get(core->store, key, core->visible);
    int32_t err = !v ? ZK_NONODE : serve_allowed(core, conn, v->acl, PERM_READ) ? 0 : ZK_NOAUTH;
    if (err) {
        multi_header(out, -1, false, err);
        buffer_put_int(out, err);
        return;
    }
    multi_header(out, one->op->number, false, 0);
    if (one->op->number == OP_GET_DATA) {
        buffer_put_bytes(out, version_data(v));
        buffer_put_raw(out, v->stat, STAT_BYTES);
        return;
    }
    buffer_put_int(out, (int32_t)version_num_children(v));
    uint8_t *names = v->children ? buffer_room(out, children_wire_bytes(v->children)) : NULL;
    if (names)
        children_copy(v->children, names);
}

/* A null path, or an operation that is no read, ends it with -5; what was read so far is sent all
 * the same (client-protocol.md section 4.4). */
static void serve_multi_read(struct core *core, struct burst_item *item)
{
    struct buffer *out = &core->scratch;
    out->size = 0;
    out->failed = false;
    struct jute_reader r = jute_reader_of(item->request.body.data, item->request.body.size);
    struct multi_op one;
    int32_t err = ZK_OK;
    while (!err && !out->failed && multi_next(&r, &one)) {
        if (!one.asked->in_multi_read || !one.request.path.data)
            err = ZK_MARSHALLINGERROR;
        else
            multi_read_one(core, item->conn, &one, out);
    }
    multi_header(out, -1, true, -1);
    if (out->failed)
        reply_error(core, item, ZK_MARSHALLINGERROR);
    else
        conn_reply(core, item->conn, item->xid, core->visible, err, out->data, out->size);
    if (out->capacity > OUTPUT_PAUSE_BYTES)
        buffer_free(out);
}

/* --- */

static void serve_read(struct core *core, struct burst_item *item)
{
    if (item->info->number != OP_MULTI_READ && !item->request.path.data) {
        reply_error(core, item, ZK_MARSHALLINGERROR);
        return;
    }
    switch (item->info->number) {
    case OP_GET_DATA: serve_get_data(core, item); break;
    case OP_EXISTS: serve_exists(core, item); break;
    case OP_GET_CHILDREN: serve_get_children(core, item, false); break;
    case OP_GET_CHILDREN2: serve_get_children(core, item, true); break;
    case OP_GET_ACL: serve_get_acl(core, item); break;
    case OP_MULTI_READ: serve_multi_read(core, item); break;
    default: CHECK(!"a read without a server");
    }
}

void serve_item(struct core *core, struct burst_item *item)
{
    const struct opcode_info *info = item->info;
    conn_note_latency(core, item->conn, item->op ? item->op->start_us : core->now_us, info,
                      item->xid, core->visible);
    if (UNLIKELY(!info || info->class == CLASS_CONN || info->number == OP_WHO_AM_I))
        serve_conn_item(core, item);
    else if (UNLIKELY(!item->well_formed))
        reply_error(core, item, ZK_MARSHALLINGERROR);
    else if (LIKELY(info->class == CLASS_READ))
        serve_read(core, item);
    else
        serve_watch_item(core, item);
}
