/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * From the files to the tree: newest good snapshot, then every txn behind it (disk-formats.md 2.4).
 *
 *      snapshot.S  -->  session* acl* node*  snapshot_end(S)
 *      log.a  log.b  log.c  -->  txn(S+1) txn(S+2) ...
 *
 * Is: iterative, one pass, memory bounded by the largest entry. Is not: the tree; what txns do is
 * the sink's business (errors such as NONODE are normal in a replay and never reported here).
 *
 * The end of the log must be proved, not guessed (hazards.md 2.2). Where reading stops in a file:
 *   next txn continues it (next file, zxid + 1)            end, whatever bytes lie behind
 *   before what `acknowledged` says was durable            damage: refuse
 *   a valid record lies behind the bad place               damage: refuse, unless `acknowledged`
 *                                                          proves that it was never acknowledged
 *   zeros to the end, or end of file                       end
 *   otherwise (torn tail of the newest file)               never acknowledged: cut, and say so
 * A gap in the zxids of one epoch, or zxids that do not rise, is damage. A refusal names file,
 * offset, reason and the way out, and changes nothing on disk.
 *
 * Context: start-up thread, may block.
 */
#ifndef SENGI_PERSIST_RECOVER_H
#define SENGI_PERSIST_RECOVER_H

#include "client/wire/txn.h"
#include "persist/directory.h"
#include "persist/snapshot.h"
#include "persist/storage.h"

#define RECOVER_TEXT_BYTES 8192
#define RECOVER_REFUSAL_BYTES 2048

struct recover_sink {
    /* Called for a snapshot's parts in the order of the file; see snapshot.h. Several snapshots may
     * begin when newer ones are damaged: each begins with reset(). When reset is NULL a snapshot is
     * read twice instead, checksums first. */
    struct snapshot_sink snapshot;
    /** Forget everything received so far. May be NULL. */
    void (*reset)(void *ctx);
    /**
     * One transaction, in order. txn and entry are borrowed until return; entry is the raw bytes as
     * logged (header, body, digest), to be kept for followers.
     * @return 0, or a negative PERSIST_* that ends recovery with that code.
     */
    int (*txn)(void *ctx, const struct txn *txn, struct bytes entry);
    void *ctx; /* of reset and txn; snapshot has its own */
};

struct recover_options {
    bool trust_empty;   /* zookeeper.snapshot.trust.empty: logs without any snapshot are allowed */
    bool read_only;     /* tools: cut nothing, remove nothing, create nothing */
    bool no_autocreate; /* zookeeper.db.autocreate=false */
};

struct recover_report {
    zxid_t last_zxid;     /* of the last txn, or of the snapshot; -1: empty and not to be trusted */
    zxid_t snapshot_zxid; /* from the file name; 0 without one */
    bool has_snapshot;
    bool created; /* nothing was there: a new database. The caller writes snapshot.0 */
    uint64_t sessions, acls, nodes, txns, logs; /* fed to the sink; logs = files opened */
    uint64_t snapshots_rejected;                /* newer ones that could not be loaded */
    uint64_t cut_bytes;                         /* of a torn, never acknowledged tail */
    uint64_t files_removed;                     /* empty or headerless logs */
    uint64_t last_log_offset;                   /* where the newest log file ends */
    char text[RECOVER_TEXT_BYTES];              /* for the server's log, one fact per line */
    char refusal[RECOVER_REFUSAL_BYTES];        /* file, offset, reason, way out; "" if none */
};

/**
 * Recover a directory into the sink.
 *
 * @param report  Always filled in.
 * @return 0; PERSIST_EDAMAGE and PERSIST_EREFUSED with report->refusal, nothing changed on disk
 * (the sink has received a part and must be thrown away); what the sink returned; storage errors.
 */
int recover_run(struct storage s, const struct directory *d, const struct recover_options *options,
                const struct recover_sink *sink, struct recover_report *report);

#endif
