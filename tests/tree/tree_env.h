/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* A tree with sessions and clock of its own, and requests in one line: for the tests of the
 * rules. */
#ifndef SENGI_TESTS_TREE_ENV_H
#define SENGI_TESTS_TREE_ENV_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/wire/check.h"
#include "tree/reader.h"
#include "tree/tree.h"

#define ENTRY_BYTES_MAX 2000000u
#define SESSION_A 0x0100000000000001
#define SESSION_B 0x0100000000000002

struct env {
    struct tree *t;
    struct auth_set *auth; /* of the requests that follow */
    zxid_t zxid;           /* of the last txn */
    int64_t now_ms;
    int32_t cxid;
    struct buffer entry, reply, body;
    struct bytes last_entry; /* of the last request */
    enum tree_verdict verdict;
};

static inline struct tree_config env_config(void)
{
    return (struct tree_config){
        .entry_bytes_max = ENTRY_BYTES_MAX, .extended_types = true, .digest_enabled = true};
}

static inline struct tree *env_tree(const struct tree_config *config)
{
    struct tree *t = tree_create(config);
    assert_non_null(t);
    assert_int_equal(0, tree_load_begin(t, 0));
    assert_int_equal(0, tree_load_end(t));
    assert_int_equal(0, tree_load_finish(t));
    return t;
}

static inline void env_init(struct env *e, const struct tree_config *config)
{
    *e = (struct env){.now_ms = 1000};
    e->t = env_tree(config);
    e->auth = auth_set_of_ip("127.0.0.1");
    buffer_init(&e->entry, 64 << 20);
    buffer_init(&e->reply, 64 << 20);
    buffer_init(&e->body, 64 << 20);
}

/* Commit, show and retire everything pending. */
static inline void tree_publish(struct tree *t)
{
    zxid_t z = tree_newest_zxid(t);
    struct tree_txn *txns = tree_commit(t, z);
    if (txns)
        store_show(tree_store(t), z);
    store_retire(tree_store(t), &txns);
}

static inline void env_free(struct env *e)
{
    tree_publish(e->t);
    tree_destroy(e->t);
    auth_set_drop(e->auth);
    buffer_free(&e->entry);
    buffer_free(&e->reply);
    buffer_free(&e->body);
}

static inline struct bytes text(const char *s)
{
    return s ? (struct bytes){(const uint8_t *)s, (uint32_t)strlen(s)} : BYTES_NULL;
}

/* --- request bodies, appended --- */

static inline void put_acl(struct buffer *b, int32_t perms, const char *scheme, const char *id)
{
    buffer_put_int(b, perms);
    buffer_put_bytes(b, text(scheme));
    buffer_put_bytes(b, text(id));
}

static inline void put_open_acl(struct buffer *b)
{
    buffer_put_int(b, 1);
    put_acl(b, PERM_ALL, "world", "anyone");
}

static inline void put_create(struct buffer *b, const char *path, const char *data, int32_t flags)
{
    buffer_put_bytes(b, text(path));
    buffer_put_bytes(b, text(data));
    put_open_acl(b);
    buffer_put_int(b, flags);
}

static inline void put_path_version(struct buffer *b, const char *path, int32_t version)
{
    buffer_put_bytes(b, text(path));
    buffer_put_int(b, version);
}

static inline void put_set_data(struct buffer *b, const char *path, const char *data,
                                int32_t version)
{
    buffer_put_bytes(b, text(path));
    buffer_put_bytes(b, text(data));
    buffer_put_int(b, version);
}

static inline void put_multi_header(struct buffer *b, int32_t type)
{
    buffer_put_int(b, type);
    buffer_put_bool(b, false);
    buffer_put_int(b, -1);
}

static inline void put_multi_end(struct buffer *b)
{
    buffer_put_int(b, -1);
    buffer_put_bool(b, true);
    buffer_put_int(b, -1);
}

/* --- sending --- */

/* Prepare e->body as `opcode` of a session; empties it afterwards. @return the error code of the
 * answer. */
static inline int32_t env_send(struct env *e, session_id_t session, int32_t opcode)
{
    struct tree_answer answer = {.body = &e->reply};
    struct tree_request rq = {
        .session = session,
        .cxid = ++e->cxid,
        .op = opcode_find(opcode),
        .body = {e->body.data ? e->body.data : (const uint8_t *)"", (uint32_t)e->body.size},
        .auth = e->auth,
        .zxid = e->zxid + 1,
        .time_ms = e->now_ms};
    e->reply.size = 0;
    e->entry.size = 0;
    e->verdict = tree_prepare(e->t, &rq, &e->entry, &answer);
    assert_int_not_equal(TREE_ENOMEM, e->verdict);
    if (e->verdict == TREE_TXN)
        e->zxid++;
    e->last_entry = (struct bytes){e->entry.data, (uint32_t)e->entry.size};
    e->body.size = 0;
    return answer.err;
}

/* The server's own requests: no auth. */
static inline int32_t env_send_server(struct env *e, session_id_t session, int32_t opcode)
{
    struct auth_set *auth = e->auth;
    e->auth = NULL;
    int32_t err = env_send(e, session, opcode);
    e->auth = auth;
    return err;
}

static inline void env_session(struct env *e, session_id_t id, int32_t timeout_ms)
{
    buffer_put_int(&e->body, timeout_ms);
    assert_int_equal(0, env_send_server(e, id, OP_CREATE_SESSION));
}

static inline int32_t env_create_as(struct env *e, session_id_t session, int32_t opcode,
                                    const char *path, const char *data, int32_t flags)
{
    put_create(&e->body, path, data, flags);
    return env_send(e, session, opcode);
}

static inline int32_t env_create(struct env *e, const char *path)
{
    return env_create_as(e, SESSION_A, OP_CREATE, path, "", 0);
}

static inline int32_t env_create_ttl(struct env *e, const char *path, int32_t flags, int64_t ttl)
{
    put_create(&e->body, path, "", flags);
    buffer_put_long(&e->body, ttl);
    return env_send(e, SESSION_A, OP_CREATE_TTL);
}

static inline int32_t env_delete(struct env *e, const char *path, int32_t version)
{
    put_path_version(&e->body, path, version);
    return env_send(e, SESSION_A, OP_DELETE);
}

static inline int32_t env_set_data(struct env *e, const char *path, const char *data,
                                   int32_t version)
{
    put_set_data(&e->body, path, data, version);
    return env_send(e, SESSION_A, OP_SET_DATA);
}

static inline const struct version *env_node(struct env *e, const char *path)
{
    return store_newest(tree_store(e->t), store_key(tree_store(e->t), text(path)));
}

static inline int32_t stat_int(const struct version *v, size_t at)
{
    return (int32_t)be32_load(v->stat + at);
}

static inline int64_t stat_long(const struct version *v, size_t at)
{
    return (int64_t)be64_load(v->stat + at);
}

static inline void assert_data(struct env *e, const char *path, const char *want)
{
    const struct version *v = env_node(e, path);
    assert_non_null(v);
    struct bytes data = version_data(v);
    assert_int_equal(strlen(want), data.size);
    assert_memory_equal(want, data.data, data.size);
}

/* A path in the reply, at an offset. */
static inline void assert_reply_path(struct env *e, size_t at, const char *want)
{
    struct jute_reader r = jute_reader_of(e->reply.data + at, e->reply.size - at);
    struct bytes path = jute_read_bytes(&r);
    assert_false(r.failed);
    assert_int_equal(strlen(want), path.size);
    assert_memory_equal(want, path.data, path.size);
}

/* Type of the last entry's txn. */
static inline int32_t env_entry_type(const struct env *e)
{
    return (int32_t)be32_load(e->last_entry.data + 28);
}

#endif
