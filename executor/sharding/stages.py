"""The stages of a plan as models, kept in the cache: some kilobytes each, for the weights stay where they are.

Receives a `Source` and a `Plan`, hands `StageModel`s to whoever runs them. They come as bytes, which no eviction takes
away and which travel to other processes. Whoever has opened the sessions asks `Source.changed` once more: only if it
says nothing are the weights those that the references mean. Blocking.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import xxhash

from executor.cache import Cache
from executor.entries import Facts
from executor.sharding.cut import stage_model
from executor.sharding.planning import Plan, types
from executor.sharding.source import Source

_FORM = "1"
"""Of what is kept; to be changed with anything below that changes it."""


@dataclass(frozen=True, slots=True)
class StageModel:
    """One stage. Sessions of it need `options.with_weights_below`."""

    model: bytes
    """An ONNX model whose weights are references, relative to the folder of the source."""
    device: str
    takes: tuple[str, ...]
    """Names that must be fed: inputs of the model, and what stages before gave."""
    gives: tuple[str, ...]
    """Names that later stages take or the model gives."""
    defaults: tuple[str, ...]
    """Names that may be fed."""
    after: tuple[int, ...]
    """Stages that must have run."""


def stage_models(source: Source, plan: Plan, cache: Cache | None = None) -> tuple[StageModel, ...]:
    """Those of `plan`, which was made of `source`: from the cache, or made, and kept there if it can be."""
    facts = facts_of(source, plan)

    def make(folder: Path) -> bool:
        for at, model in enumerate(_made(source, plan)):
            (folder / _name(at)).write_bytes(model)
        return True

    def read(folder: Path) -> list[bytes]:
        return [(folder / _name(at)).read_bytes() for at in range(len(plan.stages))]

    models = cache.use(facts, read, make) if cache is not None else None
    return tuple(
        StageModel(model, stage.device, stage.ends.takes, stage.ends.gives, stage.ends.defaults, stage.after)
        for model, stage in zip(models or _made(source, plan), plan.stages, strict=True)
    )


def facts_of(source: Source, plan: Plan) -> Facts:
    """What the models of the stages depend on: all of the model but the contents of its weights, and the cuts."""
    cuts = json.dumps([stage.ends.nodes for stage in plan.stages])
    return {
        "form": _FORM,
        "model": source.digest,
        "cuts": str(xxhash.xxh3_128_hexdigest(cuts.encode())),
        "onnx": onnx.__version__,  # by whom types and shapes are inferred
    }


def _made(source: Source, plan: Plan) -> Iterator[bytes]:
    declared = types(source)
    for stage in plan.stages:
        model = stage_model(source.graph, stage.ends, declared)
        yield bytes(model.SerializeToString(deterministic=True))


def _name(at: int) -> str:
    return f"stage-{at}.onnx"
