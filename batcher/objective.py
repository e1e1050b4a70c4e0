"""What a plan is judged by: one declared scalar per model, from the outcomes of simulations. Lower is better.

The requests are looked at in blocks, so that the search can tell a gain from luck. The first ones, which found an empty
queue, do not count. Most objectives say something of each load; the 99th percentile is made by the busiest one, and
what a plan does with the others must not outweigh it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf
from typing import Literal, TypeAlias

from batcher.simulate import Outcome

Objective: TypeAlias = Literal["mean", "p99", "goodput", "device_time"]
"""Lowest mean latency; lowest 99th percentile; most requests within `slo_s`; least device time that still meets `slo_s`
with 99 of 100 requests."""

Costs: TypeAlias = tuple[float, ...]
"""One per block, `BLOCKS` for each load, or for all of them together."""

BLOCKS = 8
SKIPPED = 1 / 9
"""Share of the requests at the start that do not count."""
MISSED = 0.01
"""Share of requests that may miss the SLO under `device_time`."""
TAIL = 0.1
"""Share of the slowest requests whose mean stands for the 99th percentile, which is a matter of few: it is steadier."""


def promised_s(objective: Objective, slo_s: float) -> float:
    """Seconds within which requests should be answered; infinite if that is not what is asked for."""
    return slo_s if objective in ("goodput", "device_time") else inf


def costs(outcomes: Sequence[Outcome], objective: Objective, slo_s: float) -> Costs:
    """The cost of each block of requests, in order of answers, under one load after the other."""
    if objective == "p99":
        return _tail(list(map(_blocks, outcomes)))
    return tuple(cost for outcome in outcomes for cost in _each(outcome, objective, slo_s))


def _each(outcome: Outcome, objective: Objective, slo_s: float) -> Costs:
    blocks = _blocks(outcome)
    if objective == "mean":
        return tuple(map(_mean, blocks))
    late = [sum(latency > slo_s for latency in block) / len(block) for block in blocks]
    if objective == "goodput":
        # A little of the mean, or plans could not be told apart while nobody is late.
        return tuple(missed + 0.01 * _mean(block) / slo_s for missed, block in zip(late, blocks, strict=True))
    per_request = outcome.device_s / len(outcome.finished)
    excess = 100.0 * max(0.0, sum(late) / BLOCKS - MISSED)
    return tuple(per_request * (1 + excess) + 1e-4 * _mean(block) for block in blocks)


def _blocks(outcome: Outcome) -> list[list[float]]:
    """Latencies in seconds."""
    latencies = [finished - arrived for finished, arrived in zip(outcome.finished, outcome.arrived, strict=True)]
    skipped = int(len(latencies) * SKIPPED)
    counted = len(latencies) - skipped
    bounds = [skipped + counted * block // BLOCKS for block in range(BLOCKS + 1)]
    return [latencies[start:stop] for start, stop in pairwise(bounds)]


def _mean(latencies: list[float]) -> float:
    return sum(latencies) / len(latencies)


def _tail(loads: list[list[list[float]]]) -> Costs:
    """The mean of the slowest `TAIL` under all loads, by what each block has to do with it.

    That mean is the quantile where the tail begins, and by how much those beyond exceed it, divided by `TAIL`.
    """
    blocks = [[each for block in same for each in block] for same in zip(*loads, strict=True)]
    everything = sorted([each for block in blocks for each in block])
    begins = everything[int((1 - TAIL) * len(everything))]
    return tuple(
        begins + sum([each - begins for each in block if each > begins]) / len(block) / TAIL for block in blocks
    )
