"""Models loaded with `sharding`, whose stages are processes: the same answers, also when they are killed."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import numpy as np
import onnx_models
import psutil
import pytest
import sharded_models
from sharding_runs import inputs_for, session

from executor import runtime
from executor.link import frames
from executor.load import load_model
from executor.sharding.sharded import cores_of
from executor.sharding.station import Station
from headrace.config import ModelConfig
from headrace.errors import BadRequest, ExecutorFailed, LoadFailed
from headrace.models import ModelId

ID = ModelId("m", 1)
ALL = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
TWO = {"devices": ("cpu:0", "cpu:1")}


@pytest.fixture
def loaded(tmp_path):
    """`loaded(model, **config)`: a LoadedModel in stages, closed afterwards."""
    found = []

    def load(serialised, sharding=None, **config):
        file = onnx_models.save(serialised, tmp_path)
        config = ModelConfig(sharding=sharding or TWO, **config)
        found.append(load_model(ID, file, config, labels={}))
        return found[-1]

    yield load
    for each in found:
        asyncio.run(each.executor.close())


def expected(serialised, rows):
    whole = session(serialised, Path(), ALL)
    inputs = inputs_for(whole, rows)
    return inputs, dict(zip([each.name for each in whole.get_outputs()], whole.run(None, inputs), strict=True))


def run(model, inputs):
    return asyncio.run(model.executor.run(inputs))


def stage_pids():
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "executor.sharding.process" in child.cmdline():
                found.append(child.pid)
    return found


@pytest.mark.parametrize(
    "model", [sharded_models.encoder, sharded_models.branches, sharded_models.several_outputs, sharded_models.quantised]
)
def test_a_sharded_model_answers_bit_by_bit_what_the_whole_one_does(loaded, model):
    serialised = model()
    inputs, outputs = expected(serialised, 5)
    found = run(loaded(serialised), inputs)
    assert found.keys() == outputs.keys()
    for name, values in outputs.items():
        assert found[name].tobytes() == values.tobytes(), name


@pytest.mark.parametrize("rows", [1, 7, 32])
def test_a_batch_in_parts_is_answered_as_one(loaded, rows):
    serialised = sharded_models.layers()
    inputs, outputs = expected(serialised, rows)
    found = run(loaded(serialised, TWO | {"micro_batch_rows": 3}), inputs)
    np.testing.assert_allclose(found["y"], outputs["y"], rtol=1e-5, atol=1e-6)


def test_every_stage_has_a_process_of_its_own_and_they_end_with_the_model(loaded):
    model = loaded(sharded_models.layers(), {"devices": ("cpu:0", "cpu:1", "cpu:2")})
    assert len(stage_pids()) == 3
    assert model.executor.slots == 3
    assert model.metadata.batchable
    asyncio.run(model.executor.close())
    assert stage_pids() == []


def test_pipelines_beside_each_other_have_processes_of_their_own(loaded):
    serialised = sharded_models.layers()
    model = loaded(serialised, {"devices": ("cpu:0", "cpu:1", "cpu:2", "cpu:3"), "replicas": 2})
    assert len(stage_pids()) == 4
    assert model.executor.slots == 4
    inputs, outputs = expected(serialised, 4)
    for _ in range(3):
        assert run(model, inputs)["y"].tobytes() == outputs["y"].tobytes()


def test_a_stage_that_is_killed_loses_no_run(loaded):
    serialised = sharded_models.layers()
    model = loaded(serialised)
    inputs, outputs = expected(serialised, 4)
    answers, askers = [], 3

    async def ask(stop):
        while not stop.is_set():
            found = await model.executor.run(inputs)
            answers.append(found["y"].tobytes() == outputs["y"].tobytes())

    async def main():
        stop = asyncio.Event()
        asking = [asyncio.create_task(ask(stop)) for _ in range(askers)]
        for stage in (0, 1, 1, 0):
            os.kill(sorted(stage_pids())[stage], signal.SIGKILL)
            enough = len(answers) + askers + 1  # one at least was asked for since
            while len(answers) < enough and not any(task.done() for task in asking):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*asking)
        assert all(answers)

    asyncio.run(main())


def test_a_run_over_which_the_pipeline_is_lost_twice_fails_and_the_next_one_does_not(loaded, monkeypatch):
    serialised = sharded_models.layers()
    model = loaded(serialised)
    inputs, outputs = expected(serialised, 4)
    real, killed = Station.run, []

    def run_and_die(station, given):
        os.kill(station.pid, signal.SIGKILL)
        killed.append(station.pid)
        return real(station, given)

    with monkeypatch.context() as patch:
        patch.setattr(Station, "run", run_and_die)
        with pytest.raises(ExecutorFailed, match="m stage 0 on cpu:0: killed by signal 9"):
            run(model, inputs)
    assert len(set(killed)) == 2
    assert run(model, inputs)["y"].tobytes() == outputs["y"].tobytes()


def test_an_answer_that_comes_from_a_stage_which_was_given_up_is_passed_over(loaded, monkeypatch):
    serialised = sharded_models.layers()
    model = loaded(serialised)
    inputs, outputs = expected(serialised, 4)
    run_there, receive, asked, given_up = Station.run, frames.receive, [], []

    def noted(station, given):
        asked.append(station)
        return run_there(station, given)

    def give_up_then_receive(end):
        message = receive(end)
        if message is not None and asked and not given_up:
            given_up.append(asked[-1])
            asked[-1].close()
        return message

    with monkeypatch.context() as patch:
        patch.setattr(Station, "run", noted)
        patch.setattr(frames, "receive", give_up_then_receive)
        for _ in range(2):  # the first answer is being received already
            assert run(model, inputs)["y"].tobytes() == outputs["y"].tobytes()
    assert len(given_up) == 1
    assert run(model, inputs)["y"].tobytes() == outputs["y"].tobytes()


def test_what_a_stage_says_of_an_input_is_said_of_the_request(loaded):
    graph = sharded_models.Graph()
    table = graph.node("Gather", graph.weight(10, 32), "x")
    at = graph.node("Relu", graph.node("MatMul", table, graph.weight(32, 32)))
    graph.node("MatMul", at, graph.weight(32, 32), output="y")
    axes = ("rows", 3)
    model = loaded(
        graph.model([onnx_models.tensor("x", "INT64", axes)], [onnx_models.tensor("y", "FP32", (*axes, 32))])
    )
    with pytest.raises(BadRequest, match="out of data bounds"):
        run(model, {"x": np.full((1, 3), 99)})
    assert run(model, {"x": np.zeros((1, 3), np.int64)})["y"].shape == (1, 3, 32)


def test_what_does_not_fit_is_refused_with_what_would_and_served_in_more_stages(loaded):
    megabyte = 1 << 20
    serialised = sharded_models.layers(8, 1024)  # 32 MB of weights
    with pytest.raises(LoadFailed, match=r"does not fit on 1 device of 80 MiB: .* it takes 3"):
        loaded(serialised, {"devices": ("cpu:0",), "memory_limit": 80 * megabyte})
    inputs, outputs = expected(serialised, 2)
    model = loaded(serialised, {"devices": ("cpu:0", "cpu:1", "cpu:2"), "memory_limit": 80 * megabyte})
    assert run(model, inputs)["y"].tobytes() == outputs["y"].tobytes()


def test_a_stage_that_takes_more_memory_than_its_device_has_fails_alone(loaded):
    serialised = sharded_models.layers(4, 256)
    model = loaded(serialised, TWO | {"memory_limit": 100 << 20})
    with pytest.raises(ExecutorFailed, match="m/1 failed to run"):
        run(model, {"x": np.ones((100_000, 256), np.float32)})
    inputs, outputs = expected(serialised, 4)
    assert run(model, inputs)["y"].tobytes() == outputs["y"].tobytes()


def test_cores_are_shared_out_among_cpu_devices():
    cores = sorted(os.sched_getaffinity(0))
    devices = [f"cpu:{number}" for number in range(len(cores))]
    assert [cores_of(device, devices) for device in devices] == [[core] for core in cores]
    assert cores_of("cpu:0", ["cpu:0"]) == cores
    assert cores_of("cpu:5", [f"cpu:{number}" for number in range(8 * len(cores))]) == [cores[5 % len(cores)]]
    assert cores_of("cuda:0", ["cuda:0", "cpu:0"]) == []
