/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Removal of empty containers and expired TTL znodes (semantics.md section 14): candidates once per
 * interval, then one deleteContainer after another at the configured pace. Each is checked again
 * when it is prepared.
 */
#include "client/wire/check.h"
#include "dataplane/control.h"

/* Candidates of one round; the rest waits for the next. */
#define REAP_CANDIDATES_MAX 10000

static void reap_collect(struct control *c)
{
    const struct config *config = &c->server->config;
    c->reap_next_ms = (int64_t)c->now_ms + config->container_check_interval_ms;
    c->reap_paths.size = 0;
    c->reap_paths.failed = false;
    c->reap_at = 0;
    (void)tree_reap_candidates(c->tree, (int64_t)server_wall_ms(),
                               config->container_max_never_used_interval_ms, REAP_CANDIDATES_MAX,
                               &c->reap_paths);
    if (c->reap_paths.failed)
        c->reap_paths.size = 0;
}

static void reap_one(struct control *c)
{
    const uint8_t *path = c->reap_paths.data + c->reap_at;
    uint32_t size = 4 + be32_load(path);
    c->reap_at += size;
    struct op *op = op_new(OP_REAP, size);
    if (!op)
        return; /* found again in the next round */
    memcpy(op->body, path, size);
    control_take(c, op);
}

void control_reap(struct control *c)
{
    int64_t now_ms = (int64_t)c->now_ms;
    if (c->reap_at == c->reap_paths.size && now_ms >= c->reap_next_ms)
        reap_collect(c);
    int64_t pace_ms = 60000 / c->server->config.container_max_per_minute;
    if (c->reap_one_next_ms < now_ms - 1000)
        c->reap_one_next_ms = now_ms;
    while (c->reap_at < c->reap_paths.size && now_ms >= c->reap_one_next_ms) {
        reap_one(c);
        c->reap_one_next_ms += pace_ms;
        if (pace_ms == 0 && c->stalled.count)
            return;
    }
}

int64_t control_reap_next_ms(const struct control *c)
{
    return c->reap_at < c->reap_paths.size ? c->reap_one_next_ms : c->reap_next_ms;
}
