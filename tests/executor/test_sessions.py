"""Opening sessions: options as promised, files as they are."""

import onnx_models
import pytest

from executor import sessions
from executor.sessions import open_session, session_options
from headrace.errors import LoadFailed
from headrace.models import ModelId

ID = ModelId("m", 1)


def test_options():
    options = session_options(3)
    assert options.intra_op_num_threads == 3
    assert options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def opened(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    return open_session(ID, path, (), 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"not a model at all" * 9, "not an ONNX model"),
        (onnx_models.mlp()[:300], "not a whole one"),
        (onnx_models.identity(opset=99), "Opset 99 is under development"),
        (onnx_models.model([], [], [], ir=99), "Unsupported model IR version: 99"),
        (onnx_models.one_node("Foo", [onnx_models.tensor("x")], onnx_models.tensor("y")), "No Op registered for Foo"),
    ],
)
def test_files_that_cannot_be_loaded_say_why(tmp_path, content, words):
    with pytest.raises(LoadFailed) as caught:
        opened(tmp_path, content)
    said = str(caught.value)
    assert str(tmp_path / "model.onnx") in said
    assert words in said
    assert "ONNXRuntimeError" not in said
    assert "onnxruntime_src" not in said


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(LoadFailed, match=r"nope\.onnx does not exist"):
        open_session(ID, tmp_path / "nope.onnx", (), 1)
    with pytest.raises(LoadFailed, match="is not a file"):
        open_session(ID, tmp_path, (), 1)


def test_a_provider_that_is_not_there_fails_naming_the_model(tmp_path):
    with pytest.raises(LoadFailed, match=r"model m/1: execution provider 'openvino'.*onnxruntime-openvino"):
        open_session(ID, onnx_models.save(onnx_models.mlp(), tmp_path), ("openvino",), 1)


def test_a_provider_that_the_runtime_drops_silently_fails_if_asked_for(tmp_path, monkeypatch, caplog):
    """As onnxruntime-gpu does on a machine without CUDA: it lists CUDA, and makes a session without it."""
    path = onnx_models.save(onnx_models.mlp(), tmp_path)
    listed = ("CUDAExecutionProvider", "CPUExecutionProvider")
    create = sessions.runtime.InferenceSession

    def without_cuda(path, options, providers, enable_fallback):
        return create(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(sessions.runtime, "available_providers", lambda: listed)
    monkeypatch.setattr(sessions.runtime, "InferenceSession", without_cuda)
    with pytest.raises(LoadFailed, match="CUDAExecutionProvider was asked for and ONNX Runtime could not start it"):
        open_session(ID, path, ("cuda",), 1)
    assert open_session(ID, path, (), 1).get_providers() == ["CPUExecutionProvider"]
    assert "CUDAExecutionProvider could not be started, running without it" in caplog.text


def test_a_provider_that_raises_gives_way_to_the_cpu_only_if_nobody_asked(tmp_path, monkeypatch, caplog):
    path = onnx_models.save(onnx_models.mlp(), tmp_path)
    create = sessions.runtime.InferenceSession

    def cuda_raises(path, options, providers, enable_fallback):
        if len(providers) > 1:
            raise RuntimeError("no CUDA-capable device is detected")
        return create(path, options, providers=providers)

    monkeypatch.setattr(sessions.runtime, "available_providers", lambda: ("CUDAExecutionProvider",))
    monkeypatch.setattr(sessions.runtime, "InferenceSession", cuda_raises)
    with pytest.raises(LoadFailed, match="cannot be loaded for CUDAExecutionProvider: no CUDA-capable device"):
        open_session(ID, path, ("cuda",), 1)
    assert open_session(ID, path, (), 1).get_providers() == ["CPUExecutionProvider"]
    assert "trying the CPU" in caplog.text
