"""What serves one loaded model version, less the requests: its executor, and the batcher that feeds it.

Made by `load_core`, in every replica or once in an engine; `Servable` is what a replica has of it in either case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

from batcher.adaptive import Adaptive, Planner, plan_at_once
from batcher.batcher import Batcher
from batcher.controller import Controller
from batcher.decide import Limits
from batcher.describe import forecasts
from batcher.lengths import Lengths
from batcher.timer import Timer
from batcher.turns import Turns
from batcher.work import Work
from executor.background import in_background
from executor.host import Host
from executor.load import LoadedModel, load_model
from executor.providers import ON_THE_CPU
from headrace.batching import BatchingLimits
from headrace.cores import usable_cores
from headrace.counters import LEFT_AT, REASON_AT, ModelCounters
from headrace.executor import Executor
from headrace.memory import limit
from headrace.models import ModelId, ModelMetadata
from model_repo.spec import VersionSpec
from server.holdings import Holdings
from server.overhead import Overhead, overhead

UNBATCHED = BatchingLimits(controller="timer")
"""With nobody to share a batch there is nobody to wait for."""

QUEUE_BYTES = 256 << 20
QUEUE_SHARE = 8
"""Tensors that wait may take QUEUE_BYTES in a replica, and in all replicas one part in QUEUE_SHARE of the memory."""


def nothing() -> None:
    """To be done."""


OpenCounters = Callable[[ModelId, int], ModelCounters]
"""(model, max_batch_rows) -> this process's counters of that version."""


@dataclass(frozen=True, slots=True)
class Core:
    """A loaded version at work."""

    metadata: ModelMetadata
    providers: tuple[str, ...]
    """Execution providers in force, the preferred one first."""
    max_batch_rows: int
    batcher: Batcher
    executor: Executor
    counters: ModelCounters
    unloaded: Callable[[], None] = nothing
    """Called once it is closed."""

    async def describe(self, recording: bool) -> dict[str, Any]:
        """What its batcher has learnt and does, and why; with `recording` also the recent requests, one by one."""
        controller, cells = self.batcher.controller, self.counters.cells
        document = {
            **self.batcher.describe(recording=recording),
            "batches_closed": {reason: cells[at] for reason, at in REASON_AT.items()},
            "left": {reason: cells[at] for reason, at in LEFT_AT.items()},
        }
        if isinstance(controller, Adaptive) and controller.curve.known():
            document["forecasts"] = await in_background(forecasts, controller.picture(), controller.plan)
        return document

    async def close(self) -> None:
        """Stop pulling, give back the device. No request is under way and none follows."""
        await self.batcher.close()
        await self.executor.close()
        self.unloaded()


async def load_core(
    spec: VersionSpec,
    host: Host,
    open_counters: OpenCounters,
    planner: Planner = plan_at_once,
    devices: dict[str, Turns] | None = None,
    watched: Callable[[Executor], Executor] | None = None,
    holdings: Holdings | None = None,
) -> Core:
    """Load, warm up and start one version. Raises LoadFailed with the reason.

    `devices` are the turns of those that this process's executors use; the batcher gets what `watched` makes of the
    executor. What it takes of memory is written into `holdings`.
    """
    loaded = await in_background(
        load_model,
        spec.id,
        spec.model_file,
        spec.config,
        labels=spec.labels,
        declared_inputs=spec.declared_inputs,
        declared_outputs=spec.declared_outputs,
        host=host,
        own_thread=True,
    )
    metadata, batching = loaded.metadata, spec.config.batching
    max_batch_rows = batching.max_batch_rows if metadata.batchable else 1
    counters = open_counters(spec.id, max_batch_rows)
    besides = overhead(_one_core(loaded.device, host.replicas))
    controller = _controller(batching if metadata.batchable else UNBATCHED, max_batch_rows, loaded, planner, besides)
    expected = controller.curve.seconds if isinstance(controller, Adaptive) else None
    turns = _turns(devices, loaded.device, host.replicas) if devices is not None else None
    batcher = Batcher(
        spec.id,
        watched(loaded.executor) if watched is not None else loaded.executor,
        controller,
        max_batch_rows,
        batching.max_queue_rows,
        counters,
        max_queue_bytes=batching.max_queue_bytes or queue_bytes(limit(), host.replicas),
        row_bytes=metadata.row_bytes,
        batched=metadata.batchable,
        lengths=_lengths(loaded, besides),
        work=None if metadata.one_shape else Work(),
        turn=turns.join(batching.weight, expected) if turns is not None else None,
    )
    batcher.start()
    unloaded = nothing
    if holdings is not None:
        unloaded = partial(holdings.remove, holdings.add(spec.id, loaded.uses))
    return Core(metadata, loaded.providers, max_batch_rows, batcher, loaded.executor, counters, unloaded)


def queue_bytes(limit: int | None, replicas: int) -> int:
    """`max_queue_bytes` where none is configured; `limit` bytes of memory are for all replicas."""
    return QUEUE_BYTES if limit is None else max(1, min(QUEUE_BYTES, limit // (QUEUE_SHARE * replicas)))


def _turns(devices: dict[str, Turns], device: str, replicas: int) -> Turns:
    """Those of this device. Where one core does everything, nothing runs faster beside something else."""
    if device not in devices:
        devices[device] = Turns(alone_is_best=_one_core(device, replicas))
    return devices[device]


def _one_core(device: str, replicas: int) -> bool:
    """Whether what computes is what serves: a replica with less than two cores, and a model on the CPU."""
    return device == ON_THE_CPU and usable_cores() < 2 * replicas


def _lengths(loaded: LoadedModel, besides: Overhead) -> Lengths | None:
    padding = loaded.metadata.padding
    if padding is None:
        return None
    timed = [(rows, length, seconds + besides(rows, seconds)) for rows, length, seconds in loaded.costs]
    return Lengths(padding, Work(timed))


def _controller(
    batching: BatchingLimits, max_batch_rows: int, loaded: LoadedModel, planner: Planner, besides: Overhead
) -> Controller:
    slots, delay_ms = loaded.executor.slots, batching.max_queue_delay_ms
    if batching.controller == "timer":
        return Timer(Limits(max_batch_rows, (delay_ms or 0.0) / 1e3), slots)
    return Adaptive(
        Limits(max_batch_rows, inf if delay_ms is None else delay_ms / 1e3),
        slots,
        seed=[(rows, seconds + besides(rows, seconds)) for rows, seconds in loaded.curve],
        objective=batching.objective,
        slo_s=(batching.slo_ms or 0.0) / 1e3,
        planner=planner,
    )
