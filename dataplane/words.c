/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/words.h"

#include <string.h>

#include "client/wire/check.h"
#include "dataplane/config.h"

static_assert(WORD_COUNT <= 32, "a whitelist is 32 bits");

static const char *const names[WORD_COUNT] = {
    [WORD_NONE] = "",
#define X(name, letters) [WORD_##name] = letters,
    WORDS(X)
#undef X
        [WORD_TELNET_CLOSE] = "telnet close",
};

enum word words_find(const void *bytes, size_t size)
{
    if (size != 4)
        return WORD_NONE;
    if (memcmp(bytes, "\xff\xf4\xff\xfd", 4) == 0)
        return WORD_TELNET_CLOSE;
    for (int word = WORD_NONE + 1; word < WORD_TELNET_CLOSE; word++)
        if (memcmp(bytes, names[word], 4) == 0)
            return (enum word)word;
    return WORD_NONE;
}

const char *words_name(enum word word)
{
    CHECK(word < WORD_COUNT);
    return names[word];
}

#define WORDS_ALL (((1u << WORD_COUNT) - 1) & ~1u)

uint32_t words_whitelist(const char *list, bool read_only_mode)
{
    uint32_t whitelist = 1u << WORD_SRVR | (read_only_mode ? 1u << WORD_ISRO : 0);
    if (list[0] == '\0')
        list = CONFIG_WORDS_DEFAULT;
    while (*list) {
        list += strspn(list, ", \t");
        size_t size = strcspn(list, ", \t");
        if (size == 1 && list[0] == '*')
            return whitelist | WORDS_ALL;
        enum word word = words_find(list, size);
        if (word != WORD_NONE)
            whitelist |= 1u << word;
        list += size;
    }
    return whitelist;
}

void words_format_disabled(struct text_buffer *b, enum word word)
{
    text_append(b, "%s is not executed because it is not in the whitelist.\n", words_name(word));
}

bool words_format_not_serving(struct text_buffer *b, enum word word)
{
    switch (word) {
    case WORD_RUOK:
    case WORD_ENVI:
    case WORD_GTMK:
    case WORD_STMK:
    case WORD_ISRO:
    case WORD_NONE:
    case WORD_TELNET_CLOSE:
        return false;
    default:
        text_append(b, "This ZooKeeper instance is not currently serving requests%s",
                    word == WORD_HASH ? "" : "\n");
        return true;
    }
}

void words_format_ruok(struct text_buffer *b)
{
    text_append(b, "imok");
}

void words_format_isro(struct text_buffer *b, enum words_isro mode)
{
    text_append(b, "%s", mode == WORDS_ISRO_RW ? "rw" : mode == WORDS_ISRO_RO ? "ro" : "null");
}

void words_format_trace_mask(struct text_buffer *b, int64_t mask)
{
    text_append(b, "%lld", (long long)mask);
}

void words_format_crst(struct text_buffer *b)
{
    text_append(b, "Connection stats reset.\n");
}

void words_format_srst(struct text_buffer *b)
{
    text_append(b, "Server stats reset.\n");
}

/* The build date in ISO form from the compiler's "Nov 20 2026"; SOURCE_DATE_EPOCH fixes it for the
 * compiler. */
static void build_date_append(struct text_buffer *b)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec", date[] = __DATE__;
    char month[4] = {date[0], date[1], date[2], '\0'};
    const char *found = strstr(months, month);
    CHECK(found);
    text_append(b, "%.4s-%02d-%c%c", date + 7, (int)(found - months) / 3 + 1,
                date[4] == ' ' ? '0' : date[4], date[5]);
}

void words_append_version(struct text_buffer *b)
{
    text_append(b, "%s-sengi-%s, built on ", WORDS_ZOOKEEPER_VERSION, SENGI_VERSION);
    build_date_append(b);
}

static double average(int64_t sum, int64_t count)
{
    return count > 0 ? (double)sum / (double)count : 0;
}

static void version_line(struct text_buffer *b, const struct server_stats *s)
{
    text_append(b, "Zookeeper version: ");
    words_append_version(b);
    text_append(b, "\n");
    if (s->read_only)
        text_append(b, "READ-ONLY mode; serving only read-only clients\n");
}

/* ServerStats.toString(), node count, proposal sizes: the tail of srvr and stat. */
static void server_lines(struct text_buffer *b, const struct server_stats *s)
{
    text_append(b, "Latency min/avg/max: %lld/", (long long)s->latency_min_ms);
    text_append_double(b, average(s->latency_sum_ms, s->latency_count));
    text_append(b, "/%lld\n", (long long)s->latency_max_ms);
    text_append(b, "Received: %lld\nSent: %lld\nConnections: %lld\nOutstanding: %lld\n",
                (long long)s->packets_received, (long long)s->packets_sent,
                (long long)s->connections, (long long)s->outstanding);
    text_append(b, "Zxid: 0x%llx\nMode: %s\nNode count: %lld\n", (unsigned long long)s->zxid,
                s->mode, (long long)s->node_count);
    if (strcmp(s->mode, "leader") == 0)
        text_append(b, "Proposal sizes last/min/max: %lld/%lld/%lld\n",
                    (long long)s->proposal_size_last, (long long)s->proposal_size_min,
                    (long long)s->proposal_size_max);
}

void words_format_srvr(struct text_buffer *b, const struct server_stats *s)
{
    version_line(b, s);
    server_lines(b, s);
}

void words_format_stat_begin(struct text_buffer *b, const struct server_stats *s)
{
    version_line(b, s);
    text_append(b, "Clients:\n");
}

void words_format_stat_end(struct text_buffer *b, const struct server_stats *s)
{
    text_append(b, "\n");
    server_lines(b, s);
}

static bool v4_mapped(const uint8_t address[16])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(address, prefix, sizeof prefix) == 0;
}

/* As Java's InetSocketAddress.toString(): /1.2.3.4:5 or /[0:0:0:0:0:0:0:1]:5; a v4-mapped peer
 * prints as IPv4. */
void words_append_peer(struct text_buffer *b, const struct connection_stats *c)
{
    const uint8_t *a = c->address;
    bool v6 = c->v6 && !v4_mapped(a);
    if (c->v6 && !v6)
        a += 12;
    if (!v6) {
        text_append(b, "/%u.%u.%u.%u:%u", a[0], a[1], a[2], a[3], c->port);
        return;
    }
    text_append(b, "/[");
    for (int i = 0; i < 16; i += 2)
        text_append(b, "%s%x", i > 0 ? ":" : "", a[i] << 8 | a[i + 1]);
    text_append(b, "]:%u", c->port);
}

static void connection_begin(struct text_buffer *b, const struct connection_stats *c)
{
    text_append(b, " ");
    words_append_peer(b, c);
    text_append(b, "[%x](queued=%lld,recved=%lld,sent=%lld", c->interest, (long long)c->queued,
                (long long)c->received, (long long)c->sent);
}

void words_format_stat_connection(struct text_buffer *b, const struct connection_stats *c)
{
    connection_begin(b, c);
    text_append(b, ")\n");
}

void words_format_cons_connection(struct text_buffer *b, const struct connection_stats *c)
{
    connection_begin(b, c);
    if (c->session_id != 0) {
        text_append(b, ",sid=0x%llx,lop=%s,est=%lld,to=%d", (unsigned long long)c->session_id,
                    c->last_operation ? c->last_operation : "null", (long long)c->established_ms,
                    c->timeout_ms);
        if (c->last_cxid >= 0)
            text_append(b, ",lcxid=0x%llx", (unsigned long long)c->last_cxid);
        text_append(b, ",lzxid=0x%llx,lresp=%lld,llat=%lld,minlat=%lld,avglat=%lld,maxlat=%lld",
                    (unsigned long long)c->last_zxid, (long long)c->last_response_ms,
                    (long long)c->latency_last_ms, (long long)c->latency_min_ms,
                    (long long)c->latency_avg_ms, (long long)c->latency_max_ms);
    }
    text_append(b, ")\n");
}

void words_format_cons_end(struct text_buffer *b)
{
    text_append(b, "\n");
}

void words_format_conf(struct text_buffer *b, const struct conf_stats *c)
{
    text_append(b, "clientPort=%d\nsecureClientPort=%d\n", c->client_port, c->secure_client_port);
    text_append(b, "dataDir=%s\ndataDirSize=%lld\n", c->data_dir, (long long)c->data_dir_bytes);
    text_append(b, "dataLogDir=%s\ndataLogSize=%lld\n", c->data_log_dir,
                (long long)c->data_log_dir_bytes);
    text_append(b, "tickTime=%d\nmaxClientCnxns=%d\n", c->tick_time_ms, c->max_client_cnxns);
    text_append(b, "minSessionTimeout=%d\nmaxSessionTimeout=%d\n", c->session_timeout_ms_min,
                c->session_timeout_ms_max);
    text_append(b, "clientPortListenBacklog=%d\nserverId=%lld\n", c->listen_backlog,
                (long long)c->server_id);
}

static void environment_line(struct text_buffer *b, const char *key, const char *value)
{
    text_append(b, "%s=%s\n", key, value ? value : "<NA>");
}

static void environment_memory(struct text_buffer *b, const char *key, int64_t bytes)
{
    text_append(b, "%s=%lldMB\n", key, (long long)(bytes >> 20));
}

void words_format_envi(struct text_buffer *b, const struct environment_stats *e)
{
    static const char *const java[] = {"java.version",    "java.vendor",       "java.home",
                                       "java.class.path", "java.library.path", "java.io.tmpdir",
                                       "java.compiler"};
    text_append(b, "Environment:\nzookeeper.version=");
    words_append_version(b);
    text_append(b, "\n");
    environment_line(b, "host.name", e->host_name);
    for (size_t i = 0; i < sizeof java / sizeof java[0]; i++)
        environment_line(b, java[i], NULL);
    environment_line(b, "os.name", e->os_name);
    environment_line(b, "os.arch", e->os_arch);
    environment_line(b, "os.version", e->os_version);
    environment_line(b, "user.name", e->user_name);
    environment_line(b, "user.home", e->user_home);
    environment_line(b, "user.dir", e->user_dir);
    environment_memory(b, "os.memory.free", e->memory_free_bytes);
    environment_memory(b, "os.memory.max", e->memory_max_bytes);
    environment_memory(b, "os.memory.total", e->memory_total_bytes);
}

void words_format_dirs(struct text_buffer *b, int64_t data_dir_bytes, int64_t log_dir_bytes)
{
    text_append(b, "datadir_size: %lld\nlogdir_size: %lld\n", (long long)data_dir_bytes,
                (long long)log_dir_bytes);
}

void words_format_wchs(struct text_buffer *b, int64_t connections, int64_t paths, int64_t watches)
{
    text_append(b, "%lld connections watching %lld paths\nTotal watches:%lld\n",
                (long long)connections, (long long)paths, (long long)watches);
}

void words_format_wchc_session(struct text_buffer *b, int64_t session_id)
{
    text_append(b, "0x%llx\n", (unsigned long long)session_id);
}

void words_format_wchc_path(struct text_buffer *b, const char *path, size_t size)
{
    text_append(b, "\t%.*s\n", (int)size, path);
}

void words_format_wchp_path(struct text_buffer *b, const char *path, size_t size)
{
    text_append(b, "%.*s\n", (int)size, path);
}

void words_format_wchp_session(struct text_buffer *b, int64_t session_id)
{
    text_append(b, "\t0x%llx\n", (unsigned long long)session_id);
}

void words_format_wch_end(struct text_buffer *b)
{
    text_append(b, "\n");
}

void words_format_hash(struct text_buffer *b, int64_t zxid, int64_t digest)
{
    text_append(b, "%llx: %lld\n", (unsigned long long)zxid, (long long)digest);
}
