/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* Any bytes as a snapshot, plain or gzip: read to an answer, in memory bounded by what is there. */
#include "client/wire/check.h"
#include "persist/snapshot.h"
#include "tests/persist/memory_storage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_session(void *ctx, session_id_t id, int32_t timeout_ms)
{
    (void)ctx, (void)id, (void)timeout_ms;
    return PERSIST_OK;
}

static int on_acl(void *ctx, int64_t key, const struct txn_acl *acl)
{
    (void)ctx, (void)key;
    struct jute_reader r = jute_reader_of(acl->raw.data, acl->raw.size);
    struct txn_acl again = txn_acl_read(&r);
    CHECK(!r.failed && again.count == acl->count && jute_left(&r) == 0);
    return PERSIST_OK;
}

static int on_node(void *ctx, const struct snapshot_node *node)
{
    (void)ctx;
    CHECK(node->path.data);
    return PERSIST_OK;
}

static int on_end(void *ctx, zxid_t zxid, const struct snapshot_digest *digest)
{
    (void)ctx;
    CHECK(!digest->known || digest->zxid >= zxid);
    return PERSIST_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct snapshot_sink sink = {
        .session = on_session, .acl = on_acl, .node = on_node, .end = on_end};
    char why[256];
    struct snapshot_counts counts;
    if (size < 1)
        return 0;
    const char *name = data[0] & 1 ? "snapshot.5.gz" : "snapshot.5";
    char path[128];
    struct mem_disk *d = mem_new();
    snprintf(path, sizeof path, "d/%s", name);
    mem_put(d, path, data + 1, size - 1);
    int rc = snapshot_read(mem_storage(d), "d", name, &sink, &counts, why, sizeof why);
    CHECK(rc == PERSIST_OK || why[0]);
    (void)snapshot_plausible(mem_storage(d), "d", name);
    mem_free(d);
    return 0;
}
