/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* Everything a tree holds, as bytes: two trees are equal if these are. */
#ifndef SENGI_TESTS_TREE_DUMP_H
#define SENGI_TESTS_TREE_DUMP_H

#include "tests/tree/tree_env.h"
#include "tree/tree_internal.h"

static inline void dump_nodes(struct tree *t, struct buffer *out)
{
    struct store_walk *walk = store_walk_begin(tree_store(t), text("/"), INT64_MAX);
    struct bytes path;
    const struct version *v;
    assert_non_null(walk);
    while (store_walk_next(walk, &path, &v)) {
        const struct acl_list *acl = acl_get(store_acls(tree_store(t)), v->acl);
        buffer_put_bytes(out, path);
        buffer_put_bytes(out, version_data(v));
        buffer_put_raw(out, v->stat, STAT_BYTES);
        buffer_put_int(out, v->cversion);
        buffer_put_long(out, version_owner_raw(v));
        buffer_put_raw(out, acl->wire, acl->wire_bytes);
    }
    store_walk_end(walk);
}

static inline int dump_compare(const void *a, const void *b)
{
    const struct tree_session *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

struct dump_names {
    struct buffer *out;
    uint64_t sum, count; /* ephemerals in any order: summed hashes */
};

static inline void dump_ephemeral(void *ctx, session_id_t session, struct bytes path)
{
    struct dump_names *names = ctx;
    uint64_t h = 14695981039346656037u ^ (uint64_t)session;
    for (uint32_t i = 0; i < path.size; i++)
        h = (h ^ path.data[i]) * 1099511628211u;
    names->sum += h;
    names->count++;
}

static inline void dump_sessions(struct tree *t, struct buffer *out)
{
    uint32_t n = tree_session_count(t);
    struct tree_session *sessions = malloc((n + 1) * sizeof *sessions);
    assert_int_equal(n, tree_sessions_copy(t, sessions, n + 1));
    qsort(sessions, n, sizeof *sessions, dump_compare);
    for (uint32_t i = 0; i < n; i++) {
        buffer_put_long(out, sessions[i].id);
        buffer_put_int(out, sessions[i].timeout_ms);
    }
    free(sessions);
}

static inline void tree_dump(struct tree *t, struct buffer *out)
{
    struct dump_names names = {.out = out};
    out->size = 0;
    dump_nodes(t, out);
    dump_sessions(t, out);
    tree_ephemerals_each(t, dump_ephemeral, &names);
    buffer_put_long(out, (int64_t)names.sum);
    buffer_put_long(out, (int64_t)names.count);
    for (int kind = MARK_CONTAINER; kind < MARK_KINDS; kind++)
        buffer_put_long(out, (int64_t)t->ledger.lists[kind].count);
    buffer_put_long(out, (int64_t)tree_digest(t));
    assert_false(out->failed);
}

static inline void assert_dumps_equal(const struct buffer *a, const struct buffer *b,
                                      const char *what, int step)
{
    size_t n = a->size < b->size ? a->size : b->size, i = 0;
    while (i < n && a->data[i] == b->data[i])
        i++;
    if (i < n || a->size != b->size)
        fail_msg("%s: trees differ at step %d, byte %zu of %zu and %zu", what, step, i, a->size,
                 b->size);
}

static inline void tree_checks(struct tree *t)
{
    store_check(tree_store(t));
    ledger_check(&t->ledger);
}

#endif
