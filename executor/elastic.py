"""One model, two sessions: a wide one with a thread on every core, for when nothing else runs, and a narrow one.

Busy replicas with one thread each do more than threads; a lone request is sooner answered by threads. Which is so is
seen at every run (`activity`). The weights are the same memory where they are shared (docs/decisions/009).
"""

from __future__ import annotations

from collections.abc import Mapping

from executor.activity import Activity
from executor.runners import Runner
from headrace.requests import Array

QUIET_S = 0.05
"""Other processes have run nothing for so long: one that pauses between two batches is busy."""


def elastic(wide: Runner, narrow: Runner, activity: Activity) -> Runner:
    """A runner that takes the one or the other."""

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        runner = wide if activity.begin(QUIET_S) else narrow
        try:
            return runner(inputs)
        finally:
            activity.end()

    return run
