/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The uncompressed bytes of a snapshot file, plain or gzip, with their running Adler-32.
 *
 * Is: a stream, one direction, memory fixed. Is not: a parser (snapshot_read.c).
 * Context: one thread per stream, may block.
 */
#ifndef SENGI_PERSIST_SNAPSHOT_INPUT_H
#define SENGI_PERSIST_SNAPSHOT_INPUT_H

#include "persist/directory.h"
#include "persist/storage.h"

struct snapshot_input;

/** Owned by the caller. 0; PERSIST_EREFUSED snappy; PERSIST_ENOMEM; a storage error. */
int snapshot_input_open(struct snapshot_input **out, struct storage s, const char *dir,
                        const char *name);

/** Exactly n bytes. 0; PERSIST_EDAMAGE at the end of the stream or for bytes that do not inflate.
 */
int snapshot_input_read(struct snapshot_input *in, void *data, size_t n);

/** Up to n bytes, fewer only at the end of the stream; or a negative PERSIST_*. Not added to the
 * sum. */
int64_t snapshot_input_rest(struct snapshot_input *in, void *data, size_t n);

/** Adler-32 of all bytes that snapshot_input_read() and _add() have seen. */
uint32_t snapshot_input_sum(const struct snapshot_input *in);

/** Count bytes got from snapshot_input_rest() into the sum after all. */
void snapshot_input_add(struct snapshot_input *in, const void *data, size_t n);

/** Uncompressed bytes taken so far: the place to name in a report. */
uint64_t snapshot_input_offset(const struct snapshot_input *in);

/** NULL is allowed. */
void snapshot_input_close(struct snapshot_input *in);

#endif
