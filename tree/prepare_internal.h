/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * One write being prepared, and the operations it is made of (prepare.c, prepare_create.c,
 * prepare_multi.c).
 *
 * An operation checks in the order of semantics.md section 4, appends its txn body to the entry,
 * changes the tree, appends its reply. It returns 0, a ZK_* code (the txn is to be aborted; entry
 * and reply are cut back) or TREE_ENOMEM.
 */
#ifndef SENGI_TREE_PREPARE_INTERNAL_H
#define SENGI_TREE_PREPARE_INTERNAL_H

#include "tree/tree_internal.h"

struct write {
    struct tree *t;
    const struct tree_request *rq;
    struct buffer *entry, *reply;
    size_t entry_start, reply_start;
    bool multi; /* the operation is part of a multi */
    bool open;  /* a txn is open: to be ended or aborted */
};

/** Room for n bytes of txn body. @return 0; ZK_BADARGUMENTS when the entry would exceed its limit
 * (G5); TREE_ENOMEM. */
int write_room(struct write *w, size_t n, struct jute_writer *out);
/** Cut entry and reply back to an earlier size. */
void write_cut(struct write *w, size_t entry_size, size_t reply_size);
/** Header of an operation's result: nothing for a single request, a MultiHeader inside a multi. */
void write_result(struct write *w, int32_t type);
/** The 68 bytes of a Stat. */
void write_stat(struct write *w, struct tree_key key);

int prepare_create(struct write *w, const struct opcode_info *op, const struct request *q);
int prepare_delete(struct write *w, const struct request *q);
int prepare_set_data(struct write *w, const struct request *q);
int prepare_check(struct write *w, const struct request *q);
/** On a failed operation the multi itself succeeds: everything is undone and the open txn is empty
 * again. */
int prepare_multi(struct write *w, const struct request *q);

/** Type in the txn of an operation. */
int32_t prepare_txn_type(const struct write *w, const struct opcode_info *op);

#endif
