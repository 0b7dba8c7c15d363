# SPDX-License-Identifier: Apache-2.0
# Copyright the Sengi authors
"""Generates requests from a seed: every opcode, good and bad arguments, biased to nodes that exist.

The generator follows the reference server's replies only to know which paths exist; it predicts nothing.
What it never generates, and why, is listed in AVOIDED.
"""
import zlib

import wire as w

AVOIDED = """
top-level check (13)            ends 3.8.0 for good (ZOOKEEPER-2623); tests/interop/hostile sends it
deleteContainer (20) by clients deletes without permission on 3.8.0; Sengi refuses on purpose; hostile sends it
createTTL, plain flags, ttl<0   ends 3.8.0; hostile sends it
/zookeeper/quota/zookeeper_limits  ends 3.8.0; hostile sends it
createSession (-10) by clients  accepted by 3.8.0; Sengi refuses on purpose
unparsable text in quota nodes  answers -5 to every write below on 3.8.0; hostile writes it
several watch modes on one path and connection   mixed up by 3.8.0 (fixed in 3.9.0); made against 3.9
createContainer flags 1 in a multi  makes an ephemeral on 3.8.0; made against 3.9
requests pipelined behind an unknown opcode, closeSession, auth or sasl   a race in the reference
null path in a multi            -5 for the whole request; takes a zxid that no txn gets on 3.8.0; made against 3.9
requests pipelined behind setACL    the reference checks them against the ACL before it, until it is applied
"""

WEIRD_PATHS = [None, '', '/', 'foo', '/a/', '/a//b', '//', '/..', '/a/./b', '/a/.', '/...', '/.a', '/a..',
               '/\0', '/x\0y', '/x\x01y', '/x\x1fy', '/x\x7fy', '/x\x85y', '/x\x9fy', '/x\xa0y', '/\ud7ff', '/\ue000',
               '/\uf8ff', '/\uf900', '/\uffef', '/\ufff0', '/\ufffd', '/\U0001f600', b'/\xff', b'/x\xc3',
               b'/\xed\xa0\x80', ' ', '/ ', '/a b', '/zookeeper', '/zookeeper/config', '/zookeeper/quota',
               '/zookeeper/quota/none', '/zookeeper/none', '/' + 'n' * 3000, '/ä', '/日本']

USERS = ['bob:pw', 'al:secret', 'nocolon', 'x:', ':y']
IDS = [w.digest_id(u) for u in USERS[:2]]

GOOD_ACLS = [w.OPEN_ACL] * 12 + [
    ((1, 'world', 'anyone'),),
    ((31, 'ip', '127.0.0.1'),),
    ((31, 'ip', '127.0.0.0/8'), (1, 'world', 'anyone')),
    ((31, 'ip', '10.0.0.1'), (29, 'world', 'anyone')),
    ((31, 'digest', IDS[0]), (1, 'world', 'anyone')),
    ((31, 'digest', IDS[0]), (31, 'digest', IDS[1])),
    ((31, 'digest', IDS[1]), (16, 'world', 'anyone')),
    ((6, 'world', 'anyone'), (17, 'digest', IDS[0])),
    ((31, 'auth', ''), (9, 'world', 'anyone')),
    ((31, 'auth', None),),
    ((31, 'world', 'anyone'), (31, 'world', 'anyone')),
    ((0, 'world', 'anyone'),),
    ((0x7fffffff, 'world', 'anyone'),),
]
BAD_ACLS = [None, (), ((31, 'world', 'nobody'),), ((31, 'ip', 'x'),), ((31, 'ip', '300.1.1.1'),),
            ((31, 'ip', '1.1.1.1/33'),), ((31, 'digest', 'a'),), ((31, 'digest', 'a:b:c'),), ((31, 'digest', 'a:'),),
            ((31, 'digest', ':b'),), ((31, 'digest', 'a:b:'),), ((31, None, 'x'),), ((31, 'world', None),),
            ((31, 'digest', None),), ((31, 'ip', None),), ((31, 'super', ''),), ((31, 'sasl', 'bob'),), ((31, '', ''),),
            ((31, 'nosuch', 'x'),), ((31, 'world', 'anyone'), (31, None, 'x')), ((31, 'ip', '1.2.3'),),
            ((31, 'ip', '1.2.3.4/0'),), ((31, 'ip', '1.2.3.4/x'),), ((31, 'auth', 'ignored'),)]


class Req:
    """One request: opcode, body, and for people and for known.py what it is about."""

    def __init__(self, op, body=b'', path=None, text='', xid=None, **meta):
        self.op = op
        self.body = body
        self.path = path
        self.text = text
        self.xid = xid
        self.meta = meta

    def __repr__(self):
        return '%s op=%d path=%r %s body=%s' % (self.text, self.op, self.path, self.meta, self.body.hex()[:400])


def kind_of(slot, path):
    """The only watch mode this slot uses on this path (see AVOIDED)."""
    h = zlib.crc32(repr((slot, path)).encode()) % 8
    return 'persistent' if h == 0 else 'recursive' if h == 1 else 'standard'


class Generator:
    def __init__(self, rng, quota=False, is_39=False):
        self.rng = rng
        self.quota = quota
        self.is_39 = is_39
        self.paths = ['/']
        self.known = {'/'}
        self.serial = 0

    # -- what exists ------------------------------------------------------------------------------------

    def exists_now(self, path):
        if path is not None and path not in self.known and len(path) < 200:
            self.known.add(path)
            self.paths.append(path)

    def gone_now(self, path):
        if path in self.known and path != '/':
            self.known.discard(path)
            self.paths.remove(path)

    def learn(self, req, reply):
        """Follow the reference's normalised reply."""
        if reply[0] != 'reply':
            return
        err, body = reply[3], reply[4]
        if err == 0 and req.op == w.CREATE and body is not None:
            self.exists_now(body.decode('utf-8', 'replace'))
        elif err == 0 and req.op in (w.CREATE2, w.CREATECONTAINER, w.CREATETTL):
            self.exists_now(body[0].decode('utf-8', 'replace'))
        elif err == 0 and req.op == w.DELETE:
            self.gone_now(req.path)
        elif err == w.NONODE and req.op in (w.GETDATA, w.EXISTS, w.SETDATA, w.GETCHILDREN):
            self.gone_now(req.path)
        elif err == 0 and req.op == w.MULTI:
            for op, res in zip(req.meta['ops'], body):
                if res[0] in (w.CREATE, w.CREATE2):
                    p = res[2] if res[0] == w.CREATE else res[2][0]
                    self.exists_now(p.decode('utf-8', 'replace'))
                elif res[0] == w.DELETE:
                    self.gone_now(op[2])

    # -- pieces -----------------------------------------------------------------------------------------

    def one(self, *items):
        return items[self.rng.randrange(len(items))]

    def existing(self):
        recent = len(self.paths) > 30 and self.rng.random() < 0.5
        return self.rng.choice(self.paths[-30:] if recent else self.paths)

    def fresh(self, under=None):
        parent = self.existing() if under is None else under
        while parent.count('/') > 5:
            parent = parent.rsplit('/', 1)[0] or '/'
        self.serial += 1
        name = self.one('a', 'b', 'n', 'é', 'x-') + (str(self.serial) if self.rng.random() < 0.8 else '')
        return parent.rstrip('/') + '/' + name

    def path(self):
        x = self.rng.random()
        if x < 0.68:
            return self.existing()
        if x < 0.90:
            return self.fresh()
        return self.rng.choice(WEIRD_PATHS)

    def data(self):
        x = self.rng.random()
        if x < 0.1:
            return None
        if x < 0.2:
            return b''
        if x < 0.97:
            return self.rng.randbytes(self.rng.randrange(1, 60))
        return self.rng.randbytes(self.rng.randrange(1000, 20000))

    def new_data(self, path):
        """Data for an existing node; those that the quota code parses stay parsable."""
        if path and str(path).endswith(('/zookeeper_limits', '/zookeeper_stats')):
            return b'count=%d,bytes=%d' % (self.rng.randrange(50), self.rng.randrange(5000))
        return self.data()

    def acl(self):
        return self.rng.choice(GOOD_ACLS) if self.rng.random() < 0.93 else self.rng.choice(BAD_ACLS)

    def version(self):
        return self.one(-1, -1, -1, -1, 0, 0, 1, 2, 3, -2, 7, 2147483647, -2147483648)

    # -- requests ---------------------------------------------------------------------------------------

    def create(self):
        op = self.rng.choice([w.CREATE] * 5 + [w.CREATE2] * 3 + [w.CREATECONTAINER, w.CREATETTL, w.CREATETTL])
        path = self.fresh() if self.rng.random() < 0.8 else self.path()
        flags = self.rng.choice([0] * 6 + [1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, -1, 100])
        if op == w.CREATECONTAINER and self.rng.random() < 0.8:
            flags = 4
        if flags in (2, 3, 6) and self.rng.random() < 0.3 and path:
            path = (path if isinstance(path, str) else '/m') + self.one('/', '-', '')
        acl, data = self.acl(), self.data()
        if op != w.CREATETTL:
            return Req(op, w.create(path, data, acl, flags), path, 'create', flags=flags)
        if self.rng.random() < 0.8:
            flags = self.one(5, 6)
        ttl = self.one(1000000, 99999999, 0xffffffffff, 86400000)
        if flags in (5, 6):
            ttl = self.one(ttl, ttl, ttl, ttl, 0, -1, -5, 1 << 40, 0x7fffffffffffffff)
        return Req(op, w.create_ttl(path, data, acl, flags, ttl), path, 'createTTL', flags=flags, ttl=ttl)

    def delete(self):
        path = self.path()
        return Req(w.DELETE, w.path_version(path, self.version()), path, 'delete')

    def set_data(self):
        path = self.path()
        return Req(w.SETDATA, w.set_data(path, self.new_data(path), self.version()), path, 'setData')

    def set_acl(self):
        path = self.path()
        if path == '/zookeeper/config' or (path == '/' and self.rng.random() < 0.8):
            return self.read(0)
        if path == '/':
            return Req(w.SETACL, w.set_acl(path, self.one(w.OPEN_ACL, ((31, 'ip', '127.0.0.1'),)), self.version()),
                       path, 'setACL')
        return Req(w.SETACL, w.set_acl(path, self.acl(), self.version()), path, 'setACL')

    def kind(self, slot, path):
        return kind_of(slot, path) if not self.is_39 else self.one('standard', 'standard', 'persistent', 'recursive')

    def watch_bit(self, slot, path):
        return self.rng.random() < 0.4 and self.kind(slot, path) == 'standard'

    def read(self, slot):
        op = self.rng.choice([w.EXISTS, w.GETDATA, w.GETDATA, w.GETCHILDREN, w.GETCHILDREN2, w.GETACL,
                              w.GETALLCHILDRENNUMBER, w.GETEPHEMERALS, w.SYNC, w.WHOAMI])
        path = self.path()
        if op in (w.EXISTS, w.GETDATA, w.GETCHILDREN, w.GETCHILDREN2):
            watch = self.watch_bit(slot, path)
            return Req(op, w.path_watch(path, watch), path, 'read', watch=watch)
        if op == w.GETEPHEMERALS:
            path = self.one(path, '', None, '/', '  ', ' / ')
        if op == w.WHOAMI:
            return Req(op, self.one(b'', b'', b'junk'), None, 'whoAmI')
        return Req(op, w.buf(path), path, 'read')

    def add_watch(self, slot):
        path = self.path()
        kind = self.kind(slot, path)
        mode = {'standard': 9, 'persistent': 0, 'recursive': 1}[kind]
        if kind == 'standard' and self.rng.random() < 0.6 and not self.is_39:
            for _ in range(40):
                path = self.path()
                if kind_of(slot, path) != 'standard':
                    break
            mode = {'standard': self.one(-1, 2, 9), 'persistent': 0, 'recursive': 1}[kind_of(slot, path)]
        return Req(w.ADDWATCH, w.buf(path) + w.i32(mode), path, 'addWatch', mode=mode)

    def check_watch(self):
        path = self.path()
        kind = self.one(1, 2, 3, 3, 4, 5, 0, 6, -1)
        return Req(self.one(w.CHECKWATCHES, w.REMOVEWATCHES), w.path_version(path, kind), path, 'watches', type=kind)

    def set_watches(self, slot, last_zxid):
        lists = [[], [], [], [], []]
        for _ in range(self.rng.randrange(0, 9)):
            path = self.path()
            if path is None:
                continue
            kind = self.kind(slot, path)
            lists[{'standard': self.rng.randrange(3), 'persistent': 3, 'recursive': 4}[kind]].append(path)
        two = self.rng.random() < 0.5
        body = w.i64(max(0, last_zxid - self.one(0, 0, 1, 5, 40)))
        body += b''.join(w.vec(x) for x in (lists if two else lists[:3]))
        return Req(w.SETWATCHES2 if two else w.SETWATCHES, body, None, 'setWatches', xid=self.one(None, -8))

    def multi_op(self):
        x = self.rng.random()
        if x < 0.4:
            op = self.rng.choice([w.CREATE, w.CREATE, w.CREATE2, w.CREATECONTAINER, w.CREATETTL])
            path = self.fresh() if self.rng.random() < 0.9 else self.path()
            flags = self.one(0, 0, 0, 1, 2, 3)
            if op == w.CREATECONTAINER:
                flags = self.one(4, 4, 0, 1 if self.is_39 else 0)
            if op == w.CREATETTL:
                flags = self.one(5, 6, 5, 0)
                return op, w.create_ttl(path, self.data(), self.multi_acl(), flags, self.one(5000000, 5000000, 0)), path
            if self.rng.random() < 0.02:
                flags = self.one(4, 5, 9)
            return op, w.create(path, self.data(), self.multi_acl(), flags), path
        if x < 0.55:
            path = self.path() if self.rng.random() < 0.2 else self.existing()
            return w.DELETE, w.path_version(path, self.one(-1, -1, -1, 0, 5)), path
        path = self.path() if self.rng.random() < 0.1 else self.existing()
        if x < 0.85:
            return w.SETDATA, w.set_data(path, self.new_data(path), self.one(-1, -1, -1, -1, 0, 1)), path
        return w.CHECK, w.path_version(path, self.one(-1, -1, -1, 0)), path

    def multi_acl(self):
        return self.rng.choice(GOOD_ACLS) if self.rng.random() < 0.97 else self.rng.choice(BAD_ACLS)

    def multi(self):
        ops = [self.multi_op() for _ in range(self.one(0, 1, 1, 2, 2, 3, 4, 7))]
        if not self.is_39 or self.rng.random() < 0.9:
            ops = [op for op in ops if op[2] is not None]
        if ops and self.rng.random() < 0.25:
            base = self.fresh()
            ops += [(w.CREATE, w.create(base), base), (w.CREATE2, w.create(base + '/c'), base + '/c'),
                    (w.SETDATA, w.set_data(base, b'in multi', 0), base)]
            if self.rng.random() < 0.5:
                ops += [(w.DELETE, w.path_version(base + '/c'), base + '/c')]
        if self.rng.random() < 0.02:
            ops.append(self.one((w.GETDATA, w.path_watch('/'), '/'), (77, b'', None), (w.SYNC, w.buf('/'), '/')))
        return Req(w.MULTI, w.multi([(t, b) for t, b, _ in ops]), None, 'multi', ops=ops)

    def multi_read(self):
        ops = []
        for _ in range(self.one(0, 1, 2, 3, 6)):
            path = self.path() or '/none'
            ops.append((self.one(w.GETDATA, w.GETCHILDREN), w.path_watch(path, self.rng.random() < 0.3), path))
        x = self.rng.random()
        if x < 0.06:
            ops.append(self.one((w.SETDATA, w.set_data('/', b''), '/'), (w.EXISTS, w.path_watch('/'), '/'),
                                (w.GETDATA, w.path_watch(None), None), (w.GETCHILDREN, w.path_watch(None), None)))
            self.rng.shuffle(ops)
        elif x < 0.08:
            ops = [self.multi_op() for _ in range(self.one(1, 2, 3))]
            ops = [op for op in ops if op[0] in (w.SETDATA, w.DELETE, w.CHECK) and op[2] is not None]
        return Req(w.MULTIREAD, w.multi([(t, b) for t, b, _ in ops]), None, 'multiRead', ops=ops)

    def quota_op(self):
        """Creates limits and stats nodes as the quota shell command does."""
        target = self.existing()
        if target.startswith('/zookeeper') or target == '/':
            return self.create()
        ops, at = [], '/zookeeper/quota'
        for part in target.strip('/').split('/'):
            at += '/' + part
            if at not in self.known:
                ops.append((w.CREATE, w.create(at), at))
        text = self.one('count=3,bytes=100', 'count=-1,bytes=-1=;byteHardLimit=150;countHardLimit=4',
                        'count=5,bytes=-1', 'count=-1,bytes=60=;byteHardLimit=60;countHardLimit=-1')
        leaf = self.one('zookeeper_limits', 'zookeeper_limits', 'zookeeper_stats')
        ops.append((w.CREATE, w.create(at + '/' + leaf, text.encode()), at + '/' + leaf))
        return Req(w.MULTI, w.multi([(t, b) for t, b, _ in ops]), None, 'quota', ops=ops)

    def damage(self, req):
        """The same request with its body cut, prolonged or with a lying length."""
        if req.op in (w.DELETECONTAINER, w.PING, w.WHOAMI) or not req.body:
            return req
        x = self.rng.random()
        if x < 0.6:
            body = req.body[:self.rng.randrange(len(req.body))]
        elif x < 0.8:
            body = req.body + self.rng.randbytes(self.rng.randrange(1, 9))
        else:
            body = self.one(w.i32(-2), w.i32(0x7fffffff), w.i32(3000000), w.i32(-2147483648)) + req.body[4:]
            if req.op in (w.SETWATCHES, w.SETWATCHES2):
                body = req.body[:8] + body[:4] + req.body[12:]
        return Req(req.op, body, req.path, 'damaged ' + req.text, **dict(req.meta, watch=False))

    def request(self, slot, last_zxid):
        x = self.rng.random()
        if x < 0.22:
            req = self.create()
        elif x < 0.32:
            req = self.delete()
        elif x < 0.44:
            req = self.set_data()
        elif x < 0.48:
            req = self.set_acl()
        elif x < 0.74:
            req = self.read(slot)
        elif x < 0.78:
            req = self.add_watch(slot)
        elif x < 0.82:
            req = self.check_watch()
        elif x < 0.84:
            req = self.set_watches(slot, last_zxid)
        elif x < 0.92:
            req = self.multi()
        elif x < 0.95:
            req = self.multi_read()
        elif x < 0.97 and self.quota:
            req = self.quota_op()
        else:
            req = self.one(Req(w.PING, b'', None, 'ping'), Req(w.PING, b'xx', None, 'ping', xid=-2),
                           Req(w.RECONFIG, w.buf(None) * 3 + w.i64(-1), None, 'reconfig'),
                           Req(w.RECONFIG, w.buf('server.2=a:1:2;3') + w.buf('1') + w.buf(None) + w.i64(0), None,
                               'reconfig'),
                           Req(w.SYNC, w.buf(self.path()), None, 'sync'),
                           Req(w.EXISTS, w.path_watch('/'), '/', 'read with xid 0', xid=0),
                           Req(w.EXISTS, w.path_watch('/'), '/', 'read with negative xid', xid=-77))
        if self.rng.random() < 0.03 and req.op != w.CREATETTL:
            req = self.damage(req)
        return req

    def sasl(self):
        """A server without SASL: err 0 and a null token, whatever came."""
        return Req(w.SASL, self.one(w.buf(b'token'), w.buf(b''), w.buf(None)), None, 'sasl')

    def auth(self):
        """(request, whether the connection is expected to live)"""
        good = self.rng.random() < 0.85
        scheme, data = ('digest', self.rng.choice(USERS)) if good else self.one(
            ('digest', None), ('world', 'anyone'), ('sasl', 'x'), ('super', 'super:admin'), ('nosuch', 'x'),
            (None, b'x'), ('ip', 'x'), ('x509', 'CN=a'), ('digest', ''))
        if good and self.rng.random() < 0.15:
            data = 'super:admin'
        return Req(w.AUTH, w.auth(scheme, data), None, 'auth %s %s' % (scheme, data), xid=self.one(-4, None))
