/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The znode version: one immutable state of one znode, stamped with the zxid that made it.
 *
 *   index slot --> version z=90 --prev--> version z=71 --prev--> version z=12
 *                  (maybe not yet        (what a reader at
 *                   visible)              V in 71..89 sees)
 *
 * Invariants
 *   I1  v->prev == NULL or v->prev->vzxid < v->vzxid.
 *   I2  A version is written completely before the index slot that exposes it is stored with
 *       release; afterwards only the writer changes it, and only while vzxid > visible (a reader at
 *       V looks at vzxid and prev of such a version, at nothing else).
 *   I3  A version superseded at zxid z is freed only after every core has drained its ring to z and
 *       a grace period has passed; `prev` of the version made at z dangles from then on and no
 *       reader at V >= z follows it.
 *   I4  Stat is stored as the 68 bytes that go on the wire.
 *
 * One writer (the control core); readers: any core inside a read-side critical section, the
 * snapshot thread under a pin.
 */
#ifndef SENGI_TREE_VERSION_H
#define SENGI_TREE_VERSION_H

#include <assert.h>
#include <stdatomic.h>

#include "client/wire/jute.h"
#include "client/wire/types.h"

struct children;

/** 128-bit keyed hash of the full path (XXH3 with a secret drawn at start). `lo` picks the bucket
 * and is kept in the version; 16 bits of `hi` are the tag in the slot. The root's path is "/" for
 * hashing. */
struct tree_key {
    uint64_t lo, hi;
};

enum version_flag {
    VERSION_DEAD = 1,      /* tombstone: the znode does not exist from vzxid on */
    VERSION_NULL = 2,      /* data is null, not empty */
    VERSION_EXTERNAL = 4,  /* tail holds a pointer to the data instead of the data */
    VERSION_CONTAINER = 8, /* raw ephemeralOwner is OWNER_CONTAINER, shown as 0 */
    VERSION_TTL = 16,      /* tail begins with the 8-byte ttl, shown as 0 */
};

struct version {
    zxid_t vzxid;
    struct version *prev;
    uint64_t key_lo;
    struct children *children; /* NULL = none */
    uint32_t acl;              /* interned ACL id; 0 = world:anyone:31 */
    int32_t cversion;          /* stored: creations of children only */
    uint32_t digest_prefix;    /* CRC-32 of path and data: stays when only Stat changes */
    uint8_t flags;             /* enum version_flag */
    uint8_t spare[3];
    uint8_t stat[STAT_BYTES]; /* wire order; cversion, ephemeralOwner as a client sees them */
    uint8_t tail[];           /* [ttl 8 bytes] then data bytes, or a pointer (memcpy: unaligned) */
};

static_assert(offsetof(struct version, stat) == 48, "Stat begins in the first cache line");
static_assert(offsetof(struct version, tail) == 116, "header of a version");

/* Offsets inside stat. */
enum {
    STAT_CZXID = 0,
    STAT_MZXID = 8,
    STAT_CTIME = 16,
    STAT_MTIME = 24,
    STAT_VERSION = 32,
    STAT_CVERSION = 36,
    STAT_AVERSION = 40,
    STAT_OWNER = 44,
    STAT_DATA_LENGTH = 52,
    STAT_NUM_CHILDREN = 56,
    STAT_PZXID = 60,
};

/** Data up to this many bytes is kept in the version itself. */
#define VERSION_INLINE_BYTES_MAX 512

static inline uint32_t version_data_size(const struct version *v)
{
    return be32_load(v->stat + STAT_DATA_LENGTH);
}

static inline uint32_t version_num_children(const struct version *v)
{
    return be32_load(v->stat + STAT_NUM_CHILDREN);
}

/** Data of a live version. Borrowed until the reader's quiescent state. */
static inline struct bytes version_data(const struct version *v)
{
    if (v->flags & VERSION_NULL)
        return BYTES_NULL;
    const uint8_t *p = v->tail + (v->flags & VERSION_TTL ? 8 : 0);
    if (v->flags & VERSION_EXTERNAL)
        memcpy(&p, p, sizeof(uint8_t *));
    return (struct bytes){p, version_data_size(v)};
}

/** Raw ephemeralOwner as kept on disk (disk-formats.md section 3.5). */
static inline int64_t version_owner_raw(const struct version *v)
{
    if (v->flags & VERSION_CONTAINER)
        return OWNER_CONTAINER;
    if (v->flags & VERSION_TTL) {
        int64_t ttl;
        memcpy(&ttl, v->tail, sizeof ttl);
        return OWNER_TTL_MASK | ttl;
    }
    return (int64_t)be64_load(v->stat + STAT_OWNER);
}

/** The version a reader at V sees, or NULL when the znode does not exist at V. */
static inline const struct version *version_at(const struct version *v, zxid_t visible)
{
    while (v && v->vzxid > visible)
        v = v->prev;
    return v && !(v->flags & VERSION_DEAD) ? v : NULL;
}

#endif
