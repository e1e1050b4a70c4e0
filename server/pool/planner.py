"""Plans for the replicas' batchers are found by the supervisor: the replica's side, the supervisor's, and the budget.

    batcher -> Planner -> Plan -> Plans -> (when the replica's budget allows) a thread -> Planned -> Planner -> batcher

A question is the batcher's picture of its model and load as msgpack, 30 to 100 KB. Invariants: 1. Every question gets
an answer, unless the replica ends or the same batcher asks another one: then the search for the first is given up.
2. In the long run the plans of one replica take `SHARE` of a core.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Hashable

import msgspec

from batcher.adaptive import Found
from batcher.twin import Picture, Settings
from server.planning import PlanningThread
from server.pool.channel import Message, Plan, Planned

SHARE = 0.05
"""Of a core, for one replica."""
SAVED_S = 0.5
"""CPU that a replica may have saved up, for when much changes at once."""


class _Question(msgspec.Struct):
    picture: Picture
    settings: Settings | None


_encode = msgspec.msgpack.Encoder().encode
_question = msgspec.msgpack.Decoder(_Question).decode
_answer = msgspec.msgpack.Decoder(Settings | None).decode


class Planner:
    """A replica's `batcher.adaptive.Planner`. `send` is the way to the supervisor."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._serials = itertools.count(1)
        self._asked: dict[int, Found] = {}
        self._open: dict[Found, int] = {}
        """Whose question has not been answered, and its serial."""

    def __call__(self, picture: Picture, settings: Settings | None, found: Found) -> None:
        """`found` is called when the answer has come, in a later turn of the loop; who asks has always the same one."""
        serial, before = next(self._serials), self._open.pop(found, 0)
        self._asked.pop(before, None)
        self._asked[serial] = found
        self._open[found] = serial
        self._send(Plan(serial, _encode(_Question(picture, settings)), before))

    def heard(self, planned: Planned) -> None:
        """The supervisor's answer. It may be to a question that another one has taken the place of meanwhile."""
        found = self._asked.pop(planned.serial, None)
        if found is not None:
            del self._open[found]
            found(_answer(planned.answer))


class Plans:
    """The supervisor's side. Called on its loop only."""

    def __init__(self) -> None:
        self._thread = PlanningThread()
        self._budget = Budget()
        self._given_up: dict[tuple[Hashable, int], threading.Event] = {}
        """Of the questions that are open: set if nobody wants to know any more."""

    def wanted(self, who: Hashable, plan: Plan, tell: Callable[[Message], None]) -> None:
        """The replica in this place asks; `tell` is the way to it."""
        question, given_up = _question(plan.question), threading.Event()
        self._given_up[who, plan.serial] = given_up
        if (who, plan.instead_of) in self._given_up:
            self._given_up[who, plan.instead_of].set()

        def planned(settings: Settings | None, cpu_s: float) -> None:
            if self._given_up.get((who, plan.serial)) is given_up:  # not that of a successor in this place
                del self._given_up[who, plan.serial]
            self._budget.spend(who, loop.time(), cpu_s)
            if not given_up.is_set():
                tell(Planned(plan.serial, _encode(settings)))

        loop = asyncio.get_running_loop()
        wait_s = self._budget.wait(who, loop.time())
        loop.call_later(wait_s, self._thread, question.picture, question.settings, planned, given_up)


class Budget:
    """Seconds of CPU that everybody who asks has left: `SHARE` comes in per second, up to `SAVED_S`. Pure."""

    def __init__(self) -> None:
        self._left: dict[Hashable, tuple[float, float]] = {}
        """When it was last looked at, and how much was left; it may be less than nothing."""

    def wait(self, who: Hashable, now: float) -> float:
        """Seconds until there is something left."""
        return max(0.0, -self._at(who, now)) / SHARE

    def spend(self, who: Hashable, now: float, seconds: float) -> None:
        """So much was used."""
        self._left[who] = (now, self._at(who, now) - seconds)

    def _at(self, who: Hashable, now: float) -> float:
        then, left = self._left.get(who, (now, SAVED_S))
        return min(SAVED_S, left + SHARE * (now - then))
