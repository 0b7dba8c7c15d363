/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "client/wire/types.h"

const char *zk_error_text(int32_t code)
{
    switch (code) {
#define X(name, value, text) case value: return text;
        ZK_ERRORS(X)
#undef X
    default: return "unknown error";
    }
}
