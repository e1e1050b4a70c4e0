"""HTTP servers with planted faults, for the load generator: what it reports must be what was planted."""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field

import httptools

from loadtest.connection import Connections

BODY = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1.0,2.0]}]}'
SLOW_S = 0.05
WRONG = BODY.replace(b"2.0", b"2.5")


@dataclass
class Fault:
    """Every n-th request, counted over all connections; 0: never."""

    wrong_every: int = 0
    refuse_every: int = 0
    reset_every: int = 0
    close_every: int = 0
    silent_every: int = 0
    stall_at: int = 0
    """The whole server stops for `stall_s` when this request comes."""
    stall_every: int = 0
    stall_s: float = 1.0
    slow_for_s: float = 0.0
    """From the first request on, every answer takes `SLOW_S`."""
    seen: int = 0
    times: list = field(default_factory=list)
    connections: Counter = field(default_factory=Counter)
    """Requests by connection."""


class Server(asyncio.Protocol):
    def __init__(self, fault):
        self.fault = fault
        self.parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_message_complete(self):
        fault = self.fault
        fault.seen += 1
        fault.times.append(asyncio.get_running_loop().time())
        fault.connections[id(self)] += 1
        number = fault.seen

        def due(every):
            return every and number % every == 0

        if due(fault.reset_every):
            self.transport.abort()
        elif due(fault.silent_every):
            pass
        elif due(fault.refuse_every):
            self.answer(b"503 Service Unavailable", b'{"error":"overloaded"}', b"retry-after: 1\r\n")
        elif number == fault.stall_at or due(fault.stall_every):
            fault.stalled_until = asyncio.get_running_loop().time() + fault.stall_s
            asyncio.get_running_loop().call_later(fault.stall_s, self.answer, b"200 OK", BODY)
        else:
            now = asyncio.get_running_loop().time()
            wait = getattr(fault, "stalled_until", 0.0) - now
            if now - fault.times[0] < fault.slow_for_s:
                wait = max(wait, SLOW_S)
            body = WRONG if due(fault.wrong_every) else BODY
            head = b"connection: close\r\n" if due(fault.close_every) else b""
            if wait > 0:
                asyncio.get_running_loop().call_later(wait, self.answer, b"200 OK", body, head)
            else:
                self.answer(b"200 OK", body, head)

    def answer(self, status, body, head=b""):
        if self.transport.is_closing():
            return
        self.transport.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n%b\r\n%b" % (status, len(body), head, body))
        if b"close" in head:
            self.transport.close()


@contextlib.asynccontextmanager
async def misbehaving(**faults):
    fault = Fault(**faults)
    server = await asyncio.get_running_loop().create_server(lambda: Server(fault), "127.0.0.1", 0)
    async with server:
        yield Connections("127.0.0.1", server.sockets[0].getsockname()[1]), fault
