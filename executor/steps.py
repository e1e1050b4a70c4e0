"""Batches in a few sizes only, for models whose runtime prepares itself anew for each: see `sweep`.

Receives a runner for each of these sizes, or the same for all, and hands one back that fills a batch up to the next of
them with its last row and cuts the outputs. Only for models whose rows are independent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np

from executor.runners import Runner
from headrace.requests import Array


def in_steps(steps: Sequence[int], runners: Sequence[Runner]) -> Runner:
    """Batches of `steps` rows, ascending, each by the runner in its place; what is larger as it is, by the last.

    All arrays have the rows first.
    """

    def stepped(inputs: Mapping[str, Array]) -> dict[str, Array]:
        rows = len(next(iter(inputs.values())))
        at = bisect_left(steps, rows)
        if at == len(steps):
            return runners[-1](inputs)
        run = runners[at]
        if steps[at] == rows:
            return run(inputs)
        more = steps[at] - rows
        filled = {name: np.concatenate((array, *[array[-1:]] * more)) for name, array in inputs.items()}
        return {name: array[:rows] for name, array in run(filled).items()}

    return stepped
