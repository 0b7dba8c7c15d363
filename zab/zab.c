/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "zab/zab.h"

#include <string.h>

#include "client/wire/check.h"

struct zab {
    struct zab_config config;
    enum zab_state state;
    zxid_t proposed, persisted, committed; /* Z1 */
    uint32_t window_count, window_first;   /* the oldest open proposal is entries[window_first] */
    uint64_t window_bytes;
    uint32_t stalled_ticks;
    uint32_t entries[]; /* bytes of each open proposal, a ring of window_proposals_max */
};

const char *zab_error_text(int error)
{
    switch (error) {
#define X(name, value, text) \
    case value:              \
        return text;
        ZAB_ERRORS(X)
#undef X
    }
    return "unknown error";
}

static bool config_valid(const struct zab_config *config)
{
    return config->window_proposals_max >= 1 &&
           config->window_proposals_max <= ZAB_WINDOW_PROPOSALS_MAX &&
           config->window_bytes_max >= 1;
}

size_t zab_bytes(const struct zab_config *config)
{
    CHECK(config_valid(config));
    return sizeof(struct zab) + config->window_proposals_max * sizeof(uint32_t);
}

struct zab *zab_init(void *memory, const struct zab_config *config)
{
    struct zab *z = memory;
    memset(z, 0, zab_bytes(config));
    z->config = *config;
    z->state = ZAB_LOOKING;
    zab_check(z);
    return z;
}

zxid_t zab_next_zxid(const struct zab *z)
{
    CHECK(z->state == ZAB_LEADING && z->proposed < INT64_MAX);
    return z->proposed + 1;
}

int zab_can_propose(const struct zab *z, uint32_t entry_bytes)
{
    CHECK(z->state != ZAB_LOOKING);
    if (z->state == ZAB_FAILED)
        return ZAB_EFAILED;
    /* The last number stays unused, so that "next" can always be said. */
    if (z->proposed >= INT64_MAX - 1)
        return ZAB_EZXID;
    if (z->window_count == 0)
        return 0; /* One proposal always fits, or a large one would wait for ever. */
    if (z->window_count == z->config.window_proposals_max)
        return ZAB_BUSY;
    return entry_bytes > z->config.window_bytes_max - z->window_bytes ||
                   z->window_bytes > z->config.window_bytes_max
               ? ZAB_BUSY
               : 0;
}

static uint32_t *window_entry(struct zab *z, uint32_t place)
{
    CHECK(place < z->config.window_proposals_max);
    return &z->entries[(z->window_first + place) % z->config.window_proposals_max];
}

/* The newest zxid that a quorum has on stable storage: alone, what this server's log has. */
static zxid_t quorum_persisted(const struct zab *z)
{
    CHECK(z->persisted <= z->proposed);
    return z->persisted;
}

static void commit_advance(struct zab *z)
{
    zxid_t upto = quorum_persisted(z);
    CHECK(upto >= z->committed);
    while (z->committed < upto) {
        CHECK(z->window_count > 0);
        z->window_bytes -= *window_entry(z, 0);
        z->window_first = (z->window_first + 1) % z->config.window_proposals_max;
        z->window_count--;
        z->committed++;
    }
}

static int on_start(struct zab *z, zxid_t last_zxid)
{
    CHECK(z->state == ZAB_LOOKING);
    if (last_zxid < 0 || last_zxid >= INT64_MAX - 1)
        return ZAB_EZXID;
    z->proposed = z->persisted = z->committed = last_zxid;
    z->state = ZAB_LEADING; /* its own vote is the quorum */
    return 0;
}

static int on_propose(struct zab *z, zxid_t zxid, uint32_t entry_bytes, struct zab_ready *ready)
{
    int error = zab_can_propose(z, entry_bytes);
    if (error)
        return error;
    CHECK(zxid == zab_next_zxid(z));
    *window_entry(z, z->window_count) = entry_bytes;
    if (z->window_count++ == 0)
        z->stalled_ticks = 0;
    z->window_bytes += entry_bytes;
    z->proposed = zxid;
    ready->append_from = ready->append_to = zxid;
    return 0;
}

static void on_persisted(struct zab *z, zxid_t zxid)
{
    CHECK(z->state != ZAB_LOOKING);
    CHECK(zxid <= z->proposed);
    if (z->state == ZAB_FAILED || zxid <= z->persisted)
        return;
    z->persisted = zxid;
    z->stalled_ticks = 0;
    commit_advance(z);
}

static void on_tick(struct zab *z)
{
    CHECK(z->state != ZAB_LOOKING);
    CHECK(z->window_count > 0 || z->stalled_ticks == 0);
    if (z->window_count > 0 && z->stalled_ticks < UINT32_MAX)
        z->stalled_ticks++;
}

static void on_persist_failed(struct zab *z)
{
    CHECK(z->state != ZAB_LOOKING);
    z->state = ZAB_FAILED;
}

int zab_step(struct zab *z, const struct zab_event *event, struct zab_ready *ready)
{
    int error = 0;
    zab_check(z);
    *ready = (struct zab_ready){.append_from = 1, .append_to = 0};
    switch (event->kind) {
    case ZAB_START:
        error = on_start(z, event->start.last_zxid);
        break;
    case ZAB_PROPOSE:
        error = on_propose(z, event->propose.zxid, event->propose.entry.size, ready);
        break;
    case ZAB_PERSISTED:
        on_persisted(z, event->persisted.zxid);
        break;
    case ZAB_PERSIST_FAILED:
        on_persist_failed(z);
        break;
    case ZAB_TICK:
        on_tick(z);
        break;
    }
    ready->state = z->state;
    ready->commit = z->committed;
    ready->stalled_ticks = z->stalled_ticks;
    zab_check(z);
    return error;
}

void zab_status(const struct zab *z, struct zab_status *status)
{
    *status = (struct zab_status){.state = z->state,
                                  .proposed = z->proposed,
                                  .persisted = z->persisted,
                                  .committed = z->committed,
                                  .window_proposals = z->window_count,
                                  .window_bytes = z->window_bytes};
}

void zab_check(const struct zab *z)
{
    CHECK(config_valid(&z->config));
    CHECK(0 <= z->committed && z->committed <= z->persisted && z->persisted <= z->proposed);
    CHECK(z->committed == quorum_persisted(z));
    CHECK((zxid_t)z->window_count == z->proposed - z->committed);
    CHECK(z->window_count <= z->config.window_proposals_max &&
          z->window_first < z->config.window_proposals_max);
    CHECK(z->window_count <= 1 || z->window_bytes <= z->config.window_bytes_max);
    CHECK(z->window_count > 0 || (z->window_bytes == 0 && z->stalled_ticks == 0));
    CHECK(z->state != ZAB_LOOKING || z->proposed == 0);
#ifdef SENGI_CHECK_SLOW
    uint64_t sum = 0;
    for (uint32_t i = 0; i < z->window_count; i++)
        sum += z->entries[(z->window_first + i) % z->config.window_proposals_max];
    CHECK(sum == z->window_bytes);
#endif
}
