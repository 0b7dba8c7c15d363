/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The session table against semantics.md section 13.3: buckets to the millisecond, renewal,
 * closing, references, pauses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "dataplane/conn.h"
#include "dataplane/session.h"

#define TICK_MS 2000

static struct session_table *t;
#define SESSIONS_MAX 100000

static struct {
    struct session *sessions[SESSIONS_MAX];
    session_id_t first; /* id of the first */
    unsigned count;
} expired;

static void on_expire(void *ctx, struct session *s)
{
    assert_ptr_equal(ctx, &expired);
    if (expired.count == 0)
        expired.first = s->id;
    expired.sessions[expired.count++] = s;
    session_begin_close(t, s);
}

static unsigned expire_at(int64_t now_ms)
{
    expired.count = 0;
    session_expire_due(t, now_ms, on_expire, &expired);
    for (unsigned i = 0; i < expired.count; i++)
        session_finish_close(t, expired.sessions[i]); /* the control core does it after the
                                                       * commit */
    return expired.count;
}

static int start(void **state)
{
    (void)state;
    t = session_table_create(TICK_MS, 0);
    return t ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    session_table_destroy(t);
    return 0;
}

/* ((now + timeout) / interval + 1) * interval */
static int64_t expiry(int64_t heard_ms, int64_t timeout_ms)
{
    return ((heard_ms + timeout_ms) / TICK_MS + 1) * TICK_MS;
}

static void a_silent_session_expires_at_its_bucket_and_not_a_millisecond_before(void **state)
{
    (void)state;
    session_id_t id = 1;
    for (int64_t opened = 10000; opened <= 10000 + 2 * TICK_MS; opened += 333)
        for (int32_t timeout = 4000; timeout <= 8001; timeout += 667) {
            session_table_destroy(t);
            t = session_table_create(TICK_MS, opened);
            struct session *s = session_open(t, id, timeout, opened);
            int64_t due = expiry(opened, timeout);
            assert_int_equal(session_bucket_ms(t, s), due);
            assert_true(due > opened + timeout && due <= opened + timeout + TICK_MS);
            assert_int_equal(expire_at(opened), 0);
            assert_int_equal(expire_at(due - 1), 0);
            assert_true(session_next_ms(t) <= due);
            assert_int_equal(expire_at(due), 1);
            assert_int_equal(expired.first, id);
            assert_null(session_find(t, id));
            id++;
        }
}

static void waking_at_each_next_ms_expires_at_the_bucket(void **state)
{
    (void)state;
    session_open(t, 5, 7000, 500);
    int wakes = 0;
    int64_t now;
    do {
        now = session_next_ms(t);
        assert_true(wakes++ < 10);
    } while (expire_at(now) == 0);
    assert_int_equal(now, expiry(500, 7000));
    assert_int_equal(session_next_ms(t), INT64_MAX);
}

static void hearing_of_a_session_moves_it_without_a_call(void **state)
{
    (void)state;
    struct session *s = session_open(t, 1, 4000, 0);
    struct conn owner = {.heard_ms = 5900};
    s->conn = &owner;
    assert_int_equal(expire_at(expiry(0, 4000)), 0);
    assert_int_equal(session_bucket_ms(t, s), expiry(5900, 4000));
    assert_int_equal(expire_at(expiry(5900, 4000) - 1), 0);
    assert_int_equal(expire_at(expiry(5900, 4000)), 1);
}

/* E4. Also of an owner that is gone by the time of the look; of an earlier one nothing counts. */
static void what_a_connection_heard_counts_after_it_let_go(void **state)
{
    (void)state;
    struct session *s = session_open(t, 1, 4000, 0);
    struct conn owner = {.heard_ms = 5900}, earlier = {.heard_ms = 9900};
    s->refs = 2;
    s->conn = &owner;
    session_detach(s, &earlier);
    assert_ptr_equal(s->conn, &owner);
    session_detach(s, &owner);
    assert_null(s->conn);
    atomic_store(&owner.heard_ms, 100000);
    assert_int_equal(expire_at(expiry(5900, 4000) - 1), 0);
    assert_int_equal(expire_at(expiry(5900, 4000)), 1);
}

static void renewal_counts_from_now_and_may_shorten_the_timeout(void **state)
{
    (void)state;
    struct session *s = session_open(t, 1, 40000, 0);
    session_renew(t, s, 4000, 1000);
    assert_int_equal(s->timeout_ms, 4000);
    assert_int_equal(expire_at(expiry(1000, 4000) - 1), 0);
    assert_int_equal(expire_at(expiry(1000, 4000)), 1);
}

static void a_closing_session_is_not_expired_again_and_stays_until_it_is_closed(void **state)
{
    (void)state;
    struct session *s = session_open(t, 1, 4000, 0);
    assert_int_equal(session_count(t), 1);
    session_begin_close(t, s);
    assert_int_equal(session_count(t), 0);
    assert_true(s->closing);
    assert_int_equal(expire_at(1000000), 0);
    assert_ptr_equal(session_find(t, 1), s);
    assert_int_equal(session_next_ms(t), INT64_MAX);
    session_finish_close(t, s);
    assert_null(session_find(t, 1));
}

/* E2. That it is freed with the last one, and not before, is for AddressSanitizer to see. */
static void a_closed_session_lives_until_the_last_connection_lets_go(void **state)
{
    (void)state;
    struct session *s = session_open(t, 1, 4000, 0);
    s->refs = 2;
    session_begin_close(t, s);
    session_finish_close(t, s);
    assert_true(s->closed);
    session_detach(s, NULL);
    assert_int_equal(s->refs, 1);
    session_detach(s, NULL);
    struct session *open = session_open(t, 2, 4000, 0);
    open->refs = 1;
    session_detach(open, NULL); /* open: stays until it expires */
    assert_ptr_equal(session_find(t, 2), open);
    assert_int_equal(expire_at(10000), 1);
}

static void a_timeout_of_weeks_is_kept_though_the_buckets_share_slots(void **state)
{
    (void)state;
    session_open(t, 1, INT32_MAX, 0);
    session_open(t, 2, 1024 * TICK_MS + 100, 0); /* the same slot as bucket 0 or 1 */
    session_open(t, 3, 4000, 0);
    assert_int_equal(expire_at(expiry(0, 4000)), 1);
    assert_int_equal(expired.first, 3);
    int64_t due = expiry(0, 1024 * TICK_MS + 100);
    for (int64_t now = 8000; now < due; now += TICK_MS)
        assert_int_equal(expire_at(now), 0);
    assert_int_equal(expire_at(due), 1);
    assert_int_equal(expired.first, 2);
    due = expiry(0, INT32_MAX);
    assert_int_equal(expire_at(due - 1), 0);
    assert_int_equal(expire_at(due), 1);
}

static void after_a_long_pause_all_that_is_due_expires_at_once_and_nothing_else(void **state)
{
    (void)state;
    for (session_id_t id = 1; id <= 40; id++)
        session_open(t, id, (int32_t)id * 100000, 0);
    int64_t now = 2000000 + TICK_MS * 5; /* more slots than the ring has, were it asked for less */
    assert_int_equal(expire_at(now), 20);
    assert_int_equal(session_count(t), 20);
    assert_int_equal(expire_at(now + 100000000), 20);
}

/* What a hostile snapshot or log may hold: no timeout harms the table. */
static void a_negative_timeout_from_disk_expires_and_does_not_corrupt(void **state)
{
    (void)state;
    session_open(t, 1, -1, 5000);
    session_open(t, 2, INT32_MIN, 5000);
    session_open(t, 3, 0, 5000);
    int64_t now = 5000;
    unsigned gone = 0;
    while (session_count(t)) {
        assert_true(now < 5000 + 3000 * TICK_MS);
        now += TICK_MS;
        gone += expire_at(now);
    }
    assert_int_equal(gone, 3);
}

static unsigned seen;
static void count_one(void *ctx, const struct session *s)
{
    (void)ctx, (void)s;
    seen++;
}

/* Against a model: random renewals, requests and closes of 100 000 sessions. */
static void a_hundred_thousand_sessions_expire_each_at_its_own_time(void **state)
{
    (void)state;
    enum { SESSIONS = SESSIONS_MAX };
    int64_t *due = calloc(SESSIONS + 1, sizeof *due);
    uint64_t rng = 42;
    unsigned open = SESSIONS;
    for (session_id_t id = 1; id <= SESSIONS; id++) {
        rng = rng * 6364136223846793005u + 1442695040888963407u;
        int32_t timeout = 4000 + (int32_t)(rng >> 33) % 36000;
        assert_non_null(session_open(t, id, timeout, 100));
        due[id] = expiry(100, timeout);
    }
    session_each(t, count_one, NULL);
    assert_int_equal(seen, SESSIONS);
    for (int64_t now = TICK_MS; now <= 60 * TICK_MS; now += TICK_MS) {
        for (int i = 0; i < 2000; i++) {
            rng = rng * 6364136223846793005u + 1442695040888963407u;
            session_id_t id = 1 + (session_id_t)((rng >> 33) % SESSIONS);
            struct session *s = session_find(t, id);
            assert_true((s != NULL) == (due[id] > now - TICK_MS));
            if (!s)
                continue;
            due[id] = expiry(now - 1, s->timeout_ms);
            if (i % 2)
                session_renew(t, s, s->timeout_ms, now - 1);
            else
                s->heard_ms = now - 1;
        }
        unsigned expected = 0;
        for (session_id_t id = 1; id <= SESSIONS; id++)
            expected += due[id] == now;
        assert_int_equal(expire_at(now), expected);
        open -= expected;
        assert_int_equal(session_count(t), open);
    }
    assert_true(open < SESSIONS / 10);
    free(due);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_silent_session_expires_at_its_bucket_and_not_a_millisecond_before),
        TEST(waking_at_each_next_ms_expires_at_the_bucket),
        TEST(hearing_of_a_session_moves_it_without_a_call),
        TEST(what_a_connection_heard_counts_after_it_let_go),
        TEST(renewal_counts_from_now_and_may_shorten_the_timeout),
        TEST(a_closing_session_is_not_expired_again_and_stays_until_it_is_closed),
        TEST(a_closed_session_lives_until_the_last_connection_lets_go),
        TEST(a_timeout_of_weeks_is_kept_though_the_buckets_share_slots),
        TEST(after_a_long_pause_all_that_is_due_expires_at_once_and_nothing_else),
        TEST(a_negative_timeout_from_disk_expires_and_does_not_corrupt),
        TEST(a_hundred_thousand_sessions_expire_each_at_its_own_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
