/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Connections come and go: allocation, net_close, net_abort, removal.
 *
 * A removed connection is TCP_CLOSED on the dead list until the next net_flush(), so that whoever
 * still runs inside a callback may look at it. Every public call treats TCP_CLOSED as "gone".
 */
#include "dataplane/net/instance.h"

struct net_conn *
conn_alloc(struct net *net, const struct flow_key *key, uint32_t hash)
{
    uint32_t id = net->free_head;
    uint64_t words[3];

    if (id != CONN_NONE)
        net->free_head = net->conns[id].link;
    else if (net->conns_fresh < net->config.limits.conns_max)
        id = net->conns_fresh++;
    else
        return NULL;
    struct net_conn *c = &net->conns[id];
    memset(c, 0, sizeof *c);
    c->key = *key;
    memcpy(words, key, sizeof words);
    c->ts_offset = (uint32_t)siphash_words(net->key_timestamp, words, 3, 2, 4);
    c->ssthresh = UINT32_MAX;
    c->last_rx_ms = net->now_ms;
    flow_insert(&net->flows, hash, id);
    net->conn_count++;
    return c;
}

void
conn_remove(struct net *net, struct net_conn *c)
{
    CHECK(c->state != TCP_CLOSED);
    flow_remove(&net->flows, flow_key_hash(&c->key, net->key_flow), conn_id(net, c));
    if (c->flags & F_WHEEL)
        wheel_remove(&net->wheel, conn_id(net, c));
    if (c->flags & F_PARKED)
        neighbour_unpark(net, c);
    if (c->state == TCP_SYN_RCVD)
        net->half_open--;
    tcp_queue_trim(net, c, c->tx_end);
    tcp_receive_free(net, c);
    c->state = TCP_CLOSED;
    c->flags &= F_DIRTY;
    net->conn_count--;
    c->link = net->dead_head;
    net->dead_head = conn_id(net, c);
}

void
tcp_drop(struct net *net, struct net_conn *c, enum net_closed reason)
{
    bool told = c->flags & F_ACCEPTED;
    conn_remove(net, c);
    if (reason == NET_CLOSED_TIMEOUT || reason == NET_CLOSED_KEEPALIVE)
        net->counters.closed_timeout++;
    else if (reason == NET_CLOSED_RESET)
        net->counters.closed_reset++;
    if (told)
        net->config.callbacks.on_closed(c->user, c, reason);
}

void
tcp_time_wait(struct net *net, struct net_conn *c)
{
    net->counters.closed_orderly++;
    bool ts = c->flags & F_TS;
    CHECK(!(c->flags & F_ACCEPTED)); /* only net_close() sends a FIN, and it ends the callbacks */
    if (c->flags & F_ACK_NOW)
        tcp_send_ack(net, c); /* of the peer's FIN, if it came in this turn */
    conn_remove(net, c);
    timewait_add(net, c, ts);
}

void
net_close(struct net *net, struct net_conn *c)
{
    switch (c->state) {
    case TCP_ESTABLISHED:
    case TCP_CLOSE_WAIT:
        /*
         * RFC 1122 4.2.2.13, RFC 2525 2.17: bytes the application never saw are not acknowledged by
         * a FIN.
         */
        if (c->extra && c->extra->unread) {
            net_abort(net, c);
            return;
        }
        c->state = c->state == TCP_ESTABLISHED ? TCP_FIN_WAIT_1 : TCP_LAST_ACK;
        c->flags |= F_FIN_QUEUED;
        c->flags &= ~(F_ACCEPTED | F_PAUSED | F_RESUME | F_WANT_WRITABLE | F_SLOW);
        c->user = NULL;
        tcp_dirty(net, c);
        break;
    case TCP_SYN_SENT:
        conn_remove(net, c);
        break;
    case TCP_SYN_RCVD:
        net_abort(net, c);
        break;
    default:
        break; /* gone, or closed before */
    }
}

void
net_shutdown(struct net *net, struct net_conn *c)
{
    if (c->state == TCP_ESTABLISHED || c->state == TCP_CLOSE_WAIT) {
        tcp_unread_free(net, c);
        c->flags |= F_DISCARD;
    }
    net_close(net, c);
}

void
net_abort(struct net *net, struct net_conn *c)
{
    if (c->state == TCP_CLOSED)
        return;
    if (c->state != TCP_SYN_SENT)
        tcp_send_rst(net, c);
    net->counters.closed_aborted++;
    conn_remove(net, c);
}

void
net_conn_peer(const struct net_conn *c, struct net_addr *addr, uint16_t *port)
{
    if (addr)
        memcpy(addr->bytes, c->key.remote, 16);
    if (port)
        *port = __builtin_bswap16(c->key.remote_port);
}

void net_conn_local(const struct net *net, const struct net_conn *c, struct net_addr *addr,
                    uint16_t *port)
{
    if (addr)
        *addr = net->config.interfaces[c->key.local].addr;
    if (port)
        *port = __builtin_bswap16(c->key.local_port);
}

void *
net_conn_user(const struct net_conn *c)
{
    return c->user;
}

void
net_conn_set_user(struct net_conn *c, void *user)
{
    c->user = user;
}

uint32_t
net_conn_rtt_us(const struct net_conn *c)
{
    return c->srtt_us8 / 8;
}
