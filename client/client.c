/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "client/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/address.h"
#include "client/wire/check.h"

#define INPUT_BYTES_START (64u << 10)
#define CONNECT_BYTES 45
#define CLOSE_WAIT_MS 2000

struct client {
    /* config */
    struct client_options options;
    char *servers;
    char server[ADDRESS_TEXT_BYTES];
    /* session */
    session_id_t session;
    uint8_t passwd[PASSWD_BYTES];
    int32_t session_ms;
    zxid_t last_zxid;
    /* connection; fd == -1: lost */
    int fd;
    int32_t xid_next;     /* of the next request */
    int32_t xid_expected; /* of the next ordinary reply; xid_expected <= xid_next */
    uint32_t auths;       /* auth requests in flight; their replies may overtake others */
    int64_t heard_ms, sent_ms, pinged_ms; /* pinged_ms == 0: no ping under way */
    uint8_t *in;
    size_t in_from, in_to, in_room; /* in_from <= in_to <= in_room */
    uint8_t *out;
    size_t out_from, out_to,
        out_room; /* out_from <= out_to <= out_room; a begun request lies behind out_to */
    enum zk_opcode begun;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const char *client_error_text(int code)
{
    switch (code) {
#define X(name, value, text)                                                                       \
    case value: return text;
        CLIENT_ERRORS(X)
#undef X
    default: return zk_error_text(code);
    }
}

static int lose(struct client *c, int error)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    return error;
}

static bool wait_for(int fd, short events, int64_t until_ms)
{
    for (;;) {
        int64_t left_ms = until_ms - now_ms();
        struct pollfd p = {fd, events, 0};
        int n = poll(&p, 1, left_ms > 0 ? (int)left_ms : 0);
        if (n > 0)
            return true;
        if (n == 0 || errno != EINTR)
            return false;
    }
}

/* ---- connecting ---- */

static int tcp_connect(const struct address *a, int64_t until_ms)
{
    int fd = socket(a->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int error = 0;
    socklen_t n = sizeof error;
    bool done = connect(fd, (const struct sockaddr *)&a->storage, a->bytes) == 0;
    if (!done && errno == EINPROGRESS && wait_for(fd, POLLOUT, until_ms))
        done = getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0;
    if (!done) {
        close(fd);
        return -1;
    }
    address_no_delay(fd);
    return fd;
}

static bool send_whole(int fd, const uint8_t *data, size_t n, int64_t until_ms)
{
    while (n) {
        ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            n -= (size_t)sent;
        } else if (errno != EINTR && (errno != EAGAIN || !wait_for(fd, POLLOUT, until_ms))) {
            return false;
        }
    }
    return true;
}

static bool receive_whole(int fd, uint8_t *data, size_t n, int64_t until_ms)
{
    while (n) {
        ssize_t got = recv(fd, data, n, 0);
        if (got > 0) {
            data += got;
            n -= (size_t)got;
        } else if (got == 0
                   || (errno != EINTR && (errno != EAGAIN || !wait_for(fd, POLLIN, until_ms)))) {
            return false;
        }
    }
    return true;
}

/* ConnectRequest and ConnectResponse, client-protocol.md section 3. */
static int shake_hands(struct client *c, int fd, int64_t until_ms)
{
    uint8_t frame[4 + CONNECT_BYTES + 64];
    struct jute_writer w = jute_writer_of(frame, sizeof frame);
    jute_write_int(&w, CONNECT_BYTES);
    jute_write_int(&w, 0);
    jute_write_long(&w, c->last_zxid);
    jute_write_int(&w, c->options.session_ms);
    jute_write_long(&w, c->session);
    jute_write_bytes(&w, (struct bytes){c->passwd, PASSWD_BYTES});
    jute_write_bool(&w, c->options.read_only);
    CHECK(jute_written(&w) == 4 + CONNECT_BYTES);
    if (!send_whole(fd, frame, 4 + CONNECT_BYTES, until_ms)
        || !receive_whole(fd, frame, 4, until_ms))
        return CLIENT_ECONNECT;
    uint32_t n = be32_load(frame);
    if (n < 36 || n > sizeof frame)
        return CLIENT_EPROTO;
    if (!receive_whole(fd, frame, n, until_ms))
        return CLIENT_ECONNECT;
    struct jute_reader r = jute_reader_of(frame, n);
    (void)jute_read_int(&r); /* protocolVersion: always 0 */
    int32_t session_ms = jute_read_int(&r);
    session_id_t session = jute_read_long(&r);
    struct bytes passwd = jute_read_bytes(&r);
    if (r.failed || passwd.size != PASSWD_BYTES)
        return CLIENT_EPROTO;
    if (session_ms <= 0)
        return CLIENT_EEXPIRED;
    c->session_ms = session_ms;
    c->session = session;
    memcpy(c->passwd, passwd.data, PASSWD_BYTES);
    return 0;
}

static int connect_one(struct client *c, const struct address *a)
{
    int64_t until_ms = now_ms() + c->options.connect_ms;
    int fd = tcp_connect(a, until_ms);
    if (fd < 0)
        return CLIENT_ECONNECT;
    int rc = shake_hands(c, fd, until_ms);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    c->fd = fd;
    c->xid_next = c->xid_expected = 1;
    c->auths = 0;
    c->in_from = c->in_to = c->out_from = c->out_to = 0;
    c->heard_ms = c->sent_ms = now_ms();
    c->pinged_ms = 0;
    return 0;
}

static int connect_any(struct client *c)
{
    int rc = CLIENT_EADDRESS;
    const char *next = c->servers;
    while (*next) {
        struct address found[ADDRESSES_MAX];
        int n = address_resolve(&next, c->server, found);
        for (int i = 0; i < n; i++) {
            rc = connect_one(c, &found[i]);
            if (rc == 0 || rc == CLIENT_EEXPIRED)
                return rc;
        }
    }
    return rc;
}

int client_open(const struct client_options *options, struct client **out)
{
    *out = NULL;
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return CLIENT_EMEMORY;
    c->fd = -1;
    c->options = *options;
    c->options.servers = NULL; /* the copy below counts */
    c->servers = strdup(options->servers);
    if (c->options.session_ms <= 0)
        c->options.session_ms = 30000;
    if (c->options.connect_ms <= 0)
        c->options.connect_ms = 5000;
    if (c->options.reply_bytes_max == 0)
        c->options.reply_bytes_max = 64u << 20;
    c->in_room = INPUT_BYTES_START;
    c->in = malloc(c->in_room);
    int rc = c->servers && c->in ? connect_any(c) : CLIENT_EMEMORY;
    if (rc != 0) {
        client_close(c);
        return rc;
    }
    *out = c;
    return 0;
}

int client_resume(struct client *c)
{
    lose(c, 0);
    return connect_any(c);
}

/* ---- requests ---- */

int client_begin(struct client *c, enum zk_opcode op, size_t body_bytes_max, struct jute_writer *w)
{
    if (c->fd < 0)
        return CLIENT_ELOST;
    size_t bytes = 4 + REQUEST_HEADER_BYTES + body_bytes_max;
    if (c->out_from == c->out_to)
        c->out_from = c->out_to = 0;
    if (c->out_room - c->out_to < bytes) {
        size_t room = 2 * (c->out_to + bytes);
        uint8_t *p = realloc(c->out, room);
        if (!p)
            return CLIENT_EMEMORY;
        c->out = p;
        c->out_room = room;
    }
    c->begun = op;
    *w = jute_writer_of(c->out + c->out_to + 4 + REQUEST_HEADER_BYTES, body_bytes_max);
    return 0;
}

int client_commit(struct client *c, const struct jute_writer *w, int32_t *xid)
{
    size_t bytes = REQUEST_HEADER_BYTES + jute_written(w);
    uint8_t *frame = c->out + c->out_to;
    CHECK(w->start == frame + 4 + REQUEST_HEADER_BYTES);
    if (w->failed || bytes > INT32_MAX)
        return CLIENT_ETOOBIG;
    int32_t own = c->begun == OP_AUTH ? XID_AUTH : c->begun == OP_PING ? XID_PING : c->xid_next;
    be32_store(frame, (uint32_t)bytes);
    be32_store(frame + 4, (uint32_t)own);
    be32_store(frame + 8, (uint32_t)c->begun);
    c->out_to += 4 + bytes;
    if (own == XID_AUTH)
        c->auths++;
    if (own > 0)
        c->xid_next++;
    if (xid)
        *xid = own;
    return 0;
}

int client_flush(struct client *c)
{
    if (c->fd < 0)
        return CLIENT_ELOST;
    if (c->out_from == c->out_to)
        return 0;
    int64_t now = now_ms();
    if (!send_whole(c->fd, c->out + c->out_from, c->out_to - c->out_from, now + c->session_ms))
        return lose(c, CLIENT_ELOST);
    c->out_from = c->out_to = 0;
    c->sent_ms = now;
    return 0;
}

/* ---- replies ---- */

static int take_event(struct client *c, struct jute_reader *r, zxid_t zxid)
{
    struct client_event event = {.zxid = zxid};
    event.type = jute_read_int(r);
    (void)jute_read_int(r); /* state: always SyncConnected */
    event.path = jute_read_bytes(r);
    if (r->failed)
        return lose(c, CLIENT_EPROTO);
    if (c->options.on_event)
        c->options.on_event(c->options.context, &event);
    return 0;
}

/* A whole frame: 1 a reply for the caller, 0 dealt with here, < 0 error. */
static int take_frame(struct client *c, const uint8_t *data, uint32_t size,
                      struct client_reply *reply)
{
    struct jute_reader r = jute_reader_of(data, size);
    reply->xid = jute_read_int(&r);
    reply->zxid = jute_read_long(&r);
    reply->error = jute_read_int(&r);
    if (r.failed)
        return lose(c, CLIENT_EPROTO);
    if (reply->zxid > c->last_zxid)
        c->last_zxid = reply->zxid;
    if (reply->xid == XID_NOTIFICATION)
        return take_event(c, &r, reply->zxid);
    if (reply->xid == XID_PING) {
        c->pinged_ms = 0;
        return 0;
    }
    reply->body = (struct bytes){r.p, (uint32_t)jute_left(&r)};
    if (reply->xid == XID_AUTH && c->auths > 0) {
        c->auths--;
        return 1;
    }
    if (reply->xid != c->xid_expected || c->xid_expected == c->xid_next)
        return lose(c, CLIENT_EPROTO);
    c->xid_expected++;
    return 1;
}

/* What lies in the input already: 1, 0 (need more), < 0. */
static int take_buffered(struct client *c, struct client_reply *reply)
{
    while (c->in_to - c->in_from >= 4) {
        uint32_t size = be32_load(c->in + c->in_from);
        if (size > c->options.reply_bytes_max)
            return lose(c, CLIENT_EPROTO);
        if (c->in_to - c->in_from < 4 + (size_t)size)
            return 0;
        const uint8_t *data = c->in + c->in_from + 4;
        c->in_from += 4 + (size_t)size;
        int rc = take_frame(c, data, size, reply);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Room behind what is there: moves the rest to the front, grows for a long frame. */
static int input_room(struct client *c)
{
    size_t kept = c->in_to - c->in_from;
    memmove(c->in, c->in + c->in_from, kept);
    c->in_from = 0;
    c->in_to = kept;
    if (kept < c->in_room / 2)
        return 0;
    uint8_t *p = realloc(c->in, c->in_room * 2);
    if (!p)
        return lose(c, CLIENT_EMEMORY);
    c->in = p;
    c->in_room *= 2;
    return 0;
}

static int keep_alive(struct client *c, int64_t now)
{
    if (now - c->heard_ms > c->session_ms)
        return lose(c, CLIENT_ELOST);
    if (now - c->sent_ms < c->session_ms / 3 || c->pinged_ms)
        return 0;
    struct jute_writer w;
    int rc = client_begin(c, OP_PING, 0, &w);
    if (rc == 0)
        rc = client_commit(c, &w, NULL);
    c->pinged_ms = now;
    return rc == 0 ? client_flush(c) : rc;
}

/* Wait for bytes until `until_ms` or the next duty, whichever is first, and read them. */
static int receive(struct client *c, int64_t until_ms, int64_t now)
{
    int64_t duty_ms = now + c->session_ms / 6 + 1;
    if (!wait_for(c->fd, POLLIN, until_ms < duty_ms ? until_ms : duty_ms))
        return 0;
    int rc = input_room(c);
    if (rc != 0)
        return rc;
    ssize_t n = recv(c->fd, c->in + c->in_to, c->in_room - c->in_to, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        return lose(c, CLIENT_ELOST);
    if (n > 0) {
        c->in_to += (size_t)n;
        c->heard_ms = now_ms();
    }
    return 0;
}

int client_poll(struct client *c, int timeout_ms, struct client_reply *reply)
{
    int64_t until_ms = timeout_ms < 0 ? INT64_MAX : now_ms() + timeout_ms;
    int rc = client_flush(c);
    for (bool looked = false;; looked = true) {
        if (rc == 0)
            rc = take_buffered(c, reply);
        if (rc != 0)
            return rc;
        int64_t now = now_ms();
        if (looked && now >= until_ms)
            return 0;
        rc = keep_alive(c, now);
        if (rc == 0)
            rc = receive(c, until_ms, now);
    }
}

uint32_t client_outstanding(const struct client *c)
{
    return (uint32_t)(c->xid_next - c->xid_expected) + c->auths;
}

int client_fd(const struct client *c)
{
    return c->fd;
}

session_id_t client_session(const struct client *c)
{
    return c->session;
}

int32_t client_session_ms(const struct client *c)
{
    return c->session_ms;
}

const char *client_server(const struct client *c)
{
    return c->server;
}

zxid_t client_last_zxid(const struct client *c)
{
    return c->last_zxid;
}

void client_close(struct client *c)
{
    if (!c)
        return;
    struct jute_writer w;
    int32_t last = 0;
    if (c->fd >= 0 && client_begin(c, OP_CLOSE_SESSION, 0, &w) == 0
        && client_commit(c, &w, &last) == 0) {
        struct client_reply reply = {0};
        int64_t until_ms = now_ms() + CLOSE_WAIT_MS;
        while (reply.xid != last && now_ms() < until_ms
               && client_poll(c, CLOSE_WAIT_MS, &reply) > 0)
            ; /* replies nobody will read any more */
    }
    lose(c, 0);
    free(c->servers);
    free(c->in);
    free(c->out);
    free(c);
}
