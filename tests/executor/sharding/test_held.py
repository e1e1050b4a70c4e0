"""What a stage on a GPU gives, but on the CPU: I/O binding is the same there, and its addresses can be read."""

import ctypes
from pathlib import Path

import numpy as np
import onnx_models
import pytest
import sharded_models
from sharding_runs import inputs_for, session

from executor import runtime
from executor.link.arena import KEPT, Arena
from executor.link.parcel import pack, unpack
from executor.metadata import read_signature
from executor.sharding.cudart import Cudart, loaded
from executor.sharding.held import HeldRunner
from headrace.datatypes import Datatype
from headrace.models import ModelId

ID = ModelId("m", 1)
ALL = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL


@pytest.fixture
def arena():
    made = Arena.create(2 * KEPT)
    yield made
    made.close()


class MemoryAsDevice:
    """libcudart for a device whose memory is the process's own; it refuses what the real one does."""

    def __init__(self, refuses=0):
        self.pinned = []
        self.copies = []
        self.cudaSetDevice = lambda number: refuses
        self.cudaHostRegister = self._Function(lambda start, size, flags: self.pinned.append((start, start + size)))
        self.cudaMemcpy = self._Function(self._copy)
        self.cudaGetErrorString = self._Function(lambda code: b"invalid argument")

    class _Function:
        def __init__(self, call):
            self._call = call

        def __call__(self, *arguments):
            return self._call(*arguments) or 0

    def _copy(self, target, source, size, kind):
        for start, stop in self.pinned:
            if 0 < len(range(max(start, target), min(stop, target + size))) < size:
                return 1
        self.copies.append(size)
        ctypes.memmove(target, source, size)
        return None


def held(serialised):
    whole = session(serialised, Path(), ALL)
    return whole, HeldRunner(whole, read_signature(ID, Path(), whole, {}, {}), "cpu", 0)


@pytest.mark.parametrize(
    "model", [sharded_models.encoder, sharded_models.branches, sharded_models.several_outputs, sharded_models.quantised]
)
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_what_is_copied_into_an_arena_is_what_a_plain_run_gives(arena, model, rows):
    whole, runner = held(model())
    inputs = inputs_for(whole, rows)
    cudart = Cudart(MemoryAsDevice(), 0)
    parcel = pack(runner(inputs), arena, lambda target, made: cudart.to_host(target, made.address))
    found, _ = unpack(parcel, arena)
    for output, expected in zip(whole.get_outputs(), whole.run(None, inputs), strict=True):
        assert found[output.name].dtype == expected.dtype
        assert found[output.name].shape == expected.shape
        assert found[output.name].tobytes() == expected.tobytes(), output.name


@pytest.mark.parametrize("datatype", ["BF16", "FP16", "BOOL", "INT64"])
def test_a_value_keeps_its_datatype(arena, datatype):
    _, runner = held(onnx_models.identity(datatype))
    x = np.array([0, 1]).astype(Datatype(datatype).numpy)
    made = runner({"x": x})["y"]
    assert (made.shape, made.dtype, made.nbytes) == ((2,), x.dtype, x.nbytes)


def test_no_copy_goes_across_the_end_of_pinned_memory(arena):
    library = MemoryAsDevice()
    cudart = Cudart(library, 0)
    cudart.pin(arena)
    across = arena.array((1000,), np.dtype(np.float32), KEPT - 1024)
    source = np.arange(1000, dtype=np.float32)
    cudart.to_host(across, source.ctypes.data)
    assert across.tolist() == source.tolist()
    assert library.copies == [1024, 2976]
    assert not np.shares_memory(cudart.copyable(across), across)
    assert cudart.copyable(across).tolist() == source.tolist()
    within = arena.array((256,), np.dtype(np.float32), KEPT - 1024)
    assert cudart.copyable(within) is within


def test_what_cuda_says_is_passed_on():
    with pytest.raises(RuntimeError, match=r"cudaSetDevice: invalid argument \(1\)"):
        Cudart(MemoryAsDevice(refuses=1), 0)


def test_without_cuda_in_the_process_it_is_said_so():
    with pytest.raises(OSError, match="has not loaded libcudart"):
        loaded()
