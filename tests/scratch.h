/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/* A directory of a test's own, below $TMPDIR or /tmp. */
#ifndef SENGI_TESTS_SCRATCH_H
#define SENGI_TESTS_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/wire/check.h"

#define SCRATCH_BYTES 256

static inline void scratch_make(char path[SCRATCH_BYTES])
{
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(path, SCRATCH_BYTES, "%s/sengi-test-XXXXXX", tmp ? tmp : "/tmp");
    CHECK(n < SCRATCH_BYTES && mkdtemp(path));
}

static inline int scratch_remove_one(const char *path, const struct stat *stat, int type,
                                     struct FTW *where)
{
    (void)stat, (void)type, (void)where;
    return remove(path);
}

static inline void scratch_remove(const char *path)
{
    CHECK(nftw(path, scratch_remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

#endif
