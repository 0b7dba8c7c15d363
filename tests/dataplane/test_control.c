/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The control core on the rig: full window, expiry, moves, reaper, counts in slices, a failing log,
 * stopping.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/log.h"
#include "tests/dataplane/rig_client.h"

static int start(void **state)
{
    (void)state;
    struct config config = rig_config();
    config.container_check_interval_ms = 60000;
    config.container_max_per_minute = 600;
    config.extended_types_enabled = true;
    rig_start(&config, 2);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    rig_stop();
    return 0;
}

static int32_t exists(struct rig_peer *p, const char *path)
{
    return reply_of(p, send_read(p, OP_EXISTS, path, false)).err;
}

static void create(struct rig_peer *p, const char *path, int32_t flags)
{
    assert_int_equal(reply_of(p, send_create(p, path, BYTES_NULL, flags)).err, 0);
}

/* Lets the server see that time has passed, as its timers do. */
static void pass_ms(uint64_t ms)
{
    for (uint64_t done = 0; done < ms; done += 500) {
        rig_clock_advance_ms(500);
        rig_settle();
    }
}

/* --- window --- */

#define LARGE_BYTES 1000000u

static void what_does_not_fit_into_the_window_waits_and_keeps_its_order(void **state)
{
    (void)state;
    enum { CLIENTS = 24, EACH = 4 };
    struct rig_peer *clients[CLIENTS];
    uint8_t *data = calloc(1, LARGE_BYTES);
    int32_t first[CLIENTS];
    create(rig_client(0), "/a", 0);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = rig_client((unsigned)i % 2);
    rig_log.held = true;
    for (int i = 0; i < CLIENTS; i++) {
        first[i] = clients[i]->xid;
        for (int n = 0; n < EACH; n++)
            send_set(clients[i], "/a", (struct bytes){data, LARGE_BYTES}, -1);
        send_path(clients[i], OP_SYNC, "/a");
        send_create(clients[i], "/e-", BYTES_NULL, 3);
        send_bare(clients[i], OP_CLOSE_SESSION);
    }
    free(data);
    rig_settle();
    struct control *c = rig.server->control;
    assert_true(c->stalled.count > 0);
    assert_true(c->filling->records.size <= LOG_BATCH_BYTES_MAX);
    rig_log.held = false;
    while (rig_log_step())
        rig_settle();
    assert_int_equal(c->stalled.count, 0);
    for (int i = 0; i < CLIENTS; i++) {
        zxid_t last = 0;
        for (int n = 0; n < EACH + 3; n++) {
            struct reply r = reply_of(clients[i], first[i] + n);
            assert_int_equal(r.err, 0);
            assert_true(r.zxid >= last);
            last = r.zxid;
        }
        assert_true(clients[i]->fin);
    }
}

static void nothing_is_answered_before_it_is_on_disk(void **state)
{
    (void)state;
    struct rig_peer *p = rig_client(0), *other = rig_client(1);
    rig_log.held = true;
    int32_t made = send_create(p, "/a", BYTES_NULL, 0);
    rig_settle();
    struct reply r;
    assert_false(reply_next(p, &r));
    assert_int_equal(exists(other, "/a"), ZK_NONODE);
    int32_t sync = send_path(other, OP_SYNC, "/a"); /* sees the newest state: waits for it */
    rig_settle();
    assert_false(reply_next(other, &r));
    struct rig_peer *late = rig_open(1);
    static const uint8_t zeros[PASSWD_BYTES];
    send_connect(late, 0, 10000, 0, (struct bytes){zeros, PASSWD_BYTES}, true);
    rig_settle();
    assert_int_equal(late->got.size, 0); /* a session is a txn too */
    rig_log.held = false;
    while (rig_log_step())
        rig_settle();
    assert_int_equal(reply_of(p, made).err, 0);
    assert_int_equal(reply_of(other, sync).err, 0);
    assert_int_equal(exists(other, "/a"), 0);
    assert_true(connected(late));
}

/* Goal: with one CPU, flushes and reads share it fairly: writes of a core that never runs dry are
 * flushed together, but a core with nothing else to do flushes at once, and no write waits for
 * ever. */
static void writes_gather_while_reads_want_the_only_cpu(void **state)
{
    (void)state;
    struct rig_peer *writer = rig_client(0), *reader = rig_client(0);
    struct control *c = rig.server->control;
    create(writer, "/a", 0);
    rig.server->one_thread = true;
    rig_log.cpu_us = 50;
    int32_t xid = send_set(writer, "/a", BYTES_NULL, -1);
    assert_int_equal(reply_of(writer, xid).err, 0); /* nothing flushed shortly before */
    uint64_t batches = rig_log.batches;
    for (int i = 0; i < 10; i++) {
        send_set(writer, "/a", BYTES_NULL, -1);
        send_read(reader, OP_EXISTS, "/a", false);
        rig_turn(0);
        assert_true(rig_control()); /* to be called again: the batch waits without a timer */
    }
    assert_int_equal(rig_log.batches, batches);
    assert_int_equal(c->pending.count, 10);
    rig_turn(0); /* no input: nobody else wants the CPU */
    rig_control();
    assert_int_equal(rig_log.batches, batches + 1);
    rig_settle();
    assert_int_equal(c->pending.count, 0);
    send_set(writer, "/a", BYTES_NULL, -1);
    rig_turn(0);
    rig_control();
    assert_int_equal(rig_log.batches, batches + 1);
    c->server->config.global_outstanding_limit = 2; /* no more are let in than gathered already */
    send_set(writer, "/a", BYTES_NULL, -1);
    rig_turn(0);
    rig_control();
    assert_int_equal(rig_log.batches, ++batches + 1);
    c->server->config.global_outstanding_limit = 1000;
    send_set(writer, "/a", BYTES_NULL, -1);
    rig_turn(0);
    rig_control();
    assert_int_equal(rig_log.batches, batches + 1);
    rig_clock_advance_ms(50); /* long since the last flush */
    send_read(reader, OP_EXISTS, "/a", false);
    rig_turn(0);
    rig_control();
    assert_int_equal(rig_log.batches, batches + 2);
    rig.server->one_thread = false;
}

/* --- sessions --- */

static void a_silent_session_expires_with_its_ephemerals_and_its_connection(void **state)
{
    (void)state;
    struct rig_peer *silent = rig_client(0), *live = rig_client(1);
    create(silent, "/e", 1);
    create(silent, "/e2", 1);
    int32_t watch = send_read(live, OP_EXISTS, "/e", true);
    assert_int_equal(reply_of(live, watch).err, 0);
    for (int ms = 0; ms < 9500; ms += 500) {
        pass_ms(500);
        assert_int_equal(reply_of(live, send_bare(live, OP_PING)).err, 0);
        assert_non_null(silent->conn);
    }
    for (int ms = 0; ms < 4000; ms += 500) {
        pass_ms(500);
        send_bare(live, OP_PING);
    }
    rig_settle();
    assert_true(silent->cut);
    bool told = false;
    struct reply r;
    while (reply_next(live, &r))
        told |= r.xid == XID_NOTIFICATION && be32_load(r.body.data) == EVENT_NODE_DELETED;
    assert_true(told);
    assert_int_equal(exists(live, "/e"), ZK_NONODE);
    assert_int_equal(exists(live, "/e2"), ZK_NONODE);
    assert_int_equal(atomic_load(&rig.server->control->sessions_expired), 1);
    struct rig_peer *again = rig_open(0);
    send_connect(again, 0, 10000, silent->session, (struct bytes){silent->passwd, PASSWD_BYTES},
                 true);
    rig_settle();
    assert_false(connected(again));
}

static void a_session_without_a_connection_expires_too(void **state)
{
    (void)state;
    struct rig_peer *gone = rig_client(0);
    create(gone, "/e", 1);
    rig_close(gone);
    pass_ms(5000);
    struct rig_peer *live = rig_client(1);
    assert_int_equal(exists(live, "/e"), 0);
    for (int ms = 0; ms < 9000; ms += 500) {
        pass_ms(500);
        assert_int_equal(reply_of(live, send_bare(live, OP_PING)).err, 0);
    }
    assert_int_equal(exists(live, "/e"), ZK_NONODE);
}

static void a_write_of_the_old_connection_is_not_done_after_the_session_moved(void **state)
{
    (void)state;
    struct rig_peer *old = rig_client(0), *new = rig_open(1);
    send_connect(new, 0, 10000, old->session, (struct bytes){old->passwd, PASSWD_BYTES}, true);
    rig_turn(1);
    send_create(old, "/late", BYTES_NULL, 0);
    send_bare(old, OP_CLOSE_SESSION);
    /* Control takes core 0's ring first: let the handshake go in before. */
    (void)rig_control();
    rig_turn(0);
    rig_settle();
    assert_true(connected(new) && old->cut);
    assert_int_equal(exists(new, "/late"), ZK_NONODE);
    create(new, "/x", 1);
}

/* --- reaper --- */

static void an_emptied_container_and_an_old_ttl_znode_are_removed_after_the_interval(void **state)
{
    (void)state;
    struct rig_peer *p = rig_client(0);
    create(p, "/c", 4);
    create(p, "/unused", 4);
    create(p, "/c/x", 0);
    int32_t gone = send_path_int(p, OP_DELETE, "/c/x", -1);
    assert_int_equal(reply_of(p, gone).err, 0);
    for (int i = 0; i < 58; i++) {
        pass_ms(1000);
        assert_int_equal(reply_of(p, send_bare(p, OP_PING)).err, 0);
    }
    assert_int_equal(exists(p, "/c"), 0);
    for (int i = 0; i < 4; i++) {
        pass_ms(1000);
        assert_int_equal(reply_of(p, send_bare(p, OP_PING)).err, 0);
    }
    assert_int_equal(exists(p, "/c"), ZK_NONODE);
    assert_int_equal(exists(p, "/unused"), 0);
}

static void the_reaper_keeps_its_pace(void **state)
{
    (void)state;
    enum { CONTAINERS = 40 };
    struct rig_peer *p = rig_client(0);
    char path[32];
    for (int i = 0; i < CONTAINERS; i++) {
        snprintf(path, sizeof path, "/c%d", i);
        create(p, path, 4);
        snprintf(path, sizeof path, "/c%d/x", i);
        create(p, path, 0);
        assert_int_equal(reply_of(p, send_path_int(p, OP_DELETE, path, -1)).err, 0);
    }
    uint64_t before = atomic_load(&rig.server->nodes);
    rig_clock_advance_ms(1);
    for (int i = 0; i < 60 && atomic_load(&rig.server->nodes) == before; i++) {
        assert_int_equal(reply_of(p, send_bare(p, OP_PING)).err, 0);
        pass_ms(1000);
    }
    uint64_t left = atomic_load(&rig.server->nodes);
    assert_true(left < before);
    for (int i = 0; i < 2; i++) { /* 600 per minute: 10 a second */
        pass_ms(1000);
        assert_in_range(left - atomic_load(&rig.server->nodes), 9, 11);
        left = atomic_load(&rig.server->nodes);
    }
}

/* --- getAllChildrenNumber --- */

/* What the writer does in each round of a count: a node in front of the walk or behind it comes or
 * goes, and the client that counts watches each. */
static void change_below(struct rig_peer *writer, int round)
{
    char path[32];
    snprintf(path, sizeof path, "/d-%d", round); /* not below */
    int32_t xid = send_create(writer, path, BYTES_NULL, 0);
    if (round % 3 == 2) {
        snprintf(path, sizeof path, "/d/n%d", 10000 + round);
        xid = send_path_int(writer, OP_DELETE, path, -1);
    } else {
        snprintf(path, sizeof path, round % 3 ? "/d/z%d" : "/d/a%d", round);
        xid = send_create(writer, path, BYTES_NULL, 0);
    }
    rig_turn(1);
    (void)rig_control();
    (void)rig_control();
    rig_turn(1);
    rig_turn(0);
    for (int32_t i = xid - 1; i <= xid; i++) {
        struct reply r;
        assert_true(reply_next(writer, &r)); /* not held up by the count */
        assert_int_equal(r.xid, i);
        assert_int_equal(r.err, 0);
    }
}

/* Frames that came since: events are counted. True: the reply is there. */
static bool await_count(struct rig_peer *p, zxid_t *seen, int *events, struct reply *r)
{
    while (reply_next(p, r)) {
        assert_true(r->zxid >= *seen);
        *seen = r->zxid;
        if (r->xid != -1)
            return true;
        ++*events;
    }
    return false;
}

/* A count takes many steps; its answer is of the state that the events before it have told of
 * (G3). */
static void a_count_goes_on_in_slices_and_holds_for_its_own_zxid(void **state)
{
    (void)state;
    enum { NODES = WALK_STEP_NODES * 6 };
    struct rig_peer *p = rig_client(0), *writer = rig_client(1);
    char path[32];
    create(p, "/d", 0);
    for (int i = 10000; i < 10000 + NODES; i++) {
        snprintf(path, sizeof path, "/d/n%d", i);
        send_create(p, path, BYTES_NULL, 0);
    }
    send_path_int(p, OP_ADD_WATCH, "/d", 1);
    rig_settle();
    p->looked = p->got.size;
    int32_t count = send_path(p, OP_GET_ALL_CHILDREN_NUMBER, "/d");
    rig_turn(0);
    int steps = 0, events = 0;
    zxid_t seen = 0;
    struct reply r = {0};
    while (!await_count(p, &seen, &events, &r)) {
        change_below(writer, steps++);
        assert_true(steps < 100);
    }
    assert_true(steps > 3);
    assert_int_equal(r.xid, count);
    int gone = events / 3;
    assert_int_equal(be32_load(r.body.data), NODES + (events - gone) - gone);
    assert_int_equal(rig.server->control->walk_count, 0);
}

static void more_counts_than_go_on_at_a_time_wait_for_their_turn(void **state)
{
    (void)state;
    enum { CLIENTS = WALKS_MAX + 10 };
    struct rig_peer *p[CLIENTS];
    int32_t xid[CLIENTS];
    for (int i = 0; i < CLIENTS; i++)
        p[i] = rig_client((unsigned)i % 2);
    create(p[0], "/a", 0);
    create(p[0], "/a/b", 0);
    for (int i = 0; i < CLIENTS; i++)
        xid[i] = send_path(p[i], OP_GET_ALL_CHILDREN_NUMBER, "/a");
    rig_turn(0);
    rig_turn(1);
    (void)rig_control();
    for (int i = 0; i < CLIENTS; i++) {
        struct reply r = reply_of(p[i], xid[i]);
        assert_int_equal(r.err, 0);
        assert_int_equal(be32_load(r.body.data), 1);
    }
}

static void a_count_whose_client_went_away_ends_and_leaves_nothing(void **state)
{
    (void)state;
    struct rig_peer *p = rig_client(0);
    char path[32];
    for (int i = 0; i < WALK_STEP_NODES * 3; i++) {
        snprintf(path, sizeof path, "/n%d", i);
        send_create(p, path, BYTES_NULL, 0);
    }
    rig_settle();
    send_path(p, OP_GET_ALL_CHILDREN_NUMBER, "/");
    rig_turn(0);
    (void)rig_control();
    rig_close(p);
    rig_settle();
    assert_null(p->conn);
    assert_int_equal(rig.server->control->walk_count, 0);
}

/* --- the end --- */

static void after_a_failed_flush_nothing_is_acknowledged_and_the_server_stops(void **state)
{
    (void)state;
    struct rig_peer *p = rig_client(0), *other = rig_client(1);
    create(p, "/before", 0);
    log_open(-1, LOG_LEVEL_ERROR);
    rig_log.held = true;
    send_create(p, "/lost", BYTES_NULL, 0);
    send_create(other, "/lost2", BYTES_NULL, 0);
    rig_settle();
    send_create(other, "/lost3", BYTES_NULL, 0);
    send_path(p, OP_SYNC, "/");
    rig_settle();
    rig_log.fail = true;
    rig_log.held = false;
    while (rig_log_step())
        rig_settle();
    rig_settle();
    send_create(p, "/lost4", BYTES_NULL, 0);
    rig_settle();
    struct reply r;
    assert_false(reply_next(p, &r));
    assert_false(reply_next(other, &r));
    assert_true(rig.server->control->failed);
    assert_true(server_stopping(rig.server));
    assert_true(rig.cores[0]->stopping && rig.cores[1]->stopping);
    struct tree_key key = store_key(rig.server->store, text("/lost"));
    assert_null(tree_get(rig.server->store, key, store_visible(rig.server->store)));
}

static void stopping_answers_what_is_in_flight_and_looks_at_nothing_new(void **state)
{
    (void)state;
    struct rig_peer *p = rig_client(0), *other = rig_client(1);
    rig_log.held = true;
    int32_t xid = send_create(p, "/a", BYTES_NULL, 0), get = send_read(p, OP_EXISTS, "/a", false);
    rig_settle();
    atomic_store(&rig.server->stop_requested, true);
    send_create(other, "/b", BYTES_NULL, 0);
    rig_settle();
    assert_false(rig.cores[0]->stopping); /* waits for the log */
    rig_log.held = false;
    while (rig_log_step())
        rig_settle();
    assert_int_equal(reply_of(p, xid).err, 0);
    assert_int_equal(reply_of(p, get).err, 0);
    struct reply r;
    assert_false(reply_next(other, &r));
    assert_true(rig.cores[0]->stopping && rig.cores[1]->stopping);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(what_does_not_fit_into_the_window_waits_and_keeps_its_order),
        TEST(nothing_is_answered_before_it_is_on_disk),
        TEST(writes_gather_while_reads_want_the_only_cpu),
        TEST(a_silent_session_expires_with_its_ephemerals_and_its_connection),
        TEST(a_session_without_a_connection_expires_too),
        TEST(a_write_of_the_old_connection_is_not_done_after_the_session_moved),
        TEST(an_emptied_container_and_an_old_ttl_znode_are_removed_after_the_interval),
        TEST(the_reaper_keeps_its_pace),
        TEST(a_count_goes_on_in_slices_and_holds_for_its_own_zxid),
        TEST(more_counts_than_go_on_at_a_time_wait_for_their_turn),
        TEST(a_count_whose_client_went_away_ends_and_leaves_nothing),
        TEST(after_a_failed_flush_nothing_is_acknowledged_and_the_server_stops),
        TEST(stopping_answers_what_is_in_flight_and_looks_at_nothing_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
