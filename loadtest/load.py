"""What is sent when, as a few numbers that can be told another process.

A closed load has so many connections that send again as soon as they are answered; an open one sends at given times,
whatever is answered, over at most so many connections.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from math import inf
from typing import Literal

from loadtest import rhythms
from loadtest.rates import Spell, Spells, at_rates
from loadtest.rhythms import Times

Rhythm = Literal["poisson", "constant", "bursts"]
MOST_CONNECTIONS = 512
"""Of an open load, if nothing else is said."""


@dataclass(frozen=True, slots=True)
class Load:
    """`rate` 0: a closed load; else its mean. `spells`: how it changes. `trace`: times in seconds, in their place."""

    connections: int
    rate: float = 0.0
    rhythm: Rhythm = "poisson"
    seed: int = 1
    spells: Spells = ()
    trace: tuple[float, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it sends at given times."""
        return self.rate > 0

    def __str__(self) -> str:
        if not self.is_open:
            return f"{self.connections} connection{'s' * (self.connections != 1)}, closed loop"
        rates = ",".join(map(str, self.spells)) or f"{self.rate:,.4g}"
        return f"{rates} requests/s, {'recorded' if self.trace else self.rhythm}"

    def times(self, lead_s: float = 0.0) -> Times | None:
        """When it sends, from 0; None for a closed load. What changes begins to after `lead_s`."""
        if not self.is_open:
            return None
        if self.trace:
            return rhythms.recorded(self.trace, lead_s)
        spells = self.spells or (Spell(inf, self.rate, self.rate),)
        first = spells[0].first
        return at_rates(self._units(), (Spell(lead_s, first, first), *spells))

    def _units(self) -> Times:
        if self.rhythm == "constant":
            return rhythms.constant()
        return rhythms.bursts(self.seed) if self.rhythm == "bursts" else rhythms.poisson(self.seed)

    def share(self, worker: int, workers: int, lead_s: float) -> tuple[Load, Times | None]:
        """What one of several processes sends: every so many-th request, a share of the connections."""
        connections = self.connections // workers + (worker < self.connections % workers)
        times = self.times(lead_s)
        return replace(self, connections=connections), times and islice(times, worker, None, workers)


def with_rate(load: Load, rate: float) -> Load:
    """The same with another rate: all of a ramp is steeper, a trace is played faster."""
    times = rate / load.rate
    return replace(
        load,
        rate=rate,
        spells=tuple(spell.times(times) for spell in load.spells),
        trace=tuple(at / times for at in load.trace),
    )
