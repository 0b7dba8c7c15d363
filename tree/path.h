/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Path rules (semantics.md section 5) and the parts of a path.
 *
 * The root is "/" everywhere inside Sengi; ZooKeeper's other name for it, "", is only known at the
 * edges. Any thread.
 */
#ifndef SENGI_TREE_PATH_H
#define SENGI_TREE_PATH_H

#include "client/wire/types.h"

#define PATH_ROOT BYTES_OF("/")
#define PATH_ZOOKEEPER BYTES_OF("/zookeeper")
#define PATH_QUOTA BYTES_OF("/zookeeper/quota")
#define PATH_CONFIG BYTES_OF("/zookeeper/config")

/** All rules for a path that is to exist: create (final path), setData, setACL, check. */
bool path_valid(struct bytes path);

/** What delete and the first step of create ask: a "/" somewhere and no NUL. */
bool path_splittable(struct bytes path);

/** Everything before the last "/", "/" when that is nothing. The path has a "/". Borrowed from
 * path. */
struct bytes path_parent(struct bytes path);

/** Everything behind the last "/". The path has a "/". Borrowed from path. */
struct bytes path_name(struct bytes path);

/** "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config": can never be deleted. */
bool path_special(struct bytes path);

/** Is `path` equal to `root` or below it? */
bool path_under(struct bytes path, struct bytes root);

/** Does `path` begin with the bytes of `prefix`? */
bool path_starts(struct bytes path, struct bytes prefix);

#endif
