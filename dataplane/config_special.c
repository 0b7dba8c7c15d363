/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Keys whose values have a syntax of their own. Each function has the shape that struct config_key
 * asks for.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/wire/check.h"
#include "dataplane/config_keys.h"
#include "dataplane/words.h"

/* A whole decimal number in [min, max] that fills [text, end), or -1. */
static int64_t number_read(const char *text, const char *end, int64_t min, int64_t max)
{
    int64_t number = 0;
    if (text == end || end - text > 18)
        return -1;
    for (; text < end; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        number = number * 10 + (*text - '0');
    }
    return number >= min && number <= max ? number : -1;
}

/* Next word of a list with commas and blanks between, copied to word. NULL at the end; *too_long if
 * it did not fit. */
static const char *list_next(const char *list, char *word, size_t word_size, bool *too_long)
{
    list += strspn(list, ", \t");
    size_t n = strcspn(list, ", \t");
    *too_long = n >= word_size;
    if (n == 0)
        return NULL;
    snprintf(word, word_size, "%.*s", (int)n, list);
    return list + n;
}

static bool host_valid(const char *host)
{
    size_t size = strlen(host);
    return size > 0 && size < CONFIG_NAME_BYTES && strpbrk(host, " \t/,;[]") == NULL;
}

/* Copy a host without the brackets of an IPv6 address. False if it is none. */
static bool host_copy(const char *text, size_t size, char out[CONFIG_NAME_BYTES])
{
    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    if (size >= CONFIG_NAME_BYTES)
        return false;
    memcpy(out, text, size);
    out[size] = '\0';
    return host_valid(out);
}

int config_parse_address(struct config_parse *p, const struct config_key *k, const char *key,
                         const char *value)
{
    (void)k;
    char host[CONFIG_NAME_BYTES];
    if (!host_copy(value, strlen(value), host)) {
        config_complain(
            p, CONFIG_LINE_ERROR,
            "%s=%.100s: not an address; write a host name, an IPv4 or an IPv6 address without port",
            key, value);
        return CONFIG_EINVALID;
    }
    memcpy(p->c->client_port_address, host, sizeof host);
    return CONFIG_OK;
}

void config_format_address(const struct config *c, char *out, size_t size)
{
    snprintf(out, size, "%s", c->client_port_address);
}

int config_parse_words(struct config_parse *p, const struct config_key *k, const char *key,
                       const char *value)
{
    (void)k;
    if (strlen(value) >= sizeof p->c->words_whitelist) {
        config_complain(p, CONFIG_LINE_ERROR, "%s: longer than %zu bytes", key,
                        sizeof p->c->words_whitelist - 1);
        return CONFIG_EINVALID;
    }
    snprintf(p->c->words_whitelist, sizeof p->c->words_whitelist, "%s", value[0] ? value : "srvr");
    char word[16];
    bool too_long;
    for (const char *list = value; (list = list_next(list, word, sizeof word, &too_long)) != NULL;)
        if (too_long || (strcmp(word, "*") != 0 && words_find(word, strlen(word)) == WORD_NONE))
            config_complain(p, CONFIG_LINE_WARN, "%s: there is no word \"%s\"", key, word);
    return CONFIG_OK;
}

void config_format_words(const struct config *c, char *out, size_t size)
{
    snprintf(out, size, "%s", c->words_whitelist);
}

int config_parse_workers(struct config_parse *p, const struct config_key *k, const char *key,
                         const char *value)
{
    (void)k;
    int64_t workers = number_read(value, value + strlen(value), 0, INT32_MAX);
    if (workers < 0) {
        config_complain(p, CONFIG_LINE_ERROR, "%s=%.100s: not a whole number; allowed is 0 to %d",
                        key, value, INT32_MAX);
        return CONFIG_EINVALID;
    }
    p->c->cores_max = workers > CONFIG_CORES_MAX ? CONFIG_CORES_MAX : (int32_t)workers;
    return CONFIG_OK;
}

void config_format_workers(const struct config *c, char *out, size_t size)
{
    if (c->cores_max > 0)
        snprintf(out, size, "%d", c->cores_max);
}

int config_parse_compression(struct config_parse *p, const struct config_key *k, const char *key,
                             const char *value)
{
    (void)k;
    if (strcasecmp(value, "snappy") == 0) {
        config_complain(p, CONFIG_LINE_ERROR,
                        "%s=snappy: refused: snappy snapshots are not written by this version; "
                        "write gz, or nothing",
                        key);
        return CONFIG_EINVALID;
    }
    if (value[0] != '\0' && strcasecmp(value, "gz") != 0) {
        config_complain(p, CONFIG_LINE_ERROR, "%s=%.100s: write gz, or nothing for no compression",
                        key, value);
        return CONFIG_EINVALID;
    }
    p->c->snapshot_compression = value[0] ? CONFIG_COMPRESSION_GZIP : CONFIG_COMPRESSION_NONE;
    return CONFIG_OK;
}

void config_format_compression(const struct config *c, char *out, size_t size)
{
    snprintf(out, size, "%s", c->snapshot_compression == CONFIG_COMPRESSION_GZIP ? "gz" : "");
}

/* Java's name, OpenSSL's name. */
static const struct {
    const char *java, *openssl;
} digest_algorithms[] = {
    {"SHA1", "SHA1"},         {"SHA-1", "SHA1"},        {"SHA", "SHA1"},
    {"SHA-224", "SHA224"},    {"SHA-256", "SHA256"},    {"SHA-384", "SHA384"},
    {"SHA-512", "SHA512"},    {"SHA256", "SHA256"},     {"SHA384", "SHA384"},
    {"SHA512", "SHA512"},     {"SHA3-224", "SHA3-224"}, {"SHA3-256", "SHA3-256"},
    {"SHA3-384", "SHA3-384"}, {"SHA3-512", "SHA3-512"}, {"MD5", "MD5"},
};
#define DIGEST_ALGORITHMS (sizeof digest_algorithms / sizeof digest_algorithms[0])

int config_parse_digest_algorithm(struct config_parse *p, const struct config_key *k,
                                  const char *key, const char *value)
{
    (void)k;
    for (size_t i = 0; i < DIGEST_ALGORITHMS; i++) {
        if (strcasecmp(value, digest_algorithms[i].java) == 0) {
            snprintf(p->c->digest_auth_algorithm, sizeof p->c->digest_auth_algorithm, "%s",
                     digest_algorithms[i].openssl);
            return CONFIG_OK;
        }
    }
    config_complain(p, CONFIG_LINE_ERROR,
                    "%s=%.100s: unknown digest; write SHA1, SHA-224, SHA-256, SHA-384, SHA-512, "
                    "SHA3-256 or MD5",
                    key, value);
    return CONFIG_EINVALID;
}

void config_format_digest_algorithm(const struct config *c, char *out, size_t size)
{
    snprintf(out, size, "%s", c->digest_auth_algorithm);
}

int config_parse_super_digest(struct config_parse *p, const struct config_key *k, const char *key,
                              const char *value)
{
    (void)k;
    const char *colon = strchr(value, ':');
    /* The value is a secret: no message shows it. */
    if (value[0] != '\0' && (!colon || colon == value || colon[1] == '\0')) {
        config_complain(p, CONFIG_LINE_ERROR,
                        "%s: write super:<base64 of the digest of \"super:password\">", key);
        return CONFIG_EINVALID;
    }
    if (strlen(value) >= sizeof p->c->super_digest) {
        config_complain(p, CONFIG_LINE_ERROR, "%s: longer than %zu bytes", key,
                        sizeof p->c->super_digest - 1);
        return CONFIG_EINVALID;
    }
    snprintf(p->c->super_digest, sizeof p->c->super_digest, "%s", value);
    return CONFIG_OK;
}

void config_format_super_digest(const struct config *c, char *out, size_t size)
{
    snprintf(out, size, "%s", c->super_digest[0] ? "(set)" : "");
}

int config_parse_schemes(struct config_parse *p, const struct config_key *k, const char *key,
                         const char *value)
{
    (void)k;
    char list_out[CONFIG_NAME_BYTES] = "", word[64];
    size_t used = 0;
    bool too_long;
    for (const char *list = value;
         (list = list_next(list, word, sizeof word, &too_long)) != NULL;) {
        size_t size = strlen(word);
        if (too_long || used + 1 + size >= sizeof list_out) {
            config_complain(p, CONFIG_LINE_ERROR, "%s: longer than %zu bytes", key,
                            sizeof list_out - 1);
            return CONFIG_EINVALID;
        }
        if (used > 0)
            list_out[used++] = ',';
        memcpy(list_out + used, word, size + 1);
        used += size;
    }
    memcpy(p->c->enforce_auth_schemes, list_out, sizeof list_out);
    return CONFIG_OK;
}

void config_format_schemes(const struct config *c, char *out, size_t size)
{
    snprintf(out, size, "%s", c->enforce_auth_schemes);
}

int config_parse_auth_provider(struct config_parse *p, const struct config_key *k, const char *key,
                               const char *value)
{
    (void)k;
    const char *class_name = strrchr(value, '.');
    class_name = class_name ? class_name + 1 : value;
    if (strcmp(class_name, "DigestAuthenticationProvider") == 0 ||
        strcmp(class_name, "IPAuthenticationProvider") == 0)
        return CONFIG_OK;
    config_complain(
        p, CONFIG_LINE_ERROR,
        "%s=%.100s: refused: this version authenticates by digest and ip only; remove the line",
        key, value);
    return CONFIG_EINVALID;
}

/* Take "[host:]port" behind the semicolon of a server line. */
static bool client_part_parse(struct config_parse *p, const char *text)
{
    const char *colon = strrchr(text, ':');
    const char *port_text = colon ? colon + 1 : text;
    int64_t port = number_read(port_text, port_text + strlen(port_text), 0, 65535);
    if (port < 0 || (colon && !host_copy(text, (size_t)(colon - text), p->server_client_address)))
        return false;
    if (!colon)
        p->server_client_address[0] = '\0';
    p->server_client_port = (int32_t)port;
    return true;
}

/*
 * server.N=host:port:port[:role][;[host:]port] (QuorumPeer.QuorumServer). One participant alone is
 * a standalone server, as QuorumPeerConfig.parseDynamicConfig() has it; anything else is an
 * ensemble.
 */
int config_parse_server(struct config_parse *p, const struct config_key *k, const char *key,
                        const char *value)
{
    (void)k;
    const char *dot = strrchr(key, '.'), *semicolon = strchr(value, ';');
    int64_t id = number_read(dot + 1, dot + strlen(dot), 0, INT64_MAX);
    size_t peer_size = semicolon ? (size_t)(semicolon - value) : strlen(value);
    if (id < 0 || memchr(value, ':', peer_size) == NULL) {
        config_complain(
            p, CONFIG_LINE_ERROR,
            "%s=%.100s: write server.<number>=<host>:<port>:<port>[;[<host>:]<client port>]", key,
            value);
        return CONFIG_EINVALID;
    }
    if (peer_size >= 9 && strncasecmp(value + peer_size - 9, ":observer", 9) == 0) {
        config_complain(p, CONFIG_LINE_ERROR,
                        "%s: refused: an observer needs an ensemble, and "
                        "ensembles are not served by this version; run ZooKeeper for this member",
                        key);
        return CONFIG_EINVALID;
    }
    if (p->servers > 0 && p->server_id != id) {
        p->servers++;
        if (p->servers == 2)
            config_complain(
                p, CONFIG_LINE_ERROR,
                "%s: refused: with server.%lld of line %u this is an ensemble, and "
                "ensembles are not served by this version; run ZooKeeper for this member",
                key, (long long)p->server_id, p->server_line);
        return CONFIG_EINVALID;
    }
    if (semicolon && !client_part_parse(p, semicolon + 1)) {
        config_complain(p, CONFIG_LINE_ERROR,
                        "%s=%.100s: behind the semicolon goes [<host>:]<client port>", key, value);
        return CONFIG_EINVALID;
    }
    p->servers = 1;
    p->server_id = id;
    p->server_line = p->line;
    return CONFIG_OK;
}

/* "address[/prefix]" in either family. */
static bool address_parse(const char *text, struct config_address *out)
{
    char host[CONFIG_NAME_BYTES];
    const char *slash = strchr(text, '/');
    size_t size = slash ? (size_t)(slash - text) : strlen(text);
    if (!host_copy(text, size, host))
        return false;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET6, host, out->bytes) == 1)
        out->v6 = true;
    else if (inet_pton(AF_INET, host, out->bytes) != 1)
        return false;
    int64_t bits_max = out->v6 ? 128 : 32;
    int64_t bits = slash ? number_read(slash + 1, slash + strlen(slash), 0, bits_max) : bits_max;
    out->prefix_bits = (uint8_t)bits;
    return bits >= 0;
}

static void address_format(const struct config_address *a, bool prefix, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "";
    CHECK(inet_ntop(a->v6 ? AF_INET6 : AF_INET, a->bytes, host, sizeof host));
    if (prefix)
        snprintf(out, size, "%s/%u", host, a->prefix_bits);
    else
        snprintf(out, size, "%s", host);
}

/* @return NULL: one host on a link can have this address; else what it is. */
static const char *address_oddity(const struct config_address *a)
{
    static const uint8_t zeros[15], mapped[12] = {[10] = 0xff, [11] = 0xff};
    const uint8_t *b = a->bytes;
    if (a->v6) {
        if (memcmp(b, mapped, 12) == 0)
            return "an IPv4 address written as IPv6";
        if (memcmp(b, zeros, 15) == 0 && b[15] <= 1)
            return b[15] ? "the loopback address" : "the unspecified address";
        return b[0] == 0xff ? "a multicast address" : NULL;
    }
    uint32_t v = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    uint32_t host = a->prefix_bits ? (uint32_t)((1ull << (32 - a->prefix_bits)) - 1) : UINT32_MAX;
    if (b[0] == 0 || b[0] == 127)
        return b[0] ? "a loopback address" : "in the network of no address";
    if (b[0] >= 224)
        return b[0] < 240 ? "a multicast address" : "reserved or broadcast";
    if (a->prefix_bits > 30 || ((v & host) != 0 && (v & host) != host))
        return NULL;
    return v & host ? "its network's broadcast address" : "the network itself";
}

/* Complains unless *a can be an address of the port, or of its gateway. */
static bool address_usable(struct config_parse *p, const char *key, const char *word,
                           const struct config_address *a)
{
    const char *oddity = address_oddity(a);
    if (oddity)
        config_complain(p, CONFIG_LINE_ERROR, "%s: %s is %s; give the address of one host", key,
                        word, oddity);
    return !oddity;
}

bool config_dpdk_address_known(const struct config *c, const struct config_address *a)
{
    for (uint32_t i = 0; i < c->dpdk_address_count; i++) {
        const struct config_address *own = &c->dpdk_addresses[i];
        if (own->v6 == a->v6 && memcmp(own->bytes, a->bytes, a->v6 ? 16 : 4) == 0)
            return true;
    }
    return false;
}

int config_parse_dpdk_address(struct config_parse *p, const struct config_key *k, const char *key,
                              const char *value)
{
    (void)k;
    struct config *c = p->c;
    char word[INET6_ADDRSTRLEN + 8];
    bool too_long;
    c->dpdk_address_count = 0;
    for (const char *list = value;
         (list = list_next(list, word, sizeof word, &too_long)) != NULL;) {
        if (c->dpdk_address_count == CONFIG_ADDRESSES_MAX) {
            config_complain(p, CONFIG_LINE_ERROR, "%s: more than %d addresses", key,
                            CONFIG_ADDRESSES_MAX);
            return CONFIG_EINVALID;
        }
        struct config_address *a = &c->dpdk_addresses[c->dpdk_address_count];
        if (too_long || !strchr(word, '/') || !address_parse(word, a)) {
            config_complain(p, CONFIG_LINE_ERROR,
                            "%s: \"%s\" is no address with prefix; write for example 192.0.2.7/24, "
                            "2001:db8::7/64",
                            key, word);
            return CONFIG_EINVALID;
        }
        if (!address_usable(p, key, word, a))
            return CONFIG_EINVALID;
        if (config_dpdk_address_known(c, a)) {
            config_complain(p, CONFIG_LINE_ERROR, "%s: %s is there twice", key, word);
            return CONFIG_EINVALID;
        }
        c->dpdk_address_count++;
    }
    return CONFIG_OK;
}

void config_format_dpdk_address(const struct config *c, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < c->dpdk_address_count && used + 64 < size; i++) {
        if (i > 0)
            out[used++] = ',';
        address_format(&c->dpdk_addresses[i], true, out + used, size - used);
        used += strlen(out + used);
    }
}

int config_parse_dpdk_gateway(struct config_parse *p, const struct config_key *k, const char *key,
                              const char *value)
{
    (void)k;
    struct config *c = p->c;
    char word[INET6_ADDRSTRLEN + 8];
    bool too_long;
    c->dpdk_gateway4_set = c->dpdk_gateway6_set = false;
    for (const char *list = value;
         (list = list_next(list, word, sizeof word, &too_long)) != NULL;) {
        struct config_address a;
        if (too_long || strchr(word, '/') || !address_parse(word, &a)) {
            config_complain(p, CONFIG_LINE_ERROR,
                            "%s: \"%s\" is no address; write for example 192.0.2.1", key, word);
            return CONFIG_EINVALID;
        }
        if (!address_usable(p, key, word, &a))
            return CONFIG_EINVALID;
        if (a.v6 ? c->dpdk_gateway6_set : c->dpdk_gateway4_set) {
            config_complain(p, CONFIG_LINE_ERROR,
                            "%s: at most one gateway for IPv4 and one for IPv6", key);
            return CONFIG_EINVALID;
        }
        *(a.v6 ? &c->dpdk_gateway6 : &c->dpdk_gateway4) = a;
        *(a.v6 ? &c->dpdk_gateway6_set : &c->dpdk_gateway4_set) = true;
    }
    return CONFIG_OK;
}

void config_format_dpdk_gateway(const struct config *c, char *out, size_t size)
{
    char v4[64] = "", v6[64] = "";
    if (c->dpdk_gateway4_set)
        address_format(&c->dpdk_gateway4, false, v4, sizeof v4);
    if (c->dpdk_gateway6_set)
        address_format(&c->dpdk_gateway6, false, v6, sizeof v6);
    snprintf(out, size, "%s%s%s", v4, v4[0] && v6[0] ? "," : "", v6);
}

static bool cpus_add(struct config_cpus *cpus, int64_t first, int64_t last)
{
    for (int64_t id = first; id <= last; id++) {
        if (cpus->count == CONFIG_CORES_MAX)
            return false;
        for (uint32_t i = 0; i < cpus->count; i++)
            if (cpus->ids[i] == id)
                return false;
        cpus->ids[cpus->count++] = (uint16_t)id;
    }
    return true;
}

int config_parse_dpdk_cores(struct config_parse *p, const struct config_key *k, const char *key,
                            const char *value)
{
    (void)k;
    struct config_cpus *cpus = &p->c->dpdk_cores;
    char word[32];
    bool too_long;
    cpus->count = 0;
    for (const char *list = value;
         (list = list_next(list, word, sizeof word, &too_long)) != NULL;) {
        char *dash = strchr(word, '-'), *end = word + strlen(word);
        int64_t first = number_read(word, dash ? dash : end, 0, UINT16_MAX);
        int64_t last = dash ? number_read(dash + 1, end, 0, UINT16_MAX) : first;
        if (too_long || first < 0 || last < first || !cpus_add(cpus, first, last)) {
            config_complain(p, CONFIG_LINE_ERROR,
                            "%s: \"%s\": write different CPUs such as 2,4-7, at most %d of them",
                            key, word, CONFIG_CORES_MAX);
            return CONFIG_EINVALID;
        }
    }
    return CONFIG_OK;
}

void config_format_dpdk_cores(const struct config *c, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < c->dpdk_cores.count && used + 8 < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%u", i > 0 ? "," : "",
                                 c->dpdk_cores.ids[i]);
}
