"""The three committed model files, against the data that they were trained on and against what README.md claims."""

import graph
import make_digits
import make_language
import make_penguins
import onnx
import onnxruntime
import pytest

from headrace.datatypes import BY_ONNX

SCRIPTS = {"digits": make_digits, "language": make_language, "penguins": make_penguins}
MODELS = graph.HERE / "models"
README = (graph.HERE / "README.md").read_text(encoding="utf-8")


def committed(name):
    return onnx.load(MODELS / name / "1" / "model.onnx")


def readme_row(name):
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{name}`")]
    return [cell.strip() for cell in row.strip("|").split(" | ")]


def shown(specs):
    return "<br>".join(f"`{name}` {datatype} [{', '.join(map(str, shape))}]" for name, datatype, shape in specs)


def test_every_model_of_the_repository_has_a_script():
    assert sorted(folder.name for folder in MODELS.iterdir()) == sorted(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_committed_model_has_the_tensors_that_script_and_readme_say(name):
    session = onnxruntime.InferenceSession(MODELS / name / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    script = SCRIPTS[name]
    for args, specs in ((session.get_inputs(), script.INPUTS), (session.get_outputs(), script.OUTPUTS)):
        assert [(arg.name, BY_ONNX[arg.type].value, tuple(arg.shape)) for arg in args] == specs
        assert all(shape[0] == "batch" for _, _, shape in specs)
    assert readme_row(name)[2:4] == [shown(script.INPUTS), shown(script.OUTPUTS)]


@pytest.mark.parametrize("name", SCRIPTS)
def test_committed_model_runs_on_the_oldest_supported_runtime(name):
    model = committed(name)
    assert model.ir_version == 8
    assert {opset.domain: opset.version for opset in model.opset_import} == {"": 17, "ai.onnx.ml": 3}


@pytest.mark.parametrize(("name", "held_out"), [("digits", 450), ("language", 2048), ("penguins", 86)])
def test_committed_model_is_as_accurate_on_held_out_data_as_the_readme_says(name, held_out):
    accuracy = SCRIPTS[name].accuracy(committed(name))
    assert accuracy > 0.97
    stated, count = readme_row(name)[4].split(" of ")
    # One of the held-out rows may fall the other way on a processor that rounds differently.
    assert accuracy == pytest.approx(float(stated), abs=0.0005 + 1 / held_out)
    assert int(count.split()[0].replace(",", "")) == held_out


@pytest.mark.parametrize("name", SCRIPTS)
def test_labels_name_every_class_of_probabilities(name):
    script = SCRIPTS[name]
    assert tuple((MODELS / name / "labels.txt").read_text().splitlines()) == script.LABELS
    assert [shape[1] for output, _, shape in script.OUTPUTS if output == "probabilities"] == [len(script.LABELS)]


def test_all_files_together_stay_below_two_megabytes():
    files = [file for file in graph.HERE.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert sum(file.stat().st_size for file in files) < 2_000_000
