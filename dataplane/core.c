/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/core.h"

#include <stdlib.h>
#include <sys/eventfd.h>

#include "client/wire/check.h"
#include "dataplane/control.h"
#include "dataplane/server.h"

#define SWEEP_INTERVAL_MS 1000
#define FLUSH_PASSES_MAX 8
/* Bound of a scratch reply; also the largest multiRead reply. */
#define SCRATCH_BYTES_MAX MULTI_READ_REPLY_BYTES_MAX

struct core *core_create(struct server *server, uint16_t index)
{
    struct core *core = aligned_alloc(64, (sizeof *core + 63) / 64 * 64);
    if (!core)
        return NULL;
    memset(core, 0, sizeof *core);
    core->server = server;
    core->store = server->store;
    core->acls = store_acls(server->store);
    core->index_of_tree = store_index(server->store);
    core->secret = store_secret(server->store);
    static const int32_t quick[] = {OP_EXISTS, OP_GET_DATA, OP_GET_CHILDREN, OP_GET_CHILDREN2};
    for (size_t i = 0; i < sizeof quick / sizeof quick[0]; i++)
        core->quick_rows[quick[i]] = opcode_find(quick[i]);
    core->index = index;
    core->frame_bytes_max = server_frame_bytes_max(server);
    core->auth_enforced = server->config.enforce_auth_enabled;
    core->waker.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    core->watches = watch_table_create(NULL);
    op_list_init(&core->overflow);
    core->turn.response_min = INT64_MAX;
    buffer_init(&core->scratch, SCRATCH_BYTES_MAX);
    core->stats.response_bytes_last = core->stats.response_bytes_min =
        core->stats.response_bytes_max = -1;
    if (core->waker.fd < 0 || !core->watches ||
        ring_init(&core->to_control, CORE_RING_ENTRIES) != 0 ||
        ring_init(&core->from_control, CORE_RING_ENTRIES) != 0) {
        core_destroy(core);
        return NULL;
    }
    return core;
}

static void chunk_pool_free(struct chunk_pool *pool)
{
    while (pool->free) {
        struct out_chunk *next = pool->free->next;
        free(pool->free);
        pool->free = next;
    }
}

void core_destroy(struct core *core)
{
    if (!core)
        return;
    struct op *op;
    while ((op = op_list_pop(&core->overflow)))
        op_free(op);
    while (core->to_control.slots && (op = ring_pop(&core->to_control)))
        op_free(op); /* came when the control core had ended */
    if (core->watches)
        conn_destroy_all(core);
    for (size_t i = 0; i < AUTH_OF_PEERS; i++)
        if (core->auth_of_peers[i])
            auth_set_drop(core->auth_of_peers[i]);
    chunk_pool_free(&core->chunks);
    chunk_pool_free(&core->first_chunks);
    watch_table_destroy(core->watches);
    ring_free(&core->to_control);
    ring_free(&core->from_control);
    buffer_free(&core->scratch);
    if (core->waker.fd >= 0)
        close(core->waker.fd);
    free(core);
}

/* --- to the control core --- */

void core_submit(struct core *core, struct op *op)
{
    core->pushed = true;
    if (core->overflow.count || !ring_push(&core->to_control, op))
        op_list_push(&core->overflow, op); /* bounded: each connection's pending requests are */
}

static void core_push_overflow(struct core *core)
{
    while (core->overflow.head && ring_room(&core->to_control)) {
        bool pushed = ring_push(&core->to_control, op_list_pop(&core->overflow));
        CHECK(pushed);
        core->pushed = true;
    }
}

bool core_over_outstanding_limit(const struct core *core)
{
    const struct server *s = core->server;
    uint64_t limit = (uint64_t)s->config.global_outstanding_limit;
    uint64_t own = atomic_load_explicit(&core->stats.outstanding, memory_order_relaxed);
    if (own <= limit / s->core_count)
        return false; /* its share, whatever the others do: their counters are not looked at */
    uint64_t all = 0;
    for (unsigned i = 0; i < s->core_count; i++)
        all += atomic_load_explicit(&s->cores[i]->stats.outstanding, memory_order_relaxed);
    return all > limit;
}

/* --- from the control core --- */

struct delivery {
    struct core *core;
    zxid_t zxid;
};

/*
 * semantics.md section 12.5: who may not read the znode is not told, and its one-shot watch is gone
 * all the same.
 */
static void deliver(void *ctx, struct watch_owner *owner, enum watch_event_type type,
                    struct bytes path, uint32_t acl)
{
    struct delivery *d = ctx;
    struct conn *conn = (struct conn *)((char *)owner - offsetof(struct conn, watches));
    if (conn->state != CONN_ESTABLISHED || !serve_allowed(d->core, conn, acl, PERM_READ))
        return;
    stat_add(&d->core->stats.notifications[type], 1);
    serve_event(d->core, conn, d->zxid, type, path);
}

static void core_finish_op(struct core *core, struct op *op)
{
    if (op->kind == OP_STOP) {
        core->stopping = true;
        op_free(op);
    } else if (op->kind == OP_COLLECT) {
        word_collect(core, op);
        op->kind = OP_COLLECTED;
        core_submit(core, op);
    } else {
        conn_complete(core, op);
    }
}

/*
 * G3: events of txn z are queued before the reply of txn z, and both before anything that is read
 * at V >= z.
 */
static void core_walk_batch(struct core *core, struct batch *batch)
{
    struct op_list *ops = &batch->ops[core->index];
    bool watched = watch_counters(core->watches)->watches > 0;
    for (const struct tree_txn *txn = batch->txns; txn; txn = txn->next) {
        struct delivery d = {core, txn->zxid};
        for (uint32_t i = 0; watched && i < txn->change_count; i++)
            watch_fire(core->watches, &txn->changes[i], deliver, &d);
        while (ops->head && ops->head->zxid <= txn->zxid)
            core_finish_op(core, op_list_pop(ops));
    }
    struct op *op;
    while ((op = op_list_pop(ops)))
        core_finish_op(core, op);
}

static void core_drain(struct core *core)
{
    struct batch *batch;
    uint64_t last = 0;
    while ((batch = ring_peek(&core->from_control)) && batch->zxid <= core->visible) {
        (void)ring_pop(&core->from_control);
        core_walk_batch(core, batch);
        last = batch->sequence;
    }
    /* D0: pairs with D1 in control_retire(). Our last look at the batch and at everything that its
     * txns superseded is before this store. */
    if (last)
        atomic_store_explicit(&core->drained, last, memory_order_release);
}

/* --- the turn --- */

void core_begin_turn(struct core *core)
{
    core->now_us = server_now_us();
    core->now_ms = core->now_us / 1000;
    core->draining = server_stopping(core->server);
    core->visible = store_visible(core->store);
    core_drain(core);
    struct conn *conn;
    while ((conn = core->resume)) {
        core->resume = conn->later_next;
        conn->resume = false;
        if (conn->state != CONN_CLOSED)
            conn_resume(core, conn);
        else
            conn_free_later(core, conn);
    }
}

static void core_flush_dirty(struct core *core)
{
    struct conn *list = core->dirty, *conn;
    core->dirty = NULL;
    while ((conn = list)) {
        list = conn->dirty_next;
        conn->dirty = false;
        if (conn->state == CONN_CLOSED)
            continue;
        if (conn->cut) {
            conn_close(core, conn, true);
            continue;
        }
        if (!conn->writable_wait)
            conn->backend->flush(core, conn);
        conn_output_drained(core, conn);
    }
}

/* Output that went out lets requests go on that waited for it; a few rounds, then others' turn. */
static void core_flush(struct core *core)
{
    for (int pass = 0; pass < FLUSH_PASSES_MAX && core->dirty; pass++) {
        core_flush_dirty(core);
        burst_run(core);
    }
}

static void core_publish_sizes(struct core *core)
{
    struct core_stats *s = &core->stats;
    int64_t max = atomic_load_explicit(&s->response_bytes_max, memory_order_relaxed);
    int64_t min = atomic_load_explicit(&s->response_bytes_min, memory_order_relaxed);
    atomic_store_explicit(&s->response_bytes_last, core->turn.response_last, memory_order_relaxed);
    if (core->turn.response_max > max)
        atomic_store_explicit(&s->response_bytes_max, core->turn.response_max,
                              memory_order_relaxed);
    if (min < 0 || core->turn.response_min < min)
        atomic_store_explicit(&s->response_bytes_min, core->turn.response_min,
                              memory_order_relaxed);
}

static void core_publish_stats(struct core *core)
{
    const struct watch_counters *w = watch_counters(core->watches);
    atomic_store_explicit(&core->stats.watches, w->data_watches + w->child_watches,
                          memory_order_relaxed);
    atomic_store_explicit(&core->stats.watch_paths, w->paths, memory_order_relaxed);
    if (core->turn.quick_gets)
        stat_add(&core->stats.ops[OPX_GET_DATA], core->turn.quick_gets);
    if (core->turn.requests)
        stat_add(&core->stats.received, core->turn.requests);
    if (core->turn.quick + core->turn.quick_gets)
        core_note_latency(core, 0, core->turn.quick + core->turn.quick_gets);
    if (core->turn.replies) {
        stat_add(&core->stats.sent, core->turn.replies);
        if (core->turn.response_min != INT64_MAX)
            core_publish_sizes(core);
    }
    memset(&core->turn, 0, sizeof core->turn);
    core->turn.response_min = INT64_MAX;
}

void core_end_turn(struct core *core)
{
    burst_run(core);
    core_flush(core);
    if (core->now_ms >= core->sessionless_check_ms) {
        core->sessionless_check_ms = core->now_ms + SWEEP_INTERVAL_MS;
        conn_sweep_timed(core);
    }
    conn_sweep_dead(core);
    core_push_overflow(core);
    core_publish_stats(core);
    if (core->pushed) {
        core->pushed = false;
        server_wake_control(core->server);
    }
}

bool core_has_work(struct core *core)
{
    struct batch *batch = ring_peek(&core->from_control);
    return core->burst_count || core->dirty || core->dead || core->stopping ||
           (batch && batch->zxid <= store_visible(core->store)) ||
           (core->overflow.count && ring_room(&core->to_control)) ||
           (core->server->one_thread && core->index == 0 &&
            control_has_work(core->server->control)) ||
           (!core->draining && server_stopping(core->server));
}

int core_timeout_ms(const struct core *core)
{
    if (core->overflow.count)
        return 1; /* the control core does not say when it made room */
    if (!core->timed)
        return -1;
    return core->sessionless_check_ms > core->now_ms
               ? (int)(core->sessionless_check_ms - core->now_ms)
               : 0;
}

void core_note_latency(struct core *core, uint64_t ms, uint64_t replies)
{
    struct core_stats *s = &core->stats;
    uint64_t count = atomic_load_explicit(&s->latency_count, memory_order_relaxed);
    if (count == 0 || ms < atomic_load_explicit(&s->latency_ms_min, memory_order_relaxed))
        atomic_store_explicit(&s->latency_ms_min, ms, memory_order_relaxed);
    if (ms > atomic_load_explicit(&s->latency_ms_max, memory_order_relaxed))
        atomic_store_explicit(&s->latency_ms_max, ms, memory_order_relaxed);
    if (ms)
        stat_add(&s->latency_ms_sum, ms * replies);
    atomic_store_explicit(&s->latency_count, count + replies, memory_order_relaxed);
}
