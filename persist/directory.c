/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "persist/directory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/wire/check.h"

#define LOG_PREFIX "log."
#define SNAPSHOT_PREFIX "snapshot."

void directory_log_name(char name[DIRECTORY_NAME_BYTES_MAX], zxid_t first_zxid)
{
    int n = snprintf(name, DIRECTORY_NAME_BYTES_MAX, LOG_PREFIX "%" PRIx64, (uint64_t)first_zxid);
    CHECK(n > 0 && n < DIRECTORY_NAME_BYTES_MAX);
}

void directory_snapshot_name(char name[DIRECTORY_NAME_BYTES_MAX], zxid_t zxid,
                             enum snapshot_compression compression)
{
    static const char *const suffix[] = {"", ".gz", ".snappy"};
    int n = snprintf(name, DIRECTORY_NAME_BYTES_MAX, SNAPSHOT_PREFIX "%" PRIx64 "%s",
                     (uint64_t)zxid, suffix[compression]);
    CHECK(n > 0 && n < DIRECTORY_NAME_BYTES_MAX);
}

/* Hex up to '.' or the end, 1 to 16 digits. Returns the rest, NULL when it is none. */
static const char *hex_parse(const char *p, zxid_t *out)
{
    uint64_t v = 0;
    int digits = 0;
    for (; *p && *p != '.'; p++, digits++) {
        int d = *p >= '0' && *p <= '9'   ? *p - '0'
                : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10
                : *p >= 'A' && *p <= 'F' ? *p - 'A' + 10
                                         : -1;
        if (d < 0 || digits == 16)
            return NULL;
        v = v << 4 | (uint64_t)d;
    }
    *out = (zxid_t)v;
    return digits && *out >= 0 ? p : NULL;
}

bool directory_log_parse(const char *name, zxid_t *first_zxid)
{
    if (strncmp(name, LOG_PREFIX, sizeof LOG_PREFIX - 1) != 0)
        return false;
    return hex_parse(name + sizeof LOG_PREFIX - 1, first_zxid) != NULL;
}

bool directory_snapshot_parse(const char *name, zxid_t *zxid,
                              enum snapshot_compression *compression)
{
    if (strncmp(name, SNAPSHOT_PREFIX, sizeof SNAPSHOT_PREFIX - 1) != 0)
        return false;
    if (!hex_parse(name + sizeof SNAPSHOT_PREFIX - 1, zxid))
        return false;
    const char *last = strrchr(name, '.');
    *compression = strcasecmp(last, ".gz") == 0       ? SNAPSHOT_GZ
                   : strcasecmp(last, ".snappy") == 0 ? SNAPSHOT_SNAPPY
                                                      : SNAPSHOT_PLAIN;
    return true;
}

struct lister {
    struct directory_list *out;
    size_t room;
    bool snapshots;
};

static int list_add(void *arg, const char *name)
{
    struct lister *l = arg;
    zxid_t zxid;
    enum snapshot_compression compression;
    bool ours = l->snapshots ? directory_snapshot_parse(name, &zxid, &compression)
                             : directory_log_parse(name, &zxid);
    if (!ours || strlen(name) >= DIRECTORY_NAME_BYTES_MAX)
        return PERSIST_OK;
    if (l->out->count == l->room) {
        size_t room = l->room ? l->room * 2 : 16;
        struct directory_entry *e = realloc(l->out->entries, room * sizeof *e);
        if (!e)
            return PERSIST_ENOMEM;
        l->out->entries = e;
        l->room = room;
    }
    struct directory_entry *e = &l->out->entries[l->out->count++];
    e->zxid = zxid;
    memcpy(e->name, name, strlen(name) + 1); /* it was parsed: it fits */
    return PERSIST_OK;
}

static int entry_compare(const void *a, const void *b)
{
    const struct directory_entry *x = a, *y = b;
    if (x->zxid != y->zxid)
        return x->zxid < y->zxid ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int list_some(struct storage s, const char *dir, bool snapshots, struct directory_list *out)
{
    *out = (struct directory_list){NULL, 0};
    struct lister l = {out, 0, snapshots};
    int rc = s.ops->list(s.ctx, dir, list_add, &l);
    if (rc) {
        directory_list_free(out);
        return rc;
    }
    if (out->count)
        qsort(out->entries, out->count, sizeof *out->entries, entry_compare);
    return PERSIST_OK;
}

int directory_list_logs(struct storage s, const char *dir, struct directory_list *out)
{
    return list_some(s, dir, false, out);
}

int directory_list_snapshots(struct storage s, const char *dir, struct directory_list *out)
{
    return list_some(s, dir, true, out);
}

void directory_list_free(struct directory_list *list)
{
    free(list->entries);
    *list = (struct directory_list){NULL, 0};
}

static int nothing(void *arg, const char *name)
{
    (void)arg, (void)name;
    return PERSIST_OK;
}

static int version_dir(struct storage s, char *path, const char *base, const char *what,
                       bool autocreate, char *why, size_t why_bytes)
{
    int rc = storage_path(path, base, "version-2");
    if (rc) {
        snprintf(why, why_bytes, "%s is too long", what);
        return rc;
    }
    rc = s.ops->list(s.ctx, path, nothing, NULL);
    if (rc == PERSIST_ENOENT && !autocreate) {
        snprintf(
            why, why_bytes,
            "%s %s is missing and zookeeper.datadir.autocreate is false: create it, or allow it",
            what, path);
        return PERSIST_EREFUSED;
    }
    if (rc == PERSIST_ENOENT) {
        rc = s.ops->make_dir(s.ctx, path);
        if (!rc)
            rc = s.ops->sync_dir(s.ctx, base);
    }
    if (rc)
        snprintf(why, why_bytes, "%s %s: %s", what, path, persist_error_text(rc));
    return rc;
}

struct prefix_search {
    const char *prefix;
    char found[DIRECTORY_NAME_BYTES_MAX];
};

static int prefix_match(void *arg, const char *name)
{
    struct prefix_search *p = arg;
    if (strncmp(name, p->prefix, strlen(p->prefix)) != 0)
        return PERSIST_OK;
    snprintf(p->found, sizeof p->found, "%s", name);
    return 1;
}

/* FileTxnSnapLog.checkLogDir and checkSnapDir: most likely the two settings were swapped. */
static int refuse_mixed(struct storage s, const char *dir, const char *prefix, const char *what,
                        char *why, size_t why_bytes)
{
    struct prefix_search p = {prefix, ""};
    int rc = s.ops->list(s.ctx, dir, prefix_match, &p);
    if (rc == PERSIST_OK)
        return PERSIST_OK;
    if (rc != 1) {
        snprintf(why, why_bytes, "%s: %s", dir, persist_error_text(rc));
        return rc;
    }
    snprintf(why, why_bytes,
             "%s directory has %s files (%s/%s). Check if dataLogDir and dataDir configuration is "
             "correct.",
             what, strcmp(prefix, LOG_PREFIX) == 0 ? "log" : "snapshot", dir, p.found);
    return PERSIST_EREFUSED;
}

int directory_open(struct directory *d, struct storage s, const char *data_dir,
                   const char *data_log_dir, bool autocreate, char *why, size_t why_bytes)
{
    if (why_bytes)
        why[0] = 0;
    if (!data_log_dir)
        data_log_dir = data_dir;
    int rc = version_dir(s, d->log, data_log_dir, "dataLogDir", autocreate, why, why_bytes);
    if (!rc)
        rc = version_dir(s, d->snap, data_dir, "dataDir", autocreate, why, why_bytes);
    if (!rc && (rc = storage_path(d->initialize, data_log_dir, "initialize")) != 0)
        snprintf(why, why_bytes, "dataLogDir is too long");
    if (rc || strcmp(d->log, d->snap) == 0)
        return rc;
    rc = refuse_mixed(s, d->log, SNAPSHOT_PREFIX, "Log", why, why_bytes);
    return rc ? rc : refuse_mixed(s, d->snap, LOG_PREFIX, "Snapshot", why, why_bytes);
}
