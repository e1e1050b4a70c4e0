"""Containers of the image under test, by whatever engine `docker/with-engine.sh` has found.

They run as in production: read-only, without capabilities, as nobody in particular, on the network of this machine.
"""

import contextlib
import http.client
import itertools
import json
import os
import re
import shlex
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ENGINE = shlex.split(os.environ.get("ENGINE", ""))
IMAGE = os.environ.get("IMAGE", "headrace:cpu")
NONE = "needs a container engine and a built image: make container-test"
DEADLINE_S = 60
DIGITS = Path(__file__).parents[1] / "examples" / "models" / "digits"
INFER = "/v2/models/digits/infer"
REQUEST = (DIGITS / "example.json").read_bytes()
EXPECTED = [7]

_numbers = itertools.count(1)


def engine(*arguments, check=True, timeout=120):
    """What the engine prints on both streams. Raises CalledProcessError with it, unless `check` is off."""
    result = subprocess.run(
        [*ENGINE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout,
        cwd=tempfile.gettempdir(),  # conmon leaves a file `oom` where it was started
    )
    assert not check or result.returncode == 0, f"{arguments}: {result.stdout}"
    return result.stdout


def free_ports(number=2):
    """TCP ports that nobody has; somebody else may take one at any time."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [each.getsockname()[1] for each in sockets]


class Container:
    def __init__(self, name, http_port, grpc_port):
        self.name = name
        self.http_port = http_port
        self.grpc_port = grpc_port

    @property
    def url(self):
        return f"127.0.0.1:{self.http_port}"

    def get(self, path):
        """(status, body)."""
        return self._ask("GET", path)

    def infer(self, path=INFER, body=REQUEST):
        """What the model answers: the first output's data. Fails on anything but 200."""
        status, answer = self._ask("POST", path, body)
        assert status == 200, answer
        return json.loads(answer)["outputs"][0]["data"]

    def _ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.url, timeout=20)
        try:
            connection.request(method, path, body, {"content-type": "application/json"} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def logs(self):
        return engine("logs", self.name)

    def exec(self, *command, check=True):
        return engine("exec", self.name, *command, check=check)

    def python(self, code):
        """What a script prints in the container."""
        return self.exec("python", "-c", code)

    def inspect(self, what):
        return engine("inspect", "--format", what, self.name).strip()

    def running(self):
        return self.inspect("{{.State.Running}}") == "true"

    def until(self, true, what):
        """Ask until it is true; fails with the log when the container ends or the time is up."""
        end = time.monotonic() + DEADLINE_S
        while not (answer := true()):
            assert time.monotonic() < end, f"{what}: not within {DEADLINE_S} s\n{self.logs()}"
            assert self.running(), f"{what}: the container ended\n{self.logs()}"
            time.sleep(0.02)
        return answer

    def wait_ready(self):
        self.until(self.is_ready, "ready")

    def wait_for(self, pattern):
        return self.until(lambda: re.search(pattern, self.logs()), pattern)

    def is_ready(self):
        try:
            return self.get("/v2/health/ready")[0] == 200
        except OSError:
            return False

    def stop(self, grace_s=30):
        """(exit code, seconds it took): SIGTERM, and SIGKILL when the grace is over."""
        since = time.monotonic()
        engine("stop", "--time", str(grace_s), self.name)
        return int(self.inspect("{{.State.ExitCode}}")), time.monotonic() - since


@contextlib.contextmanager
def running(
    repository,
    *options,
    arguments=(),
    mount="/models:ro",
    environment=(),
    ready=True,
    memory="1g",
    http_port_by="HEADRACE_HTTP_PORT",
):
    """A hardened container that serves `repository`, of which nothing is left at the end."""
    http_port, grpc_port = free_ports()
    container = Container(f"headrace-test-{os.getpid()}-{next(_numbers)}", http_port, grpc_port)
    variables = {http_port_by: http_port, "HEADRACE_GRPC_PORT": grpc_port, "HEADRACE_HOST": "127.0.0.1"}
    said = [("--env", f"{name}={value}") for name, value in (variables | dict(environment)).items()]
    hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", memory]
    if "podman" in ENGINE[0]:
        hardened.append("--read-only-tmpfs=false")  # as docker: no writable /tmp comes with it
    network = [] if "--network" in options else ["--network", "host"]
    engine(
        *("run", "--detach", "--name", container.name, *network, *hardened, *itertools.chain(*said)),
        *("--volume", f"{repository}:{mount}", *options, IMAGE, *arguments),
    )
    try:
        if ready:
            container.wait_ready()
        yield container
    finally:
        engine("rm", "--force", "--volumes", container.name, check=False)
