"""When requests are to be sent: endless times from 0, in seconds, made from a few numbers and a seed.

Pure. The sender takes the next time when the last is due; latency counts from these times, never from when the sender
got round to it. A rhythm comes at one request a second on average; `rates.at_rates` plays it at others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, cycle
from math import ceil, inf
from random import Random
from typing import TypeAlias

from batcher.loads import CONTRAST, through

Times: TypeAlias = Iterator[float]

DISPERSION = 10.0
"""Variance by mean of the number of requests in a long interval of `bursts`."""


def constant() -> Times:
    """One after the other, equally far apart."""
    return map(float, count())


def poisson(seed: int) -> Times:
    """Each whenever it likes, independent of all others: exponential gaps."""
    return through([(inf, 1.0)], Random(seed))


def bursts(seed: int, dispersion: float = DISPERSION) -> Times:
    """A Markov-modulated Poisson process: two moods of equal mean length, one `CONTRAST` times as busy as the other.

    `dispersion` above 1. Two rates r(1 + a) and r(1 - a) that change places m times a second have 1 + a^2 r / m
    (Fischer and Meier-Hellstern, The MMPP cookbook, 1993).
    """
    random, swing = Random(seed), (CONTRAST - 1) / (CONTRAST + 1)
    length = (dispersion - 1) / swing**2
    return through(((random.expovariate(1 / length), 1 + sign * swing) for sign in cycle((-1, 1))), random)


def recorded(times: Sequence[float], lead_s: float = 0.0) -> Times:
    """Times that were seen (at least two, in order), again and again with a mean gap in between.

    The first of them comes after `lead_s`, and before it what would have come in the lap before.
    """
    lap = (times[-1] - times[0]) * len(times) / (len(times) - 1)
    laps = (lead_s + turn * lap + at - times[0] for turn in count(-ceil(lead_s / lap)) for at in times)
    return (time for time in laps if time >= 0)
