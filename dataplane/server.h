/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The process: what all cores share, start-up, shutdown.
 *
 *   start   config -> directory -> recover into the tree -> log thread, control, data cores ->
 *           listen
 *   stop    SIGTERM: stop listening and reading, finish and flush what is in flight, flush the log,
 *           exit 0
 *
 * With one CPU the control core's steps are taken by the thread of the first data core: the only
 * one, or the one that polls the port. With several CPUs each data core and the control core has
 * its own thread. The log thread and the snapshot thread always have their own: they block.
 */
#ifndef SENGI_DATAPLANE_SERVER_H
#define SENGI_DATAPLANE_SERVER_H

#include <stdatomic.h>
#include <time.h>

#include "dataplane/config.h"
#include "dataplane/core.h"
#include "persist/directory.h"
#include "tree/auth.h"
#include "tree/tree.h"

struct control;
struct peer_counts;

/*
 * jemalloc's settings (techniques.md section 1.3): purge in the background, never on a data core.
 * Transparent huge pages where the kernel has them on "madvise" or "always": connections by the
 * million, like the tree, are each a TLB miss otherwise.
 */
#define SERVER_MALLOC_CONF \
    "background_thread:true,metadata_thp:auto,thp:always,dirty_decay_ms:5000"

/**
 * A poller of a second kind that shares the data cores' work: the DPDK port. Set by main(), NULL
 * without.
 */
struct server_port {
    /** Bring the port up before the cores start. @return 0 or an exit code; says why itself. */
    int (*start)(struct server *server);
    /** Number of data cores that poll the port; they come before the kernel listener's cores. */
    unsigned (*core_count)(const struct server *server);
    /** One turn of such a core's loop; timeout_ms as kernel_turn()'s. */
    void (*turn)(struct server *server, struct core *core, int timeout_ms);
    void (*stop)(struct server *server);
};

struct server {
    /* config: written before the cores start */
    struct config config;
    struct directory directory;
    int lock_fds[2]; /* of the snapshot and log directories: a second server is refused; -1 =
                      * none */
    struct tree *tree;
    struct store *store;
    struct control *control;
    struct core **cores;
    unsigned core_count;      /* all data cores */
    unsigned port_core_count; /* of these, polled by the port */
    bool one_thread;          /* control and cores[0] take turns in one thread */
    const struct server_port *port;
    struct peer_counts *peers; /* connections per peer address, of all cores (kernel.h) */
    struct auth_config auth;
    uint64_t start_ms;       /* monotonic */
    int64_t start_wall_ms;
    /* shared */
    _Atomic uint32_t connections;      /* of all cores: maxCnxns */
    _Atomic uint64_t nodes, ephemerals, data_bytes; /* as of the last publication, relaxed */
    _Atomic uint64_t sessions;
    _Atomic bool stop_requested;
};

static inline uint64_t server_now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static inline uint64_t server_wall_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

static inline uint32_t server_frame_bytes_max(const struct server *s)
{
    return (uint32_t)s->config.jute_max_buffer_bytes;
}

static inline uint64_t server_sessionless_ms(const struct server *s)
{
    return (uint64_t)s->config.sessionless_cnxn_timeout_ms;
}

static inline int32_t server_clamp_timeout(const struct server *s, int32_t asked_ms)
{
    if (asked_ms < s->config.session_timeout_ms_min)
        return s->config.session_timeout_ms_min;
    return asked_ms > s->config.session_timeout_ms_max ? s->config.session_timeout_ms_max
                                                       : asked_ms;
}

static inline bool server_stopping(const struct server *s)
{
    return atomic_load_explicit(&s->stop_requested, memory_order_acquire);
}

/**
 * Run a server until SIGTERM or SIGINT.
 *
 * @param config Copied.
 * @param port   The DPDK port's functions, or NULL when it is not built in.
 * @return exit code as ZooKeeper's (enum exit_code).
 */
int server_run(const struct config *config, const struct server_port *port);

/** Tell the control core that something was pushed for it. Any thread. */
void server_wake_control(struct server *server);

#endif
