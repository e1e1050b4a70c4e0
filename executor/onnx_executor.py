"""The executor for ONNX models in this process: cheap runs on the event loop, others in worker threads.

Receives batches from the batcher through `Executor.run`, hands them to a free session's runner. Which side a run takes
is learnt (`pace`), not configured: handing a run to a thread and back costs some 35 us and a turn of the loop.
In a thread the clock is one that stands still while another thread has the interpreter: by the wall clock, a run there
waits for the busy loop and would never be found cheap again.
Invariants: 1. A session runs one batch at a time, also after a cancelled `run`, whose batch finishes unseen. 2. `pace`
is touched by the event loop only. 3. No thread exists before the first run that needs one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from queue import Empty, SimpleQueue
from time import perf_counter

from executor.failures import run_failed
from executor.memory import give_back
from executor.nap import Nap
from executor.pace import LOOP_BUDGET_S, Pace
from executor.runners import Runner
from executor.workers import Workers
from headrace.errors import ExecutorFailed
from headrace.models import ModelId
from headrace.requests import Array


class OnnxExecutor:
    """`headrace.executor.Executor` over one runner (session) per slot. `known` are (elements, seconds) of past runs.

    `clock` measures a run in a worker thread: `time.thread_time` where the CPU computes, the wall clock where a device
    does. On the loop it is the wall clock: cheaper to read, and what the loop cares for. `close` is called when the
    last run is over.
    """

    def __init__(
        self,
        model: ModelId,
        runners: Sequence[Runner],
        known: Iterable[tuple[int, float]] = (),
        clock: Callable[[], float] = perf_counter,
        close: Callable[[], None] = lambda: None,
        nap: Nap | None = None,
    ) -> None:
        self.slots = len(runners)
        self._clock = clock
        self._closed = False
        self._close = close
        self._model = model
        self._pace = Pace()
        for work, seconds in known:
            self._pace.record(work, seconds)
        self._free: SimpleQueue[Runner] = SimpleQueue()
        for runner in runners:
            self._free.put(runner)
        self._workers = Workers(self._timed, self.slots, f"run {model}", nap)

    async def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One forward pass, here or in a thread. See `Executor.run`."""
        work = 0
        for array in inputs.values():
            work += array.size
        if self._pace.expected(work) < LOOP_BUDGET_S:
            try:
                runner = self._free.get_nowait()
            except Empty:  # held by a cancelled run: its thread is the one to wait in
                pass
            else:
                started = perf_counter()
                outputs = self._call(runner, inputs)
                self._pace.record(work, perf_counter() - started)
                return outputs
        if self._closed:  # its sessions are gone: a thread would wait for one for ever
            raise ExecutorFailed(f"model {self._model} failed to run: its executor is closed")
        outputs, seconds = await self._workers.call(inputs)
        self._pace.record(work, seconds)
        return outputs

    async def close(self) -> None:
        """Wait for cancelled runs that are still going, then let go of threads, sessions and memory.

        May be called again.
        """
        self._closed = True
        await asyncio.to_thread(self._release)

    def _timed(self, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], float]:
        runner = self._free.get()
        started = self._clock()
        outputs = self._call(runner, inputs)
        return outputs, self._clock() - started

    def _call(self, runner: Runner, inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            return runner(inputs)
        except Exception as error:
            raise run_failed(self._model, error) from error
        finally:
            self._free.put(runner)

    def _release(self) -> None:
        self._workers.close()
        while not self._free.empty():
            self._free.get_nowait()
        self._close()
        give_back()
