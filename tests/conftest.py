import shutil
from pathlib import Path

import pytest
from live import serving

EXAMPLES = Path(__file__).parents[1] / "examples" / "models"


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """The example models, one of every datatype, and broken ones."""
    import onnx_models

    from headrace.datatypes import Datatype

    folder = tmp_path_factory.mktemp("repository")
    for model in EXAMPLES.iterdir():
        shutil.copytree(model, folder / model.name)
    for datatype in Datatype:
        onnx_models.save(onnx_models.identity(datatype.value), folder, f"same_{datatype.value}", 1)
    onnx_models.save(onnx_models.mlp(), folder, "mlp", 1)
    onnx_models.save(b"this is no model", folder, "broken", 1)
    return folder


@pytest.fixture(scope="session")
def server(repository):
    """One live server for all tests that do no harm to it."""
    with serving(repository, "--max-body-bytes", "1000000", "--receive-timeout-s", "2") as running:
        yield running
