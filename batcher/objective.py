"""What a plan is judged by: one declared scalar per model, from the outcome of a simulation. Lower is better.

The requests are looked at in blocks, so that the search can tell a gain from luck. The first ones, which found an empty
queue, do not count.
"""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import Literal, TypeAlias

from batcher.simulate import Outcome

Objective: TypeAlias = Literal["mean", "p99", "goodput", "device_time"]
"""Lowest mean latency; lowest 99th percentile; most requests within `slo_s`; least device time that still meets `slo_s`
with 99 of 100 requests."""

Costs: TypeAlias = tuple[float, ...]
"""One per block."""

BLOCKS = 8
SKIPPED = 1 / 9
"""Share of the requests at the start that do not count."""
MISSED = 0.01
"""Share of requests that may miss the SLO under `device_time`."""


def promised_s(objective: Objective, slo_s: float) -> float:
    """Seconds within which requests should be answered; infinite if that is not what is asked for."""
    return slo_s if objective in ("goodput", "device_time") else inf


def costs(outcome: Outcome, objective: Objective, slo_s: float) -> Costs:
    """The cost of each block of requests, in order of answers."""
    latencies = [finished - arrived for finished, arrived in zip(outcome.finished, outcome.arrived, strict=True)]
    skipped = int(len(latencies) * SKIPPED)
    counted = len(latencies) - skipped
    bounds = [skipped + counted * block // BLOCKS for block in range(BLOCKS + 1)]
    blocks = [latencies[start:stop] for start, stop in pairwise(bounds)]
    if objective == "mean":
        return tuple(map(_mean, blocks))
    if objective == "p99":
        return tuple(map(_tail, blocks))
    late = [sum(latency > slo_s for latency in block) / len(block) for block in blocks]
    if objective == "goodput":
        # A little of the mean, or plans could not be told apart while nobody is late.
        return tuple(missed + 0.01 * _mean(block) / slo_s for missed, block in zip(late, blocks, strict=True))
    per_request = outcome.device_s / len(latencies)
    excess = 100.0 * max(0.0, sum(late) / BLOCKS - MISSED)
    return tuple(per_request * (1 + excess) + 1e-4 * _mean(block) for block in blocks)


def _mean(latencies: list[float]) -> float:
    return sum(latencies) / len(latencies)


def _tail(latencies: list[float]) -> float:
    """The mean of the slowest tenth: blocks are too short for a 99th percentile, and it is steadier."""
    worst = sorted(latencies)[-max(1, len(latencies) // 10) :]
    return sum(worst) / len(worst)
