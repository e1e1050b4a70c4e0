"""The pasteable requests of README.md: they are what the scripts make, and are answered as the README shows."""

import json
import re

import graph
import make_digits
import make_language
import make_penguins
import numpy as np
import onnx
import pytest

from headrace.datatypes import BY_NAME, BY_NUMPY

SCRIPTS = {"digits": make_digits, "language": make_language, "penguins": make_penguins}
README = (graph.HERE / "README.md").read_text(encoding="utf-8")
SHOWN = re.compile(
    r"^curl -s http://localhost:8000/v2/models/(\w+)/infer -d (\S+)\n```\n```json\n(.*)\n```$", re.MULTILINE
)
EXAMPLES = {name: (body, json.loads(answer)) for name, body, answer in SHOWN.findall(README)}


def request(name):
    return json.loads((graph.HERE / "requests" / f"{name}.json").read_text())


def array(tensor):
    return np.array(tensor["data"], BY_NAME[tensor["datatype"]].numpy).reshape(tensor["shape"])


def answer(name):
    model = onnx.load(graph.HERE / "models" / name / "1" / "model.onnx")
    return graph.run(model, {tensor["name"]: array(tensor) for tensor in request(name)["inputs"]})


@pytest.mark.parametrize("name", SCRIPTS)
def test_request_file_is_what_the_script_makes(name):
    assert request(name) == json.loads(json.dumps(SCRIPTS[name].request()))


@pytest.mark.parametrize("name", SCRIPTS)
def test_readme_shows_the_true_answer(name):
    outputs = answer(name)
    asked = [wish["name"] for wish in request(name).get("outputs", ())] or list(outputs)
    _, shown = EXAMPLES[name]
    assert (shown["model_name"], shown["model_version"]) == (name, "1")
    assert [output["name"] for output in shown["outputs"]] == asked
    for output in shown["outputs"]:
        found = outputs[output["name"]]
        assert (output["datatype"], output["shape"]) == (BY_NUMPY[found.dtype].value, list(found.shape))
        if found.dtype == np.float32:
            np.testing.assert_allclose(found, array(output), rtol=1e-3)
        else:
            assert found.ravel().tolist() == output["data"]


def test_readme_pastes_the_digit_itself_and_the_others_by_file():
    bodies = {name: body for name, (body, _) in EXAMPLES.items()}
    digits = bodies.pop("digits")
    assert json.loads(digits.strip("'")) == request("digits")
    assert bodies == {name: f"@examples/requests/{name}.json" for name in ("language", "penguins")}


def test_example_digit_is_a_held_out_seven():
    _, held_out, _, digits = make_digits.split()
    (row,) = np.flatnonzero((held_out == array(request("digits")["inputs"][0])).all(axis=1))
    assert digits[row] == 7
    assert answer("digits")["digit"].tolist() == [7]


def test_example_text_is_finnish_and_in_no_half_of_the_data():
    (tensor,) = request("language")["inputs"]
    text = bytes(tensor["data"]).decode()
    assert not any(text in known for half in make_language.split() for known, _ in half)
    assert answer("language")["language"].tolist() == ["Finnish"]


def test_example_penguins_are_one_of_each_species():
    assert answer("penguins")["species"].tolist() == list(make_penguins.SPECIES)
