/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Goal: no zoo.cfg, whatever its bytes, does more than be refused.
 * Method: the input is a file, in a buffer of its exact size; half of the inputs get the two lines
 * that every valid file has, so that the fuzzer can reach accepted configurations. Checked: lines
 * are bounded in number and size and hold no control bytes; an accepted configuration holds its
 * invariants, prints, and reads back from what it printed as the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"
#include "dataplane/config.h"
#include "dataplane/config_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct printed {
    char text[1 << 16];
    size_t size;
    uint32_t lines, errors;
};

static void collect(void *context, enum config_line kind, const char *text)
{
    struct printed *p = context;
    p->lines++;
    p->errors += kind == CONFIG_LINE_ERROR;
    CHECK(p->lines <= CONFIG_LINES_MAX + 1 + config_key_count);
    CHECK(strlen(text) < CONFIG_LINE_BYTES);
    for (const char *c = text; kind != CONFIG_LINE_TEXT && *c; c++)
        CHECK((unsigned char)*c >= ' ' && *c != 0x7f);
    /* The last line that config_print_check() writes is about the file (nameless here), not a key.
     * A value may hold the same words. */
    if (kind == CONFIG_LINE_TEXT && p->size + strlen(text) + 2 < sizeof p->text &&
        strncmp(text, ": valid, ", 9) != 0)
        p->size += (size_t)snprintf(p->text + p->size, sizeof p->text - p->size, "%s\n", text);
}

/* Values with escapes or masked secrets do not read back from their printed form. */
static bool reads_back(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c == '\\' || (unsigned char)*c < '\n' || *c == 0x7f || *c == '\r' || *c == '\f')
            return false;
    return !strstr(text, "(set)") && !strstr(text, "= ") && !strstr(text, " \n");
}

static void accepted(const struct config *c, const struct config_sink *sink)
{
    static struct config again;
    static struct printed repeated;
    struct printed *p = sink->context;
    CHECK(config_valid(c));
    p->size = 0;
    p->text[0] = '\0';
    config_print_check(c, sink);
    if (!reads_back(p->text))
        return;
    repeated.size = repeated.lines = repeated.errors = 0;
    struct config_sink second = {collect, &repeated};
    config_init(&again);
    CHECK(config_parse_text("again", p->text, p->size, &again, &second) == CONFIG_OK);
    CHECK(again.client_port == c->client_port && again.tick_time_ms == c->tick_time_ms);
    CHECK(again.session_timeout_ms_min == c->session_timeout_ms_min);
    CHECK(again.jute_max_buffer_bytes == c->jute_max_buffer_bytes &&
          again.snap_count == c->snap_count);
    CHECK(strcmp(again.data_dir, c->data_dir) == 0 &&
          strcmp(again.data_log_dir, c->data_log_dir) == 0);
    CHECK(again.dpdk_address_count == c->dpdk_address_count &&
          again.dpdk_cores.count == c->dpdk_cores.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char base[] = "clientPort=2181\ndataDir=/d\n";
    static struct config c;
    static struct printed printed;
    struct config_sink sink = {collect, &printed};
    size_t before = size > 0 && data[0] & 1 ? sizeof base - 1 : 0;
    char *text = malloc(before + size + (before + size == 0));
    if (!text)
        return 0;
    memcpy(text, base, before);
    memcpy(text + before, data, size);
    memset(&printed, 0, sizeof printed);
    config_init(&c);
    int result = config_parse_text("zoo.cfg", text, before + size, &c, &sink);
    free(text);
    CHECK((result == CONFIG_OK) == (printed.errors == 0));
    if (result == CONFIG_OK)
        accepted(&c, &sink);
    return 0;
}
