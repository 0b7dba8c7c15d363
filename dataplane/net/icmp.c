/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/net/icmp.h"

#include "dataplane/net/instance.h"
#include "dataplane/net/ip_out.h"

#define ICMP_HEADER_BYTES 8
#define ICMP_ECHO 8
#define ICMP_UNREACHABLE 3
#define ICMP_FRAGMENTATION_NEEDED 4
#define ICMPV6_TOO_BIG 2
#define ICMPV6_ECHO 128
#define ICMPV6_ECHO_REPLY 129
#define ICMPV6_ND_FIRST 133
#define ICMPV6_ND_LAST 137
#define QUOTE_TCP_BYTES 8 /* all that RFC 792 promises: ports and sequence number */
#define MTU_FLOOR_V4 576  /* lower announcements are taken as this (RFC 5927 7.3) */
#define MTU_FLOOR_V6 1280

static void
echo_reply(struct net *net, const struct packet *p)
{
    struct net_addr source;
    struct ip_out out;
    unsigned room = net->config.mtu - (p->ipv6 ? 40u : 20u);

    if (p->local == PACKET_MULTICAST || p->l4_bytes > room) {
        net->counters.drop_icmp++;
        return;
    }
    ip_source(p, &source);
    if (!ip_begin(net, &out, p->frame + 6, p->local, source.bytes, p->protocol, p->l4_bytes))
        return;
    memcpy(out.l4, p->l4, p->l4_bytes);
    out.l4[0] = p->ipv6 ? ICMPV6_ECHO_REPLY : 0;
    store16(out.l4 + 2, 0);
    net->counters.echo_replies++;
    ip_send(net, &out, 2);
}

/*
 * The connection whose segment is quoted, if it lies in the part now in flight (RFC 5927 section
 * 4).
 */
static struct net_conn *
quoted_conn(struct net *net, const struct packet *p)
{
    const uint8_t *h = p->l4 + ICMP_HEADER_BYTES;
    unsigned header = p->ipv6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES;
    struct flow_key key = {.local = p->local};
    struct net_addr remote;

    if (p->local == PACKET_MULTICAST || p->l4_bytes < ICMP_HEADER_BYTES + header + QUOTE_TCP_BYTES)
        return NULL;
    if (p->ipv6) {
        if (h[0] >> 4 != 6 || h[6] != PROTOCOL_TCP || memcmp(h + 8, p->addresses + 16, 16) != 0)
            return NULL;
        memcpy(remote.bytes, h + 24, 16);
    } else {
        if (h[0] != 0x45 || h[9] != PROTOCOL_TCP || memcmp(h + 12, p->addresses + 4, 4) != 0)
            return NULL;
        remote = net_addr_v4(load32(h + 16));
    }
    memcpy(key.remote, remote.bytes, 16);
    memcpy(&key.local_port, h + header, 2);
    memcpy(&key.remote_port, h + header + 2, 2);
    uint32_t seq = load32(h + header + 4);
    uint32_t id = net_find(net, &key, flow_key_hash(&key, net->key_flow));
    if (id == FLOW_NONE || (id & FLOW_TIME_WAIT))
        return NULL;
    struct net_conn *c = &net->conns[id];
    return seq_upto(c->snd_una, seq) && seq_before(seq, c->snd_nxt) ? c : NULL;
}

static void
too_big(struct net *net, const struct packet *p)
{
    struct net_conn *c = quoted_conn(net, p);
    uint32_t mtu = p->ipv6 ? load32(p->l4 + 4) : load16(p->l4 + 6);
    uint32_t floor = p->ipv6 ? MTU_FLOOR_V6 : MTU_FLOOR_V4;

    if (!c || c->state <= TCP_SYN_RCVD) {
        net->counters.drop_icmp_quote++;
        return;
    }
    if (mtu < floor)
        mtu = floor;
    uint32_t mss = mtu - (p->ipv6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES) - TCP_HEADER_BYTES -
                   (c->flags & F_TS ? 12 : 0);
    if (mss >= c->mss)
        return;
    net->counters.mtu_reduced++;
    c->mss = (uint16_t)mss;
    /* What is in flight is lost, but not by congestion: all of it again, in smaller pieces. */
    uint32_t cwnd = c->cwnd, ssthresh = c->ssthresh;
    tcp_loss_enter(net, c);
    c->cwnd = cwnd;
    c->ssthresh = ssthresh;
}

void
icmp_input(struct net *net, const struct packet *p)
{
    if (p->l4_bytes < ICMP_HEADER_BYTES) {
        net->counters.drop_short++;
        return;
    }
    if (!ip_checksum_ok(p)) {
        net->counters.drop_checksum++;
        return;
    }
    uint8_t type = p->l4[0], code = p->l4[1];
    if (type == (p->ipv6 ? ICMPV6_ECHO : ICMP_ECHO) && code == 0)
        echo_reply(net, p);
    else if (p->ipv6 && type >= ICMPV6_ND_FIRST && type <= ICMPV6_ND_LAST)
        neighbour_nd_input(net, p);
    else if (p->ipv6 ? type == ICMPV6_TOO_BIG
                     : type == ICMP_UNREACHABLE && code == ICMP_FRAGMENTATION_NEEDED)
        too_big(net, p);
    else
        net->counters.drop_icmp++;
}
