/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/net/ip.h"

#include "dataplane/net/checksum.h"
#include "dataplane/net/instance.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define NEXT_HEADER_FRAGMENT 44

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

int
ip_local(const struct net *net, const struct net_addr *addr)
{
    for (unsigned i = 0; i < net->config.interface_count; i++)
        if (memcmp(&net->config.interfaces[i].addr, addr, sizeof *addr) == 0)
            return (int)i;
    return -1;
}

/* As ip_local(), of four bytes; every frame asks. 0.0.0.0 stands for "not IPv4" in local_v4,
 * and is nobody's. */
static inline int
local_v4(const struct net *net, const uint8_t *addr)
{
    uint32_t wanted, equal = 0;
    memcpy(&wanted, addr, 4);
#ifdef __SSE2__ /* all at once, and without a branch for each */
    _Static_assert(NET_ADDRESSES_MAX == 8, "two vectors of four");
    const __m128i *local = (const __m128i *)net->local_v4, all = _mm_set1_epi32((int)wanted);
    __m128i low = _mm_cmpeq_epi32(_mm_loadu_si128(local), all);
    __m128i high = _mm_cmpeq_epi32(_mm_loadu_si128(local + 1), all);
    __m128i both = _mm_packs_epi16(_mm_packs_epi32(low, high), _mm_setzero_si128());
    equal = (uint32_t)_mm_movemask_epi8(both);
#else
    for (unsigned i = 0; i < NET_ADDRESSES_MAX; i++)
        equal |= (uint32_t)(net->local_v4[i] == wanted) << i;
#endif
    return equal && wanted ? __builtin_ctz(equal) : -1;
}

static bool
drop(uint64_t *counter)
{
    (*counter)++;
    return false;
}

/*
 * RFC 1122 3.2.1.3, 4.2.3.10: no packet comes from a broadcast, multicast, loopback or null
 * address, or from us. The last is looked at by TCP itself, where a segment belongs to nothing: of
 * connections, the first segment was.
 */
static bool
source_ok_v4(const struct net *net, const uint8_t *source, uint8_t protocol)
{
    if (source[0] == 0 || source[0] == 127 || source[0] >= 224)
        return false;
    return LIKELY(protocol == PROTOCOL_TCP) || local_v4(net, source) < 0;
}

static bool
ipv4_parse(struct net *net, const struct net_frame *frame, struct packet *p)
{
    const uint8_t *h = frame->data + NET_ETHERNET_BYTES;
    unsigned room = frame->len - NET_ETHERNET_BYTES;
    struct net_counters *n = &net->counters;

    if (room < IPV4_HEADER_BYTES)
        return drop(&n->drop_short);
    unsigned total = load16(h + 2);
    if (UNLIKELY(h[0] != 0x45 || total < IPV4_HEADER_BYTES || total > room)) {
        bool valid =
            h[0] >> 4 == 4 && (h[0] & 15) > 5 && total >= 4u * (h[0] & 15) && total <= room;
        return drop(valid ? &n->drop_ip_options : &n->drop_ip_header);
    }
    if (checksum_fold(checksum_header_v4(h)) != 0xffff)
        return drop(&n->drop_checksum);
    if (load16(h + 6) & 0x3fff)
        return drop(&n->drop_ip_fragment);
    int local = local_v4(net, h + 16);
    if (local < 0 || (frame->data[0] & 1))
        return drop(&n->drop_not_ours);
    if (!source_ok_v4(net, h + 12, h[9]))
        return drop(&n->drop_ip_source);
    p->l4 = h + IPV4_HEADER_BYTES;
    p->l4_bytes = (uint16_t)(total - IPV4_HEADER_BYTES);
    p->addresses = h + 12;
    p->protocol = h[9];
    p->local = (uint8_t)local;
    p->ipv6 = false;
    return true;
}

/* All nodes, or the solicited-node group of one of our addresses (RFC 4291 2.7.1). */
static bool
multicast_ours(const struct net *net, const uint8_t *addr)
{
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
    static const uint8_t solicited[13] = {0xff, 2, [11] = 1, 0xff};

    if (memcmp(addr, all_nodes, 16) == 0)
        return true;
    if (memcmp(addr, solicited, 13) != 0)
        return false;
    for (unsigned i = 0; i < net->config.interface_count; i++) {
        const struct net_addr *own = &net->config.interfaces[i].addr;
        if (!net_addr_is_v4(own) && memcmp(own->bytes + 13, addr + 13, 3) == 0)
            return true;
    }
    return false;
}

static bool
source_ok_v6(const struct net *net, const struct packet *p)
{
    static const uint8_t zero[15];
    struct net_addr addr;
    memcpy(addr.bytes, p->addresses, 16);
    if (addr.bytes[0] == 0xff || net_addr_is_v4(&addr) ||
        (p->protocol != PROTOCOL_TCP && ip_local(net, &addr) >= 0))
        return false;
    /* The unspecified address is right in duplicate address detection only (RFC 4861 4.3). */
    if (memcmp(addr.bytes, zero, 15) == 0)
        return addr.bytes[15] == 0 && p->protocol == PROTOCOL_ICMPV6;
    return true;
}

static bool
ipv6_parse(struct net *net, const struct net_frame *frame, struct packet *p)
{
    const uint8_t *h = frame->data + NET_ETHERNET_BYTES;
    unsigned room = frame->len - NET_ETHERNET_BYTES;
    struct net_counters *n = &net->counters;
    struct net_addr destination;

    if (room < IPV6_HEADER_BYTES)
        return drop(&n->drop_short);
    unsigned payload = load16(h + 4);
    if (h[0] >> 4 != 6 || payload > room - IPV6_HEADER_BYTES)
        return drop(&n->drop_ip_header);
    memcpy(destination.bytes, h + 24, 16);
    int local = ip_local(net, &destination);
    if (local < 0 && !(h[6] == PROTOCOL_ICMPV6 && multicast_ours(net, h + 24)))
        return drop(&n->drop_not_ours);
    if (h[6] == NEXT_HEADER_FRAGMENT)
        return drop(&n->drop_ip_fragment);
    if (h[6] == 0 || h[6] == 43 || h[6] == 51 || h[6] == 60)
        return drop(&n->drop_ip_options);
    if ((frame->data[0] & 1) && h[6] != PROTOCOL_ICMPV6)
        return drop(&n->drop_not_ours);
    p->l4 = h + IPV6_HEADER_BYTES;
    p->l4_bytes = (uint16_t)payload;
    p->addresses = h + 8;
    p->protocol = h[6];
    p->local = local < 0 ? PACKET_MULTICAST : (uint8_t)local;
    p->ipv6 = true;
    if (!source_ok_v6(net, p))
        return drop(&n->drop_ip_source);
    return true;
}

bool
ip_parse(struct net *net, const struct net_frame *frame, struct packet *p)
{
    p->frame = frame->data;
    p->checksum_good = frame->flags & NET_FRAME_CHECKSUM_GOOD;
    if (load16(frame->data + 12) == ETHERTYPE_IPV4)
        return ipv4_parse(net, frame, p);
    return ipv6_parse(net, frame, p);
}

void
ip_source(const struct packet *p, struct net_addr *addr)
{
    if (p->ipv6) {
        memcpy(addr->bytes, p->addresses, 16);
    } else {
        memcpy(addr->bytes, mapped_prefix, 12);
        memcpy(addr->bytes + 12, p->addresses, 4);
    }
}

bool
ip_checksum_ok(const struct packet *p)
{
    const uint8_t *from = p->l4;
    uint64_t sum = 0;
    if (LIKELY(p->protocol != PROTOCOL_ICMP)) {
        from = p->addresses;
        sum = checksum_pseudo(p->protocol, p->l4_bytes);
    }
    size_t bytes = (size_t)(p->l4 - from) + p->l4_bytes;
    return checksum_fold(checksum_add(sum, from, bytes)) == 0xffff;
}
