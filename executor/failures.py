"""What ONNX Runtime says when it fails, in words for a client. Pure.

Receives the runtime's exceptions, hands ServingErrors on. The rule for runs: a model is a fixed function, so what makes
one of its nodes refuse is the values of this request (BadRequest), unless the sentence speaks of memory (OutOfMemory)
or of the device; everything else is ExecutorFailed. Source paths and C++ signatures are cut out of the sentences.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from headrace.errors import BadRequest, ExecutorFailed, LoadFailed, OutOfMemory, ServingError
from headrace.models import ModelId

_STATUS = re.compile(r"\[ONNXRuntimeError\] : \d+ : ([A-Z_]+) : ")
_NODE = re.compile(r"Non-zero status code returned while running (\S+) node\. Name:'([^']*)' Status Message: ")
_SOURCE = re.compile(
    r"(?:\S*/)?[\w.-]+\.(?:h|hpp|cc|cpp|cu|cuh|inc):\d+ "  # /onnxruntime_src/.../reshape_helper.h:84
    r"(?:[^()]*::[^()]*\([^()]*\)(?: const)? |\w+ )"  # its function, with or without signature
    r"(?:(?!\. )[^.]*(?:\.[^ .][^.]*)*? was false\. )?"  # the condition that did not hold
)
_ADVICE = "Please fix either the inputs/outputs or the model."
_RESOURCES = re.compile(r"alloc|CUDA|CUDNN|CUBLAS|cuBLAS|HIP|MIOPEN|TensorRT|device|bfc_arena", re.IGNORECASE)
_MEMORY = re.compile(
    r"Failed to allocate|bad[_ ]alloc|out[ _]of[ _]?memory|ALLOC_FAILED"  # also CUDNN_, CUBLAS_ and MIOPEN_STATUS_...
    r"|Available memory of \d+ is smaller than requested",  # the arena has a limit: gpu_mem_limit
    re.IGNORECASE,
)


def readable(message: str) -> str:
    """The runtime's sentence without status codes, source paths and line breaks."""
    text = _STATUS.sub("", " ".join(message.split()))
    text = _NODE.sub(lambda node: f"node {node[1]}{f' {node[2]!r}' if node[2] else ''}: ", text)
    text = _SOURCE.sub("", text).replace(_ADVICE, "")
    return text.strip().rstrip(".") or "no reason given"


def run_failed(model: ModelId, error: Exception) -> ServingError:
    """The error that a client gets for a run that raised `error`."""
    message = str(error)
    if isinstance(error, UnicodeEncodeError):
        return BadRequest(f"model {model}: a BYTES input holds text that is not valid Unicode: {error}")
    if isinstance(error, UnicodeDecodeError):
        return ExecutorFailed(f"model {model}: a BYTES output is not UTF-8 and cannot be carried: {error}")
    if isinstance(error, MemoryError) or _MEMORY.search(message):
        return OutOfMemory(f"model {model} failed to run: {readable(message or 'out of memory')}")
    status = _STATUS.match(message)
    refused = status is not None and (status[1] == "INVALID_ARGUMENT" or _NODE.search(message) is not None)
    if refused and not _RESOURCES.search(message):
        return BadRequest(f"model {model} rejects these inputs: {readable(message)}")
    return ExecutorFailed(f"model {model} failed to run: {readable(message)}")


def load_failed(model: ModelId, model_file: Path, error: Exception, providers: Sequence[str] = ()) -> LoadFailed:
    """The error for a session that could not be created from `model_file` for these execution providers."""
    text = readable(str(error))
    _, found, reason = text.partition(" failed:")
    if found and text.startswith("Load model from "):
        text = reason.strip()
    if "rotobuf pars" in text or "No graph was found" in text:
        text += " (the file is not an ONNX model, or not a whole one)"
    place = f" for {providers[0]}" if len(providers) > 1 else ""
    return LoadFailed(f"model {model}: {model_file} cannot be loaded{place}: {text}")
