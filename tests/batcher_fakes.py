"""What the batcher's tests are written in: entries that remember what they were told, a batcher under virtual time."""

import asyncio
import contextlib

import numpy as np

from batcher.batcher import Batcher
from batcher.decide import Limits
from batcher.entry import Entry
from batcher.timer import Timer
from headrace import cell
from headrace.counters import ModelCounters
from headrace.models import ModelId


class Asked(Entry):
    """An entry that remembers what it was told."""

    __slots__ = ("deliveries",)

    def __init__(self, values, arrived=0.0, key=()):
        x = np.asarray(values, np.float32)
        super().__init__({"x": x}, len(x) if x.ndim else 1, key, arrived)
        self.deliveries = []

    def deliver(self, outcome):
        self.deliveries.append(outcome)

    @property
    def outcome(self):
        assert len(self.deliveries) == 1, f"delivered {len(self.deliveries)} times"
        return self.deliveries[0]

    def is_right(self, values):
        return np.array_equal(self.outcome["y"], 2 * np.asarray(values, np.float32))


class Batching(Batcher):
    """A batcher on the loop's clock, with its executor and counters at hand."""

    def __init__(
        self,
        executor,
        max_batch_rows=8,
        delay_s=0.0,
        max_queue_rows=1000,
        batched=True,
        controller=None,
        max_queue_bytes=1 << 30,
        row_bytes=0,
        lengths=None,
        work=None,
        turn=None,
    ):
        self.executor = executor
        self.counters = ModelCounters(max_batch_rows)
        super().__init__(
            ModelId("m", 1),
            executor,
            controller or Timer(Limits(max_batch_rows, delay_s), executor.slots),
            max_batch_rows,
            max_queue_rows,
            self.counters,
            max_queue_bytes=max_queue_bytes,
            row_bytes=row_bytes,
            batched=batched,
            lengths=lengths,
            work=work,
            clock=asyncio.get_running_loop().time,
            turn=turn,
        )

    def ask(self, values, timeout_s=0.0, key=()):
        """Submit a request with these rows, now."""
        entry = Asked(values, asyncio.get_running_loop().time(), key)
        self.submit(entry, timeout_s)
        return entry

    @property
    def queue_rows(self):
        return self.counters.cells[cell.QUEUE_ROWS]


@contextlib.asynccontextmanager
async def batching(executor, **options):
    batcher = Batching(executor, **options)
    batcher.start()
    try:
        yield batcher
    finally:
        await batcher.close()
