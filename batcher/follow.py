"""Follow one plan and learn nothing: keeps what `decide` must know of the recent past.

Asked by the simulator about plans that are tried, and by the learning controller about the plan in force.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import inf

from batcher.decide import Dispatch, Limits, Plan, Waiting, WaitUntil, decide


class Follower:
    """A `Controller` with a plan that may be exchanged at any time.

    Only clients whose last request could share the batch are expected: those with its key.
    """

    __slots__ = ("_away", "_key", "_keys", "_waiting", "cut_rows", "limits", "plan")
    listens = True

    def __init__(self, plan: Plan, limits: Limits) -> None:
        self.plan = plan
        self.limits = limits
        self.cut_rows = limits.max_batch_rows
        self._waiting = Waiting(0, 0.0)
        self._away: dict[int, float] = {}
        """Client that was answered and is not back -> when it was answered; oldest first."""
        self._key: Hashable = None
        """Of all batches so far; None before the first."""
        self._keys: dict[int, Hashable] | None = None
        """Once batches have had several: client that is away -> key of its last request, if it is not `_key`."""

    @property
    def away(self) -> int:
        """Clients that were answered and are not back."""
        return len(self._away)

    def waiting(self, rows: int, oldest: float, key: Hashable = ()) -> Waiting:
        """These rows as `decide` wants to see them; the same object again with the next call."""
        waiting, away = self._waiting, self._away
        waiting.rows = rows
        waiting.oldest = oldest
        if self._keys is None:
            waiting.awaited_since = away[next(reversed(away))] if away and key == self._key else -inf
        else:
            keys, usual = self._keys, self._key
            expected = (since for client, since in reversed(away.items()) if keys.get(client, usual) == key)
            waiting.awaited_since = next(expected, -inf)
        return waiting

    def arrived(self, now: float, rows: int, client: int, key: Hashable = ()) -> None:
        """See `Controller`."""
        self._waiting.quiet_since = now
        if client:
            self._away.pop(client, None)

    def decide(self, now: float, rows: int, oldest: float, running: int, key: Hashable = ()) -> Dispatch | WaitUntil:
        """See `Controller`."""
        if self.plan.enough_rows > 1:
            return decide(now, self.waiting(rows, oldest, key), running, self.plan, self.limits)
        self._waiting.rows = rows  # all that is asked for
        return decide(now, self._waiting, running, self.plan, self.limits)

    def started(self, now: float, rows: int, running: int) -> None:
        """See `Controller`."""

    def finished(
        self, now: float, rows: int, seconds: float, running: float, clients: Sequence[int], key: Hashable = ()
    ) -> None:
        """See `Controller`."""
        self._waiting.quiet_since = now
        away = self._away
        for client in clients:
            away.pop(client, None)
            away[client] = now
        if key != self._key or self._keys is not None:
            self._remember(key, clients)
        while away and now - next(iter(away.values())) > self.plan.patience_s:  # they are not waited for any more
            del away[next(iter(away))]

    def _remember(self, key: Hashable, clients: Sequence[int]) -> None:
        if self._key is None:
            self._key = key
            return
        known = self._keys or {}
        known.update((client, key) for client in clients)
        self._keys = {client: each for client, each in known.items() if client in self._away and each != self._key}
