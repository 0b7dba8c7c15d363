/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/cli.h"

static const char help[] =
    "sengi-cli: a shell for ZooKeeper-compatible servers\n"
    "\n"
    "usage: sengi-cli [-server host:port[,host:port...]] [-timeout ms] [-r] [command [arguments]]\n"
    "\n"
    "  -server LIST   tried in this order (default localhost:2181)\n"
    "  -timeout MS    session timeout to ask for (default 30000)\n"
    "  -r             a read-only server will do\n"
    "  --help, --version\n"
    "\n"
    "Without a command, lines are read from standard input: with editing at a terminal, else as a "
    "script.\n"
    "exit: 0 done; 1 the server refused; 2 wrong usage; 3 no connection\n"
    "\n"
    "commands:\n";

static enum cli_exit run_line(struct cli *cli, char *line)
{
    char *words[CLI_WORDS_MAX];
    int n = cli_split(line, words, CLI_WORDS_MAX);
    if (n < 0) {
        fprintf(stderr, "a quote is not closed\n");
        return CLI_USAGE;
    }
    return n == 0 || words[0][0] == '#' ? CLI_OK : cli_execute(cli, n, words);
}

static enum cli_exit run_script(struct cli *cli)
{
    enum cli_exit result = CLI_OK;
    char *line = NULL;
    size_t room = 0;
    while (!cli->quit && getline(&line, &room, stdin) > 0) {
        enum cli_exit rc = run_line(cli, line);
        if (rc != CLI_OK)
            result = rc;
    }
    free(line);
    return result;
}

void cli_prompt(const struct cli *cli, char *out, size_t room)
{
    bool connected = cli->client && client_fd(cli->client) >= 0;
    snprintf(out, room, "[zk: %s(%s) %u] ",
             connected ? client_server(cli->client) : cli->options.servers,
             connected ? "CONNECTED" : "CONNECTING", cli->lines);
}

/* Options stand before the command. Index of the first other word, or -1: exit with *result. */
static int take_options(int argc, char **argv, struct cli *cli, enum cli_exit *result)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        const char *o = argv[i];
        int64_t ms;
        if (strcmp(o, "--help") == 0 || strcmp(o, "-h") == 0) {
            fputs(help, stdout);
            *result = cli_execute(cli, 1, (char *[]){(char *)"help"});
            return -1;
        }
        if (strcmp(o, "--version") == 0) {
            *result = cli_execute(cli, 1, (char *[]){(char *)"version"});
            return -1;
        }
        if (strcmp(o, "-r") == 0) {
            cli->options.read_only = true;
        } else if (strcmp(o, "-server") == 0 && i + 1 < argc) {
            cli->options.servers = argv[++i];
        } else if (strcmp(o, "-timeout") == 0 && i + 1 < argc
                   && cli_number(argv[i + 1], 1, INT32_MAX, &ms)) {
            cli->options.session_ms = (int32_t)ms;
            i++;
        } else {
            fprintf(stderr, "sengi-cli: %s is not understood or lacks its value (see --help)\n", o);
            *result = CLI_USAGE;
            return -1;
        }
    }
    if (strchr(cli->options.servers, '/')) {
        fprintf(stderr, "sengi-cli: -server takes no path behind the address\n");
        *result = CLI_USAGE;
        return -1;
    }
    return i;
}

int main(int argc, char **argv)
{
    struct cli cli = {.options = {.servers = "localhost:2181", .on_event = cli_print_event}};
    cli.options.context = &cli;
    enum cli_exit result = CLI_OK;
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    int first = take_options(argc, argv, &cli, &result);
    if (first < 0)
        return result;
    if (first < argc) {
        result = cli_execute(&cli, argc - first, argv + first);
    } else if (isatty(STDIN_FILENO)) {
        cli.interactive = true;
        result = cli_interact(&cli);
    } else {
        result = run_script(&cli);
    }
    client_close(cli.client);
    if (fflush(stdout) != 0 && result == CLI_OK)
        result = CLI_FAILED;
    return result;
}
