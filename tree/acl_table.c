/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The table of interned ACL lists.
 *
 *   id -> directory[id / PAGE_IDS] -> page -> record   lock-free for readers; pages stay
 *   wire bytes -> chain of records by keyed hash       writer only
 *
 * Free ids form a list and are used again at once: whoever drops the last use has made sure that no
 * reader can still hold a version with that id (the store drops uses only after the grace period of
 * the version that had them).
 */
#include <stdlib.h>
#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "client/wire/check.h"
#include "tree/acl.h"

#define PAGE_IDS 4096u
#define PAGES_MAX (ACL_LISTS_MAX / PAGE_IDS)
#define CHAINS_MIN 64u

struct acl_record {
    uint64_t uses;
    uint64_t hash;
    struct acl_record *next; /* of the chain */
    uint32_t id;
    struct acl_list list; /* last: its bytes follow */
};

struct acl_table {
    _Atomic(_Atomic(struct acl_record *) *) directory[PAGES_MAX];
    /* owned by the writer */
    void (*retire)(void *ctx, void *memory, size_t bytes);
    void *retire_ctx;
    struct acl_record **chains;
    uint32_t chains_mask;
    uint32_t count;    /* lists in use */
    uint32_t id_limit; /* ids 1 .. id_limit - 1 were given out at some time */
    uint32_t *free_ids;
    uint32_t free_count, free_capacity; /* free_capacity >= id_limit: dropping never allocates */
    uint64_t seed;
};

/* world:anyone:31 */
#define OPEN_WIRE "\0\0\0\1\0\0\0\37\0\0\0\5world\0\0\0\6anyone"
static const union {
    struct {
        uint32_t count, wire_bytes;
        uint8_t wire[sizeof OPEN_WIRE - 1];
    } bytes;
    struct acl_list list;
} acl_open = {.bytes = {1, sizeof OPEN_WIRE - 1, OPEN_WIRE}};

struct acl_table *acl_table_create(void (*retire)(void *ctx, void *memory, size_t bytes), void *ctx)
{
    struct acl_table *table = calloc(1, sizeof *table);
    if (!table)
        return NULL;
    table->chains = calloc(CHAINS_MIN, sizeof *table->chains);
    if (!table->chains || getrandom(&table->seed, sizeof table->seed, 0) != sizeof table->seed) {
        free(table->chains);
        free(table);
        return NULL;
    }
    table->chains_mask = CHAINS_MIN - 1;
    table->id_limit = 1;
    table->retire = retire;
    table->retire_ctx = ctx;
    return table;
}

void acl_table_destroy(struct acl_table *table)
{
    if (!table)
        return;
    for (uint32_t i = 0; i <= table->chains_mask; i++) {
        for (struct acl_record *r = table->chains[i], *next; r; r = next) {
            next = r->next;
            free(r);
        }
    }
    for (uint32_t i = 0; i < PAGES_MAX; i++)
        free(atomic_load_explicit(&table->directory[i], memory_order_relaxed));
    free(table->chains);
    free(table->free_ids);
    free(table);
}

static _Atomic(struct acl_record *) *record_slot(const struct acl_table *table, uint32_t id)
{
    CHECK(id > 0 && id < ACL_LISTS_MAX);
    /*
     * A1: pairs with the release in page_ensure(). Without it a reader could see an unfilled page.
     */
    _Atomic(struct acl_record *) *page =
        atomic_load_explicit(&table->directory[id / PAGE_IDS], memory_order_acquire);
    CHECK(page);
    return &page[id % PAGE_IDS];
}

static struct acl_record *record_of(const struct acl_table *table, uint32_t id)
{
    /* A2: pairs with the release in acl_intern(). The id reaches a reader through a version
     * published later (T0), so this is already ordered for ids of visible versions; acquire costs
     * nothing and needs no argument. */
    struct acl_record *r = atomic_load_explicit(record_slot(table, id), memory_order_acquire);
    CHECK(r && r->id == id);
    return r;
}

const struct acl_list *acl_get(const struct acl_table *table, uint32_t id)
{
    return id == ACL_OPEN ? &acl_open.list : &record_of(table, id)->list;
}

static int page_ensure(struct acl_table *table, uint32_t id)
{
    if (atomic_load_explicit(&table->directory[id / PAGE_IDS], memory_order_relaxed))
        return 0;
    _Atomic(struct acl_record *) *page = calloc(PAGE_IDS, sizeof *page);
    if (!page)
        return -1;
    atomic_store_explicit(&table->directory[id / PAGE_IDS], page, memory_order_release); /* A1 */
    return 0;
}

/** Pick a free id and make sure that dropping it later cannot fail. @return 0 or -1. */
static int id_reserve(struct acl_table *table, uint32_t *id)
{
    if (table->free_count) {
        *id = table->free_ids[table->free_count - 1];
        return 0;
    }
    if (table->id_limit == ACL_LISTS_MAX || page_ensure(table, table->id_limit) != 0)
        return -1;
    if (table->free_capacity <= table->id_limit) {
        uint32_t capacity = table->free_capacity ? table->free_capacity * 2 : 64;
        uint32_t *ids = realloc(table->free_ids, capacity * sizeof *ids);
        if (!ids)
            return -1;
        table->free_ids = ids;
        table->free_capacity = capacity;
    }
    *id = table->id_limit;
    return 0;
}

static void id_take(struct acl_table *table, uint32_t id)
{
    if (table->free_count) {
        table->free_count--;
    } else {
        CHECK(id == table->id_limit);
        table->id_limit++;
    }
}

/** Twice the chains; when there is no memory, longer chains do. */
static void chains_grow(struct acl_table *table)
{
    uint32_t mask = table->chains_mask * 2 + 1;
    struct acl_record **chains = calloc((size_t)mask + 1, sizeof *chains);
    if (!chains)
        return;
    for (uint32_t i = 0; i <= table->chains_mask; i++) {
        for (struct acl_record *r = table->chains[i], *next; r; r = next) {
            next = r->next;
            r->next = chains[r->hash & mask];
            chains[r->hash & mask] = r;
        }
    }
    free(table->chains);
    table->chains = chains;
    table->chains_mask = mask;
}

static struct acl_record *record_create(struct bytes wire, uint64_t hash, uint32_t id)
{
    struct acl_record *r = malloc(sizeof *r + wire.size);
    if (!r)
        return NULL;
    *r = (struct acl_record){.uses = 1, .hash = hash, .id = id};
    r->list.count = be32_load(wire.data);
    r->list.wire_bytes = wire.size;
    memcpy(r->list.wire, wire.data, wire.size);
    return r;
}

int acl_intern(struct acl_table *table, struct bytes wire_vector, uint32_t *id)
{
    CHECK(wire_vector.data && wire_vector.size >= 4);
    if (wire_vector.size == acl_open.list.wire_bytes &&
        memcmp(wire_vector.data, acl_open.bytes.wire, wire_vector.size) == 0) {
        *id = ACL_OPEN;
        return 0;
    }
    uint64_t hash = XXH3_64bits_withSeed(wire_vector.data, wire_vector.size, table->seed);
    for (struct acl_record *r = table->chains[hash & table->chains_mask]; r; r = r->next) {
        if (r->hash == hash && r->list.wire_bytes == wire_vector.size &&
            memcmp(r->list.wire, wire_vector.data, wire_vector.size) == 0) {
            r->uses++;
            *id = r->id;
            return 0;
        }
    }
    uint32_t new_id;
    if (id_reserve(table, &new_id) != 0)
        return -1;
    struct acl_record *r = record_create(wire_vector, hash, new_id);
    if (!r)
        return -1;
    id_take(table, new_id);
    atomic_store_explicit(record_slot(table, new_id), r, memory_order_release); /* A2 */
    if (++table->count > table->chains_mask)
        chains_grow(table);
    r->next = table->chains[hash & table->chains_mask];
    table->chains[hash & table->chains_mask] = r;
    *id = new_id;
    return 0;
}

void acl_hold(struct acl_table *table, uint32_t id)
{
    if (id != ACL_OPEN)
        record_of(table, id)->uses++;
}

void acl_drop(struct acl_table *table, uint32_t id)
{
    if (id == ACL_OPEN)
        return;
    struct acl_record *r = record_of(table, id);
    CHECK(r->uses > 0);
    if (--r->uses)
        return;
    struct acl_record **link = &table->chains[r->hash & table->chains_mask];
    while (*link != r)
        link = &(*link)->next;
    *link = r->next;
    atomic_store_explicit(record_slot(table, id), NULL, memory_order_relaxed);
    CHECK(table->free_count < table->free_capacity && table->count > 0);
    table->free_ids[table->free_count++] = id;
    table->count--;
    if (table->retire)
        table->retire(table->retire_ctx, r, sizeof *r + r->list.wire_bytes);
    else
        free(r);
}

uint32_t acl_next(const struct acl_table *table, uint32_t after)
{
    for (uint32_t id = after + 1; id < table->id_limit; id++)
        if (atomic_load_explicit(record_slot(table, id), memory_order_relaxed))
            return id;
    return 0;
}

uint32_t acl_count(const struct acl_table *table)
{
    return table->count;
}

uint64_t acl_uses(const struct acl_table *table, uint32_t id)
{
    return id == ACL_OPEN ? 0 : record_of(table, id)->uses;
}

size_t acl_heap_bytes(const struct acl_table *table)
{
    size_t bytes = sizeof *table + (table->chains_mask + 1) * sizeof *table->chains +
                   table->free_capacity * sizeof *table->free_ids;
    bytes += (size_t)(table->id_limit + PAGE_IDS - 1) / PAGE_IDS * PAGE_IDS * sizeof(void *);
    for (uint32_t i = 0; i <= table->chains_mask; i++)
        for (const struct acl_record *r = table->chains[i]; r; r = r->next)
            bytes += sizeof *r + r->list.wire_bytes;
    return bytes;
}
