/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "client/wire/opcodes.h"

#include "client/wire/check.h"

static const struct opcode_info rows[OPX_COUNT] = {
#define X(name, number, lop, shape, class, in_multi, in_multi_read) \
    [OPX_##name] = {#name, lop, number, OPX_##name, class, in_multi, in_multi_read},
    ZK_OPCODES(X)
#undef X
};

/* number - OPCODE_MIN -> row index + 1; 0 = no such opcode. */
static const uint8_t index_of[OPCODE_MAX - OPCODE_MIN + 1] = {
#define X(name, number, lop, shape, class, in_multi, in_multi_read) \
    [number - OPCODE_MIN] = OPX_##name + 1,
    ZK_OPCODES(X)
#undef X
};

static_assert(OPX_COUNT < 255, "row index + 1 fits a byte");

const struct opcode_info *opcode_find(int32_t number)
{
    if (number < OPCODE_MIN || number > OPCODE_MAX)
        return NULL;
    uint8_t i = index_of[number - OPCODE_MIN];
    return i ? &rows[i - 1] : NULL;
}

const struct opcode_info *opcode_at(enum opcode_index index)
{
    CHECK((unsigned)index < OPX_COUNT);
    return &rows[index];
}
