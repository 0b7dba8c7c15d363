/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* Which containers and TTL znodes have had their time (semantics.md section 14). */
#include "tree/tree_internal.h"

static bool due(const struct version *v, enum mark_kind kind, int64_t now_ms,
                int64_t never_used_ms_max)
{
    if (version_num_children(v) != 0)
        return false;
    int64_t age_ms = now_ms - (int64_t)be64_load(v->stat + STAT_MTIME);
    if (kind == MARK_TTL)
        return age_ms > (version_owner_raw(v) & ~OWNER_TTL_MASK);
    return v->cversion > 0 || (never_used_ms_max != 0 && age_ms > never_used_ms_max);
}

static uint32_t scan(struct tree *t, enum mark_kind kind, int64_t now_ms, int64_t never_used_ms_max,
                     uint32_t max, struct buffer *out)
{
    struct mark_list *list = &t->ledger.lists[kind];
    uint64_t looks = list->count < REAP_SCAN_MAX ? list->count : REAP_SCAN_MAX;
    uint32_t found = 0;
    for (; looks > 0 && found < max; looks--) {
        struct mark *m = list->first;
        ledger_rotate(&t->ledger, m);
        const struct version *v = store_newest(t->store, store_key(t->store, mark_path(m)));
        CHECK(v);
        if (!due(v, kind, now_ms, never_used_ms_max))
            continue;
        size_t size = out->size;
        buffer_put_bytes(out, mark_path(m));
        if (out->failed) { /* what does not fit waits for the next call */
            out->size = size;
            out->failed = false;
            break;
        }
        found++;
    }
    return found;
}

uint32_t tree_reap_candidates(struct tree *t, int64_t now_ms, int64_t never_used_ms_max,
                              uint32_t max, struct buffer *out)
{
    uint32_t found = scan(t, MARK_CONTAINER, now_ms, never_used_ms_max, max, out);
    return found + scan(t, MARK_TTL, now_ms, never_used_ms_max, max - found, out);
}
