/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/load.h"

#include "client/wire/check.h"

#define ROUND_NS_MAX (60ull * 1000000000u)
#define WRITER 0u /* connection 0 writes, 1 .. watchers watch */

struct flood {
    struct swarm *swarm;
    struct load_result *result;
    uint32_t watchers, armed, fired;
    uint64_t set_ns, last_event_ns;
    bool set_answered, measuring;
    int32_t error;
};

static void flood_on_reply(void *context, const struct swarm_reply *r)
{
    struct flood *f = context;
    if (r->reply.error)
        f->error = r->reply.error;
    if (r->op == BENCH_SET)
        f->set_answered = true;
    else
        f->armed++;
}

static void flood_on_event(void *context, uint32_t connection, uint64_t now_ns)
{
    struct flood *f = context;
    (void)connection; /* all watch the same znode */
    f->fired++;
    f->last_event_ns = now_ns;
    if (f->measuring)
        histogram_record(f->result->latency, now_ns - f->set_ns);
}

static int flood_wait(struct flood *f, const uint32_t *counter, uint32_t goal, char *error)
{
    uint64_t end_ns = clock_ns() + ROUND_NS_MAX;
    while (*counter < goal || (counter == &f->fired && !f->set_answered)) {
        if (swarm_poll(f->swarm, 100) < 0)
            return load_fail(error, "watch: %s", swarm_error(f->swarm));
        if (f->error)
            return load_fail(error, "watch: error %d (%s)", f->error, zk_error_text(f->error));
        if (clock_ns() > end_ns || load_stop)
            return load_fail(error, "watch: stopped at %u of %u", *counter, goal);
    }
    return 0;
}

/* Arm all, write once, wait for all events. */
static int flood_round(struct flood *f, char *error)
{
    f->armed = f->fired = 0;
    f->set_answered = false;
    for (uint32_t i = 1; i <= f->watchers; i++)
        CHECK(swarm_submit(f->swarm, i, BENCH_GET_WATCH, 0, clock_ns()));
    if (flood_wait(f, &f->armed, f->watchers, error) < 0)
        return -1;
    f->set_ns = clock_ns();
    CHECK(swarm_submit(f->swarm, WRITER, BENCH_SET, 0, f->set_ns));
    if (flood_wait(f, &f->fired, f->watchers, error) < 0)
        return -1;
    if (f->fired != f->watchers)
        return load_fail(error, "watch: %u events for %u watches", f->fired, f->watchers);
    if (f->measuring) {
        f->result->rounds++;
        f->result->events += f->fired;
        f->result->replies += f->watchers + 1;
        f->result->delivering_s += (double)(f->last_event_ns - f->set_ns) / 1e9;
    }
    return 0;
}

int load_watch(const struct load_options *o, struct load_result *out, char *error)
{
    struct flood f = {.result = out, .watchers = o->connections};
    struct swarm_config config = {
        .protocol = o->protocol,
        .keys = &o->keyspace,
        .address = o->address,
        .address_bytes = o->address_bytes,
        .connections = o->connections + 1,
        .depth = 1,
        .spin = o->spin,
        .on_reply = flood_on_reply,
        .on_event = flood_on_event,
        .context = &f,
    };
    f.swarm = swarm_open(&config, error);
    if (!f.swarm)
        return -1;
    int rc = 0;
    uint64_t warm_end_ns = clock_ns() + (uint64_t)(o->warmup_s * 1e9);
    while (rc == 0 && clock_ns() < warm_end_ns && !load_stop)
        rc = flood_round(&f, error);
    f.measuring = true;
    uint64_t idle_before_ns = swarm_idle_ns(f.swarm);
    struct load_account account = load_account_begin(o->server_pid);
    uint64_t end_ns = account.start_ns + (uint64_t)(o->window_s * 1e9);
    while (rc == 0 && clock_ns() < end_ns && !load_stop
           && (o->count_max == 0 || out->rounds < o->count_max))
        rc = flood_round(&f, error);
    load_account_end(&account, o->server_pid, out);
    load_note_idle(out, swarm_idle_ns(f.swarm) - idle_before_ns);
    if (load_stop && out->rounds > 0)
        rc = 0; /* stopped by hand inside a round: report the whole ones */
    swarm_close(f.swarm);
    return rc;
}
