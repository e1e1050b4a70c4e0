"""Which of several versions the next request gets: by turns in given proportions, or by a key, always the same. Pure.

Made by `Routes` for a model with `traffic`; asked by the manager for each request that names no version. Versions lie
beside each other on a circle, each as wide as its share. Invariants: 1. No randomness: turns walk round the circle by
the golden ratio, so after n turns every share is met within about (2 + log n)/n, and so it is for every second or
tenth of them, whatever the rhythm of the clients. (Counting them out met shares within 1/n, and gave one client of
five that take turns all of a share of 20 %.) 2. A key stands on the same place for ever, on every replica.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from hashlib import blake2b
from itertools import accumulate
from typing import Generic, TypeVar

T = TypeVar("T")

CIRCLE = 1 << 64
STEP = 0x9E3779B97F4A7C15
"""CIRCLE divided by the golden ratio, and odd: the walk meets every place before it meets one again."""


def place(name: str, key: str) -> int:
    """Where a key of model `name` stands on the circle. Another model's requests with it are another choice."""
    digest = blake2b(f"{name}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


class Split(Generic[T]):
    """Choices of model `name` in proportion to `shares`, in their order on the circle. `at` is where the walk is,
    `by_id` whether the id of a request is its key.
    """

    __slots__ = ("_bounds", "_choices", "_name", "at", "by_id")

    def __init__(self, name: str, shares: Mapping[T, float], *, by_id: bool = False, at: int = 0) -> None:
        assert shares, "somebody must be chosen"
        self._name = name
        self._choices = list(shares)
        sums = list(accumulate(shares.values()))
        self._bounds = [round(CIRCLE * (each / sums[-1])) for each in sums[:-1]]
        self.at = at
        self.by_id = by_id

    def choose(self, key: str = "") -> T:
        """The choice for `key`; without one, that of the next turn."""
        if key:
            return self._choices[bisect_right(self._bounds, place(self._name, key))]
        self.at = at = (self.at + STEP) % CIRCLE
        return self._choices[bisect_right(self._bounds, at)]
