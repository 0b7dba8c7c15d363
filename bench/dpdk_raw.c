/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <string.h>

#include "bench/dpdk_load.h"

#define LINK_NS_MAX (30ull * 1000000000u)
#define SILENCE_NS_MAX 1000000000u
#define ETHERTYPE_LOCAL 0x88b5 /* for local experiments: no stack takes it for its own */

struct raw {
    const struct dpdk_target *target;
    struct net_output output;
    struct load_result *out;
    uint16_t frame_bytes;
    bool measuring;
    uint64_t now_ns, heard_ns;
    uint32_t in_flight, outstanding;
};

static void raw_send(struct raw *r)
{
    void *frame;
    uint8_t *p = r->output.frame_alloc(r->output.ctx, r->frame_bytes, &frame);
    if (!p)
        return;
    memset(p, 0xff, 6); /* to whoever is at the other end */
    memcpy(p + 6, r->target->device->mac.addr_bytes, 6);
    p[12] = ETHERTYPE_LOCAL >> 8;
    p[13] = ETHERTYPE_LOCAL & 0xff;
    memset(p + 14, 0, r->frame_bytes - 14u);
    memcpy(p + 14, &r->now_ns, sizeof r->now_ns);
    r->output.frame_send(r->output.ctx, frame, r->frame_bytes, NULL);
    r->in_flight++;
}

static void raw_turn(struct raw *r)
{
    struct net_frame *frames;
    unsigned n = lane_receive(r->target->lane, &frames);
    r->now_ns = clock_ns();
    for (unsigned i = 0; i < n; i++) {
        uint64_t sent_ns;
        if (frames[i].len != r->frame_bytes || frames[i].data[12] != ETHERTYPE_LOCAL >> 8
            || frames[i].data[13] != (ETHERTYPE_LOCAL & 0xff))
            continue;
        memcpy(&sent_ns, frames[i].data + 14, sizeof sent_ns);
        if (r->in_flight)
            r->in_flight--;
        r->heard_ns = r->now_ns;
        if (r->measuring) {
            histogram_record(r->out->latency, r->now_ns - sent_ns);
            r->out->replies++;
        }
    }
    if (r->now_ns - r->heard_ns > SILENCE_NS_MAX) { /* all lost: a link that came up late */
        r->in_flight = 0;
        r->heard_ns = r->now_ns;
    }
    while (r->in_flight < r->outstanding) {
        uint32_t before = r->in_flight;
        raw_send(r);
        if (r->in_flight == before)
            break; /* no buffer now */
    }
    (void)lane_transmit(r->target->lane); /* what stays goes with the next turn */
    lane_release(r->target->lane);
    (void)device_check_link(r->target->device, r->now_ns / 1000);
}

int dpdk_raw_run(const struct load_options *o, const struct dpdk_target *target,
                 uint16_t frame_bytes, struct load_result *out, char *error)
{
    struct raw r = {.target = target,
                    .output = lane_output(target->lane),
                    .out = out,
                    .frame_bytes = frame_bytes,
                    .outstanding = o->outstanding,
                    .now_ns = clock_ns()};
    uint64_t link_end_ns = r.now_ns + LINK_NS_MAX;
    r.heard_ns = r.now_ns;
    while (!atomic_load_explicit(&target->device->link_up, memory_order_relaxed)) {
        (void)device_check_link(target->device, clock_ns() / 1000);
        if (clock_ns() > link_end_ns || load_stop)
            return load_fail(error, "the link stays down");
    }
    uint64_t warm_end_ns = clock_ns() + (uint64_t)(o->warmup_s * 1e9);
    while (r.now_ns < warm_end_ns && !load_stop)
        raw_turn(&r);
    struct load_account account = load_account_begin(o->server_pid);
    r.measuring = true;
    uint64_t end_ns = account.start_ns + (uint64_t)(o->window_s * 1e9);
    while (r.now_ns < end_ns && !load_stop)
        raw_turn(&r);
    load_account_end(&account, o->server_pid, out);
    if (out->replies == 0)
        return load_fail(error, "no frame came back");
    return 0;
}
