"""Open ONNX Runtime sessions: file, providers and threads in, a session that really uses them out.

Receives choices from `providers` and `threads`, hands sessions to `load`. Blocking. Invariant: a provider asked for by
name is in the session.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from executor import runtime
from executor.cache import Cache
from executor.compiled import keeping
from executor.failures import load_failed
from executor.options import session_options
from executor.prepared import open_prepared
from executor.providers import CPU, CUDA, Chosen, choose, is_asked, left_out
from headrace.config import Provider
from headrace.errors import LoadFailed
from headrace.models import ModelId

log = logging.getLogger("headrace.executor")


def open_session(
    model: ModelId,
    model_file: Path,
    asked: Sequence[Provider | str],
    threads: int,
    cache: Cache | None = None,
    sessions: int = 1,
    found_in: Callable[[Path], None] = lambda folder: None,
) -> Any:
    """A session with the providers asked for, or the best there is. Raises LoadFailed with a readable reason.

    `sessions` of this model, in all replicas, share what is in `cache`; `found_in` is told in which folder of it.
    """
    try:
        chosen = choose(asked, runtime.available_providers())
    except LoadFailed as error:
        raise LoadFailed(f"model {model}: {error}") from None
    check_file(model, model_file)
    if cache is not None and chosen == [(CPU, {})]:
        session = open_prepared(model, model_file, cache, sessions, lambda: session_options(threads), _on_cpu, found_in)
        if session is not None:
            return session
    try:
        session = _create(model, model_file, keeping(chosen, model_file, cache), threads)
    except LoadFailed as error:
        if asked or len(chosen) == 1:
            raise
        log.warning("%s; trying the CPU", error)
        return _create(model, model_file, [(CPU, {})], threads)
    active = session.get_providers()
    missing = left_out(chosen, active)
    for name in missing:
        if is_asked(asked, name):
            raise LoadFailed(
                f"model {model}: execution provider {name} was asked for and ONNX Runtime could not start it (its "
                f"libraries or its device are missing, see stderr); the session has {', '.join(active)}"
            )
    if missing:
        log.warning("model %s: %s could not be started, running without it", model, ", ".join(missing))
    return session


def check_file(model: ModelId, model_file: Path) -> None:
    """Raise LoadFailed if there is no readable, non-empty file: the runtime's own words for these cases mislead."""
    if not model_file.is_file():
        what = "is not a file" if model_file.exists() else "does not exist"
        raise LoadFailed(f"model {model}: {model_file} {what}")
    try:
        with model_file.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise LoadFailed(f"model {model}: {model_file} cannot be read: {error.strerror}") from error
    if empty:
        raise LoadFailed(f"model {model}: {model_file} is empty")


def _create(model: ModelId, model_file: Path, chosen: Chosen, threads: int) -> Any:
    if CUDA in (name for name, _ in chosen):
        runtime.find_cuda_libraries()
    try:
        return _session(model_file, session_options(threads), chosen)
    except Exception as error:
        raise load_failed(model, model_file, error, [name for name, _ in chosen]) from error


def _on_cpu(model_file: Path, options: Any) -> Any:
    return _session(model_file, options, [(CPU, {})])


def _session(model_file: Path, options: Any, chosen: Chosen) -> Any:
    # Without enable_fallback=0 a provider that raises is replaced by the CPU, announced by print().
    return runtime.InferenceSession(str(model_file), options, providers=chosen, enable_fallback=0)
