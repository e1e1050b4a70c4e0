"""What a run must show: `p99<50ms`, `errors==0`, `errors<0.1%`, `per_s>=2000`. Pure: text in, verdict out."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from loadtest.findings import SHARES, Findings

LATENCIES = ("mean", *SHARES, "max")
COUNTS = ("errors", "wrong", "failed", "timed_out")
"""`errors` is everything that was sent and has no right answer; a number or a share in %."""
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM = re.compile(r"\s*([a-z_]+[0-9.]*)\s*(<=|>=|==|=|<|>)\s*([0-9.]+)\s*(us|ms|s|%)?\s*")
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True, slots=True)
class Criterion:
    """`text` as it was given; `limit` in milliseconds, requests, % of the requests, or answers per second."""

    text: str
    metric: str
    unit: str
    holds_for: Callable[[float, float], bool]
    limit: float

    def value(self, found: Findings) -> float:
        """What was found, in the unit of the limit."""
        if self.metric in LATENCIES:
            return float(found["latency_ms"][self.metric])
        if self.metric == "per_s":
            return float(found["per_s"])
        requests = found["requests"]
        count = requests["sent"] - requests["ok"] if self.metric == "errors" else requests[self.metric]
        return 100.0 * count / max(1, requests["sent"]) if self.unit == "%" else float(count)

    def holds(self, found: Findings) -> bool:
        """Whether it is so. Where no request had an answer, no latency holds."""
        if self.metric in LATENCIES and not found["requests"]["ok"]:
            return False
        return self.holds_for(self.value(found), self.limit)

    def verdict(self, found: Findings) -> str:
        """In words."""
        unit = self.unit if self.unit == "%" else "ms" if self.metric in LATENCIES else ""
        return f"{self.text}: {'holds' if self.holds(found) else 'DOES NOT HOLD'}, found {self.value(found):g}{unit}"


def parse(text: str) -> list[Criterion]:
    """Criteria separated by commas. Raises ValueError with a sentence."""
    return [_one(each) for each in text.split(",")]


def _one(text: str) -> Criterion:
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"criterion {text!r}: expected something like p99<50ms, errors==0, errors<0.1% or per_s>=2000")
    metric, sign, number, unit = found[1], found[2], float(found[3]), found[4] or ""
    if metric in LATENCIES:
        if unit not in _MS:
            raise ValueError(f"criterion {text!r}: {metric} needs a unit, us, ms or s")
        number *= _MS[unit]
    elif metric == "per_s":
        if unit:
            raise ValueError(f"criterion {text!r}: per_s is a number without a unit")
    elif metric not in COUNTS:
        raise ValueError(f"criterion {text!r}: {metric!r} is not one of {', '.join((*LATENCIES, *COUNTS, 'per_s'))}")
    elif unit not in ("", "%"):
        raise ValueError(f"criterion {text!r}: {metric} is a number or a share in %")
    return Criterion(text.strip(), metric, unit, _OPERATORS[sign], number)
