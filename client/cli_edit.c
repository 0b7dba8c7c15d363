/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <errno.h>
#include <histedit.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include <wchar.h>

#include "client/cli.h"
#include "client/wire/check.h"

#define HISTORY_LINES 1000

static struct cli *cli_of(EditLine *el)
{
    void *cli = NULL;
    el_get(el, EL_CLIENTDATA, &cli);
    CHECK(cli != NULL);
    return cli;
}

static char *prompt(EditLine *el)
{
    static char text[400]; /* libedit borrows it until the next call */
    cli_prompt(cli_of(el), text, sizeof text);
    return text;
}

/* Keep the session alive and show watch events until a key is pressed. */
static void wait_for_key(EditLine *el, struct cli *cli)
{
    for (;;) {
        int fd = cli->client ? client_fd(cli->client) : -1;
        struct pollfd p[2] = {{STDIN_FILENO, POLLIN, 0}, {fd, POLLIN, 0}};
        int timeout_ms = fd < 0 ? -1 : client_session_ms(cli->client) / 4;
        int n = poll(p, 2, timeout_ms);
        if (n < 0 && errno == EINTR)
            return; /* a signal, libedit's read sees it too */
        if (n > 0 && p[0].revents)
            return;
        struct client_reply reply;
        unsigned before = cli->events;
        int rc = fd >= 0 ? client_poll(cli->client, 0, &reply) : 0;
        if (rc < 0)
            fprintf(stderr, "\nconnection lost: %s\n", client_error_text(rc));
        if (rc < 0 || cli->events != before)
            el_set(el, EL_REFRESH);
    }
}

/* libedit's reader of one character: 1, 0 at the end of input, -1. */
static int read_character(EditLine *el, wchar_t *out)
{
    struct cli *cli = cli_of(el);
    mbstate_t state = {0};
    for (;;) {
        char byte;
        wait_for_key(el, cli);
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n <= 0)
            return n < 0 ? -1 : 0;
        size_t rc = mbrtowc(out, &byte, 1, &state);
        if (rc == (size_t)-2)
            continue; /* the character goes on */
        if (rc == (size_t)-1)
            *out = L'?';
        return 1;
    }
}

static void run_line(struct cli *cli, const char *text, enum cli_exit *result)
{
    char *words[CLI_WORDS_MAX], *line = strdup(text);
    CHECK(line != NULL);
    int n = cli_split(line, words, CLI_WORDS_MAX);
    if (n < 0)
        fprintf(stderr, "a quote is not closed\n");
    if (n > 0) {
        *result = cli_execute(cli, n, words);
        cli->lines++;
    }
    free(line);
}

enum cli_exit cli_interact(struct cli *cli)
{
    enum cli_exit result = cli_connect(cli);
    EditLine *el = el_init("sengi-cli", stdin, stdout, stderr);
    History *past = history_init();
    HistEvent event;
    CHECK(el && past);
    history(past, &event, H_SETSIZE, HISTORY_LINES);
    history(past, &event, H_SETUNIQUE, 1);
    el_set(el, EL_CLIENTDATA, cli);
    el_set(el, EL_PROMPT, prompt);
    el_set(el, EL_EDITOR, "emacs");
    el_set(el, EL_SIGNAL, 1);
    el_set(el, EL_HIST, history, past);
    el_set(el, EL_GETCFN, read_character);
    el_source(el, NULL); /* the person's ~/.editrc, if there is one */
    while (!cli->quit) {
        int count;
        const char *line = el_gets(el, &count);
        if (!line || count <= 0)
            break;
        if (strspn(line, " \t\r\n") != strlen(line))
            history(past, &event, H_ENTER, line);
        run_line(cli, line, &result);
    }
    if (!cli->quit)
        putchar('\n');
    history_end(past);
    el_end(el);
    return result;
}
