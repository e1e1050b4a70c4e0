"""Several models' requests in one order, by weights: the next is always for the model that is furthest behind. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from loadtest.shot import Shots

MOST_TIMES = 1000.0
"""The heaviest may weigh so many times as much as the lightest: an order has each of them in it."""


def parse(texts: Sequence[str]) -> dict[str, float]:
    """`NAME[/VERSION][=WEIGHT]` each; without a weight it is 1. Raises ValueError with a sentence."""
    found: dict[str, float] = {}
    for text in texts:
        name, equals, weight = text.partition("=")
        try:
            found[name] = float(weight) if equals else 1.0
        except ValueError:
            found[name] = 0.0
        if not name or not 0 < found[name] < float("inf"):
            raise ValueError(f"--model {text}: expected NAME, NAME/VERSION or NAME=3")
    if found and max(found.values()) > MOST_TIMES * min(found.values()):
        raise ValueError(f"--model: expected weights of at most 1 to {MOST_TIMES:g}")
    return found


def mixed(parts: Sequence[tuple[Shots, float]]) -> Shots:
    """So long that every request of every model is in it, and each model as often as its weight says, within one."""
    whole = sum(weight for _, weight in parts)
    turns = max(ceil(len(shots) * whole / weight) for shots, weight in parts)
    sent = [0] * len(parts)
    order: Shots = []
    for turn in range(1, turns + 1):
        model = max(range(len(parts)), key=lambda each: turn * parts[each][1] / whole - sent[each])
        shots = parts[model][0]
        order.append(shots[sent[model] % len(shots)])
        sent[model] += 1
    return order
