/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The snapshot thread: writes one pinned state of the tree at a time while writes go on, then
 * purges old files.
 */
#ifndef SENGI_DATAPLANE_SNAPSHOTTER_H
#define SENGI_DATAPLANE_SNAPSHOTTER_H

#include "dataplane/waker.h"
#include "persist/snapshot.h"
#include "tree/tree.h"

struct snapshotter;

struct snapshotter_config {
    struct storage storage;
    const struct directory *directory; /* borrowed for the snapshotter's life */
    enum snapshot_compression compression;
    bool no_last_zxid;
    bool digest;
    struct waker *done_waker;
};

/** NULL: out of memory. The thread lives only while a snapshot is written. */
struct snapshotter *snapshotter_create(const struct snapshotter_config *config);
/** Is none under way or waiting to be taken back? */
bool snapshotter_idle(const struct snapshotter *s);
/**
 * Begin to write a pinned snapshot. @return false when one is under way or no thread can be had;
 * nothing taken over.
 */
bool snapshotter_begin(struct snapshotter *s, struct tree_snapshot *snapshot, size_t purge_keep);
/**
 * The snapshot that was written, for tree_snapshot_end(), and its result; NULL while none is done.
 */
struct tree_snapshot *snapshotter_done(struct snapshotter *s, int *err, uint32_t *took_ms);
bool snapshotter_has_done(struct snapshotter *s);
/** Write now, in this thread (start-up). @return PERSIST_* */
int snapshotter_write(struct snapshotter *s, struct tree_snapshot *snapshot);
/** Cancel and wait. A snapshot that was under way is handed back (may be NULL). */
struct tree_snapshot *snapshotter_destroy(struct snapshotter *s);

#endif
