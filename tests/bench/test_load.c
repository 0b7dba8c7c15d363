/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: the generator counts what it got, and says so when the server goes away. Method: whole runs
 * against the null server in a child process, bounded by count.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/load.h"
#include "bench/responder.h"

#define VALUE_BYTES 100

static uint8_t value[VALUE_BYTES];

/* A null server in a child; the options to load it. */
static pid_t start(struct load_options *o, const struct bench_protocol *protocol, enum workload w)
{
    int listener = responder_listen(0);
    assert_true(listener >= 0);
    *o = (struct load_options){.protocol = protocol,
                               .workload = w,
                               .connections = 8,
                               .outstanding = 20,
                               .keys = 100,
                               .window_s = 30,
                               .count_max = 5000,
                               .threads = 1,
                               .seed = 1};
    o->keyspace = (struct keyspace){
        .prefix = "/b", .prefix_bytes = 2, .value = value, .value_bytes = VALUE_BYTES};
    memset(value, 'x', sizeof value);
    o->address_bytes = sizeof o->address;
    assert_int_equal(getsockname(listener, (struct sockaddr *)&o->address, &o->address_bytes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(responder_run(listener, VALUE_BYTES) < 0);
    close(listener);
    return child;
}

static void stop(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void every_protocol_counts_its_replies(void **state)
{
    (void)state;
    const struct bench_protocol *all[] = {&protocol_zk, &protocol_memcached, &protocol_redis};
    const enum workload workloads[] = {WORKLOAD_GET, WORKLOAD_SET, WORKLOAD_PING};
    for (size_t i = 0; i < 9; i++) {
        struct load_options o;
        struct load_result r;
        char error[256] = "";
        pid_t child = start(&o, all[i / 3], workloads[i % 3]);
        load_result_init(&r);
        assert_int_equal(load_fill(&o, error), 0);
        if (load_run(&o, &r, error) != 0)
            fail_msg("%s: %s", all[i / 3]->name, error);
        assert_true(r.replies >= o.count_max && r.replies < o.count_max + 200);
        assert_int_equal(r.errors, 0);
        bool set = workloads[i % 3] == WORKLOAD_SET;
        assert_int_equal((set ? r.latency_writes : r.latency)->count, r.replies);
        load_result_free(&r);
        stop(child);
    }
}

static void threads_and_a_mix_add_up(void **state)
{
    (void)state;
    struct load_options o;
    struct load_result r;
    char error[256];
    pid_t child = start(&o, &protocol_zk, WORKLOAD_GET);
    o.threads = 2;
    o.write_percent = 30;
    load_result_init(&r);
    assert_int_equal(load_run(&o, &r, error), 0);
    assert_int_equal(r.latency->count + r.latency_writes->count, r.replies);
    assert_true(r.latency_writes->count > r.replies / 5 && r.latency_writes->count < r.replies / 2);
    load_result_free(&r);
    stop(child);
}

static void writers_of_their_own_keep_the_share(void **state)
{
    (void)state;
    struct load_options o;
    struct load_result r;
    char error[256];
    pid_t child = start(&o, &protocol_zk, WORKLOAD_GET);
    o.write_percent = 10;
    o.write_connections = 2;
    load_result_init(&r);
    assert_int_equal(load_run(&o, &r, error), 0);
    assert_true(r.latency_writes->count * 8 < r.replies
                && r.latency_writes->count * 15 > r.replies);
    load_result_free(&r);
    stop(child);
}

static void a_value_of_another_size_is_an_error(void **state)
{
    (void)state;
    struct load_options o;
    struct load_result r;
    char error[256];
    pid_t child = start(&o, &protocol_zk, WORKLOAD_GET);
    o.keyspace.value_bytes = VALUE_BYTES - 1;
    load_result_init(&r);
    assert_int_equal(load_run(&o, &r, error), 0);
    assert_true(r.errors >= r.replies);
    load_result_free(&r);
    stop(child);
}

static void a_server_that_is_gone_is_said(void **state)
{
    (void)state;
    struct load_options o;
    struct load_result r;
    char error[256] = "";
    pid_t child = start(&o, &protocol_memcached, WORKLOAD_GET);
    stop(child);
    load_result_init(&r);
    assert_int_equal(load_run(&o, &r, error), -1);
    assert_true(strlen(error) > 0);
    load_result_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_protocol_counts_its_replies),
        cmocka_unit_test(threads_and_a_mix_add_up),
        cmocka_unit_test(writers_of_their_own_keep_the_share),
        cmocka_unit_test(a_value_of_another_size_is_an_error),
        cmocka_unit_test(a_server_that_is_gone_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
