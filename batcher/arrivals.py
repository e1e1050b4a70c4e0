"""Who came when: the last requests, as a load that can be run again.

A client is whatever the front end takes for one (a connection): it asks again some think time after its answer. What
comes without a client, or from one that was not answered before, comes by itself. Pure: times are passed in. One owner.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from batcher.simulate import Load

KEPT = 512
"""Requests that are remembered..."""
BATCHES = 32
"""...or those of so many batches, if they are more: plans are compared by what becomes of batches..."""
MOST_KEPT = 2048
"""...but not more than these."""
FEWEST = 24
"""Requests that say something; until there are so many new ones, the old ones are what is known."""
MOST_CLIENTS = 4096
"""Clients of which the time of the last answer is known."""


class Came(NamedTuple):
    """One request: when, its rows, the seconds since its client had been answered (-1: it came by itself), its client,
    and which others may share a batch with it: those with the same key.
    """

    time: float
    rows: int
    think: float
    client: int
    key: Hashable


class Arrivals:
    """The last requests. `recording` may be switched off when there are enough of them, which are `kept`."""

    def __init__(self) -> None:
        self.recording = True
        self.kept = KEPT
        self._last: deque[Came] = deque(maxlen=KEPT)
        self._before: deque[Came] = deque()
        self._came = self._batches = 0
        self._answered: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._window())

    @property
    def fresh(self) -> int:
        """Requests since it was last told to forget, of those that are remembered."""
        return len(self._last)

    @property
    def lone(self) -> bool:
        """All of them came from one client: whatever is planned, nobody joins it."""
        clients = {came.client for came in self._window()}
        return len(clients) == 1 and 0 not in clients

    def arrived(self, now: float, rows: int, client: int, key: Hashable = ()) -> None:
        """A request came."""
        think = -1.0
        if client:
            answered = self._answered.pop(client, None)
            if answered is not None:
                think = now - answered
        self._last.append(Came(now, rows, think, client, key))
        self._came += 1

    def finished(self, now: float, clients: Sequence[int]) -> None:
        """A batch ended, and these clients have their answers."""
        self._batches += 1
        answered = self._answered
        for client in clients:
            answered[client] = now
        while len(answered) > MOST_CLIENTS:
            del answered[next(iter(answered))]

    def forget(self) -> None:
        """Start anew: what was not recorded in between must not look like silence."""
        self._before = self._window()
        self._last = deque(maxlen=self.kept)
        self._came = self._batches = 0
        self._answered.clear()

    def adjust(self) -> None:
        """Remember as many requests as batches of that many say enough."""
        self.kept = min(max(KEPT, BATCHES * self._came // max(1, self._batches)), MOST_KEPT)
        self._last = deque(self._last, maxlen=self.kept)

    def span(self) -> float:
        """Seconds from the first remembered request to the last."""
        window = self._window()
        return window[-1].time - window[0].time if window else 0.0

    def load(self) -> Load:
        """The remembered requests, as something that can be run again; times from 0."""
        window = self._window()
        returns = [came for came in window if came.think >= 0]
        clients = {came.client for came in returns}
        opens = [came.time for came in window if came.client not in clients]
        numbers = {key: number for number, key in enumerate(dict.fromkeys(came.key for came in window))}
        return Load(
            opens=[time - opens[0] for time in opens],
            clients=len(clients),
            thinks=[came.think for came in returns] or (0.0,),
            rows=[came.rows for came in window] or (1,),
            keys=[numbers[came.key] for came in window] if len(numbers) > 1 else (),
        )

    def _window(self) -> deque[Came]:
        return self._last if len(self._last) >= min(FEWEST, len(self._before)) else self._before
