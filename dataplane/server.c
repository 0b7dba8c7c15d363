/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/server.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>

#include "client/wire/check.h"
#include "dataplane/control.h"
#include "dataplane/kernel.h"
#include "dataplane/log.h"
#include "tree/reader.h"
#include "dataplane/restore.h"

#define BACKLOG_DEFAULT 50
/* On stop: time for peers to take what is queued for them. */
#define STOP_FLUSH_MS 500
/*
 * A start that replayed more txns than this writes a snapshot at once, so that the next start is
 * quick.
 */
#define REPLAYED_TXNS_MAX 10000

struct core_thread {
    struct server *server;
    struct core *core;
    struct kernel *kernel; /* NULL: the port's core */
    pthread_t thread;
    bool started;
};

/* --- threads --- */

static unsigned cpus_allowed(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

/*
 * With one CPU the first data core's thread takes the control core's steps as well, and with a port
 * that core is the one that polls: a second busy thread would get its turn from the scheduler, in
 * milliseconds. Else the control core has a CPU to itself and the others are data cores.
 */
static void plan_threads(struct server *s)
{
    unsigned cpus = cpus_allowed();
    unsigned kernel_cores = (unsigned)s->config.cores;
    if (kernel_cores == 0)
        kernel_cores = cpus > 2 ? cpus - 1 : 1;
    s->port_core_count = s->port ? s->port->core_count(s) : 0;
    s->core_count = kernel_cores + s->port_core_count;
    s->one_thread = cpus == 1 && (s->core_count == 1 || s->port_core_count == 1);
}

static bool core_flushed(const struct core *core, uint64_t deadline_ms)
{
    return core->out_bytes == 0 || core->now_ms >= deadline_ms;
}

static void core_turn(struct core_thread *t, int timeout_ms)
{
    if (t->kernel)
        kernel_turn(t->kernel, timeout_ms);
    else
        t->server->port->turn(t->server, t->core, timeout_ms);
}

/* After OP_STOP: what is queued gets a moment to leave. */
static void core_finish(struct core_thread *t)
{
    uint64_t deadline_ms = t->core->now_ms + STOP_FLUSH_MS;
    while (!core_flushed(t->core, deadline_ms))
        core_turn(t, 10);
}

static void *core_run(void *arg)
{
    struct core_thread *t = arg;
    reader_register();
    while (!t->core->stopping)
        core_turn(t, -1);
    core_finish(t);
    reader_unregister();
    return NULL;
}

/* First data core and control core as steps of one thread. */
static void one_thread_run(struct server *s, struct core_thread *t)
{
    reader_register();
    while (!t->core->stopping) {
        bool more = control_step(s->control);
        core_turn(t, more ? 0 : control_timeout_ms(s->control));
    }
    core_finish(t);
    reader_unregister();
}

static int run_threads(struct server *s, struct core_thread *threads)
{
    unsigned own = s->one_thread ? 1 : 0;
    for (unsigned i = own; i < s->core_count; i++) {
        threads[i].started = pthread_create(&threads[i].thread, NULL, core_run, &threads[i]) == 0;
        if (!threads[i].started) {
            LOG_ERROR("cannot start the thread of data core %u: %s", i, strerror(errno));
            return EXIT_CODE_UNEXPECTED;
        }
    }
    if (s->one_thread)
        one_thread_run(s, threads);
    else
        control_run(s->control);
    for (unsigned i = own; i < s->core_count; i++)
        pthread_join(threads[i].thread, NULL);
    return 0;
}

/* --- signals --- */

/*
 * A signal may come at any time and on any thread, also while the server is taken apart:
 *
 *      on_stop_signal()                        forget_signals()
 *      handlers + 1          (G0)              signalled = NULL       (G2)
 *      signalled NULL? leave (G1)              handlers != 0? wait    (G3)
 *      touch the server
 *      handlers - 1
 *
 * Each side stores before it loads what the other stores, sequentially consistent: not both can
 * miss the other. On the thread that takes the server apart a handler has ended before that goes
 * on.
 */
static struct server *_Atomic signalled;
static _Atomic unsigned handlers;

static void stop_from_signal(struct server *s)
{
    atomic_store_explicit(&s->stop_requested, true, memory_order_release);
    waker_wake(s->control->waker);
    for (unsigned i = 0; i < s->core_count; i++)
        waker_wake(&s->cores[i]->waker);
}

static void on_stop_signal(int number)
{
    (void)number;
    int saved = errno;
    atomic_fetch_add_explicit(&handlers, 1, memory_order_seq_cst);                       /* G0 */
    struct server *s = atomic_load_explicit(&signalled, memory_order_seq_cst);           /* G1 */
    if (s)
        stop_from_signal(s);
    atomic_fetch_sub_explicit(&handlers, 1, memory_order_seq_cst);
    errno = saved;
}

/* Before anything that a handler touches goes away. From here on the stop takes its course. */
static void forget_signals(void)
{
    atomic_store_explicit(&signalled, NULL, memory_order_seq_cst);                       /* G2 */
    while (atomic_load_explicit(&handlers, memory_order_seq_cst))                        /* G3 */
        sched_yield();
}

static void handle_signals(struct server *s)
{
    atomic_store_explicit(&signalled, s, memory_order_seq_cst);
    struct sigaction action = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* --- listening --- */

static struct addrinfo *listen_address(const struct config *config)
{
    char port[16];
    snprintf(port, sizeof port, "%d", config->client_port);
    const char *host = config->client_port_address[0] ? config->client_port_address : NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    if (!host) { /* all addresses: an IPv6 socket takes IPv4 as well */
        hints.ai_flags = AI_PASSIVE;
        hints.ai_family = AF_INET6;
    }
    int err = getaddrinfo(host, port, &hints, &list);
    if (err) {
        LOG_ERROR("clientPortAddress \"%s\": %s", host ? host : "", gai_strerror(err));
        return NULL;
    }
    return list;
}

static bool no_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        close(fd);
    return fd < 0;
}

static int listen_all(struct server *s, struct core_thread *threads, struct peer_counts *peers)
{
    struct addrinfo *list = listen_address(&s->config);
    if (!list)
        return EXIT_CODE_INVALID_INVOCATION;
    struct sockaddr_storage address;
    memcpy(&address, list->ai_addr, list->ai_addrlen);
    struct kernel_config kernel = {
        .address = (struct sockaddr *)&address,
        .address_size = list->ai_addrlen,
        .backlog = s->config.client_port_listen_backlog < 0 ? BACKLOG_DEFAULT
                                                            : s->config.client_port_listen_backlog,
        .keepalive = s->config.client_tcp_keep_alive,
        .connections_per_address_max = s->config.max_client_cnxns,
        .connections_max = s->config.max_cnxns,
        .peers = peers,
        .connections = &s->connections,
    };
    freeaddrinfo(list);
    if (!s->config.client_port_address[0] && no_ipv6()) {
        struct sockaddr_in any = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)s->config.client_port)};
        memcpy(&address, &any, sizeof any);
        kernel.address_size = sizeof any;
    }
    for (unsigned i = s->port_core_count; i < s->core_count; i++) {
        uint16_t port;
        threads[i].kernel = kernel_open(s->cores[i], &kernel, &port);
        if (!threads[i].kernel) {
            LOG_ERROR("cannot listen on %s port %d: %s",
                      s->config.client_port_address[0] ? s->config.client_port_address : "*",
                      s->config.client_port, strerror(errno));
            return EXIT_CODE_UNEXPECTED;
        }
        /*
         * With port 0 the first core's choice counts for all. sin_port and sin6_port lie at the
         * same place.
         */
        s->config.client_port = port;
        ((struct sockaddr_in *)&address)->sin_port = htons(port);
    }
    return 0;
}

/* --- start --- */

static int first_snapshot(struct server *s)
{
    struct snapshotter_config config = {.storage = storage_file(),
                                        .directory = &s->directory,
                                        .no_last_zxid = !s->config.snapshot_last_zxid,
                                        .digest = s->config.digest_enabled};
    struct snapshotter *writer = snapshotter_create(&config);
    struct tree_snapshot *snapshot = tree_snapshot_begin(s->tree);
    int err = writer && snapshot ? snapshotter_write(writer, snapshot) : PERSIST_ENOMEM;
    if (snapshot)
        tree_snapshot_end(s->tree, &snapshot);
    (void)snapshotter_destroy(writer); /* nothing is under way */
    if (err)
        LOG_ERROR("cannot write the first snapshot into %s: %s", s->directory.snap,
                  persist_error_text(err));
    return err ? EXIT_CODE_TXNLOG : 0;
}

static void log_report(const char *text)
{
    while (*text) {
        int n = (int)strcspn(text, "\n");
        if (n)
            LOG_INFO("%.*s", n, text);
        text += n + (text[n] == '\n');
    }
}

/*
 * Two writers would ruin the directory (disk-formats.md section 9). The lock goes with the process.
 */
static bool lock_directory(const char *path, int *fd)
{
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd >= 0 && flock(*fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno == EWOULDBLOCK)
        LOG_ERROR("another sengi-server uses %s; stop it first, or give this one its own dataDir",
                  path);
    else
        LOG_ERROR("cannot lock %s: %s", path, strerror(errno));
    return false;
}

static bool lock_directories(struct server *s)
{
    return lock_directory(s->directory.snap, &s->lock_fds[0]) &&
           (!strcmp(s->directory.snap, s->directory.log) ||
            lock_directory(s->directory.log, &s->lock_fds[1]));
}

static void unlock_directories(struct server *s)
{
    for (int i = 0; i < 2; i++)
        if (s->lock_fds[i] >= 0)
            close(s->lock_fds[i]);
}

static int load(struct server *s, struct digest_log *digests, struct recover_report *report)
{
    char why[RECOVER_REFUSAL_BYTES];
    const struct config *config = &s->config;
    int err = directory_open(&s->directory, storage_file(), config->data_dir, config->data_log_dir,
                             config->data_dir_autocreate, why, sizeof why);
    if (err) {
        LOG_ERROR("%s", why[0] ? why : persist_error_text(err));
        return EXIT_CODE_DATADIR;
    }
    if (!lock_directories(s))
        return EXIT_CODE_DATADIR;
    err = restore_run(config, &s->directory, &s->tree, digests, report);
    log_report(report->text);
    if (err) {
        LOG_ERROR("%s", report->refusal[0] ? report->refusal : persist_error_text(err));
        return EXIT_CODE_UNEXPECTED;
    }
    s->store = tree_store(s->tree);
    return report->created ? first_snapshot(s) : 0;
}

static int make_cores(struct server *s, const struct recover_report *report)
{
    s->cores = calloc(s->core_count, sizeof *s->cores);
    if (!s->cores)
        return EXIT_CODE_UNEXPECTED;
    for (unsigned i = 0; i < s->core_count; i++)
        if (!(s->cores[i] = core_create(s, (uint16_t)i))) {
            LOG_ERROR("cannot make data core %u: out of memory or descriptors", i);
            return EXIT_CODE_UNEXPECTED;
        }
    int err = control_create(&s->control, s, report->last_zxid > 0 ? report->last_zxid : 0);
    if (err) {
        LOG_ERROR("cannot start the control core: %s", persist_error_text(err));
        return EXIT_CODE_UNEXPECTED;
    }
    s->control->snapshot_wanted = report->txns > REPLAYED_TXNS_MAX;
    return 0;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* fewer connections then */
    }
}

static void server_free(struct server *s, struct core_thread *threads)
{
    if (threads)
        for (unsigned i = 0; i < s->core_count; i++)
            kernel_close(threads[i].kernel);
    free(threads);
    control_destroy(s->control);
    if (s->cores)
        for (unsigned i = 0; i < s->core_count; i++)
            core_destroy(s->cores[i]);
    free(s->cores);
    tree_destroy(s->tree);
}

static void log_ready(const struct server *s, const struct recover_report *report)
{
    LOG_INFO("serving on %s:%d, %u data core%s%s, data in %s, zxid 0x%llx, %llu znodes; ready in "
             "%llu ms",
             s->config.client_port_address[0] ? s->config.client_port_address : "*",
             s->config.client_port, s->core_count, s->core_count == 1 ? "" : "s",
             s->one_thread ? " (on one CPU)" : "", s->config.data_dir,
             (unsigned long long)(report->last_zxid > 0 ? report->last_zxid : 0),
             (unsigned long long)store_counters(s->store)->nodes,
             (unsigned long long)(server_now_us() / 1000 - s->start_ms));
}

static int start_and_run(struct server *s, struct core_thread **threads, struct peer_counts *peers)
{
    struct recover_report *report = calloc(1, sizeof *report);
    struct digest_log *digests = calloc(1, sizeof *digests);
    int code = report && digests ? load(s, digests, report) : EXIT_CODE_UNEXPECTED;
    if (!code) {
        plan_threads(s);
        code = make_cores(s, report);
    }
    if (!code)
        s->control->digests = *digests;
    free(digests);
    if (!code) {
        *threads = calloc(s->core_count, sizeof **threads);
        code = *threads ? 0 : EXIT_CODE_UNEXPECTED;
    }
    for (unsigned i = 0; !code && i < s->core_count; i++)
        (*threads)[i] = (struct core_thread){.server = s, .core = s->cores[i]};
    if (!code && s->port)
        code = s->port->start(s);
    if (!code)
        code = listen_all(s, *threads, peers);
    if (!code) {
        handle_signals(s);
        log_ready(s, report);
        code = run_threads(s, *threads);
    }
    free(report);
    return code;
}

int server_run(const struct config *config, const struct server_port *port)
{
    if (config->dpdk_enabled && !port) {
        LOG_ERROR("dpdk.enabled: this program was built without the DPDK port");
        return EXIT_CODE_INVALID_INVOCATION;
    }
    struct server *s = calloc(1, sizeof *s);
    struct peer_counts *peers = peer_counts_create();
    struct core_thread *threads = NULL;
    if (!s || !peers) {
        LOG_ERROR("out of memory");
        free(s);
        peer_counts_destroy(peers);
        return EXIT_CODE_UNEXPECTED;
    }
    s->lock_fds[0] = s->lock_fds[1] = -1;
    s->config = *config;
    s->peers = peers;
    s->port = config->dpdk_enabled ? port : NULL;
    s->start_ms = server_now_us() / 1000;
    s->start_wall_ms = (int64_t)server_wall_ms();
    s->auth = (struct auth_config){config->digest_auth_enabled, s->config.digest_auth_algorithm,
                                   s->config.super_digest[0] ? s->config.super_digest : NULL};
    raise_descriptor_limit();
    int code = start_and_run(s, &threads, peers);
    bool failed = s->control && s->control->failed;
    forget_signals();
    if (s->port)
        s->port->stop(s);
    server_free(s, threads);
    unlock_directories(s);
    peer_counts_destroy(peers);
    free(s);
    if (!code && failed)
        return EXIT_CODE_TXNLOG;
    if (!code)
        LOG_INFO("stopped");
    return code;
}

void server_wake_control(struct server *server)
{
    if (!server->one_thread || server->core_count > 1)
        waker_wake(server->control->waker);
}
