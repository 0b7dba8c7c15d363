/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/net/flow.h"

#include "client/wire/check.h"

#include <stdlib.h>

int
flow_init(struct flow_table *table, uint32_t entries_max)
{
    uint64_t slots = 64;
    while (slots < 2 * (uint64_t)entries_max)
        slots *= 2;
    table->slots = malloc(slots * sizeof *table->slots);
    if (!table->slots)
        return -1;
    memset(table->slots, 0xff, slots * sizeof *table->slots);
    table->mask = (uint32_t)(slots - 1);
    table->count = 0;
    return 0;
}

void
flow_destroy(struct flow_table *table)
{
    free(table->slots);
    table->slots = NULL;
}

void
flow_insert(struct flow_table *table, uint32_t hash, uint32_t id)
{
    CHECK(id != FLOW_NONE && table->count <= table->mask / 2);
    uint32_t i = hash & table->mask;
    while (table->slots[i].id != FLOW_NONE)
        i = (i + 1) & table->mask;
    table->slots[i] = (struct flow_slot){hash, id};
    table->count++;
}

void
flow_remove(struct flow_table *table, uint32_t hash, uint32_t id)
{
    uint32_t hole = hash & table->mask;
    while (table->slots[hole].id != id || table->slots[hole].hash != hash) {
        CHECK(table->slots[hole].id != FLOW_NONE);
        hole = (hole + 1) & table->mask;
    }
    for (uint32_t i = (hole + 1) & table->mask; table->slots[i].id != FLOW_NONE;
         i = (i + 1) & table->mask) {
        /* May move back only if the hole is not before its home slot. */
        uint32_t from_home = (i - table->slots[i].hash) & table->mask;
        uint32_t from_hole = (i - hole) & table->mask;
        if (from_home >= from_hole) {
            table->slots[hole] = table->slots[i];
            hole = i;
        }
    }
    table->slots[hole].id = FLOW_NONE;
    table->count--;
}
