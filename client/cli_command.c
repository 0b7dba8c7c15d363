/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <ctype.h>

#include "client/cli.h"

static enum cli_exit cli_help(struct cli *cli, const struct cli_arguments *a)
{
    (void)cli, (void)a; /* prints the table */
    for (const struct cli_command *c = cli_commands; c->name; c++)
        printf("  %-20s %-40s %s\n", c->name, c->usage, c->what);
    return CLI_OK;
}

static enum cli_exit cli_version(struct cli *cli, const struct cli_arguments *a)
{
    (void)cli, (void)a; /* nothing depends on them */
    puts("sengi-cli " SENGI_VERSION);
    return CLI_OK;
}

static enum cli_exit cli_quit(struct cli *cli, const struct cli_arguments *a)
{
    (void)a; /* takes none */
    cli->quit = true;
    return CLI_OK;
}

/* Names, flags and words as zkCli has them; 4lw is ours. */
const struct cli_command cli_commands[] = {
    {"ls", "swR", 0, 1, "[-s] [-w] [-R] [path]", "children; -R the whole subtree", true, cli_ls},
    {"get", "sw", 1, 1, "[-s] [-w] path", "data; -s with Stat; -w leave a watch", true, cli_get},
    {"set", "sv:", 2, 2, "[-s] [-v version] path data", "write data", true, cli_set},
    {"create", "sect:", 1, 3, "[-s] [-e] [-c] [-t ttl] path [data] [acl]",
     "-s sequential, -e ephemeral, -c container, -t TTL in ms", true, cli_create},
    {"delete", "v:", 1, 1, "[-v version] path", "delete a znode without children", true,
     cli_delete},
    {"deleteall", "", 1, 1, "path", "delete a whole subtree", true, cli_deleteall},
    {"stat", "w", 1, 1, "[-w] path", "Stat of a znode", true, cli_stat},
    {"getAcl", "s", 1, 1, "[-s] path", "ACL", true, cli_get_acl},
    {"setAcl", "sv:", 2, 2, "[-s] [-v version] path acl", "acl: scheme:id:cdrwa,...", true,
     cli_set_acl},
    {"addauth", "", 1, 2, "scheme auth", "for example: addauth digest user:password", true,
     cli_add_auth},
    {"sync", "", 1, 1, "path", "later reads see all earlier writes", true, cli_sync},
    {"getEphemerals", "", 0, 1, "[path]", "this session's ephemeral znodes", true, cli_ephemerals},
    {"getAllChildrenNumber", "", 1, 1, "path", "number of znodes below", true, cli_children_number},
    {"whoami", "", 0, 0, "", "identities of this connection", true, cli_who_am_i},
    {"addWatch", "m:", 1, 1, "[-m mode] path", "mode: PERSISTENT or PERSISTENT_RECURSIVE", true,
     cli_add_watch},
    {"removewatches", "cda", 1, 1, "[-c|-d|-a] path", "child, data or all watches", true,
     cli_remove_watches},
    {"4lw", "", 1, 1, "word", "send a four-letter word (srvr, stat, mntr, ...)", false, cli_word},
    {"version", "", 0, 0, "", "of this program", false, cli_version},
    {"help", "", 0, 0, "", "this list", false, cli_help},
    {"quit", "", 0, 0, "", "close the session and leave", false, cli_quit},
    {NULL, NULL, 0, 0, NULL, NULL, false, NULL},
};

static const struct cli_command *find(const char *name)
{
    for (const struct cli_command *c = cli_commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

static enum cli_exit usage(const struct cli_command *c)
{
    fprintf(stderr, "usage: %s %s\n", c->name, c->usage);
    return CLI_USAGE;
}

/* Flags may stand before, between and behind the other words; "--" ends them. A lone number like -1
 * is a word. */
static bool take_words(const struct cli_command *c, int count, char **words,
                       struct cli_arguments *out)
{
    bool flags_end = false;
    *out = (struct cli_arguments){0};
    for (int i = 1; i < count; i++) {
        const char *word = words[i];
        bool is_flag = !flags_end && word[0] == '-' && word[1] && !isdigit((unsigned char)word[1]);
        if (is_flag && strcmp(word, "--") == 0) {
            flags_end = true;
        } else if (!is_flag) {
            if (out->count == c->arguments_max)
                return false;
            out->word[out->count++] = word;
        } else {
            const char *known = strchr(c->flags, word[1]);
            if (!known || word[1] == ':' || word[2])
                return false;
            bool has_value = known[1] == ':';
            if (has_value && ++i == count)
                return false;
            out->flag[(unsigned char)word[1] & 127] = has_value ? words[i] : "";
        }
    }
    return out->count >= c->arguments_min;
}

enum cli_exit cli_execute(struct cli *cli, int words_count, char **words)
{
    struct cli_arguments a;
    const struct cli_command *c = find(words[0]);
    if (!c) {
        fprintf(stderr, "unknown command: %s (help lists them)\n", words[0]);
        return CLI_USAGE;
    }
    if (!take_words(c, words_count, words, &a))
        return usage(c);
    if (c->needs_session) {
        enum cli_exit rc = cli_connect(cli);
        if (rc != CLI_OK)
            return rc;
    }
    return c->run(cli, &a);
}

int cli_split(char *line, char **words, int words_max)
{
    int count = 0;
    char *from = line, *to = line;
    for (;;) {
        while (isspace((unsigned char)*from))
            from++;
        if (!*from || count == words_max)
            return count;
        words[count++] = to;
        char quote = 0;
        for (; *from && (quote || !isspace((unsigned char)*from)); from++) {
            if (*from == '\\' && quote != '\'' && from[1])
                *to++ = *++from;
            else if (quote ? *from == quote : *from == '"' || *from == '\'')
                quote = quote ? 0 : *from;
            else
                *to++ = *from;
        }
        if (quote)
            return -1;
        if (*from)
            from++;
        *to++ = 0;
    }
}

enum cli_exit cli_fail(struct cli *cli, int code, const char *what)
{
    switch (code) {
    case ZK_NONODE: fprintf(stderr, "Node does not exist: %s\n", what); break;
    case ZK_NODEEXISTS: fprintf(stderr, "Node already exists: %s\n", what); break;
    case ZK_NOTEMPTY: fprintf(stderr, "Node not empty: %s\n", what); break;
    case ZK_BADVERSION: fprintf(stderr, "version No is not valid : %s\n", what); break;
    case ZK_NOAUTH: fprintf(stderr, "Insufficient permission : %s\n", what); break;
    case ZK_INVALIDACL: fprintf(stderr, "Acl is not valid : %s\n", what); break;
    default: fprintf(stderr, "%s: %s (%d)\n", what, client_error_text(code), code); break;
    }
    if (cli->client && client_fd(cli->client) < 0)
        return CLI_NO_CONNECTION;
    return code == CLIENT_ECONNECT || code == CLIENT_EADDRESS ? CLI_NO_CONNECTION : CLI_FAILED;
}

enum cli_exit cli_connect(struct cli *cli)
{
    int rc = 0;
    if (!cli->client)
        rc = client_open(&cli->options, &cli->client);
    else if (client_fd(cli->client) < 0)
        rc = client_resume(cli->client);
    if (rc == CLIENT_EEXPIRED) {
        fprintf(stderr, "session 0x%llx expired; opening a new one\n",
                (unsigned long long)client_session(cli->client));
        client_close(cli->client);
        rc = client_open(&cli->options, &cli->client);
    }
    if (rc == 0)
        return CLI_OK;
    cli_fail(cli, rc, cli->options.servers);
    return CLI_NO_CONNECTION;
}
