/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * ACL lists, interned: a znode keeps a 32-bit id, the list is stored once in wire order.
 *
 *   id 0       world:anyone:31, never counted, never freed (the "open ACL"; key -1 in snapshots)
 *   id 1..n    one list each; freed when its last znode version is retired
 *
 * The writer interns, holds and drops; readers resolve ids of versions they can see, lock-free.
 */
#ifndef SENGI_TREE_ACL_H
#define SENGI_TREE_ACL_H

#include "client/wire/buffer.h"
#include "client/wire/request.h"
#include "tree/auth.h"

#define ACL_OPEN 0u
/** Entries of one stored list; more are refused with -114 (hazards.md section 0, rows H and K). */
#define ACL_ENTRIES_MAX 4096
#define ACL_LISTS_MAX (1u << 24)

struct acl_list {
    uint32_t count;      /* entries */
    uint32_t wire_bytes; /* size of wire[] */
    uint8_t wire[];      /* the whole jute vector<ACL>, with its count */
};

struct acl_table;

struct acl_table *acl_table_create(void (*retire)(void *ctx, void *memory, size_t bytes),
                                   void *ctx);
void acl_table_destroy(struct acl_table *table);

/** Intern a list given as a whole wire vector; adds one use. @return 0; -1 out of memory or
 * ACL_LISTS_MAX reached. */
int acl_intern(struct acl_table *table, struct bytes wire_vector, uint32_t *id);
void acl_hold(struct acl_table *table, uint32_t id);
/** Drop one use; the last one retires the list (deferred free). */
void acl_drop(struct acl_table *table, uint32_t id);

/** The list behind an id. Readers: only ids of versions that they can see. Borrowed like the
 * version. */
const struct acl_list *acl_get(const struct acl_table *table, uint32_t id);

/** May a holder of `auth` do any of `perms` under the list `id`? (semantics.md section 6.1)
 * NULL for the server itself, which may do anything: never for a client. Any reader. */
bool acl_allows(const struct acl_table *table, uint32_t id, int32_t perms,
                const struct auth_set *auth);

/**
 * Check and expand the ACL of a create or setACL request (semantics.md section 6.2): duplicates
 * removed, `auth` entries replaced by the connection's ids, providers asked.
 *
 * @param out Receives the whole wire vector to store.
 * @return 0, ZK_INVALIDACL or ZK_MARSHALLINGERROR (null id).
 */
int acl_fix(struct acl_view asked, const struct auth_set *auth, struct buffer *out);

/** Wire vector for a getACL reply: without ADMIN, digest ids are shown as `user:x`. */
void acl_write_redacted(const struct acl_list *list, struct buffer *out);

/** Iterate ids in use, for snapshots (writer thread, at pin time). @return next id in use >
 * `after`, or 0. */
uint32_t acl_next(const struct acl_table *table, uint32_t after);
/** Lists in use, uses of one list, heap bytes. Writer thread. */
uint32_t acl_count(const struct acl_table *table);
uint64_t acl_uses(const struct acl_table *table, uint32_t id);
size_t acl_heap_bytes(const struct acl_table *table);

#endif
