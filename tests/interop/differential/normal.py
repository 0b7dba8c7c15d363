# SPDX-License-Identifier: Apache-2.0
# Copyright the Sengi authors
"""Decodes replies completely and replaces what may differ between two correct servers.

Replaced: session ids (by a name), times (by whether they fit the zxid that made them), passwords.
Sorted: children, ephemerals. Everything else stays as it came, and bytes left over or
missing stay visible, so two replies are equal here exactly when their bytes are equal but for these.
"""
import time

import wire as w


class Names:
    """What one server's run maps to names: its session ids, and the time of each zxid."""

    def __init__(self):
        self.sessions = {0: 'none'}
        self.time_of = {}

    def session(self, real, name=None):
        if name is not None:
            self.sessions[real] = name
        return self.sessions.get(real, 'unknown %#x' % real)

    def when(self, zxid, ms):
        """'fits' if every node made by this zxid shows the same, plausible time."""
        if zxid == 0:
            return ms
        known = self.time_of.setdefault(zxid, ms)
        if known != ms:
            return 'zxid %#x had time %d, now %d' % (zxid, known, ms)
        return 'fits' if abs(ms / 1000 - time.time()) < 600 else 'far off: %d' % ms

    def stat(self, s):
        return ('stat', s.czxid, s.mzxid, self.when(s.czxid, s.ctime), self.when(s.mzxid, s.mtime),
                s.version, s.cversion, s.aversion, self.session(s.owner), s.data_length,
                s.num_children, s.pzxid)


def ordered(items):
    return None if items is None else sorted(items, key=lambda i: (i is None, i))


def multi_results(names, r):
    out = []
    while True:
        kind, done, err = r.i32(), r.flag(), r.i32()
        if done:
            out.append(('end', kind, done, err))
            return out
        if kind == w.CREATE:
            body = r.buf()
        elif kind in (w.CREATE2, w.CREATECONTAINER, w.CREATETTL):
            body = (r.buf(), names.stat(r.stat()))
        elif kind == w.SETDATA:
            body = names.stat(r.stat())
        elif kind == w.GETCHILDREN:
            body = ordered(r.strings())
        elif kind == w.GETDATA:
            body = (r.buf(), names.stat(r.stat()))
        elif kind == -1:
            body = r.i32()
        else:
            body = None
        out.append((kind, err, body))


BODY = {
    w.CREATE: lambda n, r: r.buf(),
    w.CREATE2: lambda n, r: (r.buf(), n.stat(r.stat())),
    w.CREATECONTAINER: lambda n, r: (r.buf(), n.stat(r.stat())),
    w.CREATETTL: lambda n, r: (r.buf(), n.stat(r.stat())),
    w.EXISTS: lambda n, r: n.stat(r.stat()),
    w.SETDATA: lambda n, r: n.stat(r.stat()),
    w.SETACL: lambda n, r: n.stat(r.stat()),
    w.GETDATA: lambda n, r: (r.buf(), n.stat(r.stat())),
    w.RECONFIG: lambda n, r: (r.buf(), n.stat(r.stat())),
    w.GETACL: lambda n, r: (r.acl(), n.stat(r.stat())),
    w.GETCHILDREN: lambda n, r: ordered(r.strings()),
    w.GETCHILDREN2: lambda n, r: (ordered(r.strings()), n.stat(r.stat())),
    w.GETEPHEMERALS: lambda n, r: ordered(r.strings()),
    w.GETALLCHILDRENNUMBER: lambda n, r: r.i32(),
    w.SYNC: lambda n, r: r.buf(),
    w.ADDWATCH: lambda n, r: r.i32(),
    w.SASL: lambda n, r: r.buf(),
    w.WHOAMI: lambda n, r: r.vec(lambda: (r.buf(), r.buf())),
    w.MULTI: multi_results,
    w.MULTIREAD: multi_results,
}


def reply(names, op, rep):
    """('reply', xid, zxid, err, body, left-over bytes)"""
    # A failed request has no body, but for a multiRead that broke off: it carries the results so far.
    if op not in BODY or (rep.err != 0 and not (op == w.MULTIREAD and rep.body)):
        return ('reply', rep.xid, rep.zxid, rep.err, None, rep.body)
    r = rep.reader()
    try:
        body = BODY[op](names, r)
    except w.Short:
        return ('reply', rep.xid, rep.zxid, rep.err, 'SHORT', rep.body)
    return ('reply', rep.xid, rep.zxid, rep.err, body, r.rest())


def event(rep):
    """('event', type, state, path, left-over); its zxid is judged apart, 3.8 does not send one."""
    r = rep.reader()
    try:
        return ('event', r.i32(), r.i32(), r.buf(), r.rest(), rep.err)
    except w.Short:
        return ('event', 'SHORT', rep.body)


def connect_response(names, frame, name):
    """('connected', protocol, timeout, session, password, rest)"""
    r = w.Reader(frame)
    try:
        protocol, timeout, sid, passwd, rest = r.i32(), r.i32(), r.i64(), r.buf(), r.rest()
    except w.Short:
        return ('connected', 'SHORT', frame)
    if sid:
        known = names.sessions.get(sid)
        label = known if known is not None else names.session(sid, name)
        pw = 'password of its id' if passwd == password_of(sid) else 'other password'
    else:
        label, pw = 'none', passwd
    return ('connected', protocol, timeout, label, pw, rest)


def password_of(sid):
    """ZooKeeper's fixed function of the session id (java.util.Random, 16 bytes)."""
    state = ((sid ^ 0xB3415C00) ^ 0x5DEECE66D) & ((1 << 48) - 1)
    out = b''
    for _ in range(4):
        state = (state * 0x5DEECE66D + 0xB) & ((1 << 48) - 1)
        out += (state >> 16).to_bytes(4, 'little')
    return out
