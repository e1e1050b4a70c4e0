"""Where TensorRT keeps what it compiles. TensorRT itself is not here: what it is told is."""

from pathlib import Path

import onnx_models
import pytest

from executor.cache import Cache
from executor.compiled import keeping
from executor.providers import CPU, CUDA, TENSORRT

CHOSEN = [(TENSORRT, {"device_id": "1"}), (CUDA, {}), (CPU, {})]


@pytest.fixture
def cache(tmp_path):
    (tmp_path / "cache").mkdir()
    return Cache(tmp_path / "cache", 1 << 30)


@pytest.fixture
def model(tmp_path):
    return onnx_models.save(onnx_models.mlp(), tmp_path)


def folder_of(chosen):
    options = dict(chosen)[TENSORRT]
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "True"
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"]
    return Path(options["trt_engine_cache_path"])


def test_it_is_told_a_folder_that_is_there_and_the_same_at_the_next_start(cache, model):
    chosen = keeping(CHOSEN, model, cache)
    assert folder_of(chosen).is_dir()
    assert folder_of(chosen).is_relative_to(cache.folder)
    assert dict(chosen)[TENSORRT]["device_id"] == "1"
    assert chosen[1:] == CHOSEN[1:]
    assert keeping(CHOSEN, model, cache) == chosen


def test_other_weights_of_the_same_graph_have_another_folder(cache, model):
    before = folder_of(keeping(CHOSEN, model, cache))
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    assert folder_of(keeping(CHOSEN, model, cache)) != before


def test_what_the_owner_says_counts(cache, model):
    told = {"trt_engine_cache_path": "/elsewhere", "trt_engine_cache_enable": "False"}
    options = dict(keeping([(TENSORRT, told), (CPU, {})], model, cache))[TENSORRT]
    assert told.items() <= options.items()


def test_without_a_cache_or_without_it_nothing_is_said(cache, model):
    assert keeping(CHOSEN, model, None) is CHOSEN
    on_cpu = [(CPU, {})]
    assert keeping(on_cpu, model, cache) is on_cpu
    assert not list(cache.folder.iterdir())


def test_a_cache_that_cannot_be_written_is_done_without(cache, model):
    (cache.folder / "tensorrt").touch()
    assert keeping(CHOSEN, model, cache) is CHOSEN
