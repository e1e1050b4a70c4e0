"""What TensorRT compiles is kept: minutes of work for each shape of each model, done once for all processes and starts.

TensorRT itself writes and reads the files, when it meets a shape. It tells graphs apart, and not their weights: so each
content of a model has a folder of its own, and so has each build of the runtime. They are not counted in what the cache
may hold, and stay until somebody deletes them.
"""

from __future__ import annotations

from pathlib import Path

import xxhash

from executor import runtime
from executor.cache import Cache
from executor.digests import digest, files_below
from executor.providers import TENSORRT, Chosen

_FOLDER = "tensorrt"


def keeping(chosen: Chosen, model_file: Path, cache: Cache | None) -> Chosen:
    """The same providers; TensorRT keeps what it compiles in `cache`, unless it is told otherwise. Reads the model."""
    if cache is None or all(name != TENSORRT for name, _ in chosen):
        return chosen
    try:
        files = files_below(model_file.parent)
        if files is None:
            return chosen
        known = f"{digest(model_file.parent, files)} {model_file.name} {runtime.VERSION} {runtime.BUILD}"
        folder = cache.folder / _FOLDER / str(xxhash.xxh3_128_hexdigest(known.encode()))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:  # it compiles again then
        return chosen
    kept = {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(folder),
    }
    return [(name, {**kept, **options} if name == TENSORRT else options) for name, options in chosen]
