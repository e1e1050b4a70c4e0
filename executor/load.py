"""Load one version of a model: file and configuration in, metadata and a warm executor out.

Receives a path from whoever reads the repository, hands a `LoadedModel` back. Blocking: not for the event loop's
thread. Whatever is wrong with file, providers, tensors, labels or declarations is a LoadFailed that names it. Does not
read the repository, and keeps nothing when it fails.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from executor.background import step_back
from executor.budget import weight_bytes
from executor.declared import check_declared
from executor.devices import device_of
from executor.failures import run_failed
from executor.footprint import Use
from executor.host import Host
from executor.metadata import PLATFORM, Signature, with_observed_ranks
from executor.nap import Nap
from executor.onnx_executor import OnnxExecutor
from executor.opened import Opened
from executor.padding import find_padding
from executor.probe import Verdict, probe
from executor.providers import CPU, ON_THE_CPU
from executor.runners import Runner
from executor.samples import samples
from executor.steps import in_steps
from executor.threads import threads_per_session
from executor.whole import open_whole
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
    uses: tuple[Use, ...] = ()
    """What it takes of memory."""
    costs: tuple[tuple[int, int, float], ...] = ()
    """(rows, length, seconds) of warm runs of a model that is padded."""


def load_model(
    id: ModelId,
    model_file: Path,
    config: ModelConfig,
    *,
    labels: Mapping[str, tuple[str, ...]],
    declared_inputs: Sequence[TensorSpec] = (),
    declared_outputs: Sequence[TensorSpec] = (),
    host: Host | None = None,
    own_thread: bool = False,
) -> LoadedModel:
    """Open the sessions, check the model against what is declared, find out whether it batches, warm it up.

    `host`: what this process has for it; None: it is the only one, and keeps nothing. `own_thread`: the calling thread
    ends with this call, so it may step back behind those that serve. Raises LoadFailed with a sentence fit for the
    repository index.
    """
    started = time.perf_counter()
    host = host or Host()
    sessions = host.replicas * config.instances.count
    threads = threads_per_session(config.instances.threads, usable_cores(), sessions)
    if own_thread and threads == 1:  # a session's further threads would inherit it
        step_back()
    ranks = {spec.name: len(spec.shape) for spec in declared_inputs}
    with host.budget.load(id, model_file.parent, _needs(model_file, config), sessions) as footprint:
        if config.sharding is None:
            opened = open_whole(id, model_file, config, labels, ranks, threads, host, footprint)
        else:
            from executor.sharding.sharded import open_sharded  # noqa: PLC0415 - brings onnx, 8 MB in every replica

            opened = open_sharded(id, model_file, config, config.sharding, labels, ranks, host.cache)
        try:
            loaded = _made_ready(id, model_file, config, opened, declared_inputs, declared_outputs, started, host.nap)
        except BaseException:
            opened.close()
            raise
        elsewhere = opened.uses()
    return replace(loaded, uses=(*footprint.uses, *elsewhere))


def _needs(model_file: Path, config: ModelConfig) -> dict[str, int]:
    """Device -> bytes of weights that it must take. Of stages the planner knows better: 0 of accelerators."""
    if config.sharding is None:
        return {device_of(config): weight_bytes(model_file)}
    needs = dict.fromkeys((name for name in config.sharding.devices if not name.startswith(ON_THE_CPU)), 0)
    return needs or {ON_THE_CPU: weight_bytes(model_file)}


def _made_ready(
    id: ModelId,
    model_file: Path,
    config: ModelConfig,
    opened: Opened,
    declared_inputs: Sequence[TensorSpec],
    declared_outputs: Sequence[TensorSpec],
    started: float,
    nap: Nap,
) -> LoadedModel:
    signature, providers = opened.signature, opened.providers
    check_declared(id, "input", declared_inputs, signature.inputs)
    check_declared(id, "output", declared_outputs, signature.outputs, signature.unranked)
    first, *others = opened.runners
    on_cpu = providers == (CPU,) and opened.threads > 0
    # The CPU's own time where one thread does it all: this one has stepped back behind others.
    own = time.thread_time if on_cpu and opened.threads == 1 else time.perf_counter
    verdict = probe(id, signature, config.batching, first, own)
    lengths = find_padding(id, signature, config.batching.pad, verdict, first, own)
    opened.adapt(verdict)
    for runner in others:
        warm_up(id, runner, verdict.inputs)
    runners = list(opened.runners)
    if verdict.steps:
        runners = [_in_steps(id, runner, signature, verdict, opened.more) for runner in runners]
    metadata = ModelMetadata(
        id=id,
        platform=PLATFORM,
        inputs=signature.inputs,
        outputs=with_observed_ranks(signature.outputs, signature.unranked, verdict.ranks),
        batchable=verdict.batchable,
        padding=lengths.padding,
    )
    log.info(
        "%s: loaded in %.2f s from %s; %s; %s; %s: %s%s",
        id,
        time.perf_counter() - started,
        model_file,
        ", ".join(providers),
        opened.words,
        "batchable" if verdict.batchable else "not batchable",
        verdict.reason,
        f"; {lengths.reason}" if lengths.reason else "",
    )
    clock = time.thread_time if on_cpu else time.perf_counter
    executor = OnnxExecutor(id, runners * opened.runs, verdict.runs, clock, opened.close, nap)
    return LoadedModel(metadata, executor, providers, tuple(verdict.curve), opened.device, costs=tuple(lengths.costs))


def _in_steps(
    id: ModelId, runner: Runner, signature: Signature, verdict: Verdict, more: Callable[[], Runner] | None
) -> Runner:
    """`runner` for batches of the sizes that the probe found, all of them prepared.

    Where each needs a session of its own, `more` brings them; if there is no memory for them, one does it all.
    """
    runners = [runner] * len(verdict.steps)
    if verdict.forgets and more is not None:
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
