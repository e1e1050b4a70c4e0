"""In overload the event loop does not look at each arrival: it naps while a batch runs, and then looks at many.

Who comes while a batch runs can but wait for its end, or be refused. If the loop shares the batch's core, each arrival
takes the core from it, and what it had in the caches. Measured on one core, a CNN, requests at 5 times the capacity:
the loop takes 72 us for each, 45 in naps, and the batch's thread 0.91 ms for a row, 0.76 with naps. An answer comes no
later for it than it waits for the batch; a refusal, and whatever else the process does meanwhile, by a nap at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf

from executor.nap import Nap

LONGEST_S = 0.002
"""Of a nap..."""
SHARE = 1 / 32
"""...or this part of the time that requests have: what passes in it no deadline knows of."""
AFTER_S = 1.0
"""So long after a refusal there are naps."""


class Doze:
    """One event loop's, whose runs in threads `nap` knows."""

    def __init__(self, nap: Nap, clock: Callable[[], float] = time.monotonic) -> None:
        self._nap = nap
        self._clock = clock
        self._nap_s = LONGEST_S
        self._until = -inf
        self._on = False

    def refused(self, timeout_s: float) -> None:
        """A request that had so much time was refused since there is too much to do; 0: it gave none."""
        self._until = self._clock() + AFTER_S
        self._nap_s = min(LONGEST_S, SHARE * timeout_s) if timeout_s else LONGEST_S
        if not self._on:
            self._on = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Once in each turn of the loop, or after the time of a nap if nothing runs."""
        loop = asyncio.get_running_loop()
        if self._clock() >= self._until:
            self._on = False
        elif self._nap.running:
            self._nap.take(self._nap_s)
            loop.call_soon(self._turn)
        else:
            loop.call_later(self._nap_s, self._turn)
