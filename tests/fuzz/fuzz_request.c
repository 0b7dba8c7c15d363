/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* Any bytes as any request record: decoding touches only the record, and what it accepted can be
 * walked. */
#include <stdlib.h>

#include "client/wire/check.h"
#include "client/wire/request.h"

static void acl_walk(struct acl_view view)
{
    struct jute_reader r = jute_reader_of(view.raw.data, view.raw.size);
    struct acl_entry e;
    int32_t count = 0;
    while (acl_view_next(&r, &e))
        count++;
    CHECK(view.count == -1 ? count == 0 : count == view.count);
}

static void multi_walk(const struct opcode_info *op, struct bytes body)
{
    struct jute_reader r = jute_reader_of(body.data, body.size);
    struct multi_op part;
    bool reads;
    int32_t count = multi_count(body, &reads);
    while (multi_next(&r, &part)) {
        CHECK(part.op && (part.op->in_multi_read == reads) && (part.op->in_multi != reads));
        CHECK(op->number == OP_MULTI_READ || (!reads && part.request.path.data));
        if (part.request.acl.raw.data)
            acl_walk(part.request.acl);
        count--;
    }
    CHECK(count == 0);
}

static void set_watches_walk(const struct opcode_info *op, struct bytes body)
{
    struct set_watches sw;
    CHECK(set_watches_read(op, body, &sw) == 0);
    for (int list = 0; list < sw.lists_count; list++) {
        for (int32_t i = 0; i < sw.count[list]; i++)
            (void)jute_read_bytes(&sw.paths[list]);
        CHECK(!sw.paths[list].failed && jute_left(&sw.paths[list]) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const struct opcode_info *op = opcode_at((enum opcode_index)(data[0] % OPX_COUNT));
    struct bytes body = {data + 1, (uint32_t)size - 1};
    struct request q;
    struct connect_request connect;
    struct auth_packet auth;
    (void)connect_request_read(body, &connect);
    if (request_decode(op, body, &q))
        return 0;
    if (q.acl.raw.data)
        acl_walk(q.acl);
    if (op->number == OP_MULTI || op->number == OP_MULTI_READ)
        multi_walk(op, body);
    if (op->number == OP_SET_WATCHES || op->number == OP_SET_WATCHES2)
        set_watches_walk(op, body);
    if (op->number == OP_AUTH)
        CHECK(auth_packet_read(body, &auth) == 0);
    return 0;
}
