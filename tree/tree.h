/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The znode tree with ZooKeeper's rules: check a request, make it a txn, apply a txn, read at a
 * zxid.
 *
 *   data core --read--> tree_get(key, V)                              lock-free, by version
 *   control --write---> tree_prepare(request, z) -> log entry, answer   newest state contains it
 *   replay ---txn-----> tree_apply(header, body)                      same primitives, no checks
 *
 * What is in which file: store (versions, txns, undo), index, children, acl, auth: the data
 * structure. prepare (request checks, semantics.md section 4), apply (disk-formats.md section 4),
 * path (section 5), quota (15), sessions (13: table and ephemerals), reap (14), digest (17): the
 * rules.
 *
 * Writer functions: control core only. Reader functions: any core inside a read-side critical
 * section.
 */
#ifndef SENGI_TREE_TREE_H
#define SENGI_TREE_TREE_H

#include "client/wire/buffer.h"
#include "client/wire/request.h"
#include "client/wire/txn.h"
#include "tree/store.h"

struct tree;

struct tree_config {
    struct store_config store;
    /* largest log entry that may be made (G5); PERSIST_ENTRY_BYTES_MAX */
    uint32_t entry_bytes_max;
    bool skip_acl;
    bool extended_types; /* TTL nodes */
    bool enforce_quota;
    bool reconfig_enabled;
    bool digest_enabled; /* digests in txns */
    /* Log a create2 inside a multi as type 15. Off: as type 1, which ZooKeeper 3.8.0 and 3.8.1 can
     * apply too; the tree is the same, only the replies of Java followers differ (disk-formats.md
     * section 3.4). */
    bool multi_create2;
};

/**
 * A tree with nothing but the root. Load into it before use, a new database too: tree_load_begin(t,
 * 0), tree_load_end(), tree_load_finish() make the special znodes. NULL: out of memory.
 */
struct tree *tree_create(const struct tree_config *config);
void tree_destroy(struct tree *t);
struct store *tree_store(struct tree *t);

/* --- reading --- */

static inline const struct version *tree_get(struct store *s, struct tree_key key, zxid_t visible)
{
    return version_at(index_find(store_index(s), key), visible);
}

/* --- writing --- */

/** A write as it reaches the writer. Borrowed during the call. */
struct tree_request {
    session_id_t session;
    int32_t cxid;
    const struct opcode_info *op; /* a CLASS_WRITE row, CREATE_SESSION or DELETE_CONTAINER */
    struct bytes body;            /* the request record; for CREATE_SESSION: int timeout */
    const struct auth_set *auth;  /* NULL: the server itself */
    /* the next one; always consumed unless the return value says otherwise */
    zxid_t zxid;
    int64_t time_ms; /* wall clock */
};

struct tree_answer {
    int32_t err;         /* code for the reply header */
    struct buffer *body; /* reply record; empty if none. Caller's */
};

enum tree_verdict {
    /* txn z is pending, its log entry is in `entry` (an error txn for a refused request) */
    TREE_TXN = 0,
    /* answered without a zxid: the body did not decode */
    TREE_NO_TXN = 1,
    TREE_ENOMEM = -1, /* nothing changed */
};

/**
 * Check a write against the newest state, apply it as an invisible txn and encode its log entry
 * (header, body, digest).
 *
 * A request that fails a check still takes its zxid and becomes an error txn, as ZooKeeper does
 * (semantics.md section 2). A txn whose entry would exceed entry_bytes_max is refused with
 * ZK_BADARGUMENTS (error txn); ephemerals are refused before their session's close could exceed it,
 * so a close always fits.
 *
 * The caller has checked that the session is known, not closing and owned by this connection; an
 * ephemeral of no session is refused with -112 all the same.
 *
 * @param entry   Receives the log entry bytes (without crc, length, end mark), appended. Cut back
 *                on an error; a buffer whose size_max leaves no room counts as out of memory.
 * @param answer  body: appended to. A failed multi has err 0 (client-protocol.md section 10).
 */
enum tree_verdict tree_prepare(struct tree *t, const struct tree_request *request,
                               struct buffer *entry, struct tree_answer *answer);

/**
 * Apply a logged txn (replay, followers): pending afterwards; between tree_load_begin and
 * tree_load_finish committed and visible at once. Results other than OK (expected on fuzzy
 * snapshots) are ignored and counted.
 *
 * @param body  Behind the header; a digest at its end is not looked at: compare tree_digest() with
 *              it afterwards.
 * @return 0; ZK_MARSHALLINGERROR type unknown, body malformed, a path that no server could have
 *         logged, or zxid not above tree_newest_zxid(): the caller refuses to go on. TREE_ENOMEM.
 *         On an error nothing changed.
 */
int tree_apply(struct tree *t, const struct txn_header *header, struct bytes body);

/** Commit, rollback, retire, show, pin: store.h on tree_store(t); these wrap it and keep sessions
 * and quotas in step. */
struct tree_txn *tree_commit(struct tree *t, zxid_t upto);
void tree_rollback(struct tree *t, zxid_t keep);

/** Last zxid prepared or applied, pending included. */
zxid_t tree_newest_zxid(const struct tree *t);

/* --- sessions as the txns know them --- */

struct tree_session {
    session_id_t id;
    int32_t timeout_ms;
};
/** Newest state. */
bool tree_session_find(const struct tree *t, session_id_t id, int32_t *timeout_ms);
uint32_t tree_session_count(const struct tree *t);
/** Copy up to `max` sessions in any order; @return number copied. For snapshots and start-up. */
uint32_t tree_sessions_copy(const struct tree *t, struct tree_session *out, uint32_t max);
/** vector<ustring> of the session's ephemerals below a prefix (getEphemerals; "" or "/" = all),
 * newest state. */
void tree_ephemerals_write(const struct tree *t, session_id_t session, struct bytes prefix,
                           struct buffer *out);
/** Sessions that own ephemerals, for `dump`: calls back with each (session, path). */
void tree_ephemerals_each(const struct tree *t,
                          void (*each)(void *ctx, session_id_t session, struct bytes path),
                          void *ctx);

/**
 * Containers and TTL znodes due for removal at now_ms: appends up to `max` paths as ustrings to
 * `out` (semantics.md section 14). Looks at no more than REAP_SCAN_MAX of each kind and goes on
 * where it stopped.
 *
 * @param never_used_ms_max znode.container.maxNeverUsedIntervalMs, 0 = off.
 * @return number of paths.
 */
#define REAP_SCAN_MAX 65536u
uint32_t tree_reap_candidates(struct tree *t, int64_t now_ms, int64_t never_used_ms_max,
                              uint32_t max, struct buffer *out);

/* --- loading --- */

int tree_load_begin(struct tree *t, zxid_t zxid);
int tree_load_session(struct tree *t, session_id_t id, int32_t timeout_ms);
/** @param wire_vector whole vector<ACL>. @return 0; ZK_MARSHALLINGERROR malformed; TREE_ENOMEM. */
int tree_load_acl(struct tree *t, int64_t key, struct bytes wire_vector);
/**
 * Path "" is the root. @return 0; ZK_NONODE parent missing; ZK_NODEEXISTS loaded before;
 * ZK_BADARGUMENTS no valid path; TREE_ENOMEM. An ACL key that the table lacks (ZOOKEEPER-4846) lets
 * nobody but super in, until a replayed txn sets it.
 */
int tree_load_node(struct tree *t, struct bytes path, struct bytes data, int64_t acl_key,
                   const struct stat_persisted *stat);
/** After the last node, before the first txn: special znodes made if missing, quota usage
 * counted. */
int tree_load_end(struct tree *t);
/** After the last txn: readers may come. See tree_orphans_copy(). @return 0. */
int tree_load_finish(struct tree *t);

/** Owners of ephemerals that are no sessions (a fuzzy snapshot can leave some): after loading,
 * prepare a closeSession for each before serving. @return number copied. */
uint32_t tree_orphans_copy(const struct tree *t, session_id_t *out, uint32_t max);
/** How many results other than OK tree_apply met. */
uint64_t tree_apply_ignored(const struct tree *t);

/** Digest of the newest state. */
uint64_t tree_digest(const struct tree *t);

/* --- snapshot source at a pinned zxid --- */

struct tree_snapshot; /* sessions and ACL ids copied at pin time, nodes walked concurrently */
/** Pin the visible state. Writer thread. The result may be walked by one other thread. NULL: out of
 * memory. */
struct tree_snapshot *tree_snapshot_begin(struct tree *t);
zxid_t tree_snapshot_zxid(const struct tree_snapshot *s);
uint64_t tree_snapshot_digest(const struct tree_snapshot *s);
uint32_t tree_snapshot_session_count(const struct tree_snapshot *s);
const struct tree_session *tree_snapshot_sessions(const struct tree_snapshot *s);
uint32_t tree_snapshot_acl_count(const struct tree_snapshot *s);
/** i-th ACL list: its key in the snapshot file (> 0) and its wire vector. */
struct bytes tree_snapshot_acl(const struct tree_snapshot *s, uint32_t i, int64_t *key);
/** Next node, root first with path "": false at the end or when memory ran out. Borrowed until the
 * next call. */
bool tree_snapshot_next(struct tree_snapshot *s, struct bytes *path, struct bytes *data,
                        int64_t *acl_key, struct stat_persisted *stat);
/** @return 0; TREE_ENOMEM: the walk ended early and the snapshot is not complete. */
int tree_snapshot_error(const struct tree_snapshot *s);
/** Unpin and free. Writer thread, after the walking thread is done with it. */
void tree_snapshot_end(struct tree *t, struct tree_snapshot **s);

#endif
