"""What becomes of a batch that failed: back to the queue in parts (`blame`) or in smaller batches (`ceiling`).

Told by the batcher how runs ended; puts back in the queue who may yet have an answer, delivers the error to who failed
alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from batcher.blame import Blame
from batcher.ceiling import Ceiling
from batcher.entry import Entry
from batcher.queue import RowQueue
from headrace.errors import ExecutorFailed, OutOfMemory, ServingError
from headrace.models import ModelId

logger = logging.getLogger("headrace.batcher")

Cut = Callable[[Entry], Sequence[Entry]]
"""An entry in pieces of at most `max_batch_rows` rows."""


class Recovery:
    """Owned by one batcher. `max_batch_rows`: what the memory allows now."""

    def __init__(self, model: ModelId, queue: RowQueue, max_batch_rows: int, cut: Cut) -> None:
        self.max_batch_rows = max_batch_rows
        self.pending = False
        """Whether it wants to hear of a run that works."""
        self._model = model
        self._queue = queue
        self._cut = cut
        self._blame = Blame()
        self._ceiling = Ceiling(max_batch_rows)

    def failed(self, batch: list[Entry], rows: int, error: BaseException, now: float) -> ServingError | None:
        """Put back who may yet have an answer. Returns what a request that failed alone is to hear."""
        self.pending = True
        if isinstance(error, MemoryError):  # there was no room to put the batch together
            error = OutOfMemory(f"model {self._model.name!r} failed: no memory for a batch of {rows} rows: {error}")
        if isinstance(error, OutOfMemory):
            if not self._ceiling.lowered:
                logger.warning("model %s: a batch of %d rows failed for want of memory: %s", self._model, rows, error)
            self._ceiling.failed(rows, now)
            self._obey_ceiling()
            if rows > 1:
                self._put_back([self._smaller(batch)])
                return None
        if len(batch) > 1:
            self._put_back(self._blame.parts(batch))
            return None
        self._blame.failed_alone()
        if isinstance(error, ServingError):
            return error
        logger.error("model %s: a batch failed in an unforeseen way", self._model, exc_info=error)
        return ExecutorFailed(f"model {self._model.name!r} failed: {type(error).__name__}: {error}")

    def worked(self, rows: int, now: float) -> None:
        """A run has worked after others had failed."""
        self._blame.worked()
        if self._ceiling.lowered:
            self._ceiling.ran(rows, now)
            self._obey_ceiling()
        self.pending = self._ceiling.lowered

    def _put_back(self, parts: Sequence[Sequence[Entry]]) -> None:
        for part in reversed(parts):
            if part:
                self._queue.put_back(part)

    def _smaller(self, batch: list[Entry]) -> list[Entry]:
        """Those of the batch that are still wanted, in pieces if they are above the ceiling, to be batched anew."""
        smaller: list[Entry] = []
        for entry in batch:
            if not entry.done:
                smaller += self._cut(entry) if entry.rows > self.max_batch_rows else [entry]
        part = self._blame.part(len(smaller))
        for entry in smaller:
            entry.part = part
        return smaller

    def _obey_ceiling(self) -> None:
        before, now = self.max_batch_rows, self._ceiling.rows
        if now != before:
            self.max_batch_rows = now
            logger.info("model %s: the memory is enough for batches of %d rows, not %d", self._model, now, before)
