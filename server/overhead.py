"""What a batch takes besides its run: until it is learnt, a part of the curve that was timed at load.

Measured on one core with clients on another: a CNN of which a row takes 0.7 ms in any batch gave 0.79, 0.87, 0.94 and
0.99 as many answers in batches of 1, 2, 4 and 8 rows as in batches of 64. So each batch costs 0.2 ms where it is handed
to a thread and the loop wants the same core; 35 us where it runs on the loop.
"""

from __future__ import annotations

from collections.abc import Callable

from executor.pace import LOOP_BUDGET_S

Overhead = Callable[[int, float], float]
"""Rows and seconds of the run -> seconds besides."""

ON_THE_LOOP_S = 35e-6
IN_A_THREAD_S = 70e-6
ON_ONE_CORE_S = 200e-6
"""In a thread, which has the core by turns with the event loop."""
ROW_S = 10e-6
"""For each request of it: to be put together, to be answered."""


def overhead(one_core: bool) -> Overhead:
    """For a replica that has one core for the loop and for the runs, or more."""
    handed_s = ON_ONE_CORE_S if one_core else IN_A_THREAD_S

    def besides(rows: int, seconds: float) -> float:
        return (handed_s if seconds > LOOP_BUDGET_S else ON_THE_LOOP_S) + rows * ROW_S

    return besides
