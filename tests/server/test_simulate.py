"""`headrace simulate`: from options to a table, over a curve from a real server, a file, or two numbers."""

import json
import re

import httpx
import pytest
from asking import INFER, add
from live import serving
from typer.testing import CliRunner

from server import cli

BODY = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 10]}]}
AFFINE = ("--affine", "4+0.25b")


def headrace(*arguments):
    return CliRunner().invoke(cli.whole(), [*map(str, arguments)])


def simulated(*arguments):
    done = headrace("simulate", "--json", "--requests", "600", *arguments)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulate") / "models"
    add(folder, 1)
    (folder / "m" / "config.yaml").write_text("batching: {max_batch_rows: 16}")
    timer = folder / "timer" / "1"
    timer.mkdir(parents=True)
    (timer / "model.onnx").write_bytes((folder / "m" / "1" / "model.onnx").read_bytes())
    (timer.parent / "config.yaml").write_text("batching: {controller: timer}")
    with serving(folder) as server:
        yield f"http://{server.url}"


def test_the_requests_that_a_server_has_seen_are_run_again(url, tmp_path):
    with httpx.Client(base_url=url) as client:
        for _ in range(60):
            client.post(INFER, json=BODY)
    found = simulated("--model", "m", "--url", url, "--times", "1,3")
    assert found["model"] == "m"
    assert re.fullmatch(r"the last \d\d requests of a replica, again and again", found["load"])
    assert found["capacity"]["batch_rows"] <= 16
    assert [each["times"] for each in found["loads"]] == [1, 3]
    once, thrice = ({row["settings"]: row for row in each["policies"]} for each in found["loads"])
    assert {"adaptive", "everything at once"} < once.keys()
    assert thrice["everything at once"]["requests_per_s"] > 1.5 * once["everything at once"]["requests_per_s"]

    kept = tmp_path / "m.json"
    kept.write_text(headrace("models", "batcher", "m", "--json", "--url", url).stdout)
    assert simulated("--curve", kept, "--times", "1,3")["loads"] == found["loads"]


def test_a_server_that_does_not_have_the_curve_says_why(url):
    for model, sentence, code in (
        ("nosuch", "model 'nosuch' is not found", 1),
        ("timer", f"{url}, model timer: the controller is 'timer', which learns no curve", 2),
    ):
        done = headrace("simulate", "--model", model, "--url", url, "--rate", 5)
        assert done.exit_code == code
        assert sentence in done.stderr


def test_without_requests_to_run_again_a_load_is_asked_for(tmp_path):
    said = {
        "controller": "adaptive",
        "limits": {"max_batch_rows": 8},
        "curve": {"sizes": [{"rows": 1, "ms": 2.0}], "slowdown": [1.0]},
        "arrivals": {"requests": 0, "clients": 0, "span_s": 0.0},
        "recording": {"open_gaps_ms": [], "thinks_ms": [], "rows": [1], "noise": [1.0]},
    }
    (tmp_path / "m.json").write_text(json.dumps(said))
    assert "this replica remembers 0 requests, too few" in headrace("simulate", "--curve", tmp_path / "m.json").stderr
    assert simulated("--curve", tmp_path / "m.json", "--rate", 100)["capacity"]["rows_per_s"] == 500


def test_the_table_has_a_line_for_each_policy_and_says_what_is_above_capacity():
    done = headrace("simulate", *AFFINE, "--rate", 2000, "--times", "1,2", "--slo-ms", 20)
    assert done.exit_code == 0
    assert done.stdout.startswith("the model does at most 3,200 rows/s in batches of 64 on one replica\n")
    first, second = done.stdout.split("2 times this traffic")
    assert [line.split("  ")[0] for line in first.splitlines()[4:-1]][:3] == [
        "settings",
        "adaptive",
        "everything at once",
    ]
    assert "falls behind" not in first
    assert second.count("falls behind") == 6
    assert "above the capacity: 4,00" in second


def test_with_timeouts_the_table_says_who_is_in_time_and_who_is_refused_on_80_columns():
    said = headrace("simulate", *AFFINE, "--rate", 6000, "--times", "1", "--timeout", 60).stdout
    assert "load: 6000 requests/s, each with a timeout of 60 ms" in said
    assert "in time refused" in said
    assert "…" not in said


SHAPES = {
    "bursts": (("--rate", 100, "--bursts", 5), "100 requests/s in bursts (5)"),
    "on-off": (("--rate", 100, "--on-off", ".05:.2"), "100 requests/s on average, 0.05 s on, 0.2 s off"),
    "step": (("--rate", 100, "--step", "2:5"), "100 requests/s, 5 times as many after 2 s"),
    "clients": (("--clients", 4, "--think", 10), "4 clients that think 10 ms"),
    "share": (("--rate", 100, "--replicas", 4), "100 requests/s, of which each of 4 replicas gets its share"),
    "sinusoid": (
        ("--rate", 100, "--sinusoid", "6"),
        "100 requests/s on average, 10 times as many at noon as at midnight, a day in 6 s",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_load_of_any_shape_is_named_and_run(shape):
    options, words = SHAPES[shape]
    found = simulated(*AFFINE, *options, "--times", "1")
    assert found["load"] == words
    rate = found["loads"][0]["policies"][0]["requests_per_s"]
    assert rate == pytest.approx({"share": 25, "clients": 255, "step": 240}.get(shape, 100), rel=0.4)


def test_a_trace_is_run_as_it_was(tmp_path):
    (tmp_path / "trace.csv").write_text("# seconds, rows\n" + "\n".join(f"{1e9 + at * 0.02},1" for at in range(50)))
    found = simulated(*AFFINE, "--trace", tmp_path / "trace.csv", "--times", "1")
    assert found["loads"][0]["policies"][0]["mean_ms"] == pytest.approx(4.25)
    assert found["loads"][0]["rows_per_s"] == pytest.approx(50, rel=0.01)


WRONG = {
    ("--rate", "5"): "expected one curve, by --model (of --url), --curve or --affine, found none",
    ("--affine", "1+1b", "--model", "m"): "found --model and --affine",
    ("--affine", "b"): "expected milliseconds of a batch of b rows such as '4+0.25b', found 'b'",
    ("--curve", "/nosuch", "--rate", "5"): "--curve: /nosuch cannot be read",
    AFFINE: "expected a load, by --rate, --clients or --trace",
    (*AFFINE, "--rate", "0"): "--rate: expected requests per second above 0, found 0",
    (*AFFINE, "--rate", "5", "--clients", "2"): "--rate and --clients: expected one of them",
    (*AFFINE, "--on-off", "1:1"): "--on-off: expected --rate with it",
    (*AFFINE, "--rate", "5", "--on-off", "1"): "--on-off: expected ON:OFF in seconds, such as 1:4, found '1'",
    (*AFFINE, "--rate", "5", "--on-off", "1:1", "--step", "1:5"): "--on-off and --step: expected one of them at most",
    (*AFFINE, "--rate", "5", "--bursts", "0.5"): "--bursts: expected the variance by mean of the counts",
    (*AFFINE, "--rate", "5", "--sinusoid", "9:.1"): "--sinusoid: expected PERIOD[:RATIO]",
    (*AFFINE, "--rate", "5", "--times", "1,x"): "--times: expected factors such as 1,2,4, found '1,x'",
    (*AFFINE, "--rate", "5", "--rows", "0"): "--rows: expected whole numbers from 1 on",
    (*AFFINE, "--clients", "0"): "--clients: expected at least 1, found 0",
    (*AFFINE, "--clients", "2", "--think", "-1"): "--think: expected milliseconds, at least 0, found -1",
    (*AFFINE, "--trace", "/nosuch"): "--trace: /nosuch cannot be read",
    ("--model", "m", "--url", "http://127.0.0.1:1"): "no server answers at http://127.0.0.1:1",
}


@pytest.mark.parametrize("options", WRONG, ids=" ".join)
def test_what_is_wrong_is_named(options):
    done = headrace("simulate", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert WRONG[options] in done.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1\nx\n", "line 2: expected a time in seconds, found 'x'"),
        ("1\nnan\n", "line 2: expected a time in seconds, found 'nan'"),
        ("2\n1\n", "expected times in order, found 1 after 2"),
        ("1\n1\n", "expected at least two different times, found 1"),
        ("", "expected at least two different times, found 0"),
    ],
)
def test_a_trace_that_is_none_is_refused_with_the_line(tmp_path, text, sentence):
    (tmp_path / "trace").write_text(text)
    done = headrace("simulate", *AFFINE, "--trace", tmp_path / "trace")
    assert (done.exit_code, sentence in done.stderr) == (2, True)
