"""What the scripts beside this file share: an ONNX graph from nodes and arrays, written in the repository's layout.

Receives nodes, specs and weights from a `make_*.py`, hands `models/NAME/1/model.onnx` and `requests/NAME.json` to the
reader. Invariants: 1. The same arrays give the same bytes; the scripts train on one BLAS thread, so that the same kind
of processor gives the same arrays. 2. Opset 17, IR version 8: ONNX Runtime 1.20 runs them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
ELEMENTS = {
    "BOOL": TensorProto.BOOL,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP32": TensorProto.FLOAT,
    "BYTES": TensorProto.STRING,
}
Spec = tuple[str, str, tuple[str | int, ...]]
"""Name, V2 datatype, shape with names for the free axes."""


def build(
    name: str,
    inputs: Sequence[Spec],
    outputs: Sequence[Spec],
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, npt.NDArray[Any]],
) -> onnx.ModelProto:
    """The checked model. Nodes of domain `ai.onnx.ml` may be among the nodes."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(tensor, ELEMENTS[datatype], shape) for tensor, datatype, shape in inputs],
        [helper.make_tensor_value_info(tensor, ELEMENTS[datatype], shape) for tensor, datatype, shape in outputs],
        [numpy_helper.from_array(np.ascontiguousarray(array), weight) for weight, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, ir_version=8, opset_imports=opsets, producer_name="headrace-examples")
    onnx.checker.check_model(model, full_check=True)
    return model


def ml(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    """A node of ONNX's classical machine-learning operators."""
    return helper.make_node(kind, inputs, outputs, domain="ai.onnx.ml", **attributes)


def run(model: onnx.ModelProto, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """One forward pass on the CPU: input name -> array in, output name -> array out."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def write(name: str, model: onnx.ModelProto, labels: Sequence[str], request: Mapping[str, Any]) -> None:
    """Put version 1 of the model, the labels of its `probabilities` and an example request where README.md says."""
    folder = HERE / "models" / name
    (folder / "1").mkdir(parents=True, exist_ok=True)
    (folder / "1" / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    (folder / "labels.txt").write_text("\n".join(labels) + "\n")
    (folder / "config.yaml").write_text("labels: {probabilities: labels.txt}\n")
    requests = HERE / "requests"
    requests.mkdir(exist_ok=True)
    (requests / f"{name}.json").write_text(json.dumps(request, separators=(",", ":")) + "\n")


def tensor(spec: Spec, array: npt.NDArray[Any]) -> dict[str, Any]:
    """One input of a V2 request."""
    name, datatype, _ = spec
    return {"name": name, "shape": array.shape, "datatype": datatype, "data": array.ravel().tolist()}
