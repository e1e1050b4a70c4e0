"""Sessions on shared weights: the same model, one file for all, and never a failed load for it."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_models
import pytest
from onnx import helper
from onnx_models import constant, model, tensor

from executor import prepared
from executor.cache import Cache, why_not
from executor.metadata import read_signature
from executor.runners import runner_for
from executor.samples import samples
from executor.sessions import open_session
from headrace.models import ModelId

ID = ModelId("m", 1)
EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "models").glob("*/1/model.onnx"))


@pytest.fixture
def folder(tmp_path):
    assert why_not(tmp_path / "cache") is None
    return tmp_path / "cache"


@pytest.fixture
def cache(folder):
    return Cache(folder, 1 << 30)


@pytest.fixture
def small(monkeypatch):
    """Models of any size are worth it."""
    monkeypatch.setattr(prepared, "LEAST_BYTES", 0)


def opened(path, cache, sessions=2, threads=1, asked=("cpu",)):
    return open_session(ID, path, asked, threads, cache, sessions)


def kept(folder):
    return [path for path in folder.iterdir() if path.is_dir()]


def convolutions():
    """image FP32 [n, 3, 16, 16] -> y FP32 [n, 5]: blocked layouts, a folded batch normalisation, a pool."""
    rng = np.random.default_rng(3)
    norm = [constant(f"bn{i}", rng.random(32) + 0.5) for i in range(4)]
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", *(each.name for each in norm)], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "w2"], ["d"], group=32),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "bias"], ["y"]),
    ]
    weights = {"w1": (32, 3, 3, 3), "w2": (32, 1, 3, 3), "w3": (32, 5), "bias": (5,)}
    constants = [constant(name, rng.normal(size=shape)) for name, shape in weights.items()]
    return model(
        nodes, [tensor("image", "FP32", ("n", 3, 16, 16))], [tensor("y", "FP32", ("n", 5))], [*constants, *norm]
    )


def transformer():
    """x FP32 [n, 8, 64] -> y: self-attention, residual and layer normalisation, which are fused."""
    rng = np.random.default_rng(4)
    weights = [constant(name, rng.normal(size=(64, 64)) / 8) for name in ("q", "k", "v", "o")]
    nodes = [
        *(helper.make_node("MatMul", ["x", name], [f"{name}x"]) for name in ("q", "k", "v")),
        helper.make_node("Transpose", ["kx"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["qx", "kt"], ["scores"]),
        helper.make_node("Mul", ["scores", "scale"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "vx"], ["mixed"]),
        helper.make_node("MatMul", ["mixed", "o"], ["out"]),
        helper.make_node("Add", ["x", "out"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "ones", "zeros"], ["y"], axis=-1),
    ]
    more = [constant("scale", 0.125), constant("ones", np.ones(64)), constant("zeros", np.zeros(64))]
    shape = ("n", 8, 64)
    return model(nodes, [tensor("x", "FP32", shape)], [tensor("y", "FP32", shape)], [*weights, *more])


def quantised():
    """x FP32 [n, 64] -> y FP32 [n, 32]: weights of 8 bits, activations quantised on the way."""
    rng = np.random.default_rng(5)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z", "wz"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["s", "ws"], ["scale"]),
        helper.make_node("Mul", ["f", "scale"], ["y"]),
    ]
    weights = [constant("w", rng.integers(-99, 99, (64, 32)), np.int8), constant("wz", 0, np.int8)]
    scale = constant("ws", 0.02)
    return model(nodes, [tensor("x", "FP32", ("n", 64))], [tensor("y", "FP32", ("n", 32))], [*weights, scale])


def branches():
    """x FP32 [n, 64] -> y: weights inside the branches of an If."""
    rng = np.random.default_rng(6)

    def branch(name):
        weights = constant(f"w_{name}", rng.normal(size=(64, 64)))
        node = helper.make_node("MatMul", ["x", f"w_{name}"], [f"y_{name}"])
        return helper.make_graph([node], name, [], [tensor(f"y_{name}", "FP32", ("n", 64))], [weights])

    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "half"], ["high"]),
        helper.make_node("If", ["high"], ["y"], then_branch=branch("then"), else_branch=branch("else")),
    ]
    return model(
        nodes, [tensor("x", "FP32", ("n", 64))], [tensor("y", "FP32", ("n", 64))], [constant("half", np.float32(0.5))]
    )


def half_precision():
    """x FP16 [n, 64] -> y FP16: casts that the runtime puts in."""
    weights = constant("w", np.random.default_rng(7).normal(size=(64, 64)), np.float16)
    shape = ("n", 64)
    return onnx_models.one_node("MatMul", [tensor("x", "FP16", shape)], tensor("y", "FP16", shape), [weights])


MODELS = [
    convolutions,
    transformer,
    quantised,
    branches,
    half_precision,
    onnx_models.mlp,
    onnx_models.attention_axis0,
    onnx_models.gather,
    onnx_models.two_inputs_with_default,
    onnx_models.bfloat16_sum,
    onnx_models.scalar,
    onnx_models.unknown_ranks,
]


def signature_and_answer(path, session):
    signature = read_signature(ID, path, session, {}, {"x": 2})
    return signature, runner_for(ID, session, signature)(samples(signature, 3, 8))


def check_same(path, cache, folder):
    signature, expected = signature_and_answer(path, open_session(ID, path, ("cpu",), 1))
    for threads in (1, 2):
        again, found = signature_and_answer(path, opened(path, cache, threads=threads))
        assert again == signature
        for name, array in expected.items():
            assert found[name].dtype == array.dtype
            if array.dtype.kind == "f":
                np.testing.assert_allclose(found[name], array, rtol=1e-6, atol=1e-6)
            else:
                np.testing.assert_array_equal(found[name], array)
    assert len(kept(folder)) == 1, "with one thread as with two"


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_signature_and_answers_are_the_plain_sessions(make, tmp_path, cache, folder, small):
    check_same(onnx_models.save(make(), tmp_path), cache, folder)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parts[-3])
def test_example_models_answer_the_same(path, cache, folder, small):
    check_same(path, cache, folder)


def test_weights_are_mapped_from_the_file_of_the_cache(tmp_path, cache, folder):
    path = onnx_models.save(onnx_models.mlp(1024, 8192), tmp_path)
    assert path.stat().st_size > prepared.LEAST_BYTES
    sessions = [opened(path, cache) for _ in range(2)]
    (entry,) = kept(folder)
    maps = Path("/proc/self/maps").read_text()
    assert sum(str(entry / "weights.bin") in line for line in maps.splitlines()) >= len(sessions)


def test_small_models_leave_no_files(tmp_path, cache, folder):
    opened(onnx_models.save(onnx_models.mlp(), tmp_path), cache)
    assert not list(folder.iterdir())


def test_a_lone_session_uses_what_is_there_and_makes_nothing(tmp_path, cache, folder, small):
    path = onnx_models.save(onnx_models.mlp(), tmp_path)
    opened(path, cache, sessions=1)
    assert not list(folder.iterdir())
    opened(path, cache, sessions=2)
    (entry,) = kept(folder)
    os.utime(entry / "manifest.json", (1, 1))
    opened(path, cache, sessions=1)
    assert (entry / "manifest.json").stat().st_mtime > 1


def with_weights_beside(tmp_path):
    """A model whose weights are in a file of their own: a session on it, and on its entry, reads that."""
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    proto = onnx.load_from_string(onnx_models.mlp())
    onnx.save_model(proto, folder / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    return folder / "model.onnx"


def test_weights_beside_the_model_are_part_of_it(tmp_path, cache, folder, small):
    path = with_weights_beside(tmp_path)
    check_same(path, cache, folder)
    weights = path.with_name("w.bin")
    changed = bytearray(weights.read_bytes())
    changed[3] ^= 1
    weights.write_bytes(changed)
    _, expected = signature_and_answer(path, open_session(ID, path, ("cpu",), 1))
    _, found = signature_and_answer(path, opened(path, cache))
    np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-6)
    assert len(kept(folder)) == 2


def test_a_model_that_changes_while_it_is_prepared_is_not_kept(tmp_path, cache, folder, small):
    path = onnx_models.save(onnx_models.mlp(), tmp_path)

    def changing(model_file, options):
        session = object()
        path.write_bytes(onnx_models.mlp(classes=9))
        return session

    assert prepared.open_prepared(ID, path, cache, 2, prepared.runtime.SessionOptions, changing) is None
    assert not kept(folder)


def test_a_graph_that_cannot_be_saved_is_loaded_the_plain_way(tmp_path, cache, folder, small, monkeypatch):
    path = onnx_models.save(onnx_models.mlp(), tmp_path)
    create, saved = prepared.runtime.InferenceSession, []

    def with_compiled_nodes(file, options, **rest):
        if options.optimized_model_filepath:
            saved.append(file)
            raise RuntimeError("Unable to serialize model as it contains compiled nodes.")
        return create(file, options, **rest)

    monkeypatch.setattr(prepared.runtime, "InferenceSession", with_compiled_nodes)
    for _ in range(4):
        assert opened(path, cache).get_providers() == ["CPUExecutionProvider"]
    assert not kept(folder)
    assert len(saved) == 2, "not tried for ever"


def test_an_entry_that_the_runtime_refuses_is_done_without(tmp_path, cache, small, monkeypatch, caplog):
    path = onnx_models.save(onnx_models.mlp(), tmp_path)
    create = prepared.runtime.InferenceSession

    def refusing(file, options, **rest):
        if str(cache.folder) in file:
            raise RuntimeError("no")
        return create(file, options, **rest)

    monkeypatch.setattr(prepared.runtime, "InferenceSession", refusing)
    opened(path, cache)
    assert "prepared weights cannot be opened" in caplog.text


def test_what_has_no_room_is_not_prepared(tmp_path, folder, small):
    path = onnx_models.save(onnx_models.mlp(), tmp_path)
    opened(path, Cache(folder, path.stat().st_size))
    assert not list(folder.iterdir())


def test_what_cannot_be_read_beside_the_model_or_is_gone_fails_no_load(tmp_path, cache, folder, small):
    path = onnx_models.save(onnx_models.mlp(), tmp_path)
    path.with_name("dangling").symlink_to(tmp_path / "nothing")
    opened(path, cache)
    assert not list(folder.iterdir())
    path.with_name("dangling").unlink()
    folder.rmdir()
    opened(path, cache)


@pytest.mark.parametrize("version", ["1.20.1", "1.31.0"])
def test_runtimes_that_were_not_tried_stay_plain(tmp_path, cache, folder, small, monkeypatch, version):
    monkeypatch.setattr(prepared.runtime, "VERSION", version)
    opened(onnx_models.save(onnx_models.mlp(), tmp_path), cache)
    assert not list(folder.iterdir())


def test_another_runtime_build_or_processor_is_another_entry(tmp_path, cache, folder, small, monkeypatch):
    path = onnx_models.save(onnx_models.mlp(), tmp_path)
    opened(path, cache)
    monkeypatch.setattr(prepared.runtime, "BUILD", "another build")
    opened(path, cache)
    monkeypatch.setattr(prepared, "processor", lambda: "another processor")
    opened(path, cache)
    assert len(kept(folder)) == 3
    monkeypatch.setattr(prepared, "processor", lambda: None)
    opened(path, cache)
    assert len(kept(folder)) == 3


FULL_DISK = """
import logging, resource, sys
from pathlib import Path
from executor import prepared
from executor.cache import Cache
from executor.sessions import open_session
from headrace.models import ModelId

logging.basicConfig(level=logging.INFO, stream=sys.stdout)
prepared.LEAST_BYTES = 0
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
session = open_session(ModelId("m", 1), Path(sys.argv[1]), ("cpu",), 1, Cache(Path(sys.argv[2]), 1 << 30), 2)
print(session.get_providers())
"""


def test_a_disk_that_fills_up_leaves_a_plain_session_and_nothing_else(tmp_path, folder):
    path = onnx_models.save(onnx_models.mlp(), tmp_path)
    environment = os.environ | {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    command = [sys.executable, "-c", FULL_DISK, str(path), str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert "could not save them" in said
    assert said.endswith("['CPUExecutionProvider']\n")
    assert not kept(folder)


def test_the_log_says_what_was_prepared(tmp_path, cache, small, caplog):
    path = onnx_models.save(onnx_models.mlp(), tmp_path)
    with caplog.at_level(logging.INFO, "headrace.executor"):
        opened(path, cache)
        opened(path, cache)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("m/1: weights prepared for sharing in ")
