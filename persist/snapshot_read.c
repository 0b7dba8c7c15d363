/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"
#include "persist/snapshot.h"
#include "persist/snapshot_input.h"
#include "persist/txnlog.h"

#define SNAPSHOT_MAGIC 0x5a4b534eu /* "ZKSN" */
#define SNAPSHOT_HEADER_BYTES 16
#define SEAL_BYTES 13 /* long checksum, ustring "/" */
#define DIGEST_BYTES 20
#define LAST_ZXID_BYTES 8
/* A field grows in such steps while its bytes arrive: a lying length costs no memory. */
#define FIELD_STEP_BYTES ((size_t)64 << 10)

/* One growing buffer per field that is handed out. */
struct field {
    uint8_t *data;
    size_t size, room; /* size <= room */
};

struct reader {
    struct snapshot_input *in;
    const struct snapshot_sink *sink; /* NULL: verify only */
    zxid_t zxid;                      /* from the name */
    struct snapshot_counts counts;
    struct field path, data, acl;
    const char *reason;
};

static int damage(struct reader *r, const char *reason)
{
    r->reason = reason;
    return PERSIST_EDAMAGE;
}

static int field_room(struct field *f, size_t more)
{
    if (f->room - f->size >= more)
        return PERSIST_OK;
    size_t room = f->room * 2 > f->size + more ? f->room * 2 : f->size + more;
    uint8_t *p = realloc(f->data, room);
    if (!p)
        return PERSIST_ENOMEM;
    f->data = p;
    f->room = room;
    return PERSIST_OK;
}

/* Append n bytes of the stream to the field. */
static int field_read(struct reader *r, struct field *f, size_t n)
{
    if (n > PERSIST_ENTRY_BYTES_MAX || f->size + n > 2 * (size_t)PERSIST_ENTRY_BYTES_MAX)
        return damage(r, "a field longer than any that ZooKeeper reads");
    while (n > 0) {
        size_t step = n < FIELD_STEP_BYTES ? n : FIELD_STEP_BYTES;
        int rc = field_room(f, step);
        if (!rc)
            rc = snapshot_input_read(r->in, f->data + f->size, step);
        if (rc)
            return rc;
        f->size += step;
        n -= step;
    }
    return PERSIST_OK;
}

static int int_read(struct reader *r, int32_t *out)
{
    uint8_t b[4];
    int rc = snapshot_input_read(r->in, b, sizeof b);
    *out = rc ? 0 : (int32_t)be32_load(b);
    return rc;
}

static int long_read(struct reader *r, int64_t *out)
{
    uint8_t b[8];
    int rc = snapshot_input_read(r->in, b, sizeof b);
    *out = rc ? 0 : (int64_t)be64_load(b);
    return rc;
}

/* buffer or ustring into an emptied field; data == NULL in *out for null. */
static int bytes_read(struct reader *r, struct field *f, struct bytes *out)
{
    int32_t n;
    int rc = int_read(r, &n);
    f->size = 0;
    *out = BYTES_NULL;
    if (rc || n == -1)
        return rc;
    if (n < 0)
        return damage(r, "a negative length");
    rc = field_room(f, 1); /* so that an empty value is not taken for null */
    if (!rc)
        rc = field_read(r, f, (size_t)n);
    if (!rc)
        *out = (struct bytes){f->data, (uint32_t)n};
    return rc;
}

static int header_read(struct reader *r)
{
    uint8_t h[SNAPSHOT_HEADER_BYTES];
    int rc = snapshot_input_read(r->in, h, sizeof h);
    if (!rc && be32_load(h) != SNAPSHOT_MAGIC)
        rc = damage(r, "the file does not begin with ZKSN");
    return rc;
}

static int sessions_read(struct reader *r)
{
    int32_t count, timeout_ms;
    int64_t id;
    int rc = int_read(r, &count);
    for (int32_t i = 0; i < count && !rc; i++) {
        rc = long_read(r, &id);
        if (!rc)
            rc = int_read(r, &timeout_ms);
        if (!rc && r->sink)
            rc = r->sink->session(r->sink->ctx, id, timeout_ms);
        r->counts.sessions += !rc;
    }
    return rc;
}

/* The lengths inside an ACL entry have to be read to know where it ends. */
static int acl_string_read(struct reader *r)
{
    struct field *f = &r->acl;
    int rc = field_read(r, f, 4);
    if (rc)
        return rc;
    int32_t n = (int32_t)be32_load(f->data + f->size - 4);
    if (n < -1)
        return damage(r, "a negative length in an ACL");
    return n > 0 ? field_read(r, f, (size_t)n) : PERSIST_OK;
}

static int acl_vector_read(struct reader *r, struct txn_acl *out)
{
    r->acl.size = 0;
    int rc = field_read(r, &r->acl, 4);
    if (rc)
        return rc;
    out->count = (int32_t)be32_load(r->acl.data);
    if (out->count < -1)
        return damage(r, "a negative count in an ACL");
    for (int32_t i = 0; i < out->count && !rc; i++) {
        rc = field_read(r, &r->acl, 4); /* perms */
        if (!rc)
            rc = acl_string_read(r); /* scheme */
        if (!rc)
            rc = acl_string_read(r); /* id */
    }
    out->raw = (struct bytes){r->acl.data, (uint32_t)r->acl.size};
    return rc;
}

static int acls_read(struct reader *r)
{
    int32_t count;
    int64_t key;
    struct txn_acl acl;
    int rc = int_read(r, &count);
    for (int32_t i = 0; i < count && !rc; i++) {
        rc = long_read(r, &key);
        if (!rc)
            rc = acl_vector_read(r, &acl);
        if (!rc && r->sink)
            rc = r->sink->acl(r->sink->ctx, key, &acl);
        r->counts.acls += !rc;
    }
    return rc;
}

static void stat_decode(const uint8_t b[STAT_PERSISTED_BYTES], struct stat_persisted *out)
{
    struct jute_reader j = jute_reader_of(b, STAT_PERSISTED_BYTES);
    out->czxid = jute_read_long(&j);
    out->mzxid = jute_read_long(&j);
    out->ctime = jute_read_long(&j);
    out->mtime = jute_read_long(&j);
    out->version = jute_read_int(&j);
    out->cversion = jute_read_int(&j);
    out->aversion = jute_read_int(&j);
    out->ephemeral_owner = jute_read_long(&j);
    out->pzxid = jute_read_long(&j);
    CHECK(!j.failed && jute_left(&j) == 0);
}

/* *last: the terminator "/" stood in the place of a path. */
static int node_read(struct reader *r, bool *last)
{
    uint8_t stat[STAT_PERSISTED_BYTES];
    struct snapshot_node node;
    int rc = bytes_read(r, &r->path, &node.path);
    *last = !rc && node.path.data && node.path.size == 1 && node.path.data[0] == '/';
    if (rc || *last)
        return rc;
    bool root = r->counts.nodes == 0;
    if (!node.path.data || (node.path.size == 0) != root || (!root && node.path.data[0] != '/'))
        return damage(r, "a node path out of place");
    rc = bytes_read(r, &r->data, &node.data);
    if (!rc)
        rc = long_read(r, &node.acl_key);
    if (!rc)
        rc = snapshot_input_read(r->in, stat, sizeof stat);
    if (rc)
        return rc;
    stat_decode(stat, &node.stat);
    r->counts.nodes++;
    rc = r->sink ? r->sink->node(r->sink->ctx, &node) : PERSIST_OK;
    return rc == PERSIST_EDAMAGE ? damage(r, "a node that does not fit into the tree") : rc;
}

static int nodes_read(struct reader *r)
{
    bool last = false;
    int rc = PERSIST_OK;
    while (!rc && !last)
        rc = node_read(r, &last);
    return rc;
}

static bool seal_good(const uint8_t seal[SEAL_BYTES], uint32_t sum)
{
    static const uint8_t end[5] = {0, 0, 0, 1, '/'};
    return be64_load(seal) == sum && memcmp(seal + 8, end, sizeof end) == 0;
}

/* A part of the trailer and the seal over everything up to it. */
static int part_check(struct reader *r, const uint8_t *part, size_t part_bytes)
{
    snapshot_input_add(r->in, part, part_bytes);
    if (!seal_good(part + part_bytes, snapshot_input_sum(r->in)))
        return damage(r, "the checksum does not match");
    snapshot_input_add(r->in, part + part_bytes, SEAL_BYTES);
    return PERSIST_OK;
}

/* Parts 6 to 9 are optional; what is there shows by the length left (section 5.2). */
static int trailer_read(struct reader *r, struct snapshot_digest *digest)
{
    enum { A = DIGEST_BYTES + SEAL_BYTES, B = LAST_ZXID_BYTES + SEAL_BYTES };
    uint8_t rest[A + B + 1];
    int64_t n = snapshot_input_rest(r->in, rest, sizeof rest);
    if (n < 0)
        return (int)n;
    if (n != 0 && n != A && n != B && n != A + B)
        return damage(r, "the parts behind the first checksum have no known length");
    int rc = PERSIST_OK;
    size_t at = 0;
    if (n >= A) {
        rc = part_check(r, rest, DIGEST_BYTES);
        digest->zxid = (zxid_t)be64_load(rest);
        digest->tree = be64_load(rest + 12);
        digest->known = be32_load(rest + 8) == TXN_DIGEST_VERSION && digest->zxid != 0;
        at = A;
    }
    if (!rc && (size_t)n > at)
        rc = part_check(r, rest + at, LAST_ZXID_BYTES);
    return rc;
}

static int seal_read(struct reader *r)
{
    uint8_t seal[SEAL_BYTES];
    uint32_t sum = snapshot_input_sum(r->in);
    int rc = snapshot_input_read(r->in, seal, sizeof seal);
    if (!rc && !seal_good(seal, sum))
        rc = damage(r, "the checksum does not match");
    return rc;
}

static int file_read(struct reader *r)
{
    struct snapshot_digest digest = {false, 0, 0};
    int rc = header_read(r);
    if (!rc && r->sink && r->sink->begin)
        rc = r->sink->begin(r->sink->ctx, r->zxid);
    if (!rc)
        rc = sessions_read(r);
    if (!rc)
        rc = acls_read(r);
    if (!rc)
        rc = nodes_read(r);
    if (!rc)
        rc = seal_read(r);
    if (!rc)
        rc = trailer_read(r, &digest);
    /* A digest older than the name says nothing about this tree (section 5.6). */
    if (digest.zxid < r->zxid)
        digest = (struct snapshot_digest){false, 0, 0};
    if (!rc && r->sink)
        rc = r->sink->end(r->sink->ctx, r->zxid, &digest);
    return rc;
}

static void explain(const struct reader *r, int rc, const char *dir, const char *name, char *why,
                    size_t why_bytes)
{
    const char *reason = r->reason               ? r->reason
                         : rc == PERSIST_EDAMAGE ? "the file ends too early or does not inflate"
                                                 : persist_error_text(rc);
    snprintf(why, why_bytes, "%s/%s: %s, at byte %" PRIu64 " (uncompressed)", dir, name, reason,
             r->in ? snapshot_input_offset(r->in) : 0);
}

int snapshot_read(struct storage s, const char *dir, const char *name,
                  const struct snapshot_sink *sink, struct snapshot_counts *counts, char *why,
                  size_t why_bytes)
{
    struct reader r = {.sink = sink};
    enum snapshot_compression how;
    if (why_bytes)
        why[0] = 0;
    if (!directory_snapshot_parse(name, &r.zxid, &how))
        return PERSIST_EREFUSED;
    int rc = snapshot_input_open(&r.in, s, dir, name);
    if (!rc)
        rc = file_read(&r);
    if (rc == PERSIST_EREFUSED && how == SNAPSHOT_SNAPPY)
        r.reason = "snappy compression is not supported; let ZooKeeper write a snapshot with "
                   "snapshot.compression.method=gz or none, then start again";
    if (rc)
        explain(&r, rc, dir, name, why, why_bytes);
    if (counts)
        *counts = r.counts;
    snapshot_input_close(r.in);
    free(r.path.data);
    free(r.data.data);
    free(r.acl.data);
    return rc;
}

static bool plausible_bytes(struct storage s, int file, enum snapshot_compression how)
{
    static const uint8_t snappy_magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
    static const uint8_t end[5] = {0, 0, 0, 1, '/'};
    uint8_t b[8];
    uint64_t size;
    if (s.ops->size(s.ctx, file, &size) != PERSIST_OK || size < 10)
        return false;
    switch (how) {
    case SNAPSHOT_GZ:
        return storage_read(s, file, b, 2, 0) == PERSIST_OK && b[0] == 0x1f && b[1] == 0x8b;
    case SNAPSHOT_SNAPPY:
        return storage_read(s, file, b, 8, 0) == PERSIST_OK && memcmp(b, snappy_magic, 8) == 0;
    case SNAPSHOT_PLAIN:
    default:
        return storage_read(s, file, b, 5, size - 5) == PERSIST_OK && memcmp(b, end, 5) == 0;
    }
}

bool snapshot_plausible(struct storage s, const char *dir, const char *name)
{
    char path[STORAGE_PATH_BYTES_MAX];
    zxid_t zxid;
    enum snapshot_compression how;
    if (storage_path(path, dir, name) || !directory_snapshot_parse(name, &zxid, &how))
        return false;
    int file = s.ops->open(s.ctx, path, STORAGE_READ);
    if (file < 0)
        return false;
    bool yes = plausible_bytes(s, file, how);
    s.ops->close(s.ctx, file);
    return yes;
}
