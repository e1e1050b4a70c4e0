"""The application that the process tests run: answers "hello PID" by hand, with switches in the environment.

GET / answers at once. GET /slow answers, and the scene slow-load loads, when
the file POOL_RELEASE exists. POOL_SCENE picks a way to go wrong.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from headrace.errors import ConfigError

SCENE = os.environ.get("POOL_SCENE", "")
RELEASE = Path(os.environ.get("POOL_RELEASE", "/nonexistent"))

if SCENE == "cannot-import":
    raise ImportError("onnxruntime is missing: install headrace[cpu] or headrace[gpu]")


class Hello(asyncio.Protocol):
    def __init__(self, application):
        self.application = application
        self.buffer = b""
        self.answering = False
        self.answered = 0

    def connection_made(self, transport):
        self.transport = transport
        self.application.connections.add(self)

    def data_received(self, data):
        self.buffer += data
        if b"\r\n\r\n" in self.buffer and not self.answering:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            self.answering = True
            if head.startswith(b"GET /slow"):
                self.application.waiting.append(self)
            else:
                self.answer()

    def answer(self):
        self.answering = False
        self.answered += 1
        place = self.application.place
        counts = ",".join(str(replica.http) for replica in place.board.replicas())
        body = (
            f"hello {os.getpid()} ready={place.board.pool_ready():d} loaded={self.application.loaded:d} counts={counts}"
        )
        close = b"Connection: close\r\n" if self.application.draining else b""
        self.transport.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (close, len(body), body.encode()))
        if self.application.draining:
            self.transport.close()

    def connection_lost(self, exc):
        self.application.place.http.closed()
        self.application.connections.discard(self)
        self.application.lost.set()


class Application:
    grpc_tls = None

    def __init__(self, config, place):
        self.place = place
        self.connections = set()
        self.waiting = []
        self.draining = False
        self.loaded = False
        self.lost = asyncio.Event()

    async def load(self):
        if SCENE == "bad-configuration":
            raise ConfigError("model_repository: expected a folder, found '/nowhere'")
        if SCENE == "dies-in-load":
            os._exit(9)
        sys.stderr.write(f"loading {os.getpid()}\n")
        if SCENE == "hangs-in-load":
            time.sleep(60)  # noqa: ASYNC251 - the loop itself must stand still
        while SCENE == "slow-load" and not RELEASE.exists():  # noqa: ASYNC110, ASYNC240 - one stat call
            await asyncio.sleep(0.01)
        self.loaded = True

    def http_connection(self):
        return Hello(self)

    grpc_connection = http_connection  # nobody connects there

    async def run(self):
        if SCENE == "dies-after-ready" and self.place.index == 0:
            while not self.place.board.pool_ready():  # noqa: ASYNC110 - another process sets it
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            os._exit(9)
        while True:
            await asyncio.sleep(0.01)
            if self.waiting and RELEASE.exists():  # noqa: ASYNC240 - one stat call
                self.waiting.pop().answer()

    @staticmethod
    def at_leisure():
        sys.stderr.write(f"at leisure {os.getpid()}\n")

    async def drain(self, grace_s):
        sys.stderr.write(f"draining {os.getpid()}\n")
        self.draining = True
        for connection in list(self.connections):
            if connection.answered and not connection.answering:
                connection.transport.close()
        while self.connections:
            self.lost.clear()
            await self.lost.wait()
