/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <stdlib.h>

#include "client/cli.h"
#include "client/wire/check.h"

/* A list of paths or names, owned. */
struct list {
    char **item;
    size_t count, room;
};

static void list_add(struct list *l, char *owned)
{
    if (l->count == l->room) {
        l->room = l->room ? 2 * l->room : 64;
        l->item = realloc(l->item, l->room * sizeof *l->item);
    }
    CHECK(owned && l->item);
    l->item[l->count++] = owned;
}

static void list_free(struct list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->item[i]);
    free(l->item);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_take(struct list *l, struct names *names)
{
    struct bytes name;
    while (names_next(names, &name))
        list_add(l, strndup((const char *)name.data, name.size));
    if (l->count)
        qsort(l->item, l->count, sizeof *l->item, by_name);
}

static char *path_below(const char *parent, const char *name)
{
    char *path;
    int n = asprintf(&path, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name);
    return n < 0 ? NULL : path;
}

/*
 * The subtree in depth-first order, parents before children, names sorted. A stack of paths still
 * to visit: the deepest tree cannot exhaust ours. Znodes deleted meanwhile are left out; the root
 * must exist.
 */
static int subtree(struct cli *cli, const char *root, struct list *out)
{
    struct list stack = {0};
    int rc = 0;
    list_add(&stack, strdup(root));
    while (rc == 0 && stack.count) {
        char *path = stack.item[--stack.count];
        struct names names;
        struct znode_stat stat;
        rc = call_children(cli->client, cli_bytes(path), false, &names, &stat);
        if (rc == ZK_NONODE && out->count) {
            free(path);
            rc = 0;
            continue;
        }
        list_add(out, path);
        struct list children = {0};
        if (rc == 0)
            list_take(&children, &names);
        for (size_t i = children.count; i-- > 0;)
            list_add(&stack, path_below(path, children.item[i]));
        list_free(&children);
    }
    list_free(&stack);
    return rc;
}

static enum cli_exit ls_recursive(struct cli *cli, const char *root)
{
    struct list all = {0};
    int rc = subtree(cli, root, &all);
    for (size_t i = 0; rc == 0 && i < all.count; i++)
        puts(all.item[i]);
    list_free(&all);
    return rc == 0 ? CLI_OK : cli_fail(cli, rc, root);
}

enum cli_exit cli_ls(struct cli *cli, const struct cli_arguments *a)
{
    const char *path = a->count ? a->word[0] : "/";
    if (a->flag['R'])
        return ls_recursive(cli, path);
    struct names names;
    struct znode_stat stat;
    int rc = call_children(cli->client, cli_bytes(path), a->flag['w'] != NULL, &names, &stat);
    if (rc != 0)
        return cli_fail(cli, rc, path);
    struct list children = {0};
    list_take(&children, &names);
    putchar('[');
    for (size_t i = 0; i < children.count; i++)
        printf("%s%s", i ? ", " : "", children.item[i]);
    puts("]");
    list_free(&children);
    if (a->flag['s'])
        cli_print_stat(&stat);
    return CLI_OK;
}

enum cli_exit cli_get(struct cli *cli, const struct cli_arguments *a)
{
    struct bytes data;
    struct znode_stat stat;
    int rc = call_get(cli->client, cli_bytes(a->word[0]), a->flag['w'] != NULL, &data, &stat);
    if (rc != 0)
        return cli_fail(cli, rc, a->word[0]);
    if (data.data)
        cli_print_data(data);
    else
        printf("null");
    putchar('\n');
    if (a->flag['s'])
        cli_print_stat(&stat);
    return CLI_OK;
}

enum cli_exit cli_stat(struct cli *cli, const struct cli_arguments *a)
{
    struct znode_stat stat;
    int rc = call_exists(cli->client, cli_bytes(a->word[0]), a->flag['w'] != NULL, &stat);
    if (rc != 0)
        return cli_fail(cli, rc, a->word[0]);
    cli_print_stat(&stat);
    return CLI_OK;
}

/* Value of -v; -1 without one. False: said so. */
static bool version_of(const struct cli_arguments *a, int32_t *out)
{
    int64_t version = -1;
    if (a->flag['v'] && !cli_number(a->flag['v'], -1, INT32_MAX, &version)) {
        fprintf(stderr, "-v needs a version, not %s\n", a->flag['v']);
        return false;
    }
    *out = (int32_t)version;
    return true;
}

enum cli_exit cli_set(struct cli *cli, const struct cli_arguments *a)
{
    int32_t version;
    struct znode_stat stat;
    if (!version_of(a, &version))
        return CLI_USAGE;
    int rc = call_set(cli->client, cli_bytes(a->word[0]), cli_bytes(a->word[1]), version, &stat);
    if (rc != 0)
        return cli_fail(cli, rc, a->word[0]);
    if (a->flag['s'])
        cli_print_stat(&stat);
    return CLI_OK;
}

static bool create_mode(const struct cli_arguments *a, struct create_call *out)
{
    bool e = a->flag['e'], s = a->flag['s'], c = a->flag['c'], t = a->flag['t'];
    if ((c && (e || s || t)) || (t && e)) {
        fprintf(stderr, "create: -c goes with no other flag, -t not with -e\n");
        return false;
    }
    if (t && !cli_number(a->flag['t'], 1, TTL_MS_MAX, &out->ttl_ms)) {
        fprintf(stderr, "create: -t needs milliseconds, 1 to %lld\n", TTL_MS_MAX);
        return false;
    }
    out->mode = c   ? CREATE_CONTAINER
                : t ? (s ? CREATE_SEQUENTIAL_TTL : CREATE_TTL)
                : e ? (s ? CREATE_EPHEMERAL_SEQUENTIAL : CREATE_EPHEMERAL)
                    : (s ? CREATE_PERSISTENT_SEQUENTIAL : CREATE_PERSISTENT);
    return true;
}

enum cli_exit cli_create(struct cli *cli, const struct cli_arguments *a)
{
    struct acl_entry_text acl[CLI_ACL_MAX];
    struct create_call call = {.path = cli_bytes(a->word[0]), .acl = acl_open, .acl_count = 1};
    if (!create_mode(a, &call))
        return CLI_USAGE;
    if (a->count > 1)
        call.data = cli_bytes(a->word[1]);
    if (a->count > 2) {
        int n = cli_acl_parse(a->word[2], acl);
        if (n < 0)
            return CLI_USAGE;
        call.acl = acl;
        call.acl_count = (uint32_t)n;
    }
    struct bytes created;
    int rc = call_create(cli->client, &call, &created, NULL);
    if (rc != 0)
        return cli_fail(cli, rc, a->word[0]);
    printf("Created ");
    cli_print_data(created);
    putchar('\n');
    return CLI_OK;
}

enum cli_exit cli_delete(struct cli *cli, const struct cli_arguments *a)
{
    int32_t version;
    if (!version_of(a, &version))
        return CLI_USAGE;
    int rc = call_delete(cli->client, cli_bytes(a->word[0]), version);
    return rc == 0 ? CLI_OK : cli_fail(cli, rc, a->word[0]);
}

enum cli_exit cli_deleteall(struct cli *cli, const struct cli_arguments *a)
{
    if (strcmp(a->word[0], "/") == 0) {
        fprintf(stderr, "deleteall: / cannot be deleted\n");
        return CLI_USAGE;
    }
    struct list all = {0};
    const char *at = a->word[0];
    int rc = subtree(cli, a->word[0], &all);
    for (size_t i = all.count; rc == 0 && i-- > 0;) {
        at = all.item[i];
        rc = call_delete(cli->client, cli_bytes(at), -1);
        if (rc == ZK_NONODE)
            rc = 0; /* somebody else was faster */
    }
    enum cli_exit result = rc == 0 ? CLI_OK : cli_fail(cli, rc, at);
    list_free(&all);
    return result;
}

enum cli_exit cli_sync(struct cli *cli, const struct cli_arguments *a)
{
    int rc = call_sync(cli->client, cli_bytes(a->word[0]));
    if (rc != 0)
        return cli_fail(cli, rc, a->word[0]);
    puts("Sync is OK");
    return CLI_OK;
}

enum cli_exit cli_ephemerals(struct cli *cli, const struct cli_arguments *a)
{
    const char *prefix = a->count ? a->word[0] : "/";
    struct names names;
    int rc = call_ephemerals(cli->client, cli_bytes(prefix), &names);
    if (rc != 0)
        return cli_fail(cli, rc, prefix);
    struct list paths = {0};
    list_take(&paths, &names);
    putchar('[');
    for (size_t i = 0; i < paths.count; i++)
        printf("%s%s", i ? ", " : "", paths.item[i]);
    puts("]");
    list_free(&paths);
    return CLI_OK;
}

enum cli_exit cli_children_number(struct cli *cli, const struct cli_arguments *a)
{
    int32_t number;
    int rc = call_children_number(cli->client, cli_bytes(a->word[0]), &number);
    if (rc != 0)
        return cli_fail(cli, rc, a->word[0]);
    printf("%d\n", number);
    return CLI_OK;
}

enum cli_exit cli_add_watch(struct cli *cli, const struct cli_arguments *a)
{
    int32_t mode = 1;
    if (a->flag['m'] && strcmp(a->flag['m'], "PERSISTENT") == 0) {
        mode = 0;
    } else if (a->flag['m'] && strcmp(a->flag['m'], "PERSISTENT_RECURSIVE") != 0) {
        fprintf(stderr, "addWatch: -m is PERSISTENT or PERSISTENT_RECURSIVE\n");
        return CLI_USAGE;
    }
    int rc = call_add_watch(cli->client, cli_bytes(a->word[0]), mode);
    return rc == 0 ? CLI_OK : cli_fail(cli, rc, a->word[0]);
}

enum cli_exit cli_remove_watches(struct cli *cli, const struct cli_arguments *a)
{
    int32_t type = a->flag['c'] ? 1 : a->flag['d'] ? 2 : 3;
    int rc = call_remove_watches(cli->client, cli_bytes(a->word[0]), type);
    return rc == 0 ? CLI_OK : cli_fail(cli, rc, a->word[0]);
}
