"""ONNX Runtime as the rest of this package sees it: the only import of it, in one place.

Importing this module raises ConfigError where neither `onnxruntime` nor one of its GPU builds is installed, so
that the operator reads what to install instead of a traceback. It creates nothing and configures two things: the
runtime's own log is held at errors, because its warnings concern its authors more than ours; and it reports to nobody
(from 1.32 on its wheels for Linux send telemetry and keep an id of the device in ~/.cache), unless the environment has
ORT_DISABLE_TELEMETRY already.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
from typing import Any

from headrace.errors import ConfigError

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
try:
    import onnxruntime as ort
except ImportError as error:
    raise ConfigError(
        "ONNX Runtime cannot be imported. Install Headrace with an extra that brings it: `pip install '.[cpu]'` in "
        f"Headrace's folder, or `pip install '.[gpu]'` for NVIDIA GPUs. The import said: {error}"
    ) from error

ort.set_default_logger_severity(3)

SessionOptions: Any = ort.SessionOptions
InferenceSession: Any = ort.InferenceSession
RunOptions: Any = ort.RunOptions
OrtValue: Any = ort.OrtValue
ExecutionMode: Any = ort.ExecutionMode
GraphOptimizationLevel: Any = ort.GraphOptimizationLevel

VERSION: str = ort.__version__
BUILD: str = ort.get_build_info()
"""Its commit and flags: two builds of one version may differ."""


def available_providers() -> tuple[str, ...]:
    """Full names of the execution providers that this build has. One listed may still lack its libraries."""
    return tuple(ort.get_available_providers())


@functools.cache
def find_cuda_libraries() -> None:
    """Load CUDA and cuDNN from NVIDIA's pip packages, where the system has none. Best effort, once."""
    preload = getattr(ort, "preload_dlls", None)
    if preload is not None:
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):  # it print()s what it misses
            preload()
