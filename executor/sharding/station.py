"""A pipeline's end of the process of one stage: started, asked to run, and known to be dead.

For threads. Invariants: 1. Every call of `run` that was sent is answered in order, or hears `StageLost`. 2. A process
that is gone is reaped.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from typing import NamedTuple, TypeAlias

from executor.link import frames
from executor.link.arena import Arena
from executor.link.parcel import Parcel, pack, unpack
from executor.sharding import words
from headrace.errors import LoadFailed
from headrace.requests import Array

ARENA_BYTES = 1 << 30
"""Of values on the way to a stage, and as much on the way from it. Memory is used where something was written."""


class StageLost(Exception):
    """The process of a stage has ended while it had something to run, or before."""


class Given(NamedTuple):
    """What a stage gave. The arrays are its memory: to be `read` when nobody looks at them any more."""

    outputs: dict[str, Array]
    start: int
    seconds: float


_Asked: TypeAlias = tuple[Parcel, "Future[Given]"]


class Station:
    """The process runs from the beginning; `begin` and `opened` before the first `run`."""

    def __init__(self) -> None:
        self._what = "a stage"
        self._runs, self._answers = Arena.create(ARENA_BYTES), Arena.create(ARENA_BYTES)
        self._end, theirs = socket.socketpair()
        descriptors = theirs.fileno(), self._runs.fd, self._answers.fd
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "executor.sharding.process", *map(str, descriptors)],
                stdin=subprocess.DEVNULL,
                pass_fds=descriptors,
                process_group=0,
            )
        self.pid = self._process.pid
        self._lock = threading.Lock()
        """Of sending, and of what follows."""
        self._asked: deque[_Asked] = deque()
        self._lost = ""
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def begin(self, order: words.Open) -> None:
        """Have it open its session; it takes its time."""
        self._what = self._listener.name = order.name
        self._say(order)

    def opened(self) -> str:
        """Returns when it has, what it has to say, and answers are read from now on. Raises LoadFailed."""
        message = frames.receive(self._end)
        said = words.to_pipeline(message) if message is not None else None
        if not isinstance(said, words.Opened):
            self.close()
            why = said.reason if isinstance(said, words.Refused) else f"its process has ended ({self._lost})"
            raise LoadFailed(f"{self._what} cannot be opened: {why}")
        self._listener.start()
        return said.note

    def run(self, inputs: Mapping[str, Array]) -> Given:
        """One run. Raises StageLost, RuntimeError with what ONNX Runtime says, MemoryError."""
        answer: Future[Given] = Future()
        with self._lock:
            if self._lost:
                raise StageLost(f"{self._what}: {self._lost}")
            parcel = pack(inputs, self._runs)
            if parcel is None:
                size = sum(array.nbytes for array in inputs.values())
                raise MemoryError(f"{self._what} is given {size} bytes, and of {ARENA_BYTES} to share too few are free")
            self._asked.append((parcel, answer))
            self._say(words.Run(parcel))
        return answer.result()

    def read(self, given: Given) -> None:
        """Nobody looks at it any more."""
        with self._lock:
            if not self._lost:
                self._say(words.Read(given.start))

    def close(self) -> None:
        """End the process, and wait for that. May be called again."""
        self._process.kill()
        code = self._process.wait()
        if self._listener.ident is None:  # nobody listens: nobody else will close it
            self._let_go()
        with self._lock:
            self._lost = self._lost or (f"killed by signal {-code}" if code < 0 else f"exit code {code}")
            asked, self._asked = self._asked, deque()
        for _, answer in asked:
            answer.set_exception(StageLost(f"{self._what}: {self._lost}"))

    def _say(self, message: words.ToStage) -> None:
        try:
            frames.send(self._end, words.encode(message))
        except OSError:  # who listens finds out
            return

    def _listen(self) -> None:
        while (message := frames.receive(self._end)) is not None:
            said = words.to_pipeline(message)
            with self._lock:
                if self._lost:  # who asked has been told so
                    break
                parcel, answer = self._asked.popleft()
                self._runs.give_back(parcel.start)
            match said:
                case words.Ran(made, seconds):
                    answer.set_result(Given(unpack(made, self._answers)[0], made.start, seconds))
                case words.Failed(sentence):
                    answer.set_exception(RuntimeError(sentence))
        self.close()
        self._let_go()

    def _let_go(self) -> None:
        self._end.close()
        for arena in (self._runs, self._answers):
            arena.close()
