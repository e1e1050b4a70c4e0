"""Which units run on which device: consecutive runs of them, one per device.

Receives `Work` and devices, hands a `Placement` or says what would fit. Pure. Of all ways to cut this line into runs
that fit their devices, in whatever order the devices stand, exactly:

1. As many stages as asked for; without a wish the fewest that fit.
2. The slowest stage is as fast as can be: seconds = its units' + (bytes taken + bytes given) / link. But large weights
   are not copied into a second stage if without copies the slowest is at most `TOGETHER` slower.
3. Within `slack` of that the fewest bytes are given; then again the slowest counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from executor.sharding.search import ENDLESS, Cost, Way, each_once, ways
from executor.sharding.spans import Floats, Row, rows
from executor.sharding.work import Work

TOGETHER = 0.2
"""How much slower the slowest stage may be for weights not to be copied."""
SLACK = 0.02
"""How much slower it may be for fewer bytes to pass. Estimates are not as exact as that, and where little passes a
block of the model ends, across which the runtime would have fused nothing."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device, and what of it a stage may have."""

    name: str
    kind: str
    """Names its seconds in `Work`."""
    memory_bytes: int
    reserve_bytes: int
    """Of these, what is kept free for the runtime: its context, work space of its kernels, fragmentation."""
    link_bytes_per_s: float
    link_s: float

    @property
    def usable_bytes(self) -> int:
        """For weights and values."""
        return self.memory_bytes - self.reserve_bytes

    def link_seconds(self, moved: Any) -> Any:
        """For so many bytes taken and given together; a number or an array."""
        return moved / self.link_bytes_per_s + 2 * self.link_s


@dataclass(frozen=True, slots=True)
class Run:
    """Units `first` to `end` - 1 on `device`."""

    device: Device
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Placement:
    """What was found, first stage first."""

    runs: tuple[Run, ...]
    slowest_s: float
    copied_bytes: float
    """Of large weights that more than one stage holds, once for each stage more."""
    given_bytes: float
    """Sum over the stages of what each gives."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What would do where devices do not."""

    per_device_bytes: int | None
    """The least memory that so many devices of the first kind need each; None: it cannot be cut into so many stages."""
    devices: int | None
    """How many of the largest device would do; None: no number would, since one unit alone does not fit."""
    largest_unit: str
    largest_unit_bytes: int


def place(work: Work, devices: Sequence[Device], stages: int | None = None, slack: float = SLACK) -> Placement | None:
    """The best placement on these devices, None if there is none. `stages` None: the fewest that fit."""
    line = _Line(work, devices)
    apart = line.best([line.seconds], stages)
    if apart is None:
        return None
    stages = len(apart.steps)
    (within,) = apart.costs
    if any(weight.is_shared for weight in work.weights):
        together = line.best([line.copied, line.seconds], stages)
        assert together is not None
        within = together.costs[1] if together.costs[1] <= within * (1 + TOGETHER) else within
    way = line.best([line.copied, line.given, line.seconds], stages, within * (1 + slack))
    assert way is not None
    return line.placement(way)


def best(found: Sequence[Placement], slack: float = SLACK) -> int:
    """Which of these, of the same work in different orders, by the same rules."""
    stages = min(len(placement.runs) for placement in found)
    slowest = min(placement.slowest_s for placement in found if len(placement.runs) == stages)
    return min(
        (at for at, each in enumerate(found) if len(each.runs) == stages and each.slowest_s <= slowest * (1 + slack)),
        key=lambda at: (found[at].given_bytes, found[at].slowest_s),
    )


def needs(work: Work, devices: Sequence[Device], stages: int | None = None) -> Needs:
    """What these devices lack for this work, or for so many stages of it."""
    alike = [max(devices, key=lambda device: device.usable_bytes)] * (stages or len(devices))
    endless = _Line(work, alike)
    memory = Cost(lambda row, _: (row.weights + row.peak).astype(np.float64), np.maximum)
    found = [
        endless.best([memory], count, fits=False) for count in ([stages] if stages else range(1, len(devices) + 1))
    ]
    tightest = min((way.costs[0] for way in found if way), default=None)
    one = Cost(lambda row, _: np.ones(len(row.peak)), np.add)
    fewest = ways(work, ENDLESS, endless.fits, [one])
    largest = _largest_unit(work)
    return Needs(
        int(tightest) + alike[0].reserve_bytes if tightest is not None else None,
        int(fewest[0].costs[0]) if fewest else None,
        work.names[largest[0]],
        largest[1],
    )


class _Line:
    """Work and devices by kind, as the search wants them."""

    def __init__(self, work: Work, devices: Sequence[Device]) -> None:
        self._work = work
        kinds = defaultdict(list)
        for device in devices:
            kinds[device.kind, device.usable_bytes, device.link_bytes_per_s, device.link_s].append(device)
        self._kinds = list(kinds.values())
        self._until = [np.concatenate([[0.0], np.cumsum(work.seconds[same[0].kind])]) for same in self._kinds]
        self.seconds = Cost(self._seconds, np.maximum)
        self.copied = Cost(lambda row, _: row.shared.astype(np.float64), np.add)
        self.given = Cost(lambda row, _: row.given.astype(np.float64), np.add)

    def best(
        self, costs: Sequence[Cost], stages: int | None, within: float | None = None, fits: bool = True
    ) -> Way | None:
        """With so many stages, or the fewest; none slower than `within` seconds."""

        def allowed(row: Row, kind: int) -> NDArray[np.bool_]:
            may = self.fits(row, kind) if fits else np.ones(len(row.peak), np.bool_)
            return may if within is None else may & (self._seconds(row, kind) <= within)

        found = ways(self._work, each_once(list(map(len, self._kinds))), allowed, costs)
        wanted = stages or min((len(way.steps) for way in found), default=0)
        return min((way for way in found if len(way.steps) == wanted), key=lambda way: way.costs, default=None)

    def fits(self, row: Row, kind: int) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = row.weights + row.peak <= self._kinds[kind][0].usable_bytes
        return found

    def placement(self, way: Way) -> Placement:
        left = [list(same) for same in self._kinds]
        runs = tuple(Run(left[step.kind].pop(0), step.first, step.end) for step in way.steps)
        shared = sum(weight.bytes for weight in self._work.weights if weight.is_shared)
        copied, given, slowest = way.costs
        return Placement(runs, slowest, copied - shared, given)

    def _seconds(self, row: Row, kind: int) -> Floats:
        like, until = self._kinds[kind][0], self._until[kind]
        compute = until[row.first + 1 :] - until[row.first]
        found: Floats = compute + like.link_seconds(row.taken + row.given)
        return found


def _largest_unit(work: Work) -> tuple[int, int]:
    """The unit that needs the most memory alone, and how much."""
    alone = [int(row.weights[0] + row.peak[0]) for row in rows(work)]
    largest = max(range(len(alone)), key=alone.__getitem__)
    return largest, alone[largest]
