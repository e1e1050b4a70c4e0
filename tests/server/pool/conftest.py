"""A real pool in a process of its own, and plain blocking clients for it."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

HERE = Path(__file__).parent


class Connection:
    """One keep-alive HTTP connection."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.pid = None

    def send(self, path="/"):
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: pool\r\n\r\n".encode())

    def receive(self):
        """The body of the answer. Raises ConnectionError if there is none."""
        answer = b""
        while not (found := re.search(rb"hello (\d+) .*counts=[\d,-]+$", answer)):
            received = self.socket.recv(4096)
            if not received:
                raise ConnectionResetError("closed before the answer")
            answer += received
        self.pid = int(found[1])
        return found[0].decode()

    def get(self, path="/"):
        self.send(path)
        return self.receive()

    def counts(self):
        """Open connections of each replica, by the pool's own board."""
        return [int(count) for count in self.get().partition("counts=")[2].split(",")]

    def close(self):
        self.socket.close()


class Pool:
    def __init__(self, folder, replicas, grace_s, scene, cwd, lag_s):
        self.release = folder / "release"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HEADRACE_")}
        environment |= {"PYTHONPATH": str(HERE), "POOL_SCENE": scene, "POOL_RELEASE": str(self.release)}
        environment |= {"TMPDIR": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "pool_run.py"), str(replicas), "0", str(grace_s), str(lag_s)],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=cwd,
        )
        self.lines = []
        self._spoke = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._connections = []

    def _read(self):
        for line in self.process.stderr:
            with self._spoke:
                self.lines.append(line.rstrip())
                self._spoke.notify_all()
        with self._spoke:
            self._spoke.notify_all()

    def said(self, pattern):
        return [line for line in list(self.lines) if re.search(pattern, line)]

    def wait_for(self, pattern, times=1, within_s=10):
        with self._spoke:
            spoken = self._spoke.wait_for(lambda: len(self.said(pattern)) >= times, within_s)
        assert spoken, f"waited {within_s} s for {pattern!r}, found {self.lines}"
        return self.said(pattern)

    @property
    def port(self):
        return int(re.search(r"REST port (\d+)", self.wait_for("REST port")[0])[1])

    def connect(self):
        connection = Connection(self.port)
        self._connections.append(connection)
        return connection

    def children(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def wait(self, within_s=10):
        """The exit code; everything it has to say has been read then."""
        code = self.process.wait(within_s)
        self._reader.join(within_s)
        return code

    def close(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for connection in self._connections:
            connection.close()
        self._reader.join(5)
        self.process.stderr.close()


@pytest.fixture
def start_pool(tmp_path):
    """Starts a pool of the test application; whatever is left of it is ended with the test."""
    pools = []

    def start(replicas=2, grace_s=10, scene="", cwd=None, lag_s=0):
        pools.append(Pool(tmp_path, replicas, grace_s, scene, cwd, lag_s))
        return pools[-1]

    yield start
    for pool in pools:
        pool.close()


@pytest.fixture
def eventually():
    """Asks again and again until the answer is true; fails after `within_s`."""

    def ask(question, within_s=5):
        deadline = time.monotonic() + within_s
        while not (answer := question()):
            assert time.monotonic() < deadline, f"not so within {within_s} s"
            threading.Event().wait(0.005)
        return answer

    return ask
