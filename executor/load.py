"""Load one version of a model: file and configuration in, metadata and a warm executor out.

Receives a path from whoever reads the repository, hands a `LoadedModel` back. Blocking: not for the event loop's
thread. Whatever is wrong with file, providers, tensors, labels or declarations is a LoadFailed that names it. Does not
read the repository, and keeps nothing when it fails.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executor.background import step_back
from executor.cache import Cache
from executor.declared import check_declared
from executor.failures import run_failed
from executor.metadata import PLATFORM, Signature, read_signature, with_observed_ranks
from executor.onnx_executor import OnnxExecutor
from executor.padding import find_padding
from executor.probe import Verdict, probe
from executor.providers import CPU, device
from executor.runners import Runner, runner_for
from executor.samples import samples
from executor.sessions import open_session
from executor.steps import in_steps
from executor.threads import runs_per_session, threads_per_session
from headrace.config import ModelConfig
from headrace.cores import usable_cores
from headrace.errors import LoadFailed
from headrace.models import ModelId, ModelMetadata, TensorSpec
from headrace.requests import Array

log = logging.getLogger("headrace.executor")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What a servable needs of its model."""

    metadata: ModelMetadata
    executor: OnnxExecutor
    providers: tuple[str, ...]
    """Full names of the execution providers in force, the preferred one first."""
    curve: tuple[tuple[int, float], ...]
    """(rows, seconds) of warm runs."""
    device: str
    """Where it computes; the same for all models that compute there."""
    costs: tuple[tuple[int, int, float], ...] = ()
    """(rows, length, seconds) of warm runs of a model that is padded."""


def load_model(
    id: ModelId,
    model_file: Path,
    config: ModelConfig,
    *,
    replicas: int,
    labels: Mapping[str, tuple[str, ...]],
    declared_inputs: Sequence[TensorSpec] = (),
    declared_outputs: Sequence[TensorSpec] = (),
    cache: Cache | None = None,
    own_thread: bool = False,
) -> LoadedModel:
    """Open the sessions, check the model against what is declared, find out whether it batches, warm it up.

    `cache`: where the weights that replicas share are kept; None: each has its own. `own_thread`: the calling thread
    ends with this call, so it may step back behind those that serve. Raises LoadFailed with a sentence fit for the
    repository index.
    """
    if config.sharding is not None:  # served whole it would not do what was asked for, or not fit
        raise LoadFailed(
            f"model {id}: its config has `sharding`, and stages cannot be served yet; try `headrace shard plan`"
        )
    started = time.perf_counter()
    sessions = replicas * config.instances.count
    threads = threads_per_session(config.instances.threads, usable_cores(), sessions)
    if own_thread and threads == 1:  # a session's further threads would inherit it
        step_back()

    def opened() -> Any:
        return open_session(id, model_file, config.execution_providers, threads, cache, sessions)

    session = opened()
    ranks = {spec.name: len(spec.shape) for spec in declared_inputs}
    signature = read_signature(id, model_file, session, labels, ranks)
    check_declared(id, "input", declared_inputs, signature.inputs)
    check_declared(id, "output", declared_outputs, signature.outputs, signature.unranked)
    runners = [runner_for(id, session, signature)]
    providers = tuple(session.get_providers())
    on_cpu = providers == (CPU,)
    # The CPU's own time where one thread does it all: this one has stepped back behind others.
    own = time.thread_time if on_cpu and threads == 1 else time.perf_counter
    verdict = probe(id, signature, config.batching, runners[0], own)
    lengths = find_padding(id, signature, config.batching.pad, verdict, runners[0], own)

    def more() -> Runner:
        return runner_for(id, opened(), signature)

    for _ in range(config.instances.count - 1):
        runners.append(more())
        warm_up(id, runners[-1], verdict.inputs)
    if verdict.steps:
        runners = [_in_steps(id, runner, signature, verdict, more) for runner in runners]
    metadata = ModelMetadata(
        id=id,
        platform=PLATFORM,
        inputs=signature.inputs,
        outputs=with_observed_ranks(signature.outputs, signature.unranked, verdict.ranks),
        batchable=verdict.batchable,
        padding=lengths.padding,
    )
    log.info(
        "%s: loaded in %.2f s from %s; %s; %d session(s) of %d thread(s); %s: %s%s",
        id,
        time.perf_counter() - started,
        model_file,
        ", ".join(providers),
        len(runners),
        threads,
        "batchable" if verdict.batchable else "not batchable",
        verdict.reason,
        f"; {lengths.reason}" if lengths.reason else "",
    )
    clock = time.thread_time if on_cpu else time.perf_counter
    runners *= runs_per_session(config, providers, threads)
    executor = OnnxExecutor(id, runners, verdict.runs, clock)
    where = device(config.execution_providers, providers[0])
    return LoadedModel(metadata, executor, providers, tuple(verdict.curve), where, tuple(lengths.costs))


def _in_steps(
    id: ModelId, runner: Runner, signature: Signature, verdict: Verdict, more: Callable[[], Runner]
) -> Runner:
    """`runner` for batches of the sizes that the probe found, all of them prepared.

    Where each needs a session of its own, `more` brings them; if there is no memory for them, one does it all.
    """
    runners = [runner] * len(verdict.steps)
    if verdict.forgets:
        try:
            runners = [*(more() for _ in verdict.steps[1:]), runner]
        except LoadFailed as error:
            log.warning("%s: no session of its own for each size of batches, changes will be slow: %s", id, error)
    for rows, each in zip(verdict.steps, runners, strict=True):
        warm_up(id, each, samples(signature, rows, verdict.free))
    return in_steps(verdict.steps, runners)


def warm_up(id: ModelId, runner: Runner, inputs: Mapping[str, Array]) -> None:
    """Run inputs that the first session took; none, if it took none. Raises LoadFailed if this session does not."""
    if not inputs:
        return
    try:
        runner(inputs)
    except Exception as error:
        raise LoadFailed(f"a further session of {run_failed(id, error)}") from error
