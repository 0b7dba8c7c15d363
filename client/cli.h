/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * sengi-cli: ZooKeeper's shell commands under zkCli's names, from the command line, a pipe or a
 * terminal.
 *
 *   cli_main.c     options, the three ways to get lines
 *   cli_command.c  table of commands, words and flags of a line
 *   cli_znode.c    commands on znodes        cli_acl.c   ACLs and identities
 *   cli_print.c    Stat, data, times         cli_word.c  four-letter words
 *   cli_edit.c     line editing by libedit, or cli_plain.c where it is not installed
 *
 * Exit codes: CLI_OK .. CLI_NO_CONNECTION; a script's is that of its last failed line.
 */
#ifndef SENGI_CLIENT_CLI_H
#define SENGI_CLIENT_CLI_H

#include <stdio.h>

#include "client/calls.h"

enum cli_exit { CLI_OK, CLI_FAILED, CLI_USAGE, CLI_NO_CONNECTION };

#define CLI_WORDS_MAX 64
#define CLI_ARGUMENTS_MAX 3

struct cli {
    struct client_options options;
    struct client *client; /* NULL until the first command that needs a session */
    bool interactive;      /* a person types at a prompt */
    bool quit;
    unsigned lines;  /* entered so far, shown in the prompt */
    unsigned events; /* watch events printed so far */
};

/** A line's words behind the command's name, flags taken out. Borrowed from the line. */
struct cli_arguments {
    const char *flag[128]; /* by letter: NULL absent, "" present, else its value */
    const char *word[CLI_ARGUMENTS_MAX];
    int count;
};

struct cli_command {
    const char *name;
    const char *flags; /* letters; ':' behind one that takes a value */
    int arguments_min, arguments_max;
    const char *usage; /* flags and arguments, for people */
    const char *what;
    bool needs_session;
    enum cli_exit (*run)(struct cli *cli, const struct cli_arguments *a);
};

/** Run one command given as words. Prints results to stdout and errors to stderr. */
enum cli_exit cli_execute(struct cli *cli, int words_count, char **words);

/** Split in place at blanks; "double" and 'single' quotes group, backslash takes the next
 * character. -1: quote not closed. */
int cli_split(char *line, char **words, int words_max);

/** Print "what: reason" for a ZK_* or CLIENT_* code; drops a lost connection. */
enum cli_exit cli_fail(struct cli *cli, int code, const char *what);

/** Make sure there is a session. */
enum cli_exit cli_connect(struct cli *cli);

/** The last command table entry has name == NULL. */
extern const struct cli_command cli_commands[];

/* cli_znode.c, cli_acl.c, cli_word.c: the commands */
enum cli_exit cli_ls(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_get(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_set(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_create(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_delete(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_deleteall(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_stat(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_sync(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_ephemerals(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_children_number(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_add_watch(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_remove_watches(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_get_acl(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_set_acl(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_add_auth(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_who_am_i(struct cli *cli, const struct cli_arguments *a);
enum cli_exit cli_word(struct cli *cli, const struct cli_arguments *a);

/* cli_acl.c */
#define CLI_ACL_MAX 64
/** "scheme:id:perms,..."; entries borrow from text. Number of entries, or -1 with a line on stderr.
 */
int cli_acl_parse(const char *text, struct acl_entry_text *out);

/* cli_print.c */
struct bytes cli_bytes(const char *text);
void cli_print_stat(const struct znode_stat *s);
/** As they are; at a terminal, control characters are shown as \xNN. */
void cli_print_data(struct bytes data);
/** The watch callback; context is the struct cli. */
void cli_print_event(void *context, const struct client_event *event);
/** A number that fills the whole text. */
bool cli_number(const char *text, int64_t min, int64_t max, int64_t *out);

/* cli_edit.c or cli_plain.c */
/** Read and run lines from a terminal until quit or end of input. */
enum cli_exit cli_interact(struct cli *cli);
void cli_prompt(const struct cli *cli, char *out, size_t room);

#endif
