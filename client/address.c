/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "client/address.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>

/* Cut "host:port" in place. An address with two colons and no brackets is a bare IPv6 one. */
static const char *split(char *text, const char **host)
{
    *host = text;
    char *colon;
    if (text[0] == '[') {
        char *end = strchr(text, ']');
        if (!end || (end[1] && end[1] != ':'))
            return NULL;
        *end = 0;
        *host = text + 1;
        colon = end[1] ? end + 1 : NULL;
    } else {
        colon = strchr(text, ':');
        if (colon && strchr(colon + 1, ':'))
            colon = NULL;
    }
    if (!colon)
        return ADDRESS_PORT_DEFAULT;
    *colon = 0;
    return colon + 1;
}

int address_resolve(const char **next, char text[ADDRESS_TEXT_BYTES], struct address *out)
{
    size_t n = strcspn(*next, ",");
    const char *start = *next;
    *next += n + ((*next)[n] == ',');
    if (n == 0 || n >= ADDRESS_TEXT_BYTES)
        return 0;
    char cut[ADDRESS_TEXT_BYTES];
    memcpy(text, start, n);
    text[n] = 0;
    memcpy(cut, text, n + 1);
    const char *host, *port = split(cut, &host);
    if (!port || !*host)
        return 0;
    struct addrinfo want = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, port, &want, &found) != 0)
        return 0;
    int count = 0;
    for (struct addrinfo *a = found; a && count < ADDRESSES_MAX; a = a->ai_next) {
        memcpy(&out[count].storage, a->ai_addr, a->ai_addrlen);
        out[count++].bytes = a->ai_addrlen;
    }
    freeaddrinfo(found);
    return count;
}

void address_no_delay(int fd)
{
    int on = 1;
    /* Not TCP (a test's socket pair): nothing to turn off. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}
