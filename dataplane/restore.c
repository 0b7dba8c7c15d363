/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/restore.h"

#include <stdio.h>

#include "client/wire/check.h"
#include "dataplane/log.h"
#include "persist/txnlog.h"

struct restore {
    struct digest_log *digests;
    struct tree_config config;
    struct tree *tree;
    bool begun; /* tree_load_begin() was called on it */
    uint64_t digest_mismatches;
    /* Of a fuzzy snapshot: compared when the replay reaches it (disk-formats.md section 5.6). */
    struct snapshot_digest expected;
};

struct tree_config restore_tree_config(const struct config *config)
{
    return (struct tree_config){
        .store = {.digest_enabled = config->digest_enabled},
        .entry_bytes_max = PERSIST_ENTRY_BYTES_MAX,
        .skip_acl = config->skip_acl,
        .extended_types = config->extended_types_enabled,
        .enforce_quota = config->enforce_quota,
        .reconfig_enabled = config->reconfig_enabled,
        .digest_enabled = config->digest_enabled,
    };
}

/* ZK_* or TREE_ENOMEM of the tree -> PERSIST_* for recovery. */
static int restore_error(int err)
{
    return err == 0 ? 0 : err == TREE_ENOMEM ? PERSIST_ENOMEM : PERSIST_EDAMAGE;
}

static int on_begin(void *ctx, zxid_t zxid)
{
    struct restore *r = ctx;
    r->begun = true;
    return restore_error(tree_load_begin(r->tree, zxid));
}

/* No snapshot: the tree of a new database. */
static int restore_empty(struct restore *r)
{
    int err = on_begin(r, 0);
    return err ? err : restore_error(tree_load_end(r->tree));
}

static int on_session(void *ctx, session_id_t id, int32_t timeout_ms)
{
    struct restore *r = ctx;
    return restore_error(tree_load_session(r->tree, id, timeout_ms));
}

static int on_acl(void *ctx, int64_t key, const struct txn_acl *acl)
{
    struct restore *r = ctx;
    return restore_error(tree_load_acl(r->tree, key, acl->raw));
}

static int on_node(void *ctx, const struct snapshot_node *node)
{
    struct restore *r = ctx;
    return restore_error(
        tree_load_node(r->tree, node->path, node->data, node->acl_key, &node->stat));
}

static int on_snapshot_end(void *ctx, zxid_t zxid, const struct snapshot_digest *digest)
{
    struct restore *r = ctx;
    int err = restore_error(tree_load_end(r->tree));
    if (err || !digest->known || !r->config.digest_enabled)
        return err;
    if (digest->zxid == zxid && zxid != 0 && digest->tree != tree_digest(r->tree))
        r->digest_mismatches++;
    if (digest->zxid > zxid)
        r->expected = *digest;
    return 0;
}

static void restore_check_digest(struct restore *r, const struct txn *txn)
{
    if (!r->config.digest_enabled)
        return;
    if (r->expected.known) {
        if (txn->header.zxid < r->expected.zxid)
            return;
        if (txn->header.zxid == r->expected.zxid && r->expected.tree != tree_digest(r->tree))
            r->digest_mismatches++;
        r->expected.known = false;
    } else if (txn->has_digest && txn->digest.version == 2 &&
               (uint64_t)txn->digest.tree != tree_digest(r->tree)) {
        r->digest_mismatches++;
    }
}

static int on_txn(void *ctx, const struct txn *txn, struct bytes entry)
{
    struct restore *r = ctx;
    (void)entry;
    int err = r->begun ? 0 : restore_empty(r); /* snapshot.trust.empty: logs without a snapshot */
    if (!err)
        err = restore_error(tree_apply(r->tree, &txn->header, txn->body_bytes));
    if (err)
        return err;
    restore_check_digest(r, txn);
    digest_log_note(r->digests, txn->header.zxid, tree_digest(r->tree));
    return 0;
}

static void on_reset(void *ctx)
{
    struct restore *r = ctx;
    tree_destroy(r->tree);
    r->tree = tree_create(&r->config);
    CHECK(r->tree); /* there was room for it a moment ago */
    r->begun = false;
    r->expected.known = false;
    r->digest_mismatches = 0;
}

static int restore_finish(struct restore *r)
{
    int err = r->begun ? 0 : restore_empty(r);
    if (!err)
        err = restore_error(tree_load_finish(r->tree));
    r->digests->mismatches = r->digest_mismatches;
    if (r->digest_mismatches)
        LOG_WARN("%llu txns or snapshots whose digest differs from the tree they gave",
                 (unsigned long long)r->digest_mismatches);
    return err;
}

int restore_run(const struct config *config, const struct directory *directory, struct tree **out,
                struct digest_log *digests, struct recover_report *report)
{
    struct restore r = {.digests = digests, .config = restore_tree_config(config)};
    *out = NULL;
    r.tree = tree_create(&r.config);
    if (!r.tree)
        return PERSIST_ENOMEM;
    struct recover_options options = {.trust_empty = config->snapshot_trust_empty};
    struct recover_sink sink = {
        .snapshot = {&r, on_begin, on_session, on_acl, on_node, on_snapshot_end},
        .reset = on_reset,
        .txn = on_txn,
        .ctx = &r,
    };
    int err = recover_run(storage_file(), directory, &options, &sink, report);
    if (!err)
        err = restore_finish(&r);
    if (err) {
        tree_destroy(r.tree);
        return err;
    }
    *out = r.tree;
    return 0;
}
