"""The process of one stage: `python -P -m executor.sharding.process SOCKET RUNS ANSWERS`, inherited descriptors.

Opens the stage's session on its own cores and within its own memory, then runs what comes, one run after the other,
until the socket's other end is closed.
"""

from __future__ import annotations

import itertools
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from executor import runtime
from executor.link import frames
from executor.link.arena import Arena
from executor.link.parcel import pack, unpack
from executor.memory import few_arenas
from executor.metadata import Signature, read_signature
from executor.options import session_options, with_weights_below
from executor.runners import runner_for
from executor.sharding import words
from executor.sharding.cudart import Cudart, loaded
from executor.sharding.held import Held, HeldRunner
from headrace.datatypes import Datatype
from headrace.models import ModelId
from headrace.requests import Array

_STEP = 8 << 20
_CUDA = "CUDAExecutionProvider"  # `providers` has it, and would bring pydantic: half a second for each stage


class _Work(NamedTuple):
    """How a stage runs, and how what it gives gets into an arena."""

    run: Callable[[Mapping[str, Array]], Mapping[str, Any]]
    put: Callable[[Array, Any], None]
    note: str


def main(end: socket.socket, runs: Arena, answers: Arena) -> None:
    """Returns when the pipeline is gone."""
    few_arenas()
    message = frames.receive(end)
    if message is None:
        return
    order = words.to_stage(message)
    assert isinstance(order, words.Open), f"expected Open first, got {order}"
    try:
        work = _opened(order, [runs, answers])
    except Exception as error:
        frames.send(end, words.encode(words.Refused(str(error) or type(error).__name__)))
        return
    frames.send(end, words.encode(words.Opened(work.note)))
    while (message := frames.receive(end)) is not None:
        match words.to_stage(message):
            case words.Run(parcel):
                inputs, _ = unpack(parcel, runs)
                frames.send(end, words.encode(_ran(work, inputs, answers)))
            case words.Read(start):
                answers.give_back(start)


def _opened(order: words.Open, arenas: list[Arena]) -> _Work:
    if order.cores:
        os.sched_setaffinity(0, order.cores)
    if order.memory_bytes:
        _limit(order.memory_bytes)
    options = with_weights_below(session_options(order.threads), Path(order.folder))
    if any(name == _CUDA for name, _ in order.providers):
        runtime.find_cuda_libraries()
    threading.Thread(target=_read_ahead, args=(order,), daemon=True).start()
    session: Any = runtime.InferenceSession(order.model, options, providers=order.providers, enable_fallback=0)
    missing = [name for name, _ in order.providers if name not in session.get_providers()]
    if missing:
        raise RuntimeError(f"ONNX Runtime could not start {', '.join(missing)}")
    id = ModelId(order.name, 0)
    signature = read_signature(id, Path(order.folder), session, {}, {})
    note = ""
    name, options = order.providers[0]
    numbers = all(spec.datatype is not Datatype.BYTES for spec in (*signature.inputs, *signature.outputs))
    if name == _CUDA and numbers:
        try:
            return _on_gpu(session, signature, int(options.get("device_id", 0)), arenas)
        except (OSError, RuntimeError) as error:
            note = f"values take a detour on their way to and from the GPU: {error}"
    return _Work(runner_for(id, session, signature), np.copyto, note)


def _on_gpu(session: Any, signature: Signature, number: int, arenas: list[Arena]) -> _Work:
    """Raises OSError, RuntimeError where CUDA's library cannot be called."""
    runner, cudart = HeldRunner(session, signature, "cuda", number), Cudart(loaded(), number)
    note = "values go between the GPU and pinned memory"
    try:
        for arena in arenas:
            cudart.pin(arena)
    except RuntimeError as error:
        note = f"values go between the GPU and memory that is not pinned, hence slowly: {error}"

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Held]:
        return runner({name: cudart.copyable(array) for name, array in inputs.items()})

    def put(target: Array, made: Held) -> None:
        cudart.to_host(target, made.address)

    return _Work(run, put, note)


def _read_ahead(order: words.Open) -> None:
    """Bring the weights into the system's memory in large steps, before the runtime, which maps them page by page.

    A disk that is read a page here and there gives a fifth of what it could.
    """
    scrap = bytearray(_STEP)
    with suppress(OSError):
        for name, weights in itertools.groupby(order.weights, key=itemgetter(0)):
            with (Path(order.folder) / name).open("rb", buffering=0) as file:
                for _, offset, length in weights:
                    file.seek(offset)
                    left = length
                    while left > 0 and (count := file.readinto(memoryview(scrap)[: min(left, _STEP)])):
                        left -= count


def _limit(memory_bytes: int) -> None:
    """So much more than there is now: what is asked for beyond fails, in this process alone."""
    base = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (base + memory_bytes, base + memory_bytes))


def _ran(work: _Work, inputs: Mapping[str, Array], answers: Arena) -> words.Ran | words.Failed:
    started = time.perf_counter()
    try:
        outputs = work.run(inputs)
    except Exception as error:
        return words.Failed(str(error) or type(error).__name__)
    seconds = time.perf_counter() - started
    parcel = pack(outputs, answers, work.put)
    if parcel is None:
        size = sum(array.nbytes for array in outputs.values())
        return words.Failed(f"the stage gives {size} bytes, and of {answers.size} to share too few are free")
    return words.Ran(parcel, seconds)


if __name__ == "__main__":
    control, *memory = map(int, sys.argv[1:])
    main(socket.socket(fileno=control), *map(Arena, memory))
