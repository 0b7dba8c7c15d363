/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/net/neighbour.h"

#include "dataplane/net/checksum.h"
#include "dataplane/net/instance.h"
#include "dataplane/net/ip_out.h"

#define ARP_BYTES 28
#define ARP_REQUEST 1
#define ARP_REPLY 2
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_BYTES 24       /* header and target */
#define ND_OPTION_BYTES 8 /* link-layer address */
#define ND_SOLICITED 0x40000000u
#define ND_OVERRIDE 0x20000000u

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static struct neighbour *
neighbour_find(struct neighbour_table *table, const struct net_addr *addr)
{
    for (unsigned i = 0; i < NEIGHBOURS_MAX; i++)
        if (memcmp(&table->entries[i].addr, addr, sizeof *addr) == 0)
            return &table->entries[i];
    return NULL;
}

/* A free entry, else the one unused for longest. */
static struct neighbour *
neighbour_make(struct net *net, const struct net_addr *addr)
{
    static const struct net_addr zero;
    struct neighbour *oldest = neighbour_find(&net->neighbours, &zero);
    for (unsigned i = 0; !oldest || i < NEIGHBOURS_MAX; i++) {
        struct neighbour *e = &net->neighbours.entries[i];
        if (!oldest || (memcmp(&oldest->addr, &zero, sizeof zero) != 0 &&
                        net->now_ms - e->used_ms > net->now_ms - oldest->used_ms))
            oldest = e;
    }
    *oldest = (struct neighbour){.addr = *addr, .asked_ms = net->now_ms - NEIGHBOUR_QUERY_MS};
    return oldest;
}

/* An answer to a question of ours, or news about an address that we asked for earlier. */
static bool
neighbour_learn(struct net *net, const struct net_addr *addr, const uint8_t *mac)
{
    struct neighbour *e = neighbour_find(&net->neighbours, addr);
    if (!e || (mac[0] & 1))
        return false;
    memcpy(e->mac, mac, 6);
    e->known = true;
    e->known_ms = net->now_ms;
    /* Whoever waits looks again in the next flush; for another address, it is parked again. */
    struct neighbour_table *table = &net->neighbours;
    for (unsigned i = 0; i < table->parked_count; i++) {
        struct net_conn *c = &net->conns[table->parked[i]];
        c->flags &= ~F_PARKED;
        tcp_dirty(net, c);
    }
    table->parked_count = 0;
    return true;
}

void
neighbour_unpark(struct net *net, struct net_conn *c)
{
    struct neighbour_table *table = &net->neighbours;
    for (unsigned i = 0; i < table->parked_count; i++)
        if (table->parked[i] == conn_id(net, c)) {
            table->parked[i] = table->parked[--table->parked_count];
            break;
        }
    c->flags &= ~F_PARKED;
}

static void
arp_send(struct net *net, uint16_t operation, const uint8_t *to, const uint8_t *sender_ip,
         const uint8_t *target_mac, const uint8_t *target_ip)
{
    void *frame;
    uint8_t *p = net->config.output.frame_alloc(net->config.output.ctx,
                                                NET_ETHERNET_BYTES + ARP_BYTES, &frame);
    if (!p) {
        net->counters.frame_alloc_failed++;
        return;
    }
    memcpy(p, to, 6);
    memcpy(p + 6, net->config.mac, 6);
    store16(p + 12, ETHERTYPE_ARP);
    memcpy(p + 14, (uint8_t[]){0, 1, 8, 0, 6, 4}, 6);
    store16(p + 20, operation);
    memcpy(p + 22, net->config.mac, 6);
    memcpy(p + 28, sender_ip, 4);
    memcpy(p + 32, target_mac, 6);
    memcpy(p + 38, target_ip, 4);
    net->counters.frames_out++;
    net->config.output.frame_send(net->config.output.ctx, frame, NET_ETHERNET_BYTES + ARP_BYTES,
                                  NULL);
}

void
neighbour_arp_input(struct net *net, const struct net_frame *frame)
{
    const uint8_t *p = frame->data + NET_ETHERNET_BYTES;
    struct net_counters *n = &net->counters;

    if (frame->len < NET_ETHERNET_BYTES + ARP_BYTES || memcmp(p, "\0\1\10\0\6\4", 6) != 0) {
        n->drop_arp++;
        return;
    }
    struct net_addr sender = net_addr_v4(load32(p + 14)), target = net_addr_v4(load32(p + 24));
    bool learned = neighbour_learn(net, &sender, p + 8);
    bool ours = ip_local(net, &target) >= 0;
    /* A sender using one of our addresses: answering would only feed the quarrel. */
    if (load16(p + 6) == ARP_REQUEST && ours && ip_local(net, &sender) < 0 && !(p[8] & 1)) {
        arp_send(net, ARP_REPLY, p + 8, target.bytes + 12, p + 8, p + 14);
        n->arp_replies++;
    } else if (!learned) {
        n->drop_arp++;
    }
}

static void
solicited_group(const uint8_t *target, uint8_t *group, uint8_t *mac)
{
    memcpy(group, (uint8_t[]){0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff}, 13);
    memcpy(group + 13, target + 13, 3);
    memcpy(mac, (uint8_t[]){0x33, 0x33}, 2);
    memcpy(mac + 2, group + 12, 4);
}

static void
nd_send(struct net *net, uint8_t type, const uint8_t *mac, unsigned local, const uint8_t *to,
        uint32_t flags, const uint8_t *target)
{
    struct ip_out out;
    if (!ip_begin(net, &out, mac, local, to, PROTOCOL_ICMPV6, ND_BYTES + ND_OPTION_BYTES))
        return;
    store32(out.l4, (uint32_t)type << 24);
    store32(out.l4 + 4, flags);
    memcpy(out.l4 + 8, target, 16);
    out.l4[24] = type == ND_SOLICITATION ? 1 : 2;
    out.l4[25] = 1;
    memcpy(out.l4 + 26, net->config.mac, 6);
    ip_send(net, &out, 2);
}

/*
 * The option with the link-layer address; NULL: none. RFC 4861 4.6: a length of 0 makes the packet
 * invalid.
 */
static const uint8_t *
nd_link_address(const struct packet *p, uint8_t type, bool *valid)
{
    const uint8_t *found = NULL;
    for (unsigned at = ND_BYTES; at < p->l4_bytes;) {
        unsigned left = p->l4_bytes - at;
        if (left < 8 || p->l4[at + 1] == 0 || 8u * p->l4[at + 1] > left) {
            *valid = false;
            return NULL;
        }
        if (p->l4[at] == type && p->l4[at + 1] == 1)
            found = p->l4 + at + 2;
        at += 8u * p->l4[at + 1];
    }
    *valid = true;
    return found;
}

static bool
nd_solicited(struct net *net, const struct packet *p, const struct net_addr *source,
             const struct net_addr *target, const uint8_t *link)
{
    static const uint8_t zero[16];
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
    int local = ip_local(net, target);
    if (local < 0)
        return false;
    net->counters.nd_replies++;
    if (memcmp(source->bytes, zero, 16) == 0) { /* duplicate address detection: RFC 4861 7.2.4 */
        nd_send(net, ND_ADVERTISEMENT, (uint8_t[]){0x33, 0x33, 0, 0, 0, 1}, (unsigned)local,
                all_nodes, ND_OVERRIDE, target->bytes);
        return true;
    }
    if (link)
        (void)neighbour_learn(net, source, link); /* only if we asked for it before */
    nd_send(net, ND_ADVERTISEMENT, link ? link : p->frame + 6, (unsigned)local, source->bytes,
            ND_SOLICITED | ND_OVERRIDE, target->bytes);
    return true;
}

void
neighbour_nd_input(struct net *net, const struct packet *p)
{
    struct net_addr source, target;
    bool valid = p->l4_bytes >= ND_BYTES && p->addresses[-1] == 255 && p->l4[1] == 0;
    bool used = false;

    if (valid) {
        bool solicitation = p->l4[0] == ND_SOLICITATION;
        const uint8_t *link = nd_link_address(p, solicitation ? 1 : 2, &valid);
        ip_source(p, &source);
        memcpy(target.bytes, p->l4 + 8, 16);
        if (valid && solicitation)
            used = nd_solicited(net, p, &source, &target, link);
        else if (valid && ip_local(net, &target) < 0)
            used = neighbour_learn(net, &target, link ? link : p->frame + 6);
    }
    if (!used)
        net->counters.drop_nd++;
}

static bool
same_prefix(const struct net_addr *a, const struct net_addr *b, unsigned bits)
{
    if (memcmp(a->bytes, b->bytes, bits / 8) != 0)
        return false;
    unsigned rest = bits % 8;
    return rest == 0 || (a->bytes[bits / 8] ^ b->bytes[bits / 8]) >> (8 - rest) == 0;
}

/*
 * On-link addresses are their own next hop, others go by the gateway (or are tried on the link
 * without one).
 */
static const struct net_addr *
next_hop(const struct net *net, const struct net_conn *c, struct net_addr *remote)
{
    static const struct net_addr zero;
    memcpy(remote->bytes, c->key.remote, 16);
    bool v4 = net_addr_is_v4(remote);
    const struct net_addr *gateway = v4 ? &net->config.gateway_v4 : &net->config.gateway_v6;
    if (memcmp(gateway, &zero, sizeof zero) == 0)
        return remote;
    for (unsigned i = 0; i < net->config.interface_count; i++) {
        const struct net_interface *own = &net->config.interfaces[i];
        if (net_addr_is_v4(&own->addr) == v4 &&
            same_prefix(&own->addr, remote, own->prefix_bits + (v4 ? 96 : 0)))
            return remote;
    }
    return gateway;
}

static void
neighbour_ask(struct net *net, struct neighbour *e, unsigned local)
{
    if (net->now_ms - e->asked_ms < NEIGHBOUR_QUERY_MS)
        return;
    e->asked_ms = net->now_ms;
    net->counters.neighbour_queries++;
    if (net_addr_is_v4(&e->addr)) {
        arp_send(net, ARP_REQUEST, broadcast, net->config.interfaces[local].addr.bytes + 12,
                 (uint8_t[6]){0}, e->addr.bytes + 12);
    } else {
        uint8_t group[16], mac[6];
        solicited_group(e->addr.bytes, group, mac);
        nd_send(net, ND_SOLICITATION, mac, local, group, 0, e->addr.bytes);
    }
}

bool
neighbour_resolve(struct net *net, struct net_conn *c)
{
    struct neighbour_table *table = &net->neighbours;
    struct net_addr remote;
    const struct net_addr *hop = next_hop(net, c, &remote);
    struct neighbour *e = neighbour_find(table, hop);

    if (!e)
        e = neighbour_make(net, hop);
    e->used_ms = net->now_ms;
    if (!e->known || net->now_ms - e->known_ms > NEIGHBOUR_FRESH_MS)
        neighbour_ask(net, e, c->key.local);
    if (e->known) {
        memcpy(c->mac, e->mac, 6);
        c->flags |= F_MAC;
        return true;
    }
    if (!(c->flags & F_PARKED) && table->parked_count < NEIGHBOUR_PARKED_MAX) {
        table->parked[table->parked_count++] = conn_id(net, c);
        c->flags |= F_PARKED;
    }
    return false;
}

void
neighbour_announce(struct net *net)
{
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
    for (unsigned i = 0; i < net->config.interface_count; i++) {
        const struct net_addr *own = &net->config.interfaces[i].addr;
        if (net_addr_is_v4(own))
            arp_send(net, ARP_REQUEST, broadcast, own->bytes + 12, (uint8_t[6]){0},
                     own->bytes + 12);
        else
            nd_send(net, ND_ADVERTISEMENT, (uint8_t[]){0x33, 0x33, 0, 0, 0, 1}, i, all_nodes,
                    ND_OVERRIDE, own->bytes);
    }
}
