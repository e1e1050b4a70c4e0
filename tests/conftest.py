import shutil
import tempfile
from pathlib import Path

import hypothesis
import pytest
from live import serving

EXAMPLES = Path(__file__).parents[1] / "examples" / "models"

# The same examples every time, and no time limit on one: a busy machine is no finding.
hypothesis.settings.register_profile("headrace", derandomize=True, deadline=None, max_examples=60)
hypothesis.settings.load_profile("headrace")


@pytest.fixture(scope="session", autouse=True)
def _no_ones_cache():
    """What servers keep for later starts goes with the tests, and is not the user's."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", folder)
        yield


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """The example models, one of every datatype, some of other shapes, one that takes its time, and a broken one."""
    import onnx_models

    from headrace.datatypes import Datatype

    folder = tmp_path_factory.mktemp("repository")
    for model in EXAMPLES.iterdir():
        shutil.copytree(model, folder / model.name)
    for datatype in Datatype:
        onnx_models.save(onnx_models.identity(datatype.value), folder, f"same_{datatype.value}", 1)
    onnx_models.save(onnx_models.mlp(), folder, "mlp", 1)
    onnx_models.save(onnx_models.identity("FP32", ("n", "k")), folder, "grid", 1)
    onnx_models.save(onnx_models.identity("FP32", ("n", "k")), folder, "grid", 2)
    (folder / "grid" / "config.yaml").write_text("versions: all\n")
    for version in (1, 2):
        onnx_models.save(onnx_models.identity("FP32", ("n", 2)), folder, "split", version)
    labels = "{versions: all, version_labels: {stable: 1, canary: 2}, traffic: {canary: 40%}, sticky: request_id}"
    (folder / "split" / "config.yaml").write_text(labels)
    onnx_models.save(onnx_models.scalar(), folder, "scalar", 1)
    onnx_models.save(onnx_models.two_inputs(), folder, "pair", 1)
    onnx_models.save(onnx_models.two_inputs_with_default(), folder, "offset", 1)
    onnx_models.save(onnx_models.gather(), folder, "gather", 1)
    onnx_models.save(onnx_models.slow(layers=400), folder, "lazy", 1)
    onnx_models.save(b"this is no model", folder, "broken", 1)
    return folder


@pytest.fixture(scope="session")
def server(repository):
    """One live server for all tests that do no harm to it."""
    with serving(repository, "--max-body-bytes", "1000000", "--receive-timeout-s", "2") as running:
        yield running
