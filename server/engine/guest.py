"""A replica as an engine has it: its wire, its arenas, what it has loaded and what runs for it.

Invariants: 1. Every run is answered once, unless it is cancelled. 2. Its region is given back when no array looks at it
any more. 3. An answer for which the arena has no room waits until there is some.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from batcher.assemble import concat
from batcher.entry import Outcome
from executor.link.arena import Arena
from executor.link.leases import Leases
from executor.link.parcel import inside, pack, unpack
from executor.link.wire import Wire, accept
from headrace.errors import ExecutorFailed, ServingError
from headrace.requests import Array
from server.core import Core
from server.engine import words
from server.engine.errand import Errand
from server.engine.gate import Gate
from server.engine.shelf import Key, LoadCore, Shelf

logger = logging.getLogger("headrace.engine")


FEW_BYTES = 2048
"""An answer of so many is part of the message."""


class Guest:
    """`runs` and `answers` are the arenas that it brought. Lives on the engine's event loop."""

    def __init__(self, shelf: Shelf, gate: Gate, runs: Arena, answers: Arena, tasks: asyncio.TaskGroup) -> None:
        self.wire = Wire(self._heard, self._left)
        self._shelf = shelf
        self._gate = gate
        self._runs = runs
        self._answers = answers
        self._tasks = tasks
        self._leases = Leases(lambda starts: self.wire.send(words.encode(words.Free(starts))))
        self._keys: dict[int, Key] = {}
        self._cores: dict[int, Core] = {}
        self._errands: dict[int, Errand] = {}
        self._finished: deque[tuple[Errand, Mapping[str, Array]]] = deque()
        """Those whose answers have no room yet."""

    def _heard(self, message: bytes) -> None:
        match words.to_engine(message):
            case words.Run() as run:
                self._run(run)
            case words.Read(starts):
                for start in starts:
                    self._answers.give_back(start)
                self._answer_more()
            case words.Cancel(run):
                self._cancel(run)
            case words.Load(number, spec):
                self._tasks.create_task(self._load(number, spec), name=f"load {number}")
            case words.Unload(number):
                self._unload(number)
            case words.Ask() as ask:
                self._tasks.create_task(self._tell(ask), name="describe")

    # -- versions ---------------------------------------------------------------------------------------------------
    async def _load(self, number: int, pickled: bytes) -> None:
        spec = pickle.loads(pickled)  # of a replica of this pool: what comes out is what went in
        key = self._keys[number] = Key(spec.id, spec.fingerprint)
        try:
            core = await self._shelf.take(key, spec)
        except Exception as error:
            if not isinstance(error, ServingError):
                logger.exception("%s failed to load", spec.id)
            if self._keys.pop(number, None):
                self.wire.send(words.encode(words.Unable(number, str(error) or type(error).__name__)))
            return
        if number not in self._keys:  # unloaded, or gone, meanwhile
            self._shelf.give_back(key)
            return
        self._cores[number] = core
        told = words.Loaded(
            number, pickle.dumps(core.metadata), core.providers, core.max_batch_rows, core.executor.slots
        )
        self.wire.send(words.encode(told))

    def _unload(self, number: int) -> None:
        key = self._keys.pop(number, None)
        if self._cores.pop(number, None) is not None and key is not None:
            self._shelf.give_back(key)

    async def _tell(self, ask: words.Ask) -> None:
        core = self._cores.get(ask.number)
        try:
            document = {} if core is None else await core.describe(ask.recording)
        except Exception as error:  # who only asks must not end the engine
            logger.exception("a batcher could not be described")
            document = {"error": f"{type(error).__name__}: {error}"}
        self.wire.send(words.encode(words.Told(ask.serial, msgspec.json.encode(document))))

    # -- runs -------------------------------------------------------------------------------------------------------
    def _run(self, run: words.Run) -> None:
        start = run.parcel.start
        inputs, region = unpack(run.parcel, self._runs)
        assert region is not None, "a run has one, if only for its first byte"
        errand = self._errands[start] = Errand(run, inputs, region, id(self), self._deliver)
        self._leases.watch(start, region)
        if run.alone:
            self._tasks.create_task(self._run_alone(errand), name="suspect")
            return
        try:
            self._cores[run.number].batcher.submit(errand, run.timeout_s, errand.account)
        except ServingError as error:
            errand.done = True
            self._deliver(errand, error)

    async def _run_alone(self, errand: Errand) -> None:
        """In batches that nobody shares, while nothing else runs: whatever becomes of this process, it was this run."""
        core = self._cores[errand.run.number]
        outputs = []
        async with self._gate.alone():
            if errand.done:
                return
            began = time.monotonic()
            try:
                with errand.runs_alone():
                    for part in _parts(errand, core.max_batch_rows):
                        outputs.append(await core.executor.run(part))
            except ServingError as error:
                errand.finish(error)
                return
            except Exception as error:
                errand.finish(ExecutorFailed(f"model {core.metadata.id}: {type(error).__name__}: {error}"))
                return
        if errand.account is not None:
            errand.account.ran_alone(len(outputs), errand.rows, began, time.monotonic())
        errand.finish(dict(concat(outputs)))

    def _cancel(self, run: int) -> None:
        if errand := self._over(run):
            self._cores[errand.run.number].batcher.cancel(errand)

    def _over(self, run: int) -> Errand | None:
        """It is not under way any more, whatever became of it."""
        errand = self._errands.pop(run, None)
        if errand is not None and errand.account is not None:
            self._cores[errand.run.number].batcher.accounts.close(errand)
        return errand

    def _deliver(self, errand: Errand, outcome: Outcome) -> None:
        run = errand.run.parcel.start
        if self._over(run) is None:
            return
        if isinstance(outcome, ServingError):
            self.wire.send(words.encode(words.failure(run, outcome)))
        elif self._finished or not self._answer(errand, outcome):
            self._finished.append((errand, outcome))

    def _answer(self, errand: Errand, outputs: Mapping[str, Array]) -> bool:
        """Whether there was room for it."""
        run = errand.run.parcel.start
        size = sum(array.nbytes for array in outputs.values())
        if size >= self._answers.size:
            sentence = f"the answer has {size} bytes, an engine gives at most {self._answers.size}"
            self.wire.send(words.encode(words.failure(run, ExecutorFailed(sentence))))
            return True
        parcel = pack(outputs, self._answers) if size > FEW_BYTES else inside(outputs)
        if parcel is None:
            return False
        self.wire.send(words.encode(words.Answer(run, parcel, errand.account)))
        return True

    def _answer_more(self) -> None:
        while self._finished and self._answer(*self._finished[0]):
            self._finished.popleft()

    def _left(self) -> None:
        """The replica has ended: nobody waits for anything."""
        self._leases.forget()
        self._finished.clear()
        for run in list(self._errands):
            self._cancel(run)
        for number in list(self._keys):
            self._unload(number)
        self._runs.close()
        self._answers.close()


async def welcome(
    listening: socket.socket,
    load: LoadCore,
    gate: Gate,
    tasks: asyncio.TaskGroup,
    came: Callable[[Guest], None] = lambda guest: None,
) -> None:
    """Whoever connects is a guest, whose work is done in `tasks`. `load` loads what none of them has yet."""
    loop = asyncio.get_running_loop()
    shelf = Shelf(load)
    while True:
        end, (runs, answers) = await accept(listening)
        guest = Guest(shelf, gate, Arena(runs), Arena(answers), tasks)
        came(guest)
        await loop.create_connection(lambda guest=guest: guest.wire, sock=end)  # type: ignore[misc]


def _parts(errand: Errand, most: int) -> list[Mapping[str, Array]]:
    if errand.rows <= most:
        return [errand.inputs]
    return [
        {name: array[start : start + most] for name, array in errand.inputs.items()}
        for start in range(0, errand.rows, most)
    ]
