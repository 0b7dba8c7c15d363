/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The one list of opcodes: it drives decoding, routing, checking, metrics and names.
 *
 * Columns: NAME, number, `lop` tag of the `cons` word, request shape (decoder, records.h), class
 * (who serves it), allowed inside multi as a write, allowed inside multiRead.  Source:
 * client-protocol.md section 5.
 *
 * What is not in the list is answered -6 and the connection closed. `check` (13) exists only inside
 * multi (ZOOKEEPER-2623); deleteContainer (20) and createSession (-10) are made by the server only
 * and refused from clients.
 */
#ifndef SENGI_CLIENT_WIRE_OPCODES_H
#define SENGI_CLIENT_WIRE_OPCODES_H

#include "client/wire/types.h"

/* Class: who serves the request.
 *   READ     the data core that received it, from the tree at its snapshot
 *   WATCH    the same core, from its own watch tables
 *   WRITE    the control core: check, log, commit
 *   CONTROL  the control core, without a txn (sync, getEphemerals, ...)
 *   CONN     the connection itself (ping, auth, sasl)
 *   INTERNAL never accepted from a client at top level */
enum opcode_class {
    CLASS_READ,
    CLASS_WATCH,
    CLASS_WRITE,
    CLASS_CONTROL,
    CLASS_CONN,
    CLASS_INTERNAL
};

#define ZK_OPCODES(X)                                                    \
    X(CREATE, 1, "CREA", create, CLASS_WRITE, 1, 0)                      \
    X(DELETE, 2, "DELE", path_version, CLASS_WRITE, 1, 0)                \
    X(EXISTS, 3, "EXIS", path_watch, CLASS_READ, 0, 0)                   \
    X(GET_DATA, 4, "GETD", path_watch, CLASS_READ, 0, 1)                 \
    X(SET_DATA, 5, "SETD", set_data, CLASS_WRITE, 1, 0)                  \
    X(GET_ACL, 6, "GETA", path, CLASS_READ, 0, 0)                        \
    X(SET_ACL, 7, "SETA", set_acl, CLASS_WRITE, 0, 0)                    \
    X(GET_CHILDREN, 8, "GETC", path_watch, CLASS_READ, 0, 1)             \
    X(SYNC, 9, "SYNC", path, CLASS_CONTROL, 0, 0)                        \
    X(PING, 11, "PING", none, CLASS_CONN, 0, 0)                          \
    X(GET_CHILDREN2, 12, "GETC", path_watch, CLASS_READ, 0, 0)           \
    X(CHECK, 13, "CHEC", path_version, CLASS_INTERNAL, 1, 0)             \
    X(MULTI, 14, "MULT", multi, CLASS_WRITE, 0, 0)                       \
    X(CREATE2, 15, "CREA", create, CLASS_WRITE, 1, 0)                    \
    X(RECONFIG, 16, "RECO", reconfig, CLASS_WRITE, 0, 0)                 \
    X(CHECK_WATCHES, 17, "CHKW", path_type, CLASS_WATCH, 0, 0)           \
    X(REMOVE_WATCHES, 18, "REMW", path_type, CLASS_WATCH, 0, 0)          \
    X(CREATE_CONTAINER, 19, "CREA", create, CLASS_WRITE, 1, 0)           \
    X(DELETE_CONTAINER, 20, "DELE", path, CLASS_INTERNAL, 0, 0)          \
    X(CREATE_TTL, 21, "CREA", create_ttl, CLASS_WRITE, 1, 0)             \
    X(MULTI_READ, 22, "MLTR", multi, CLASS_READ, 0, 0)                   \
    X(AUTH, 100, "AUTH", auth, CLASS_CONN, 0, 0)                         \
    X(SET_WATCHES, 101, "SETW", set_watches, CLASS_WATCH, 0, 0)          \
    X(SASL, 102, "SASL", token, CLASS_CONN, 0, 0)                        \
    X(GET_EPHEMERALS, 103, "GETE", path, CLASS_CONTROL, 0, 0)            \
    X(GET_ALL_CHILDREN_NUMBER, 104, "GETACN", path, CLASS_CONTROL, 0, 0) \
    X(SET_WATCHES2, 105, "STW2", set_watches, CLASS_WATCH, 0, 0)         \
    X(ADD_WATCH, 106, "ADDW", path_type, CLASS_WATCH, 0, 0)              \
    X(WHO_AM_I, 107, "HOMI", none, CLASS_READ, 0, 0)                     \
    X(CREATE_SESSION, -10, "SESS", create_session, CLASS_INTERNAL, 0, 0) \
    X(CLOSE_SESSION, -11, "CLOS", none, CLASS_WRITE, 0, 0)               \
    X(ERROR, -1, "ERRO", none, CLASS_INTERNAL, 0, 0)

enum zk_opcode {
#define X(name, number, lop, shape, class, in_multi, in_multi_read) OP_##name = number,
    ZK_OPCODES(X)
#undef X
};

/* Dense index of an opcode, for tables and metrics. */
enum opcode_index {
#define X(name, number, lop, shape, class, in_multi, in_multi_read) OPX_##name,
    ZK_OPCODES(X)
#undef X
    OPX_COUNT
};

struct opcode_info {
    const char *name; /* "GET_DATA" */
    const char *lop;  /* tag shown by `cons` */
    int32_t number;
    enum opcode_index index;
    enum opcode_class class;
    bool in_multi, in_multi_read;
};

#define OPCODE_MIN (-11)
#define OPCODE_MAX 107

/** Row of the list, or NULL for a number that is not in it. Any thread. */
const struct opcode_info *opcode_find(int32_t number);

/** Row by dense index, 0 <= index < OPX_COUNT. Any thread. */
const struct opcode_info *opcode_at(enum opcode_index index);

#endif
