"""What batches of some sizes take, and whether each new size costs the runtime a preparation of its own.

Receives samples and a timed runner from `probe`, which hands the `Sweep` on. Blocking. Compilers of graphs compile one
for each shape, cuDNN plans a convolution: tens of milliseconds to seconds, where the next run takes less than one. Such
models get batches of a few sizes only (`steps`). ONNX Runtime 1.20 to 1.31 forgets the plans for the last shape when
another one comes (its issue 23006: Conv on CUDA); then each of even fewer sizes needs a session of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from executor.metadata import Signature
from executor.runners import Runner
from executor.samples import samples
from headrace.requests import Array

Curve: TypeAlias = Sequence[tuple[int, float]]

SIZES = (1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129, 256, 257, 512, 1024)
"""Rows of the batches that are tried. Just past a power of two, steps would show."""
SWEEP_S = 0.5
"""Longest time for all of them, preparations not counted."""
PREPARING_S = 10.0
"""Longest time for the preparation of all steps. Larger batches stay as they come."""
FRESH = 3
"""So many sizes in a row must be slow at their first run, each by `FRESH_S` and by `FRESH_FACTOR` times the next."""
FRESH_S, FRESH_FACTOR = 0.003, 4.0
FINE, COARSE = 2, 4
"""Of steps that one session has, and of those with a session each, the sizes that are powers of this."""


@dataclass(slots=True)
class Sweep:
    """What was found."""

    curve: list[tuple[int, float]] = field(default_factory=list)
    """(rows, seconds) of warm runs."""
    steps: tuple[int, ...] = ()
    """Sizes that batches should have, ascending; empty: any will do."""
    fresh_s: float = 0.0
    """By how much the first run of a size is slower than the next, where there are steps."""
    forgets: bool = False
    """A session that has run another size meanwhile has to prepare itself again."""


class Timed:
    """A runner that keeps (elements, seconds) of each of its runs in `runs`."""

    def __init__(
        self, run: Runner, clock: Callable[[], float] = time.perf_counter, runs: list[tuple[int, float]] | None = None
    ) -> None:
        self._run, self._clock, self._runs = run, clock, runs if runs is not None else []

    def last(self, count: int) -> list[float]:
        """Seconds of the last runs."""
        return [seconds for _, seconds in self._runs[-count:]]

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """What the runner makes of them."""
        started = self._clock()
        outputs = self._run(inputs)
        self._runs.append((sum(array.size for array in inputs.values()), self._clock() - started))
        return outputs


def sweep(signature: Signature, run: Timed, free: int, max_rows: int, ran: Collection[int]) -> Sweep:
    """Time batches of up to `max_rows` rows, free axes being `free` long. Those of sizes in `ran` were run before."""
    found, spent, more = Sweep(), 0.0, []
    for rows in [*(rows for rows in SIZES if rows < max_rows), max_rows]:
        if found.curve and spent + 3 * _expected(found.curve, rows) > SWEEP_S:
            break
        seconds = _tried(signature, run, rows, free)
        if seconds is None:
            break
        first, next_one = seconds
        spent += 3 * next_one
        found.curve.append((rows, next_one))
        if rows not in ran:
            more.append(_preparing(first, next_one))
        if len(more) == FRESH and min(more) > FRESH_S:
            again = _tried(signature, run, 1, free)
            forgets = again is not None and _preparing(*again) > FRESH_S
            return _stepped(signature, run, free, ladder(max_rows, forgets), min(more), found.curve, forgets)
    return found


def _preparing(first: float, next_one: float) -> float:
    """Seconds of the first run that the next one does not need, if they are most of it."""
    return first - next_one if first > FRESH_FACTOR * next_one else 0.0


def _stepped(
    signature: Signature, run: Timed, free: int, sizes: Sequence[int], fresh_s: float, known: Curve, forgets: bool
) -> Sweep:
    """Every step, prepared and timed. The curve has both ends of each."""
    curve, steps, spent = list[tuple[int, float]](), list[int](), 0.0
    for rows in sizes:
        if spent + fresh_s + 2 * _expected(curve or known, rows) > PREPARING_S:
            break
        seconds = _tried(signature, run, rows, free)
        if seconds is None:
            break
        first, next_one = seconds
        spent += first + 2 * next_one
        curve += [(each, next_one) for each in sorted({steps[-1] + 1 if steps else rows, rows})]
        steps.append(rows)
    return Sweep(curve, tuple(steps), fresh_s, forgets)


def ladder(max_rows: int, coarse: bool = False) -> tuple[int, ...]:
    """Sizes up to `max_rows`, each at most 1.5 times the one before: 1, 2, 3, 4, 6, 8, 12, 16, 24, ... `max_rows`.

    `coarse`: 1, 4, 16, 64, ... `max_rows`.
    """
    rows, step = {1, max_rows}, 1
    while step < max_rows:
        rows |= {step} if coarse else {step, step * 3 // 2}
        step *= COARSE if coarse else FINE
    return tuple(sorted(each for each in rows if each <= max_rows))


def _tried(signature: Signature, run: Timed, rows: int, free: int) -> tuple[float, float] | None:
    """Seconds of the first run, which prepares and allocates, and of one after it; None if the model fails."""
    try:
        inputs = samples(signature, rows, free)
        for _ in range(3):
            run(inputs)
    except Exception:
        return None
    first, *others = run.last(3)
    return first, min(others)


def _expected(curve: Curve, rows: int) -> float:
    """Seconds, if more rows than the last known ones take proportionally longer."""
    known, seconds = curve[-1]
    return seconds * rows / known
