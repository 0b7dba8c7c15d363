/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The table of storage operations that persist/ stands on, and the error codes of all of persist/.
 *
 * Is: the only way by which persist/ touches a disk, so that a simulator can tear, lose, delay and
 * refuse. Is not: a cache, a thread, or a place for policy.
 *
 *      txnlog  snapshot  recover  purge  epoch  acknowledged
 *         \________\________|_______/_______/______/
 *                       struct storage                      (this file)
 *                      /              \
 *            storage_file.c      tests: memory with faults
 *
 * What an operation promises
 *  1. pwrite() is visible to pread() at once, durable only after sync() of the same file. Without
 *     sync, any subset of its 512-byte sectors may survive a power failure.
 *  2. create, rename and unlink are durable only after sync_dir() of the directory they changed;
 *     the new name never shows a file that is older than its last sync().
 *  3. rename() replaces an existing target in one step.
 *  4. A failed operation may have done part of its work (a short write); nothing else changed.
 *
 * Files are small non-negative numbers owned by the backend; paths are absolute or relative to the
 * process, with '/' between parts. All calls may block. Each backend says which threads may call;
 * storage_file: any thread, one thread at a time per file number.
 */
#ifndef SENGI_PERSIST_STORAGE_H
#define SENGI_PERSIST_STORAGE_H

#include "client/wire/types.h"

#define PERSIST_ERRORS(X)                                                                          \
    X(PERSIST_OK, 0, "ok")                                                                         \
    X(PERSIST_EIO, -1, "input/output error")                                                       \
    X(PERSIST_ENOSPC, -2, "no space left on the device")                                           \
    X(PERSIST_ENOENT, -3, "no such file or directory")                                             \
    X(PERSIST_EACCES, -4, "permission denied")                                                     \
    X(PERSIST_ENOMEM, -5, "out of memory")                                                         \
    X(PERSIST_EFAILED, -6, "an earlier write or flush failed; this log is closed for good")        \
    X(PERSIST_EDAMAGE, -7, "stored data is damaged")                                               \
    X(PERSIST_EREFUSED, -8, "refused: the directory cannot be used as it is")                      \
    X(PERSIST_ETOOBIG, -9, "entry larger than ZooKeeper could read back")                          \
    X(PERSIST_EORDER, -10, "zxid not above the last one")                                          \
    X(PERSIST_ECANCELLED, -11, "cancelled")

enum persist_error {
#define X(name, value, text) name = value,
    PERSIST_ERRORS(X)
#undef X
};

/** Text for a PERSIST_* code. Static storage, never NULL. */
const char *persist_error_text(int code);

/** Bytes of a path, with its end. Longer ones are refused with PERSIST_EREFUSED. */
#define STORAGE_PATH_BYTES_MAX 4096

/** What a write past the cache is aligned to: no device has larger sectors. */
#define STORAGE_BLOCK_BYTES 4096

enum storage_mode {
    STORAGE_READ,   /* existing file */
    STORAGE_WRITE,  /* existing file, read and write */
    STORAGE_CREATE, /* read and write; created empty, or emptied */
};

/** One name of a directory. Return 0 to go on; anything else ends the listing and is its result. */
typedef int storage_list_fn(void *arg, const char *name);

struct storage_ops {
    /** File number >= 0, or a negative PERSIST_*. New files are readable by their owner only. */
    int (*open)(void *ctx, const char *path, enum storage_mode mode);
    /** Bytes read (fewer than asked for only at the end of the file), or a negative PERSIST_*. */
    int64_t (*pread)(void *ctx, int file, void *data, size_t size, uint64_t offset);
    /** Bytes written, possibly fewer than asked for but at least 1, or a negative PERSIST_*. */
    int64_t (*pwrite)(void *ctx, int file, const void *data, size_t size, uint64_t offset);
    /** Make [offset, offset + size) exist and read as zeros where nothing was written. */
    int (*preallocate)(void *ctx, int file, uint64_t offset, uint64_t size);
    /**
     * Put zeros on the device in [offset, offset + size), preallocated and never written, so that a
     * later sync() of what is written there has only data to transfer: of bytes that were only
     * promised, the file system must note that they are there. Multiples of STORAGE_BLOCK_BYTES.
     * PERSIST_EREFUSED: this backend cannot.
     */
    int (*fill)(void *ctx, int file, uint64_t offset, uint64_t size);
    /** fdatasync: data and size are durable when it returns 0. */
    int (*sync)(void *ctx, int file);
    /**
     * Start (wait false) or await (wait true) the transfer to the device of what was written. When
     * awaited with 0, the next sync() of any file on the same device makes it durable too: it then
     * lies in the cache which that sync flushes. Only for bytes that existed and were synced
     * before. PERSIST_EREFUSED: this backend cannot promise that.
     */
    int (*write_out)(void *ctx, int file, bool wait);
    /** A hint: these bytes are synced and will hardly be read, so they need not stay in memory. */
    void (*forget)(void *ctx, int file, uint64_t offset, uint64_t size);
    int (*truncate)(void *ctx, int file, uint64_t size);
    int (*size)(void *ctx, int file, uint64_t *size);
    /** Never fails in a way that matters: what must be durable was synced before. */
    void (*close)(void *ctx, int file);
    int (*rename)(void *ctx, const char *from, const char *to);
    int (*unlink)(void *ctx, const char *path);
    /** Plain files of a directory, in any order. PERSIST_ENOENT when there is no such directory. */
    int (*list)(void *ctx, const char *dir, storage_list_fn *each, void *arg);
    /** Create a directory and its parents; 0 also when it exists. */
    int (*make_dir)(void *ctx, const char *dir);
    int (*sync_dir)(void *ctx, const char *dir);
};

struct storage {
    const struct storage_ops *ops;
    void *ctx;
};

/** The kernel's file system: files 0600, directories 0750. Needs no clean-up. */
struct storage storage_file(void);

/** Write all of it, in as many pwrite() as it takes. 0 or a negative PERSIST_*; on error any part
 * may be written. */
int storage_write(struct storage s, int file, const void *data, size_t size, uint64_t offset);

/** Read exactly size bytes. 0; PERSIST_EDAMAGE when the file is shorter; or a negative PERSIST_*.
 */
int storage_read(struct storage s, int file, void *data, size_t size, uint64_t offset);

/** "dir/name" into path[STORAGE_PATH_BYTES_MAX]. 0, or PERSIST_EREFUSED when it does not fit. */
int storage_path(char *path, const char *dir, const char *name);

/**
 * Replace dir/name by the given bytes so that a crash leaves the old or the new content: write
 * dir/tmp_name, sync, rename, sync the directory.
 *
 * @return 0 or a negative PERSIST_*. On error the old content may be replaced only if the last
 *         step, the directory's sync, failed.
 */
int storage_replace(struct storage s, const char *dir, const char *name, const char *tmp_name,
                    const void *data, size_t size);

/** Sum of the sizes of a directory's files (the `dirs` word, `data_dir_size`). 0 or a negative
 * PERSIST_*. */
int storage_dir_bytes(struct storage s, const char *dir, uint64_t *bytes);

#endif
