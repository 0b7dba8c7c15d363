/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tree/value.h"

#include <stdlib.h>

#include "client/wire/check.h"

struct value *value_new(struct bytes data)
{
    CHECK(data.data);
    struct value *value = malloc(sizeof *value + data.size);
    if (!value)
        return NULL;
    atomic_init(&value->holds, 1);
    value->size = data.size;
    memcpy(value->bytes, data.data, data.size);
    return value;
}

void value_drop(struct value *value)
{
    /* H1 */
    uint32_t before = atomic_fetch_sub_explicit(&value->holds, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before == 1)
        free(value);
}
