/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * From the data directory to a tree in memory: recovery's parts are fed into a tree under construction.
 */
#ifndef SENGI_DATAPLANE_RESTORE_H
#define SENGI_DATAPLANE_RESTORE_H

#include "dataplane/config.h"
#include "persist/recover.h"
#include "tree/tree.h"

/**
 * Load the directory's newest state.
 *
 * @param out     Receives the tree, owned by the caller; NULL on error.
 * @param report  Always filled in; report->refusal says why, where and what to do.
 * @return 0 or a PERSIST_* code. Nothing on disk was changed on an error.
 */
int restore_run(const struct config *config, const struct directory *directory, struct tree **out,
                struct recover_report *report);

/** What a server of this configuration makes its tree with. */
struct tree_config restore_tree_config(const struct config *config);

#endif
