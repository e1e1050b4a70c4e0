"""The Compose file and the chart's Deployment, run by an engine: as far as the images are here, and without bridges.

Compose: the server and the load tester of the profile, on this machine's network; Prometheus and Grafana are other
people's images. The Deployment: by `podman kube play`, less the ports and the probes, for which podman needs a bridge
and curl in the image.
"""

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from containers import DEADLINE_S, DIGITS, ENGINE, EXPECTED, Container, engine, free_ports

pytestmark = pytest.mark.slow

DOCKER = Path(__file__).parents[2] / "docker"
PROJECT = "headrace-test"


@pytest.fixture
def podman(image):
    if "podman" not in ENGINE[0]:
        pytest.skip("only podman plays Kubernetes' files")


@contextlib.contextmanager
def engines_socket(folder):
    """What DOCKER_HOST must be for Compose to talk to the engine; None where it knows by itself."""
    if "podman" not in ENGINE[0]:
        yield None
        return
    socket = folder / "engine.sock"
    service = subprocess.Popen([*ENGINE, "system", "service", "--time", "0", f"unix://{socket}"])
    try:
        end = time.monotonic() + 20
        while not socket.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        yield f"unix://{socket}"
    finally:
        service.terminate()
        service.wait()


@contextlib.contextmanager
def looked_after(container):
    """Without systemd nobody runs podman's health checks: then we do."""
    over = threading.Event()

    def look():
        while not over.wait(0.5):
            engine("healthcheck", "run", container, check=False)

    thread = threading.Thread(target=look)
    if "podman" in ENGINE[0]:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.is_alive():
            thread.join()


def test_compose_brings_the_server_up_and_the_load_tester_finds_every_answer_right(image, tmp_path):
    compose = Path(sys.executable).with_name("docker-compose")
    if not compose.exists():
        pytest.skip("docker-compose is not installed: make manifests")
    http, grpc = free_ports()
    override = tmp_path / "override.yaml"
    override.write_text(OVERRIDE.format(image=image, http=http, grpc=grpc))
    with engines_socket(tmp_path) as host:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)} | ({"DOCKER_HOST": host} if host else {})
        command = [compose, "-p", PROJECT, "-f", DOCKER / "compose.yaml", "-f", override, "--profile", "load"]

        def run(*arguments):
            return subprocess.run(
                [*command, *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=2 * DEADLINE_S,
                check=False,
            )

        try:
            up = run("up", "--detach", "--no-build", "server")
            assert up.returncode == 0, up.stdout
            with looked_after(f"{PROJECT}-server-1"):
                load = run("up", "--detach", "--no-build", "load")
            assert load.returncode == 0, load.stdout
            # Compose could wait too, but stumbles over podman when a container ends while it looks at it.
            code = engine("wait", f"{PROJECT}-load-1", timeout=DEADLINE_S)
            said = engine("logs", f"{PROJECT}-load-1")
            assert code.strip() == "0", said
            assert "wrong 0  failed 0  timed out 0" in said
        finally:
            run("down", "--volumes")


def test_the_charts_deployment_runs(podman, image, tmp_path):
    helm = pytest.importorskip("helm_python", reason="helm_python is not installed: make manifests")
    http, grpc = free_ports()
    repository, _, tag = image.partition(":")
    values = {
        "models": {"persistentVolumeClaim": "headrace-test-models"},
        "replicaCount": 1,
        "image": {"repository": f"localhost/{repository}", "tag": tag},
        "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
        "env": [
            {"name": "HEADRACE_HTTP_PORT", "value": str(http)},
            {"name": "HEADRACE_GRPC_PORT", "value": str(grpc)},
        ],
    }
    rendered = helm.Chart.load(str(DOCKER / "helm" / "headrace")).render(values, name="headrace", namespace="default")
    (deployment,) = [
        each
        for text in rendered.values()
        for each in yaml.safe_load_all(text)
        if isinstance(each, dict) and each.get("kind") == "Deployment"
    ]
    pod = deployment["spec"]["template"]["spec"]
    pod["hostNetwork"] = True
    container = pod["containers"][0]
    del container["ports"], container["startupProbe"], container["readinessProbe"], container["livenessProbe"]
    file = tmp_path / "deployment.yaml"
    file.write_text(yaml.safe_dump(deployment))

    engine("volume", "create", "headrace-test-models")
    try:
        folder = engine("volume", "inspect", "headrace-test-models", "--format", "{{.Mountpoint}}").strip()
        shutil.copytree(DIGITS, Path(folder) / "digits")
        engine("kube", "play", str(file))
        running = Container("headrace-pod-0-headrace", http, grpc)
        running.wait_ready()
        assert running.infer() == EXPECTED
        assert int(running.exec("id", "-u")) == 10001
        assert "Read-only file system" in running.exec("touch", "/x", check=False)
    finally:
        engine("kube", "down", str(file), check=False)
        engine("volume", "rm", "--force", "headrace-test-models", check=False)


OVERRIDE = """
services:
  server:
    image: {image}
    network_mode: host
    ports: !reset []
    environment: {{HEADRACE_HTTP_PORT: "{http}", HEADRACE_GRPC_PORT: "{grpc}"}}
  load:
    image: {image}
    network_mode: host
    command: [loadtest, "http://127.0.0.1:{http}", --rate, "50", --duration, "3", --check, first]
"""
