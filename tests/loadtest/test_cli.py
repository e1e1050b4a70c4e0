"""The command against a real server, and what it says of what cannot be run."""

import json
import os
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree

import httpx
import pytest
from asking import add
from live import serving
from loadtest_command import QUICK, loadtest


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loadtest") / "models"
    add(folder, 1)
    with serving(folder) as server:
        yield server


@pytest.fixture
def url(server):
    return server.url


def test_every_ready_model_is_asked_and_the_findings_are_written(url, tmp_path):
    out, html = tmp_path / "run.json", tmp_path / "run.html"
    code, said, _ = loadtest(url, *QUICK, "--check", "first", "--out", str(out), "--html", str(html))
    assert code == 0
    assert "8 connections, closed loop" in said
    (run,) = json.loads(out.read_text())["runs"]
    assert run["requests"]["sent"] == run["requests"]["ok"] > 0
    assert "<svg" in html.read_text()


@pytest.mark.parametrize("load", [("-c", "3"), ("--rate", "100")])
def test_grpc_is_asked_as_http_is_and_its_answers_are_checked(server, load, tmp_path):
    out = tmp_path / "run.json"
    code, *_ = loadtest(f"grpc://{server.grpc_url}", *QUICK, *load, "--check", "first", "--out", str(out))
    assert code == 0
    (run,) = json.loads(out.read_text())["runs"]
    assert run["requests"]["sent"] == run["requests"]["ok"] > 0


@pytest.mark.parametrize("form", [(), ("--json-tensors",)])
def test_two_workers_send_what_one_would(url, form, tmp_path):
    out = tmp_path / "run.json"
    code, *_ = loadtest(
        url, *QUICK, "--rate", "200", "--rhythm", "constant", "--workers", "2", "--out", str(out), *form
    )
    assert code == 0
    (run,) = json.loads(out.read_text())["runs"]
    assert run["requests"]["sent"] == run["requests"]["ok"] == 100


def test_a_recorded_trace_is_played(url, tmp_path):
    trace, out = tmp_path / "times.txt", tmp_path / "run.json"
    trace.write_text("# seen on Monday\n" + "".join(f"{1000 + 0.01 * number}\n" for number in range(20)))
    code, said, _ = loadtest(url, *QUICK, "--rate", f"@{trace}", "--out", str(out))
    assert code == 0
    assert "100 requests/s, recorded" in said
    assert json.loads(out.read_text())["runs"][0]["requests"]["ok"] == 50


def test_rates_that_change_are_named_in_the_report(url):
    code, said, _ = loadtest(url, *QUICK, "--rate", "50..150", "--rhythm", "constant")
    assert code == 0
    assert "50..150:0.5s requests/s, constant" in said
    assert "sent 50 " in said


def test_it_is_a_command_of_headrace(url):
    line = [sys.executable, "-m", "server", "loadtest", url, *QUICK]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60)
    assert "answers/s" in done.stdout


@pytest.mark.parametrize("option", ["--out", "--html", "--junit"])
def test_a_file_that_cannot_be_written_is_one_sentence(url, option, tmp_path):
    code, said, error = loadtest(url, *QUICK, option, tmp_path / "nowhere" / "file")
    assert code == 2
    assert "answers/s" in said
    assert error == f"headrace loadtest: {tmp_path}/nowhere/file cannot be written: No such file or directory\n"


@pytest.mark.parametrize("load", [("-c", "2"), ("--rate", "0.5"), ("-c", "2", "--workers", "2")])
def test_an_interrupt_gives_the_report_so_far(url, load, tmp_path):
    out = tmp_path / "run.json"
    line = [sys.executable, "-m", "server", "loadtest", url, "-d", "60", "--warm-up", "0", *load, "--out", str(out)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_until_asked(url)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode in (0, 1)
    assert "answers/s" in said
    (run,) = json.loads(out.read_text())["runs"]
    assert run["seconds"] < 60
    assert run["requests"]["sent"] == sum(count for name, count in run["requests"].items() if name != "sent")


def wait_until_asked(url):
    def asked():
        return httpx.get(f"http://{url}/v2/models/m/stats").json()["model_stats"][0]["inference_count"]

    before, end = asked(), time.monotonic() + 30
    while asked() == before:
        assert time.monotonic() < end
        time.sleep(0.02)


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


def test_verdicts_are_written_for_ci(url, tmp_path):
    file = tmp_path / "junit.xml"
    code, _, _ = loadtest(url, *QUICK, "--sweep", "1,2", "--assert", "errors==0,p50<1us", "--junit", file)
    assert code == 1
    suite = ElementTree.parse(file).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("4", "2")
    cases = [(case.get("classname"), case.get("name"), case.find("failure") is None) for case in suite]
    first, second = "1: 1 connection, closed loop", "2: 2 connections, closed loop"
    assert cases == [(load, name, name == "errors==0") for load in (first, second) for name in ("errors==0", "p50<1us")]
    assert suite[1].find("failure").get("message").startswith("p50<1us: DOES NOT HOLD, found ")


def test_without_criteria_the_verdict_is_that_every_request_was_answered(url, tmp_path):
    file = tmp_path / "junit.xml"
    code, _, _ = loadtest(f"http://{url}/v2/no\u00e9where", *QUICK, "--junit", file)
    assert code == 1
    (case,) = ElementTree.parse(file).getroot()
    assert case.get("name") == "errors==0"
    assert "x status 404" in case.find("failure").text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-m", "nobody"), "answered 404: model 'nobody' is not found"),
        (("--shape", "zz=4"), "no model has an input 'zz'; there are x"),
        (("--rate", "5", "-m", "m/9"), "answered 404: model 'm' has no version 9"),
        (("--shape", "x"), "--shape x: expected NAME=8"),
        (("--rhythm", "waltz", "--rate", "5"), "--rhythm waltz: expected poisson, constant, bursts"),
        (("--rate", "fast"), "--rate fast: expected 500, 100..1000, "),
        (("--rate", "@/nowhere"), "--rate: /nowhere cannot be read"),
        (("--stream",), "is not gRPC"),
        (("--versus", "localhost", "--metrics", "http://x"), "--versus asks two"),
        (("--protocol", "v3"), "--protocol v3: expected v2 or v1"),
        (("--body", "/nowhere"), "--body: /nowhere cannot be read: No such file"),
        (("--sweep", "1,two"), "expected numbers of connections such as 1,2,4, found 'two'"),
        (("--assert", "p99"), "criterion 'p99': expected something like p99<50ms"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(url, arguments, said):
    code, out, error = loadtest(url, *arguments)
    assert (code, out) == (2, "")
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("127.0.0.1:9", "http://127.0.0.1:9 cannot be reached"),
        ("grpc://127.0.0.1:9", "grpc://127.0.0.1:9 answered RepositoryIndex with UNAVAILABLE"),
        ("ftp://somewhere", "'ftp://somewhere': expected http, https, grpc, found 'ftp'"),
    ],
)
def test_a_server_that_is_not_there_is_one_sentence(where, said):
    code, _, error = loadtest(where)
    assert code == 2
    assert error.startswith(f"headrace loadtest: {said}")


def test_two_servers_are_asked_in_turns_and_one_is_not_faster_than_itself(url, tmp_path):
    out = tmp_path / "run.json"
    code, said, _ = loadtest(url, "--versus", url, "-d", "0.2", "--warm-up", "0", "--rounds", "4", "--out", str(out))
    assert code == 0
    assert len(json.loads(out.read_text())["runs"]) == 8
    assert [line.split()[0] for line in said.splitlines()[1:]] == ["answers/s", "mean", "p50", "p99"]


def test_files_are_compared(url, tmp_path):
    one, two, none = tmp_path / "one.json", tmp_path / "two.json", tmp_path / "none.json"
    window = {"start_s": 0, "end_s": 1, "ok": 1000, "mean_ms": 1, "p50_ms": 1, "p99_ms": 2}
    for file, times in ((one, 1), (two, 2)):
        windows = [window | {"start_s": at, "end_s": at + 1, "ok": times * (1000 + at)} for at in range(5)]
        file.write_text(json.dumps({"runs": [{"seconds": 5, "windows": windows}]}))
    none.write_text("{}")
    code, said, _ = loadtest("compare", str(one), str(two))
    assert code == 0
    assert "2.000" in said.splitlines()[1]
    assert said.splitlines()[1].endswith("faster")
    assert said.splitlines()[2].endswith("no difference shown")
    for files, what in (
        ((one,), "expected two files"),
        ((one, none), "not written by --out"),
        ((one, tmp_path / "x"), "cannot be read"),
    ):
        code, _, error = loadtest("compare", *map(str, files))
        assert code == 2
        assert what in error
