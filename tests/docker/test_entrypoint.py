"""docker/entrypoint.sh: what it runs, in which environment, for which arguments. Needs no container."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ENTRYPOINT = Path(__file__).parents[2] / "docker" / "entrypoint.sh"
SAID = ("HEADRACE_MODEL_REPOSITORY", "HEADRACE_HTTP_PORT")


@pytest.fixture
def entrypoint(tmp_path):
    """`entrypoint(*arguments, **environment)` is (arguments of headrace, its environment); a stub takes its place."""
    stub = tmp_path / "bin" / "headrace"
    stub.parent.mkdir()
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"; echo --; env\n')
    stub.chmod(0o755)

    def run(*arguments, sagemaker=False, **environment):
        script = ENTRYPOINT.read_text()
        if sagemaker:
            (tmp_path / "model").mkdir()
            script = script.replace("/opt/ml/model", str(tmp_path / "model"))
        else:
            script = script.replace("/opt/ml/model", "/no/such/folder")
        path = f"{stub.parent}:{os.environ['PATH']}"
        said = subprocess.run(
            ["sh", "-c", script, "entrypoint", *arguments],
            env={"PATH": path} | environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        given, _, seen = said.partition("--\n")
        variables = dict(line.split("=", 1) for line in seen.splitlines() if "=" in line)
        return given.splitlines(), {key: value for key, value in variables.items() if key in SAID}

    return run


def test_without_arguments_it_serves_the_mounted_models(entrypoint):
    assert entrypoint() == (["serve"], {"HEADRACE_MODEL_REPOSITORY": "/models"})


def test_what_the_user_set_stays(entrypoint):
    environment = {"HEADRACE_MODEL_REPOSITORY": "/elsewhere", "HEADRACE_HTTP_PORT": "9000"}
    assert entrypoint(**environment)[1] == environment
    assert entrypoint("serve", sagemaker=True, **environment)[1] == environment


def test_a_configuration_file_may_say_where_the_models_are(entrypoint):
    assert entrypoint(HEADRACE_CONFIG="/config.yaml")[1] == {}


def test_sagemakers_call_is_told_by_its_model_folder(entrypoint, tmp_path):
    arguments, environment = entrypoint("serve", sagemaker=True)
    assert arguments == ["serve"]
    assert environment == {"HEADRACE_MODEL_REPOSITORY": str(tmp_path / "model"), "HEADRACE_HTTP_PORT": "8080"}


def test_sagemaker_may_choose_the_port(entrypoint):
    assert entrypoint("serve", sagemaker=True, SAGEMAKER_BIND_TO_PORT="18080")[1]["HEADRACE_HTTP_PORT"] == "18080"


def test_a_signal_that_comes_while_python_starts_is_kept_for_it(tmp_path):
    """Process 1 gets none that it has no handler for: blocked, it waits."""
    stub = tmp_path / "headrace"
    stub.write_text(
        f"#!{sys.executable}\nimport signal\nprint(*map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))\n"
    )
    stub.chmod(0o755)
    said = subprocess.run(
        ["sh", ENTRYPOINT, "--version"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {int(number) for number in said.split()} == {signal.SIGINT, signal.SIGTERM}


@pytest.mark.parametrize("arguments", [("serve", "/models", "--replicas", "2"), ("--version",), ("loadtest", "a b")])
def test_other_arguments_are_headraces_own(entrypoint, arguments):
    assert entrypoint(*arguments, sagemaker=True) == (list(arguments), {})
