/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Snapshot files: ZooKeeper's own snapshot.<hex> (disk-formats.md section 5).
 *
 *      | header | sessions | ACL table | nodes | seal | digest | seal | last zxid | seal |
 *
 * Writer: pulls from a source, so that it streams with one fixed buffer whatever the size of the
 * tree. Reader: pushes into a sink, memory bounded by the largest node.
 *
 * Invariants
 *  1. A snapshot.* name appears only for a complete, synced file (temporary name
 * `tmp-snapshot.<hex>`).
 *  2. One running Adler-32 (zlib) over the uncompressed bytes, never reset.
 *  3. No node is written that Java could not read (PERSIST_ENTRY_BYTES_MAX per field).
 *
 * Context: a snapshot thread for the writer, the start-up thread for the reader; both may block.
 */
#ifndef SENGI_PERSIST_SNAPSHOT_H
#define SENGI_PERSIST_SNAPSHOT_H

#include <stdatomic.h>

#include "client/wire/txn.h"
#include "persist/directory.h"
#include "persist/storage.h"

/** ACL key of a node with world:anyone:31; never in the table (section 5.4). */
#define SNAPSHOT_ACL_OPEN (-1)

struct snapshot_node {
    struct bytes path; /* "" for the root, else from "/" on */
    struct bytes data; /* may be null */
    int64_t acl_key;   /* SNAPSHOT_ACL_OPEN or a key of the ACL table */
    struct stat_persisted stat;
};

/** Digest of the tree as of a zxid (section 5.6). */
struct snapshot_digest {
    bool known; /* false: written as zxid 0, digest 0, which readers ignore */
    zxid_t zxid;
    uint64_t tree;
};

/** Where the writer gets its parts from, in this order. Everything handed out stays valid until the
 * next call. */
struct snapshot_source {
    void *ctx;
    int32_t session_count; /* how many next_session() will give, exactly */
    int32_t acl_count;     /* how many next_acl() will give, exactly */
    void (*next_session)(void *ctx, session_id_t *id, int32_t *timeout_ms);
    /** key: positive and distinct; acl->raw as in txn.h, count >= 0. */
    void (*next_acl)(void *ctx, int64_t *key, struct txn_acl *acl);
    /** False at the end. The root first, every parent before its children. */
    bool (*next_node)(void *ctx, struct snapshot_node *node);
    /** Asked once, behind the last node. */
    struct snapshot_digest (*digest)(void *ctx);
};

struct snapshot_options {
    enum snapshot_compression
        compression;           /* SNAPSHOT_PLAIN or SNAPSHOT_GZ; else PERSIST_EREFUSED */
    bool no_last_zxid;         /* zookeeper.serializeLastProcessedZxid.enabled=false */
    const atomic_bool *cancel; /* looked at with each node; may be NULL */
};

/** What was written, for metrics. */
struct snapshot_result {
    uint64_t bytes, nodes;
    char name[DIRECTORY_NAME_BYTES_MAX];
};

/**
 * Write snapshot.<zxid> into dir and make it durable under its name.
 *
 * @param zxid     Every effect up to it is in the source, and no effect beyond it is relied upon.
 * @param options  NULL: plain, with last zxid.
 * @param result   May be NULL.
 * @return 0; PERSIST_ECANCELLED; PERSIST_ETOOBIG a field that Java could not read; PERSIST_ENOMEM;
 *         storage errors. On error nothing named snapshot.* appeared and the temporary is removed
 *         where the storage lets us.
 */
int snapshot_write(struct storage s, const char *dir, zxid_t zxid,
                   const struct snapshot_source *source, const struct snapshot_options *options,
                   struct snapshot_result *result);

/**
 * Where the reader puts its parts; all borrowed until return.
 *
 * Each returns 0; PERSIST_EDAMAGE: "this file cannot be right" (say, a node without its parent);
 * any other negative PERSIST_* ends the whole recovery.
 */
struct snapshot_sink {
    void *ctx;
    /** Before the first part; zxid from the file's name. May be NULL. */
    int (*begin)(void *ctx, zxid_t zxid);
    int (*session)(void *ctx, session_id_t id, int32_t timeout_ms);
    /** key as in the file: distinct positive numbers; nodes refer to it. */
    int (*acl)(void *ctx, int64_t key, const struct txn_acl *acl);
    int (*node)(void *ctx, const struct snapshot_node *node);
    /** zxid from the file's name. All checksums were good. */
    int (*end)(void *ctx, zxid_t zxid, const struct snapshot_digest *digest);
};

struct snapshot_counts {
    uint64_t sessions, acls, nodes;
};

/**
 * Read one snapshot file into a sink.
 *
 * @param sink  NULL: verify only.
 * @param why   why[why_bytes]: reason and place in words on error.
 * @return 0; PERSIST_EDAMAGE; PERSIST_EREFUSED snappy; what the sink returned; storage errors.
 */
int snapshot_read(struct storage s, const char *dir, const char *name,
                  const struct snapshot_sink *sink, struct snapshot_counts *counts, char *why,
                  size_t why_bytes);

/** Java's cheap test whether a file may be a complete snapshot (section 5.7). False also on errors.
 */
bool snapshot_plausible(struct storage s, const char *dir, const char *name);

#endif
