"""A model that needs memory by the row, in a process that has too little: smaller batches, and no failed request."""

import json
import subprocess
import sys

import onnx_models

ELEMENTS = 4 << 20
"""Of a row: 16 MB."""

SCRIPT = """
import asyncio, json, resource, sys, time
from pathlib import Path

import numpy as np

from batcher.batcher import Batcher
from batcher.decide import Limits
from batcher.entry import Entry
from batcher.timer import Timer
from executor.load import load_model
from headrace.config import ModelConfig
from headrace.counters import ModelCounters
from headrace.models import ModelId

class Asked(Entry):
    __slots__ = ("outcome",)

    def deliver(self, outcome):
        self.outcome = outcome

def asked(rows):
    entry = Asked({"x": np.arange(rows, dtype=np.float32).reshape(-1, 1)}, rows, (), time.monotonic())
    batcher.submit(entry)
    return entry

def sizes():
    table = {size: batches for size, batches, *_ in counters.batch_table()}
    counters.cells[:] = memoryview(bytes(counters.cells.nbytes)).cast("q")
    return table

async def answered(entries):
    while not all(entry.done for entry in entries):
        await asyncio.sleep(0.001)
    for entry in entries:
        if isinstance(entry.outcome, Exception):
            raise entry.outcome
        assert np.array_equal(entry.outcome["y"], entry.inputs["x"]), entry.outcome

async def scenario():
    batcher.start()
    said = []
    for requests in ([1] * 64, [1] * 64, [50, 3]):
        await answered([asked(rows) for rows in requests])
        said.append(sizes())
    await batcher.close()
    await loaded.executor.close()
    print(json.dumps(said))

elements = int(sys.argv[2])
config = ModelConfig.model_validate({"batching": {"max_batch_rows": 64, "enabled": True}, "instances": {"threads": 1}})
id, counters = ModelId("wide", 1), ModelCounters(64)
loaded = load_model(id, Path(sys.argv[1]), config, labels={})
batcher = Batcher(id, loaded.executor, Timer(Limits(64, 0.0)), 64, 1000, counters)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
room = 20 * 4 * elements
resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))
asyncio.run(scenario())
"""


def test_batches_become_as_small_as_the_memory_and_nobody_fails(tmp_path):
    model = onnx_models.save(onnx_models.wide(ELEMENTS), tmp_path)

    command = [sys.executable, "-c", SCRIPT, str(model), str(ELEMENTS)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert said.returncode == 0, said.stderr
    first, second, large = [{int(size): count for size, count in each.items()} for each in json.loads(said.stdout)]
    assert 1 < max(first) < 64, "batches of 64 rows need a gigabyte and a bit"
    assert sum(size * count for size, count in first.items()) == 64
    assert max(second) == max(first), "and what was learnt is kept"
    assert max(large) == max(first), "a request with more rows is cut to it"
    assert sum(size * count for size, count in large.items()) == 53
