# SPDX-License-Identifier: Apache-2.0
# Copyright the Sengi authors
"""A raw client of the ZooKeeper protocol: jute codec, frames, sessions; nothing is checked for the caller.

Written against the protocol description only, on purpose independent of the server's own codec and of
every packaged client, so that a shared mistake cannot hide.
"""
import hashlib
import base64
import select
import socket
import struct
import time

CREATE, DELETE, EXISTS, GETDATA, SETDATA, GETACL, SETACL, GETCHILDREN, SYNC, PING = 1, 2, 3, 4, 5, 6, 7, 8, 9, 11
GETCHILDREN2, CHECK, MULTI, CREATE2, RECONFIG, CHECKWATCHES, REMOVEWATCHES = 12, 13, 14, 15, 16, 17, 18
CREATECONTAINER, DELETECONTAINER, CREATETTL, MULTIREAD = 19, 20, 21, 22
AUTH, SETWATCHES, SASL, GETEPHEMERALS, GETALLCHILDRENNUMBER, SETWATCHES2, ADDWATCH, WHOAMI = range(100, 108)
CREATESESSION, CLOSESESSION = -10, -11

NONODE, NOAUTH, BADVERSION, NODEEXISTS, NOTEMPTY = -101, -102, -103, -110, -111
OPEN_ACL = ((31, b'world', b'anyone'),)


def i32(v):
    return struct.pack('>i', v)


def i64(v):
    return struct.pack('>q', v)


def buf(b):
    """ustring or buffer; None is jute's null; str is sent as UTF-8."""
    if b is None:
        return i32(-1)
    if isinstance(b, str):
        b = b.encode('utf-8', 'surrogatepass')
    return i32(len(b)) + b


def flag(b):
    return b'\1' if b else b'\0'


def vec(items, encode=buf):
    if items is None:
        return i32(-1)
    return i32(len(items)) + b''.join(encode(i) for i in items)


def acl(entries):
    return vec(entries, lambda e: i32(e[0]) + buf(e[1]) + buf(e[2]))


def create(path, data=b'', entries=OPEN_ACL, flags=0):
    return buf(path) + buf(data) + acl(entries) + i32(flags)


def create_ttl(path, data, entries, flags, ttl):
    return create(path, data, entries, flags) + i64(ttl)


def path_version(path, version=-1):
    return buf(path) + i32(version)


def set_data(path, data, version=-1):
    return buf(path) + buf(data) + i32(version)


def set_acl(path, entries, version=-1):
    return buf(path) + acl(entries) + i32(version)


def path_watch(path, watch=False):
    return buf(path) + flag(watch)


def multi(ops):
    """ops: (type, body) pairs."""
    out = b''.join(i32(t) + b'\0' + i32(-1) + body for t, body in ops)
    return out + i32(-1) + b'\1' + i32(-1)


def auth(scheme, data, kind=0):
    return i32(kind) + buf(scheme) + buf(data)


def digest_id(text):
    user = text.split(':')[0]
    return '%s:%s' % (user, base64.b64encode(hashlib.sha1(text.encode()).digest()).decode())


def connect_request(session=0, passwd=b'\0' * 16, timeout_ms=30000, last_zxid=0, read_only=b'\0'):
    return i32(0) + i64(last_zxid) + i32(timeout_ms) + i64(session) + buf(passwd) + read_only


class Closed(Exception):
    """The server closed the connection."""


class Short(Exception):
    """A record ended early."""


class Reader:
    """Decodes one frame. Every method raises Short where bytes are missing."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, n):
        if n < 0 or self.at + n > len(self.data):
            raise Short()
        self.at += n
        return self.data[self.at - n:self.at]

    def i32(self):
        return struct.unpack('>i', self.take(4))[0]

    def i64(self):
        return struct.unpack('>q', self.take(8))[0]

    def flag(self):
        return self.take(1)[0]

    def buf(self):
        n = self.i32()
        return None if n == -1 else self.take(n)

    def vec(self, decode):
        n = self.i32()
        return None if n == -1 else [decode() for _ in range(n)]

    def strings(self):
        return self.vec(self.buf)

    def acl(self):
        return self.vec(lambda: (self.i32(), self.buf(), self.buf()))

    def stat(self):
        return Stat(*struct.unpack('>qqqqiiiqiiq', self.take(68)))

    def rest(self):
        return self.take(len(self.data) - self.at)


class Stat(tuple):
    NAMES = ('czxid', 'mzxid', 'ctime', 'mtime', 'version', 'cversion', 'aversion', 'owner',
             'data_length', 'num_children', 'pzxid')

    def __new__(cls, *values):
        return tuple.__new__(cls, values)

    def __getattr__(self, name):
        try:
            return self[Stat.NAMES.index(name)]
        except ValueError:
            raise AttributeError(name) from None


class Reply:
    """xid, zxid, err and the undecoded rest of a frame."""

    def __init__(self, frame):
        self.frame = frame
        self.xid, self.zxid, self.err = struct.unpack('>iqi', frame[:16])
        self.body = frame[16:]

    def reader(self):
        return Reader(self.body)

    def event(self):
        r = self.reader()
        return r.i32(), r.i32(), r.buf()

    def __repr__(self):
        return 'Reply(xid=%d zxid=%#x err=%d body=%s)' % (self.xid, self.zxid, self.err, self.body.hex())


class Conn:
    """One TCP connection. Frames go out as given; events (xid -1) are kept apart in .events."""

    def __init__(self, address, timeout_s=20.0, source=None):
        """address: (host, port); source: our own, if not the usual one"""
        self.sock = socket.create_connection(address, timeout_s, (source, 0) if source else None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(timeout_s)
        self.timeout_s = timeout_s
        self.pending = b''
        self.session = 0
        self.passwd = b'\0' * 16
        self.timeout_ms = 0
        self.events = []
        self.xid = 0
        self.last_zxid = 0
        self.closed = False

    def fileno(self):
        return self.sock.fileno()

    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Closed() from e

    def send_frame(self, payload):
        self.send_raw(i32(len(payload)) + payload)

    def recv_frame(self):
        """The next frame's payload; Closed on end of stream or reset; socket.timeout if nothing comes."""
        while True:
            if len(self.pending) >= 4:
                n = struct.unpack('>i', self.pending[:4])[0]
                if len(self.pending) >= 4 + n:
                    frame = self.pending[4:4 + n]
                    self.pending = self.pending[4 + n:]
                    return frame
            try:
                part = self.sock.recv(1 << 18)
            except socket.timeout:
                raise
            except OSError as e:
                self.closed = True
                raise Closed() from e
            if not part:
                self.closed = True
                raise Closed()
            self.pending += part

    def connect(self, **kw):
        """Handshake. Returns the ConnectResponse payload; .session is 0 if it was refused."""
        self.send_frame(connect_request(**kw))
        frame = self.recv_frame()
        r = Reader(frame)
        r.i32()
        self.timeout_ms = r.i32()
        self.session = r.i64()
        self.passwd = r.buf()
        return frame

    def send(self, op, body=b'', xid=None):
        if xid is None:
            self.xid += 1
            xid = self.xid
        self.send_frame(i32(xid) + i32(op) + body)
        return xid

    def recv(self):
        """The next reply; events met on the way are appended to .events."""
        while True:
            reply = Reply(self.recv_frame())
            if reply.xid == -1:
                self.events.append(reply)
                continue
            if reply.zxid > 0:
                self.last_zxid = reply.zxid
            return reply

    def call(self, op, body=b'', xid=None):
        self.send(op, body, xid)
        return self.recv()

    def wait_event(self, timeout_s=10.0):
        """The oldest undelivered event, waiting for one if need be."""
        if not self.events:
            self.sock.settimeout(timeout_s)
            try:
                reply = Reply(self.recv_frame())
            finally:
                self.sock.settimeout(self.timeout_s)
            assert reply.xid == -1, reply
            return reply
        return self.events.pop(0)

    def wait_closed(self, timeout_s=10.0):
        """True when the server closes within the time; frames on the way are dropped."""
        end = time.monotonic() + timeout_s
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return False
            ready, _, _ = select.select([self.sock], [], [], left)
            if not ready:
                return False
            try:
                if not self.sock.recv(1 << 16):
                    return True
            except OSError:
                return True

    def close(self):
        self.sock.close()
        self.closed = True

    def end_session(self):
        try:
            self.call(CLOSESESSION)
        except (Closed, OSError):
            pass
        self.close()


def session(address, timeout_ms=30000, **kw):
    c = Conn(address, **kw)
    c.connect(timeout_ms=timeout_ms)
    return c
