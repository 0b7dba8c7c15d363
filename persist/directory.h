/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The data directory: file names and the rules about what may lie where (disk-formats.md section
 * 2).
 *
 *      <dataDir>/version-2/     snapshot.<hex>[.gz|.snappy]  currentEpoch  acceptedEpoch
 *      <dataLogDir>/version-2/  log.<hex>  acknowledged
 *
 * `acknowledged` is Sengi's own; ZooKeeper ignores unknown names. Any thread; all calls may block.
 */
#ifndef SENGI_PERSIST_DIRECTORY_H
#define SENGI_PERSIST_DIRECTORY_H

#include "persist/storage.h"

/** "snapshot." + 16 digits + ".snappy" and some. */
#define DIRECTORY_NAME_BYTES_MAX 64

enum snapshot_compression { SNAPSHOT_PLAIN, SNAPSHOT_GZ, SNAPSHOT_SNAPPY };

/** The two version-2 directories of a server; equal strings when there is no dataLogDir. */
struct directory {
    char snap[STORAGE_PATH_BYTES_MAX];
    char log[STORAGE_PATH_BYTES_MAX];
    char initialize[STORAGE_PATH_BYTES_MAX]; /* <dataLogDir>/initialize (section 2.3) */
};

/**
 * Fill *d from the configured directories, create them when allowed, refuse a mixed-up pair.
 *
 * @param data_dir      dataDir of zoo.cfg.
 * @param data_log_dir  dataLogDir, or NULL when not configured.
 * @param autocreate    zookeeper.datadir.autocreate (default true).
 * @param why           why[why_bytes]: the reason in words on error; "" otherwise.
 * @return 0; PERSIST_EREFUSED missing and not to be created, snapshots in the log directory or logs
 *         in the snapshot directory, path too long; or a storage error.
 */
int directory_open(struct directory *d, struct storage s, const char *data_dir,
                   const char *data_log_dir, bool autocreate, char *why, size_t why_bytes);

/** Name of the log whose first txn has this zxid: "log." and lower-case hex. */
void directory_log_name(char name[DIRECTORY_NAME_BYTES_MAX], zxid_t first_zxid);
void directory_snapshot_name(char name[DIRECTORY_NAME_BYTES_MAX], zxid_t zxid,
                             enum snapshot_compression compression);

/** Java's reading of a name: part 1 after the prefix in hex, other parts ignored. False: not such a
 * name. */
bool directory_log_parse(const char *name, zxid_t *first_zxid);
bool directory_snapshot_parse(const char *name, zxid_t *zxid,
                              enum snapshot_compression *compression);

struct directory_entry {
    zxid_t zxid;
    char name[DIRECTORY_NAME_BYTES_MAX];
};

/** Owned by the caller; free with directory_list_free(). Ascending by zxid. */
struct directory_list {
    struct directory_entry *entries;
    size_t count;
};

/** All logs, or all snapshots, of one version-2 directory. 0 or a negative PERSIST_*; on error *out
 * is empty. */
int directory_list_logs(struct storage s, const char *dir, struct directory_list *out);
int directory_list_snapshots(struct storage s, const char *dir, struct directory_list *out);
void directory_list_free(struct directory_list *list);

#endif
