"""When requests are to be sent: endless times from 0, in seconds, made from a few numbers and a seed.

Pure. The sender takes the next time when the last is due; latency counts from these times, never from when the sender
got round to it. Rates are requests per second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, cycle
from math import inf
from random import Random
from typing import TypeAlias

from batcher.loads import CONTRAST, through

Times: TypeAlias = Iterator[float]

DISPERSION = 10.0
"""Variance by mean of the number of requests in a long interval of `bursts`."""


def constant(rate: float) -> Times:
    """One every 1/rate seconds."""
    return (number / rate for number in count())


def poisson(rate: float, seed: int) -> Times:
    """Each whenever it likes, independent of all others: exponential gaps."""
    return through([(inf, rate)], Random(seed))


def bursts(rate: float, seed: int, dispersion: float = DISPERSION) -> Times:
    """A Markov-modulated Poisson process: two moods of equal mean length, one `CONTRAST` times as busy as the other.

    `dispersion` above 1. Two rates r(1 + a) and r(1 - a) that change places m times a second have 1 + a^2 r / m
    (Fischer and Meier-Hellstern, The MMPP cookbook, 1993).
    """
    random, swing = Random(seed), (CONTRAST - 1) / (CONTRAST + 1)
    length = (dispersion - 1) / (swing**2 * rate)
    return through(((random.expovariate(1 / length), rate * (1 + sign * swing)) for sign in cycle((-1, 1))), random)


def ramp(first: float, last: float, seconds: float, seed: int, steps: int = 100) -> Times:
    """Poisson, from one rate to another in `seconds`, by `steps` small steps; then it stays."""
    rates = [first + (last - first) * (step + 0.5) / steps for step in range(steps)]
    return through([*((seconds / steps, rate) for rate in rates), (inf, last)], Random(seed))


def steps(spells: Sequence[tuple[float, float]], seed: int) -> Times:
    """Poisson through (seconds, rate) one after the other; the last rate stays."""
    return through([*spells[:-1], (inf, spells[-1][1])], Random(seed))


def recorded(times: Sequence[float]) -> Times:
    """Times that were seen (at least two, in order), from the first on, again and again with a mean gap in between."""
    lap = (times[-1] - times[0]) * len(times) / (len(times) - 1)
    return (turn * lap + at - times[0] for turn in count() for at in times)
