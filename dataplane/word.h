/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What data cores and the control core share about four-letter words that concern all cores.
 */
#ifndef SENGI_DATAPLANE_WORD_H
#define SENGI_DATAPLANE_WORD_H

#include "dataplane/words.h"

/** Text that one word may produce; what does not fit is left out. */
#define WORD_TEXT_BYTES_MAX (64u << 20)

/** Body of an OP_COLLECT: what one core counted. */
struct word_part {
    uint64_t connections, paths, watches;
};

#endif
