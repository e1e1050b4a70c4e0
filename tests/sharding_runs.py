"""Stages run one after the other with plain sessions, as a model is run whole."""

import numpy as np

from executor import runtime
from executor.options import session_options, with_weights_below
from executor.sharding.plan import Device

GIB = 1 << 30
AS_IT_IS = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
FUSED = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
OPTIMISED = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL


def on(count, memory_bytes=GIB, kind="cpu", reserve_bytes=0):
    """So many devices."""
    return [Device(f"{kind}:{at}", kind, memory_bytes, reserve_bytes, 6e9, 2e-5) for at in range(count)]


def options(level):
    chosen = session_options(1)
    chosen.graph_optimization_level = level
    return chosen


def session(model, folder, level):
    """A plain one on the CPU, of a stage's or a model's bytes."""
    return runtime.InferenceSession(
        model, with_weights_below(options(level), folder), providers=["CPUExecutionProvider"]
    )


def inputs_for(session, rows=3, free=5):
    rng = np.random.default_rng(0)

    def values(spec):
        shape = [
            length if isinstance(length, int) else (rows if axis == 0 else free)
            for axis, length in enumerate(spec.shape)
        ]
        if "float" in spec.type:
            return rng.random(shape, dtype=np.float32)
        return np.asarray(rng.integers(0, 2, shape)).astype(bool if "bool" in spec.type else np.int64)

    return {spec.name: values(spec) for spec in session.get_inputs()}


def run_stages(models, folder, inputs, level):
    """All that there is at the end, by name: each stage gets what it takes, nothing else."""
    known = dict(inputs)
    for stage in models:
        opened = session(stage.model, folder, level)
        fed = {name: known[name] for name in stage.takes}
        fed |= {name: known[name] for name in stage.defaults if name in known}
        assert [output.name for output in opened.get_outputs()] == list(stage.gives)
        known |= dict(zip(stage.gives, opened.run(None, fed), strict=True))
    return known
