/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Neighbours: ARP (RFC 826) and neighbour discovery (RFC 4861), and the table of what they found
 * out.
 *
 * Connections that peers open need no table: the next hop is where the peer's segments come from,
 * and follows them. The table serves net_connect() and connections whose next hop went silent. It
 * is of fixed size and holds only addresses that we asked for; an answer nobody asked for changes
 * nothing, so a neighbour cannot fill it.
 */
#ifndef SENGI_DATAPLANE_NET_NEIGHBOUR_H
#define SENGI_DATAPLANE_NET_NEIGHBOUR_H

#include "dataplane/net/net.h"

#define NEIGHBOURS_MAX 64
/* connections waiting for an answer; more wait for their own timers */
#define NEIGHBOUR_PARKED_MAX 4096
#define NEIGHBOUR_QUERY_MS 1000      /* between queries for one address */
#define NEIGHBOUR_FRESH_MS 30000     /* an answer older than this is used and asked for again */

struct neighbour {
    struct net_addr addr; /* zero: free */
    uint8_t mac[6];
    bool known;
    uint32_t asked_ms, known_ms, used_ms;
};

struct neighbour_table {
    struct neighbour entries[NEIGHBOURS_MAX];
    uint32_t parked[NEIGHBOUR_PARKED_MAX]; /* connection ids, F_PARKED */
    unsigned parked_count;
};

struct net_conn;
struct packet;

void neighbour_arp_input(struct net *net, const struct net_frame *frame);
/** Solicitations and advertisements, checksum already verified. */
void neighbour_nd_input(struct net *net, const struct packet *p);

/**
 * Find the next hop's MAC for c, asking for it if need be.
 *
 * @return true: c->mac is set. false: a query is out; c is marked dirty when the answer comes.
 */
bool neighbour_resolve(struct net *net, struct net_conn *c);

/** Forget that c waits. */
void neighbour_unpark(struct net *net, struct net_conn *c);

void neighbour_announce(struct net *net);

#endif
