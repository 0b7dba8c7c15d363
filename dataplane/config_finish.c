/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <stdio.h>
#include <string.h>

#include "client/wire/check.h"
#include "dataplane/config_keys.h"

#define SNAP_RETAIN_COUNT_MIN 3 /* PurgeTxnLog refuses less */
#define IPV6_MTU_MIN 1280       /* RFC 8200 section 5 */

static void finish_port(struct config_parse *p)
{
    struct config *c = p->c;
    if (p->server_client_port >= 0 && c->client_port >= 0 &&
        c->client_port != p->server_client_port)
        config_complain(p, CONFIG_LINE_ERROR,
                        "clientPort=%d and the client port %d of server.%lld differ; keep one",
                        c->client_port, p->server_client_port, (long long)p->server_id);
    if (c->client_port < 0 && p->server_client_port >= 0) {
        c->client_port = p->server_client_port;
        memcpy(c->client_port_address, p->server_client_address, sizeof c->client_port_address);
    }
    if (c->client_port < 0)
        config_complain(p, CONFIG_LINE_ERROR,
                        "clientPort is not set; add a line such as clientPort=2181");
}

static void warn_relative(struct config_parse *p, const char *key, const char *path)
{
    if (path[0] != '/' && path[0] != '.' && path[0] != '\0')
        config_complain(p, CONFIG_LINE_WARN,
                        "%s=%.200s is relative to the folder the server is started in; "
                        "start it with ./ if that is meant",
                        key, path);
}

static void finish_storage(struct config_parse *p)
{
    struct config *c = p->c;
    if (c->data_dir[0] == '\0')
        config_complain(p, CONFIG_LINE_ERROR,
                        "dataDir is not set; add a line such as dataDir=/var/lib/sengi");
    warn_relative(p, "dataDir", c->data_dir);
    warn_relative(p, "dataLogDir", c->data_log_dir);
    if (c->data_log_dir[0] == '\0')
        memcpy(c->data_log_dir, c->data_dir, sizeof c->data_log_dir);
    if (c->snap_retain_count < SNAP_RETAIN_COUNT_MIN) {
        config_complain(p, CONFIG_LINE_WARN,
                        "autopurge.snapRetainCount=%d is below the least; %d are kept",
                        c->snap_retain_count, SNAP_RETAIN_COUNT_MIN);
        c->snap_retain_count = SNAP_RETAIN_COUNT_MIN;
    }
    if (c->purge_interval_hours < 0)
        c->purge_interval_hours = 0;
    if (!c->force_sync)
        config_complain(p, CONFIG_LINE_WARN,
                        "forceSync=no: writes are acknowledged before the disk has them, "
                        "and a power failure loses them");
}

static void finish_sessions(struct config_parse *p)
{
    struct config *c = p->c;
    if (c->session_timeout_ms_min == -1)
        c->session_timeout_ms_min = c->tick_time_ms * 2;
    if (c->session_timeout_ms_max == -1)
        c->session_timeout_ms_max = c->tick_time_ms * 20;
    if (c->session_timeout_ms_min < 1 || c->session_timeout_ms_max < 1)
        config_complain(p, CONFIG_LINE_ERROR,
                        "minSessionTimeout=%d, maxSessionTimeout=%d: must be at least 1 ms, or -1 "
                        "for 2 and 20 ticks",
                        c->session_timeout_ms_min, c->session_timeout_ms_max);
    else if (c->session_timeout_ms_min > c->session_timeout_ms_max)
        config_complain(p, CONFIG_LINE_ERROR,
                        "minSessionTimeout (%d ms) must not be larger than maxSessionTimeout (%d "
                        "ms); where one is "
                        "unset it is 2 or 20 times tickTime",
                        c->session_timeout_ms_min, c->session_timeout_ms_max);
}

/* AuthenticationHelper.validateConfiguredProperties(): schemes matter only when enforced. */
static void finish_auth(struct config_parse *p)
{
    struct config *c = p->c;
    if (c->super_digest[0] && !c->digest_auth_enabled)
        config_complain(p, CONFIG_LINE_WARN,
                        "DigestAuthenticationProvider.superDigest is of no use while "
                        "DigestAuthenticationProvider.enabled=false");
    if (c->skip_acl)
        config_complain(p, CONFIG_LINE_WARN,
                        "skipACL=yes: every client may read and change everything");
    if (!c->enforce_auth_enabled)
        return;
    if (c->enforce_auth_schemes[0] == '\0')
        config_complain(p, CONFIG_LINE_ERROR,
                        "enforce.auth.enabled=true needs enforce.auth.schemes, "
                        "for example enforce.auth.schemes=digest");
    for (const char *scheme = c->enforce_auth_schemes; *scheme;) {
        size_t size = strcspn(scheme, ",");
        bool digest = size == 6 && strncmp(scheme, "digest", 6) == 0 && c->digest_auth_enabled;
        bool ip = size == 2 && strncmp(scheme, "ip", 2) == 0;
        if (!digest && !ip)
            config_complain(p, CONFIG_LINE_ERROR,
                            "enforce.auth.schemes: authentication scheme %.*s is not available; "
                            "there are digest (if enabled) and ip",
                            (int)size, scheme);
        scheme += size + (scheme[size] == ',');
    }
}

static void finish_dpdk(struct config_parse *p)
{
    struct config *c = p->c;
    bool v4 = false, v6 = false;
    for (uint32_t i = 0; i < c->dpdk_address_count; i++)
        *(c->dpdk_addresses[i].v6 ? &v6 : &v4) = true;
    if (!c->dpdk_enabled)
        return;
    if (c->dpdk_address_count == 0 && p->errors == 0) /* else perhaps its line is the wrong one */
        config_complain(p, CONFIG_LINE_ERROR,
                        "dpdk.enabled=true needs an address of the port's own; add a line such "
                        "as dpdk.address=192.0.2.7/24");
    if ((c->dpdk_gateway4_set && !v4) || (c->dpdk_gateway6_set && !v6))
        config_complain(p, CONFIG_LINE_ERROR,
                        "dpdk.gateway is of a family that dpdk.address has no address of");
    if ((c->dpdk_gateway4_set && config_dpdk_address_known(c, &c->dpdk_gateway4)) ||
        (c->dpdk_gateway6_set && config_dpdk_address_known(c, &c->dpdk_gateway6)))
        config_complain(p, CONFIG_LINE_ERROR,
                        "dpdk.gateway is one of dpdk.address's own addresses");
    if (v6 && c->dpdk_mtu_bytes < IPV6_MTU_MIN)
        config_complain(p, CONFIG_LINE_ERROR,
                        "dpdk.mtu=%d is below the %d bytes that IPv6 asks for", c->dpdk_mtu_bytes,
                        IPV6_MTU_MIN);
    if (c->client_port == 0)
        config_complain(p, CONFIG_LINE_ERROR,
                        "clientPort=0 (any free port) cannot be used with dpdk.enabled=true");
}

void config_finish(struct config_parse *p)
{
    struct config *c = p->c;
    p->line = 0;
    finish_port(p);
    finish_storage(p);
    finish_sessions(p);
    finish_auth(p);
    finish_dpdk(p);
    if (c->max_client_cnxns < 0)
        c->max_client_cnxns = 0;
    CHECK(p->errors > 0 || config_valid(c));
}

static bool terminated(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

bool config_valid(const struct config *c)
{
    bool times = c->tick_time_ms >= 1 && c->session_timeout_ms_min >= 1 &&
                 c->session_timeout_ms_min <= c->session_timeout_ms_max;
    bool storage = c->data_dir[0] && c->data_log_dir[0] &&
                   c->snap_retain_count >= SNAP_RETAIN_COUNT_MIN && c->snap_count >= 2;
    bool strings = true;
    for (uint32_t i = 0; i < config_key_count; i++)
        if (config_keys[i].type == CONFIG_STRING && config_keys[i].size > 0)
            strings =
                strings && terminated((const char *)c + config_keys[i].offset, config_keys[i].size);
    strings = strings && terminated(c->source, sizeof c->source) &&
              terminated(c->client_port_address, sizeof c->client_port_address) &&
              terminated(c->words_whitelist, sizeof c->words_whitelist) &&
              terminated(c->super_digest, sizeof c->super_digest) &&
              terminated(c->enforce_auth_schemes, sizeof c->enforce_auth_schemes);
    bool counts =
        c->dpdk_address_count <= CONFIG_ADDRESSES_MAX && c->dpdk_cores.count <= CONFIG_CORES_MAX;
    bool port = c->client_port >= 0 && c->client_port <= 65535;
    return times && storage && strings && counts && port;
}
