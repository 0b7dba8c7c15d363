/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: the promises of client/client.h against a server that misbehaves on purpose.
 * Method: a scripted server, one thread on a loopback socket, that reads whole frames and sends
 * bytes we choose.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netinet/in.h>

#include <cmocka.h>

#include "client/calls.h"
#include "client/wire/check.h"

struct server {
    int listener;
    char name[32];
    void (*script)(int fd);
    int connections;
    pthread_t thread;
    uint8_t hello[2][49]; /* the connect requests seen */
};

static void send_bytes(int fd, const void *data, size_t n)
{
    CHECK(send(fd, data, n, MSG_NOSIGNAL) == (ssize_t)n);
}

/* One frame's payload; its size, or -1 when the client has gone. */
static int take_frame(int fd, uint8_t *out, size_t room)
{
    uint8_t length[4];
    if (recv(fd, length, 4, MSG_WAITALL) != 4)
        return -1;
    uint32_t n = be32_load(length);
    CHECK(n <= room);
    return recv(fd, out, n, MSG_WAITALL) == (ssize_t)n ? (int)n : -1;
}

static void send_reply(int fd, int32_t xid, int32_t error, const void *body, size_t n)
{
    uint8_t frame[4 + REPLY_HEADER_BYTES + 256];
    CHECK(n <= 256);
    be32_store(frame, (uint32_t)(REPLY_HEADER_BYTES + n));
    be32_store(frame + 4, (uint32_t)xid);
    be64_store(frame + 8, 77);
    be32_store(frame + 16, (uint32_t)error);
    if (n)
        memcpy(frame + 20, body, n);
    send_bytes(fd, frame, 20 + n);
}

static void send_hello(int fd, int32_t session_ms)
{
    uint8_t frame[4 + 37] = {0};
    be32_store(frame, 37);
    be32_store(frame + 8, (uint32_t)session_ms);
    be64_store(frame + 12, session_ms ? 0x1234 : 0);
    be32_store(frame + 20, PASSWD_BYTES);
    memset(frame + 24, session_ms ? 0xab : 0, PASSWD_BYTES);
    send_bytes(fd, frame, sizeof frame);
}

static void *serve(void *argument)
{
    struct server *s = argument;
    for (int i = 0; i < s->connections; i++) {
        int fd = accept(s->listener, NULL, NULL);
        CHECK(fd >= 0);
        if (recv(fd, s->hello[i], 49, MSG_WAITALL) == 49)
            s->script(fd);
        close(fd);
    }
    return NULL;
}

static void server_start(struct server *s, void (*script)(int fd), int connections)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof a;
    *s = (struct server){.script = script, .connections = connections};
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(s->listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(s->listener, 4) == 0);
    CHECK(getsockname(s->listener, (struct sockaddr *)&a, &n) == 0);
    snprintf(s->name, sizeof s->name, "127.0.0.1:%u", ntohs(a.sin_port));
    CHECK(pthread_create(&s->thread, NULL, serve, s) == 0);
}

static void server_end(struct server *s)
{
    pthread_join(s->thread, NULL);
    close(s->listener);
}

static struct client *open_client(const struct server *s)
{
    struct client *c;
    struct client_options o = {.servers = s->name, .reply_bytes_max = 4096};
    assert_int_equal(client_open(&o, &c), 0);
    return c;
}

/* Answer every request by its xid and no body, until the client closes. */
static void script_obey(int fd)
{
    uint8_t in[512];
    send_hello(fd, 30000);
    while (take_frame(fd, in, sizeof in) >= 8) {
        send_reply(fd, (int32_t)be32_load(in), 0, NULL, 0);
        if ((int32_t)be32_load(in + 4) == OP_CLOSE_SESSION)
            return;
    }
}

static void a_session_is_opened_and_closed(void **state)
{
    (void)state;
    struct server s;
    server_start(&s, script_obey, 1);
    struct client *c = open_client(&s);
    assert_int_equal(client_session(c), 0x1234);
    assert_int_equal(client_session_ms(c), 30000);
    client_close(c);
    server_end(&s);
    assert_int_equal(be32_load(s.hello[0]), 45);
    assert_int_equal(be64_load(s.hello[0] + 20), 0); /* no session yet */
}

static void script_refuse(int fd)
{
    send_hello(fd, 0);
}

static void a_refused_session_is_expired(void **state)
{
    (void)state;
    struct server s;
    struct client *c;
    server_start(&s, script_refuse, 1);
    struct client_options o = {.servers = s.name};
    assert_int_equal(client_open(&o, &c), CLIENT_EEXPIRED);
    assert_null(c);
    server_end(&s);
}

static int submit_sync(struct client *c, int32_t *xid)
{
    struct jute_writer w;
    int rc = client_begin(c, OP_SYNC, 8, &w);
    jute_write_bytes(&w, BYTES_OF("/"));
    return rc == 0 ? client_commit(c, &w, xid) : rc;
}

static void pipelined_replies_come_in_request_order(void **state)
{
    (void)state;
    struct server s;
    struct client_reply reply;
    server_start(&s, script_obey, 1);
    struct client *c = open_client(&s);
    int32_t xid[20];
    for (int i = 0; i < 20; i++)
        assert_int_equal(submit_sync(c, &xid[i]), 0);
    assert_int_equal(client_outstanding(c), 20);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(client_poll(c, -1, &reply), 1);
        assert_int_equal(reply.xid, xid[i]);
    }
    assert_int_equal(client_outstanding(c), 0);
    assert_int_equal(client_last_zxid(c), 77);
    client_close(c);
    server_end(&s);
}

static void script_swap(int fd)
{
    uint8_t in[512];
    send_hello(fd, 30000);
    take_frame(fd, in, sizeof in);
    send_reply(fd, 2, 0, NULL, 0);
}

static void a_reply_out_of_order_breaks_the_connection(void **state)
{
    (void)state;
    struct server s;
    struct client_reply reply;
    server_start(&s, script_swap, 1);
    struct client *c = open_client(&s);
    assert_int_equal(submit_sync(c, NULL), 0);
    assert_int_equal(submit_sync(c, NULL), 0);
    assert_int_equal(client_poll(c, -1, &reply), CLIENT_EPROTO);
    assert_int_equal(client_poll(c, -1, &reply), CLIENT_ELOST);
    client_close(c);
    server_end(&s);
}

static void script_unasked(int fd)
{
    send_hello(fd, 30000);
    send_reply(fd, 1, 0, NULL, 0);
}

static void a_reply_that_nobody_asked_for_breaks_the_connection(void **state)
{
    (void)state;
    struct server s;
    struct client_reply reply;
    server_start(&s, script_unasked, 1);
    struct client *c = open_client(&s);
    assert_int_equal(client_poll(c, -1, &reply), CLIENT_EPROTO);
    client_close(c);
    server_end(&s);
}

static void script_huge(int fd)
{
    uint8_t length[4];
    send_hello(fd, 30000);
    be32_store(length, 4097);
    send_bytes(fd, length, 4);
}

static void a_frame_above_the_limit_breaks_the_connection(void **state)
{
    (void)state;
    struct server s;
    struct client_reply reply;
    server_start(&s, script_huge, 1);
    struct client *c = open_client(&s);
    assert_int_equal(client_poll(c, -1, &reply), CLIENT_EPROTO);
    client_close(c);
    server_end(&s);
}

/* An event, then the reply, in pieces of one byte. */
static void script_event_in_pieces(int fd)
{
    uint8_t in[512], out[128];
    send_hello(fd, 30000);
    take_frame(fd, in, sizeof in);
    struct jute_writer w = jute_writer_of(out, sizeof out);
    jute_write_int(&w, REPLY_HEADER_BYTES + 4 + 4 + 4 + 2);
    jute_write_int(&w, XID_NOTIFICATION);
    jute_write_long(&w, 76);
    jute_write_int(&w, 0);
    jute_write_int(&w, EVENT_NODE_DELETED);
    jute_write_int(&w, KEEPER_STATE_SYNC_CONNECTED);
    jute_write_bytes(&w, BYTES_OF("/a"));
    jute_write_int(&w, REPLY_HEADER_BYTES);
    jute_write_int(&w, (int32_t)be32_load(in));
    jute_write_long(&w, 76);
    jute_write_int(&w, ZK_NONODE);
    for (size_t i = 0; i < jute_written(&w); i++)
        send_bytes(fd, out + i, 1);
}

static void note_event(void *context, const struct client_event *event)
{
    int *events = context;
    assert_int_equal(event->type, EVENT_NODE_DELETED);
    assert_int_equal(event->zxid, 76);
    assert_true(bytes_equal(event->path, BYTES_OF("/a")));
    ++*events;
}

static void an_event_is_handed_over_before_the_reply_behind_it(void **state)
{
    (void)state;
    struct server s;
    struct client *c;
    int events = 0;
    server_start(&s, script_event_in_pieces, 1);
    struct client_options o = {.servers = s.name, .on_event = note_event, .context = &events};
    assert_int_equal(client_open(&o, &c), 0);
    assert_int_equal(call_exists(c, BYTES_OF("/a"), true, NULL), ZK_NONODE);
    assert_int_equal(events, 1);
    client_close(c);
    server_end(&s);
}

/* The auth reply overtakes the one before it, as ZooKeeper's does (client-protocol.md section 4.2).
 */
static void script_auth_overtakes(int fd)
{
    uint8_t first[512], second[512];
    send_hello(fd, 30000);
    take_frame(fd, first, sizeof first);
    take_frame(fd, second, sizeof second);
    send_reply(fd, (int32_t)be32_load(second), 0, NULL, 0);
    send_reply(fd, (int32_t)be32_load(first), 0, NULL, 0);
}

static void an_auth_reply_may_overtake_others(void **state)
{
    (void)state;
    struct server s;
    struct client_reply reply;
    struct jute_writer w;
    int32_t sync_xid, auth_xid;
    server_start(&s, script_auth_overtakes, 1);
    struct client *c = open_client(&s);
    assert_int_equal(submit_sync(c, &sync_xid), 0);
    assert_int_equal(client_begin(c, OP_AUTH, 64, &w), 0);
    jute_write_int(&w, 0);
    jute_write_bytes(&w, BYTES_OF("digest"));
    jute_write_bytes(&w, BYTES_OF("u:p"));
    assert_int_equal(client_commit(c, &w, &auth_xid), 0);
    assert_int_equal(auth_xid, XID_AUTH);
    assert_int_equal(client_poll(c, -1, &reply), 1);
    assert_int_equal(reply.xid, XID_AUTH);
    assert_int_equal(client_poll(c, -1, &reply), 1);
    assert_int_equal(reply.xid, sync_xid);
    client_close(c);
    server_end(&s);
}

/* First connection: hang up on the first request. Second: obey. */
static void script_hang_up_once(int fd)
{
    static int connection;
    if (connection++)
        return script_obey(fd);
    uint8_t in[512];
    send_hello(fd, 30000);
    take_frame(fd, in, sizeof in);
}

static void a_lost_session_is_resumed_with_its_id_and_password(void **state)
{
    (void)state;
    struct server s;
    server_start(&s, script_hang_up_once, 2);
    struct client *c = open_client(&s);
    assert_int_equal(call_sync(c, BYTES_OF("/")), CLIENT_ELOST);
    assert_int_equal(client_fd(c), -1);
    assert_int_equal(call_sync(c, BYTES_OF("/")), CLIENT_ELOST);
    assert_int_equal(client_resume(c), 0);
    assert_int_equal(call_sync(c, BYTES_OF("/")), 0);
    client_close(c);
    server_end(&s);
    uint8_t passwd[PASSWD_BYTES];
    memset(passwd, 0xab, sizeof passwd);
    assert_int_equal(be64_load(s.hello[1] + 20), 0x1234);
    assert_memory_equal(s.hello[1] + 32, passwd, PASSWD_BYTES);
}

/* Waits for the event "a ping came", however long that takes. */
static void script_wait_for_ping(int fd)
{
    uint8_t in[512], sync[512];
    send_hello(fd, 90);
    take_frame(fd, sync, sizeof sync);
    do
        CHECK(take_frame(fd, in, sizeof in) >= 8);
    while ((int32_t)be32_load(in + 4) != OP_PING);
    send_reply(fd, XID_PING, 0, NULL, 0);
    send_reply(fd, (int32_t)be32_load(sync), 0, NULL, 0);
}

static void waiting_for_a_reply_sends_pings(void **state)
{
    (void)state;
    struct server s;
    server_start(&s, script_wait_for_ping, 1);
    struct client *c = open_client(&s);
    assert_int_equal(call_sync(c, BYTES_OF("/")), 0);
    client_close(c);
    server_end(&s);
}

static void script_short_stat(int fd)
{
    uint8_t in[512], body[STAT_BYTES - 1] = {0};
    send_hello(fd, 30000);
    take_frame(fd, in, sizeof in);
    send_reply(fd, (int32_t)be32_load(in), 0, body, sizeof body);
}

static void a_reply_record_that_ends_early_is_a_protocol_error(void **state)
{
    (void)state;
    struct server s;
    struct znode_stat stat;
    server_start(&s, script_short_stat, 1);
    struct client *c = open_client(&s);
    assert_int_equal(call_exists(c, BYTES_OF("/"), false, &stat), CLIENT_EPROTO);
    client_close(c);
    server_end(&s);
}

static void a_malformed_server_list_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {"", ",", "[::1", "[::1]x:1", ":2181"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct client *c;
        struct client_options o = {.servers = bad[i]};
        assert_int_equal(client_open(&o, &c), CLIENT_EADDRESS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_opened_and_closed),
        cmocka_unit_test(a_refused_session_is_expired),
        cmocka_unit_test(pipelined_replies_come_in_request_order),
        cmocka_unit_test(a_reply_out_of_order_breaks_the_connection),
        cmocka_unit_test(a_reply_that_nobody_asked_for_breaks_the_connection),
        cmocka_unit_test(a_frame_above_the_limit_breaks_the_connection),
        cmocka_unit_test(an_event_is_handed_over_before_the_reply_behind_it),
        cmocka_unit_test(an_auth_reply_may_overtake_others),
        cmocka_unit_test(a_lost_session_is_resumed_with_its_id_and_password),
        cmocka_unit_test(waiting_for_a_reply_sends_pings),
        cmocka_unit_test(a_reply_record_that_ends_early_is_a_protocol_error),
        cmocka_unit_test(a_malformed_server_list_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
