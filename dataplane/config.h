/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The configuration of a server: command line + zoo.cfg -> struct config, or errors that name
 * file, line and way out.
 *
 *     argv --config_parse_args()--> zoo.cfg text --config_parse_text()--> struct config --> server
 *                                         |
 *                              properties.c   Java-properties syntax
 *                              config_keys.c  the ONE table: name, type, default, range, effect
 *
 * Is: parsing, checking, printing. Is not: name resolution, directories, sockets (the server's
 * work); nothing here reads a clock, and there is no global. Text leaves through the caller's
 * struct config_sink.
 *
 * Every key that ZooKeeper 3.9 documents is in the table, with one of three effects:
 *   honoured    a field of struct config; the server acts on it
 *   no effect   accepted, and one line says why it changes nothing here
 *   refused     an error with the reason, unless the value asks for nothing (the table's default)
 * A key is found by its documented name, its Java system property, or that property without
 * "zookeeper.".
 *
 * Where Sengi differs from ZooKeeper 3.9 (QuorumPeerConfig.java):
 *   - unknown keys are errors with a did-you-mean; ZooKeeper makes them system properties that
 *     nothing reads. Keys that start with "x-" are the operator's own: passed over in silence.
 *   - keys that ZooKeeper takes only as system properties (jute.maxbuffer, readonlymode.enabled,
 *     znode.container.*) work in zoo.cfg as well, and every key works on the command line as
 *     -Dname=value; zoo.cfg wins over -D, as there.
 *   - a malformed number or boolean is always an error; ZooKeeper takes the default for system
 *     properties.
 *   - 4lw.commands.whitelist unset enables the cheap words (CONFIG_WORDS_DEFAULT), not only srvr.
 *   - a file without clientPort (and without a port in its only server line) is an error;
 *     ZooKeeper starts deaf.
 *
 * Invariants of a struct config that parsing accepted:
 *   1. 1 <= tick_time_ms; 1 <= session_timeout_ms_min <= session_timeout_ms_max.
 *   2. data_dir and data_log_dir are not empty; snap_retain_count >= 3; snap_count >= 2.
 *   3. every string is terminated inside its array; every count is within its array.
 *
 * Any thread. Start-up only.
 */
#ifndef SENGI_DATAPLANE_CONFIG_H
#define SENGI_DATAPLANE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/log.h"

#define CONFIG_FILE_BYTES_MAX (1u << 20) /* a zoo.cfg above this is refused */
#define CONFIG_PATH_BYTES 1024
#define CONFIG_NAME_BYTES 256
#define CONFIG_TEXT_BYTES 1024
#define CONFIG_LINE_BYTES 2560 /* longest line given to a sink */
#define CONFIG_ERRORS_MAX 64   /* after these, parsing stops with one last line */
#define CONFIG_CORES_MAX 64
#define CONFIG_ADDRESSES_MAX 8
#define CONFIG_WORDS_DEFAULT "srvr,ruok,isro,mntr,conf,envi"

/** Exit codes of the process: ZooKeeper's ExitCode.java. */
enum exit_code {
    EXIT_CODE_FINISHED = 0,
    EXIT_CODE_UNEXPECTED = 1,
    EXIT_CODE_INVALID_INVOCATION = 2, /* command line or configuration */
    EXIT_CODE_DATADIR = 3,            /* cannot use dataDir or dataLogDir */
    EXIT_CODE_ADMIN_SERVER = 4,
    EXIT_CODE_TXNLOG = 10, /* severe error while taking a snapshot or writing the log */
    EXIT_CODE_UNMATCHED_TXN_COMMIT = 12,
    EXIT_CODE_QUORUM_PACKET = 13,
    EXIT_CODE_QUORUM_PORT = 14,
};

enum config_error {
    CONFIG_OK = 0,
    CONFIG_EINVALID = -1, /* command line or file is wrong; the sink was told each reason */
    CONFIG_EREAD = -2,    /* the file cannot be read; the sink was told why */
};

/** What the command line asks for. */
enum config_mode {
    CONFIG_MODE_SERVE,
    CONFIG_MODE_CHECK,   /* --check-config: config_print_check(), exit 0 or 2 */
    CONFIG_MODE_HELP,    /* --help: config_print_help(), exit 0 */
    CONFIG_MODE_VERSION, /* --version: config_print_version(), exit 0 */
    CONFIG_MODE_KEYS,    /* --list-keys: config_print_keys(), exit 0 */
};

enum config_idle { CONFIG_IDLE_POLL, CONFIG_IDLE_SLEEP };
/** What of RSS and checksums a port does: what it offers unless it does that in software; what it
 * offers; nothing. */
enum config_offload { CONFIG_OFFLOAD_AUTO, CONFIG_OFFLOAD_ON, CONFIG_OFFLOAD_OFF };
enum config_compression { CONFIG_COMPRESSION_NONE, CONFIG_COMPRESSION_GZIP };

/** An IPv4 or IPv6 address with its prefix length; bytes in network order, 4 or 16 of them. */
struct config_address {
    bool v6;
    uint8_t bytes[16];
    uint8_t prefix_bits; /* 32 or 128 where the text had none */
};

/** A list of CPUs such as "1,3-5", ascending as written, no duplicates. */
struct config_cpus {
    uint32_t count;
    uint16_t ids[CONFIG_CORES_MAX];
};

/** Field names carry the unit. The key of each field is in config_keys.c. A value: copy freely. */
struct config {
    /* how we were called */
    enum config_mode mode;
    char source[CONFIG_PATH_BYTES]; /* path of zoo.cfg, or "command line", or "built-in defaults" */
    uint32_t no_effect_count; /* keys accepted without effect; each was one CONFIG_LINE_NOTE */

    /* listener */
    int32_t client_port;                         /* 0 = any free port; -1 only before parsing */
    char client_port_address[CONFIG_NAME_BYTES]; /* host, IPv4, bare IPv6; "" = all addresses */
    int32_t client_port_listen_backlog;          /* -1 = unset: 50, as Java's ServerSocket */
    int32_t max_client_cnxns;                    /* per address; 0 = unlimited */
    int32_t max_cnxns;                           /* in all; 0 = unlimited */
    int32_t sessionless_cnxn_timeout_ms; /* a connection without session is closed after this */
    bool client_tcp_keep_alive;
    char words_whitelist[CONFIG_TEXT_BYTES]; /* as written; see words_whitelist() in words.h */
    int32_t cores;     /* data cores, exactly; 0 = all CPUs but one for control, at least one */
    int32_t cores_max; /* nio.numWorkerThreads, which bounds cores=0; already worked into cores */

    /* time and sessions */
    int32_t tick_time_ms;
    int32_t session_timeout_ms_min, session_timeout_ms_max; /* when unset: 2 and 20 ticks */

    /* requests */
    int32_t jute_max_buffer_bytes; /* largest frame payload from a client */
    int32_t global_outstanding_limit;

    /* storage */
    char data_dir[CONFIG_PATH_BYTES];     /* snapshots, below version-2/ */
    char data_log_dir[CONFIG_PATH_BYTES]; /* logs, below version-2/; equals data_dir when unset */
    bool data_dir_autocreate;
    int32_t snap_count;           /* txns between snapshots; see ZooKeeper: random in [n/2+1, n] */
    int64_t snap_size_limit_kb;   /* bytes of log between snapshots; <= 0 = off */
    int64_t txnlog_size_limit_kb; /* roll the log file at this size; <= 0 = off */
    int64_t pre_alloc_size_kb;    /* the log file grows by this */
    bool force_sync;              /* false = acknowledge before the disk has it. Unsafe */
    int32_t fsync_warning_threshold_ms;
    int32_t snap_retain_count;    /* autopurge keeps this many snapshots */
    int32_t purge_interval_hours; /* 0 = no autopurge */
    enum config_compression snapshot_compression;
    bool snapshot_trust_empty; /* start from logs without any snapshot */
    bool snapshot_last_zxid;   /* append lastProcessedZxid to snapshots (3.9) */

    /* tree */
    bool skip_acl;
    bool extended_types_enabled; /* TTL nodes */
    bool enforce_quota;
    bool reconfig_enabled;
    bool digest_enabled;         /* digest of the tree in log and snapshots */
    bool read_only_mode_enabled; /* isro joins the whitelist */
    int32_t container_check_interval_ms;
    int32_t container_max_per_minute;
    int64_t container_max_never_used_interval_ms; /* 0 = keep containers that never had a child */

    /* authentication. Secret: super_digest; it is never printed or logged */
    bool digest_auth_enabled;             /* scheme "digest" */
    char digest_auth_algorithm[16];       /* OpenSSL's name: "SHA1", "SHA256", ... */
    char super_digest[CONFIG_NAME_BYTES]; /* "super:base64"; "" = no super user */
    bool enforce_auth_enabled;
    char enforce_auth_schemes[CONFIG_NAME_BYTES]; /* "digest", "ip" or "digest,ip" if enabled */

    /* DPDK port */
    bool dpdk_enabled;
    char dpdk_eal[CONFIG_TEXT_BYTES];  /* raw EAL words, blank separated */
    char dpdk_port[CONFIG_NAME_BYTES]; /* PCI address, vdev name or number; "" = the only one */
    uint32_t dpdk_address_count;
    struct config_address dpdk_addresses[CONFIG_ADDRESSES_MAX];
    bool dpdk_gateway4_set, dpdk_gateway6_set;
    struct config_address dpdk_gateway4, dpdk_gateway6;
    int32_t dpdk_mtu_bytes;
    int32_t dpdk_rto_min_ms; /* see struct net_times */
    struct config_cpus dpdk_cores; /* count 0 = CPUs 0 .. cores-1 */
    enum config_idle dpdk_idle;
    enum config_offload dpdk_offload;

    enum log_level log_level;
};

/** What a line is about, so that the caller can choose where it goes. */
enum config_line {
    CONFIG_LINE_ERROR, /* "zoo.cfg:12: ...": why parsing failed */
    CONFIG_LINE_WARN,  /* accepted, but likely not what was meant */
    CONFIG_LINE_NOTE,  /* "no effect" lines */
    CONFIG_LINE_TEXT,  /* answers of the config_print_ functions, for standard output */
};

/** Where text goes: lines without newline and control bytes, borrowed until return. */
struct config_sink {
    void (*line)(void *context, enum config_line kind, const char *text);
    void *context;
};

/** What parsing may know of the process; NULL strings mean unset. Borrowed. */
struct config_environment {
    const char *home;           /* $HOME */
    const char *xdg_state_home; /* $XDG_STATE_HOME */
    bool root;                  /* effective user id 0 */
    int32_t cpus;               /* CPUs that this process may use; 0 = unknown */
};

/** The environment of this process, borrowed until the next setenv(). */
struct config_environment config_environment_current(void);

/** Set every field to its default; client_port and the directories stay unset (-1, ""). */
void config_init(struct config *c);

/**
 * Parse a whole command line, reading the file that it names.
 *
 *     sengi-server [options] [zoo.cfg]        nothing: 127.0.0.1:2181, data in a state folder
 *     sengi-server [options] <port> <datadir> [ticktime] [maxcnxns]
 *     options: --check-config --list-keys --help --version -Dname=value
 *
 * With no file and no port the data directory is $XDG_STATE_HOME/sengi, else /var/lib/sengi for
 * root, else ~/.local/state/sengi.
 *
 * @param argc,argv  As given to main(); argv[0] is not looked at.
 * @param c          Overwritten. On error unspecified but safe to read; c->mode is always set.
 * @param sink       Told every error found (not only the first), warnings and "no effect" lines.
 * @return CONFIG_OK, CONFIG_EINVALID, CONFIG_EREAD. Both errors mean exit code
 *         EXIT_CODE_INVALID_INVOCATION.
 * Context: start-up. Reads one file; allocates and frees.
 */
int config_parse_args(int argc, char **argv, const struct config_environment *env, struct config *c,
                      const struct config_sink *sink);

/**
 * Parse the text of a zoo.cfg into c, on top of what is there (config_init() first), and check it.
 *
 * @param name  What messages call the file. Borrowed.
 * @param text  Any bytes; need not be terminated. size <= CONFIG_FILE_BYTES_MAX, else an error.
 * @return CONFIG_OK or CONFIG_EINVALID. Work and memory are bounded by size.
 */
int config_parse_text(const char *name, const char *text, size_t size, struct config *c,
                      const struct config_sink *sink);

/** Each key that differs from its default as "key=value", in the table's order; secrets "(set)". */
void config_print_check(const struct config *c, const struct config_sink *sink);
/** Usage. */
void config_print_help(const struct config_sink *sink);
/** "sengi-server <version>, compatible with ZooKeeper <version>". */
void config_print_version(const struct config_sink *sink);
/** The table of keys: name, default, unit, effect, and why. */
void config_print_keys(const struct config_sink *sink);

/** Nearest known key to a mistyped one, or NULL if none is near. Static storage. For messages. */
const char *config_did_you_mean(const char *key);

/** Holds invariants 1-3 of the head of this file as code. For tests and start-up. */
bool config_valid(const struct config *c);

#endif
