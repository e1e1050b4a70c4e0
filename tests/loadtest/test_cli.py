"""The command against a real server, and what it says of what cannot be run."""

import json
import os
import subprocess
import sys

import pytest
from asking import add
from live import serving


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loadtest") / "models"
    add(folder, 1)
    with serving(folder) as server:
        yield server.url


def loadtest(*arguments):
    command = [sys.executable, "-m", "server", "loadtest", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=os.environ | {"COLUMNS": "200"}
    )
    return done.returncode, done.stdout, done.stderr


QUICK = ("-d", "0.5", "--warm-up", "0.1")


def test_every_ready_model_is_asked_and_the_findings_are_written(url, tmp_path):
    out, html = tmp_path / "run.json", tmp_path / "run.html"
    code, said, _ = loadtest(url, *QUICK, "--check", "--out", str(out), "--html", str(html))
    assert code == 0
    assert "8 connections, closed loop" in said
    (run,) = json.loads(out.read_text())["runs"]
    assert run["requests"]["sent"] == run["requests"]["ok"] > 0
    assert "<svg" in html.read_text()


@pytest.mark.parametrize("form", [(), ("--json-tensors",)])
def test_two_workers_send_what_one_would(url, form, tmp_path):
    out = tmp_path / "run.json"
    code, *_ = loadtest(
        url, *QUICK, "--rate", "200", "--rhythm", "constant", "--workers", "2", "--out", str(out), *form
    )
    assert code == 0
    (run,) = json.loads(out.read_text())["runs"]
    assert run["requests"]["sent"] == run["requests"]["ok"] == 100


def test_a_sweep_names_its_knee(url):
    code, said, _ = loadtest(url, *QUICK, "--sweep", "1,2")
    assert code == 0
    assert said.count("closed loop") == 3
    assert "the knee: " in said


def test_an_assertion_that_does_not_hold_fails_the_run(url):
    code, said, _ = loadtest(url, *QUICK, "--assert", "errors==0", "--assert", "p50<1us")
    assert code == 1
    assert "errors==0: holds, found 0" in said
    assert "p50<1us: DOES NOT HOLD" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-m", "nobody"), "answered 404: model 'nobody' is not found"),
        (("--shape", "zz=4"), "no model has an input 'zz'; there are x"),
        (("--shape", "x"), "--shape x: expected NAME=8"),
        (("--rhythm", "waltz", "--rate", "5"), "--rhythm waltz: expected poisson, constant, bursts"),
        (("--sweep", "1,two"), "expected numbers of connections such as 1,2,4, found 'two'"),
        (("--assert", "p99"), "criterion 'p99': expected something like p99<50ms"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(url, arguments, said):
    code, out, error = loadtest(url, *arguments)
    assert (code, out) == (2, "")
    assert said in error
    assert error.count("\n") == 1


def test_a_server_that_is_not_there_is_one_sentence():
    code, _, error = loadtest("127.0.0.1:9")
    assert code == 2
    assert error.startswith("headrace loadtest: http://127.0.0.1:9 cannot be reached")
