"""Which of the wanted models are awake: decide what to wake and what to put to sleep. Pure.

Receives a snapshot of the models that could be served and the limits from the supervisor's `Roster`; hands back names,
and may be asked twice: once they are obeyed it has nothing more to say.

1. What is asked for is woken, first come, first served; one that must wait for room holds up those behind it, else the
   large ones would wait for ever. What is merely *eager* (not lazy) is woken by name as long as there is room.
2. Whoever must make room is the one that was used least recently. One that is asked for never is, nor one whose sleep
   would not make room enough.
3. The awake ones are within the limits, except where one that is asked for has grown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no limit."""

    models: int | None = None
    bytes: int | None = None

    def allow(self, models: int, size: int) -> bool:
        """Whether so many models of so many bytes together may be loaded."""
        return (self.models is None or models <= self.models) and (self.bytes is None or size <= self.bytes)


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Model:
    """One model that could be served. `used` is any clock's time. `asked` is its place among those who are asked for.

    `weighs` False: it counts for nothing, because its load has failed.
    """

    name: str
    size: int = 0
    awake: bool = False
    used: float = 0
    asked: int | None = None
    eager: bool = False
    weighs: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """What to do now, in order."""

    sleep: tuple[str, ...] = ()
    wake: tuple[str, ...] = ()


def decide(models: Sequence[Model], limits: Limits) -> Change:
    """Who is to fall asleep and who is to wake. No single model is larger than the limits: that is refused before."""
    room = _Room([model for model in models if model.awake], limits)
    room.keep_to_limits()
    wake: list[str] = []
    asleep = [model for model in models if not model.awake]
    for model in sorted((one for one in asleep if one.asked is not None), key=lambda one: one.asked or 0):
        if not room.make(model):
            return Change(tuple(room.left), tuple(wake))
        wake.append(model.name)
    for model in sorted((one for one in asleep if one.asked is None and one.eager), key=lambda one: one.name):
        if room.take(model):
            wake.append(model.name)
    return Change(tuple(room.left), tuple(wake))


class _Room:
    """The places that the awake ones take. `left` are those who had to go."""

    def __init__(self, awake: Sequence[Model], limits: Limits) -> None:
        self._limits = limits
        weighing = [model for model in awake if model.weighs]
        self._count, self._size = len(weighing), sum(model.size for model in weighing)
        idle = [model for model in weighing if model.asked is None]
        self._idle = sorted(idle, key=lambda one: (one.used, one.name), reverse=True)
        """Those who may go, the first one last."""
        self.left: list[str] = []

    def keep_to_limits(self) -> None:
        """If those who are asked for are too many by themselves, all others go."""
        while self._idle and not self._limits.allow(self._count, self._size):
            self._send_away(self._idle.pop())

    def take(self, model: Model) -> bool:
        """Let it in, if there is room."""
        count, size = self._count + model.weighs, self._size + model.size * model.weighs
        if not self._limits.allow(count, size):
            return False
        self._count, self._size = count, size
        return True

    def make(self, model: Model) -> bool:
        """Let it in and send as many away as must be, the least recently used first; nobody if that is not enough."""
        idle_size = sum(one.size for one in self._idle)
        if not self._limits.allow(self._count - len(self._idle) + 1, self._size - idle_size + model.size):
            return False
        while not self.take(model):
            self._send_away(self._idle.pop())
        return True

    def _send_away(self, model: Model) -> None:
        self._count -= 1
        self._size -= model.size
        self.left.append(model.name)
