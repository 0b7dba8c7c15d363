/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "persist/purge.h"

#include "persist/snapshot.h"

/* The zxid of the oldest of the newest `keep` snapshots that read back; false when none does. */
static bool oldest_kept(struct storage s, const struct directory *d,
                        const struct directory_list *snapshots, size_t keep, zxid_t *zxid,
                        struct purge_report *report)
{
    char why[256];
    size_t good = 0;
    for (size_t i = snapshots->count; i-- > 0 && good < keep;) {
        const char *name = snapshots->entries[i].name;
        if (snapshot_plausible(s, d->snap, name) &&
            snapshot_read(s, d->snap, name, NULL, NULL, why, sizeof why) == PERSIST_OK) {
            *zxid = snapshots->entries[i].zxid;
            good++;
        } else {
            report->snapshots_bad++;
        }
    }
    return good > 0;
}

/* The removal of one file; the first error is kept, the others are tried all the same. */
static void file_remove(struct storage s, const char *dir, const char *name, size_t *removed,
                        int *error)
{
    char path[STORAGE_PATH_BYTES_MAX];
    int rc = storage_path(path, dir, name);
    if (!rc)
        rc = s.ops->unlink(s.ctx, path);
    if (!rc)
        ++*removed;
    else if (rc != PERSIST_ENOENT && !*error)
        *error = rc;
}

static int logs_purge(struct storage s, const char *dir, zxid_t zxid, size_t *removed)
{
    struct directory_list logs;
    int error = PERSIST_OK, rc = directory_list_logs(s, dir, &logs);
    if (rc)
        return rc;
    /* The log that holds zxid + 1 may begin at or before zxid: the greatest such name stays. */
    for (size_t i = 0; i + 1 < logs.count; i++)
        if (logs.entries[i].zxid < zxid && logs.entries[i + 1].zxid <= zxid)
            file_remove(s, dir, logs.entries[i].name, removed, &error);
    directory_list_free(&logs);
    return error;
}

int purge_run(struct storage s, const struct directory *d, size_t keep, struct purge_report *report)
{
    struct directory_list snapshots;
    zxid_t zxid = 0;
    *report = (struct purge_report){0, 0, 0};
    int error = PERSIST_OK, rc = directory_list_snapshots(s, d->snap, &snapshots);
    if (rc)
        return rc;
    if (keep < PURGE_KEEP_MIN)
        keep = PURGE_KEEP_MIN;
    if (oldest_kept(s, d, &snapshots, keep, &zxid, report)) {
        /* Logs first: a snapshot without logs behind it is old, a log without a snapshot is
         * useless. */
        rc = logs_purge(s, d->log, zxid, &report->logs_removed);
        for (size_t i = 0; i < snapshots.count && snapshots.entries[i].zxid < zxid; i++)
            file_remove(s, d->snap, snapshots.entries[i].name, &report->snapshots_removed, &error);
    }
    directory_list_free(&snapshots);
    return rc ? rc : error;
}
