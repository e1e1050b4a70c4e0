"""The versions that a replica wants to have in an engine: told to load, loaded, or given up.

What a restarted engine is to load is loaded one version after the other, so that one that kills engines is known.
Called by `client.Engine`, on whose `send` it speaks while there is an engine.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
from collections import deque
from collections.abc import Callable

import msgspec

from headrace.errors import LoadFailed
from model_repo.spec import VersionSpec
from server.engine import words

DEATHS = 2
"""So many engines may die while they load a version, and nothing else, until it is given up."""

Send = Callable[[words.ToEngine], None]


class Held(msgspec.Struct):
    """A version. `there`: runs may be sent. `unable`: why it was loaded once and cannot be again."""

    name: str
    load: words.Load
    loaded: asyncio.Future[words.Loaded]
    there: bool = False
    unable: str = ""
    deaths: int = 0


class Loads:
    """By number. All methods are called on the event loop."""

    def __init__(self) -> None:
        self.held: dict[int, Held] = {}
        self._numbers = itertools.count()
        self._send: Send | None = None
        self._loading: set[int] = set()
        self._next: deque[int] = deque()

    def add(self, spec: VersionSpec) -> tuple[int, asyncio.Future[words.Loaded]]:
        """One more: its number, and what will become of it, LoadFailed perhaps."""
        number = next(self._numbers)
        loaded: asyncio.Future[words.Loaded] = asyncio.get_running_loop().create_future()
        self.held[number] = Held(str(spec.id), words.Load(number, pickle.dumps(spec)), loaded)
        if self._next:
            self._next.append(number)
        elif self._send is not None:
            self._begin(number)
        return number, loaded

    def remove(self, number: int) -> None:
        """It is not needed any more."""
        if self.held.pop(number, None) and self._send is not None:
            self._send(words.Unload(number))
            self._ended(number)

    def up(self, send: Send) -> None:
        """There is an engine, with nothing loaded: first to load is what the last one may have died of."""
        self._send = send
        numbers = [number for number, held in self.held.items() if not held.unable]
        self._next = deque(sorted(numbers, key=lambda number: -self.held[number].deaths))
        self._proceed()

    def lost(self) -> list[int]:
        """There is none any more. Those that are given up, as engines die of them; the reason is in `unable`."""
        self._send = None
        suspects, self._loading = self._loading, set()
        self._next.clear()
        for held in self.held.values():
            held.there = False
        given_up = []
        for number in suspects & self.held.keys():
            held = self.held[number]
            held.deaths += len(suspects) == 1
            if held.deaths == DEATHS:
                self.unable(number, f"{DEATHS} engines have died while they loaded it")
                given_up.append(number)
        return given_up

    def loaded(self, message: words.Loaded) -> None:
        """The engine has loaded it."""
        held = self.held[message.number]
        held.there, held.deaths = True, 0
        if not held.loaded.done():
            held.loaded.set_result(message)
        self._ended(message.number)

    def unable(self, number: int, reason: str) -> None:
        """It cannot be loaded."""
        held = self.held[number]
        if held.loaded.done():
            held.unable = reason
        else:
            held.loaded.set_exception(LoadFailed(reason))
        self._ended(number)

    def given_up(self, reason: str) -> None:
        """There will be no engine."""
        for number in list(self.held):
            self.unable(number, reason)

    def _begin(self, number: int) -> None:
        assert self._send is not None
        self._loading.add(number)
        self._send(self.held[number].load)

    def _ended(self, number: int) -> None:
        self._loading.discard(number)
        self._proceed()

    def _proceed(self) -> None:
        while self._next and not self._loading and self._send is not None:
            number = self._next.popleft()
            if number in self.held:
                self._begin(number)
