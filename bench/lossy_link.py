# SPDX-License-Identifier: Apache-2.0
# Copyright the Sengi authors
"""Two network namespaces joined by a bridge that loses frames at random, both ways.

    client namespace  cli0 --- cli1 [bridge] srv1 --- srv0  server namespace
                                 ^ loses       ^ loses

Frames are dropped where they enter the bridge, so that neither end's own stack sees the loss, whether it is
the kernel's TCP or a program on a packet socket. Segmentation and checksum offload are off: what crosses is
what a wire would carry. The namespaces belong to two sleeping processes and go away with them. Needs root.
"""
import fcntl
import os
import shutil
import socket
import struct
import subprocess

SERVER, CLIENT, BITS = '10.78.0.1', '10.78.0.2', 24
SIOCETHTOOL = 0x8946
OFFLOADS = (0x17, 0x1f, 0x24, 0x2c)  # ETHTOOL_STXCSUM, STSO, SGSO, SGRO


def _run(*command, text=None):
    subprocess.run(command, check=True, input=text, text=True, stdout=subprocess.DEVNULL)


def _offloads_off(name):
    """Called in the namespace of the interface, by this file as a program."""
    import ctypes
    with socket.socket() as s:
        for command in OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack('II', command, 0))
            request = struct.pack('16sP', name.encode(), ctypes.addressof(value))
            try:
                fcntl.ioctl(s, SIOCETHTOOL, request)
            except OSError:
                pass  # this kernel's veth has no such switch: nothing to turn off


class LossyLink:
    def __init__(self, percent):
        for tool in ('ip', 'nft', 'unshare', 'nsenter'):
            if shutil.which(tool) is None:
                raise FileNotFoundError(f'{tool} is missing')
        self.holders = {name: subprocess.Popen(['unshare', '--net', 'sleep', 'infinity'])
                        for name in ('client', 'bridge', 'server')}
        try:
            self._build(percent)
        except BaseException:
            self.close()
            raise

    def inside(self, name):
        """Prefix of a command that is to run in a namespace."""
        return ['nsenter', '-t', str(self.holders[name].pid), '-n', '--']

    def _build(self, percent):
        own = os.stat('/proc/self/ns/net').st_ino
        for holder in self.holders.values():  # until unshare has done its work
            while os.stat(f'/proc/{holder.pid}/ns/net').st_ino == own:
                pass
        bridge = self.inside('bridge')
        _run(*bridge, 'ip', 'link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0', 'mcast_snooping', '0')
        _run(*bridge, 'ip', 'link', 'set', 'br0', 'up')
        rules = 'table netdev loss {\n'
        for side, name in (('cli', 'client'), ('srv', 'server')):
            _run(*bridge, 'ip', 'link', 'add', side + '1', 'type', 'veth', 'peer', 'name', side + '0')
            _run(*bridge, 'ip', 'link', 'set', side + '0', 'netns', str(self.holders[name].pid))
            _run(*bridge, 'ip', 'link', 'set', side + '1', 'master', 'br0', 'up')
            for where, interface in ((bridge, side + '1'), (self.inside(name), side + '0')):
                _run(*where, '/usr/bin/python3', os.path.abspath(__file__), interface)
            _run(*self.inside(name), 'ip', 'link', 'set', side + '0', 'up')
            _run(*self.inside(name), 'ip', 'link', 'set', 'lo', 'up')
            rules += (f'chain {side} {{ type filter hook ingress device "{side}1" priority 0;\n'
                      f'numgen random mod 1000 < {round(percent * 10)} counter drop\n}}\n')
        _run(*bridge, 'nft', '-f', '-', text=rules + '}\n')
        _run(*self.inside('client'), 'ip', 'address', 'add', f'{CLIENT}/{BITS}', 'dev', 'cli0')

    def kernel_answers(self, yes):
        """Whether the server namespace's kernel has the server's address, or leaves it to a program."""
        _run(*self.inside('server'), 'ip', 'address', 'flush', 'dev', 'srv0')
        if yes:
            _run(*self.inside('server'), 'ip', 'address', 'add', f'{SERVER}/{BITS}', 'dev', 'srv0')
        _run(*self.inside('client'), 'ip', 'neigh', 'flush', 'dev', 'cli0')

    def dropped(self):
        out = subprocess.run([*self.inside('bridge'), 'nft', 'list', 'ruleset'], capture_output=True, text=True,
                             check=True).stdout
        return [int(line.split('packets ')[1].split()[0]) for line in out.splitlines() if 'packets ' in line]

    def close(self):
        for holder in self.holders.values():
            holder.kill()
            holder.wait()


if __name__ == '__main__':
    import sys
    _offloads_off(sys.argv[1])
