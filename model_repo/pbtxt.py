"""Triton's configuration, `config.pbtxt` or the JSON form that a load request may bring -> `Declared`.

Receives the text from `scan`, hands back our configuration. Source: triton-inference-server/common
`protobuf/model_config.proto`, whose compiled form tritonclient ships, and the ONNX Runtime backend's README.

1. Whatever is set and not in SUPPORTED is refused by its name, all of it in one sentence; nothing is ignored.
2. A field set to its default (0, "") cannot be told from one that is left out: proto3 does not keep it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from google.protobuf import json_format, text_format
from google.protobuf.message import Message
from tritonclient.grpc import model_config_pb2

from headrace.config import ModelConfig
from headrace.datatypes import BY_NAME, Datatype
from headrace.errors import RepositoryError
from headrace.models import TensorSpec
from headrace.parsing import parse as check
from model_repo.declared import MODEL_FILENAME, Declared

SUPPORTED = frozenset(
    {
        "name",
        "platform",
        "backend",
        "max_batch_size",
        "input.name",
        "input.data_type",
        "input.dims",
        "input.optional",
        "output.name",
        "output.data_type",
        "output.dims",
        "output.label_filename",
        "version_policy.latest.num_versions",
        "version_policy.all",
        "version_policy.specific.versions",
        "dynamic_batching.max_queue_delay_microseconds",
        "dynamic_batching.default_queue_policy.max_queue_size",
        "dynamic_batching.priority_levels",
        "dynamic_batching.default_priority_level",
        "dynamic_batching.default_queue_policy.default_timeout_microseconds",
        "dynamic_batching.default_queue_policy.allow_timeout_override",
        "instance_group.count",
        "instance_group.kind",
        "default_model_filename",
        "parameters[intra_op_thread_count].string_value",
        "optimization.execution_accelerators.gpu_execution_accelerator.name",
        "optimization.execution_accelerators.cpu_execution_accelerator.name",
    }
)
KINDS = model_config_pb2.ModelInstanceGroup
PLATFORMS = ("", "onnxruntime_onnx", "onnxruntime")
BACKENDS = ("", "onnxruntime")
ACCELERATORS = {"gpu_execution_accelerator": ("tensorrt",), "cpu_execution_accelerator": ("openvino",)}
"""Accelerator name in Triton = short name of ONNX Runtime's execution provider."""
DATATYPES = {
    number: Datatype.BYTES if name == "TYPE_STRING" else BY_NAME[name.removeprefix("TYPE_")]
    for name, number in model_config_pb2.DataType.items()
    if name != "TYPE_INVALID"
}


def parse(text: str, where: str, name: str) -> Declared:
    """Read the configuration of model `name`. `where` starts the error message. Raises RepositoryError, ConfigError."""
    triton = model_config_pb2.ModelConfig()
    try:
        text_format.Parse(text, triton)
    except text_format.ParseError as error:
        what = str(error).removeprefix(f"{error.GetLine()}:{error.GetColumn()} : ")
        raise RepositoryError(f"{where}: line {error.GetLine()}: {what}") from None
    return _declared(triton, where, name)


def parse_json(text: str, where: str, name: str) -> Declared:
    """The same from protobuf-JSON, as in the `config` parameter of a load request."""
    triton = model_config_pb2.ModelConfig()
    try:
        json_format.Parse(text, triton)
    except json_format.ParseError as error:
        raise RepositoryError(f"{where}: {error}") from None
    return _declared(triton, where, name)


def _declared(triton: Any, where: str, name: str) -> Declared:
    if refused := list(dict.fromkeys(_refused(triton))):
        raise RepositoryError(f"{where}: not supported: {', '.join(refused)}")
    _check_identity(triton, where, name)
    batched = triton.max_batch_size > 0
    values = {
        "batching": _batching(triton),
        "instances": _instances(triton, where),
        "execution_providers": _providers(triton, where),
        "versions": _versions(triton),
        "labels": {output.name: output.label_filename for output in triton.output if output.label_filename},
    }
    return Declared(
        config=check(ModelConfig, values, where),
        model_filename=triton.default_model_filename or MODEL_FILENAME,
        inputs=tuple(_tensor(tensor, batched, where, tensor.optional) for tensor in triton.input),
        outputs=tuple(_tensor(tensor, batched, where, False) for tensor in triton.output),
    )


def _refused(message: Message, path: str = "") -> Iterator[str]:
    """The full names of fields that are set and not supported; of a message that is wholly unsupported only its own.

    An empty message counts as set: `sequence_batching {}` asks for something.
    """
    for field, value in message.ListFields():
        name = f"{path}{field.name}"
        if name in SUPPORTED:
            continue
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        items = {f"{name}[{key}]": value[key] for key in sorted(value)} if is_map else {name: value}
        for item_name, item in items.items():
            if not any(known.startswith(f"{item_name}.") for known in SUPPORTED):
                yield item_name
                continue
            for part in [item] if isinstance(item, Message) else item:
                yield from _refused(part, f"{item_name}.")


def _check_identity(triton: Any, where: str, name: str) -> None:
    for field, expected in (("name", ("", name)), ("platform", PLATFORMS), ("backend", BACKENDS)):
        if getattr(triton, field) not in expected:
            raise RepositoryError(f"{where}: {field} is {getattr(triton, field)!r}, expected {expected[1]!r}")
    if triton.max_batch_size < 0:
        raise RepositoryError(f"{where}: max_batch_size is {triton.max_batch_size}, expected 0 or more")
    file = triton.default_model_filename
    if file and (PurePath(file).name != file or file.startswith(".")):
        raise RepositoryError(f"{where}: default_model_filename is {file!r}, expected the name of a file")


def _batching(triton: Any) -> Mapping[str, Any]:
    """N rows at most; without max_batch_size the declared dims are whole shapes, and undeclared ones say nothing."""
    dynamic = triton.dynamic_batching
    values: dict[str, Any] = {}
    if dynamic.max_queue_delay_microseconds:  # without one it is left to the controller
        values["max_queue_delay_ms"] = dynamic.max_queue_delay_microseconds / 1e3
    if triton.max_batch_size:
        values |= {"enabled": True, "max_batch_rows": triton.max_batch_size}
    elif triton.input or triton.output:
        values["enabled"] = False
    if dynamic.default_queue_policy.max_queue_size:  # requests there, rows here: the same for requests of one row
        values["max_queue_rows"] = dynamic.default_queue_policy.max_queue_size
    if dynamic.priority_levels:
        values["priority_levels"] = dynamic.priority_levels
    if dynamic.default_priority_level:
        values["default_priority"] = dynamic.default_priority_level
    if dynamic.default_queue_policy.default_timeout_microseconds:
        values["default_timeout_ms"] = dynamic.default_queue_policy.default_timeout_microseconds / 1e3
    return values


def _instances(triton: Any, where: str) -> Mapping[str, int]:
    if len(triton.instance_group) > 1:
        raise RepositoryError(f"{where}: {len(triton.instance_group)} entries of instance_group, expected one at most")
    count = sum(group.count for group in triton.instance_group)
    values = {"count": count} if count else {}
    threads = triton.parameters.get("intra_op_thread_count")
    if threads is not None:
        if not (threads.string_value.isascii() and threads.string_value.isdigit() and len(threads.string_value) < 5):
            found = f"parameters[intra_op_thread_count] is {threads.string_value!r}"
            raise RepositoryError(f"{where}: {found}, expected a number of threads")
        values["threads"] = int(threads.string_value)
    return values


def _providers(triton: Any, where: str) -> tuple[str, ...]:
    """In order of preference. No kind and no accelerator: whatever is best."""
    named: dict[str, list[str]] = {}
    for field, known in ACCELERATORS.items():
        named[field] = [item.name for item in getattr(triton.optimization.execution_accelerators, field)]
        for name in named[field]:
            if name not in known:
                path = f"optimization.execution_accelerators.{field}"
                raise RepositoryError(f"{where}: not supported: {path}.name {name!r}, expected {', '.join(known)}")
    on_gpu = (*named["gpu_execution_accelerator"], "cuda")
    on_cpu = (*named["cpu_execution_accelerator"], "cpu")
    kind = triton.instance_group[0].kind if triton.instance_group else KINDS.KIND_AUTO
    by_kind = {
        KINDS.KIND_GPU: on_gpu,
        KINDS.KIND_CPU: on_cpu,
        KINDS.KIND_AUTO: (on_gpu if len(on_gpu) > 1 else ()) + (on_cpu if len(on_cpu) > 1 else ()),
    }
    if kind not in by_kind:
        raise RepositoryError(f"{where}: not supported: instance_group.kind {kind}, expected KIND_AUTO, _CPU or _GPU")
    return by_kind[kind]


def _versions(triton: Any) -> Any:
    policy = triton.version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            return "all"
        case "specific":
            return tuple(policy.specific.versions)
        case "latest":
            return {"latest": policy.latest.num_versions or 1}
    return {"latest": 1}


def _tensor(tensor: Any, batched: bool, where: str, optional: bool) -> TensorSpec:
    if not tensor.name:
        raise RepositoryError(f"{where}: an input or output has no name")
    if tensor.data_type not in DATATYPES:
        raise RepositoryError(f"{where}: data_type of {tensor.name!r} is missing or unknown")
    if any(dim < 1 and dim != -1 for dim in tensor.dims):
        raise RepositoryError(f"{where}: dims of {tensor.name!r} are {list(tensor.dims)}, expected -1 or 1 and more")
    return TensorSpec(tensor.name, DATATYPES[tensor.data_type], (*((-1,) if batched else ()), *tensor.dims), optional)
