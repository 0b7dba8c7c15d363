/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "client/cli.h"

struct bytes cli_bytes(const char *text)
{
    return (struct bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

bool cli_number(const char *text, int64_t min, int64_t max, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return !errno && end != text && !*end && *out >= min && *out <= max;
}

/* As java.util.Date prints: "Thu Jan 01 00:00:00 UTC 1970". */
static void print_time(const char *name, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm t;
    char text[64];
    if (localtime_r(&seconds, &t) && strftime(text, sizeof text, "%a %b %d %H:%M:%S %Z %Y", &t))
        printf("%s = %s\n", name, text);
    else
        printf("%s = %" PRId64 " ms\n", name, ms);
}

void cli_print_stat(const struct znode_stat *s)
{
    printf("cZxid = 0x%" PRIx64 "\n", (uint64_t)s->czxid);
    print_time("ctime", s->ctime_ms);
    printf("mZxid = 0x%" PRIx64 "\n", (uint64_t)s->mzxid);
    print_time("mtime", s->mtime_ms);
    printf("pZxid = 0x%" PRIx64 "\n", (uint64_t)s->pzxid);
    printf("cversion = %d\ndataVersion = %d\naclVersion = %d\n", s->cversion, s->version,
           s->aversion);
    printf("ephemeralOwner = 0x%" PRIx64 "\n", (uint64_t)s->ephemeral_owner);
    printf("dataLength = %d\nnumChildren = %d\n", s->data_bytes, s->children_count);
}

void cli_print_data(struct bytes data)
{
    if (!isatty(STDOUT_FILENO)) {
        fwrite(data.data, 1, data.size, stdout);
        return;
    }
    for (uint32_t i = 0; i < data.size; i++) {
        uint8_t b = data.data[i];
        if ((b < 0x20 && b != '\n' && b != '\t') || b == 0x7f)
            printf("\\x%02x", b);
        else
            putchar(b);
    }
}

void cli_print_event(void *context, const struct client_event *event)
{
    static const char *const names[] = {
        [EVENT_NODE_CREATED] = "NodeCreated",
        [EVENT_NODE_DELETED] = "NodeDeleted",
        [EVENT_NODE_DATA_CHANGED] = "NodeDataChanged",
        [EVENT_NODE_CHILDREN_CHANGED] = "NodeChildrenChanged",
    };
    struct cli *cli = context;
    cli->events++;
    bool known = event->type >= EVENT_NODE_CREATED && event->type <= EVENT_NODE_CHILDREN_CHANGED;
    printf("\nWATCHER::\n\nWatchedEvent state:SyncConnected type:%s path:",
           known ? names[event->type] : "Unknown");
    cli_print_data(event->path);
    printf(" zxid: %" PRId64 "\n", event->zxid);
    fflush(stdout);
}
