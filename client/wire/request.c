/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "client/wire/request.h"

#include "client/wire/check.h"

/* Create flags (section 7): an enumeration, not a mask. */
enum { FLAGS_CONTAINER = 4, FLAGS_TTL = 5, FLAGS_SEQUENTIAL_TTL = 6 };

bool acl_view_next(struct jute_reader *r, struct acl_entry *out)
{
    if (jute_left(r) == 0)
        return false;
    out->perms = jute_read_int(r);
    out->id.scheme = jute_read_bytes(r);
    out->id.id = jute_read_bytes(r);
    CHECK(!r->failed); /* the vector was checked when the view was made */
    return true;
}

struct acl_view acl_view_read(struct jute_reader *r)
{
    struct acl_view view = {BYTES_NULL, jute_read_count(r, ACL_ENTRY_BYTES_MIN)};
    const uint8_t *start = r->p;
    for (int32_t i = 0; i < view.count && !r->failed; i++) {
        (void)jute_read_int(r);   /* perms */
        (void)jute_read_bytes(r); /* scheme */
        (void)jute_read_bytes(r); /* id */
    }
    if (!r->failed)
        view.raw = (struct bytes){start, (uint32_t)(r->p - start)};
    return view;
}

/* --- one decoder per shape of opcodes.h --- */

#define DECODER(shape)                                                                             \
    static void decode_##shape(const struct opcode_info *op, struct jute_reader *r,                \
                               struct request *out)

DECODER(none)
{
    (void)op, (void)r, (void)out;
}

DECODER(path)
{
    (void)op;
    out->path = jute_read_bytes(r);
}

DECODER(path_version)
{
    (void)op;
    out->path = jute_read_bytes(r);
    out->version = jute_read_int(r);
}

DECODER(path_watch)
{
    (void)op;
    out->path = jute_read_bytes(r);
    out->watch = jute_read_bool(r);
}

DECODER(path_type)
{
    (void)op;
    out->path = jute_read_bytes(r);
    out->flags = jute_read_int(r);
}

DECODER(set_data)
{
    (void)op;
    out->path = jute_read_bytes(r);
    out->data = jute_read_bytes(r);
    out->version = jute_read_int(r);
}

DECODER(set_acl)
{
    (void)op;
    out->path = jute_read_bytes(r);
    out->acl = acl_view_read(r);
    out->version = jute_read_int(r);
}

DECODER(create)
{
    (void)op;
    out->path = jute_read_bytes(r);
    out->data = jute_read_bytes(r);
    out->acl = acl_view_read(r);
    out->flags = jute_read_int(r);
}

DECODER(create_ttl)
{
    decode_create(op, r, out);
    out->ttl = jute_read_long(r);
}

DECODER(reconfig)
{
    (void)op, (void)out;
    (void)jute_read_bytes(r); /* joiningServers */
    (void)jute_read_bytes(r); /* leavingServers */
    (void)jute_read_bytes(r); /* newMembers */
    (void)jute_read_long(r);  /* curConfigId */
}

DECODER(auth)
{
    (void)op;
    out->flags = jute_read_int(r);
    (void)jute_read_bytes(r); /* scheme */
    (void)jute_read_bytes(r); /* auth */
}

DECODER(token)
{
    (void)op;
    out->data = jute_read_bytes(r);
}

DECODER(create_session)
{
    (void)op;
    out->flags = jute_read_int(r);
}

static int set_watches_lists_count(const struct opcode_info *op)
{
    return op->number == OP_SET_WATCHES ? SETW_PERSISTENT : SETW_LISTS;
}

DECODER(set_watches)
{
    (void)out;
    (void)jute_read_long(r); /* relativeZxid */
    for (int list = 0; list < set_watches_lists_count(op); list++) {
        int32_t count = jute_read_count(r, 4);
        for (int32_t i = 0; i < count && !r->failed; i++)
            (void)jute_read_bytes(r);
    }
}

/* What an operation of a multi really is: inside a multi the flags win over the opcode (section 7;
 * semantics.md, Additions 4 and 5). NULL: the whole multi does not decode. */
static const struct opcode_info *multi_effective(const struct opcode_info *asked,
                                                 struct request *request)
{
    bool is_create = asked->number == OP_CREATE || asked->number == OP_CREATE2 ||
                     asked->number == OP_CREATE_CONTAINER || asked->number == OP_CREATE_TTL;
    if (!is_create)
        return asked;
    bool flags_plain = request->flags >= 0 && request->flags < FLAGS_CONTAINER;
    bool ttl_asked = asked->number == OP_CREATE_TTL;
    if (request->acl.count < 0 && !ttl_asked) /* null vector: upstream fails while copying it */
        return NULL;
    if (flags_plain) {
        request->ttl = -1;
        return ttl_asked ? opcode_at(OPX_CREATE) : asked;
    }
    if (request->flags == FLAGS_CONTAINER) {
        request->ttl = -1;
        return opcode_at(OPX_CREATE_CONTAINER);
    }
    /* TTL flags and unknown ones: an operation error of createTTL, fatal for the others. */
    return ttl_asked ? asked : NULL;
}

static void decode_body(const struct opcode_info *op, struct jute_reader *r, struct request *out);

/* Read one operation. False at the end marker or on failure. */
static bool multi_read(struct jute_reader *r, struct multi_op *out)
{
    int32_t type = jute_read_int(r);
    bool done = jute_read_bool(r);
    (void)jute_read_int(r); /* err: not looked at */
    if (r->failed || done)
        return false;
    out->asked = opcode_find(type);
    if (!out->asked || !(out->asked->in_multi || out->asked->in_multi_read)) {
        r->failed = true;
        return false;
    }
    const uint8_t *start = r->p;
    out->request = (struct request){.ttl = -1};
    decode_body(out->asked, r, &out->request);
    if (r->failed)
        return false;
    out->request.body = (struct bytes){start, (uint32_t)(r->p - start)};
    out->request.watch = false; /* reads inside a multiRead set none */
    out->op = multi_effective(out->asked, &out->request);
    r->failed = !out->op;
    return !r->failed;
}

/* Only a multiRead gets past here with a null path or with writes: it breaks off there, and its
 * answer shows how far it came (client-protocol.md section 4.4). */
DECODER(multi)
{
    (void)out;
    bool lenient = op->number == OP_MULTI_READ, reads = lenient;
    struct multi_op part;
    for (bool first = true; multi_read(r, &part); first = false) {
        if (first && lenient)
            reads = part.asked->in_multi_read;
        bool fits = reads ? part.asked->in_multi_read : part.asked->in_multi;
        if (!fits || (!lenient && !part.request.path.data)) { /* a null path: Additions 1 */
            r->failed = true;
            return;
        }
    }
}

/* The dispatch by shape. */
static void decode_body(const struct opcode_info *op, struct jute_reader *r, struct request *out)
{
    static void (*const decoders[OPX_COUNT])(const struct opcode_info *, struct jute_reader *,
                                             struct request *) = {
#define X(name, number, lop, shape, class, in_multi, in_multi_read) [OPX_##name] = decode_##shape,
        ZK_OPCODES(X)
#undef X
    };
    CHECK(op->index < OPX_COUNT);
    decoders[op->index](op, r, out);
}

int request_decode(const struct opcode_info *op, struct bytes body, struct request *out)
{
    struct jute_reader r = jute_reader_of(body.data, body.size);
    *out = (struct request){.ttl = -1, .body = body};
    decode_body(op, &r, out);
    return r.failed ? ZK_MARSHALLINGERROR : 0;
}

bool multi_next(struct jute_reader *r, struct multi_op *out)
{
    bool more = multi_read(r, out);
    CHECK(!r->failed); /* request_decode() has been here */
    return more;
}

int32_t multi_count(struct bytes body, bool *read_kind)
{
    struct jute_reader r = jute_reader_of(body.data, body.size);
    struct multi_op part;
    int32_t count = 0;
    *read_kind = false;
    while (multi_next(&r, &part)) {
        *read_kind = part.asked->in_multi_read;
        count++;
    }
    return count;
}

int set_watches_read(const struct opcode_info *op, struct bytes body, struct set_watches *out)
{
    struct jute_reader r = jute_reader_of(body.data, body.size);
    *out = (struct set_watches){.lists_count = set_watches_lists_count(op)};
    out->relative_zxid = jute_read_long(&r);
    for (int list = 0; list < out->lists_count && !r.failed; list++) {
        out->count[list] = jute_read_count(&r, 4);
        out->paths[list] = r;
        for (int32_t i = 0; i < out->count[list] && !r.failed; i++)
            (void)jute_read_bytes(&r);
        out->paths[list].end = r.p;
    }
    return r.failed ? ZK_MARSHALLINGERROR : 0;
}

int auth_packet_read(struct bytes body, struct auth_packet *out)
{
    struct jute_reader r = jute_reader_of(body.data, body.size);
    out->type = jute_read_int(&r);
    out->scheme = jute_read_bytes(&r);
    out->auth = jute_read_bytes(&r);
    return r.failed ? ZK_MARSHALLINGERROR : 0;
}
