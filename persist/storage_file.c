/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The kernel's file system behind the table of storage operations. No state of its own.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "client/wire/check.h"
#include "persist/storage.h"

/* Snapshots and logs hold everybody's data: for the server's user only. */
#define FILE_MODE 0600
#define DIR_MODE 0750
/* Of zeros in memory; one call writes FILL_VECTORS times as much. */
#define FILL_BYTES 65536
#define FILL_VECTORS 64

static int error_of(int e)
{
    switch (e) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return PERSIST_ENOSPC;
    case ENOENT:
    case ENOTDIR:
        return PERSIST_ENOENT;
    case EACCES:
    case EPERM:
    case EROFS:
        return PERSIST_EACCES;
    case ENOMEM:
        return PERSIST_ENOMEM;
    default:
        return PERSIST_EIO;
    }
}

static int file_open(void *ctx, const char *path, enum storage_mode mode)
{
    (void)ctx;
    int flags = O_CLOEXEC;
    flags |= mode == STORAGE_READ ? O_RDONLY : O_RDWR;
    if (mode == STORAGE_CREATE)
        flags |= O_CREAT | O_TRUNC;
    int fd;
    do {
        fd = open(path, flags, FILE_MODE);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? error_of(errno) : fd;
}

static int64_t file_pread(void *ctx, int file, void *data, size_t size, uint64_t offset)
{
    (void)ctx;
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(file, (uint8_t *)data + done, size - done, (off_t)(offset + done));
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_of(errno);
        done += (size_t)n;
    }
    return (int64_t)done;
}

static int64_t file_pwrite(void *ctx, int file, const void *data, size_t size, uint64_t offset)
{
    (void)ctx;
    CHECK(size > 0);
    ssize_t n;
    do {
        n = pwrite(file, data, size, (off_t)offset);
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        return PERSIST_EIO;
    return n < 0 ? error_of(errno) : n;
}

static int file_preallocate(void *ctx, int file, uint64_t offset, uint64_t size)
{
    (void)ctx;
    int rc;
    do {
        rc = fallocate(file, 0, (off_t)offset, (off_t)size);
    } while (rc < 0 && errno == EINTR);
    if (rc == 0)
        return PERSIST_OK;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return error_of(errno);
    return ftruncate(file, (off_t)(offset + size)) < 0 ? error_of(errno) : PERSIST_OK;
}

static int zeros_write(int file, uint64_t offset, uint64_t size)
{
    static _Alignas(STORAGE_BLOCK_BYTES) uint8_t zeros[FILL_BYTES];
    while (size > 0) {
        struct iovec v[FILL_VECTORS];
        uint64_t bytes = 0;
        int count = 0;
        for (; count < FILL_VECTORS && bytes < size; count++) {
            uint64_t left = size - bytes;
            v[count] = (struct iovec){zeros, left < FILL_BYTES ? left : FILL_BYTES};
            bytes += v[count].iov_len;
        }
        ssize_t n = pwritev(file, v, count, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || n % STORAGE_BLOCK_BYTES)
            return n < 0 && errno == ENOSPC ? PERSIST_ENOSPC : PERSIST_EREFUSED;
        offset += (uint64_t)n;
        size -= (uint64_t)n;
    }
    return PERSIST_OK;
}

/* Past the page cache: its pages would be written twice, and be in the way of the records. */
static int file_fill(void *ctx, int file, uint64_t offset, uint64_t size)
{
    (void)ctx;
    CHECK(offset % STORAGE_BLOCK_BYTES == 0 && size % STORAGE_BLOCK_BYTES == 0);
    int flags = fcntl(file, F_GETFL);
    if (flags < 0 || fcntl(file, F_SETFL, flags | O_DIRECT) < 0)
        return PERSIST_EREFUSED;
    int rc = zeros_write(file, offset, size);
    return fcntl(file, F_SETFL, flags) < 0 ? error_of(errno) : rc;
}

static int file_sync(void *ctx, int file)
{
    (void)ctx;
    /* Not repeated on EINTR or anything else: after a failure the pages may be gone (fsyncgate). */
    return fdatasync(file) < 0 ? error_of(errno) : PERSIST_OK;
}

static int file_write_out(void *ctx, int file, bool wait)
{
    (void)ctx;
    unsigned flags = SYNC_FILE_RANGE_WRITE;
    if (wait)
        flags |= SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (sync_file_range(file, 0, 0, flags) == 0)
        return PERSIST_OK;
    return errno == ENOSYS || errno == ESPIPE ? PERSIST_EREFUSED : error_of(errno);
}

static void file_forget(void *ctx, int file, uint64_t offset, uint64_t size)
{
    (void)ctx;
    (void)posix_fadvise(file, (off_t)offset, (off_t)size, POSIX_FADV_DONTNEED); /* a hint */
}

static int file_truncate(void *ctx, int file, uint64_t size)
{
    (void)ctx;
    int rc;
    do {
        rc = ftruncate(file, (off_t)size);
    } while (rc < 0 && errno == EINTR);
    return rc < 0 ? error_of(errno) : PERSIST_OK;
}

static int file_size(void *ctx, int file, uint64_t *size)
{
    (void)ctx;
    struct stat st;
    if (fstat(file, &st) < 0)
        return error_of(errno);
    *size = (uint64_t)st.st_size;
    return PERSIST_OK;
}

static void file_close(void *ctx, int file)
{
    (void)ctx;
    (void)close(file); /* nothing to lose: what matters was synced */
}

static int file_rename(void *ctx, const char *from, const char *to)
{
    (void)ctx;
    return rename(from, to) < 0 ? error_of(errno) : PERSIST_OK;
}

static int file_unlink(void *ctx, const char *path)
{
    (void)ctx;
    return unlink(path) < 0 ? error_of(errno) : PERSIST_OK;
}

static bool is_plain_file(int dir_fd, const struct dirent *e)
{
    struct stat st;
    if (e->d_type == DT_REG)
        return true;
    if (e->d_type != DT_UNKNOWN && e->d_type != DT_LNK)
        return false;
    return fstatat(dir_fd, e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode);
}

static int file_list(void *ctx, const char *dir, storage_list_fn *each, void *arg)
{
    (void)ctx;
    int rc = PERSIST_OK;
    DIR *d = opendir(dir);
    if (!d)
        return error_of(errno);
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(d);
        if (!e) {
            rc = errno ? error_of(errno) : PERSIST_OK;
            break;
        }
        if (is_plain_file(dirfd(d), e) && (rc = each(arg, e->d_name)) != 0)
            break;
    }
    (void)closedir(d);
    return rc;
}

static int file_make_dir(void *ctx, const char *dir)
{
    (void)ctx;
    char path[STORAGE_PATH_BYTES_MAX];
    struct stat st;
    if (stat(dir, &st) == 0)
        return S_ISDIR(st.st_mode) ? PERSIST_OK : PERSIST_EREFUSED;
    size_t n = strlen(dir);
    if (n == 0 || n >= sizeof path)
        return PERSIST_EREFUSED;
    memcpy(path, dir, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        char c = path[i];
        path[i] = 0;
        if (mkdir(path, DIR_MODE) < 0 && errno != EEXIST && errno != EISDIR)
            return error_of(errno);
        path[i] = c;
    }
    return PERSIST_OK;
}

static int file_sync_dir(void *ctx, const char *dir)
{
    (void)ctx;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_of(errno);
    int rc = fsync(fd) < 0 ? error_of(errno) : PERSIST_OK;
    (void)close(fd);
    return rc;
}

static const struct storage_ops file_ops = {
    .open = file_open,
    .pread = file_pread,
    .pwrite = file_pwrite,
    .preallocate = file_preallocate,
    .fill = file_fill,
    .sync = file_sync,
    .write_out = file_write_out,
    .forget = file_forget,
    .truncate = file_truncate,
    .size = file_size,
    .close = file_close,
    .rename = file_rename,
    .unlink = file_unlink,
    .list = file_list,
    .make_dir = file_make_dir,
    .sync_dir = file_sync_dir,
};

struct storage storage_file(void)
{
    return (struct storage){&file_ops, NULL};
}
