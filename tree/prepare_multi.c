/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* multi: semantics.md section 11, client-protocol.md section 10, disk-formats.md section 3.4. */
#include "tree/prepare_internal.h"

#define PART_HEADER_BYTES 8 /* type, length */
#define PART_ERROR_BYTES (PART_HEADER_BYTES + 4)

static int part_operation(struct write *w, const struct multi_op *part)
{
    switch (part->op->number) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        return prepare_create(w, part->op, &part->request);
    case OP_DELETE:
        return prepare_delete(w, &part->request);
    case OP_SET_DATA:
        return prepare_set_data(w, &part->request);
    case OP_CHECK:
        return prepare_check(w, &part->request);
    default:
        CHECK(!"request_decode() lets no other into a multi");
        return ZK_UNIMPLEMENTED;
    }
}

/* One operation, its txn wrapped as a part. */
static int part_prepare(struct write *w, const struct multi_op *part)
{
    struct jute_writer out;
    size_t at = w->entry->size;
    int rc = write_room(w, PART_HEADER_BYTES, &out);
    if (rc)
        return rc;
    jute_write_int(&out, prepare_txn_type(w, part->op));
    rc = part_operation(w, part);
    if (rc == 0)
        be32_store(w->entry->data + at + 4, (uint32_t)(w->entry->size - at - PART_HEADER_BYTES));
    return rc;
}

static void result_end(struct write *w)
{
    buffer_put_int(w->reply, -1);
    buffer_put_bool(w->reply, true);
    buffer_put_int(w->reply, -1);
}

/* What operation i of a multi that failed at `failed` with `code` is told. */
static int32_t failed_code(int32_t i, int32_t failed, int32_t code)
{
    return i < failed ? ZK_OK : i == failed ? code : ZK_RUNTIMEINCONSISTENCY;
}

/* Parts from `from` on, each an error. @return as write_room. */
static int failed_parts_log(struct write *w, int32_t from, int32_t count, int32_t failed,
                            int32_t code)
{
    struct jute_writer out;
    int rc = write_room(w, (size_t)(count - from) * PART_ERROR_BYTES, &out);
    for (int32_t i = from; rc == 0 && i < count; i++)
        txn_multi_error_write(&out, failed_code(i, failed, code));
    return rc;
}

/* Everything was undone: log and answer which operation it was. `good` is the entry's size behind
 * the last part that went well, `parts` the size before the first. */
static int multi_fail(struct write *w, size_t parts, size_t good, int32_t count, int32_t failed,
                      int32_t code)
{
    tree_abort(w->t);
    write_cut(w, good, w->reply_start);
    int rc = tree_begin(w->t, w->rq->zxid);
    if (rc) {
        w->open = false;
        return rc;
    }
    rc = failed_parts_log(w, failed, count, failed, code);
    if (rc == ZK_BADARGUMENTS) {
        /* Not room enough for the bodies that will not be applied: say what became of each instead.
         * A request has at least 17 bytes for each operation, so this fits. */
        write_cut(w, parts, w->reply_start);
        rc = failed_parts_log(w, 0, count, failed, code);
    }
    for (int32_t i = 0; i < count; i++) {
        buffer_put_int(w->reply, OP_ERROR);
        buffer_put_bool(w->reply, false);
        buffer_put_int(w->reply, failed_code(i, failed, code));
        buffer_put_int(w->reply, failed_code(i, failed, code));
    }
    result_end(w);
    return rc;
}

int prepare_multi(struct write *w, const struct request *q)
{
    bool reads;
    int32_t count = multi_count(q->body, &reads);
    struct jute_writer out;
    int rc = write_room(w, 4, &out);
    if (rc)
        return rc;
    txn_multi_write(&out, count);
    w->multi = true;
    size_t parts = w->entry->size, good = parts;
    struct jute_reader r = jute_reader_of(q->body.data, q->body.size);
    struct multi_op part;
    for (int32_t i = 0; multi_next(&r, &part); i++) {
        rc = part_prepare(w, &part);
        /* A null where none may be fails the whole request (semantics.md, Additions 1). */
        if (rc == TREE_ENOMEM || rc == ZK_MARSHALLINGERROR)
            return rc;
        if (rc)
            return multi_fail(w, parts, good, count, i, rc);
        good = w->entry->size;
    }
    result_end(w);
    return 0;
}
