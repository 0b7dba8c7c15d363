/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/net/ip.h"

#include <arpa/inet.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

int
net_addr_parse(const char *text, struct net_addr *addr)
{
    if (inet_pton(AF_INET, text, addr->bytes + 12) == 1) {
        memcpy(addr->bytes, mapped_prefix, sizeof mapped_prefix);
        return 0;
    }
    return inet_pton(AF_INET6, text, addr->bytes) == 1 ? 0 : -1;
}

struct net_addr
net_addr_v4(uint32_t host_order)
{
    struct net_addr addr;
    memcpy(addr.bytes, mapped_prefix, sizeof mapped_prefix);
    store32(addr.bytes + 12, host_order);
    return addr;
}

bool
net_addr_is_v4(const struct net_addr *addr)
{
    return memcmp(addr->bytes, mapped_prefix, sizeof mapped_prefix) == 0;
}

char *
net_addr_format(const struct net_addr *addr, char *text, size_t size)
{
    const char *done = net_addr_is_v4(addr)
                           ? inet_ntop(AF_INET, addr->bytes + 12, text, (socklen_t)size)
                           : inet_ntop(AF_INET6, addr->bytes, text, (socklen_t)size);
    if (!done && size)
        text[0] = '\0';
    return text;
}

const char *
net_closed_text(enum net_closed reason)
{
    switch (reason) {
#define X(name, text) \
    case name:        \
        return text;
        NET_CLOSED_REASONS(X)
#undef X
    default:
        return "not closed";
    }
}
