/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The four-letter words (client-protocol.md section 14): which words there are, which are allowed,
 * and the exact text of each answer, made from plain structs that the server fills.
 *
 *     first four bytes --words_find()--> word --words_enabled()--> [words_format_not_serving()]
 * --words_format_X()--> text
 *
 * Is: pure text. Is not: counters, sockets, the tree; who fills the structs says what is true.
 * A number that the server does not know is WORDS_UNKNOWN; mntr leaves such a key out rather than
 * print an invented 0. Left out of mntr on purpose, because nothing in Sengi could give them a
 * meaning: jvm_pause_time_ms, response packet caches, dead watchers, commit-processor and
 * prep-processor queues, Netty and TLS handshakes, learner handlers.
 *
 * Any thread. Never on the read path (it allocates).
 */
#ifndef SENGI_DATAPLANE_WORDS_H
#define SENGI_DATAPLANE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/text.h"

#define WORDS_ZOOKEEPER_VERSION "3.9.5" /* whose behaviour this is; clients parse it */
#define WORDS_UNKNOWN INT64_MIN
#define WORDS_TRACE_MASK_DEFAULT 306

/* ---- words ---- */

/* X(name, letters), in the order of section 14.1 */
#define WORDS(X)                                                                            \
    X(CONF, "conf")                                                                         \
    X(CONS, "cons") X(CRST, "crst") X(DIRS, "dirs") X(DUMP, "dump") X(ENVI, "envi")         \
        X(GTMK, "gtmk") X(HASH, "hash") X(ISRO, "isro") X(MNTR, "mntr") X(RUOK, "ruok")     \
            X(SRST, "srst") X(SRVR, "srvr") X(STAT, "stat") X(STMK, "stmk") X(WCHC, "wchc") \
                X(WCHP, "wchp") X(WCHS, "wchs")

enum word {
    WORD_NONE,
#define X(name, letters) WORD_##name,
    WORDS(X)
#undef X
        WORD_TELNET_CLOSE, /* ff f4 ff fd; enabled only by "*", and then closed silently */
    WORD_COUNT
};

/** The word that these bytes are; WORD_NONE unless size is 4 and they are one. */
enum word words_find(const void *bytes, size_t size);
/** "srvr", ..., "telnet close". Static storage. */
const char *words_name(enum word word);

/**
 * Set of enabled words, bit 1 << word.
 *
 * @param list            4lw.commands.whitelist; "" = unset: CONFIG_WORDS_DEFAULT.
 * @param read_only_mode  readonlymode.enabled: adds isro. srvr is always in.
 */
uint32_t words_whitelist(const char *list, bool read_only_mode);
static inline bool words_enabled(uint32_t whitelist, enum word word)
{
    return whitelist >> word & 1;
}

/** "<word> is not executed because it is not in the whitelist.\n" */
void words_format_disabled(struct text_buffer *b, enum word word);

/**
 * The answer of a server that is not serving, for the words that need one that is.
 *
 * @return false, and nothing appended, for the words that are answered all the same: ruok, envi,
 * gtmk, stmk, and isro (use WORDS_ISRO_NULL).
 */
bool words_format_not_serving(struct text_buffer *b, enum word word);

/** "<ZooKeeper version>-sengi-<version>, built on <date>", as srvr, envi and mntr begin. */
void words_append_version(struct text_buffer *b);

/* ---- words without numbers ---- */

enum words_isro { WORDS_ISRO_RW, WORDS_ISRO_RO, WORDS_ISRO_NULL };
void words_format_ruok(struct text_buffer *b);
void words_format_isro(struct text_buffer *b, enum words_isro mode);
void words_format_trace_mask(struct text_buffer *b, int64_t mask); /* gtmk and stmk */
void words_format_crst(struct text_buffer *b);
void words_format_srst(struct text_buffer *b);

/* ---- srvr, stat, cons ---- */

/** What a server counts since its start or the last srst. Latencies in ms. */
struct server_stats {
    bool read_only;   /* a read-only server: one more line */
    const char *mode; /* "standalone", "leader", "follower", "observer", "read-only". Borrowed */
    int64_t latency_min_ms, latency_max_ms, latency_sum_ms,
        latency_count; /* average = sum / count */
    int64_t packets_received, packets_sent;
    int64_t connections; /* alive now, also those without session */
    int64_t outstanding; /* requests being processed */
    int64_t zxid;        /* last one applied */
    int64_t node_count;  /* counts the root twice, as ZooKeeper: 5 on a fresh server */
    int64_t proposal_size_last, proposal_size_min,
        proposal_size_max; /* printed if mode is "leader"; -1 before any */
};

/** One connection. Address and port of the peer in host order of bytes as on the wire. */
struct connection_stats {
    bool v6;
    uint8_t address[16]; /* network order, 4 or 16 bytes */
    uint16_t port;       /* host order */
    uint8_t interest;    /* 1 reading, 4 writing, 5 both, 0 the connection of the command itself */
    int64_t queued, received, sent;
    /* printed by cons if session_id != 0 */
    int64_t session_id;
    const char *last_operation; /* lop tag; NULL prints "null"; "NA" after crst. Borrowed */
    int64_t established_ms;     /* wall clock, since 1970 */
    int32_t timeout_ms;
    int64_t last_cxid;        /* left out if negative */
    int64_t last_zxid;        /* -1 after crst: printed ffffffffffffffff */
    int64_t last_response_ms; /* monotonic clock */
    int64_t latency_last_ms, latency_min_ms, latency_avg_ms, latency_max_ms;
};

/** "/1.2.3.4:5" or "/[0:0:0:0:0:0:0:1]:5", as Java prints a socket address; a v4-mapped peer is
 * IPv4. */
void words_append_peer(struct text_buffer *b, const struct connection_stats *c);

void words_format_srvr(struct text_buffer *b, const struct server_stats *s);

/* stat: begin, one line per connection, end. */
void words_format_stat_begin(struct text_buffer *b, const struct server_stats *s);
void words_format_stat_connection(struct text_buffer *b, const struct connection_stats *c);
void words_format_stat_end(struct text_buffer *b, const struct server_stats *s);

/* cons: one line per connection, end. */
void words_format_cons_connection(struct text_buffer *b, const struct connection_stats *c);
void words_format_cons_end(struct text_buffer *b);

/* ---- conf, envi, dirs ---- */

struct conf_stats {
    int32_t client_port, secure_client_port; /* -1 = none */
    const char *data_dir, *data_log_dir;     /* absolute, ending in version-2. Borrowed */
    int64_t data_dir_bytes, data_log_dir_bytes;
    int32_t tick_time_ms, max_client_cnxns, session_timeout_ms_min, session_timeout_ms_max,
        listen_backlog;
    int64_t server_id; /* 0 on standalone */
};
void words_format_conf(struct text_buffer *b, const struct conf_stats *c);

/** NULL strings print "<NA>". Borrowed. */
struct environment_stats {
    const char *host_name, *os_name, *os_arch, *os_version, *user_name, *user_home, *user_dir;
    int64_t memory_free_bytes, memory_max_bytes, memory_total_bytes;
};
void words_format_envi(struct text_buffer *b, const struct environment_stats *e);
void words_format_dirs(struct text_buffer *b, int64_t data_dir_bytes, int64_t log_dir_bytes);

/* ---- watches, hash ---- */

void words_format_wchs(struct text_buffer *b, int64_t connections, int64_t paths, int64_t watches);
/* wchc: session, then its paths, ...; end. wchp: path, then its sessions, ...; end. */
void words_format_wchc_session(struct text_buffer *b, int64_t session_id);
void words_format_wchc_path(struct text_buffer *b, const char *path, size_t size);
void words_format_wchp_path(struct text_buffer *b, const char *path, size_t size);
void words_format_wchp_session(struct text_buffer *b, int64_t session_id);
void words_format_wch_end(struct text_buffer *b);
/** One remembered digest: "<zxid>: <digest>". */
void words_format_hash(struct text_buffer *b, int64_t zxid, int64_t digest);

/* ---- dump: call in this order ---- */

void words_format_dump_sessions(struct text_buffer *b, int64_t buckets, int64_t sessions);
/* Bucket of sessions or of connections. expire_ms: wall clock, since 1970; printed in UTC. */
void words_format_dump_bucket(struct text_buffer *b, int64_t count, int64_t expire_ms);
void words_format_dump_session(struct text_buffer *b, int64_t session_id);
void words_format_dump_ephemerals(struct text_buffer *b, int64_t sessions);
void words_format_dump_owner(struct text_buffer *b, int64_t session_id);
void words_format_dump_path(struct text_buffer *b, const char *path, size_t size);
void words_format_dump_connections(struct text_buffer *b, int64_t buckets, int64_t connections);
void words_format_dump_connection(struct text_buffer *b, const struct connection_stats *c);

/* ---- mntr ---- */

/* One AvgMinMaxCounter of ZooKeeper; count 0: all zero. count WORDS_UNKNOWN: left out. */
struct mntr_summary {
    int64_t count, sum, min, max;
};
/* One AvgMinMaxPercentileCounter. */
struct mntr_percentiles {
    struct mntr_summary all;
    int64_t p50, p95, p99, p999;
};

/* Gauges beyond struct server_stats, and counters: X(field, key without "zk_"). Whole numbers. */
#define MNTR_NUMBERS(X)                                                          \
    X(uptime_ms, "uptime")                                                       \
    X(watches, "watch_count") /* data and child watches */                       \
    X(ephemerals, "ephemerals_count")                                            \
    X(approximate_data_size_bytes, "approximate_data_size")                      \
    X(global_sessions, "global_sessions")                                        \
    X(local_sessions, "local_sessions")                                          \
    X(open_files, "open_file_descriptor_count")                                  \
    X(open_files_max, "max_file_descriptor_count")                               \
    X(response_size_last, "last_client_response_size") /* -1 before the first */ \
    X(response_size_max, "max_client_response_size")                             \
    X(response_size_min, "min_client_response_size")                             \
    X(auth_failed, "auth_failed_count")                                          \
    X(snapshot_errors, "snapshot_error_count")                                   \
    X(commits, "commit_count")                                                   \
    X(connection_requests, "connection_request_count")                           \
    X(connections_rejected, "connection_rejected")                               \
    X(bytes_received, "bytes_received_count")                                    \
    X(connections_revalidated, "connection_revalidate_count")                    \
    X(sessionless_connections_expired, "sessionless_connections_expired")        \
    X(stale_sessions_expired, "stale_sessions_expired")                          \
    X(digest_mismatches, "digest_mismatches_count")                              \
    X(proposals, "proposal_count")                                               \
    X(syncs_queued, "sync_processor_request_queued")                             \
    X(response_bytes, "response_bytes")                                          \
    X(watch_bytes, "watch_bytes")

/* What ZooKeeper counts and a server like this one never does: it is alone, without TLS, SASL, a
 * cache of responses, dead watchers, throttling or an admin server. Monitoring finds its 0 here. */
#define MNTR_ZEROS(X)                                  \
    X("outstanding_tls_handshake")                     \
    X("non_mtls_remote_conn_count")                    \
    X("non_mtls_local_conn_count")                     \
    X("tls_handshake_exceeded")                        \
    X("unsuccessful_handshake")                        \
    X("insecure_admin_count")                          \
    X("snapshot_rate_limited_count")                   \
    X("restore_error_count")                           \
    X("restore_rate_limited_count")                    \
    X("ensemble_auth_success")                         \
    X("ensemble_auth_fail")                            \
    X("ensemble_auth_skip")                            \
    X("looking_count")                                 \
    X("diff_count")                                    \
    X("snap_count")                                    \
    X("revalidate_count")                              \
    X("quit_leading_due_to_disloyal_voter")            \
    X("learner_proposal_received_count")               \
    X("learner_commit_received_count")                 \
    X("skip_learner_request_to_next_processor_count")  \
    X("requests_not_forwarded_to_commit_processor")    \
    X("request_commit_queued")                         \
    X("connection_drop_count")                         \
    X("throttled_ops")                                 \
    X("request_throttle_wait_count")                   \
    X("large_requests_rejected")                       \
    X("stale_requests")                                \
    X("stale_requests_dropped")                        \
    X("stale_replies")                                 \
    X("unrecoverable_error_count")                     \
    X("cnxn_closed_without_zk_server_running")         \
    X("response_packet_cache_hits")                    \
    X("response_packet_cache_misses")                  \
    X("response_packet_get_children_cache_hits")       \
    X("response_packet_get_children_cache_misses")     \
    X("add_dead_watcher_stall_time")                   \
    X("dead_watchers_queued")                          \
    X("dead_watchers_cleared")

#define MNTR_SUMMARIES(X)                                 \
    X(fsync_ms, "fsynctime")                              \
    X(snapshot_ms, "snapshottime")                        \
    X(database_init_ms, "dbinittime")                     \
    X(created_watches, "node_created_watch_count")        \
    X(deleted_watches, "node_deleted_watch_count")        \
    X(changed_watches, "node_changed_watch_count")        \
    X(children_watches, "node_children_watch_count")      \
    X(startup_txns_loaded, "startup_txns_loaded")         \
    X(startup_txns_load_ms, "startup_txns_load_time")     \
    X(startup_snapshot_load_ms, "startup_snap_load_time") \
    X(sync_batch_size, "sync_processor_batch_size")

#define MNTR_PERCENTILES(X)           \
    X(read_latency_ms, "readlatency") \
    X(update_latency_ms, "updatelatency")

struct mntr_stats {
    struct server_stats server;
#define X(field, key) int64_t field;
    MNTR_NUMBERS(X)
#undef X
#define X(field, key) struct mntr_summary field;
    MNTR_SUMMARIES(X)
#undef X
#define X(field, key) struct mntr_percentiles field;
    MNTR_PERCENTILES(X)
#undef X
};

/** Everything WORDS_UNKNOWN, server zeroed. Fill what is known, then format. */
void words_mntr_init(struct mntr_stats *m);
void words_format_mntr(struct text_buffer *b, const struct mntr_stats *m);

#endif
