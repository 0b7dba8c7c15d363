/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tree/tree_ledger.h"

#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"
#include "client/wire/jute.h"

#define SLOTS_MIN 64u
#define UNDO_MIN 256u

int ledger_init(struct ledger *l)
{
    *l = (struct ledger){0};
    l->owners_mask = SLOTS_MIN - 1;
    l->undo_mask = UNDO_MIN - 1;
    l->owners = calloc(SLOTS_MIN, sizeof *l->owners);
    l->undo = calloc(UNDO_MIN, sizeof *l->undo);
    bool ok = l->owners && l->undo;
    for (int i = 0; i < 2; i++) {
        l->marks[i].mask = SLOTS_MIN - 1;
        l->marks[i].slots = calloc(SLOTS_MIN, sizeof *l->marks[i].slots);
        ok = ok && l->marks[i].slots;
    }
    if (ok)
        return 0;
    free(l->owners);
    free(l->undo);
    free(l->marks[0].slots);
    free(l->marks[1].slots);
    return -1;
}

void ledger_free(struct ledger *l)
{
    for (uint64_t i = l->undo_head; i < l->undo_tail; i++) {
        const struct ledger_undo *u = &l->undo[i & l->undo_mask];
        if (u->kind == LEDGER_REMOVED)
            free(u->mark);
    }
    for (int t = 0; t < 2; t++) {
        for (uint64_t i = 0; i <= l->marks[t].mask; i++) {
            for (struct mark *m = l->marks[t].slots[i], *next; m; m = next) {
                next = m->chain;
                free(m);
            }
        }
        free(l->marks[t].slots);
    }
    for (uint64_t i = 0; i <= l->owners_mask; i++) {
        for (struct owner *o = l->owners[i], *next; o; o = next) {
            next = o->chain;
            free(o);
        }
    }
    free(l->owners);
    free(l->undo);
}

/* --- owners --- */

static uint64_t id_hash(session_id_t id)
{
    uint64_t h = (uint64_t)id * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ h >> 32;
}

struct owner *ledger_owner(const struct ledger *l, session_id_t id)
{
    struct owner *o = l->owners[id_hash(id) & l->owners_mask];
    while (o && o->id != id)
        o = o->chain;
    return o;
}

/* Twice the slots; without memory for them the chains get longer. */
static void owners_grow(struct ledger *l)
{
    uint64_t mask = l->owners_mask * 2 + 1;
    struct owner **slots = calloc(mask + 1, sizeof *slots);
    if (!slots)
        return;
    for (uint64_t i = 0; i <= l->owners_mask; i++) {
        for (struct owner *o = l->owners[i], *next; o; o = next) {
            next = o->chain;
            struct owner **slot = &slots[id_hash(o->id) & mask];
            o->chain = *slot;
            *slot = o;
        }
    }
    free(l->owners);
    l->owners = slots;
    l->owners_mask = mask;
}

/* Find or make; one reference is added. NULL: out of memory. */
static struct owner *owner_hold(struct ledger *l, session_id_t id)
{
    struct owner *o = ledger_owner(l, id);
    if (!o) {
        o = calloc(1, sizeof *o);
        if (!o)
            return NULL;
        o->id = id;
        if (++l->owners_count > l->owners_mask)
            owners_grow(l);
        struct owner **slot = &l->owners[id_hash(id) & l->owners_mask];
        o->chain = *slot;
        *slot = o;
    }
    o->references++;
    return o;
}

static void owner_drop(struct ledger *l, struct owner *o)
{
    CHECK(o->references > 0);
    if (--o->references)
        return;
    CHECK(!o->is_session && o->marks.count == 0);
    struct owner **link = &l->owners[id_hash(o->id) & l->owners_mask];
    while (*link != o)
        link = &(*link)->chain;
    *link = o->chain;
    l->owners_count--;
    free(o);
}

/* Make an owner a session or not, counting it and its reference. The caller holds a reference of
 * its own. */
static void session_put(struct ledger *l, struct owner *o, bool is_session, int32_t timeout_ms)
{
    if (is_session && !o->is_session) {
        o->references++;
        l->sessions++;
    } else if (!is_session && o->is_session) {
        CHECK(o->references > 1 && l->sessions > 0);
        o->references--;
        l->sessions--;
    }
    o->is_session = is_session;
    o->timeout_ms = timeout_ms;
}

/* --- marks --- */

static struct mark_table *table_of(const struct ledger *l, enum mark_kind kind)
{
    return (struct mark_table *)&l->marks[kind == MARK_QUOTA];
}

static struct mark_list *list_of(struct ledger *l, struct mark *m)
{
    return m->owner ? &m->owner->marks : &l->lists[m->kind];
}

static void table_grow(struct mark_table *table)
{
    uint64_t mask = table->mask * 2 + 1;
    struct mark **slots = calloc(mask + 1, sizeof *slots);
    if (!slots)
        return;
    for (uint64_t i = 0; i <= table->mask; i++) {
        for (struct mark *m = table->slots[i], *next; m; m = next) {
            next = m->chain;
            m->chain = slots[m->hash & mask];
            slots[m->hash & mask] = m;
        }
    }
    free(table->slots);
    table->slots = slots;
    table->mask = mask;
}

static void list_append(struct mark_list *list, struct mark *m)
{
    m->prev = list->last;
    m->next = NULL;
    if (list->last)
        list->last->next = m;
    else
        list->first = m;
    list->last = m;
    list->count++;
}

static void list_unlink(struct mark_list *list, struct mark *m)
{
    if (m->prev)
        m->prev->next = m->next;
    else
        list->first = m->next;
    if (m->next)
        m->next->prev = m->prev;
    else
        list->last = m->prev;
    list->count--;
}

/* Into table and list; cannot fail. */
static void mark_link(struct ledger *l, struct mark *m)
{
    struct mark_table *table = table_of(l, m->kind);
    if (++table->count > table->mask)
        table_grow(table);
    m->chain = table->slots[m->hash & table->mask];
    table->slots[m->hash & table->mask] = m;
    list_append(list_of(l, m), m);
    if (m->owner) {
        m->owner->references++;
        m->owner->close_bytes += 4 + (uint64_t)m->path_size;
        l->ephemerals++;
    }
}

/* Out of table and list. The owner stays: whoever calls this holds a reference (L2). */
static void mark_unlink(struct ledger *l, struct mark *m)
{
    struct mark_table *table = table_of(l, m->kind);
    struct mark **link = &table->slots[m->hash & table->mask];
    while (*link != m)
        link = &(*link)->chain;
    *link = m->chain;
    table->count--;
    list_unlink(list_of(l, m), m);
    if (m->owner) {
        m->owner->close_bytes -= 4 + (uint64_t)m->path_size;
        CHECK(m->owner->references > 1);
        m->owner->references--;
        l->ephemerals--;
    }
}

static struct mark *table_find(const struct mark_table *table, struct bytes path, uint64_t hash)
{
    struct mark *m = table->slots[hash & table->mask];
    while (m && !(m->hash == hash && bytes_equal(mark_path(m), path)))
        m = m->chain;
    return m;
}

struct mark *ledger_find(const struct ledger *l, struct bytes path, uint64_t hash)
{
    return table_find(&l->marks[0], path, hash);
}

struct mark *ledger_find_quota(const struct ledger *l, struct bytes path, uint64_t hash)
{
    return table_find(&l->marks[1], path, hash);
}

void ledger_rotate(struct ledger *l, struct mark *m)
{
    struct mark_list *list = list_of(l, m);
    list_unlink(list, m);
    list_append(list, m);
}

/* --- undo --- */

/* Room for one more entry. @return 0 or -1. */
static int undo_reserve_one(struct ledger *l)
{
    uint64_t used = l->undo_tail - l->undo_head;
    if (used <= l->undo_mask)
        return 0;
    uint64_t mask = l->undo_mask * 2 + 1;
    struct ledger_undo *ring = malloc((mask + 1) * sizeof *ring);
    if (!ring)
        return -1;
    for (uint64_t i = l->undo_head; i < l->undo_tail; i++)
        ring[i & mask] = l->undo[i & l->undo_mask];
    free(l->undo);
    l->undo = ring;
    l->undo_mask = mask;
    return 0;
}

static void undo_push(struct ledger *l, struct ledger_undo u)
{
    CHECK(l->open_zxid != 0 && l->undo_tail - l->undo_head <= l->undo_mask);
    u.zxid = l->open_zxid;
    l->undo[l->undo_tail++ & l->undo_mask] = u;
}

/* The owner that an entry keeps alive, or NULL. */
static struct owner *undo_owner(const struct ledger_undo *u)
{
    switch (u->kind) {
    case LEDGER_SESSION:
        return u->owner;
    case LEDGER_ADDED:
    case LEDGER_REMOVED:
        return u->mark->owner;
    default:
        return NULL;
    }
}

/* Take the newest entry back. */
static void undo_pop(struct ledger *l)
{
    struct ledger_undo *u = &l->undo[--l->undo_tail & l->undo_mask];
    struct owner *o = undo_owner(u);
    switch (u->kind) {
    case LEDGER_SESSION:
        session_put(l, o, u->was_session, u->was_timeout_ms);
        break;
    case LEDGER_ADDED:
        mark_unlink(l, u->mark);
        free(u->mark);
        break;
    case LEDGER_REMOVED:
        mark_link(l, u->mark);
        break;
    case LEDGER_END:
        break;
    }
    if (o)
        owner_drop(l, o);
}

void ledger_begin(struct ledger *l, zxid_t zxid)
{
    CHECK(l->open_zxid == 0 && zxid > 0);
    l->open_zxid = zxid;
    l->open_from = l->undo_tail;
}

int ledger_end(struct ledger *l, uint64_t digest)
{
    if (undo_reserve_one(l))
        return -1;
    undo_push(l, (struct ledger_undo){.kind = LEDGER_END, .digest = digest});
    l->open_zxid = 0;
    return 0;
}

void ledger_abort(struct ledger *l)
{
    CHECK(l->open_zxid != 0);
    while (l->undo_tail > l->open_from)
        undo_pop(l);
    l->open_zxid = 0;
}

void ledger_rollback(struct ledger *l, zxid_t keep)
{
    CHECK(l->open_zxid == 0);
    while (l->undo_tail > l->undo_head && l->undo[(l->undo_tail - 1) & l->undo_mask].zxid > keep)
        undo_pop(l);
}

/* Drop the oldest entry and what it kept. */
static void undo_forget(struct ledger *l)
{
    struct ledger_undo *u = &l->undo[l->undo_head++ & l->undo_mask];
    struct owner *o = undo_owner(u);
    if (u->kind == LEDGER_REMOVED)
        free(u->mark);
    if (u->kind == LEDGER_END) {
        l->base_zxid = u->zxid;
        l->base_digest = u->digest;
    }
    if (o)
        owner_drop(l, o);
}

void ledger_forget(struct ledger *l, zxid_t visible)
{
    uint64_t end = l->open_zxid ? l->open_from : l->undo_tail;
    while (l->undo_head < end && l->undo[l->undo_head & l->undo_mask].zxid <= visible)
        undo_forget(l);
}

void ledger_settle(struct ledger *l)
{
    CHECK(l->open_zxid != 0 && l->undo_head == l->open_from);
    while (l->undo_head < l->undo_tail)
        undo_forget(l);
    l->open_from = l->undo_head;
}

zxid_t ledger_newest(const struct ledger *l)
{
    uint64_t end = l->open_zxid ? l->open_from : l->undo_tail;
    return end > l->undo_head ? l->undo[(end - 1) & l->undo_mask].zxid : l->base_zxid;
}

/* --- changes --- */

int ledger_session_set(struct ledger *l, session_id_t id, int32_t timeout_ms)
{
    if (undo_reserve_one(l))
        return -1;
    struct owner *o = owner_hold(l, id); /* the reference of the undo entry */
    if (!o)
        return -1;
    undo_push(l, (struct ledger_undo){.kind = LEDGER_SESSION,
                                      .owner = o,
                                      .was_session = o->is_session,
                                      .was_timeout_ms = o->timeout_ms});
    session_put(l, o, true, timeout_ms);
    return 0;
}

int ledger_session_clear(struct ledger *l, session_id_t id)
{
    struct owner *o = ledger_owner(l, id);
    if (!o || !o->is_session)
        return 0;
    if (undo_reserve_one(l))
        return -1;
    o->references++;
    undo_push(l, (struct ledger_undo){.kind = LEDGER_SESSION,
                                      .owner = o,
                                      .was_session = true,
                                      .was_timeout_ms = o->timeout_ms});
    session_put(l, o, false, o->timeout_ms);
    return 0;
}

int ledger_add(struct ledger *l, enum mark_kind kind, session_id_t owner, struct bytes path,
               uint64_t hash)
{
    CHECK(kind < MARK_KINDS && path.data && !table_find(table_of(l, kind), path, hash));
    struct mark *m = undo_reserve_one(l) ? NULL : malloc(sizeof *m + path.size);
    if (!m)
        return -1;
    *m = (struct mark){.hash = hash, .kind = kind, .path_size = path.size};
    memcpy(m->path, path.data, path.size);
    if (kind == MARK_EPHEMERAL) {
        m->owner = owner_hold(l, owner); /* the reference of the undo entry */
        if (!m->owner) {
            free(m);
            return -1;
        }
    }
    mark_link(l, m);
    undo_push(l, (struct ledger_undo){.kind = LEDGER_ADDED, .mark = m});
    return 0;
}

int ledger_remove(struct ledger *l, struct mark *m)
{
    if (undo_reserve_one(l))
        return -1;
    if (m->owner)
        m->owner->references++; /* of the undo entry */
    mark_unlink(l, m);
    undo_push(l, (struct ledger_undo){.kind = LEDGER_REMOVED, .mark = m});
    return 0;
}

/* --- looking back --- */

void ledger_each_session_at(struct ledger *l, zxid_t zxid,
                            void (*each)(void *ctx, session_id_t id, int32_t timeout_ms), void *ctx)
{
    CHECK(zxid >= l->base_zxid);
    uint64_t look = ++l->looks;
    for (uint64_t i = l->undo_tail; i > l->undo_head; i--) {
        const struct ledger_undo *u = &l->undo[(i - 1) & l->undo_mask];
        if (u->zxid <= zxid)
            break;
        if (u->kind != LEDGER_SESSION)
            continue;
        u->owner->look = look; /* the oldest change above zxid has the last word */
        u->owner->look_session = u->was_session;
        u->owner->look_timeout_ms = u->was_timeout_ms;
    }
    for (struct owner *o = ledger_owner_next(l, NULL); o; o = ledger_owner_next(l, o)) {
        bool changed = o->look == look;
        if (changed ? o->look_session : o->is_session)
            each(ctx, o->id, changed ? o->look_timeout_ms : o->timeout_ms);
    }
}

uint64_t ledger_digest_at(const struct ledger *l, zxid_t zxid)
{
    CHECK(zxid >= l->base_zxid);
    for (uint64_t i = l->undo_tail; i > l->undo_head; i--) {
        const struct ledger_undo *u = &l->undo[(i - 1) & l->undo_mask];
        if (u->kind == LEDGER_END && u->zxid <= zxid)
            return u->digest;
    }
    return l->base_digest;
}

void ledger_base(struct ledger *l, zxid_t zxid, uint64_t digest)
{
    CHECK(l->undo_head == l->undo_tail && l->open_zxid == 0);
    l->base_zxid = zxid;
    l->base_digest = digest;
}

struct owner *ledger_owner_next(const struct ledger *l, const struct owner *after)
{
    if (after && after->chain)
        return after->chain;
    uint64_t slot = after ? (id_hash(after->id) & l->owners_mask) + 1 : 0;
    while (slot <= l->owners_mask && !l->owners[slot])
        slot++;
    return slot <= l->owners_mask ? l->owners[slot] : NULL;
}

static uint64_t list_check(const struct ledger *l, const struct mark_list *list,
                           const struct owner *owner)
{
    uint64_t count = 0, bytes = 0;
    for (const struct mark *m = list->first; m; m = m->next) {
        CHECK(m->owner == owner && (m->next ? m->next->prev == m : list->last == m));
        CHECK(table_find(table_of(l, m->kind), mark_path(m), m->hash) == m);
        bytes += 4 + (uint64_t)m->path_size;
        count++;
    }
    CHECK(count == list->count && (!owner || owner->close_bytes == bytes));
    return count;
}

void ledger_check(const struct ledger *l)
{
    uint64_t owners = 0, sessions = 0, ephemerals = 0, others = 0;
    for (const struct owner *o = ledger_owner_next(l, NULL); o; o = ledger_owner_next(l, o)) {
        owners++;
        sessions += o->is_session;
        ephemerals += list_check(l, &o->marks, o);
        CHECK(o->references >= o->marks.count + o->is_session && o->references > 0);
    }
    for (int kind = MARK_CONTAINER; kind < MARK_KINDS; kind++)
        others += list_check(l, &l->lists[kind], NULL);
    CHECK(owners == l->owners_count && sessions == l->sessions && ephemerals == l->ephemerals);
    CHECK(l->marks[0].count + l->marks[1].count == ephemerals + others);
    CHECK(l->undo_head <= l->undo_tail && l->undo_tail - l->undo_head <= l->undo_mask + 1);
}
