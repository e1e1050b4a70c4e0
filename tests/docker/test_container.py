"""The image as its operator runs it: read-only, without capabilities, with limits, and ended in every way."""

import contextlib
import re
import shutil
import subprocess
import threading
import time

import numpy as np
import onnx_models
import pytest
import tritonclient.grpc as triton
from containers import DEADLINE_S, ENGINE, EXPECTED, INFER, REQUEST, engine, running
from verified_load import Load

pytestmark = pytest.mark.slow


@pytest.fixture
def container(image, digits):
    with running(digits, environment={"HEADRACE_MODEL_CONTROL_MODE": "poll"}) as container:
        yield container


def test_it_answers_over_http_and_grpc(container):
    assert container.infer() == EXPECTED
    client = triton.InferenceServerClient(f"127.0.0.1:{container.grpc_port}")
    pixels = triton.InferInput("pixels", [1, 64], "FP32")
    pixels.set_data_from_numpy(np.zeros((1, 64), np.float32))
    assert client.infer("digits", [pixels]).as_numpy("digit").shape == (1,)
    client.close()


def test_it_runs_as_nobody_with_nothing_to_write_but_its_cache(container):
    assert int(container.exec("id", "-u")) != 0
    capabilities = re.search(r"CapEff:\s+(\w+)", container.exec("cat", "/proc/1/status"))[1]
    assert int(capabilities, 16) == 0
    for place in ("/", "/opt/headrace", "/models", "/usr/local/bin", "/etc"):
        assert "Read-only file system" in container.exec("touch", f"{place}/x", check=False), place
    container.exec("touch", "/cache/x")


def test_the_engines_health_check_follows_ready(container):
    assert int(container.inspect("{{len .Config.Healthcheck.Test}}") or 0) or "podman" in ENGINE[0]
    assert container.exec("headrace", "health") == ""
    if "podman" in ENGINE[0]:
        engine("healthcheck", "run", container.name)


def test_a_new_version_on_the_mounted_volume_is_served_without_a_failed_request(container, digits):
    with Load(container.url, INFER, REQUEST, EXPECTED) as load:
        load.until(20)
        part = digits / "digits" / "part"
        shutil.copytree(digits / "digits" / "1", part)
        part.rename(digits / "digits" / "2")
        container.wait_for("digits/2 is ready")
        container.wait_for("digits/1 is unloaded")
        load.until(20)
    assert load.right > 40
    assert (load.wrong, load.broken) == ([], [])


def test_a_replica_that_is_killed_inside_is_replaced(container):
    before = container.python(REPLICAS).split()
    container.python(f"import os; os.kill({before[0]}, 9)")
    container.wait_for(r"replica \d is back after")
    assert container.infer() == EXPECTED


def test_process_1_is_the_supervisor_and_reaps_what_is_left_to_it(container):
    assert b"headrace" in container.exec("cat", "/proc/1/cmdline").encode()
    container.exec("sh", "-c", "sh -c 'sleep 0.2' & sh -c 'sleep 0.3' & exit 0")
    container.until(lambda: container.python(ZOMBIES).strip() == "0", "no zombie")
    assert container.infer() == EXPECTED


def test_it_stops_under_load_within_the_grace_period_and_answers_everything(image, digits, capsys):
    with running(digits) as container:
        with Load(container.url, INFER, REQUEST, EXPECTED, clients=6) as load:
            load.until(20)
            code, seconds = container.stop(grace_s=20)
            load.until_closed()
        with capsys.disabled():
            print(f"\nstop under load: {seconds:.2f} s, exit code {code}, {load.right} answers, none lost")
        assert code == 0, container.logs()
        assert (load.wrong, load.broken) == ([], [])
        assert seconds < 20


def test_sigterm_before_it_is_ready_ends_it_at_once(image, digits):
    """The kernel drops a signal for process 1 that it has no handler for; the engine would wait, and then kill."""
    with running(digits, ready=False) as container:
        code, seconds = container.stop(grace_s=20)
    assert code == 0
    assert seconds < 10


@pytest.mark.parametrize(
    ("cores", "mebibytes", "replicas", "threads"), [(1, 512, 1, 1), (2, 512, 2, 1), (2, 320, 1, 2)]
)
def test_it_takes_what_its_box_has_not_what_the_machine_has(image, digits, cores, mebibytes, replicas, threads):
    with running(digits, "--cpus", str(cores), memory=f"{mebibytes}m") as container:
        logs = container.logs()
        assert f"usable: {cores} cores, {mebibytes} MiB of memory" in logs
        assert f"starting replicas: {replicas}" in logs
        assert len(container.python(REPLICAS).split()) == replicas
        assert container.infer() == EXPECTED
        assert f"1 session(s) of {threads} thread(s)" in logs


def test_a_replica_that_is_killed_at_the_memory_limit_is_replaced_and_the_log_says_so(image, digits):
    onnx_models.save(onnx_models.hungry(), digits, "hungry", 1)
    with running(digits, memory="512m", environment={"HEADRACE_REPLICAS": "1"}) as container:
        ask = threading.Thread(target=_swallow, args=(container,))
        ask.start()
        container.wait_for("ended: killed by SIGKILL, most likely by the kernel at the memory limit")
        container.wait_for(r"replica 0 is back after")
        ask.join(DEADLINE_S)
        assert container.infer() == EXPECTED


def test_it_starts_without_a_network(image, digits):
    with running(digits, "--network", "none", ready=False) as container:
        container.until(lambda: container.exec("headrace", "health", check=False) == "", "healthy")
        assert container.python(READY_INSIDE.format(container.http_port)).strip() == "200"


def test_called_as_sagemaker_does_it_is_a_sagemaker_container(image, digits):
    called = {"arguments": ("serve",), "mount": "/opt/ml/model:ro", "http_port_by": "SAGEMAKER_BIND_TO_PORT"}
    with running(digits, **called) as container:
        assert container.get("/ping") == (200, b"")
        assert container.infer("/invocations") == EXPECTED


def test_from_start_to_the_first_right_answer(image, digits, capsys):
    """Printed, not judged: bench/coldstart.py is the judge, on a quiet machine."""
    since = time.monotonic()
    with running(digits, "--cpus", "2", ready=False) as container:
        started = time.monotonic() - since
        while True:
            try:
                assert container.infer() == EXPECTED
                break
            except (OSError, AssertionError):
                time.sleep(0.01)
        seconds = time.monotonic() - since
    with capsys.disabled():
        print(f"\nstart to first right answer: {seconds:.2f} s, of which the engine took {started:.2f} s")


def test_other_commands_run_in_it_too(image):
    version = subprocess.run(
        [*ENGINE, "run", "--rm", "--network", "none", image, "--version"], capture_output=True, text=True, check=True
    )
    assert version.stdout.startswith("headrace ")


REPLICAS = """
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        command, maps = open(f"/proc/{pid}/cmdline").read(), open(f"/proc/{pid}/maps").read()
    except OSError:
        continue
    if "server.pool" in command and "/board" in maps:
        print(pid)
"""
ZOMBIES = """
import os
states = [open(f"/proc/{pid}/stat").read().rpartition(") ")[2][0] for pid in os.listdir("/proc") if pid.isdigit()]
print(states.count("Z"))
"""


READY_INSIDE = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:{}/v2/models/digits/ready").status)
"""
TOO_MUCH = b'{"inputs":[{"name":"x","datatype":"INT64","shape":[1,1],"data":[400000000]}]}'
"""Elements of a tensor that is 1.6 GB."""


def _swallow(container):
    with contextlib.suppress(OSError, AssertionError):  # its replica dies of it
        container.infer("/v2/models/hungry/infer", TOO_MUCH)
