/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/wire/check.h"
#include "dataplane/config_keys.h"

static void *field_of(struct config *c, const struct config_key *k)
{
    CHECK(k->offset + k->size <= sizeof *c);
    return (char *)c + k->offset;
}

static const void *field_read(const struct config *c, const struct config_key *k)
{
    CHECK(k->offset + k->size <= sizeof *c);
    return (const char *)c + k->offset;
}

static void int_store(struct config *c, const struct config_key *k, int64_t number)
{
    int32_t narrow = (int32_t)number;
    if (k->size == sizeof narrow)
        memcpy(field_of(c, k), &narrow, sizeof narrow);
    else if (k->size == sizeof number)
        memcpy(field_of(c, k), &number, sizeof number);
    else
        CHECK(k->size == 0);
}

static int64_t int_load(const struct config *c, const struct config_key *k)
{
    int32_t narrow;
    int64_t number;
    if (k->size == sizeof narrow) {
        memcpy(&narrow, field_read(c, k), sizeof narrow);
        return narrow;
    }
    CHECK(k->size == sizeof number);
    memcpy(&number, field_read(c, k), sizeof number);
    return number;
}

static int bool_parse(struct config_parse *p, const struct config_key *k, const char *key,
                      const char *value)
{
    bool yesno = k->type == CONFIG_YESNO;
    bool set = strcasecmp(value, yesno ? "yes" : "true") == 0;
    if (!set && strcasecmp(value, yesno ? "no" : "false") != 0) {
        config_complain(p, CONFIG_LINE_ERROR, "%s=%.100s: write %s", key, value,
                        yesno ? "yes or no" : "true or false");
        return CONFIG_EINVALID;
    }
    if (k->size > 0) {
        CHECK(k->size == sizeof set);
        memcpy(field_of(p->c, k), &set, sizeof set);
    }
    return CONFIG_OK;
}

static int int_parse(struct config_parse *p, const struct config_key *k, const char *key,
                     const char *value)
{
    bool hexadecimal = value[0] == '0' && (value[1] == 'x' || value[1] == 'X');
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, hexadecimal ? 16 : 10);
    if (end == value || *end != '\0') {
        config_complain(p, CONFIG_LINE_ERROR, "%s=%.100s: not a whole number%s%s%s%s", key, value,
                        k->unit[0] ? " (of " : "", k->unit, k->unit[0] ? ")" : "",
                        strchr(value, '#') ? "; a comment needs a line of its own" : "");
        return CONFIG_EINVALID;
    }
    if (errno == ERANGE || number < k->min || number > k->max) {
        config_complain(p, CONFIG_LINE_ERROR,
                        "%s=%.100s: out of range; allowed is %lld to %lld%s%s", key, value,
                        (long long)k->min, (long long)k->max, k->unit[0] ? " " : "", k->unit);
        return CONFIG_EINVALID;
    }
    if (k->size > 0)
        int_store(p->c, k, number);
    return CONFIG_OK;
}

static int real_parse(struct config_parse *p, const char *key, const char *value)
{
    char *end;
    (void)strtod(value, &end); /* only the form matters: no such key is honoured */
    if (end == value || *end != '\0') {
        config_complain(p, CONFIG_LINE_ERROR, "%s=%.100s: not a number; write one such as 0.02",
                        key, value);
        return CONFIG_EINVALID;
    }
    return CONFIG_OK;
}

static int string_parse(struct config_parse *p, const struct config_key *k, const char *key,
                        const char *value)
{
    if (k->size == 0)
        return CONFIG_OK;
    size_t size = strlen(value);
    if (size >= k->size) {
        config_complain(p, CONFIG_LINE_ERROR, "%s: %zu bytes are too long; allowed are %zu", key,
                        size, k->size - 1);
        return CONFIG_EINVALID;
    }
    memcpy(field_of(p->c, k), value, size + 1);
    return CONFIG_OK;
}

/* Index of word among "a|b|c", or -1. */
static int32_t choice_index(const char *choices, const char *word)
{
    size_t size = strlen(word);
    for (int32_t i = 0; *choices; i++) {
        size_t n = strcspn(choices, "|");
        if (n == size && strncasecmp(choices, word, n) == 0)
            return i;
        choices += n + (choices[n] == '|');
    }
    return -1;
}

static int choice_parse(struct config_parse *p, const struct config_key *k, const char *key,
                        const char *value)
{
    int32_t i = choice_index(k->choices, value);
    if (i < 0) {
        config_complain(p, CONFIG_LINE_ERROR, "%s=%.100s: write one of %s", key, value, k->choices);
        return CONFIG_EINVALID;
    }
    int_store(p->c, k, i);
    return CONFIG_OK;
}

int config_value_parse(struct config_parse *p, const struct config_key *k, const char *key,
                       const char *value)
{
    switch (k->type) {
    case CONFIG_BOOL:
    case CONFIG_YESNO:
        return bool_parse(p, k, key, value);
    case CONFIG_INT:
        return int_parse(p, k, key, value);
    case CONFIG_REAL:
        return real_parse(p, key, value);
    case CONFIG_STRING:
    case CONFIG_SECRET:
        return string_parse(p, k, key, value);
    case CONFIG_CHOICE:
        return choice_parse(p, k, key, value);
    case CONFIG_SPECIAL:
        return k->parse(p, k, key, value);
    }
    CHECK(!"a type of the table");
    return CONFIG_EINVALID;
}

static void choice_format(const struct config *c, const struct config_key *k, char *out,
                          size_t size)
{
    const char *choice = k->choices;
    for (int64_t i = int_load(c, k); i > 0; i--)
        choice += strcspn(choice, "|") + 1;
    snprintf(out, size, "%.*s", (int)strcspn(choice, "|"), choice);
}

void config_value_format(const struct config *c, const struct config_key *k, char *out, size_t size)
{
    CHECK(size > 0);
    out[0] = '\0';
    if (k->type == CONFIG_SPECIAL) {
        if (k->format)
            k->format(c, out, size);
        return;
    }
    if (k->size == 0)
        return;
    if (k->type == CONFIG_BOOL || k->type == CONFIG_YESNO) {
        bool set;
        memcpy(&set, field_read(c, k), sizeof set);
        snprintf(out, size, "%s",
                 k->type == CONFIG_YESNO ? (set ? "yes" : "no") : (set ? "true" : "false"));
    } else if (k->type == CONFIG_INT) {
        snprintf(out, size, "%lld", (long long)int_load(c, k));
    } else if (k->type == CONFIG_CHOICE) {
        choice_format(c, k, out, size);
    } else {
        const char *text = field_read(c, k);
        snprintf(out, size, "%s", k->type == CONFIG_SECRET && text[0] ? "(set)" : text);
    }
}
