/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/report.h"

#include <inttypes.h>

static const struct {
    const char *name;
    double quantile;
} quantiles[] = {
    {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99_9", 0.999}, {"p99_99", 0.9999},
};
#define QUANTILES (sizeof quantiles / sizeof *quantiles)

static double per(double amount, double of)
{
    return of > 0 ? amount / of : 0;
}

static double cpu_s(struct cputime c)
{
    return c.user_s + c.system_s;
}

/* What the workload counts: events for the flood, replies otherwise. */
static uint64_t operations(const struct bench_options *o, const struct load_result *r)
{
    return o->load.workload == WORKLOAD_WATCH ? r->events : r->replies;
}

static void text_latency(FILE *f, const char *title, const struct histogram *h)
{
    if (h->count == 0)
        return;
    fprintf(f, "  %-8s µs  min %.1f", title, (double)h->min_ns / 1e3);
    for (size_t i = 0; i < QUANTILES; i++)
        fprintf(f, "  %s %.1f", quantiles[i].name,
                (double)histogram_quantile(h, quantiles[i].quantile) / 1e3);
    fprintf(f, "  max %.1f  mean %.1f\n", (double)h->max_ns / 1e3,
            per((double)h->sum_ns, (double)h->count) / 1e3);
}

void report_text(FILE *f, const struct bench_options *o, const struct load_result *r)
{
    const struct load_options *l = &o->load;
    double ops = (double)operations(o, r);
    fprintf(f, "%s %s at %s: %u connections, %u outstanding, %u keys of %u bytes",
            l->protocol->name, workload_name(l->workload), o->server_name, l->connections,
            l->outstanding, l->keys, l->keyspace.value_bytes);
    if (l->write_percent)
        fprintf(f, ", %u %% writes", l->write_percent);
    fprintf(f, "\n  rate     %.0f /s  (%.0f in %.2f s)\n", per(ops, r->window_s), ops, r->window_s);
    if (l->workload == WORKLOAD_WATCH)
        fprintf(f, "  events   %.0f /s while delivering  (%" PRIu64 " rounds, %.3f ms each)\n",
                per(ops, r->delivering_s), r->rounds,
                per(r->delivering_s, (double)r->rounds) * 1e3);
    bool flood = l->workload == WORKLOAD_WATCH;
    text_latency(f, flood ? "event" : "read", r->latency);
    text_latency(f, "write", r->latency_writes);
    if (r->server_cpu_known)
        fprintf(f,
                "  server   %.2f CPU-s (user %.2f, system %.2f), %.0f %% busy, %.0f operations per "
                "CPU-second\n",
                cpu_s(r->server_cpu), r->server_cpu.user_s, r->server_cpu.system_s,
                100 * per(cpu_s(r->server_cpu), r->window_s), per(ops, cpu_s(r->server_cpu)));
    fprintf(f, "  self     %.2f CPU-s, %.0f %% busy; steal %.2f s, others %.2f CPU-s\n",
            cpu_s(r->own_cpu), 100 * per(cpu_s(r->own_cpu), r->window_s), r->steal_s, r->others_s);
    if (r->errors)
        fprintf(f, "  ERRORS   %" PRIu64 " replies, the first with code %d\n", r->errors,
                r->first_error);
}

static void json_latency(FILE *f, const char *name, const struct histogram *h)
{
    fprintf(f,
            ",\"%s\":{\"count\":%" PRIu64 ",\"min_ns\":%" PRIu64
            ",\"mean_ns\":%.1f,\"max_ns\":%" PRIu64,
            name, h->count, h->min_ns, per((double)h->sum_ns, (double)h->count), h->max_ns);
    for (size_t i = 0; i < QUANTILES; i++)
        fprintf(f, ",\"%s_ns\":%" PRIu64, quantiles[i].name,
                histogram_quantile(h, quantiles[i].quantile));
    fputc('}', f);
}

void report_json(FILE *f, const struct bench_options *o, const struct load_result *r)
{
    const struct load_options *l = &o->load;
    double ops = (double)operations(o, r);
    fprintf(f,
            "{\"protocol\":\"%s\",\"workload\":\"%s\",\"connections\":%u,\"outstanding\":%u,"
            "\"keys\":%u",
            l->protocol->name, workload_name(l->workload), l->connections, l->outstanding, l->keys);
    fprintf(f, ",\"value_bytes\":%u,\"write_percent\":%u,\"threads\":%u,\"window_s\":%.6f",
            l->keyspace.value_bytes, l->write_percent, l->threads, r->window_s);
    fprintf(f, ",\"operations\":%.0f,\"rate_per_s\":%.1f,\"errors\":%" PRIu64 ",\"first_error\":%d",
            ops, per(ops, r->window_s), r->errors, r->first_error);
    fprintf(f, ",\"reads_per_s\":%.1f,\"writes_per_s\":%.1f",
            per((double)r->latency->count, r->window_s),
            per((double)r->latency_writes->count, r->window_s));
    if (l->workload == WORKLOAD_WATCH)
        fprintf(f, ",\"rounds\":%" PRIu64 ",\"delivering_s\":%.6f,\"events_per_s\":%.1f", r->rounds,
                r->delivering_s, per(ops, r->delivering_s));
    if (r->server_cpu_known)
        fprintf(
            f,
            ",\"server_user_s\":%.3f,\"server_system_s\":%.3f,\"operations_per_server_cpu_s\":%.1f",
            r->server_cpu.user_s, r->server_cpu.system_s, per(ops, cpu_s(r->server_cpu)));
    fprintf(f, ",\"self_cpu_s\":%.3f,\"steal_s\":%.3f,\"others_s\":%.3f", cpu_s(r->own_cpu),
            r->steal_s, r->others_s);
    json_latency(f, "latency", r->latency);
    json_latency(f, "latency_writes", r->latency_writes);
    fputs("}\n", f);
}
