/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/metrics.h"

#include <dirent.h>
#include <sys/resource.h>

#include "dataplane/control.h"
#include "dataplane/server.h"

static int64_t load(const _Atomic uint64_t *counter)
{
    return (int64_t)atomic_load_explicit(counter, memory_order_relaxed);
}

static void add_latency(struct server_stats *out, const struct core_stats *s)
{
    int64_t count = load(&s->latency_count);
    int64_t min = load(&s->latency_ms_min), max = load(&s->latency_ms_max);
    if (count == 0)
        return;
    if (out->latency_count == 0 || min < out->latency_min_ms)
        out->latency_min_ms = min;
    if (max > out->latency_max_ms)
        out->latency_max_ms = max;
    out->latency_count += count;
    out->latency_sum_ms += load(&s->latency_ms_sum);
}

void metrics_server(const struct server *server, struct server_stats *out)
{
    *out = (struct server_stats){.mode = "standalone",
                                 .proposal_size_last = -1,
                                 .proposal_size_min = -1,
                                 .proposal_size_max = -1};
    for (unsigned i = 0; i < server->core_count; i++) {
        const struct core_stats *s = &server->cores[i]->stats;
        add_latency(out, s);
        out->packets_received += load(&s->received);
        out->packets_sent += load(&s->sent);
        out->connections += load(&s->connections);
        out->outstanding += load(&s->outstanding);
    }
    out->zxid = store_visible(server->store);
    out->node_count = load(&server->nodes) + 1; /* ZooKeeper's map holds the root twice */
}

static void add_core(struct mntr_stats *m, const struct core_stats *s)
{
    m->watches += load(&s->watches);
    m->auth_failed += load(&s->auth_failed);
    m->connections_rejected += load(&s->connections_rejected);
    m->bytes_received += load(&s->bytes_received);
    m->response_bytes += load(&s->bytes_sent);
    m->watch_bytes += load(&s->watch_bytes);
    m->sessionless_connections_expired += load(&s->sessionless_expired);
    int64_t last = atomic_load_explicit(&s->response_bytes_last, memory_order_relaxed);
    int64_t min = atomic_load_explicit(&s->response_bytes_min, memory_order_relaxed);
    int64_t max = atomic_load_explicit(&s->response_bytes_max, memory_order_relaxed);
    if (last < 0)
        return;
    m->response_size_last = last;
    m->response_size_max = max > m->response_size_max ? max : m->response_size_max;
    if (m->response_size_min < 0 || min < m->response_size_min)
        m->response_size_min = min;
}

static void zero_sums(struct mntr_stats *m)
{
    m->watches = m->auth_failed = m->connections_rejected = 0;
    m->bytes_received = m->response_bytes = m->sessionless_connections_expired = 0;
    m->watch_bytes = 0;
    m->response_size_last = m->response_size_min = m->response_size_max = -1;
}

static void files(struct mntr_stats *m)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        m->open_files_max = (int64_t)limit.rlim_cur;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return;
    m->open_files = -3; /* ".", ".." and the listing's own */
    while (readdir(dir))
        m->open_files++;
    closedir(dir);
}

static struct mntr_summary summary(const struct control_times *t)
{
    return (struct mntr_summary){atomic_load_explicit(&t->count, memory_order_relaxed),
                                 atomic_load_explicit(&t->sum, memory_order_relaxed),
                                 atomic_load_explicit(&t->min, memory_order_relaxed),
                                 atomic_load_explicit(&t->max, memory_order_relaxed)};
}

void metrics_mntr(const struct server *server, struct mntr_stats *m)
{
    words_mntr_init(m);
    metrics_server(server, &m->server);
    zero_sums(m);
    for (unsigned i = 0; i < server->core_count; i++)
        add_core(m, &server->cores[i]->stats);
    const struct control *c = server->control;
    m->uptime_ms = (int64_t)(server_now_us() / 1000 - server->start_ms);
    m->ephemerals = load(&server->ephemerals);
    m->approximate_data_size_bytes = load(&server->data_bytes);
    m->global_sessions = load(&server->sessions);
    m->local_sessions = 0;
    m->commits = load(&c->commits);
    m->proposals = m->syncs_queued = load(&c->proposals);
    m->digest_mismatches = (int64_t)c->digests.mismatches;
    m->snapshot_errors = load(&c->snapshots_failed);
    m->stale_sessions_expired = load(&c->sessions_expired);
    m->connection_requests = load(&c->connection_requests);
    m->connections_revalidated = load(&c->revalidated);
    m->fsync_ms = summary(&c->fsync_ms);
    m->snapshot_ms = summary(&c->snapshot_ms);
    files(m);
}
