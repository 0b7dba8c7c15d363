/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * G1, G2 and G3 with several data cores: random requests and random interleavings of data turns,
 * control steps and log completions by seed; afterwards what each client saw is held against the
 * history of all writes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "tests/dataplane/rig_client.h"

#define CORES 3
#define CLIENTS 9
#define KEYS 6
#define STEPS 600
#define SENT_MAX 4096
#define CHANGES_MAX 8192
#define WATCHES_PER_KEY 1

static const char *const keys[KEYS] = {"/a", "/b", "/c", "/d", "/e/x", "/e/y"};

enum sent_kind { SENT_SET, SENT_CREATE, SENT_DELETE, SENT_MULTI, SENT_EXISTS, SENT_OTHER };

/* What a client asked. */
struct sent {
    int32_t xid;
    enum sent_kind kind;
    unsigned key, key2;
    bool watch;
};

/* A successful change of a key. */
struct change {
    zxid_t zxid;
    enum watch_event_type type;
};

struct client {
    struct rig_peer *peer;
    struct sent sent[SENT_MAX];
    unsigned sent_count;
    bool persistent; /* has a persistent watch on each key instead of one-shot watches */
};

static struct client clients[CLIENTS];
static struct {
    struct change list[CHANGES_MAX];
    unsigned count;
} changes[KEYS];
static uint64_t rng;

static uint32_t rnd(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 32) % n;
}

/* --- the clients ask --- */

static void note(struct client *c, int32_t xid, enum sent_kind kind, unsigned key, unsigned key2,
                 bool watch)
{
    assert_true(c->sent_count < SENT_MAX);
    c->sent[c->sent_count++] = (struct sent){xid, kind, key, key2, watch};
}

static void ask(struct client *c)
{
    struct rig_peer *p = c->peer;
    unsigned key = rnd(KEYS), key2 = (key + 1) % KEYS;
    bool watch = !c->persistent && rnd(2);
    switch (rnd(12)) {
    case 0:
    case 1: note(c, send_set(p, keys[key], text("v"), -1), SENT_SET, key, 0, false); break;
    case 2: note(c, send_create(p, keys[key], text("n"), 0), SENT_CREATE, key, 0, false); break;
    case 3: note(c, send_path_int(p, OP_DELETE, keys[key], -1), SENT_DELETE, key, 0, false); break;
    case 4:
        note(c, send_multi_set(p, keys[key], keys[key2], text("m"), rnd(3) == 0), SENT_MULTI, key,
             key2, false);
        break;
    case 5: note(c, send_path(p, OP_SYNC, keys[key]), SENT_OTHER, 0, 0, false); break;
    case 6: note(c, send_path(p, OP_GET_ALL_CHILDREN_NUMBER, "/"), SENT_OTHER, 0, 0, false); break;
    case 7: note(c, send_bare(p, OP_PING), SENT_OTHER, 0, 0, false); break;
    default: note(c, send_read(p, OP_EXISTS, keys[key], watch), SENT_EXISTS, key, 0, watch);
    }
}

/* --- one random step --- */

static void step(void)
{
    switch (rnd(8)) {
    case 0:
    case 1: (void)rig_control(); break;
    case 2: rig_log.held = rnd(2); break;
    case 3: (void)rig_log_step(); break;
    case 4: clients[rnd(CLIENTS)].peer->input_bytes_max = rnd(3) ? 0 : 1 + rnd(200); break;
    default: rig_turn(rnd(CORES));
    }
}

/* --- what they saw --- */

/* Reads a client's stream again from its beginning. */
static void rewind_client(struct client *c)
{
    c->peer->looked = 41; /* the ConnectResponse */
}

static void add_change(unsigned key, zxid_t zxid, enum watch_event_type type)
{
    assert_true(changes[key].count < CHANGES_MAX);
    changes[key].list[changes[key].count++] = (struct change){zxid, type};
}

static int by_zxid(const void *a, const void *b)
{
    zxid_t x = ((const struct change *)a)->zxid, y = ((const struct change *)b)->zxid;
    return x < y ? -1 : x > y;
}

static void history_of(struct client *c)
{
    struct reply r;
    unsigned at = 0;
    rewind_client(c);
    while (reply_next(c->peer, &r)) {
        if (r.xid == XID_NOTIFICATION)
            continue;
        const struct sent *s = &c->sent[at++];
        bool done = r.err == 0;
        if (s->kind == SENT_SET && done)
            add_change(s->key, r.zxid, EVENT_NODE_DATA_CHANGED);
        if (s->kind == SENT_CREATE && done)
            add_change(s->key, r.zxid, EVENT_NODE_CREATED);
        if (s->kind == SENT_DELETE && done)
            add_change(s->key, r.zxid, EVENT_NODE_DELETED);
        if (s->kind == SENT_MULTI && done && (int32_t)be32_load(r.body.data) == OP_SET_DATA) {
            add_change(s->key, r.zxid, EVENT_NODE_DATA_CHANGED);
            add_change(s->key2, r.zxid, EVENT_NODE_DATA_CHANGED);
        }
    }
}

/* The last change of a key up to zxid, or NULL. */
static const struct change *change_at(unsigned key, zxid_t zxid)
{
    const struct change *found = NULL;
    for (unsigned i = 0; i < changes[key].count && changes[key].list[i].zxid <= zxid; i++)
        found = &changes[key].list[i];
    return found;
}

static const struct change *change_after(unsigned key, zxid_t zxid)
{
    for (unsigned i = 0; i < changes[key].count; i++)
        if (changes[key].list[i].zxid > zxid)
            return &changes[key].list[i];
    return NULL;
}

/* G1: a read at V shows exactly the last write <= V. */
static void check_read(const struct sent *s, const struct reply *r)
{
    const struct change *last = change_at(s->key, r->zxid);
    bool exists = last && last->type != EVENT_NODE_DELETED;
    assert_int_equal(r->err, exists ? 0 : ZK_NONODE);
    if (exists)
        assert_int_equal(be64_load(r->body.data + 8), last->zxid); /* mzxid */
}

struct armed {
    bool set;
    zxid_t since;
};

/* G3, second half: nothing that is watched has changed unseen up to zxid. */
static void check_none_missed(const struct armed *armed, zxid_t zxid)
{
    for (unsigned k = 0; k < KEYS; k++) {
        if (!armed[k].set)
            continue;
        const struct change *next = change_after(k, armed[k].since);
        assert_true(!next || next->zxid > zxid);
    }
}

static void check_event(struct client *c, struct armed *armed, const struct reply *r)
{
    struct bytes path = {r->body.data + 12, be32_load(r->body.data + 8)};
    unsigned k = 0;
    while (k < KEYS && !bytes_equal(path, text(keys[k])))
        k++;
    assert_true(k < KEYS && armed[k].set);
    const struct change *due = change_after(k, armed[k].since);
    assert_non_null(due);
    assert_int_equal(due->zxid, r->zxid);
    assert_int_equal(due->type, be32_load(r->body.data));
    if (c->persistent)
        armed[k].since = r->zxid;
    else
        armed[k].set = false;
}

static void check_client(struct client *c, zxid_t persistent_since)
{
    struct armed armed[KEYS] = {0};
    struct reply r;
    zxid_t last = 0;
    unsigned at = 0;
    for (unsigned k = 0; c->persistent && k < KEYS; k++)
        armed[k] = (struct armed){true, persistent_since};
    rewind_client(c);
    while (reply_next(c->peer, &r)) {
        if (r.xid == XID_NOTIFICATION) {
            check_event(c, armed, &r);
            continue;
        }
        assert_true(at < c->sent_count);
        const struct sent *s = &c->sent[at++];
        assert_int_equal(r.xid, s->xid); /* G2: in order of the requests */
        assert_true(r.zxid >= last);     /* G2: zxids never go back */
        last = r.zxid;
        check_none_missed(armed, r.zxid);
        if (s->kind != SENT_EXISTS)
            continue;
        check_read(s, &r);
        if (s->watch && !armed[s->key].set)
            armed[s->key] = (struct armed){true, r.zxid};
    }
    assert_int_equal(at, c->sent_count);
    check_none_missed(armed, INT64_MAX);
}

/* --- the runs --- */

static zxid_t begin(uint64_t seed)
{
    struct config config = rig_config();
    rng = seed * 0x9e3779b97f4a7c15ull + 1;
    rig_start(&config, CORES);
    memset(clients, 0, sizeof clients);
    memset(changes, 0, sizeof changes);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].peer = rig_client(i % CORES);
        clients[i].persistent = i >= CLIENTS - 3;
    }
    struct client *c = &clients[0];
    note(c, send_create(c->peer, "/e", BYTES_NULL, 0), SENT_OTHER, 0, 0, false);
    for (unsigned i = CLIENTS - 3; i < CLIENTS; i++)
        for (unsigned k = 0; k < KEYS; k++)
            note(&clients[i], send_path_int(clients[i].peer, OP_ADD_WATCH, keys[k], 0), SENT_OTHER,
                 0, 0, false);
    rig_settle();
    return store_visible(rig.server->store);
}

static void end(zxid_t since)
{
    rig_log.held = false;
    while (rig_log_step())
        continue;
    rig_settle();
    for (unsigned i = 0; i < CLIENTS; i++)
        history_of(&clients[i]);
    for (unsigned k = 0; k < KEYS; k++)
        qsort(changes[k].list, changes[k].count, sizeof changes[k].list[0], by_zxid);
    for (unsigned i = 0; i < CLIENTS; i++)
        check_client(&clients[i], since);
    rig_stop();
}

static void what_clients_see_agrees_with_the_history_in_every_interleaving(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        zxid_t since = begin(seed);
        for (int i = 0; i < STEPS; i++) {
            if (rnd(3) == 0)
                ask(&clients[rnd(CLIENTS)]);
            step();
        }
        end(since);
    }
}

/* One core sleeps while the others go on: its ring fills up, publication waits, nothing is lost. */
static void a_core_that_does_not_drain_delays_publication_and_loses_nothing(void **state)
{
    (void)state;
    zxid_t since = begin(7);
    struct client *writer = &clients[1], *sleeper = &clients[3];
    assert_ptr_equal(sleeper->peer->core, rig.cores[0]);
    note(sleeper, send_read(sleeper->peer, OP_EXISTS, keys[0], true), SENT_EXISTS, 0, 0, true);
    rig_settle();
    uint64_t published = rig.server->control->sequence;
    for (int i = 0; i < CORE_RING_ENTRIES + 500; i++) {
        if (writer->sent_count < SENT_MAX) {
            unsigned key = i % 4;
            enum sent_kind kind = i < 4 ? SENT_CREATE : SENT_SET;
            note(writer,
                 i < 4 ? send_create(writer->peer, keys[key], BYTES_NULL, 0)
                       : send_set(writer->peer, keys[key], text("x"), -1),
                 kind, key, 0, false);
        } else {
            note(&clients[4], send_path(clients[4].peer, OP_SYNC, "/"), SENT_OTHER, 0, 0, false);
        }
        rig_turn(1);
        (void)rig_control();
        (void)rig_control();
        rig_turn(2);
    }
    assert_int_equal(ring_count(&rig.cores[0]->from_control), CORE_RING_ENTRIES);
    assert_non_null(rig.server->control->building); /* waits for room */
    assert_int_equal(rig.server->control->sequence - published, CORE_RING_ENTRIES + 1);
    assert_non_null(rig.server->control->published); /* nothing may be retired yet */
    assert_int_equal(rig.server->control->published->sequence, published + 1);
    rig_settle();
    assert_null(rig.server->control->building);
    end(since);
}

/* --- with threads --- */

static _Atomic unsigned cores_left;

/* All requests of this core's clients are answered. */
static bool core_done(unsigned core, unsigned *answered)
{
    bool done = true;
    struct reply r;
    for (unsigned i = core; i < CLIENTS; i += CORES) {
        while (reply_next(clients[i].peer, &r))
            answered[i] += r.xid != XID_NOTIFICATION;
        done &= answered[i] == clients[i].sent_count;
    }
    return done;
}

static void *core_run(void *arg)
{
    unsigned core = (unsigned)(uintptr_t)arg, answered[CLIENTS] = {0};
    bool done = false;
    reader_register();
    for (unsigned i = core; i < CLIENTS; i += CORES)
        rewind_client(&clients[i]);
    while (atomic_load(&cores_left)) {
        rig_turn(core);
        if (!done && core_done(core, answered)) {
            done = true;
            atomic_fetch_sub(&cores_left, 1);
        }
        sched_yield();
    }
    reader_unregister();
    return NULL;
}

/* The same clients and checks, each core in a thread of its own and control in this one: for
 * ThreadSanitizer, and for orders that one thread cannot show. */
static void what_clients_see_agrees_with_the_history_when_cores_are_threads(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        pthread_t threads[CORES];
        zxid_t since = begin(seed);
        store_set_offline(rig.server->store, false);
        for (int i = 0; i < 300 * CLIENTS; i++)
            ask(&clients[rnd(CLIENTS)]);
        for (unsigned i = 0; i < CLIENTS; i++)
            clients[i].peer->input_bytes_max = 50 + rnd(400);
        atomic_store(&cores_left, CORES);
        for (unsigned i = 0; i < CORES; i++)
            assert_int_equal(
                pthread_create(&threads[i], NULL, core_run, (void *)(uintptr_t)i), 0);
        while (atomic_load(&cores_left)) {
            (void)rig_control();
            sched_yield();
        }
        reader_offline();
        for (unsigned i = 0; i < CORES; i++)
            pthread_join(threads[i], NULL);
        reader_online();
        end(since);
    }
}

static void a_batch_is_retired_only_when_every_core_has_drained_it(void **state)
{
    (void)state;
    struct config config = rig_config();
    rig_start(&config, 3);
    struct rig_peer *p = rig_client(0);
    rig_settle();
    (void)rig_control();
    assert_null(rig.server->control->published);
    send_create(p, "/a", BYTES_NULL, 0);
    rig_turn(0);
    (void)rig_control();
    (void)rig_control();
    struct batch *b = rig.server->control->published;
    assert_non_null(b);
    rig_turn(2);
    (void)rig_control();
    assert_ptr_equal(rig.server->control->published, b);
    rig_turn(0);
    (void)rig_control();
    assert_ptr_equal(rig.server->control->published, b);
    rig_turn(1);
    (void)rig_control();
    assert_null(rig.server->control->published);
    rig_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_clients_see_agrees_with_the_history_in_every_interleaving),
        cmocka_unit_test(what_clients_see_agrees_with_the_history_when_cores_are_threads),
        cmocka_unit_test(a_core_that_does_not_drain_delays_publication_and_loses_nothing),
        cmocka_unit_test(a_batch_is_retired_only_when_every_core_has_drained_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
