"""`headrace models`: the command line over a real server, and what it says where there is none."""

import json
import re
import socket
import threading
from types import SimpleNamespace

import httpx
import pytest
from asking import add, times
from live import serving
from typer.testing import CliRunner

from server import cli


def headrace(*arguments, url=None):
    """As the command would, in this process: that spares a second each."""
    done = CliRunner().invoke(cli.whole(), ["models", *map(str, arguments), *(("--url", url) if url else ())])
    return SimpleNamespace(returncode=done.exit_code, stdout=done.stdout, stderr=done.stderr)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "models"
    add(folder, 1)
    broken = folder / "broken [1]" / "1" / "model.onnx"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no model")
    return folder


@pytest.fixture(scope="module")
def url(repository):
    with serving(repository, "--model-control-mode", "explicit", replicas=2) as server:
        yield f"http://{server.url}"


@pytest.fixture(scope="module")
def nowhere():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def rows(url):
    return {
        row["name"]: (row["state"], row.get("version"))
        for row in json.loads(headrace("list", "--json", url=url).stdout)
    }


def test_models_are_loaded_listed_reloaded_and_unloaded(url, repository):
    assert rows(url)["m"] == ("UNAVAILABLE", None)
    done = headrace("load", "m", url=url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "m is loaded\n", "")
    assert rows(url)["m"] == ("READY", "1")
    table = headrace("list", url=url).stdout
    assert [word in table for word in ("model", "version", "READY", "m", "not loaded", "broken [1]")] == [True] * 6
    assert "labels" not in table
    assert re.search(r"\bm\b.*READY.*[KM]iB", table), "what it takes of memory"
    add(repository, 2)
    (repository / "m" / "config.yaml").write_text("version_labels: {stable: 2}")
    assert headrace("reload", "m", url=url).returncode == 0
    assert rows(url)["m"] == ("READY", "2")
    table = headrace("list", url=url).stdout
    assert [word in table for word in ("labels", "stable")] == [True] * 2
    (repository / "m" / "config.yaml").unlink()
    done = headrace("unload", "m", "--json", url=url)
    assert json.loads(done.stdout) == [{"name": "m", "ok": True, "error": ""}]
    assert rows(url)["m"] == ("UNAVAILABLE", None)


def test_one_model_that_is_refused_does_not_stop_the_others_and_fails_the_command(url):
    done = headrace("load", "nosuch", "m", url=url)
    assert (done.returncode, done.stdout) == (1, "m is loaded\n")
    assert done.stderr == "headrace: nosuch: model 'nosuch' is not in the repository\n"
    done = headrace("load", "nosuch", "m", "--json", url=url)
    assert done.returncode == 1
    assert [outcome["ok"] for outcome in json.loads(done.stdout)] == [False, True]


def test_local_files_can_be_loaded_instead_of_the_repository(url, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "local.onnx").write_bytes(times(5))
    files = ("--config", tmp_path / "config.json", "--file", f"5/model.onnx={tmp_path}/local.onnx")
    assert headrace("load", "local", *files, url=url).stdout == "local is loaded\n"
    assert rows(url)["local"] == ("READY", "5")
    assert headrace("unload", "local", url=url).returncode == 0
    assert "local" not in rows(url)
    done = headrace("load", "local", "--config", tmp_path / "nosuch", url=url)
    assert (done.returncode, "cannot be read" in done.stderr) == (2, True)
    assert "expected PATH=LOCAL" in headrace("load", "local", "--file", "x", url=url).stderr


def test_wait_returns_when_the_models_are_ready_and_says_what_is_missing_when_the_time_is_up(url):
    headrace("unload", "m", url=url)
    done = headrace("wait", "m", "nosuch", "--timeout", "0.5", url=url)
    assert done.returncode == 1
    assert "m (not loaded), nosuch (not in the repository)" in done.stderr
    threading.Timer(0.5, httpx.post, (f"{url}/v2/repository/models/m/load",)).start()
    done = headrace("wait", "m", "--json", url=url)
    assert done.returncode == 0
    assert ("m", "READY") in [(row["name"], row["state"]) for row in json.loads(done.stdout)]
    assert headrace("wait", url=url).returncode == 0


@pytest.mark.parametrize("command", [("list",), ("load", "m"), ("unload", "m"), ("reload", "m")])
def test_an_address_where_no_server_is_is_named(nowhere, command):
    done = headrace(*command, url=nowhere)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"headrace: no server answers at {nowhere}: ")


def test_waiting_for_a_server_that_never_comes_ends(nowhere):
    done = headrace("wait", "--timeout", "0.5", url=nowhere)
    assert done.returncode == 1
    assert f"no server answers at {nowhere}" in done.stderr


def test_the_address_may_be_in_the_environment(url, monkeypatch):
    monkeypatch.setenv("HEADRACE_URL", url)
    assert headrace("list").returncode == 0


def test_the_batcher_of_a_model_is_shown_in_words(url):
    headrace("load", "m", url=url)
    body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 10]}]}
    for _ in range(100):  # connections of their own: both replicas have some
        httpx.post(f"{url}/v2/models/m/infer", json=body)
    done = headrace("batcher", "m", url=url)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, *rest = done.stdout.splitlines()
    assert re.fullmatch(r"m/\d, replica [01] of 2 \(each request may reach another\): adaptive for mean, .*", first)
    assert second == "- nothing waits; 0 batches in flight"
    for words in ("nobody is waited for", "batches closed: ", "the curve, from", "rows/s", "everything at once"):
        assert any(words in line for line in rest), words
    said = json.loads(headrace("batcher", "m/2", "--json", url=url).stdout)
    assert (said["version"], len(said["recording"]["rows"])) == ("2", said["arrivals"]["requests"])
    done = headrace("batcher", "nosuch", url=url)
    assert (done.returncode, done.stderr) == (1, "headrace: model 'nosuch' is not found\n")
