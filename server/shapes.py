"""The traffic that `headrace simulate` is asked about: from options to a load, or to a sentence about what is wrong.

Times on the command line are seconds (think times: milliseconds), rates requests per second. Raises ConfigError that
names the option, what was expected and what was found.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from pathlib import Path

import msgspec

from batcher import loads
from batcher.simulate import Load
from headrace.errors import ConfigError
from headrace.traces import read_trace

LEAST_REQUESTS, MOST_REQUESTS = 10_000, 200_000
PERIODS = 30
"""Of a load that changes over time, so many are run, if they are not too many requests."""
SEED = 1


class Asked(msgspec.Struct, frozen=True):
    """The options, as they were given; None, "" and 0: not given."""

    rate: float | None = None
    bursts: float | None = None
    on_off: str = ""
    sinusoid: str = ""
    step: str = ""
    clients: int | None = None
    think: float = 0.0
    trace: Path | None = None
    rows: str = "1"
    requests: int = 0


class Shape(msgspec.Struct, frozen=True):
    """What was asked for, in words, and how to make it with so many requests."""

    words: str
    requests: int
    make: Callable[[int], Load]


_Made = tuple[str, float, Callable[[int], Load]]


def shape(asked: Asked) -> Shape | None:
    """The load that the options describe, None if they describe none. Raises ConfigError."""
    given = [f"--{name.replace('_', '-')}" for name in ("bursts", "on_off", "sinusoid", "step") if getattr(asked, name)]
    kinds = [f"--{name}" for name in ("rate", "clients", "trace") if getattr(asked, name) is not None]
    if len(kinds) > 1:
        raise ConfigError(f"{' and '.join(kinds)}: expected one of them, they are different loads")
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)}: expected one of them at most")
    if given and asked.rate is None:
        raise ConfigError(f"{given[0]}: expected --rate with it, the mean requests per second")
    if not kinds:
        return None
    rows = tuple(_whole("--rows", each) for each in asked.rows.split(","))
    if asked.trace is not None:
        times = read_trace(asked.trace, "--trace")
        words, least_s, make = f"{asked.trace}", 0.0, lambda n: loads.recorded(times, n, rows)
    elif asked.clients is not None:
        words, least_s, make = _closed(asked, rows)
    else:
        words, least_s, make = _open(asked, rows)
    wanted = asked.requests or min(MOST_REQUESTS, max(LEAST_REQUESTS, int(least_s * (asked.rate or 0.0))))
    return Shape(words, wanted, make)


def _open(asked: Asked, rows: tuple[int, ...]) -> _Made:
    """(words, seconds that it should last, load of n requests)."""
    rate = asked.rate or 0.0
    if not 0 < rate < inf:
        raise ConfigError(f"--rate: expected requests per second above 0, found {asked.rate:g}")
    at = f"{rate:g} requests/s"
    if asked.bursts:
        spread = asked.bursts
        if spread < 1:
            raise ConfigError(f"--bursts: expected the variance by mean of the counts, at least 1, found {spread:g}")
        return f"{at} in bursts ({spread:g})", 0.0, lambda n: loads.bursts(rate, n, SEED, spread, rows)
    if asked.on_off:
        on_s, off_s = _numbers("--on-off", asked.on_off, "ON:OFF in seconds, such as 1:4")
        words = f"{at} on average, {on_s:g} s on, {off_s:g} s off"
        return words, PERIODS * (on_s + off_s), lambda n: loads.on_off(rate, n, SEED, on_s, off_s, rows)
    if asked.sinusoid:
        expected = "PERIOD[:RATIO], seconds and how many times as busy noon is as midnight, such as 60:10"
        period_s, *ratios = _numbers("--sinusoid", asked.sinusoid, expected, least=1)
        ratio = ratios[0] if ratios else 10.0
        if ratio < 1:
            raise ConfigError(f"--sinusoid: expected {expected}, found {asked.sinusoid!r}")
        words = f"{at} on average, {ratio:g} times as many at noon as at midnight, a day in {period_s:g} s"
        return words, PERIODS * period_s, lambda n: loads.sinusoid(rate, n, SEED, period_s, ratio, rows)
    if asked.step:
        at_s, times = _numbers("--step", asked.step, "AT:TIMES, seconds and a factor, such as 30:5")
        words = f"{at}, {times:g} times as many after {at_s:g} s"
        return words, at_s * (1 + times), lambda n: loads.step(rate, n, SEED, at_s, times, rows)
    return at, 0.0, lambda n: loads.poisson(rate, n, SEED, rows)


def _closed(asked: Asked, rows: tuple[int, ...]) -> _Made:
    clients, think_ms = asked.clients or 0, asked.think
    if clients < 1:
        raise ConfigError(f"--clients: expected at least 1, found {clients}")
    if not 0 <= think_ms < inf:
        raise ConfigError(f"--think: expected milliseconds, at least 0, found {think_ms:g}")
    words = f"{clients} client{'s' if clients > 1 else ''} that think {think_ms:g} ms"
    return words, 0.0, lambda n: loads.closed(clients, think_ms / 1e3, n, SEED, rows=rows)


def factors(text: str) -> list[float]:
    """`1,2,4`: how many times the traffic. Raises ConfigError."""
    return _numbers("--times", text, "factors such as 1,2,4", ",")


def _numbers(option: str, text: str, expected: str, comma: str = ":", least: int = 2) -> list[float]:
    """Numbers above 0; with colons between them there are two at most."""
    try:
        found = [float(each) for each in text.split(comma)]
    except ValueError:
        found = []
    wrong = not found if comma == "," else not least <= len(found) <= 2
    if wrong or not all(0 < each < inf for each in found):
        raise ConfigError(f"{option}: expected {expected}, found {text!r}")
    return found


def _whole(option: str, text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise ConfigError(f"{option}: expected whole numbers from 1 on with commas between them, found {text!r}")
    return int(text)
