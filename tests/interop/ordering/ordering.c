/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The roles of roles.h against a server process.
 *
 * Usage: ordering IPv4-address port seconds seed event_zxids(0|1). Prints the first violations and
 * a summary; exit 0 if none.
 */
#include "tests/interop/ordering/roles.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#define PATIENCE_S 20

static struct sockaddr_in server;

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&server, sizeof server) != 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    server.sin_family = AF_INET;
    if (argc != 6 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) {
        fprintf(stderr, "usage: %s address port seconds seed event_zxids\n", argv[0]);
        return 2;
    }
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    struct ordering config = {.connect = dial,
                              .seed = (uint32_t)strtoul(argv[4], NULL, 10),
                              .multis_min = REPLIES_MIN,
                              .seconds = atoi(argv[3]),
                              .patience_s = PATIENCE_S,
                              .event_zxids = atoi(argv[5]) != 0};
    return ordering_run(&config) ? 1 : 0;
}
