/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/wire/check.h"
#include "dataplane/config_keys.h"
#include "dataplane/properties.h"

#define WORDS_MAX 4 /* <port> <datadir> [ticktime] [maxcnxns] */

struct config_environment config_environment_current(void)
{
    cpu_set_t set;
    return (struct config_environment){
        .home = getenv("HOME"),
        .xdg_state_home = getenv("XDG_STATE_HOME"),
        .root = geteuid() == 0,
        .cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0,
    };
}

/* The words of a command line that are no options. */
struct words {
    const char *items[WORDS_MAX];
    int count; /* may be above WORDS_MAX: only so many are kept */
};

/* -Dname=value: a Java system property. */
static void define(struct config_parse *p, const char *definition)
{
    char key[CONFIG_NAME_BYTES];
    const char *equals = strchr(definition, '=');
    if (!equals || equals == definition || (size_t)(equals - definition) >= sizeof key ||
        strlen(equals + 1) > PROPERTIES_LINE_BYTES_MAX) {
        config_complain(p, CONFIG_LINE_ERROR, "-D%.100s: write -D<key>=<value>", definition);
        return;
    }
    snprintf(key, sizeof key, "%.*s", (int)(equals - definition), definition);
    config_take(p, key, equals + 1);
}

static void option_take(struct config_parse *p, const char *option)
{
    if (strcmp(option, "--help") == 0 || strcmp(option, "-h") == 0)
        p->c->mode = CONFIG_MODE_HELP;
    else if (strcmp(option, "--version") == 0)
        p->c->mode = CONFIG_MODE_VERSION;
    else if (strcmp(option, "--list-keys") == 0)
        p->c->mode = CONFIG_MODE_KEYS;
    else if (strcmp(option, "--check-config") == 0)
        p->c->mode = CONFIG_MODE_CHECK;
    else if (strncmp(option, "-D", 2) == 0)
        define(p, option + 2);
    else
        config_complain(p, CONFIG_LINE_ERROR, "unknown option %.100s; --help shows them all",
                        option);
}

static void split(struct config_parse *p, int argc, char **argv, struct words *words)
{
    bool options = true;
    for (int i = 1; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0)
            options = false;
        else if (options && argv[i][0] == '-' && argv[i][1] != '\0')
            option_take(p, argv[i]);
        else if (words->count++ < WORDS_MAX)
            words->items[words->count - 1] = argv[i];
    }
}

static int file_read(const char *path, char *text, size_t *size)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return errno;
    *size = fread(text, 1, CONFIG_FILE_BYTES_MAX + 1, f);
    int error = ferror(f) ? errno : 0;
    (void)fclose(f); /* read only: nothing can be lost */
    return error;
}

static int file_parse(struct config_parse *p, const char *path)
{
    size_t size = 0;
    if (strlen(path) >= CONFIG_PATH_BYTES) {
        config_complain(p, CONFIG_LINE_ERROR,
                        "the path of the configuration is longer than %d bytes",
                        CONFIG_PATH_BYTES - 1);
        return CONFIG_EINVALID;
    }
    snprintf(p->c->source, sizeof p->c->source, "%s", path);
    char *text = malloc(CONFIG_FILE_BYTES_MAX + 1);
    int error = text ? file_read(path, text, &size) : ENOMEM;
    int result = CONFIG_EREAD;
    if (error)
        config_complain(p, CONFIG_LINE_ERROR, "cannot read the configuration %s: %s", path,
                        strerror(error));
    else
        result = config_parse_text(path, text, size, p->c, p->sink);
    free(text);
    return result;
}

/* <port> <datadir> [ticktime] [maxcnxns], as ServerConfig.parse(String[]): connections are
 * unlimited unless given. */
static void words_take(struct config_parse *p, const struct words *words)
{
    static const char *const keys[WORDS_MAX] = {"clientPort", "dataDir", "tickTime",
                                                "maxClientCnxns"};
    p->c->max_client_cnxns = 0;
    snprintf(p->c->source, sizeof p->c->source, "command line");
    for (int i = 0; i < words->count; i++)
        config_take(p, keys[i], words->items[i]);
    config_finish(p);
}

static void defaults_take(struct config_parse *p, const struct config_environment *env)
{
    struct config *c = p->c;
    int n = 0;
    snprintf(c->source, sizeof c->source, "built-in defaults");
    if (c->client_port < 0) {
        c->client_port = 2181;
        if (c->client_port_address[0] == '\0')
            snprintf(c->client_port_address, sizeof c->client_port_address, "127.0.0.1");
    }
    if (c->data_dir[0] == '\0') {
        if (env->xdg_state_home && env->xdg_state_home[0] == '/')
            n = snprintf(c->data_dir, sizeof c->data_dir, "%s/sengi", env->xdg_state_home);
        else if (env->root)
            n = snprintf(c->data_dir, sizeof c->data_dir, "/var/lib/sengi");
        else if (env->home && env->home[0] == '/')
            n = snprintf(c->data_dir, sizeof c->data_dir, "%s/.local/state/sengi", env->home);
        if (n <= 0 || (size_t)n >= sizeof c->data_dir) {
            c->data_dir[0] = '\0';
            config_complain(p, CONFIG_LINE_ERROR,
                            "no folder for data: HOME and XDG_STATE_HOME are unset or too long; "
                            "give a zoo.cfg, or <port> <datadir>");
        }
    }
    config_finish(p);
}

/* nio.numWorkerThreads bounds what cores=0 would give: a CPU for control, the others data cores. */
static void bound_cores(struct config *c, const struct config_environment *env)
{
    int32_t automatic = env->cpus > 2 ? env->cpus - 1 : 1;
    if (c->cores == 0 && c->cores_max > 0 && c->cores_max < automatic)
        c->cores = c->cores_max;
}

static int configuration_parse(struct config_parse *p, const struct words *words,
                               const struct config_environment *env)
{
    if (words->count == 1)
        return file_parse(p, words->items[0]);
    if (words->count > 1)
        words_take(p, words);
    else
        defaults_take(p, env);
    return p->errors == 0 ? CONFIG_OK : CONFIG_EINVALID;
}

int config_parse_args(int argc, char **argv, const struct config_environment *env, struct config *c,
                      const struct config_sink *sink)
{
    struct config_parse p = {.c = c, .sink = sink, .server_client_port = -1};
    struct words words = {.count = 0};
    config_init(c);
    split(&p, argc, argv, &words);
    bool answer_only = c->mode == CONFIG_MODE_HELP || c->mode == CONFIG_MODE_VERSION ||
                       c->mode == CONFIG_MODE_KEYS;
    if (words.count > WORDS_MAX)
        config_complain(&p, CONFIG_LINE_ERROR, "too many arguments; --help shows what is possible");
    if (p.errors > 0 || answer_only)
        return p.errors == 0 ? CONFIG_OK : CONFIG_EINVALID;
    int result = configuration_parse(&p, &words, env);
    if (result == CONFIG_OK)
        bound_cores(c, env);
    return result;
}
