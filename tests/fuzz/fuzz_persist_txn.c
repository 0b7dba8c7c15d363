/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* Any bytes as a log entry: what is accepted can be walked and written again, and reads back the
 * same. */
#include <stdlib.h>

#include "client/wire/check.h"
#include "client/wire/txn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct txn txn, again;
    if (size > 65536 || txn_entry_read((struct bytes){data, (uint32_t)size}, &txn))
        return 0;
    size_t room = size + 64;
    uint8_t *out = malloc(room);
    struct jute_writer w = jute_writer_of(out, room);
    txn_header_write(&w, &txn.header);
    txn_body_write(&w, &txn.body);
    if (!w.failed) { /* null vectors come back as empty ones, which may be longer */
        struct bytes entry = {out, (uint32_t)jute_written(&w)};
        CHECK(txn_entry_read(entry, &again) == TXN_OK);
        CHECK(again.body.type == txn.body.type);
    }
    free(out);
    return 0;
}
