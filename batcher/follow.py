"""Follow one plan and learn nothing: keeps what `decide` must know of the recent past.

Asked by the simulator about plans that are tried, and by the learning controller about the plan in force.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from batcher.decide import Dispatch, Limits, Plan, Waiting, WaitUntil, decide


class Follower:
    """A `Controller` with a plan that may be exchanged at any time."""

    __slots__ = ("_away", "_waiting", "cut_rows", "limits", "plan")
    listens = True

    def __init__(self, plan: Plan, limits: Limits) -> None:
        self.plan = plan
        self.limits = limits
        self.cut_rows = limits.max_batch_rows
        self._waiting = Waiting(0, 0.0)
        self._away: dict[int, float] = {}
        """Client that was answered and is not back -> when it was answered; oldest first."""

    @property
    def away(self) -> int:
        """Clients that were answered and are not back."""
        return len(self._away)

    def waiting(self, rows: int, oldest: float) -> Waiting:
        """These rows as `decide` wants to see them; the same object again with the next call."""
        waiting, away = self._waiting, self._away
        waiting.rows = rows
        waiting.oldest = oldest
        waiting.awaited_since = away[next(reversed(away))] if away else -inf
        return waiting

    def arrived(self, now: float, rows: int, client: int) -> None:
        """See `Controller`."""
        self._waiting.quiet_since = now
        if client:
            self._away.pop(client, None)

    def decide(self, now: float, rows: int, oldest: float, running: int) -> Dispatch | WaitUntil:
        """See `Controller`."""
        return decide(now, self.waiting(rows, oldest), running, self.plan, self.limits)

    def started(self, now: float, rows: int, running: int) -> None:
        """See `Controller`."""

    def finished(self, now: float, rows: int, seconds: float, running: float, clients: Sequence[int]) -> None:
        """See `Controller`."""
        self._waiting.quiet_since = now
        away = self._away
        for client in clients:
            away.pop(client, None)
            away[client] = now
        while away and now - next(iter(away.values())) > self.plan.patience_s:  # they are not waited for any more
            del away[next(iter(away))]
