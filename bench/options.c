/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/options.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"

static const char help[] =
    "sengi-bench: closed-loop load for ZooKeeper, memcached and redis servers\n"
    "\n"
    "usage: sengi-bench [options]\n"
    "       sengi-bench --null-server --port PORT [--value-bytes N]\n"
    "\n"
    "what to load\n"
    "  --server HOST:PORT      default 127.0.0.1:2181 (zk), :11211 (memcached), :6379 (redis)\n"
    "  --protocol NAME         zk (default), memcached, redis\n"
    "  --server-pid PID        read the server's CPU time from /proc (user and system, all "
    "threads)\n"
    "with what\n"
    "  --workload NAME         get (default), set, create, exists, children, ping, watch\n"
    "                          memcached and redis have get, set, ping\n"
    "  --write-percent P       0-100: this share of `get` becomes `set` (default 0)\n"
    "  --write-connections N   so many more connections only write (default 0: all do both)\n"
    "  --connections N         default 64; with `watch`: the number of watching sessions, one more "
    "writes\n"
    "  --depth D               requests in flight per connection (default 1)\n"
    "  --outstanding N         requests in flight over all connections, instead of --depth\n"
    "  --keys N                default 10000, read uniformly at random\n"
    "  --value-bytes N         default 100\n"
    "  --prefix PATH           parent of the keys, one level (default /sengi-bench)\n"
    "  --no-fill               the keys are there already\n"
    "  --seed N                of the key sequence (default 1)\n"
    "how long\n"
    "  --warmup SECONDS        default 1\n"
    "  --seconds SECONDS       measured window (default 5)\n"
    "  --count N               end the window after N replies (watch: N rounds)\n"
    "from where\n"
    "  --threads N             default 1; connections are shared out\n"
    "  --spin                  never sleep: the server does not pay for waking us (needs a CPU of\n"
    "                          its own)\n"
    "  --cpu N                 pin this program to CPU N\n"
    "as what\n"
    "  --json                  one JSON object on stdout\n"
    "  --null-server           serve canned replies instead: shows what the generator itself can "
    "do\n"
    "  --port PORT             of the null server; 0 picks one and prints it\n"
    "  --help, --version\n"
    "\n"
    "Latencies are nanoseconds from queueing a request to reading its reply; the loop is closed.\n"
    "SIGINT ends the run and reports what was measured.\n"
    "exit: 0 measured; 1 wrong usage; 2 could not measure; 3 measured, but some replies were "
    "errors\n";

enum {
    OPT_SERVER = 1,
    OPT_PROTOCOL,
    OPT_SERVER_PID,
    OPT_WORKLOAD,
    OPT_WRITE_PERCENT,
    OPT_WRITE_CONNECTIONS,
    OPT_CONNECTIONS,
    OPT_DEPTH,
    OPT_OUTSTANDING,
    OPT_KEYS,
    OPT_VALUE_BYTES,
    OPT_PREFIX,
    OPT_NO_FILL,
    OPT_SEED,
    OPT_WARMUP,
    OPT_SECONDS,
    OPT_COUNT,
    OPT_THREADS,
    OPT_SPIN,
    OPT_CPU,
    OPT_JSON,
    OPT_NULL_SERVER,
    OPT_PORT,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option long_options[] = {
    {"server", 1, NULL, OPT_SERVER},
    {"protocol", 1, NULL, OPT_PROTOCOL},
    {"server-pid", 1, NULL, OPT_SERVER_PID},
    {"workload", 1, NULL, OPT_WORKLOAD},
    {"write-percent", 1, NULL, OPT_WRITE_PERCENT},
    {"write-connections", 1, NULL, OPT_WRITE_CONNECTIONS},
    {"connections", 1, NULL, OPT_CONNECTIONS},
    {"depth", 1, NULL, OPT_DEPTH},
    {"outstanding", 1, NULL, OPT_OUTSTANDING},
    {"keys", 1, NULL, OPT_KEYS},
    {"value-bytes", 1, NULL, OPT_VALUE_BYTES},
    {"prefix", 1, NULL, OPT_PREFIX},
    {"no-fill", 0, NULL, OPT_NO_FILL},
    {"seed", 1, NULL, OPT_SEED},
    {"warmup", 1, NULL, OPT_WARMUP},
    {"seconds", 1, NULL, OPT_SECONDS},
    {"count", 1, NULL, OPT_COUNT},
    {"threads", 1, NULL, OPT_THREADS},
    {"spin", 0, NULL, OPT_SPIN},
    {"cpu", 1, NULL, OPT_CPU},
    {"json", 0, NULL, OPT_JSON},
    {"null-server", 0, NULL, OPT_NULL_SERVER},
    {"port", 1, NULL, OPT_PORT},
    {"help", 0, NULL, OPT_HELP},
    {"version", 0, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static const char *const workload_names[] = {
    [WORKLOAD_GET] = "get",       [WORKLOAD_SET] = "set",           [WORKLOAD_CREATE] = "create",
    [WORKLOAD_EXISTS] = "exists", [WORKLOAD_CHILDREN] = "children", [WORKLOAD_PING] = "ping",
    [WORKLOAD_WATCH] = "watch",
};

const char *workload_name(enum workload w)
{
    return workload_names[w];
}

static int usage_error(const char *what, const char *value)
{
    fprintf(stderr, "sengi-bench: %s: %s (see --help)\n", what, value);
    return -1;
}

static int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || *out < min || *out > max) {
        fprintf(stderr, "sengi-bench: %s is not a number from %llu to %llu\n", text,
                (unsigned long long)min, (unsigned long long)max);
        return -1;
    }
    return 0;
}

static int parse_seconds(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    if (end == text || *end || !(*out >= 0 && *out <= 3600))
        return usage_error("not a number of seconds from 0 to 3600", text);
    return 0;
}

static int parse_workload(const char *text, enum workload *out)
{
    for (size_t i = 0; i < sizeof workload_names / sizeof *workload_names; i++) {
        if (strcmp(workload_names[i], text) == 0) {
            *out = (enum workload)i;
            return 0;
        }
    }
    return usage_error("unknown workload", text);
}

/* "host:port", "[v6]:port", "host". */
static int resolve(const char *name, const char *default_port, struct load_options *o)
{
    char host[256];
    if (strlen(name) >= sizeof host)
        return usage_error("server name too long", name);
    memcpy(host, name, strlen(name) + 1);
    const char *port = default_port;
    char *start = host, *close_bracket = host[0] == '[' ? strchr(host, ']') : NULL;
    char *colon = strrchr(close_bracket ? close_bracket : host, ':');
    if (colon) {
        *colon = 0;
        port = colon + 1;
    }
    if (close_bracket) {
        *close_bracket = 0;
        start++;
    }
    struct addrinfo want = {.ai_socktype = SOCK_STREAM}, *found;
    int rc = getaddrinfo(start, port, &want, &found);
    if (rc)
        return usage_error(name, gai_strerror(rc));
    memcpy(&o->address, found->ai_addr, found->ai_addrlen);
    o->address_bytes = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

struct parsing {
    struct bench_options *out;
    uint64_t depth, outstanding, value_bytes;
};

static int parse_one_number(struct parsing *p, int option, const char *text)
{
    struct load_options *o = &p->out->load;
    static const struct {
        uint64_t min, max;
    } bounds[] = {
        [OPT_SERVER_PID] = {1, 1 << 22},
        [OPT_WRITE_PERCENT] = {0, 100},
        [OPT_CONNECTIONS] = {1, SWARM_CONNECTIONS_MAX / 2},
        [OPT_WRITE_CONNECTIONS] = {0, 1024},
        [OPT_DEPTH] = {1, SWARM_DEPTH_MAX},
        [OPT_OUTSTANDING] = {1, (uint64_t)SWARM_DEPTH_MAX * SWARM_CONNECTIONS_MAX},
        [OPT_KEYS] = {1, 100000000},
        [OPT_VALUE_BYTES] = {0, 1000000},
        [OPT_SEED] = {0, UINT64_MAX},
        [OPT_COUNT] = {1, UINT64_MAX},
        [OPT_THREADS] = {1, 64},
        [OPT_CPU] = {0, 1023},
        [OPT_PORT] = {0, 65535},
    };
    uint64_t n;
    if (parse_number(text, bounds[option].min, bounds[option].max, &n) < 0)
        return -1;
    switch (option) {
    case OPT_SERVER_PID: o->server_pid = (pid_t)n; break;
    case OPT_WRITE_PERCENT: o->write_percent = (uint32_t)n; break;
    case OPT_WRITE_CONNECTIONS: o->write_connections = (uint32_t)n; break;
    case OPT_CONNECTIONS: o->connections = (uint32_t)n; break;
    case OPT_DEPTH: p->depth = n; break;
    case OPT_OUTSTANDING: p->outstanding = n; break;
    case OPT_KEYS: o->keys = (uint32_t)n; break;
    case OPT_VALUE_BYTES: p->value_bytes = n; break;
    case OPT_SEED: o->seed = n; break;
    case OPT_COUNT: o->count_max = n; break;
    case OPT_THREADS: o->threads = (uint32_t)n; break;
    case OPT_CPU: p->out->cpu = (int)n; break;
    case OPT_PORT: p->out->port = (uint16_t)n; break;
    }
    return 0;
}

static int parse_prefix(const char *text, struct keyspace *out)
{
    size_t n = strlen(text);
    if (n < 2 || n > KEY_PREFIX_BYTES_MAX || text[0] != '/' || strchr(text + 1, '/'))
        return usage_error("not a path of one level", text);
    memcpy(out->prefix, text, n + 1);
    out->prefix_bytes = n;
    return 0;
}

static int parse_one(struct parsing *p, int option, const char *text)
{
    struct bench_options *out = p->out;
    switch (option) {
    case OPT_SERVER: out->server_name = text; return 0;
    case OPT_PROTOCOL:
        out->load.protocol = protocol_find(text);
        return out->load.protocol ? 0 : usage_error("unknown protocol", text);
    case OPT_WORKLOAD: return parse_workload(text, &out->load.workload);
    case OPT_PREFIX: return parse_prefix(text, &out->load.keyspace);
    case OPT_NO_FILL: out->load.fill = false; return 0;
    case OPT_WARMUP: return parse_seconds(text, &out->load.warmup_s);
    case OPT_SECONDS: return parse_seconds(text, &out->load.window_s);
    case OPT_SPIN: out->load.spin = true; return 0;
    case OPT_JSON: out->json = true; return 0;
    case OPT_NULL_SERVER: out->null_server = true; return 0;
    case OPT_HELP: fputs(help, stdout); return 1;
    case OPT_VERSION: puts("sengi-bench " SENGI_VERSION); return 1;
    case '?': return usage_error("wrong option", "not understood");
    default: return parse_one_number(p, option, text);
    }
}

/* Relations between options, and what follows from them. */
static int options_settle(struct parsing *p)
{
    struct load_options *o = &p->out->load;
    bool kv_only = o->protocol != &protocol_zk;
    if (kv_only && o->workload != WORKLOAD_GET && o->workload != WORKLOAD_SET
        && o->workload != WORKLOAD_PING)
        return usage_error("this protocol has no workload", workload_name(o->workload));
    if (o->write_percent && o->workload != WORKLOAD_GET)
        return usage_error("--write-percent needs", "--workload get");
    if (o->write_connections && (!o->write_percent || o->write_percent > 90 || o->threads > 1))
        return usage_error("--write-connections needs", "--write-percent 1 to 90, --threads 1");
    o->outstanding = (uint32_t)(p->outstanding ? p->outstanding : p->depth * o->connections);
    if (o->connections > o->outstanding)
        o->connections = o->outstanding; /* fewer requests than connections: the rest would idle */
    if ((o->outstanding + o->connections - 1) / o->connections > SWARM_DEPTH_MAX)
        return usage_error("--outstanding", "more than 4096 per connection");
    if (o->threads > o->connections)
        return usage_error("--threads", "more than connections");
    static uint8_t *value; /* lives as long as the program */
    free(value);
    value = malloc(p->value_bytes + 1);
    CHECK(value != NULL);
    memset(value, 'x', p->value_bytes + 1);
    o->keyspace.value = value;
    o->keyspace.value_bytes = (uint32_t)p->value_bytes;
    return 0;
}

int options_parse(int argc, char **argv, struct bench_options *out)
{
    *out = (struct bench_options){.cpu = -1};
    out->load = (struct load_options){
        .protocol = &protocol_zk,
        .workload = WORKLOAD_GET,
        .connections = 64,
        .keys = 10000,
        .warmup_s = 1,
        .window_s = 5,
        .threads = 1,
        .seed = 1,
        .fill = true,
    };
    struct parsing p = {.out = out, .depth = 1, .value_bytes = 100};
    int option, rc = parse_prefix("/sengi-bench", &out->load.keyspace);
    while (rc == 0 && (option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        rc = parse_one(&p, option, optarg);
    if (rc == 0 && optind < argc)
        rc = usage_error("unexpected argument", argv[optind]);
    if (rc == 0)
        rc = options_settle(&p);
    if (rc != 0 || out->null_server)
        return rc;
    const char *port = out->load.protocol == &protocol_zk      ? "2181"
                       : out->load.protocol == &protocol_redis ? "6379"
                                                               : "11211";
    if (!out->server_name)
        out->server_name = "127.0.0.1";
    return resolve(out->server_name, port, &out->load);
}
