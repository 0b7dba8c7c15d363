/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/net/ip.h"

#include "dataplane/net/checksum.h"
#include "dataplane/net/instance.h"

#define TTL 64
#define TTL_ND 255 /* RFC 4861 7.1: proves that no router forwarded it */
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

/* As ip_local(), of four bytes. */
static inline int
local_v4(const struct net *net, const uint8_t *addr)
{
    uint32_t wanted;
    memcpy(&wanted, addr, 4);
    for (unsigned i = 0; i < net->config.interface_count; i++)
        if (net->local_v4[i] == wanted)
            return (int)i;
    return -1;
}

static bool
drop(uint64_t *counter)
{
    (*counter)++;
    return false;
}

/* RFC 1122 3.2.1.3, 4.2.3.10: no segment comes from a broadcast, multicast, loopback or null address, or from us. */
static bool
source_ok_v4(const struct net *net, const uint8_t *source)
{
    if (source[0] == 0 || source[0] == 127 || source[0] >= 224)
        return false;
    return local_v4(net, source) < 0;
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
    if (h[0] >> 4 != 4 || (h[0] & 15) < 5 || total < 4u * (h[0] & 15) || total > room)
        return drop(&n->drop_ip_header);
    if ((h[0] & 15) != 5)
        return drop(&n->drop_ip_options);
    if (!p->checksum_good && checksum_fold(checksum_header_v4(h)) != 0xffff)
        return drop(&n->drop_checksum);
    if (load16(h + 6) & 0x3fff)
        return drop(&n->drop_ip_fragment);
    int local = local_v4(net, h + 16);
    if (local < 0 || (frame->data[0] & 1))
        return drop(&n->drop_not_ours);
    if (!source_ok_v4(net, h + 12))
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
    if (addr.bytes[0] == 0xff || net_addr_is_v4(&addr) || ip_local(net, &addr) >= 0)
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
    if (p->checksum_good)
        return true;
    uint64_t sum = 0;
    if (p->protocol != PROTOCOL_ICMP)
        sum = checksum_pseudo(p->addresses, p->ipv6 ? 32 : 8, p->protocol, p->l4_bytes);
    return checksum_fold(checksum_add(sum, p->l4, p->l4_bytes)) == 0xffff;
}

static uint8_t *
ipv4_write(uint8_t *h, const struct net_addr *source, const uint8_t *remote, const struct ip_out *out)
{
    store32(h, 0x45000000u | (IPV4_HEADER_BYTES + out->l4_bytes));
    store32(h + 4, 0x4000); /* id 0, may not be fragmented (RFC 6864) */
    h[8] = TTL;
    h[9] = out->protocol;
    store16(h + 10, 0);
    memcpy(h + 12, source->bytes + 12, 4);
    memcpy(h + 16, remote + 12, 4);
    return h + IPV4_HEADER_BYTES;
}

static uint8_t *
ipv6_write(uint8_t *h, const struct net_addr *source, const uint8_t *remote, const struct ip_out *out)
{
    store32(h, 0x60000000u);
    store16(h + 4, out->l4_bytes);
    h[6] = out->protocol;
    h[7] = out->protocol == PROTOCOL_ICMPV6 ? TTL_ND : TTL;
    memcpy(h + 8, source->bytes, 16);
    memcpy(h + 24, remote, 16);
    return h + IPV6_HEADER_BYTES;
}

bool
ip_begin(struct net *net, struct ip_out *out, const uint8_t *mac, unsigned local,
         const uint8_t remote[16], uint8_t protocol, unsigned l4_bytes)
{
    const struct net_addr *source = &net->config.interfaces[local].addr;
    out->ipv6 = net->local_v4[local] == 0;
    out->protocol = protocol;
    out->l4_bytes = (uint16_t)l4_bytes;
    unsigned l3 = out->ipv6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES;
    uint16_t bytes = (uint16_t)(NET_ETHERNET_BYTES + l3 + l4_bytes);
    out->start = net->config.output.frame_alloc(net->config.output.ctx, bytes, &out->frame);
    if (UNLIKELY(!out->start))
        return drop(&net->counters.frame_alloc_failed);
    memcpy(out->start, mac, 6);
    memcpy(out->start + 6, net->config.mac, 6);
    store16(out->start + 12, out->ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
    uint8_t *h = out->start + NET_ETHERNET_BYTES;
    out->l4 = out->ipv6 ? ipv6_write(h, source, remote, out) : ipv4_write(h, source, remote, out);
    return true;
}

void
ip_send(struct net *net, struct ip_out *out, unsigned checksum_at)
{
    struct net_offload offload = {NET_ETHERNET_BYTES, out->ipv6 ? 40 : 20, 0, out->ipv6};
    uint8_t *h = out->start + NET_ETHERNET_BYTES;
    const uint8_t *addresses = h + (out->ipv6 ? 8 : 12);
    bool offloaded = net->config.checksum_offload && out->protocol == PROTOCOL_TCP;
    uint64_t sum = 0;
    uint16_t folded;

    if (out->protocol != PROTOCOL_ICMP)
        sum = checksum_pseudo(addresses, out->ipv6 ? 32 : 8, out->protocol, out->l4_bytes);
    if (offloaded) {
        offload.l4_bytes = (uint8_t)(out->l4[12] >> 4 << 2);
        folded = checksum_fold(sum);
    } else {
        folded = (uint16_t)~checksum_fold(checksum_add(sum, out->l4, out->l4_bytes));
        if (!out->ipv6) {
            uint16_t header = (uint16_t)~checksum_fold(checksum_header_v4(h));
            memcpy(h + 10, &header, 2);
        }
    }
    memcpy(out->l4 + checksum_at, &folded, 2);
    net->counters.frames_out++;
    net->config.output.frame_send(net->config.output.ctx, out->frame,
                                  (uint16_t)(out->l4 + out->l4_bytes - out->start),
                                  offloaded ? &offload : NULL);
}
