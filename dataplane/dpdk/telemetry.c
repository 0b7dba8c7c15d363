/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What dpdk-telemetry shows below /sengi. The handlers run in DPDK's telemetry thread and read
 * counters that the cores go on writing: each number is right at some moment, sums are not of one
 * instant.
 */
#include "dataplane/dpdk/station.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <rte_telemetry.h>

#include "client/wire/opcodes.h"
#include "dataplane/core.h"

/*
 * Held while a handler runs, so that telemetry_close() returns when none looks at the stations any
 * more.
 */
static pthread_mutex_t shown_lock = PTHREAD_MUTEX_INITIALIZER;
static struct station *shown;
static unsigned shown_count;

static uint64_t read_relaxed(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add(struct rte_tel_data *d, const char *name, uint64_t value)
{
    (void)rte_tel_data_add_dict_u64(d, name, value); /* full: the reply is cut short */
}

/* The station a parameter names, or NULL: none given or no such core. */
static struct station *station_of(const char *params)
{
    char *end;
    if (!params || !*params)
        return NULL;
    unsigned long index = strtoul(params, &end, 10);
    return *end == 0 && index < shown_count ? &shown[index] : NULL;
}

static void add_core(struct rte_tel_data *d, struct station *s)
{
    const struct core_stats *stats = &s->core->stats;
    struct lane_counters *lane = lane_counters(s->lane);
    add(d, "core", s->index);
    add(d, "connections", read_relaxed(&stats->connections));
    add(d, "requests", read_relaxed(&stats->received));
    add(d, "replies", read_relaxed(&stats->sent));
    add(d, "watches", read_relaxed(&stats->watches));
    add(d, "link_up", atomic_load_explicit(&s->dev->link_up, memory_order_relaxed));
    add(d, "link_changes", read_relaxed(&s->dev->link_changes));
#define X(name, text) add(d, #name, read_relaxed(&lane->name));
    LANE_COUNTERS(X)
#undef X
}

/* Without a parameter the numbers of the cores, with one everything about that core. */
static int show_cores(const char *params, struct rte_tel_data *d)
{
    if (params && *params) {
        struct station *s = station_of(params);
        if (!s)
            return -1;
        rte_tel_data_start_dict(d);
        add_core(d, s);
        return 0;
    }
    rte_tel_data_start_array(d, RTE_TEL_INT_VAL);
    for (unsigned i = 0; i < shown_count; i++)
        (void)rte_tel_data_add_array_int(d, (int)i); /* full: the reply is cut short */
    return 0;
}

/* Stations that a request is about: the one it names, or all. @return false: no such core. */
static bool range(const char *params, unsigned *from, unsigned *to)
{
    *from = 0;
    *to = shown_count;
    if (!params || !*params)
        return true;
    struct station *s = station_of(params);
    if (s) {
        *from = s->index;
        *to = s->index + 1;
    }
    return s != NULL;
}

static int show_tcp(const char *params, struct rte_tel_data *d)
{
    struct net_counters sum = {0};
    unsigned from, to;
    if (!range(params, &from, &to))
        return -1;
    for (unsigned i = from; i < to; i++) {
        const struct station_tcp *c = &shown[i].tcp;
#define X(name, text) sum.name += read_relaxed(&c->name);
        NET_COUNTERS(X)
#undef X
    }
    rte_tel_data_start_dict(d);
#define X(name, text) add(d, #name, sum.name);
    NET_COUNTERS(X)
#undef X
    return 0;
}

static int show_operations(const char *params, struct rte_tel_data *d)
{
    unsigned from, to;
    if (!range(params, &from, &to))
        return -1;
    rte_tel_data_start_dict(d);
    for (enum opcode_index op = 0; op < OPX_COUNT; op++) {
        uint64_t sum = 0;
        for (unsigned i = from; i < to; i++)
            sum += read_relaxed(&shown[i].core->stats.ops[op]);
        add(d, opcode_at(op)->name, sum);
    }
    return 0;
}

static int answer(const char *command, const char *params, struct rte_tel_data *d)
{
    pthread_mutex_lock(&shown_lock);
    int result = strcmp(command, "/sengi/cores") == 0 ? show_cores(params, d)
                 : strcmp(command, "/sengi/tcp") == 0 ? show_tcp(params, d)
                                                      : show_operations(params, d);
    pthread_mutex_unlock(&shown_lock);
    return result;
}

static void show(struct station *stations, unsigned count)
{
    pthread_mutex_lock(&shown_lock);
    shown = stations;
    shown_count = count;
    pthread_mutex_unlock(&shown_lock);
}

void telemetry_open(struct station *stations, unsigned count)
{
    show(stations, count);
    /*
     * Fails only if a name is taken or telemetry is off (--no-telemetry): then there is nothing to
     * show.
     */
    (void)rte_telemetry_register_cmd("/sengi/cores", answer,
                                     "Cores at the port. Parameter: a core, for its counters");
    (void)rte_telemetry_register_cmd("/sengi/tcp", answer,
                                     "TCP and IP counters, of all cores or of one (parameter)");
    (void)rte_telemetry_register_cmd(
        "/sengi/operations", answer,
        "Requests served by opcode, of all cores or of one (parameter)");
}

void telemetry_close(void)
{
    show(NULL, 0);
}
