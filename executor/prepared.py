"""Sessions whose weights all replicas share: the model, optimised and packed once, in a file that each of them maps.

Receives a model's file and how to open a session on one, hands a session back, or None: open it the plain way. Small
models stay plain, as do those with other providers than the CPU: an entry would save them nothing. ONNX Runtime packs
the weights again when it opens the file and then takes the mapped ones, found by their hash; hence no optimisation
then, which could only make other nodes with other weights (measured: it makes no difference to the time).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from executor import runtime
from executor.cache import Cache
from executor.digests import digest, files_below, size_of
from executor.entries import Facts
from executor.processor import processor
from headrace.models import ModelId

Open = Callable[[Path, Any], Any]
"""(model file, session options) -> session."""

log = logging.getLogger("headrace.executor")

LEAST_BYTES = 32 << 20
"""Smaller models are not worth the files: 20 MB open in 0.03 s without, in 0.02 s with, and take 0.08 s to make."""
_SINCE = (1, 32)
"""Earlier runtimes were not tried: they may lack the options, or follow weights out of the model's folder."""
_MODEL, _WEIGHTS = "model.onnx", "weights.bin"
_FORM = "1"
"""Of what is kept; to be changed with anything below that changes it."""


def open_prepared(
    model: ModelId,
    model_file: Path,
    cache: Cache,
    sessions: int,
    options: Callable[[], Any],
    create: Open,
    found_in: Callable[[Path], None] = lambda folder: None,
) -> Any | None:
    """A session on the entry of this model, made first if `sessions` of it will share it. None: do without.

    `found_in` is told the entry's folder.
    """
    kind = processor()
    try:
        files = files_below(model_file.parent)
        if kind is None or files is None or not worth(size_of(files)) or not _tried(runtime.VERSION):
            return None
        facts = facts_of(model_file, digest(model_file.parent, files), kind)
        room = cache.has_room(2 * size_of(files))  # for the weights as they are and packed
    except OSError as error:  # a file beside the model that cannot be read; the cache's folder is gone
        log.info("%s: weights are not shared: %s", model, error)
        return None

    def prepare(entry: Path) -> bool:
        started = time.perf_counter()
        try:
            create(model_file, saving(options(), entry))
        except Exception as error:  # a graph that cannot be saved, a full disk
            log.info("%s: weights are not shared, the runtime could not save them: %s", model, error)
            return False
        if files_below(model_file.parent) != files:  # the digest may be of other weights than were saved
            return False
        log.info("%s: weights prepared for sharing in %.2f s", model, time.perf_counter() - started)
        return True

    def opened(entry: Path) -> Any:
        chosen = options()
        chosen.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = create(entry / _MODEL, chosen)
        except Exception as error:
            log.warning("%s: prepared weights cannot be opened, loading without: %s", model, error)
            return None
        found_in(entry)
        return session

    return cache.use(facts, opened, prepare if sessions > 1 and room else None)


def worth(size: int) -> bool:
    """Whether a model of so many bytes gains from being prepared."""
    return size >= LEAST_BYTES


def facts_of(model_file: Path, content: str, processor: str) -> Facts:
    """What the prepared form of a model depends on. Not threads: with one and with two it is the same bytes."""
    return {
        "form": _FORM,
        "model": content,
        "file": model_file.name,
        "runtime": f"{runtime.VERSION} {runtime.BUILD}",
        "processor": processor,
    }


def saving(options: Any, entry: Path) -> Any:
    """The same options, and: write the optimised model and its packed weights into `entry`."""
    options.optimized_model_filepath = str(entry / _MODEL)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", _WEIGHTS)
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    options.add_session_config_entry("session.save_external_prepacked_constant_initializers", "1")
    return options


def _tried(version: str) -> bool:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) >= _SINCE
