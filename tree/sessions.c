/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* Sessions and their ephemerals, as the txns know them (semantics.md section 13). */
#include "tree/tree_internal.h"

int tree_session_end(struct tree *t, session_id_t session)
{
    struct owner *o = ledger_owner(&t->ledger, session);
    if (!o)
        return 0;
    o->references++; /* it must outlive its last mark */
    int rc = 0;
    while (rc == 0 && o->marks.first)
        rc = tree_node_remove(t, mark_path(o->marks.first));
    if (rc == 0 && ledger_session_clear(&t->ledger, session))
        rc = TREE_ENOMEM;
    /* Undo entries of this txn hold the owner if anything was removed; an owner without marks is a
     * session. */
    CHECK(o->references > 1);
    o->references--;
    return rc;
}

bool tree_session_find(const struct tree *t, session_id_t id, int32_t *timeout_ms)
{
    const struct owner *o = ledger_owner(&t->ledger, id);
    if (!o || !o->is_session)
        return false;
    if (timeout_ms)
        *timeout_ms = o->timeout_ms;
    return true;
}

uint32_t tree_session_count(const struct tree *t)
{
    return (uint32_t)t->ledger.sessions;
}

uint32_t tree_sessions_copy(const struct tree *t, struct tree_session *out, uint32_t max)
{
    uint32_t n = 0;
    for (const struct owner *o = ledger_owner_next(&t->ledger, NULL); o && n < max;
         o = ledger_owner_next(&t->ledger, o))
        if (o->is_session)
            out[n++] = (struct tree_session){o->id, o->timeout_ms};
    return n;
}

uint32_t tree_orphans_copy(const struct tree *t, session_id_t *out, uint32_t max)
{
    uint32_t n = 0;
    for (const struct owner *o = ledger_owner_next(&t->ledger, NULL); o && n < max;
         o = ledger_owner_next(&t->ledger, o))
        if (!o->is_session && o->marks.count)
            out[n++] = o->id;
    return n;
}

/* Null, blank or "/": all of them (client-protocol.md section 12). */
static bool prefix_is_all(struct bytes prefix)
{
    uint32_t slashes = 0;
    for (uint32_t i = 0; i < prefix.size; i++) {
        slashes += prefix.data[i] == '/';
        if (prefix.data[i] > ' ' && prefix.data[i] != '/')
            return false;
    }
    return slashes <= 1;
}

void tree_ephemerals_write(const struct tree *t, session_id_t session, struct bytes prefix,
                           struct buffer *out)
{
    const struct owner *o = ledger_owner(&t->ledger, session);
    bool all = prefix_is_all(prefix);
    size_t at = out->size;
    int32_t count = 0;
    buffer_put_int(out, 0);
    for (const struct mark *m = o ? o->marks.first : NULL; m && !out->failed; m = m->next) {
        if (!all && !path_starts(mark_path(m), prefix))
            continue;
        buffer_put_bytes(out, mark_path(m));
        count++;
    }
    if (!out->failed)
        be32_store(out->data + at, (uint32_t)count);
}

void tree_ephemerals_each(const struct tree *t,
                          void (*each)(void *ctx, session_id_t session, struct bytes path),
                          void *ctx)
{
    for (const struct owner *o = ledger_owner_next(&t->ledger, NULL); o;
         o = ledger_owner_next(&t->ledger, o))
        for (const struct mark *m = o->marks.first; m; m = m->next)
            each(ctx, o->id, mark_path(m));
}
