"""The V2 documents that are not tensors: server and model metadata, configuration, statistics, repository index.

One function each, answering the REST form (which is the protobuf-JSON of the gRPC messages, so that both front ends
use them). Sources: Open Inference Protocol; Triton's extensions
`model_configuration`, `statistics`, `model_repository`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2

from executor.providers import ON_THE_CPU
from headrace import __version__, cell
from headrace.counters import ModelCounters
from headrace.datatypes import Datatype
from headrace.errors import ModelNotFound, ModelNotReady
from headrace.models import ModelId, TensorSpec
from model_repo.refusal import number
from server.dataplane import DataPlane
from server.pool.journal import Happened
from server.statistics import Statistics

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "statistics",
]
"""What this server speaks beyond the core, by Triton's names."""

_ON_CPU = ("CPUExecutionProvider", "OpenVINOExecutionProvider")
_TYPES = {datatype: f"TYPE_{datatype.value}" for datatype in Datatype} | {Datatype.BYTES: "TYPE_STRING"}


def server_metadata() -> dict[str, Any]:
    """Name, version and extensions."""
    return {"name": "headrace", "version": __version__, "extensions": EXTENSIONS}


def model_metadata(plane: DataPlane, name: str, version: str) -> dict[str, Any]:
    """Tensors of one version. Raises ModelNotFound, ModelNotReady."""
    servable = plane.models.look(name, version)
    metadata = servable.metadata
    return {
        "name": metadata.id.name,
        "versions": [str(ready) for ready in plane.models.ready_versions(name)],
        "platform": metadata.platform,
        "inputs": [_tensor(spec) for spec in metadata.inputs],
        "outputs": [_tensor(spec) for spec in metadata.outputs],
    }


def model_config(plane: DataPlane, name: str, version: str) -> model_config_pb2.ModelConfig:
    """What is in force for one version, in Triton's words. Raises ModelNotFound, ModelNotReady."""
    servable = plane.models.look(name, version)
    metadata, config = servable.metadata, servable.config
    batched, padding = metadata.batchable, metadata.padding
    mask = padding.mask.name if padding is not None and padding.mask is not None else ""
    message = model_config_pb2.ModelConfig(
        name=name,
        platform=metadata.platform,
        backend="onnxruntime",
        max_batch_size=servable.max_batch_rows if batched else 0,
        default_model_filename=servable.model_file,
    )
    for spec in metadata.inputs:
        message.input.add(
            name=spec.name,
            data_type=_TYPES[spec.datatype],
            dims=spec.shape[1:] if batched else spec.shape,
            optional=spec.optional or spec.name == mask,
        )
    for spec in metadata.outputs:
        message.output.add(
            name=spec.name,
            data_type=_TYPES[spec.datatype],
            dims=spec.shape[1:] if batched else spec.shape,
            label_filename=config.labels.get(spec.name, ""),
        )
    policy = config.versions
    if policy == "all":
        message.version_policy.all.SetInParent()
    elif isinstance(policy, tuple):
        message.version_policy.specific.versions.extend(policy)
    else:
        message.version_policy.latest.num_versions = policy.latest
    if batched:
        batching, dynamic = config.batching, message.dynamic_batching
        dynamic.max_queue_delay_microseconds = round((batching.max_queue_delay_ms or 0.0) * 1e3)
        if batching.priority_levels:
            dynamic.priority_levels, dynamic.default_priority_level = batching.priority_levels, batching.level
    if padding is not None:
        filled = {name: how.value for name, how in padding.inputs.items()}
        message.parameters["headrace_pad"].string_value = json.dumps(filled)
    kind = "KIND_CPU" if servable.providers[0] in _ON_CPU else "KIND_GPU"
    message.instance_group.add(name=f"{name}_0", count=config.instances.count, kind=kind)
    return message


def model_config_json(plane: DataPlane, name: str, version: str) -> dict[str, Any]:
    """`model_config` as REST has it: protobuf-JSON with the original field names."""
    message = model_config(plane, name, version)
    document: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    _whole_numbers(document, message.DESCRIPTOR)
    return document


def _whole_numbers(document: dict[str, Any], descriptor: Any) -> None:
    """protobuf-JSON writes 64-bit integers as strings; Triton writes numbers, and so does everyone who reads them."""
    for field in descriptor.fields:
        value = document.get(field.name)
        if not value:
            continue
        if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64):
            document[field.name] = [int(each) for each in value] if isinstance(value, list) else int(value)
        elif field.message_type and not field.message_type.GetOptions().map_entry:
            for each in value if isinstance(value, list) else (value,):
                _whole_numbers(each, field.message_type)


def statistics(plane: DataPlane, totals: Statistics, name: str = "", version: str = "") -> dict[str, Any]:
    """Counts and times of ready versions: of one, of a model's, or of all; sums over the replicas of the pool."""
    wanted = number(version)
    if name and (version or not plane.models.ready_versions(name)):
        wanted = plane.models.look(name, version).metadata.id.version
    elif version and wanted is None:
        raise ModelNotFound(f"version {version[:20]!r} is not found: of no model in particular a version is a number")
    sums, memory = totals.totals(), totals.holdings.totals()
    rows = [
        _model_statistics(id, sums[id], memory.get(id, {}))
        for id, _ in plane.models.servables()
        if name in ("", id.name) and wanted in (None, id.version)
    ]
    return {"model_stats": rows}


async def batcher(
    plane: DataPlane, replica: int, name: str, version: str, *, recording: bool = False
) -> dict[str, Any]:
    """What this replica's batcher of one version has learnt and does, and why. Raises ModelNotFound, ModelNotReady."""
    servable = plane.models.look(name, version)
    id = servable.metadata.id
    about = {"model": id.name, "version": str(id.version), "replica": replica}
    return about | await servable.describe(recording)


def repository_index(plane: DataPlane, *, ready: bool = False) -> list[dict[str, Any]]:
    """Every model version found, with its state and, if something is wrong, why.

    `labels` are those that point to it now, in a list: an addition of ours that has no field in the gRPC message.
    """
    rows: list[dict[str, Any]] = []
    for row in plane.models.index():
        if ready and row.state != "READY":
            continue
        labels = [label for label, to in plane.models.labels(row.name).items() if str(to) == row.version]
        document = {"name": row.name, "version": row.version, "state": row.state, "reason": row.reason}
        rows.append({key: value for key, value in (document | {"labels": labels}).items() if value})
    return rows


def event(happened: Happened) -> dict[str, Any]:
    """One event, with its time in ISO 8601; keys that say nothing are left out."""
    document = msgspec.structs.asdict(happened)
    document["time"] = datetime.fromtimestamp(happened.time, UTC).isoformat(timespec="milliseconds")
    return {key: value for key, value in document.items() if value != ""}


def model_ready(plane: DataPlane, name: str, version: str) -> bool:
    """Whether a version (or, without one, any) can be asked. Raises ModelNotFound for what is not in the repository.

    One that is asleep can: a request wakes it. A client that asks first whether it may would else never send one.
    """
    try:
        plane.models.look(name, version)
    except ModelNotReady:
        return plane.may_wait(name)
    return True


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype.value, "shape": list(spec.shape)}


def _memory_usage(device: str, count: int) -> dict[str, Any]:
    """As Triton says it: `cuda:1` is GPU 1; devices of other kinds that have a number are GPUs too."""
    kind, _, number = device.partition(":")
    return {"type": "CPU" if kind == ON_THE_CPU else "GPU", "id": int(number or 0), "byte_size": count}


def _model_statistics(id: ModelId, counters: ModelCounters, memory: Mapping[str, int]) -> dict[str, Any]:
    cells = counters.cells
    successes = cells[cell.SUCCESSES]

    def spent(at: int, count: int = successes) -> dict[str, int]:
        return {"count": count, "ns": cells[at]}

    return {
        "name": id.name,
        "version": str(id.version),
        "last_inference": cells[cell.LAST_INFERENCE_MS],
        "inference_count": cells[cell.ROWS],
        "execution_count": cells[cell.BATCHES],
        "inference_stats": {
            "success": spent(cell.SUCCESS_NS),
            "fail": spent(cell.FAILURE_NS, cells[cell.FAILURES]),
            "queue": spent(cell.QUEUE_NS),
            "compute_input": spent(cell.INPUT_NS),
            "compute_infer": spent(cell.INFER_NS),
            "compute_output": spent(cell.OUTPUT_NS),
            "cache_hit": {"count": 0, "ns": 0},
            "cache_miss": {"count": 0, "ns": 0},
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": {"count": batches, "ns": input_ns},
                "compute_infer": {"count": batches, "ns": infer_ns},
                "compute_output": {"count": batches, "ns": output_ns},
            }
            for rows, batches, input_ns, infer_ns, output_ns in counters.batch_table()
        ],
        "memory_usage": [_memory_usage(device, count) for device, count in sorted(memory.items())],
    }
