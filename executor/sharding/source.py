"""A model's file as it was read: the graph without weights, where the weights lie, and whether they lie there still.

ONNX Runtime (1.32, tried) takes references to weights only below one folder: it refuses absolute locations, `..`, and
links that lead out, but lets a session name the folder. So a stage's model may be anywhere, or nowhere but in memory,
and its references are relative to the folder of the file that they were found in. Blocking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import xxhash
from onnx import ModelProto, TensorProto

from executor import runtime
from executor.digests import Files
from executor.options import with_weights_below
from executor.sharding.graph import Graph, read_graph, tensor_bytes, tensors
from executor.sharding.wire import weightless
from headrace.errors import LoadFailed


@dataclass(frozen=True)
class Source:
    """One model, read once."""

    folder: Path
    """References are relative to it."""
    model: ModelProto
    """As in the file, with references instead of weights."""
    files: Files
    """Of the model and of all that it refers to, as they were."""

    @property
    def name(self) -> str:
        """For people: NAME/VERSION in a repository, else the file's."""
        file, version = self.files[0][0], self.folder.name
        return f"{self.folder.parent.name}/{version}" if file == "model.onnx" and version.isdecimal() else file

    @cached_property
    def graph(self) -> Graph:
        """What is in it. Raises LoadFailed."""
        return read_graph(self.model)

    @cached_property
    def digest(self) -> str:
        """Of all but the weights: the same for models that are cut the same way, if it is asked the same."""
        return str(xxhash.xxh3_128_hexdigest(self.model.SerializeToString(deterministic=True)))

    def changed(self) -> str | None:
        """The file that is not what it was, None if none is: then what was opened since has the weights that belong."""
        return next((name for name, *was in self.files if tuple(was) != _facts(self.folder / name)), None)


def read_source(model_file: Path) -> Source:
    """Read a model without its weights. Raises LoadFailed, naming the file or the weight that is not right."""
    try:
        facts = _facts(model_file)
        model = weightless(model_file, model_file.name)
        others = sorted({_entry(tensor, "location") for tensor in _external(model)} - {model_file.name})
        if not others and model_file.is_symlink():  # a link to a model is the model; weights lie beside the link
            return read_source(model_file.resolve())
        source = Source(model_file.parent, model, ((model_file.name, *facts), *_beside(model_file, others)))
    except OSError as error:
        raise LoadFailed(f"{error.filename or model_file} cannot be read: {error.strerror}") from None
    _check_references(source)
    return source


def open_on_cpu(source: Source, model: ModelProto, options: Any) -> Any:
    """A session of `model`, whose weights are those of `source`. Raises whatever the runtime raises."""
    return runtime.InferenceSession(
        model.SerializeToString(), with_weights_below(options, source.folder), providers=["CPUExecutionProvider"]
    )


def _facts(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _beside(model_file: Path, others: Iterable[str]) -> Iterator[tuple[str, int, int, int]]:
    for other in others:
        if Path(other).is_absolute() or ".." in Path(other).parts:
            raise LoadFailed(f"{model_file}: expected weights below its own folder, found a reference to {other!r}")
        yield other, *_facts(model_file.parent / other)


def _external(model: ModelProto) -> Iterator[TensorProto]:
    for tensor in (*model.graph.initializer, *(each for node in model.graph.node for each in tensors(node))):
        if tensor.data_location == TensorProto.EXTERNAL:
            yield tensor
    for function in model.functions:
        for node in function.node:
            yield from (each for each in tensors(node) if each.data_location == TensorProto.EXTERNAL)


def _entry(tensor: TensorProto, key: str) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == key), "")


def _check_references(source: Source) -> None:
    sizes = {name: size for name, size, *_ in source.files}
    for tensor in _external(source.model):
        name, offset, length = (_entry(tensor, key) for key in ("location", "offset", "length"))
        for number in (offset, length):
            if number and not number.isdecimal():
                raise LoadFailed(f"weight {tensor.name!r}: expected a number of bytes in {name}, found {number!r}")
        start, count = int(offset or 0), int(length or tensor_bytes(tensor))
        if start + count > sizes[name]:
            found = f"{name}, which has {sizes[name]}"
            raise LoadFailed(f"weight {tensor.name!r}: expected {count} bytes from byte {start} on in {found}")
