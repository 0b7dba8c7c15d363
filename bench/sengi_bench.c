/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/options.h"
#include "bench/report.h"
#include "bench/responder.h"

static void on_signal(int number)
{
    (void)number;
    load_stop = 1;
}

static void catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_signal,
                          .sa_flags = (int)SA_RESETHAND}; /* the second one kills */
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* One socket per connection: raise the soft limit to what is allowed. */
static void raise_file_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r); /* refused: socket() will say so */
    }
}

static int pin_to(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) == 0)
        return 0;
    perror("sengi-bench: --cpu");
    return -1;
}

static int null_server(const struct bench_options *o)
{
    int listener = responder_listen(o->port);
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    if (listener < 0 || getsockname(listener, (struct sockaddr *)&a, &n) < 0) {
        perror("sengi-bench: cannot listen");
        return 2;
    }
    printf("null server on 127.0.0.1:%u\n", ntohs(a.sin_port));
    fflush(stdout);
    return responder_run(listener, o->load.keyspace.value_bytes) < 0 ? 2 : 0;
}

static int measure(const struct bench_options *o)
{
    char error[256] = "";
    struct load_result result;
    load_result_init(&result);
    int rc = o->load.fill ? load_fill(&o->load, error) : 0;
    if (rc == 0)
        rc = o->load.workload == WORKLOAD_WATCH ? load_watch(&o->load, &result, error)
                                                : load_run(&o->load, &result, error);
    if (rc < 0) {
        fprintf(stderr, "sengi-bench: %s: %s\n", o->server_name, error);
    } else {
        (o->json ? report_json : report_text)(stdout, o, &result);
    }
    int exit_code = rc < 0 ? 2 : result.errors ? 3 : 0;
    load_result_free(&result);
    return exit_code;
}

int main(int argc, char **argv)
{
    struct bench_options options;
    int rc = options_parse(argc, argv, &options);
    if (rc != 0)
        return rc < 0 ? 1 : 0;
    catch_signals();
    raise_file_limit();
    if (options.cpu >= 0 && pin_to(options.cpu) < 0)
        return 1;
    return options.null_server ? null_server(&options) : measure(&options);
}
