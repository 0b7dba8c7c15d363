/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: a stock zoo.cfg is read unchanged, every key has one of three effects, and whatever is
 * wrong is said with file, line, value and way out. Method: texts go through config_parse_text()
 * with a sink that collects the lines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/config.h"
#include "dataplane/config_keys.h"

/* Collected lines, each behind its kind: "E text\n", "W ...", "N ...", "T ...". */
struct collected {
    char text[1 << 18];
    size_t size;
    int lines;
};

static struct collected out;

static void collect(void *context, enum config_line kind, const char *text)
{
    struct collected *c = context;
    assert_true(c->size + strlen(text) + 4 < sizeof c->text);
    c->size += (size_t)snprintf(c->text + c->size, sizeof c->text - c->size, "%c %s\n",
                                "EWNT"[kind], text);
    c->lines++;
}

static const struct config_sink sink = {collect, &out};

static void out_reset(void)
{
    memset(&out, 0, sizeof out);
}

static int parse(const char *text, struct config *c)
{
    out_reset();
    config_init(c);
    return config_parse_text("zoo.cfg", text, strlen(text), c, &sink);
}

/* What a valid file needs. */
#define BASE "clientPort=2181\ndataDir=/var/lib/zk\n"

static void said(const char *line)
{
    if (!strstr(out.text, line))
        fail_msg("not said: %s\nsaid: %s", line, out.text);
}

static void refused(const char *text, const char *line)
{
    struct config c;
    assert_int_equal(parse(text, &c), CONFIG_EINVALID);
    said(line);
}

static void accepted(const char *text, struct config *c)
{
    int result = parse(text, c);
    if (result != CONFIG_OK)
        fail_msg("refused: %s", out.text);
    assert_true(config_valid(c));
}

/* zoo_sample.cfg of the ZooKeeper distribution, its keys without the comments. */
static void the_sample_file_is_read_unchanged(void **state)
{
    (void)state;
    struct config c;
    accepted("# The number of milliseconds of each tick\ntickTime=2000\ninitLimit=10\nsyncLimit=5\n"
             "dataDir=/tmp/zookeeper\nclientPort=2181\n#maxClientCnxns=60\n"
             "#autopurge.snapRetainCount=3\n#autopurge.purgeInterval=1\n"
             "## Metrics Providers\n#metricsProvider.className=x\n",
             &c);
    assert_int_equal(c.client_port, 2181);
    assert_int_equal(c.tick_time_ms, 2000);
    assert_int_equal(c.session_timeout_ms_min, 4000);
    assert_int_equal(c.session_timeout_ms_max, 40000);
    assert_int_equal(c.max_client_cnxns, 60);
    assert_string_equal(c.data_dir, "/tmp/zookeeper");
    assert_string_equal(c.data_log_dir, "/tmp/zookeeper");
    assert_int_equal(c.no_effect_count, 2);
    said("N zoo.cfg:3: initLimit: no effect: it is for ensembles");
    assert_null(strstr(out.text, "W "));
}

/* What the Docker image writes for one server: no clientPort line, the port stands in the server
 * line. */
static void the_single_server_of_the_container_image_listens_where_its_line_says(void **state)
{
    (void)state;
    struct config c;
    accepted("dataDir=/data\ndataLogDir=/datalog\ntickTime=2000\ninitLimit=5\nsyncLimit=2\n"
             "autopurge.snapRetainCount=3\nautopurge.purgeInterval=0\nmaxClientCnxns=60\n"
             "standaloneEnabled=true\nadmin.enableServer=true\nserver.1=localhost:2888:3888;2181\n",
             &c);
    assert_int_equal(c.client_port, 2181);
    assert_string_equal(c.client_port_address, "");
    assert_string_equal(c.data_log_dir, "/datalog");
    said("N zoo.cfg:11: server.1: no effect: the only server");
    accepted("dataDir=/d\nserver.7=h:1:2:participant;[::1]:2182\n", &c);
    assert_int_equal(c.client_port, 2182);
    assert_string_equal(c.client_port_address, "::1");
    refused(BASE "server.1=localhost:2888:3888;2182\n",
            "clientPort=2181 and the client port 2182 of server.1");
}

static void an_ensemble_is_refused_with_the_reason(void **state)
{
    (void)state;
    refused(BASE "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n",
            "E zoo.cfg:4: server.2: refused: with server.1 of line 3 this is an ensemble, and "
            "ensembles are "
            "not served by this version");
    assert_int_equal(out.lines, 2); /* one note for server.1, one error for all the others */
    refused(BASE "server.1=a:2888:3888:observer\n", "an observer needs an ensemble");
    refused(BASE "server.x=a:2888:3888\n", "write server.<number>=");
    refused(BASE "server.1=a\n", "write server.<number>=");
    refused(BASE "server.1=a:1:2;70000\n", "behind the semicolon");
    refused(BASE "dynamicConfigFile=/x\n", "dynamicConfigFile=/x: refused: ensembles");
    refused(BASE "standaloneEnabled=false\n", "refused: ensembles");
    refused(BASE "peerType=observer\n", "refused: ensembles");
    refused(BASE "group.1=1:2:3\n", "refused: ensembles");
    refused(BASE "electionAlg=1\n", "only 3 exists");
    struct config c;
    accepted(BASE "standaloneEnabled=TRUE\npeerType=participant\nelectionAlg=3\n", &c);
}

static void a_mistyped_key_gets_its_line_and_the_nearest_key(void **state)
{
    (void)state;
    refused("\n\n" BASE "tickTme=2000\n",
            "E zoo.cfg:5: unknown key \"tickTme\"; did you mean \"tickTime\"?\n");
    refused(BASE "maxclientcnxns=1\n", "did you mean \"maxClientCnxns\"?");
    refused(BASE "juet.maxbuffer=1\n", "did you mean \"jute.maxbuffer\"?");
    refused(BASE "zookeeper.snapcount=1\n", "did you mean \"snapCount\"?");
    refused(BASE "autopurge.snapRetainCnt=4\n", "did you mean \"autopurge.snapRetainCount\"?");
    refused(BASE "colour=blue\n", "unknown key \"colour\"; remove it");
    refused(BASE "server.=a:1:2\n", "unknown key \"server.\"");
    struct config c;
    accepted(BASE "x-owner=team-b\n", &c);
    assert_int_equal(out.lines, 0);
}

static void every_error_of_a_file_is_told_at_once(void **state)
{
    (void)state;
    refused("clientPort=70000\ntickTime=2s\nforceSync=maybe\nlocalSessionsEnabled=1\nfoo=1\n",
            "E zoo.cfg:1: clientPort=70000: out of range; allowed is 0 to 65535\n");
    said("E zoo.cfg:2: tickTime=2s: not a whole number (of ms)\n");
    said("E zoo.cfg:3: forceSync=maybe: write yes or no\n");
    said("E zoo.cfg:4: localSessionsEnabled=1: write true or false\n");
    said("E zoo.cfg:5: unknown key \"foo\"");
    said("E zoo.cfg: dataDir is not set");
}

static void a_value_is_checked_even_where_the_key_has_no_effect(void **state)
{
    (void)state;
    refused(BASE "initLimit=ten\n", "initLimit=ten: not a whole number (of ticks)");
    refused(BASE "snapCount=1\n", "out of range; allowed is 2 to 2147483647 txns");
    refused(BASE "tickTime=99999999999999999999\n", "out of range");
    refused(BASE "tickTime=\n", "not a whole number");
    refused(BASE "maxCnxns=5 # five\n", "a comment needs a line of its own");
    refused(BASE "connectionDropIncrease=x\n", "not a number");
}

static void numbers_may_be_hexadecimal_as_in_java_system_properties(void **state)
{
    (void)state;
    struct config c;
    accepted(BASE "jute.maxbuffer=0x400000\n", &c);
    assert_int_equal(c.jute_max_buffer_bytes, 0x400000);
    accepted(BASE "zookeeper.jute.maxbuffer=5000\njute.maxbuffer.extrasize=10\n", &c);
    assert_int_equal(c.jute_max_buffer_bytes, 5000);
    said("N zoo.cfg:4: jute.maxbuffer.extrasize: no effect");
}

static void a_key_is_known_by_its_documented_name_and_by_its_property(void **state)
{
    (void)state;
    struct config c;
    accepted(BASE
             "zookeeper.snapCount=6\nzookeeper.readonlymode.enabled=true\n"
             "connectionMaxTokens=3\nconnection_throttle_fill_count=4\n"
             "zookeeper.request_throttle_max_requests=5\nzookeeper.observer.syncEnabled=false\n",
             &c);
    assert_int_equal(c.snap_count, 6);
    assert_true(c.read_only_mode_enabled);
    assert_int_equal(c.no_effect_count, 4);
    said("N zoo.cfg:6: connection_throttle_fill_count: no effect: new connections are limited");
    said("N zoo.cfg:8: zookeeper.observer.syncEnabled: no effect: it is for ensembles");
}

static void session_timeouts_follow_the_tick_and_must_not_cross(void **state)
{
    (void)state;
    struct config c;
    accepted(BASE "tickTime=500\nminSessionTimeout=700\nmaxSessionTimeout=-1\n", &c);
    assert_int_equal(c.session_timeout_ms_min, 700);
    assert_int_equal(c.session_timeout_ms_max, 10000);
    refused(BASE "minSessionTimeout=50\nmaxSessionTimeout=49\n",
            "minSessionTimeout (50 ms) must not be larger than maxSessionTimeout (49 ms)");
    refused(BASE "tickTime=2000\nminSessionTimeout=40001\n", "must not be larger");
    refused(BASE "minSessionTimeout=0\n", "must be at least 1 ms");
    refused(BASE "tickTime=0\n", "out of range");
    accepted(BASE "tickTime=107374182\n", &c);
    assert_int_equal(c.session_timeout_ms_max, 2147483640);
}

static void what_purging_keeps_is_at_least_three(void **state)
{
    (void)state;
    struct config c;
    accepted(BASE "autopurge.snapRetainCount=1\nautopurge.purgeInterval=-1\n", &c);
    assert_int_equal(c.snap_retain_count, 3);
    assert_int_equal(c.purge_interval_hours, 0);
    said("W zoo.cfg: autopurge.snapRetainCount=1 is below the least; 3 are kept");
}

static void the_last_of_repeated_keys_counts_and_is_warned_of(void **state)
{
    (void)state;
    struct config c;
    accepted(BASE "snapCount=10\n\nsnapCount=20\n", &c);
    assert_int_equal(c.snap_count, 20);
    said("W zoo.cfg:5: snapCount: replaces line 3\n");
}

static void what_is_not_served_is_refused_unless_it_asks_for_nothing(void **state)
{
    (void)state;
    struct config c;
    refused(BASE "secureClientPort=2281\n", "secureClientPort=2281: refused: TLS is not served");
    refused(BASE "sessionRequireClientSASLAuth=true\n", "refused: SASL");
    refused(BASE "audit.enable=true\n", "refused: audit");
    refused(BASE "snapshot.compression.method=snappy\n", "refused: snappy");
    refused(BASE "snapshot.compression.method=zip\n", "write gz");
    refused(BASE "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n",
            "refused: this version authenticates by digest and ip only");
    accepted(
        BASE
        "sessionRequireClientSASLAuth=false\naudit.enable=False\nclient.portUnification=false\n"
        "snapshot.compression.method=\n"
        "authProvider.1=org.apache.zookeeper.server.auth.DigestAuthenticationProvider\n",
        &c);
    accepted(BASE "snapshot.compression.method=gz\n", &c);
    assert_int_equal(c.snapshot_compression, CONFIG_COMPRESSION_GZIP);
}

static void authentication_schemes_are_checked_only_when_enforced(void **state)
{
    (void)state;
    struct config c;
    accepted(BASE "enforce.auth.schemes=sasl\n", &c);
    accepted(BASE "enforce.auth.enabled=true\nenforce.auth.schemes= digest , ip\n", &c);
    assert_string_equal(c.enforce_auth_schemes, "digest,ip");
    refused(BASE "enforce.auth.enabled=true\n", "needs enforce.auth.schemes");
    refused(BASE "enforce.auth.enabled=true\nenforce.auth.schemes=ip,sasl\n",
            "scheme sasl is not available");
    refused(BASE "enforce.auth.enabled=true\nenforce.auth.schemes=digest\n"
                 "DigestAuthenticationProvider.enabled=false\n",
            "scheme digest is not available");
}

static void the_digest_algorithm_is_named_as_openssl_does(void **state)
{
    (void)state;
    struct config c;
    accepted(BASE, &c);
    assert_string_equal(c.digest_auth_algorithm, "SHA1");
    accepted(BASE "DigestAuthenticationProvider.digestAlg=SHA-256\n", &c);
    assert_string_equal(c.digest_auth_algorithm, "SHA256");
    refused(BASE "DigestAuthenticationProvider.digestAlg=RipeMD160\n", "unknown digest");
}

/* The super digest is as good as a password: no line may hold it, whatever is wrong with it. */
static void no_line_shows_a_secret(void **state)
{
    (void)state;
    struct config c;
    refused(BASE "DigestAuthenticationProvider.superDigest=hunter2\n", "superDigest: write super:");
    assert_null(strstr(out.text, "hunter2"));
    accepted(BASE
             "DigestAuthenticationProvider.superDigest=super:hunter2\n"
             "DigestAuthenticationProvider.superDigest=super:hunter2=\n"
             "ssl.keyStore.password=hunter2\nSASLAuthenticationProvider.superPassword=hunter2\n"
             "DigestAuthenticationProvider.enabled=false\n",
             &c);
    assert_string_equal(c.super_digest, "super:hunter2=");
    config_print_check(&c, &sink);
    said("T DigestAuthenticationProvider.superDigest=(set)\n");
    assert_null(strstr(out.text, "hunter2"));
}

static void the_dpdk_port_takes_addresses_gateways_and_cpus(void **state)
{
    (void)state;
    struct config c;
    accepted(BASE "dpdk.enabled=true\ndpdk.eal=--vdev=net_tap0,iface=sengi0 --no-huge\n"
                  "dpdk.address=192.0.2.7/24, 2001:db8::7/64\ndpdk.gateway=192.0.2.1,fe80::1\n"
                  "dpdk.cores=2,4-6\ndpdk.mtu=1400\ndpdk.idle=sleep\ndpdk.port=net_tap0\n"
                  "dpdk.rto.min=200\ndpdk.offload=off\n",
             &c);
    assert_true(c.dpdk_enabled);
    assert_string_equal(c.dpdk_eal, "--vdev=net_tap0,iface=sengi0 --no-huge");
    assert_int_equal(c.dpdk_address_count, 2);
    assert_false(c.dpdk_addresses[0].v6);
    assert_memory_equal(c.dpdk_addresses[0].bytes, "\xc0\x00\x02\x07", 4);
    assert_int_equal(c.dpdk_addresses[0].prefix_bits, 24);
    assert_true(c.dpdk_addresses[1].v6);
    assert_int_equal(c.dpdk_addresses[1].prefix_bits, 64);
    assert_true(c.dpdk_gateway4_set && c.dpdk_gateway6_set);
    assert_int_equal(c.dpdk_gateway4.bytes[3], 1);
    assert_int_equal(c.dpdk_cores.count, 4);
    assert_int_equal(c.dpdk_cores.ids[1], 4);
    assert_int_equal(c.dpdk_cores.ids[3], 6);
    assert_int_equal(c.dpdk_idle, CONFIG_IDLE_SLEEP);
    assert_int_equal(c.dpdk_offload, CONFIG_OFFLOAD_OFF);
    config_print_check(&c, &sink);
    said("T dpdk.address=192.0.2.7/24,2001:db8::7/64\n");
    said("T dpdk.gateway=192.0.2.1,fe80::1\n");
    said("T dpdk.cores=2,4,5,6\n");
    said("T dpdk.idle=sleep\n");
    said("T dpdk.rto.min=200\n");
}

static void what_the_dpdk_port_cannot_use_is_refused(void **state)
{
    (void)state;
    refused(BASE "dpdk.enabled=true\n", "dpdk.enabled=true needs an address");
    refused(BASE "dpdk.address=192.0.2.7\n", "\"192.0.2.7\" is no address with prefix");
    refused(BASE "dpdk.address=192.0.2.7/33\n", "no address with prefix");
    refused(BASE
            "dpdk.address=1.2.3.1/8,1.2.3.2/8,1.2.3.3/8,1.2.3.4/8,1.2.3.5/8,1.2.3.6/8,1.2.3.7/8,"
            "1.2.3.8/8,1.2.3.9/8\n",
            "more than 8 addresses");
    refused(BASE "dpdk.gateway=1.2.3.4,1.2.3.5\n", "at most one gateway");
    refused(BASE "dpdk.gateway=1.2.3.4/8\n", "is no address");
    refused(BASE "dpdk.enabled=true\ndpdk.address=1.2.3.4/8\ndpdk.gateway=fe80::1\n",
            "of a family");
    refused(BASE "dpdk.enabled=true\ndpdk.address=fd00::1/8\ndpdk.mtu=1279\n",
            "below the 1280 bytes");
    refused(BASE "dpdk.cores=1,1\n", "write different CPUs");
    refused(BASE "dpdk.cores=3-1\n", "write different CPUs");
    refused(BASE "dpdk.cores=0-64\n", "at most 64");
    refused(BASE "dpdk.rto.min=0\n", "dpdk.rto.min");
    refused(BASE "dpdk.offload=yes\n", "dpdk.offload=yes: write one of auto|on|off");
    refused(BASE "dpdk.idle=doze\n", "dpdk.idle=doze: write one of poll|sleep");
    refused("clientPort=0\ndataDir=/d\ndpdk.enabled=true\ndpdk.address=1.2.3.4/8\n",
            "clientPort=0");
}

static void addresses_that_no_host_has_are_refused_for_the_port(void **state)
{
    static const struct {
        const char *text, *what;
    } rows[] = {
        {"0.0.0.0/0", "no address"},
        {"0.1.2.3/8", "no address"},
        {"127.0.0.1/8", "loopback"},
        {"224.0.0.1/24", "multicast"},
        {"240.0.0.1/8", "reserved"},
        {"255.255.255.255/32", "reserved"},
        {"192.0.2.0/24", "the network itself"},
        {"192.0.2.255/24", "broadcast"},
        {"::/64", "unspecified"},
        {"::1/128", "loopback"},
        {"ff02::1/64", "multicast"},
        {"::ffff:192.0.2.7/120", "an IPv4 address written as IPv6"},
        {"192.0.2.7/24,192.0.2.7/16", "192.0.2.7/16 is there twice"},
    };
    struct config c;
    char text[200];
    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(text, sizeof text, BASE "dpdk.address=%s\n", rows[i].text);
        refused(text, rows[i].what);
    }
    accepted(BASE "dpdk.address=192.0.2.0/31,192.0.2.255/32,2001:db8::/64,fe80::1/64\n", &c);
    refused(BASE "dpdk.gateway=224.0.0.9\n", "dpdk.gateway: 224.0.0.9 is a multicast address");
    refused(BASE "dpdk.gateway=::\n", "unspecified");
    refused(BASE "dpdk.enabled=true\ndpdk.address=1.2.3.4/8\ndpdk.gateway=1.2.3.4\n",
            "one of dpdk.address's own");
}

static void worker_threads_bound_the_data_cores_and_cores_sets_them(void **state)
{
    (void)state;
    struct config c;
    accepted(BASE "nio.numWorkerThreads=1000\n", &c);
    assert_int_equal(c.cores, 0);
    assert_int_equal(c.cores_max, CONFIG_CORES_MAX);
    accepted(BASE "cores=3\nlog.level=debug\n", &c);
    assert_int_equal(c.cores, 3);
    assert_int_equal(c.log_level, LOG_LEVEL_DEBUG);
    refused(BASE "cores=65\n", "allowed is 0 to 64");
}

static void listener_keys_are_taken_and_judged(void **state)
{
    (void)state;
    struct config c;
    accepted(BASE
             "clientPortAddress=[::1]\nclientPortListenBacklog=7\nmaxClientCnxns=-1\nmaxCnxns=9\n"
             "clientTcpKeepAlive=true\n4lw.commands.whitelist=stat, ruok\n",
             &c);
    assert_string_equal(c.client_port_address, "::1");
    assert_int_equal(c.client_port_listen_backlog, 7);
    assert_int_equal(c.max_client_cnxns, 0);
    assert_int_equal(c.max_cnxns, 9);
    assert_true(c.client_tcp_keep_alive);
    assert_string_equal(c.words_whitelist, "stat, ruok");
    refused(BASE "clientPortAddress=a b\n", "not an address");
    refused(BASE "clientPortAddress=\n", "not an address");
    accepted(BASE "4lw.commands.whitelist=stat,foo,*\n", &c);
    said("W zoo.cfg:3: 4lw.commands.whitelist: there is no word \"foo\"");
    accepted(BASE "4lw.commands.whitelist=\n", &c);
    assert_string_equal(c.words_whitelist, "srvr");
    refused("dataDir=/d\n", "E zoo.cfg: clientPort is not set; add a line such as clientPort=2181");
}

static void a_long_path_is_refused_and_the_longest_is_taken(void **state)
{
    (void)state;
    char text[2200];
    struct config c;
    snprintf(text, sizeof text, "clientPort=1\ndataDir=/%0*d\n", CONFIG_PATH_BYTES - 2, 0);
    accepted(text, &c);
    assert_int_equal(strlen(c.data_dir), CONFIG_PATH_BYTES - 1);
    snprintf(text, sizeof text, "clientPort=1\ndataDir=/%0*d\n", CONFIG_PATH_BYTES - 1, 0);
    refused(text, "1024 bytes are too long; allowed are 1023");
    accepted("clientPort=1\ndataDir=data\n", &c);
    said("W zoo.cfg: dataDir=data is relative");
}

static void control_bytes_of_a_file_do_not_reach_the_terminal(void **state)
{
    (void)state;
    refused(BASE "a\\u001b[2Jb\\nE\\ forged=1\n", "unknown key \"a?[2Jb?E forged\"");
    assert_int_equal(out.lines, 1);
}

/* Hostile files: the number of lines, of errors and the work stay bounded whatever the file
 * repeats. */
static void a_flood_of_errors_or_notes_is_cut(void **state)
{
    (void)state;
    struct config c;
    size_t size = CONFIG_FILE_BYTES_MAX;
    char *text = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        text[i] = i % 2 ? '\n' : 'q';
    out_reset();
    config_init(&c);
    assert_int_equal(config_parse_text("zoo.cfg", text, size, &c, &sink), CONFIG_EINVALID);
    assert_int_equal(out.lines, CONFIG_ERRORS_MAX + 1);
    said("too many errors");
    for (size_t i = 0; i + 12 <= size; i += 12)
        memcpy(text + i, "initLimit=1\n", 12);
    out_reset();
    config_init(&c);
    assert_int_equal(config_parse_text("zoo.cfg", text, size / 12 * 12, &c, &sink),
                     CONFIG_EINVALID);
    assert_int_equal(out.lines, CONFIG_LINES_MAX + 1);
    out_reset();
    assert_int_equal(config_parse_text("zoo.cfg", text, size + 1, &c, &sink), CONFIG_EINVALID);
    said("larger than 1048576 bytes");
    free(text);
}

/* The table itself: defaults lie in their ranges, names are unique, each row says why it is not
 * honoured. */
static void the_table_of_keys_is_sound(void **state)
{
    (void)state;
    struct config c;
    for (uint32_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        assert_ptr_equal(config_key_find(k->name), k);
        assert_true((k->effect == CONFIG_HONOURED) == (k->why[0] == '\0'));
        assert_true(k->type != CONFIG_SPECIAL || k->parse);
        assert_true(k->effect != CONFIG_HONOURED || k->size > 0 || k->parse);
        if (strstr(k->name, ".*") || k->fallback[0] == '\0' || k->type == CONFIG_SPECIAL)
            continue;
        char text[512];
        snprintf(text, sizeof text, BASE "%s=%s\n", k->name, k->fallback);
        accepted(text, &c);
    }
}

static void printing_a_default_configuration_shows_only_what_was_set(void **state)
{
    (void)state;
    struct config c;
    accepted(BASE "tickTime=3000\nforceSync=no\nskipACL=yes\npreAllocSize=64\n", &c);
    said("W zoo.cfg: forceSync=no: writes are acknowledged before the disk has them");
    said("W zoo.cfg: skipACL=yes");
    out_reset();
    snprintf(c.source, sizeof c.source, "zoo.cfg");
    config_print_check(&c, &sink);
    assert_null(strstr(out.text, "maxClientCnxns"));
    assert_null(strstr(out.text, "SessionTimeout")); /* derived from tickTime */
    assert_null(strstr(out.text, "dataLogDir"));
    said("T clientPort=2181\n");
    said("T forceSync=no\n");
    said("T preAllocSize=64\n");
    said("T zoo.cfg: valid");
    out_reset();
    config_print_keys(&sink);
    assert_int_equal(out.lines, (int)config_key_count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sample_file_is_read_unchanged),
        cmocka_unit_test(the_single_server_of_the_container_image_listens_where_its_line_says),
        cmocka_unit_test(an_ensemble_is_refused_with_the_reason),
        cmocka_unit_test(a_mistyped_key_gets_its_line_and_the_nearest_key),
        cmocka_unit_test(every_error_of_a_file_is_told_at_once),
        cmocka_unit_test(a_value_is_checked_even_where_the_key_has_no_effect),
        cmocka_unit_test(numbers_may_be_hexadecimal_as_in_java_system_properties),
        cmocka_unit_test(a_key_is_known_by_its_documented_name_and_by_its_property),
        cmocka_unit_test(session_timeouts_follow_the_tick_and_must_not_cross),
        cmocka_unit_test(what_purging_keeps_is_at_least_three),
        cmocka_unit_test(the_last_of_repeated_keys_counts_and_is_warned_of),
        cmocka_unit_test(what_is_not_served_is_refused_unless_it_asks_for_nothing),
        cmocka_unit_test(authentication_schemes_are_checked_only_when_enforced),
        cmocka_unit_test(the_digest_algorithm_is_named_as_openssl_does),
        cmocka_unit_test(no_line_shows_a_secret),
        cmocka_unit_test(the_dpdk_port_takes_addresses_gateways_and_cpus),
        cmocka_unit_test(what_the_dpdk_port_cannot_use_is_refused),
        cmocka_unit_test(addresses_that_no_host_has_are_refused_for_the_port),
        cmocka_unit_test(worker_threads_bound_the_data_cores_and_cores_sets_them),
        cmocka_unit_test(listener_keys_are_taken_and_judged),
        cmocka_unit_test(a_long_path_is_refused_and_the_longest_is_taken),
        cmocka_unit_test(control_bytes_of_a_file_do_not_reach_the_terminal),
        cmocka_unit_test(a_flood_of_errors_or_notes_is_cut),
        cmocka_unit_test(the_table_of_keys_is_sound),
        cmocka_unit_test(printing_a_default_configuration_shows_only_what_was_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
