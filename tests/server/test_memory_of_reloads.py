"""What an unloaded version held really goes back to the system."""

import json
import statistics
import subprocess
import sys

import pytest

RELOADS = 50
RUNTIME_MB = 16
"""What the runtime takes once; seen: 10."""
ARENA_MB = 40
"""What the end of an arena may keep; seen: 32."""

PROGRAM = """
import asyncio, dataclasses, json, sys
from pathlib import Path
import numpy as np
import onnx_models
from executor.host import Host
from executor.memory import few_arenas
from headrace.counters import ModelCounters
from headrace.models import ModelId
from headrace.requests import InferRequest
from model_repo.manager import Manager
from model_repo.scan import scan
from server.dataplane import DataPlane
from server.servable import load_servable

reloads, repository = int(sys.argv[1]), Path(sys.argv[2])

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) / 256

async def main():
    few_arenas()
    onnx_models.save(onnx_models.mlp(1024, 4096, 8), repository, "m", 1)
    models = Manager(lambda spec: load_servable(spec, Host(), lambda id, rows: ModelCounters(rows), print))
    running = asyncio.create_task(models.run())
    plane = DataPlane(models, ModelCounters(1))
    ((id, spec),) = scan([repository]).wanted.items()
    resident = [resident_mb()]
    for reload in range(reloads):
        models.want({id: dataclasses.replace(spec, fingerprint=str(reload))})
        await models.settled()
        await plane.infer(InferRequest("m", "", {"x": np.ones((64, 1024), np.float32)}))
        models.want({})
        await models.settled()
        resident.append(resident_mb())
    await models.close()
    await running
    print(json.dumps(resident))

asyncio.run(main())
"""


@pytest.mark.slow
def test_fifty_reloads_leave_the_memory_as_it_was(tmp_path):
    paths = ":".join(path for path in sys.path if path)
    command = [sys.executable, "-c", PROGRAM, str(RELOADS), str(tmp_path / "models")]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONPATH": paths, "PATH": ""}, timeout=120
    ).stdout
    before, *after = json.loads(said)
    early, late = statistics.median(after[5:15]), statistics.median(after[-10:])
    # The end of an arena may be kept at one time and not at another: what counts is that it is not kept each time.
    assert late - early < ARENA_MB, f"nothing is left behind by each: less than {ARENA_MB / (RELOADS - 10):g} MB"
    assert late - before < RUNTIME_MB + ARENA_MB, "nor by all of them together"
