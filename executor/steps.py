"""Batches in a few sizes only, for models whose runtime prepares itself anew for each: see `sweep`.

Receives a runner, hands one back that fills a batch up to the next of these sizes with its last row and cuts the
outputs. Only for models whose rows are independent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np

from executor.runners import Runner
from headrace.requests import Array


def in_steps(run: Runner, steps: Sequence[int]) -> Runner:
    """`run` for batches of these sizes, ascending. Larger ones are run as they are. All arrays have the rows first."""

    def stepped(inputs: Mapping[str, Array]) -> dict[str, Array]:
        rows = len(next(iter(inputs.values())))
        at = bisect_left(steps, rows)
        if at == len(steps) or steps[at] == rows:
            return run(inputs)
        more = steps[at] - rows
        filled = {name: np.concatenate((array, *[array[-1:]] * more)) for name, array in inputs.items()}
        return {name: array[:rows] for name, array in run(filled).items()}

    return stepped
