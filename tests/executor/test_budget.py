"""What cannot fit is refused with the numbers; loads take turns where memory is scarce; what was taken is known."""

import os
import threading

import onnx_models
import pytest

from executor.budget import LEAST_BYTES, Budget, weight_bytes
from executor.footprint import Use
from executor.host import Host
from executor.load import load_model
from executor.locks import locked
from headrace.config import ModelConfig
from headrace.errors import LoadFailed
from headrace.memory import GROUP, Room
from headrace.models import ModelId

ID = ModelId("m", 1)
MIB = 1 << 20


def budget(free, others=0, turn=None):
    return Budget(turn, lambda but: others, lambda device: Room(900 * MIB, free, GROUP) if device == "cpu" else None)


@pytest.mark.parametrize(("needed", "free", "others"), [(10, 10, 0), (10, 90, 80)])
def test_what_fits_is_loaded(tmp_path, needed, free, others):
    with budget(free, others).load(ID, tmp_path, {"cpu": needed}):
        pass


@pytest.mark.parametrize(("others", "free"), [(0, "99 MiB"), (60 * MIB, "39 MiB"), (500 * MIB, "0 bytes")])
def test_what_does_not_fit_is_refused_with_the_numbers(tmp_path, others, free):
    with (
        pytest.raises(LoadFailed) as refused,
        budget(99 * MIB, others).load(ID, tmp_path, {"cpu": 100 * MIB}),
    ):
        pytest.fail("it was loaded")
    assert str(refused.value) == (
        f"model m/1 does not fit: its weights have 100 MiB, and of the 900 MiB of this control group {free} are free"
    )


def test_of_a_device_about_which_nothing_is_known_nothing_is_refused(tmp_path):
    with budget(0).load(ID, tmp_path, {"cuda:0": 100 * MIB}):
        pass


def test_loads_take_turns_only_where_all_of_them_may_not_fit(tmp_path):
    turn = tmp_path / "turn"
    begun, ended = threading.Event(), threading.Event()

    def load(free):
        with budget(free, turn=turn).load(ID, tmp_path, {"cpu": 10}, sessions=4):
            begun.set()
        ended.set()

    with locked(turn):  # another process loads
        with budget(40, turn=turn).load(ID, tmp_path, {"cpu": 10}, sessions=4):
            pass
        thread = threading.Thread(target=load, args=(39,))
        thread.start()
        assert not begun.wait(0.2)
    assert ended.wait(10)
    thread.join()


def test_the_weights_are_the_models_file_and_those_that_it_names(tmp_path):
    model = onnx_models.save(onnx_models.mlp(), tmp_path)
    small = model.stat().st_size
    assert weight_bytes(model) == small
    other = model.parent / "another_model.onnx"
    with other.open("wb") as file:
        file.truncate(LEAST_BYTES)
    assert weight_bytes(model) == small, "nothing in the model speaks of it"
    model.write_bytes(model.read_bytes() + b"another_model.onnx")
    assert weight_bytes(model) == model.stat().st_size + LEAST_BYTES
    assert weight_bytes(tmp_path / "none.onnx") == 0


def test_a_model_that_is_loaded_says_what_it_takes(tmp_path):
    width = 4096  # 64 MiB of weights
    file = onnx_models.save(onnx_models.mlp(width, width, 1), tmp_path)
    host = Host(budget=Budget())
    loaded = load_model(ID, file, ModelConfig(execution_providers=("cpu",)), labels={}, host=host)
    assert all(isinstance(use, Use) and use.device == "cpu" for use in loaded.uses)
    assert sum(use.bytes for use in loaded.uses) >= 0.9 * width * width * 4


def test_a_model_for_which_there_is_no_room_is_not_loaded(tmp_path):
    file = onnx_models.save(onnx_models.mlp(), tmp_path)
    host = Host(budget=budget(file.stat().st_size - 1))
    with pytest.raises(LoadFailed, match="model m/1 does not fit"):
        load_model(ID, file, ModelConfig(execution_providers=("cpu",)), labels={}, host=host)


def test_the_turn_goes_with_its_holder(tmp_path):
    turn = tmp_path / "turn"
    with pytest.raises(ZeroDivisionError), budget(10, turn=turn).load(ID, tmp_path, {"cpu": 10}, sessions=2):
        1 / 0  # noqa: B018
    with locked(turn, wait=False) as held:
        assert held is not None
        assert os.fstat(held)
