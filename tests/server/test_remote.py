"""A real server whose repository is a bucket of a real S3 server. Version N of a model answers N times x."""

import json
import os
import subprocess
import sys
import urllib.request

import numpy as np
import onnx_models
import pytest
from live import DEADLINE_S, serving
from s3 import Bucket, Proxy, environment, s3_server

from server.pool.exit_codes import ExitCode

URL = "s3://bucket/models"


def times(factor, ballast=0):
    x, y = (onnx_models.tensor(name, "FP32", ("batch", 2)) for name in "xy")
    node = onnx_models.helper.make_node("Mul", ["x", "factor"], ["y"])
    noise = np.random.default_rng(factor).random(ballast // 4)
    constants = [onnx_models.constant("factor", factor), onnx_models.constant("ballast", noise)]
    return onnx_models.model([node], [x], [y], constants)


def answer(server, model):
    body = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 1]}]})
    request = urllib.request.Request(f"http://{server.url}/v2/models/{model}/infer", body.encode())
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)["outputs"][0]["data"][0]


@pytest.fixture(scope="module")
def s3_url():
    with s3_server() as url:
        yield url


@pytest.fixture
def line(s3_url, monkeypatch):
    proxy = Proxy(s3_url)
    for name, value in environment(proxy.url).items():
        monkeypatch.setenv(name, value)
    yield proxy
    proxy.close()


@pytest.fixture
def bucket(s3_url, line):
    bucket = Bucket(s3_url)
    yield bucket
    bucket.clear()


def put(bucket, model, version, ballast=0):
    bucket.put(f"models/{model}/{version}/model.onnx", times(version, ballast))


def test_a_bucket_is_followed_as_a_folder_is(bucket, line, tmp_path):
    put(bucket, "m", 1)
    put(bucket, "gone", 1)
    flags = ("--model-control-mode", "poll", "--repository-poll-s", "0.2", "--cache-dir", str(tmp_path / "cache"))
    with serving(URL, *flags, replicas=2) as server:
        assert answer(server, "m") == 1
        put(bucket, "m", 2)
        server.wait_for(r"m/1 is unloaded")
        assert answer(server, "m") == 2
        bucket.delete("models/gone/1/model.onnx")
        server.wait_for(r"gone/1 is unloaded")
        line.cut(after=0)
        server.wait_for(r"WARNING .*s3://bucket/models cannot be listed: .*what was copied before is served")
        assert answer(server, "m") == 2
        put(bucket, "m", 3)
        line.mend()
        server.wait_for(r"s3://bucket/models is copied again")
        server.wait_for(r"m/2 is unloaded")
        assert answer(server, "m") == 3
    assert server.log.text.count("cannot be listed") == 1
    assert "Unclosed" not in server.log.text
    assert "Traceback" not in server.log.text


def test_a_server_that_is_killed_while_it_copies_goes_on_there(bucket, line, tmp_path):
    put(bucket, "m", 1, ballast=40 << 20)
    cache = ("--cache-dir", str(tmp_path / "cache"))
    line.cut(after=30 << 20, hang=True)
    ports = ("--http-port", "0", "--grpc-port", "0", "--replicas", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "serve", URL, *ports, *cache], stderr=subprocess.DEVNULL
    )
    try:
        assert line.dead.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
    before = line.seen
    line.mend()
    with serving(URL, *cache) as server:
        assert answer(server, "m") == 1
    assert before > 25 << 20
    assert line.seen - before < 20 << 20  # of 40, three chunks of 8 were there


def test_a_server_that_is_told_to_stop_does_not_wait_for_a_silent_line(bucket, line, tmp_path):
    put(bucket, "m", 1)
    cache = ("--cache-dir", str(tmp_path / "cache"))
    with serving(URL, "--model-control-mode", "poll", "--repository-poll-s", "0.1", *cache):
        line.cut(after=0, hang=True)
        assert line.dead.wait(DEADLINE_S)
        # what follows is SIGTERM and an orderly end


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "s3://nowhere/x",
            "cannot boot: s3://nowhere/x cannot be listed: The specified bucket does not exist; stopping",
        ),
        (
            "http://127.0.0.1:9/x",
            "cannot boot: http://127.0.0.1:9/x cannot be listed: Cannot connect to host 127.0.0.1:9",
        ),
    ],
)
def test_a_remote_that_is_not_there_ends_the_start_with_its_name(url, sentence, line, tmp_path):
    ended = headrace(url, "--cache-dir", str(tmp_path))
    assert ended.returncode == ExitCode.BOOT_FAILED
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_library_is_said_before_anything_starts(tmp_path):
    blocked = tmp_path / "gcsfs.py"
    blocked.write_text("raise ImportError('not here')")
    ended = headrace("gs://bucket/models", PYTHONPATH=str(tmp_path))
    assert ended.returncode == 2
    assert ended.stderr == (
        "headrace: model repository gs://bucket/models needs a library that is not installed:"
        " pip install 'headrace[gcs]'\n"
    )


def headrace(*arguments, **variables):
    command = [sys.executable, "-m", "server", "serve", *arguments, "--http-port", "0", "--grpc-port", "0"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=DEADLINE_S, check=False, env=os.environ | variables
    )
