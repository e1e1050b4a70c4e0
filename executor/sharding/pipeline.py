"""The stages of a model at work: a `Runner`, which may be called by several threads, so that all stages are busy.

Receives stage models, hands back what the whole model would. A stage that is lost takes the whole pipeline down, which
starts again at once; runs that were in it are run again, once, as inference has no side effects.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from executor.sharding import words
from executor.sharding.stages import StageModel
from executor.sharding.station import Given, StageLost, Station
from headrace.errors import LoadFailed
from headrace.requests import Array

ATTEMPTS = 2
"""Pipelines that may be lost over one run."""
STARTS = 3
"""Attempts to start again for one run; for the next one there are as many."""
AGAIN_S = 1.0
"""Between the second and the third; the others follow each other at once."""

log = logging.getLogger("headrace.executor")


class Pipeline:
    """`orders` says what each of `stages` opens, `outputs` what the model gives. Open from the beginning; blocking.

    `booted`: processes that nobody has yet, of which it takes as many as it needs.
    """

    def __init__(
        self,
        name: str,
        stages: Sequence[StageModel],
        orders: Sequence[words.Open],
        outputs: Sequence[str],
        booted: list[Station] | None = None,
    ) -> None:
        self._name = name
        self._stages = stages
        self._orders = orders
        self._outputs = outputs
        self._lock = threading.Lock()
        """Of starting again."""
        self._closed = False
        self._stations = self._start(booted or [])
        self._threads = ThreadPoolExecutor(len(stages), f"micro {name}")
        self.micro: Callable[[int], int] = lambda rows: rows
        """Rows of the parts in which a batch of so many is run."""

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One batch, in parts. Raises what the runtime says, StageLost if the pipeline was lost over it repeatedly."""
        parts = list(self._parts(inputs))
        if len(parts) == 1:
            return self._run(parts[0])
        found = list(self._threads.map(self._run, parts))
        return {name: np.concatenate([each[name] for each in found]) for name in self._outputs}

    def seconds(self, inputs: Mapping[str, Array]) -> list[float]:
        """What each stage takes for these inputs, alone."""
        return self._through(self._stations, inputs)[1]

    @property
    def pids(self) -> list[int]:
        """Of the stages' processes."""
        return [station.pid for station in self._stations]

    def close(self) -> None:
        """End the processes. Nothing runs."""
        with self._lock:
            self._closed = True
            for station in self._stations:
                station.close()
        self._threads.shutdown(wait=False)

    def _parts(self, inputs: Mapping[str, Array]) -> Iterator[Mapping[str, Array]]:
        rows = max((len(array) for array in inputs.values() if array.ndim), default=1)
        micro = max(1, self.micro(rows))
        if micro >= rows:
            yield inputs
            return
        for start in range(0, rows, micro):
            yield {name: array[start : start + micro] for name, array in inputs.items()}

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        for attempt in range(1, ATTEMPTS + 1):
            stations = self._stations
            try:
                return self._through(stations, inputs)[0]
            except StageLost:
                self._again(stations)
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("not reached")

    def _through(
        self, stations: Sequence[Station], inputs: Mapping[str, Array]
    ) -> tuple[dict[str, Array], list[float]]:
        known = dict(inputs)
        given: list[tuple[Station, Given]] = []
        try:
            for stage, station in zip(self._stages, stations, strict=True):
                fed = {name: known[name] for name in stage.takes}
                fed |= {name: known[name] for name in stage.defaults if name in known}
                made = station.run(fed)
                given.append((station, made))
                known |= made.outputs
            return {name: np.array(known[name]) for name in self._outputs}, [made.seconds for _, made in given]
        finally:
            del known
            for station, made in given:
                station.read(made)

    def _again(self, lost: Sequence[Station]) -> None:
        """Whoever comes first starts a pipeline in place of the `lost` one; the others wait for that."""
        with self._lock:
            if self._stations is not lost or self._closed:
                return
            started = time.monotonic()
            log.warning("%s: a stage was lost; all stages start again", self._name)
            for station in lost:
                station.close()
            for attempt in range(STARTS):
                try:
                    self._stations = self._start([])
                except LoadFailed as error:
                    log.error("%s", error)
                    time.sleep(AGAIN_S * attempt)
                else:
                    log.info("%s: its stages are back after %.2f s", self._name, time.monotonic() - started)
                    return

    def _start(self, booted: list[Station]) -> Sequence[Station]:
        stations: list[Station] = []
        try:
            for order in self._orders:
                stations.append(booted.pop() if booted else Station())
                stations[-1].begin(order)
            for order, station in zip(self._orders, stations, strict=True):
                if note := station.opened():
                    log.info("%s: %s", order.name, note)
        except (LoadFailed, OSError) as error:
            for station in stations:
                station.close()
            raise LoadFailed(f"{self._name}: {error}") from None
        return stations
