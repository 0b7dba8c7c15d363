/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Four-letter words on the data core: recognised as the first four bytes of a connection, answered,
 * closed with FIN (client-protocol.md section 14). What one core cannot know goes to the control
 * core, which asks the others.
 */
#include <arpa/inet.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "client/wire/check.h"
#include "dataplane/core.h"
#include "dataplane/metrics.h"
#include "dataplane/server.h"
#include "dataplane/word.h"

static void word_answer(struct core *core, struct conn *conn, const void *text, size_t size)
{
    uint8_t *room = size ? conn_room(core, conn, size) : NULL;
    if (room)
        memcpy(room, text, size);
    conn->stats.sent++;
    stat_add(&core->stats.sent, 1);
    conn_close(core, conn, false);
}

static void format_envi(struct text_buffer *text)
{
    struct utsname u;
    char host[256] = "", directory[4096] = "";
    struct environment_stats e = {0};
    if (gethostname(host, sizeof host - 1) == 0)
        e.host_name = host;
    if (uname(&u) == 0) {
        e.os_name = u.sysname;
        e.os_arch = u.machine;
        e.os_version = u.release;
    }
    e.user_name = getenv("USER");
    e.user_home = getenv("HOME");
    e.user_dir = getcwd(directory, sizeof directory);
    int64_t page = sysconf(_SC_PAGESIZE);
    e.memory_free_bytes = sysconf(_SC_AVPHYS_PAGES) * page;
    e.memory_max_bytes = e.memory_total_bytes = sysconf(_SC_PHYS_PAGES) * page;
    words_format_envi(text, &e);
}

static bool format_stmk(struct text_buffer *text, const uint8_t *bytes, size_t n)
{
    if (n < 12)
        return false;
    words_format_trace_mask(text, (int64_t)be64_load(bytes + 4));
    return true;
}

/* Words that this core answers by itself. False: the control core must. */
static bool format_here(struct core *core, struct text_buffer *text, enum word word)
{
    struct server_stats stats;
    struct mntr_stats mntr;
    switch (word) {
    case WORD_RUOK: words_format_ruok(text); return true;
    case WORD_ISRO: words_format_isro(text, WORDS_ISRO_RW); return true;
    case WORD_GTMK: words_format_trace_mask(text, WORDS_TRACE_MASK_DEFAULT); return true;
    case WORD_ENVI: format_envi(text); return true;
    case WORD_SRVR:
        metrics_server(core->server, &stats);
        words_format_srvr(text, &stats);
        return true;
    case WORD_MNTR:
        metrics_mntr(core->server, &mntr);
        words_format_mntr(text, &mntr);
        return true;
    default: return false;
    }
}

static void word_submit(struct core *core, struct conn *conn, enum word word)
{
    struct op *op = op_new(OP_WORD, 0);
    if (!op) {
        conn_close(core, conn, true);
        return;
    }
    op->conn = conn;
    op->core = core->index;
    op->xid = (int32_t)word;
    conn->ops_in_flight++;
    core_submit(core, op);
}

bool word_incomplete(const struct core *core, const uint8_t *bytes, size_t n)
{
    return n < 12 && words_find(bytes, 4) == WORD_STMK &&
           words_enabled(words_whitelist(core->server->config.words_whitelist, false), WORD_STMK);
}

bool word_serve(struct core *core, struct conn *conn, const uint8_t *bytes, size_t n)
{
    enum word word = words_find(bytes, 4);
    uint32_t allowed = words_whitelist(core->server->config.words_whitelist,
                                       core->server->config.read_only_mode_enabled);
    bool enabled = words_enabled(allowed, word);
    if (word == WORD_NONE || (word == WORD_TELNET_CLOSE && enabled))
        return false; /* an absurd length: closed silently */
    if (word_incomplete(core, bytes, n))
        return false;
    stat_add(&core->stats.words, 1);
    stat_add(&core->stats.received, 1);
    conn->stats.received++;
    conn->input_closed = true;
    struct text_buffer text = text_buffer_of(OUTPUT_PAUSE_BYTES);
    if (!enabled)
        words_format_disabled(&text, word);
    else if (!(word == WORD_STMK ? format_stmk(&text, bytes, n) : format_here(core, &text, word))) {
        word_submit(core, conn, word);
        return true;
    }
    word_answer(core, conn, text.data, text.size);
    text_buffer_free(&text);
    return true;
}

void word_complete(struct core *core, struct conn *conn, struct op *op)
{
    if (conn->state == CONN_NEW)
        word_answer(core, conn, op->answer, op->answer_size);
}

/* --- this core's part of a word that all cores answer --- */

static void connection_stats_of(const struct conn *conn, const struct conn *asking,
                                struct connection_stats *out)
{
    *out = (struct connection_stats){
        .port = ntohs(conn->peer.sin6_port), /* sin_port lies at the same place */
        .interest = conn == asking ? 0 : (conn->paused ? 0 : 1) | (conn->writable_wait ? 4 : 0),
        .queued = (int64_t)(conn->ops_in_flight + conn->waiting.count),
        .received = (int64_t)conn->stats.received,
        .sent = (int64_t)conn->stats.sent,
        .session_id = conn_session_id(conn),
        .last_operation = conn->last_op == LAST_OP_NONE ? NULL
                          : conn->last_op == LAST_OP_NA ? "NA"
                                                        : opcode_at(conn->last_op)->lop,
        .established_ms = (int64_t)conn->established_ms,
        .timeout_ms = conn->timeout_ms,
        .last_cxid = conn->last_cxid,
        .last_zxid = conn->last_zxid,
        .last_response_ms = (int64_t)conn->last_response_ms,
        .latency_last_ms = (int64_t)conn->stats.latency_ms_last,
        .latency_min_ms = (int64_t)conn->stats.latency_ms_min,
        .latency_max_ms = (int64_t)conn->stats.latency_ms_max,
        .latency_avg_ms = conn->stats.latency_count
                              ? (int64_t)(conn->stats.latency_ms_sum / conn->stats.latency_count)
                              : 0,
    };
    const struct in6_addr *in6 = &conn->peer.sin6_addr;
    if (conn->peer.sin6_family == AF_INET)
        memcpy(out->address, &((const struct sockaddr_in *)&conn->peer)->sin_addr, 4);
    else if (IN6_IS_ADDR_V4MAPPED(in6))
        memcpy(out->address, in6->s6_addr + 12, 4);
    else
        memcpy(out->address, in6->s6_addr, 16);
    out->v6 = conn->peer.sin6_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(in6);
}

static void collect_connections(struct core *core, enum word word, const struct conn *asking,
                                struct text_buffer *text, uint64_t *count)
{
    for (struct conn *conn = conn_first(core); conn; conn = conn_next(core, conn)) {
        struct connection_stats stats;
        if (conn->state == CONN_CLOSED)
            continue;
        conn_stats_fold(conn);
        connection_stats_of(conn, asking, &stats);
        ++*count;
        if (word == WORD_STAT)
            words_format_stat_connection(text, &stats);
        else if (word == WORD_CONS)
            words_format_cons_connection(text, &stats);
        else
            words_format_dump_connection(text, &stats);
    }
}

static struct conn *conn_of_owner(const struct watch_owner *owner)
{
    return (struct conn *)((char *)(uintptr_t)owner - offsetof(struct conn, watches));
}

static void wchc_path(void *ctx, struct bytes path)
{
    words_format_wchc_path(ctx, (const char *)path.data, path.size);
}

static void collect_wchc(struct core *core, struct text_buffer *text)
{
    for (struct watch_owner *o = watch_owner_first(core->watches); o; o = watch_owner_next(o)) {
        if (o->data_watches == 0)
            continue;
        words_format_wchc_session(text, conn_session_id(conn_of_owner(o)));
        watch_owner_paths(core->watches, o, wchc_path, text);
    }
}

struct wchp {
    struct text_buffer *text;
    struct bytes path; /* of the group under way */
};

static void wchp_visit(void *ctx, struct bytes path, const struct watch_owner *owner)
{
    struct wchp *w = ctx;
    if (w->path.data != path.data)
        words_format_wchp_path(w->text, (const char *)path.data, path.size);
    w->path = path;
    words_format_wchp_session(w->text, conn_session_id(conn_of_owner(owner)));
}

static void collect_wchp(struct core *core, struct text_buffer *text)
{
    struct wchp w = {text, BYTES_NULL};
    watch_path_owners(core->watches, wchp_visit, &w);
}

static void reset_connections(struct core *core)
{
    for (struct conn *conn = conn_first(core); conn; conn = conn_next(core, conn)) {
        conn_stats_fold(conn);
        memset(&conn->stats, 0, sizeof conn->stats);
        conn->last_cxid = -1;
        conn->last_zxid = -1;
        conn->last_response_ms = 0;
        conn->last_op = LAST_OP_NA;
    }
}

static void reset_server(struct core *core)
{
    struct core_stats *s = &core->stats;
    _Atomic uint64_t *zeroed[] = {&s->received,      &s->sent,           &s->latency_ms_sum,
                                  &s->latency_count, &s->latency_ms_min, &s->latency_ms_max};
    for (size_t i = 0; i < sizeof zeroed / sizeof zeroed[0]; i++)
        atomic_store_explicit(zeroed[i], 0, memory_order_relaxed);
}

static void collect(struct core *core, struct op *op, struct word_part *part,
                    struct text_buffer *text)
{
    const struct watch_counters *w = watch_counters(core->watches);
    switch ((enum word)op->xid) {
    case WORD_STAT:
    case WORD_CONS:
    case WORD_DUMP:
        collect_connections(core, (enum word)op->xid, op->conn, text, &part->connections);
        break;
    case WORD_WCHS:
        part->connections = w->data_owners;
        part->paths = w->data_paths;
        part->watches = w->data_watches;
        break;
    case WORD_WCHC: collect_wchc(core, text); break;
    case WORD_WCHP: collect_wchp(core, text); break;
    case WORD_CRST: reset_connections(core); break;
    case WORD_SRST: reset_server(core); break;
    default: CHECK(!"a word that is not collected");
    }
}

void word_collect(struct core *core, struct op *op)
{
    struct text_buffer text = text_buffer_of(WORD_TEXT_BYTES_MAX);
    struct word_part part = {0};
    CHECK(op->body_size == sizeof part);
    collect(core, op, &part, &text);
    memcpy(op->body, &part, sizeof part);
    /* out of memory: this core's part is missing */
    (void)op_answer(op, (const uint8_t *)text.data, text.size);
    text_buffer_free(&text);
}
