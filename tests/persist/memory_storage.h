/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * A disk in memory that fails and loses power on command.
 *
 *      file = durable bytes + a log of writes, truncations and growths since the last sync
 *      directory = durable names + a list of creates, renames, unlinks since the last sync_dir
 *
 * Power cut: the caller's chooser says, for each 512-byte sector of each unsynced write and for
 * each unsynced directory operation, whether it reached the disk. Size changes persist with any
 * sector behind them. Faults: the n-th call of any kind fails with a chosen error, once or for
 * ever; writes may be short; space may run out.
 */
#ifndef SENGI_TESTS_PERSIST_MEMORY_STORAGE_H
#define SENGI_TESTS_PERSIST_MEMORY_STORAGE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"
#include "persist/storage.h"

#define MEM_SECTOR 512
#define MEM_FILES_MAX 64
#define MEM_HANDLES_MAX 32
#define MEM_NAMES_MAX 64
#define MEM_OPS_MAX 512

struct mem_content {
    uint8_t *data;
    uint64_t size;
};

/* A sector that a write since the last sync has touched. */
struct mem_write {
    uint64_t offset;
    uint32_t size;
    uint8_t *data;
};

struct mem_inode {
    bool used;
    struct mem_content now, durable;
    struct mem_write *writes; /* since the last sync, cut at sector borders */
    size_t write_count;
    size_t written_out; /* of these, on the device: durable with the next sync of any file */
};

struct mem_name {
    char path[128];
    int inode;
};

struct mem_dir {
    struct mem_name names[MEM_NAMES_MAX];
    int count;
};

enum mem_op_kind { MEM_LINK, MEM_UNLINK, MEM_RENAME };

struct mem_dir_op {
    enum mem_op_kind kind;
    char path[128], to[128];
    int inode;
};

struct mem_disk {
    struct mem_inode inodes[MEM_FILES_MAX];
    struct mem_dir now, durable;
    struct mem_dir_op ops[MEM_OPS_MAX]; /* since the last sync_dir */
    int op_count;
    int handles[MEM_HANDLES_MAX]; /* inode, or -1 */

    /* Faults */
    uint64_t calls;   /* counted so far */
    uint64_t fail_at; /* this call fails; 0 = none */
    bool fail_sticky; /* and every later one */
    int fail_with;
    bool short_writes;
    uint64_t space;  /* bytes that may still be allocated; 0 = unlimited */
    bool dead;       /* power is off: nothing works, nothing changes */
    uint64_t cut_at; /* power goes off before this call */
    uint64_t syncs;
    uint64_t forgotten; /* end of what was forgotten last */
    uint64_t filled;    /* end of what was filled last */
    uint64_t fills;
    bool chained; /* write_out() keeps its promise; false: it makes none */
};

static inline void *mem_alloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    if (!p)
        abort();
    return p;
}

static inline struct mem_disk *mem_new(void)
{
    struct mem_disk *d = mem_alloc(sizeof *d);
    for (int i = 0; i < MEM_HANDLES_MAX; i++)
        d->handles[i] = -1;
    d->chained = true;
    return d;
}

static inline void mem_content_set(struct mem_content *c, const void *data, uint64_t size)
{
    uint8_t *copy = mem_alloc(size);
    if (size)
        memcpy(copy, data, size);
    free(c->data);
    *c = (struct mem_content){copy, size};
}

static inline void mem_content_size(struct mem_content *c, uint64_t size)
{
    uint8_t *p = mem_alloc(size);
    if (c->size)
        memcpy(p, c->data, size < c->size ? size : c->size);
    free(c->data);
    *c = (struct mem_content){p, size};
}

static inline void mem_content_write(struct mem_content *c, uint64_t offset, const void *data,
                                     uint64_t size)
{
    if (offset + size > c->size)
        mem_content_size(c, offset + size);
    memcpy(c->data + offset, data, size);
}

static inline void mem_writes_forget(struct mem_inode *i)
{
    for (size_t w = 0; w < i->write_count; w++)
        free(i->writes[w].data);
    free(i->writes);
    i->writes = NULL;
    i->write_count = i->written_out = 0;
}

static inline void mem_inode_free(struct mem_inode *i)
{
    mem_writes_forget(i);
    free(i->now.data);
    free(i->durable.data);
    *i = (struct mem_inode){0};
}

static inline void mem_free(struct mem_disk *d)
{
    for (int i = 0; i < MEM_FILES_MAX; i++)
        mem_inode_free(&d->inodes[i]);
    free(d);
}

static inline int mem_find(const struct mem_dir *dir, const char *path)
{
    for (int i = 0; i < dir->count; i++)
        if (strcmp(dir->names[i].path, path) == 0)
            return i;
    return -1;
}

static inline void mem_dir_unlink(struct mem_dir *dir, const char *path)
{
    int i = mem_find(dir, path);
    if (i >= 0)
        dir->names[i] = dir->names[--dir->count];
}

static inline void mem_dir_link(struct mem_dir *dir, const char *path, int inode)
{
    mem_dir_unlink(dir, path);
    size_t n = strlen(path) + 1;
    if (dir->count == MEM_NAMES_MAX || n > sizeof dir->names[0].path)
        abort();
    memmove(dir->names[dir->count].path, path, n);
    dir->names[dir->count++].inode = inode;
}

static inline void mem_dir_apply(struct mem_dir *dir, const struct mem_dir_op *op)
{
    int i = mem_find(dir, op->path);
    switch (op->kind) {
    case MEM_LINK:
        mem_dir_link(dir, op->path, op->inode);
        break;
    case MEM_UNLINK:
        mem_dir_unlink(dir, op->path);
        break;
    case MEM_RENAME:
        if (i >= 0)
            mem_dir_unlink(dir, op->path);
        mem_dir_link(dir, op->to, op->inode); /* the target never shows an older file */
        break;
    }
}

static inline void mem_dir_op(struct mem_disk *d, struct mem_dir_op op)
{
    if (d->op_count == MEM_OPS_MAX)
        abort();
    d->ops[d->op_count++] = op;
    mem_dir_apply(&d->now, &op);
}

/* Counts a call; an error when this is the one to fail. */
static inline int mem_call(struct mem_disk *d)
{
    d->calls++;
    if (d->cut_at && d->calls >= d->cut_at)
        d->dead = true;
    if (d->dead)
        return PERSIST_EIO;
    if (d->fail_at && (d->calls == d->fail_at || (d->fail_sticky && d->calls > d->fail_at)))
        return d->fail_with;
    return PERSIST_OK;
}

static inline struct mem_inode *mem_inode_of(struct mem_disk *d, int file)
{
    if (file < 0 || file >= MEM_HANDLES_MAX || d->handles[file] < 0)
        abort();
    return &d->inodes[d->handles[file]];
}

static inline int mem_inode_new(struct mem_disk *d)
{
    for (int i = 0; i < MEM_FILES_MAX; i++)
        if (!d->inodes[i].used) {
            d->inodes[i].used = true;
            return i;
        }
    abort();
}

static inline int mem_open(void *ctx, const char *path, enum storage_mode mode)
{
    struct mem_disk *d = ctx;
    int rc = mem_call(d);
    if (rc)
        return rc;
    int name = mem_find(&d->now, path), handle = 0;
    if (name < 0 && mode != STORAGE_CREATE)
        return PERSIST_ENOENT;
    while (handle < MEM_HANDLES_MAX && d->handles[handle] >= 0)
        handle++;
    if (handle == MEM_HANDLES_MAX)
        abort();
    if (name < 0) {
        int inode = mem_inode_new(d);
        struct mem_dir_op op = {.kind = MEM_LINK, .inode = inode};
        snprintf(op.path, sizeof op.path, "%s", path);
        mem_dir_op(d, op);
        name = mem_find(&d->now, path);
    } else if (mode == STORAGE_CREATE) {
        struct mem_inode *i = &d->inodes[d->now.names[name].inode];
        mem_writes_forget(i);
        mem_content_size(&i->now, 0);
        mem_content_size(&i->durable, 0); /* emptied at once: what matters is never opened so */
    }
    d->handles[handle] = d->now.names[name].inode;
    return handle;
}

static inline int64_t mem_pread(void *ctx, int file, void *data, size_t size, uint64_t offset)
{
    struct mem_disk *d = ctx;
    int rc = mem_call(d);
    struct mem_inode *i = mem_inode_of(d, file);
    if (rc)
        return rc;
    if (offset >= i->now.size)
        return 0;
    if (size > i->now.size - offset)
        size = i->now.size - offset;
    memcpy(data, i->now.data + offset, size);
    return (int64_t)size;
}

static inline void mem_write_note(struct mem_inode *i, uint64_t offset, const uint8_t *data,
                                  uint64_t size)
{
    while (size > 0) {
        uint64_t n = MEM_SECTOR - offset % MEM_SECTOR;
        if (n > size)
            n = size;
        i->writes = realloc(i->writes, (i->write_count + 1) * sizeof *i->writes);
        if (!i->writes)
            abort();
        uint8_t *copy = mem_alloc(n);
        memcpy(copy, data, n);
        i->writes[i->write_count++] = (struct mem_write){offset, (uint32_t)n, copy};
        offset += n;
        data += n;
        size -= n;
    }
}

static inline int64_t mem_pwrite(void *ctx, int file, const void *data, size_t size,
                                 uint64_t offset)
{
    struct mem_disk *d = ctx;
    int rc = mem_call(d);
    struct mem_inode *i = mem_inode_of(d, file);
    if (rc == PERSIST_ENOSPC && size > 1)
        size = size / 2; /* some of it fitted */
    else if (rc)
        return rc;
    if (d->short_writes && size > 1)
        size = 1 + (d->calls * 7919) % (size - 1);
    if (d->space && offset + size > i->now.size) {
        uint64_t more = offset + size - i->now.size;
        if (more >= d->space)
            return PERSIST_ENOSPC;
        d->space -= more;
    }
    mem_write_note(i, offset, data, size);
    mem_content_write(&i->now, offset, data, size);
    return rc ? rc : (int64_t)size;
}

static inline int mem_preallocate(void *ctx, int file, uint64_t offset, uint64_t size)
{
    struct mem_disk *d = ctx;
    int rc = mem_call(d);
    struct mem_inode *i = mem_inode_of(d, file);
    if (rc)
        return rc;
    if (offset + size > i->now.size) {
        if (d->space && offset + size - i->now.size >= d->space)
            return PERSIST_ENOSPC;
        mem_content_size(&i->now, offset + size);
    }
    return PERSIST_OK;
}

static inline int mem_fill(void *ctx, int file, uint64_t offset, uint64_t size)
{
    struct mem_disk *d = ctx;
    int rc = mem_call(d);
    struct mem_inode *i = mem_inode_of(d, file);
    CHECK(offset % STORAGE_BLOCK_BYTES == 0 && size % STORAGE_BLOCK_BYTES == 0);
    CHECK(offset + size <= i->now.size);
    if (rc)
        return rc;
    for (uint64_t at = offset; at < offset + size; at++)
        CHECK(i->now.data[at] == 0); /* nothing that was written is filled over */
    d->filled = offset + size;
    d->fills++;
    return PERSIST_OK;
}

/* A flush of the device's cache: what was transferred before is durable, whichever file it is of.
 */
static inline void mem_flush_cache(struct mem_disk *d)
{
    for (int f = 0; f < MEM_FILES_MAX; f++) {
        struct mem_inode *i = &d->inodes[f];
        size_t n = i->written_out;
        for (size_t w = 0; w < n; w++) {
            mem_content_write(&i->durable, i->writes[w].offset, i->writes[w].data,
                              i->writes[w].size);
            free(i->writes[w].data);
        }
        i->write_count -= n;
        i->written_out = 0;
        if (n)
            memmove(i->writes, i->writes + n, i->write_count * sizeof *i->writes);
    }
}

static inline int mem_write_out(void *ctx, int file, bool wait)
{
    struct mem_disk *d = ctx;
    int rc = mem_call(d);
    if (rc)
        return rc;
    if (!d->chained)
        return PERSIST_EREFUSED;
    struct mem_inode *i = mem_inode_of(d, file);
    if (wait)
        i->written_out = i->write_count;
    return PERSIST_OK;
}

static inline void mem_forget(void *ctx, int file, uint64_t offset, uint64_t size)
{
    struct mem_disk *d = ctx;
    const struct mem_inode *i = mem_inode_of(d, file);
    for (size_t w = 0; w < i->write_count; w++)
        CHECK(i->writes[w].offset >= offset + size ||
              i->writes[w].offset + i->writes[w].size <= offset);
    d->forgotten = offset + size;
}

static inline int mem_sync(void *ctx, int file)
{
    struct mem_disk *d = ctx;
    int rc = mem_call(d);
    struct mem_inode *i = mem_inode_of(d, file);
    if (rc)
        return rc;
    mem_content_set(&i->durable, i->now.data, i->now.size);
    mem_writes_forget(i);
    mem_flush_cache(d);
    d->syncs++;
    return PERSIST_OK;
}

static inline int mem_truncate(void *ctx, int file, uint64_t size)
{
    struct mem_disk *d = ctx;
    int rc = mem_call(d);
    if (rc)
        return rc;
    mem_content_size(&mem_inode_of(d, file)->now, size);
    return PERSIST_OK;
}

static inline int mem_size(void *ctx, int file, uint64_t *size)
{
    struct mem_disk *d = ctx;
    int rc = mem_call(d);
    *size = rc ? 0 : mem_inode_of(d, file)->now.size;
    return rc;
}

static inline void mem_close(void *ctx, int file)
{
    struct mem_disk *d = ctx;
    (void)mem_inode_of(d, file);
    d->handles[file] = -1;
}

static inline int mem_rename(void *ctx, const char *from, const char *to)
{
    struct mem_disk *d = ctx;
    int rc = mem_call(d);
    if (rc)
        return rc;
    int name = mem_find(&d->now, from);
    if (name < 0)
        return PERSIST_ENOENT;
    struct mem_dir_op op = {.kind = MEM_RENAME, .inode = d->now.names[name].inode};
    snprintf(op.path, sizeof op.path, "%s", from);
    snprintf(op.to, sizeof op.to, "%s", to);
    mem_dir_op(d, op);
    return PERSIST_OK;
}

static inline int mem_unlink(void *ctx, const char *path)
{
    struct mem_disk *d = ctx;
    int rc = mem_call(d);
    if (rc)
        return rc;
    if (mem_find(&d->now, path) < 0)
        return PERSIST_ENOENT;
    struct mem_dir_op op = {.kind = MEM_UNLINK};
    snprintf(op.path, sizeof op.path, "%s", path);
    mem_dir_op(d, op);
    return PERSIST_OK;
}

static inline int mem_list(void *ctx, const char *dir, storage_list_fn *each, void *arg)
{
    struct mem_disk *d = ctx;
    struct mem_dir names = d->now; /* the callback may unlink */
    size_t n = strlen(dir);
    int rc = mem_call(d);
    for (int i = 0; i < names.count && !rc; i++) {
        const char *p = names.names[i].path;
        if (strncmp(p, dir, n) == 0 && p[n] == '/' && !strchr(p + n + 1, '/'))
            rc = each(arg, p + n + 1);
    }
    return rc;
}

static inline int mem_make_dir(void *ctx, const char *dir)
{
    (void)dir;
    return mem_call(ctx);
}

static inline int mem_sync_dir(void *ctx, const char *dir)
{
    struct mem_disk *d = ctx;
    (void)dir;
    int rc = mem_call(d);
    if (rc)
        return rc;
    d->durable = d->now;
    d->op_count = 0;
    return PERSIST_OK;
}

static const struct storage_ops mem_ops = {.open = mem_open,
                                           .pread = mem_pread,
                                           .pwrite = mem_pwrite,
                                           .preallocate = mem_preallocate,
                                           .fill = mem_fill,
                                           .sync = mem_sync,
                                           .write_out = mem_write_out,
                                           .forget = mem_forget,
                                           .truncate = mem_truncate,
                                           .size = mem_size,
                                           .close = mem_close,
                                           .rename = mem_rename,
                                           .unlink = mem_unlink,
                                           .list = mem_list,
                                           .make_dir = mem_make_dir,
                                           .sync_dir = mem_sync_dir};

static inline struct storage mem_storage(struct mem_disk *d)
{
    return (struct storage){&mem_ops, d};
}

/* ---- power ---- */

/** Whether the next unsynced sector or directory operation reached the disk. */
typedef bool mem_chooser(void *arg);

static inline uint64_t mem_pending(const struct mem_disk *d)
{
    uint64_t n = (uint64_t)d->op_count;
    for (int i = 0; i < MEM_FILES_MAX; i++)
        n += d->inodes[i].write_count + (d->inodes[i].now.size != d->inodes[i].durable.size);
    return n;
}

static inline void mem_inode_cut(struct mem_inode *i, mem_chooser *keep, void *arg)
{
    if (!i->used)
        return;
    if (i->now.size != i->durable.size && keep(arg))
        mem_content_size(&i->durable, i->now.size);
    for (size_t w = 0; w < i->write_count; w++)
        if (keep(arg))
            mem_content_write(&i->durable, i->writes[w].offset, i->writes[w].data,
                              i->writes[w].size);
    mem_writes_forget(i);
    mem_content_set(&i->now, i->durable.data, i->durable.size);
}

/** Power off, some of what was unsynced reaches the disk, power on again without faults. */
static inline void mem_power_cut(struct mem_disk *d, mem_chooser *keep, void *arg)
{
    for (int i = 0; i < MEM_FILES_MAX; i++)
        mem_inode_cut(&d->inodes[i], keep, arg);
    for (int i = 0; i < d->op_count; i++)
        if (keep(arg))
            mem_dir_apply(&d->durable, &d->ops[i]);
    d->op_count = 0;
    d->now = d->durable;
    for (int i = 0; i < MEM_HANDLES_MAX; i++)
        d->handles[i] = -1;
    d->dead = d->fail_sticky = d->short_writes = false;
    d->fail_at = d->cut_at = d->space = 0;
}

/** The process dies, the machine does not: all that was written stays, synced or not. */
static inline void mem_process_kill(struct mem_disk *d)
{
    for (int i = 0; i < MEM_HANDLES_MAX; i++)
        d->handles[i] = -1;
    d->dead = d->fail_sticky = d->short_writes = false;
    d->fail_at = d->cut_at = d->space = 0;
}

/** Deep copy, to try many ends of one history. Handles are closed in the copy. */
static inline struct mem_disk *mem_copy(const struct mem_disk *d)
{
    struct mem_disk *c = mem_alloc(sizeof *c);
    *c = *d;
    for (int i = 0; i < MEM_FILES_MAX; i++) {
        const struct mem_inode *from = &d->inodes[i];
        struct mem_inode *to = &c->inodes[i];
        *to = (struct mem_inode){
            .used = from->used, .write_count = from->write_count, .written_out = from->written_out};
        mem_content_set(&to->now, from->now.data, from->now.size);
        mem_content_set(&to->durable, from->durable.data, from->durable.size);
        to->writes = mem_alloc(from->write_count * sizeof *to->writes);
        for (size_t w = 0; w < from->write_count; w++) {
            to->writes[w] = from->writes[w];
            to->writes[w].data = mem_alloc(from->writes[w].size);
            memcpy(to->writes[w].data, from->writes[w].data, from->writes[w].size);
        }
    }
    for (int i = 0; i < MEM_HANDLES_MAX; i++)
        c->handles[i] = -1;
    return c;
}

/** The bytes of a file as they are now, to damage them by hand; NULL when there is no such file. */
static inline struct mem_content *mem_file(struct mem_disk *d, const char *path)
{
    int name = mem_find(&d->now, path);
    return name < 0 ? NULL : &d->inodes[d->now.names[name].inode].now;
}

/** Create a durable file out of bytes. */
static inline void mem_put(struct mem_disk *d, const char *path, const void *data, uint64_t size)
{
    int inode = mem_inode_new(d);
    mem_content_set(&d->inodes[inode].now, data, size);
    mem_content_set(&d->inodes[inode].durable, data, size);
    mem_dir_link(&d->now, path, inode);
    mem_dir_link(&d->durable, path, inode);
}

static inline void mem_remove(struct mem_disk *d, const char *path)
{
    mem_dir_unlink(&d->now, path);
    mem_dir_unlink(&d->durable, path);
}

#endif
