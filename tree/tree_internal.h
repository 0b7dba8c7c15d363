/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What the files of the rules share (tree.c, prepare*.c, apply.c, quota.c, reap.c, load.c,
 * snapshot_source.c): the tree, and changes that keep store, ledger and quotas in step. Nobody
 * outside tree/ includes this.
 *
 *   tree_begin(z)   tree_node_add / _remove / _set_data, ledger_session_*   tree_end | tree_abort
 *
 * Every function that changes returns 0 or TREE_ENOMEM; after an error the caller aborts the txn.
 */
#ifndef SENGI_TREE_TREE_INTERNAL_H
#define SENGI_TREE_TREE_INTERNAL_H

#include "client/wire/check.h"
#include "tree/path.h"
#include "tree/quota.h"
#include "tree/tree.h"
#include "tree/tree_ledger.h"

/** ACL keys of a snapshot being loaded: key -> id, one use of each held until tree_load_end. */
struct load_acl {
    int64_t key;
    uint32_t id;
};
struct load_acls {
    struct load_acl *rows;
    uint32_t count, capacity;
    bool sorted;
};

struct tree {
    struct tree_config config;
    struct store *store;
    struct ledger ledger;
    struct quota quota;
    struct load_acls load_acls;
    /* between tree_load_begin and tree_load_finish: no reader, txns are shown at once */
    bool loading;
    uint64_t apply_ignored;
    struct buffer path, acl; /* scratch of one operation */
};

/** What a raw ephemeralOwner says (disk-formats.md section 3.5). TTLs are recognised whatever
 * extended_types says, so that switching the option off never turns TTL znodes into ephemerals of
 * nobody. */
enum owner_kind { OWNED_NONE, OWNED_SESSION, OWNED_CONTAINER, OWNED_TTL };
enum owner_kind owner_kind_of(int64_t raw);

int tree_begin(struct tree *t, zxid_t zxid);
int tree_end(struct tree *t);
void tree_abort(struct tree *t);

/** Newest live version, pending and open txns included. */
const struct version *tree_newest(struct tree *t, struct bytes path);

/** Takes over the use of node->acl, also on error. */
int tree_node_add(struct tree *t, const struct store_node *node, int32_t parent_cversion);
/** The znode exists. What is below it (possible only after replaying foreign data) goes too. */
int tree_node_remove(struct tree *t, struct bytes path);
/** The znode exists. key: of set->path. */
int tree_node_set_data(struct tree *t, const struct txn_set_data *set, struct tree_key key,
                       zxid_t zxid, int64_t time_ms);

/** closeSession: every ephemeral of the session goes, then the session. */
int tree_session_end(struct tree *t, session_id_t session);

/** Book a znode that store_load put in place: mark and quota root, no undo left behind. */
int tree_node_mark(struct tree *t, struct bytes path, int64_t owner_raw);

bool tree_allows(const struct tree *t, const struct version *v, int32_t perms,
                 const struct auth_set *auth);

/** Empty a scratch buffer. */
static inline struct buffer *buffer_reset(struct buffer *b)
{
    b->size = 0;
    b->failed = false;
    return b;
}

static inline struct bytes buffer_bytes(const struct buffer *b)
{
    return (struct bytes){b->data, (uint32_t)b->size};
}

/** Bytes of a closeSession entry around its paths: header, count, digest. */
#define CLOSE_SESSION_BYTES_MIN (TXN_HEADER_BYTES + 4 + TXN_DIGEST_BYTES)

#endif
