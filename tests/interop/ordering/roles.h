/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What clients may rely on while others write (G1 to G3), checked from outside under load.
 *
 *   /inv          8 bytes: k, the number of the last multi
 *   /inv/c0..c7   4 bytes each; their sum is always 0
 *   /inv/m-<k>    exactly one of these exists
 *   /own/<n>      written and read back by one connection each
 *
 * One writer does multis, each of which sets /inv, moves an amount between two of c0..c7 and
 * replaces the marker; a few are in flight at once. Around it, each on a connection and thread of
 * its own:
 *   atomic     G1: a multiRead of everything always shows the invariant
 *   burst      G1, G2: pipelined reads; replies with one zxid show one state; zxids never go back
 *   own        G2: a read pipelined behind an own write shows that write
 *   replacer   large values are replaced while replies that carry them are under way, of which each
 *              has the bytes that it read
 *   mover      G2: a session that goes on over a new connection sees no older zxid
 *   one_shot   G3: a watch fires exactly once, before any reply that shows the change
 *   recursive  G3: each multi's five events arrive in order, none missed or doubled, before any
 *              reply at or behind their zxid
 *
 * ordering_run() is given how to connect: over sockets to a process (ordering.c), or to data cores
 * within the process (tests/dpdk/test_ordering.c). A violation is printed and counted; what makes
 * going on pointless (a lost connection, silence) ends the process with exit code 1.
 */
#ifndef SENGI_TESTS_INTEROP_ORDERING_ROLES_H
#define SENGI_TESTS_INTEROP_ORDERING_ROLES_H

#include <arpa/inet.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CELLS 8
#define MULTIS_IN_FLIGHT 4
#define OUT_BYTES 16384
#define IN_BYTES (1 << 20)
#define REPLIES_MIN 20 /* of each connection, or the test has shown nothing */

struct ordering {
    /** A connected stream socket. Called by the thread of the role that will use it. */
    int (*connect)(void);
    uint32_t seed;
    int64_t multis_min; /* go on until so many were written and every role had REPLIES_MIN */
    int seconds;        /* and at least so long */
    int patience_s;     /* silence that counts as a violation; 0: whoever runs the test ends it */
    bool event_zxids;   /* events carry their zxid (ZooKeeper 3.9 and Sengi) */
};

enum {
    REQ_CREATE = 1,
    REQ_DELETE = 2,
    REQ_EXISTS = 3,
    REQ_GETDATA = 4,
    REQ_SETDATA = 5,
    REQ_GETCHILDREN = 8,
    REQ_MULTI = 14,
    REQ_MULTIREAD = 22,
    REQ_ADDWATCH = 106
};
enum { SAW_CREATED = 1, SAW_DELETED = 2, SAW_CHANGED = 3 };

static struct ordering ordering;
static atomic_bool ending;
static sem_t had_enough; /* posted once by each role */
static atomic_llong final_k = -1;
static atomic_llong violations, checks;

struct client {
    int fd;
    uint32_t seed;
    const char *role;
    void (*run)(struct client *c);
    int32_t xid;
    uint8_t out[OUT_BYTES];
    size_t out_size, frame_at;
    uint8_t in[IN_BYTES];
    size_t in_begin, in_end;
    /* The frame being read. */
    const uint8_t *at, *end;
    int64_t zxid, zxid_before;
    int32_t reply_xid, err;
    int64_t count, enough; /* replies */
};

static void violation(struct client *c, const char *format, ...)
{
    if (atomic_fetch_add(&violations, 1) >= 10)
        return;
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    printf("FAIL: %s: %s\n", c->role, text);
}

#define EXPECT(c, condition, ...)                                                                  \
    do {                                                                                           \
        atomic_fetch_add_explicit(&checks, 1, memory_order_relaxed);                               \
        if (!(condition))                                                                          \
            violation(c, __VA_ARGS__);                                                             \
    } while (0)

static uint32_t random_next(struct client *c)
{
    c->seed = c->seed * 1664525u + 1013904223u;
    return c->seed >> 8;
}

/* ---- writing ---- */

static void put(struct client *c, const void *data, size_t size)
{
    if (c->out_size + size > OUT_BYTES)
        abort();
    memcpy(c->out + c->out_size, data, size);
    c->out_size += size;
}

static void put_i32(struct client *c, int32_t v)
{
    uint32_t be = htonl((uint32_t)v);
    put(c, &be, 4);
}

static void put_i64(struct client *c, int64_t v)
{
    put_i32(c, (int32_t)(v >> 32));
    put_i32(c, (int32_t)v);
}

static void put_buffer(struct client *c, const void *data, size_t size)
{
    put_i32(c, (int32_t)size);
    put(c, data, size);
}

static void put_string(struct client *c, const char *text)
{
    put_buffer(c, text, strlen(text));
}

static void put_byte(struct client *c, int v)
{
    uint8_t b = (uint8_t)v;
    put(c, &b, 1);
}

static void begin(struct client *c, int op)
{
    c->frame_at = c->out_size;
    put_i32(c, 0);
    put_i32(c, ++c->xid);
    put_i32(c, op);
}

static void finish(struct client *c)
{
    uint32_t be = htonl((uint32_t)(c->out_size - c->frame_at - 4));
    memcpy(c->out + c->frame_at, &be, 4);
}

static void flush(struct client *c)
{
    size_t done = 0;
    while (done < c->out_size) {
        ssize_t n = send(c->fd, c->out + done, c->out_size - done, MSG_NOSIGNAL);
        if (n <= 0) {
            printf("FAIL: %s: connection lost while sending\n", c->role);
            exit(1);
        }
        done += (size_t)n;
    }
    c->out_size = 0;
}

static void put_path_watch(struct client *c, int op, const char *path, int watch)
{
    begin(c, op);
    put_string(c, path);
    put_byte(c, watch);
    finish(c);
}

static void put_set(struct client *c, const char *path, const void *data, size_t size)
{
    put_string(c, path);
    put_buffer(c, data, size);
    put_i32(c, -1);
}

static void put_create(struct client *c, const char *path, const void *data, size_t size)
{
    put_string(c, path);
    put_buffer(c, data, size);
    put_i32(c, 1);
    put_i32(c, 31);
    put_string(c, "world");
    put_string(c, "anyone");
    put_i32(c, 0);
}

static void put_multi_header(struct client *c, int op, int done)
{
    put_i32(c, op);
    put_byte(c, done);
    put_i32(c, -1);
}

/* ---- reading ---- */

static void take(struct client *c, void *to, size_t size)
{
    if ((size_t)(c->end - c->at) < size) {
        violation(c, "a record ends early");
        memset(to, 0, size);
        c->at = c->end;
        return;
    }
    memcpy(to, c->at, size);
    c->at += size;
}

static int32_t take_i32(struct client *c)
{
    uint32_t be;
    take(c, &be, 4);
    return (int32_t)ntohl(be);
}

static int64_t take_i64(struct client *c)
{
    int64_t high = take_i32(c);
    return (int64_t)((uint64_t)high << 32) | (uint32_t)take_i32(c);
}

static int32_t take_bytes(struct client *c, void *to, size_t room)
{
    int32_t size = take_i32(c);
    if (size < 0 || (size_t)size > room) {
        violation(c, "unexpected length %d", size);
        return -1;
    }
    take(c, to, (size_t)size);
    return size;
}

struct stat_zk {
    int64_t czxid, mzxid, ctime, mtime;
    int32_t version, cversion, aversion;
    int64_t owner;
    int32_t data_length, num_children;
    int64_t pzxid;
};

static struct stat_zk take_stat(struct client *c)
{
    struct stat_zk s;
    s.czxid = take_i64(c), s.mzxid = take_i64(c), s.ctime = take_i64(c), s.mtime = take_i64(c);
    s.version = take_i32(c), s.cversion = take_i32(c), s.aversion = take_i32(c);
    s.owner = take_i64(c);
    s.data_length = take_i32(c), s.num_children = take_i32(c);
    s.pzxid = take_i64(c);
    return s;
}

/* Next frame into c->at..end. Blocks; false when the socket's time-out passes without one. */
static bool next_frame(struct client *c)
{
    for (;;) {
        size_t have = c->in_end - c->in_begin;
        if (have >= 4) {
            uint32_t be;
            memcpy(&be, c->in + c->in_begin, 4);
            size_t size = ntohl(be);
            if (size > IN_BYTES / 2) {
                violation(c, "frame of %zu bytes", size);
                exit(1);
            }
            if (have >= 4 + size) {
                c->at = c->in + c->in_begin + 4;
                c->end = c->at + size;
                c->in_begin += 4 + size;
                return true;
            }
        }
        memmove(c->in, c->in + c->in_begin, have);
        c->in_begin = 0, c->in_end = have;
        ssize_t n = recv(c->fd, c->in + have, IN_BYTES - have, 0);
        if (n < 0)
            return false;
        if (n == 0) {
            printf("FAIL: %s: the server closed the connection\n", c->role);
            exit(1);
        }
        c->in_end += (size_t)n;
    }
}

/* A reply or event header. Replies: zxid must not go back. */
static bool next_header(struct client *c)
{
    if (!next_frame(c))
        return false;
    c->reply_xid = take_i32(c);
    int64_t zxid = take_i64(c);
    c->err = take_i32(c);
    c->zxid = zxid;
    if (c->reply_xid != -1) {
        EXPECT(c, zxid >= c->zxid_before, "zxid went back from %#" PRIx64 " to %#" PRIx64,
               c->zxid_before, zxid);
        c->zxid_before = zxid;
    }
    return true;
}

static void note_reply(struct client *c)
{
    if (++c->count == c->enough)
        sem_post(&had_enough);
}

/* A reply on a connection that holds no watches. */
static void next_reply(struct client *c, int32_t xid)
{
    if (!next_header(c)) {
        printf("FAIL: %s: no reply in time\n", c->role);
        exit(1);
    }
    EXPECT(c, c->reply_xid == xid, "xid %d instead of %d", c->reply_xid, xid);
    note_reply(c);
}

static void client_hello(struct client *c, int64_t session, const uint8_t passwd[16])
{
    c->fd = ordering.connect();
    c->in_begin = c->in_end = 0;
    if (ordering.patience_s) {
        struct timeval limit = {ordering.patience_s, 0};
        setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }
    put_i32(c, 45);
    put_i32(c, 0), put_i64(c, c->zxid_before), put_i32(c, 40000), put_i64(c, session);
    put_buffer(c, passwd, 16);
    put_byte(c, 0);
    flush(c);
    if (!next_frame(c) || (take_i32(c), take_i32(c)) <= 0) {
        printf("FAIL: %s: no session\n", c->role);
        exit(1);
    }
}

static struct client *client_open(const char *role, uint32_t seed)
{
    static const uint8_t none[16];
    struct client *c = calloc(1, sizeof *c);
    c->role = role;
    c->seed = seed;
    c->enough = REPLIES_MIN;
    client_hello(c, 0, none);
    return c;
}

/* ---- the writer ---- */

static void put_be32(uint8_t *to, int32_t v)
{
    uint32_t be = htonl((uint32_t)v);
    memcpy(to, &be, 4);
}

static void put_be64(uint8_t *to, int64_t v)
{
    put_be32(to, (int32_t)(v >> 32));
    put_be32(to + 4, (int32_t)v);
}

static void marker(char *to, size_t room, int64_t k)
{
    snprintf(to, room, "/inv/m-%" PRId64, k);
}

static void set_up(struct client *c)
{
    char path[64];
    uint8_t zero[8] = {0};
    const char *plain[] = {"/inv", "/own", "/inv/m-0"};
    for (size_t i = 0; i < 3; i++)
        begin(c, REQ_CREATE), put_create(c, plain[i], zero, 8), finish(c);
    for (int i = 0; i < CELLS; i++) {
        snprintf(path, sizeof path, "/inv/c%d", i);
        begin(c, REQ_CREATE), put_create(c, path, zero, 4), finish(c);
    }
    flush(c);
    for (int i = 0; i < CELLS + 3; i++)
        next_reply(c, i + 1);
}

static void put_writer_multi(struct client *c, int64_t k, int32_t cells[CELLS])
{
    char path[64];
    uint8_t value[8];
    int from = (int)(random_next(c) % CELLS),
        to = (from + 1 + (int)(random_next(c) % (CELLS - 1))) % CELLS;
    int32_t amount = (int32_t)(random_next(c) % 1000);
    cells[from] -= amount, cells[to] += amount;
    begin(c, REQ_MULTI);
    put_multi_header(c, REQ_SETDATA, 0);
    put_be64(value, k);
    put_set(c, "/inv", value, 8);
    for (int side = 0; side < 2; side++) {
        int cell = side ? to : from;
        put_multi_header(c, REQ_SETDATA, 0);
        snprintf(path, sizeof path, "/inv/c%d", cell);
        put_be32(value, cells[cell]);
        put_set(c, path, value, 4);
    }
    put_multi_header(c, REQ_CREATE, 0);
    marker(path, sizeof path, k);
    put_create(c, path, value, 4);
    put_multi_header(c, REQ_DELETE, 0);
    marker(path, sizeof path, k - 1);
    put_string(c, path);
    put_i32(c, -1);
    put_multi_header(c, -1, 1);
    finish(c);
}

static void writer(struct client *c)
{
    int32_t cells[CELLS] = {0};
    int64_t k = 0, last = 0;
    while (!atomic_load(&ending)) {
        int32_t first = c->xid + 1;
        int batch = 1 + (int)(random_next(c) % MULTIS_IN_FLIGHT);
        for (int i = 0; i < batch; i++)
            put_writer_multi(c, ++k, cells);
        flush(c);
        for (int i = 0; i < batch; i++) {
            next_reply(c, first + i);
            EXPECT(c, c->err == 0 && take_i32(c) == REQ_SETDATA, "multi failed");
            EXPECT(c, c->zxid > last, "two writes with zxid %#" PRIx64, c->zxid);
            last = c->zxid;
        }
    }
    atomic_store(&final_k, k);
}

/* ---- the readers ---- */

/* What one look at /inv and below showed. */
struct view {
    int64_t k, k_mzxid, marker, sum;
    int32_t markers;
};

static void view_inv(struct client *c, struct view *v)
{
    uint8_t value[8] = {0};
    EXPECT(c, take_bytes(c, value, 8) == 8, "/inv is not 8 bytes");
    v->k = 0;
    for (int i = 0; i < 8; i++)
        v->k = (int64_t)((uint64_t)v->k << 8 | value[i]);
    struct stat_zk s = take_stat(c);
    v->k_mzxid = s.mzxid;
    EXPECT(c, s.mzxid <= c->zxid, "/inv has mzxid %#" PRIx64 " in a reply of zxid %#" PRIx64,
           s.mzxid, c->zxid);
    EXPECT(c, s.num_children == CELLS + 1, "/inv shows %d children", s.num_children);
}

static void view_cell(struct client *c, struct view *v)
{
    uint8_t value[4] = {0};
    EXPECT(c, take_bytes(c, value, 4) == 4, "a cell is not 4 bytes");
    uint32_t be;
    memcpy(&be, value, 4);
    v->sum += (int32_t)ntohl(be);
    struct stat_zk s = take_stat(c);
    EXPECT(c, s.mzxid <= c->zxid, "a cell has mzxid %#" PRIx64 " in a reply of %#" PRIx64, s.mzxid,
           c->zxid);
}

static void view_children(struct client *c, struct view *v)
{
    int32_t count = take_i32(c);
    EXPECT(c, count == CELLS + 1, "%d children", count);
    v->markers = 0;
    for (int32_t i = 0; i < count && i < 100; i++) {
        char name[64] = {0};
        if (take_bytes(c, name, sizeof name - 1) > 2 && name[0] == 'm') {
            v->marker = atoll(name + 2);
            v->markers++;
        }
    }
}

static void view_check(struct client *c, const struct view *v)
{
    EXPECT(c, v->sum == 0, "the sum is %" PRId64 " at zxid %#" PRIx64, v->sum, c->zxid);
    EXPECT(c, v->markers == 1 && v->marker == v->k,
           "%d markers, the last %" PRId64 ", but k is %" PRId64, v->markers, v->marker, v->k);
}

static void atomic_reader(struct client *c)
{
    char path[64];
    while (!atomic_load(&ending)) {
        begin(c, REQ_MULTIREAD);
        put_multi_header(c, REQ_GETCHILDREN, 0), put_string(c, "/inv"), put_byte(c, 0);
        put_multi_header(c, REQ_GETDATA, 0), put_string(c, "/inv"), put_byte(c, 0);
        for (int i = 0; i < CELLS; i++) {
            snprintf(path, sizeof path, "/inv/c%d", i);
            put_multi_header(c, REQ_GETDATA, 0), put_string(c, path), put_byte(c, 0);
        }
        put_multi_header(c, -1, 1);
        finish(c);
        flush(c);
        next_reply(c, c->xid);
        struct view v = {0};
        for (int i = 0; i < CELLS + 2; i++) {
            int32_t type = take_i32(c);
            uint8_t done;
            take(c, &done, 1);
            EXPECT(c, take_i32(c) == 0 && type == (i ? REQ_GETDATA : REQ_GETCHILDREN),
                   "result %d of type %d", i, type);
            if (i == 0)
                view_children(c, &v);
            else if (i == 1)
                view_inv(c, &v);
            else
                view_cell(c, &v);
        }
        view_check(c, &v);
    }
}

static void burst_reader(struct client *c)
{
    char path[64];
    int64_t k_before = 0;
    while (!atomic_load(&ending)) {
        int32_t first = c->xid + 1;
        put_path_watch(c, REQ_GETCHILDREN, "/inv", 0);
        put_path_watch(c, REQ_GETDATA, "/inv", 0);
        for (int i = 0; i < CELLS; i++) {
            snprintf(path, sizeof path, "/inv/c%d", i);
            put_path_watch(c, REQ_GETDATA, path, 0);
        }
        flush(c);
        struct view v = {0};
        int64_t zxid = 0;
        bool one_state = true;
        for (int i = 0; i < CELLS + 2; i++) {
            next_reply(c, first + i);
            one_state &= i == 0 || c->zxid == zxid;
            zxid = c->zxid;
            if (i == 0)
                view_children(c, &v);
            else if (i == 1)
                view_inv(c, &v);
            else
                view_cell(c, &v);
        }
        EXPECT(c, v.k >= k_before && v.markers == 1 && v.k >= v.marker,
               "k %" PRId64 " after %" PRId64, v.k, k_before);
        k_before = v.k;
        if (one_state)
            view_check(c, &v);
    }
}

static void own_writer(struct client *c)
{
    char path[64];
    uint8_t value[4];
    snprintf(path, sizeof path, "/own/%u", c->seed);
    begin(c, REQ_CREATE), put_create(c, path, "", 0), finish(c);
    flush(c);
    next_reply(c, c->xid);
    for (int32_t version = 1; !atomic_load(&ending);) {
        int32_t first = c->xid + 1, depth = 1 + (int32_t)(random_next(c) % 8);
        for (int i = 0; i < depth; i++) {
            put_be32(value, version + i);
            begin(c, REQ_SETDATA), put_set(c, path, value, 4), finish(c);
            put_path_watch(c, REQ_GETDATA, path, 0);
            put_path_watch(c, REQ_EXISTS, path, 0);
        }
        flush(c);
        for (int i = 0; i < depth; i++, version++) {
            next_reply(c, first + 3 * i);
            int64_t z = c->zxid;
            struct stat_zk s = take_stat(c);
            EXPECT(c, c->err == 0 && s.version == version && s.mzxid == z,
                   "setData: version %d, want %d", s.version, version);
            next_reply(c, first + 3 * i + 1);
            uint8_t got[4] = {0};
            put_be32(value, version);
            EXPECT(c, take_bytes(c, got, 4) == 4 && memcmp(got, value, 4) == 0,
                   "own write %d is not visible", version);
            s = take_stat(c);
            EXPECT(c, s.mzxid == z, "read behind write %#" PRIx64 " shows %#" PRIx64, z, s.mzxid);
            next_reply(c, first + 3 * i + 2);
            s = take_stat(c);
            EXPECT(c, s.version == version, "exists shows version %d, want %d", s.version, version);
        }
    }
}

#define LARGE_BYTES 12000
#define LARGE_READS 8  /* of each value */
#define LARGE_ROUNDS 4 /* in flight at once */

static void large_value(uint8_t value[LARGE_BYTES], uint32_t seed, int32_t version)
{
    for (uint32_t i = 0; i < LARGE_BYTES; i++)
        value[i] = (uint8_t)(i * 31 + (i >> 8) + seed + (uint32_t)version * 101);
}

static void replacer_expect(struct client *c, int32_t version)
{
    uint8_t want[LARGE_BYTES], got[LARGE_BYTES];
    large_value(want, c->seed, version);
    EXPECT(c, c->err == 0 && take_bytes(c, got, sizeof got) == LARGE_BYTES, "no large value");
    EXPECT(c, memcmp(got, want, sizeof got) == 0, "a value was sent with bytes of another");
    struct stat_zk s = take_stat(c);
    EXPECT(c, s.version == version, "large value: version %d, want %d", s.version, version);
}

static void replacer(struct client *c)
{
    char path[64];
    uint8_t value[LARGE_BYTES];
    snprintf(path, sizeof path, "/own/large-%u", c->seed);
    large_value(value, c->seed, 0);
    begin(c, REQ_CREATE), put_create(c, path, value, sizeof value), finish(c);
    flush(c);
    next_reply(c, c->xid);
    for (int32_t version = 0; !atomic_load(&ending); version += LARGE_ROUNDS) {
        int32_t xid = c->xid + 1;
        for (int32_t i = 1; i <= LARGE_ROUNDS; i++) {
            for (int r = 0; r < LARGE_READS; r++)
                put_path_watch(c, REQ_GETDATA, path, 0);
            large_value(value, c->seed, version + i);
            begin(c, REQ_SETDATA), put_set(c, path, value, sizeof value), finish(c);
            flush(c);
        }
        for (int32_t i = 0; i < LARGE_ROUNDS; i++) {
            for (int r = 0; r < LARGE_READS; r++) {
                next_reply(c, xid++);
                replacer_expect(c, version + i);
            }
            next_reply(c, xid++);
            EXPECT(c, c->err == 0, "setData of a large value: %d", c->err);
        }
    }
}

/* One session over many connections: each resumes it with the zxid seen last, and may come to
 * another data core. */
static void mover(struct client *c)
{
    while (!atomic_load(&ending)) {
        uint8_t passwd[16];
        int64_t seen_k = 0;
        int64_t session = take_i64(c);
        EXPECT(c, session != 0 && take_bytes(c, passwd, 16) == 16, "the session was lost");
        for (int i = 0; i < 3; i++) {
            put_path_watch(c, REQ_GETDATA, "/inv", 0);
            flush(c);
            next_reply(c, c->xid);
            struct view v;
            view_inv(c, &v);
            EXPECT(c, v.k >= seen_k, "k %" PRId64 " after %" PRId64, v.k, seen_k);
            seen_k = v.k;
        }
        int before = c->fd;
        client_hello(c, session, passwd);
        close(before); /* only now: the server moves the session away from a live connection */
    }
}

/* ---- the watchers ---- */

/* Reads /inv with a one-shot watch, then without, until the event; everything must fit together. */
static void one_shot_watcher(struct client *c)
{
    bool armed = false;
    int64_t armed_mzxid = 0, armed_zxid = 0, seen_k = 0, event_zxid = 0;
    time_t limit = 0;
    for (;;) {
        if (atomic_load(&final_k) >= 0) {
            limit = limit ? limit : time(NULL) + ordering.patience_s;
            if (seen_k == atomic_load(&final_k) && armed)
                return;
            if (ordering.patience_s && time(NULL) > limit) {
                violation(c, "k is %" PRId64 ", the event for %lld never came", seen_k,
                          atomic_load(&final_k));
                return;
            }
        }
        bool arm = !armed;
        put_path_watch(c, REQ_GETDATA, "/inv", arm);
        flush(c);
        for (bool replied = false; !replied;) {
            if (!next_header(c)) {
                violation(c, "no reply in time");
                return;
            }
            if (c->reply_xid == -1) {
                char path[64] = {0};
                int32_t type = take_i32(c);
                take_i32(c);
                take_bytes(c, path, sizeof path - 1);
                EXPECT(c, armed, "an event without a watch");
                EXPECT(c, type == SAW_CHANGED && strcmp(path, "/inv") == 0, "event %d for %s",
                       type, path);
                EXPECT(c, !ordering.event_zxids || c->zxid > armed_zxid,
                       "event of %#" PRIx64 " for a watch set at %#" PRIx64, c->zxid, armed_zxid);
                event_zxid = c->zxid;
                armed = false;
                continue;
            }
            replied = true;
            note_reply(c);
            struct view v;
            view_inv(c, &v);
            EXPECT(c, !armed || v.k_mzxid == armed_mzxid,
                   "a reply shows %#" PRIx64 " before the event for a watch set on %#" PRIx64,
                   v.k_mzxid, armed_mzxid);
            EXPECT(c, v.k_mzxid >= event_zxid || !ordering.event_zxids,
                   "after the event of %#" PRIx64 " a reply shows %#" PRIx64, event_zxid,
                   v.k_mzxid);
            seen_k = v.k;
            if (arm)
                armed = true, armed_mzxid = v.k_mzxid, armed_zxid = c->zxid;
        }
    }
}

/* The five events of multi k, in the order of its operations. */
static void recursive_event(struct client *c, int64_t *k, int *step, int64_t *zxid)
{
    char path[64] = {0}, want[64];
    int32_t type = take_i32(c);
    take_i32(c);
    take_bytes(c, path, sizeof path - 1);
    if (*k == 0) {
        /* The watch was set in the middle of the stream: begin at the next multi. */
        if (type == SAW_CREATED && sscanf(path, "/inv/m-%" SCNd64, k) == 1)
            *step = 4;
        *zxid = c->zxid;
        return;
    }
    if (*step == 5) {
        *step = 0;
        ++*k;
        EXPECT(c, !ordering.event_zxids || c->zxid > *zxid,
               "events of zxid %#" PRIx64 " after %#" PRIx64, c->zxid, *zxid);
    } else {
        EXPECT(c, !ordering.event_zxids || c->zxid == *zxid, "one multi's events with two zxids");
    }
    *zxid = c->zxid;
    switch (*step) {
    case 0:
        EXPECT(c, type == SAW_CHANGED && strcmp(path, "/inv") == 0, "event %d for %s", type,
               path);
        break;
    case 1:
    case 2:
        EXPECT(c, type == SAW_CHANGED && strncmp(path, "/inv/c", 6) == 0, "event %d for %s", type,
               path);
        break;
    default:
        marker(want, sizeof want, *step == 3 ? *k : *k - 1);
        EXPECT(c, type == (*step == 3 ? SAW_CREATED : SAW_DELETED) && strcmp(path, want) == 0,
               "event %d for %s, want %s", type, path, want);
    }
    ++*step;
}

static void recursive_watcher(struct client *c)
{
    int64_t k = 0, zxid = 0, reply_zxid = 0, reply_k = 0;
    int step = 0;
    time_t limit = 0;
    begin(c, REQ_ADDWATCH);
    put_string(c, "/inv");
    put_i32(c, 1);
    finish(c);
    bool waiting = true, added = false;
    flush(c);
    for (;;) {
        if (atomic_load(&final_k) >= 0) {
            limit = limit ? limit : time(NULL) + ordering.patience_s;
            if (k == atomic_load(&final_k) && step == 5 && !waiting)
                return;
            if (ordering.patience_s && time(NULL) > limit) {
                violation(c, "the last event was for k %" PRId64 " of %lld", k,
                          atomic_load(&final_k));
                return;
            }
        }
        if (!waiting) {
            put_path_watch(c, REQ_GETDATA, "/inv", 0);
            flush(c);
            waiting = true;
        }
        if (!next_header(c)) {
            violation(c, "nothing in time");
            return;
        }
        if (c->reply_xid == -1) {
            EXPECT(c, !ordering.event_zxids || c->zxid > reply_zxid,
                   "an event of %#" PRIx64 " behind a reply of %#" PRIx64, c->zxid, reply_zxid);
            recursive_event(c, &k, &step, &zxid);
            EXPECT(c, k == 0 || k > reply_k,
                   "an event of multi %" PRId64 " behind a reply that shows %" PRId64, k, reply_k);
            continue;
        }
        note_reply(c);
        waiting = false;
        reply_zxid = c->zxid;
        if (!added) {
            added = true;
            continue;
        }
        struct view v;
        view_inv(c, &v);
        EXPECT(c, k == 0 || (v.k == k && step == 5),
               "a reply shows multi %" PRId64 ", events are at %" PRId64 " step %d", v.k, k, step);
        reply_k = v.k;
    }
}

/* ---- all together ---- */

static const struct role {
    const char *name;
    void (*run)(struct client *);
    int count;
} roles[] = {{"writer", writer, 1}, {"atomic", atomic_reader, 3},
             {"burst", burst_reader, 4}, {"own", own_writer, 3}, {"replacer", replacer, 2},
             {"mover", mover, 2}, {"one-shot", one_shot_watcher, 4},
             {"recursive", recursive_watcher, 3}};
#define ROLES (sizeof roles / sizeof roles[0])
#define CONNS_MAX 32

static void *role_thread(void *context)
{
    struct client *c = context;
    c->run(c);
    EXPECT(c, c->count >= c->enough, "gave up after %" PRId64 " replies", c->count);
    if (c->count < c->enough)
        sem_post(&had_enough);
    return NULL;
}

static int open_all(struct client *conns[CONNS_MAX])
{
    int total = 0;
    for (size_t r = 0; r < ROLES; r++)
        for (int i = 0; i < roles[r].count; i++, total++) {
            conns[total] = client_open(roles[r].name, ordering.seed * 100 + (uint32_t)total);
            conns[total]->run = roles[r].run;
            if (total == 0)
                set_up(conns[0]);
        }
    conns[0]->enough = conns[0]->count + ordering.multis_min;
    return total;
}

/**
 * Run all roles against a server whose tree is empty.
 *
 * @return violations; 0: all is well.
 */
static int64_t ordering_run(const struct ordering *config)
{
    struct client *conns[CONNS_MAX];
    pthread_t threads[CONNS_MAX];
    ordering = *config;
    sem_init(&had_enough, 0, 0);
    atomic_store(&ending, false);
    atomic_store(&final_k, -1);
    atomic_store(&violations, 0);
    int total = open_all(conns);
    for (int i = 0; i < total; i++)
        pthread_create(&threads[i], NULL, role_thread, conns[i]);
    sleep((unsigned)ordering.seconds);
    for (int i = 0; i < total; i++)
        while (sem_wait(&had_enough) != 0)
            ; /* interrupted */
    atomic_store(&ending, true);
    int64_t replies = 0;
    for (int i = 0; i < total; i++) {
        pthread_join(threads[i], NULL);
        replies += conns[i]->count;
        close(conns[i]->fd);
        free(conns[i]);
    }
    printf("ordering: %lld multis, %" PRId64 " replies, %lld checks, %lld violations\n",
           atomic_load(&final_k), replies, atomic_load(&checks), atomic_load(&violations));
    return atomic_load(&violations);
}

#endif
