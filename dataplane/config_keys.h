/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The table of configuration keys, and what the files of dataplane/config share. Private to them.
 *
 *   config_keys.c    the table and the search in it
 *   config_value.c   text of one value <-> its field
 *   config_special.c keys whose values have a syntax of their own
 *   config_finish.c  rules that span keys: session timeouts, single server line, directories
 *   config_args.c    the command line
 *   config.c         zoo.cfg, complaints
 *   config_print.c   what --help, --check-config and the like print
 */
#ifndef SENGI_DATAPLANE_CONFIG_KEYS_H
#define SENGI_DATAPLANE_CONFIG_KEYS_H

#include "dataplane/config.h"

#define CONFIG_KEYS_MAX 320
#define CONFIG_LINES_MAX 1000 /* lines of all kinds that one parse gives to its sink */

enum config_type {
    CONFIG_BOOL,   /* true | false */
    CONFIG_YESNO,  /* yes | no, stored as bool */
    CONFIG_INT,    /* whole number in [min, max], decimal or 0x; field of 4 or 8 bytes */
    CONFIG_REAL,   /* decimal fraction, checked only: no such key is honoured */
    CONFIG_STRING, /* non-empty text that fits the field */
    CONFIG_SECRET, /* the same, never shown */
    CONFIG_CHOICE, /* one word of `choices`, stored as its index */
    CONFIG_SPECIAL /* `parse` does it */
};

enum config_effect { CONFIG_HONOURED, CONFIG_NO_EFFECT, CONFIG_REFUSED };

struct config_key;

/* One run over a command line or a file. */
struct config_parse {
    struct config *c;
    const struct config_sink *sink;
    const char *file; /* as messages call it; NULL while the command line is read */
    uint32_t line;    /* of the key at hand; 0 = none */
    uint32_t errors;  /* <= CONFIG_ERRORS_MAX + 1 */
    uint32_t lines;   /* given to the sink; <= CONFIG_LINES_MAX + 1 */
    uint32_t
        seen[CONFIG_KEYS_MAX]; /* line where the key last stood, 0 = not; by index in the table */
    uint32_t servers;          /* different ids among server.N lines */
    int64_t server_id;         /* of the only one */
    uint32_t server_line;
    int32_t server_client_port; /* from "...;port"; -1 = none */
    char server_client_address[CONFIG_NAME_BYTES];
};

struct config_key {
    const char *name;     /* as documented; ".*" at the end: a family */
    const char *property; /* Java system property; "=": "zookeeper." + name; NULL: none */
    enum config_type type;
    enum config_effect effect;
    const char *fallback; /* default, as text; "" = unset */
    const char *unit;     /* "" = none */
    const char *why;      /* for what is not honoured */
    const char *choices;  /* CONFIG_CHOICE: "a|b|c" */
    size_t offset, size;  /* of the field; size 0 = none */
    int64_t min, max;     /* CONFIG_INT */
    /* CONFIG_SPECIAL: check and store; complains by config_complain() and returns CONFIG_EINVALID.
     */
    int (*parse)(struct config_parse *p, const struct config_key *k, const char *key,
                 const char *value);
    /* CONFIG_SPECIAL: write the field's text; an empty text means "as the default". */
    void (*format)(const struct config *c, char *out, size_t size);
};

extern const struct config_key config_keys[];
extern const uint32_t config_key_count;

/** Entry of a key in any of its spellings, or NULL. */
const struct config_key *config_key_find(const char *key);

/** One line to the sink, printf-like, with "file:line: " in front where known. Counts errors and
 * lines. */
__attribute__((format(printf, 3, 4))) void
config_complain(struct config_parse *p, enum config_line kind, const char *format, ...);

/** Check a value against its key's type and store it in p->c if the key has a field. CONFIG_OK or
 * CONFIG_EINVALID. */
int config_value_parse(struct config_parse *p, const struct config_key *k, const char *key,
                       const char *value);

/** Text of the field of an honoured key; secrets as "(set)"; "" when unset. */
void config_value_format(const struct config *c, const struct config_key *k, char *out,
                         size_t size);

/** Take one key=value: find, judge, store. Every complaint goes through config_complain(). */
void config_take(struct config_parse *p, const char *key, const char *value);

/** The rules that span keys, and the values derived from others. */
void config_finish(struct config_parse *p);

/* parse/format functions of CONFIG_SPECIAL keys (config_special.c). */
int config_parse_server(struct config_parse *p, const struct config_key *k, const char *key,
                        const char *value);
int config_parse_auth_provider(struct config_parse *p, const struct config_key *k, const char *key,
                               const char *value);
int config_parse_address(struct config_parse *p, const struct config_key *k, const char *key,
                         const char *value);
int config_parse_compression(struct config_parse *p, const struct config_key *k, const char *key,
                             const char *value);
int config_parse_digest_algorithm(struct config_parse *p, const struct config_key *k,
                                  const char *key, const char *value);
int config_parse_schemes(struct config_parse *p, const struct config_key *k, const char *key,
                         const char *value);
int config_parse_workers(struct config_parse *p, const struct config_key *k, const char *key,
                         const char *value);
int config_parse_words(struct config_parse *p, const struct config_key *k, const char *key,
                       const char *value);
int config_parse_super_digest(struct config_parse *p, const struct config_key *k, const char *key,
                              const char *value);
/** Is it, whatever its prefix, one of dpdk.address? */
bool config_dpdk_address_known(const struct config *c, const struct config_address *a);
int config_parse_dpdk_address(struct config_parse *p, const struct config_key *k, const char *key,
                              const char *value);
int config_parse_dpdk_gateway(struct config_parse *p, const struct config_key *k, const char *key,
                              const char *value);
int config_parse_dpdk_cores(struct config_parse *p, const struct config_key *k, const char *key,
                            const char *value);
void config_format_address(const struct config *c, char *out, size_t size);
void config_format_workers(const struct config *c, char *out, size_t size);
void config_format_compression(const struct config *c, char *out, size_t size);
void config_format_digest_algorithm(const struct config *c, char *out, size_t size);
void config_format_schemes(const struct config *c, char *out, size_t size);
void config_format_words(const struct config *c, char *out, size_t size);
void config_format_super_digest(const struct config *c, char *out, size_t size);
void config_format_dpdk_address(const struct config *c, char *out, size_t size);
void config_format_dpdk_gateway(const struct config *c, char *out, size_t size);
void config_format_dpdk_cores(const struct config *c, char *out, size_t size);

#endif
