"""Tensors from files."""

import json

import numpy as np
import pytest

from headrace.datatypes import Datatype
from loadtest.examples import examples
from loadtest.target import Tensor

X, IDS = Tensor("x", Datatype.FP32, (-1, 2)), Tensor("ids", Datatype.INT64, (-1, -1))
FIXED = Tensor("f", Datatype.FP32, (2, 2))


def shapes(found):
    return [{name: array.shape for name, array in each.items()} for each in found]


def test_an_array_is_cut_into_requests_of_rows(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(10.0).reshape(5, 2))
    found = examples(tmp_path / "x.npy", [X], 2)
    assert shapes(found) == [{"x": (2, 2)}, {"x": (2, 2)}, {"x": (1, 2)}]
    assert found[1]["x"].tolist() == [[4, 5], [6, 7]]
    assert found[0]["x"].dtype == np.float32


def test_a_stack_is_a_request_each_whatever_the_rows(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 7, 2), np.float32))
    assert shapes(examples(tmp_path / "x.npy", [X], 2)) == [{"x": (7, 2)}] * 3


def test_named_arrays_go_together_and_one_without_rows_goes_with_each(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 2)), ids=np.ones((3, 4), int), f=np.eye(2), other=1)
    found = examples(tmp_path / "d.npz", [X, IDS, FIXED], 1)
    assert shapes(found) == [{"x": (1, 2), "ids": (1, 4), "f": (2, 2)}] * 3


def test_text_is_text(tmp_path):
    np.savez(tmp_path / "t.npz", t=np.array(["a", "bé"]))
    (one, two) = examples(tmp_path / "t.npz", [Tensor("t", Datatype.BYTES, (-1,))], 1)
    assert [one["t"].tolist(), two["t"].tolist()] == [["a"], ["bé"]]


@pytest.mark.parametrize(
    "line",
    [
        {"x": [[1, 2]]},
        {"x": [1, 2], "more": 0},
        [1, 2],
        [[1, 2]],
        {"id": "7", "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]},
    ],
)
def test_a_line_is_a_request_in_each_of_its_forms(tmp_path, line):
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps(line) + "\n\n" + json.dumps(line) + "\n")
    found = examples(file, [X], 1)
    assert shapes(found) == [{"x": (1, 2)}] * 2
    assert found[0]["x"].tolist() == [[1, 2]]


def test_a_json_file_is_one_request(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"x": [[1, 2], [3, 4]]}, indent=1))
    assert shapes(examples(tmp_path / "x.json", [X], 1)) == [{"x": (2, 2)}]


def test_lines_may_have_different_lengths(tmp_path):
    (tmp_path / "x.jsonl").write_text("[[1,2,3]]\n[[4]]\n")
    assert shapes(examples(tmp_path / "x.jsonl", [IDS], 1)) == [{"ids": (1, 3)}, {"ids": (1, 1)}]


@pytest.mark.parametrize("shape", [(-1, 3, 4, 6), (-1, 4, 6, 3), (-1, 1, 4, 6), (1, 3, 4, 6)])
def test_pictures_are_made_as_the_model_takes_them(tmp_path, shape):
    image = pytest.importorskip("PIL.Image")
    for name, colour in (("b.png", (0, 0, 0)), ("a.jpg", (255, 255, 255))):
        image.new("RGB", (12, 8), colour).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    found = examples(tmp_path, [Tensor("x", Datatype.FP32, shape)], 1)
    assert [each["x"].shape for each in found] == [(1, *shape[1:])] * 2
    assert [each["x"].mean() for each in found] == [1, 0], "in the order of their names, from 0 to 1"
    (bytes_, _) = examples(tmp_path, [Tensor("x", Datatype.UINT8, shape)], 1)
    assert bytes_["x"].max() == 255


def test_pictures_without_pillow_are_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ValueError, match="pictures need Pillow: pip install pillow"):
        examples(tmp_path, [Tensor("x", Datatype.FP32, (-1, 3, 4, 6))], 1)


def save(folder, name, content):
    file = folder / name
    if name.endswith(".npz"):
        np.savez(file, **content)
    elif name.endswith(".npy"):
        np.save(file, content)
    elif content is not None:
        file.write_text(content)
    return file


@pytest.mark.parametrize(
    ("name", "content", "tensors", "said"),
    [
        ("x.npy", np.zeros(1), [X, IDS], "expected a file with names, .npz or .jsonl: the model has x, ids"),
        ("x.npz", {"y": 1}, [X], "has no 'x'; there are y"),
        ("x.npy", np.zeros((2, 3)), [X], r"'x' has shape \[1, 3\], expected \[-1, 2\]"),
        ("x.npy", np.zeros(2), [X], r"'x' has shape \[2\], expected \[-1, 2\] or a stack of these"),
        ("x.npy", np.zeros((2, 2)), [IDS], "'ids' is float64, expected INT64"),
        ("x.npy", np.zeros((0, 2)), [X], "holds nothing"),
        ("x.npz", {"x": np.zeros((3, 2)), "ids": np.zeros((2, 1), int)}, [X, IDS], "'ids' makes 2 requests, others"),
        ("x.jsonl", "{}\n", [X], "line 1 has no 'x'"),
        ("x.jsonl", "[1,2]\nx\n", [X], "line 2 is not JSON"),
        ("x.jsonl", '["a"]\n', [X], "line 1: 'x' is no FP32"),
        ("x.jsonl", '{"inputs":[{}]}\n', [X], "line 1 is no V2 request: KeyError"),
        ("x.jsonl", "", [X], "holds nothing"),
        ("x.csv", "", [X], "expected .npy, .npz, .jsonl or a folder of pictures"),
        ("x.npz", {}, [X], "has no 'x'"),
        ("nowhere.jsonl", None, [X], "cannot be read: No such file"),
    ],
)
def test_what_is_wrong_with_a_file_is_a_sentence(tmp_path, name, content, tensors, said):
    file = save(tmp_path, name, content)
    with pytest.raises(ValueError, match=said) as raised:
        examples(file, tensors, 1)
    assert str(raised.value).startswith(str(file))
