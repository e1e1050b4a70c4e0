"""Random (load, model, executor) cells for `bench/regret.py`: any number of them, from a seed.

A model is a curve: affine, flat then linear, stepped (padded sizes), with a ceiling past which the rate falls, or
measured (bench/curves.json). An executor has `slots` and a device that really runs some of them side by side. A load is
open (Poisson, bursts, on and off, sinusoid, step) at a share of the capacity, or closed with think times.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

from batcher import loads
from batcher.simulate import Device, Load
from batcher.sizes import best_rows

MOST_ROWS = 64
NOISES = 1009
SLOW = 1500.0
"""Most rows per second of a model whose load changes."""
CURVES = Path(__file__).parent / "curves.json"


@dataclass
class Cell:
    name: str
    load: Load
    device: Device
    slots: int
    requests: int
    open_rate: float = 0.0

    @property
    def closed(self):
        return self.load.clients > 0

    @property
    def stationary(self):
        return self.closed or "poisson" in self.name or "bursts" in self.name


def capacity(table, slowdown):
    """Rows per second at best."""
    best = best_rows(table)
    return best / table[best] * max(k / slowdown[k] for k in range(1, len(slowdown)))


def curve(random):
    """(name, seconds by rows)."""
    fixed = 10 ** random.uniform(-3.3, -1.8)  # 0.5 to 16 ms
    per_row = fixed * 10 ** random.uniform(-2.3, 0.7)
    kind = random.choice(("affine", "affine", "flat", "steps", "ceiling", "measured"))
    if kind == "measured" and CURVES.exists():
        known = json.loads(CURVES.read_text())["seconds by rows"]["1 thread"]
        name = random.choice(sorted(known))
        points = sorted((int(rows), seconds) for rows, seconds in known[name].items())
        return f"measured {name}", [0.0] + [_between(points, rows) for rows in range(1, MOST_ROWS + 1)]
    if kind == "flat":
        free = random.choice((4, 8, 16))
        table = [fixed + per_row * max(0, rows - free) for rows in range(MOST_ROWS + 1)]
    elif kind == "steps":
        width = random.choice((0, 4, 8, 16))
        padded = [_power(rows) if not width else -(-rows // width) * width for rows in range(MOST_ROWS + 1)]
        table = [fixed + per_row * rows for rows in padded]
    elif kind == "ceiling":
        top = random.choice((8, 16, 24, 32))
        table = [fixed + per_row * (rows + max(0, rows - top) ** 2 * 0.1) for rows in range(MOST_ROWS + 1)]
    else:
        kind = "affine"
        table = [fixed + per_row * rows for rows in range(MOST_ROWS + 1)]
    return f"{kind} {fixed * 1e3:.2g}+{per_row * 1e3:.2g}b", table


def _power(rows):
    return 1 << (rows - 1).bit_length() if rows > 1 else 1


def _between(points, rows):
    for (low, below), (high, above) in pairwise(points):
        if low <= rows <= high:
            return below + (above - below) * (rows - low) / (high - low)
    return points[-1][1] * rows / points[-1][0] if rows > points[-1][0] else points[0][1]


def machine(random):
    """(name, seconds by rows, slots, device) of a random model on a random executor."""
    model, table = curve(random)
    slots, parallel = random.choice(((1, 1.0), (1, 1.0), (2, 1.0), (2, 2.0), (4, 1.0), (4, 4.0), (4, 2.0), (2, 1.4)))
    slowdown = [1.0, *(max(1.0, k / parallel) for k in range(1, slots + 1))]
    noise = [random.lognormvariate(0, 0.05) for _ in range(NOISES)]
    return f"{model}, {slots} slots of which {parallel:g} run", table, slots, Device(table.__getitem__, slowdown, noise)


def cell(seed, requests):
    """One cell; the same seed gives the same cell."""
    random = Random(seed)
    name, table, slots, device = machine(random)
    most, rate = capacity(table, device.slowdown), 0.0
    if random.random() < 0.4:
        clients = random.choice((1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64))
        think = table[1] * 10 ** random.uniform(-2, 0.7)
        spread = random.choice((0.1, 0.3, 1.0))
        load = loads.closed(clients, think, requests, seed, spread)
        name += f", {clients} clients think {think * 1e3:.2g} ms (spread {spread})"
    else:
        share = random.choice((0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9))
        rate = share * most
        shape = random.choice(("poisson", "poisson", "poisson", "bursts", "on_off", "sinusoid", "step"))
        if shape in ("on_off", "sinusoid", "step") and most > SLOW:  # they change over seconds, as real ones do
            table[:] = [seconds * most / SLOW for seconds in table]
            rate, most = share * SLOW, SLOW
        span = requests / rate
        if shape == "poisson":
            load = loads.poisson(rate, requests, seed)
        elif shape == "bursts":
            load = loads.bursts(rate, requests, seed)
        elif shape == "on_off":
            load = loads.on_off(min(rate, 0.45 * most), requests, seed, span / 10, span / 10)
        elif shape == "sinusoid":
            load = loads.sinusoid(min(rate, 0.45 * most), requests, seed, span / 2)
        else:
            load = loads.step(0.15 * most, requests, seed, span / 3, 5.0)
        name += f", {shape} at {share:.0%}"
    return Cell(name, load, device, slots, requests, rate)
