/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * net_check(): the invariants of net.h and tcp.h as code, over every connection. For tests.
 */
#include "dataplane/net/instance.h"

static uint64_t
queue_check(const struct net_conn *c)
{
    uint64_t chunks = 0;
    if (c->state <= TCP_SYN_RCVD) {
        CHECK(!c->tx_head && c->snd_nxt == c->snd_una + 1);
        return 0;
    }
    uint32_t fin = (c->flags & F_FIN_SENT) != 0;
    CHECK(seq_upto(c->snd_una, c->snd_nxt) && seq_upto(c->snd_nxt, c->tx_end + fin));
    uint32_t at = seq_min(c->snd_una, c->tx_end);
    for (const struct chunk *k = c->tx_head; k; k = k->next, chunks++) {
        CHECK(seq_upto(k->seq, at) && seq_before(at, k->seq + k->end));
        CHECK(k->next || k == c->tx_head || k == c->tx_tail);
        CHECK(!(c->flags & F_LONE) || (k->start == CHUNK_IS_SMALL && !k->next));
        at = k->seq + k->end;
    }
    CHECK(at == c->tx_end);
    return chunks;
}

static uint64_t
extra_check(const struct net_conn *c, uint64_t *ooo)
{
    const struct tcp_extra *e = c->extra;
    uint32_t chunks = 0, unread = 0, n = 0;
    if (!e)
        return 0;
    for (const struct chunk *k = e->ooo; k; k = k->next, chunks++) {
        CHECK(k->start < k->end && seq_before(c->rcv_nxt, k->seq + k->end));
        CHECK(!k->next || seq_upto(k->seq + k->end, k->next->seq + k->next->start));
        CHECK(seq_upto(k->seq + k->end, c->rcv_adv));
    }
    CHECK(chunks == e->ooo_chunks);
    for (const struct chunk *k = e->unread; k; k = k->next, n++)
        unread += (uint32_t)(k->end - k->start);
    CHECK(unread == e->unread_bytes);
    for (unsigned i = 0; i < e->sacked_count; i++) {
        CHECK(seq_before(e->sacked[i].start, e->sacked[i].end));
        CHECK(seq_before(i ? e->sacked[i - 1].end : c->snd_una, e->sacked[i].start));
        CHECK(seq_upto(e->sacked[i].end, c->snd_nxt));
    }
    *ooo += chunks;
    return chunks + n;
}

static void
deadline_check(const struct net *net, const struct net_conn *c)
{
    bool owed = c->flags & (F_DIRTY | F_PARKED);
    bool outstanding = c->snd_una != c->snd_nxt;
    CHECK(c->rtx == RTX_NONE || (c->flags & F_WHEEL));
    CHECK(!outstanding || c->rtx != RTX_NONE || owed);
    CHECK(!(c->flags & F_SLOW) || (c->flags & F_WHEEL));
    CHECK((c->flags & (F_ACK_DELAYED | F_ACK_NOW)) != F_ACK_DELAYED || (c->flags & F_WHEEL) ||
          owed);
    CHECK(!(c->flags & F_ACK_TIMED) || (c->flags & F_ACK_DELAYED));
    if (c->rtx != RTX_NONE)
        CHECK((int32_t)(c->rtx_due - c->wheel_due) >= 0);
    CHECK(!(c->flags & F_WHEEL) || (int32_t)(c->wheel_due - net->wheel.now) > 0);
}

static void
conn_check(const struct net *net, const struct net_conn *c)
{
    uint32_t hash = flow_key_hash(&c->key, net->key_flow);
    CHECK(net_find(net, &c->key, hash) == conn_id(net, c));
    CHECK(c->mss >= TCP_MSS_MIN - 12 && c->cwnd < 1u << 30);
    CHECK(!(c->flags & F_RECOVERY) || !(c->flags & F_LOSS));
    CHECK(!c->user || (c->flags & F_ACCEPTED));
    CHECK(!(c->flags & F_LONE) || c->tx_head);
    if (c->state >= TCP_ESTABLISHED)
        CHECK(seq_upto(c->rcv_nxt, c->rcv_adv + 1) && c->cwnd >= TCP_MSS_MIN - 12u);
    deadline_check(net, c);
}

void
net_check(const struct net *net)
{
    uint32_t live = 0, half_open = 0, timers = 0, dirty = 0;
    uint64_t chunks = 0, ooo = 0, extras = 0;

    for (uint32_t i = 0; i < net->conns_fresh; i++) {
        const struct net_conn *c = &net->conns[i];
        dirty += (c->flags & F_DIRTY) != 0;
        if (c->state == TCP_CLOSED)
            continue;
        live++;
        half_open += c->state == TCP_SYN_RCVD;
        timers += (c->flags & F_WHEEL) != 0;
        extras += c->extra != NULL;
        conn_check(net, c);
        chunks += queue_check(c) + extra_check(c, &ooo);
    }
    for (const struct chunk *k = net->graveyard; k; k = k->next)
        chunks++;
    CHECK(live == net->conn_count && half_open == net->half_open && timers == net->wheel.count);
    CHECK(chunks == net->chunks.used + net->small_chunks.used);
    CHECK(ooo == net->ooo_chunks && extras == net->extras.used);
    CHECK(net->flows.count == live + timewait_count(net));
    CHECK(dirty == net->dirty_tail - net->dirty_head);
}
