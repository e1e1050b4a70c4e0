"""Shapes of traffic, as loads for the simulator: who comes when, made from a few numbers and a seed.

Pure: the same arguments give the same load. Rates are requests per second, times seconds from 0; `rows` are those of
the n-th request, cyclic. The requests of an open load come whatever is answered; a closed one has clients that wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, cycle, islice, pairwise
from math import inf, pi, sin
from random import Random

from batcher.simulate import Load

ONE_ROW = (1,)
CONTRAST = 10.0
"""How many times as many requests come in a burst as between bursts."""
TOGETHER = 32
"""Gaps that stay together when a load is drawn anew: a burst shall remain one."""


def poisson(rate: float, requests: int, seed: int, rows: Sequence[int] = ONE_ROW) -> Load:
    """Each comes whenever it likes, independent of all others."""
    return Load(_modulated([(inf, rate)], requests, Random(seed)), rows=rows)


def bursts(rate: float, requests: int, seed: int, dispersion: float = 10.0, rows: Sequence[int] = ONE_ROW) -> Load:
    """A Markov-modulated Poisson process: two moods of equal mean length, one `CONTRAST` times as busy as the other.

    `dispersion`: variance by mean of the number of requests in a long interval, above 1; 1 is a Poisson process. Two
    rates r(1 + a) and r(1 - a) that change places m times a second have 1 + a^2 r / m (Fischer and Meier-Hellstern, The
    MMPP cookbook, 1993).
    """
    if dispersion <= 1:
        return poisson(rate, requests, seed, rows)
    random, swing = Random(seed), (CONTRAST - 1) / (CONTRAST + 1)
    length = (dispersion - 1) / (swing**2 * rate)
    moods = ((random.expovariate(1 / length), rate * (1 + sign * swing)) for sign in cycle((-1, 1)))
    return Load(_modulated(moods, requests, random), rows=rows)


def on_off(
    rate: float, requests: int, seed: int, on_s: float = 1.0, off_s: float = 1.0, rows: Sequence[int] = ONE_ROW
) -> Load:
    """Nobody comes for `off_s`, then for `on_s` all of them; both exponential, of these means. `rate` over all."""
    random, busy = Random(seed), rate * (on_s + off_s) / on_s
    spells = ((random.expovariate(1 / mean), speed) for mean, speed in cycle(((on_s, busy), (off_s, 0.0))))
    return Load(_modulated(spells, requests, random), rows=rows)


def sinusoid(
    rate: float, requests: int, seed: int, period_s: float = 60.0, ratio: float = 10.0, rows: Sequence[int] = ONE_ROW
) -> Load:
    """A day in `period_s`: Poisson, its rate `rate` on average and `ratio` times as high at noon as at midnight."""
    random, swing = Random(seed), (ratio - 1) / (ratio + 1)
    candidates = accumulate(random.expovariate(rate * (1 + swing)) for _ in cycle((0,)))
    kept = (at for at in candidates if random.random() * (1 + swing) < 1 - swing * sin(2 * pi * (at / period_s + 0.25)))
    return Load(list(islice(kept, requests)), rows=rows)


def step(
    rate: float, requests: int, seed: int, at_s: float = 30.0, times: float = 5.0, rows: Sequence[int] = ONE_ROW
) -> Load:
    """Poisson with `rate` until `at_s`, and `times` as much from then on."""
    return Load(_modulated([(at_s, rate), (inf, rate * times)], requests, Random(seed)), rows=rows)


def closed(
    clients: int, think_s: float, requests: int, seed: int, spread: float = 1.0, rows: Sequence[int] = ONE_ROW
) -> Load:
    """Clients that ask again `think_s` after their answer, on average.

    `spread`: standard deviation by mean of the think times, which are gamma distributed: 0 constant, 1 exponential.
    """
    return Load(clients=clients, thinks=_thinks(think_s, requests, Random(seed), spread), rows=rows)


def recorded(opens: Sequence[float], requests: int, rows: Sequence[int] = ONE_ROW, lap_s: float = 0.0) -> Load:
    """Arrival times that were seen (at least two, in order), again and again; after the last follows a mean gap.

    `lap_s`: for how long it was looked, if that was longer.
    """
    start, lap = opens[0], max(lap_s, (opens[-1] - opens[0]) * len(opens) / (len(opens) - 1))
    return Load([lap * (at // len(opens)) + opens[at % len(opens)] - start for at in range(requests)], rows=rows)


def redrawn(opens: Sequence[float], requests: int, seed: int = 1) -> list[float]:
    """Arrival times like those that were seen, in order, and any number of them: runs of gaps, picked at random."""
    if len(opens) < 2:
        return list(opens)
    random, gaps = Random(seed), [later - sooner for sooner, later in pairwise(opens)]
    starts = (random.randrange(len(gaps)) for _ in cycle((0,)))
    picked = (gaps[(start + at) % len(gaps)] for start in starts for at in range(TOGETHER))
    return list(accumulate(islice(picked, requests)))


def scaled(load: Load, times: float) -> Load:
    """The same with more traffic: what comes by itself comes `times` as fast, and of clients there are as many more."""
    clients = max(1, round(load.clients * times)) if load.clients else 0
    return replace(load, opens=[at / times for at in load.opens], clients=clients)


def _thinks(mean: float, count: int, random: Random, spread: float) -> list[float]:
    if mean <= 0 or spread <= 0:
        return [max(mean, 0.0)]
    return [random.gammavariate(spread**-2, mean * spread**2) for _ in range(count)]


def _modulated(spells: Iterable[tuple[float, float]], requests: int, random: Random) -> list[float]:
    """Poisson arrivals through (length, rate) one after the other."""
    return list(islice(through(spells, random), requests))


def through(spells: Iterable[tuple[float, float]], random: Random) -> Iterator[float]:
    """Times of Poisson arrivals through spells of (seconds, rate), one after the other."""
    start, patience = 0.0, random.expovariate(1.0)
    for length, rate in spells:
        at = start
        while patience <= (start + length - at) * rate:
            at += patience / rate
            yield at
            patience = random.expovariate(1.0)
        patience -= (start + length - at) * rate
        start += length
