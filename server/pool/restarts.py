"""Whether and when a place in the pool gets a new replica: a pure function of how its replicas ended so far.

Receives the ends of one place, oldest first, from the supervisor. Invariants: 1. The first death after a quiet time is
followed by a restart at once. 2. A place whose replicas cannot boot is not tried for ever. 3. A replica that dies soon
after it was ready, again and again, comes back ever later but comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from server.pool.exit_codes import ExitCode

STABLE_S = 10.0
"""A replica that was ready for this long did not die of a crash loop."""
FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 30.0
UNREADY_AT_START = 3
"""Deaths before it was ever ready after which a place is given up."""
UNREADY_LATER = 10
"""The same for a place that had served: about two minutes of attempts, during which the other replicas serve on."""


@dataclass(frozen=True, slots=True)
class End:
    """One replica's end. `ready_at` None: it never was. `reason` is what it said, or how it ended."""

    at: float
    ready_at: float | None
    exit_code: int
    reason: str

    @property
    def in_loop(self) -> bool:
        """It did not serve long enough to forget the ends before it."""
        return self.ready_at is None or self.at - self.ready_at < STABLE_S


@dataclass(frozen=True, slots=True)
class RestartAt:
    """Start the next replica at this time."""

    at: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop the pool and say `reason`."""

    exit_code: ExitCode
    reason: str


def next_restart(history: Sequence[End], now: float) -> RestartAt | GiveUp:
    """What follows the last end in `history`, which just happened."""
    last = history[-1]
    unready = sum(1 for _ in takewhile(lambda end: end.ready_at is None, reversed(history)))
    has_served = unready < len(history)
    if last.exit_code == ExitCode.BOOT_FAILED and not has_served:
        return GiveUp(ExitCode.BOOT_FAILED, f"cannot boot: {last.reason}")
    if unready >= (UNREADY_LATER if has_served else UNREADY_AT_START):
        return GiveUp(ExitCode.GAVE_UP, f"died {unready} times in a row before it was ready, last: {last.reason}")
    looping = sum(1 for _ in takewhile(lambda end: end.in_loop, reversed(history)))
    if looping <= 1:
        return RestartAt(now)
    return RestartAt(now + min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** (looping - 2)))
