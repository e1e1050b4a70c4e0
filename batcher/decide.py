"""When does which part of the queue run? A pure function of a snapshot, a plan and a time that is passed in.

Asked by the batcher's loop at an arrival, at the end of a batch, and at the time that it named itself; by the simulator
in the same way. The plan is what was learnt (`batcher.search`); the limits are what the operator insists on. The
formulas and what was considered instead: docs/batching.md.
"""

from __future__ import annotations

from math import inf
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

Reason: TypeAlias = Literal["at_once", "full", "enough", "nobody_expected", "gave_up", "delay_limit", "deadline"]
"""Why a batch was closed: nobody is ever waited for; it has the most rows that are worth it; it has enough rows; none
of the clients that were expected is still away; some stayed away for too long; `max_queue_delay_ms`, or the
objective's SLO; its first request would have been late."""


class Waiting(msgspec.Struct):
    """Requests that may share a batch: their rows in total, the arrival time of the oldest, and the company expected.

    `quiet_since`: the last arrival or end of a batch, whichever came later. `awaited_since`: when the last of the
    clients that were answered and are not back yet got its answer; minus infinity if none is away.
    """

    rows: int
    oldest: float
    quiet_since: float = -inf
    awaited_since: float = -inf


class Limits(msgspec.Struct, frozen=True):
    """Hard bounds: rows of a batch, seconds that a request may be held back while it could run."""

    max_batch_rows: int
    max_queue_delay_s: float = inf


class Plan(msgspec.Struct, frozen=True):
    """What to do until something better is known.

    `in_flight`: batches that may run at once; if `crowd_rows` wait, `most_in_flight`. `sizes[n]`: rows of the batch if
    n rows wait; for more, its last item. With fewer than `enough_rows`, company is awaited: a client for `patience_s`
    after its answer, anybody for `gap_s` after the last event, and until the oldest request is `hold_s` old, unless it
    has been quiet for `silence_s`; the longest of the three holds, but nobody is held back for more than `longest_s`.
    """

    in_flight: int
    sizes: tuple[int, ...]
    enough_rows: int = 1
    patience_s: float = 0.0
    gap_s: float = 0.0
    hold_s: float = 0.0
    silence_s: float = inf
    most_in_flight: int = 0
    crowd_rows: int = 0
    longest_s: float = inf

    def up_to(self, rows: int) -> Plan:
        """One that decides the same while at most so many rows wait; plans that do have the same one."""
        sizes = self.sizes[: rows + 1]
        sizes += sizes[-1:] * (rows + 1 - len(sizes))
        enough, crowd = min(self.enough_rows, rows + 1), min(self.crowd_rows, rows + 1)
        return replace(self, sizes=sizes, enough_rows=enough, crowd_rows=crowd)


class Dispatch(msgspec.Struct, frozen=True):
    """Close a batch of at most `rows` rows now."""

    rows: int
    reason: Reason


class WaitUntil(msgspec.Struct, frozen=True):
    """Ask again at `time`, or at the next arrival or end of a batch if that comes first."""

    time: float


BUSY = WaitUntil(inf)
"""As many batches are in flight as should be."""


def decide(now: float, waiting: Waiting, running: int, plan: Plan, limits: Limits) -> Dispatch | WaitUntil:
    """What happens to the waiting rows (at least one) while `running` batches are in flight."""
    rows, sizes = waiting.rows, plan.sizes
    if running >= plan.in_flight and (rows < plan.crowd_rows or running >= plan.most_in_flight):
        return BUSY
    take = sizes[rows] if rows < len(sizes) else sizes[-1]
    if plan.enough_rows == 1:
        return Dispatch(take, "at_once")
    if rows >= plan.enough_rows:
        return Dispatch(take, "full" if take < rows or take == limits.max_batch_rows else "enough")
    until = waiting.awaited_since + plan.patience_s if plan.patience_s else -inf
    if plan.gap_s and waiting.quiet_since + plan.gap_s > until:
        until = waiting.quiet_since + plan.gap_s
    if plan.hold_s:
        hold = min(waiting.oldest + plan.hold_s, waiting.quiet_since + plan.silence_s)
        until = max(until, hold)
    longest_s = plan.longest_s
    latest = waiting.oldest + (longest_s if longest_s < limits.max_queue_delay_s else limits.max_queue_delay_s)
    if now >= latest:
        return Dispatch(take, "delay_limit")
    if now < until:
        return WaitUntil(until if until < latest else latest)
    return Dispatch(take, "nobody_expected" if waiting.awaited_since == -inf else "gave_up")
