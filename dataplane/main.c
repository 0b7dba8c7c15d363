/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* sengi-server: command line, then server_run(). */
#include <stdio.h>

#include "dataplane/config.h"
#include "dataplane/log.h"
#include "dataplane/server.h"

#ifdef SENGI_WITH_DPDK
#include "dataplane/dpdk/port.h"
#define PORT (&dpdk_server_port)
#else
#define PORT NULL
#endif

extern const char *malloc_conf; /* jemalloc's */
const char *malloc_conf = SERVER_MALLOC_CONF;

static void say(void *context, enum config_line kind, const char *text)
{
    (void)context;
    switch (kind) {
    case CONFIG_LINE_TEXT: puts(text); break;
    case CONFIG_LINE_ERROR: fprintf(stderr, "%s\n", text); break;
    case CONFIG_LINE_WARN: LOG_WARN("%s", text); break;
    case CONFIG_LINE_NOTE: LOG_INFO("%s", text); break;
    }
}

int main(int argc, char **argv)
{
    static struct config config;
    const struct config_sink sink = {say, NULL};
    struct config_environment environment = config_environment_current();
    int err = config_parse_args(argc, argv, &environment, &config, &sink);
    if (err)
        return EXIT_CODE_INVALID_INVOCATION;
    switch (config.mode) {
    case CONFIG_MODE_CHECK: config_print_check(&config, &sink); return EXIT_CODE_FINISHED;
    case CONFIG_MODE_HELP: config_print_help(&sink); return EXIT_CODE_FINISHED;
    case CONFIG_MODE_VERSION: config_print_version(&sink); return EXIT_CODE_FINISHED;
    case CONFIG_MODE_KEYS: config_print_keys(&sink); return EXIT_CODE_FINISHED;
    case CONFIG_MODE_SERVE: break;
    }
    log_open(2, config.log_level);
    return server_run(&config, PORT);
}
