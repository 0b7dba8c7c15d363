/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/ring.h"

#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"

int ring_init(struct ring *ring, uint32_t capacity)
{
    CHECK(capacity > 0 && capacity <= RING_CAPACITY_MAX);
    CHECK((uintptr_t)ring % RING_LINE_BYTES == 0);
    memset(ring, 0, sizeof(*ring));
    uint32_t slots = 1;
    while (slots < capacity)
        slots *= 2;
    /* Whole lines, so that no other object shares one with the slots. */
    size_t bytes =
        (slots * sizeof(void *) + RING_LINE_BYTES - 1) / RING_LINE_BYTES * RING_LINE_BYTES;
    ring->slots = aligned_alloc(RING_LINE_BYTES, bytes);
    if (!ring->slots)
        return -1;
    memset(ring->slots, 0, bytes);
    ring->mask = slots - 1;
    return 0;
}

void ring_free(struct ring *ring)
{
    free(ring->slots);
    memset(ring, 0, sizeof(*ring));
}
