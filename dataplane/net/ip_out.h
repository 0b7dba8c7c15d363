/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Putting frames together: Ethernet and IP headers around what the caller writes. Inline, because
 * every reply comes through here.
 *
 *      struct ip_out out;
 *      if (!ip_begin(net, &out, mac, local, remote, PROTOCOL_TCP, l4_bytes))
 *          return false;                  no transmit buffer, counted
 *      ... fill in out.l4, checksum field 0 ...
 *      ip_send(net, &out, 16);
 */
#ifndef SENGI_DATAPLANE_NET_IP_OUT_H
#define SENGI_DATAPLANE_NET_IP_OUT_H

#include "dataplane/net/checksum.h"
#include "dataplane/net/instance.h"
#include "dataplane/net/ip.h"

#define TTL 64
#define TTL_ND 255 /* RFC 4861 7.1: proves that no router forwarded it */

/** A frame under construction. */
struct ip_out {
    void *frame;
    uint8_t *start; /* Ethernet header */
    uint8_t *l4;
    uint16_t bytes, l4_bytes;
    uint8_t protocol;
    bool ipv6;
};

static inline uint8_t *ipv4_write(uint8_t *h, const struct net_addr *source, const uint8_t *remote,
                                  const struct ip_out *out)
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

static inline uint8_t *ipv6_write(uint8_t *h, const struct net_addr *source, const uint8_t *remote,
                                  const struct ip_out *out)
{
    store32(h, 0x60000000u);
    store16(h + 4, out->l4_bytes);
    h[6] = out->protocol;
    h[7] = out->protocol == PROTOCOL_ICMPV6 ? TTL_ND : TTL;
    memcpy(h + 8, source->bytes, 16);
    memcpy(h + 24, remote, 16);
    return h + IPV6_HEADER_BYTES;
}

/**
 * Get a frame and write its Ethernet and IP headers for l4_bytes of payload.
 *
 * @return false: no frame (counted). Else fill in out->l4, then call ip_send().
 */
static inline bool
ip_begin(struct net *net, struct ip_out *out, const uint8_t *mac, unsigned local,
         const uint8_t remote[16], uint8_t protocol, unsigned l4_bytes)
{
    const struct net_addr *source = &net->config.interfaces[local].addr;
    out->ipv6 = net->local_v4[local] == 0;
    out->protocol = protocol;
    out->l4_bytes = (uint16_t)l4_bytes;
    unsigned l3_bytes = out->ipv6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES;
    out->bytes = (uint16_t)(NET_ETHERNET_BYTES + l3_bytes + l4_bytes);
    void *frame; /* not out->frame: *out is the compiler's alone */
    uint8_t *p = net->config.output.frame_alloc(net->config.output.ctx, out->bytes, &frame);
    if (UNLIKELY(!p)) {
        net->counters.frame_alloc_failed++;
        return false;
    }
    out->frame = frame;
    out->start = p;
    memcpy(p, mac, 6);
    memcpy(p + 6, net->config.mac, 6);
    if (LIKELY(!out->ipv6)) {
        store16(p + 12, ETHERTYPE_IPV4);
        out->l4 = ipv4_write(p + NET_ETHERNET_BYTES, source, remote, out);
    } else {
        store16(p + 12, ETHERTYPE_IPV6);
        out->l4 = ipv6_write(p + NET_ETHERNET_BYTES, source, remote, out);
    }
    return true;
}

/** Write the checksums (transport checksum at l4 + checksum_at, which must hold 0) and send. */
static inline void
ip_send(struct net *net, struct ip_out *out, unsigned checksum_at)
{
    const uint8_t *addresses = out->l4 - (out->ipv6 ? 32 : 8);
    uint64_t sum = checksum_pseudo(out->protocol, out->l4_bytes);
    uint16_t folded;

    net->counters.frames_out++;
    if (LIKELY(!out->ipv6)) {
        uint8_t *h = out->l4 - IPV4_HEADER_BYTES;
        uint16_t header = (uint16_t)~checksum_fold(checksum_header_v4(h));
        memcpy(h + 10, &header, 2);
    }
    if (net->config.checksum_offload && out->protocol == PROTOCOL_TCP) {
        struct net_offload offload = {NET_ETHERNET_BYTES, out->ipv6 ? 40 : 20,
                                      (uint8_t)(out->l4[12] >> 4 << 2), out->ipv6};
        folded = checksum_fold(checksum_add(sum, addresses, (size_t)(out->l4 - addresses)));
        memcpy(out->l4 + checksum_at, &folded, 2);
        net->config.output.frame_send(net->config.output.ctx, out->frame, out->bytes, &offload);
        return;
    }
    if (out->protocol == PROTOCOL_ICMP) {
        addresses = out->l4;
        sum = 0;
    }
    sum = checksum_add(sum, addresses, (size_t)(out->l4 - addresses) + out->l4_bytes);
    folded = (uint16_t)~checksum_fold(sum);
    memcpy(out->l4 + checksum_at, &folded, 2);
    net->config.output.frame_send(net->config.output.ctx, out->frame, out->bytes, NULL);
}

#endif
