"""Seconds per node, measured: the whole model, run on the CPU with ONNX Runtime's profiler.

Receives a `Source`, hands seconds to `planning`. Without optimisation, for only so a node that runs is a node of the
file: each gets a name by which its times are found again. Hence what the runtime would fuse is measured apart, and the
sum is more than the served model takes; what counts for cuts are the shares. Weights are mapped, not read in whole. A
model whose stages will run on accelerators is measured on the CPU all the same, as it may fit nowhere else. Blocking.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnx import ModelProto

from executor import runtime
from executor.failures import readable
from executor.metadata import read_signature
from executor.options import session_options
from executor.samples import samples
from executor.sharding.shapes import Sizes
from executor.sharding.source import Source, open_on_cpu
from headrace.cores import usable_cores
from headrace.errors import LoadFailed
from headrace.models import ModelId

RUNS = 10
"""Besides the first, which prepares. Of each node the least counts: neighbours on the same cores only ever add."""
_SUFFIX = "_kernel_time"
"""Of the runtime's events, behind the node's name."""


def profile(source: Source, sizes: Sizes) -> list[float]:
    """Of each node of the source's graph. Raises LoadFailed if the model does not run."""
    model = ModelProto()
    model.CopyFrom(source.graph.model)
    for index, node in enumerate(model.graph.node):
        node.name = _name(index)
    file = source.folder / source.files[0][0]
    with tempfile.TemporaryDirectory() as folder:
        try:
            session = open_on_cpu(source, model, _options(folder))
            signature = read_signature(ModelId(file.stem, 1), file, session, {}, {})
            inputs = samples(signature, sizes.rows, sizes.free, sizes.axes)
            for _ in range(RUNS + 1):
                session.run(None, inputs)
            events = json.loads(Path(session.end_profiling()).read_bytes())
        except Exception as error:
            raise LoadFailed(f"{file} cannot be profiled: {readable(str(error))}") from error
    took = _seconds(events)
    return [
        0.0 if source.graph.constant.issuperset(n.makes) else took.get(_name(n.index), 0.0) for n in source.graph.nodes
    ]


def _options(folder: str) -> Any:
    options = session_options(max(1, int(usable_cores())))
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(folder) / "profile")
    return options


def _name(index: int) -> str:
    return f"node {index} of the file"


def _seconds(events: list[Mapping[str, Any]]) -> dict[str, float]:
    """Node -> the least of its runs, of those in the main graph."""
    runs = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            runs[event["name"].removesuffix(_SUFFIX)].append(event["dur"] / 1e6)
    return {name: min(each) for name, each in runs.items()}
