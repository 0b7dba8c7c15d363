/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Requests about watches (semantics.md sections 12.6 and 12.7), and the events themselves. They
 * need nothing but this core's own tables and its snapshot.
 */
#include "client/wire/check.h"
#include "dataplane/core.h"

void serve_event(struct core *core, struct conn *conn, zxid_t zxid, enum watch_event_type type,
                 struct bytes path)
{
    size_t body = 12 + (size_t)path.size;
    uint8_t *p = conn_room(core, conn, 4 + REPLY_HEADER_BYTES + body);
    if (!p)
        return;
    reply_header_write(p, (uint32_t)body, XID_NOTIFICATION, zxid, ZK_OK);
    p += 4 + REPLY_HEADER_BYTES;
    be32_store(p, type);
    be32_store(p + 4, KEEPER_STATE_SYNC_CONNECTED);
    be32_store(p + 8, path.size);
    memcpy(p + 12, path.data, path.size);
    conn_note_reply(core, conn, body);
    stat_add(&core->stats.watch_bytes, REPLY_HEADER_BYTES + body);
}

/* One path of setWatches: the event that was missed, or 0 and the modes to set. */
static int missed_event(const struct version *v, enum set_watches_list list, zxid_t seen,
                        unsigned *modes)
{
    switch (list) {
    case SETW_DATA:
        *modes = WATCH_DATA;
        if (!v)
            return EVENT_NODE_DELETED;
        return (zxid_t)be64_load(v->stat + STAT_MZXID) > seen ? EVENT_NODE_DATA_CHANGED : 0;
    case SETW_EXIST: *modes = WATCH_DATA; return v ? EVENT_NODE_CREATED : 0;
    case SETW_CHILD:
        *modes = WATCH_CHILD;
        if (!v)
            return EVENT_NODE_DELETED;
        return (zxid_t)be64_load(v->stat + STAT_PZXID) > seen ? EVENT_NODE_CHILDREN_CHANGED : 0;
    case SETW_PERSISTENT: *modes = WATCH_PERSISTENT; return 0;
    default: *modes = WATCH_RECURSIVE; return 0;
    }
}

/* @return 0; ZK_MARSHALLINGERROR null path; ZK_BADARGUMENTS a limit of the watch table. */
static int32_t set_watches_path(struct core *core, struct conn *conn, enum set_watches_list list,
                                zxid_t seen, struct bytes path)
{
    if (!path.data)
        return ZK_MARSHALLINGERROR;
    unsigned modes;
    struct tree_key key = store_key(core->store, path);
    int event = missed_event(tree_get(core->store, key, core->visible), list, seen, &modes);
    if (event)
        serve_event(core, conn, -1, (enum watch_event_type)event, path);
    else if (watch_add(core->watches, &conn->watches, key, path, modes) != 0)
        return ZK_BADARGUMENTS;
    return 0;
}

static int32_t serve_set_watches(struct core *core, struct burst_item *item)
{
    struct set_watches set;
    if (set_watches_read(item->info, item->request.body, &set) != 0)
        return ZK_MARSHALLINGERROR;
    for (int list = 0; list < set.lists_count; list++) {
        if (set.count[list] < 0)
            return ZK_MARSHALLINGERROR;
        for (int32_t i = 0; i < set.count[list]; i++) {
            int32_t err = set_watches_path(core, item->conn, (enum set_watches_list)list,
                                           set.relative_zxid, jute_read_bytes(&set.paths[list]));
            if (err)
                return err;
        }
    }
    return 0;
}

static int32_t serve_add_watch(struct core *core, struct burst_item *item)
{
    unsigned modes = watch_modes_of(item->request.flags);
    if (!modes)
        return ZK_MARSHALLINGERROR;
    struct bytes path = item->request.path;
    if (!path.data)
        return 0; /* upstream sets a watch that can never fire */
    return watch_add(core->watches, &item->conn->watches, store_key(core->store, path), path,
                     modes) == 0
               ? 0
               : ZK_BADARGUMENTS;
}

static int32_t serve_check_or_remove(struct core *core, struct burst_item *item)
{
    struct bytes path = item->request.path;
    struct watch_owner *owner = &item->conn->watches;
    if (item->request.flags < WATCH_TYPE_CHILDREN ||
        item->request.flags > WATCH_TYPE_PERSISTENT_RECURSIVE)
        return ZK_MARSHALLINGERROR;
    if (!path.data)
        return ZK_NOWATCHER;
    struct tree_key key = store_key(core->store, path);
    return item->info->number == OP_CHECK_WATCHES
               ? watch_check(core->watches, owner, key, path, item->request.flags)
               : watch_remove(core->watches, owner, key, path, item->request.flags);
}

void serve_watch_item(struct core *core, struct burst_item *item)
{
    static const uint8_t error_response_ok[4]; /* addWatch's body: ErrorResponse 0 */
    int32_t err;
    switch (item->info->number) {
    case OP_SET_WATCHES:
    case OP_SET_WATCHES2: err = serve_set_watches(core, item); break;
    case OP_ADD_WATCH: err = serve_add_watch(core, item); break;
    default: err = serve_check_or_remove(core, item); break;
    }
    bool body = err == 0 && item->info->number == OP_ADD_WATCH;
    conn_reply(core, item->conn, item->xid, core->visible, err, error_response_ok, body ? 4 : 0);
    /*
     * Watches that cannot be set again would be missed for ever: the client must see that it is
     * disconnected.
     */
    if (err == ZK_BADARGUMENTS && item->info->number != OP_ADD_WATCH)
        conn_close(core, item->conn, false);
}
