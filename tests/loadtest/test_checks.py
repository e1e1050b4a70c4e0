"""Answers that are expected, from files and from the model itself; inputs from files, in a seeded order."""

import json
import subprocess
import sys

import numpy as np
import onnx_models
import pytest
from asking import add, times
from live import serving
from loadtest_command import QUICK, all_right, loadtest, run

from headrace.datatypes import Datatype
from loadtest.shots import Wish, models_for, shots_for
from loadtest.target import Model, Tensor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checks")


@pytest.fixture(scope="module")
def url(folder):
    add(folder / "models", 2)
    onnx_models.save(times(7), folder / "models", "seven", 1)
    with serving(folder / "models") as server:
        yield server.url


@pytest.fixture(scope="module")
def twice(folder):
    return onnx_models.save(times(2), folder, "twice", 1)


def test_a_server_of_the_same_file_is_right_and_of_another_one_wrong(url, twice, tmp_path):
    right, _ = run(tmp_path, url, "-m", "m", "--check", twice)
    wrong, _ = run(tmp_path, url, "-m", "seven", "--check", twice)
    assert all_right(right)
    assert wrong["requests"]["wrong"] == wrong["requests"]["sent"] > 0


def test_each_model_has_its_own_judge(url, twice, tmp_path):
    seven = onnx_models.save(times(7), tmp_path, "seven", 1)
    ask = (url, "-m", "m=3", "-m", "seven", "--check", f"seven={seven}", "--check", twice)
    assert all_right(run(tmp_path, *ask)[0])


def test_expected_answers_stay_with_their_inputs_in_every_order(url, tmp_path):
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(json.dumps({"x": [[n, -n]], "y": [[2 * n, -2 * n]]}) + "\n" for n in range(50)))
    for seed in ("1", "2"):
        assert all_right(run(tmp_path, url, "-m", "m", "--input", lines, "--check", lines, "--seed", seed)[0])


def test_how_far_an_answer_may_be_off_can_be_said(url, tmp_path):
    data = tmp_path / "data.npz"
    np.savez(data, x=[[100, 1000]], y=[[201, 2001]])
    ask = (url, "-m", "m", "--input", data, "--check", data)
    assert run(tmp_path, *ask)[0]["requests"]["ok"] == 0
    assert all_right(run(tmp_path, *ask, "--rtol", "0.006")[0])
    assert all_right(run(tmp_path, *ask, "--rtol", "0", "--atol", "1.001")[0])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-m", "m", "--check", "{here}/data.npz"), "what is expected of which inputs? Give them with --input"),
        (("-m", "m", "--input", "{here}/data.npz", "--check", "{here}/more.npz"), "has 2 answers"),
        (("-m", "m", "--check", "{here}/none.onnx"), "none.onnx: model none/0"),
        (("-m", "m", "--check", "{here}/other.onnx"), "other.onnx does not take these inputs"),
        (("-m", "m", "--input", "{here}/a.npz", "--input", "{here}/b.npz"), "b.npz: expected one for each model"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(url, tmp_path, arguments, said):
    np.savez(tmp_path / "data.npz", x=[[1, 2]], y=[[1, 2]])
    np.savez(tmp_path / "more.npz", y=[[1, 2], [3, 4]])
    other = onnx_models.save(times(1).replace(b"\x01x", b"\x01q"), tmp_path, "other", 1)
    other.rename(tmp_path / "other.onnx")
    code, _, error = loadtest(url, *QUICK, *(each.format(here=tmp_path) for each in arguments))
    assert code == 2
    assert said in error
    assert error.count("\n") == 1


WITHOUT = """
import sys, typer
sys.modules["onnxruntime"] = None
from loadtest.cli import loadtest
typer.run(loadtest)
"""


def test_without_onnx_runtime_the_model_as_judge_is_one_sentence(url, twice):
    line = [sys.executable, "-c", WITHOUT, url, "-m", "m", "--check", twice]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("headrace loadtest: ONNX Runtime cannot be imported.")
    assert done.stderr.count("\n") == 1


class Written:
    """A target whose requests are the tensors as text."""

    url = "x"

    def model(self, name):
        return Model(name, "", (Tensor("x", Datatype.FP32, (-1,)),))

    def request(self, model, tensors):
        return f"{model.name}{tensors['x'].tolist()}"

    def decode(self, model):
        return None


def _shots(weights, wish):
    return shots_for(Written(), models_for(Written(), weights), weights, wish)


def sent(folder, seed=1, distinct=None, weights=None):
    np.save(folder / "x.npy", np.arange(20))
    wish = Wish(seed=seed, distinct=distinct, files={"": folder / "x.npy"})
    return [shot.request for shot in _shots(weights or {"a": 1.0}, wish)]


def test_the_seed_gives_the_order_of_what_is_in_a_file(tmp_path):
    one, two = sent(tmp_path, seed=1), sent(tmp_path, seed=2)
    assert one == sent(tmp_path, seed=1) != two
    assert set(one) == set(two) == {f"a[{n}.0]" for n in range(20)}
    assert sent(tmp_path, distinct=3) == one[:3]


def test_models_of_one_file_are_asked_by_their_weights(tmp_path):
    order = sent(tmp_path, weights={"a": 2.0, "b": 1.0})
    assert [request[0] for request in order[:6]] == ["a", "b", "a", "a", "b", "a"]
    assert len(set(order)) == 40
