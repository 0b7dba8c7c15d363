/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A small, slow, obvious tree for tests of persist/: disk-formats.md section 4, linear search, no
 * limits. It is the oracle, so it shares nothing with tree/.
 */
#ifndef SENGI_TESTS_PERSIST_MODEL_H
#define SENGI_TESTS_PERSIST_MODEL_H

#include <stdlib.h>
#include <zlib.h>

#include "client/wire/check.h"
#include "client/wire/txn.h"
#include "persist/recover.h"

struct model_node {
    char *path;
    uint8_t *data;
    uint32_t path_size, data_size;
    bool data_null;
    struct bytes acl; /* owned; raw vector */
    int64_t acl_key;  /* as in the snapshot it came from */
    struct stat_persisted stat;
};

struct model_acl {
    int64_t key;
    struct bytes raw; /* owned */
};

struct model_session {
    session_id_t id;
    int32_t timeout_ms;
};

struct model {
    struct model_node *nodes;
    size_t node_count;
    struct model_acl *acls;
    size_t acl_count;
    struct model_session *sessions;
    size_t session_count;
    zxid_t snapshot_zxid, last_zxid;
    uint64_t txns, digests_compared, digests_wrong, resets;
    zxid_t digest_from; /* a fuzzy snapshot's: no comparison before it */
    /* What write-read tests look at: every zxid seen, in order */
    zxid_t *zxids;
    size_t zxid_count;
    bool check_digests;
};

static const uint8_t model_open_acl[] = {0, 0, 0, 1,   0,   0,   0,   31,  0,
                                         0, 0, 5, 'w', 'o', 'r', 'l', 'd', 0,
                                         0, 0, 6, 'a', 'n', 'y', 'o', 'n', 'e'};

static inline void *model_copy(const void *p, size_t n)
{
    void *c = malloc(n + 1);
    if (!c)
        abort();
    if (n)
        memcpy(c, p, n);
    ((char *)c)[n] = 0;
    return c;
}

static inline void *model_grow(void *p, size_t count, size_t size)
{
    p = realloc(p, (count + 1) * size);
    if (!p)
        abort();
    return p;
}

static inline struct bytes model_bytes(struct bytes b)
{
    return (struct bytes){model_copy(b.data, b.size), b.size};
}

static inline void model_clear(struct model *m)
{
    for (size_t i = 0; i < m->node_count; i++) {
        free(m->nodes[i].path);
        free(m->nodes[i].data);
        free((void *)m->nodes[i].acl.data);
    }
    for (size_t i = 0; i < m->acl_count; i++)
        free((void *)m->acls[i].raw.data);
    free(m->nodes);
    free(m->acls);
    free(m->sessions);
    free(m->zxids);
    *m = (struct model){.resets = m->resets, .check_digests = m->check_digests};
}

static inline struct model_node *model_find(struct model *m, const void *path, size_t n)
{
    for (size_t i = 0; i < m->node_count; i++)
        if (m->nodes[i].path_size == n && memcmp(m->nodes[i].path, path, n) == 0)
            return &m->nodes[i];
    return NULL;
}

static inline struct model_node *model_parent(struct model *m, struct bytes path)
{
    size_t n = path.size;
    while (n > 0 && path.data[n - 1] != '/')
        n--;
    return n ? model_find(m, path.data, n - 1) : NULL;
}

static inline struct model_node *model_add(struct model *m, struct bytes path, struct bytes data,
                                           struct bytes acl)
{
    m->nodes = model_grow(m->nodes, m->node_count, sizeof *m->nodes);
    struct model_node *n = &m->nodes[m->node_count++];
    *n = (struct model_node){.path = model_copy(path.data, path.size),
                             .path_size = path.size,
                             .data = model_copy(data.data, data.size),
                             .data_size = data.size,
                             .data_null = !data.data,
                             .acl_key = SNAPSHOT_ACL_OPEN,
                             .acl = model_bytes(acl)};
    return n;
}

static inline void model_remove(struct model *m, struct model_node *n)
{
    free(n->path);
    free(n->data);
    free((void *)n->acl.data);
    *n = m->nodes[--m->node_count];
}

/* Section 6. */
static inline uint64_t model_node_digest(const struct model_node *n)
{
    uint8_t b[60];
    struct jute_writer w = jute_writer_of(b, sizeof b);
    if (n->path_size >= 11 && memcmp(n->path, "/zookeeper/", 11) == 0)
        return 0;
    jute_write_long(&w, n->stat.czxid);
    jute_write_long(&w, n->stat.mzxid);
    jute_write_long(&w, n->stat.pzxid);
    jute_write_long(&w, n->stat.ctime);
    jute_write_long(&w, n->stat.mtime);
    jute_write_int(&w, n->stat.version);
    jute_write_int(&w, n->stat.cversion);
    jute_write_int(&w, n->stat.aversion);
    jute_write_long(&w, n->stat.ephemeral_owner);
    unsigned long crc = crc32(0, (const uint8_t *)n->path, n->path_size);
    crc = crc32(crc, n->data, n->data_size);
    return crc32(crc, b, sizeof b);
}

static inline uint64_t model_digest(const struct model *m)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->node_count; i++)
        sum += model_node_digest(&m->nodes[i]);
    return sum;
}

/* ---- applying, section 4 ---- */

static inline void model_create(struct model *m, const struct txn_header *h, int32_t type,
                                const struct txn_create *c)
{
    struct model_node *parent = model_parent(m, c->path);
    if (!parent)
        return;
    struct model_node *node = model_find(m, c->path.data, c->path.size);
    int32_t cversion = c->parent_cversion == -1 ? parent->stat.cversion + 1 : c->parent_cversion;
    if (node) {
        free((void *)node->acl.data);
        node->acl = model_bytes(c->acl.raw);
    }
    if ((!node || type == OP_CREATE) && cversion > parent->stat.cversion) {
        parent->stat.cversion = cversion;
        parent->stat.pzxid = h->zxid;
    }
    if (node)
        return;
    node = model_add(m, c->path, c->data, c->acl.raw);
    node->stat = (struct stat_persisted){.czxid = h->zxid,
                                         .mzxid = h->zxid,
                                         .pzxid = h->zxid,
                                         .ctime = h->time_ms,
                                         .mtime = h->time_ms};
    node->stat.ephemeral_owner = c->ephemeral                  ? h->client_id
                                 : type == OP_CREATE_CONTAINER ? OWNER_CONTAINER
                                 : type == OP_CREATE_TTL       ? OWNER_TTL_MASK | c->ttl_ms
                                                               : 0;
}

static inline void model_delete(struct model *m, zxid_t zxid, struct bytes path)
{
    struct model_node *parent = model_parent(m, path);
    if (parent && zxid > parent->stat.pzxid)
        parent->stat.pzxid = zxid;
    struct model_node *node = model_find(m, path.data, path.size);
    if (node)
        model_remove(m, node);
}

static inline void model_close(struct model *m, const struct txn_header *h, struct txn_paths paths)
{
    struct bytes path;
    while (txn_paths_next(&paths, &path))
        model_delete(m, h->zxid, path);
    for (size_t i = 0; i < m->node_count; i++)
        if (m->nodes[i].stat.ephemeral_owner == h->client_id) {
            struct bytes p =
                model_bytes((struct bytes){(uint8_t *)m->nodes[i].path, m->nodes[i].path_size});
            model_delete(m, h->zxid, p);
            free((void *)p.data);
            i = (size_t)-1;
        }
    for (size_t i = 0; i < m->session_count; i++)
        if (m->sessions[i].id == h->client_id)
            m->sessions[i--] = m->sessions[--m->session_count];
}

static inline void model_session_add(struct model *m, session_id_t id, int32_t timeout_ms)
{
    m->sessions = model_grow(m->sessions, m->session_count, sizeof *m->sessions);
    m->sessions[m->session_count++] = (struct model_session){id, timeout_ms};
}

static inline void model_set_data(struct model *m, const struct txn_header *h,
                                  const struct txn_set_data *t)
{
    struct model_node *node = model_find(m, t->path.data, t->path.size);
    if (!node)
        return;
    free(node->data);
    node->data = model_copy(t->data.data, t->data.size);
    node->data_size = t->data.size;
    node->data_null = !t->data.data;
    node->stat.version = t->version;
    node->stat.mzxid = h->zxid;
    node->stat.mtime = h->time_ms;
}

static inline void model_set_acl(struct model *m, const struct txn_set_acl *t)
{
    struct model_node *node = model_find(m, t->path.data, t->path.size);
    if (!node)
        return;
    free((void *)node->acl.data);
    node->acl = model_bytes(t->acl.raw);
    node->stat.aversion = t->version;
}

static inline void model_apply(struct model *m, const struct txn_header *h,
                               const struct txn_body *b)
{
    switch (b->type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        model_create(m, h, b->type, &b->create);
        break;
    case OP_DELETE:
    case OP_DELETE_CONTAINER:
        model_delete(m, h->zxid, b->delete.path);
        break;
    case OP_SET_DATA:
    case OP_RECONFIG:
        model_set_data(m, h, &b->set_data);
        break;
    case OP_SET_ACL:
        model_set_acl(m, &b->set_acl);
        break;
    case OP_CREATE_SESSION:
        model_session_add(m, h->client_id, b->create_session.timeout_ms);
        break;
    case OP_CLOSE_SESSION:
        model_close(m, h, b->close_session.paths);
        break;
    case OP_MULTI:
        if (!txn_multi_failed(b->multi)) {
            struct txn_multi parts = b->multi;
            struct txn_body part;
            while (txn_multi_next(&parts, &part))
                model_apply(m, h, &part);
        }
        break;
    default:
        break; /* error, check */
    }
}

/* ---- as a sink of recover_run() ---- */

static inline int model_on_session(void *ctx, session_id_t id, int32_t timeout_ms)
{
    model_session_add(ctx, id, timeout_ms);
    return PERSIST_OK;
}

static inline int model_on_acl(void *ctx, int64_t key, const struct txn_acl *acl)
{
    struct model *m = ctx;
    m->acls = model_grow(m->acls, m->acl_count, sizeof *m->acls);
    m->acls[m->acl_count++] = (struct model_acl){key, model_bytes(acl->raw)};
    return PERSIST_OK;
}

static inline int model_on_node(void *ctx, const struct snapshot_node *n)
{
    struct model *m = ctx;
    struct bytes acl = {model_open_acl, sizeof model_open_acl};
    bool found = n->acl_key == SNAPSHOT_ACL_OPEN;
    for (size_t i = 0; i < m->acl_count && !found; i++)
        if (m->acls[i].key == n->acl_key) {
            acl = m->acls[i].raw;
            found = true;
        }
    if (!found || (n->path.size && !model_parent(m, n->path)))
        return PERSIST_EDAMAGE;
    struct model_node *node = model_add(m, n->path, n->data, acl);
    node->stat = n->stat;
    node->acl_key = n->acl_key;
    return PERSIST_OK;
}

static inline int model_on_end(void *ctx, zxid_t zxid, const struct snapshot_digest *digest)
{
    struct model *m = ctx;
    m->snapshot_zxid = m->last_zxid = zxid;
    m->digest_from = digest->known ? digest->zxid : zxid;
    if (digest->known && digest->zxid == zxid) {
        m->digests_compared++;
        m->digests_wrong += model_digest(m) != digest->tree;
    }
    return PERSIST_OK;
}

static inline void model_on_reset(void *ctx)
{
    struct model *m = ctx;
    model_clear(m);
    m->resets++;
}

/* What an empty database begins with; for logs without a snapshot. */
static inline void model_init(struct model *m)
{
    static const char *const paths[] = {"", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"};
    struct bytes acl = {model_open_acl, sizeof model_open_acl};
    for (int i = 0; i < 4; i++)
        model_add(m, (struct bytes){(const uint8_t *)paths[i], (uint32_t)strlen(paths[i])},
                  (struct bytes){(const uint8_t *)"", 0}, acl);
}

static inline int model_on_txn(void *ctx, const struct txn *txn, struct bytes entry)
{
    struct model *m = ctx;
    struct txn again;
    CHECK(txn_entry_read(entry, &again) == TXN_OK && again.header.zxid == txn->header.zxid);
    model_apply(m, &txn->header, &txn->body);
    m->last_zxid = txn->header.zxid;
    m->txns++;
    m->zxids = model_grow(m->zxids, m->zxid_count, sizeof *m->zxids);
    m->zxids[m->zxid_count++] = txn->header.zxid;
    if (m->check_digests && txn->has_digest && txn->header.zxid >= m->digest_from) {
        m->digests_compared++;
        m->digests_wrong += model_digest(m) != txn->digest.tree;
    }
    return PERSIST_OK;
}

static inline struct recover_sink model_sink(struct model *m)
{
    return (struct recover_sink){
        .snapshot = {m, NULL, model_on_session, model_on_acl, model_on_node, model_on_end},
        .reset = model_on_reset,
        .txn = model_on_txn,
        .ctx = m};
}

#endif
