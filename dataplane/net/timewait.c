/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * TIME-WAIT in 48-byte entries: a ring in order of expiry (all wait equally long), found through
 * the flow table. A full ring recycles its oldest entry early (counted).
 */
#include "dataplane/net/instance.h"

#include <stdlib.h>

struct timewait_entry {
    struct flow_key key;
    uint32_t rcv_nxt, snd_nxt;
    uint32_t ts_recent;
    uint32_t expires_ms;
    uint8_t mac[6];
    bool live, ts;
};
_Static_assert(sizeof(struct timewait_entry) == 48, "compact");

struct timewait {
    uint32_t size, head, used; /* entries [head, head + used) modulo size; some no longer live */
    uint32_t live;
    struct timewait_entry entries[];
};

int
timewait_init(struct net *net)
{
    uint32_t size = net->config.limits.time_wait_max;
    net->timewait = malloc(sizeof(struct timewait) + size * sizeof(struct timewait_entry));
    if (!net->timewait)
        return -1;
    net->timewait->size = size;
    net->timewait->head = net->timewait->used = net->timewait->live = 0;
    return 0;
}

void
timewait_destroy(struct net *net)
{
    free(net->timewait);
}

const struct flow_key *
timewait_key(const struct net *net, uint32_t index)
{
    return &net->timewait->entries[index].key;
}

static void
timewait_kill(struct net *net, struct timewait_entry *e)
{
    struct timewait *t = net->timewait;
    flow_remove(&net->flows, flow_key_hash(&e->key, net->key_flow),
                (uint32_t)(e - t->entries) | FLOW_TIME_WAIT);
    e->live = false;
    t->live--;
}

static void
timewait_pop(struct net *net)
{
    struct timewait *t = net->timewait;
    if (t->entries[t->head].live)
        timewait_kill(net, &t->entries[t->head]);
    t->head = (t->head + 1) % t->size;
    t->used--;
}

void
timewait_add(struct net *net, const struct net_conn *c, bool ts)
{
    struct timewait *t = net->timewait;
    if (t->used == t->size) {
        net->counters.time_wait_evicted += t->entries[t->head].live;
        timewait_pop(net);
    }
    uint32_t index = (t->head + t->used++) % t->size;
    struct timewait_entry *e = &t->entries[index];
    *e = (struct timewait_entry){
        .key = c->key,
        .rcv_nxt = c->rcv_nxt,
        .snd_nxt = c->snd_nxt,
        .ts_recent = c->ts_recent,
        .expires_ms = net->now_ms + net->config.times.time_wait_ms,
        .live = true,
        .ts = ts,
    };
    memcpy(e->mac, c->mac, 6);
    t->live++;
    flow_insert(&net->flows, flow_key_hash(&e->key, net->key_flow), index | FLOW_TIME_WAIT);
    net->counters.time_wait_entered++;
}

void
timewait_expire(struct net *net)
{
    struct timewait *t = net->timewait;
    while (t->used && (!t->entries[t->head].live ||
                       (int32_t)(net->now_ms - t->entries[t->head].expires_ms) >= 0))
        timewait_pop(net);
}

uint32_t
timewait_next_ms(const struct net *net)
{
    const struct timewait *t = net->timewait;
    if (!t->used)
        return UINT32_MAX;
    int32_t left = (int32_t)(t->entries[t->head].expires_ms - net->now_ms);
    return left > 0 ? (uint32_t)left : 0;
}

uint32_t
timewait_count(const struct net *net)
{
    return net->timewait->live;
}

static void
timewait_ack(struct net *net, const struct timewait_entry *e, const struct segment *seg)
{
    uint8_t options[TCP_OPTIONS_BYTES_MAX];
    uint64_t words[3];
    unsigned bytes = 0;

    if (e->ts) {
        memcpy(words, &e->key, sizeof words);
        uint32_t offset = (uint32_t)siphash_words(net->key_timestamp, words, 3, 2, 4);
        bytes = tcp_options_timestamp(options, net->now_ms + offset, e->ts_recent);
    }
    (void)tcp_send_bare(net, &(struct bare_segment){.key = &e->key, .mac = seg->frame + 6,
                                                    .seq = e->snd_nxt, .ack = e->rcv_nxt, .wnd = 0,
                                                    .flags = TCP_ACK, .options = options,
                                                    .options_bytes = bytes});
}

/* RFC 6191 section 2: a SYN that cannot be an old duplicate starts a new connection. */
static bool
timewait_reusable(const struct timewait_entry *e, const struct segment *seg)
{
    if ((seg->flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) != TCP_SYN)
        return false;
    if (e->ts && seg->has_ts && seg->tsval != e->ts_recent)
        return seq_before(e->ts_recent, seg->tsval);
    return seq_before(e->rcv_nxt, seg->seq);
}

void
timewait_input(struct net *net, uint32_t index, const struct segment *seg)
{
    struct timewait_entry *e = &net->timewait->entries[index];

    if (timewait_reusable(e, seg) && tcp_is_listening(net, seg->key.local_port)) {
        /*
         * RFC 9293 3.10.7.4 (TIME-WAIT): beyond what the old incarnation could still have in
         * flight.
         */
        uint32_t isn = e->snd_nxt + 65537;
        net->counters.time_wait_reused++;
        timewait_kill(net, e);
        tcp_accept_syn(net, seg, isn ? isn : 1);
        return;
    }
    /*
     * RFC 1337: a RST must not end the wait. An ACK without data needs no answer, and answering it
     * could loop.
     */
    if ((seg->flags & TCP_RST) || segment_len(seg) == 0)
        return;
    timewait_ack(net, e, seg);
}
