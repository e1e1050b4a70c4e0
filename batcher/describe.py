"""A batcher as a document: what it has learnt, what it does, and why. Values of JSON, units in the names.

Asked by `GET /v2/models/M/batcher` on the event loop. `forecasts`, which is run in another thread, gets a `Picture`
from there and tries on it, on the recent requests, the plan in force and what could be done instead.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, TypeAlias

import msgspec

from batcher import sentences
from batcher.adaptive import Adaptive
from batcher.arrivals import FEWEST
from batcher.controller import Controller
from batcher.decide import Plan, decide
from batcher.follow import Follower
from batcher.forecast import device_of, dispersion, forecast, quantile, timers
from batcher.queue import RowQueue
from batcher.search import simplest
from batcher.simulate import Load
from batcher.timer import Timer
from batcher.twin import Picture, Twin

Document: TypeAlias = dict[str, Any]

SHARES = (0.1, 0.5, 0.9, 0.99)
AT_ONCE = "everything at once"
IN_FORCE = "the plan in force"
FORECAST_REQUESTS = 1000


def describe(controller: Controller, now: float, queue: RowQueue, running: int, *, recording: bool = False) -> Document:
    """Without forecasts. With `recording`: the recent requests one by one, for whoever wants to run them again."""
    document: Document = {"now": {"batches_in_flight": running, "queue_rows": queue.rows, "queue_bytes": queue.bytes}}
    if isinstance(controller, Adaptive):
        return document | _adaptive(controller, now, queue, running, recording)
    if isinstance(controller, Timer):
        return document | _timer(controller)
    return document | {"controller": type(controller).__name__.lower()}


def forecasts(picture: Picture, plan: Plan, breathe: Callable[[], None] | None = None) -> list[Document]:
    """What the recent requests would cost: in force, at once, then fixed timers."""
    load, device = picture.load, device_of(picture)
    known = len(load.opens) + (len(load.thinks) if load.clients else 0)
    if known < FEWEST:
        return []
    requests = FORECAST_REQUESTS if load.clients else known
    at_once = simplest(Twin(picture)).plan(picture.seconds, picture.slowdown, load)
    tried: dict[str, Controller] = {
        IN_FORCE: Follower(plan, picture.limits),
        AT_ONCE: Follower(at_once, picture.limits),
        **timers(picture.limits, picture.slots),
    }
    found = []
    for name, controller in tried.items():
        result = forecast(load, device, controller, requests, picture.slo_s, breathe)
        if result is not None:
            found.append({"settings": name, **msgspec.structs.asdict(result)})
    return found


def _timer(controller: Timer) -> Document:
    limits, in_flight = controller.limits, controller.in_flight
    delay = f"or its oldest request is {sentences.ms(limits.max_queue_delay_s)} old" if limits.max_queue_delay_s else ""
    how = f"when it is full ({limits.max_batch_rows} rows) {delay}" if delay else "as soon as it may"
    return {
        "controller": "timer",
        "limits": _limits(controller.limits.max_batch_rows, controller.limits.max_queue_delay_s),
        "why": [f"a batch goes {how}; {sentences.count(in_flight, 'batch')} in flight at most; nothing is learnt"],
    }


def _adaptive(controller: Adaptive, now: float, queue: RowQueue, running: int, recording: bool) -> Document:
    picture, plan, limits = controller.picture(), controller.plan, controller.limits
    load, curve = picture.load, controller.curve
    noise = sorted(curve.noise())
    document: Document = {
        "controller": "adaptive",
        "objective": picture.objective,
        "slo_ms": _ms(picture.slo_s) if picture.slo_s else None,
        "limits": _limits(limits.max_batch_rows, limits.max_queue_delay_s),
        "plan": {
            "batches_in_flight": plan.in_flight,
            "largest_batch_rows": max(plan.sizes),
            "enough_rows": plan.enough_rows,
            "patience_ms": _ms(plan.patience_s),
            "gap_ms": _ms(plan.gap_s),
            "hold_ms": _ms(plan.hold_s),
            "learnt": controller.settings is not None,
        },
        "why": _why(controller, now, queue, running, picture),
        "curve": {
            "sizes": [{"rows": rows, "ms": _ms(seconds), "runs": runs} for rows, seconds, runs in curve.known()],
            "runs": curve.runs,
            "times_moved": curve.drifts,
            "trusted": curve.trusted(),
            "slowdown": list(curve.slowdown[1:]),
            "noise": {f"p{share * 100:g}": round(quantile(noise, share), 4) for share in SHARES},
        },
        "arrivals": _arrivals(load, controller.arrivals.span(), len(controller.arrivals)),
    }
    if recording:
        gaps = [later - earlier for earlier, later in zip(load.opens, load.opens[1:], strict=False)]
        document["recording"] = {
            "open_gaps_ms": [_ms(gap) for gap in gaps],
            "thinks_ms": [_ms(think) for think in load.thinks] if load.clients else [],
            "rows": list(load.rows),
            "keys": list(load.keys),
            "noise": [round(factor, 4) for factor in picture.noise],
        }
    return document


def _why(controller: Adaptive, now: float, queue: RowQueue, running: int, picture: Picture) -> list[str]:
    plan, rows, verdict = controller.plan, 0, None
    oldest = min(queue.groups(), key=lambda group: group[1].oldest, default=None)
    if oldest is not None:
        key, rows = oldest[0], oldest[1].rows
        waiting = controller.follower.waiting(rows, oldest[1].oldest, key)
        verdict = decide(now, waiting, running, plan, controller.limits)
    said = [
        sentences.moment(now, rows, running, verdict, controller.away, picture.load.clients),
        sentences.company(plan, picture.load),
        sentences.size(plan, controller.limits.max_batch_rows),
        sentences.in_flight(plan, picture.slowdown),
    ]
    if not controller.curve.trusted():
        noise = sorted(picture.noise)
        said.append(sentences.distrust((quantile(noise, 0.25), quantile(noise, 0.75))))
    return said


def _arrivals(load: Load, span_s: float, requests: int) -> Document:
    opens, thinks = load.opens, sorted(load.thinks) if load.clients else []
    open_s = opens[-1] - opens[0] if len(opens) > 1 else 0.0
    return {
        "requests": requests,
        "span_s": round(span_s, 4),
        "requests_per_s": round((requests - 1) / span_s, 2) if span_s > 0 else 0.0,
        "open_requests_per_s": round((len(opens) - 1) / open_s, 2) if open_s > 0 else 0.0,
        "burstiness": round(dispersion(opens), 2),
        "clients": load.clients,
        "think_ms": {f"p{share * 100:g}": _ms(quantile(thinks, share)) for share in SHARES} if thinks else {},
        "rows_per_request": round(sum(load.rows) / len(load.rows), 2),
    }


def _limits(max_batch_rows: int, max_queue_delay_s: float) -> Document:
    return {
        "max_batch_rows": max_batch_rows,
        "max_queue_delay_ms": _ms(max_queue_delay_s) if max_queue_delay_s < inf else None,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 4)
