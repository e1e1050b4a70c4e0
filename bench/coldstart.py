"""From the start of the process to the first right answer, and where the time goes.

`headrace serve` on two cores with the digits model, as it is installed; nothing is pinned. With an engine
(docker/with-engine.sh python bench/coldstart.py) containers too, from the engine's call on. Files are in the page
cache: the first round is not counted. See README.md.
"""

import contextlib
import http.client
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness

EXAMPLES = Path(__file__).parents[1] / "examples" / "models"
REQUEST = (EXAMPLES / "digits" / "example.json").read_bytes()
RIGHT = [7]
HTTP, GRPC = 9107, 9108
HEADRACE = os.environ.get("HEADRACE") or Path(sys.executable).with_name("headrace")
"""The command; another installation's to compare with."""
ENGINE = shlex.split(os.environ.get("ENGINE", ""))
IMAGE = os.environ.get("IMAGE", "headrace:cpu")
IMPORTED = {"command line": "server.cli", "supervisor": "server.pool.supervisor", "replica": "server.application"}
BUDGET_MS = {"command line": 200, "supervisor": 300, "replica": 600}
"""Of imports, CPU on the machine of bench/results/."""
HEAVY = 12


def cpu_s(pid):
    """What this process and its children have used so far."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    ticks = 0
    for each in (pid, *children):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(") ")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def first_answer(since, pid):
    """Seconds until the port was open, until ready, until the digit was read; CPU of the processes by then."""
    seconds = {}
    while "answer" not in seconds:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", HTTP, timeout=5)
            connection.connect()
            seconds.setdefault("open", time.monotonic() - since)
            connection.request("GET", "/v2/health/ready")
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                seconds.setdefault("ready", time.monotonic() - since)
                connection.request("POST", "/v2/models/digits/infer", REQUEST)
                document = json.load(connection.getresponse())
                assert document["outputs"][0]["data"] == RIGHT, document
                seconds["answer"] = time.monotonic() - since
                if pid:
                    seconds["CPU"] = cpu_s(pid)
            connection.close()
        assert time.monotonic() - since < 60
        time.sleep(0.005)
    return seconds


@contextlib.contextmanager
def process(repository, replicas):
    command = [HEADRACE, "serve", repository, "--host", "127.0.0.1"]
    ports = ["--http-port", str(HTTP), "--grpc-port", str(GRPC), "--replicas", str(replicas)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = subprocess.Popen([*command, *ports], **quiet)
    try:
        yield started.pid
    finally:
        started.terminate()
        started.wait()


@contextlib.contextmanager
def container(repository, replicas):
    variables = {"HEADRACE_HTTP_PORT": HTTP, "HEADRACE_GRPC_PORT": GRPC, "HEADRACE_REPLICAS": replicas}
    said = itertools.chain(*(("--env", f"{name}={value}") for name, value in variables.items()))
    box = ["--network", "host", "--cpus", "2", "--memory", "1g", "--read-only", "--cap-drop", "ALL"]
    name = "headrace-coldstart"
    subprocess.run([*ENGINE, "rm", "--force", "--volumes", name], capture_output=True, check=False)
    run = ["run", "--detach", "--name", name, *box, *said, "--volume", f"{repository}:/models:ro", IMAGE]
    subprocess.run([*ENGINE, *run], check=True, stdout=subprocess.DEVNULL)
    try:
        yield None
    finally:
        subprocess.run([*ENGINE, "rm", "--force", "--volumes", name], check=True, stdout=subprocess.DEVNULL)


def measure(way, repository, replicas):
    since = time.monotonic()
    with way(repository, replicas) as pid:
        return first_answer(since, pid)


def imports(module):
    """(CPU in ms of importing it, the modules that take most of it by themselves)."""
    code = f"import time; since = time.process_time(); import {module}; print((time.process_time() - since) * 1e3)"
    cpu_ms = float(subprocess.check_output([sys.executable, "-c", code], text=True))
    table = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {module}"], capture_output=True, text=True, check=True
    ).stderr
    own = {name: int(us) / 1e3 for us, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", table)}
    packages = {}
    for name, ms in own.items():
        package = name.partition(".")[0]
        packages[package] = packages.get(package, 0.0) + ms
    return cpu_ms, sorted(packages.items(), key=lambda each: -each[1])[:HEAVY]


def main():
    parser = harness.parser(__doc__, rounds=7, seconds=0)
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # installed code is compiled: here by the round that is not counted
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        repository = Path(folder, "models")
        shutil.copytree(EXAMPLES / "digits", repository / "digits")
        Path(folder).chmod(0o755)
        cells = {
            f"{name}, {replicas} replica{'s'[: replicas > 1]}": (way, replicas)
            for name, way in (("process", process), *((("container", container),) if ENGINE else ()))
            for replicas in (1, 2)
        }
        for number in range(given.rounds + 1):
            found = {}
            for cell, (way, replicas) in cells.items():
                for what, seconds in measure(way, repository, replicas).items():
                    found[f"{cell}: {what}, s"] = seconds
            for name, module in IMPORTED.items():
                found[f"imports of the {name}, ms"], heavy = imports(module)
                if number == given.rounds:
                    shares = ", ".join(f"{package} {ms:.0f}" for package, ms in heavy)
                    print(f"{name}: budget {BUDGET_MS[name]} ms; by package, each once: {shares}")
            if number:
                rounds.append(found)
    print(f"load average {os.getloadavg()[0]:.1f}, {len(rounds)} rounds")
    harness.report("coldstart", rounds, {cell: lambda each, cell=cell: each[cell] for cell in rounds[0]}, given)


if __name__ == "__main__":
    main()
