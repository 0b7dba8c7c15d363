/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * ICMP and ICMPv6: echo is answered, "too big" lowers a connection's MSS, all other errors are soft
 * and only counted (RFC 5927: whoever can forge one must not be able to end a connection).
 */
#ifndef SENGI_DATAPLANE_NET_ICMP_H
#define SENGI_DATAPLANE_NET_ICMP_H

struct net;
struct packet;

void icmp_input(struct net *net, const struct packet *p);

#endif
