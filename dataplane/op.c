/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/op.h"

#include <stdlib.h>

#include "client/wire/check.h"
#include "tree/auth.h"

struct op *op_new(enum op_kind kind, uint32_t body_size)
{
    struct op *op = malloc(sizeof *op + body_size);
    if (!op)
        return NULL;
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->body_size = body_size;
    return op;
}

void op_free(struct op *op)
{
    if (op->auth)
        auth_set_drop(op->auth);
    if (op->answer != op->answer_inline)
        free(op->answer);
    free(op);
}

bool op_answer(struct op *op, const uint8_t *bytes, size_t size)
{
    CHECK(!op->answer);
    op->answer_size = 0;
    if (size == 0)
        return true;
    op->answer = size <= sizeof op->answer_inline ? op->answer_inline : malloc(size);
    if (!op->answer)
        return false;
    memcpy(op->answer, bytes, size);
    op->answer_size = (uint32_t)size;
    return true;
}
