"""An event loop whose clock jumps to the next timer: hours of virtual time pass in milliseconds."""

import asyncio
import functools
import selectors

TURN_S = 1e-12  # of the clock, so that one who waits for a rounding error from now does not wait for ever
MOST_TURNS = 20_000


class _Jump(selectors.SelectSelector):
    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.turns_without_time = 0

    def select(self, timeout=None):
        assert timeout is not None, "nothing is scheduled: this test waits for ever"
        self.turns_without_time = 0 if timeout else self.turns_without_time + 1
        assert self.turns_without_time < MOST_TURNS, "the loop goes round and round and no time passes"
        self.now += timeout + TURN_S
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self):
        return self._jump.now


def run_virtual(coroutine):
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


def virtual(test):
    """Makes of a coroutine function a test that runs it under virtual time."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        return run_virtual(test(*args, **kwargs))

    return run


async def turns(count=10):
    """Let the loop turn: all that can happen without time passing happens."""
    for _ in range(count):
        await asyncio.sleep(0)
