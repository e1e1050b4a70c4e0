"""In overload the event loop does not look at each arrival: it naps while a batch runs, and then looks at many.

Who comes while a batch runs can but wait for its end, or be refused. If the loop shares the batch's core, each arrival
takes the core from it, and what it had in the caches. An answer comes no later for a nap than it waits for the batch; a
refusal, and whatever else the process does meanwhile, by a nap at most. Measured on one core, a CNN: at five times the
capacity 1.11 (1.05 to 1.15) times as many answers in time, at twice as many as without (0.97 to 1.03).
There is one nap for each turn of the loop that refuses somebody: where few come, each turn of its own would be worse.
"""

from __future__ import annotations

import asyncio

from executor.nap import Nap

LONGEST_S = 0.002
"""Of a nap..."""
SHARE = 1 / 32
"""...or this part of the time that requests have: what passes in it no deadline knows of."""


class Doze:
    """One event loop's, whose runs in threads `nap` knows."""

    def __init__(self, nap: Nap) -> None:
        self._nap = nap
        self._nap_s = LONGEST_S
        self._due = False

    def refused(self, timeout_s: float) -> None:
        """A request that had so much time was refused since there is too much to do; 0: it gave none."""
        self._nap_s = min(LONGEST_S, SHARE * timeout_s) if timeout_s else LONGEST_S
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._take)

    def _take(self) -> None:
        self._due = False
        if self._nap.running:
            self._nap.take(self._nap_s)
