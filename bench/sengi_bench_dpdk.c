/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <getopt.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bench/dpdk_load.h"
#include "bench/report.h"
#include "client/wire/check.h"
#include "dataplane/dpdk/eal.h"

static const char help[] =
    "sengi-bench-dpdk: closed-loop getData load over a DPDK port and our own TCP, one polling "
    "core\n"
    "\n"
    "  --eal \"WORDS\"           of DPDK's environment layer, for example\n"
    "                          "
    "\"--vdev=net_memif0,role=client,socket=/run/x.sock,socket-abstract=no\"\n"
    "  --device NAME           port to use (default: the only one)\n"
    "  --address A/BITS        own address (default 10.10.0.2/24)\n"
    "  --server A:PORT         default 10.10.0.1:2181; IPv6 as [A]:PORT\n"
    "  --mtu N                 default 1500\n"
    "  --raw FRAME_BYTES       no TCP: frames that a peer (testpmd macswap) sends back\n"
    "  --connections N --depth D --outstanding N --keys N --value-bytes N --prefix PATH\n"
    "  --write-percent P --write-connections N --workload get|set|watch\n"
    "  --warmup SECONDS --seconds SECONDS --count N --server-pid PID --json\n"
    "                          as of sengi-bench; the keys must be there already\n"
    "\n"
    "exit: 0 measured; 1 wrong usage; 2 could not measure; 3 measured, but some replies were "
    "errors\n";

struct settings {
    const char *eal, *device, *address, *server;
    uint16_t mtu, raw_frame_bytes;
};

static void on_signal(int number)
{
    (void)number;
    load_stop = 1;
}

static int usage_error(const char *what)
{
    fprintf(stderr, "sengi-bench-dpdk: %s (see --help)\n", what);
    return -1;
}

static int number(const char *text, unsigned long min, unsigned long max, uint16_t *out)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*end || end == text || n < min || n > max)
        return usage_error(text);
    *out = (uint16_t)n;
    return 0;
}

/* Our own options; everything else is handed to options_parse(). */
static int split_options(int argc, char **argv, struct settings *s, int *rest_count, char **rest)
{
    rest[(*rest_count)++] = argv[0];
    for (int i = 1; i < argc; i++) {
        const char *o = argv[i];
        const char **text = strcmp(o, "--eal") == 0       ? &s->eal
                            : strcmp(o, "--device") == 0  ? &s->device
                            : strcmp(o, "--address") == 0 ? &s->address
                            : strcmp(o, "--server") == 0  ? &s->server
                                                          : NULL;
        bool mtu = strcmp(o, "--mtu") == 0, raw = strcmp(o, "--raw") == 0;
        if (strcmp(o, "--help") == 0) {
            fputs(help, stdout);
            return 1;
        }
        if ((text || mtu || raw) && i + 1 == argc)
            return usage_error(o);
        if (text)
            *text = argv[++i];
        else if (mtu && number(argv[++i], NET_MTU_MIN, NET_MTU_MAX, &s->mtu) < 0)
            return -1;
        else if (raw && number(argv[++i], 60, 1514, &s->raw_frame_bytes) < 0)
            return -1;
        else if (!mtu && !raw)
            rest[(*rest_count)++] = argv[i];
    }
    return 0;
}

static int parse_address(const char *text, struct net_interface *out)
{
    char copy[64], *slash;
    uint16_t bits;
    if (strlen(text) >= sizeof copy)
        return usage_error(text);
    memcpy(copy, text, strlen(text) + 1);
    slash = strchr(copy, '/');
    if (!slash || number(slash + 1, 0, 128, &bits) < 0)
        return usage_error("--address needs A/BITS");
    *slash = 0;
    out->prefix_bits = (uint8_t)bits;
    return net_addr_parse(copy, &out->addr) < 0 ? usage_error(text) : 0;
}

static int parse_server(const char *text, struct dpdk_target *out)
{
    char copy[64], *start = copy, *colon;
    if (strlen(text) >= sizeof copy)
        return usage_error(text);
    memcpy(copy, text, strlen(text) + 1);
    colon = strrchr(copy, ':');
    if (!colon || number(colon + 1, 1, 65535, &out->server_port) < 0)
        return usage_error("--server needs A:PORT");
    *colon = 0;
    if (*start == '[' && colon[-1] == ']') {
        colon[-1] = 0;
        start++;
    }
    return net_addr_parse(start, &out->server) < 0 ? usage_error(text) : 0;
}

static int measure(const struct settings *s, struct bench_options *o, struct dpdk_target *target)
{
    char error[512] = "";
    struct device device = {0};
    struct lane *lanes[DEVICE_LANES_MAX] = {0};
    struct load_result result;
    struct device_config config = {.name = s->device, .mtu_bytes = s->mtu, .lanes = 1};
    load_result_init(&result);
    int rc = eal_start(s->eal, device_memory_mb(&config), error, sizeof error);
    bool eal_up = rc == 0;
    if (rc == 0)
        rc = device_open(&device, &config, error, sizeof error);
    bool device_up = rc == 0;
    if (rc == 0)
        rc = lanes_create(&device, lanes, NULL, NULL);
    if (rc == 0) {
        target->device = &device;
        target->lane = lanes[0];
        rc = s->raw_frame_bytes ? dpdk_raw_run(&o->load, target, s->raw_frame_bytes, &result, error)
                                : dpdk_load_run(&o->load, target, &result, error);
        lanes_destroy(&device, lanes);
    }
    if (device_up)
        device_close(&device);
    if (eal_up)
        eal_stop();
    if (rc < 0)
        fprintf(stderr, "sengi-bench-dpdk: %s\n", error);
    else
        (o->json ? report_json : report_text)(stdout, o, &result);
    int exit_code = rc < 0 ? 2 : result.errors ? 3 : 0;
    load_result_free(&result);
    return exit_code;
}

int main(int argc, char **argv)
{
    struct settings s = {.eal = "",
                         .device = "",
                         .address = "10.10.0.2/24",
                         .server = "10.10.0.1:2181",
                         .mtu = 1500};
    struct bench_options o;
    struct dpdk_target target = {0};
    int rest_count = 0;
    char **rest = calloc((size_t)argc + 1, sizeof *rest);
    CHECK(rest != NULL);
    int rc = split_options(argc, argv, &s, &rest_count, rest);
    if (rc == 0)
        rc = options_parse(rest_count, rest, &o);
    if (rc == 0
        && (parse_address(s.address, &target.own) < 0 || parse_server(s.server, &target) < 0))
        rc = -1;
    if (rc == 0 && o.load.protocol != &protocol_zk)
        rc = usage_error("only --protocol zk");
    if (rc == 0 && o.load.workload != WORKLOAD_GET && o.load.workload != WORKLOAD_SET
        && o.load.workload != WORKLOAD_WATCH)
        rc = usage_error("only --workload get, set or watch");
    free(rest);
    if (rc != 0)
        return rc < 0 ? 1 : 0;
    o.server_name = s.server;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    return measure(&s, &o, &target);
}
