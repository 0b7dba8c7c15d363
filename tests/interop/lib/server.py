# SPDX-License-Identifier: Apache-2.0
# Copyright the Sengi authors
"""Starts and stops coordination servers for the interop tests.

The server under test is the command in the environment variable SENGI_SERVER (split like a shell
would; default: build/bin/sengi-server of this source tree). The word "debian" stands for Debian's
ZooKeeper, so that each test can be run against the original to show that the test itself is right.
Each server gets its own directory below a temporary one and a free port.

ZOOKEEPER_CLASSPATH puts another release in the place of Debian's: a class path with its server and all that it needs.

SENGI_HOST is the address at which the server under test is reached (default 127.0.0.1), and SENGI_CONF names a
file of more lines for its zoo.cfg: so the same tests run over any other port of the server, a DPDK port say.
"""
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
JARS = '/usr/share/java'
DEBIAN_JAR = JARS + '/zookeeper.jar'
SKIP = 77
# Pass-phrase of the super user in every test configuration: super:admin.
SUPER_DIGEST = 'super:xQJmxLMiHGwaqBvst5y6rkB6HQs='

BASE_CONF = {
    'tickTime': 2000,
    'admin.enableServer': 'false',
    '4lw.commands.whitelist': '*',
    'maxClientCnxns': 0,
    'extendedTypesEnabled': 'true',
    'DigestAuthenticationProvider.superDigest': SUPER_DIGEST,
    'preAllocSize': 1024,
    'reconfigEnabled': 'true',
}


def must_not_skip():
    return os.environ.get('CI', '').lower() == 'true'


def skip(reason):
    """Leave the test as skipped; where CI promises the capability that is a failure."""
    if must_not_skip():
        print('FAIL: would skip in CI: %s' % reason)
        sys.exit(1)
    print('SKIP: %s' % reason)
    sys.exit(SKIP)


def use_memory():
    """Directories of the servers in memory: for tests that time clients, so that they do not time a shared disk."""
    if os.path.isdir('/dev/shm') and shutil.disk_usage('/dev/shm').free > 2 << 30:
        tempfile.tempdir = '/dev/shm'


def have_debian():
    return os.path.exists(DEBIAN_JAR) and shutil.which('java') is not None


def need_debian():
    if not have_debian():
        skip('Debian\'s ZooKeeper (libzookeeper-java) or java is missing')


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def java_classpath(*more):
    if os.environ.get('ZOOKEEPER_CLASSPATH'):
        return os.environ['ZOOKEEPER_CLASSPATH']
    jars = [DEBIAN_JAR, JARS + '/slf4j-simple.jar'] + [JARS + '/' + j for j in more]
    return ':'.join(jars)


def debian_command(heap_mb=512, conf=None):
    # These are read without the prefix that keys of zoo.cfg get, so they go onto the command line.
    plain = ['-D%s=%s' % i for i in (conf or {}).items() if i[0].startswith('znode.')]
    return ['java'] + plain + ['-Xmx%dm' % heap_mb, '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1',
            '-Dfile.encoding=UTF-8', '-Djava.awt.headless=true',
            '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-cp', java_classpath(),
            'org.apache.zookeeper.server.quorum.QuorumPeerMain']


def sut_command():
    """The command of the server under test, without its zoo.cfg."""
    text = os.environ.get('SENGI_SERVER', '')
    if text == 'debian':
        return debian_command()
    if text:
        return shlex.split(text)
    return [os.path.join(ROOT, 'build', 'bin', 'sengi-server')]


def sut_is_debian():
    return os.environ.get('SENGI_SERVER', '') == 'debian'


def sut_host():
    return os.environ.get('SENGI_HOST', '127.0.0.1')


def sut_conf():
    """More lines of zoo.cfg for the server under test."""
    path = os.environ.get('SENGI_CONF')
    if not path:
        return ''
    with open(path) as f:
        return f.read().rstrip('\n') + '\n'


def need_sut():
    if sut_is_debian():
        need_debian()
    elif shutil.which(sut_command()[0]) is None:
        print('FAIL: no server to test: %s (build it, or set SENGI_SERVER)' % sut_command()[0])
        sys.exit(1)


class Server:
    """One server process. kind is 'sut' or 'debian'. Use as a context manager, or start()/destroy()."""

    def __init__(self, kind='sut', conf=None, data_dir=None, name=None, heap_mb=512):
        self.kind = kind
        self.name = name or kind
        self.dir = tempfile.mkdtemp(prefix='sengi-interop-')
        self.data_dir = data_dir or os.path.join(self.dir, 'data')
        os.makedirs(self.data_dir, exist_ok=True)
        self.host = sut_host() if kind == 'sut' else '127.0.0.1'
        self.port = free_port()
        self.address = (self.host, self.port)
        self.conf = dict(BASE_CONF)
        self.conf.update(conf or {})
        self.heap_mb = heap_mb
        self.log_path = os.path.join(self.dir, 'log')
        self.process = None

    def is_debian(self):
        return self.kind == 'debian' or sut_is_debian()

    def write_config(self):
        path = os.path.join(self.dir, 'zoo.cfg')
        with open(path, 'w') as f:
            f.write('dataDir=%s\nclientPort=%d\nclientPortAddress=%s\n' %
                    (self.data_dir, self.port, '127.0.0.1'))
            f.write(sut_conf() if self.kind == 'sut' else '')
            for key, value in self.conf.items():
                f.write('%s=%s\n' % (key, value))
        return path

    def start(self, wait_s=60):
        command = debian_command(self.heap_mb, self.conf) if self.is_debian() else sut_command()
        config = self.write_config()
        self.log_file = open(self.log_path, 'ab')
        self.process = subprocess.Popen(command + [config], stdin=subprocess.DEVNULL,
                                        stdout=self.log_file, stderr=self.log_file, cwd=self.dir)
        if wait_s:
            self.wait_ready(wait_s)
        return self

    def wait_ready(self, wait_s=60):
        """Ask for srvr until it is served. Polls, because that is all a client can do."""
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError('%s exited with %s\n%s' % (self.name, self.process.returncode,
                                                              self.log_tail()))
            if b'Mode: ' in self.word(b'srvr', quiet=True):
                return
            time.sleep(0.02)
        raise RuntimeError('%s did not serve within %d s\n%s' % (self.name, wait_s, self.log_tail()))

    def word(self, word, quiet=False, timeout_s=10):
        """Send a four-letter word, return the whole answer."""
        out = b''
        try:
            with socket.create_connection(self.address, timeout=timeout_s) as s:
                s.sendall(word)
                while True:
                    part = s.recv(65536)
                    if not part:
                        return out
                    out += part
        except OSError:
            if not quiet:
                raise
            return out

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, wait_s=30):
        """SIGTERM; returns (exit code, seconds it took)."""
        if self.process is None:
            return None, 0.0
        begin = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = 'hung'
        self.log_file.close()
        self.process = None
        return code, time.monotonic() - begin

    def kill(self):
        """SIGKILL, as a crash of the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.log_file.close()
            self.process = None

    def rss_bytes(self):
        with open('/proc/%d/statm' % self.process.pid) as f:
            return int(f.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    def log_tail(self, lines=30):
        try:
            with open(self.log_path, errors='replace') as f:
                return ''.join(f.readlines()[-lines:])
        except OSError:
            return ''

    def destroy(self):
        self.kill()
        if not os.environ.get('KEEP'):
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.destroy()


class Checks:
    """Counts checks; a failed one is printed and the test goes on."""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = 0

    def check(self, ok, what):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print('FAIL: %s' % what, flush=True)
        return bool(ok)

    def equal(self, got, want, what):
        return self.check(got == want, '%s: got %r, want %r' % (what, got, want))

    def finish(self):
        print('%s: %d checks passed, %d failed' % (self.name, self.passed, self.failed))
        sys.exit(1 if self.failed or not self.passed else 0)
