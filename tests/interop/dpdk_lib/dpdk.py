# SPDX-License-Identifier: Apache-2.0
# Copyright the Sengi authors
"""What the tests of the DPDK port share: a network namespace of their own, a tap device, zoo.cfg lines, telemetry."""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), 'lib')]
import server as srv  # noqa: E402

TAP = 'sengi0'
SERVER_V4, CLIENT_V4 = '10.77.0.1', '10.77.0.2'
SERVER_V6, CLIENT_V6 = 'fd77::1', 'fd77::2'
INSIDE = 'SENGI_TEST_NAMESPACE'
IDLE_CPU_SHARE_MAX = 0.05


def own_namespace():
    """Run the calling program again in a network namespace of its own, which goes away with it. Skips where that
    cannot be."""
    if os.environ.get(INSIDE):
        return
    srv.need_sut()
    if os.geteuid() != 0:
        srv.skip('needs root: a network namespace and a tap device')
    for tool in ('unshare', 'ip'):
        if shutil.which(tool) is None:
            srv.skip('%s is missing' % tool)
    if not os.path.exists('/dev/net/tun'):
        srv.skip('/dev/net/tun is missing')
    if subprocess.run(['unshare', '--net', 'true'], stderr=subprocess.DEVNULL).returncode:
        srv.skip('no network namespace can be made here')
    os.environ[INSIDE] = '1'
    os.execvp('unshare', ['unshare', '--net', sys.executable] + sys.argv)


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def make_tap(addresses=True):
    """A tap that outlives the server, so that its addresses do too. Call inside the namespace."""
    run('ip', 'link', 'set', 'lo', 'up')
    run('ip', 'tuntap', 'add', 'dev', TAP, 'mode', 'tap', 'multi_queue')
    with open('/proc/sys/net/ipv6/conf/%s/keep_addr_on_down' % TAP, 'w') as f:
        f.write('1')  # net_tap takes the interface down when the server stops
    if addresses:
        run('ip', 'address', 'add', CLIENT_V4 + '/24', 'dev', TAP)
        run('ip', '-6', 'address', 'add', CLIENT_V6 + '/64', 'dev', TAP, 'nodad')
    run('ip', 'link', 'set', TAP, 'up')


def prefix():
    """EAL's name for this process's servers: two tests may run at a time."""
    return 'sengi-test-%d' % os.getpid()


def runtime_directory():
    """Where EAL keeps the files by which other processes find a server of ours."""
    return '/var/run/dpdk/' + prefix()


def tap_words():
    return '--no-huge --no-pci --file-prefix=%s --vdev=net_tap0,iface=%s' % (prefix(), TAP)


def conf_file(words, **more):
    """A file of zoo.cfg lines that turn the port on. more: keys without "dpdk." Returns its path."""
    lines = {'enabled': 'true', 'eal': words, 'address': '%s/24,%s/64' % (SERVER_V4, SERVER_V6), 'idle': 'sleep'}
    lines.update(more)
    handle, path = tempfile.mkstemp(prefix='sengi-dpdk-', suffix='.cfg')
    with os.fdopen(handle, 'w') as f:
        for key, value in lines.items():
            f.write('dpdk.%s=%s\n' % (key, value))
    return path


def telemetry(command):
    """Ask a running server what dpdk-telemetry.py would ask; the answer without its outermost key."""
    path = runtime_directory() + '/dpdk_telemetry.v2'
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(10)
        s.connect(path)
        s.recv(16384)
        s.send(command.encode())
        answer = json.loads(s.recv(1 << 20))
    return answer[command.split(',')[0]]


def telemetry_script(*commands):
    """What DPDK's own script prints for each command, as read by its JSON."""
    done = subprocess.run(['dpdk-telemetry.py', '-f', prefix()], input='\n'.join(commands) + '\n', text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return [json.loads(line) for line in done.stdout.splitlines()]


def cpu_seconds(pid):
    """CPU time of all threads of a process, to the nanosecond: its clock as clock_getcpuclockid() names it."""
    return time.clock_gettime(~pid << 3 | 2)


def idle(server, checks):
    """With dpdk.idle=sleep (conf_file's default) a server that nobody asks leaves the CPU alone."""
    before, begin = cpu_seconds(server.process.pid), time.monotonic()
    time.sleep(2)
    share = (cpu_seconds(server.process.pid) - before) / (time.monotonic() - begin)
    checks.check(share < IDLE_CPU_SHARE_MAX, 'an idle server uses %.1f %% of a CPU' % (share * 100))
    print('idle: %.2f %% of a CPU' % (share * 100), flush=True)


def kernel_found_no_wrong_checksum(checks):
    """The kernel verifies every segment that comes by a tap, and counts by namespace."""
    with open('/proc/net/snmp') as f:
        names, values = [line.split() for line in f if line.startswith('Tcp:')]
    checks.equal(values[names.index('InCsumErrors')], '0', 'segments whose checksum the kernel found wrong')


def clean_up():
    shutil.rmtree(runtime_directory(), ignore_errors=True)
