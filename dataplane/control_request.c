/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Ops taken in by the control core: handshakes, writes, the server's own closes and deletes.
 *
 * A write is checked and prepared (tree_prepare), its log entry sealed in place in the batch that
 * the log thread takes next, proposed, and waits in `pending` until its zxid is committed.
 */
#include <openssl/crypto.h>

#include "client/wire/check.h"
#include "client/wire/request.h"
#include "dataplane/control.h"
#include "dataplane/log.h"

/* Bytes of records after which the next op waits for the log thread. */
#define FILL_BYTES_MAX (LOG_BATCH_BYTES_MAX / 2)

static_assert(FILL_BYTES_MAX + PERSIST_ENTRY_BYTES_MAX + TXNLOG_RECORD_HEAD + TXNLOG_RECORD_TAIL <
                  LOG_BATCH_BYTES_MAX,
              "an entry always fits into a batch that is not full");

/* Goes back at the newest state's zxid, once that is committed. */
static void finish_at_newest(struct control *c, struct op *op)
{
    op->zxid = tree_newest_zxid(c->tree);
    if (c->pending.count)
        op_list_push(&c->pending, op);
    else
        control_committed(c, op);
}

static void refuse(struct control *c, struct op *op, int32_t err)
{
    op->err = err;
    finish_at_newest(c, op);
}

/* --- writes --- */

static const struct opcode_info *txn_info(const struct op *op)
{
    switch (op->kind) {
    case OP_CONNECT: return opcode_find(OP_CREATE_SESSION);
    case OP_EXPIRE: return opcode_find(OP_CLOSE_SESSION);
    case OP_REAP: return opcode_find(OP_DELETE_CONTAINER);
    default: return op->info;
    }
}

/* Read once per step: the time of all its txns. */
static int64_t wall_ms(struct control *c)
{
    if (!c->wall_ms)
        c->wall_ms = (int64_t)server_wall_ms();
    return c->wall_ms;
}

/* Prepare the txn and its sealed record at the end of the batch being filled. */
static enum tree_verdict prepare(struct control *c, struct op *op, struct tree_answer *answer,
                                 struct bytes *entry)
{
    struct buffer *records = &c->filling->records;
    size_t start = records->size;
    uint8_t timeout[4];
    be32_store(timeout, (uint32_t)op->timeout_ms);
    struct tree_request request = {
        .session = op->session_id,
        .cxid = op->xid,
        .op = txn_info(op),
        .body = op->kind == OP_CONNECT ? (struct bytes){.data = timeout, .size = sizeof timeout}
                                       : (struct bytes){.data = op->body, .size = op->body_size},
        .auth = op->auth,
        .zxid = zab_next_zxid(c->zab),
        .time_ms = wall_ms(c),
    };
    if (!buffer_room(records, TXNLOG_RECORD_HEAD)) {
        records->failed = false;
        return TREE_ENOMEM;
    }
    enum tree_verdict verdict = tree_prepare(c->tree, &request, records, answer);
    if (verdict != TREE_TXN) {
        records->size = start;
        records->failed = false;
        return verdict;
    }
    uint32_t entry_bytes = (uint32_t)(records->size - start - TXNLOG_RECORD_HEAD);
    uint8_t *tail = buffer_room(records, TXNLOG_RECORD_TAIL);
    CHECK(tail && !records->failed);
    int sealed = txnlog_seal(records->data + start, entry_bytes);
    CHECK(sealed > 0); /* tree_prepare keeps entry_bytes_max */
    *entry = (struct bytes){records->data + start + TXNLOG_RECORD_HEAD, entry_bytes};
    return TREE_TXN;
}

static void propose(struct control *c, struct op *op, struct bytes entry)
{
    zxid_t zxid = zab_next_zxid(c->zab);
    struct zab_event event = {.kind = ZAB_PROPOSE, .propose = {zxid, entry}};
    struct zab_ready ready;
    int refused = zab_step(c->zab, &event, &ready);
    CHECK(refused == 0 && ready.append_from == zxid && ready.append_to == zxid);
    if (!c->filling->first)
        c->filling->first = zxid;
    c->filling->last = zxid;
    op->zxid = zxid;
    op_list_push(&c->pending, op);
    stat_add(&c->proposals, 1);
}

/* An entry's size is known only when it is made; room is kept for the largest. */
static bool window_full(const struct control *c)
{
    return c->stalled.count || c->filling->records.size > FILL_BYTES_MAX ||
           zab_can_propose(c->zab, PERSIST_ENTRY_BYTES_MAX) == ZAB_BUSY;
}

static void write_op(struct control *c, struct op *op)
{
    if (c->failed) {
        op->zxid = INT64_MAX;
        op_list_push(&c->pending, op); /* K4: never answered; the connection goes with the
                                        * process */
        return;
    }
    if (window_full(c)) {
        op_list_push(&c->stalled, op);
        return;
    }
    c->reply.size = 0;
    c->reply.failed = false;
    struct tree_answer answer = {.body = &c->reply};
    struct bytes entry = BYTES_NULL;
    enum tree_verdict verdict = prepare(c, op, &answer, &entry);
    op->err = verdict == TREE_ENOMEM ? ZK_MARSHALLINGERROR : answer.err;
    if (verdict != TREE_ENOMEM && !c->reply.failed && !op_answer(op, c->reply.data, c->reply.size))
        op->no_reply = op->close_after = true; /* done, but there is no memory to say so */
    if (verdict == TREE_TXN)
        propose(c, op, entry);
    else
        finish_at_newest(c, op);
}

void control_unstall(struct control *c)
{
    struct op_list stalled = c->stalled;
    if (!stalled.count)
        return;
    op_list_init(&c->stalled);
    struct op *op;
    while ((op = op_list_pop(&stalled)))
        control_take(c, op);
}

/* --- requests of clients --- */

static void close_request(struct control *c, struct op *op)
{
    session_begin_close(c->sessions, op->session);
    op->close_after = true;
    write_op(c, op);
}

static void ephemerals_request(struct control *c, struct op *op)
{
    struct request request;
    if (request_decode(op->info, (struct bytes){op->body, op->body_size}, &request) != 0) {
        refuse(c, op, ZK_MARSHALLINGERROR);
        return;
    }
    c->reply.size = 0;
    c->reply.failed = false;
    tree_ephemerals_write(c->tree, op->session_id, request.path, &c->reply);
    if (c->reply.failed || !op_answer(op, c->reply.data, c->reply.size))
        op->err = ZK_MARSHALLINGERROR;
    finish_at_newest(c, op);
}

/* sync: everything committed before is applied when it is answered; the reply echoes the path. */
static void sync_request(struct control *c, struct op *op)
{
    struct request request;
    if (request_decode(op->info, (struct bytes){op->body, op->body_size}, &request) != 0) {
        refuse(c, op, ZK_MARSHALLINGERROR);
        return;
    }
    if (!op_answer(op, op->body, jute_bytes_size(request.path)))
        op->err = ZK_MARSHALLINGERROR;
    finish_at_newest(c, op);
}

static void client_request(struct control *c, struct op *op)
{
    struct session *session = op->session;
    if (session->conn != op->conn || session->closed) {
        op->no_reply = true; /* moved to another connection, or gone: this one is being closed */
        finish_at_newest(c, op);
    } else if (session->closing) {
        refuse(c, op, ZK_SESSIONEXPIRED);
    } else {
        switch (op->info->number) {
        case OP_CLOSE_SESSION: close_request(c, op); break;
        case OP_SYNC: sync_request(c, op); break;
        case OP_GET_EPHEMERALS: ephemerals_request(c, op); break;
        default:
            if (op->info->number == OP_GET_ALL_CHILDREN_NUMBER)
                finish_at_newest(c, op);
            else
                write_op(c, op);
        }
    }
}

/* --- handshakes (client-protocol.md section 13.2) --- */

static void connect_request(struct control *c, struct op *op)
{
    atomic_fetch_add_explicit(&c->connection_requests, 1, memory_order_relaxed);
    if (op->session_id == 0) {
        op->info = opcode_find(OP_CREATE_SESSION);
        op->session_id = c->next_session_id++;
        session_passwd(op->session_id, op->passwd);
        write_op(c, op);
        return;
    }
    uint8_t passwd[PASSWD_BYTES];
    session_passwd(op->session_id, passwd);
    bool passwd_ok = op->err == 0 && CRYPTO_memcmp(passwd, op->passwd, PASSWD_BYTES) == 0;
    struct session *s = session_find(c->sessions, op->session_id);
    if (!passwd_ok || !s || s->closing) {
        finish_at_newest(c, op); /* op->session == NULL: refused */
        return;
    }
    /*
     * The password comes first, so that knowing an id alone cuts nobody off (semantics.md section
     * 21).
     */
    if (s->conn)
        control_tell(c, s->core, OP_CLOSE, s->conn, s);
    s->conn = op->conn;
    s->core = op->core;
    s->refs++;
    session_renew(c->sessions, s, op->timeout_ms, (int64_t)c->now_ms);
    op->session = s;
    atomic_fetch_add_explicit(&c->revalidated, 1, memory_order_relaxed);
    finish_at_newest(c, op);
}

static void session_created(struct control *c, struct op *op)
{
    if (op->err)
        return; /* no txn, no session: refused */
    struct session *s =
        session_open(c->sessions, op->session_id, op->timeout_ms, (int64_t)c->now_ms);
    if (!s)
        return; /* refused: the client sees an expired session; the record goes at the next start */
    s->conn = op->conn;
    s->core = op->core;
    s->refs = 1;
    op->session = s;
}

static void detach(struct control *c, struct op *op)
{
    session_detach(op->session, op->conn);
    control_finish(c, op);
}

/* --- committed --- */

static void session_closed(struct control *c, struct op *op)
{
    struct session *s = op->session;
    if (s->conn && s->conn != op->conn)
        control_tell(c, s->core, OP_CLOSE, s->conn, s);
    session_finish_close(c->sessions, s);
}

void control_committed(struct control *c, struct op *op)
{
    stat_add(&c->commits, 1);
    switch (op->kind) {
    case OP_CONNECT:
        if (!op->session && op->info)
            session_created(c, op);
        control_finish(c, op);
        break;
    case OP_EXPIRE:
        session_closed(c, op);
        op_free(op);
        break;
    case OP_REAP: op_free(op); break;
    case OP_WORD: control_finish(c, op); break;
    default:
        if (op->info->number == OP_CLOSE_SESSION && op->close_after)
            session_closed(c, op);
        if (op->info->number == OP_GET_ALL_CHILDREN_NUMBER && !op->no_reply && !op->err)
            control_walk_begin(c, op);
        else
            control_finish(c, op);
    }
}

/* --- */

static void expire(void *ctx, struct session *s)
{
    struct control *c = ctx;
    struct op *op = op_new(OP_EXPIRE, 0);
    CHECK(op);
    op->session = s;
    op->session_id = s->id;
    session_begin_close(c->sessions, s);
    atomic_fetch_add_explicit(&c->sessions_expired, 1, memory_order_relaxed);
    write_op(c, op);
}

void control_expire(struct control *c)
{
    session_expire_due(c->sessions, (int64_t)c->now_ms, expire, c);
}

void control_take(struct control *c, struct op *op)
{
    /* Nothing overtakes a stalled write: replies of one connection leave in order. */
    if ((op->kind == OP_REQUEST || op->kind == OP_CONNECT) && window_full(c)) {
        op_list_push(&c->stalled, op);
        return;
    }
    switch (op->kind) {
    case OP_REQUEST: client_request(c, op); break;
    case OP_CONNECT: connect_request(c, op); break;
    case OP_DETACH: detach(c, op); break;
    case OP_WORD: control_word(c, op); break;
    case OP_COLLECTED: control_word_collected(c, op); break;
    case OP_EXPIRE:
    case OP_REAP: write_op(c, op); break;
    default: CHECK(!"an op that data cores do not send");
    }
}
