/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/address.h"
#include "client/cli.h"

#define WORD_WAIT_MS 5000

static int connect_first(const char *servers)
{
    const char *next = servers;
    while (*next) {
        char text[ADDRESS_TEXT_BYTES];
        struct address found[ADDRESSES_MAX];
        int n = address_resolve(&next, text, found);
        for (int i = 0; i < n; i++) {
            int fd = socket(found[i].storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
            if (fd >= 0 && connect(fd, (struct sockaddr *)&found[i].storage, found[i].bytes) == 0)
                return fd;
            if (fd >= 0)
                close(fd);
        }
    }
    return -1;
}

/* Print what comes until the server closes. Bytes printed, or -1 when it fell silent. */
static ssize_t print_answer(int fd)
{
    ssize_t total = 0;
    char last = '\n';
    for (;;) {
        char buffer[4096];
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, WORD_WAIT_MS) <= 0)
            return -1;
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n <= 0)
            break;
        fwrite(buffer, 1, (size_t)n, stdout);
        last = buffer[n - 1];
        total += n;
    }
    if (last != '\n' && isatty(STDOUT_FILENO))
        putchar('\n');
    return total;
}

enum cli_exit cli_word(struct cli *cli, const struct cli_arguments *a)
{
    if (strlen(a->word[0]) != 4) {
        fprintf(stderr, "4lw: %s does not have four letters\n", a->word[0]);
        return CLI_USAGE;
    }
    int fd = connect_first(cli->options.servers);
    if (fd < 0)
        return cli_fail(cli, CLIENT_ECONNECT, cli->options.servers);
    (void)!send(fd, a->word[0], 4, MSG_NOSIGNAL); /* a failure shows as an empty answer */
    ssize_t n = print_answer(fd);
    close(fd);
    if (n > 0)
        return CLI_OK;
    return cli_fail(cli, n < 0 ? CLIENT_ETIMEOUT : CLIENT_ELOST, a->word[0]);
}
