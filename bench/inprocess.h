/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The server's read path without a network: a data core with the server's own connection code on a
 * backend that takes frames from memory and drops replies.
 *
 *   getData frame -> conn_input -> decode -> burst -> index -> version -> reply in the output chunk
 * -> dropped
 *
 * One turn is what kernel_turn() does between recv and send. Single thread.
 */
#ifndef SENGI_BENCH_INPROCESS_H
#define SENGI_BENCH_INPROCESS_H

#include "client/wire/types.h"

struct inprocess;

/** A core with `connections` sessions over a tree of `znodes` znodes of data_bytes. Exits on
 * failure. */
struct inprocess *inprocess_create(uint32_t connections, uint64_t znodes, uint32_t data_bytes);

/**
 * Prepare the next turn: on each of the first `connections` connections `depth` getData requests of
 * random znodes, in one piece as recv would give them.
 */
void inprocess_prepare(struct inprocess *p, uint32_t connections, uint32_t depth);

/** One turn over what was prepared. Not inlined: tools switch their counters on and off by its
 * name. */
__attribute__((noinline)) void inprocess_turn(struct inprocess *p);

/** Replies the backend has seen since creation, each checked: frame length, xid, no error, data. */
uint64_t inprocess_replies(const struct inprocess *p);

void inprocess_destroy(struct inprocess *p);

/* --- parts that other harnesses use --- */

struct conn;
struct core;
struct session;
struct store;

/** The shared struct of a server with default configuration and no control core. Exits on failure.
 */
struct server *inprocess_server(struct store *store, unsigned cores);

/**
 * What the control core's answer to a handshake does to a new connection; its ConnectResponse is in
 * the output.
 *
 * @return the session, the caller's to free after the connection.
 */
struct session *inprocess_establish(struct core *core, struct conn *conn, session_id_t id);

#endif
