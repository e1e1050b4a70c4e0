"""A real `headrace serve` in a process of its own."""

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

DEADLINE_S = 60


class Server:
    """Started, ready, and on free ports."""

    def __init__(self, process, log):
        self.process = process
        self.log = log
        self.http_port = self.grpc_port = 0

    @property
    def url(self):
        return f"127.0.0.1:{self.http_port}"

    @property
    def grpc_url(self):
        return f"127.0.0.1:{self.grpc_port}"

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.url}{path}", timeout=10) as answer:
            return answer.read()

    def replica_pids(self):
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return [int(pid) for pid in children.stdout.split()]

    def booted_pids(self):
        """Process ids of the replicas that have a place. The standby has not mapped the pool's board yet."""
        return [pid for pid in self.replica_pids() if "/board" in _maps(pid)]

    def wait_for(self, pattern):
        """The match of `pattern` in what the server has said, as soon as it is said."""
        end = time.monotonic() + DEADLINE_S
        with self.log.news:
            while not (match := re.search(pattern, self.log.text)):
                assert time.monotonic() < end, f"no {pattern!r} in:\n{self.log.text}"
                assert self.log.open, f"the server ended:\n{self.log.text}"
                self.log.news.wait(1.0)
        return match


def _maps(pid):
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return ""


class _Log:
    def __init__(self, stream):
        self.text = ""
        self.open = True
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self.reader.start()

    def _read(self, stream):
        with stream:
            for line in stream:
                with self.news:
                    self.text += line
                    self.news.notify_all()
        with self.news:
            self.open = False
            self.news.notify_all()


@contextlib.contextmanager
def serving(repository, *flags, replicas=1, exit_code=0):
    """Serve `repository`; at the end SIGTERM must drain and exit with `exit_code`."""
    command = [sys.executable, "-m", "server", "serve", str(repository), "--host", "127.0.0.1"]
    ports = ["--http-port", "0", "--grpc-port", "0", "--replicas", str(replicas)]
    process = subprocess.Popen(
        [*command, *ports, *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    )
    server = Server(process, _Log(process.stdout))
    try:
        ready = server.wait_for(r"REST on http://127\.0\.0\.1:(\d+), gRPC on 127\.0\.0\.1:(\d+)")
        server.http_port, server.grpc_port = map(int, ready.groups())
        yield server
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == exit_code, server.log.text
    finally:
        process.kill()
        process.wait()
        server.log.reader.join(DEADLINE_S)
