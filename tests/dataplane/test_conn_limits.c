/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Connections at their limits, on the rig: split input, slow readers, pauses, memory before a
 * session, hang-ups anywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/dataplane/rig_client.h"

static const uint8_t zeros[PASSWD_BYTES];
#define NO_PASSWD ((struct bytes){zeros, PASSWD_BYTES})

static uint64_t rng;

static uint32_t rnd(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 32) % n;
}

static void start_server(unsigned cores)
{
    struct config config = rig_config();
    snprintf(config.words_whitelist, sizeof config.words_whitelist, "*");
    rig_start(&config, cores);
}

static int start(void **state)
{
    (void)state;
    start_server(2);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    rig_stop();
    return 0;
}

/* --- split input --- */

static void put_set_watches(struct rig_peer *p, const char *path)
{
    size_t at = frame_begin(&p->unread, -8, OP_SET_WATCHES);
    buffer_put_long(&p->unread, 3);
    for (int list = 0; list < 3; list++) {
        buffer_put_int(&p->unread, 1);
        buffer_put_bytes(&p->unread, text(path));
    }
    frame_end(&p->unread, at);
}

/* A stream that a client may send, by seed; now and then it ends badly. */
static void put_stream(struct rig_peer *p, uint64_t seed)
{
    static const char *const paths[] = {"/a", "/b", "/a/c", "/", "bad", "", "/e"};
    rng = seed * 0x9e3779b97f4a7c15ull + 1;
    send_connect(p, 0, 10000, 0, NO_PASSWD, rnd(2));
    for (int i = 0; i < 40; i++) {
        const char *path = paths[rnd(7)];
        switch (rnd(15)) {
        case 0: send_create(p, path, text("data"), (int32_t)rnd(4)); break;
        case 1: send_set(p, path, text("more data"), -1); break;
        case 2: send_path_int(p, OP_DELETE, path, -1); break;
        case 3: send_multi_set(p, path, "/a", text("m"), rnd(2)); break;
        case 4: send_path(p, OP_SYNC, path); break;
        case 5: send_path(p, OP_GET_EPHEMERALS, path); break;
        case 6: send_path(p, OP_GET_ALL_CHILDREN_NUMBER, path); break;
        case 7: send_auth(p, "digest", "a:b"); break;
        case 8: send_path_int(p, OP_ADD_WATCH, path, (int32_t)rnd(2)); break;
        case 9: send_bare(p, OP_PING); break;
        case 10: put_set_watches(p, path); break;
        case 11: send_read(p, OP_GET_CHILDREN2, path, rnd(2)); break;
        case 12: send_path(p, OP_GET_ACL, path); break;
        default: send_read(p, rnd(2) ? OP_GET_DATA : OP_EXISTS, path, rnd(2)); break;
        }
    }
    uint32_t ending = rnd(8);
    if (ending == 0)
        send_bare(p, 999);
    if (ending == 1)
        send_bare(p, OP_CLOSE_SESSION);
    if (ending == 2)
        buffer_put_int(&p->unread, -5);
    if (ending == 3)
        send_auth(p, "nothing", "x");
    send_read(p, OP_EXISTS, "/a", false);
}

/* What the server sent for stream `seed` when at most `bytes` arrive at once. */
static void run_stream(uint64_t seed, size_t bytes, bool direct, struct buffer *got)
{
    start_server(1);
    struct rig_peer *p = rig_open(0);
    put_stream(p, seed);
    p->input_bytes_max = bytes;
    p->direct = direct;
    rig_settle();
    buffer_init(got, 1 << 20);
    buffer_put_raw(got, p->got.data, p->got.size);
    buffer_put_bool(got, p->fin);
    buffer_put_bool(got, p->cut);
    rig_stop();
}

/* Answers that were not sent yet when a bad frame came may be lost: then one is the beginning of
 * the other. */
static void assert_same_answers(const struct buffer *a, const struct buffer *b)
{
    size_t ends = 2, n = (a->size < b->size ? a->size : b->size) - ends;
    assert_memory_equal(a->data, b->data, n);
    assert_memory_equal(a->data + a->size - ends, b->data + b->size - ends, ends);
    bool cut = a->data[a->size - 1];
    assert_true(a->size == b->size || cut);
}

static void input_in_pieces_of_any_size_gives_the_same_answers_as_in_one_piece(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 2, 3, 7, 50, 64, 300};
    for (uint64_t seed = 1; seed <= 25; seed++) {
        struct buffer whole, split;
        run_stream(seed, 0, false, &whole);
        for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
            run_stream(seed, pieces[i], i % 2, &split);
            assert_same_answers(&split, &whole);
            buffer_free(&split);
        }
        buffer_free(&whole);
    }
}

/* C1: what is queued leaves before what is read behind it, and both are counted. */
static void answers_written_where_they_are_sent_from_stay_in_order(void **state)
{
    (void)state;
    struct rig_peer *p = rig_client(0);
    struct reply r;
    send_create(p, "/x", text("data"), 0);
    rig_settle();
    assert_true(reply_next(p, &r) && r.err == 0);
    p->direct = true;
    uint64_t sent = atomic_load(&rig.cores[0]->stats.bytes_sent);
    size_t before = p->got.size;
    int32_t first = p->xid;
    for (int i = 0; i < 200; i++)
        send_read(p, i % 7 == 3 ? OP_GET_CHILDREN : OP_GET_DATA, "/x", i == 50);
    rig_settle();
    for (int i = 0; i < 200; i++)
        assert_true(reply_next(p, &r) && r.err == 0 && r.xid == first + i);
    assert_false(reply_next(p, &r));
    assert_int_equal(atomic_load(&rig.cores[0]->stats.bytes_sent) - sent, p->got.size - before);
}

/* --- slow readers (C4) --- */

#define LARGE_BYTES 1000000u

static void make_large(struct rig_peer *p, const char *path)
{
    uint8_t *data = calloc(1, LARGE_BYTES);
    int32_t xid = send_create(p, path, (struct bytes){data, LARGE_BYTES}, 0);
    free(data);
    assert_int_equal(reply_of(p, xid).err, 0);
}

static void a_client_that_does_not_read_is_not_read_from_until_it_does(void **state)
{
    (void)state;
    struct rig_peer *p = rig_client(0);
    make_large(p, "/large");
    p->stalled = true;
    p->input_bytes_max = 100;
    int32_t first = p->xid;
    for (int i = 0; i < 50; i++)
        send_read(p, OP_GET_DATA, "/large", false);
    rig_settle();
    assert_true(p->paused);
    assert_true(p->conn->out_bytes > OUTPUT_PAUSE_BYTES);
    assert_true(p->conn->out_bytes < OUTPUT_PAUSE_BYTES + 8 * LARGE_BYTES);
    assert_true(p->unread.size > 0);
    p->stalled = false;
    core_mark_dirty(p->core, p->conn); /* as the backend's "writable" */
    rig_settle();
    for (int i = 0; i < 50; i++)
        assert_int_equal(reply_of(p, first + i).err, 0);
    assert_int_equal(rig.cores[0]->out_bytes, 0);
}

static void many_large_replies_asked_for_at_once_all_come_to_a_client_that_reads(void **state)
{
    (void)state;
    struct rig_peer *p = rig_client(0);
    make_large(p, "/large");
    int32_t first = p->xid;
    for (int i = 0; i < 150; i++)
        send_read(p, OP_GET_DATA, "/large", false);
    for (int i = 0; i < 150; i++)
        assert_int_equal(reply_of(p, first + i).err, 0);
    assert_int_equal(atomic_load(&rig.cores[0]->stats.slow_readers_cut), 0);
}

static void many_large_replies_behind_a_write_all_come_to_a_client_that_reads(void **state)
{
    (void)state;
    struct rig_peer *p = rig_client(0);
    make_large(p, "/large");
    int32_t first = send_set(p, "/large", (struct bytes){zeros, 1}, 77);
    for (int i = 0; i < 150; i++)
        send_read(p, OP_GET_DATA, "/large", false);
    assert_int_equal(reply_of(p, first).err, ZK_BADVERSION);
    for (int i = 1; i <= 150; i++)
        assert_int_equal(reply_of(p, first + i).err, 0);
    assert_int_equal(atomic_load(&rig.cores[0]->stats.slow_readers_cut), 0);
}

static void a_watcher_that_never_reads_is_cut_and_its_memory_is_given_back(void **state)
{
    (void)state;
    enum { PATH_BYTES = 60000 };
    struct rig_peer *watcher = rig_client(0), *writer = rig_client(1);
    char *path = malloc(PATH_BYTES + 1);
    memset(path, 'x', PATH_BYTES);
    path[0] = '/';
    path[PATH_BYTES] = 0;
    int32_t create = send_create(writer, path, BYTES_NULL, 0);
    assert_int_equal(reply_of(writer, create).err, 0);
    int32_t watch = send_path_int(watcher, OP_ADD_WATCH, "/", 1);
    assert_int_equal(reply_of(watcher, watch).err, 0);
    watcher->stalled = true;
    unsigned events = 0;
    for (; watcher->conn && events < OUTPUT_BYTES_MAX / PATH_BYTES + 10; events++) {
        int32_t set = send_set(writer, path, BYTES_NULL, -1);
        assert_int_equal(reply_of(writer, set).err, 0);
        rig_settle();
    }
    assert_true(watcher->cut);
    assert_true(events > OUTPUT_BYTES_MAX / PATH_BYTES - 10);
    assert_int_equal(atomic_load(&rig.cores[0]->stats.slow_readers_cut), 1);
    assert_int_equal(rig.cores[0]->out_bytes, 0);
    assert_true(rig.cores[0]->chunks.count <= CHUNK_POOL_MAX);
    free(path);
}

/* --- values sent from where they lie --- */

static uint8_t value_byte(uint32_t i, uint32_t which)
{
    return (uint8_t)(i * 31 + (i >> 8) + which);
}

static struct bytes value_fill(uint8_t *data, uint32_t size, uint32_t which)
{
    for (uint32_t i = 0; i < size; i++)
        data[i] = value_byte(i, which);
    return (struct bytes){data, size};
}

static void assert_value(struct reply r, uint32_t size, uint32_t which)
{
    assert_int_equal(r.err, 0);
    assert_int_equal(r.body.size, 4 + size + STAT_BYTES);
    assert_int_equal(be32_load(r.body.data), size);
    for (uint32_t i = 0; i < size; i++)
        if (r.body.data[4 + i] != value_byte(i, which))
            fail_msg("byte %u of %u", i, size);
    assert_int_equal(be32_load(r.body.data + 4 + size + STAT_DATA_LENGTH), size);
}

/*
 * Goal: a reply holds the value it was made from. Method: it is queued to a client that does not
 * read; the znode is changed, deleted and made again before it does.
 */
static void a_value_replaced_before_it_is_sent_leaves_as_it_was_read(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {VALUE_BYTES_MIN - 1, VALUE_BYTES_MIN, VALUE_BYTES_MIN + 1,
                                     LARGE_BYTES};
    struct rig_peer *p = rig_client(0), *writer = rig_client(1);
    uint8_t *data = malloc(LARGE_BYTES);
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int32_t xid = send_create(writer, "/v", value_fill(data, sizes[i], 0), 0);
        assert_int_equal(reply_of(writer, xid).err, 0);
        p->stalled = true;
        int32_t first = send_read(p, OP_GET_DATA, "/v", false);
        rig_settle();
        bool held = rig.cores[0]->value_bytes > 0;
        assert_int_equal(held, sizes[i] >= VALUE_BYTES_MIN);
        xid = send_set(writer, "/v", value_fill(data, sizes[i], 1), -1);
        assert_int_equal(reply_of(writer, xid).err, 0);
        int32_t second = send_read(p, OP_GET_DATA, "/v", false);
        rig_settle();
        xid = send_path_int(writer, OP_DELETE, "/v", -1);
        assert_int_equal(reply_of(writer, xid).err, 0);
        rig_settle();
        p->stalled = false;
        core_mark_dirty(p->core, p->conn);
        rig_settle();
        assert_value(reply_of(p, first), sizes[i], 0);
        assert_value(reply_of(p, second), sizes[i], 1);
        assert_int_equal(rig.cores[0]->value_bytes, 0);
        assert_int_equal(rig.cores[0]->out_bytes, 0);
    }
    free(data);
}

static void a_client_that_goes_lets_its_values_go(void **state)
{
    (void)state;
    struct rig_peer *p = rig_client(0), *writer = rig_client(1);
    make_large(writer, "/v");
    p->stalled = true;
    send_read(p, OP_GET_DATA, "/v", false);
    rig_settle();
    assert_int_equal(rig.cores[0]->value_bytes, LARGE_BYTES);
    int32_t xid = send_path_int(writer, OP_DELETE, "/v", -1);
    assert_int_equal(reply_of(writer, xid).err, 0);
    rig_close(p);
    conn_close(p->core, p->conn, true);
    rig_settle();
    assert_int_equal(rig.cores[0]->value_bytes, 0);
}

static void above_the_limit_of_held_values_replies_are_copies(void **state)
{
    (void)state;
    struct rig_peer *p = rig_client(0);
    make_large(p, "/v");
    uint64_t others = OUTPUT_VALUE_BYTES_MAX + 1;
    rig.cores[0]->value_bytes = others;
    p->stalled = true;
    int32_t xid = send_read(p, OP_GET_DATA, "/v", false);
    rig_settle();
    assert_int_equal(rig.cores[0]->value_bytes, others);
    p->stalled = false;
    core_mark_dirty(p->core, p->conn);
    assert_int_equal(reply_of(p, xid).body.size, 4 + LARGE_BYTES + STAT_BYTES);
    rig.cores[0]->value_bytes -= others;
}

/* --- requests in flight --- */

static void more_writes_than_may_be_pending_wait_in_the_socket_and_all_are_answered(void **state)
{
    (void)state;
    struct rig_peer *p = rig_client(0);
    int32_t create = send_create(p, "/a", BYTES_NULL, 0);
    assert_int_equal(reply_of(p, create).err, 0);
    rig_log.held = true;
    p->input_bytes_max = 4096;
    int32_t first = p->xid;
    for (int i = 0; i < 3000; i++)
        send_set(p, "/a", text("v"), -1);
    rig_settle();
    assert_true(p->paused);
    assert_true(p->conn->ops_in_flight <= REQUESTS_PENDING_MAX);
    assert_true(p->unread.size > 0);
    rig_log.held = false;
    while (rig_log_step())
        rig_settle();
    for (int i = 0; i < 3000; i++)
        assert_int_equal(reply_of(p, first + i).err, 0);
    assert_int_equal(p->conn->pending_bytes, 0);
}

static void reads_waiting_behind_a_write_count_too(void **state)
{
    (void)state;
    struct rig_peer *p = rig_client(0);
    rig_log.held = true;
    p->input_bytes_max = 4096;
    int32_t first = send_create(p, "/a", BYTES_NULL, 0);
    for (int i = 0; i < 3000; i++)
        send_read(p, OP_EXISTS, "/a", false);
    rig_settle();
    assert_true(p->paused);
    assert_true(p->conn->ops_in_flight + p->conn->waiting.count <= REQUESTS_PENDING_MAX);
    rig_log.held = false;
    rig_log_step();
    for (int i = 0; i < 3001; i++)
        assert_int_equal(reply_of(p, first + i).err, 0);
}

static void large_writes_pause_by_their_bytes(void **state)
{
    (void)state;
    struct rig_peer *p = rig_client(0);
    make_large(p, "/a");
    rig_log.held = true;
    uint8_t *data = calloc(1, LARGE_BYTES);
    int32_t first = p->xid;
    for (int i = 0; i < 20; i++)
        send_set(p, "/a", (struct bytes){data, LARGE_BYTES}, -1);
    free(data);
    p->input_bytes_max = 65536;
    rig_settle();
    assert_true(p->paused);
    assert_true(p->conn->pending_bytes <= REQUESTS_PENDING_BYTES_MAX + LARGE_BYTES + 100);
    rig_log.held = false;
    rig_log_step();
    for (int i = 0; i < 20; i++)
        assert_int_equal(reply_of(p, first + i).err, 0);
}

/* --- memory before a session (C3) --- */

static void an_announced_length_costs_no_memory_only_received_bytes_do(void **state)
{
    (void)state;
    static const size_t sent[] = {1, 3, 4, 5, 100, 511, 512, 513, 5000, 100000};
    for (size_t i = 0; i < sizeof sent / sizeof sent[0]; i++)
        for (size_t piece = 0; piece <= 1000; piece += 500) {
            struct rig_peer *p = rig_open(0);
            uint8_t *bytes = calloc(1, sent[i]);
            p->input_bytes_max = piece;
            buffer_put_int(&p->unread, 0xffff0);
            rig_send(p, bytes, sent[i]);
            p->unread.size = sent[i];
            free(bytes);
            rig_settle();
            size_t bound = sent[i] * 2 > INPUT_BYTES_FIRST ? sent[i] * 2 : INPUT_BYTES_FIRST;
            assert_non_null(p->conn);
            assert_int_equal(p->conn->input_size, sent[i]);
            assert_true(p->conn->input_capacity <= bound);
            rig_close(p);
            rig_settle();
            rig_forget(p);
        }
}

/* --- hang-ups in every state; rig_stop() checks that nothing stays behind --- */

static void play(struct rig_peer *p, uint64_t seed, unsigned hangup_at)
{
    rng = seed * 0x9e3779b97f4a7c15ull + 1;
    for (unsigned i = 0; i < 60; i++) {
        if (i == hangup_at)
            rig_close(p);
        switch (rnd(6)) {
        case 0: rig_log.held = rnd(2); break;
        case 1: (void)rig_log_step(); break;
        case 2: (void)rig_control(); break;
        case 3: p->stalled = rnd(3) == 0; break;
        default: rig_turn(rnd(2));
        }
    }
}

static void a_client_may_hang_up_at_any_moment_and_nothing_stays_behind(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++)
        for (unsigned at = 0; at < 40; at += 3) {
            start_server(2);
            struct rig_peer *p = rig_open(0), *mover = rig_open(1);
            put_stream(p, seed);
            rng = seed + at;
            p->input_bytes_max = rnd(2) ? 0 : 100;
            put_stream(mover, seed + 1);
            play(p, seed + at * 7, at);
            rig_stop();
        }
}

static void a_session_may_move_while_its_connections_come_and_go(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        start_server(3);
        struct rig_peer *owner = rig_client(0), *last = owner;
        send_create(owner, "/e", BYTES_NULL, 1);
        for (int i = 0; i < 6; i++) {
            struct rig_peer *p = rig_open(rnd(3));
            send_connect(p, 0, 8000, owner->session, (struct bytes){owner->passwd, PASSWD_BYTES},
                         true);
            send_create(p, "/x", BYTES_NULL, 3);
            send_read(p, OP_GET_DATA, "/e", true);
            if (rnd(4) == 0)
                send_bare(p, OP_CLOSE_SESSION);
            play(last, seed + (uint64_t)i * 1000, rnd(100));
            last = p;
        }
        rig_stop();
    }
}

static void a_word_may_be_cut_off_at_any_moment(void **state)
{
    (void)state;
    static const char *const words[] = {"stat", "wchp", "dump", "conf"};
    for (uint64_t seed = 1; seed <= 40; seed++) {
        start_server(2);
        struct rig_peer *p = rig_open(0);
        rig_send(p, words[seed % 4], 4);
        play(p, seed, (unsigned)(seed % 10));
        rig_stop();
    }
}

/* --- globalOutstandingLimit --- */

static uint64_t outstanding(unsigned core)
{
    return atomic_load(&rig.cores[core]->stats.outstanding);
}

/* A core may use what others leave, but its own share it has in any case. */
static void writes_are_held_back_when_all_cores_together_have_too_many(void **state)
{
    (void)state;
    struct rig_peer *many = rig_client(0), *few = rig_client(1);
    rig.server->config.global_outstanding_limit = 4;
    rig_log.held = true;
    for (int i = 0; i < 10; i++)
        send_create(many, "/a", BYTES_NULL, 2);
    rig_settle();
    assert_int_equal(outstanding(0), 5);
    for (int i = 0; i < 10; i++)
        send_create(few, "/b", BYTES_NULL, 2);
    rig_settle();
    assert_int_equal(outstanding(0), 5);
    assert_int_equal(outstanding(1), 3);
    assert_true(many->paused && few->paused);
    rig_log.held = false;
    do
        rig_settle();
    while (rig_log_step());
    assert_int_equal(outstanding(0) + outstanding(1), 0);
    assert_false(many->paused || few->paused);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_in_pieces_of_any_size_gives_the_same_answers_as_in_one_piece),
        TEST(answers_written_where_they_are_sent_from_stay_in_order),
        TEST(a_client_that_does_not_read_is_not_read_from_until_it_does),
        TEST(many_large_replies_asked_for_at_once_all_come_to_a_client_that_reads),
        TEST(many_large_replies_behind_a_write_all_come_to_a_client_that_reads),
        TEST(a_watcher_that_never_reads_is_cut_and_its_memory_is_given_back),
        TEST(a_value_replaced_before_it_is_sent_leaves_as_it_was_read),
        TEST(a_client_that_goes_lets_its_values_go),
        TEST(above_the_limit_of_held_values_replies_are_copies),
        TEST(more_writes_than_may_be_pending_wait_in_the_socket_and_all_are_answered),
        TEST(reads_waiting_behind_a_write_count_too),
        TEST(large_writes_pause_by_their_bytes),
        TEST(writes_are_held_back_when_all_cores_together_have_too_many),
        TEST(an_announced_length_costs_no_memory_only_received_bytes_do),
        cmocka_unit_test(a_client_may_hang_up_at_any_moment_and_nothing_stays_behind),
        cmocka_unit_test(a_session_may_move_while_its_connections_come_and_go),
        cmocka_unit_test(a_word_may_be_cut_off_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
