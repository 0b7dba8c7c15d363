/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tree/store_private.h"

#include <sys/random.h>

#define ENTRIES_MIN 8
#define HELD_PER_CALL_MIN 4096 /* txns that one store_retire works off beyond those it was given */

/* --- the store --- */

static int root_create(struct store *s)
{
    struct store_node root = {.path = BYTES_OF("/"), .data = BYTES_OF("")};
    struct version *v = version_create(s, 0, &root, s->root_key);
    if (!v)
        return -1;
    if (index_insert(&s->index, s->root_key, v) != 0) {
        version_free_tail(v);
        free(v);
        return -1;
    }
    counters_add(s, v, root.path, +1);
    return 0;
}

static int secret_draw(uint8_t secret[TREE_SECRET_BYTES], const uint8_t *given)
{
    if (given) {
        /* callers may have as little as XXH3 asks for; the rest repeats */
        for (size_t i = 0; i < TREE_SECRET_BYTES; i++)
            secret[i] = given[i % XXH3_SECRET_SIZE_MIN];
        return 0;
    }
    return getrandom(secret, TREE_SECRET_BYTES, 0) == TREE_SECRET_BYTES ? 0 : -1;
}

struct store *store_create_empty(const struct store_config *config)
{
    struct store *s = aligned_alloc(64, sizeof *s);
    if (!s)
        return NULL;
    memset(s, 0, sizeof *s);
    s->digest_enabled = config->digest_enabled;
    s->acls = acl_table_create(NULL, NULL); /* drops come after grace periods already: S6 */
    if (!s->acls || secret_draw(s->secret, config->secret) != 0)
        goto fail;
    s->root_key = store_key(s, BYTES_OF("/"));
    if (index_init(&s->index, config->entries_expected, retire_table, s) != 0)
        goto fail;
    if (root_create(s) != 0)
        goto fail;
    return s;
fail:
    if (s->index.table)
        index_free(&s->index);
    acl_table_destroy(s->acls);
    free(s);
    return NULL;
}

static void destroy_version(void *ctx, struct version *v)
{
    (void)ctx;
    if (!(v->flags & VERSION_DEAD))
        children_free_all(v->children);
    version_free_tail(v);
    free(v);
}

void store_destroy(struct store *s)
{
    if (!s)
        return;
    CHECK(s->pins == 0 && s->txns_out == 0);
    if (s->open)
        store_abort(s);
    store_rollback(s, -1);
    retire_finish(s);
    index_each(&s->index, destroy_version, NULL);
    index_free(&s->index);
    acl_table_destroy(s->acls);
    for (struct tree_txn *txn; (txn = txn_list_pop(&s->spare));)
        txn_free(txn);
    free(s);
}

struct index *store_index(struct store *s)
{
    return &s->index;
}

struct acl_table *store_acls(struct store *s)
{
    return s->acls;
}

struct tree_key store_key(const struct store *s, struct bytes path)
{
    return tree_key_of(s->secret, path);
}

const uint8_t *store_secret(const struct store *s)
{
    return s->secret;
}

const struct version *store_newest(struct store *s, struct tree_key key)
{
    return version_at(index_find(&s->index, key), INT64_MAX);
}

const struct tree_counters *store_counters(const struct store *s)
{
    return &s->counters;
}

void store_set_offline(struct store *s, bool offline)
{
    s->offline = offline;
}

/* --- a txn --- */

int store_begin(struct store *s, zxid_t zxid)
{
    CHECK(!s->open && zxid > s->newest);
    struct store_txn *txn = txn_take(s);
    if (!txn)
        return STORE_ENOMEM;
    txn->pub.zxid = zxid;
    txn->undo.before = s->counters;
    txn->undo.before_zxid = s->newest;
    s->open = txn;
    s->newest = zxid;
    s->loading = false;
    return STORE_OK;
}

int undo_reserve(struct store *s, uint32_t n)
{
    CHECK(s->open);
    struct txn_undo *u = &s->open->undo;
    if (u->count + n <= u->capacity)
        return STORE_OK;
    uint32_t capacity = u->capacity ? u->capacity : ENTRIES_MIN;
    while (capacity < u->count + n)
        capacity *= 2;
    struct undo_entry *entries = realloc(u->entries, capacity * sizeof *entries);
    if (!entries)
        return STORE_ENOMEM;
    u->entries = entries;
    u->capacity = capacity;
    return STORE_OK;
}

void undo_push(struct store *s, struct undo_entry entry)
{
    struct txn_undo *u = &s->open->undo;
    CHECK(u->count < u->capacity);
    u->entries[u->count++] = entry;
}

struct tree_txn *store_end(struct store *s)
{
    CHECK(s->open && s->open->pub.zxid == s->newest);
    struct tree_txn *txn = &s->open->pub;
    txn->counters = s->counters;
    s->open = NULL;
    txn_list_append(&s->pending, txn, txn, 1);
    return txn;
}

void store_abort(struct store *s)
{
    CHECK(s->open);
    struct tree_txn *txn = &s->open->pub;
    s->open = NULL;
    txn_undo(s, txn);
    retire_run(s, 0);
}

/* --- pending txns --- */

struct tree_txn *store_commit(struct store *s, zxid_t upto)
{
    struct tree_txn *head = s->pending.head, *last = NULL;
    uint64_t count = 0;
    for (struct tree_txn *txn = head; txn && txn->zxid <= upto; txn = txn->next) {
        CHECK(!last || last->zxid < txn->zxid);
        last = txn;
        count++;
    }
    if (!last)
        return NULL;
    s->pending.head = last->next;
    s->pending.count -= count;
    if (!last->next)
        s->pending.tail = NULL;
    last->next = NULL;
    CHECK(last->zxid > s->committed);
    s->committed = last->zxid;
    s->txns_out += count;
    return head;
}

void store_rollback(struct store *s, zxid_t keep)
{
    CHECK(!s->open);
    struct txn_list kept = {0}, undone = {0}; /* `undone` ends up newest first */
    for (struct tree_txn *txn; (txn = txn_list_pop(&s->pending));) {
        if (txn->zxid <= keep) {
            txn_list_append(&kept, txn, txn, 1);
        } else {
            txn->next = undone.head;
            undone.head = txn;
        }
    }
    s->pending = kept;
    for (struct tree_txn *txn = undone.head, *next; txn; txn = next) {
        next = txn->next;
        txn->next = NULL;
        txn_undo(s, txn);
    }
    retire_run(s, 0);
}

void store_show(struct store *s, zxid_t zxid)
{
    CHECK(zxid >= atomic_load_explicit(&s->visible, memory_order_relaxed) && zxid <= s->committed);
    /* T0: pairs with T1. Everything installed for txns <= zxid comes before it; without that a
     * reader at this V could find a slot that still ends below it. */
    atomic_store_explicit(&s->visible, zxid, memory_order_release);
}

zxid_t store_visible(const struct store *s)
{
    return atomic_load_explicit(&s->visible, memory_order_acquire); /* T1: pairs with T0 */
}

void store_retire(struct store *s, struct tree_txn **txns)
{
    uint64_t count = 0;
    struct tree_txn *head = *txns, *tail = NULL;
    for (struct tree_txn *txn = head; txn; txn = txn->next) {
        CHECK(txn->zxid <= atomic_load_explicit(&s->visible, memory_order_relaxed));
        CHECK(txn->undo->store == s && txn->undo->fate == TXN_OPEN);
        tail = txn;
        count++;
    }
    CHECK(count <= s->txns_out);
    s->txns_out -= count;
    *txns = NULL;
    if (head)
        txn_list_append(&s->held, head, tail, count);
    retire_run(s, count + HELD_PER_CALL_MIN);
}

zxid_t store_pin(struct store *s)
{
    s->pins++;
    CHECK(s->pins > 0);
    return atomic_load_explicit(&s->visible, memory_order_relaxed);
}

void store_unpin(struct store *s)
{
    CHECK(s->pins > 0);
    s->pins--;
    retire_run(s, HELD_PER_CALL_MIN);
}
