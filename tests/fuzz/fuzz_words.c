/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* Any bytes as the beginning of a connection, above all as a four-letter word, in any pieces, with
 * the client's end behind it or not. A server with a session, a watch and an ephemeral has
 * something to say. */
#define RIG_CLOCK_WALL_REAL
#include "tests/dataplane/rig_client.h"

#include "dataplane/log.h"

static const char *const words[] = {"conf", "cons", "crst", "dirs", "dump", "envi",
                                    "gtmk", "hash", "isro", "mntr", "ruok", "srst",
                                    "srvr", "stat", "stmk", "wchc", "wchp", "wchs"};

static void populate(void)
{
    struct rig_peer *p = rig_client(0);
    send_create(p, "/e", text("x"), 1);
    send_read(p, OP_EXISTS, "/w", true);
    send_path_int(p, OP_ADD_WATCH, "/", 1);
    rig_settle();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > 4096)
        return 0;
    struct config config = rig_config();
    snprintf(config.words_whitelist, sizeof config.words_whitelist, "%s", data[0] & 1 ? "*" : "");
    log_open(STDERR_FILENO, LOG_LEVEL_ERROR);
    rig_start(&config, 2);
    populate();
    struct rig_peer *p = rig_open(data[0] >> 1 & 1);
    p->input_bytes_max = data[1];
    if (data[0] & 4)
        rig_send(p, words[data[2] % (sizeof words / sizeof words[0])], 4);
    rig_send(p, data + 3, size - 3);
    if (data[0] & 8)
        rig_close(p);
    rig_settle();
    bool word = (data[0] & 4) && (data[0] & 1) && strcmp(words[data[2] % 18], "stmk") != 0 &&
                strcmp(words[data[2] % 18], "hash") != 0;
    CHECK(!word || p->got.size > 0);
    rig_stop();
    return 0;
}
