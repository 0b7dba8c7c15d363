/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "client/cli.h"

static const struct {
    char letter;
    int32_t bit;
} perms[] = {
    {'c', PERM_CREATE}, {'d', PERM_DELETE}, {'r', PERM_READ}, {'w', PERM_WRITE}, {'a', PERM_ADMIN},
};
#define PERMS (sizeof perms / sizeof *perms)

static int perms_parse(const char *text, const char *end)
{
    int32_t bits = 0;
    for (const char *p = text; p < end; p++) {
        size_t i = 0;
        while (i < PERMS && perms[i].letter != *p)
            i++;
        if (i == PERMS) {
            fprintf(stderr, "unknown permission '%c': use letters of cdrwa\n", *p);
            return -1;
        }
        bits |= perms[i].bit;
    }
    return bits;
}

/* scheme up to the first colon, permissions behind the last: an id may hold colons itself (digest,
 * IPv6). */
static int entry_parse(const char *text, const char *end, struct acl_entry_text *out)
{
    const char *first = memchr(text, ':', (size_t)(end - text));
    const char *last = memrchr(text, ':', (size_t)(end - text));
    if (!first || first == last) {
        fprintf(stderr, "%.*s does not have the form scheme:id:perms\n", (int)(end - text), text);
        return -1;
    }
    out->perms = perms_parse(last + 1, end);
    out->scheme = (struct bytes){(const uint8_t *)text, (uint32_t)(first - text)};
    out->id = (struct bytes){(const uint8_t *)first + 1, (uint32_t)(last - first - 1)};
    return out->perms < 0 ? -1 : 0;
}

int cli_acl_parse(const char *text, struct acl_entry_text *out)
{
    int count = 0;
    while (*text) {
        const char *end = strchrnul(text, ',');
        if (count == CLI_ACL_MAX) {
            fprintf(stderr, "more than %d ACL entries\n", CLI_ACL_MAX);
            return -1;
        }
        if (entry_parse(text, end, &out[count++]) < 0)
            return -1;
        text = *end ? end + 1 : end;
    }
    return count;
}

enum cli_exit cli_get_acl(struct cli *cli, const struct cli_arguments *a)
{
    struct znode_stat stat;
    struct jute_reader acl;
    int32_t count;
    int rc = call_get_acl(cli->client, cli_bytes(a->word[0]), &count, &acl, &stat);
    if (rc != 0)
        return cli_fail(cli, rc, a->word[0]);
    for (int32_t i = 0; i < count; i++) {
        int32_t bits = jute_read_int(&acl);
        struct bytes scheme = jute_read_bytes(&acl), id = jute_read_bytes(&acl);
        printf("'");
        cli_print_data(scheme);
        printf(",'");
        cli_print_data(id);
        printf("\n: ");
        for (size_t p = 0; p < PERMS; p++)
            if (bits & perms[p].bit)
                putchar(perms[p].letter);
        putchar('\n');
    }
    if (a->flag['s'])
        cli_print_stat(&stat);
    return CLI_OK;
}

enum cli_exit cli_set_acl(struct cli *cli, const struct cli_arguments *a)
{
    struct acl_entry_text acl[CLI_ACL_MAX];
    struct znode_stat stat;
    int64_t version = -1;
    if (a->flag['v'] && !cli_number(a->flag['v'], -1, INT32_MAX, &version)) {
        fprintf(stderr, "setAcl: -v needs a version, not %s\n", a->flag['v']);
        return CLI_USAGE;
    }
    int count = cli_acl_parse(a->word[1], acl);
    if (count < 0)
        return CLI_USAGE;
    int rc = call_set_acl(cli->client, cli_bytes(a->word[0]), acl, (uint32_t)count,
                          (int32_t)version, &stat);
    if (rc != 0)
        return cli_fail(cli, rc, a->word[0]);
    if (a->flag['s'])
        cli_print_stat(&stat);
    return CLI_OK;
}

enum cli_exit cli_add_auth(struct cli *cli, const struct cli_arguments *a)
{
    struct bytes auth = a->count > 1 ? cli_bytes(a->word[1]) : BYTES_NULL;
    int rc = call_add_auth(cli->client, cli_bytes(a->word[0]), auth);
    return rc == 0 ? CLI_OK : cli_fail(cli, rc, a->word[0]);
}

enum cli_exit cli_who_am_i(struct cli *cli, const struct cli_arguments *a)
{
    struct jute_reader ids;
    int32_t count;
    (void)a; /* takes none */
    int rc = call_who_am_i(cli->client, &count, &ids);
    if (rc != 0)
        return cli_fail(cli, rc, "whoami");
    puts("Auth scheme: User");
    for (int32_t i = 0; i < count; i++) {
        struct bytes scheme = jute_read_bytes(&ids), user = jute_read_bytes(&ids);
        cli_print_data(scheme);
        printf(": ");
        cli_print_data(user);
        putchar('\n');
    }
    return CLI_OK;
}
