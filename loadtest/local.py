"""What a model file answers here, by ONNX Runtime on the CPU: the judge of a server that serves the same file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headrace.cores import usable_cores
from headrace.errors import ServingError
from headrace.models import ModelId
from loadtest.tensors import Tensors


def runner(file: Path) -> Callable[[Tensors], Tensors]:
    """Inputs -> outputs. Raises ValueError with a sentence, or ConfigError if ONNX Runtime is not there."""
    # ONNX Runtime is an extra of the project, and a load tester does without.
    from executor.metadata import read_signature  # noqa: PLC0415
    from executor.runners import runner_for  # noqa: PLC0415
    from executor.sessions import open_session  # noqa: PLC0415

    model = ModelId(file.stem, 0)
    try:
        session = open_session(model, file, ("cpu",), max(1, int(usable_cores())))
        run = runner_for(model, session, read_signature(model, file, session, {}, {}))
    except ServingError as error:
        raise ValueError(f"{file}: {error}") from None

    def answers(inputs: Tensors) -> Tensors:
        try:
            return run(inputs)
        except Exception as error:  # whatever ONNX Runtime raises
            raise ValueError(f"{file} does not take these inputs: {error}") from None

    return answers
