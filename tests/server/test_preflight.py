"""What can be seen before anything starts is a sentence that says what to do."""

import sys

import onnx_models
import pytest

from headrace.config import ServerConfig
from headrace.errors import ConfigError
from server import preflight


@pytest.fixture
def repository(tmp_path):
    """A folder of one model, `m`."""
    (tmp_path / "models").mkdir()
    onnx_models.save(onnx_models.mlp(), tmp_path / "models", "m", 1)
    return tmp_path / "models"


def refused(*repositories, **options):
    with pytest.raises(ConfigError) as refusal:
        preflight.check(ServerConfig(model_repository=repositories, **options))
    return str(refusal.value)


def doubts(*repositories, **options):
    settings = ServerConfig(model_repository=repositories, **options)
    preflight.check(settings)
    return list(preflight.doubts(settings))


@pytest.mark.parametrize("mode", ["none", "poll"])
def test_repository_with_a_model_raises_no_doubt(repository, mode):
    assert doubts(repository, model_control_mode=mode) == []


def test_nothing_named_says_how_to_name_it():
    assert "`headrace serve DIR`" in refused()


def test_one_bad_repository_among_good_ones_is_named(repository, tmp_path):
    assert refused(repository, tmp_path / "gone").endswith("gone does not exist")
    (tmp_path / "file").touch()
    assert refused(repository, tmp_path / "file").endswith("file is not a folder")


def test_model_or_version_in_place_of_its_repository_is_told_from_it(repository, monkeypatch):
    assert refused(repository / "m").endswith(f"m is a model; serve the folder that it is in, {repository}")
    assert refused(repository / "m" / "1").endswith(f"1 is a version of a model; serve {repository}")
    monkeypatch.chdir(repository / "m")
    assert refused(".").endswith(f"model repository . is a model; serve the folder that it is in, {repository}")


def test_model_may_be_called_by_a_number(tmp_path):
    onnx_models.save(onnx_models.mlp(), tmp_path, "7", 1)
    (tmp_path / "7" / "model.onnx").touch()  # and a stray file does not make it a version
    assert doubts(tmp_path) == []


def test_empty_repository_is_a_doubt_and_no_error(tmp_path):
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "README").touch()
    (said,) = doubts(tmp_path)
    assert f"{tmp_path} has no models: expected NAME/VERSION/model.onnx" in said
    assert "poll looks again" in said
    (said,) = doubts(tmp_path, model_control_mode="poll")
    assert said.endswith("model.onnx in it")


def test_explicit_mode_needs_names_to_load_anything(repository):
    assert doubts(repository, model_control_mode="explicit", load_model=("m",)) == []
    assert "without --load-model" in doubts(repository, model_control_mode="explicit")[0]
    assert "the mode is 'none'" in refused(repository, load_model=("m",))


def test_both_protocols_on_one_port_are_refused_unless_any_will_do(repository):
    assert "are both 8000" in refused(repository, grpc_port=8000)
    assert doubts(repository, http_port=0, grpc_port=0) == []


def test_package_of_another_project_is_not_taken_for_ours(repository, tmp_path, monkeypatch):
    (tmp_path / "loadtest").mkdir()
    (tmp_path / "loadtest" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "loadtest", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert f"loadtest from {tmp_path}" in refused(repository)


def test_a_cache_that_cannot_be_is_a_doubt_unless_it_is_switched_off(repository, tmp_path):
    (tmp_path / "file").touch()
    (said,) = doubts(repository, cache_dir=tmp_path / "file")
    assert said.startswith(f"no cache, replicas do not share their models' weights: {tmp_path / 'file'} cannot be made")
    assert said.endswith("see --cache-dir")
    assert doubts(repository, cache_dir=tmp_path / "file", cache_max_bytes=0) == []
