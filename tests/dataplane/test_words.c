/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: each four-letter word answers with exactly the bytes of ZooKeeper 3.9 (client-protocol.md
 * section 14). Method: structs with different numbers in every field go in; the whole text is
 * compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/words.h"

#define TEXT_MAX (1 << 20)

static struct text_buffer buffer;

static int buffer_open(void **state)
{
    (void)state;
    buffer = text_buffer_of(TEXT_MAX);
    return 0;
}

static int buffer_close(void **state)
{
    (void)state;
    text_buffer_free(&buffer);
    return 0;
}

static void expect(const char *text)
{
    assert_false(buffer.full);
    assert_string_equal(buffer.data, text);
    text_buffer_free(&buffer);
}

/* Check that the text begins with a version such as "3.9.5-..., built on 2026-11-20" and step over
 * its line. */
static const char *version_skip(const char *text)
{
    int a, b, c, year, month, day, used = 0;
    char revision[64];
    assert_int_equal(sscanf(text, "%d.%d.%d-%63[^,], built on %4d-%2d-%2d%n", &a, &b, &c, revision,
                            &year, &month, &day, &used),
                     7);
    assert_int_equal(a, 3);
    assert_int_equal(b, 9);
    assert_true(year >= 1980 && month >= 1 && month <= 12 && day >= 1 && day <= 31);
    assert_int_equal(text[used], '\n');
    return text + used + 1;
}

static const struct server_stats server = {
    .mode = "standalone",
    .latency_min_ms = 1,
    .latency_max_ms = 30,
    .latency_sum_ms = 6881,
    .latency_count = 10000,
    .packets_received = 4,
    .packets_sent = 5,
    .connections = 6,
    .outstanding = 7,
    .zxid = 0x1000000ab,
    .node_count = 8,
};

#define SERVER_LINES                                                                           \
    "Latency min/avg/max: 1/0.6881/30\nReceived: 4\nSent: 5\nConnections: 6\nOutstanding: 7\n" \
    "Zxid: 0x1000000ab\nMode: standalone\nNode count: 8\n"

static const struct connection_stats plain = {
    .address = {127, 0, 0, 1}, .port = 40000, .interest = 1, .queued = 2, .received = 3, .sent = 4};

static struct connection_stats full_connection(void)
{
    struct connection_stats c = plain;
    c.v6 = true;
    memset(c.address, 0, sizeof c.address);
    c.address[15] = 1;
    c.session_id = 0x1000011aabb0000;
    c.last_operation = "GETD";
    c.established_ms = 1795176000123;
    c.timeout_ms = 10000;
    c.last_cxid = 17;
    c.last_zxid = 0x20;
    c.last_response_ms = 999;
    c.latency_last_ms = 1;
    c.latency_min_ms = 2;
    c.latency_avg_ms = 3;
    c.latency_max_ms = 4;
    return c;
}

static void four_bytes_are_a_word_only_if_they_are_exactly_one(void **state)
{
    (void)state;
    assert_int_equal(words_find("srvr", 4), WORD_SRVR);
    assert_int_equal(words_find("ruok", 4), WORD_RUOK);
    assert_int_equal(words_find("wchp", 4), WORD_WCHP);
    assert_int_equal(words_find("\xff\xf4\xff\xfd", 4), WORD_TELNET_CLOSE);
    assert_int_equal(words_find("SRVR", 4), WORD_NONE);
    assert_int_equal(words_find("\0\0\0\x2d", 4), WORD_NONE);
    assert_int_equal(words_find("srvr\n", 5), WORD_NONE);
    assert_int_equal(words_find("srv", 3), WORD_NONE);
    for (int word = WORD_NONE + 1; word < WORD_TELNET_CLOSE; word++)
        assert_int_equal(words_find(words_name((enum word)word), 4), word);
    assert_int_equal(WORD_TELNET_CLOSE, 19); /* 18 words before it */
}

static void the_whitelist_always_holds_srvr_and_isro_only_in_read_only_mode(void **state)
{
    (void)state;
    uint32_t list = words_whitelist("ruok , stat,nope,,mntr", false);
    assert_true(words_enabled(list, WORD_SRVR) && words_enabled(list, WORD_RUOK));
    assert_true(words_enabled(list, WORD_STAT) && words_enabled(list, WORD_MNTR));
    assert_false(words_enabled(list, WORD_ISRO) || words_enabled(list, WORD_DUMP));
    assert_false(words_enabled(list, WORD_NONE) || words_enabled(list, WORD_TELNET_CLOSE));
    assert_true(words_enabled(words_whitelist("ruok", true), WORD_ISRO));
    list = words_whitelist(" * ", false);
    for (int word = WORD_NONE + 1; word < WORD_COUNT; word++)
        assert_true(words_enabled(list, (enum word)word));
    assert_false(words_enabled(list, WORD_NONE));
}

/* Unset: the words that cost little and reveal no client data; those that walk connections or
 * watches are off. */
static void an_unset_whitelist_enables_the_cheap_words(void **state)
{
    (void)state;
    uint32_t list = words_whitelist("", false);
    assert_true(words_enabled(list, WORD_SRVR) && words_enabled(list, WORD_MNTR));
    assert_true(words_enabled(list, WORD_RUOK) && words_enabled(list, WORD_ISRO));
    assert_false(words_enabled(list, WORD_CONS) || words_enabled(list, WORD_STAT));
    assert_false(words_enabled(list, WORD_WCHP) || words_enabled(list, WORD_DUMP));
    assert_false(words_enabled(list, WORD_CRST) || words_enabled(list, WORD_STMK));
}

static void a_disabled_word_says_so(void **state)
{
    (void)state;
    words_format_disabled(&buffer, WORD_STAT);
    expect("stat is not executed because it is not in the whitelist.\n");
    words_format_disabled(&buffer, WORD_TELNET_CLOSE);
    expect("telnet close is not executed because it is not in the whitelist.\n");
}

static void a_server_that_does_not_serve_answers_only_what_needs_no_data(void **state)
{
    (void)state;
    assert_true(words_format_not_serving(&buffer, WORD_SRVR));
    expect("This ZooKeeper instance is not currently serving requests\n");
    assert_true(words_format_not_serving(&buffer, WORD_HASH));
    expect("This ZooKeeper instance is not currently serving requests");
    enum word answered[] = {WORD_RUOK, WORD_ISRO, WORD_ENVI, WORD_GTMK, WORD_STMK};
    for (size_t i = 0; i < sizeof answered / sizeof answered[0]; i++)
        assert_false(words_format_not_serving(&buffer, answered[i]));
    assert_int_equal(buffer.size, 0);
}

static void short_answers_have_no_newline_and_reset_answers_have_one(void **state)
{
    (void)state;
    words_format_ruok(&buffer);
    expect("imok");
    words_format_isro(&buffer, WORDS_ISRO_RW);
    words_format_isro(&buffer, WORDS_ISRO_RO);
    words_format_isro(&buffer, WORDS_ISRO_NULL);
    expect("rwronull");
    words_format_trace_mask(&buffer, WORDS_TRACE_MASK_DEFAULT);
    expect("306");
    words_format_trace_mask(&buffer, -1);
    expect("-1");
    words_format_crst(&buffer);
    expect("Connection stats reset.\n");
    words_format_srst(&buffer);
    expect("Server stats reset.\n");
}

static void srvr_prints_every_line_in_order(void **state)
{
    (void)state;
    words_format_srvr(&buffer, &server);
    assert_memory_equal(buffer.data, "Zookeeper version: ", 19);
    assert_string_equal(version_skip(buffer.data + 19), SERVER_LINES);
}

static void a_leader_adds_proposal_sizes_and_a_read_only_server_its_line(void **state)
{
    (void)state;
    struct server_stats s = server;
    s.mode = "leader";
    s.read_only = true;
    s.proposal_size_last = s.proposal_size_min = s.proposal_size_max = -1;
    words_format_srvr(&buffer, &s);
    assert_non_null(
        strstr(buffer.data, "\nREAD-ONLY mode; serving only read-only clients\nLatency"));
    assert_non_null(strstr(buffer.data, "Node count: 8\nProposal sizes last/min/max: -1/-1/-1\n"));
}

static void stat_lists_the_connections_between_version_and_numbers(void **state)
{
    (void)state;
    struct connection_stats own = full_connection();
    own.interest = 0;
    words_format_stat_begin(&buffer, &server);
    words_format_stat_connection(&buffer, &plain);
    words_format_stat_connection(&buffer, &own);
    words_format_stat_end(&buffer, &server);
    assert_string_equal(version_skip(buffer.data + 19),
                        "Clients:\n /127.0.0.1:40000[1](queued=2,recved=3,sent=4)\n"
                        " /[0:0:0:0:0:0:0:1]:40000[0](queued=2,recved=3,sent=4)\n\n" SERVER_LINES);
}

static void cons_shows_the_session_fields_only_with_a_session(void **state)
{
    (void)state;
    struct connection_stats c = full_connection();
    words_format_cons_connection(&buffer, &c);
    words_format_cons_connection(&buffer, &plain);
    words_format_cons_end(&buffer);
    expect(" /[0:0:0:0:0:0:0:1]:40000[1](queued=2,recved=3,sent=4,sid=0x1000011aabb0000,lop=GETD,"
           "est=1795176000123,to=10000,lcxid=0x11,lzxid=0x20,lresp=999,llat=1,minlat=2,avglat=3,"
           "maxlat=4)\n /127.0.0.1:40000[1](queued=2,recved=3,sent=4)\n\n");
}

static void cons_after_a_reset_shows_no_cxid_and_all_ones(void **state)
{
    (void)state;
    struct connection_stats c = full_connection();
    c.last_operation = "NA";
    c.last_cxid = -1;
    c.last_zxid = -1;
    words_format_cons_connection(&buffer, &c);
    assert_non_null(strstr(buffer.data, ",lop=NA,est="));
    assert_non_null(strstr(buffer.data, ",to=10000,lzxid=0xffffffffffffffff,lresp="));
    text_buffer_free(&buffer);
    c.last_operation = NULL;
    words_format_cons_connection(&buffer, &c);
    assert_non_null(strstr(buffer.data, ",lop=null,est="));
}

static void addresses_print_as_java_prints_them(void **state)
{
    (void)state;
    struct connection_stats c = {.v6 = true, .port = 1};
    memcpy(c.address, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\xff\xff\0\x07", 16);
    words_append_peer(&buffer, &c);
    expect("/[2001:db8:0:0:0:0:ffff:7]:1");
    memcpy(c.address, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x00\x00\xfe", 16);
    words_append_peer(&buffer, &c);
    expect("/10.0.0.254:1");
}

static void conf_prints_its_keys_in_order(void **state)
{
    (void)state;
    struct conf_stats c = {.client_port = 2181,
                           .secure_client_port = -1,
                           .data_dir = "/d/version-2",
                           .data_dir_bytes = 10,
                           .data_log_dir = "/l/version-2",
                           .data_log_dir_bytes = 67108880,
                           .tick_time_ms = 2000,
                           .max_client_cnxns = 60,
                           .session_timeout_ms_min = 4000,
                           .session_timeout_ms_max = 40000,
                           .listen_backlog = -1};
    words_format_conf(&buffer, &c);
    expect("clientPort=2181\nsecureClientPort=-1\ndataDir=/d/version-2\ndataDirSize=10\n"
           "dataLogDir=/l/version-2\ndataLogSize=67108880\ntickTime=2000\nmaxClientCnxns=60\n"
           "minSessionTimeout=4000\nmaxSessionTimeout=40000\nclientPortListenBacklog=-1\nserverId="
           "0\n");
}

static void envi_begins_with_the_version_and_marks_what_is_missing(void **state)
{
    (void)state;
    struct environment_stats e = {.host_name = "h",
                                  .os_name = "Linux",
                                  .os_arch = "x86_64",
                                  .os_version = "6.1",
                                  .user_name = "zk",
                                  .user_dir = "/",
                                  .memory_free_bytes = 123 << 20,
                                  .memory_max_bytes = (123 << 20) + 5,
                                  .memory_total_bytes = 7 << 20};
    words_format_envi(&buffer, &e);
    assert_memory_equal(buffer.data, "Environment:\nzookeeper.version=", 31);
    assert_string_equal(
        version_skip(buffer.data + 31),
        "host.name=h\njava.version=<NA>\njava.vendor=<NA>\njava.home=<NA>\njava.class.path=<NA>\n"
        "java.library.path=<NA>\njava.io.tmpdir=<NA>\njava.compiler=<NA>\nos.name=Linux\nos.arch="
        "x86_64\n"
        "os.version=6.1\nuser.name=zk\nuser.home=<NA>\nuser.dir=/\nos.memory.free=123MB\n"
        "os.memory.max=123MB\nos.memory.total=7MB\n");
}

static void dirs_watches_and_digests_print_their_lines(void **state)
{
    (void)state;
    words_format_dirs(&buffer, 10, 20);
    expect("datadir_size: 10\nlogdir_size: 20\n");
    words_format_wchs(&buffer, 1, 2, 3);
    expect("1 connections watching 2 paths\nTotal watches:3\n");
    words_format_wchc_session(&buffer, 0x1000000000000ab);
    words_format_wchc_path(&buffer, "/a/bc", 2);
    words_format_wch_end(&buffer);
    expect("0x1000000000000ab\n\t/a\n\n");
    words_format_wchp_path(&buffer, "/a/bc", 5);
    words_format_wchp_session(&buffer, -1);
    words_format_wch_end(&buffer);
    expect("/a/bc\n\t0xffffffffffffffff\n\n");
    words_format_hash(&buffer, 0x80, -1371985504);
    expect("80: -1371985504\n");
}

static void dump_lists_sessions_ephemerals_and_connections(void **state)
{
    (void)state;
    struct connection_stats c = plain;
    c.session_id = 0xab;
    words_format_dump_sessions(&buffer, 1, 2);
    words_format_dump_bucket(&buffer, 2, 1795167552000);
    words_format_dump_session(&buffer, 0xab);
    words_format_dump_session(&buffer, 0xac);
    words_format_dump_ephemerals(&buffer, 1);
    words_format_dump_owner(&buffer, 0xab);
    words_format_dump_path(&buffer, "/e", 2);
    words_format_dump_connections(&buffer, 1, 1);
    words_format_dump_bucket(&buffer, 1, 1788220800000);
    words_format_dump_connection(&buffer, &c);
    expect(
        "SessionTracker dump:\nSession Sets (1)/(2):\n2 expire at Fri Nov 20 09:39:12 UTC 2026:\n"
        "\t0xab\n\t0xac\nephemeral nodes dump:\nSessions with Ephemerals (1):\n0xab:\n\t/e\n"
        "Connections dump:\nConnections Sets (1)/(1):\n1 expire at Tue Sep 01 00:00:00 UTC 2026:\n"
        "\tip: /127.0.0.1:40000 sessionId: 0xab\n");
}

static void mntr_begins_with_version_and_state_and_leaves_out_what_is_unknown(void **state)
{
    (void)state;
    struct mntr_stats m;
    words_mntr_init(&m);
    m.server = server;
    m.uptime_ms = 77;
    m.fsync_ms = (struct mntr_summary){.count = 2, .sum = 3, .min = 1, .max = 2};
    m.startup_txns_loaded = (struct mntr_summary){.count = 0};
    m.read_latency_ms = (struct mntr_percentiles){{4, 4, 1, 1}, 5, 6, 7, 8};
    words_format_mntr(&buffer, &m);
    assert_memory_equal(buffer.data, "zk_version\t", 11);
    const char *rest = version_skip(buffer.data + 11), *zeros = strstr(rest, "zk_outstanding_tls");
    assert_non_null(zeros);
    assert_non_null(strstr(zeros, "\nzk_snap_count\t0\n"));
    assert_non_null(strstr(zeros, "\nzk_connection_drop_probability\t0.0\n"));
    const char *known =
        "zk_server_state\tstandalone\nzk_avg_latency\t0.6881\nzk_max_latency\t30\nzk_min_"
        "latency\t1\n"
        "zk_packets_received\t4\nzk_packets_sent\t5\nzk_num_alive_connections\t6\n"
        "zk_outstanding_requests\t7\nzk_znode_count\t8\nzk_uptime\t77\nzk_avg_fsynctime\t1.5\n"
        "zk_min_fsynctime\t1\nzk_max_fsynctime\t2\nzk_cnt_fsynctime\t2\nzk_sum_fsynctime\t3\n"
        "zk_avg_startup_txns_loaded\t0.0\nzk_min_startup_txns_loaded\t0\nzk_max_startup_txns_"
        "loaded\t0\n"
        "zk_cnt_startup_txns_loaded\t0\nzk_sum_startup_txns_loaded\t0\nzk_avg_readlatency\t1.0\n"
        "zk_min_readlatency\t1\nzk_max_readlatency\t1\nzk_cnt_readlatency\t4\nzk_sum_"
        "readlatency\t4\n"
        "zk_p50_readlatency\t5\nzk_p95_readlatency\t6\nzk_p99_readlatency\t7\nzk_p999_"
        "readlatency\t8\n";
    assert_int_equal(zeros - rest, strlen(known));
    assert_memory_equal(rest, known, strlen(known));
}

static void doubles_print_as_java_prints_them(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *text;
    } cases[] = {{0, "0.0"},          {1, "1.0"},
                 {0.6881, "0.6881"},  {0.00004, "0.0"},
                 {0.00005, "1.0E-4"}, {1.0 / 3, "0.3333"},
                 {2.0 / 3, "0.6667"}, {-2.5, "-2.5"},
                 {100, "100.0"},      {9999999, "9999999.0"},
                 {12000000, "1.2E7"}, {1e10, "1.0E10"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        text_append_double(&buffer, cases[i].number);
        expect(cases[i].text);
    }
}

static void a_buffer_grows_to_its_bound_and_drops_whole_appends_beyond(void **state)
{
    (void)state;
    struct text_buffer b = text_buffer_of(4096);
    for (int i = 0; i < 100; i++)
        text_append(&b, "%099d\n", i);
    assert_true(b.full);
    assert_int_equal(b.size, 4000);
    assert_int_equal(strlen(b.data), 4000);
    text_append(&b, "x");
    assert_int_equal(b.size, 4000); /* once full, nothing more: no gap in the middle */
    text_buffer_free(&b);
    text_append(&b, "%04095d", 1); /* longer than any small room, and exactly the bound */
    assert_false(b.full);
    assert_int_equal(b.size, 4095);
    text_append(&b, "x");
    assert_true(b.full);
    text_buffer_free(&b);
    b = text_buffer_of(0);
    text_append(&b, "x");
    assert_true(b.full);
    assert_null(b.data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, buffer_open, buffer_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(four_bytes_are_a_word_only_if_they_are_exactly_one),
        TEST(the_whitelist_always_holds_srvr_and_isro_only_in_read_only_mode),
        TEST(an_unset_whitelist_enables_the_cheap_words),
        TEST(a_disabled_word_says_so),
        TEST(a_server_that_does_not_serve_answers_only_what_needs_no_data),
        TEST(short_answers_have_no_newline_and_reset_answers_have_one),
        TEST(srvr_prints_every_line_in_order),
        TEST(a_leader_adds_proposal_sizes_and_a_read_only_server_its_line),
        TEST(stat_lists_the_connections_between_version_and_numbers),
        TEST(cons_shows_the_session_fields_only_with_a_session),
        TEST(cons_after_a_reset_shows_no_cxid_and_all_ones),
        TEST(addresses_print_as_java_prints_them),
        TEST(conf_prints_its_keys_in_order),
        TEST(envi_begins_with_the_version_and_marks_what_is_missing),
        TEST(dirs_watches_and_digests_print_their_lines),
        TEST(dump_lists_sessions_ephemerals_and_connections),
        TEST(mntr_begins_with_version_and_state_and_leaves_out_what_is_unknown),
        TEST(doubles_print_as_java_prints_them),
        TEST(a_buffer_grows_to_its_bound_and_drops_whole_appends_beyond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
