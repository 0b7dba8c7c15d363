/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/dpdk/memif.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dataplane/log.h"

#define WORD_BYTES 1024

/* Does nobody listen at this socket? What cannot be told apart is left alone. */
static bool abandoned(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat found;
    if (strlen(path) >= sizeof(address.sun_path) || lstat(path, &found) ||
        !S_ISSOCK(found.st_mode))
        return false;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool refused =
        connect(fd, (struct sockaddr *)&address, sizeof(address)) && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

/* One device, "net_memif0,role=server,socket=PATH,...", which is taken apart. */
static void device_clean(char *device)
{
    const char *path = NULL;
    bool server = false, abstract = true; /* as DPDK's defaults */
    char *rest = NULL;
    for (char *word = strtok_r(device, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        if (strncmp(word, "socket=", strlen("socket=")) == 0)
            path = word + strlen("socket=");
        else if (strcmp(word, "socket-abstract=no") == 0)
            abstract = false;
        else if (strcmp(word, "role=server") == 0 || strcmp(word, "role=master") == 0)
            server = true;
    }
    if (!server || abstract || !path || !abandoned(path))
        return;
    if (unlink(path))
        LOG_WARN("dpdk: %s, at which nobody listens, cannot be removed: %s", path,
                 strerror(errno));
    else
        LOG_INFO("dpdk: removed %s, at which nobody listens any more", path);
}

void memif_sockets_clean(const char *words)
{
    while (*(words += strspn(words, " \t"))) {
        size_t size = strcspn(words, " \t");
        char word[WORD_BYTES];
        snprintf(word, sizeof(word), "%.*s", (int)size, words);
        char *device = strstr(word, "net_memif"); /* "--vdev=" and "--vdev " alike */
        if (device)
            device_clean(device);
        words += size;
    }
}
