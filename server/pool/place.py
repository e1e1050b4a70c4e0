"""One of the pool's N places: which child holds it, and how those before it ended."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from server.pool.child import Child
from server.pool.restarts import UNREADY_LATER, End


@dataclass(eq=False, slots=True)
class Place:
    """Changed by the supervisor's loop only. `failure` is what the child said before it ended."""

    index: int
    child: Child | None = None
    ready_at: float | None = None
    failure: str = ""
    history: deque[End] = field(default_factory=lambda: deque(maxlen=2 * UNREADY_LATER))

    def take(self, child: Child) -> None:
        """A new child has the place."""
        self.child, self.ready_at, self.failure = child, None, ""

    def vacate(self, now: float, code: int, reason: str) -> None:
        """Its child has ended, or could not even be started."""
        self.history.append(End(at=now, ready_at=self.ready_at, exit_code=code, reason=reason))
        self.child, self.ready_at = None, None
