"""Options of ONNX Runtime's sessions, the same for all of ours.

1. Inter-op is one and sequential. 2. Idle intra-op threads sleep instead of spinning: the front end shares these cores,
and a spinning pool took half of a transformer's throughput with one neighbour busy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from executor import runtime


def session_options(threads: int) -> Any:
    """Options of every session: all optimisations, one operator at a time, no spinning, only errors in the log."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def with_weights_below(options: Any, folder: Path) -> Any:
    """The same, of a model whose references to weights are relative to `folder`, wherever the model is."""
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    return options
