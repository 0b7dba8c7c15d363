/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "client/calls.h"

const struct acl_entry_text acl_open[1] = {
    {PERM_ALL, {(const uint8_t *)"world", 5}, {(const uint8_t *)"anyone", 6}},
};

struct znode_stat znode_stat_read(struct jute_reader *r)
{
    struct znode_stat s;
    s.czxid = jute_read_long(r);
    s.mzxid = jute_read_long(r);
    s.ctime_ms = jute_read_long(r);
    s.mtime_ms = jute_read_long(r);
    s.version = jute_read_int(r);
    s.cversion = jute_read_int(r);
    s.aversion = jute_read_int(r);
    s.ephemeral_owner = jute_read_long(r);
    s.data_bytes = jute_read_int(r);
    s.children_count = jute_read_int(r);
    s.pzxid = jute_read_long(r);
    return s;
}

bool names_next(struct names *n, struct bytes *out)
{
    if (n->count <= 0)
        return false;
    n->count--;
    *out = jute_read_bytes(&n->reader);
    return !n->reader.failed;
}

/* Commit, then wait for this request's own reply. 0 with a reader over its body, or the error. */
static int finish(struct client *c, const struct jute_writer *w, struct jute_reader *body)
{
    int32_t xid;
    int rc = client_commit(c, w, &xid);
    if (rc != 0)
        return rc;
    struct client_reply reply;
    do {
        rc = client_poll(c, -1, &reply);
        if (rc <= 0)
            return rc < 0 ? rc : CLIENT_ETIMEOUT;
    } while (reply.xid != xid);
    *body = jute_reader_of(reply.body.data, reply.body.size);
    return reply.error;
}

/* The Stat at the end of a reply, where the caller wants it. */
static int end_with_stat(struct jute_reader *r, struct znode_stat *stat)
{
    struct znode_stat s = znode_stat_read(r);
    if (r->failed)
        return CLIENT_EPROTO;
    if (stat)
        *stat = s;
    return 0;
}

static void write_acl(struct jute_writer *w, const struct acl_entry_text *acl, uint32_t count)
{
    jute_write_int(w, (int32_t)count);
    for (uint32_t i = 0; i < count; i++) {
        jute_write_int(w, acl[i].perms);
        jute_write_bytes(w, acl[i].scheme);
        jute_write_bytes(w, acl[i].id);
    }
}

static size_t acl_size(const struct acl_entry_text *acl, uint32_t count)
{
    size_t n = 4;
    for (uint32_t i = 0; i < count; i++)
        n += 4 + jute_bytes_size(acl[i].scheme) + jute_bytes_size(acl[i].id);
    return n;
}

static enum zk_opcode create_opcode(enum create_mode mode)
{
    if (mode == CREATE_CONTAINER)
        return OP_CREATE_CONTAINER;
    return mode == CREATE_TTL || mode == CREATE_SEQUENTIAL_TTL ? OP_CREATE_TTL : OP_CREATE2;
}

int call_create(struct client *c, const struct create_call *create, struct bytes *created,
                struct znode_stat *stat)
{
    struct jute_writer w;
    struct jute_reader r;
    enum zk_opcode op = create_opcode(create->mode);
    size_t bytes = jute_bytes_size(create->path) + jute_bytes_size(create->data)
                   + acl_size(create->acl, create->acl_count) + 12;
    int rc = client_begin(c, op, bytes, &w);
    if (rc != 0)
        return rc;
    jute_write_bytes(&w, create->path);
    jute_write_bytes(&w, create->data);
    write_acl(&w, create->acl, create->acl_count);
    jute_write_int(&w, (int32_t)create->mode);
    if (op == OP_CREATE_TTL)
        jute_write_long(&w, create->ttl_ms);
    rc = finish(c, &w, &r);
    if (rc != 0)
        return rc;
    struct bytes path = jute_read_bytes(&r);
    if (created)
        *created = path;
    return end_with_stat(&r, stat);
}

int call_delete(struct client *c, struct bytes path, int32_t version)
{
    struct jute_writer w;
    struct jute_reader r;
    int rc = client_begin(c, OP_DELETE, jute_bytes_size(path) + 4, &w);
    if (rc != 0)
        return rc;
    jute_write_bytes(&w, path);
    jute_write_int(&w, version);
    return finish(c, &w, &r);
}

/* exists, getData, getChildren2: a path and a watch flag. */
static int read_call(struct client *c, enum zk_opcode op, struct bytes path, bool watch,
                     struct jute_reader *r)
{
    struct jute_writer w;
    int rc = client_begin(c, op, jute_bytes_size(path) + 1, &w);
    if (rc != 0)
        return rc;
    jute_write_bytes(&w, path);
    jute_write_bool(&w, watch);
    return finish(c, &w, r);
}

/* A path and nothing else. */
static int path_call(struct client *c, enum zk_opcode op, struct bytes path, struct jute_reader *r)
{
    struct jute_writer w;
    int rc = client_begin(c, op, jute_bytes_size(path), &w);
    if (rc != 0)
        return rc;
    jute_write_bytes(&w, path);
    return finish(c, &w, r);
}

int call_exists(struct client *c, struct bytes path, bool watch, struct znode_stat *stat)
{
    struct jute_reader r;
    int rc = read_call(c, OP_EXISTS, path, watch, &r);
    return rc == 0 ? end_with_stat(&r, stat) : rc;
}

int call_get(struct client *c, struct bytes path, bool watch, struct bytes *data,
             struct znode_stat *stat)
{
    struct jute_reader r;
    int rc = read_call(c, OP_GET_DATA, path, watch, &r);
    if (rc != 0)
        return rc;
    *data = jute_read_bytes(&r);
    return end_with_stat(&r, stat);
}

int call_set(struct client *c, struct bytes path, struct bytes data, int32_t version,
             struct znode_stat *stat)
{
    struct jute_writer w;
    struct jute_reader r;
    int rc = client_begin(c, OP_SET_DATA, jute_bytes_size(path) + jute_bytes_size(data) + 4, &w);
    if (rc != 0)
        return rc;
    jute_write_bytes(&w, path);
    jute_write_bytes(&w, data);
    jute_write_int(&w, version);
    rc = finish(c, &w, &r);
    return rc == 0 ? end_with_stat(&r, stat) : rc;
}

/* Check a vector of strings once and leave *out at its start, r behind it. */
static int take_names(struct jute_reader *r, struct names *out)
{
    out->count = jute_read_count(r, 4);
    out->reader = *r;
    for (int32_t i = 0; i < out->count; i++)
        (void)jute_read_bytes(r); /* a failure sticks in r */
    return r->failed ? CLIENT_EPROTO : 0;
}

int call_children(struct client *c, struct bytes path, bool watch, struct names *children,
                  struct znode_stat *stat)
{
    struct jute_reader r;
    int rc = read_call(c, OP_GET_CHILDREN2, path, watch, &r);
    if (rc == 0)
        rc = take_names(&r, children);
    return rc == 0 ? end_with_stat(&r, stat) : rc;
}

int call_get_acl(struct client *c, struct bytes path, int32_t *count, struct jute_reader *acl,
                 struct znode_stat *stat)
{
    struct jute_reader r;
    int rc = path_call(c, OP_GET_ACL, path, &r);
    if (rc != 0)
        return rc;
    *count = jute_read_count(&r, 12);
    *acl = r;
    for (int32_t i = 0; i < *count; i++) {
        (void)jute_read_int(&r);
        (void)jute_read_bytes(&r);
        (void)jute_read_bytes(&r);
    }
    return end_with_stat(&r, stat);
}

int call_set_acl(struct client *c, struct bytes path, const struct acl_entry_text *acl,
                 uint32_t acl_count, int32_t version, struct znode_stat *stat)
{
    struct jute_writer w;
    struct jute_reader r;
    size_t bytes = jute_bytes_size(path) + acl_size(acl, acl_count) + 4;
    int rc = client_begin(c, OP_SET_ACL, bytes, &w);
    if (rc != 0)
        return rc;
    jute_write_bytes(&w, path);
    write_acl(&w, acl, acl_count);
    jute_write_int(&w, version);
    rc = finish(c, &w, &r);
    return rc == 0 ? end_with_stat(&r, stat) : rc;
}

int call_sync(struct client *c, struct bytes path)
{
    struct jute_reader r;
    return path_call(c, OP_SYNC, path, &r);
}

int call_add_auth(struct client *c, struct bytes scheme, struct bytes auth)
{
    struct jute_writer w;
    struct jute_reader r;
    int rc = client_begin(c, OP_AUTH, 4 + jute_bytes_size(scheme) + jute_bytes_size(auth), &w);
    if (rc != 0)
        return rc;
    jute_write_int(&w, 0);
    jute_write_bytes(&w, scheme);
    jute_write_bytes(&w, auth);
    return finish(c, &w, &r);
}

int call_ephemerals(struct client *c, struct bytes prefix, struct names *paths)
{
    struct jute_reader r;
    int rc = path_call(c, OP_GET_EPHEMERALS, prefix, &r);
    return rc == 0 ? take_names(&r, paths) : rc;
}

int call_children_number(struct client *c, struct bytes path, int32_t *number)
{
    struct jute_reader r;
    int rc = path_call(c, OP_GET_ALL_CHILDREN_NUMBER, path, &r);
    if (rc != 0)
        return rc;
    *number = jute_read_int(&r);
    return r.failed ? CLIENT_EPROTO : 0;
}

int call_who_am_i(struct client *c, int32_t *count, struct jute_reader *ids)
{
    struct jute_writer w;
    int rc = client_begin(c, OP_WHO_AM_I, 0, &w);
    if (rc != 0)
        return rc;
    rc = finish(c, &w, ids);
    if (rc != 0)
        return rc;
    *count = jute_read_count(ids, 8);
    return ids->failed ? CLIENT_EPROTO : 0;
}

/* A path and a number, with no record of interest in the reply. */
static int path_number_call(struct client *c, enum zk_opcode op, struct bytes path, int32_t number)
{
    struct jute_writer w;
    struct jute_reader r;
    int rc = client_begin(c, op, jute_bytes_size(path) + 4, &w);
    if (rc != 0)
        return rc;
    jute_write_bytes(&w, path);
    jute_write_int(&w, number);
    return finish(c, &w, &r);
}

int call_add_watch(struct client *c, struct bytes path, int32_t mode)
{
    return path_number_call(c, OP_ADD_WATCH, path, mode);
}

int call_remove_watches(struct client *c, struct bytes path, int32_t type)
{
    return path_number_call(c, OP_REMOVE_WATCHES, path, type);
}
