/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Debian's C client with watches, which it sets again by itself wherever it connects next.
 *
 * Usage: mover host:port. Each line of its input is the host:port to go to next. It says
 * "connected HOST" at each connection and "event TYPE PATH" for each event; it sets data, exists
 * and child watches at the start and after each of their events, and says "watch 0 PATH" when one
 * is set. It ends when its input does; the last line is "session SAME" if the session never
 * changed.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <zookeeper/zookeeper.h>

static int64_t first_session;
static int same = 1;

static void watcher(zhandle_t *zh, int type, int state, const char *path, void *ctx);

static void data_done(int rc, const char *value, int n, const struct Stat *stat, const void *path)
{
    (void)value, (void)n, (void)stat;
    printf("watch %d %s\n", rc, (const char *)path);
}

static void stat_done(int rc, const struct Stat *stat, const void *path)
{
    (void)stat;
    printf("watch %d %s\n", rc == ZNONODE ? ZOK : rc, (const char *)path);
}

static void names_done(int rc, const struct String_vector *names, const void *path)
{
    (void)names;
    printf("watch %d %s\n", rc, (const char *)path);
}

/* What /move/KIND is watched by. */
static void watch(zhandle_t *zh, const char *path)
{
    if (strcmp(path, "/move/data") == 0)
        (void)zoo_awget(zh, path, watcher, NULL, data_done, "/move/data");
    else if (strcmp(path, "/move/exists") == 0)
        (void)zoo_awexists(zh, path, watcher, NULL, stat_done, "/move/exists");
    else
        (void)zoo_awget_children(zh, path, watcher, NULL, names_done, "/move/children");
}

static void say_host(zhandle_t *zh)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    char text[INET6_ADDRSTRLEN] = "?";
    if (zookeeper_get_connected_host(zh, (struct sockaddr *)&peer, &size))
        inet_ntop(AF_INET, &((struct sockaddr_in *)&peer)->sin_addr, text, sizeof text);
    printf("connected %s\n", text);
}

static void watcher(zhandle_t *zh, int type, int state, const char *path, void *ctx)
{
    (void)ctx;
    if (type != ZOO_SESSION_EVENT) {
        printf("event %d %s\n", type, path);
        watch(zh, path);
        return;
    }
    if (state != ZOO_CONNECTED_STATE)
        return;
    int64_t id = zoo_client_id(zh)->client_id;
    if (first_session == 0) {
        first_session = id;
        watch(zh, "/move/data");
        watch(zh, "/move/exists");
        watch(zh, "/move/children");
    }
    same = same && id == first_session;
    say_host(zh);
}

int main(int argc, char **argv)
{
    char host[256];
    if (argc != 2)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    zhandle_t *zh = zookeeper_init(argv[1], watcher, 30000, NULL, NULL, 0);
    while (zh && fgets(host, sizeof host, stdin)) {
        host[strcspn(host, "\n")] = 0;
        if (zoo_set_servers(zh, host) != ZOK)
            printf("%s is no server\n", host);
    }
    printf("session %s\n", same && first_session ? "SAME" : "CHANGED");
    if (zh)
        zookeeper_close(zh);
    return 0;
}
