/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * From the data directory to a tree in memory: recovery's parts are fed into a tree under
 * construction.
 */
#ifndef SENGI_DATAPLANE_RESTORE_H
#define SENGI_DATAPLANE_RESTORE_H

#include "dataplane/config.h"
#include "persist/recover.h"
#include "tree/tree.h"

#define DIGEST_LOG_INTERVAL 128
#define DIGEST_LOG_ENTRIES 1024

/**
 * A digest that the word `hash` shows: of every zxid divisible by DIGEST_LOG_INTERVAL, the newest
 * ones.
 */
struct digest_log {
    uint64_t mismatches; /* txns and snapshots at the start whose digest was another */
    struct {
        zxid_t zxid;
        uint64_t digest;
    } entries[DIGEST_LOG_ENTRIES];
    uint32_t count, next; /* next: where the next one goes, modulo */
};

static inline void digest_log_note(struct digest_log *log, zxid_t zxid, uint64_t digest)
{
    if (zxid % DIGEST_LOG_INTERVAL != 0)
        return;
    log->entries[log->next].zxid = zxid;
    log->entries[log->next].digest = digest;
    log->next = (log->next + 1) % DIGEST_LOG_ENTRIES;
    if (log->count < DIGEST_LOG_ENTRIES)
        log->count++;
}

/**
 * Load the directory's newest state.
 *
 * @param digests Receives the digests of replayed txns.
 * @param out     Receives the tree, owned by the caller; NULL on error.
 * @param report  Always filled in; report->refusal says why, where and what to do.
 * @return 0 or a PERSIST_* code. Nothing on disk was changed on an error.
 */
int restore_run(const struct config *config, const struct directory *directory, struct tree **out,
                struct digest_log *digests, struct recover_report *report);

/** What a server of this configuration makes its tree with. */
struct tree_config restore_tree_config(const struct config *config);

#endif
