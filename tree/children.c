/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tree/children.h"

#include <malloc.h>
#include <stdlib.h>

#include "client/wire/check.h"
#include "client/wire/jute.h"

#define LEAF_BYTES_LOW (CHILDREN_LEAF_BYTES_MAX / 4) /* below: try to merge with a neighbour */
#define FANOUT_LOW (CHILDREN_FANOUT_MAX / 4)         /* below: merge or share with a neighbour */
#define PIECES_MAX 3                                 /* nodes that can take the place of one */

/**
 * `first` is the leftmost leaf below `kid`: its first name is the separator, one cache miss away.
 */
struct child_ref {
    struct children *kid, *first;
};

struct children {
    uint64_t bytes; /* wire bytes below */
    uint32_t count; /* names below */
    uint16_t fan;   /* 0 = leaf */
    uint16_t depth; /* 0 = leaf; all kids are one lower */
    union {
        uint8_t wire[0];
        struct child_ref ref[0];
    };
};
static_assert(sizeof(struct children) == 16, "header of a chunk");

static int bytes_compare(struct bytes a, struct bytes b)
{
    int c = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return c ? c : (a.size > b.size) - (a.size < b.size);
}

/** The name at an offset of a leaf. */
static struct bytes leaf_name(const struct children *leaf, uint64_t offset)
{
    return (struct bytes){leaf->wire + offset + 4, be32_load(leaf->wire + offset)};
}

static uint64_t name_bytes(struct bytes name)
{
    return 4 + (uint64_t)name.size;
}

static struct child_ref ref_of(struct children *node)
{
    return (struct child_ref){node, node->fan ? node->ref[0].first : node};
}

/** Kid whose range holds `name`: the last one that begins at or before it, else the first. */
static int inner_find(const struct children *node, struct bytes name)
{
    int low = 0, high = node->fan;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (bytes_compare(leaf_name(node->ref[middle].first, 0), name) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/** Offset of `name`, or of the first name behind its place. */
static uint64_t leaf_find(const struct children *leaf, struct bytes name, bool *found)
{
    uint64_t offset = 0;
    *found = false;
    while (offset < leaf->bytes) {
        struct bytes here = leaf_name(leaf, offset);
        int c = bytes_compare(here, name);
        if (c >= 0) {
            *found = c == 0;
            break;
        }
        offset += name_bytes(here);
    }
    return offset;
}

/** A way from the root to a leaf. */
struct descent {
    struct children *node[CHILDREN_DEPTH_MAX];
    int at[CHILDREN_DEPTH_MAX]; /* kid taken at node[level] */
    int levels;                 /* node[levels - 1] is the leaf */
    bool leftmost, rightmost;   /* of the whole tree */
};

static void descend(struct descent *d, struct children *root, struct bytes name)
{
    d->levels = 0;
    d->leftmost = d->rightmost = true;
    for (struct children *node = root;; node = node->ref[d->at[d->levels - 1]].kid) {
        CHECK(d->levels < CHILDREN_DEPTH_MAX);
        d->node[d->levels] = node;
        d->at[d->levels] = node->fan ? inner_find(node, name) : 0;
        if (node->fan) {
            d->leftmost &= d->at[d->levels] == 0;
            d->rightmost &= d->at[d->levels] == node->fan - 1;
        }
        d->levels++;
        if (node->fan == 0)
            return;
    }
}

/*
 * --- one change: nodes made and replaced, told to the sink only when nothing can fail any more ---
 */

struct edit {
    struct children *made[PIECES_MAX * CHILDREN_DEPTH_MAX];
    struct children *replaced[3 * CHILDREN_DEPTH_MAX];
    int made_count, replaced_count;
    bool failed; /* out of memory */
};

static struct children *edit_node(struct edit *e, uint64_t payload_bytes)
{
    struct children *node = e->failed ? NULL : malloc(sizeof *node + payload_bytes);
    if (!node) {
        e->failed = true;
        return NULL;
    }
    CHECK(e->made_count < (int)(sizeof e->made / sizeof e->made[0]));
    e->made[e->made_count++] = node;
    return node;
}

static void edit_replace(struct edit *e, struct children *node)
{
    CHECK(e->replaced_count < (int)(sizeof e->replaced / sizeof e->replaced[0]));
    e->replaced[e->replaced_count++] = node;
}

/** @return 0, or -1: out of memory, what was made is freed and the sink knows nothing. */
static int edit_finish(struct edit *e, const struct children_sink *sink)
{
    if (e->failed) {
        for (int i = 0; i < e->made_count; i++)
            free(e->made[i]);
        return -1;
    }
    for (int i = 0; i < e->made_count; i++)
        sink->made(sink->ctx, e->made[i]);
    for (int i = 0; i < e->replaced_count; i++)
        sink->replaced(sink->ctx, e->replaced[i]);
    return 0;
}

/**
 * The nodes that take the place of `width` neighbours beginning with kid `from` of the level above.
 */
struct pieces {
    struct children *node[PIECES_MAX];
    int count;
    int from, width;
};

/** A leaf of up to three runs of wire bytes. */
static struct children *leaf_make(struct edit *e, const struct bytes run[3], uint32_t count)
{
    uint64_t bytes = (uint64_t)run[0].size + run[1].size + run[2].size;
    struct children *leaf = edit_node(e, bytes);
    if (!leaf)
        return NULL;
    *leaf = (struct children){.bytes = bytes, .count = count};
    uint8_t *p = leaf->wire;
    for (int i = 0; i < 3; i++) {
        if (run[i].size)
            memcpy(p, run[i].data, run[i].size);
        p += run[i].size;
    }
    return leaf;
}

static void pieces_add(struct pieces *p, struct children *node)
{
    CHECK(p->count < PIECES_MAX);
    p->node[p->count++] = node;
}

static struct children *inner_make(struct edit *e, const struct child_ref *refs, int fan, int depth)
{
    CHECK(fan > 0 && fan <= CHILDREN_FANOUT_MAX && depth < CHILDREN_DEPTH_MAX);
    struct children *node = edit_node(e, (uint64_t)fan * sizeof *refs);
    if (!node)
        return NULL;
    *node = (struct children){.fan = (uint16_t)fan, .depth = (uint16_t)depth};
    for (int i = 0; i < fan; i++) {
        CHECK(refs[i].kid->depth == depth - 1);
        node->ref[i] = refs[i];
        node->bytes += refs[i].kid->bytes;
        node->count += refs[i].kid->count;
    }
    return node;
}

/**
 * Make one or two inner nodes of the refs; `append` leaves the left one full (ascending inserts).
 */
static void inner_pieces(struct edit *e, struct pieces *p, const struct child_ref *refs, int fan,
                         int depth, bool append)
{
    int left = fan <= CHILDREN_FANOUT_MAX ? fan : append ? CHILDREN_FANOUT_MAX : fan / 2;
    pieces_add(p, inner_make(e, refs, left, depth));
    if (left < fan)
        pieces_add(p, inner_make(e, refs + left, fan - left, depth));
}

/**
 * Replace pieces of the level below in d->node[level]; `p` becomes the pieces of this level. With
 * `merge`, a node that became small takes a neighbour in.
 */
static void inner_replace(struct edit *e, struct descent *d, int level, struct pieces *p,
                          bool merge)
{
    struct children *node = d->node[level];
    struct child_ref refs[3 * CHILDREN_FANOUT_MAX];
    int fan = 0, parent_at = level ? d->at[level - 1] : 0;
    struct pieces up = {.from = parent_at, .width = 1};
    struct children *left = NULL, *right = NULL;
    int fan_after = node->fan - p->width + p->count;
    if (merge && level > 0 && fan_after < FANOUT_LOW && d->node[level - 1]->fan > 1) {
        struct children *parent = d->node[level - 1];
        if (parent_at > 0)
            left = parent->ref[parent_at - 1].kid;
        else
            right = parent->ref[parent_at + 1].kid;
    }
    if (left) {
        memcpy(refs, left->ref, left->fan * sizeof *refs);
        fan = left->fan;
        up.from--;
    }
    for (int i = 0; i < p->from; i++)
        refs[fan++] = node->ref[i];
    for (int i = 0; i < p->count; i++)
        refs[fan++] = ref_of(p->node[i]);
    for (int i = p->from + p->width; i < node->fan; i++)
        refs[fan++] = node->ref[i];
    if (right) {
        memcpy(refs + fan, right->ref, right->fan * sizeof *refs);
        fan += right->fan;
    }
    edit_replace(e, node);
    if (left || right) {
        edit_replace(e, left ? left : right);
        up.width = 2;
    }
    if (fan)
        inner_pieces(e, &up, refs, fan, node->depth, !merge && d->rightmost);
    *p = up;
}

/**
 * Carry pieces of the leaf level up to a new root. NULL: out of memory, or nothing is left (no
 * pieces).
 */
static struct children *edit_climb(struct edit *e, struct descent *d, struct pieces *p, bool merge)
{
    for (int level = d->levels - 2; level >= 0 && !e->failed; level--)
        inner_replace(e, d, level, p, merge);
    if (e->failed || p->count == 0)
        return NULL;
    if (p->count == 1)
        return p->node[0];
    struct child_ref refs[PIECES_MAX];
    for (int i = 0; i < p->count; i++)
        refs[i] = ref_of(p->node[i]);
    return inner_make(e, refs, p->count, refs[0].kid->depth + 1);
}

/* --- insert --- */

static bool leaf_fits(uint64_t bytes, uint32_t count)
{
    return bytes <= CHILDREN_LEAF_BYTES_MAX || count <= 1;
}

/**
 * Where to cut the names of `leaf` with `name` put in at `offset`, so that two leaves fit and are
 * as even as can be.
 */
struct cut {
    bool found;
    bool name_left;   /* the new name goes to the left leaf */
    uint64_t offset;  /* in the old leaf */
    uint32_t count;   /* old names before it */
};

static struct cut leaf_cut(const struct children *leaf, struct bytes name, uint64_t offset)
{
    struct cut best = {0};
    uint64_t total = leaf->bytes + name_bytes(name), best_gap = UINT64_MAX, at = 0;
    for (uint32_t n = 0; n <= leaf->count; n++) {
        for (int with = at == offset ? 0 : at > offset; with <= (at >= offset); with++) {
            uint64_t left = at + (with ? name_bytes(name) : 0), right = total - left;
            uint32_t left_count = n + (uint32_t)with, right_count = leaf->count + 1 - left_count;
            uint64_t gap = left > right ? left - right : right - left;
            if (left_count && right_count && leaf_fits(left, left_count) &&
                leaf_fits(right, right_count) && gap < best_gap) {
                best = (struct cut){true, with, at, n};
                best_gap = gap;
            }
        }
        if (n < leaf->count)
            at += name_bytes(leaf_name(leaf, at));
    }
    return best;
}

static struct bytes leaf_run(const struct children *leaf, uint64_t from, uint64_t to)
{
    return (struct bytes){leaf->wire + from, (uint32_t)(to - from)};
}

/** Names of `leaf` that begin before `offset`. */
static uint32_t leaf_count_before(const struct children *leaf, uint64_t offset)
{
    uint32_t n = 0;
    for (uint64_t at = 0; at < offset; n++)
        at += name_bytes(leaf_name(leaf, at));
    return n;
}

/** Too much for one leaf: two, or left part, name, right part. */
static void leaf_split(struct edit *e, struct pieces *p, const struct children *leaf,
                       struct bytes name, uint64_t offset, struct bytes entry)
{
    const struct bytes none = {0};
    struct cut cut = leaf_cut(leaf, name, offset);
    if (cut.found && cut.name_left) {
        pieces_add(p, leaf_make(e,
                                (struct bytes[]){leaf_run(leaf, 0, offset), entry,
                                                 leaf_run(leaf, offset, cut.offset)},
                                cut.count + 1));
        pieces_add(
            p, leaf_make(e, (struct bytes[]){leaf_run(leaf, cut.offset, leaf->bytes), none, none},
                         leaf->count - cut.count));
    } else if (cut.found) {
        pieces_add(p, leaf_make(e, (struct bytes[]){leaf_run(leaf, 0, cut.offset), none, none},
                                cut.count));
        pieces_add(p, leaf_make(e, (struct bytes[]){leaf_run(leaf, cut.offset, offset), entry,
                                                    leaf_run(leaf, offset, leaf->bytes)},
                                leaf->count + 1 - cut.count));
    } else {
        uint32_t before = leaf_count_before(leaf, offset);
        CHECK(before > 0 && before < leaf->count);
        pieces_add(p,
                   leaf_make(e, (struct bytes[]){leaf_run(leaf, 0, offset), none, none}, before));
        pieces_add(p, leaf_make(e, (struct bytes[]){entry, none, none}, 1));
        pieces_add(p,
                   leaf_make(e, (struct bytes[]){leaf_run(leaf, offset, leaf->bytes), none, none},
                             leaf->count - before));
    }
}

/** Make the leaves that take the place of `leaf` with `entry` (wire bytes of `name`) put in. */
static void leaf_insert(struct edit *e, struct descent *d, struct pieces *p, struct bytes name,
                        struct bytes entry)
{
    struct children *leaf = d->node[d->levels - 1];
    bool found;
    uint64_t offset = leaf_find(leaf, name, &found);
    CHECK(!found);
    const struct bytes none = {0};
    if (leaf_fits(leaf->bytes + entry.size, leaf->count + 1)) {
        pieces_add(p, leaf_make(e,
                                (struct bytes[]){leaf_run(leaf, 0, offset), entry,
                                                 leaf_run(leaf, offset, leaf->bytes)},
                                leaf->count + 1));
    } else if ((offset == leaf->bytes && d->rightmost) || (offset == 0 && d->leftmost)) {
        /* ascending or descending names leave full leaves behind; the old leaf stays */
        struct children *fresh = leaf_make(e, (struct bytes[]){entry, none, none}, 1);
        pieces_add(p, offset ? leaf : fresh);
        pieces_add(p, offset ? fresh : leaf);
        return;
    } else {
        leaf_split(e, p, leaf, name, offset, entry);
    }
    edit_replace(e, leaf);
}

struct children *children_insert(struct children *root, struct bytes name,
                                 const struct children_sink *sink)
{
    CHECK(name.data || name.size == 0);
    uint8_t small[CHILDREN_LEAF_BYTES_MAX];
    uint64_t size = name_bytes(name);
    struct bytes entry = {size <= sizeof small ? small : malloc(size), (uint32_t)size};
    if (!entry.data)
        return NULL;
    be32_store((uint8_t *)entry.data, name.size);
    if (name.size)
        memcpy((uint8_t *)entry.data + 4, name.data, name.size);

    struct edit e;
    e.made_count = e.replaced_count = 0;
    e.failed = false;
    struct children *out = NULL;
    if (!root) {
        out = leaf_make(&e, (struct bytes[3]){entry}, 1);
    } else {
        CHECK(root->count < UINT32_MAX);
        struct descent d;
        struct pieces p = {.from = 0, .width = 1};
        descend(&d, root, name);
        leaf_insert(&e, &d, &p, name, entry);
        if (d.levels > 1)
            p.from = d.at[d.levels - 2];
        out = edit_climb(&e, &d, &p, false);
    }
    if (entry.data != small)
        free((uint8_t *)entry.data);
    return edit_finish(&e, sink) == 0 ? out : NULL;
}

/* --- remove --- */

/** A neighbour under the same parent that a small leaf can join, or NULL. */
static struct children *leaf_partner(const struct descent *d, uint64_t bytes, int *side)
{
    if (d->levels < 2 || bytes >= LEAF_BYTES_LOW)
        return NULL;
    const struct children *parent = d->node[d->levels - 2];
    int at = d->at[d->levels - 2];
    for (*side = -1; *side <= 1; *side += 2) {
        if (at + *side < 0 || at + *side >= parent->fan)
            continue;
        struct children *kid = parent->ref[at + *side].kid;
        if (kid->bytes + bytes <= CHILDREN_LEAF_BYTES_MAX * 3 / 4)
            return kid;
    }
    return NULL;
}

static void leaf_remove(struct edit *e, struct descent *d, struct pieces *p, uint64_t offset,
                        uint64_t size)
{
    struct children *leaf = d->node[d->levels - 1];
    struct bytes before = leaf_run(leaf, 0, offset),
                 after = leaf_run(leaf, offset + size, leaf->bytes);
    edit_replace(e, leaf);
    if (leaf->count == 1)
        return;
    int side = 0;
    struct children *partner = leaf_partner(d, leaf->bytes - size, &side);
    if (!partner) {
        pieces_add(p, leaf_make(e, (struct bytes[]){before, after, {0}}, leaf->count - 1));
        return;
    }
    struct bytes whole = leaf_run(partner, 0, partner->bytes);
    pieces_add(p, leaf_make(e, side < 0 ? (struct bytes[]){whole, before, after}
                                        : (struct bytes[]){before, after, whole},
                            leaf->count - 1 + partner->count));
    edit_replace(e, partner);
    p->width = 2;
    p->from += side < 0 ? -1 : 0;
}

int children_remove(struct children *root, struct bytes name, const struct children_sink *sink,
                    struct children **out)
{
    if (!root)
        return -1;
    struct descent d;
    descend(&d, root, name);
    bool found;
    uint64_t offset = leaf_find(d.node[d.levels - 1], name, &found);
    if (!found)
        return -1;
    struct edit e;
    e.made_count = e.replaced_count = 0;
    e.failed = false;
    struct pieces p = {.from = d.levels > 1 ? d.at[d.levels - 2] : 0, .width = 1};
    leaf_remove(&e, &d, &p, offset, name_bytes(name));
    struct children *top = edit_climb(&e, &d, &p, true);
    if (!e.failed) {
        /* a root with one kid is that kid */
        while (top && top->fan == 1) {
            edit_replace(&e, top);
            top = top->ref[0].kid;
        }
    }
    if (edit_finish(&e, sink) != 0)
        return -2;
    *out = top;
    return 0;
}

/* --- reading --- */

bool children_contains(const struct children *root, struct bytes name)
{
    if (!root)
        return false;
    while (root->fan)
        root = root->ref[inner_find(root, name)].kid;
    bool found;
    (void)leaf_find(root, name, &found);
    return found;
}

uint32_t children_count(const struct children *root)
{
    return root ? root->count : 0;
}

int children_levels(const struct children *root)
{
    return root ? root->depth + 1 : 0;
}

size_t children_wire_bytes(const struct children *root)
{
    return root ? root->bytes : 0;
}

/** Step through all nodes, parents first. Bounded stack. */
struct nodes {
    const struct children *stack[CHILDREN_DEPTH_MAX];
    int at[CHILDREN_DEPTH_MAX];
    int depth;
};

static void nodes_init(struct nodes *n, const struct children *root)
{
    n->depth = root ? 1 : 0;
    n->stack[0] = root;
    n->at[0] = -1;
}

/**
 * Next node or NULL. A node is given before its kids, and once more (*after) behind them if it is
 * an inner one.
 */
static const struct children *nodes_next(struct nodes *n, bool *after)
{
    if (n->depth == 0)
        return NULL;
    const struct children *node = n->stack[n->depth - 1];
    int at = n->at[n->depth - 1]++;
    if (at < 0) {
        *after = false;
        if (node->fan == 0)
            n->depth--;
        return node;
    }
    if (at == node->fan) {
        *after = true;
        n->depth--;
        return node;
    }
    CHECK(n->depth < CHILDREN_DEPTH_MAX);
    n->stack[n->depth] = node->ref[at].kid;
    n->at[n->depth++] = -1;
    return nodes_next(n, after); /* once: the new top gives itself */
}

size_t children_copy(const struct children *root, uint8_t *out)
{
    uint8_t *p = out;
    struct nodes n;
    nodes_init(&n, root);
    bool after;
    for (const struct children *node; (node = nodes_next(&n, &after));) {
        if (node->fan) {
            for (int i = 0; !after && node->depth == 1 && i < node->fan; i++)
                __builtin_prefetch(node->ref[i].kid, 0, 1);
            continue;
        }
        memcpy(p, node->wire, node->bytes);
        p += node->bytes;
    }
    CHECK(!root || (size_t)(p - out) == root->bytes);
    return (size_t)(p - out);
}

void children_prefetch(const struct children *root)
{
    if (!root)
        return;
    const uint8_t *p = (const uint8_t *)root;
    for (int line = 0; line < 4; line++)
        __builtin_prefetch(p + line * 64, 0, 3);
}

void children_node_free(struct children *node)
{
    free(node);
}

void children_free_all(struct children *root)
{
    struct nodes n;
    nodes_init(&n, root);
    bool after;
    for (const struct children *node; (node = nodes_next(&n, &after));)
        if (node->fan == 0 || after)
            free((struct children *)node);
}

size_t children_heap_bytes(const struct children *root)
{
    size_t bytes = 0;
    struct nodes n;
    nodes_init(&n, root);
    bool after;
    for (const struct children *node; (node = nodes_next(&n, &after));)
        if (node->fan == 0 || after)
            bytes += malloc_usable_size((struct children *)node);
    return bytes;
}

static void check_leaf(const struct children *leaf, struct bytes *last)
{
    CHECK(leaf->count > 0 && leaf_fits(leaf->bytes, leaf->count));
    uint64_t at = 0;
    for (uint32_t i = 0; i < leaf->count; i++) {
        CHECK(at + 4 <= leaf->bytes);
        struct bytes name = leaf_name(leaf, at);
        at += name_bytes(name);
        CHECK(at <= leaf->bytes);
        CHECK(!last->data || bytes_compare(*last, name) < 0);
        *last = name;
    }
    CHECK(at == leaf->bytes);
}

void children_check(const struct children *root)
{
    struct bytes last = BYTES_NULL;
    struct nodes n;
    nodes_init(&n, root);
    bool after;
    for (const struct children *node; (node = nodes_next(&n, &after));) {
        if (node->fan == 0) {
            check_leaf(node, &last);
            continue;
        }
        if (after)
            continue;
        CHECK(node->fan <= CHILDREN_FANOUT_MAX && (node != root || node->fan > 1));
        uint64_t bytes = 0;
        uint32_t count = 0;
        for (int i = 0; i < node->fan; i++) {
            const struct children *kid = node->ref[i].kid;
            CHECK(kid->depth + 1 == node->depth);
            CHECK(node->ref[i].first == (kid->fan ? kid->ref[0].first : kid));
            bytes += kid->bytes;
            count += kid->count;
        }
        CHECK(bytes == node->bytes && count == node->count);
    }
}

/* --- cursor --- */

static void cursor_down(struct children_cursor *c, const struct children *node)
{
    for (;; node = node->ref[0].kid) {
        CHECK(c->depth < CHILDREN_DEPTH_MAX);
        c->stack[c->depth] = node;
        c->at[c->depth++] = 0;
        if (node->fan == 0)
            break;
    }
    c->leaf_offset = 0;
}

void children_cursor_init(struct children_cursor *c, const struct children *root)
{
    c->depth = 0;
    c->leaf_offset = 0;
    if (root)
        cursor_down(c, root);
}

bool children_cursor_next(struct children_cursor *c, struct bytes *name)
{
    if (c->depth == 0)
        return false;
    const struct children *leaf = c->stack[c->depth - 1];
    if (c->leaf_offset == leaf->bytes) {
        c->depth--;
        while (c->depth > 0 && c->at[c->depth - 1] + 1 == c->stack[c->depth - 1]->fan)
            c->depth--;
        if (c->depth == 0)
            return false;
        uint16_t at = ++c->at[c->depth - 1];
        cursor_down(c, c->stack[c->depth - 1]->ref[at].kid);
        leaf = c->stack[c->depth - 1];
    }
    *name = leaf_name(leaf, c->leaf_offset);
    c->leaf_offset += (uint32_t)name_bytes(*name);
    return true;
}
