/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "persist/storage.h"

#include <stdio.h>

#include "client/wire/check.h"

const char *persist_error_text(int code)
{
    switch (code) {
#define X(name, value, text)                                                                       \
    case value:                                                                                    \
        return text;
        PERSIST_ERRORS(X)
#undef X
    default:
        return "unknown storage error";
    }
}

int storage_write(struct storage s, int file, const void *data, size_t size, uint64_t offset)
{
    const uint8_t *p = data;
    while (size > 0) {
        int64_t n = s.ops->pwrite(s.ctx, file, p, size, offset);
        if (n < 0)
            return (int)n;
        CHECK(n > 0 && (uint64_t)n <= size);
        p += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return PERSIST_OK;
}

int storage_read(struct storage s, int file, void *data, size_t size, uint64_t offset)
{
    int64_t n = s.ops->pread(s.ctx, file, data, size, offset);
    if (n < 0)
        return (int)n;
    CHECK((uint64_t)n <= size);
    return (size_t)n == size ? PERSIST_OK : PERSIST_EDAMAGE;
}

int storage_path(char *path, const char *dir, const char *name)
{
    int n = snprintf(path, STORAGE_PATH_BYTES_MAX, "%s/%s", dir, name);
    return n > 0 && n < STORAGE_PATH_BYTES_MAX ? PERSIST_OK : PERSIST_EREFUSED;
}

static int write_and_sync(struct storage s, const char *path, const void *data, size_t size)
{
    int file = s.ops->open(s.ctx, path, STORAGE_CREATE);
    if (file < 0)
        return file;
    int rc = storage_write(s, file, data, size, 0);
    if (!rc)
        rc = s.ops->sync(s.ctx, file);
    s.ops->close(s.ctx, file);
    return rc;
}

int storage_replace(struct storage s, const char *dir, const char *name, const char *tmp_name,
                    const void *data, size_t size)
{
    char path[STORAGE_PATH_BYTES_MAX], tmp[STORAGE_PATH_BYTES_MAX];
    if (storage_path(path, dir, name) || storage_path(tmp, dir, tmp_name))
        return PERSIST_EREFUSED;
    int rc = write_and_sync(s, tmp, data, size);
    if (!rc)
        rc = s.ops->rename(s.ctx, tmp, path);
    if (rc) {
        (void)s.ops->unlink(s.ctx, tmp); /* best effort: the error is already on its way */
        return rc;
    }
    return s.ops->sync_dir(s.ctx, dir);
}

struct dir_bytes {
    struct storage s;
    const char *dir;
    uint64_t sum;
};

static int dir_bytes_add(void *arg, const char *name)
{
    struct dir_bytes *d = arg;
    char path[STORAGE_PATH_BYTES_MAX];
    uint64_t size = 0;
    if (storage_path(path, d->dir, name))
        return PERSIST_OK;
    int file = d->s.ops->open(d->s.ctx, path, STORAGE_READ);
    if (file < 0)
        return PERSIST_OK; /* gone meanwhile, or not ours to read: not counted */
    if (d->s.ops->size(d->s.ctx, file, &size) == PERSIST_OK)
        d->sum += size;
    d->s.ops->close(d->s.ctx, file);
    return PERSIST_OK;
}

int storage_dir_bytes(struct storage s, const char *dir, uint64_t *bytes)
{
    struct dir_bytes d = {s, dir, 0};
    int rc = s.ops->list(s.ctx, dir, dir_bytes_add, &d);
    *bytes = d.sum;
    return rc;
}
