/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tests/tree/tree_env.h"

static int setup(void **state)
{
    struct env *e = malloc(sizeof *e);
    struct tree_config config = env_config();
    env_init(e, &config);
    env_session(e, SESSION_A, 30000);
    env_session(e, SESSION_B, 10000);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    env_free(*state);
    free(*state);
    return 0;
}

static void a_fresh_tree_has_the_special_nodes_and_their_digest(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    struct tree *t = env_tree(&config);
    assert_true(tree_digest(t) == 1371985504);
    static const struct {
        const char *path;
        int32_t cversion, aversion, children;
    } rows[] = {{"/", -1, 0, 1},
                {"/zookeeper", -2, 0, 2},
                {"/zookeeper/quota", 0, 0, 0},
                {"/zookeeper/config", 0, -1, 0}};
    for (size_t i = 0; i < 4; i++) {
        const struct version *v =
            store_newest(tree_store(t), store_key(tree_store(t), text(rows[i].path)));
        assert_non_null(v);
        assert_int_equal(rows[i].cversion, stat_int(v, STAT_CVERSION));
        assert_int_equal(rows[i].aversion, stat_int(v, STAT_AVERSION));
        assert_int_equal(rows[i].children, stat_int(v, STAT_NUM_CHILDREN));
        assert_int_equal(0, stat_int(v, STAT_VERSION));
        assert_non_null(version_data(v).data);
        assert_int_equal(i == 3 ? 1 : 0, v->acl != ACL_OPEN);
    }
    tree_destroy(t);
}

/* --- validation order, semantics.md section 4 --- */

static void create_checks_in_zookeepers_order(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, env_create(e, "/a"));
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE, "/e", "", 1));
    static const struct {
        const char *path;
        int32_t flags, err;
    } rows[] = {
        {"/a/b", 7, ZK_BADARGUMENTS},
        {"/a/b", -1, ZK_BADARGUMENTS},
        {"/a/b", 5, ZK_BADARGUMENTS}, /* TTL by another opcode: ttl -1 */
        {"foo", 0, ZK_BADARGUMENTS},
        {"", 0, ZK_BADARGUMENTS},
        {NULL, 0, ZK_MARSHALLINGERROR},
        {"/nope/b", 0, ZK_NONODE},
        {"/a//b", 0, ZK_NONODE},
        {"/a/./b", 0, ZK_NONODE},
        {"/a/.", 0, ZK_BADARGUMENTS},
        {"/a/", 0, ZK_BADARGUMENTS},
        {"//", 0, ZK_BADARGUMENTS},
        {"/", 0, ZK_NODEEXISTS},
        {"/a", 0, ZK_NODEEXISTS},
        {"/e/x", 0, ZK_NOCHILDRENFOREPHEMERALS},
        {"/e/.", 0, ZK_BADARGUMENTS},
        {"/a/\x01", 0, ZK_BADARGUMENTS},
        {"/a/\xed\xa0\x80", 0, ZK_BADARGUMENTS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        zxid_t before = e->zxid;
        int32_t err = env_create_as(e, SESSION_A, OP_CREATE, rows[i].path, "", rows[i].flags);
        if (err != rows[i].err)
            fail_msg("row %zu: %d", i, err);
        assert_int_equal(before + 1, e->zxid); /* a refusal takes its zxid */
        assert_int_equal(OP_ERROR, env_entry_type(e));
        assert_int_equal(36, e->last_entry.size); /* no digest behind an error */
        assert_int_equal(0, e->reply.size);
    }
}

static void a_bad_acl_is_found_before_a_missing_parent(void **state)
{
    struct env *e = *state;
    buffer_put_bytes(&e->body, text("/nope/b"));
    buffer_put_bytes(&e->body, text(""));
    buffer_put_int(&e->body, -1); /* null vector */
    buffer_put_int(&e->body, 0);
    assert_int_equal(ZK_INVALIDACL, env_send(e, SESSION_A, OP_CREATE));
}

static void an_ephemeral_needs_a_session(void **state)
{
    struct env *e = *state;
    assert_int_equal(ZK_SESSIONEXPIRED, env_create_as(e, 77, OP_CREATE, "/e", "", 1));
    assert_int_equal(0, env_create_as(e, 77, OP_CREATE, "/p", "", 0));
}

static void delete_checks_in_zookeepers_order(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, env_create(e, "/a"));
    assert_int_equal(0, env_create(e, "/a/b"));
    static const struct {
        const char *path;
        int32_t version, err;
    } rows[] = {
        {NULL, -1, ZK_MARSHALLINGERROR},
        {"foo", -1, ZK_BADARGUMENTS},
        {"/", -1, ZK_BADARGUMENTS},
        {"/zookeeper", -1, ZK_BADARGUMENTS},
        {"/zookeeper/quota", -1, ZK_BADARGUMENTS},
        {"/zookeeper/config", -1, ZK_BADARGUMENTS},
        {"/nope/b", -1, ZK_NONODE},
        {"/a/", -1, ZK_NONODE},
        {"/nope", 5, ZK_NONODE},
        {"/a", 5, ZK_BADVERSION}, /* wins over NOTEMPTY */
        {"/a", 0, ZK_NOTEMPTY},
        {"/a", -1, ZK_NOTEMPTY},
        {"/a/b", 0, 0},
        {"/a", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t err = env_delete(e, rows[i].path, rows[i].version);
        if (err != rows[i].err)
            fail_msg("row %zu: %d", i, err);
    }
    assert_null(env_node(e, "/a"));
}

static void set_data_checks_path_existence_and_version(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, env_create(e, "/a"));
    assert_int_equal(ZK_BADARGUMENTS, env_set_data(e, NULL, "x", -1));
    assert_int_equal(ZK_BADARGUMENTS, env_set_data(e, "/a/", "x", -1));
    assert_int_equal(ZK_NONODE, env_set_data(e, "/b", "x", -1));
    assert_int_equal(ZK_BADVERSION, env_set_data(e, "/a", "x", 1));
    assert_int_equal(0, env_set_data(e, "/a", "x", 0));
    assert_int_equal(0, env_set_data(e, "/a", NULL, 1));
    assert_null(version_data(env_node(e, "/a")).data);
    assert_int_equal(2, stat_int(env_node(e, "/a"), STAT_VERSION));
}

static int32_t set_acl(struct env *e, const char *path, int32_t perms, const char *scheme,
                       const char *id, int32_t version)
{
    buffer_put_bytes(&e->body, text(path));
    buffer_put_int(&e->body, 1);
    put_acl(&e->body, perms, scheme, id);
    buffer_put_int(&e->body, version);
    return env_send(e, SESSION_A, OP_SET_ACL);
}

static void set_acl_checks_the_list_before_the_node_and_counts_aversion(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, env_create(e, "/a"));
    assert_int_equal(ZK_BADARGUMENTS, set_acl(e, "/a/", 31, "world", "anyone", -1));
    assert_int_equal(ZK_INVALIDACL, set_acl(e, "/nope", 31, "world", "nobody", -1));
    assert_int_equal(ZK_NONODE, set_acl(e, "/nope", 31, "world", "anyone", -1));
    assert_int_equal(ZK_BADVERSION, set_acl(e, "/a", 31, "world", "anyone", 1));
    int64_t mtime = stat_long(env_node(e, "/a"), STAT_MTIME),
            mzxid = stat_long(env_node(e, "/a"), STAT_MZXID);
    e->now_ms += 500;
    assert_int_equal(0, set_acl(e, "/a", PERM_READ | PERM_ADMIN, "world", "anyone", 0));
    assert_int_equal(STAT_BYTES, e->reply.size);
    const struct version *v = env_node(e, "/a");
    assert_int_equal(1, stat_int(v, STAT_AVERSION));
    assert_int_equal(mtime, stat_long(v, STAT_MTIME));
    assert_int_equal(mzxid, stat_long(v, STAT_MZXID));
    assert_int_equal(ZK_NOAUTH,
                     env_set_data(e, "/a", "x", 9)); /* before the version is looked at */
    assert_int_equal(0, set_acl(e, "/a", PERM_WRITE, "world", "anyone", 1));
    assert_int_equal(ZK_NOAUTH, set_acl(e, "/a", PERM_ALL, "world", "anyone", 7));
    assert_int_equal(ZK_NOAUTH, env_create(e, "/a/b"));
    assert_int_equal(0, env_set_data(e, "/a", "x", 0));
}

static void super_is_let_in_everywhere_but_needs_a_well_formed_acl(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, env_create(e, "/a"));
    assert_int_equal(0, set_acl(e, "/a", 0, "world", "anyone", -1));
    assert_int_equal(ZK_NOAUTH, env_set_data(e, "/a", "x", -1));
    struct auth_set *plain = e->auth;
    e->auth = auth_set_with(plain, text("super"), text(""));
    assert_int_equal(0, env_set_data(e, "/a", "x", -1));
    assert_int_equal(0, env_set_data(e, "/zookeeper/config", "x", -1));
    assert_int_equal(ZK_INVALIDACL, set_acl(e, "/a", 31, "super", "", -1));
    assert_int_equal(ZK_BADARGUMENTS, env_delete(e, "/zookeeper/config", -1));
    auth_set_drop(e->auth);
    e->auth = plain;
    assert_int_equal(ZK_NOAUTH,
                     env_set_data(e, "/zookeeper/config", "y", -1)); /* world may only read */
}

/* --- Stat effects, section 9 --- */

static void creations_and_deletions_move_the_parents_numbers(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, env_create(e, "/p"));
    zxid_t p = e->zxid;
    e->now_ms = 2000;
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE, "/p/x", "abc", 0));
    const struct version *v = env_node(e, "/p"), *x = env_node(e, "/p/x");
    assert_int_equal(p + 1, stat_long(v, STAT_PZXID));
    assert_int_equal(p, stat_long(v, STAT_MZXID));
    assert_int_equal(1000, stat_long(v, STAT_MTIME));
    assert_int_equal(1, stat_int(v, STAT_CVERSION));
    assert_int_equal(1, v->cversion);
    assert_int_equal(p + 1, stat_long(x, STAT_CZXID));
    assert_int_equal(p + 1, stat_long(x, STAT_PZXID));
    assert_int_equal(2000, stat_long(x, STAT_CTIME));
    assert_int_equal(3, stat_int(x, STAT_DATA_LENGTH));
    assert_int_equal(0, env_delete(e, "/p/x", -1));
    v = env_node(e, "/p");
    assert_int_equal(p + 2, stat_long(v, STAT_PZXID));
    assert_int_equal(2, stat_int(v, STAT_CVERSION)); /* a creation and a deletion */
    assert_int_equal(1, v->cversion);
    assert_int_equal(0, stat_int(v, STAT_NUM_CHILDREN));
}

/* --- sequential names, section 8 --- */

static void sequential_names_come_from_all_creations_so_far(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, env_create(e, "/s"));
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE, "/s/a-", "", 2));
    assert_reply_path(e, 0, "/s/a-0000000000");
    assert_int_equal(0, env_create(e, "/s/plain"));
    assert_int_equal(0, env_delete(e, "/s/plain", -1));
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE2, "/s/", "", 3));
    assert_reply_path(e, 0, "/s/0000000002");
    assert_int_equal(SESSION_A, stat_long(env_node(e, "/s/0000000002"), STAT_OWNER));
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE_CONTAINER, "/s/c", "", 2));
    assert_reply_path(e, 0, "/s/c0000000003");
    assert_true(version_owner_raw(env_node(e, "/s/c0000000003")) == OWNER_CONTAINER);
}

static void a_counter_at_its_end_sticks_and_answers_node_exists(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    struct env e;
    env_init(&e, &config);
    tree_destroy(e.t);
    e.t = tree_create(&config);
    struct stat_persisted zero = {0}, last = {.cversion = INT32_MAX - 1};
    assert_int_equal(0, tree_load_begin(e.t, 5));
    assert_int_equal(0, tree_load_node(e.t, text(""), text(""), -1, &zero));
    assert_int_equal(0, tree_load_node(e.t, text("/s"), text(""), -1, &last));
    assert_int_equal(0, tree_load_end(e.t));
    assert_int_equal(0, tree_load_finish(e.t));
    e.zxid = 5;
    assert_int_equal(0, env_create_as(&e, SESSION_A, OP_CREATE, "/s/n", "", 2));
    assert_reply_path(&e, 0, "/s/n2147483646");
    assert_int_equal(0, env_create_as(&e, SESSION_A, OP_CREATE, "/s/n", "", 2));
    assert_reply_path(&e, 0, "/s/n2147483647");
    assert_int_equal(INT32_MAX, env_node(&e, "/s")->cversion);
    assert_int_equal(ZK_NODEEXISTS, env_create_as(&e, SESSION_A, OP_CREATE, "/s/n", "", 2));
    assert_int_equal(ZK_NODEEXISTS, env_create_as(&e, SESSION_A, OP_CREATE, "/s/n", "", 2));
    env_free(&e);
}

/* --- kinds of nodes, client-protocol.md section 7 --- */

static void the_opcode_decides_what_a_top_level_create_stores(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE, "/f4", "", 4));
    assert_int_equal(0, version_owner_raw(env_node(e, "/f4")));
    assert_int_equal(4 + 3, e->reply.size);
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE_CONTAINER, "/c0", "", 0));
    assert_true(version_owner_raw(env_node(e, "/c0")) == OWNER_CONTAINER);
    assert_int_equal(0, stat_long(env_node(e, "/c0"), STAT_OWNER));
    assert_int_equal(4 + 3 + STAT_BYTES, e->reply.size);
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE_CONTAINER, "/c1", "", 1));
    assert_true(version_owner_raw(env_node(e, "/c1")) == OWNER_CONTAINER);
    assert_int_equal(0, env_create_ttl(e, "/t", 5, 1000));
    assert_true(version_owner_raw(env_node(e, "/t")) == (OWNER_TTL_MASK | 1000));
    assert_int_equal(0, env_create(e, "/t/child"));
    assert_int_equal(0, env_create_ttl(e, "/t", 6, TTL_MS_MAX));
    assert_reply_path(e, 0, "/t0000000004");
}

/* hazards.md row G among them: a plain flag with a negative ttl. */
static void create_ttl_with_bad_arguments_is_refused(void **state)
{
    struct env *e = *state;
    assert_int_equal(ZK_BADARGUMENTS, env_create_ttl(e, "/t", 0, 1000));
    assert_int_equal(ZK_BADARGUMENTS, env_create_ttl(e, "/t", 0, -1));
    assert_int_equal(ZK_BADARGUMENTS, env_create_ttl(e, "/t", 4, 5));
    assert_int_equal(ZK_BADARGUMENTS, env_create_ttl(e, "/t", 5, 0));
    assert_int_equal(ZK_BADARGUMENTS, env_create_ttl(e, "/t", 5, -1));
    assert_int_equal(ZK_BADARGUMENTS, env_create_ttl(e, "/t", 5, TTL_MS_MAX + 1));
    assert_int_equal(ZK_BADARGUMENTS, env_create_ttl(e, "/t", 99, 5));
}

static void ttl_types_that_are_switched_off_are_unimplemented(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    config.extended_types = false;
    struct env e;
    env_init(&e, &config);
    assert_int_equal(ZK_UNIMPLEMENTED, env_create_ttl(&e, "/t", 5, 1000));
    assert_int_equal(ZK_UNIMPLEMENTED, env_create_ttl(&e, "/t", 5, -1));
    assert_int_equal(ZK_BADARGUMENTS, env_create_ttl(&e, "/t", 0, 1000));
    assert_int_equal(ZK_UNIMPLEMENTED, env_create_as(&e, SESSION_A, OP_CREATE, "/t", "", 5));
    env_free(&e);
}

static void reconfig_is_disabled_or_unimplemented_on_a_standalone_server(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    for (int enabled = 0; enabled < 2; enabled++) {
        struct env e;
        config.reconfig_enabled = enabled;
        env_init(&e, &config);
        for (int i = 0; i < 3; i++)
            buffer_put_bytes(&e.body, BYTES_NULL);
        buffer_put_long(&e.body, -1);
        assert_int_equal(enabled ? ZK_UNIMPLEMENTED : ZK_RECONFIGDISABLED,
                         env_send(&e, SESSION_A, OP_RECONFIG));
        env_free(&e);
    }
}

static void a_body_that_does_not_decode_takes_no_zxid_but_in_a_multi(void **state)
{
    struct env *e = *state;
    zxid_t before = e->zxid;
    buffer_put_int(&e->body, 100);
    assert_int_equal(ZK_MARSHALLINGERROR, env_send(e, SESSION_A, OP_CREATE));
    assert_int_equal(TREE_NO_TXN, e->verdict);
    assert_int_equal(before, e->zxid);
    assert_int_equal(0, e->last_entry.size);
    buffer_put_int(&e->body, 100);
    assert_int_equal(ZK_MARSHALLINGERROR, env_send(e, SESSION_A, OP_MULTI));
    assert_int_equal(before + 1, e->zxid);
    assert_int_equal(OP_ERROR, env_entry_type(e));
}

static void delete_container_is_for_the_reaper_only(void **state)
{
    struct env *e = *state;
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE_CONTAINER, "/c", "", 4));
    assert_int_equal(0, env_create(e, "/c/x"));
    assert_int_equal(0, env_create_as(e, SESSION_A, OP_CREATE, "/e", "", 1));
    static const struct {
        const char *path;
        bool client;
        int32_t err;
    } rows[] = {{"/c", true, ZK_BADARGUMENTS},
                {"/nope", false, ZK_NONODE},
                {"/zookeeper", false, ZK_BADARGUMENTS},
                {"/c", false, ZK_NOTEMPTY},
                {"/e", false, ZK_BADVERSION},
                {"/c/x", false, 0},
                {"/c", false, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buffer_put_bytes(&e->body, text(rows[i].path));
        int32_t err = rows[i].client ? env_send(e, SESSION_A, OP_DELETE_CONTAINER)
                                     : env_send_server(e, 0, OP_DELETE_CONTAINER);
        if (err != rows[i].err)
            fail_msg("row %zu: %d", i, err);
    }
    assert_int_equal(OP_DELETE_CONTAINER, env_entry_type(e));
}

/* --- entries, disk-formats.md 3.11 --- */

static void assert_entry(struct env *e, const char *hex)
{
    uint8_t want[512];
    size_t n = 0;
    unsigned value;
    for (const char *p = hex; *p; p += 2) {
        while (*p == ' ')
            p++;
        assert_int_equal(1, sscanf(p, "%2x", &value));
        want[n++] = (uint8_t)value;
    }
    assert_int_equal(n, e->last_entry.size);
    assert_memory_equal(want, e->last_entry.data, n);
}

/* The history of log.100000001: open a session, create /a, ... with the ids and times of the
 * example. */
static void entries_are_the_worked_examples_to_the_byte(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    struct env e;
    env_init(&e, &config);
    const session_id_t s = 0x0200000cad750000;
    e.zxid = 0x100000000;
    e.now_ms = 0x1a1f84c0313;
    e.cxid = -1;
    env_session(&e, s, 30000);
    assert_entry(&e, "0200000cad750000 00000000 0000000100000001 000001a1f84c0313 fffffff6 00007530"
                     "00000002 0000000051c6d660");
    e.now_ms = 0x1a1f84c0320;
    assert_int_equal(0, env_create_as(&e, s, OP_CREATE, "/a", "x", 0));
    assert_entry(
        &e,
        "0200000cad750000 00000001 0000000100000002 000001a1f84c0320 00000001 00000002 2f61"
        "00000001 78"
        "00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 00 00000001"
        "00000002 00000001d2f48ed7");
    e.zxid = 0x100000009;
    e.cxid = 8;
    e.now_ms = 0x1a1f84c035c;
    assert_int_equal(ZK_NODEEXISTS, env_create_as(&e, s, OP_CREATE, "/a", "x", 0));
    assert_entry(&e,
                 "0200000cad750000 00000009 000000010000000a 000001a1f84c035c ffffffff ffffff92");
    env_free(&e);
}

/* disk-formats.md section 6: root 0x031578f2, /a 0xf50da5d7, /zookeeper 0x4db44d58. */
static void the_digest_of_a_tree_with_one_node_is_as_recorded(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    struct env e;
    env_init(&e, &config);
    env_session(&e, SESSION_A, 30000);
    e.now_ms = 0x1a1f85248b8;
    assert_int_equal(0, env_create_as(&e, SESSION_A, OP_CREATE, "/a", "hi", 0));
    assert_true(tree_digest(e.t) == 0x145d76c21);
    env_free(&e);
}

static void entries_carry_no_digest_when_digests_are_off(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    config.digest_enabled = false;
    struct env e;
    env_init(&e, &config);
    env_session(&e, SESSION_A, 30000);
    assert_int_equal(36, e.last_entry.size);
    env_free(&e);
}

/* --- limits (G5) --- */

static void an_entry_that_could_not_be_read_back_is_refused(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    config.entry_bytes_max = 200;
    struct env e;
    env_init(&e, &config);
    char data[200];
    memset(data, 'x', sizeof data);
    data[113] = 0; /* 32 + 6 + (4 + 113) + 31 - 4 + 1 + 4 + 12 = 199 */
    assert_int_equal(0, env_create_as(&e, SESSION_A, OP_CREATE, "/a", data, 0));
    assert_true(e.last_entry.size <= 200 && e.last_entry.size > 195);
    data[113] = 'x';
    data[120] = 0;
    assert_int_equal(ZK_BADARGUMENTS, env_create_as(&e, SESSION_A, OP_CREATE, "/b", data, 0));
    assert_null(env_node(&e, "/b"));
    assert_int_equal(OP_ERROR, env_entry_type(&e));
    env_free(&e);
}

/* hazards.md section 0, row C. */
static void ephemerals_whose_close_would_not_fit_are_refused(void **state)
{
    (void)state;
    struct tree_config config = env_config();
    config.entry_bytes_max = 100000;
    struct env e;
    env_init(&e, &config);
    env_session(&e, SESSION_A, 30000);
    char path[1024];
    int created = 0;
    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof path, "/%0995d", i);
        int32_t err = env_create_as(&e, SESSION_A, OP_CREATE, path, "", 1);
        assert_true(err == 0 || err == ZK_BADARGUMENTS);
        created += err == 0;
    }
    assert_int_equal((100000 - 48) / 1000, created);
    /* in a multi the earlier operations count */
    put_multi_header(&e.body, OP_DELETE);
    snprintf(path, sizeof path, "/%0995d", 3);
    put_path_version(&e.body, path, -1);
    for (int i = 0; i < 2; i++) {
        put_multi_header(&e.body, OP_CREATE);
        snprintf(path, sizeof path, "/m%0994d", i);
        put_create(&e.body, path, "", 1);
    }
    put_multi_end(&e.body);
    assert_int_equal(0, env_send(&e, SESSION_A, OP_MULTI));
    assert_int_equal(-1, (int32_t)be32_load(e.reply.data));
    assert_int_equal(ZK_BADARGUMENTS, (int32_t)be32_load(e.reply.data + 2 * 13 + 5));
    assert_int_equal(0, env_send(&e, SESSION_A, OP_CLOSE_SESSION));
    assert_true(e.last_entry.size <= 100000);
    assert_int_equal(1, stat_int(env_node(&e, "/"), STAT_NUM_CHILDREN));
    store_check(tree_store(e.t));
    env_free(&e);
}

/* hazards.md section 0, row H: what an `auth` entry grows to counts. */
static void acls_that_grow_when_expanded_are_bounded(void **state)
{
    struct env *e = *state;
    struct auth_set *plain = e->auth, *set = auth_set_hold(plain);
    for (int i = 0; i < 60; i++) {
        char id[64];
        snprintf(id, sizeof id, "user%d:%040d", i, i);
        struct auth_set *more = auth_set_with(set, text("digest"), text(id));
        auth_set_drop(set);
        set = more;
    }
    e->auth = set;
    for (int entries = 68; entries <= 69; entries++) { /* 68 * 60 = 4080 entries, 69 * 60 = 4140 */
        buffer_put_bytes(&e->body, text(entries == 68 ? "/a" : "/b"));
        buffer_put_bytes(&e->body, text(""));
        buffer_put_int(&e->body, entries);
        for (int i = 0; i < entries; i++)
            put_acl(&e->body, i, "auth", "");
        buffer_put_int(&e->body, 0);
        assert_int_equal(entries == 68 ? 0 : ZK_INVALIDACL, env_send(e, SESSION_A, OP_CREATE));
    }
    e->auth = plain;
    auth_set_drop(set);
}

int main(void)
{
    reader_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_tree_has_the_special_nodes_and_their_digest),
        cmocka_unit_test_setup_teardown(create_checks_in_zookeepers_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bad_acl_is_found_before_a_missing_parent, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_ephemeral_needs_a_session, setup, teardown),
        cmocka_unit_test_setup_teardown(delete_checks_in_zookeepers_order, setup, teardown),
        cmocka_unit_test_setup_teardown(set_data_checks_path_existence_and_version, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(set_acl_checks_the_list_before_the_node_and_counts_aversion,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(super_is_let_in_everywhere_but_needs_a_well_formed_acl,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(creations_and_deletions_move_the_parents_numbers, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(sequential_names_come_from_all_creations_so_far, setup,
                                        teardown),
        cmocka_unit_test(a_counter_at_its_end_sticks_and_answers_node_exists),
        cmocka_unit_test_setup_teardown(the_opcode_decides_what_a_top_level_create_stores, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(create_ttl_with_bad_arguments_is_refused, setup, teardown),
        cmocka_unit_test(ttl_types_that_are_switched_off_are_unimplemented),
        cmocka_unit_test(reconfig_is_disabled_or_unimplemented_on_a_standalone_server),
        cmocka_unit_test_setup_teardown(a_body_that_does_not_decode_takes_no_zxid_but_in_a_multi,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(delete_container_is_for_the_reaper_only, setup, teardown),
        cmocka_unit_test(entries_are_the_worked_examples_to_the_byte),
        cmocka_unit_test(the_digest_of_a_tree_with_one_node_is_as_recorded),
        cmocka_unit_test(entries_carry_no_digest_when_digests_are_off),
        cmocka_unit_test(an_entry_that_could_not_be_read_back_is_refused),
        cmocka_unit_test(ephemerals_whose_close_would_not_fit_are_refused),
        cmocka_unit_test_setup_teardown(acls_that_grow_when_expanded_are_bounded, setup, teardown),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    reader_unregister();
    return rc;
}
