/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "client/wire/check.h"
#include "client/wire/request.h"

int connect_request_read(struct bytes frame, struct connect_request *out)
{
    struct jute_reader r = jute_reader_of(frame.data, frame.size);
    *out = (struct connect_request){0};
    out->protocol_version = jute_read_int(&r);
    out->last_zxid_seen = jute_read_long(&r);
    out->timeout_ms = jute_read_int(&r);
    out->session = jute_read_long(&r);
    out->passwd = jute_read_bytes(&r);
    if (r.failed)
        return ZK_MARSHALLINGERROR;
    out->has_read_only = jute_left(&r) > 0;
    out->read_only = out->has_read_only && jute_read_bool(&r);
    return 0;
}

size_t connect_response_write(uint8_t out[CONNECT_RESPONSE_BYTES_MAX], session_id_t session,
                              int32_t timeout_ms, const uint8_t *passwd, bool has_read_only,
                              bool read_only)
{
    CHECK(session == 0 || passwd);
    size_t bytes = CONNECT_RESPONSE_BYTES_MAX - (has_read_only ? 0 : 1);
    memset(out, 0, CONNECT_RESPONSE_BYTES_MAX); /* protocolVersion 0 */
    be32_store(out, (uint32_t)bytes - 4);
    be32_store(out + 20, PASSWD_BYTES);
    if (session) {
        be32_store(out + 8, (uint32_t)timeout_ms);
        be64_store(out + 12, (uint64_t)session);
        memcpy(out + 24, passwd, PASSWD_BYTES);
    }
    out[40] = read_only; /* not sent to a client that sent no such byte */
    return bytes;
}
