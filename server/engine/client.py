"""A replica's end of an engine: sends runs and gets answers; an engine that dies loses none of them.

Lives on the replica's event loop. Invariants: 1. Every entry that `run` took is finished once, unless it is cancelled:
with the engine's outcome, or refused when its timeout is over or the engine is given up. 2. When the engine has died,
what waited there is sent again; what ran is sent to run alone, and is refused as poison if the engine dies of it again.
3. The region of an entry stays until the engine does not look at it any more, or is dead.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from batcher.account import Account
from batcher.entry import Entry
from executor.link.arena import Arena
from executor.link.leases import Leases
from executor.link.parcel import pack, unpack
from executor.link.wire import Wire, connect
from headrace.errors import BadRequest, DeadlineExceeded, ExecutorFailed, ModelNotReady, QueueFull
from model_repo.spec import VersionSpec
from server.engine import words
from server.engine.loads import Loads
from server.engine.words import RUNS, RUNS_ALONE, WAITS

ARENA_BYTES = 1 << 30
"""Of tensors on the way to an engine, and as much on the way back. Memory is used where something was written."""

_log = logging.getLogger("headrace.engine")


class _Sent(msgspec.Struct):
    """An entry under way."""

    entry: Entry
    run: words.Run
    account: Account | None = None


class Engine:
    """`path` is where it listens; `need` asks for it to be started. `up` and `down` say what became of that."""

    def __init__(self, name: str, path: Path, need: Callable[[str], None]) -> None:
        self.name = name
        self._path = path
        self._need = need
        self._loads = Loads()
        self._sent: dict[int, _Sent] = {}
        self._starts: dict[Entry, int] = {}
        self._over: set[int] = set()
        """Regions of runs that are finished or cancelled, at which the engine may still look."""
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._serials = itertools.count()
        self._runs: Arena | None = None
        self._wire: Wire | None = None
        self._answers: Arena
        self._leases: Leases

    # -- versions ---------------------------------------------------------------------------------------------------
    async def load(self, spec: VersionSpec) -> tuple[int, words.Loaded]:
        """Have it loaded there; its number, and what the engine says about it. Raises LoadFailed."""
        number, loaded = self._loads.add(spec)
        if self._wire is None:
            self._need(self.name)
        try:
            return number, await loaded
        except BaseException:
            self.unload(number)
            raise

    def unload(self, number: int) -> None:
        """It is not needed any more; nothing of it is under way."""
        self._loads.remove(number)

    async def ask(self, number: int, *, recording: bool) -> bytes:
        """What the version has learnt and does, as JSON. Raises ModelNotReady."""
        if self._wire is None:
            raise ModelNotReady(f"{self._loads.held[number].name} is not ready: its engine is being restarted")
        serial = next(self._serials)
        told: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[serial] = told
        self._send(words.Ask(number, serial, recording))
        return await told

    # -- runs -------------------------------------------------------------------------------------------------------
    def run(self, number: int, entry: Entry, timeout_s: float, account: Account | None) -> None:
        """Have the entry run; see `Gatherer.submit`."""
        held = self._loads.held[number]
        if held.unable:
            raise ModelNotReady(f"model {held.name} is not ready: {held.unable}")
        if self._runs is None:
            self._runs = Arena.create(ARENA_BYTES)
        parcel = pack(entry.inputs, self._runs)
        if parcel is None:
            raise self._no_room(number, entry)
        run = words.Run(
            number,
            parcel,
            entry.rows,
            msgspec.Raw(words.encode(entry.key)),
            entry.arrived,
            entry.rank,
            entry.client,
            entry.length,
            timeout_s,
            explain=account is not None,
        )
        sent = self._sent[parcel.start] = _Sent(entry, run, account)
        self._starts[entry] = parcel.start
        if held.there:
            self._send(run)
        else:
            self._expect_in_time(sent)

    def cancel(self, entry: Entry) -> None:
        """Nobody waits for it any more."""
        start = self._starts.get(entry)
        if start is None:
            return
        self._finished(start)
        self._send(words.Cancel(start))

    def _no_room(self, number: int, entry: Entry) -> QueueFull | BadRequest:
        size = sum(array.nbytes for array in entry.inputs.values())
        name = self._loads.held[number].name
        if size >= ARENA_BYTES:
            return BadRequest(f"model {name}: an engine takes at most {ARENA_BYTES} bytes, the request has {size}")
        return QueueFull(f"model {name} is overloaded: the memory shared with its engine is full")

    def _expect_in_time(self, sent: _Sent) -> None:
        """Nobody else looks at its timeout now."""
        if sent.run.timeout_s and sent.entry.timer is None:
            left_s = sent.entry.arrived + sent.run.timeout_s - time.monotonic()
            sent.entry.timer = asyncio.get_running_loop().call_later(left_s, self._expire, sent)

    def _expire(self, sent: _Sent) -> None:
        timeout_ms = sent.run.timeout_s * 1e3
        self.cancel(sent.entry)
        sent.entry.finish(
            DeadlineExceeded(f"the request's timeout of {timeout_ms:g} ms passed before it could be answered")
        )

    def _finished(self, start: int) -> _Sent | None:
        sent = self._sent.pop(start, None)
        if sent is not None:
            del self._starts[sent.entry]
            self._over.add(start)
            if self._wire is None:
                self._free(start)
        return sent

    def _free(self, start: int) -> None:
        self._over.discard(start)
        assert self._runs is not None
        self._runs.give_back(start)

    # -- the engine comes and goes ----------------------------------------------------------------------------------
    async def up(self) -> None:
        """It listens: connect, and have it load and run again what it should."""
        if self._wire is not None:
            return
        if self._runs is None:
            self._runs = Arena.create(ARENA_BYTES)
        answers = Arena.create(ARENA_BYTES)
        try:
            wire = await connect(self._path, (self._runs.fd, answers.fd), lambda: Wire(self._heard, self._lost))
        except OSError as error:  # it has died meanwhile, and will be up again
            _log.debug("engine %s: cannot connect: %s", self.name, error)
            return
        self._answers = answers
        self._wire = wire
        self._leases = Leases(lambda starts: wire.send(words.encode(words.Read(starts))))
        self._loads.up(self._send)

    def down(self, reason: str) -> None:
        """It will not come back."""
        self._loads.given_up(f"engine {self.name} {reason}")
        for start in list(self._sent):
            if sent := self._finished(start):
                sent.entry.finish(ModelNotReady(f"model {self._name(sent)} is not ready: engine {self.name} {reason}"))

    def _lost(self) -> None:
        """It has died, or was told to end."""
        _log.warning("engine %s is gone; requests under way there: %d", self.name, len(self._sent))
        self._wire = None
        self._leases.forget()
        self._answers.close()
        for told in self._asked.values():
            if not told.done():
                told.set_exception(ModelNotReady(f"engine {self.name} has ended meanwhile"))
        self._asked.clear()
        for start in list(self._over):
            self._free(start)
        for start, sent in list(self._sent.items()):
            self._judge(start, sent)
        for number in self._loads.lost():
            self._not_ready(number)
        self._need(self.name)

    def _judge(self, start: int, sent: _Sent) -> None:
        """Whether a run that the engine has not answered may have been what it died of."""
        assert self._runs is not None
        state = self._runs.region(start, 1)
        was = int(state[0])
        if was == RUNS_ALONE:
            self._finished(start)
            name = self._name(sent)
            sent.entry.finish(
                ExecutorFailed(f"model {name}: the request is refused: two engines have died while they ran it")
            )
            return
        sent.run = msgspec.structs.replace(sent.run, alone=sent.run.alone or was == RUNS)
        state[0] = WAITS
        self._expect_in_time(sent)

    # -- what it says -----------------------------------------------------------------------------------------------
    def _heard(self, message: bytes) -> None:
        match words.to_replica(message):
            case words.Answer() as answer:
                self._answered(answer)
            case words.Failure(run) as failure:
                if sent := self._finished(run):
                    sent.entry.finish(words.error(failure))
            case words.Free(runs):
                for run in runs:
                    self._free(run)
            case words.Loaded(number) as loaded if number in self._loads.held:
                self._loads.loaded(loaded)
                self._run_again(number)
            case words.Unable(number, reason) if number in self._loads.held:
                self._loads.unable(number, reason)
                self._not_ready(number)
            case words.Told(serial, document):
                told = self._asked.pop(serial, None)
                if told is not None and not told.done():
                    told.set_result(document)

    def _answered(self, answer: words.Answer) -> None:
        parcel = answer.parcel
        outputs, region = unpack(parcel, self._answers)
        if region is not None:
            self._leases.watch(parcel.start, region)
        del region
        if sent := self._finished(answer.run):
            if answer.account is not None and sent.account is not None:
                for field in answer.account.__struct_fields__:
                    setattr(sent.account, field, getattr(answer.account, field))
            sent.entry.finish(outputs)

    def _run_again(self, number: int) -> None:
        """The version is there: what was kept for it is sent."""
        for sent in self._sent.values():
            if sent.run.number == number:
                self._send(sent.run)

    def _not_ready(self, number: int) -> None:
        """The version is not there and will not be."""
        held = self._loads.held[number]
        for start, sent in list(self._sent.items()):
            if sent.run.number == number:
                self._finished(start)
                sent.entry.finish(ModelNotReady(f"model {held.name} is not ready: {held.unable}"))

    def _name(self, sent: _Sent) -> str:
        return self._loads.held[sent.run.number].name

    def _send(self, message: words.ToEngine) -> None:
        if self._wire is not None:
            self._wire.send(words.encode(message))
