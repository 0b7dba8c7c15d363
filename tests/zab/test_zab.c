/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * An ensemble of one: order, window, failure; and random events against a model that remembers
 * every proposal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zab/zab.h"

static struct zab_ready ready;

static struct zab *replica(uint32_t proposals, uint64_t bytes)
{
    struct zab_config config = {.window_proposals_max = proposals, .window_bytes_max = bytes};
    return zab_init(malloc(zab_bytes(&config)), &config);
}

static int start(struct zab *z, zxid_t last)
{
    return zab_step(z, &(struct zab_event){.kind = ZAB_START, .start.last_zxid = last}, &ready);
}

static int propose(struct zab *z, uint32_t bytes)
{
    struct zab_event event = {
        .kind = ZAB_PROPOSE, .propose.zxid = zab_next_zxid(z), .propose.entry.size = bytes};
    return zab_step(z, &event, &ready);
}

static int persisted(struct zab *z, zxid_t zxid)
{
    return zab_step(z, &(struct zab_event){.kind = ZAB_PERSISTED, .persisted.zxid = zxid}, &ready);
}

static int plain(struct zab *z, enum zab_event_kind kind)
{
    return zab_step(z, &(struct zab_event){.kind = kind}, &ready);
}

static void assert_no_append(void)
{
    assert_true(ready.append_from > ready.append_to);
}

/* semantics.md section 2: first txn of a fresh directory is 0x1. */
static void a_fresh_server_leads_in_epoch_0_and_begins_with_zxid_1(void **state)
{
    (void)state;
    struct zab *z = replica(8, 1000);
    assert_int_equal(start(z, 0), 0);
    assert_int_equal(ready.state, ZAB_LEADING);
    assert_int_equal(ready.commit, 0);
    assert_no_append();
    assert_int_equal(zab_next_zxid(z), 1);
    free(z);
}

/*
 * Goal: an acknowledged write is on stable storage (G4): nothing is committed before PERSISTED, all
 * of it after.
 */
static void a_proposal_is_committed_when_persisted_and_not_before(void **state)
{
    (void)state;
    struct zab *z = replica(8, 1000);
    start(z, 41);
    for (zxid_t zxid = 42; zxid <= 44; zxid++) {
        assert_int_equal(propose(z, 10), 0);
        assert_int_equal(ready.append_from, zxid);
        assert_int_equal(ready.append_to, zxid);
        assert_int_equal(ready.commit, 41);
    }
    assert_int_equal(persisted(z, 43), 0);
    assert_int_equal(ready.commit, 43);
    assert_no_append();
    assert_int_equal(persisted(z, 42), 0);
    assert_int_equal(ready.commit, 43);
    assert_int_equal(persisted(z, 44), 0);
    assert_int_equal(ready.commit, 44);
    free(z);
}

static void the_window_is_bounded_by_count_and_opens_by_commits(void **state)
{
    (void)state;
    struct zab *z = replica(3, 1000);
    start(z, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(propose(z, 1), 0);
    assert_int_equal(zab_can_propose(z, 1), ZAB_BUSY);
    assert_int_equal(propose(z, 1), ZAB_BUSY);
    assert_no_append();
    assert_int_equal(zab_next_zxid(z), 4);
    persisted(z, 2);
    assert_int_equal(propose(z, 1), 0);
    assert_int_equal(propose(z, 1), 0);
    assert_int_equal(propose(z, 1), ZAB_BUSY);
    free(z);
}

static void the_window_is_bounded_by_bytes_but_takes_one_large_entry_alone(void **state)
{
    (void)state;
    struct zab *z = replica(100, 1000);
    start(z, 0);
    assert_int_equal(propose(z, 600), 0);
    assert_int_equal(propose(z, 400), 0);
    assert_int_equal(propose(z, 1), ZAB_BUSY);
    assert_int_equal(propose(z, UINT32_MAX), ZAB_BUSY);
    persisted(z, 1);
    assert_int_equal(propose(z, 601), ZAB_BUSY);
    assert_int_equal(propose(z, 600), 0);
    persisted(z, 3);
    assert_int_equal(propose(z, 5000), 0);
    assert_int_equal(propose(z, 0), ZAB_BUSY);
    persisted(z, 4);
    assert_int_equal(propose(z, 1000), 0);
    free(z);
}

/* Goal: the first failed flush is final (Z5), even if the log thread reports success afterwards. */
static void after_a_failed_flush_nothing_is_proposed_or_committed(void **state)
{
    (void)state;
    struct zab *z = replica(8, 1000);
    start(z, 0);
    propose(z, 1);
    propose(z, 1);
    persisted(z, 1);
    assert_int_equal(plain(z, ZAB_PERSIST_FAILED), 0);
    assert_int_equal(ready.state, ZAB_FAILED);
    assert_int_equal(ready.commit, 1);
    assert_int_equal(persisted(z, 2), 0);
    assert_int_equal(ready.commit, 1);
    assert_int_equal(zab_can_propose(z, 1), ZAB_EFAILED);
    struct zab_event event = {.kind = ZAB_PROPOSE, .propose.zxid = 3};
    assert_int_equal(zab_step(z, &event, &ready), ZAB_EFAILED);
    assert_no_append();
    assert_int_equal(plain(z, ZAB_PERSIST_FAILED), 0);
    assert_int_equal(plain(z, ZAB_TICK), 0);
    free(z);
}

/*
 * ZooKeeper standing alone just adds 1 (see zab.h); hazards.md ZOOKEEPER-1277: it must not stop
 * serving there.
 */
static void the_counter_rolls_over_into_the_next_epoch(void **state)
{
    (void)state;
    struct zab *z = replica(32, 1000);
    assert_int_equal(start(z, 0x5fffffff0), 0);
    for (int i = 0; i < 32; i++)
        assert_int_equal(propose(z, 1), 0);
    assert_int_equal(zab_next_zxid(z), 0x600000011);
    persisted(z, 0x600000000);
    assert_int_equal(ready.commit, 0x600000000);
    persisted(z, 0x600000010);
    assert_int_equal(ready.commit, 0x600000010);
    free(z);
}

static void a_last_zxid_that_no_server_can_have_written_is_refused(void **state)
{
    (void)state;
    struct zab *z = replica(8, 1000);
    assert_int_equal(start(z, -1), ZAB_EZXID);
    assert_int_equal(start(z, INT64_MAX), ZAB_EZXID);
    assert_int_equal(ready.state, ZAB_LOOKING);
    assert_int_equal(start(z, INT64_MAX - 2), 0);
    assert_int_equal(propose(z, 1), 0);
    assert_int_equal(zab_can_propose(z, 1), ZAB_EZXID);
    free(z);
}

static void ticks_without_progress_are_counted_while_something_is_open(void **state)
{
    (void)state;
    struct zab *z = replica(8, 1000);
    start(z, 0);
    plain(z, ZAB_TICK);
    assert_int_equal(ready.stalled_ticks, 0);
    propose(z, 1);
    plain(z, ZAB_TICK);
    propose(z, 1);
    plain(z, ZAB_TICK);
    assert_int_equal(ready.stalled_ticks, 2);
    persisted(z, 1);
    assert_int_equal(ready.stalled_ticks, 0);
    plain(z, ZAB_TICK);
    assert_int_equal(ready.stalled_ticks, 1);
    persisted(z, 2);
    plain(z, ZAB_TICK);
    assert_int_equal(ready.stalled_ticks, 0);
    free(z);
}

/* Goal: bugs of the caller do not pass. Method: each in a child process, which must abort. */
static bool aborts(void (*misuse)(struct zab *))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        struct zab *z = replica(8, 1000);
        misuse(z);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void misuse_order(struct zab *z)
{
    start(z, 0);
    zab_step(z, &(struct zab_event){.kind = ZAB_PROPOSE, .propose.zxid = 2}, &ready);
}

static void misuse_persisted(struct zab *z)
{
    start(z, 0);
    propose(z, 1);
    persisted(z, 2);
}

static void misuse_before_start(struct zab *z)
{
    persisted(z, 0);
}

static void misuse_twice(struct zab *z)
{
    start(z, 0);
    start(z, 0);
}

static void a_callers_bug_aborts(void **state)
{
    (void)state;
    assert_true(aborts(misuse_order));
    assert_true(aborts(misuse_persisted));
    assert_true(aborts(misuse_before_start));
    assert_true(aborts(misuse_twice));
}

/* --- random events against a model with a plain list of proposals --- */

static uint64_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

struct model {
    uint32_t sizes[4096]; /* of zxid base + 1 + i */
    uint32_t proposed, committed;
    zxid_t base;
    bool failed;
};

static uint64_t model_open_bytes(const struct model *m)
{
    uint64_t sum = 0;
    for (uint32_t i = m->committed; i < m->proposed; i++)
        sum += m->sizes[i];
    return sum;
}

static void model_propose(struct model *m, struct zab *z, uint32_t proposals_max,
                          uint64_t bytes_max)
{
    uint32_t size = draw(10) ? draw(100) : draw(600), open = m->proposed - m->committed;
    int want = m->failed                                                         ? ZAB_EFAILED
               : open == 0                                                       ? 0
               : open == proposals_max || model_open_bytes(m) + size > bytes_max ? ZAB_BUSY
                                                                                 : 0;
    struct zab_event event = {.kind = ZAB_PROPOSE, .propose.zxid = m->base + m->proposed + 1,
                              .propose.entry.size = size};
    assert_int_equal(zab_can_propose(z, size), want);
    assert_int_equal(zab_step(z, &event, &ready), want);
    if (want == 0)
        m->sizes[m->proposed++] = size;
    assert_int_equal(ready.append_to - ready.append_from, want == 0 ? 0 : -1);
}

static void model_run(uint64_t run)
{
    seed = run;
    static struct model m;
    m = (struct model){.base = draw(2) ? 0 : ((zxid_t)draw(9) << 32) + 0xfffffff0 + draw(16)};
    uint32_t proposals_max = 1 + draw(12);
    uint64_t bytes_max = 1 + draw(500);
    struct zab *z = replica(proposals_max, bytes_max);
    assert_int_equal(start(z, m.base), 0);
    for (int step = 0; step < 3000 && m.proposed < 4095; step++) {
        uint32_t what = draw(1000);
        if (what < 500) {
            model_propose(&m, z, proposals_max, bytes_max);
        } else if (what < 990) {
            uint32_t upto = m.committed + draw(m.proposed - m.committed + 1);
            persisted(z, m.base + (draw(8) ? upto : draw(upto + 1)));
            /*
             * A lagging report changes nothing, so the model reads what may at most be committed.
             */
            assert_true(ready.commit >= m.base + m.committed && ready.commit <= m.base + upto);
            assert_true(!m.failed || ready.commit == m.base + m.committed);
            m.committed = (uint32_t)(ready.commit - m.base);
        } else if (what < 999) {
            plain(z, ZAB_TICK);
        } else {
            plain(z, ZAB_PERSIST_FAILED);
            m.failed = true;
        }
        struct zab_status status;
        zab_status(z, &status);
        assert_int_equal(status.window_bytes, model_open_bytes(&m));
        assert_int_equal(status.window_proposals, m.proposed - m.committed);
        assert_int_equal(status.committed, ready.commit);
        assert_int_equal(ready.state, m.failed ? ZAB_FAILED : ZAB_LEADING);
    }
    free(z);
}

static void random_events_agree_with_the_model(void **state)
{
    (void)state;
    for (uint64_t run = 1; run <= 200; run++)
        model_run(run);
}

/*
 * Goal: no hidden input. Method: the same events to two replicas in differently dirtied memory give
 * the same ready.
 */
static void same_state_and_event_give_the_same_ready(void **state)
{
    (void)state;
    struct zab_config config = {.window_proposals_max = 5, .window_bytes_max = 100};
    size_t size = zab_bytes(&config);
    void *a = memset(malloc(size), 0x00, size), *b = memset(malloc(size), 0xff, size);
    struct zab *x = zab_init(a, &config), *y = zab_init(b, &config);
    struct zab_ready first;
    seed = 99;
    start(x, 7);
    start(y, 7);
    for (int i = 0; i < 10000; i++) {
        struct zab_status s;
        zab_status(x, &s);
        struct zab_event event = {.kind = ZAB_TICK};
        if (draw(2))
            event = (struct zab_event){.kind = ZAB_PROPOSE, .propose.zxid = zab_next_zxid(x),
                                       .propose.entry.size = draw(60)};
        else if (draw(2))
            event = (struct zab_event){
                .kind = ZAB_PERSISTED,
                .persisted.zxid = s.committed + draw((uint32_t)(s.proposed - s.committed) + 1)};
        memset(&first, 0, sizeof(first));
        memset(&ready, 0, sizeof(ready));
        int error = zab_step(x, &event, &first);
        assert_int_equal(zab_step(y, &event, &ready), error);
        assert_memory_equal(&first, &ready, sizeof(ready));
    }
    assert_memory_equal(a, b, size);
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_server_leads_in_epoch_0_and_begins_with_zxid_1),
        cmocka_unit_test(a_proposal_is_committed_when_persisted_and_not_before),
        cmocka_unit_test(the_window_is_bounded_by_count_and_opens_by_commits),
        cmocka_unit_test(the_window_is_bounded_by_bytes_but_takes_one_large_entry_alone),
        cmocka_unit_test(after_a_failed_flush_nothing_is_proposed_or_committed),
        cmocka_unit_test(the_counter_rolls_over_into_the_next_epoch),
        cmocka_unit_test(a_last_zxid_that_no_server_can_have_written_is_refused),
        cmocka_unit_test(ticks_without_progress_are_counted_while_something_is_open),
        cmocka_unit_test(a_callers_bug_aborts),
        cmocka_unit_test(random_events_agree_with_the_model),
        cmocka_unit_test(same_state_and_event_give_the_same_ready),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
