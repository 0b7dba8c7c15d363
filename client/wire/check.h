/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Asserts that stay on in release. For our own bugs only, never for bytes from a network, disk or
 * command line.
 *
 * A violated CHECK prints place and expression to stderr and aborts before anything is answered.
 */
#ifndef SENGI_CLIENT_WIRE_CHECK_H
#define SENGI_CLIENT_WIRE_CHECK_H

#include <assert.h>

_Noreturn void check_failed(const char *file, int line, const char *expression);

#define CHECK(expression)                                  \
    do {                                                   \
        if (__builtin_expect(!(expression), 0))            \
            check_failed(__FILE__, __LINE__, #expression); \
    } while (0)

/* Costly invariants: compiled in for tests and simulation with -DSENGI_CHECK_SLOW. */
#ifdef SENGI_CHECK_SLOW
#define CHECK_SLOW(expression) CHECK(expression)
#else
#define CHECK_SLOW(expression) ((void)0)
#endif

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#endif
