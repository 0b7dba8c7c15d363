/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Steering: the same core for both directions of a flow, and for ICMP errors about it. The hash is
 * that of RSS, with a key that repeats every 16 bits: so it depends on the XOR of all 16-bit words
 * of addresses and ports alone, which has no direction and is quickly had (Woo, Park: Scalable TCP
 * session monitoring with symmetric receive-side scaling, 2012). No secret: a peer that chooses its
 * ports to load one core can do so under any RSS key too, and the core survives it.
 */
#include "dataplane/net/instance.h"
#include "dataplane/net/ip.h"

/* XOR of the 16-bit words of a flow, in host order. */
static uint16_t
fold(const uint8_t *a, const uint8_t *b, unsigned address_bytes, const uint8_t *port_a,
     const uint8_t *port_b)
{
    uint32_t x = 0;
    for (unsigned i = 0; i < address_bytes; i += 4)
        x ^= load32(a + i) ^ load32(b + i);
    return (uint16_t)(x ^ x >> 16 ^ load16(port_a) ^ load16(port_b));
}

/* Bit i of the input, from the left, adds the 16 bits of the key that begin at i. */
static uint32_t
toeplitz(uint16_t words)
{
    uint16_t sum = 0;
    for (unsigned i = 0; i < 16; i++) {
        uint16_t key = (uint16_t)((uint32_t)NET_STEERING_KEY * 0x10001u << i >> 16);
        sum ^= (uint16_t)-(words >> (15 - i) & 1) & key;
    }
    return sum * 0x10001u;
}

static unsigned
core_of(uint16_t words, struct net_steering s)
{
    return toeplitz(words) % s.entries % s.cores;
}

unsigned
net_flow_core(const struct flow_key *key, const struct net_addr *local, struct net_steering s)
{
    unsigned skip = net_addr_is_v4(local) ? 12 : 0;
    return core_of(fold(key->remote + skip, local->bytes + skip, 16 - skip,
                        (const uint8_t *)&key->remote_port, (const uint8_t *)&key->local_port),
                   s);
}

/* An IP packet, or the one quoted in it. *found: it belongs to a flow. */
static uint16_t
flow_words(const uint8_t *h, unsigned bytes, bool ipv6, bool quoted, bool *found)
{
    unsigned header = ipv6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES;
    unsigned at = ipv6 ? 8 : 12, size = ipv6 ? 16 : 4;

    *found = false;
    if (bytes < header + 8 || (!ipv6 && h[0] != 0x45))
        return 0;
    uint8_t protocol = ipv6 ? h[6] : h[9];
    const uint8_t *l4 = h + header;
    if (protocol == PROTOCOL_TCP) {
        *found = true;
        return fold(h + at, h + at + size, size, l4, l4 + 2);
    }
    bool error = ipv6 ? protocol == PROTOCOL_ICMPV6 && l4[0] < 128
                      : protocol == PROTOCOL_ICMP && l4[0] == 3;
    if (error && !quoted)
        return flow_words(l4 + 8, bytes - header - 8, ipv6, true, found);
    return 0;
}

unsigned
net_frame_core(const uint8_t *data, uint16_t len, struct net_steering s)
{
    bool found = false;
    if (s.cores <= 1 || len < NET_ETHERNET_BYTES)
        return 0;
    uint16_t type = load16(data + 12);
    const uint8_t *h = data + NET_ETHERNET_BYTES;
    unsigned bytes = len - NET_ETHERNET_BYTES;

    if (type == ETHERTYPE_ARP)
        return bytes >= 8 && load16(h + 6) == 2 ? NET_CORE_ALL : 0;
    if (type != ETHERTYPE_IPV4 && type != ETHERTYPE_IPV6)
        return 0;
    uint16_t words = flow_words(h, bytes, type == ETHERTYPE_IPV6, false, &found);
    if (found)
        return core_of(words, s);
    bool advertisement = type == ETHERTYPE_IPV6 && bytes > IPV6_HEADER_BYTES &&
                         h[6] == PROTOCOL_ICMPV6 && h[IPV6_HEADER_BYTES] == 136;
    return advertisement ? NET_CORE_ALL : 0;
}
