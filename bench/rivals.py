"""How other servers decide, written from their sources and papers as controllers for `batcher.simulate`.

Delays in seconds, sizes in rows. Each says what its defaults are; `bench/regret.py` also tunes them by hand.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from batcher.decide import BUSY, Dispatch, Limits, WaitUntil
from batcher.timer import Timer

MOST = 64


class Rival:
    """Hears everything and learns nothing, one batch in flight, everything at once."""

    listens = False

    def __init__(self, in_flight=1):
        self.in_flight = in_flight

    def arrived(self, now, rows, client, key=()):
        pass

    def started(self, now, rows, running):
        pass

    def finished(self, now, rows, seconds, running, clients, key=()):
        pass

    def decide(self, now, rows, oldest, running, key=()):
        return BUSY if running >= self.in_flight else self.choose(now, rows, oldest)


class Gap(Rival):
    """A batch goes when nobody came for `gap_s`, or when it is full."""

    def __init__(self, gap_s=0.001, in_flight=1):
        super().__init__(in_flight)
        self.gap_s = gap_s
        self.last = 0.0

    def arrived(self, now, rows, client, key=()):
        self.last = now

    def choose(self, now, rows, oldest):
        quiet = self.last + self.gap_s
        return Dispatch(MOST, "full") if rows >= MOST or now >= quiet else WaitUntil(quiet)


class Aimd(Rival):
    """Clipper (NSDI 2017, 4.3): the size limit grows by one per batch, and shrinks by 10 % after a slow one."""

    def __init__(self, slo_s=0.02, in_flight=1):
        super().__init__(in_flight)
        self.slo_s = slo_s
        self.size = 1.0

    def finished(self, now, rows, seconds, running, clients, key=()):
        if seconds > self.slo_s:
            self.size = max(1.0, 0.9 * self.size)
        elif rows >= int(self.size):
            self.size = min(MOST, self.size + 1)

    def choose(self, now, rows, oldest):
        return Dispatch(int(self.size), "full")


class Cork(Rival):
    """BentoML's dispatcher: fits a*n + b to the last batches, and waits in ticks while n*(age of the newest + tick + a)
    stays below 0.95 of the average wait so far."""

    def __init__(self, tick_s=0.001, in_flight=1):
        super().__init__(in_flight)
        self.tick_s = tick_s
        self.runs = deque(maxlen=50)
        self.a, self.b, self.wait = 0.0, 0.0, 0.0
        self.last, self.fitted = 0.0, -1e9

    def arrived(self, now, rows, client, key=()):
        self.last = now

    def finished(self, now, rows, seconds, running, clients, key=()):
        self.runs.append((rows, seconds))
        if now - self.fitted > 5 or len(self.runs) < 20:
            self.fitted = now
            sizes = np.array([[rows, 1.0] for rows, _ in self.runs])
            (self.a, self.b), *_ = np.linalg.lstsq(sizes, np.array([seconds for _, seconds in self.runs]), rcond=None)

    def choose(self, now, rows, oldest):
        if rows < MOST and rows * (now - self.last + self.tick_s + max(0.0, self.a)) <= 0.95 * self.wait:
            return WaitUntil(now + self.tick_s)
        self.wait = 0.95 * self.wait + 0.05 * (now - oldest)
        return Dispatch(MOST, "full")


def timer(delay_ms, rows, in_flight):
    """Triton, TensorFlow Serving, TorchServe, Ray Serve, MLServer, KServe: full, or the oldest is so old."""
    return Timer(Limits(rows, delay_ms / 1e3), in_flight)


DELAYS_MS = (0, 0.25, 0.5, 1, 2, 5, 10, 20)
SIZES = (1, 2, 4, 8, 16, 32, 64)
IN_FLIGHT = (1, 2, 4)


def settings(slots):
    """Every fixed setting of the grid on an executor with so many slots: (delay ms, rows, in flight)."""
    return [(delay, rows, k) for delay in DELAYS_MS for rows in SIZES for k in IN_FLIGHT if k <= slots]


def defaults(slots):
    """Name -> controller as it comes."""
    return {
        "greedy, all slots": lambda: timer(0, MOST, slots),
        "greedy, one": lambda: timer(0, MOST, 1),
        "Triton (delay 0)": lambda: timer(0, MOST, slots),
        "Ray Serve (10 ms, 10)": lambda: timer(10, 10, slots),
        "KServe (500 ms, 32)": lambda: timer(500, 32, slots),
        "TorchServe (100 ms, 1)": lambda: timer(100, 1, slots),
        "gap timer 1 ms": lambda: Gap(0.001, slots),
        "Clipper's AIMD 20 ms": lambda: Aimd(0.02, slots),
        "BentoML": Cork,
    }


def tuned(slots):
    """Name -> controllers of which the best for a cell counts as its best setting."""
    ks = [k for k in IN_FLIGHT if k <= slots]
    return {
        "gap timer, tuned": [lambda g=g, k=k: Gap(g, k) for g in (1e-4, 3e-4, 1e-3, 3e-3) for k in ks],
        "Clipper's AIMD, tuned": [lambda s=s, k=k: Aimd(s, k) for s in (0.005, 0.01, 0.02, 0.05, 0.2) for k in ks],
    }
