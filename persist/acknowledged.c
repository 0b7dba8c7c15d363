/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "persist/acknowledged.h"

#include <string.h>
#include <zlib.h>

#include "client/wire/check.h"
#include "client/wire/jute.h"

/* One slot per page, so that neither a torn sector nor a torn page reaches two. */
#define MAGIC 0x53454e474941434bull /* "SENGIACK" */
#define SLOT_STRIDE 4096
#define SLOT_AFTER 2
#define SLOT_COUNT 3
/* magic, sequence, file, durable offset, durable zxid, batch end, batch zxid: 8 each; flags 4,
 * crc32 4 */
#define SLOT_BYTES 64
#define SLOT_CRC_AT 60
#define FLAG_WHOLE 1u
#define FLAG_CHAINED 2u

static void slot_encode(uint8_t slot[SLOT_BYTES], uint64_t sequence,
                        const struct acknowledged_claim *c)
{
    be64_store(slot, MAGIC);
    be64_store(slot + 8, sequence);
    be64_store(slot + 16, (uint64_t)c->file_zxid);
    be64_store(slot + 24, c->durable_offset);
    be64_store(slot + 32, (uint64_t)c->durable_zxid);
    be64_store(slot + 40, c->batch_end);
    be64_store(slot + 48, (uint64_t)c->batch_zxid);
    be32_store(slot + 56, (c->whole ? FLAG_WHOLE : 0) | (c->chained ? FLAG_CHAINED : 0));
    be32_store(slot + SLOT_CRC_AT, (uint32_t)crc32(0, slot, SLOT_CRC_AT));
}

static bool slot_decode(const uint8_t slot[SLOT_BYTES], uint64_t *sequence,
                        struct acknowledged_claim *c)
{
    if (be64_load(slot) != MAGIC ||
        be32_load(slot + SLOT_CRC_AT) != (uint32_t)crc32(0, slot, SLOT_CRC_AT))
        return false;
    *sequence = be64_load(slot + 8);
    c->file_zxid = (zxid_t)be64_load(slot + 16);
    c->durable_offset = be64_load(slot + 24);
    c->durable_zxid = (zxid_t)be64_load(slot + 32);
    c->batch_end = be64_load(slot + 40);
    c->batch_zxid = (zxid_t)be64_load(slot + 48);
    c->whole = be32_load(slot + 56) & FLAG_WHOLE;
    c->chained = be32_load(slot + 56) & FLAG_CHAINED;
    return c->durable_offset <= c->batch_end && c->durable_zxid <= c->batch_zxid;
}

/* *sequence is that of the newest slot that checks, 0 when there is none. */
static int slots_read(struct storage s, int file, uint64_t *sequence,
                      struct acknowledged_claim *claim)
{
    *sequence = 0;
    for (uint64_t i = 0; i < SLOT_COUNT; i++) {
        uint8_t slot[SLOT_BYTES];
        uint64_t slot_sequence;
        struct acknowledged_claim c;
        int rc = storage_read(s, file, slot, sizeof slot, i * SLOT_STRIDE);
        if (rc == PERSIST_EDAMAGE)
            continue; /* shorter than that */
        if (rc)
            return rc;
        if (slot_decode(slot, &slot_sequence, &c) && slot_sequence > *sequence) {
            *sequence = slot_sequence;
            *claim = c;
        }
    }
    return PERSIST_OK;
}

/* Full size from the beginning: later claims change no metadata. */
static int file_create(struct storage s, const char *dir, const char *path)
{
    static const uint8_t zeros[SLOT_STRIDE * SLOT_COUNT];
    int file = s.ops->open(s.ctx, path, STORAGE_CREATE);
    if (file < 0)
        return file;
    int rc = storage_write(s, file, zeros, sizeof zeros, 0);
    if (!rc)
        rc = s.ops->sync(s.ctx, file);
    if (!rc)
        rc = s.ops->sync_dir(s.ctx, dir);
    if (!rc)
        return file;
    s.ops->close(s.ctx, file);
    return rc;
}

static int claim_write(struct acknowledged *a, const struct acknowledged_claim *claim, uint64_t at)
{
    uint8_t slot[SLOT_BYTES];
    struct acknowledged_claim c = *claim;
    CHECK(a->file >= 0);
    CHECK(c.durable_offset <= c.batch_end && c.durable_zxid <= c.batch_zxid);
    c.chained = a->chained;
    slot_encode(slot, ++a->sequence, &c);
    return storage_write(a->s, a->file, slot, sizeof slot, at * SLOT_STRIDE);
}

/* Does the storage promise invariant 3? If not, an old claim must not say so any longer. */
static int chain_begin(struct acknowledged *a)
{
    struct acknowledged_claim old;
    int rc = slots_read(a->s, a->file, &a->sequence, &old);
    a->batches = a->sequence;
    if (rc)
        return rc;
    rc = a->s.ops->write_out(a->s.ctx, a->file, true);
    a->chained = rc == PERSIST_OK;
    if (rc != PERSIST_EREFUSED || a->sequence == 0 || !old.chained)
        return rc == PERSIST_EREFUSED ? PERSIST_OK : rc;
    rc = claim_write(a, &old, SLOT_AFTER);
    return rc ? rc : acknowledged_sync(a);
}

int acknowledged_open(struct acknowledged *a, struct storage s, const char *dir)
{
    char path[STORAGE_PATH_BYTES_MAX];
    *a = (struct acknowledged){.s = s, .file = -1};
    if (storage_path(path, dir, ACKNOWLEDGED_NAME))
        return PERSIST_EREFUSED;
    int file = s.ops->open(s.ctx, path, STORAGE_WRITE);
    if (file == PERSIST_ENOENT)
        file = file_create(s, dir, path);
    if (file < 0)
        return file;
    a->file = file;
    int rc = chain_begin(a);
    if (rc)
        acknowledged_close(a);
    return rc;
}

int acknowledged_before(struct acknowledged *a, const struct acknowledged_claim *claim)
{
    int rc = claim_write(a, claim, a->batches++ % SLOT_AFTER);
    if (rc || !a->chained)
        return rc;
    a->in_transfer = true;
    return a->s.ops->write_out(a->s.ctx, a->file, false);
}

int acknowledged_transfer(struct acknowledged *a)
{
    if (!a->in_transfer)
        return PERSIST_OK;
    a->in_transfer = false;
    return a->s.ops->write_out(a->s.ctx, a->file, true);
}

int acknowledged_after(struct acknowledged *a, const struct acknowledged_claim *claim)
{
    CHECK(claim->durable_offset == claim->batch_end && !a->in_transfer);
    return claim_write(a, claim, SLOT_AFTER);
}

int acknowledged_sync(struct acknowledged *a)
{
    return a->s.ops->sync(a->s.ctx, a->file);
}

void acknowledged_close(struct acknowledged *a)
{
    if (a->file >= 0)
        a->s.ops->close(a->s.ctx, a->file);
    a->file = -1;
}

int acknowledged_read(struct storage s, const char *dir, struct acknowledged_claim *claim)
{
    char path[STORAGE_PATH_BYTES_MAX];
    uint64_t sequence;
    if (storage_path(path, dir, ACKNOWLEDGED_NAME))
        return PERSIST_EREFUSED;
    int file = s.ops->open(s.ctx, path, STORAGE_READ);
    if (file < 0)
        return file;
    int rc = slots_read(s, file, &sequence, claim);
    s.ops->close(s.ctx, file);
    if (rc)
        return rc;
    return sequence ? PERSIST_OK : PERSIST_EDAMAGE;
}

int acknowledged_clear(struct storage s, const char *dir)
{
    char path[STORAGE_PATH_BYTES_MAX];
    if (storage_path(path, dir, ACKNOWLEDGED_NAME))
        return PERSIST_EREFUSED;
    int rc = s.ops->unlink(s.ctx, path);
    if (rc && rc != PERSIST_ENOENT)
        return rc;
    return s.ops->sync_dir(s.ctx, dir);
}
