/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Requests about the connection itself: ping, auth, sasl, whoAmI, and those that end it.
 */
#include "client/wire/check.h"
#include "dataplane/core.h"
#include "dataplane/server.h"

const struct opcode_info serve_refused = {"REFUSED",  "NA",  INT32_MIN, OPX_ERROR,
                                          CLASS_CONN, false, false};

static void serve_auth(struct core *core, struct burst_item *item)
{
    struct auth_packet packet;
    struct conn *conn = item->conn;
    if (!item->well_formed || auth_packet_read(item->request.body, &packet) != 0) {
        stat_add(&core->stats.bad_frames, 1);
        conn_close(core, conn, true);
        return;
    }
    int err = auth_serve(&core->server->auth, &conn->auth, packet.scheme, packet.auth);
    conn_reply(core, conn, item->xid, 0, err, NULL, 0);
    if (err) {
        stat_add(&core->stats.auth_failed, 1);
        conn_close(core, conn, false);
    }
}

/* As a server without a SASL login: a null token (client-protocol.md section 11.2). A client that
 * sends one is cut off, as ZooKeeper does. */
static void serve_sasl(struct core *core, struct burst_item *item)
{
    static const uint8_t null_token[4] = {0xff, 0xff, 0xff, 0xff};
    if (!item->well_formed || !item->request.data.data) {
        stat_add(&core->stats.bad_frames, 1);
        conn_close(core, item->conn, true);
        return;
    }
    conn_reply(core, item->conn, item->xid, 0, ZK_OK, null_token, sizeof null_token);
}

static struct bytes user_name(const struct auth_id *id)
{
    if (bytes_equal(id->scheme, BYTES_OF("super")))
        return BYTES_OF("");
    const uint8_t *colon =
        bytes_equal(id->scheme, BYTES_OF("digest")) ? memchr(id->id.data, ':', id->id.size) : NULL;
    return colon ? (struct bytes){id->id.data, (uint32_t)(colon - id->id.data)} : id->id;
}

static void serve_who_am_i(struct core *core, struct burst_item *item)
{
    const struct auth_set *auth = item->conn->auth;
    struct buffer *out = &core->scratch;
    out->size = 0;
    out->failed = false;
    buffer_put_int(out, (int32_t)auth->count);
    for (uint32_t i = 0; i < auth->count; i++) {
        buffer_put_bytes(out, auth->ids[i].scheme);
        buffer_put_bytes(out, user_name(&auth->ids[i]));
    }
    conn_reply(core, item->conn, item->xid, core->visible,
               out->failed ? ZK_MARSHALLINGERROR : ZK_OK, out->data, out->failed ? 0 : out->size);
}

void serve_conn_item(struct core *core, struct burst_item *item)
{
    struct conn *conn = item->conn;
    int32_t number = item->info ? item->info->number : 0;
    switch (number) {
    case OP_PING: conn_reply(core, conn, XID_PING, core->visible, ZK_OK, NULL, 0); break;
    case OP_AUTH: serve_auth(core, item); break;
    case OP_SASL: serve_sasl(core, item); break;
    case OP_WHO_AM_I: serve_who_am_i(core, item); break;
    case INT32_MIN: /* serve_refused */
        conn_reply(core, conn, item->xid, 0, ZK_SESSIONCLOSEDREQUIRESASLAUTH, NULL, 0);
        conn_close(core, conn, false);
        break;
    default:
        stat_add(&core->stats.unknown_ops, 1);
        conn_reply(core, conn, item->xid, -1, ZK_UNIMPLEMENTED, NULL, 0);
        conn_close(core, conn, false);
        break;
    }
}
