"""A replica's side of what all replicas serve: it hears what is wanted, says what it has prepared, and waits.

Receives messages of the supervisor from the replica, hands scans and permissions to the application. The supervisor's
side is `control.py`. Invariants: 1. `publish` returns only when every replica has prepared the load. 2. It never waits
for a load that is not wanted any more, nor past `end`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from headrace.errors import LoadFailed
from model_repo.found import Scan
from model_repo.spec import VersionSpec
from server.pool import wanted
from server.pool.ballots import LoadKey
from server.pool.channel import Message, Objection, Settle, Settled, Verdict, Vote, Wanted

_log = logging.getLogger("headrace.pool")

AGAIN_S = 1.0
_SUPERSEDED = "its files or its configuration have changed meanwhile"
_ENDED = "the server is shutting down"
_MOST_CHARS = 10_000
"""Of a reason, which must fit a line of the control channel."""


class Agreement:
    """Used on the replica's event loop only. `send` is the way to the supervisor."""

    def __init__(self, directory: Path, send: Callable[[Message], None]) -> None:
        self._directory = directory
        self._send = send
        self._news = asyncio.Event()
        self._questions: list[Settle] = []
        self._taken_back: list[Verdict] = []
        self._wanted: frozenset[LoadKey] = frozenset()
        self._waiting: dict[LoadKey, asyncio.Future[str]] = {}
        self._ended = False

    def heard(self, message: Wanted | Verdict | Settle) -> None:
        """The supervisor says so."""
        match message:
            case Wanted():
                self._news.set()
            case Settle():
                self._questions.append(message)
                self._news.set()  # what it asks about may not have been read yet
            case Verdict(model, version, fingerprint, reason):
                if not self._settle((model, version, fingerprint), reason) and reason:
                    self._taken_back.append(message)
                    self._news.set()

    async def scans(self) -> AsyncIterator[Scan]:
        """What is wanted, again after every change. For one task."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                scan = wanted.read(self._directory)
            except OSError as error:  # no descriptor or memory left, for example by a crowd of clients
                _log.warning("cannot read what is wanted: %s; trying again", error.strerror)
                self._news.set()
                await asyncio.sleep(AGAIN_S)
                continue
            self._wanted = frozenset(map(_key, scan.wanted.values()))
            for load in self._waiting.keys() - self._wanted:
                self._settle(load, _SUPERSEDED)
            yield scan

    def questions(self) -> list[Settle]:
        """What the supervisor wants to know about what `scans` just gave: each is to be answered with `settled`."""
        questions, self._questions = self._questions, []
        return questions

    def taken_back(self) -> list[Verdict]:
        """Loads that were published and must not be served any more, for a reason."""
        taken_back, self._taken_back = self._taken_back, []
        return taken_back

    def object_to(self, spec: VersionSpec, reason: str) -> None:
        """This replica has found, after all have published `spec`, that it should be taken back."""
        self._send(Objection(*_key(spec), reason[:_MOST_CHARS]))

    def settled(self, question: Settle) -> None:
        """Of that model all is as it is wanted."""
        self._send(Settled(question.number))

    async def publish(self, spec: VersionSpec) -> None:
        """This replica has prepared `spec`: return when all have. Raises LoadFailed if they will not."""
        load = _key(spec)
        if self._ended or load not in self._wanted:
            raise LoadFailed(f"{spec.id} is not published: {_ENDED if self._ended else _SUPERSEDED}")
        verdict = self._waiting[load] = asyncio.get_running_loop().create_future()
        self._send(Vote(*load, ""))
        try:
            reason = await verdict
        finally:
            self._waiting.pop(load, None)
        if reason:
            raise LoadFailed(f"{spec.id} is not published: {reason}")

    def refuse(self, spec: VersionSpec, reason: str) -> None:
        """This replica cannot load `spec`: nobody publishes it."""
        self._send(Vote(*_key(spec), reason[:_MOST_CHARS]))

    def end(self) -> None:
        """Nothing is published from here on, and nobody waits."""
        self._ended = True
        for load in list(self._waiting):
            self._settle(load, _ENDED)

    def _settle(self, load: LoadKey, reason: str) -> bool:
        """Whether somebody was waiting for it."""
        verdict = self._waiting.pop(load, None)
        if verdict is None:
            return False
        if not verdict.done():
            verdict.set_result(reason)
        return True


def _key(spec: VersionSpec) -> LoadKey:
    return spec.id.name, spec.id.version, spec.fingerprint
