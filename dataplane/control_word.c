/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Four-letter words that need every core, or what only the control core knows: each core is asked
 * for its part, the parts are joined, the answer goes back to the core that asked.
 */
#include <stdlib.h>

#include "client/wire/check.h"
#include "dataplane/control.h"
#include "dataplane/metrics.h"
#include "dataplane/word.h"

static void answer(struct control *c, struct op *op, struct text_buffer *text)
{
    /* without memory the answer is empty */
    (void)op_answer(op, (const uint8_t *)text->data, text->size);
    text_buffer_free(text);
    control_finish(c, op);
}

/* --- words that the control core answers alone --- */

/* As ZooKeeper's `conf` and `dirs` count: every file of the directory. */
static int64_t directory_bytes(const char *path)
{
    uint64_t bytes;
    return storage_dir_bytes(storage_file(), path, &bytes) == 0 ? (int64_t)bytes : 0;
}

static void format_dirs(struct control *c, struct text_buffer *text)
{
    const struct directory *d = &c->server->directory;
    words_format_dirs(text, directory_bytes(d->snap), directory_bytes(d->log));
}

static void format_conf(struct control *c, struct text_buffer *text)
{
    const struct config *config = &c->server->config;
    const struct directory *d = &c->server->directory;
    struct conf_stats stats = {
        .client_port = config->client_port,
        .secure_client_port = -1,
        .data_dir = d->snap,
        .data_log_dir = d->log,
        .data_dir_bytes = directory_bytes(d->snap),
        .data_log_dir_bytes = directory_bytes(d->log),
        .tick_time_ms = config->tick_time_ms,
        .max_client_cnxns = config->max_client_cnxns,
        .session_timeout_ms_min = config->session_timeout_ms_min,
        .session_timeout_ms_max = config->session_timeout_ms_max,
        .listen_backlog = config->client_port_listen_backlog,
    };
    words_format_conf(text, &stats);
}

static void format_hash(struct control *c, struct text_buffer *text)
{
    const struct digest_log *log = &c->digests;
    uint32_t first = (log->next + DIGEST_LOG_ENTRIES - log->count) % DIGEST_LOG_ENTRIES;
    for (uint32_t i = 0; i < log->count; i++) {
        uint32_t at = (first + i) % DIGEST_LOG_ENTRIES;
        words_format_hash(text, log->entries[at].zxid, (int64_t)log->entries[at].digest);
    }
}

static bool format_alone(struct control *c, struct text_buffer *text, enum word word)
{
    switch (word) {
    case WORD_CONF: format_conf(c, text); return true;
    case WORD_DIRS: format_dirs(c, text); return true;
    case WORD_HASH: format_hash(c, text); return true;
    default: return false;
    }
}

/* --- dump --- */

struct dump {
    struct text_buffer *text;
    const struct control *control;
    int64_t bucket_ms;
    int64_t bucket_sessions, buckets, sessions;
    session_id_t owner;
    int64_t owners;
    bool counting;
};

/*
 * Sessions come bucket by bucket; the header of a bucket needs its size, so everything is walked
 * twice.
 */
static void dump_count(void *ctx, const struct session *s)
{
    struct dump *d = ctx;
    int64_t bucket_ms = session_bucket_ms(d->control->sessions, s);
    if (d->buckets == 0 || bucket_ms != d->bucket_ms)
        d->buckets++;
    d->bucket_ms = bucket_ms;
    d->sessions++;
}

static void dump_bucket_size(void *ctx, const struct session *s)
{
    struct dump *d = ctx;
    d->bucket_sessions += session_bucket_ms(d->control->sessions, s) == d->bucket_ms;
}

static void dump_session(void *ctx, const struct session *s)
{
    struct dump *d = ctx;
    int64_t bucket_ms = session_bucket_ms(d->control->sessions, s);
    if (bucket_ms != d->bucket_ms) {
        d->bucket_ms = bucket_ms;
        d->bucket_sessions = 0;
        session_each(d->control->sessions, dump_bucket_size, d);
        int64_t wall_ms = (int64_t)server_wall_ms() + bucket_ms - (int64_t)d->control->now_ms;
        words_format_dump_bucket(d->text, d->bucket_sessions, wall_ms);
    }
    words_format_dump_session(d->text, s->id);
}

static void dump_ephemeral(void *ctx, session_id_t session, struct bytes path)
{
    struct dump *d = ctx;
    if (session != d->owner || d->owners == 0) {
        d->owner = session;
        d->owners++;
        if (!d->counting)
            words_format_dump_owner(d->text, session);
    }
    if (!d->counting)
        words_format_dump_path(d->text, (const char *)path.data, path.size);
}

static void format_dump(struct control *c, struct text_buffer *text, struct collect *part)
{
    struct dump d = {.text = text, .control = c};
    session_each(c->sessions, dump_count, &d);
    words_format_dump_sessions(text, d.buckets, d.sessions);
    d.bucket_ms = INT64_MIN;
    session_each(c->sessions, dump_session, &d);
    d.counting = true;
    tree_ephemerals_each(c->tree, dump_ephemeral, &d);
    words_format_dump_ephemerals(text, d.owners);
    d.counting = false;
    d.owners = 0;
    tree_ephemerals_each(c->tree, dump_ephemeral, &d);
    words_format_dump_connections(text, 1, (int64_t)part->numbers[0]);
    words_format_dump_bucket(text, (int64_t)part->numbers[0],
                             (int64_t)server_wall_ms() +
                                 c->server->config.sessionless_cnxn_timeout_ms);
}

/* --- words that every core answers a part of --- */

static void append_parts(struct text_buffer *text, const struct collect *part)
{
    text_append_bytes(text, part->text.data, part->text.size);
}

static void format_collected(struct control *c, struct text_buffer *text, struct collect *part,
                             enum word word)
{
    struct server_stats stats;
    switch (word) {
    case WORD_STAT:
        metrics_server(c->server, &stats);
        words_format_stat_begin(text, &stats);
        append_parts(text, part);
        words_format_stat_end(text, &stats);
        break;
    case WORD_CONS:
        append_parts(text, part);
        words_format_cons_end(text);
        break;
    case WORD_DUMP:
        format_dump(c, text, part);
        append_parts(text, part);
        break;
    case WORD_WCHS:
        words_format_wchs(text, (int64_t)part->numbers[0], (int64_t)part->numbers[1],
                          (int64_t)part->numbers[2]);
        break;
    case WORD_WCHC:
    case WORD_WCHP:
        append_parts(text, part);
        words_format_wch_end(text);
        break;
    case WORD_CRST: words_format_crst(text); break;
    default: words_format_srst(text); break;
    }
}

static void ask_cores(struct control *c, struct op *op)
{
    struct collect *part = calloc(1, sizeof *part);
    CHECK(part);
    part->op = op;
    part->parts_left = c->server->core_count;
    buffer_init(&part->text, WORD_TEXT_BYTES_MAX);
    part->next = c->collects;
    c->collects = part;
    for (unsigned i = 0; i < c->server->core_count; i++) {
        struct op *ask = op_new(OP_COLLECT, sizeof(struct word_part));
        CHECK(ask);
        ask->core = (uint16_t)i;
        ask->xid = op->xid;
        ask->conn = op->conn; /* only compared */
        control_finish(c, ask);
    }
}

void control_word(struct control *c, struct op *op)
{
    struct text_buffer text = text_buffer_of(WORD_TEXT_BYTES_MAX);
    if (format_alone(c, &text, (enum word)op->xid))
        answer(c, op, &text);
    else
        ask_cores(c, op);
}

void control_word_collected(struct control *c, struct op *op)
{
    struct collect **link = &c->collects;
    while (*link && ((*link)->op->xid != op->xid || (*link)->op->conn != op->conn))
        link = &(*link)->next;
    struct collect *part = *link;
    CHECK(part);
    struct word_part numbers;
    memcpy(&numbers, op->body, sizeof numbers);
    part->numbers[0] += numbers.connections;
    part->numbers[1] += numbers.paths;
    part->numbers[2] += numbers.watches;
    buffer_put_raw(&part->text, op->answer, op->answer_size);
    op_free(op);
    if (--part->parts_left)
        return;
    *link = part->next;
    struct text_buffer text = text_buffer_of(WORD_TEXT_BYTES_MAX);
    format_collected(c, &text, part, (enum word)part->op->xid);
    answer(c, part->op, &text);
    buffer_free(&part->text);
    free(part);
}
