/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Command line of sengi-bench.
 */
#ifndef SENGI_BENCH_OPTIONS_H
#define SENGI_BENCH_OPTIONS_H

#include "bench/load.h"

struct bench_options {
    struct load_options load;
    const char *server_name; /* as given */
    bool json;
    bool null_server;
    uint16_t port; /* of the null server */
    int cpu;       /* pin to this CPU; -1 = leave */
};

/**
 * Parse, fill in defaults, resolve the server's address.
 *
 * @return 0; 1 help or version was printed, exit 0; -1 wrong usage, said on stderr.
 */
int options_parse(int argc, char **argv, struct bench_options *out);

const char *workload_name(enum workload w);

#endif
