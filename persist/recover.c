/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "persist/recover.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"
#include "persist/acknowledged.h"
#include "persist/logfile.h"
#include "persist/txnlog.h"

/* Put before the name of a log that holds something but no header. */
#define SET_ASIDE_PREFIX "damaged-"
#define TMP_PREFIX "tmp-"

/* Where reading of a log file ended without a proof that this is its end. */
struct stop {
    bool open; /* not yet explained by the txn that came next */
    size_t log;
    uint64_t offset;
    enum logfile_state state;
    const char *reason;
    struct logfile_later later;
};

/* What becomes of a log file once recovery has succeeded. */
enum fate { FATE_KEEP, FATE_REMOVE, FATE_SET_ASIDE };

struct recovery {
    struct storage s;
    const struct directory *d;
    const struct recover_options *options;
    const struct recover_sink *sink;
    struct recover_report *report;

    struct directory_list snapshots, logs;
    bool has_claim;
    struct acknowledged_claim claim;
    char snapshot_name[DIRECTORY_NAME_BYTES_MAX];      /* the one loaded, or "" */
    char snapshot_rejected[RECOVER_REFUSAL_BYTES / 2]; /* why the newest was not */

    zxid_t last;      /* snapshot, then the txn replayed last */
    size_t first_log; /* logs before it are not needed */
    struct stop stop; /* the earliest still unexplained one with data behind it, else the last */
    enum fate *fates; /* one per log */
};

static void say(struct recovery *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int refuse(struct recovery *r, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Append a line to the report; lines that do not fit are dropped whole. */
static void say(struct recovery *r, const char *format, ...)
{
    char *text = r->report->text;
    size_t used = strlen(text), room = sizeof r->report->text - used;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text + used, room, format, args);
    va_end(args);
    if (n < 0 || (size_t)n + 1 >= room) {
        text[used] = 0;
        return;
    }
    text[used + (size_t)n] = '\n';
    text[used + (size_t)n + 1] = 0;
}

static int refuse(struct recovery *r, int rc, const char *format, ...)
{
    char *text = r->report->refusal;
    const size_t room = sizeof r->report->refusal;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, room, format, args); /* cut at worst */
    va_end(args);
    size_t used = strlen(text);
    if (r->snapshot_rejected[0])
        (void)snprintf(text + used, room - used, "\nNote: the newest snapshot was not used: %s",
                       r->snapshot_rejected);
    return rc;
}

static int storage_trouble(struct recovery *r, int rc, const char *dir, const char *name)
{
    return refuse(r, rc, "%s/%s: %s", dir, name, persist_error_text(rc));
}

/* Damage at a place of a log. Nothing on disk is touched, so every way stays open. */
static int refuse_log(struct recovery *r, size_t log, uint64_t offset, const char *reason)
{
    const char *name = r->logs.entries[log].name;
    return refuse(
        r, PERSIST_EDAMAGE,
        "%s/%s:%" PRIu64 ": %s. The last good transaction is 0x%" PRIx64 ". Nothing was changed.\n"
        "Ways out: in an ensemble, move %s and the snapshots away and start: the server "
        "fetches everything from its peers. Alone, restore the directory from a backup; or "
        "give up what lies behind that place: truncate -s %" PRIu64
        " %s/%s, move later log files and %s/" ACKNOWLEDGED_NAME " away, start again.",
        r->d->log, name, offset, reason, (uint64_t)r->last, r->d->log, offset, r->d->log, name,
        r->d->log);
}

/* ---- snapshot ---- */

static int snapshot_feed(struct recovery *r, const char *name, struct snapshot_counts *counts)
{
    char why[sizeof r->snapshot_rejected] = "";
    int rc = PERSIST_OK;
    if (r->sink->reset)
        r->sink->reset(r->sink->ctx);
    else
        rc = snapshot_read(r->s, r->d->snap, name, NULL, counts, why, sizeof why);
    if (!rc)
        rc = snapshot_read(r->s, r->d->snap, name, &r->sink->snapshot, counts, why, sizeof why);
    if (!rc)
        return PERSIST_OK;
    say(r, "snapshot not used: %s", why);
    if (!r->snapshot_rejected[0])
        memcpy(r->snapshot_rejected, why, sizeof why);
    return rc;
}

/* Newest first. An older one plus a log without gap gives the same tree, so any unreadable one may
 * be passed over; what the log then lacks shows as a gap. */
static int snapshot_load(struct recovery *r)
{
    struct recover_report *report = r->report;
    for (size_t i = r->snapshots.count; i-- > 0;) {
        const struct directory_entry *e = &r->snapshots.entries[i];
        struct snapshot_counts counts = {0, 0, 0};
        int rc = snapshot_feed(r, e->name, &counts);
        if (rc == PERSIST_EDAMAGE || rc == PERSIST_EREFUSED || rc == PERSIST_EIO) {
            report->snapshots_rejected++;
            continue;
        }
        if (rc)
            return storage_trouble(r, rc, r->d->snap, e->name);
        report->has_snapshot = true;
        report->snapshot_zxid = r->last = e->zxid;
        report->sessions = counts.sessions;
        report->acls = counts.acls;
        report->nodes = counts.nodes;
        memcpy(r->snapshot_name, e->name, sizeof e->name);
        say(r, "snapshot %s/%s: %" PRIu64 " nodes, %" PRIu64 " sessions", r->d->snap, e->name,
            counts.nodes, counts.sessions);
        return PERSIST_OK;
    }
    if (r->sink->reset)
        r->sink->reset(r->sink->ctx);
    return PERSIST_OK;
}

/* Does any log hold a record, intact or not? */
static int logs_hold_txns(struct recovery *r, bool *yes)
{
    *yes = false;
    for (size_t i = 0; i < r->logs.count && !*yes; i++) {
        struct logfile f;
        struct logfile_later later = {.found = false};
        enum logfile_state state;
        int rc = logfile_open(&f, r->s, r->d->log, r->logs.entries[i].name);
        if (rc)
            return storage_trouble(r, rc, r->d->log, r->logs.entries[i].name);
        rc = logfile_next(&f, &state);
        if (!rc && state == LOGFILE_HEADLESS)
            rc = logfile_find_later(&f, 0, 0, &later);
        *yes = later.found || (state != LOGFILE_HEADLESS && state != LOGFILE_END);
        logfile_close(&f);
        if (rc)
            return storage_trouble(r, rc, r->d->log, r->logs.entries[i].name);
    }
    return PERSIST_OK;
}

/* No snapshot could be loaded: an empty database, or a damaged one? (disk-formats.md 2.3, 2.4) */
static int without_snapshot(struct recovery *r)
{
    bool txns;
    int rc = logs_hold_txns(r, &txns);
    if (rc)
        return rc;
    if (r->snapshots.count > 0 && r->snapshots.entries[r->snapshots.count - 1].zxid > 0)
        return refuse(r, PERSIST_EDAMAGE,
                      "%s: none of the %zu snapshots can be loaded. Restore one from a backup, or "
                      "move the directory away to rejoin an ensemble empty",
                      r->d->snap, r->snapshots.count);
    if (txns && !r->options->trust_empty)
        return refuse(
            r, PERSIST_EREFUSED,
            "No snapshot found in %s, but there are log entries in %s: something is "
            "missing. Restore the snapshot, or, if the log is known to be complete, start "
            "once with zookeeper.snapshot.trust.empty=true",
            r->d->snap, r->d->log);
    r->report->created = !txns;
    return PERSIST_OK;
}

/* ---- log ---- */

static const char *log_name(const struct recovery *r, size_t log)
{
    return r->logs.entries[log].name;
}

/* Does the companion's newest claim speak about this file? */
static bool claim_is_of(const struct recovery *r, size_t log)
{
    return r->has_claim && r->claim.file_zxid == r->logs.entries[log].zxid;
}

static bool epoch_begins(zxid_t zxid, zxid_t last)
{
    return zxid >> 32 > last >> 32 && (zxid & 0xffffffff) == 1;
}

/* A leader counts up by one within its epoch and begins each epoch at 1: any other step is a hole.
 */
static int step_check(struct recovery *r, const struct logfile *f, size_t log)
{
    zxid_t zxid = f->txn.header.zxid;
    char reason[256];
    bool epoch = epoch_begins(zxid, r->last);
    bool claim_passed =
        r->has_claim && r->claim.durable_zxid > r->last && r->claim.durable_zxid < zxid;
    if (zxid == r->last + 1 || (epoch && !claim_passed && !(r->stop.open && r->stop.later.found)))
        return PERSIST_OK;
    if (r->stop.open) {
        snprintf(reason, sizeof reason, "%s, and the log goes on only at 0x%" PRIx64 " in %s",
                 r->stop.reason, (uint64_t)zxid, log_name(r, log));
        return refuse_log(r, r->stop.log, r->stop.offset, reason);
    }
    if (zxid <= r->last)
        snprintf(reason, sizeof reason, "transaction 0x%" PRIx64 " stands behind 0x%" PRIx64,
                 (uint64_t)zxid, (uint64_t)r->last);
    else
        snprintf(reason, sizeof reason,
                 "transactions 0x%" PRIx64 " to 0x%" PRIx64
                 " are missing: a log file was removed, or a part of one was overwritten",
                 (uint64_t)(epoch ? r->claim.durable_zxid : r->last + 1), (uint64_t)zxid - 1);
    return refuse_log(r, log, f->record_offset, reason);
}

static void stop_explained(struct recovery *r)
{
    if (r->stop.open && r->stop.state == LOGFILE_BAD)
        say(r, "log %s:%" PRIu64 ": %s; the next file goes on from here", log_name(r, r->stop.log),
            r->stop.offset, r->stop.reason);
    r->stop.open = false;
}

static int record_apply(struct recovery *r, const struct logfile *f, size_t log)
{
    if (f->txn.header.zxid <= r->report->snapshot_zxid && r->report->has_snapshot) {
        r->stop.open = r->stop.open && r->stop.later.found;
        return PERSIST_OK; /* in the snapshot already */
    }
    int rc = step_check(r, f, log);
    if (rc)
        return rc;
    stop_explained(r);
    rc = r->sink->txn(r->sink->ctx, &f->txn, f->entry);
    if (rc)
        return refuse(r, rc, "%s/%s:%" PRIu64 ": transaction 0x%" PRIx64 " cannot be applied: %s",
                      r->d->log, log_name(r, log), f->record_offset, (uint64_t)f->txn.header.zxid,
                      persist_error_text(rc));
    r->last = f->txn.header.zxid;
    r->report->txns++;
    return PERSIST_OK;
}

static void recordless_note(struct recovery *r, size_t log, const struct stop *stop)
{
    bool precious = stop->later.found || (stop->offset == 0 && stop->later.last_nonzero > 0);
    r->fates[log] = precious ? FATE_SET_ASIDE : FATE_REMOVE;
    say(r, "log %s holds no transaction (%s): %s", log_name(r, log), stop->reason,
        r->options->read_only ? "ignored"
        : precious            ? "renamed to " SET_ASIDE_PREFIX "*"
                              : "removed");
}

/* Reading of a file has ended at f->offset. */
static int file_ended(struct recovery *r, struct logfile *f, size_t log, enum logfile_state state)
{
    if (state == LOGFILE_STRANGE) {
        char reason[256];
        snprintf(reason, sizeof reason,
                 "the record is intact, but %s: ZooKeeper cannot read it either", f->reason);
        return refuse_log(r, log, f->offset, reason);
    }
    struct stop stop = {true, log, f->offset, state, f->reason, {.found = false}};
    if (claim_is_of(r, log) && f->offset < r->claim.durable_offset &&
        r->last < r->claim.durable_zxid)
        return refuse_log(r, log, f->offset,
                          "the log ends here, but acknowledged transactions were behind it");
    if (state != LOGFILE_END) {
        int rc = logfile_find_later(f, f->offset ? f->offset + 1 : 0, r->last, &stop.later);
        if (rc)
            return storage_trouble(r, rc, r->d->log, log_name(r, log));
    }
    if (f->offset <= TXNLOG_FILE_HEADER_BYTES)
        recordless_note(r, log, &stop);
    if (!r->stop.open || r->stop.state == LOGFILE_END)
        r->stop = stop;
    return PERSIST_OK;
}

static int file_replay(struct recovery *r, size_t log)
{
    struct logfile f;
    enum logfile_state state = LOGFILE_RECORD;
    int rc = logfile_open(&f, r->s, r->d->log, log_name(r, log));
    if (rc)
        return storage_trouble(r, rc, r->d->log, log_name(r, log));
    r->report->logs++;
    while (!rc) {
        rc = logfile_next(&f, &state);
        if (rc)
            rc = storage_trouble(r, rc, r->d->log, log_name(r, log));
        if (rc || state != LOGFILE_RECORD)
            break;
        rc = record_apply(r, &f, log);
    }
    if (!rc)
        rc = file_ended(r, &f, log, state);
    r->report->last_log_offset = f.offset;
    logfile_close(&f);
    return rc;
}

/* The log ends at a bad place. Were there acknowledged transactions at it or behind it? */
static bool acknowledged_behind(const struct recovery *r)
{
    const struct stop *stop = &r->stop;
    if (!claim_is_of(r, stop->log))
        return stop->later.found;
    CHECK(stop->offset >= r->claim.durable_offset || r->last >= r->claim.durable_zxid);
    /* Inside the batch that was under way. Its sectors may have reached the disk in any order, but
     * nothing lies behind a batch that was not flushed (acknowledged.h, invariant 2). */
    if (stop->offset < r->claim.batch_end)
        return stop->later.last_nonzero > r->claim.batch_end;
    /* Behind it: part of a batch whose own claim never became durable (invariant 3). */
    return !r->claim.chained && stop->later.found;
}

static int damage_refuse(struct recovery *r)
{
    const struct stop *stop = &r->stop;
    char reason[256];
    if (stop->later.found)
        snprintf(reason, sizeof reason,
                 "%s, but a transaction (0x%" PRIx64 ") stands behind it, at %" PRIu64,
                 stop->reason, (uint64_t)stop->later.zxid, stop->later.offset);
    else
        snprintf(reason, sizeof reason, "%s, but there is data behind its batch, at %" PRIu64,
                 stop->reason, r->claim.batch_end);
    return refuse_log(r, stop->log, stop->offset, reason);
}

static int end_check(struct recovery *r)
{
    char reason[256];
    if (r->stop.open && r->stop.state != LOGFILE_END && acknowledged_behind(r))
        return damage_refuse(r);
    if (!r->has_claim || r->claim.durable_zxid <= r->last)
        return PERSIST_OK;
    if (r->stop.open) {
        snprintf(reason, sizeof reason,
                 "the log ends here, but transactions up to 0x%" PRIx64
                 " were acknowledged (" ACKNOWLEDGED_NAME " names log.%" PRIx64 ")",
                 (uint64_t)r->claim.durable_zxid, (uint64_t)r->claim.file_zxid);
        return refuse_log(r, r->stop.log, r->stop.offset, reason);
    }
    return refuse(r, PERSIST_EDAMAGE,
                  "%s/log.%" PRIx64 " is missing: transactions up to 0x%" PRIx64
                  " were acknowledged. Restore it, or move %s/" ACKNOWLEDGED_NAME
                  " away to go on without them",
                  r->d->log, (uint64_t)r->claim.file_zxid, (uint64_t)r->claim.durable_zxid,
                  r->d->log);
}

static int logs_replay(struct recovery *r)
{
    zxid_t from = r->last + 1;
    r->first_log = 0;
    for (size_t i = 0; i < r->logs.count; i++)
        if (r->logs.entries[i].zxid <= from)
            r->first_log = i;
    int rc = PERSIST_OK;
    for (size_t i = r->first_log; i < r->logs.count && !rc; i++)
        rc = file_replay(r, i);
    return rc ? rc : end_check(r);
}

/* ---- leaving a clean directory behind ---- */

static int tail_cut(struct recovery *r, const char *path, uint64_t size)
{
    int file = r->s.ops->open(r->s.ctx, path, STORAGE_WRITE);
    if (file < 0)
        return file;
    int rc = r->s.ops->truncate(r->s.ctx, file, size);
    if (!rc)
        rc = r->s.ops->sync(r->s.ctx, file);
    r->s.ops->close(r->s.ctx, file);
    return rc;
}

/* Files without any record: gone, or out of ZooKeeper's sight when something is in them. */
static int recordless_remove(struct recovery *r)
{
    char path[STORAGE_PATH_BYTES_MAX], aside[STORAGE_PATH_BYTES_MAX];
    char aside_name[DIRECTORY_NAME_BYTES_MAX + sizeof SET_ASIDE_PREFIX];
    int rc = PERSIST_OK;
    for (size_t i = r->first_log; i < r->logs.count && !rc; i++) {
        if (r->fates[i] == FATE_KEEP)
            continue;
        snprintf(aside_name, sizeof aside_name, SET_ASIDE_PREFIX "%s", log_name(r, i));
        if (storage_path(path, r->d->log, log_name(r, i)) ||
            storage_path(aside, r->d->log, aside_name))
            return PERSIST_EREFUSED;
        rc = r->fates[i] == FATE_REMOVE ? r->s.ops->unlink(r->s.ctx, path)
                                        : r->s.ops->rename(r->s.ctx, path, aside);
        r->report->files_removed++;
    }
    return rc;
}

/* The end of the log: cut what was never acknowledged, so that nobody has to judge it again. */
static int tail_repair(struct recovery *r)
{
    const struct stop *stop = &r->stop;
    char path[STORAGE_PATH_BYTES_MAX];
    if (!stop->open || stop->state != LOGFILE_BAD)
        return PERSIST_OK;
    const char *name = log_name(r, stop->log);
    r->report->cut_bytes = stop->later.last_nonzero - stop->offset;
    say(r, "log %s:%" PRIu64 ": %s; %" PRIu64 " bytes from there on were never acknowledged%s: %s",
        name, stop->offset, stop->reason, r->report->cut_bytes,
        r->has_claim ? "" : " as far as can be told",
        r->options->read_only ? "ignored" : "cut off");
    if (r->options->read_only || r->fates[stop->log] != FATE_KEEP)
        return PERSIST_OK;
    if (storage_path(path, r->d->log, name))
        return PERSIST_EREFUSED;
    return tail_cut(r, path, stop->offset);
}

/* What was just read may still be only in the kernel's memory (kill -9 before the flush): nobody
 * may see it before it is durable (etcd 14140). */
static int make_durable(struct recovery *r, const char *dir, const char *name)
{
    char path[STORAGE_PATH_BYTES_MAX];
    if (storage_path(path, dir, name))
        return PERSIST_EREFUSED;
    int file = r->s.ops->open(r->s.ctx, path, STORAGE_WRITE);
    if (file < 0)
        return file;
    int rc = r->s.ops->sync(r->s.ctx, file);
    r->s.ops->close(r->s.ctx, file);
    return rc;
}

struct leftover {
    struct storage s;
    const char *dir;
};

static int leftover_remove(void *arg, const char *name)
{
    const struct leftover *l = arg;
    char path[STORAGE_PATH_BYTES_MAX];
    if (strncmp(name, TMP_PREFIX "log", 7) != 0 && strncmp(name, TMP_PREFIX "snapshot", 12) != 0)
        return PERSIST_OK;
    if (storage_path(path, l->dir, name) == PERSIST_OK)
        (void)l->s.ops->unlink(l->s.ctx, path); /* only space is at stake */
    return PERSIST_OK;
}

static int directory_settle(struct recovery *r)
{
    int rc = tail_repair(r);
    if (r->options->read_only)
        return rc;
    for (size_t i = r->first_log; i < r->logs.count && !rc; i++)
        if (r->fates[i] == FATE_KEEP)
            rc = make_durable(r, r->d->log, log_name(r, i));
    if (!rc)
        rc = recordless_remove(r);
    if (!rc && r->snapshot_name[0])
        rc = make_durable(r, r->d->snap, r->snapshot_name);
    if (!rc)
        rc = r->s.ops->sync_dir(r->s.ctx, r->d->log);
    if (!rc)
        rc = r->s.ops->sync_dir(r->s.ctx, r->d->snap);
    if (rc)
        return refuse(r, rc, "%s: %s", r->d->log, persist_error_text(rc));
    struct leftover l = {r->s, r->d->log};
    (void)r->s.ops->list(r->s.ctx, l.dir, leftover_remove, &l);
    l.dir = r->d->snap;
    (void)r->s.ops->list(r->s.ctx, l.dir, leftover_remove, &l);
    return PERSIST_OK;
}

/* FileTxnSnapLog.restore: the marker counts once. An absent database that nobody vouches for is not
 * an empty one (ZOOKEEPER-3644). */
static int initialize_take(struct recovery *r)
{
    int file = r->s.ops->open(r->s.ctx, r->d->initialize, STORAGE_READ);
    bool there = file >= 0;
    if (there)
        r->s.ops->close(r->s.ctx, file);
    if (there && !r->options->read_only)
        (void)r->s.ops->unlink(r->s.ctx, r->d->initialize); /* at worst it is there next time too */
    if (r->report->created && !there && r->options->no_autocreate) {
        r->report->created = false;
        r->report->last_zxid = -1;
        say(r, "no database, and none may be created (zookeeper.db.autocreate=false)");
    } else if (r->report->created) {
        say(r, "no database: a new one begins");
    }
    return PERSIST_OK;
}

static int recover_all(struct recovery *r)
{
    int rc = snapshot_load(r);
    if (!rc && !r->report->has_snapshot)
        rc = without_snapshot(r);
    if (!rc)
        rc = logs_replay(r);
    if (rc)
        return rc;
    r->report->last_zxid = r->last;
    rc = directory_settle(r);
    if (!rc)
        rc = initialize_take(r);
    if (!rc)
        say(r, "replayed %" PRIu64 " transactions from %" PRIu64 " log files, last zxid 0x%" PRIx64,
            r->report->txns, r->report->logs, (uint64_t)r->last);
    return rc;
}

/* What there is, and what the companion says about it. */
static int directory_read(struct recovery *r)
{
    int rc = directory_list_snapshots(r->s, r->d->snap, &r->snapshots);
    if (rc)
        return refuse(r, rc, "%s: %s", r->d->snap, persist_error_text(rc));
    rc = directory_list_logs(r->s, r->d->log, &r->logs);
    if (!rc) {
        rc = acknowledged_read(r->s, r->d->log, &r->claim);
        r->has_claim = rc == PERSIST_OK;
        if (rc == PERSIST_EDAMAGE)
            say(r, "%s/" ACKNOWLEDGED_NAME " says nothing", r->d->log);
        if (rc == PERSIST_EDAMAGE || rc == PERSIST_ENOENT)
            rc = PERSIST_OK;
    }
    if (rc)
        return refuse(r, rc, "%s: %s", r->d->log, persist_error_text(rc));
    for (size_t i = 0; r->has_claim && r->claim.whole && i < r->logs.count; i++)
        if (claim_is_of(r, i)) { /* it has its name, so its first batch was durable */
            r->claim.durable_offset = r->claim.batch_end;
            r->claim.durable_zxid = r->claim.batch_zxid;
        }
    return PERSIST_OK;
}

int recover_run(struct storage s, const struct directory *d, const struct recover_options *options,
                const struct recover_sink *sink, struct recover_report *report)
{
    static const struct recover_options plain = {false, false, false};
    struct recovery r = {.s = s, .d = d, .options = options ? options : &plain, .sink = sink};
    memset(report, 0, sizeof *report);
    r.report = report;
    int rc = directory_read(&r);
    if (!rc) {
        r.fates = calloc(r.logs.count + 1, sizeof *r.fates);
        rc = r.fates ? recover_all(&r) : refuse(&r, PERSIST_ENOMEM, "out of memory");
    }
    free(r.fates);
    CHECK(rc == PERSIST_OK || report->refusal[0]);
    directory_list_free(&r.snapshots);
    directory_list_free(&r.logs);
    return rc;
}
