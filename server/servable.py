"""One loaded model version as a replica has it: what a request for it needs, whoever runs it.

The data plane holds a handle on it while a request runs. Closing comes after the last handle is released.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from batcher.adaptive import Planner, plan_at_once
from batcher.priorities import Priorities
from batcher.turns import Turns
from executor.host import Host
from headrace.config import ModelConfig
from headrace.counters import ModelCounters
from headrace.executor import Executor
from headrace.models import ModelMetadata
from model_repo.spec import VersionSpec
from server.check import RequestCheck
from server.core import Core, OpenCounters, load_core, nothing
from server.engine.remote import RemoteCore
from server.gatherer import Gatherer
from server.holdings import Holdings
from server.recent import Recent
from server.trial import Trial

Describe = Callable[[bool], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Servable:
    """Everything a request for this version needs. Made by `servable`."""

    metadata: ModelMetadata
    config: ModelConfig
    model_file: str
    """Its name, without the folder."""
    providers: tuple[str, ...]
    """Execution providers in force, the preferred one first."""
    max_batch_rows: int
    check: RequestCheck
    batcher: Gatherer
    executor: Executor
    counters: ModelCounters
    trial: Trial
    priorities: Priorities
    describe: Describe
    """What its batcher has learnt, as JSON; with the argument true also the recent requests. See `Core.describe`."""
    unloaded: Callable[[], None] = nothing
    """Called once it is closed."""
    recent: Recent | None = None
    """Its last requests, if its successor is to rehearse them."""
    default_timeout_us: int = 0
    """Of requests that bring none; 0: none either."""

    async def close(self) -> None:
        """Let it go. No request is under way and none follows."""
        await self.batcher.close()
        await self.executor.close()
        self.unloaded()


async def load_servable(
    spec: VersionSpec,
    host: Host,
    open_counters: OpenCounters,
    object_to: Callable[[str], None],
    planner: Planner = plan_at_once,
    devices: dict[str, Turns] | None = None,
    holdings: Holdings | None = None,
) -> Servable:
    """Load a version in this process. See `load_core` and `servable`."""
    core = await load_core(spec, host, open_counters, planner, devices, holdings=holdings)
    return servable(spec, core, core.counters, object_to)


def servable(
    spec: VersionSpec, core: Core | RemoteCore, counters: ModelCounters, object_to: Callable[[str], None]
) -> Servable:
    """Of what is loaded. `object_to` is called with a reason if too many runs fail once it is published (`trial`)."""
    batching, checks = spec.config.batching, spec.config.safe_reload
    return Servable(
        metadata=core.metadata,
        config=spec.config,
        model_file=spec.model_file.name,
        providers=core.providers,
        max_batch_rows=core.max_batch_rows,
        check=RequestCheck(core.metadata),
        batcher=core.batcher,
        executor=core.executor,
        counters=counters,
        trial=Trial(counters, checks, object_to),
        priorities=Priorities(spec.id, batching.priority_levels, batching.level, batching.ageing_ms / 1e3),
        describe=core.describe,
        unloaded=core.unloaded,
        recent=Recent(checks.requests, checks.max_request_bytes) if checks.requests else None,
        default_timeout_us=int((batching.default_timeout_ms or 0.0) * 1e3),
    )
