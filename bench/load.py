"""Load from this process for `adaptive.py`: closed loops, and Poisson arrivals with latencies from the intended times.

Own code because wrk has no open loop and httpx needs more CPU than the server: this takes some 12 us of its core per
request. An open loop spins, as a timer of the event loop would be late by a millisecond. Connections are kept from load
to load. Raises AnswerError at the first answer that is not 200.
"""

import asyncio
import itertools
import time
from collections import deque
from dataclasses import dataclass

import numpy as np

MOST_CONNECTIONS = 512
PATIENCE_S = 1.0
"""An open loop that has waited so long for a free connection ends: what it did not send counts as never answered."""


class AnswerError(Exception):
    pass


@dataclass(frozen=True)
class Seen:
    """What a load saw once its warm-up was over; seconds and answers per second."""

    throughput: float
    latencies: np.ndarray
    """Infinite for requests that were not sent: the server was too far behind."""
    late: float
    """99th percentile of how much later than intended requests were sent; 0 for a closed loop."""
    busy: float
    """Share of its core that this process needed; an open loop always takes all."""


def http_request(model, body, headers):
    lines = [f"POST /v2/models/{model}/infer HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection(asyncio.Protocol):
    """One request at a time: once an answer is there whole, its load's `answered(connection, now)` is called.

    The head of an answer must come in one piece, as our server sends it.
    """

    def __init__(self):
        self.load = None
        self.intended = 0.0
        self._missing = 0

    def connection_made(self, transport):
        self._write = transport.write

    def send(self, request, intended):
        self.intended = intended
        self._write(request)

    def data_received(self, data):
        if not self._missing:
            end = data.find(b"\r\n\r\n") + 4
            at = data.find(b"\r\ncontent-length: ", 0, end) + 18
            if at < 18 or not data.startswith(b"HTTP/1.1 200"):
                self.load.failed(AnswerError(f"the server answered {data[:400]!r}"))
                return
            self._missing = end + int(data[at : data.find(b"\r", at)])
        self._missing -= len(data)
        if not self._missing:
            self.load.answered(self, time.perf_counter())

    def connection_lost(self, exc):
        if self.load is not None:
            self.load.failed(AnswerError(f"the server closed a connection: {exc}"))


class Client:
    """Connections to one server. One load at a time."""

    def __init__(self, port):
        self._port = port
        self._connections = []

    async def closed(self, requests, connections, warm_up, seconds):
        """Every one of the connections sends again as soon as it is answered."""
        return await ClosedLoop(requests, warm_up, seconds).run(await self._connected(connections))

    async def open(self, requests, rate, warm_up, seconds, seed):
        """`rate` requests a second on average, at times that depend on nothing but `seed`."""
        return await OpenLoop(requests, rate, warm_up, seconds, seed).run(await self._connected(MOST_CONNECTIONS))

    async def _connected(self, count):
        loop = asyncio.get_running_loop()
        while len(self._connections) < count:
            _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
            self._connections.append(connection)
        return self._connections[:count]


class Load:
    def __init__(self, requests, warm_up, seconds):
        self._requests = itertools.cycle(requests)
        self._warm_up, self._seconds = warm_up, seconds
        self._intended, self._answered = [], []
        self._running = 0
        self._done = asyncio.get_running_loop().create_future()

    async def run(self, connections):
        for connection in connections:
            connection.load = self
        self._from = time.perf_counter() + self._warm_up
        self._until = self._from + self._seconds
        cpu, started = time.process_time(), time.perf_counter()
        await self._drive(connections)
        await self._done
        busy = (time.process_time() - cpu) / (time.perf_counter() - started)
        return self._seen(np.array(self._intended), np.array(self._answered), busy)

    def failed(self, error):
        if not self._done.done():
            self._done.set_exception(error)

    def _send(self, connection, intended):
        self._running += 1
        connection.send(next(self._requests), intended)

    def _note(self, connection, now):
        self._running -= 1
        self._intended.append(connection.intended)
        self._answered.append(now)


class ClosedLoop(Load):
    async def _drive(self, connections):
        for connection in connections:
            self._send(connection, time.perf_counter())

    def answered(self, connection, now):
        self._note(connection, now)
        if now < self._until:
            self._send(connection, now)
        elif not self._running:
            self._done.set_result(None)

    def _seen(self, intended, answered, busy):
        # From the last answer before the time to the last one in it: whole batches, however few fit.
        begin, end = np.searchsorted(answered, [self._from, self._until])
        begin = max(begin, 1)
        throughput = (end - begin) / (answered[end - 1] - answered[begin - 1]) if end > begin else 0.0
        return Seen(throughput, (answered - intended)[begin:end], 0.0, busy)


class OpenLoop(Load):
    def __init__(self, requests, rate, warm_up, seconds, seed):
        super().__init__(requests, warm_up, seconds)
        gaps = np.random.default_rng(seed).exponential(1 / rate, int(2 * rate * (warm_up + seconds)) + 100)
        times = np.cumsum(gaps)
        self._times = times[times < warm_up + seconds]
        self._free, self._late = [], []
        self._sent, self._never = False, 0

    async def _drive(self, connections):
        self._free.extend(connections)
        planned = deque((self._from - self._warm_up + self._times).tolist())
        while planned and not self._done.done():
            now = time.perf_counter()
            while planned and planned[0] <= now and self._free:
                self._late.append(now - planned[0])
                self._send(self._free.pop(), planned.popleft())
            if planned and planned[0] < now - PATIENCE_S:
                break
            await asyncio.sleep(0)
        self._never = len(planned)
        self._sent = True
        self._finish()

    def answered(self, connection, now):
        self._note(connection, now)
        self._free.append(connection)
        self._finish()

    def _finish(self):
        if self._sent and not self._running and not self._done.done():
            self._done.set_result(None)

    def _seen(self, intended, answered, busy):
        counted = intended >= self._from
        latencies = np.concatenate([(answered - intended)[counted], np.full(self._never, np.inf)])
        inside = np.count_nonzero((answered >= self._from) & (answered < self._until))
        return Seen(inside / self._seconds, latencies, float(np.quantile(self._late, 0.99)), busy)
