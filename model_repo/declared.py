"""What a configuration file says about one model: our settings, and what Triton's format can say besides."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.config import ModelConfig
from headrace.models import TensorSpec

MODEL_FILENAME = "model.onnx"


@dataclass(frozen=True, slots=True)
class Declared:
    """The configuration of one model. Tensors as whole shapes, -1 for free dimensions; empty: nothing is declared."""

    config: ModelConfig
    model_filename: str = MODEL_FILENAME
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
