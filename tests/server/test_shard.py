"""`headrace shard plan`: from a model and a list of devices to a table, JSON or a drawing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sharded_models
from typer.testing import CliRunner

from server import shard


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A model of six layers of 256 KiB, in two versions; the later one has the configuration's stages."""
    folder = tmp_path_factory.mktemp("models")
    for version in (9, 10):
        file = folder / "m" / str(version) / "model.onnx"
        file.parent.mkdir(parents=True)
        file.write_bytes(sharded_models.layers(width=256))
    (folder / "m" / "config.yaml").write_text(
        "sharding: {devices: [cuda:0, cuda:1, cuda:2], stages: 3, micro_batch_rows: 5}"
    )
    return folder


@pytest.fixture
def file(repository):
    return repository / "m" / "10" / "model.onnx"


def planned(*arguments):
    done = CliRunner().invoke(shard.app, ["plan", *map(str, arguments)], terminal_width=200)
    return done.exit_code, done.stdout or done.stderr


def as_json(*arguments):
    code, said = planned("--json", *arguments)
    assert code == 0, said
    return json.loads(said)


def test_a_table_has_a_line_for_each_stage(file):
    code, said = planned(file, "--devices", "cpu:0,cpu:1", "--memory", "66MiB", "--stages", "2", "--rows", "4")
    lines = said.splitlines()
    assert code == 0
    assert lines[0] == (
        "m/10 in 2 stages, of 6 units; for batches of 4 rows, estimated; balance (mean by slowest) 1.00"
    )
    assert lines[1].split() == ["stage", "nodes", "weights", "peak", "limit", "ms", "link", "ms", "takes", "cut"]
    assert [line.split()[:5] for line in lines[2:]] == [
        ["0", "cpu:0", "6", "771", "KiB"],
        ["1", "cpu:1", "6", "771", "KiB"],
    ]
    assert all("66 MiB" in line for line in lines[2:])


def test_the_same_as_json(file):
    found = as_json(file, "--devices", "cpu:0,cpu:1,cpu:2", "--memory", "1MiB", "--reserve", "0")
    assert [stage["device"] for stage in found["stages"]] == ["cpu:0", "cpu:1"]
    first, second = found["stages"]
    assert first["gives"] == second["takes"]
    assert (first["comes"], second["comes"]) == ({"request": 8192}, {"0": 8192})
    assert (second["after"], first["cut_bytes"], first["limit_bytes"]) == ([0], 8192, 1 << 20)
    assert sorted([*first["nodes"], *second["nodes"]]) == list(range(12))
    assert 0 < found["balance"] <= 1


def test_what_is_not_said_comes_from_the_configuration_of_the_highest_version(repository):
    found = as_json(repository / "m")
    assert [stage["device"] for stage in found["stages"]] == ["cuda:0", "cuda:1", "cuda:2"]
    assert found["sizes"]["rows"] == 5
    found = as_json(repository / "m", "--stages", "2", "--devices", "cpu:0,cpu:1", "--rows", "1")
    assert ([stage["device"] for stage in found["stages"]], found["sizes"]["rows"]) == (["cpu:0", "cpu:1"], 1)


def test_nodes_are_measured_if_that_is_asked_for(file):
    assert as_json(file, "--devices", "cpu:0,cpu:1", "--profile")["measured"]


def test_axes_have_the_sizes_that_are_said(tmp_path):
    (tmp_path / "model.onnx").write_bytes(sharded_models.encoder())
    given = ("--devices", "cpu:0,cpu:1", "--rows", "2")
    sizes = [
        as_json(tmp_path / "model.onnx", *given, *more)["stages"][0]["comes"]["request"]
        for more in (("--free", "3"), ("--axis", "tokens=9"), ("--axis", "tokens=9", "--axis", "rows=4"))
    ]
    assert sizes == [2 * 2 * 3 * 8, 2 * 2 * 9 * 8, 2 * 4 * 9 * 8]


def test_drawings_are_written(file, tmp_path):
    code, _ = planned(
        file, "--devices", "cpu:0,cpu:1", "--mermaid", tmp_path / "plan.mmd", "--svg", tmp_path / "plan.svg"
    )
    assert code == 0
    assert (tmp_path / "plan.mmd").read_text().startswith("flowchart LR\n")
    assert (tmp_path / "plan.svg").read_text().startswith("<svg ")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ((), 2, "headrace: --devices is missing"),
        (("--devices", "cpu:0", "--memory", "8 apples"), 2, "--memory: expected a size such as 8GiB or 500MB"),
        (("--devices", "cpu:0", "--reserve", "x"), 2, "--reserve: expected a size such as 8GiB or 500MB, found 'x'"),
        (("--devices", "cudda:0"), 2, "unknown execution provider 'cudda'; did you mean 'cuda'?"),
        (("--devices", "cpu:0", "--stages", "0"), 2, "--stages: expected at least 1 or 'auto', found 0"),
        (("--devices", "cpu:0", "--svg", "/no/where.svg"), 2, "/no/where.svg cannot be written: No such file"),
        (("--devices", "cpu:0,"), 2, "expected a device such as cuda:0 or cpu:0, found ''"),
        (("--devices", "cpu:0", "--stages", "some"), 2, "--stages: expected"),
        (("--devices", "cpu:0", "--axis", "tokens"), 2, "--axis: expected NAME=N, found 'tokens'"),
        (("--devices", "cpu:0", "--memory", "66MiB", "--rows", "9000"), 1, "m/10: does not fit on 1 device of 66 MiB"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(file, arguments, code, sentence):
    found, said = planned(file, *arguments)
    assert (found, sentence in said) == (code, True), said


def test_a_configuration_that_cannot_be_read_is_wrong_usage(repository, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").write_bytes((repository / "m" / "9" / "model.onnx").read_bytes())
    for text, sentence in (("sharding: [", "config.yaml"), ("sharding: {device: 1}", "did you mean 'devices'?")):
        (tmp_path / "config.yaml").write_text(text)
        code, said = planned(tmp_path)
        assert (code, sentence in said) == (2, True), said


def test_a_folder_without_a_model_is_wrong_usage(tmp_path):
    code, said = planned(tmp_path, "--devices", "cpu:0")
    assert code == 2
    assert "expected a model's folder, with VERSION/model.onnx in it" in said


def test_the_command_is_found_by_name(file):
    command = [sys.executable, "-m", "server", "shard", "plan", str(file), "--devices", "cpu:0,cpu:1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(shard.__file__).parents[1])
    assert len(json.loads(done.stdout)["stages"]) == 2
