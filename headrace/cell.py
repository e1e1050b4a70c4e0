"""Names of the scalar cells of a model's counters: `cells[cell.SUCCESSES]`. `*_NS` are sums over requests, as V2's
statistics extension wants them.

Plain integers in a module: a member of an IntEnum costs as much to look up as the addition that it is for, an attribute
of a class twice as much as one of a module.
"""

from __future__ import annotations

SUCCESSES = 0
SUCCESS_NS = 1
FAILURES = 2
FAILURE_NS = 3
QUEUE_NS = 4
INPUT_NS = 5
INFER_NS = 6
OUTPUT_NS = 7
ROWS = 8
BATCHES = 9
LAST_INFERENCE_MS = 10
QUEUE_ROWS = 11
IN_FLIGHT = 12
REASONS = 13
"""The first of `len(REASON_NAMES)` cells."""

REASON_NAMES = ("at_once", "full", "enough", "nobody_expected", "gave_up", "delay_limit", "deadline")
"""Why batches were closed; see `batcher.decide.Reason`."""

SHED = REASONS + len(REASON_NAMES)
LEFT_LATE = SHED + 1
EXPIRED = SHED + 2
"""Requests with a deadline that had no run: refused on arrival, gone before a batch was formed, still there when it
passed."""

COUNT = EXPIRED + 1

GAUGES = (QUEUE_ROWS, IN_FLIGHT)
"""Cells that say what is now rather than what has been: they restart at zero with their process."""
