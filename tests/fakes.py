"""Fakes for more than one test folder."""

import asyncio

from headrace.errors import ExecutorFailed

POISON = -1.0


class FakeExecutor:
    """y = 2 x after `seconds` on the loop's clock. A batch with a POISON value fails as a whole."""

    def __init__(self, slots=1, seconds=0.0):
        self.slots = slots
        self.seconds = seconds
        self.batches = []
        self.running = 0
        self.most_running = 0

    async def run(self, inputs):
        x = inputs["x"]
        self.batches.append(len(x) if x.ndim else 1)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.seconds:
                await asyncio.sleep(self.seconds)
        finally:
            self.running -= 1
        if (x == POISON).any():
            raise ExecutorFailed("poison")
        return {"y": 2 * x}

    async def close(self):
        pass


class PuppetExecutor(FakeExecutor):
    """Finishes a run only when told to."""

    def __init__(self, slots=1):
        super().__init__(slots)
        self.go = asyncio.Semaphore(0)

    async def run(self, inputs):
        await self.go.acquire()
        return await super().run(inputs)


class ShortExecutor(FakeExecutor):
    """Answers one row too few."""

    async def run(self, inputs):
        outputs = await super().run(inputs)
        return {"y": outputs["y"][:-1]}


class BrokenExecutor(FakeExecutor):
    """Raises what is not a ServingError, the first `times` runs."""

    def __init__(self, times=1):
        super().__init__()
        self.times = times

    async def run(self, inputs):
        if self.times:
            self.times -= 1
            raise ZeroDivisionError("a bug")
        return await super().run(inputs)
