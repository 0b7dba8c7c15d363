/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What crosses between a data core and the control core.
 *
 *   data core --struct op--> control      a request that only control may serve, its bytes copied
 *   control --struct batch--> data core   published txns and finished ops in zxid order, one
 *                                         pointer per publication
 *
 * An op is allocated by the side that starts it and freed by the data core that receives it back
 * (ops of the control core's own making that never reach a core are freed by the control core). A
 * batch is shared by all cores: each walks txns, which are read-only, and its own list of ops; the
 * control core frees it when every core has drained past it.
 */
#ifndef SENGI_DATAPLANE_OP_H
#define SENGI_DATAPLANE_OP_H

#include "client/wire/opcodes.h"
#include "tree/store.h"

struct auth_set;
struct conn;
struct session;

enum op_kind {
    /* data core -> control, and back as the same op */
    OP_REQUEST, /* a client's write or control-core read; back: reply err/answer at zxid */
    OP_CONNECT, /* handshake; back: session and timeout, or session == NULL for "refused" */
    OP_WORD,    /* four-letter word that needs more than its own core knows; back: text in answer */
    /* data core -> control only */
    OP_DETACH,  /* the connection that held a session is gone */
    OP_COLLECTED, /* a core's part of a word's text (OP_COLLECT come back) */
    /* control -> data core only */
    OP_CLOSE,   /* close the connection without a word */
    OP_COLLECT, /* append this core's part of a word's text to answer */
    OP_STOP,    /* flush and leave the loop */
    /* control core's own */
    OP_EXPIRE,  /* closeSession of an expired session */
    OP_REAP,    /* deleteContainer from the reaper */
};

/** Replies up to this size need no allocation of their own. */
#define OP_ANSWER_INLINE_BYTES 112

struct op {
    struct op *next;
    enum op_kind kind;
    uint16_t core;  /* index of the data core that gets it back */
    bool no_reply;  /* OP_REQUEST: session unknown or closing: drop without an answer */
    bool close_after; /* OP_REQUEST: FIN behind the reply */
    struct conn *conn; /* valid while the op is in flight: a conn outlives its ops */
    struct session *session;
    session_id_t session_id;
    const struct opcode_info *info;
    int32_t xid;
    int32_t err;
    zxid_t zxid;           /* stamp of the answer */
    int32_t timeout_ms;    /* OP_CONNECT: asked, then negotiated */
    uint8_t passwd[PASSWD_BYTES];
    uint64_t start_us;     /* when the request was read */
    struct auth_set *auth; /* held by the op */
    uint32_t answer_size;
    uint32_t body_size;
    uint8_t *answer;       /* answer_inline, or owned by the op */
    uint8_t answer_inline[OP_ANSWER_INLINE_BYTES];
    uint8_t body[];        /* the request record, body_size bytes */
};

/** A new op with room for body_size bytes. NULL: out of memory. */
struct op *op_new(enum op_kind kind, uint32_t body_size);
/** Free an op and what it holds. */
void op_free(struct op *op);
/** Set the answer to a copy of bytes. False: out of memory, no answer. */
bool op_answer(struct op *op, const uint8_t *bytes, size_t size);

/** Ops in order of arrival. */
struct op_list {
    struct op *head, **tail;
    uint32_t count;
};
static inline void op_list_init(struct op_list *list)
{
    list->head = NULL;
    list->tail = &list->head;
    list->count = 0;
}
static inline void op_list_push(struct op_list *list, struct op *op)
{
    op->next = NULL;
    *list->tail = op;
    list->tail = &op->next;
    list->count++;
}
static inline void op_list_push_front(struct op_list *list, struct op *op)
{
    op->next = list->head;
    if (!list->head)
        list->tail = &op->next;
    list->head = op;
    list->count++;
}
static inline struct op *op_list_pop(struct op_list *list)
{
    struct op *op = list->head;
    if (!op)
        return NULL;
    list->head = op->next;
    if (!list->head)
        list->tail = &list->head;
    list->count--;
    op->next = NULL;
    return op;
}

struct batch {
    struct batch *next;    /* control's list of batches not yet drained by all */
    uint64_t sequence;     /* 1, 2, 3, ... */
    zxid_t zxid;           /* a core may drain it once visible_zxid >= zxid */
    struct tree_txn *txns; /* zxid order */
    struct op_list ops[];  /* one list per data core, zxid order */
};

#endif
