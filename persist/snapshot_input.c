/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "persist/snapshot_input.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "client/wire/check.h"

#define INPUT_BUFFER_BYTES ((size_t)256 << 10)
/* zlib: largest window, gzip header required. */
#define INFLATE_GZIP_BITS (15 + 16)

struct snapshot_input {
    struct storage s;
    int file;
    uint64_t file_offset; /* of the next raw bytes */
    uint64_t offset;      /* uncompressed bytes handed out */
    uint32_t sum;
    bool gz, gz_ended;
    z_stream z;
    size_t begin,
        end; /* begin <= end <= INPUT_BUFFER_BYTES: what plain holds and is not yet taken */
    uint8_t plain[INPUT_BUFFER_BYTES];
    uint8_t raw[INPUT_BUFFER_BYTES]; /* gzip only */
};

static int input_begin(struct snapshot_input *in, const char *path, enum snapshot_compression how)
{
    in->file = in->s.ops->open(in->s.ctx, path, STORAGE_READ);
    if (in->file < 0)
        return in->file;
    if (how == SNAPSHOT_GZ) {
        if (inflateInit2(&in->z, INFLATE_GZIP_BITS) != Z_OK)
            return PERSIST_ENOMEM;
        in->gz = true;
    }
    return PERSIST_OK;
}

int snapshot_input_open(struct snapshot_input **out, struct storage s, const char *dir,
                        const char *name)
{
    char path[STORAGE_PATH_BYTES_MAX];
    zxid_t zxid;
    enum snapshot_compression how;
    *out = NULL;
    if (storage_path(path, dir, name) || !directory_snapshot_parse(name, &zxid, &how) ||
        how == SNAPSHOT_SNAPPY)
        return PERSIST_EREFUSED;
    struct snapshot_input *in = malloc(sizeof *in);
    if (!in)
        return PERSIST_ENOMEM;
    memset(in, 0, offsetof(struct snapshot_input, plain));
    in->s = s;
    in->sum = 1; /* Adler-32 of nothing */
    int rc = input_begin(in, path, how);
    if (rc) {
        snapshot_input_close(in);
        return rc;
    }
    *out = in;
    return PERSIST_OK;
}

void snapshot_input_close(struct snapshot_input *in)
{
    if (!in)
        return;
    if (in->gz)
        (void)inflateEnd(&in->z);
    if (in->file >= 0)
        in->s.ops->close(in->s.ctx, in->file);
    free(in);
}

static int64_t raw_read(struct snapshot_input *in, uint8_t *to)
{
    int64_t n = in->s.ops->pread(in->s.ctx, in->file, to, INPUT_BUFFER_BYTES, in->file_offset);
    if (n > 0)
        in->file_offset += (uint64_t)n;
    return n;
}

/* Inflate until the plain buffer is full or the stream or its input ends. */
static int gz_fill(struct snapshot_input *in)
{
    in->z.next_out = in->plain;
    in->z.avail_out = INPUT_BUFFER_BYTES;
    while (in->z.avail_out > 0 && !in->gz_ended) {
        if (in->z.avail_in == 0) {
            int64_t n = raw_read(in, in->raw);
            if (n < 0)
                return (int)n;
            if (n == 0)
                break; /* cut short: whoever reads on meets the end */
            in->z.next_in = in->raw;
            in->z.avail_in = (uInt)n;
        }
        int rc = inflate(&in->z, Z_NO_FLUSH);
        if (rc == Z_STREAM_END)
            in->gz_ended = true;
        else if (rc == Z_MEM_ERROR)
            return PERSIST_ENOMEM;
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
            return PERSIST_EDAMAGE;
    }
    in->end = INPUT_BUFFER_BYTES - in->z.avail_out;
    return PERSIST_OK;
}

static int fill(struct snapshot_input *in)
{
    CHECK(in->begin == in->end);
    in->begin = in->end = 0;
    if (in->gz)
        return gz_fill(in);
    int64_t n = raw_read(in, in->plain);
    if (n < 0)
        return (int)n;
    in->end = (size_t)n;
    return PERSIST_OK;
}

int64_t snapshot_input_rest(struct snapshot_input *in, void *data, size_t n)
{
    size_t done = 0;
    while (done < n) {
        if (in->begin == in->end) {
            int rc = fill(in);
            if (rc)
                return rc;
            if (in->begin == in->end)
                break;
        }
        size_t step = in->end - in->begin < n - done ? in->end - in->begin : n - done;
        memcpy((uint8_t *)data + done, in->plain + in->begin, step);
        in->begin += step;
        done += step;
    }
    in->offset += done;
    return (int64_t)done;
}

int snapshot_input_read(struct snapshot_input *in, void *data, size_t n)
{
    int64_t got = snapshot_input_rest(in, data, n);
    if (got < 0)
        return (int)got;
    if ((size_t)got < n)
        return PERSIST_EDAMAGE;
    snapshot_input_add(in, data, n);
    return PERSIST_OK;
}

void snapshot_input_add(struct snapshot_input *in, const void *data, size_t n)
{
    in->sum = (uint32_t)adler32_z(in->sum, data, n);
}

uint32_t snapshot_input_sum(const struct snapshot_input *in)
{
    return in->sum;
}

uint64_t snapshot_input_offset(const struct snapshot_input *in)
{
    return in->offset;
}
