"""Executors for tests: y = 2 x, on the loop's clock, when told to, or wrong."""

import asyncio

from headrace.errors import ExecutorFailed, OutOfMemory

POISON = -1.0


class FakeExecutor:
    """y = 2 x after `seconds` on the loop's clock. A batch with a value below zero (POISON) fails as a whole."""

    def __init__(self, slots=1, seconds=0.0, error=None):
        self.slots = slots
        self.seconds = seconds
        self.error = error or ExecutorFailed("poison")
        self.seen = []
        """(when it began, its values) of each batch."""
        self.history = [(0.0, 0)]
        """(from when on, how many batches run)"""

    @property
    def batches(self):
        """Rows of each batch; 1 for a scalar."""
        return [len(x) if x.ndim else 1 for _, x in self.seen]

    @property
    def starts(self):
        """When each batch began, to the microsecond."""
        return [round(when, 6) for when, _ in self.seen]

    @property
    def most_running(self):
        return max(running for _, running in self.history)

    async def run(self, inputs):
        x = inputs["x"]
        self.seen.append((asyncio.get_running_loop().time(), x))
        self._running(+1)
        try:
            await self._work()
        finally:
            self._running(-1)
        if (x < 0).any():
            raise self.error
        return {"y": 2 * x}

    async def close(self):
        pass

    async def _work(self):
        if self.seconds:
            await asyncio.sleep(self.seconds)

    def _running(self, change):
        self.history.append((asyncio.get_running_loop().time(), self.history[-1][1] + change))


class PuppetExecutor(FakeExecutor):
    """Finishes a run, the oldest, each time it is told to."""

    def __init__(self, slots=1):
        super().__init__(slots)
        self._go = asyncio.Semaphore(0)

    def finish(self, runs=1):
        for _ in range(runs):
            self._go.release()

    async def _work(self):
        await self._go.acquire()


class WrongRowsExecutor(FakeExecutor):
    """Answers with `surplus` rows too many (or, below zero, too few)."""

    def __init__(self, surplus=-1):
        super().__init__()
        self.surplus = surplus

    async def run(self, inputs):
        y = (await super().run(inputs))["y"]
        return {"y": y.repeat(2, axis=0)[: len(y) + self.surplus]}


class BrokenExecutor(FakeExecutor):
    """Raises `bug` in its first `times` runs."""

    def __init__(self, times=1, bug=None):
        super().__init__()
        self.times = times
        self.bug = bug or ZeroDivisionError("a bug")

    async def run(self, inputs):
        if self.times:
            self.times -= 1
            raise self.bug
        return await super().run(inputs)


class SmallExecutor(FakeExecutor):
    """Has memory for `fits` rows."""

    def __init__(self, fits, **options):
        super().__init__(**options)
        self.fits = fits

    async def run(self, inputs):
        outputs = await super().run(inputs)
        if len(inputs["x"]) > self.fits:
            raise OutOfMemory(f"no room for {len(inputs['x'])} rows")
        return outputs
