"""What is sent when, as a few numbers that can be told another process.

A closed load has so many connections that send again as soon as they are answered; an open one sends at given times,
whatever is answered, over at most so many connections.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from loadtest import rhythms
from loadtest.rhythms import Times

Rhythm = Literal["poisson", "constant", "bursts", "steps", "recorded"]
MOST_CONNECTIONS = 512
"""Of an open load, if nothing else is said."""


@dataclass(frozen=True, slots=True)
class Load:
    """`rate` 0: a closed load. `spells`: (seconds, rate) of steps; `trace`: the times of a recorded one, seconds."""

    connections: int
    rate: float = 0.0
    rhythm: Rhythm = "poisson"
    seed: int = 1
    spells: tuple[tuple[float, float], ...] = ()
    trace: tuple[float, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it sends at given times."""
        return self.rate > 0

    def __str__(self) -> str:
        if not self.is_open:
            return f"{self.connections} connection{'s' * (self.connections != 1)}, closed loop"
        return f"{self.rate:,.4g} requests/s, {self.rhythm}"

    def times(self) -> Times | None:
        """When it sends, from 0; None for a closed load."""
        if not self.is_open:
            return None
        if self.rhythm == "constant":
            return rhythms.constant(self.rate)
        if self.rhythm == "bursts":
            return rhythms.bursts(self.rate, self.seed)
        if self.rhythm == "steps":
            return rhythms.steps(self.spells, self.seed)
        if self.rhythm == "recorded":
            return rhythms.recorded(self.trace)
        return rhythms.poisson(self.rate, self.seed)

    def share(self, worker: int, workers: int) -> tuple[Load, Times | None]:
        """What one of several processes sends: every so many-th request, a share of the connections."""
        connections = self.connections // workers + (worker < self.connections % workers)
        times = self.times()
        return replace(self, connections=connections), times and islice(times, worker, None, workers)


def with_rate(load: Load, rate: float) -> Load:
    """The same with another rate: a trace is played faster or slower."""
    times = rate / load.rate
    return replace(
        load,
        rate=rate,
        spells=tuple((seconds, each * times) for seconds, each in load.spells),
        trace=tuple(at / times for at in load.trace),
    )
