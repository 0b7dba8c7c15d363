/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Any bytes as a log file, with or without a companion: recovery ends in bounded work with an
 * answer, and a second recovery of what it left behind agrees with the first.
 */
#include "tests/persist/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count_txn(void *ctx, const struct txn *txn, struct bytes entry)
{
    uint64_t *n = ctx;
    CHECK(entry.size >= TXN_HEADER_BYTES && txn->header.zxid > 0);
    ++*n;
    return PERSIST_OK;
}

static int recover_count(struct mem_disk *d, uint64_t *n, struct recover_report *report)
{
    struct directory dir = batch_directory(BATCH_DIR);
    struct recover_options options = {.trust_empty = true};
    struct recover_sink sink = {.txn = count_txn, .ctx = n};
    *n = 0;
    return recover_run(mem_storage(d), &dir, &options, &sink, report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct recover_report report;
    uint64_t first, second;
    if (size < 1)
        return 0;
    struct mem_disk *d = mem_new();
    size_t companion = data[0] & 1 && size > 12300 ? 12288 : 0;
    if (companion)
        mem_put(d, BATCH_DIR "/acknowledged", data + 1, companion);
    mem_put(d, BATCH_DIR "/log.1", data + 1 + companion, size - 1 - companion);
    int rc = recover_count(d, &first, &report);
    CHECK(rc == PERSIST_OK || report.refusal[0]);
    int rc2 = recover_count(d, &second, &report);
    CHECK(rc == rc2 && first == second);
    CHECK(rc != PERSIST_OK || report.cut_bytes == 0);
    mem_free(d);
    return 0;
}
