/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: the command line takes ZooKeeper's two forms and our options, and starts without any
 * argument. Method: config_parse_args() with made-up environments and files in a folder of the
 * test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/config.h"

static char said[1 << 16];

static void collect(void *context, enum config_line kind, const char *text)
{
    (void)context;
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%c %s\n", "EWNT"[kind], text);
}

static const struct config_sink sink = {collect, NULL};
static const struct config_environment user = {.home = "/home/u"};

#define ARGS_MAX 8

static int parse_in(const struct config_environment *env, struct config *c, const char *const *args)
{
    char *argv[ARGS_MAX + 1] = {"sengi-server"};
    int argc = 1;
    said[0] = '\0';
    for (; args[argc - 1]; argc++)
        argv[argc] = (char *)args[argc - 1];
    return config_parse_args(argc, argv, env, c, &sink);
}

#define PARSE(c, ...) parse_in(&user, c, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void assert_said(const char *text)
{
    if (!strstr(said, text))
        fail_msg("not said: %s\nsaid: %s", text, said);
}

static void without_arguments_it_listens_on_loopback_and_keeps_data_at_home(void **state)
{
    (void)state;
    struct config c;
    assert_int_equal(PARSE(&c), CONFIG_OK);
    assert_int_equal(c.mode, CONFIG_MODE_SERVE);
    assert_int_equal(c.client_port, 2181);
    assert_string_equal(c.client_port_address, "127.0.0.1");
    assert_string_equal(c.data_dir, "/home/u/.local/state/sengi");
    assert_string_equal(c.source, "built-in defaults");
    assert_true(config_valid(&c));
}

static void the_data_folder_follows_the_environment(void **state)
{
    (void)state;
    struct config c;
    const char *none[] = {NULL};
    struct config_environment root = {.home = "/root", .root = true};
    assert_int_equal(parse_in(&root, &c, none), CONFIG_OK);
    assert_string_equal(c.data_dir, "/var/lib/sengi");
    struct config_environment xdg = {.home = "/root", .xdg_state_home = "/state", .root = true};
    assert_int_equal(parse_in(&xdg, &c, none), CONFIG_OK);
    assert_string_equal(c.data_dir, "/state/sengi");
    struct config_environment relative = {.home = "/h", .xdg_state_home = "state"};
    assert_int_equal(parse_in(&relative, &c, none), CONFIG_OK);
    assert_string_equal(c.data_dir, "/h/.local/state/sengi");
    struct config_environment nothing = {.home = NULL};
    assert_int_equal(parse_in(&nothing, &c, none), CONFIG_EINVALID);
    assert_said("E no folder for data");
}

static void port_and_folder_are_taken_as_zookeeper_takes_them(void **state)
{
    (void)state;
    struct config c;
    assert_int_equal(PARSE(&c, "2182", "/d"), CONFIG_OK);
    assert_int_equal(c.client_port, 2182);
    assert_string_equal(c.client_port_address, "");
    assert_string_equal(c.data_dir, "/d");
    assert_int_equal(c.tick_time_ms, 3000);
    assert_int_equal(c.max_client_cnxns, 0); /* unlimited in this form */
    assert_int_equal(PARSE(&c, "2182", "/d", "500", "7"), CONFIG_OK);
    assert_int_equal(c.session_timeout_ms_max, 10000);
    assert_int_equal(c.max_client_cnxns, 7);
    assert_int_equal(PARSE(&c, "2182", "/d", "500", "7", "8"), CONFIG_EINVALID);
    assert_said("E too many arguments");
    assert_int_equal(PARSE(&c, "port", "/d"), CONFIG_EINVALID);
    assert_said("E clientPort=port: not a whole number");
}

static void options_choose_the_mode(void **state)
{
    (void)state;
    struct config c;
    assert_int_equal(PARSE(&c, "--help"), CONFIG_OK);
    assert_int_equal(c.mode, CONFIG_MODE_HELP);
    assert_int_equal(PARSE(&c, "--version", "/no/such/file"), CONFIG_OK);
    assert_int_equal(c.mode, CONFIG_MODE_VERSION);
    assert_int_equal(PARSE(&c, "--list-keys"), CONFIG_OK);
    assert_int_equal(c.mode, CONFIG_MODE_KEYS);
    assert_int_equal(PARSE(&c, "--check-config", "2181", "/d"), CONFIG_OK);
    assert_int_equal(c.mode, CONFIG_MODE_CHECK);
    assert_int_equal(PARSE(&c, "--chek-config"), CONFIG_EINVALID);
    assert_said("E unknown option --chek-config; --help shows them all");
    assert_int_equal(PARSE(&c, "2181", "--", "--help"), CONFIG_OK);
    assert_string_equal(c.data_dir, "--help");
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    struct config c;
    assert_int_equal(PARSE(&c, "/no/such/zoo.cfg"), CONFIG_EREAD);
    assert_said("E cannot read the configuration /no/such/zoo.cfg: No such file or directory");
    assert_int_equal(PARSE(&c, "/"), CONFIG_EREAD);
    assert_said("Is a directory");
}

static void a_file_wins_over_properties_of_the_command_line(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_config_args.XXXXXX", path[64];
    struct config c;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/zoo.cfg", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("clientPort=2183\ndataDir=/d\nsnapCount=11\nbogus=1\n", f);
    fclose(f);
    assert_int_equal(PARSE(&c, "-Dzookeeper.snapCount=10", path), CONFIG_EINVALID);
    assert_said("/zoo.cfg:4: unknown key \"bogus\"");
    f = fopen(path, "w");
    assert_non_null(f);
    fputs("clientPort=2183\ndataDir=/d\nsnapCount=11\n", f);
    fclose(f);
    assert_int_equal(PARSE(&c, "-Dzookeeper.snapCount=10", "-Djute.maxbuffer=0x1000", path),
                     CONFIG_OK);
    assert_int_equal(c.snap_count, 11);
    assert_int_equal(c.jute_max_buffer_bytes, 4096);
    assert_string_equal(c.source, path);
    unlink(path);
    rmdir(folder);
}

static void a_bad_property_of_the_command_line_is_refused(void **state)
{
    (void)state;
    struct config c;
    assert_int_equal(PARSE(&c, "-Dzookeeper.snapCuont=10"), CONFIG_EINVALID);
    assert_said("E unknown key \"zookeeper.snapCuont\"; did you mean \"snapCount\"?");
    assert_int_equal(PARSE(&c, "-DsnapCount"), CONFIG_EINVALID);
    assert_said("write -D<key>=<value>");
    assert_int_equal(PARSE(&c, "-D=1"), CONFIG_EINVALID);
    assert_int_equal(PARSE(&c, "-DclientPort=0", "-DdataDir=/x"), CONFIG_OK);
    assert_int_equal(c.client_port, 0);
    assert_string_equal(c.data_dir, "/x");
}

static void worker_threads_bound_the_data_cores_that_the_machine_would_get(void **state)
{
    (void)state;
    struct config c;
    struct config_environment eight = {.home = "/h", .cpus = 8};
    const char *few[] = {"-Dzookeeper.nio.numWorkerThreads=3", NULL};
    const char *many[] = {"-Dzookeeper.nio.numWorkerThreads=16", NULL};
    const char *both[] = {"-Dzookeeper.nio.numWorkerThreads=3", "-Dcores=5", NULL};
    assert_int_equal(parse_in(&eight, &c, few), CONFIG_OK);
    assert_int_equal(c.cores, 3);
    assert_int_equal(parse_in(&eight, &c, many), CONFIG_OK);
    assert_int_equal(c.cores, 0);
    assert_int_equal(parse_in(&eight, &c, both), CONFIG_OK);
    assert_int_equal(c.cores, 5);
}

static void help_and_version_are_text(void **state)
{
    (void)state;
    said[0] = '\0';
    config_print_help(&sink);
    assert_said("T usage: sengi-server [options] [zoo.cfg]\n");
    config_print_version(&sink);
    assert_said("T sengi-server " SENGI_VERSION ", speaks the protocols of ZooKeeper 3.9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_arguments_it_listens_on_loopback_and_keeps_data_at_home),
        cmocka_unit_test(the_data_folder_follows_the_environment),
        cmocka_unit_test(port_and_folder_are_taken_as_zookeeper_takes_them),
        cmocka_unit_test(options_choose_the_mode),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(a_file_wins_over_properties_of_the_command_line),
        cmocka_unit_test(a_bad_property_of_the_command_line_is_refused),
        cmocka_unit_test(worker_threads_bound_the_data_cores_that_the_machine_would_get),
        cmocka_unit_test(help_and_version_are_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
