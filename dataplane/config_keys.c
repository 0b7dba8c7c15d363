/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The one table of configuration keys. Source: zookeeperAdmin.md and QuorumPeerConfig.java of
 * branch-3.9, and the system properties that its code reads. To add a key: one row here, one field
 * in struct config if it is honoured.
 */
#include "dataplane/config_keys.h"

#include <string.h>

#include "client/wire/check.h"

#define INT_TOP 2147483647ll
#define LONG_TOP 9223372036854775807ll

#define FIELD(f) .offset = offsetof(struct config, f), .size = sizeof(((struct config *)0)->f)
#define HONOURED .effect = CONFIG_HONOURED, .why = ""

/* Rows of honoured keys: documented name, Java property, field, default. */
#define BOOL(n, p, f, d)                                                                    \
    {                                                                                       \
        .name = n, .property = p, .type = CONFIG_BOOL, HONOURED, .fallback = d, .unit = "", \
        FIELD(f)                                                                            \
    }
#define YESNO(n, p, f, d)                                                                    \
    {                                                                                        \
        .name = n, .property = p, .type = CONFIG_YESNO, HONOURED, .fallback = d, .unit = "", \
        FIELD(f)                                                                             \
    }
#define INT(n, p, f, d, u, lo, hi)                                                        \
    {                                                                                     \
        .name = n, .property = p, .type = CONFIG_INT, HONOURED, .fallback = d, .unit = u, \
        FIELD(f), .min = lo, .max = hi                                                    \
    }
#define STRING(n, p, f, d)                                                                    \
    {                                                                                         \
        .name = n, .property = p, .type = CONFIG_STRING, HONOURED, .fallback = d, .unit = "", \
        FIELD(f)                                                                              \
    }
#define CHOICE(n, p, f, d, c)                                                                 \
    {                                                                                         \
        .name = n, .property = p, .type = CONFIG_CHOICE, HONOURED, .fallback = d, .unit = "", \
        .choices = c, FIELD(f)                                                                \
    }
#define SPECIAL(n, p, d, u, reader, writer)                                                   \
    {                                                                                         \
        .name = n, .property = p, .type = CONFIG_SPECIAL, HONOURED, .fallback = d, .unit = u, \
        .parse = reader, .format = writer                                                     \
    }

/* Rows of keys that are accepted without effect, with the reason. */
#define NONE(n, p, t, d, u, w)                                                                     \
    {                                                                                              \
        .name = n, .property = p, .type = t, .effect = CONFIG_NO_EFFECT, .fallback = d, .unit = u, \
        .why = w, .min = -LONG_TOP, .max = LONG_TOP                                                \
    }
#define NONE_INT(n, p, d, u, w) NONE(n, p, CONFIG_INT, d, u, w)
#define NONE_BOOL(n, p, d, w) NONE(n, p, CONFIG_BOOL, d, "", w)
#define NONE_TEXT(n, p, d, w) NONE(n, p, CONFIG_STRING, d, "", w)
#define NONE_SECRET(n, p, w) NONE(n, p, CONFIG_SECRET, "", "", w)

/* Rows of keys that are refused unless they say what the default says. */
#define REFUSE(n, p, t, d, w)                                                                     \
    {                                                                                             \
        .name = n, .property = p, .type = t, .effect = CONFIG_REFUSED, .fallback = d, .unit = "", \
        .why = w, .min = -LONG_TOP, .max = LONG_TOP                                               \
    }

#define ALONE "it is for ensembles, and this server runs alone"
#define NO_ENSEMBLE "ensembles are not served by this version; run ZooKeeper for this member"
#define NO_JAVA "it tunes a part of ZooKeeper's Java server that Sengi does not have"
#define NO_JVM "there is no Java virtual machine to watch"
#define NO_ADMIN "this version has no admin HTTP server; use the four-letter words"
#define NO_METRICS "this version has no metrics HTTP server; use the four-letter word mntr"
#define NO_TLS "TLS is not served by this version, and without secureClientPort nothing uses it"
#define NO_SASL "SASL is not served by this version"
#define LAZY_WATCHES "a closed connection's watches are dropped at once here"
#define WHOLE_BATCH "a flush always takes everything that arrived during the one before it"
#define NO_TOKENS "new connections are limited by maxCnxns and maxClientCnxns alone"
#define IN_FLIGHT "requests in flight are limited by globalOutstandingLimit alone"

const struct config_key config_keys[] = {
    /* listener */
    INT("clientPort", NULL, client_port, "", "", 0, 65535),
    SPECIAL("clientPortAddress", "=", "", "", config_parse_address, config_format_address),
    INT("clientPortListenBacklog", NULL, client_port_listen_backlog, "-1", "connections", -1,
        INT_TOP),
    INT("maxClientCnxns", NULL, max_client_cnxns, "60", "connections per address", -1, INT_TOP),
    INT("maxCnxns", "=", max_cnxns, "0", "connections", 0, INT_TOP),
    INT("nio.sessionlessCnxnTimeout", "=", sessionless_cnxn_timeout_ms, "10000", "ms", 1, INT_TOP),
    BOOL("clientTcpKeepAlive", "=", client_tcp_keep_alive, "false"),
    SPECIAL("4lw.commands.whitelist", "=", "", "words", config_parse_words, config_format_words),
    INT("cores", NULL, cores, "0", "data cores", 0, CONFIG_CORES_MAX),
    SPECIAL("nio.numWorkerThreads", "=", "", "data cores", config_parse_workers,
            config_format_workers),
    REFUSE("secureClientPort", "=", CONFIG_INT, "",
           "TLS is not served by this version; use clientPort"),
    NONE_TEXT("secureClientPortAddress", "=", "", NO_TLS),
    REFUSE("client.portUnification", "=", CONFIG_BOOL, "false",
           "TLS is not served by this version"),

    /* time and sessions */
    INT("tickTime", NULL, tick_time_ms, "3000", "ms", 1, INT_TOP / 20),
    INT("minSessionTimeout", NULL, session_timeout_ms_min, "-1", "ms", -1, INT_TOP),
    INT("maxSessionTimeout", NULL, session_timeout_ms_max, "-1", "ms", -1, INT_TOP),
    NONE_BOOL("localSessionsEnabled", NULL, "false", ALONE ": its sessions are all global"),
    NONE_BOOL("localSessionsUpgradingEnabled", NULL, "false",
              ALONE ": its sessions are all global"),

    /* requests */
    INT("jute.maxbuffer", "jute.maxbuffer", jute_max_buffer_bytes, "0xfffff", "bytes", 1024,
        1 << 30),
    NONE_INT("jute.maxbuffer.extrasize", "=", "", "bytes",
             "a field is bounded by the frame that it came in"),
    INT("globalOutstandingLimit", "=", global_outstanding_limit, "1000", "requests", 1, INT_TOP),
    NONE_INT("requestThrottleLimit", "zookeeper.request_throttle_max_requests", "0", "requests",
             "globalOutstandingLimit is what holds back clients here"),
    NONE_INT("largeRequestThreshold", "=", "-1", "bytes", IN_FLIGHT),
    NONE_INT("largeRequestMaxBytes", "=", "104857600", "bytes", IN_FLIGHT),
    NONE_INT("connectionMaxTokens", "zookeeper.connection_throttle_tokens", "0", "tokens",
             NO_TOKENS),
    NONE_INT("connectionTokenFillTime", "zookeeper.connection_throttle_fill_time", "1", "ms",
             NO_TOKENS),
    NONE_INT("connectionTokenFillCount", "zookeeper.connection_throttle_fill_count", "1", "tokens",
             NO_TOKENS),
    NONE_INT("connectionFreezeTime", "zookeeper.connection_throttle_freeze_time", "-1", "ms",
             NO_TOKENS),
    NONE("connectionDropIncrease", "zookeeper.connection_throttle_drop_increase", CONFIG_REAL,
         "0.02", "", NO_TOKENS),
    NONE("connectionDropDecrease", "zookeeper.connection_throttle_drop_decrease", CONFIG_REAL,
         "0.002", "", NO_TOKENS),
    NONE("connectionDecreaseRatio", "zookeeper.connection_throttle_decrease_ratio", CONFIG_REAL,
         "0", "", NO_TOKENS),
    NONE_BOOL("connection_throttle_weight_enabled", "=", "false", NO_TOKENS),
    NONE_INT("connection_throttle_global_session_weight", "=", "3", "tokens", NO_TOKENS),
    NONE_INT("connection_throttle_local_session_weight", "=", "1", "tokens", NO_TOKENS),
    NONE_INT("connection_throttle_renew_session_weight", "=", "2", "tokens", NO_TOKENS),
    NONE_INT("requestThrottleStallTime", "zookeeper.request_throttle_stall_time", "100", "ms",
             "a stalled connection is simply not read; nothing waits for a time"),
    NONE_BOOL("requestThrottleDropStale", "zookeeper.request_throttle_drop_stale", "true",
              "requests do not wait in a queue where they could grow stale"),
    NONE_BOOL("requestStaleLatencyCheck", "zookeeper.request_stale_latency_check", "false",
              "requests do not wait in a queue where they could grow stale"),
    NONE_BOOL("requestStaleConnectionCheck", "zookeeper.request_stale_connection_check", "true",
              "requests do not wait in a queue where they could grow stale"),
    NONE_INT("request_throttler.shutdownTimeout", "=", "10000", "ms",
             "a stop answers or refuses what is in flight without waiting"),
    NONE_INT("throttledOpWaitTime", "zookeeper.throttled_op_wait_time", "0", "ms",
             "requests do not wait in a throttle queue"),
    NONE_BOOL("enableEagerACLCheck", "=", "false", "each request is checked once, in its order"),
    NONE_INT("maxResponseCacheSize", "=", "400", "answers",
             "answers are built from ready wire bytes, not cached"),
    NONE_INT("maxGetChildrenResponseCacheSize", "=", "400", "answers",
             "answers are built from ready wire bytes, not cached"),
    NONE_INT("intBufferStartingSizeBytes", "=", "1024", "bytes", NO_JAVA),

    /* storage */
    STRING("dataDir", NULL, data_dir, ""),
    STRING("dataLogDir", NULL, data_log_dir, ""),
    BOOL("datadir.autocreate", "=", data_dir_autocreate, "true"),
    NONE_BOOL("db.autocreate", "=", "true", ALONE),
    INT("snapCount", "=", snap_count, "100000", "txns", 2, INT_TOP),
    INT("snapSizeLimitInKb", "=", snap_size_limit_kb, "4194304", "KiB", -1, LONG_TOP / 1024),
    INT("txnLogSizeLimitInKb", "=", txnlog_size_limit_kb, "-1", "KiB", -1, LONG_TOP / 1024),
    INT("preAllocSize", "=", pre_alloc_size_kb, "65536", "KiB", 1, 4 << 20),
    YESNO("forceSync", "=", force_sync, "yes"),
    INT("fsync.warningthresholdms", "=", fsync_warning_threshold_ms, "1000", "ms", 0, INT_TOP),
    INT("autopurge.snapRetainCount", NULL, snap_retain_count, "3", "snapshots", -INT_TOP, INT_TOP),
    INT("autopurge.purgeInterval", NULL, purge_interval_hours, "0", "hours", -1, 24 * 366),
    SPECIAL("snapshot.compression.method", "=", "", "", config_parse_compression,
            config_format_compression),
    BOOL("snapshot.trust.empty", "=", snapshot_trust_empty, "false"),
    BOOL("serializeLastProcessedZxid.enabled", "=", snapshot_last_zxid, "true"),
    NONE_INT("flushDelay", "=", "0", "ms", WHOLE_BATCH),
    NONE_INT("maxWriteQueuePollTime", "=", "", "ms", WHOLE_BATCH),
    NONE_INT("maxBatchSize", "=", "1000", "txns", WHOLE_BATCH),
    NONE_INT("commitLogCount", "=", "500", "txns", ALONE),
    NONE("snapshotSizeFactor", "=", CONFIG_REAL, "0.33", "", ALONE),
    NONE_BOOL("forceSnapshotSync", "=", "false", ALONE),

    /* tree */
    YESNO("skipACL", "=", skip_acl, "no"),
    BOOL("extendedTypesEnabled", "=", extended_types_enabled, "false"),
    REFUSE("emulate353TTLNodes", "=", CONFIG_BOOL, "false",
           "TTL nodes in the form of ZooKeeper 3.5.3 are not read; rewrite them with a newer "
           "ZooKeeper first"),
    BOOL("enforceQuota", "=", enforce_quota, "false"),
    BOOL("reconfigEnabled", NULL, reconfig_enabled, "false"),
    BOOL("digest.enabled", "=", digest_enabled, "true"),
    NONE_BOOL("closeSessionTxn.enabled", "=", "true",
              "closeSession txns always list the paths they delete; ZooKeeper reads both forms"),
    BOOL("readonlymode.enabled", "readonlymode.enabled", read_only_mode_enabled, "false"),
    INT("znode.container.checkIntervalMs", "znode.container.checkIntervalMs",
        container_check_interval_ms, "60000", "ms", 1, INT_TOP),
    INT("znode.container.maxPerMinute", "znode.container.maxPerMinute", container_max_per_minute,
        "10000", "znodes per minute", 1, INT_TOP),
    INT("znode.container.maxNeverUsedIntervalMs", "znode.container.maxNeverUsedIntervalMs",
        container_max_never_used_interval_ms, "0", "ms", 0, LONG_TOP),
    NONE_TEXT("watchManagerName", "=", "", NO_JAVA),
    NONE_INT("watcherCleanThreadsNum", "=", "2", "threads", LAZY_WATCHES),
    NONE_INT("watcherCleanThreshold", "=", "1000", "watchers", LAZY_WATCHES),
    NONE_INT("watcherCleanIntervalInSeconds", "=", "600", "s", LAZY_WATCHES),
    NONE_INT("maxInProcessingDeadWatchers", "=", "-1", "watchers", LAZY_WATCHES),
    NONE_INT("bitHashCacheSize", "=", "10", "", NO_JAVA),

    /* authentication */
    BOOL("DigestAuthenticationProvider.enabled", "=", digest_auth_enabled, "true"),
    SPECIAL("DigestAuthenticationProvider.superDigest", "=", "", "", config_parse_super_digest,
            config_format_super_digest),
    SPECIAL("DigestAuthenticationProvider.digestAlg", "=", "SHA1", "",
            config_parse_digest_algorithm, config_format_digest_algorithm),
    BOOL("enforce.auth.enabled", "=", enforce_auth_enabled, "false"),
    SPECIAL("enforce.auth.schemes", "=", "", "", config_parse_schemes, config_format_schemes),
    REFUSE("sessionRequireClientSASLAuth", "=", CONFIG_BOOL, "false",
           "SASL is not served by this version, so no client could connect; see "
           "enforce.auth.schemes"),
    NONE_TEXT("superUser", "=", "", NO_SASL),
    NONE_TEXT("superUser.*", "=", "", NO_SASL),
    NONE_SECRET("SASLAuthenticationProvider.superPassword", "=", NO_SASL),
    NONE_TEXT("X509AuthenticationProvider.superUser", "=", "", "TLS is not served by this version"),
    {.name = "authProvider.*",
     .property = "=",
     .type = CONFIG_SPECIAL,
     .effect = CONFIG_NO_EFFECT,
     .fallback = "",
     .unit = "",
     .why = "digest and ip are always there",
     .parse = config_parse_auth_provider},
    NONE_TEXT("ensembleAuthName", "=", "",
              "only an EnsembleAuthenticationProvider reads it, and it is refused"),
    NONE_BOOL("IPAuthenticationProvider.usexforwardedfor", "=", "false", NO_ADMIN),
    NONE_BOOL("allowSaslFailedClients", "=", "false", NO_SASL),
    NONE_BOOL("letAnySaslUserDoX", "=", "", NO_SASL),
    NONE_TEXT("server.principal", "=", "", NO_SASL),
    NONE_TEXT("server.realm", "=", "", NO_SASL),
    NONE_BOOL("requireKerberosConfig", "=", "false", NO_SASL),
    NONE_TEXT("security.auth_to_local", "=", "", NO_SASL),
    NONE_TEXT("sasl.serverconfig", "=", "", NO_SASL),
    NONE_TEXT("kinit", "=", "", NO_SASL),
    NONE_BOOL("kerberos.removeHostFromPrincipal", "=", "false", NO_SASL),
    NONE_BOOL("kerberos.removeRealmFromPrincipal", "=", "false", NO_SASL),
    NONE_BOOL("kerberos.canonicalizeHostNames", "=", "false", NO_SASL),
    NONE_INT("kerberos.minReLoginTimeMs", "=", "60000", "ms", NO_SASL),
    NONE_BOOL("fips-mode", "=", "true", "TLS is not served by this version"),
    REFUSE("audit.enable", "=", CONFIG_BOOL, "false",
           "audit logging is not served by this version"),
    NONE_TEXT("audit.impl.class", "=", "", "audit logging is not served by this version"),

    /* TLS: client and quorum */
    NONE_TEXT("ssl.authProvider", "=", "", NO_TLS),
    NONE_TEXT("ssl.keyStore.location", "=", "", NO_TLS),
    NONE_SECRET("ssl.keyStore.password", "=", NO_TLS),
    NONE_TEXT("ssl.keyStore.passwordPath", "=", "", NO_TLS),
    NONE_TEXT("ssl.keyStore.type", "=", "", NO_TLS),
    NONE_TEXT("ssl.trustStore.location", "=", "", NO_TLS),
    NONE_SECRET("ssl.trustStore.password", "=", NO_TLS),
    NONE_TEXT("ssl.trustStore.passwordPath", "=", "", NO_TLS),
    NONE_TEXT("ssl.trustStore.type", "=", "", NO_TLS),
    NONE_TEXT("ssl.protocol", "=", "", NO_TLS),
    NONE_TEXT("ssl.enabledProtocols", "=", "", NO_TLS),
    NONE_TEXT("ssl.ciphersuites", "=", "", NO_TLS),
    NONE_TEXT("ssl.context.supplier.class", "=", "", NO_TLS),
    NONE_BOOL("ssl.hostnameVerification", "=", "true", NO_TLS),
    NONE_BOOL("ssl.clientHostnameVerification", "=", "false", NO_TLS),
    NONE_BOOL("ssl.allowReverseDnsLookup", "=", "false", NO_TLS),
    NONE_BOOL("ssl.crl", "=", "false", NO_TLS),
    NONE_BOOL("ssl.ocsp", "=", "false", NO_TLS),
    NONE_TEXT("ssl.clientAuth", "=", "need", NO_TLS),
    NONE_INT("ssl.handshakeDetectionTimeoutMillis", "=", "5000", "ms", NO_TLS),
    NONE_TEXT("ssl.sslProvider", "=", "JDK", NO_TLS),
    NONE_BOOL("client.certReload", "=", "false", NO_TLS),
    NONE_INT("outstandingHandshake.limit", "zookeeper.netty.server.outstandingHandshake.limit",
             "-1", "connections", NO_TLS),
    NONE_BOOL("netty.server.earlyDropSecureConnectionHandshakes", "=", "false", NO_TLS),
    NONE_TEXT("ssl.quorum.keyStore.location", "=", "", ALONE),
    NONE_SECRET("ssl.quorum.keyStore.password", "=", ALONE),
    NONE_TEXT("ssl.quorum.keyStore.passwordPath", "=", "", ALONE),
    NONE_TEXT("ssl.quorum.keyStore.type", "=", "", ALONE),
    NONE_TEXT("ssl.quorum.trustStore.location", "=", "", ALONE),
    NONE_SECRET("ssl.quorum.trustStore.password", "=", ALONE),
    NONE_TEXT("ssl.quorum.trustStore.passwordPath", "=", "", ALONE),
    NONE_TEXT("ssl.quorum.trustStore.type", "=", "", ALONE),
    NONE_TEXT("ssl.quorum.protocol", "=", "", ALONE),
    NONE_TEXT("ssl.quorum.enabledProtocols", "=", "", ALONE),
    NONE_TEXT("ssl.quorum.ciphersuites", "=", "", ALONE),
    NONE_TEXT("ssl.quorum.context.supplier.class", "=", "", ALONE),
    NONE_BOOL("ssl.quorum.hostnameVerification", "=", "true", ALONE),
    NONE_BOOL("ssl.quorum.clientHostnameVerification", "=", "true", ALONE),
    NONE_BOOL("ssl.quorum.allowReverseDnsLookup", "=", "true", ALONE),
    NONE_BOOL("ssl.quorum.crl", "=", "false", ALONE),
    NONE_BOOL("ssl.quorum.ocsp", "=", "false", ALONE),
    NONE_TEXT("ssl.quorum.clientAuth", "=", "need", ALONE),
    NONE_INT("ssl.quorum.handshakeDetectionTimeoutMillis", "=", "5000", "ms", ALONE),
    NONE_BOOL("sslQuorum", "=", "false", ALONE),
    NONE_BOOL("sslQuorumReloadCertFiles", NULL, "false", ALONE),
    NONE_BOOL("portUnification", NULL, "false", ALONE),

    /* ensemble */
    {.name = "server.*",
     .property = NULL,
     .type = CONFIG_SPECIAL,
     .effect = CONFIG_NO_EFFECT,
     .fallback = "",
     .unit = "",
     .why = "the only server of its ensemble runs alone, as in ZooKeeper",
     .parse = config_parse_server},
    REFUSE("group.*", NULL, CONFIG_STRING, "", NO_ENSEMBLE),
    REFUSE("weight.*", NULL, CONFIG_STRING, "", NO_ENSEMBLE),
    REFUSE("dynamicConfigFile", NULL, CONFIG_STRING, "", NO_ENSEMBLE),
    REFUSE("standaloneEnabled", NULL, CONFIG_BOOL, "true", NO_ENSEMBLE),
    REFUSE("oraclePath", NULL, CONFIG_STRING, "", NO_ENSEMBLE),
    REFUSE("peerType", NULL, CONFIG_STRING, "participant", NO_ENSEMBLE),
    REFUSE("electionAlg", NULL, CONFIG_INT, "3", "only 3 exists, in ZooKeeper too"),
    NONE_INT("initLimit", NULL, "", "ticks", ALONE),
    NONE_INT("syncLimit", NULL, "", "ticks", ALONE),
    NONE_INT("connectToLearnerMasterLimit", "=", "", "ticks", ALONE),
    NONE_INT("observerMasterPort", NULL, "0", "", ALONE),
    NONE_INT("observerMaster.sizeLimit", "=", "33554432", "bytes", ALONE),
    NONE("leaderServes", "=", CONFIG_YESNO, "yes", "", ALONE),
    NONE_INT("cnxTimeout", "=", "5000", "ms", ALONE),
    NONE_INT("quorumCnxnTimeoutMs", "=", "-1", "ms", ALONE),
    NONE_BOOL("quorumListenOnAllIPs", NULL, "false", ALONE),
    NONE_BOOL("syncEnabled", "zookeeper.observer.syncEnabled", "true", ALONE),
    NONE_BOOL("tcpKeepAlive", "=", "false", ALONE ": clientTcpKeepAlive is the one for clients"),
    NONE_INT("electionPortBindRetry", "=", "3", "times", ALONE),
    NONE_INT("observer.reconnectDelayMs", "=", "0", "ms", ALONE),
    NONE_INT("observer.election.DelayMs", "=", "200", "ms", ALONE),
    NONE_INT("fastleader.minNotificationInterval", "=", "200", "ms", ALONE),
    NONE_INT("fastleader.maxNotificationInterval", "=", "60000", "ms", ALONE),
    NONE_INT("maxTimeToWaitForEpoch", "zookeeper.leader.maxTimeToWaitForEpoch", "-1", "ms", ALONE),
    NONE_INT("maxConcurrentSnapSyncs", "zookeeper.leader.maxConcurrentSnapSyncs", "10", "syncs",
             ALONE),
    NONE_INT("maxConcurrentDiffSyncs", "zookeeper.leader.maxConcurrentDiffSyncs", "100", "syncs",
             ALONE),
    NONE_INT("leader.ackLoggingFrequency", "=", "1000", "acks", ALONE),
    NONE_INT("leaderConnectDelayDuringRetryMs", "=", "100", "ms", ALONE),
    NONE_BOOL("learner.closeSocketAsync", "=", "false", ALONE),
    NONE_BOOL("leader.closeSocketAsync", "=", "false", ALONE),
    NONE_BOOL("learner.asyncSending", "=", "false", ALONE),
    NONE_BOOL("leader.nodelay", "leader.nodelay", "true", ALONE),
    NONE_BOOL("follower.nodelay", "follower.nodelay", "true", ALONE),
    NONE_BOOL("follower.skipLearnerRequestToNextProcessor", "=", "false", ALONE),
    NONE_BOOL("forward_learner_requests_to_commit_processor_disabled", "=", "false", ALONE),
    NONE_BOOL("multiAddress.enabled", "=", "false", ALONE),
    NONE_INT("multiAddress.reachabilityCheckTimeoutMs", "=", "1000", "ms", ALONE),
    NONE_BOOL("multiAddress.reachabilityCheckEnabled", "=", "true", ALONE),
    NONE_BOOL("quorum.auth.enableSasl", NULL, "false", ALONE),
    NONE_BOOL("quorum.auth.serverRequireSasl", NULL, "false", ALONE),
    NONE_BOOL("quorum.auth.learnerRequireSasl", NULL, "false", ALONE),
    NONE_TEXT("quorum.auth.learner.saslLoginContext", NULL, "QuorumLearner", ALONE),
    NONE_TEXT("quorum.auth.server.saslLoginContext", NULL, "QuorumServer", ALONE),
    NONE_TEXT("quorum.auth.kerberos.servicePrincipal", NULL, "zkquorum/localhost", ALONE),
    NONE_INT("quorum.cnxn.threads.size", NULL, "20", "threads", ALONE),
    NONE_INT("messageTracker.BufferSize", "=", "10", "messages", ALONE),
    NONE_BOOL("messageTracker.Enabled", "=", "false", ALONE),
    NONE_INT("request.timeout", "=", "0", "ms", "it is for clients"),

    /* threads and buffers of the Java server */
    NONE_TEXT("serverCnxnFactory", "=", "", "there is one listener of our own"),
    NONE_BOOL("advancedFlowControlEnabled", "zookeeper.netty.advancedFlowControl.enabled", "false",
              NO_JAVA),
    NONE_INT("nio.numSelectorThreads", "=", "", "threads",
             "a data core does all work of its connections; see cores"),
    NONE_INT("nio.directBufferBytes", "=", "65536", "bytes", NO_JAVA),
    NONE_INT("nio.shutdownTimeout", "=", "5000", "ms", NO_JAVA),
    NONE_INT("commitProcessor.numWorkerThreads", "=", "", "threads",
             "reads are served where they arrive; see cores"),
    NONE_INT("commitProcessor.maxReadBatchSize", "=", "-1", "requests", NO_JAVA),
    NONE_INT("commitProcessor.maxCommitBatchSize", "=", "1", "requests", NO_JAVA),
    NONE_INT("commitProcessor.shutdownTimeout", "=", "60000", "ms", NO_JAVA),
    NONE_BOOL("pathStats.enabled", "=", "false", "hot paths are not recorded"),
    NONE_TEXT("pathStats.*", "=", "", "hot paths are not recorded"),
    NONE_BOOL("jvm.pause.monitor", NULL, "false", NO_JVM),
    NONE_INT("jvm.pause.info-threshold.ms", NULL, "1000", "ms", NO_JVM),
    NONE_INT("jvm.pause.warn-threshold.ms", NULL, "10000", "ms", NO_JVM),
    NONE_INT("jvm.pause.sleep.time.ms", NULL, "500", "ms", NO_JVM),
    NONE_BOOL("jmx.log4j.disable", "=", "false", NO_JVM),
    NONE_TEXT("jmx.log4j.mbean", "=", "", NO_JVM),

    /* admin server and metrics */
    NONE_BOOL("admin.enableServer", "=", "true", NO_ADMIN),
    NONE_TEXT("admin.serverAddress", "=", "0.0.0.0", NO_ADMIN),
    NONE_INT("admin.serverPort", "=", "8080", "", NO_ADMIN),
    NONE_INT("admin.idleTimeout", "=", "30000", "ms", NO_ADMIN),
    NONE_TEXT("admin.commandURL", "=", "/commands", NO_ADMIN),
    NONE_INT("admin.httpVersion", "=", "11", "", NO_ADMIN),
    NONE_BOOL("admin.portUnification", "=", "false", NO_ADMIN),
    NONE_BOOL("admin.forceHttps", "=", "false", NO_ADMIN),
    NONE_BOOL("admin.needClientAuth", "=", "false", NO_ADMIN),
    NONE_BOOL("admin.snapshot.enabled", "=", "true", NO_ADMIN),
    NONE_BOOL("admin.restore.enabled", "=", "true", NO_ADMIN),
    NONE_INT("admin.rateLimiterIntervalInMS", "=", "300000", "ms", NO_ADMIN),
    NONE_TEXT("metricsProvider.className", NULL, "", NO_METRICS),
    NONE_TEXT("metricsProvider.httpHost", NULL, "0.0.0.0", NO_METRICS),
    NONE_INT("metricsProvider.httpPort", NULL, "7000", "", NO_METRICS),
    NONE_BOOL("metricsProvider.exportJvmInfo", NULL, "true", NO_METRICS),
    NONE_INT("metricsProvider.numWorkerThreads", NULL, "1", "threads", NO_METRICS),
    NONE_INT("metricsProvider.maxQueueSize", NULL, "1000000", "", NO_METRICS),
    NONE_INT("metricsProvider.workerShutdownTimeoutMs", NULL, "1000", "ms", NO_METRICS),
    NONE_TEXT("metricsProvider.*", NULL, "", NO_METRICS),

    /* Sengi's own; ZooKeeper passes them over */
    BOOL("dpdk.enabled", NULL, dpdk_enabled, "false"),
    STRING("dpdk.eal", NULL, dpdk_eal, ""),
    STRING("dpdk.port", NULL, dpdk_port, ""),
    SPECIAL("dpdk.address", NULL, "", "addresses", config_parse_dpdk_address,
            config_format_dpdk_address),
    SPECIAL("dpdk.gateway", NULL, "", "addresses", config_parse_dpdk_gateway,
            config_format_dpdk_gateway),
    INT("dpdk.mtu", NULL, dpdk_mtu_bytes, "1500", "bytes", 576, 9000),
    SPECIAL("dpdk.cores", NULL, "", "CPUs", config_parse_dpdk_cores, config_format_dpdk_cores),
    INT("dpdk.rto.min", NULL, dpdk_rto_min_ms, "5", "ms", 1, 1000),
    CHOICE("dpdk.idle", NULL, dpdk_idle, "poll", "poll|sleep"),
    CHOICE("dpdk.offload", NULL, dpdk_offload, "auto", "auto|on|off"),
    CHOICE("log.level", NULL, log_level, "info", "error|warn|info|debug"),
};

const uint32_t config_key_count = sizeof config_keys / sizeof config_keys[0];
static_assert(sizeof config_keys / sizeof config_keys[0] <= CONFIG_KEYS_MAX,
              "struct config_parse has room");

/* Past "zookeeper.", or the whole. */
static const char *without_prefix(const char *key)
{
    return strncmp(key, "zookeeper.", 10) == 0 ? key + 10 : key;
}

/* Does the key match a name, which may be a family such as "server.*"? */
static bool name_matches(const char *name, const char *key)
{
    size_t size = strlen(name);
    if (size > 2 && strcmp(name + size - 2, ".*") == 0)
        return strncmp(name, key, size - 1) == 0 && key[size - 1] != '\0';
    return strcmp(name, key) == 0;
}

const struct config_key *config_key_find(const char *key)
{
    const char *bare = without_prefix(key);
    for (uint32_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        if (name_matches(k->name, bare))
            return k;
        if (k->property && k->property[0] != '=' && strcmp(without_prefix(k->property), bare) == 0)
            return k;
    }
    return NULL;
}

#define SUGGEST_BYTES_MAX 64

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static uint32_t min3(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Edit distance with swaps of neighbours (optimal string alignment), letters of either case equal.
 */
static uint32_t distance(const char *a, uint32_t a_size, const char *b, uint32_t b_size)
{
    uint32_t rows[3][SUGGEST_BYTES_MAX + 1];
    for (uint32_t j = 0; j <= b_size; j++)
        rows[0][j] = j;
    for (uint32_t i = 1; i <= a_size; i++) {
        uint32_t *row = rows[i % 3], *above = rows[(i - 1) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (uint32_t j = 1; j <= b_size; j++) {
            uint32_t differs = lower(a[i - 1]) != lower(b[j - 1]);
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + differs);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]) && above2[j - 2] + 1 < row[j])
                row[j] = above2[j - 2] + 1;
        }
    }
    return rows[a_size % 3][b_size];
}

const char *config_did_you_mean(const char *key)
{
    const char *bare = without_prefix(key), *best = NULL;
    size_t size = strlen(bare);
    if (size == 0 || size > SUGGEST_BYTES_MAX)
        return NULL;
    uint32_t best_distance = size < 5 ? 2 : (uint32_t)(size / 4) + 2; /* exclusive */
    for (uint32_t i = 0; i < config_key_count; i++) {
        const char *name = config_keys[i].name;
        size_t name_size = strlen(name);
        size_t apart = name_size > size ? name_size - size : size - name_size;
        if (name_size > SUGGEST_BYTES_MAX || apart >= best_distance)
            continue; /* the distance is at least the difference in length */
        uint32_t d = distance(bare, (uint32_t)size, name, (uint32_t)name_size);
        if (d < best_distance) {
            best = name;
            best_distance = d;
        }
    }
    return best;
}
