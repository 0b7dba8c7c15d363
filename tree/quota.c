/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tree/quota.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "tree/tree_internal.h"

#define LIMITS_NAME BYTES_OF("/zookeeper_limits")
#define STATS_NAME BYTES_OF("/zookeeper_stats")
#define PRIME ((UINT64_C(1) << 61) - 1)

void quota_init(struct quota *q)
{
    *q = (struct quota){0};
    while (q->base < 256 || q->base >= PRIME) {
        if (getrandom(&q->base, sizeof q->base, 0) != sizeof q->base)
            q->base = 0;
        q->base &= PRIME;
    }
}

/* --- text --- */

/* One "key=value"; what follows a second "=" is not looked at (the lone "=" before the hard
 * limits). */
static bool item_read(struct bytes item, struct quota_text *out)
{
    const uint8_t *equals = memchr(item.data, '=', item.size);
    if (!equals)
        return false;
    struct bytes key = {item.data, (uint32_t)(equals - item.data)};
    struct bytes value = {equals + 1, item.size - key.size - 1};
    const uint8_t *second = value.size ? memchr(value.data, '=', value.size) : NULL;
    if (second)
        value.size = (uint32_t)(second - value.data);
    bool negative = value.size && value.data[0] == '-';
    uint32_t i = negative;
    int64_t n = 0;
    if (i == value.size || value.size - i > 18)
        return false;
    for (; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return false;
        n = n * 10 + (value.data[i] - '0');
    }
    n = negative ? -n : n;
    if (bytes_equal(key, BYTES_OF("count")))
        out->count = n;
    else if (bytes_equal(key, BYTES_OF("bytes")))
        out->bytes = n;
    else if (bytes_equal(key, BYTES_OF("byteHardLimit")))
        out->byte_hard = n;
    else if (bytes_equal(key, BYTES_OF("countHardLimit")))
        out->count_hard = n;
    return true;
}

bool quota_text_read(struct bytes text, struct quota_text *out)
{
    *out = (struct quota_text){-1, -1, -1, -1};
    uint32_t start = 0;
    if (!text.data || text.size == 0 || text.size > QUOTA_TEXT_BYTES_MAX)
        return false;
    for (uint32_t i = 0; i <= text.size; i++) {
        if (i < text.size && text.data[i] != ',' && text.data[i] != ';')
            continue;
        if (i > start && !item_read((struct bytes){text.data + start, i - start}, out))
            return false;
        start = i + 1;
    }
    return true;
}

size_t quota_text_write(const struct quota_text *q, char out[QUOTA_TEXT_BYTES_MAX])
{
    int n =
        snprintf(out, QUOTA_TEXT_BYTES_MAX, "count=%" PRId64 ",bytes=%" PRId64, q->count, q->bytes);
    if (q->byte_hard != -1 || q->count_hard != -1)
        n += snprintf(out + n, QUOTA_TEXT_BYTES_MAX - (size_t)n, "=");
    if (q->byte_hard != -1)
        n += snprintf(out + n, QUOTA_TEXT_BYTES_MAX - (size_t)n, ";byteHardLimit=%" PRId64,
                      q->byte_hard);
    if (q->count_hard != -1)
        n += snprintf(out + n, QUOTA_TEXT_BYTES_MAX - (size_t)n, ";countHardLimit=%" PRId64,
                      q->count_hard);
    CHECK(n > 0 && n < QUOTA_TEXT_BYTES_MAX);
    return (size_t)n;
}

/* --- roots --- */

static uint64_t hash_step(const struct quota *q, uint64_t h, uint8_t byte)
{
    unsigned __int128 wide = (unsigned __int128)h * q->base + byte + 1;
    uint64_t folded = (uint64_t)(wide & PRIME) + (uint64_t)(wide >> 61);
    return folded >= PRIME ? folded - PRIME : folded;
}

static uint64_t root_hash(const struct quota *q, struct bytes path)
{
    uint64_t h = 0;
    for (uint32_t i = 0; i < path.size; i++)
        h = hash_step(q, h, path.data[i]);
    return h;
}

/* The deepest quota root at or above path, or NULL. */
static struct mark *root_of(struct tree *t, struct bytes path)
{
    struct mark *found = NULL;
    if (LIKELY(t->ledger.lists[MARK_QUOTA].count == 0))
        return NULL;
    uint64_t h = 0;
    for (uint32_t i = 0; i <= path.size && i <= t->quota.longest_root; i++) {
        if (i > 0 && (i == path.size || path.data[i] == '/')) {
            struct mark *m = ledger_find_quota(&t->ledger, (struct bytes){path.data, i}, h);
            found = m ? m : found;
        }
        if (i < path.size)
            h = hash_step(&t->quota, h, path.data[i]);
    }
    return found;
}

/* The subtree that a node below /zookeeper/quota called `name` speaks about; size 0: none. */
static struct bytes subject_of(struct bytes path, struct bytes name)
{
    struct bytes none = {path.data, 0};
    if (path.size <= PATH_QUOTA.size + name.size || !path_under(path, PATH_QUOTA))
        return none;
    struct bytes tail = {path.data + path.size - name.size, name.size};
    if (!bytes_equal(tail, name))
        return none;
    return (struct bytes){path.data + PATH_QUOTA.size, path.size - PATH_QUOTA.size - name.size};
}

static int root_add(struct tree *t, struct bytes root)
{
    uint64_t h = root_hash(&t->quota, root);
    if (ledger_find_quota(&t->ledger, root, h))
        return 0;
    if (root.size > t->quota.longest_root)
        t->quota.longest_root = root.size;
    return ledger_add(&t->ledger, MARK_QUOTA, 0, root, h) ? TREE_ENOMEM : 0;
}

static int root_remove(struct tree *t, struct bytes root)
{
    struct mark *m = ledger_find_quota(&t->ledger, root, root_hash(&t->quota, root));
    return m && ledger_remove(&t->ledger, m) ? TREE_ENOMEM : 0;
}

/* /zookeeper/quota + root + name, in memory of its own. NULL data: out of memory. */
static struct bytes node_of(struct bytes root, struct bytes name)
{
    size_t size = (size_t)PATH_QUOTA.size + root.size + name.size;
    uint8_t *p = malloc(size);
    if (!p)
        return BYTES_NULL;
    memcpy(p, PATH_QUOTA.data, PATH_QUOTA.size);
    memcpy(p + PATH_QUOTA.size, root.data, root.size);
    memcpy(p + PATH_QUOTA.size + root.size, name.data, name.size);
    return (struct bytes){p, (uint32_t)size};
}

/* --- usage --- */

/* How the data of a stats node is written: inside a txn, or while loading. */
typedef int stats_put_fn(struct store *, struct bytes node, struct bytes data);

static int stats_put(struct tree *t, struct bytes node, const struct quota_text *q,
                     stats_put_fn *put)
{
    char text[QUOTA_TEXT_BYTES_MAX];
    size_t n = quota_text_write(q, text);
    struct bytes data = {(const uint8_t *)text, (uint32_t)n};
    const struct version *v = tree_newest(t, node);
    CHECK(v);
    if (bytes_equal(version_data(v), data))
        return 0;
    return put(t->store, node, data) ? TREE_ENOMEM : 0;
}

/* Add to the usage of the deepest root of path. */
static int usage_add(struct tree *t, struct bytes path, int64_t count, int64_t bytes)
{
    struct mark *root = root_of(t, path);
    if (!root)
        return 0;
    struct bytes node = node_of(mark_path(root), STATS_NAME);
    if (!node.data)
        return TREE_ENOMEM;
    const struct version *v = tree_newest(t, node);
    struct quota_text q;
    int rc = 0;
    if (v && quota_text_read(version_data(v), &q)) {
        q.count += count;
        q.bytes += bytes;
        rc = stats_put(t, node, &q, store_set_data_quietly);
    }
    free((void *)node.data);
    return rc;
}

/* Count the znodes and bytes of a subtree into its stats node, which exists. */
static int usage_count(struct tree *t, struct bytes root, struct bytes node, stats_put_fn *put)
{
    struct quota_text q = {0, 0, -1, -1};
    if (tree_newest(t, root)) {
        struct store_walk *walk = store_walk_begin(t->store, root, INT64_MAX);
        struct bytes path;
        const struct version *v;
        if (!walk)
            return TREE_ENOMEM;
        while (store_walk_next(walk, &path, &v)) {
            q.count++;
            q.bytes += version_data_size(v);
        }
        int rc = store_walk_error(walk);
        store_walk_end(walk);
        if (rc)
            return TREE_ENOMEM;
    }
    return stats_put(t, node, &q, put);
}

int quota_added(struct tree *t, struct bytes path, uint32_t data_bytes)
{
    int rc = 0;
    if (UNLIKELY(path_starts(path, PATH_QUOTA))) {
        struct bytes limits = subject_of(path, LIMITS_NAME), stats = subject_of(path, STATS_NAME);
        if (limits.size)
            rc = root_add(t, limits);
        if (rc == 0 && stats.size)
            rc = usage_count(t, stats, path, store_set_data_quietly);
    }
    return rc ? rc : usage_add(t, path, 1, data_bytes);
}

int quota_removed(struct tree *t, struct bytes path, uint32_t data_bytes)
{
    int rc = 0;
    if (UNLIKELY(path_starts(path, PATH_QUOTA))) {
        struct bytes limits = subject_of(path, LIMITS_NAME);
        if (limits.size)
            rc = root_remove(t, limits);
    }
    return rc ? rc : usage_add(t, path, -1, -(int64_t)data_bytes);
}

int quota_changed(struct tree *t, struct bytes path, uint32_t data_bytes_before,
                  uint32_t data_bytes)
{
    return usage_add(t, path, 0, (int64_t)data_bytes - data_bytes_before);
}

/* Data of a quota node as readers see it: usage that is not yet visible does not count (section
 * 15). */
static bool visible_text(struct tree *t, struct bytes root, struct bytes name,
                         struct quota_text *out)
{
    struct bytes node = node_of(root, name);
    if (!node.data)
        return false;
    const struct version *v =
        tree_get(t->store, store_key(t->store, node), store_visible(t->store));
    bool ok = v && quota_text_read(version_data(v), out);
    free((void *)node.data);
    return ok;
}

int quota_check(struct tree *t, struct bytes path, int64_t count, int64_t bytes)
{
    struct mark *root = root_of(t, path);
    struct quota_text limits, usage;
    if (!root || !visible_text(t, mark_path(root), LIMITS_NAME, &limits) ||
        !visible_text(t, mark_path(root), STATS_NAME, &usage))
        return 0;
    /* Soft limits only make ZooKeeper log a line. */
    if (count != 0 && limits.count_hard > -1 && usage.count + count > limits.count_hard)
        return ZK_QUOTAEXCEEDED;
    if (bytes != 0 && limits.byte_hard > -1 && usage.bytes + bytes > limits.byte_hard)
        return ZK_QUOTAEXCEEDED;
    return 0;
}

/* --- loading --- */

int quota_loaded(struct tree *t, struct bytes path)
{
    if (LIKELY(!path_starts(path, PATH_QUOTA)))
        return 0;
    struct bytes limits = subject_of(path, LIMITS_NAME);
    if (!limits.size)
        return 0;
    return root_add(t, limits);
}

int quota_load_end(struct tree *t)
{
    for (struct mark *m = t->ledger.lists[MARK_QUOTA].first; m; m = m->next) {
        struct bytes node = node_of(mark_path(m), STATS_NAME);
        if (!node.data)
            return TREE_ENOMEM;
        int rc = tree_newest(t, node) ? usage_count(t, mark_path(m), node, store_load_data) : 0;
        free((void *)node.data);
        if (rc)
            return rc;
    }
    return 0;
}
