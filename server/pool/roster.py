"""The wanted models and which of them are awake: what `model_repo.awake` decides, asked again after each event.

    source -> want() ┐
    Wake   -> ask()  ├-> decide -> what is sent to the replicas: the awake models as they are, the others as a problem
    Woken  -> rest() ┘

Receives events from `Control`. Invariants: 1. Whatever the source wants has a row, awake or not. 2. A model that is
asked for is not put to sleep until everyone who asked has said that it rests, or has ended: so all requests that waited
for it get through, and models that want the same place take turns. 3. Who asked first is served first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Set
from dataclasses import dataclass, replace

from headrace.config import ServerConfig
from model_repo.awake import Limits, Model, decide
from model_repo.found import ASLEEP, ModelScan, Problem, Scan

LastUses = Callable[[int], Mapping[str, int]]
"""now -> when each model was last used, in milliseconds since 1970."""
TIME = "~"
"""Between a fingerprint and the number of the time that the model is awake."""


@dataclass(slots=True)
class _Awake:
    """`serial` tells this time from the last: a vote that is late must not count for it."""

    serial: int
    since_ms: int
    served: bool = False
    failed: bool = False
    """And nothing of it serves: it takes no room, and stays as it is, so that its reason can be read."""


class Roster:
    """Used on the supervisor's loop only. `clock` gives seconds since 1970, like what `last_uses` reads."""

    def __init__(self, limits: Limits, lazy: bool, last_uses: LastUses, clock: Callable[[], float] = time.time) -> None:
        self._limits = limits
        self._lazy = lazy
        self._last_uses = last_uses
        self._clock = clock
        self._scan = Scan({})
        self._sizes: dict[str, int] = {}
        """Of all models that could be served."""
        self._awake: dict[str, _Awake] = {}
        self._serials = 0
        self._asked: dict[str, set[Hashable]] = {}
        """Who asks, by model; the one that was asked for first comes first."""

    @classmethod
    def of(cls, config: ServerConfig, last_uses: LastUses) -> Roster | None:
        """As configured; None if no model ever sleeps."""
        limits = Limits(config.max_loaded_models, config.max_loaded_bytes)
        return cls(limits, config.lazy, last_uses) if config.models_sleep else None

    def want(self, scan: Scan) -> Scan:
        """The source wants this; what the replicas are to have of it."""
        before, known = self._scan.models, self._sizes
        most = self._limits.bytes
        models = {name: _within(name, model, most) for name, model in scan.models.items()}
        self._scan = Scan(models)
        self._sizes = {name: _size(model) for name, model in models.items() if model.versions}
        self._awake = {name: awake for name, awake in self._awake.items() if name in self._sizes}
        for name, awake in self._awake.items():
            awake.failed = awake.failed and models[name].versions == before[name].versions
        self._rethink(eager=set() if self._lazy else self._sizes.keys() - known.keys())
        return self.part()

    def ask(self, name: str, who: Hashable) -> bool:
        """`who` wants to have it. Whether that changes what is awake."""
        self._asked.setdefault(name, set()).add(who)
        if name in self._awake:
            self._awake[name].since_ms = self._now()
        return self._rethink()

    def rest(self, name: str, who: Hashable) -> bool:
        """`who` has it, or does not want it any more. Whether that changes what is awake."""
        askers = self._asked.get(name, set())
        askers.discard(who)
        if not askers:
            self._asked.pop(name, None)
        return self._rethink()

    def left(self, who: Hashable) -> bool:
        """`who` has ended. Whether that changes what is awake."""
        changes = [self.rest(name, who) for name in list(self._asked)]
        return any(changes)

    def decided(self, name: str, published: bool) -> bool:
        """A load of it is published, or will not be. Whether that changes what is awake."""
        if name in self._awake:
            awake = self._awake[name]
            awake.served |= published
            awake.failed = not awake.served
        return self._rethink()

    def asleep(self, name: str) -> bool:
        """Whether the model is not awake and could be."""
        return name in self._sizes and name not in self._awake

    def part(self) -> Scan:
        """What the replicas are to have."""
        return Scan({name: self._row(name, model) for name, model in self._scan.models.items()})

    def _row(self, name: str, model: ModelScan) -> ModelScan:
        awake = self._awake.get(name)
        if awake is not None:
            specs = (replace(spec, fingerprint=f"{spec.fingerprint}{TIME}{awake.serial}") for spec in model.versions)
            return replace(model, versions=tuple(specs))
        if self.asleep(name):
            return replace(model, versions=(), problems=(*model.problems, Problem(name, None, ASLEEP)))
        return model

    def _rethink(self, eager: Set[str] = frozenset()) -> bool:
        change = decide(self._snapshot(eager), self._limits)
        for name in change.sleep:
            del self._awake[name]
        for name in change.wake:
            self._serials += 1
            self._awake[name] = _Awake(self._serials, self._now())
        return bool(change.sleep or change.wake)

    def _snapshot(self, eager: Set[str]) -> list[Model]:
        places = {name: place for place, name in enumerate(self._asked)}
        rows = [
            Model(
                name,
                size,
                awake=name in self._awake,
                asked=places.get(name),
                eager=name in eager,
                weighs=name not in self._awake or not self._awake[name].failed,
            )
            for name, size in self._sizes.items()
        ]
        due = [row for row in rows if row.weighs and (row.awake or row.asked is not None)]
        if self._limits.allow(len(due), sum(row.size for row in due)):
            return rows  # nobody has to go: nobody's last use is looked up
        uses = self._last_uses(self._now())
        since = {name: awake.since_ms for name, awake in self._awake.items()}
        return [replace(row, used=max(since[row.name], uses.get(row.name, 0))) if row.awake else row for row in rows]

    def _now(self) -> int:
        return int(self._clock() * 1e3)


def _within(name: str, model: ModelScan, most: int | None) -> ModelScan:
    """The model, or in its place the reason why it could never be loaded."""
    size = _size(model)
    if most is None or size <= most:
        return model
    reason = f"its files have {size} bytes, more than all models together may (max_loaded_bytes, {most})"
    return ModelScan(problems=(*model.problems, Problem(name, None, reason)))


def _size(model: ModelScan) -> int:
    return sum(spec.size for spec in model.versions)
