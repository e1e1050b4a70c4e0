"""A replica's request as the engine's batcher sees it: inputs read where they lie, and an outcome that goes back."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from batcher.account import Account
from batcher.entry import Entry, Outcome
from headrace.requests import Array
from server.engine.words import RUNS, RUNS_ALONE, WAITS, Run

Deliver = Callable[["Errand", Outcome], None]


class Errand(Entry):
    """An entry with the run that it is, and whose `region` always says whether it is being run."""

    __slots__ = ("_deliver", "_region", "_waiting", "account", "run")

    def __init__(
        self,
        run: Run,
        inputs: Mapping[str, Array],
        region: npt.NDArray[np.uint8],
        client: Hashable,
        deliver: Deliver,
    ) -> None:
        self._region = region
        self._waiting = True
        super().__init__(inputs, run.rows, bytes(run.key), run.arrived, hash((client, run.client)) if run.client else 0)
        self.run = run
        self.rank = run.rank
        self.length = run.length
        self.account = Account() if run.explain else None
        self._deliver = deliver

    @property
    def waiting(self) -> bool:
        """See `Entry`, where it is a slot: what the queue writes is to be seen from outside."""
        return self._waiting

    @waiting.setter
    def waiting(self, value: bool) -> None:
        self._waiting = value
        self._region[0] = WAITS if value else RUNS

    @contextmanager
    def runs_alone(self) -> Iterator[None]:
        """Nothing else runs in this engine within. After it, it is one of those that may: its answer is on its way."""
        self._region[0] = RUNS_ALONE
        try:
            yield
        finally:
            self._region[0] = RUNS

    def deliver(self, outcome: Outcome) -> None:
        """See `Entry`."""
        self._deliver(self, outcome)
