/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * "host:port,[v6]:port,host" -> socket addresses. Any thread; blocks in name resolution.
 */
#ifndef SENGI_CLIENT_ADDRESS_H
#define SENGI_CLIENT_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#define ADDRESSES_MAX 8 /* per name; more are ignored */
#define ADDRESS_TEXT_BYTES 300
#define ADDRESS_PORT_DEFAULT "2181"

struct address {
    struct sockaddr_storage storage;
    socklen_t bytes;
};

/**
 * Resolve the first server of a list and step behind it.
 *
 * @param next  In: the list's rest. Out: behind this server and its comma.
 * @param text  Out: this server as written.
 * @param out   Out: ADDRESSES_MAX entries.
 * @return number of addresses, 0 if the name is malformed or unknown.
 */
int address_resolve(const char **next, char text[ADDRESS_TEXT_BYTES], struct address *out);

/** Small frames leave at once. */
void address_no_delay(int fd);

#endif
