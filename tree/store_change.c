/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Changes of znodes inside the open txn, and loading.
 *
 * Each change first does everything that can fail (memory), then everything else. A version made by
 * the open txn is changed in place; any other is copied, and the copy installed in its slot (I2).
 */
#include <isa-l/crc.h>

#include "tree/store_private.h"

#define ENTRIES_PER_CHANGE 16 /* undo entries of one change besides those of the children tree */
#define CHANGES_MIN 4
#define PATH_CHUNK_BYTES 496

/* --- paths --- */

static bool path_is_root(struct bytes path)
{
    return path.size == 0 || (path.size == 1 && path.data[0] == '/');
}

static struct bytes path_normal(struct bytes path)
{
    return path.size ? path : BYTES_OF("/");
}

static uint32_t last_slash(struct bytes path)
{
    CHECK(path.size > 1 && path.data[0] == '/');
    const uint8_t *slash = memrchr(path.data, '/', path.size);
    return (uint32_t)(slash - path.data);
}

static struct bytes path_parent(struct bytes path)
{
    uint32_t slash = last_slash(path);
    return (struct bytes){path.data, slash ? slash : 1};
}

static struct bytes path_name(struct bytes path)
{
    uint32_t slash = last_slash(path);
    CHECK(slash + 1 < path.size);
    return (struct bytes){path.data + slash + 1, path.size - slash - 1};
}

/** Characters as Java counts them: UTF-16 units. */
static uint64_t path_characters(struct bytes path)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < path.size; i++)
        n += (uint64_t)((path.data[i] & 0xc0) != 0x80) + (path.data[i] >= 0xf0);
    return n;
}

/* --- versions --- */

static size_t ttl_bytes(const struct version *v)
{
    return v->flags & VERSION_TTL ? sizeof(int64_t) : 0;
}

static size_t tail_bytes(uint8_t flags, uint32_t data_size)
{
    size_t ttl = flags & VERSION_TTL ? sizeof(int64_t) : 0;
    return ttl + (flags & VERSION_EXTERNAL ? sizeof(void *) : data_size);
}

static size_t version_tail_bytes(const struct version *v)
{
    return v->flags & VERSION_DEAD ? 0 : tail_bytes(v->flags, version_data_size(v));
}

/** Heap bytes of a version with such a tail. */
static size_t version_bytes(size_t tail)
{
    size_t bytes = offsetof(struct version, tail) + tail;
    return bytes > sizeof(struct version) ? bytes : sizeof(struct version);
}

/** The data block outside the version, or NULL. */
static void *version_external(const struct version *v)
{
    void *external = NULL;
    if (v->flags & VERSION_EXTERNAL)
        memcpy(&external, v->tail + ttl_bytes(v), sizeof external);
    return external;
}

static void external_free(void *external, uint32_t size)
{
    if (external && size >= VALUE_BYTES_MIN)
        value_drop(value_of(external));
    else
        free(external);
}

void version_free_tail(struct version *v)
{
    external_free(version_external(v), version_data_size(v));
}

/** What becomes of a data block outside the version; NULL: there is none. */
static void undo_push_external(struct store *s, enum undo_kind kind, void *external, uint32_t size)
{
    if (!external)
        return;
    bool counted = size >= VALUE_BYTES_MIN;
    undo_push(s, (struct undo_entry){.kind = (uint16_t)kind, .value = counted,
                                     .a = counted ? value_of(external) : external});
}

/**
 * Fill in the data part of the tail and what follows from it. `external` holds a copy of data if
 * the flag says so.
 */
static void version_put_data(struct version *v, struct bytes data, void *external)
{
    uint8_t *p = v->tail + ttl_bytes(v);
    if (v->flags & VERSION_EXTERNAL)
        memcpy(p, &external, sizeof external);
    else if (data.size)
        memmove(p, data.data, data.size); /* the caller may have read the data from this very
                                           * version */
    be32_store(v->stat + STAT_DATA_LENGTH, data.data ? data.size : 0);
}

/** Flags that the data asks for, and a copy of it when it is kept outside. @return 0 or -1. */
static int data_place(struct bytes data, uint8_t *flags, void **external)
{
    *external = NULL;
    if (!data.data)
        *flags |= VERSION_NULL;
    if (!data.data || data.size <= VERSION_INLINE_BYTES_MAX)
        return 0;
    *flags |= VERSION_EXTERNAL;
    if (data.size >= VALUE_BYTES_MIN) {
        struct value *value = value_new(data);
        *external = value ? value->bytes : NULL;
        return value ? 0 : -1;
    }
    *external = malloc(data.size);
    if (!*external)
        return -1;
    memcpy(*external, data.data, data.size);
    return 0;
}

static uint32_t digest_prefix(const struct store *s, struct bytes path, struct bytes data)
{
    if (!s->digest_enabled)
        return 0;
    uint32_t crc = path_is_root(path) ? 0 : crc32_gzip_refl(0, path.data, path.size);
    return data.size ? crc32_gzip_refl(crc, data.data, data.size) : crc;
}

void version_update_cversion(struct version *v)
{
    /* semantics.md section 1: creations plus deletions */
    uint32_t wire = 2u * (uint32_t)v->cversion - version_num_children(v);
    be32_store(v->stat + STAT_CVERSION, wire);
}

static void version_put_stat(struct version *v, const struct stat_persisted *stat)
{
    be64_store(v->stat + STAT_CZXID, (uint64_t)stat->czxid);
    be64_store(v->stat + STAT_MZXID, (uint64_t)stat->mzxid);
    be64_store(v->stat + STAT_CTIME, (uint64_t)stat->ctime);
    be64_store(v->stat + STAT_MTIME, (uint64_t)stat->mtime);
    be32_store(v->stat + STAT_VERSION, (uint32_t)stat->version);
    be32_store(v->stat + STAT_AVERSION, (uint32_t)stat->aversion);
    be64_store(v->stat + STAT_PZXID, (uint64_t)stat->pzxid);
    int64_t shown = v->flags & (VERSION_CONTAINER | VERSION_TTL) ? 0 : stat->ephemeral_owner;
    be64_store(v->stat + STAT_OWNER, (uint64_t)shown);
    v->cversion = stat->cversion;
    version_update_cversion(v);
}

struct version *version_create(const struct store *s, zxid_t vzxid, const struct store_node *node,
                               struct tree_key key)
{
    uint8_t flags = 0;
    int64_t owner = node->stat.ephemeral_owner, ttl = owner & ~OWNER_TTL_MASK;
    if (owner == OWNER_CONTAINER)
        flags = VERSION_CONTAINER;
    else if ((owner & OWNER_TTL_MASK) == OWNER_TTL_MASK && ttl >= 1 && ttl <= TTL_MS_MAX)
        flags = VERSION_TTL; /* else a session of server 255 */
    void *external;
    if (data_place(node->data, &flags, &external) != 0)
        return NULL;
    struct version *v = malloc(version_bytes(tail_bytes(flags, node->data.size)));
    if (!v) {
        external_free(external, node->data.size);
        return NULL;
    }
    memset(v, 0, offsetof(struct version, tail));
    v->vzxid = vzxid;
    v->key_lo = key.lo;
    v->acl = node->acl;
    v->flags = flags;
    if (flags & VERSION_TTL)
        memcpy(v->tail, &ttl, sizeof ttl);
    version_put_data(v, node->data, external);
    version_put_stat(v, &node->stat);
    v->digest_prefix = digest_prefix(s, node->path, node->data);
    return v;
}

uint64_t version_digest(const struct store *s, const struct version *v, struct bytes path)
{
    static const char hidden[] = "/zookeeper/";
    if (!s->digest_enabled ||
        (path.size >= sizeof hidden - 1 && memcmp(path.data, hidden, sizeof hidden - 1) == 0))
        return 0;
    uint8_t b[STAT_PERSISTED_BYTES]; /* semantics.md section 17 */
    memcpy(b, v->stat + STAT_CZXID, 16);
    memcpy(b + 16, v->stat + STAT_PZXID, 8);
    memcpy(b + 24, v->stat + STAT_CTIME, 20); /* ctime, mtime, version */
    be32_store(b + 44, (uint32_t)v->cversion);
    memcpy(b + 48, v->stat + STAT_AVERSION, 4);
    be64_store(b + 52, (uint64_t)version_owner_raw(v));
    return crc32_gzip_refl(v->digest_prefix, b, sizeof b);
}

static bool version_is_ephemeral(const struct version *v)
{
    return !(v->flags & (VERSION_CONTAINER | VERSION_TTL)) && be64_load(v->stat + STAT_OWNER) != 0;
}

void counters_add(struct store *s, const struct version *v, struct bytes path, int sign)
{
    struct tree_counters *c = &s->counters;
    uint64_t by = (uint64_t)(int64_t)sign; /* modulo 2^64 */
    c->nodes += by;
    c->ephemerals += by * version_is_ephemeral(v);
    c->data_bytes += by * (path_characters(path) + version_data_size(v));
    c->digest += by * version_digest(s, v, path);
}

/* --- the writable version of a present znode --- */

static struct version *version_present(struct store *s, struct tree_key key)
{
    struct version *v = index_find(&s->index, key);
    CHECK(v && !(v->flags & VERSION_DEAD));
    return v;
}

/** Put `new` in the place of `old`; the undo log and the order of versions follow. Cannot fail. */
static void version_supersede(struct store *s, struct tree_key key, struct version *old,
                              struct version *new)
{
    CHECK(new->vzxid == s->newest && old->vzxid <= s->newest);
    if (old->vzxid == s->newest) {
        new->prev = old->prev;
        undo_push(s, (struct undo_entry){.kind = UNDO_FREE_ALWAYS, .a = old});
    } else {
        new->prev = old;
        undo_push(s, (struct undo_entry){.kind = UNDO_SLOT, .a = old, .key = key});
    }
    index_replace(&s->index, key, old, new);
}

/** The znode's version of the open txn, to be changed in place. NULL: out of memory. */
static struct version *version_writable(struct store *s, struct tree_key key)
{
    struct version *v = version_present(s, key);
    if (v->vzxid == s->newest)
        return v;
    size_t tail = version_tail_bytes(v);
    struct version *copy = malloc(version_bytes(tail));
    if (!copy)
        return NULL;
    memcpy(copy, v, offsetof(struct version, tail) + tail);
    copy->vzxid = s->newest;
    version_supersede(s, key, v, copy);
    return copy;
}

/* --- change records --- */

static uint8_t *path_store(struct txn_undo *u, struct bytes path)
{
    struct path_chunk *chunk = u->paths;
    if (!chunk || chunk->size - chunk->used < path.size) {
        size_t size = path.size > PATH_CHUNK_BYTES ? path.size : PATH_CHUNK_BYTES;
        chunk = malloc(sizeof *chunk + size);
        if (!chunk)
            return NULL;
        *chunk = (struct path_chunk){.next = u->paths, .size = size};
        u->paths = chunk;
    }
    uint8_t *p = chunk->bytes + chunk->used;
    memcpy(p, path.data, path.size);
    chunk->used += path.size;
    return p;
}

/**
 * Make room for one record and fill in what is known; counted by change_count++ when the change is
 * done. NULL: no memory.
 */
static struct tree_change *change_prepare(struct store *s, enum change_kind kind, struct bytes path,
                                          struct tree_key key)
{
    struct tree_txn *txn = &s->open->pub;
    struct txn_undo *u = txn->undo;
    if (txn->change_count == u->changes_capacity) {
        uint32_t capacity = u->changes_capacity ? u->changes_capacity * 2 : CHANGES_MIN;
        struct tree_change *changes = realloc(txn->changes, capacity * sizeof *changes);
        if (!changes)
            return NULL;
        txn->changes = changes;
        u->changes_capacity = capacity;
    }
    const uint8_t *copy = path_store(u, path);
    if (!copy)
        return NULL;
    struct bytes parent = path_is_root(path) ? path : path_parent(path);
    struct tree_change *change = &txn->changes[txn->change_count];
    *change = (struct tree_change){.kind = kind,
                                   .path_size = path.size,
                                   .parent_size = parent.size,
                                   .path = copy,
                                   .key = key};
    if (kind != CHANGE_DATA)
        change->parent_key = store_key(s, parent);
    return change;
}

/* --- parents --- */

static void sink_made(void *ctx, struct children *node)
{
    undo_push(ctx, (struct undo_entry){.kind = UNDO_FREE_IF_UNDONE, .a = node});
}

static void sink_replaced(void *ctx, struct children *node)
{
    undo_push(ctx, (struct undo_entry){.kind = UNDO_FREE_IF_RETIRED, .a = node});
}

static struct children_sink store_sink(struct store *s)
{
    return (struct children_sink){sink_made, sink_replaced, s};
}

/** Room in the undo log for a change whose parent has these children. */
static int change_reserve(struct store *s, const struct children *siblings)
{
    int levels = children_levels(siblings);
    return undo_reserve(s, (uint32_t)(ENTRIES_PER_CHANGE + CHILDREN_MADE_MAX(levels) +
                                      CHILDREN_REPLACED_MAX(levels)));
}

static void version_add_children(struct version *v, uint32_t by)
{
    be32_store(v->stat + STAT_NUM_CHILDREN, version_num_children(v) + by);
    version_update_cversion(v);
}

static void parent_raise(struct version *parent, int32_t cversion, zxid_t pzxid)
{
    if (cversion <= parent->cversion)
        return;
    parent->cversion = cversion;
    be64_store(parent->stat + STAT_PZXID, (uint64_t)pzxid);
    version_update_cversion(parent);
}

/* --- the changes --- */

/** Install a new znode where there is nothing or a tombstone. @return 0 or -1, nothing changed. */
static int node_place(struct store *s, struct tree_key key, struct version *v,
                      struct version *tombstone)
{
    CHECK(!tombstone || (tombstone->flags & VERSION_DEAD));
    if (tombstone) {
        version_supersede(s, key, tombstone, v);
        return 0;
    }
    if (index_insert(&s->index, key, v) != 0)
        return -1;
    undo_push(s, (struct undo_entry){.kind = UNDO_SLOT, .a = NULL, .key = key});
    return 0;
}

int store_add(struct store *s, const struct store_node *node, int32_t parent_cversion)
{
    CHECK(s->open && !path_is_root(node->path));
    struct tree_key key = store_key(s, node->path);
    struct bytes parent_path = path_parent(node->path);
    struct tree_change *change = change_prepare(s, CHANGE_CREATED, node->path, key);
    if (!change)
        return STORE_ENOMEM;
    struct version *there = index_find(&s->index, key);
    CHECK(!there || (there->flags & VERSION_DEAD));
    if (change_reserve(s, version_present(s, change->parent_key)->children) != 0)
        return STORE_ENOMEM;
    struct version *parent = version_writable(s, change->parent_key);
    struct version *v = parent ? version_create(s, s->newest, node, key) : NULL;
    if (!v)
        return STORE_ENOMEM;
    /* The slot first: taking it back is easier than taking the name back. */
    struct children_sink sink = store_sink(s);
    if (node_place(s, key, v, there) != 0) {
        version_free_tail(v);
        free(v);
        return STORE_ENOMEM;
    }
    struct children *children = children_insert(parent->children, path_name(node->path), &sink);
    if (!children) {
        /* stays as a tombstone of this txn, which the caller aborts */
        undo_push_external(s, UNDO_FREE_ALWAYS, version_external(v), version_data_size(v));
        undo_push(s, (struct undo_entry){.kind = UNDO_DEAD, .key = key});
        v->flags = VERSION_DEAD;
        return STORE_ENOMEM;
    }
    s->counters.digest -= version_digest(s, parent, parent_path);
    parent->children = children;
    version_add_children(parent, 1);
    parent_raise(parent, parent_cversion, s->newest);
    s->counters.digest += version_digest(s, parent, parent_path);
    counters_add(s, v, node->path, +1);
    undo_push(s, (struct undo_entry){.kind = UNDO_ACL_TAKEN, .acl = node->acl});
    undo_push_external(s, UNDO_FREE_IF_UNDONE, version_external(v), version_data_size(v));
    change->acl = node->acl;
    change->parent_acl = parent->acl;
    s->open->pub.change_count++;
    return STORE_OK;
}

/**
 * Make the znode's newest version a tombstone. Cannot fail: `fresh` is an empty version, used or
 * freed.
 */
static void node_kill(struct store *s, struct tree_key key, struct version *v,
                      struct version *fresh)
{
    undo_push(s, (struct undo_entry){.kind = UNDO_ACL_RELEASED, .acl = v->acl});
    undo_push_external(s, UNDO_FREE_IF_RETIRED, version_external(v), version_data_size(v));
    undo_push(s, (struct undo_entry){.kind = UNDO_DEAD, .key = key});
    if (v->vzxid == s->newest) {
        free(fresh);
        v->flags = VERSION_DEAD;
        v->children = NULL;
        return;
    }
    memset(fresh, 0, offsetof(struct version, tail));
    fresh->vzxid = s->newest;
    fresh->key_lo = key.lo;
    fresh->flags = VERSION_DEAD;
    version_supersede(s, key, v, fresh);
}

int store_remove(struct store *s, struct bytes path)
{
    CHECK(s->open && !path_is_root(path));
    struct tree_key key = store_key(s, path);
    struct bytes parent_path = path_parent(path);
    struct tree_change *change = change_prepare(s, CHANGE_DELETED, path, key);
    if (!change || change_reserve(s, version_present(s, change->parent_key)->children) != 0)
        return STORE_ENOMEM;
    struct version *v = version_present(s, key), *parent = version_writable(s, change->parent_key);
    CHECK(!v->children);
    struct version *fresh = parent ? malloc(version_bytes(0)) : NULL;
    if (!fresh)
        return STORE_ENOMEM;
    struct children *children;
    struct children_sink sink = store_sink(s);
    int err = children_remove(parent->children, path_name(path), &sink, &children);
    CHECK(err != -1);
    if (err) {
        free(fresh);
        return STORE_ENOMEM;
    }
    s->counters.digest -= version_digest(s, parent, parent_path);
    parent->children = children;
    version_add_children(parent, (uint32_t)-1);
    if (s->newest > (zxid_t)be64_load(parent->stat + STAT_PZXID))
        be64_store(parent->stat + STAT_PZXID, (uint64_t)s->newest);
    s->counters.digest += version_digest(s, parent, parent_path);
    counters_add(s, v, path, -1);
    change->acl = v->acl;
    change->parent_acl = parent->acl;
    s->open->pub.change_count++;
    node_kill(s, key, v, fresh);
    return STORE_OK;
}

/** Copy of `v` for other data. NULL: out of memory. */
static struct version *version_reshape(const struct store *s, const struct version *v,
                                       uint8_t flags, uint32_t data_size)
{
    struct version *new = malloc(version_bytes(tail_bytes(flags, data_size)));
    if (!new)
        return NULL;
    memcpy(new, v, offsetof(struct version, tail));
    memcpy(new->tail, v->tail, ttl_bytes(v));
    new->flags = flags;
    new->vzxid = s->newest;
    return new;
}

/**
 * Give a present znode other data. *before is its digest before (the caller has subtracted nothing
 * yet).
 * @return the version to go on with, in place or new; NULL: out of memory, nothing changed.
 */
static struct version *node_set_data(struct store *s, struct tree_key key, struct bytes path,
                                     struct bytes data)
{
    if (undo_reserve(s, ENTRIES_PER_CHANGE) != 0)
        return NULL;
    struct version *v = version_present(s, key), *new = v;
    void *external, *old_external = version_external(v);
    uint32_t old_size = version_data_size(v);
    uint8_t flags = v->flags & (uint8_t)~(VERSION_NULL | VERSION_EXTERNAL);
    if (data_place(data, &flags, &external) != 0)
        return NULL;
    bool in_place = v->vzxid == s->newest && tail_bytes(flags, data.size) <= version_tail_bytes(v);
    if (!in_place)
        new = version_reshape(s, v, flags, data.size);
    if (!new) {
        external_free(external, data.size);
        return NULL;
    }
    s->counters.digest -= version_digest(s, v, path);
    s->counters.data_bytes += (uint64_t)data.size - version_data_size(v);
    new->digest_prefix = digest_prefix(s, path, data);
    new->flags = flags;
    version_put_data(new, data, external);
    if (!in_place)
        version_supersede(s, key, v, new);
    undo_push_external(s, UNDO_FREE_IF_RETIRED, old_external, old_size);
    undo_push_external(s, UNDO_FREE_IF_UNDONE, external, data.size);
    return new;
}

int store_set_data(struct store *s, struct bytes path, struct tree_key key, struct bytes data,
                   int32_t version, zxid_t mzxid, int64_t mtime)
{
    CHECK(s->open);
    path = path_normal(path);
    struct tree_change *change = change_prepare(s, CHANGE_DATA, path, key);
    struct version *v = change ? node_set_data(s, key, path, data) : NULL;
    if (!v)
        return STORE_ENOMEM;
    be32_store(v->stat + STAT_VERSION, (uint32_t)version);
    be64_store(v->stat + STAT_MZXID, (uint64_t)mzxid);
    be64_store(v->stat + STAT_MTIME, (uint64_t)mtime);
    s->counters.digest += version_digest(s, v, path);
    change->acl = v->acl;
    s->open->pub.change_count++;
    return STORE_OK;
}

int store_set_data_quietly(struct store *s, struct bytes path, struct bytes data)
{
    CHECK(s->open);
    path = path_normal(path);
    struct version *v = node_set_data(s, store_key(s, path), path, data);
    if (!v)
        return STORE_ENOMEM;
    s->counters.digest += version_digest(s, v, path);
    return STORE_OK;
}

int store_set_acl(struct store *s, struct bytes path, uint32_t acl, int32_t aversion)
{
    CHECK(s->open);
    path = path_normal(path);
    if (undo_reserve(s, ENTRIES_PER_CHANGE) != 0)
        return STORE_ENOMEM;
    struct version *v = version_writable(s, store_key(s, path));
    if (!v)
        return STORE_ENOMEM;
    undo_push(s, (struct undo_entry){.kind = UNDO_ACL_RELEASED, .acl = v->acl});
    undo_push(s, (struct undo_entry){.kind = UNDO_ACL_TAKEN, .acl = acl});
    s->counters.digest -= version_digest(s, v, path);
    v->acl = acl;
    be32_store(v->stat + STAT_AVERSION, (uint32_t)aversion);
    s->counters.digest += version_digest(s, v, path);
    return STORE_OK;
}

int store_touch_parent(struct store *s, struct bytes parent_path, int32_t cversion, zxid_t pzxid)
{
    CHECK(s->open);
    struct bytes path = path_normal(parent_path);
    if (undo_reserve(s, ENTRIES_PER_CHANGE) != 0)
        return STORE_ENOMEM;
    struct version *v = version_writable(s, store_key(s, path));
    if (!v)
        return STORE_ENOMEM;
    s->counters.digest -= version_digest(s, v, path);
    if (cversion != INT32_MIN)
        parent_raise(v, cversion, pzxid);
    else if (pzxid > (zxid_t)be64_load(v->stat + STAT_PZXID))
        be64_store(v->stat + STAT_PZXID, (uint64_t)pzxid);
    s->counters.digest += version_digest(s, v, path);
    return STORE_OK;
}

/* --- loading --- */

int store_load_begin(struct store *s, zxid_t zxid)
{
    CHECK(!s->open && !s->pending.head && !s->held.head && s->txns_out == 0 && s->newest == 0);
    s->loading = true;
    s->newest = s->committed = s->retired = zxid;
    atomic_store_explicit(&s->visible, zxid, memory_order_release); /* T0 */
    return STORE_OK;
}

static void load_made(void *ctx, struct children *node)
{
    (void)ctx, (void)node;
}

static void load_replaced(void *ctx, struct children *node)
{
    (void)ctx;
    children_node_free(node);
}

static int load_root(struct store *s, const struct store_node *node)
{
    struct bytes path = BYTES_OF("/");
    struct version *old = version_present(s, s->root_key);
    struct store_node root = *node;
    root.path = path;
    struct version *v = version_create(s, s->newest, &root, s->root_key);
    if (!v)
        return STORE_ENOMEM;
    counters_add(s, old, path, -1);
    v->children = old->children;
    version_add_children(v, version_num_children(old));
    counters_add(s, v, path, +1);
    index_replace(&s->index, s->root_key, old, v);
    acl_drop(s->acls, old->acl);
    version_free_tail(old);
    free(old);
    return STORE_OK;
}

int store_load(struct store *s, const struct store_node *node)
{
    CHECK(s->loading && !s->open);
    if (path_is_root(node->path))
        return load_root(s, node);
    struct tree_key key = store_key(s, node->path);
    struct version *parent = version_present(s, store_key(s, path_parent(node->path)));
    CHECK(!index_find(&s->index, key));
    struct version *v = version_create(s, s->newest, node, key);
    if (!v)
        return STORE_ENOMEM;
    if (index_insert(&s->index, key, v) != 0)
        goto fail;
    struct children_sink sink = {load_made, load_replaced, NULL};
    struct children *children = children_insert(parent->children, path_name(node->path), &sink);
    if (!children) {
        index_remove(&s->index, key, v);
        goto fail;
    }
    parent->children = children;
    version_add_children(parent, 1); /* wire fields only: the digest of the parent stays */
    counters_add(s, v, node->path, +1);
    return STORE_OK;
fail:
    version_free_tail(v);
    free(v);
    return STORE_ENOMEM;
}

int store_load_data(struct store *s, struct bytes path, struct bytes data)
{
    CHECK(s->loading && !s->open && !path_is_root(path));
    struct tree_key key = store_key(s, path);
    struct version *old = version_present(s, key);
    uint8_t flags = old->flags & (uint8_t)~(VERSION_NULL | VERSION_EXTERNAL);
    void *external;
    if (data_place(data, &flags, &external) != 0)
        return STORE_ENOMEM;
    struct version *v = version_reshape(s, old, flags, data.size);
    if (!v) {
        free(external);
        return STORE_ENOMEM;
    }
    counters_add(s, old, path, -1);
    version_put_data(v, data, external);
    v->digest_prefix = digest_prefix(s, path, data);
    counters_add(s, v, path, +1);
    index_replace(&s->index, key, old, v);
    version_free_tail(old);
    free(old);
    return STORE_OK;
}
