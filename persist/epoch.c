/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "persist/epoch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"

#define CURRENT "currentEpoch"
#define ACCEPTED "acceptedEpoch"
#define TMP_SUFFIX ".tmp"
/* Longest 64-bit decimal with sign, and room to see that a file is longer. */
#define EPOCH_TEXT_BYTES 64

static bool epoch_parse(const char *text, int64_t *out)
{
    char *end;
    size_t n = strcspn(text, "\r\n");
    if (n == 0 || n > 20 || strspn(text, "+-0123456789") != n)
        return false;
    long long v = strtoll(text, &end, 10);
    *out = v;
    return end == text + n && v >= 0 && v <= INT32_MAX;
}

/* PERSIST_EREFUSED when the file does not hold one number. */
static int epoch_read(struct storage s, const char *dir, const char *name, int64_t *out)
{
    char path[STORAGE_PATH_BYTES_MAX], text[EPOCH_TEXT_BYTES];
    if (storage_path(path, dir, name))
        return PERSIST_EREFUSED;
    int file = s.ops->open(s.ctx, path, STORAGE_READ);
    if (file < 0)
        return file;
    int64_t n = s.ops->pread(s.ctx, file, text, sizeof text - 1, 0);
    s.ops->close(s.ctx, file);
    if (n < 0)
        return (int)n;
    text[n] = 0;
    return epoch_parse(text, out) ? PERSIST_OK : PERSIST_EREFUSED;
}

static int epoch_write(struct storage s, const char *dir, const char *name, int64_t epoch)
{
    char text[EPOCH_TEXT_BYTES], tmp[EPOCH_TEXT_BYTES];
    CHECK(epoch >= 0 && epoch <= INT32_MAX);
    int n = snprintf(text, sizeof text, "%" PRId64, epoch); /* no newline, as Java */
    snprintf(tmp, sizeof tmp, "%s" TMP_SUFFIX, name);
    return storage_replace(s, dir, name, tmp, text, (size_t)n);
}

int epoch_write_current(struct storage s, const char *snap_dir, int64_t epoch)
{
    return epoch_write(s, snap_dir, CURRENT, epoch);
}

int epoch_write_accepted(struct storage s, const char *snap_dir, int64_t epoch)
{
    return epoch_write(s, snap_dir, ACCEPTED, epoch);
}

static int read_or_create(struct storage s, const char *dir, const char *name, int64_t fallback,
                          int64_t *out, char *why, size_t why_bytes)
{
    int rc = epoch_read(s, dir, name, out);
    if (rc == PERSIST_ENOENT) {
        *out = fallback;
        rc = epoch_write(s, dir, name, fallback);
    }
    if (rc == PERSIST_EREFUSED)
        snprintf(why, why_bytes, "%s/%s does not hold one decimal number", dir, name);
    else if (rc)
        snprintf(why, why_bytes, "%s/%s: %s", dir, name, persist_error_text(rc));
    return rc;
}

/* The log is ahead of currentEpoch: QuorumPeer.loadDataBase takes the half-finished update. */
static int current_from_tmp(struct storage s, const char *dir, int64_t of_zxid, int64_t *current,
                            char *why, size_t why_bytes)
{
    int64_t tmp;
    int rc = epoch_read(s, dir, CURRENT TMP_SUFFIX, &tmp);
    if (rc == PERSIST_OK && tmp >= of_zxid) {
        *current = tmp;
        return epoch_write_current(s, dir, tmp);
    }
    snprintf(why, why_bytes,
             "The current epoch, %" PRId64 ", is older than the last zxid's epoch, %" PRId64
             " (%s/" CURRENT "). Restore the file, or let this server rejoin with an empty dataDir",
             *current, of_zxid, dir);
    return PERSIST_EREFUSED;
}

int epoch_load(struct storage s, const char *snap_dir, zxid_t last_zxid, struct epoch_pair *out,
               char *why, size_t why_bytes)
{
    int64_t of_zxid = last_zxid < 0 ? 0 : last_zxid >> 32;
    if (why_bytes)
        why[0] = 0;
    int rc = read_or_create(s, snap_dir, CURRENT, of_zxid, &out->current, why, why_bytes);
    if (!rc && of_zxid > out->current)
        rc = current_from_tmp(s, snap_dir, of_zxid, &out->current, why, why_bytes);
    if (!rc)
        rc = read_or_create(s, snap_dir, ACCEPTED, of_zxid, &out->accepted, why, why_bytes);
    if (!rc && out->accepted < out->current) {
        snprintf(why, why_bytes,
                 "The accepted epoch, %" PRId64 " is less than the current epoch, %" PRId64
                 " (%s/" ACCEPTED ")",
                 out->accepted, out->current, snap_dir);
        rc = PERSIST_EREFUSED;
    }
    return rc;
}
