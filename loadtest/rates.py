"""How many requests a second, and when: spells that follow one another, from one text.

    500                  500/s all the time
    100..1000            a ramp from 100/s to 1,000/s, over the run
    100:10s,1000:5s,100  steps: 100/s for 10 s, 1,000/s for 5 s, then 100/s
    0..500:30s,500       ramps and steps, as they come

The last spell needs no seconds: it takes what is left of the run, and its last rate stays. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt

FORM = "expected 500, 100..1000, 100:10s,1000:5s,100 or @FILE"
_NUMBER = r"(\d+(?:\.\d+)?)"
_SPELL = re.compile(rf"{_NUMBER}(?:\.\.{_NUMBER})?(?::{_NUMBER}s?)?")


@dataclass(frozen=True, slots=True)
class Spell:
    """So many seconds, in which the rate goes from `first` to `last` in a straight line."""

    seconds: float
    first: float
    last: float

    @property
    def requests(self) -> float:
        """How many are due in it."""
        return self.seconds * (self.first + self.last) / 2 if self.first or self.last else 0.0

    def when(self, requests: float) -> float:
        """Seconds after its start at which so many are due."""
        if not requests:
            return 0.0
        slope = (self.last - self.first) / self.seconds
        return 2 * requests / (self.first + sqrt(max(0.0, self.first**2 + 2 * requests * slope)))

    def times(self, factor: float) -> Spell:
        """As long, at so many times the rate."""
        return Spell(self.seconds, self.first * factor, self.last * factor)

    def __str__(self) -> str:
        ramp = f"..{self.last:,.4g}" if self.last != self.first else ""
        return f"{self.first:,.4g}{ramp}" + (f":{self.seconds:g}s" if isfinite(self.seconds) else "")


Spells = tuple[Spell, ...]


def parse(text: str, seconds: float) -> Spells:
    """The spells of a run of so many seconds. Raises ValueError with a sentence."""
    *first, last = text.split(",")
    spells = [_spell(text, part, inf) for part in first]
    left = seconds - sum(spell.seconds for spell in spells)
    if not isfinite(left):
        raise ValueError(f"--rate {text}: only the last rate may go without its seconds, as in 100:10s,1000:5s,100")
    spells.append(_spell(text, last, max(left, 0.0)))
    if not mean(spells, seconds):
        raise ValueError(f"--rate {text}: nothing is sent in a run of {seconds:g} s")
    return tuple(spells)


def _spell(text: str, part: str, rest_s: float) -> Spell:
    found = _SPELL.fullmatch(part.strip())
    if found is None:
        raise ValueError(f"--rate {text}: {FORM}")
    first, last, seconds = found.groups()
    return Spell(float(seconds or rest_s), float(first), float(last or first))


def mean(spells: Sequence[Spell], seconds: float) -> float:
    """Requests per second over the first so many seconds."""
    due, left = 0.0, seconds
    for spell in endless(spells):
        part = min(left, spell.seconds)
        slope = (spell.last - spell.first) / spell.seconds if spell.seconds else 0.0
        due += part * spell.first + slope * part**2 / 2
        left -= part
    return due / seconds


def at_rates(units: Iterable[float], spells: Sequence[Spell]) -> Iterator[float]:
    """When what comes at these times at one request a second comes at these rates instead; ends where they stay 0."""
    start = before = 0.0
    rest = iter(endless(spells))
    spell = next(rest)
    for unit in units:
        while unit >= before + spell.requests:
            start, before = start + spell.seconds, before + spell.requests
            if start == inf:
                return
            spell = next(rest)
        yield start + spell.when(unit - before)


def endless(spells: Sequence[Spell]) -> tuple[Spell, ...]:
    """Their last rate stays."""
    last = spells[-1].last
    return (*spells, Spell(inf, last, last))


def is_steady(spells: Sequence[Spell]) -> bool:
    """Whether it is one rate all the time."""
    return len({rate for spell in spells for rate in (spell.first, spell.last)}) == 1
