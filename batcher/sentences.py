"""Why a controller does what it does, in sentences for a person. Pure: from a plan and a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from batcher.decide import Dispatch, Plan, WaitUntil
from batcher.simulate import Load

_LITTLE = 0.1
"""Share of the requests that may come from clients without arrivals being said to follow answers."""


def in_flight(plan: Plan, slowdown: Sequence[float]) -> str:
    """How many batches run at once, and why. `slowdown[k]`: how many times as long each of k takes."""
    slots, now = len(slowdown) - 1, plan.in_flight
    if slots <= 1:
        return "1 batch in flight: the executor takes one at a time"
    if now < slots:
        more = now + 1
        return f"{count(now, 'batch')} in flight: {more} at once take {slowdown[more]:.2f} times as long each"
    return f"{now} batches in flight, as many as the executor takes: each takes {slowdown[now]:.2f} times as long"


def size(plan: Plan, max_batch_rows: int) -> str:
    """The largest batch, and why."""
    largest = max(plan.sizes)
    if largest >= max_batch_rows:
        return f"batches of up to {largest} rows, as many as may be (max_batch_rows)"
    return f"batches of up to {largest} rows: larger ones have no better rate, or cost more than they gain"


def company(plan: Plan, load: Load) -> str:
    """For whom a batch waits while it could run, and why not for anybody."""
    if plan.enough_rows > 1:
        until = [
            f"{ms(seconds)} {after}"
            for seconds, after in (
                (plan.patience_s, "for a client that was answered"),
                (plan.gap_s, "after the last arrival or answer"),
                (plan.hold_s, "for the oldest request"),
            )
            if seconds
        ]
        longest = f", at most {ms(plan.longest_s)} because of the SLO" if plan.longest_s < inf else ""
        wait = f"{', '.join(until)}, whichever is longest{longest}"
        return f"fewer than {plan.enough_rows} rows wait for company: {wait}"
    if not load.opens and not load.clients:
        return "nobody is waited for: nothing is known of the arrivals yet"
    returns = len(load.thinks) if load.clients else 0
    if returns <= _LITTLE * (returns + len(load.opens)):
        return "nobody is waited for: arrivals do not follow answers"
    usual = sorted(load.thinks)[len(load.thinks) // 2]
    clients = count(load.clients, "client")
    return f"nobody is waited for: {clients} come back {ms(usual)} after an answer, and waiting for them gains nothing"


def moment(now: float, rows: int, running: int, verdict: Dispatch | WaitUntil | None, away: int, known: int) -> str:
    """What happens to the `rows` waiting rows, if any; `away` of `known` clients have their answer and are not back."""
    if not rows:
        return f"nothing waits; {count(running, 'batch')} in flight"
    if isinstance(verdict, WaitUntil) and verdict.time < inf:
        left = ms(max(0.0, verdict.time - now))
        expected = f": {away} of {max(away, known)} clients are away and expected" if away else ""
        return f"{count(rows, 'row')} waiting up to {left} more{expected}"
    if isinstance(verdict, Dispatch):
        return f"{count(rows, 'row')} about to run ({verdict.reason})"
    return f"{count(rows, 'row')} waiting for one of {count(running, 'batch')} in flight to end"


def distrust(quartiles: tuple[float, float]) -> str:
    """Why nothing is foretold."""
    low, high = quartiles
    return (
        "nothing is foretold, and batches go whenever the executor is free: a batch of one size takes"
        f" {low:.2f} to {high:.2f} times what is expected of it, in the middle half of the runs"
    )


def count(number: int, noun: str) -> str:
    """`1 row`, `2 rows`, `3 batches`."""
    plural = "es" if noun.endswith("ch") else "s"
    return f"{number} {noun}{'' if number == 1 else plural}"


def ms(seconds: float) -> str:
    """`0.31 ms`."""
    return f"{seconds * 1e3:.3g} ms"
