"""What a batch costs by its rows and the length to which they are padded, learnt from those that ran.

    seconds = run + rows * (row + token * length + square * length^2),   no term below zero

Fitted to the last batches and to those timed at load, by relative errors; what took more than twice as long as that
says was held up, and is left out. Those of the load are taken to be as slow as the runs are now; they keep the terms
apart where the traffic shows one corner only. For dividing what waits only the proportions matter. Pure: no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

KEPT = 256
"""Runs to which it is fitted."""
REFIT = 256
"""Runs from one fit to the next, once there are as many; before, after twice as many as the last time."""

HELD_UP = 2.0

Timed = tuple[int, int, float]
"""Rows, length, seconds."""

_Matrix = npt.NDArray[np.float64]


class Terms(NamedTuple):
    """Seconds of a run, and of each row: by itself, by its length, and by the square of its length."""

    run: float
    row: float
    token: float
    square: float

    def row_s(self, length: int) -> float:
        """Seconds of one more row of this padded length."""
        return self.row + length * (self.token + length * self.square)

    def seconds(self, rows: int, length: int) -> float:
        """Of a batch."""
        return self.run + rows * self.row_s(length)


UNKNOWN = Terms(0.0, 0.0, 1.0, 0.0)
"""Runs cost nothing: then nothing is padded."""


class Costs:
    """`terms` are what is believed now. `seed`: batches that were timed at load."""

    def __init__(self, seed: Iterable[Timed] = ()) -> None:
        self._seed = [each for each in seed if each[2] > 0]
        self._runs: deque[Timed] = deque(maxlen=KEPT)
        self._came = 0
        self._next = 4
        self.terms = self._at_load = fit(self._seed) if self._seed else UNKNOWN

    def ran(self, rows: int, length: int, seconds: float) -> None:
        """A batch took so long."""
        self._runs.append((rows, length, seconds))
        self._came += 1
        if self._came >= self._next:
            self._next = self._came + min(self._came, REFIT)
            self._refit()

    def _refit(self) -> None:
        ratios = sorted(seconds / self._at_load.seconds(rows, length) for rows, length, seconds in self._runs)
        slower = ratios[len(ratios) // 2]
        seed = [(rows, length, seconds * slower) for rows, length, seconds in self._seed]
        self.terms = fit([*self._runs, *seed])


def fit(timed: Sequence[Timed]) -> Terms:
    """The terms with the least sum of squared relative errors, without those that were held up."""
    terms = _fit(timed)
    kept = [each for each in timed if each[2] < HELD_UP * terms.seconds(each[0], each[1])]
    return _fit(kept) if len(timed) // 2 < len(kept) < len(timed) else terms


def _fit(timed: Sequence[Timed]) -> Terms:
    rows, length, seconds = np.array(timed, float).T
    parts = np.stack([np.ones_like(rows), rows, rows * length, rows * length**2], axis=1) / seconds[:, None]
    scale = np.linalg.norm(parts, axis=0)
    scale[scale == 0] = 1.0
    parts /= scale
    products, wanted = parts.T @ parts + 1e-9 * np.eye(4), parts.sum(axis=0)
    found = _least_squares(products, wanted) / scale
    return Terms(*map(float, found))


def _least_squares(products: _Matrix, wanted: _Matrix) -> _Matrix:
    """Without a negative term: the best of all subsets of terms whose own solution has none."""
    best, best_error = np.zeros(4), 0.0
    for count in range(1, 5):
        for chosen in combinations(range(4), count):
            index = list(chosen)
            solution = np.linalg.solve(products[np.ix_(index, index)], wanted[index])
            error = -float(wanted[index] @ solution)
            if error < best_error and solution.min() >= 0:
                best_error, best = error, np.zeros(4)
                best[index] = solution
    return best
