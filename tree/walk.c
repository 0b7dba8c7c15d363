/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Visiting every znode: walks for snapshots and searches, the memory count, the whole-tree check.
 *
 * A walk keeps one small frame per level on the heap (a tree may be hundreds of thousands of levels
 * deep) and a cursor only for directories with more than one leaf of names.
 */
#include <malloc.h>

#include "tree/store_private.h"

#define FRAMES_MIN 64
#define PATH_BYTES_MIN 1024

struct walk_frame {
    uint32_t path_size;             /* of the directory */
    struct children_cursor *cursor; /* owned */
};

struct store_walk {
    const struct store *s;
    zxid_t zxid;
    struct walk_frame *frames;
    uint32_t depth, frames_capacity;
    char *path; /* path_size bytes are the current path; the root's is empty */
    size_t path_size, path_capacity;
    const struct version *start; /* the first one to give, then NULL */
    struct children_cursor *spare;
    int error;
};

static const struct version *walk_find(const struct store_walk *w)
{
    struct bytes path = {(const uint8_t *)w->path, (uint32_t)w->path_size};
    return version_at(index_find(&w->s->index, store_key(w->s, path)), w->zxid);
}

static int walk_path_append(struct store_walk *w, struct bytes name)
{
    size_t size = w->path_size + 1 + name.size;
    if (size > w->path_capacity) {
        size_t capacity = size * 2;
        char *path = realloc(w->path, capacity);
        if (!path)
            return -1;
        w->path = path;
        w->path_capacity = capacity;
    }
    w->path[w->path_size] = '/';
    memcpy(w->path + w->path_size + 1, name.data, name.size);
    w->path_size = size;
    return 0;
}

struct store_walk *store_walk_begin(struct store *s, struct bytes path, zxid_t zxid)
{
    struct store_walk *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->s = s;
    w->zxid = zxid;
    w->path_capacity = path.size > PATH_BYTES_MIN ? path.size : PATH_BYTES_MIN;
    w->path = malloc(w->path_capacity);
    w->frames_capacity = FRAMES_MIN;
    w->frames = malloc(FRAMES_MIN * sizeof *w->frames);
    if (!w->path || !w->frames)
        goto fail;
    w->path_size = path.size == 1 ? 0 : path.size; /* "/" is "" */
    memcpy(w->path, path.data ? path.data : (const uint8_t *)"", w->path_size);
    w->start = walk_find(w);
    if (w->start)
        return w;
fail:
    store_walk_end(w);
    return NULL;
}

/** Go down into the children of the current znode, if any. */
static int walk_push(struct store_walk *w, const struct version *v)
{
    if (!v->children)
        return 0;
    if (w->depth == w->frames_capacity) {
        uint32_t capacity = w->frames_capacity * 2;
        struct walk_frame *frames = realloc(w->frames, capacity * sizeof *frames);
        if (!frames)
            return -1;
        w->frames = frames;
        w->frames_capacity = capacity;
    }
    struct children_cursor *cursor = w->spare ? w->spare : malloc(sizeof *cursor);
    if (!cursor)
        return -1;
    w->spare = NULL;
    children_cursor_init(cursor, v->children);
    w->frames[w->depth++] = (struct walk_frame){(uint32_t)w->path_size, cursor};
    return 0;
}

static void walk_pop(struct store_walk *w)
{
    struct children_cursor *cursor = w->frames[--w->depth].cursor;
    if (w->spare)
        free(cursor);
    else
        w->spare = cursor;
}

static bool walk_fail(struct store_walk *w)
{
    w->error = STORE_ENOMEM;
    return false;
}

bool store_walk_next(struct store_walk *w, struct bytes *path, const struct version **v)
{
    const struct version *next = w->start;
    w->start = NULL;
    while (!next) {
        struct bytes name;
        if (w->depth == 0 || w->error)
            return false;
        struct walk_frame *frame = &w->frames[w->depth - 1];
        w->path_size = frame->path_size;
        if (!children_cursor_next(frame->cursor, &name)) {
            walk_pop(w);
            continue;
        }
        if (walk_path_append(w, name) != 0)
            return walk_fail(w);
        next = walk_find(w);
        CHECK(next); /* S3 */
    }
    if (walk_push(w, next) != 0)
        return walk_fail(w);
    *path = (struct bytes){(const uint8_t *)w->path, (uint32_t)w->path_size};
    *v = next;
    return true;
}

int store_walk_error(const struct store_walk *w)
{
    return w->error;
}

void store_walk_end(struct store_walk *w)
{
    if (!w)
        return;
    while (w->depth)
        free(w->frames[--w->depth].cursor);
    free(w->spare);
    free(w->frames);
    free(w->path);
    free(w);
}

/* --- memory --- */

static void memory_add(void *ctx, struct version *v)
{
    struct store_memory *m = ctx;
    m->version_bytes += malloc_usable_size(v);
    if (v->flags & VERSION_DEAD)
        return;
    m->children_bytes += children_heap_bytes(v->children);
    struct value *value = version_value(v);
    if (v->flags & VERSION_EXTERNAL)
        m->data_bytes += malloc_usable_size(value ? (void *)value : (void *)version_data(v).data);
}

void store_memory(const struct store *s, struct store_memory *out)
{
    *out = (struct store_memory){.index_bytes = index_heap_bytes(&s->index),
                                 .acl_bytes = acl_heap_bytes(s->acls)};
    index_each(&s->index, memory_add, out);
}

/* --- check --- */

static void check_node(struct store *s, struct bytes path, const struct version *v)
{
    CHECK(v->vzxid <= s->newest);
    /* I1, where prev cannot dangle: down to the first version that readers may still need */
    for (const struct version *p = v; p->vzxid > s->committed && p->prev; p = p->prev)
        CHECK(p->prev->vzxid < p->vzxid && p->prev->key_lo == p->key_lo);
    children_check(v->children);
    CHECK(version_num_children(v) == children_count(v->children));
    CHECK((int32_t)be32_load(v->stat + STAT_CVERSION) ==
          (int32_t)(2u * (uint32_t)v->cversion - version_num_children(v)));
    CHECK(store_key(s, path).lo == v->key_lo);
    if (v->acl != ACL_OPEN)
        CHECK(acl_uses(s->acls, v->acl) > 0);
    if (s->digest_enabled) {
        /* crc32 of path and data, computed afresh by way of a new version of the same content */
        struct store_node node = {.path = path.size ? path : BYTES_OF("/"),
                                  .data = version_data(v)};
        struct version *fresh = version_create(s, 0, &node, store_key(s, path));
        CHECK(fresh && fresh->digest_prefix == v->digest_prefix);
        version_free_tail(fresh);
        free(fresh);
    }
}

static void count_live(void *ctx, struct version *v)
{
    *(uint64_t *)ctx += !(v->flags & VERSION_DEAD);
}

void store_check(struct store *s)
{
    zxid_t visible = atomic_load_explicit(&s->visible, memory_order_relaxed);
    /* S1 */
    CHECK(visible <= s->committed && s->committed <= s->newest && s->retired <= s->committed);
    for (const struct tree_txn *txn = s->pending.head; txn; txn = txn->next)
        CHECK(txn->zxid > s->committed && (!txn->next || txn->next->zxid > txn->zxid));
    index_check(&s->index);

    struct tree_counters counted = s->counters;
    s->counters = (struct tree_counters){0};
    struct store_walk *w = store_walk_begin(s, BYTES_OF("/"), INT64_MAX);
    CHECK(w);
    struct bytes path;
    const struct version *v;
    while (store_walk_next(w, &path, &v)) {
        check_node(s, path, v);
        counters_add(s, v, path.size ? path : BYTES_OF("/"), +1);
    }
    CHECK(store_walk_error(w) == 0);
    store_walk_end(w);
    CHECK(memcmp(&counted, &s->counters, sizeof counted) == 0); /* S4 */
    uint64_t live = 0;
    index_each(&s->index, count_live, &live);
    CHECK(live == counted.nodes); /* S3: nothing lives outside the walk */
}
