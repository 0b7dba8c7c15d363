/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/conn.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/wire/check.h"
#include "client/wire/request.h"
#include "dataplane/core.h"
#include "dataplane/server.h"
#include "dataplane/session.h"
#include "tree/auth.h"

/* A closing connection whose peer neither reads nor closes is dropped after this. */
#define CLOSE_LINGER_MS 2000

void conn_address_format(const struct sockaddr_storage *peer, char text[CONN_ADDRESS_BYTES])
{
    if (peer->ss_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)peer)->sin_addr, text, CONN_ADDRESS_BYTES);
        return;
    }
    const struct in6_addr *in6 = &((const struct sockaddr_in6 *)peer)->sin6_addr;
    const uint8_t *a = in6->s6_addr;
    if (IN6_IS_ADDR_V4MAPPED(in6)) {
        inet_ntop(AF_INET, a + 12, text, CONN_ADDRESS_BYTES);
        return;
    }
    char *p = text;
    for (int i = 0; i < 16; i += 2)
        p += snprintf(p, 6, "%s%x", i ? ":" : "", a[i] << 8 | a[i + 1]);
}

/* --- lists: every connection is in core->timed or in core->conns --- */

static void list_unlink(struct conn *conn)
{
    *conn->list_link = conn->list_next;
    if (conn->list_next)
        conn->list_next->list_link = conn->list_link;
}

static void list_link(struct core *core, struct conn *conn, bool timed)
{
    struct conn **head = timed ? &core->timed : &core->conns;
    conn->timed = timed;
    conn->list_next = *head;
    conn->list_link = head;
    if (*head)
        (*head)->list_link = &conn->list_next;
    *head = conn;
}

static void list_move(struct core *core, struct conn *conn, bool timed)
{
    if (conn->timed == timed)
        return;
    list_unlink(conn);
    list_link(core, conn, timed);
}

struct conn *conn_first(const struct core *core)
{
    return core->timed ? core->timed : core->conns;
}

struct conn *conn_next(const struct core *core, const struct conn *conn)
{
    return conn->list_next || !conn->timed ? conn->list_next : core->conns;
}

void conn_prefetch(void *user)
{
    __builtin_prefetch(user, 1);
    __builtin_prefetch((const char *)user + offsetof(struct conn, out_bytes), 1);
}

session_id_t conn_session_id(const struct conn *conn)
{
    return conn->session ? conn->session->id : 0;
}

/* The set of an address: connections from one host share it. NULL: out of memory. */
static struct auth_set *auth_of_peer(struct core *core, const struct sockaddr_storage *peer)
{
    char address[CONN_ADDRESS_BYTES];
    conn_address_format(peer, address);
    struct bytes text = {(const uint8_t *)address, (uint32_t)strlen(address)};
    uint32_t hash = 0;
    for (uint32_t i = 0; i < text.size; i++)
        hash = hash * 31 + text.data[i];
    struct auth_set **slot = &core->auth_of_peers[hash % AUTH_OF_PEERS];
    if (!*slot || !bytes_equal((*slot)->ids[0].id, text)) {
        struct auth_set *set = auth_set_of_ip(address);
        if (!set)
            return NULL;
        if (*slot)
            auth_set_drop(*slot);
        *slot = set;
    }
    return auth_set_hold(*slot);
}

struct conn *conn_open(struct core *core, const struct conn_backend *backend,
                       const struct sockaddr *peer)
{
    struct conn *conn = aligned_alloc(64, (sizeof *conn + 63) / 64 * 64);
    if (!conn)
        return NULL;
    memset(conn, 0, sizeof *conn);
    conn->backend = backend;
    op_list_init(&conn->waiting);
    memcpy(&conn->peer, peer,
           peer->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
    conn->auth = auth_of_peer(core, conn_peer(conn));
    if (!conn->auth) {
        free(conn);
        return NULL;
    }
    conn->last_op = LAST_OP_NONE;
    conn->last_cxid = -1;
    conn->idle_since_ms = core->now_ms;
    conn->established_ms = server_wall_ms();
    list_link(core, conn, true);
    stat_add(&core->stats.connections, 1);
    return conn;
}

/* C2: looked at again at the end of the turn, when nobody up the stack holds the pointer. */
void conn_free_later(struct core *core, struct conn *conn)
{
    if (!conn->detached || conn->ops_in_flight || conn->burst_items || conn->dead)
        return;
    if (conn->resume)
        return; /* core_begin_turn() still has to pass it, and comes back */
    conn->dead = true;
    conn->later_next = core->dead;
    core->dead = conn;
}

static void conn_free(struct core *core, struct conn *conn)
{
    CHECK(conn->state == CONN_CLOSED && conn->waiting.count == 0 && !conn->session);
    list_unlink(conn);
    auth_set_drop(conn->auth);
    free(conn->input);
    free(conn);
    (void)core;
}

/* C2: the session is let go of first. False: no memory for the op, tried again in the next turn. */
static bool conn_detach_session(struct core *core, struct conn *conn)
{
    struct op *op = op_new(OP_DETACH, 0);
    if (!op)
        return false;
    op->conn = conn;
    op->core = core->index;
    op->session = conn->session;
    conn->ops_in_flight++;
    core_submit(core, op);
    return true;
}

void conn_sweep_dead(struct core *core)
{
    struct conn *conn = core->dead, *next;
    core->dead = NULL;
    for (; conn; conn = next) {
        next = conn->later_next;
        conn->dead = false;
        if (conn->ops_in_flight || conn->burst_items)
            continue; /* comes back when they are done */
        if (!conn->session)
            conn_free(core, conn);
        else if (!conn_detach_session(core, conn))
            conn_free_later(core, conn);
    }
}

void conn_sweep_timed(struct core *core)
{
    uint64_t sessionless_ms = server_sessionless_ms(core->server);
    for (struct conn *conn = core->timed, *next; conn; conn = next) {
        next = conn->list_next;
        uint64_t limit_ms = conn->state == CONN_CLOSING ? CLOSE_LINGER_MS : sessionless_ms;
        if (core->now_ms - conn->idle_since_ms < limit_ms || conn->ops_in_flight)
            continue;
        if (conn->state == CONN_NEW)
            stat_add(&core->stats.sessionless_expired, 1);
        conn_close(core, conn, true);
    }
}

/* Everything but the struct goes at once; the struct stays for what still refers to it. */
static void conn_enter_closed(struct core *core, struct conn *conn)
{
    if (conn->state == CONN_CLOSED)
        return;
    conn->state = CONN_CLOSED;
    conn->input_closed = true;
    stat_add(&core->stats.connections, (uint64_t)-1);
    conn_output_drop(core, conn);
    watch_owner_clear(core->watches, &conn->watches);
    struct op *op;
    while ((op = op_list_pop(&conn->waiting)))
        op_free(op);
}

void conn_destroy_all(struct core *core)
{
    struct conn *conn;
    while ((conn = conn_first(core))) {
        conn_enter_closed(core, conn);
        conn->session = NULL;
        conn_free(core, conn);
    }
}

void conn_detached(struct core *core, struct conn *conn)
{
    CHECK(!conn->detached);
    conn_enter_closed(core, conn);
    conn->detached = true;
    conn_free_later(core, conn);
}

void conn_close(struct core *core, struct conn *conn, bool at_once)
{
    conn->input_closed = true;
    if (conn->state == CONN_CLOSED)
        return;
    if (at_once) {
        conn_enter_closed(core, conn);
    } else if (conn->state != CONN_CLOSING) {
        conn->state = CONN_CLOSING;
        conn->idle_since_ms = core->now_ms;
        list_move(core, conn, true);
        core_mark_dirty(core, conn);
    }
    conn->backend->close(core, conn, at_once);
}

static void conn_pause(struct core *core, struct conn *conn, bool paused)
{
    if (conn->paused == paused || conn->state == CONN_CLOSED)
        return;
    conn->paused = paused;
    conn->backend->pause(core, conn, paused);
}

void conn_hangup(struct core *core, struct conn *conn)
{
    /*
     * A four-letter word's client may have shut down its sending side: its answer still goes out.
     */
    bool answer_queued = conn->state == CONN_CLOSING && conn->out_bytes;
    bool answer_made = conn->state == CONN_NEW && conn->input_closed && conn->ops_in_flight;
    if (!answer_queued && !answer_made) {
        conn_close(core, conn, true);
        return;
    }
    /* Its end of input stays readable: looked at no more, or the core would spin on it. */
    conn_pause(core, conn, true);
}

static bool conn_over_limits(const struct core *core, const struct conn *conn)
{
    uint32_t pending = conn->ops_in_flight + conn->waiting.count;
    return conn->out_bytes > OUTPUT_PAUSE_BYTES || pending >= REQUESTS_PENDING_MAX ||
           conn->pending_bytes > REQUESTS_PENDING_BYTES_MAX ||
           (pending && core_over_outstanding_limit(core));
}

/* --- requests --- */

static bool op_in_control(const struct opcode_info *info)
{
    return info && (info->class == CLASS_WRITE || info->class == CLASS_CONTROL);
}

/* Nothing may overtake these: a count of descendants is answered after it is committed, and behind
 * a close is nothing. */
static bool op_is_barrier(const struct opcode_info *info)
{
    return info->class == CLASS_CONTROL || info->number == OP_CLOSE_SESSION;
}

static struct op *request_copy(struct core *core, struct conn *conn, const struct opcode_info *info,
                               int32_t xid, struct bytes body)
{
    struct op *op = op_new(OP_REQUEST, body.size);
    if (!op)
        return NULL;
    op->core = core->index;
    op->conn = conn;
    op->session = conn->session;
    op->session_id = conn_session_id(conn);
    op->info = info;
    op->xid = xid;
    op->start_us = core->now_us;
    if (body.size)
        memcpy(op->body, body.data, body.size);
    conn->pending_bytes += body.size;
    return op;
}

/* Hands the op to the control core with the ids that the connection has now. */
static void request_submit(struct core *core, struct conn *conn, struct op *op)
{
    op->auth = auth_set_hold(conn->auth);
    conn->ops_in_flight++;
    if (op_is_barrier(op->info))
        conn->barrier = true;
    stat_add(&core->stats.outstanding, 1);
    core_submit(core, op);
}

/*
 * enforce.auth.enabled: has the connection an id of one of the schemes? (client-protocol.md 11.3)
 */
static bool auth_sufficient(const struct config *config, const struct auth_set *auth)
{
    const char *scheme = config->enforce_auth_schemes;
    while (*scheme) {
        size_t size = strcspn(scheme, ",");
        for (uint32_t i = 0; i < auth->count; i++)
            if (auth->ids[i].scheme.size == size && !memcmp(auth->ids[i].scheme.data, scheme, size))
                return true;
        scheme += size + (scheme[size] == ',');
    }
    return false;
}

static bool auth_missing(const struct core *core, const struct conn *conn,
                         const struct opcode_info *info)
{
    const struct config *config = &core->server->config;
    return UNLIKELY(core->auth_enforced) && info && info->number != OP_AUTH &&
           info->number != OP_SASL && !auth_sufficient(config, conn->auth);
}

/*
 * Auth and sasl packets do not (client-protocol.md section 13.4): a client that only repeats them
 * expires.
 */
static bool renews_session(const struct opcode_info *info)
{
    return !info || (info->number != OP_AUTH && info->number != OP_SASL);
}

/* Nothing behind these is looked at. */
static bool ends_input(const struct opcode_info *info)
{
    return !info || info == &serve_refused || info->number == OP_CLOSE_SESSION;
}

/* C1: the burst may postpone reads. What goes to the control core must not overtake them, so the
 * connection's reads are served first; and a full burst is, before anything is decided. */
static void request_make_way(struct core *core, struct conn *conn, bool in_control)
{
    if (in_control && conn->burst_items)
        burst_run(core);
    else
        burst_room(core);
}

static void conn_request(struct core *core, struct conn *conn, int32_t xid, int32_t type,
                         struct bytes body)
{
    const struct opcode_info *info = opcode_find(type);
    if (info && info->class == CLASS_INTERNAL)
        info = NULL;
    if (auth_missing(core, conn, info))
        info = &serve_refused;
    if (LIKELY(renews_session(info)))
        atomic_store_explicit(&conn->heard_ms, (int64_t)core->now_ms, memory_order_relaxed);
    if (ends_input(info))
        conn->input_closed = true;
    bool in_control = op_in_control(info);
    request_make_way(core, conn, in_control);
    if (UNLIKELY(conn->state != CONN_ESTABLISHED))
        return; /* a request before this one ended the connection */
    bool wait = conn->waiting.count || conn->barrier || (conn->ops_in_flight && !in_control);
    if (!wait && !in_control) {
        burst_add(core, conn, info, xid, body, NULL);
        return;
    }
    struct op *op = request_copy(core, conn, info, xid, body);
    if (!op)
        conn_close(core, conn, true);
    else if (wait)
        op_list_push(&conn->waiting, op);
    else
        request_submit(core, conn, op);
}

/* C1: start what may start now, in order. */
static void resume_waiting(struct core *core, struct conn *conn)
{
    while (conn->waiting.count && !conn->barrier && conn->state == CONN_ESTABLISHED &&
           conn->out_bytes <= OUTPUT_PAUSE_BYTES) {
        struct op *first = conn->waiting.head;
        bool in_control = op_in_control(first->info);
        if (!in_control && conn->ops_in_flight)
            return;
        request_make_way(core, conn, in_control);
        if (conn->waiting.head != first)
            continue; /* something was postponed: that comes first */
        struct op *op = op_list_pop(&conn->waiting);
        if (in_control)
            request_submit(core, conn, op);
        else
            burst_add(core, conn, op->info, op->xid, (struct bytes){op->body, op->body_size}, op);
    }
}

/* --- handshake (client-protocol.md section 13.2) --- */

static void connect_request(struct core *core, struct conn *conn, struct bytes frame)
{
    struct connect_request request;
    if (connect_request_read(frame, &request) != 0 || request.last_zxid_seen > core->visible) {
        conn_close(core, conn, true);
        return;
    }
    struct op *op = op_new(OP_CONNECT, 0);
    if (!op) {
        conn_close(core, conn, true);
        return;
    }
    conn->has_read_only = request.has_read_only;
    conn->state = CONN_CONNECTING;
    op->conn = conn;
    op->core = core->index;
    op->session_id = request.session;
    op->timeout_ms = server_clamp_timeout(core->server, request.timeout_ms);
    op->start_us = core->now_us;
    /*
     * Another length never equals the 16 bytes of a password; err carries that to the control core.
     */
    if (request.passwd.size == PASSWD_BYTES)
        memcpy(op->passwd, request.passwd.data, PASSWD_BYTES);
    else
        op->err = ZK_AUTHFAILED;
    conn->ops_in_flight++;
    core_submit(core, op);
    conn_pause(core, conn, true);
}

static void connect_complete(struct core *core, struct conn *conn, struct op *op)
{
    /*
     * The session is the connection's from here on, also if it has closed: it is released when the
     * conn is freed.
     */
    conn->session = op->session;
    if (conn->state == CONN_CLOSED)
        return;
    uint8_t frame[CONNECT_RESPONSE_BYTES_MAX];
    size_t size = connect_response_write(frame, op->session ? op->session_id : 0, op->timeout_ms,
                                         op->passwd, conn->has_read_only, false);
    uint8_t *room = conn_room(core, conn, size);
    if (!room)
        return;
    memcpy(room, frame, size);
    conn->stats.sent++;
    stat_add(&core->stats.sent, 1);
    if (!op->session) {
        conn_close(core, conn, false);
        return;
    }
    conn->timeout_ms = op->timeout_ms;
    conn->last_op = OPX_CREATE_SESSION;
    conn->last_cxid = 0;
    conn->last_zxid = op->zxid;
    conn->last_response_ms = core->now_ms;
    if (conn->state == CONN_CLOSING)
        return;
    conn->state = CONN_ESTABLISHED;
    list_move(core, conn, false);
}

/* --- input --- */

static void conn_frame(struct core *core, struct conn *conn, struct bytes frame)
{
    conn->stats.received++;
    core->turn.requests++;
    if (UNLIKELY(conn->state == CONN_NEW)) {
        connect_request(core, conn, frame);
        return;
    }
    if (frame.size < REQUEST_HEADER_BYTES) {
        stat_add(&core->stats.bad_frames, 1);
        conn_close(core, conn, true);
        return;
    }
    conn_request(
        core, conn, (int32_t)be32_load(frame.data), (int32_t)be32_load(frame.data + 4),
        (struct bytes){frame.data + REQUEST_HEADER_BYTES, frame.size - REQUEST_HEADER_BYTES});
}

/* Nothing holds up a read of this connection: it may join the burst as it is. */
static bool conn_flows(const struct core *core, const struct conn *conn)
{
    return conn->state == CONN_ESTABLISHED && !(conn->ops_in_flight | conn->waiting.count) &&
           !core->auth_enforced && conn->out_bytes <= OUTPUT_PAUSE_BYTES;
}

/* Reads at the front of the input, one after another. @return bytes of those taken. */
static size_t conn_parse_reads(struct core *core, struct conn *conn, const uint8_t *bytes, size_t n)
{
    const uint8_t *p = bytes, *end = bytes + n;
    while (LIKELY(conn_flows(core, conn))) {
        p = burst_add_reads(core, conn, p, end);
        if (LIKELY(p == end || core->burst_count < BURST_ITEMS_MAX))
            break;
        burst_run(core);
    }
    return (size_t)(p - bytes);
}

/* Looks at whole frames; stops where input is paused or closed. @return bytes consumed. */
static size_t conn_parse(struct core *core, struct conn *conn, const uint8_t *bytes, size_t n)
{
    size_t used = 0;
    while (n - used >= 4 && !conn->paused && !conn->input_closed && !core->draining) {
        if (LIKELY(conn->state == CONN_ESTABLISHED))
            used += conn_parse_reads(core, conn, bytes + used, n - used);
        if (n - used < 4)
            break;
        const uint8_t *p = bytes + used;
        if (UNLIKELY(conn->state == CONN_NEW) && word_serve(core, conn, p, n - used))
            return n;
        if (UNLIKELY(conn->state == CONN_NEW) && word_incomplete(core, p, n - used))
            break;
        uint32_t size = be32_load(p);
        if (UNLIKELY(size > core->frame_bytes_max)) {
            stat_add(&core->stats.bad_frames, 1);
            conn_close(core, conn, true);
            return n;
        }
        if (n - used - 4 < size)
            break;
        conn_frame(core, conn, (struct bytes){p + 4, size});
        used += 4 + (size_t)size;
        if (conn->out_bytes > OUTPUT_PAUSE_BYTES || conn->ops_in_flight + conn->waiting.count)
            if (conn_over_limits(core, conn) && conn->state != CONN_CLOSED)
                conn_pause(core, conn, true);
    }
    return conn->input_closed || core->draining ? n : used;
}

/*
 * Keeps bytes that cannot be looked at yet; memory follows what was received, never what was
 * announced (C3).
 */
static bool input_keep(struct conn *conn, const uint8_t *bytes, size_t n)
{
    size_t wanted = conn->input_size + n;
    if (wanted > conn->input_capacity) {
        size_t capacity = conn->input_capacity ? conn->input_capacity : INPUT_BYTES_FIRST;
        while (capacity < wanted)
            capacity *= 2;
        uint8_t *input = realloc(conn->input, capacity);
        if (!input)
            return false;
        conn->input = input;
        conn->input_capacity = (uint32_t)capacity;
    }
    memcpy(conn->input + conn->input_size, bytes, n);
    conn->input_size += (uint32_t)n;
    return true;
}

/* Parse what is kept. The burst may refer to it, so it is served before the bytes move. */
static void input_parse_kept(struct core *core, struct conn *conn)
{
    size_t used = conn_parse(core, conn, conn->input, conn->input_size);
    if (used == 0)
        return;
    if (conn->burst_items)
        burst_run(core);
    conn->input_size -= (uint32_t)used;
    if (conn->input_size) {
        memmove(conn->input, conn->input + used, conn->input_size);
        return;
    }
    free(conn->input);
    conn->input = NULL;
    conn->input_capacity = 0;
}

/* As conn_input() of what is not a run of reads, or not only. */
__attribute__((noinline)) static void input_other(struct core *core, struct conn *conn,
                                                  const uint8_t *bytes, size_t n)
{
    if (conn->input_size) {
        if (!input_keep(conn, bytes, n))
            conn_close(core, conn, true);
        else
            input_parse_kept(core, conn);
        return;
    }
    size_t used = conn_parse(core, conn, bytes, n);
    if (used < n && !input_keep(conn, bytes + used, n - used))
        conn_close(core, conn, true);
}

size_t conn_input(struct core *core, struct conn *conn, const uint8_t *bytes, size_t n)
{
    size_t used = 0;
    if (conn->paused)
        return 0;
    if (conn->input_closed)
        return n;
    if (UNLIKELY(conn->timed))
        conn->idle_since_ms = core->now_ms;
    stat_add(&core->stats.bytes_received, n);
    if (LIKELY(!conn->input_size && !core->draining))
        used = conn_parse_reads(core, conn, bytes, n);
    if (UNLIKELY(used < n))
        input_other(core, conn, bytes + used, n - used);
    return n;
}

static void resume_input(struct core *core, struct conn *conn)
{
    if (!conn->paused || conn->state == CONN_CONNECTING || conn->state == CONN_CLOSED ||
        conn_over_limits(core, conn))
        return;
    conn->paused = false;
    if (conn->input_size && !conn->input_closed)
        input_parse_kept(core, conn);
    if (!conn->paused && conn->state != CONN_CLOSED)
        conn->backend->pause(core, conn, false);
}

void conn_keep_input(struct core *core, struct conn *conn, const uint8_t *bytes, size_t n)
{
    if (!input_keep(conn, bytes, n))
        conn_close(core, conn, true);
}

void conn_resume(struct core *core, struct conn *conn)
{
    resume_waiting(core, conn);
    resume_input(core, conn);
}

void conn_output_drained(struct core *core, struct conn *conn)
{
    if (UNLIKELY(conn->waiting.count != 0))
        resume_waiting(core, conn);
    if (conn->paused)
        resume_input(core, conn);
}

struct op *conn_postpone(struct core *core, struct conn *conn, const struct opcode_info *info,
                         int32_t xid, struct bytes body)
{
    struct op *op = request_copy(core, conn, info, xid, body);
    if (!op) {
        conn->cut = true;
        core_mark_dirty(core, conn);
    }
    return op;
}

/* --- completions --- */

static void request_complete(struct core *core, struct conn *conn, struct op *op)
{
    stat_add(&core->stats.outstanding, (uint64_t)-1);
    conn->pending_bytes -= op->body_size;
    if (op_is_barrier(op->info)) /* the only one; writes before it come back while it stands */
        conn->barrier = false;
    if (conn->state != CONN_ESTABLISHED)
        return;
    if (!op->no_reply) {
        conn_note_latency(core, conn, op->start_us, op->info, op->xid, op->zxid);
        conn_reply(core, conn, op->xid, op->zxid, op->err, op->answer, op->answer_size);
    }
    if (op->close_after)
        conn_close(core, conn, false);
}

static void resume_later(struct core *core, struct conn *conn)
{
    if (conn->resume || conn->state == CONN_CLOSED)
        return;
    conn->resume = true;
    conn->later_next = core->resume;
    core->resume = conn;
}

void conn_complete(struct core *core, struct op *op)
{
    struct conn *conn = op->conn;
    if (op->kind != OP_CLOSE)
        conn->ops_in_flight--;
    switch (op->kind) {
    case OP_REQUEST: request_complete(core, conn, op); break;
    case OP_CONNECT: connect_complete(core, conn, op); break;
    case OP_WORD: word_complete(core, conn, op); break;
    case OP_DETACH: conn->session = NULL; break;
    case OP_CLOSE: conn_close(core, conn, true); break;
    default: CHECK(!"an op that does not come back to a connection");
    }
    resume_later(core, conn);
    conn_free_later(core, conn);
    op_free(op);
}

void conn_burst_items_done(struct core *core, struct conn *conn, uint32_t count)
{
    CHECK(conn->burst_items >= count);
    conn->burst_items = (uint8_t)(conn->burst_items - count);
    if (UNLIKELY(conn->detached))
        conn_free_later(core, conn);
}

/* --- statistics, as `cons` and `mntr` show them --- */

void conn_note_latency(struct core *core, struct conn *conn, uint64_t start_us,
                       const struct opcode_info *info, int32_t xid, zxid_t zxid)
{
    uint64_t ms = start_us == core->now_us ? 0 : (core->now_us - start_us) / 1000;
    uint32_t shown_ms = ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
    conn_stats_fold(conn);
    conn->last_op = info && info != &serve_refused ? (uint8_t)info->index : LAST_OP_NA;
    /* As in Java, pings and other negative xids leave the last one standing. */
    if (xid >= 0)
        conn->last_cxid = xid;
    conn->last_zxid = zxid;
    conn->last_response_ms = core->now_ms;
    conn->stats.latency_ms_last = shown_ms;
    if (conn->stats.latency_count++ == 0 || shown_ms < conn->stats.latency_ms_min)
        conn->stats.latency_ms_min = shown_ms;
    if (UNLIKELY(ms)) {
        conn->stats.latency_ms_sum += ms;
        if (shown_ms > conn->stats.latency_ms_max)
            conn->stats.latency_ms_max = shown_ms;
        core_note_latency(core, ms, 1);
    } else {
        core->turn.quick++;
    }
    if (info)
        stat_add(&core->stats.ops[info->index], 1);
}

void conn_note_reply(struct core *core, struct conn *conn, size_t body_size)
{
    conn->stats.sent++;
    core->turn.replies++;
    core_note_size(core, (int64_t)body_size + REPLY_HEADER_BYTES);
}

void conn_stats_fold(struct conn *conn)
{
    conn->stats.received += conn->reads_new;
    conn->reads_new = 0;
    if (conn->quick_replies == 0)
        return;
    conn->stats.sent += conn->quick_replies;
    conn->stats.latency_count += conn->quick_replies;
    conn->stats.latency_ms_min = conn->stats.latency_ms_last = 0;
    conn->quick_replies = 0;
}
