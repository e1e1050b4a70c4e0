"""What a load would cost under one controller, in numbers a person asks for. Pure, and not quick: milliseconds or more.

Receives a load, a device and a controller, hands a `Forecast` back. The first requests, which find an empty queue and a
controller that has learnt nothing, do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, inf

import msgspec

from batcher.controller import Controller
from batcher.decide import Limits
from batcher.objective import SKIPPED
from batcher.simulate import Device, Load, Outcome, simulate
from batcher.timer import Timer
from batcher.twin import Picture

DELAYS_S = (0.0, 0.001, 0.005, 0.02)
"""Of the fixed timers that a plan is compared with."""


class Forecast(msgspec.Struct, frozen=True):
    """Latencies from arrival to the end of the batch, of those that were answered.

    `within_slo` is a share of these, None without an SLO. `in_time` and `refused` are shares of all requests: answered
    before their timeout, and not let in, or sent away when they became late; None if they have no timeout.
    """

    requests: int
    mean_ms: float
    p50_ms: float
    p99_ms: float
    requests_per_s: float
    rows_per_s: float
    utilisation: float
    """Mean number of batches in flight, each counted with the seconds that it would take alone."""
    batch_rows: float
    """Mean rows of a batch."""
    within_slo: float | None = None
    in_time: float | None = None
    refused: float | None = None


def forecast(
    load: Load,
    device: Device,
    controller: Controller,
    requests: int,
    slo_s: float = 0.0,
    breathe: Callable[[], None] | None = None,
) -> Forecast | None:
    """What `requests` of `load` find; None if the load has none."""
    outcome = simulate(load, device, controller, requests, breathe)
    return summary(outcome, slo_s) if outcome.finished else None


def summary(outcome: Outcome, slo_s: float = 0.0) -> Forecast:
    """Of the requests of `outcome`, which has some."""
    skipped = int(len(outcome.finished) * SKIPPED)
    pairs = zip(outcome.finished[skipped:], outcome.arrived[skipped:], strict=True)
    latencies = sorted(finished - arrived for finished, arrived in pairs)
    count, whole_s = len(latencies), max(outcome.finished[-1] - min(outcome.arrived), 1e-12)
    away = len(outcome.refused) + len(outcome.left)
    came = len(outcome.finished) + away
    in_time = sum(finished <= due for finished, due in zip(outcome.finished, outcome.dues, strict=False))
    return Forecast(
        requests=count,
        mean_ms=_ms(sum(latencies) / count),
        p50_ms=_ms(quantile(latencies, 0.5)),
        p99_ms=_ms(quantile(latencies, 0.99)),
        requests_per_s=round(len(outcome.finished) / whole_s, 1),
        rows_per_s=round(sum(outcome.batches) / whole_s, 1),
        utilisation=round(outcome.device_s / whole_s, 3),
        batch_rows=round(sum(outcome.batches) / len(outcome.batches), 2),
        within_slo=round(sum(latency <= slo_s for latency in latencies) / count, 4) if slo_s else None,
        in_time=round(in_time / came, 4) if outcome.dues else None,
        refused=round(away / came, 4) if outcome.dues else None,
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` of them do not exceed."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def timers(limits: Limits, slots: int) -> dict[str, Timer]:
    """Fixed settings, as they are tried with other servers, by a name that says which."""
    found = {}
    for in_flight in sorted({1, slots}):
        beside = f", {in_flight} in flight" if slots > 1 else ""
        for delay_s in DELAYS_S:
            name = f"timer {delay_s * 1e3:g} ms{beside}"
            found[name] = Timer(Limits(limits.max_batch_rows, delay_s), in_flight)
    return found


def device_of(picture: Picture) -> Device:
    """The device that was learnt."""
    return Device.of_table(picture.seconds, picture.slowdown, picture.noise)


def dispersion(times: Sequence[float], per_window: float = 16.0) -> float:
    """Variance by mean of the number of arrivals in windows that hold `per_window` on average; 1 for Poisson arrivals.

    `times` in order, seconds. 1 if they are too few to tell.
    """
    if len(times) < 4 * per_window or times[-1] <= times[0]:
        return 1.0
    windows = int(len(times) / per_window)
    counts, length = [0] * windows, (times[-1] - times[0]) / windows
    for at in times:
        counts[min(windows - 1, int((at - times[0]) / length))] += 1
    mean = len(times) / windows
    return sum((count - mean) ** 2 for count in counts) / windows / mean


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 4) if seconds < inf else seconds
