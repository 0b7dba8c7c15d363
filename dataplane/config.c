/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"
#include "dataplane/config_keys.h"
#include "dataplane/properties.h"

/* Whatever stands in a file must not reach a terminal as control bytes. */
static void control_bytes_mask(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

void config_complain(struct config_parse *p, enum config_line kind, const char *format, ...)
{
    char line[CONFIG_LINE_BYTES];
    size_t used = 0;
    p->errors += kind == CONFIG_LINE_ERROR;
    if (++p->lines > CONFIG_LINES_MAX) {
        if (p->lines == CONFIG_LINES_MAX + 1)
            p->sink->line(p->sink->context, CONFIG_LINE_WARN,
                          "further lines about the configuration are left out");
        p->lines = CONFIG_LINES_MAX + 1;
        return;
    }
    if (p->file && p->line > 0)
        used = (size_t)snprintf(line, sizeof line, "%s:%u: ", p->file, p->line);
    else if (p->file)
        used = (size_t)snprintf(line, sizeof line, "%s: ", p->file);
    CHECK(used < sizeof line); /* a file name is at most CONFIG_PATH_BYTES */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + used, sizeof line - used, format, arguments);
    va_end(arguments);
    control_bytes_mask(line);
    p->sink->line(p->sink->context, kind, line);
}

static void complain_unknown(struct config_parse *p, const char *key)
{
    const char *near = config_did_you_mean(key);
    if (near)
        config_complain(p, CONFIG_LINE_ERROR, "unknown key \"%.100s\"; did you mean \"%s\"?", key,
                        near);
    else
        config_complain(p, CONFIG_LINE_ERROR,
                        "unknown key \"%.100s\"; remove it (--list-keys shows all), or start it "
                        "with x- if it is your own",
                        key);
}

static bool family(const struct config_key *k)
{
    size_t size = strlen(k->name);
    return size > 2 && strcmp(k->name + size - 2, ".*") == 0;
}

static void warn_repeated(struct config_parse *p, const struct config_key *k, const char *key)
{
    uint32_t *seen = &p->seen[k - config_keys];
    if (*seen > 0 && p->line > 0 && !family(k))
        config_complain(p, CONFIG_LINE_WARN, "%s: replaces line %u", key, *seen);
    *seen = p->line;
}

/* A refused key may stand there as long as it asks for nothing. */
static void judge_refused(struct config_parse *p, const struct config_key *k, const char *key,
                          const char *value)
{
    if (strcasecmp(value, k->fallback) != 0)
        config_complain(p, CONFIG_LINE_ERROR, "%s=%.100s: refused: %s", key, value, k->why);
}

void config_take(struct config_parse *p, const char *key, const char *value)
{
    if (strncmp(key, "x-", 2) == 0)
        return;
    const struct config_key *k = config_key_find(key);
    if (!k) {
        complain_unknown(p, key);
        return;
    }
    warn_repeated(p, k, key);
    if (config_value_parse(p, k, key, value) != CONFIG_OK)
        return;
    if (k->effect == CONFIG_REFUSED) {
        judge_refused(p, k, key, value);
    } else if (k->effect == CONFIG_NO_EFFECT) {
        p->c->no_effect_count++;
        config_complain(p, CONFIG_LINE_NOTE, "%s: no effect: %s", key, k->why);
    }
}

void config_init(struct config *c)
{
    struct config_parse p = {.c = c};
    memset(c, 0, sizeof *c);
    for (uint32_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        if (k->effect == CONFIG_HONOURED && k->fallback[0] != '\0')
            CHECK(config_value_parse(&p, k, k->name, k->fallback) == CONFIG_OK);
    }
    c->client_port = -1;
    CHECK(p.errors == 0);
}

/* As Java's String.trim() for blanks: the reader has already taken those in front. */
static const char *trimmed(const char *value, char *room, size_t room_size)
{
    size_t size = strlen(value);
    while (size > 0 && (unsigned char)value[size - 1] <= ' ')
        size--;
    CHECK(size < room_size);
    memcpy(room, value, size);
    room[size] = '\0';
    return room;
}

int config_parse_text(const char *name, const char *text, size_t size, struct config *c,
                      const struct config_sink *sink)
{
    struct config_parse p = {.c = c, .sink = sink, .file = name, .server_client_port = -1};
    static_assert(CONFIG_LINE_BYTES > CONFIG_PATH_BYTES + 1024,
                  "a line has room for the name of the file");
    CHECK(strlen(name) < CONFIG_PATH_BYTES);
    if (size > CONFIG_FILE_BYTES_MAX) {
        config_complain(&p, CONFIG_LINE_ERROR, "larger than %u bytes; is it a configuration?",
                        CONFIG_FILE_BYTES_MAX);
        return CONFIG_EINVALID;
    }
    struct properties_reader r;
    char value[PROPERTIES_LINE_BYTES_MAX + 1];
    enum properties_result result;
    properties_open(&r, text, size);
    while (p.errors < CONFIG_ERRORS_MAX && (result = properties_next(&r)) != PROPERTIES_END) {
        p.line = r.line;
        if (result == PROPERTIES_KEY)
            config_take(&p, r.key, trimmed(r.value, value, sizeof value));
        else
            config_complain(&p, CONFIG_LINE_ERROR, "%s", properties_error_text(result));
    }
    p.line = 0;
    if (p.errors >= CONFIG_ERRORS_MAX)
        config_complain(&p, CONFIG_LINE_ERROR,
                        "too many errors; the rest of the file was not read");
    else
        config_finish(&p);
    return p.errors == 0 ? CONFIG_OK : CONFIG_EINVALID;
}
