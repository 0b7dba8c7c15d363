/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Three pools of items that live in hash chains: watches by (path, owner), paths by tree_key, and
 * the paths with a recursive watch by a rolling hash of their text. The last one lets watch_fire()
 * find all ancestors of a path in one pass over its bytes: with a hash per ancestor, one deep path
 * would cost the square of its length.
 *
 * Items are named by 32-bit indices, which stay valid until the item is dropped.
 */
#include "dataplane/watch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "client/wire/check.h"

#define NONE UINT32_MAX
#define CHUNK_ITEMS 4096u

#define MODES_ALL (WATCH_DATA | WATCH_CHILD | WATCH_PERSISTENT | WATCH_RECURSIVE)
#define MODES_IN_DATA (WATCH_DATA | WATCH_PERSISTENT | WATCH_RECURSIVE)
#define MODES_IN_CHILD (WATCH_CHILD | WATCH_PERSISTENT)
#define MODES_ONCE (WATCH_DATA | WATCH_CHILD)

/* Head of every pooled item. */
struct link {
    uint32_t next; /* in its hash chain, or in the free list */
    uint32_t hash;
};

struct watch {
    struct link link;
    uint32_t path;
    uint32_t modes;
    struct watch_owner *owner;
    uint32_t path_next, path_prev;
    uint32_t owner_next, owner_prev;
};
static_assert(sizeof(struct watch) == 40, "bytes per watch, as the header promises");

struct watch_path {
    struct link link;
    struct tree_key key;
    uint8_t *text; /* owned */
    uint32_t size;
    uint32_t first; /* watch */
    uint32_t data_watches, recursive_watches;
    uint32_t recursive; /* item of the recursive pool while recursive_watches > 0 */
    uint32_t spare;
};
static_assert(sizeof(struct watch_path) == 56, "bytes per path, as the header promises");

struct recursive {
    struct link link;
    uint32_t path;
};

/*
 * Items and the linear hash table that holds all of them. Chunks never move and are kept until the
 * end.
 */
struct pool {
    uint32_t item_bytes, items_max;
    uint32_t used; /* indices [0, used) have been handed out; live <= used <= items_max */
    uint32_t live;
    uint32_t free; /* dropped items */
    uint32_t bucket_count, bucket_mask; /* bucket_mask + 1: bucket_count rounded up to a power of
                                         * two */
    uint8_t **chunks;
    uint32_t **buckets;
};

struct watch_table {
    struct watch_limits limits; /* config */
    uint64_t prefix_factor, hash_seed;
    struct pool watches, paths, recursives;
    struct watch_owner *owners;
    struct watch_counters counters;
    uint64_t trigger; /* number of the last one; owners compare with it (W5) */
    bool firing;
};

/* --- pool --- */

static inline void *pool_at(const struct pool *pool, uint32_t index)
{
    return pool->chunks[index / CHUNK_ITEMS] + (size_t)(index % CHUNK_ITEMS) * pool->item_bytes;
}

static inline struct link *pool_link(const struct pool *pool, uint32_t index)
{
    return pool_at(pool, index);
}

static inline uint32_t *pool_bucket_at(const struct pool *pool, uint32_t bucket)
{
    return &pool->buckets[bucket / CHUNK_ITEMS][bucket % CHUNK_ITEMS];
}

static inline uint32_t *pool_bucket(const struct pool *pool, uint32_t hash)
{
    uint32_t bucket = hash & pool->bucket_mask;
    if (bucket >= pool->bucket_count)
        bucket &= pool->bucket_mask >> 1;
    return pool_bucket_at(pool, bucket);
}

static bool pool_bucket_chunk(struct pool *pool, uint32_t chunk)
{
    if (!pool->buckets[chunk])
        pool->buckets[chunk] = malloc(CHUNK_ITEMS * sizeof(uint32_t));
    return pool->buckets[chunk] != NULL;
}

static void pool_free(struct pool *pool)
{
    uint32_t chunk_count = pool->items_max / CHUNK_ITEMS + 1;
    for (uint32_t i = 0; pool->chunks && i < chunk_count; i++)
        free(pool->chunks[i]);
    for (uint32_t i = 0; pool->buckets && i < chunk_count; i++)
        free(pool->buckets[i]);
    free(pool->chunks);
    free(pool->buckets);
}

static int pool_init(struct pool *pool, uint32_t item_bytes, uint32_t items_max)
{
    uint32_t chunk_count = items_max / CHUNK_ITEMS + 1;
    *pool = (struct pool){.item_bytes = item_bytes, .items_max = items_max, .free = NONE};
    pool->chunks = calloc(chunk_count, sizeof(*pool->chunks));
    pool->buckets = calloc(chunk_count, sizeof(*pool->buckets));
    if (!pool->chunks || !pool->buckets || !pool_bucket_chunk(pool, 0))
        return -1;
    pool->bucket_count = CHUNK_ITEMS;
    pool->bucket_mask = CHUNK_ITEMS - 1;
    memset(pool->buckets[0], 0xff, CHUNK_ITEMS * sizeof(uint32_t));
    return 0;
}

/*
 * Split one bucket, so that chains stay at about one item. Without memory for it they just get
 * longer.
 */
static void pool_grow_buckets(struct pool *pool)
{
    uint32_t fresh = pool->bucket_count;
    if (fresh / CHUNK_ITEMS > pool->items_max / CHUNK_ITEMS ||
        !pool_bucket_chunk(pool, fresh / CHUNK_ITEMS))
        return;
    if (fresh > pool->bucket_mask)
        pool->bucket_mask = pool->bucket_mask * 2 + 1;
    uint32_t *from = pool_bucket_at(pool, fresh & (pool->bucket_mask >> 1));
    uint32_t *to = pool_bucket_at(pool, fresh);
    *to = NONE;
    pool->bucket_count++;
    while (*from != NONE) {
        uint32_t index = *from;
        struct link *link = pool_link(pool, index);
        if ((link->hash & pool->bucket_mask) == fresh) {
            *from = link->next;
            link->next = *to;
            *to = index;
        } else {
            from = &link->next;
        }
    }
}

/*
 * A new item, zeroed but for its link, in the chain of hash. NONE: items_max reached or out of
 * memory.
 */
static uint32_t pool_take(struct pool *pool, uint32_t hash)
{
    uint32_t index = pool->free;
    if (index != NONE) {
        pool->free = pool_link(pool, index)->next;
    } else {
        if (pool->used == pool->items_max)
            return NONE;
        uint8_t **chunk = &pool->chunks[pool->used / CHUNK_ITEMS];
        if (!*chunk && !(*chunk = malloc((size_t)CHUNK_ITEMS * pool->item_bytes)))
            return NONE;
        index = pool->used++;
    }
    memset(pool_at(pool, index), 0, pool->item_bytes);
    uint32_t *bucket = pool_bucket(pool, hash);
    *pool_link(pool, index) = (struct link){.next = *bucket, .hash = hash};
    *bucket = index;
    if (++pool->live > pool->bucket_count)
        pool_grow_buckets(pool);
    return index;
}

static void pool_drop(struct pool *pool, uint32_t index)
{
    struct link *link = pool_link(pool, index);
    uint32_t *at = pool_bucket(pool, link->hash);
    while (*at != index) {
        CHECK(*at != NONE);
        at = &pool_link(pool, *at)->next;
    }
    *at = link->next;
    link->next = pool->free;
    pool->free = index;
    pool->live--;
}

/* --- finding --- */

static inline struct watch *watch_at(const struct watch_table *t, uint32_t index)
{
    return (struct watch *)t->watches.chunks[index / CHUNK_ITEMS] + index % CHUNK_ITEMS;
}

static inline struct watch_path *path_at(const struct watch_table *t, uint32_t index)
{
    return (struct watch_path *)t->paths.chunks[index / CHUNK_ITEMS] + index % CHUNK_ITEMS;
}

static inline uint32_t watch_hash(const struct watch_table *t, uint32_t path,
                                  const struct watch_owner *owner)
{
    uint64_t h = ((uint64_t)(uintptr_t)owner >> 4) ^ ((uint64_t)path << 36) ^ t->hash_seed;
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
    return (uint32_t)((h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull >> 32);
}

static uint32_t path_find(const struct watch_table *t, struct tree_key key, uint32_t size)
{
    uint32_t index = *pool_bucket(&t->paths, (uint32_t)(key.lo ^ key.hi));
    for (; index != NONE; index = path_at(t, index)->link.next) {
        const struct watch_path *path = path_at(t, index);
        if (path->key.lo == key.lo && path->key.hi == key.hi && path->size == size)
            break;
    }
    return index;
}

static uint32_t watch_find(const struct watch_table *t, uint32_t path,
                           const struct watch_owner *owner)
{
    uint32_t index = *pool_bucket(&t->watches, watch_hash(t, path, owner));
    for (; index != NONE; index = watch_at(t, index)->link.next) {
        const struct watch *watch = watch_at(t, index);
        if (watch->path == path && watch->owner == owner)
            break;
    }
    return index;
}

/*
 * Polynomial in a secret factor modulo 2^61 - 1: collisions cannot be made without knowing the
 * factor.
 */
static inline uint64_t prefix_extend(const struct watch_table *t, uint64_t hash, uint8_t byte)
{
    const uint64_t prime = (1ull << 61) - 1;
    unsigned __int128 product = (unsigned __int128)hash * t->prefix_factor + byte + 1;
    uint64_t sum = (uint64_t)(product & prime) + (uint64_t)(product >> 61);
    return sum >= prime ? sum - prime : sum;
}

static inline uint32_t prefix_fold(uint64_t hash)
{
    return (uint32_t)(hash ^ hash >> 29);
}

/* --- adding and dropping --- */

static uint64_t path_bytes(uint32_t size)
{
    return sizeof(struct watch_path) + size;
}

static uint32_t path_new(struct watch_table *t, struct tree_key key, struct bytes text)
{
    uint8_t *copy = malloc(text.size ? text.size : 1);
    if (!copy)
        return NONE;
    uint32_t index = pool_take(&t->paths, (uint32_t)(key.lo ^ key.hi));
    if (index == NONE) {
        free(copy);
        return NONE;
    }
    if (text.size)
        memcpy(copy, text.data, text.size);
    struct watch_path *path = path_at(t, index);
    path->key = key;
    path->text = copy;
    path->size = text.size;
    path->first = path->recursive = NONE;
    t->counters.paths++;
    t->counters.bytes += path_bytes(text.size);
    return index;
}

static void path_drop(struct watch_table *t, uint32_t index)
{
    struct watch_path *path = path_at(t, index);
    CHECK(path->first == NONE && path->recursive == NONE && path->data_watches == 0);
    t->counters.paths--;
    t->counters.bytes -= path_bytes(path->size);
    free(path->text);
    pool_drop(&t->paths, index);
}

/* Make the path findable from its descendants. */
static bool path_set_recursive(struct watch_table *t, uint32_t index)
{
    struct watch_path *path = path_at(t, index);
    uint64_t hash = 0;
    for (uint32_t i = 0; i < path->size; i++)
        hash = prefix_extend(t, hash, path->text[i]);
    path->recursive = pool_take(&t->recursives, prefix_fold(hash));
    if (path->recursive == NONE)
        return false;
    ((struct recursive *)pool_at(&t->recursives, path->recursive))->path = index;
    t->counters.bytes += sizeof(struct recursive);
    return true;
}

static void path_clear_recursive(struct watch_table *t, struct watch_path *path)
{
    CHECK(path->recursive_watches == 0);
    pool_drop(&t->recursives, path->recursive);
    path->recursive = NONE;
    t->counters.bytes -= sizeof(struct recursive);
}

static void owner_link(struct watch_table *t, struct watch_owner *owner)
{
    owner->prev = NULL;
    owner->next = t->owners;
    if (t->owners)
        t->owners->prev = owner;
    t->owners = owner;
    t->counters.owners++;
}

static void owner_unlink(struct watch_table *t, struct watch_owner *owner)
{
    if (owner->prev)
        owner->prev->next = owner->next;
    else
        t->owners = owner->next;
    if (owner->next)
        owner->next->prev = owner->prev;
    owner->next = owner->prev = NULL;
    t->counters.owners--;
}

/* A watch without modes yet, in all its lists. */
static uint32_t watch_new(struct watch_table *t, struct watch_owner *owner, uint32_t path_index)
{
    uint32_t index = pool_take(&t->watches, watch_hash(t, path_index, owner));
    if (index == NONE)
        return NONE;
    if (owner->watches++ == 0) {
        owner->first = NONE;
        owner_link(t, owner);
    }
    struct watch_path *path = path_at(t, path_index);
    struct watch *watch = watch_at(t, index);
    watch->path = path_index;
    watch->owner = owner;
    watch->path_prev = watch->owner_prev = NONE;
    watch->path_next = path->first;
    watch->owner_next = owner->first;
    if (path->first != NONE)
        watch_at(t, path->first)->path_prev = index;
    if (owner->first != NONE)
        watch_at(t, owner->first)->owner_prev = index;
    path->first = owner->first = index;
    t->counters.watches++;
    t->counters.bytes += sizeof(struct watch);
    return index;
}

/* Take a watch without modes out of everything, its path too if it was the last there. */
static void watch_drop(struct watch_table *t, uint32_t index)
{
    struct watch *watch = watch_at(t, index);
    struct watch_owner *owner = watch->owner;
    uint32_t path_index = watch->path;
    struct watch_path *path = path_at(t, path_index);
    CHECK(watch->modes == 0 && owner->watches > 0);
    *(watch->path_prev == NONE ? &path->first : &watch_at(t, watch->path_prev)->path_next) =
        watch->path_next;
    if (watch->path_next != NONE)
        watch_at(t, watch->path_next)->path_prev = watch->path_prev;
    *(watch->owner_prev == NONE ? &owner->first : &watch_at(t, watch->owner_prev)->owner_next) =
        watch->owner_next;
    if (watch->owner_next != NONE)
        watch_at(t, watch->owner_next)->owner_prev = watch->owner_prev;
    pool_drop(&t->watches, index);
    t->counters.watches--;
    t->counters.bytes -= sizeof(struct watch);
    if (--owner->watches == 0)
        owner_unlink(t, owner);
    if (path->first == NONE)
        path_drop(t, path_index);
}

/* Account for an entry of the data table that comes (+1) or goes (-1). */
static void count_data(struct watch_table *t, struct watch_path *path, struct watch_owner *owner,
                       int by)
{
    t->counters.data_watches += (uint32_t)by;
    path->data_watches += (uint32_t)by;
    owner->data_watches += (uint32_t)by;
    uint32_t edge = by > 0 ? 1 : 0;
    t->counters.data_paths += path->data_watches == edge ? (uint32_t)by : 0;
    t->counters.data_owners += owner->data_watches == edge ? (uint32_t)by : 0;
}

/* Change the modes of a watch; without any left it is gone afterwards. */
static void watch_set_modes(struct watch_table *t, uint32_t index, unsigned modes)
{
    struct watch *watch = watch_at(t, index);
    struct watch_path *path = path_at(t, watch->path);
    unsigned old = watch->modes;
    watch->modes = modes;
    if (!(old & MODES_IN_DATA) != !(modes & MODES_IN_DATA))
        count_data(t, path, watch->owner, modes & MODES_IN_DATA ? 1 : -1);
    if (!(old & MODES_IN_CHILD) != !(modes & MODES_IN_CHILD))
        t->counters.child_watches += modes & MODES_IN_CHILD ? 1 : UINT32_MAX;
    if ((old ^ modes) & WATCH_RECURSIVE) {
        uint32_t by = modes & WATCH_RECURSIVE ? 1 : UINT32_MAX;
        t->counters.recursive_watches += by;
        path->recursive_watches += by;
        if (path->recursive_watches == 0)
            path_clear_recursive(t, path);
    }
    if (modes == 0)
        watch_drop(t, index);
}

/* --- public: adding, checking, removing --- */

static bool add_fits(const struct watch_table *t, const struct watch_owner *owner,
                     bool watch_is_new, bool path_is_new, uint32_t path_size)
{
    uint64_t bytes =
        t->counters.bytes + sizeof(struct recursive) + (path_is_new ? path_bytes(path_size) : 0);
    if (watch_is_new) {
        if (t->counters.watches >= t->limits.watches_max ||
            owner->watches >= t->limits.watches_per_owner_max)
            return false;
        bytes += sizeof(struct watch);
    }
    return bytes <= t->limits.bytes_max;
}

static int add_refused(struct watch_table *t)
{
    t->counters.refused++;
    return -1;
}

int watch_add(struct watch_table *t, struct watch_owner *owner, struct tree_key key,
              struct bytes path, unsigned modes)
{
    CHECK(!t->firing);
    CHECK(modes && !(modes & ~(unsigned)MODES_ALL));
    uint32_t at = path_find(t, key, path.size);
    uint32_t watch = at == NONE ? NONE : watch_find(t, at, owner);
    unsigned old = watch == NONE ? 0 : watch_at(t, watch)->modes;
    if ((old | modes) == old)
        return 0;
    if (!add_fits(t, owner, watch == NONE, at == NONE, path.size))
        return add_refused(t);
    if (at == NONE && (at = path_new(t, key, path)) == NONE)
        return add_refused(t);
    if (watch == NONE && (watch = watch_new(t, owner, at)) == NONE) {
        if (path_at(t, at)->first == NONE)
            path_drop(t, at);
        return add_refused(t);
    }
    if ((modes & WATCH_RECURSIVE) && path_at(t, at)->recursive == NONE &&
        !path_set_recursive(t, at)) {
        if (!old)
            watch_drop(t, watch);
        return add_refused(t);
    }
    watch_set_modes(t, watch, old | modes);
    return 0;
}

/* Modes a WatcherType stands for; 0: no such type. */
static unsigned type_modes(int32_t type)
{
    switch (type) {
    case WATCH_TYPE_CHILDREN:
        return WATCH_CHILD;
    case WATCH_TYPE_DATA:
        return WATCH_DATA;
    case WATCH_TYPE_ANY:
        return MODES_ALL;
    case WATCH_TYPE_PERSISTENT:
        return WATCH_PERSISTENT;
    case WATCH_TYPE_PERSISTENT_RECURSIVE:
        return WATCH_RECURSIVE;
    default:
        return 0;
    }
}

/*
 * The owner's watch on the path that has one of the type's modes. @return 0 or the answer for the
 * client.
 */
static int type_find(const struct watch_table *t, const struct watch_owner *owner,
                     struct tree_key key, struct bytes path, int32_t type, uint32_t *index)
{
    unsigned modes = type_modes(type);
    if (!modes)
        return ZK_MARSHALLINGERROR;
    uint32_t at = path.data ? path_find(t, key, path.size) : NONE;
    *index = at == NONE ? NONE : watch_find(t, at, owner);
    if (*index == NONE || !(watch_at(t, *index)->modes & modes))
        return ZK_NOWATCHER;
    return 0;
}

int watch_check(const struct watch_table *t, const struct watch_owner *owner, struct tree_key key,
                struct bytes path, int32_t type)
{
    uint32_t index;
    return type_find(t, owner, key, path, type, &index);
}

int watch_remove(struct watch_table *t, struct watch_owner *owner, struct tree_key key,
                 struct bytes path, int32_t type)
{
    CHECK(!t->firing);
    uint32_t index;
    int error = type_find(t, owner, key, path, type, &index);
    if (!error)
        watch_set_modes(t, index, watch_at(t, index)->modes & ~type_modes(type));
    return error;
}

void watch_owner_clear(struct watch_table *t, struct watch_owner *owner)
{
    CHECK(!t->firing);
    while (owner->watches > 0)
        watch_set_modes(t, owner->first, 0);
}

/* --- public: firing --- */

/* One trigger: an event for every owner that collect_path() meets, once each. */
struct trigger {
    struct watch_table *t;
    watch_deliver *deliver;
    void *ctx;
    enum watch_event_type type;
    struct bytes path;
    uint32_t acl;
};

static void trigger_deliver(const struct trigger *g, struct watch_owner *owner)
{
    if (owner->fired == g->t->trigger)
        return;
    owner->fired = g->t->trigger;
    g->t->counters.fired++;
    g->deliver(g->ctx, owner, g->type, g->path, g->acl);
}

/*
 * Collect the watches of a path that have one of `modes`; their one-shot modes among these are used
 * up.
 */
static void collect_path(const struct trigger *g, uint32_t path_index, unsigned modes)
{
    struct watch_table *t = g->t;
    uint32_t next;
    for (uint32_t index = path_at(t, path_index)->first; index != NONE; index = next) {
        const struct watch *watch = watch_at(t, index);
        struct watch_owner *owner = watch->owner;
        next = watch->path_next;
        if (next != NONE) {
            const struct watch *ahead = watch_at(t, next);
            __builtin_prefetch(ahead->owner, 1);
            if (ahead->path_next != NONE)
                __builtin_prefetch(watch_at(t, ahead->path_next), 1);
        }
        if (!(watch->modes & modes))
            continue;
        if (watch->modes & modes & MODES_ONCE)
            watch_set_modes(t, index, watch->modes & ~(modes & MODES_ONCE));
        trigger_deliver(g, owner);
    }
}

static void collect_prefix(const struct trigger *g, uint64_t hash, uint32_t size)
{
    struct watch_table *t = g->t;
    uint32_t fold = prefix_fold(hash);
    const struct recursive *item;
    for (uint32_t index = *pool_bucket(&t->recursives, fold); index != NONE;
         index = item->link.next) {
        item = pool_at(&t->recursives, index);
        if (item->link.hash != fold)
            continue;
        const struct watch_path *path = path_at(t, item->path);
        if (path->size == size && memcmp(path->text, g->path.data, size) == 0) {
            collect_path(g, item->path, WATCH_RECURSIVE);
            return;
        }
    }
}

/*
 * Recursive watches at every proper ancestor. They are never used up, so no path goes away
 * meanwhile.
 */
static void collect_ancestors(const struct trigger *g)
{
    struct watch_table *t = g->t;
    const uint8_t *text = g->path.data;
    if (t->counters.recursive_watches == 0 || g->path.size < 2)
        return;
    uint64_t hash = prefix_extend(t, 0, text[0]);
    collect_prefix(g, hash, 1);
    for (uint32_t i = 1; i < g->path.size; i++) {
        if (text[i] == '/')
            collect_prefix(g, hash, i);
        hash = prefix_extend(t, hash, text[i]);
    }
}

static void collect_exact(const struct trigger *g, struct tree_key key, unsigned modes)
{
    uint32_t path = path_find(g->t, key, g->path.size);
    if (path != NONE)
        collect_path(g, path, modes);
}

void watch_fire(struct watch_table *t, const struct tree_change *change, watch_deliver *deliver,
                void *ctx)
{
    CHECK(!t->firing);
    CHECK(change->path_size > 0 && change->parent_size <= change->path_size);
    if (t->counters.watches == 0)
        return;
    t->firing = true;
    struct trigger g = {.t = t, .deliver = deliver, .ctx = ctx, .acl = change->acl};
    g.path = (struct bytes){change->path, change->path_size};
    g.type = change->kind == CHANGE_CREATED   ? EVENT_NODE_CREATED
             : change->kind == CHANGE_DELETED ? EVENT_NODE_DELETED
                                              : EVENT_NODE_DATA_CHANGED;
    t->trigger++;
    /* A deletion asks the child table too, for the same event and as the same trigger: who was
     * collected by the data table is not told twice, yet loses its one-shot child watch. */
    collect_exact(&g, change->key, change->kind == CHANGE_DELETED ? MODES_ALL : MODES_IN_DATA);
    collect_ancestors(&g);
    if (change->kind != CHANGE_DATA) {
        t->trigger++;
        g.type = EVENT_NODE_CHILDREN_CHANGED;
        g.path.size = change->parent_size;
        g.acl = change->parent_acl;
        collect_exact(&g, change->parent_key, MODES_IN_CHILD);
    }
    t->firing = false;
}

/* --- public: table, walks --- */

static void limits_default(struct watch_limits *limits)
{
    if (limits->watches_max == 0)
        limits->watches_max = WATCHES_MAX_DEFAULT;
    if (limits->watches_per_owner_max == 0)
        limits->watches_per_owner_max = WATCHES_PER_OWNER_MAX_DEFAULT;
    if (limits->bytes_max == 0)
        limits->bytes_max = WATCH_BYTES_MAX_DEFAULT;
}

struct watch_table *watch_table_create(const struct watch_limits *limits)
{
    struct watch_table *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    if (limits)
        t->limits = *limits;
    limits_default(&t->limits);
    CHECK(t->limits.watches_max < NONE);
    uint64_t random[2];
    if (pool_init(&t->watches, sizeof(struct watch), t->limits.watches_max) ||
        pool_init(&t->paths, sizeof(struct watch_path), t->limits.watches_max) ||
        pool_init(&t->recursives, sizeof(struct recursive), t->limits.watches_max) ||
        getrandom(random, sizeof(random), 0) != sizeof(random)) {
        watch_table_destroy(t);
        return NULL;
    }
    t->prefix_factor = (random[0] >> 4) | 1u << 20; /* below 2^60 and not small */
    t->hash_seed = random[1];
    return t;
}

void watch_table_destroy(struct watch_table *t)
{
    if (!t)
        return;
    for (uint32_t bucket = 0; bucket < t->paths.bucket_count; bucket++)
        for (uint32_t i = *pool_bucket_at(&t->paths, bucket); i != NONE;
             i = path_at(t, i)->link.next)
            free(path_at(t, i)->text);
    pool_free(&t->watches);
    pool_free(&t->paths);
    pool_free(&t->recursives);
    free(t);
}

const struct watch_counters *watch_counters(const struct watch_table *t)
{
    return &t->counters;
}

struct watch_owner *watch_owner_first(const struct watch_table *t)
{
    return t->owners;
}

struct watch_owner *watch_owner_next(const struct watch_owner *owner)
{
    return owner->next;
}

void watch_owner_paths(const struct watch_table *t, const struct watch_owner *owner,
                       void (*visit)(void *ctx, struct bytes path), void *ctx)
{
    uint32_t next = owner->watches ? owner->first : NONE;
    for (; next != NONE; next = watch_at(t, next)->owner_next) {
        const struct watch_path *path = path_at(t, watch_at(t, next)->path);
        if (watch_at(t, next)->modes & MODES_IN_DATA)
            visit(ctx, (struct bytes){path->text, path->size});
    }
}

void watch_path_owners(const struct watch_table *t,
                       void (*visit)(void *ctx, struct bytes path, const struct watch_owner *owner),
                       void *ctx)
{
    for (uint32_t bucket = 0; bucket < t->paths.bucket_count; bucket++) {
        for (uint32_t i = *pool_bucket_at(&t->paths, bucket); i != NONE;
             i = path_at(t, i)->link.next) {
            const struct watch_path *path = path_at(t, i);
            for (uint32_t w = path->first; w != NONE; w = watch_at(t, w)->path_next)
                if (watch_at(t, w)->modes & MODES_IN_DATA)
                    visit(ctx, (struct bytes){path->text, path->size}, watch_at(t, w)->owner);
        }
    }
}

/* --- invariants --- */

/* Add what one path's list holds to `sum`, checking each watch on the way. */
static void check_path(const struct watch_table *t, uint32_t path_index, struct watch_counters *sum)
{
    const struct watch_path *path = path_at(t, path_index);
    uint32_t data = 0, recursive = 0, prev = NONE;
    CHECK(path->first != NONE);
    CHECK(path_find(t, path->key, path->size) == path_index);
    for (uint32_t w = path->first; w != NONE; prev = w, w = watch_at(t, w)->path_next) {
        const struct watch *watch = watch_at(t, w);
        CHECK(watch->modes && !(watch->modes & ~(unsigned)MODES_ALL));
        CHECK(watch->path == path_index && watch->path_prev == prev);
        CHECK(watch_find(t, path_index, watch->owner) == w);
        data += !!(watch->modes & MODES_IN_DATA);
        recursive += !!(watch->modes & WATCH_RECURSIVE);
        sum->child_watches += !!(watch->modes & MODES_IN_CHILD);
        sum->watches++;
    }
    CHECK(data == path->data_watches && recursive == path->recursive_watches);
    CHECK((path->recursive != NONE) == (recursive > 0));
    sum->paths++;
    sum->data_paths += data > 0;
    sum->data_watches += data;
    sum->recursive_watches += recursive;
    sum->bytes += path_bytes(path->size) + (recursive ? sizeof(struct recursive) : 0);
}

static void check_owner(const struct watch_table *t, const struct watch_owner *owner)
{
    uint32_t watches = 0, data = 0, prev = NONE;
    CHECK(owner->watches > 0 && owner->watches <= t->limits.watches_per_owner_max);
    for (uint32_t w = owner->first; w != NONE; prev = w, w = watch_at(t, w)->owner_next) {
        CHECK(watch_at(t, w)->owner == owner && watch_at(t, w)->owner_prev == prev);
        watches++;
        data += !!(watch_at(t, w)->modes & MODES_IN_DATA);
    }
    CHECK(watches == owner->watches && data == owner->data_watches);
}

void watch_check_all(const struct watch_table *t)
{
    const struct watch_counters *c = &t->counters;
    struct watch_counters sum = {0};
    for (uint32_t bucket = 0; bucket < t->paths.bucket_count; bucket++)
        for (uint32_t i = *pool_bucket_at(&t->paths, bucket); i != NONE;
             i = path_at(t, i)->link.next)
            check_path(t, i, &sum);
    for (const struct watch_owner *owner = t->owners; owner; owner = owner->next) {
        CHECK(!owner->next || owner->next->prev == owner);
        check_owner(t, owner);
        sum.owners++;
        sum.data_owners += owner->data_watches > 0;
    }
    sum.bytes += sum.watches * sizeof(struct watch);
    CHECK(sum.owners == c->owners && sum.data_owners == c->data_owners);
    CHECK(sum.paths == c->paths && sum.data_paths == c->data_paths);
    CHECK(sum.watches == c->watches && sum.watches == t->watches.live &&
          sum.paths == t->paths.live);
    CHECK(sum.data_watches == c->data_watches && sum.child_watches == c->child_watches);
    CHECK(sum.recursive_watches == c->recursive_watches && sum.bytes == c->bytes);
    CHECK(c->watches <= t->limits.watches_max && c->bytes <= t->limits.bytes_max);
}
