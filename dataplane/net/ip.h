/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Ethernet, IPv4 and IPv6 headers: taking frames apart. Putting them together: ip_out.h.
 */
#ifndef SENGI_DATAPLANE_NET_IP_H
#define SENGI_DATAPLANE_NET_IP_H

#include "dataplane/net/net.h"

#include <string.h>

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_IPV6 0x86dd
#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP 6
#define PROTOCOL_ICMPV6 58
#define IPV4_HEADER_BYTES 20
#define IPV6_HEADER_BYTES 40

static inline uint16_t
load16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t
load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}

static inline void
store16(uint8_t *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, 2);
}

static inline void
store32(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, 4);
}

/** An IP packet to one of our addresses, its header verified. Borrows the frame. */
struct packet {
    const uint8_t *frame;
    const uint8_t *l4;
    const uint8_t *addresses; /* source, then destination, as they lie in the header */
    uint16_t l4_bytes;
    uint8_t protocol;
    uint8_t local; /* index of the destination in config.interfaces; PACKET_MULTICAST */
    bool ipv6;
    bool checksum_good; /* of a TCP segment, says the hardware */
};
#define PACKET_MULTICAST 0xff

/** @return index into config.interfaces; -1: not ours. */
int ip_local(const struct net *net, const struct net_addr *addr);

/**
 * Verify an IPv4 or IPv6 frame's headers, counting what is wrong. @return true: *p is filled in.
 */
bool ip_parse(struct net *net, const struct net_frame *frame, struct packet *p);

/** The packet's source, and the checksum of its transport part (0 = right). */
void ip_source(const struct packet *p, struct net_addr *addr);
bool ip_checksum_ok(const struct packet *p);

#endif
