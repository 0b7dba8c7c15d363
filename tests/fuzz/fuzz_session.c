/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Any bytes as what several clients of a whole server do, in one thread and in memory: what they
 * send (raw, framed, or a request that means something), when they connect, move their session,
 * stop reading and hang up, and in which order cores, control core and log take their turns.
 *
 * Oracle: no crash; the rig's own checks (nothing stays behind); memory before a session follows
 * the bytes received (C3); the tree's invariants at the end.
 */
#define RIG_CLOCK_WALL_REAL
#include "tests/dataplane/rig_client.h"

#include "dataplane/log.h"

#define PEERS 4
#define CORES 2
#define INPUT_BYTES_MAX 8192

static const char *const paths[] = {"/a",     "/a/b", "/c", "/",
                                    "/a/b/d", "",     "x",  "/zookeeper/quota/a"};

static struct rig_peer *peers[PEERS];
static struct jute_reader in;

static uint8_t take(void)
{
    const uint8_t *p = jute_left(&in) ? jute_take(&in, 1) : NULL;
    return p ? *p : 0;
}

static const char *take_path(void)
{
    return paths[take() % (sizeof paths / sizeof paths[0])];
}

static struct bytes take_bytes(size_t max)
{
    size_t n = take();
    n = n < max ? n : max;
    n = n < jute_left(&in) ? n : jute_left(&in);
    return (struct bytes){jute_take(&in, n), (uint32_t)n};
}

/* Reads the ConnectResponse, if it is one, for those that want to move the session. */
static void learn_session(struct rig_peer *p)
{
    if (p->session || p->got.size < 40 || be32_load(p->got.data) > 37 ||
        be32_load(p->got.data) < 36)
        return;
    p->looked = 0;
    (void)connected(p);
}

static void connect_peer(struct rig_peer *p)
{
    struct rig_peer *other = peers[take() % PEERS];
    learn_session(other);
    uint8_t kind = take();
    struct bytes passwd = {other->passwd, PASSWD_BYTES};
    send_connect(p, kind & 1 ? 0 : 1, 4000 + kind * 100, kind & 2 ? other->session : 0, passwd,
                 kind & 4);
}

static void framed(struct rig_peer *p)
{
    const struct opcode_info *info = opcode_at((enum opcode_index)(take() % OPX_COUNT));
    size_t at = frame_begin(&p->unread, p->xid++, info->number);
    struct bytes body = take_bytes(255);
    buffer_put_raw(&p->unread, body.data, body.size);
    frame_end(&p->unread, at);
}

static void sensible(struct rig_peer *p)
{
    static const int32_t reads[] = {OP_GET_DATA, OP_EXISTS, OP_GET_CHILDREN, OP_GET_CHILDREN2};
    static const int32_t by_path[] = {OP_SYNC, OP_GET_EPHEMERALS, OP_GET_ALL_CHILDREN_NUMBER,
                                      OP_GET_ACL};
    static const int32_t by_number[] = {OP_DELETE, OP_ADD_WATCH, OP_CHECK_WATCHES,
                                        OP_REMOVE_WATCHES};
    uint8_t kind = take();
    const char *path = take_path();
    switch (kind % 9) {
    case 0: send_create(p, path, take_bytes(64), kind >> 4); break;
    case 1: send_set(p, path, take_bytes(64), -1); break;
    case 2: send_multi_set(p, path, take_path(), take_bytes(8), kind & 16); break;
    case 3: send_path_int(p, by_number[kind >> 4 & 3], path, (int8_t)take()); break;
    case 4: send_path(p, by_path[kind >> 4 & 3], path); break;
    case 5: send_auth(p, kind & 16 ? "digest" : "ip", "user:secret"); break;
    case 6: send_bare(p, kind & 16 ? OP_PING : OP_WHO_AM_I); break;
    case 7: send_bare(p, kind >> 4 ? OP_SASL : OP_CLOSE_SESSION); break;
    default: send_read(p, reads[kind >> 4 & 3], path, kind & 128);
    }
}

static void raw(struct rig_peer *p)
{
    struct bytes bytes = take_bytes(255);
    rig_send(p, bytes.data, bytes.size);
}

static void reopen(unsigned i)
{
    if (peers[i]->conn) {
        rig_close(peers[i]);
        return;
    }
    uint8_t passwd[PASSWD_BYTES];
    session_id_t session = peers[i]->session;
    memcpy(passwd, peers[i]->passwd, sizeof passwd);
    rig_forget(peers[i]);
    peers[i] = rig_open(i % CORES);
    peers[i]->session = session;
    memcpy(peers[i]->passwd, passwd, sizeof passwd);
}

static void check_memory(void)
{
    for (int i = 0; i < PEERS; i++) {
        const struct conn *conn = peers[i]->conn;
        if (!conn || conn->state != CONN_NEW)
            continue;
        size_t bound = 2 * (size_t)conn->input_size;
        CHECK(conn->input_capacity <= (bound > INPUT_BYTES_FIRST ? bound : INPUT_BYTES_FIRST));
    }
}

static void act(void)
{
    uint8_t what = take();
    unsigned i = what >> 4 & (PEERS - 1);
    switch (what & 15) {
    case 0: connect_peer(peers[i]); break;
    case 1: framed(peers[i]); break;
    case 2:
    case 3:
    case 4: sensible(peers[i]); break;
    case 5: raw(peers[i]); break;
    case 6:
    case 7:
    case 8: rig_turn(i % CORES); break;
    case 9: (void)rig_control(); break;
    case 10: (void)rig_log_step(); break;
    case 11: rig_log.held = what >> 4 & 1; break;
    case 12: peers[i]->stalled = take() & 1; break;
    case 13: peers[i]->input_bytes_max = take(); break;
    case 14: rig_clock_advance_ms(take() * 20u); break;
    default: reopen(i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > INPUT_BYTES_MAX)
        return 0;
    struct config config = rig_config();
    snprintf(config.words_whitelist, sizeof config.words_whitelist, "*");
    config.container_check_interval_ms = 1000;
    config.extended_types_enabled = true;
    log_open(STDERR_FILENO, LOG_LEVEL_ERROR);
    rig_start(&config, CORES);
    for (unsigned i = 0; i < PEERS; i++)
        peers[i] = rig_open(i % CORES);
    in = jute_reader_of(data, size);
    while (jute_left(&in)) {
        act();
        check_memory();
    }
    rig_log.held = false;
    while (rig_log_step())
        continue;
    rig_settle();
    store_check(rig.server->store);
    rig_stop();
    return 0;
}
