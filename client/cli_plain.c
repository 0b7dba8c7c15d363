/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/cli.h"

/* Keep the session alive and show watch events while the person thinks. */
static void wait_for_line(struct cli *cli)
{
    for (;;) {
        int fd = cli->client ? client_fd(cli->client) : -1;
        struct pollfd p[2] = {{STDIN_FILENO, POLLIN, 0}, {fd, POLLIN, 0}};
        int timeout_ms = fd < 0 ? -1 : client_session_ms(cli->client) / 4;
        (void)poll(p, 2, timeout_ms); /* interrupted: look again */
        struct client_reply reply;
        if (fd >= 0 && client_poll(cli->client, 0, &reply) < 0)
            fprintf(stderr, "connection lost\n");
        if (p[0].revents)
            return;
    }
}

enum cli_exit cli_interact(struct cli *cli)
{
    char *line = NULL, *words[CLI_WORDS_MAX], prompt[400];
    size_t room = 0;
    enum cli_exit result = cli_connect(cli);
    while (!cli->quit) {
        cli_prompt(cli, prompt, sizeof prompt);
        fputs(prompt, stdout);
        fflush(stdout);
        wait_for_line(cli);
        if (getline(&line, &room, stdin) <= 0)
            break;
        int n = cli_split(line, words, CLI_WORDS_MAX);
        if (n < 0)
            fprintf(stderr, "a quote is not closed\n");
        if (n > 0) {
            result = cli_execute(cli, n, words);
            cli->lines++;
        }
    }
    free(line);
    return result;
}
