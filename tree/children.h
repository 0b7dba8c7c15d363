/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The names of a znode's children: an immutable copy-on-write B+tree, sorted by bytes, whose leaves
 * are ready-made wire bytes (int length, name, int length, name, ...), so that listing a directory
 * is one memcpy per leaf.
 *
 *   children root -> leaf                      up to CHILDREN_LEAF_BYTES_MAX, or one longer name
 *                 -> inner -> leaf, leaf, ...  up to CHILDREN_FANOUT_MAX
 *
 * Invariants: counts and byte sums of an inner node equal the sums over its children; leaves are
 * never empty; a node is never changed after it became reachable. An insert or removal copies the
 * path from root to leaf and reports each node it replaced to the caller's sink, who frees it after
 * a grace period (or at once on roll-back, for the new ones).
 *
 * One writer; readers as in version.h.
 */
#ifndef SENGI_TREE_CHILDREN_H
#define SENGI_TREE_CHILDREN_H

#include "client/wire/types.h"

/* With the 16-byte header these make 1024 and 512 bytes: size classes of jemalloc. */
#define CHILDREN_LEAF_BYTES_MAX 1008
#define CHILDREN_FANOUT_MAX 31
#define CHILDREN_DEPTH_MAX 16

struct children;

/** Called for each node made and each node replaced by a change, after everything that can fail. A
 * node may be made and replaced by the same change. Nodes are single heap blocks: free() is as good
 * as children_node_free(). */
struct children_sink {
    void (*made)(void *ctx, struct children *node);
    void (*replaced)(void *ctx, struct children *node);
    void *ctx;
};

/**
 * New root with `name` added. `root` may be NULL. The name must not be there. NULL: out of memory,
 * nothing changed.
 */
struct children *children_insert(struct children *root, struct bytes name,
                                 const struct children_sink *sink);

/**
 * New root (NULL when it was the last) with `name` removed. @return 0; -1 name not there; -2 out of
 * memory.
 */
int children_remove(struct children *root, struct bytes name, const struct children_sink *sink,
                    struct children **out);

bool children_contains(const struct children *root, struct bytes name);
uint32_t children_count(const struct children *root);
/** Bytes of all names with their lengths: what children_copy writes. */
size_t children_wire_bytes(const struct children *root);
/** Copy the wire bytes of all names (without the vector count). @return bytes written. */
size_t children_copy(const struct children *root, uint8_t *out);
/** Prefetch the first lines that children_copy will read. */
void children_prefetch(const struct children *root);

/** Levels of the tree, 0 for NULL. One change makes at most CHILDREN_MADE_MAX and replaces at most
 * CHILDREN_REPLACED_MAX nodes of a tree of that many levels. */
int children_levels(const struct children *root);
#define CHILDREN_MADE_MAX(levels) (4 + 2 * (levels))
#define CHILDREN_REPLACED_MAX(levels) (3 * (levels))

/** Free one node (not its children). */
void children_node_free(struct children *node);
/** Free a whole tree: shutdown and tests only. */
void children_free_all(struct children *root);
/** Heap bytes of all nodes, for the memory report. */
size_t children_heap_bytes(const struct children *root);
/** Invariants as code; CHECKs. */
void children_check(const struct children *root);

/** In-order cursor, for walks. Bounded stack, no recursion. */
struct children_cursor {
    const struct children *stack[CHILDREN_DEPTH_MAX];
    uint16_t at[CHILDREN_DEPTH_MAX];
    int depth;
    uint32_t leaf_offset;
};
void children_cursor_init(struct children_cursor *c, const struct children *root);
/** Next name, borrowed from the leaf; false at the end. */
bool children_cursor_next(struct children_cursor *c, struct bytes *name);

#endif
