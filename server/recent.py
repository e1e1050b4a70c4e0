"""The last real requests of a version with their answers, for its successor to rehearse (`rehearsal.py`).

Filled by the data plane, only for models that ask for it. Invariants: 1. Never more than `most` requests nor more than
`most_bytes`, of which the latest stay. 2. Answers are copied: a view would keep the whole batch in memory. Requests are
not: their arrays belong to nobody else once they are answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from headrace.requests import Array


class Sample(NamedTuple):
    """One request as the model got it, and what it answered: all outputs."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    size: int
    """Bytes of both."""


class Recent:
    """A bounded ring."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._samples: deque[Sample] = deque()
        self._bytes = 0

    def keep(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        """Remember one."""
        size = sum(array.nbytes for array in (*inputs.values(), *outputs.values()))
        if size > self._most_bytes or not self._most:
            return
        self._samples.append(Sample(inputs, {name: array.copy() for name, array in outputs.items()}, size))
        self._bytes += size
        while len(self._samples) > self._most or self._bytes > self._most_bytes:
            self._bytes -= self._samples.popleft().size

    def samples(self) -> list[Sample]:
        """What is remembered, oldest first."""
        return list(self._samples)
