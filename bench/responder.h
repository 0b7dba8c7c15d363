/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The null server: canned replies for all three protocols on one port, in one thread, as fast as
 * the kernel allows.
 *
 * It proves what the load generator can do: a rate measured against a real server is that server's
 * only if the same generator is clearly faster here. It finds the frames of requests, looks nothing
 * up and keeps no state but the connection: get, exists and set always succeed with a value of the
 * configured size. It knows no children and no watches.
 */
#ifndef SENGI_BENCH_RESPONDER_H
#define SENGI_BENCH_RESPONDER_H

#include <stdint.h>
#include <sys/socket.h>

/**
 * Serve until load_stop.
 *
 * @param listener  A listening socket; closed on return.
 * @return 0, or -1 if the loop could not be set up.
 */
int responder_run(int listener, uint32_t value_bytes);

/** A listening TCP socket on 127.0.0.1; port 0 picks one. -1 on error. */
int responder_listen(uint16_t port);

#endif
