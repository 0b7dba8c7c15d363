/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "client/wire/txn.h"

#include "client/wire/check.h"

/* Least bytes of an ACL entry (perms, two empty strings), of a path, and of a part of a multi. */
#define ACL_ENTRY_BYTES_MIN 12
#define PATH_BYTES_MIN 4
#define PART_BYTES_MIN 8

static const uint8_t empty_bytes[1];

const char *txn_error_text(int code)
{
    switch (code) {
#define X(name, value, text)                                                                       \
    case value:                                                                                    \
        return text;
        TXN_ERRORS(X)
#undef X
    default:
        return "unknown transaction error";
    }
}

bool txn_type_in_multi(int32_t type)
{
    switch (type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
    case OP_DELETE:
    case OP_DELETE_CONTAINER:
    case OP_SET_DATA:
    case OP_CHECK:
    case OP_ERROR:
        return true;
    default:
        return false;
    }
}

bool txn_type_loggable(int32_t type)
{
    switch (type) {
    case OP_MULTI:
    case OP_SET_ACL:
    case OP_RECONFIG:
    case OP_CREATE_SESSION:
    case OP_CLOSE_SESSION:
        return true;
    default:
        return type != OP_CHECK && txn_type_in_multi(type);
    }
}

struct txn_header txn_header_read(struct jute_reader *r)
{
    struct txn_header h;
    h.client_id = jute_read_long(r);
    h.cxid = jute_read_int(r);
    h.zxid = jute_read_long(r);
    h.time_ms = jute_read_long(r);
    h.type = jute_read_int(r);
    return h;
}

/* The bytes between `start` and where r stands now. */
static struct bytes bytes_since(const struct jute_reader *r, const uint8_t *start)
{
    if (r->failed)
        return BYTES_NULL;
    CHECK(start <= r->p && r->p <= r->end);
    return (struct bytes){start, (uint32_t)(r->p - start)};
}

struct txn_acl txn_acl_read(struct jute_reader *r)
{
    const uint8_t *start = r->p;
    struct txn_acl acl = {BYTES_NULL, jute_read_count(r, ACL_ENTRY_BYTES_MIN)};
    for (int32_t i = 0; i < acl.count && !r->failed; i++) {
        (void)jute_read_int(r);   /* perms */
        (void)jute_read_bytes(r); /* scheme */
        (void)jute_read_bytes(r); /* id */
    }
    /* The raw bytes are copied on, so a count that only some readers understand ends here. */
    if (!r->failed && (int32_t)be32_load(start) < -1)
        r->failed = true;
    acl.raw = bytes_since(r, start);
    return acl;
}

static void create_read(int32_t type, struct jute_reader *r, struct txn_create *out)
{
    *out = (struct txn_create){0};
    out->path = jute_read_bytes(r);
    out->data = jute_read_bytes(r);
    out->acl = txn_acl_read(r);
    if (type == OP_CREATE || type == OP_CREATE2)
        out->ephemeral = jute_read_bool(r);
    /* SerializeUtils.deserializeTxn: a create that hits the end of the entry here is the form
     * before 3.3.3. */
    if (type == OP_CREATE && !r->failed && jute_left(r) < 4) {
        out->parent_cversion = -1;
        r->p = r->end;
        return;
    }
    out->parent_cversion = jute_read_int(r);
    if (type == OP_CREATE_TTL)
        out->ttl_ms = jute_read_long(r);
}

/* An empty body followed by a digest would read as a vector of two paths whose lengths are the
 * digest (section 3.6). Two real paths take at least 14 bytes, so 12 bytes that begin with 2 can
 * only be the digest. */
static bool close_session_empty(const struct jute_reader *r)
{
    size_t left = jute_left(r);
    return left == 0 || (left == TXN_DIGEST_BYTES && be32_load(r->p) == TXN_DIGEST_VERSION);
}

static void close_session_read(struct jute_reader *r, struct txn_paths *out)
{
    *out = (struct txn_paths){0, {empty_bytes, 0}};
    if (close_session_empty(r))
        return;
    int32_t count = jute_read_count(r, PATH_BYTES_MIN);
    const uint8_t *start = r->p;
    for (int32_t i = 0; i < count && !r->failed; i++)
        (void)jute_read_bytes(r);
    out->count = count < 0 ? 0 : count;
    out->raw = bytes_since(r, start);
}

static void multi_read(struct jute_reader *r, struct txn_multi *out)
{
    int32_t count = jute_read_count(r, PART_BYTES_MIN);
    const uint8_t *start = r->p;
    for (int32_t i = 0; i < count && !r->failed; i++) {
        struct txn_body part;
        int32_t type = jute_read_int(r);
        struct bytes body = jute_read_bytes(r);
        if (r->failed || !body.data || !txn_type_in_multi(type)) {
            r->failed = true;
            break;
        }
        struct jute_reader sub = jute_reader_of(body.data, body.size);
        if (txn_body_read(type, &sub, &part))
            r->failed = true;
    }
    out->count = count < 0 ? 0 : count;
    out->raw = bytes_since(r, start);
}

/* The dispatch over all types. */
int txn_body_read(int32_t type, struct jute_reader *r, struct txn_body *out)
{
    out->type = type;
    switch (type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        create_read(type, r, &out->create);
        break;
    case OP_DELETE:
    case OP_DELETE_CONTAINER:
        out->delete.path = jute_read_bytes(r);
        break;
    case OP_SET_DATA:
    case OP_RECONFIG:
        out->set_data.path = jute_read_bytes(r);
        out->set_data.data = jute_read_bytes(r);
        out->set_data.version = jute_read_int(r);
        break;
    case OP_SET_ACL:
        out->set_acl.path = jute_read_bytes(r);
        out->set_acl.acl = txn_acl_read(r);
        out->set_acl.version = jute_read_int(r);
        break;
    case OP_CHECK:
        out->check.path = jute_read_bytes(r);
        out->check.version = jute_read_int(r);
        break;
    case OP_MULTI:
        multi_read(r, &out->multi);
        break;
    case OP_CREATE_SESSION:
        out->create_session.timeout_ms = jute_read_int(r);
        break;
    case OP_CLOSE_SESSION:
        close_session_read(r, &out->close_session.paths);
        break;
    case OP_ERROR:
        out->error.code = jute_read_int(r);
        break;
    default:
        r->failed = true;
        return TXN_ETYPE;
    }
    return r->failed ? TXN_EBODY : TXN_OK;
}

static void digest_read(struct jute_reader *r, struct txn *out)
{
    out->has_digest = jute_left(r) >= TXN_DIGEST_BYTES;
    out->digest = (struct txn_digest){0};
    if (out->has_digest) {
        out->digest.version = jute_read_int(r);
        out->digest.tree = (uint64_t)jute_read_long(r);
    }
}

int txn_entry_read(struct bytes entry, struct txn *out)
{
    if (!entry.data || entry.size < TXN_HEADER_BYTES)
        return TXN_EHEADER;
    struct jute_reader r = jute_reader_of(entry.data, entry.size);
    out->header = txn_header_read(&r);
    CHECK(!r.failed && r.p == entry.data + TXN_HEADER_BYTES);
    if (!txn_type_loggable(out->header.type))
        return TXN_ETYPE;
    const uint8_t *start = r.p;
    int rc = txn_body_read(out->header.type, &r, &out->body);
    if (rc)
        return rc;
    out->body_bytes = bytes_since(&r, start);
    digest_read(&r, out);
    return TXN_OK;
}

bool txn_paths_next(struct txn_paths *paths, struct bytes *path)
{
    if (paths->count <= 0)
        return false;
    struct jute_reader r = jute_reader_of(paths->raw.data, paths->raw.size);
    *path = jute_read_bytes(&r);
    CHECK(!r.failed); /* invariant 1 */
    paths->raw = (struct bytes){r.p, (uint32_t)jute_left(&r)};
    paths->count--;
    return true;
}

bool txn_multi_next(struct txn_multi *multi, struct txn_body *part)
{
    if (multi->count <= 0)
        return false;
    struct jute_reader r = jute_reader_of(multi->raw.data, multi->raw.size);
    int32_t type = jute_read_int(&r);
    struct bytes body = jute_read_bytes(&r);
    CHECK(!r.failed && body.data); /* invariant 1 */
    struct jute_reader sub = jute_reader_of(body.data, body.size);
    int rc = txn_body_read(type, &sub, part);
    CHECK(rc == TXN_OK);
    multi->raw = (struct bytes){r.p, (uint32_t)jute_left(&r)};
    multi->count--;
    return true;
}

bool txn_multi_failed(struct txn_multi multi)
{
    struct txn_body part;
    while (txn_multi_next(&multi, &part))
        if (part.type == OP_ERROR)
            return true;
    return false;
}

void txn_header_write(struct jute_writer *w, const struct txn_header *header)
{
    CHECK(txn_type_loggable(header->type));
    jute_write_long(w, header->client_id);
    jute_write_int(w, header->cxid);
    jute_write_long(w, header->zxid);
    jute_write_long(w, header->time_ms);
    jute_write_int(w, header->type);
}

void txn_digest_write(struct jute_writer *w, uint64_t tree)
{
    jute_write_int(w, TXN_DIGEST_VERSION);
    jute_write_long(w, (int64_t)tree);
}

static void acl_write(struct jute_writer *w, const struct txn_acl *acl)
{
    if (acl->raw.data) {
        CHECK(acl->raw.size >= 4);
        jute_write_raw(w, acl->raw.data, acl->raw.size);
    } else {
        jute_write_int(w, -1);
    }
}

void txn_create_write(struct jute_writer *w, int32_t type, const struct txn_create *txn)
{
    CHECK(type == OP_CREATE || type == OP_CREATE2 || type == OP_CREATE_CONTAINER ||
          type == OP_CREATE_TTL);
    jute_write_bytes(w, txn->path);
    jute_write_bytes(w, txn->data);
    acl_write(w, &txn->acl);
    if (type == OP_CREATE || type == OP_CREATE2)
        jute_write_bool(w, txn->ephemeral);
    jute_write_int(w, txn->parent_cversion);
    if (type == OP_CREATE_TTL)
        jute_write_long(w, txn->ttl_ms);
}

void txn_delete_write(struct jute_writer *w, struct bytes path)
{
    jute_write_bytes(w, path);
}

void txn_set_data_write(struct jute_writer *w, const struct txn_set_data *txn)
{
    jute_write_bytes(w, txn->path);
    jute_write_bytes(w, txn->data);
    jute_write_int(w, txn->version);
}

void txn_set_acl_write(struct jute_writer *w, const struct txn_set_acl *txn)
{
    jute_write_bytes(w, txn->path);
    acl_write(w, &txn->acl);
    jute_write_int(w, txn->version);
}

void txn_check_write(struct jute_writer *w, struct bytes path, int32_t version)
{
    jute_write_bytes(w, path);
    jute_write_int(w, version);
}

void txn_create_session_write(struct jute_writer *w, int32_t timeout_ms)
{
    jute_write_int(w, timeout_ms);
}

void txn_error_write(struct jute_writer *w, int32_t code)
{
    jute_write_int(w, code);
}

void txn_close_session_write(struct jute_writer *w, int32_t count)
{
    CHECK(count >= 0);
    jute_write_int(w, count);
}

void txn_multi_write(struct jute_writer *w, int32_t count)
{
    CHECK(count >= 0);
    jute_write_int(w, count);
}

size_t txn_multi_part_begin(struct jute_writer *w, int32_t type)
{
    CHECK(txn_type_in_multi(type));
    jute_write_int(w, type);
    size_t mark = jute_written(w);
    jute_write_int(w, 0);
    return mark;
}

void txn_multi_part_end(struct jute_writer *w, size_t mark)
{
    if (w->failed)
        return;
    CHECK(mark + 4 <= jute_written(w));
    be32_store(w->start + mark, (uint32_t)(jute_written(w) - mark - 4));
}

void txn_multi_error_write(struct jute_writer *w, int32_t code)
{
    size_t mark = txn_multi_part_begin(w, OP_ERROR);
    txn_error_write(w, code);
    txn_multi_part_end(w, mark);
}

static void multi_body_write(struct jute_writer *w, struct txn_multi multi)
{
    struct txn_body part;
    txn_multi_write(w, multi.count);
    while (txn_multi_next(&multi, &part)) {
        size_t mark = txn_multi_part_begin(w, part.type);
        txn_body_write(w, &part);
        txn_multi_part_end(w, mark);
    }
}

/* The dispatch over all types. */
void txn_body_write(struct jute_writer *w, const struct txn_body *body)
{
    switch (body->type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        txn_create_write(w, body->type, &body->create);
        break;
    case OP_DELETE:
    case OP_DELETE_CONTAINER:
        txn_delete_write(w, body->delete.path);
        break;
    case OP_SET_DATA:
    case OP_RECONFIG:
        txn_set_data_write(w, &body->set_data);
        break;
    case OP_SET_ACL:
        txn_set_acl_write(w, &body->set_acl);
        break;
    case OP_CHECK:
        txn_check_write(w, body->check.path, body->check.version);
        break;
    case OP_MULTI:
        multi_body_write(w, body->multi);
        break;
    case OP_CREATE_SESSION:
        txn_create_session_write(w, body->create_session.timeout_ms);
        break;
    case OP_CLOSE_SESSION:
        txn_close_session_write(w, body->close_session.paths.count);
        jute_write_raw(w, body->close_session.paths.raw.data, body->close_session.paths.raw.size);
        break;
    case OP_ERROR:
        txn_error_write(w, body->error.code);
        break;
    default:
        CHECK(!"a type that ZooKeeper does not know");
    }
}
