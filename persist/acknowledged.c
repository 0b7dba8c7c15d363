/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "persist/acknowledged.h"

#include <string.h>
#include <zlib.h>

#include "client/wire/check.h"
#include "client/wire/jute.h"

/* Slot: magic 8 | sequence 8 | file 8 | durable offset 8 | batch end 8 | durable zxid 8 | crc32 4.
 * One slot per page, so that neither a torn sector nor a torn page reaches both. */
#define MAGIC 0x53454e474941434bull /* "SENGIACK" */
#define SLOT_STRIDE 4096
#define SLOT_COUNT 2
#define SLOT_BYTES 52
#define SLOT_CRC_AT 48

static_assert(SLOT_CRC_AT + 4 == SLOT_BYTES, "the checksum ends the slot");

static void slot_encode(uint8_t slot[SLOT_BYTES], uint64_t sequence,
                        const struct acknowledged_claim *c)
{
    be64_store(slot, MAGIC);
    be64_store(slot + 8, sequence);
    be64_store(slot + 16, (uint64_t)c->file_zxid);
    be64_store(slot + 24, c->durable_offset);
    be64_store(slot + 32, c->batch_end);
    be64_store(slot + 40, (uint64_t)c->durable_zxid);
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
    c->batch_end = be64_load(slot + 32);
    c->durable_zxid = (zxid_t)be64_load(slot + 40);
    return c->durable_offset <= c->batch_end;
}

/* The newest slot that checks; sequence 0 when there is none. */
static uint64_t slots_read(struct storage s, int file, struct acknowledged_claim *claim)
{
    uint64_t newest = 0;
    for (uint64_t i = 0; i < SLOT_COUNT; i++) {
        uint8_t slot[SLOT_BYTES];
        uint64_t sequence;
        struct acknowledged_claim c;
        if (storage_read(s, file, slot, sizeof slot, i * SLOT_STRIDE) != PERSIST_OK)
            continue;
        if (slot_decode(slot, &sequence, &c) && sequence > newest) {
            newest = sequence;
            *claim = c;
        }
    }
    return newest;
}

int acknowledged_open(struct acknowledged *a, struct storage s, const char *dir)
{
    char path[STORAGE_PATH_BYTES_MAX];
    struct acknowledged_claim ignored;
    *a = (struct acknowledged){s, -1, 0, 0};
    if (storage_path(path, dir, ACKNOWLEDGED_NAME))
        return PERSIST_EREFUSED;
    int file = s.ops->open(s.ctx, path, STORAGE_WRITE);
    if (file == PERSIST_ENOENT) {
        file = s.ops->open(s.ctx, path, STORAGE_CREATE);
        if (file >= 0 && s.ops->sync_dir(s.ctx, dir) != PERSIST_OK) {
            s.ops->close(s.ctx, file);
            return PERSIST_EIO;
        }
    }
    if (file < 0)
        return file;
    a->file = file;
    a->sequence = slots_read(s, file, &ignored);
    return PERSIST_OK;
}

int acknowledged_write(struct acknowledged *a, const struct acknowledged_claim *claim)
{
    uint8_t slot[SLOT_BYTES];
    CHECK(claim->durable_offset <= claim->batch_end);
    if (a->file < 0)
        return PERSIST_OK;
    slot_encode(slot, a->sequence + 1, claim);
    uint64_t at = (a->sequence + 1) % SLOT_COUNT * SLOT_STRIDE;
    int rc = storage_write(a->s, a->file, slot, sizeof slot, at);
    if (rc)
        return rc;
    a->sequence++;
    a->unsynced++;
    return PERSIST_OK;
}

int acknowledged_sync(struct acknowledged *a)
{
    if (a->file < 0 || a->unsynced == 0)
        return PERSIST_OK;
    a->unsynced = 0;
    return a->s.ops->sync(a->s.ctx, a->file);
}

void acknowledged_close(struct acknowledged *a)
{
    if (a->file >= 0)
        a->s.ops->close(a->s.ctx, a->file);
    a->file = -1;
}

bool acknowledged_read(struct storage s, const char *dir, struct acknowledged_claim *claim)
{
    char path[STORAGE_PATH_BYTES_MAX];
    if (storage_path(path, dir, ACKNOWLEDGED_NAME))
        return false;
    int file = s.ops->open(s.ctx, path, STORAGE_READ);
    if (file < 0)
        return false;
    uint64_t sequence = slots_read(s, file, claim);
    s.ops->close(s.ctx, file);
    return sequence > 0;
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
