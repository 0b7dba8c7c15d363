/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "client/wire/check.h"
#include "persist/snapshot.h"
#include "persist/txnlog.h"

#define SNAPSHOT_MAGIC 0x5a4b534eu /* "ZKSN" */
#define SNAPSHOT_VERSION 2
#define SNAPSHOT_DBID (-1)
#define WRITER_BUFFER_BYTES ((size_t)256 << 10)
/* zlib: largest window, gzip header. */
#define DEFLATE_GZIP_BITS (15 + 16)
/* A snapshot is read once in its life and written often: speed first. */
#define DEFLATE_LEVEL 1
#define TMP_PREFIX "tmp-"

struct writer {
    struct storage s;
    int file;
    int error;            /* first one; nothing is written after it */
    uint32_t sum;         /* Adler-32 of all uncompressed bytes */
    uint64_t file_offset; /* of the next raw bytes */
    uint64_t nodes;
    bool gz;
    z_stream z;
    size_t used; /* of plain */
    uint8_t plain[WRITER_BUFFER_BYTES];
    uint8_t raw[WRITER_BUFFER_BYTES]; /* gzip only */
};

static void raw_write(struct writer *w, const uint8_t *data, size_t n)
{
    if (w->error || n == 0)
        return;
    w->error = storage_write(w->s, w->file, data, n, w->file_offset);
    w->file_offset += n;
}

static void gz_write(struct writer *w, int flush)
{
    w->z.next_in = w->plain;
    w->z.avail_in = (uInt)w->used;
    do {
        w->z.next_out = w->raw;
        w->z.avail_out = WRITER_BUFFER_BYTES;
        int rc = deflate(&w->z, flush);
        CHECK(rc != Z_STREAM_ERROR);
        raw_write(w, w->raw, WRITER_BUFFER_BYTES - w->z.avail_out);
    } while (w->z.avail_out == 0 && !w->error);
}

static void drain(struct writer *w, bool last)
{
    w->sum = (uint32_t)adler32_z(w->sum, w->plain, w->used);
    if (w->gz)
        gz_write(w, last ? Z_FINISH : Z_NO_FLUSH);
    else
        raw_write(w, w->plain, w->used);
    w->used = 0;
}

static void put(struct writer *w, const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n > 0 && !w->error) {
        size_t room = WRITER_BUFFER_BYTES - w->used, step = n < room ? n : room;
        memcpy(w->plain + w->used, p, step);
        w->used += step;
        p += step;
        n -= step;
        if (w->used == WRITER_BUFFER_BYTES)
            drain(w, false);
    }
}

static void put_int(struct writer *w, int32_t v)
{
    uint8_t b[4];
    be32_store(b, (uint32_t)v);
    put(w, b, sizeof b);
}

static void put_long(struct writer *w, int64_t v)
{
    uint8_t b[8];
    be64_store(b, (uint64_t)v);
    put(w, b, sizeof b);
}

static void put_bytes(struct writer *w, struct bytes b)
{
    if (b.data && b.size > PERSIST_ENTRY_BYTES_MAX && !w->error)
        w->error = PERSIST_ETOOBIG;
    put_int(w, b.data ? (int32_t)b.size : -1);
    if (b.data)
        put(w, b.data, b.size);
}

static void put_end_mark(struct writer *w)
{
    put_bytes(w, BYTES_OF("/"));
}

static void put_seal(struct writer *w)
{
    uint32_t sum = (uint32_t)adler32_z(w->sum, w->plain, w->used);
    put_long(w, (int64_t)(uint64_t)sum);
    put_end_mark(w);
}

static void put_node(struct writer *w, const struct snapshot_node *n)
{
    CHECK(n->path.data && (n->path.size == 0) == (w->nodes == 0));
    CHECK(n->path.size == 0 || (n->path.size > 1 && n->path.data[0] == '/'));
    put_bytes(w, n->path);
    put_bytes(w, n->data);
    put_long(w, n->acl_key);
    put_long(w, n->stat.czxid);
    put_long(w, n->stat.mzxid);
    put_long(w, n->stat.ctime);
    put_long(w, n->stat.mtime);
    put_int(w, n->stat.version);
    put_int(w, n->stat.cversion);
    put_int(w, n->stat.aversion);
    put_long(w, n->stat.ephemeral_owner);
    put_long(w, n->stat.pzxid);
    w->nodes++;
}

static void put_sessions(struct writer *w, const struct snapshot_source *source)
{
    CHECK(source->session_count >= 0);
    put_int(w, source->session_count);
    for (int32_t i = 0; i < source->session_count; i++) {
        session_id_t id;
        int32_t timeout_ms;
        source->next_session(source->ctx, &id, &timeout_ms);
        put_long(w, id);
        put_int(w, timeout_ms);
    }
}

static void put_acls(struct writer *w, const struct snapshot_source *source)
{
    CHECK(source->acl_count >= 0);
    put_int(w, source->acl_count);
    for (int32_t i = 0; i < source->acl_count; i++) {
        int64_t key;
        struct txn_acl acl;
        source->next_acl(source->ctx, &key, &acl);
        CHECK(key > 0 && acl.raw.data && acl.raw.size >= 4);
        if (acl.raw.size > PERSIST_ENTRY_BYTES_MAX && !w->error)
            w->error = PERSIST_ETOOBIG;
        put_long(w, key);
        put(w, acl.raw.data, acl.raw.size);
    }
}

static void put_nodes(struct writer *w, const struct snapshot_source *source,
                      const atomic_bool *cancel)
{
    struct snapshot_node node;
    while (!w->error && source->next_node(source->ctx, &node)) {
        if (cancel && atomic_load_explicit(cancel, memory_order_relaxed)) {
            w->error = PERSIST_ECANCELLED;
            return;
        }
        put_node(w, &node);
    }
    CHECK(w->error || w->nodes > 0);
    put_end_mark(w);
}

/* Parts 6 and 7 always, as a reader with digests needs them (section 5.2); 8 and 9 unless switched
 * off. */
static void put_trailer(struct writer *w, zxid_t zxid, const struct snapshot_source *source,
                        const struct snapshot_options *options)
{
    struct snapshot_digest d = source->digest(source->ctx);
    put_long(w, d.known ? d.zxid : 0);
    put_int(w, TXN_DIGEST_VERSION);
    put_long(w, d.known ? (int64_t)d.tree : 0);
    put_seal(w);
    if (!options->no_last_zxid) {
        put_long(w, zxid);
        put_seal(w);
    }
}

static int file_write(struct writer *w, zxid_t zxid, const struct snapshot_source *source,
                      const struct snapshot_options *options)
{
    put_int(w, (int32_t)SNAPSHOT_MAGIC);
    put_int(w, SNAPSHOT_VERSION);
    put_long(w, SNAPSHOT_DBID);
    put_sessions(w, source);
    put_acls(w, source);
    put_nodes(w, source, options->cancel);
    if (!w->error) {
        put_seal(w);
        put_trailer(w, zxid, source, options);
        drain(w, true);
    }
    return w->error ? w->error : w->s.ops->sync(w->s.ctx, w->file);
}

static int writer_open(struct writer **out, struct storage s, const char *path,
                       enum snapshot_compression compression)
{
    struct writer *w = malloc(sizeof *w);
    if (!w)
        return PERSIST_ENOMEM;
    memset(w, 0, offsetof(struct writer, plain));
    w->s = s;
    w->sum = 1; /* Adler-32 of nothing */
    w->gz = compression == SNAPSHOT_GZ;
    int rc = PERSIST_ENOMEM;
    if (w->gz && deflateInit2(&w->z, DEFLATE_LEVEL, Z_DEFLATED, DEFLATE_GZIP_BITS, 8,
                              Z_DEFAULT_STRATEGY) != Z_OK)
        goto no_deflate;
    rc = w->file = s.ops->open(s.ctx, path, STORAGE_CREATE);
    if (rc < 0)
        goto no_file;
    *out = w;
    return PERSIST_OK;
no_file:
    if (w->gz)
        (void)deflateEnd(&w->z);
no_deflate:
    free(w);
    return rc;
}

static void writer_close(struct writer *w)
{
    if (w->gz)
        (void)deflateEnd(&w->z);
    w->s.ops->close(w->s.ctx, w->file);
    free(w);
}

static int write_as(struct storage s, const char *path, zxid_t zxid,
                    const struct snapshot_source *source, const struct snapshot_options *options,
                    struct snapshot_result *result)
{
    struct writer *w;
    int rc = writer_open(&w, s, path, options->compression);
    if (rc)
        return rc;
    rc = file_write(w, zxid, source, options);
    result->bytes = w->file_offset;
    result->nodes = w->nodes;
    writer_close(w);
    return rc;
}

int snapshot_write(struct storage s, const char *dir, zxid_t zxid,
                   const struct snapshot_source *source, const struct snapshot_options *options,
                   struct snapshot_result *result)
{
    static const struct snapshot_options plain = {SNAPSHOT_PLAIN, false, NULL};
    char tmp_name[DIRECTORY_NAME_BYTES_MAX + sizeof TMP_PREFIX];
    char tmp[STORAGE_PATH_BYTES_MAX], path[STORAGE_PATH_BYTES_MAX];
    struct snapshot_result unused;
    CHECK(zxid >= 0);
    if (!options)
        options = &plain;
    if (!result)
        result = &unused;
    if (options->compression == SNAPSHOT_SNAPPY)
        return PERSIST_EREFUSED;
    directory_snapshot_name(result->name, zxid, options->compression);
    snprintf(tmp_name, sizeof tmp_name, TMP_PREFIX "%s", result->name);
    if (storage_path(tmp, dir, tmp_name) || storage_path(path, dir, result->name))
        return PERSIST_EREFUSED;
    int rc = write_as(s, tmp, zxid, source, options, result);
    if (!rc)
        rc = s.ops->rename(s.ctx, tmp, path);
    if (rc) {
        (void)s.ops->unlink(s.ctx, tmp); /* best effort: recovery removes what stays */
        return rc;
    }
    return s.ops->sync_dir(s.ctx, dir);
}
