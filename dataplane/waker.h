/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * How a sleeping loop is woken: an eventfd, written only when the loop said that it sleeps.
 *
 *      sleeper                                   waker
 *      exchange(sleeping, 1)   (K0)              push into a ring
 *      look at the rings once more               exchange(sleeping, 0)   (K1): was 1 -> write(fd)
 *      epoll_wait(fd, ...)
 *
 * K0 and K1 are read-modify-writes of one variable, so one comes first. K1 first: K0 reads from it
 *    and the sleeper's
 * second look sees the push. K0 first: K1 sees 1 and writes. Without this a push between look and
 * sleep would be lost.
 */
#ifndef SENGI_DATAPLANE_WAKER_H
#define SENGI_DATAPLANE_WAKER_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

struct waker {
    alignas(64) _Atomic uint32_t sleeping;
    int fd; /* eventfd, non-blocking; -1: the owner polls and needs no waking */
};

/** Owner: about to sleep. Look at everything that could have been pushed once more after this. */
static inline void waker_prepare(struct waker *w)
{
    (void)atomic_exchange_explicit(&w->sleeping, 1, memory_order_acq_rel); /* K0 */
}

/** Owner: awake again. */
static inline void waker_done(struct waker *w)
{
    atomic_store_explicit(&w->sleeping, 0, memory_order_relaxed);
}

/** Any thread, after a push. */
static inline void waker_wake(struct waker *w)
{
    if (w->fd >= 0 && atomic_exchange_explicit(&w->sleeping, 0, memory_order_acq_rel)) { /* K1 */
        uint64_t one = 1;
        (void)!write(w->fd, &one, sizeof one); /* fails only when the counter is full: awake
                                                * anyway */
    }
}

/** Owner: take the event off the descriptor. */
static inline void waker_drain(struct waker *w)
{
    uint64_t count;
    (void)!read(w->fd, &count, sizeof count);
}

#endif
