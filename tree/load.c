/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Filling an empty tree from a snapshot (disk-formats.md section 5):
 *
 *   tree_load_begin  tree_load_session*  tree_load_acl*  tree_load_node*  tree_load_end
 *                    tree_apply*  tree_load_finish
 */
#include <stdlib.h>

#include "tree/tree_internal.h"

int tree_load_begin(struct tree *t, zxid_t zxid)
{
    CHECK(!t->loading);
    store_set_offline(t->store, true);
    if (store_load_begin(t->store, zxid))
        return TREE_ENOMEM;
    t->loading = true;
    /* open until tree_load_end, settled after each change */
    ledger_begin(&t->ledger, zxid > 0 ? zxid : 1);
    return 0;
}

int tree_load_session(struct tree *t, session_id_t id, int32_t timeout_ms)
{
    int rc = ledger_session_set(&t->ledger, id, timeout_ms);
    ledger_settle(&t->ledger);
    return rc ? TREE_ENOMEM : 0;
}

/* --- the ACL table --- */

static int keys_compare(const void *a, const void *b)
{
    int64_t x = ((const struct load_acl *)a)->key, y = ((const struct load_acl *)b)->key;
    return x < y ? -1 : x > y;
}

static int acl_row_add(struct load_acls *acls, int64_t key, uint32_t id)
{
    if (acls->count == acls->capacity) {
        uint32_t capacity = acls->capacity ? acls->capacity * 2 : 64;
        void *rows = realloc(acls->rows, capacity * sizeof *acls->rows);
        if (!rows)
            return TREE_ENOMEM;
        acls->rows = rows;
        acls->capacity = capacity;
    }
    /* Keys come in ascending order as a rule, whoever wrote the file. */
    acls->sorted = acls->count == 0 || (acls->sorted && acls->rows[acls->count - 1].key < key);
    acls->rows[acls->count++] = (struct load_acl){key, id};
    return 0;
}

static void acls_sort(struct load_acls *acls)
{
    if (!acls->sorted && acls->count)
        qsort(acls->rows, acls->count, sizeof *acls->rows, keys_compare);
    acls->sorted = true;
}

int tree_load_acl(struct tree *t, int64_t key, struct bytes wire_vector)
{
    static const uint8_t empty[4];
    struct jute_reader r = jute_reader_of(wire_vector.data, wire_vector.size);
    struct txn_acl acl = txn_acl_read(&r);
    uint32_t id;
    if (r.failed || jute_left(&r))
        return ZK_MARSHALLINGERROR;
    if (acl.count <= 0)
        acl.raw = (struct bytes){empty, sizeof empty};
    if (acl_intern(store_acls(t->store), acl.raw, &id))
        return TREE_ENOMEM;
    int rc = acl_row_add(&t->load_acls, key, id);
    if (rc)
        acl_drop(store_acls(t->store), id);
    return rc;
}

/* One use of the list behind a key. */
static int acl_of_key(struct tree *t, int64_t key, uint32_t *id)
{
    /* perms 0 for world:anyone: nobody but super */
    static const uint8_t nobody[] = "\0\0\0\1\0\0\0\0\0\0\0\5world\0\0\0\6anyone";
    *id = ACL_OPEN;
    if (key == -1)
        return 0;
    acls_sort(&t->load_acls);
    const struct load_acls *acls = &t->load_acls;
    const struct load_acl wanted = {.key = key}, *row = NULL;
    if (acls->count)
        row = bsearch(&wanted, acls->rows, acls->count, sizeof *acls->rows, keys_compare);
    if (!row)
        return acl_intern(store_acls(t->store), (struct bytes){nobody, sizeof nobody - 1}, id)
                   ? TREE_ENOMEM
                   : 0;
    *id = row->id;
    acl_hold(store_acls(t->store), *id);
    return 0;
}

/* --- znodes --- */

static int node_place(struct tree *t, struct bytes path, struct bytes data, uint32_t acl,
                      const struct stat_persisted *stat)
{
    struct store_node node = {.path = path, .data = data, .acl = acl, .stat = *stat};
    if (store_load(t->store, &node)) {
        acl_drop(store_acls(t->store), acl);
        return TREE_ENOMEM;
    }
    return path.size <= 1 ? 0 : tree_node_mark(t, path, stat->ephemeral_owner);
}

int tree_load_node(struct tree *t, struct bytes path, struct bytes data, int64_t acl_key,
                   const struct stat_persisted *stat)
{
    uint32_t acl;
    struct stat_persisted plain = *stat;
    bool root = path.data && path.size == 0;
    if (root)
        plain.ephemeral_owner = 0; /* the root belongs to nobody */
    else if (!path_valid(path) || path.size == 1)
        return ZK_BADARGUMENTS;
    else if (!tree_newest(t, path_parent(path)))
        return ZK_NONODE;
    else if (tree_newest(t, path))
        return ZK_NODEEXISTS;
    int rc = acl_of_key(t, acl_key, &acl);
    return rc ? rc : node_place(t, path, data, acl, &plain);
}

/* world:anyone READ, of /zookeeper/config */
static int acl_read_only(struct tree *t, uint32_t *id)
{
    static const uint8_t wire[] = "\0\0\0\1\0\0\0\1\0\0\0\5world\0\0\0\6anyone";
    return acl_intern(store_acls(t->store), (struct bytes){wire, sizeof wire - 1}, id) ? TREE_ENOMEM
                                                                                       : 0;
}

/* semantics.md section 1.1 */
static int special_nodes(struct tree *t)
{
    static const struct stat_persisted zero, config = {.aversion = -1};
    uint32_t read_only;
    int rc = 0;
    if (!tree_newest(t, PATH_ZOOKEEPER))
        rc = node_place(t, PATH_ZOOKEEPER, BYTES_OF(""), ACL_OPEN, &zero);
    if (rc == 0 && !tree_newest(t, PATH_QUOTA))
        rc = node_place(t, PATH_QUOTA, BYTES_OF(""), ACL_OPEN, &zero);
    if (rc == 0 && !tree_newest(t, PATH_CONFIG)) {
        rc = acl_read_only(t, &read_only);
        rc = rc ? rc : node_place(t, PATH_CONFIG, BYTES_OF(""), read_only, &config);
    }
    return rc;
}

int tree_load_end(struct tree *t)
{
    CHECK(t->loading);
    int rc = special_nodes(t);
    rc = rc ? rc : quota_load_end(t);
    for (uint32_t i = 0; i < t->load_acls.count; i++)
        acl_drop(store_acls(t->store), t->load_acls.rows[i].id);
    free(t->load_acls.rows);
    t->load_acls = (struct load_acls){0};
    ledger_abort(&t->ledger); /* settled: nothing to take back */
    ledger_base(&t->ledger, store_visible(t->store), store_counters(t->store)->digest);
    return rc;
}

int tree_load_finish(struct tree *t)
{
    CHECK(t->loading);
    store_set_offline(t->store, false);
    t->loading = false;
    return 0;
}
