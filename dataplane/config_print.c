/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/config_keys.h"
#include "dataplane/words.h"

__attribute__((format(printf, 2, 3))) static void print(const struct config_sink *sink,
                                                        const char *format, ...)
{
    char line[CONFIG_LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    sink->line(sink->context, CONFIG_LINE_TEXT, line);
}

void config_print_check(const struct config *c, const struct config_sink *sink)
{
    struct config defaults;
    char now[CONFIG_TEXT_BYTES], was[CONFIG_TEXT_BYTES];
    config_init(&defaults);
    /* What follows from another key is shown only where it was set to something else. */
    defaults.session_timeout_ms_min = c->tick_time_ms * 2;
    defaults.session_timeout_ms_max = c->tick_time_ms * 20;
    memcpy(defaults.data_log_dir, c->data_dir, sizeof defaults.data_log_dir);
    for (uint32_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        config_value_format(c, k, now, sizeof now);
        config_value_format(&defaults, k, was, sizeof was);
        if (k->effect == CONFIG_HONOURED && strcmp(now, was) != 0)
            print(sink, "%s=%s", k->name, now);
    }
    print(sink, "%s: valid, %u of its keys without effect", c->source, c->no_effect_count);
}

void config_print_help(const struct config_sink *sink)
{
    static const char *const lines[] = {
        "usage: sengi-server [options] [zoo.cfg]",
        "       sengi-server [options] <port> <datadir> [ticktime] [maxcnxns]",
        "",
        "A coordination server that speaks Apache ZooKeeper's client protocol and keeps its data "
        "directory.",
        "Without arguments it listens on 127.0.0.1:2181 and keeps its data in "
        "$XDG_STATE_HOME/sengi,",
        "/var/lib/sengi (root) or ~/.local/state/sengi.",
        "",
        "  --check-config  read the configuration, print what differs from the defaults and what "
        "has no",
        "                  effect, and exit: 0 if it is valid, 2 if not",
        "  --list-keys     print every key with default, unit and effect, and exit",
        "  -Dkey=value     set a key as a Java system property would; zoo.cfg wins over it",
        "  --version       print the version and exit",
        "  --help          print this and exit",
        "",
        "exit codes: 0 stopped as asked, 1 unexpected error, 2 invalid command line or "
        "configuration,",
        "            3 data directory not usable, 10 transaction log or snapshot failed",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        print(sink, "%s", lines[i]);
}

void config_print_version(const struct config_sink *sink)
{
    print(sink, "sengi-server %s, speaks the protocols of ZooKeeper %s", SENGI_VERSION,
          WORDS_ZOOKEEPER_VERSION);
}

void config_print_keys(const struct config_sink *sink)
{
    static const char *const effects[] = {"honoured", "no effect", "refused"};
    for (uint32_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        print(sink, "%-48s %-12s %-24s %s%s%s", k->name, k->fallback[0] ? k->fallback : "-",
              k->unit[0] ? k->unit : "-", effects[k->effect], k->why[0] ? ": " : "", k->why);
    }
}
