# SPDX-License-Identifier: Apache-2.0
# Copyright the Sengi authors
"""Reads a whole tree over the wire, as the super user: path -> {data, stat, acl}."""
import wire as w


def super_session(address, timeout_ms=30000):
    c = w.session(address, timeout_ms)
    reply = c.call(w.AUTH, w.auth('digest', 'super:admin'), xid=-4)
    assert reply.err == 0, reply
    return c


def node(conn, path):
    """One node, or None if it went in between."""
    for op in (w.GETDATA, w.GETACL, w.GETCHILDREN):
        conn.send(op, w.path_watch(path) if op != w.GETACL else w.buf(path))
    data, acl, children = conn.recv(), conn.recv(), conn.recv()
    if data.err or acl.err or children.err:
        assert w.NONODE in (data.err, acl.err, children.err), (path, data, acl, children)
        return None, []
    r = data.reader()
    value, stat = r.buf(), r.stat()
    return {'data': value, 'stat': dict(zip(w.Stat.NAMES, stat)), 'acl': acl.reader().acl()}, \
        children.reader().strings()


def tree(address, root='/'):
    conn = super_session(address)
    out, todo = {}, [root]
    while todo:
        path = todo.pop()
        found, children = node(conn, path)
        if found is None:
            continue
        out[path] = found
        todo += [path.rstrip('/') + '/' + c.decode() for c in children]
    conn.end_session()
    return out


def differences(want, got, ignore=()):
    """Readable differences of two trees; ignore: paths."""
    out = []
    for path in sorted(set(want) | set(got)):
        if path in ignore:
            continue
        if path not in got:
            out.append('%s is missing' % path)
        elif path not in want:
            out.append('%s should not be there' % path)
        else:
            for part in ('data', 'stat', 'acl'):
                if want[path][part] != got[path][part]:
                    out.append('%s %s: want %r, got %r' % (path, part, want[path][part], got[path][part]))
    return out


def digests(answer):
    """The four-letter word hash: {zxid: digest}"""
    out = {}
    for line in answer.decode().strip().split('\n'):
        if ':' in line:
            zxid, digest = line.split(': ')
            out[int(zxid, 16)] = int(digest)
    return out
