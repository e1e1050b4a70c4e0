"""A model opened in stages, on the devices that its `sharding` names: planned, cut, and each stage in its process."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import onnx
from onnx import TensorProto, ValueInfoProto

from executor import runtime
from executor.cache import Cache
from executor.footprint import Use, share_bytes
from executor.metadata import Signature, read_signature
from executor.opened import Opened
from executor.probe import Verdict
from executor.providers import CPU, ON_THE_CPU, choose
from executor.samples import samples
from executor.sharding import words
from executor.sharding.devices import NO_LIMIT, wish_for
from executor.sharding.micro import micro_rows
from executor.sharding.pipeline import Pipeline
from executor.sharding.planning import Plan, Stage, make_plan
from executor.sharding.source import Source, read_source
from executor.sharding.stages import StageModel, stage_models
from executor.sharding.station import Station
from executor.threads import threads_per_session
from headrace.config import ModelConfig, Provider
from headrace.errors import LoadFailed
from headrace.models import ModelId
from headrace.sharding import Sharding, in_words

log = logging.getLogger("headrace.executor")

NUMBERED = ("cuda", "tensorrt", "rocm", "migraphx", "directml")
"""Kinds of devices whose provider takes a `device_id`."""
TRIES = 2
"""Runs of each size of parts, of which the faster counts."""
TRIALS_S = 1.0
"""After so long no larger parts are tried."""


def open_sharded(
    id: ModelId,
    model_file: Path,
    config: ModelConfig,
    sharding: Sharding,
    labels: Mapping[str, tuple[str, ...]],
    ranks: Mapping[str, int],
    cache: Cache | None,
) -> Opened:
    """Start `sharding.replicas` pipelines. Raises LoadFailed: for what does not fit, with what would."""
    per_pipeline = len(sharding.devices) // sharding.replicas if sharding.stages == "auto" else sharding.stages
    with _booted(per_pipeline * sharding.replicas) as booted:
        source = read_source(model_file)
        try:
            plan = make_plan(source, wish_for(sharding))
        except LoadFailed as error:
            raise LoadFailed(f"model {id}: {error}") from None
        stages = stage_models(source, plan, cache)
        signature = read_signature(id, model_file, _Face(source), labels, ranks)
        pipelines: list[Pipeline] = []

        def close() -> None:
            for pipeline in pipelines:
                pipeline.close()

        try:
            for at in range(sharding.replicas):
                orders = _orders(id, source, plan, stages, config, sharding, at)
                pipelines.append(Pipeline(str(id), stages, orders, source.graph.outputs, booted))
            if changed := source.changed():
                raise LoadFailed(f"model {id}: {changed} has changed while its stages were opened")
        except BaseException:
            close()
            raise
    for at, pipeline in enumerate(pipelines):
        for stage, pid in zip(plan.stages, pipeline.pids, strict=True):
            log.info(
                "%s: pipeline %d: process %d has the stage on %s: %s of weights, %s in memory",
                *(id, at, pid, _device(sharding, at, stage), in_words(stage.weight_bytes), in_words(share_bytes(pid))),
            )
    full = dict.fromkeys(name for order in orders for name, _ in order.providers)
    return Opened(
        signature=signature,
        runners=pipelines,
        runs=len(stages),
        providers=tuple(full),
        device=f"stages of {id.name}",
        threads=0,
        more=None,
        words=f"{len(pipelines)} pipeline(s) of {len(stages)} stage(s)",
        adapt=partial(_adapt, id, sharding, signature, config, pipelines),
        uses=lambda: [use for at, each in enumerate(pipelines) for use in _uses(sharding, plan, at, each)],
        close=close,
    )


@contextmanager
def _booted(count: int) -> Iterator[list[Station]]:
    """Processes that start while the model is read and cut. Those that nobody took end."""
    stations = [Station() for _ in range(count)]
    try:
        yield stations
    finally:
        for station in stations:
            station.close()


def _orders(
    id: ModelId,
    source: Source,
    plan: Plan,
    stages: Sequence[StageModel],
    config: ModelConfig,
    sharding: Sharding,
    at: int,
) -> list[words.Open]:
    """What the stages of pipeline `at` are to open: on its own share of the devices."""
    made = []
    for number, (stage, planned) in enumerate(zip(stages, plan.stages, strict=True)):
        device = _device(sharding, at, planned)
        limit = 0 if planned.limit_bytes >= NO_LIMIT else planned.limit_bytes
        cores = cores_of(device, sharding.devices)
        made.append(
            words.Open(
                name=f"{id.name} stage {number} on {device}",
                model=stage.model,
                folder=str(source.folder),
                providers=_providers(device, limit),
                threads=threads_per_session(config.instances.threads, max(1, len(cores)), 1),
                cores=cores,
                memory_bytes=limit if cores else 0,
                weights=_weights(stage),
            )
        )
    return made


def _device(sharding: Sharding, at: int, stage: Stage) -> str:
    """Of a stage of pipeline `at`: the plan is that of the first one."""
    share = len(sharding.devices) // sharding.replicas
    return sharding.devices[at * share + sharding.devices.index(stage.device)]


def _uses(sharding: Sharding, plan: Plan, at: int, pipeline: Pipeline) -> Iterator[Use]:
    """What the processes have of the machine's memory; what is on other devices is measured there."""
    for stage, pid in zip(plan.stages, pipeline.pids, strict=True):
        device = _device(sharding, at, stage)
        yield Use(device if device.startswith(ON_THE_CPU) else ON_THE_CPU, share_bytes(pid))


def cores_of(device: str, devices: Sequence[str]) -> list[int]:
    """The cores of `cpu:K`: an equal share of those that this process may use. None: it is no such device."""
    kind, _, number = device.partition(":")
    if kind != "cpu":
        return []
    cores = sorted(os.sched_getaffinity(0))
    count = sum(each.partition(":")[0] == "cpu" for each in devices)
    share = max(1, len(cores) // count)
    first = int(number or 0) * share % len(cores)
    return cores[first : first + share]


def _weights(stage: StageModel) -> list[tuple[str, int, int]]:
    """Where its larger weights are: (file, offset, length), in the order of the file."""
    found = []
    for tensor in onnx.load_from_string(stage.model).graph.initializer:
        said = {entry.key: entry.value for entry in tensor.external_data}
        if "length" in said:
            found.append((said["location"], int(said.get("offset", 0)), int(said["length"])))
    return sorted(found)


def _providers(device: str, limit: int) -> list[tuple[str, dict[str, str]]]:
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return [(CPU, {})]
    options: dict[str, str | int | float | bool] = {"device_id": int(number or 0)} if kind in NUMBERED else {}
    if kind == "cuda" and limit:
        options["gpu_mem_limit"] = limit
    return choose([Provider(name=kind, options=options)], runtime.available_providers())


def _adapt(
    id: ModelId,
    sharding: Sharding,
    signature: Signature,
    config: ModelConfig,
    pipelines: Sequence[Pipeline],
    verdict: Verdict,
) -> None:
    """Find out how many rows should go through the stages at a time: all, if they are not known to be independent."""
    if not verdict.batchable or not verdict.inputs or len(pipelines[0].pids) == 1:
        return
    if sharding.micro_batch_rows != "auto":
        fixed = sharding.micro_batch_rows
        for pipeline in pipelines:
            pipeline.micro = lambda rows: min(rows, fixed)
        return
    sizes = [2**power for power in range(config.batching.max_batch_rows.bit_length())]
    seconds: dict[int, list[float]] = {}
    until = time.perf_counter() + TRIALS_S
    for size in sizes:
        inputs = samples(signature, size, verdict.free)
        tries = [pipelines[0].seconds(inputs) for _ in range(TRIES)]
        seconds[size] = [min(each) for each in zip(*tries, strict=True)]
        if time.perf_counter() > until:
            break
    most = sizes[-1]
    log.info("%s: batches of %d rows go through the stages %d at a time", id, most, micro_rows(seconds, most))
    for pipeline in pipelines:
        pipeline.micro = lambda rows: micro_rows(seconds, rows)


class _Face:
    """A model without a session, as `read_signature` asks one."""

    def __init__(self, source: Source) -> None:
        graph = source.model.graph
        given = {weight.name for weight in graph.initializer}
        self._required = [_Value(info) for info in graph.input if info.name not in given]
        self._defaults = [_Value(info) for info in graph.input if info.name in given]
        self._outputs = [_Value(info) for info in graph.output]

    def get_inputs(self) -> list[_Value]:
        return self._required

    def get_overridable_initializers(self) -> list[_Value]:
        return self._defaults

    def get_outputs(self) -> list[_Value]:
        return self._outputs


class _Value:
    """As ONNX Runtime's NodeArg."""

    def __init__(self, info: ValueInfoProto) -> None:
        tensor = info.type.tensor_type
        self.name = info.name
        self.type = f"tensor({TensorProto.DataType.Name(tensor.elem_type).lower()})"
        self.shape: list[int | str | None] = [
            axis.dim_value if axis.HasField("dim_value") else axis.dim_param or None for axis in tensor.shape.dim
        ]
