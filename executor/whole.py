"""A model opened as it is: in sessions of this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from executor.budget import Footprint
from executor.elastic import elastic
from executor.host import Host
from executor.metadata import read_signature
from executor.opened import Opened
from executor.providers import CPU, device, placed
from executor.runners import Runner, runner_for
from executor.sessions import open_session
from executor.threads import runs_per_session
from headrace.config import ModelConfig
from headrace.cores import usable_cores
from headrace.models import ModelId


def open_whole(
    id: ModelId,
    model_file: Path,
    config: ModelConfig,
    labels: Mapping[str, tuple[str, ...]],
    ranks: Mapping[str, int],
    threads: int,
    host: Host,
    footprint: Footprint,
) -> Opened:
    """Open `config.instances.count` sessions of so many `threads`. Raises LoadFailed."""
    asked = placed(config.execution_providers, config.instances.device)
    sessions = host.replicas * config.instances.count

    def opened(threads: int = threads) -> Any:
        return open_session(id, model_file, asked, threads, host.cache, sessions, footprint.folders.append)

    first = opened()
    signature = read_signature(id, model_file, first, labels, ranks)
    providers = tuple(first.get_providers())

    def more() -> Runner:
        return runner_for(id, opened(), signature)

    runners = [runner_for(id, first, signature), *(more() for _ in range(config.instances.count - 1))]
    words = f"{len(runners)} session(s) of {threads} thread(s)"
    widest = int(usable_cores())
    if config.instances.threads == "elastic" and host.activity and providers == (CPU,) and len(runners) == 1 < widest:
        runners = [elastic(runner_for(id, opened(widest), signature), runners[0], host.activity)]
        words += f", and one of {widest} for when nothing else runs"
    return Opened(
        signature=signature,
        runners=runners,
        runs=runs_per_session(config, providers, threads),
        providers=providers,
        device=device(asked, providers[0]),
        threads=threads,
        more=more,
        words=words,
        adapt=lambda verdict: None,
        uses=tuple,
        close=lambda: None,
    )
