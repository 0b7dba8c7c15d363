/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The authentication ids of a connection (semantics.md section 6.3): an immutable set that requests
 * in flight share.
 *
 * Ids are in the order in which ZooKeeper enumerates them: `auth:` entries of ACLs and whoAmI show
 * it.
 *
 * A connection starts with {ip, address}; a successful auth packet makes a new set and drops the
 * old one. References are counted because a request on its way to the control core keeps the set as
 * it was when the request was read.
 */
#ifndef SENGI_TREE_AUTH_H
#define SENGI_TREE_AUTH_H

#include <stdatomic.h>

#include "client/wire/types.h"

#define AUTH_IDS_MAX 64        /* ids of one connection; further auth packets are refused */
#define AUTH_ID_BYTES_MAX 4096 /* of one id; longer ones are refused */

struct auth_set {
    _Atomic uint32_t references;
    uint32_t count;
    bool super;           /* holds an id of scheme "super": everything is allowed */
    struct auth_id ids[]; /* bytes live behind the array, in the same allocation */
};

/** A set of one id {ip, address text}. NULL: out of memory. Owned by the caller. */
struct auth_set *auth_set_of_ip(const char *address);
/** A new set: `set` plus one id (a repeated id gives an equal set). NULL: limit reached or out of
 * memory. Owned. */
struct auth_set *auth_set_with(const struct auth_set *set, struct bytes scheme, struct bytes id);
/** Any thread. Order: acq_rel on the last drop. */
struct auth_set *auth_set_hold(struct auth_set *set);
void auth_set_drop(struct auth_set *set);

struct auth_config {
    bool digest_enabled;          /* DigestAuthenticationProvider.enabled */
    const char *digest_algorithm; /* "SHA1", "SHA-256", ... as OpenSSL's EVP names it */
    const char *super_digest;     /* "super:base64" or NULL */
};

/**
 * Serve an auth packet (client-protocol.md section 11.1).
 *
 * @param set  In: the connection's set, owned. Out: the set to use from now on (the old one
 *             dropped).
 * @return 0, or ZK_AUTHFAILED and *set unchanged: the caller answers and closes.
 * Context: data core, not on the read path (hashes and allocates).
 */
int auth_serve(const struct auth_config *config, struct auth_set **set, struct bytes scheme,
               struct bytes auth);

#endif
