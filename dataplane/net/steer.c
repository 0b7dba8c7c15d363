/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Software steering: the same core for both directions of a flow, and for ICMP errors about it. No
 * secret: a peer that chooses its ports to load one core can do so under any RSS key too, and the
 * core survives it.
 */
#include "dataplane/net/instance.h"
#include "dataplane/net/ip.h"

static uint32_t
mix(const uint8_t *a, const uint8_t *b, unsigned address_bytes, const uint8_t *port_a,
    const uint8_t *port_b)
{
    uint64_t h = (uint64_t)(load16(port_a) ^ load16(port_b)) << 32;
    for (unsigned i = 0; i < address_bytes; i += 4) {
        h ^= load32(a + i) ^ load32(b + i);
        h *= 0x9e3779b97f4a7c15ull;
        h ^= h >> 29;
    }
    h *= 0xbf58476d1ce4e5b9ull;
    return (uint32_t)(h >> 32);
}

static unsigned
core_of(uint32_t hash, unsigned core_count)
{
    return (unsigned)(((uint64_t)hash * core_count) >> 32);
}

unsigned
net_flow_core(const struct flow_key *key, const struct net_addr *local, unsigned core_count)
{
    bool v4 = net_addr_is_v4(local);
    unsigned skip = v4 ? 12 : 0;
    return core_of(mix(key->remote + skip, local->bytes + skip, 16 - skip,
                       (const uint8_t *)&key->remote_port, (const uint8_t *)&key->local_port),
                   core_count);
}

/* An IP packet, or the one quoted in it. *found: it belongs to a flow. */
static uint32_t
flow_hash(const uint8_t *h, unsigned bytes, bool ipv6, bool quoted, bool *found)
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
        return mix(h + at, h + at + size, size, l4, l4 + 2);
    }
    bool error = ipv6 ? protocol == PROTOCOL_ICMPV6 && l4[0] < 128
                      : protocol == PROTOCOL_ICMP && l4[0] == 3;
    if (error && !quoted)
        return flow_hash(l4 + 8, bytes - header - 8, ipv6, true, found);
    return 0;
}

unsigned
net_frame_core(const uint8_t *data, uint16_t len, unsigned core_count)
{
    bool found = false;
    if (core_count <= 1 || len < NET_ETHERNET_BYTES)
        return 0;
    uint16_t type = load16(data + 12);
    const uint8_t *h = data + NET_ETHERNET_BYTES;
    unsigned bytes = len - NET_ETHERNET_BYTES;

    if (type == ETHERTYPE_ARP)
        return bytes >= 8 && load16(h + 6) == 2 ? NET_CORE_ALL : 0;
    if (type != ETHERTYPE_IPV4 && type != ETHERTYPE_IPV6)
        return 0;
    uint32_t hash = flow_hash(h, bytes, type == ETHERTYPE_IPV6, false, &found);
    if (found)
        return core_of(hash, core_count);
    bool advertisement = type == ETHERTYPE_IPV6 && bytes > IPV6_HEADER_BYTES &&
                         h[6] == PROTOCOL_ICMPV6 && h[IPV6_HEADER_BYTES] == 136;
    return advertisement ? NET_CORE_ALL : 0;
}
