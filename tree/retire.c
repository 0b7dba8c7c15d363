/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Undoing txns, and freeing what txns superseded or what was undone.
 *
 * Who could still hold what is freed here, argued away:
 *   a reader at V >= z     never follows prev of the version made at z (I3), finds newer slots
 *   a reader at V < z      none: every core has drained past z before store_retire
 *   a reader mid-lookup    may hold any version it passed on the way: the grace period waits for it
 *   a pinned walk          nothing leaves `held` or `waste` while there is a pin
 *   an old index bucket    belongs to a table that is retired later; who looks there entered before
 *                          the split
 *
 * Ordering
 *   D0  the call_rcu thread pushes a batch to `done` with release after its last access
 *   D1  the writer takes all of `done` with acquire before it frees and uses the txns again
 *   D2  the call_rcu thread counts the batch with release as the last thing; when all are counted
 *       the store may be freed
 */
#include <unistd.h>

#include "tree/store_private.h"

#define SPARE_TXNS_MAX 1024     /* kept for reuse */
#define SPARE_ENTRIES_MAX 64    /* of a txn that is kept */
#define SPARE_PATH_BYTES_MAX 2048

#if defined(__SANITIZE_THREAD__)
char reader_grace;
#endif

/* --- txns as memory --- */

struct store_txn *txn_take(struct store *s)
{
    struct store_txn *txn = (struct store_txn *)txn_list_pop(&s->spare);
    if (!txn) {
        txn = calloc(1, sizeof *txn);
        if (!txn)
            return NULL;
        txn->pub.undo = &txn->undo;
        txn->undo.store = s;
    }
    CHECK(txn->undo.count == 0 && txn->pub.change_count == 0);
    txn->undo.fate = TXN_OPEN;
    return txn;
}

void txn_free(struct tree_txn *txn)
{
    struct txn_undo *u = txn->undo;
    while (u->paths) {
        struct path_chunk *chunk = u->paths;
        u->paths = chunk->next;
        free(chunk);
    }
    free(u->entries);
    free(txn->changes);
    free(txn);
}

/** Keep an emptied txn for txn_take, unless it had grown large. */
static void txn_recycle(struct store *s, struct tree_txn *txn)
{
    struct txn_undo *u = txn->undo;
    if (s->spare.count >= SPARE_TXNS_MAX || u->capacity > SPARE_ENTRIES_MAX ||
        u->changes_capacity > SPARE_ENTRIES_MAX ||
        (u->paths && (u->paths->next || u->paths->size > SPARE_PATH_BYTES_MAX))) {
        txn_free(txn);
        return;
    }
    if (u->paths)
        u->paths->used = 0;
    u->count = 0;
    txn->change_count = 0;
    txn_list_push(&s->spare, txn); /* the last one first: it is in the cache */
}

/* --- undo --- */

static void undo_slot(struct store *s, struct undo_entry *entry)
{
    struct tree_key key = entry->key;
    struct version *old = entry->a, *now = index_find(&s->index, key);
    CHECK(now && now != old);
    entry->a = now;
    entry->b = NULL;
    if (!old) {
        index_remove(&s->index, key, now);
        return;
    }
    index_replace(&s->index, key, now, old);
    if ((old->flags & VERSION_DEAD) && old->vzxid <= s->retired) {
        /* its own txn was retired while the slot was taken: nobody else will remove it */
        index_remove(&s->index, key, old);
        entry->b = old;
    }
}

void txn_undo(struct store *s, struct tree_txn *txn)
{
    struct txn_undo *u = txn->undo;
    CHECK(u->fate == TXN_OPEN && s->newest == txn->zxid && txn->zxid > s->committed);
    for (uint32_t i = u->count; i-- > 0;) {
        struct undo_entry *entry = &u->entries[i];
        if (entry->kind == UNDO_SLOT)
            undo_slot(s, entry);
        else if (entry->kind == UNDO_ACL_TAKEN)
            acl_drop(s->acls, entry->acl); /* S6: no reader looks at an invisible version's ACL */
    }
    s->counters = u->before;
    s->newest = u->before_zxid;
    u->fate = TXN_UNDONE;
    txn_list_append(&s->waste, txn, txn, 1);
}

/* --- retire --- */

/**
 * What the txn superseded is unreachable for readers at V >= its zxid; take its tombstones out of
 * the index too.
 */
static void txn_retire(struct store *s, struct tree_txn *txn)
{
    struct txn_undo *u = txn->undo;
    CHECK(u->fate == TXN_OPEN && txn->zxid > s->retired && txn->zxid <= s->committed);
    for (uint32_t i = 0; i < u->count; i++) {
        struct undo_entry *entry = &u->entries[i];
        if (entry->kind != UNDO_DEAD)
            continue;
        struct version *v = index_find(&s->index, entry->key);
        entry->a = NULL;
        if (v && (v->flags & VERSION_DEAD) && v->vzxid == txn->zxid) {
            index_remove(&s->index, entry->key, v);
            entry->a = v;
        }
    }
    s->retired = txn->zxid;
    u->fate = TXN_RETIRED;
    txn_list_append(&s->waste, txn, txn, 1);
}

void retire_table(void *store, struct index_retired *table)
{
    struct store *s = store;
    if (s->offline || s->loading) {
        index_retired_free(table);
        return;
    }
    table->next = s->tables;
    s->tables = table;
}

/* --- free: the writer's thread, whose heap the memory came from --- */

static void memory_free(const struct undo_entry *entry)
{
    if (entry->value)
        value_drop(entry->a); /* a reply may still be sent from it */
    else
        free(entry->a);
}

static void entry_free(struct store *s, const struct undo_entry *entry, enum txn_fate fate)
{
    switch ((enum undo_kind)entry->kind) {
    case UNDO_SLOT:
        free(entry->a);
        if (fate == TXN_UNDONE)
            free(entry->b);
        break;
    case UNDO_DEAD:
    case UNDO_FREE_IF_RETIRED:
        if (fate == TXN_RETIRED)
            memory_free(entry);
        break;
    case UNDO_FREE_IF_UNDONE:
        if (fate == TXN_UNDONE)
            memory_free(entry);
        break;
    case UNDO_FREE_ALWAYS:
        memory_free(entry);
        break;
    case UNDO_ACL_TAKEN: /* given back by txn_undo() */
        break;
    case UNDO_ACL_RELEASED:
        if (fate == TXN_RETIRED)
            acl_drop(s->acls, entry->acl);
        break;
    }
}

static void tables_free(struct txn_undo *u)
{
    for (struct index_retired *table = u->tables, *next; table; table = next) {
        next = table->next;
        index_retired_free(table);
    }
    u->tables = NULL;
}

/** Free what txns name whose grace period is over, at most `max` of them, and keep the txns. */
static void free_some(struct store *s, uint64_t max)
{
    for (; max > 0; max--) {
        if (!s->over && atomic_load_explicit(&s->done, memory_order_relaxed))
            s->over = atomic_exchange_explicit(&s->done, NULL, memory_order_acquire); /* D1 */
        struct tree_txn *txn = s->over;
        if (!txn)
            return;
        s->over = txn->next;
        txn->next = NULL;
        const struct txn_undo *u = txn->undo;
        for (uint32_t i = 0; i < u->count; i++)
            entry_free(s, &u->entries[i], u->fate);
        txn_recycle(s, txn);
    }
}

/* --- the grace period --- */

static void batch_done(struct rcu_head *rcu)
{
    struct txn_undo *u = caa_container_of(rcu, struct txn_undo, rcu);
    READER_ACQUIRE(rcu);           /* the writer's hand-over, through call_rcu */
    READER_ACQUIRE(&reader_grace); /* the readers' quiescent states */
    struct store *s = u->store;
    struct tree_txn *head = &caa_container_of(u, struct store_txn, undo)->pub;
    struct tree_txn *last = u->batch_last;
    tables_free(u); /* large: here, where nobody waits */
    last->next = atomic_load_explicit(&s->done, memory_order_relaxed);
    /*
     * D0: pairs with D1 in free_some(). Without it the writer could reuse a txn that is still being
     * read here.
     */
    while (!atomic_compare_exchange_weak_explicit(&s->done, &last->next, head, memory_order_release,
                                                  memory_order_relaxed))
        ;
    /*
     * D2: pairs with the acquire in store_settle(); the last access to the store from this thread
     */
    atomic_fetch_add_explicit(&s->batches_done, 1, memory_order_release);
}

static void waste_hand_over(struct store *s)
{
    struct tree_txn *head = s->waste.head, *last = s->waste.tail;
    if (!head || s->pins)
        return;
    s->waste = (struct txn_list){0};
    CHECK(!head->undo->tables);
    head->undo->tables = s->tables;
    head->undo->batch_last = last;
    s->tables = NULL;
    if (s->offline) {
        tables_free(head->undo);
        last->next = s->over;
        s->over = head;
        free_some(s, UINT64_MAX);
        return;
    }
    s->batches_given++;
    READER_RELEASE(&head->undo->rcu);
    urcu_qsbr_call_rcu(&head->undo->rcu, batch_done);
}

void retire_run(struct store *s, uint64_t max)
{
    free_some(s, max);
    if (s->pins)
        return;
    for (struct tree_txn *txn; max > 0 && (txn = txn_list_pop(&s->held)); max--)
        txn_retire(s, txn);
    waste_hand_over(s);
}

void store_settle(struct store *s)
{
    bool online = urcu_qsbr_read_ongoing() != 0;
    if (online)
        reader_offline(); /* else the grace period would wait for this thread */
    /* D2. Not urcu_qsbr_barrier(): it would wait for other users' callbacks as well. */
    while (atomic_load_explicit(&s->batches_done, memory_order_acquire) != s->batches_given)
        (void)usleep(1000); /* tidy: allowed: for the call_rcu thread, at shutdown */
    if (online)
        reader_online();
    free_some(s, UINT64_MAX);
}

bool store_retires(const struct store *s)
{
    return s->over || atomic_load_explicit(&s->done, memory_order_relaxed) ||
           atomic_load_explicit(&s->batches_done, memory_order_relaxed) != s->batches_given ||
           (s->held.head && !s->pins);
}

void retire_finish(struct store *s)
{
    CHECK(s->pins == 0);
    retire_run(s, UINT64_MAX);
    store_settle(s);
    for (struct index_retired *table = s->tables, *next; table; table = next) {
        next = table->next;
        index_retired_free(table);
    }
    s->tables = NULL;
    CHECK(!s->held.head && !s->waste.head);
}
