"""What loads would cost on a model that is known, under the adaptive controller and under fixed settings.

Receives a `Known` and loads, hands a row for each load and policy back: a `Forecast`, or the statement that the policy
cannot keep up. Everything is run in virtual time by the code that the server runs; the adaptive controller starts with
the curve and learns the rest. Pure, some seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from batcher.adaptive import Adaptive
from batcher.controller import Controller
from batcher.follow import Follower
from batcher.forecast import Forecast, summary, timers
from batcher.known import Known
from batcher.outlook import Outlook
from batcher.search import at_once
from batcher.simulate import Load, simulate
from batcher.sizes import best_rows

ADAPTIVE, AT_ONCE = "adaptive", "everything at once"
LATE = 1.05
"""Who needs more than this many times the time in which an open load came, to answer it, falls behind."""


class Capacity(msgspec.Struct, frozen=True):
    """The most rows per second, and how: batches of `batch_rows`, `in_flight` at once."""

    rows_per_s: float
    batch_rows: int
    in_flight: int

    def __str__(self) -> str:
        beside = f", {self.in_flight} at once" if self.in_flight > 1 else ""
        return f"{self.rows_per_s:,.0f} rows/s in batches of {self.batch_rows}{beside}"


class Row(msgspec.Struct, frozen=True):
    """One policy under one load."""

    settings: str
    forecast: Forecast
    keeps_up: bool
    """False: requests come faster than they are answered, and the latencies say only how long that went on."""


def capacity(known: Known) -> Capacity:
    """What the model does at best, if there is always enough to do."""
    table, slowdown = known.table(), known.slowdown
    rows = best_rows(table)
    in_flight = max(range(1, len(slowdown)), key=lambda k: (k / slowdown[k], -k))
    return Capacity(rows / table[rows] * in_flight / slowdown[in_flight], rows, in_flight)


def offered(load: Load) -> float:
    """Rows per second that come whatever is answered; 0 if that depends on the answers."""
    if len(load.opens) < 2 or load.opens[-1] <= load.opens[0]:
        return 0.0
    return (len(load.opens) - 1) / (load.opens[-1] - load.opens[0]) * sum(load.rows) / len(load.rows)


def policies(known: Known) -> dict[str, Controller]:
    """Name -> what decides, new each time."""
    table = known.table()
    return {
        ADAPTIVE: Adaptive(
            known.limits,
            known.slots,
            seed=[(rows, seconds) for rows, seconds, _ in known.sizes],
            slowdown=known.slowdown[1:],
            objective=known.objective,
            slo_s=known.slo_s,
        ),
        AT_ONCE: Follower(at_once(table, known.slowdown).plan(table, known.slowdown, Load()), known.limits),
        **timers(known.limits, known.slots),
    }


def what_if(known: Known, load: Load, requests: int) -> Iterator[Row]:
    """One row for each policy, all with the same requests and the same noise.

    Where requests have timeouts, the adaptive controller refuses those that would be late; no other does.
    """
    device, table = known.device(), known.table()
    load = replace(load, apart_s=table[best_rows(table)])  # clients that begin together would stay together
    for name, controller in policies(known).items():
        outlook = None
        if load.timeouts and isinstance(controller, Adaptive):
            outlook = Outlook(controller, known.limits.max_batch_rows)
        outcome = simulate(load, device, controller, requests, outlook=outlook)
        if outcome.finished:
            came_s = max(outcome.arrived) - min(outcome.arrived)
            took_s = outcome.finished[-1] - min(outcome.arrived)
            keeps_up = bool(load.clients) or took_s <= LATE * came_s
            yield Row(name, summary(outcome, known.slo_s), keeps_up)
