# SPDX-License-Identifier: Apache-2.0
# Copyright the Sengi authors
"""pytest plugin: kazoo's own test harness starts the server under test instead of a Java class path.

kazoo.testing builds clusters of ManagedZooKeeper; its run() is replaced by one that writes the same
zoo.cfg for one standalone server and starts the server under test. Everything else of the harness (stop,
reset, expiring sessions from the client's side) stays as kazoo ships it.
"""
import logging
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'lib'))
import server as srv  # noqa: E402
from kazoo.testing import common, harness  # noqa: E402

# The pass-phrase "test", as kazoo's harness sets it for Java.
SUPER = 'super:D/InIHSb7yEEbrWz8b9l71RjZJU='
LOGS = os.environ.get('KAZOO_SUITE_LOGS')


def run(self):
    if self.running:
        return
    self.host = srv.sut_host()
    data = os.path.join(self.working_path, 'data')
    os.makedirs(data, exist_ok=True)
    config = os.path.join(self.working_path, 'zoo.cfg')
    lines = ['tickTime=2000', 'dataDir=' + data, 'clientPort=%d' % self.server_info.client_port,
             'clientPortAddress=127.0.0.1', 'maxClientCnxns=0', 'admin.enableServer=false',
             'DigestAuthenticationProvider.superDigest=' + SUPER] + list(self.configuration_entries)
    with open(config, 'w') as f:
        f.write('\n'.join(lines) + '\n' + srv.sut_conf())
    with open(os.path.join(LOGS or self.working_path, 'server.log'), 'ab') as log:
        self.process = subprocess.Popen(srv.sut_command() + [config], stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log, cwd=self.working_path)
    self._running = True


def start(self):
    for server in self:
        server.run()
    for server in self:
        wait_serving(server)


def wait_serving(server, limit_s=30):
    probe = srv.Server.__new__(srv.Server)
    probe.address = (srv.sut_host(), server.client_port)
    end = time.monotonic() + limit_s
    while b'Mode: ' not in probe.word(b'srvr', quiet=True):
        if time.monotonic() > end or server.process.poll() is not None:
            raise RuntimeError('the server under test does not serve')
        time.sleep(0.05)


def pytest_configure(config):
    # A cluster of one: an ensemble is an issue of its own.
    os.environ['ZOOKEEPER_CLUSTER_SIZE'] = '1'
    os.environ['ZOOKEEPER_VERSION'] = '3.8.0' if srv.sut_is_debian() else '3.9.0'
    os.environ['ZOOKEEPER_PATH'] = '/usr/share/java'
    os.environ['ZOOKEEPER_PORT_OFFSET'] = str(srv.free_port())
    common.ManagedZooKeeper.run = run
    common.ZookeeperCluster.start = start
    logging.getLogger('kazoo').setLevel(logging.ERROR)
    harness.log.setLevel(logging.ERROR)
