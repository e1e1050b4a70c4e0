"""`headrace tune`: which settings it tries, which it chooses, and that what it prints can be served."""

import onnx_models
import pytest
import typer
import yaml
from asking import times
from live import serving
from typer.testing import CliRunner

from loadtest.settings import Measured, Setting, applied, best, grid, medians, written
from loadtest.tune import tune as command

ONE, TWO, THREE = Setting(1, 1, 1), Setting(2, 1, 1), Setting(1, 1, 2)
APP = typer.Typer()
APP.command()(command)


@pytest.mark.parametrize(("cores", "count", "most"), [(1, 1, 1), (2, 4, 2), (3, 3, 2), (8, 16, 8)])
def test_all_cores_or_half_of_them_are_kept_busy(cores, count, most):
    found = grid(cores)
    assert len(found) == len(set(found)) == count
    assert {setting.cores for setting in found} <= {most, most // 2}


@pytest.mark.parametrize(
    ("measured", "chosen"),
    [
        ([Measured(ONE, 100, 9, 1), Measured(TWO, 200, 9, 5)], TWO),  # more answers
        ([Measured(ONE, 195, 9, 1), Measured(TWO, 200, 9, 5)], ONE),  # as good as as many, and faster alone
        ([Measured(ONE, 100, 9, 3)], ONE),
    ],
)
def test_the_best_has_the_most_answers_and_of_equals_the_fastest_lone_request(measured, chosen):
    assert best(measured).setting == chosen


def test_one_unlucky_round_decides_nothing():
    rounds = [Measured(ONE, 100, 9, 1), Measured(TWO, 90, 8, 2), Measured(TWO, 1, 800, 90), Measured(ONE, 102, 9, 1)]
    rounds.append(Measured(TWO, 95, 7, 2))
    assert medians(rounds) == [Measured(ONE, 101, 9, 1), Measured(TWO, 90, 8, 2)]


def test_what_was_configured_stays():
    config = {"batching": {"max_batch_rows": 4}, "instances": {"runs": 2, "count": 7}}
    text = written(config, [Measured(THREE, 100, 9, 1)], "32 connections")
    assert (
        yaml.safe_load(text) == applied(config, THREE) == config | {"instances": {"runs": 2, "count": 1, "threads": 2}}
    )
    assert "# Serve it with --replicas 1." in text
    assert "#        1         1       2       100.0" in text


@pytest.fixture
def model(tmp_path):
    onnx_models.save(times(3), tmp_path / "models", "m", 1)
    return tmp_path / "models" / "m"


def tune(*arguments):
    done = CliRunner().invoke(APP, list(map(str, arguments)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


QUICK = ("-d", "0.3", "--warm-up", "0", "-c", "4", "--rounds", "1")


@pytest.mark.slow
def test_what_is_printed_can_be_served(model):
    (model / "config.yaml").write_text("batching: {max_batch_rows: 4}\n")
    file = model.parent.parent / "found.yaml"
    code, said, _ = tune(model, *QUICK, "--try", "1x1x1", "--try", "1x2x1", "--out", file)
    assert code == 0
    assert said.count("replicas instances threads") == 2
    assert file.read_text() in said
    file.replace(model / "config.yaml")
    with serving(model.parent) as server:
        assert b'"m"' in server.get("/v2/models/m")


@pytest.mark.slow
def test_a_model_that_cannot_be_served_is_a_sentence(model):
    (model / "config.yaml").write_text("batching: {max_batch_rows: -4}\n")
    code, _, said = tune(model, *QUICK, "--try", "1x1x1")
    assert code == 2
    assert "max_batch_rows" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{here}",), "expected the folder of a model"),
        (("{here}/nowhere",), "expected the folder of a model"),
        (("{here}/m", "--try", "2x1"), "--try 2x1: expected REPLICASxINSTANCESxTHREADS"),
        (("{here}/m", "--try", "0x1x1"), "--try 0x1x1: expected REPLICASxINSTANCESxTHREADS"),
        (("{here}/t",), "has a config.pbtxt"),
        (("{here}/y",), "config.yaml: expected keys and values"),
    ],
)
def test_what_cannot_be_tuned_is_one_sentence(model, arguments, said):
    for name, file, text in (("t", "config.pbtxt", ""), ("y", "config.yaml", "[1]")):
        (model.parent / name / "1").mkdir(parents=True)
        (model.parent / name / file).write_text(text)
    code, _, error = tune(*(each.format(here=model.parent) for each in arguments))
    assert code == 2
    assert said in error
    assert error.count("\n") == 1
