"""The command as tests call it."""

import json

import typer
from typer.testing import CliRunner

from loadtest.cli import loadtest as command

APP = typer.Typer()
APP.command()(command)
QUICK = ("-d", "0.5", "--warm-up", "0.1")


def loadtest(*arguments):
    """(exit code, what was said, what was complained of)."""
    done = CliRunner().invoke(APP, list(map(str, arguments)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def run(folder, *arguments):
    """The findings of the one run, and what was said; it must have been run."""
    out = folder / "run.json"
    code, said, complaint = loadtest(*QUICK, *arguments, "--out", out)
    assert code in (0, 1), complaint
    (found,) = json.loads(out.read_text())["runs"]
    return found, said


def all_right(found):
    """Whether there were requests and nothing else than right answers."""
    return found["requests"]["sent"] == found["requests"]["ok"] > 0
