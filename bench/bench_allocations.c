/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Row read-allocations: heap calls and locks within the read path, counted, not argued.
 *
 * This program defines malloc and its kin and the pthread locks itself: every call in the process,
 * from any library, passes here and is counted while `counting` is set. Memory comes from
 * jemalloc's own entry points. As a proof that the counters work, a turn that must allocate is
 * counted first.
 */
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <jemalloc/jemalloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/inprocess.h"
#include "bench/znodes.h"
#include "client/wire/check.h"

#define ZNODES 10000
#define DATA_BYTES 100
#define CONNECTIONS 64

static __thread bool counting;
static uint64_t allocations, frees, locks;

void *malloc(size_t n)
{
    allocations += counting;
    return mallocx(n ? n : 1, 0);
}

void *calloc(size_t count, size_t n)
{
    size_t bytes;
    allocations += counting;
    if (__builtin_mul_overflow(count, n, &bytes))
        return NULL;
    return mallocx(bytes ? bytes : 1, MALLOCX_ZERO);
}

void *realloc(void *p, size_t n)
{
    allocations += counting;
    return p ? rallocx(p, n ? n : 1, 0) : mallocx(n ? n : 1, 0);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    allocations += counting;
    return mallocx(n ? n : 1, MALLOCX_ALIGN(alignment));
}

int posix_memalign(void **out, size_t alignment, size_t n)
{
    allocations += counting;
    *out = mallocx(n ? n : 1, MALLOCX_ALIGN(alignment));
    return *out ? 0 : ENOMEM;
}

void free(void *p)
{
    frees += counting;
    if (p)
        dallocx(p, 0);
}

static void *next_of(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    CHECK(f != NULL);
    return f;
}

int pthread_mutex_lock(pthread_mutex_t *m)
{
    static int (*next)(pthread_mutex_t *);
    if (!next)
        *(void **)&next = next_of("pthread_mutex_lock");
    locks += counting;
    return next(m);
}

int pthread_mutex_trylock(pthread_mutex_t *m)
{
    static int (*next)(pthread_mutex_t *);
    if (!next)
        *(void **)&next = next_of("pthread_mutex_trylock");
    locks += counting;
    return next(m);
}

int pthread_rwlock_rdlock(pthread_rwlock_t *l)
{
    static int (*next)(pthread_rwlock_t *);
    if (!next)
        *(void **)&next = next_of("pthread_rwlock_rdlock");
    locks += counting;
    return next(l);
}

int pthread_rwlock_wrlock(pthread_rwlock_t *l)
{
    static int (*next)(pthread_rwlock_t *);
    if (!next)
        *(void **)&next = next_of("pthread_rwlock_wrlock");
    locks += counting;
    return next(l);
}

int pthread_spin_lock(pthread_spinlock_t *l)
{
    static int (*next)(pthread_spinlock_t *);
    if (!next)
        *(void **)&next = next_of("pthread_spin_lock");
    locks += counting;
    return next(l);
}

/* The counters count: one of each, through volatile so that no compiler removes it. */
static void prove_counters(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    void *(*volatile allocate)(size_t) = malloc;
    counting = true;
    free(allocate(10));
    CHECK(allocations == 1 && frees == 1);
    locks = 0; /* those of the allocator itself */
    pthread_mutex_lock(&mutex);
    counting = false;
    pthread_mutex_unlock(&mutex);
    CHECK(locks == 1);
    allocations = frees = locks = 0;
}

int main(int argc, char **argv)
{
    uint64_t turns = argc > 1 ? znodes_count_argument(argv[1], 1, 100000000) : 20000;
    struct inprocess *p = inprocess_create(CONNECTIONS, ZNODES, DATA_BYTES);
    prove_counters();
    /* Pools fill once; what counts is the path after that. */
    inprocess_prepare(p, CONNECTIONS, 16);
    counting = true;
    inprocess_turn(p);
    counting = false;
    uint64_t first = allocations + frees + locks;
    allocations = frees = locks = 0;
    for (uint64_t i = 0; i < turns; i++) {
        inprocess_prepare(p, CONNECTIONS, i % 2 ? 1 : 16);
        counting = true;
        inprocess_turn(p);
        counting = false;
    }
    uint64_t reads = inprocess_replies(p);
    printf("%" PRIu64 " reads; the first turn made %" PRIu64 " such calls to fill its pools\n",
           reads, first);
    printf("{\"reads\":%" PRIu64 ",\"allocations\":%" PRIu64 ",\"frees\":%" PRIu64
           ",\"locks\":%" PRIu64 ",\"per_read\":%.9f}\n",
           reads, allocations, frees, locks, (double)(allocations + frees + locks) / (double)reads);
    return 0;
}
