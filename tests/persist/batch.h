/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Batches of setData txns whose bytes follow from their zxid, and a sink that knows them again:
 * what recovery hands out is compared to the byte with what was appended.
 */
#ifndef SENGI_TESTS_PERSIST_BATCH_H
#define SENGI_TESTS_PERSIST_BATCH_H

#include "client/wire/check.h"
#include "client/wire/txn.h"
#include "persist/recover.h"
#include "persist/txnlog.h"
#include "tests/persist/memory_storage.h"

#define BATCH_DIR "d/version-2"
#define BATCH_ENTRY_MAX 8192

struct batch {
    uint8_t bytes[65536];
    size_t size;
    zxid_t first, last;
};

/* Bytes of data in the txn with this zxid; differs from one to the next. */
static inline uint32_t batch_data_bytes(zxid_t zxid, uint32_t base)
{
    return base + (uint32_t)(zxid * 37 % 50);
}

static inline size_t batch_entry(uint8_t *out, size_t room, zxid_t zxid, uint32_t data_base)
{
    uint8_t data[BATCH_ENTRY_MAX];
    uint32_t n = batch_data_bytes(zxid, data_base);
    for (uint32_t i = 0; i < n; i++)
        data[i] = (uint8_t)(zxid * 131 + i * 7 + 1);
    struct txn_header h = {0x1234567, (int32_t)zxid, zxid, 1700000000000 + zxid, OP_SET_DATA};
    struct txn_set_data t = {BYTES_OF("/a/path"), {data, n}, (int32_t)zxid};
    struct jute_writer w = jute_writer_of(out, room);
    txn_header_write(&w, &h);
    txn_set_data_write(&w, &t);
    txn_digest_write(&w, (uint64_t)zxid * 3);
    CHECK(!w.failed);
    return jute_written(&w);
}

static inline void batch_add(struct batch *b, zxid_t zxid, uint32_t data_base)
{
    uint8_t *record = b->bytes + b->size;
    size_t room = sizeof b->bytes - b->size - TXNLOG_RECORD_HEAD - TXNLOG_RECORD_TAIL;
    int n = txnlog_seal(record, batch_entry(record + TXNLOG_RECORD_HEAD, room, zxid, data_base));
    CHECK(n > 0);
    if (b->size == 0)
        b->first = zxid;
    b->last = zxid;
    b->size += (size_t)n;
}

/* Records first..last in one batch. */
static inline struct batch *batch_of(zxid_t first, zxid_t last, uint32_t data_base)
{
    static struct batch b;
    b.size = 0;
    for (zxid_t z = first; z <= last; z++)
        batch_add(&b, z, data_base);
    return &b;
}

static inline int batch_append(struct txnlog *log, const struct batch *b)
{
    return txnlog_append(log, b->first, b->last, b->bytes, b->size);
}

/* ---- the other side ---- */

struct seen {
    uint32_t data_base;
    zxid_t last;
    uint64_t count, wrong; /* wrong: bytes differ from what was appended */
};

static inline int seen_txn(void *ctx, const struct txn *txn, struct bytes entry)
{
    struct seen *s = ctx;
    uint8_t expected[BATCH_ENTRY_MAX];
    zxid_t zxid = txn->header.zxid;
    size_t n = batch_entry(expected, sizeof expected, zxid, s->data_base);
    s->wrong += n != entry.size || memcmp(expected, entry.data, n) != 0;
    s->wrong += zxid != s->last + 1 && !((zxid >> 32) > (s->last >> 32) && (int32_t)zxid == 1);
    s->last = zxid;
    s->count++;
    return PERSIST_OK;
}

static inline struct recover_sink seen_sink(struct seen *s)
{
    return (struct recover_sink){.txn = seen_txn, .ctx = s};
}

static inline struct directory batch_directory(const char *dir)
{
    struct directory d = {.initialize = "d/initialize"};
    snprintf(d.snap, sizeof d.snap, "%s", dir);
    snprintf(d.log, sizeof d.log, "%s", dir);
    return d;
}

/* Recover logs without a snapshot. */
static inline int batch_recover_in(struct storage s, const char *dir, uint32_t data_base,
                                   struct seen *seen, struct recover_report *report)
{
    struct directory d = batch_directory(dir);
    struct recover_options options = {.trust_empty = true};
    *seen = (struct seen){.data_base = data_base};
    struct recover_sink sink = seen_sink(seen);
    return recover_run(s, &d, &options, &sink, report);
}

static inline int batch_recover(struct mem_disk *disk, uint32_t data_base, struct seen *seen,
                                struct recover_report *report)
{
    return batch_recover_in(mem_storage(disk), BATCH_DIR, data_base, seen, report);
}

#endif
