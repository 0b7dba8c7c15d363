# SPDX-License-Identifier: Apache-2.0
# Copyright the Sengi authors
"""Frames made by hand, and a TCP client of its own that does only what an attack wants of it."""
import socket
import struct
import time

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
ETH_ALL = 3
ATTACKER_MAC = b'\x02\0\0\0\0\x66'


def checksum(data):
    """The Internet checksum: 2^16 is 1 modulo 65535, so the whole is one division."""
    if len(data) % 2:
        data += b'\0'
    return (0xffff - int.from_bytes(data, 'big') % 0xffff) & 0xffff


def tcp_v4(source, destination, sport, dport, seq, ack, flags, data=b'', options=b'', window=60000):
    """An IPv4 packet. Addresses as 4 bytes."""
    options += b'\0' * (-len(options) % 4)
    header = struct.pack('>HHIIBBHHH', sport, dport, seq & 0xffffffff, ack & 0xffffffff,
                         (20 + len(options)) // 4 << 4, flags, window, 0, 0) + options
    pseudo = source + destination + struct.pack('>HH', 6, len(header) + len(data))
    total = checksum(pseudo + header + data)
    return ipv4(source, destination, 6, header[:16] + struct.pack('>H', total) + header[18:] + data)


def ipv4(source, destination, protocol, payload, fragment=0, options=b''):
    header = struct.pack('>BBHHHBBH4s4s', 0x45 + len(options) // 4, 0, 20 + len(options) + len(payload), 1, fragment, 64,
                         protocol, 0, source, destination) + options
    return header[:10] + struct.pack('>H', checksum(header)) + header[12:] + payload


def ipv6(source, destination, protocol, payload):
    return struct.pack('>IHBB16s16s', 6 << 28, len(payload), protocol, 64, source, destination) + payload


class Wire:
    """The wire at the port's interface: what is sent here the server receives, and the other way round."""

    def __init__(self, interface):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.bind((interface, 0))
        self.interface = interface
        self.mac = self.socket.getsockname()[4]  # the port's too: net_tap gives both ends the same

    def send(self, packet, ethertype=b'\x08\0', source=ATTACKER_MAC, destination=None):
        """A packet in an Ethernet frame. A full queue of the tap is waited for."""
        self.raw((destination or self.mac) + source + ethertype + packet)

    def raw(self, frame):
        while True:
            try:
                return self.socket.send(frame)
            except OSError as e:
                if e.errno != 105:  # ENOBUFS
                    raise
                time.sleep(0.001)

    def listen(self):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_ALL))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        s.bind((self.interface, ETH_ALL))
        s.settimeout(10)
        return s


class Segment:
    """A received IPv4 TCP frame."""

    def __init__(self, frame):
        self.ok = len(frame) >= 54 and frame[12:14] == b'\x08\0' and frame[23] == 6
        if not self.ok:
            return
        total = struct.unpack('>H', frame[16:18])[0]
        self.source, self.destination = frame[26:30], frame[30:34]
        (self.sport, self.dport, self.seq, self.ack, offset, self.flags,
         self.window) = struct.unpack('>HHIIBBH', frame[34:50])
        self.data = frame[34 + (offset >> 4) * 4:14 + total]


class Client:
    """A connection to the server from an address that no kernel has."""

    def __init__(self, wire, source, server, sport, dport, options=b'\x02\x04\x05\xb4'):
        self.wire, self.source, self.server, self.sport, self.dport = wire, source, server, sport, dport
        self.seq, self.ack = 1000, 0
        with wire.listen() as ears:
            self.send(SYN, options=options)
            self.seq += 1
            answer = self.hear(ears, lambda s: s.flags == SYN | ACK)
            self.ack = answer.seq + 1
            self.send(ACK)

    def send(self, flags, data=b'', options=b'', at=0, window=60000):
        """A segment; `at` bytes beyond what was sent in order."""
        self.wire.send(tcp_v4(self.source, self.server, self.sport, self.dport, self.seq + at, self.ack, flags, data,
                              options, window))

    def push(self, data, window=60000):
        """Bytes in order, at most a segment."""
        self.send(PSH | ACK, data, window=window)
        self.seq += len(data)

    def hear(self, ears, wanted):
        """The next segment for us that is wanted."""
        while True:
            s = Segment(ears.recv(65536))
            if s.ok and s.destination == self.source and s.dport == self.sport and wanted(s):
                return s
