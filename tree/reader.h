/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What a thread that reads the tree owes: QSBR of liburcu, in the words of this project.
 *
 *   reader_register      once per thread, before its first read; the thread is online then
 *   reader_quiescent     bottom of every loop turn: no pointer into the tree is held (versions,
 *                        data, names, ACL lists)
 *   reader_offline       before the thread sleeps or blocks; reader_online when it is back
 *   reader_unregister    before the thread ends
 *
 * ThreadSanitizer cannot see into liburcu, so under it these functions also announce the order that
 * a grace period gives: everything a reader did before a quiescent state comes before everything
 * freed after the grace period. That, not variation of behaviour, is what the #ifdef below is for.
 */
#ifndef SENGI_TREE_READER_H
#define SENGI_TREE_READER_H

#include <urcu/urcu-qsbr.h>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
extern char reader_grace; /* stands for all grace periods */
#define READER_RELEASE(address) __tsan_release(address)
#define READER_ACQUIRE(address) __tsan_acquire(address)
#else
#define READER_RELEASE(address) ((void)0)
#define READER_ACQUIRE(address) ((void)0)
#endif

static inline void reader_register(void)
{
    urcu_qsbr_register_thread();
}

static inline void reader_quiescent(void)
{
    READER_RELEASE(&reader_grace);
    urcu_qsbr_quiescent_state();
}

static inline void reader_offline(void)
{
    READER_RELEASE(&reader_grace);
    urcu_qsbr_thread_offline();
}

static inline void reader_online(void)
{
    urcu_qsbr_thread_online();
}

static inline void reader_unregister(void)
{
    READER_RELEASE(&reader_grace);
    urcu_qsbr_unregister_thread();
}

#endif
