/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Row znode-bytes: heap bytes per znode beyond its name and data.
 *
 * What jemalloc says is allocated (rounded up to its size classes) after building minus before,
 * with the thread cache flushed; resident memory beside it. The znodes' parents are part of the
 * bill.
 */
#include <inttypes.h>
#include <jemalloc/jemalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/znodes.h"
#include "client/wire/check.h"

#define DATA_BYTES 100

static size_t heap_statistic(const char *name)
{
    uint64_t epoch = 1;
    size_t value = 0, n = sizeof value;
    (void)mallctl("thread.tcache.flush", NULL, NULL, NULL,
                  0); /* no thread cache: nothing to flush */
    CHECK(mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) == 0);
    CHECK(mallctl(name, &value, &n, NULL, 0) == 0);
    return value;
}

static size_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    CHECK(f && fscanf(f, "%*u %lu", &pages) == 1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? znodes_count_argument(argv[1], 1, 100000000) : 10000000;
    size_t allocated = heap_statistic("stats.allocated"), active = heap_statistic("stats.active");
    size_t resident = resident_bytes();
    struct store *s = znodes_build(count, DATA_BYTES);
    double n = (double)count;
    double payload = ZNODES_NAME_BYTES + DATA_BYTES;
    double allocated_each = (double)(heap_statistic("stats.allocated") - allocated) / n - payload;
    double active_each = (double)(heap_statistic("stats.active") - active) / n - payload;
    double resident_each = (double)(resident_bytes() - resident) / n - payload;
    struct store_memory m;
    store_memory(s, &m);
    printf("%" PRIu64 " znodes of %d bytes; per znode, name and data included:\n", count,
           DATA_BYTES);
    printf("  index %.1f  versions %.1f  children %.1f  data outside %.1f  ACLs %.1f\n",
           (double)m.index_bytes / n, (double)m.version_bytes / n, (double)m.children_bytes / n,
           (double)m.data_bytes / n, (double)m.acl_bytes / n);
    printf("beyond name and data: allocated %.1f, active pages %.1f, resident %.1f\n",
           allocated_each, active_each, resident_each);
    printf("{\"znodes\":%" PRIu64 ",\"allocated\":%.2f,\"active\":%.2f,\"resident\":%.2f}\n", count,
           allocated_each, active_each, resident_each);
    return 0; /* the kernel takes the tree back faster than we could */
}
