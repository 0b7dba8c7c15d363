/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <string.h>

#include "dataplane/words.h"

static const struct mntr_summary summary_unknown = {.count = WORDS_UNKNOWN};

void words_mntr_init(struct mntr_stats *m)
{
    memset(m, 0, sizeof *m);
    m->server.mode = "standalone";
#define X(field, key) m->field = WORDS_UNKNOWN;
    MNTR_NUMBERS(X)
#undef X
#define X(field, key) m->field = summary_unknown;
    MNTR_SUMMARIES(X)
#undef X
#define X(field, key) m->field.all = summary_unknown;
    MNTR_PERCENTILES(X)
#undef X
}

static void number_line(struct text_buffer *b, const char *key, int64_t number)
{
    if (number != WORDS_UNKNOWN)
        text_append(b, "zk_%s\t%lld\n", key, (long long)number);
}

static void double_line(struct text_buffer *b, const char *prefix, const char *key, double number)
{
    text_append(b, "zk_%s%s\t", prefix, key);
    text_append_double(b, number);
    text_append(b, "\n");
}

static void summary_lines(struct text_buffer *b, const char *key, const struct mntr_summary *s)
{
    if (s->count == WORDS_UNKNOWN)
        return;
    double_line(b, "avg_", key, s->count > 0 ? (double)s->sum / (double)s->count : 0);
    text_append(b, "zk_min_%s\t%lld\nzk_max_%s\t%lld\n", key, (long long)s->min, key,
                (long long)s->max);
    text_append(b, "zk_cnt_%s\t%lld\nzk_sum_%s\t%lld\n", key, (long long)s->count, key,
                (long long)s->sum);
}

static void percentile_lines(struct text_buffer *b, const char *key,
                             const struct mntr_percentiles *p)
{
    if (p->all.count == WORDS_UNKNOWN)
        return;
    summary_lines(b, key, &p->all);
    text_append(b, "zk_p50_%s\t%lld\nzk_p95_%s\t%lld\n", key, (long long)p->p50, key,
                (long long)p->p95);
    text_append(b, "zk_p99_%s\t%lld\nzk_p999_%s\t%lld\n", key, (long long)p->p99, key,
                (long long)p->p999);
}

static void server_gauges(struct text_buffer *b, const struct server_stats *s)
{
    double_line(b, "", "avg_latency",
                s->latency_count > 0 ? (double)s->latency_sum_ms / (double)s->latency_count : 0);
    number_line(b, "max_latency", s->latency_max_ms);
    number_line(b, "min_latency", s->latency_min_ms);
    number_line(b, "packets_received", s->packets_received);
    number_line(b, "packets_sent", s->packets_sent);
    number_line(b, "num_alive_connections", s->connections);
    number_line(b, "outstanding_requests", s->outstanding);
    number_line(b, "znode_count", s->node_count);
}

void words_format_mntr(struct text_buffer *b, const struct mntr_stats *m)
{
    text_append(b, "zk_version\t");
    words_append_version(b);
    text_append(b, "\nzk_server_state\t%s\n", m->server.mode);
    server_gauges(b, &m->server);
#define X(field, key) number_line(b, key, m->field);
    MNTR_NUMBERS(X)
#undef X
#define X(field, key) summary_lines(b, key, &m->field);
    MNTR_SUMMARIES(X)
#undef X
#define X(field, key) percentile_lines(b, key, &m->field);
    MNTR_PERCENTILES(X)
#undef X
#define X(key) number_line(b, key, 0);
    MNTR_ZEROS(X)
#undef X
    double_line(b, "", "connection_drop_probability", 0);
}
