"""Running batches: on the loop or in threads, errors in the client's words, slots, cancellation, closing."""

import asyncio
import gc
import threading
import weakref

import numpy as np
import onnx_models
import pytest

from executor.onnx_executor import OnnxExecutor
from executor.pace import LOOP_BUDGET_S
from headrace.errors import BadRequest, ExecutorFailed
from headrace.models import ModelId

ID = ModelId("m", 1)
X = {"x": np.ones((2, 4), np.float32)}


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, 10))


def where(inputs):
    return {"thread": np.array(threading.current_thread().name, object)}


@pytest.mark.parametrize(
    ("known", "on_the_loop"),
    [
        ([], False),
        ([(8, LOOP_BUDGET_S / 2)], True),
        ([(8, LOOP_BUDGET_S * 2)], False),
        ([(4, LOOP_BUDGET_S / 100)], True),
        ([(1, LOOP_BUDGET_S / 2)], False),  # eight times the work, eight times the time
        ([(16, LOOP_BUDGET_S / 2)], True),
    ],
)
def test_cheap_runs_stay_on_the_loop_and_others_go_to_a_thread(known, on_the_loop):
    async def scenario():
        executor = OnnxExecutor(ID, [where], known)
        name = (await executor.run(X))["thread"].item()
        await executor.close()
        return name

    assert (run(scenario()) == threading.main_thread().name) is on_the_loop


def test_a_model_that_turns_slow_leaves_the_loop_and_comes_back(monkeypatch):
    now = 0.0
    durations = [1e-5, 1e-3, 1e-3, 1e-3, 1e-5, 1e-5, 1e-5]
    coming = iter(durations)

    def costly(inputs):
        nonlocal now
        now += next(coming)
        return where(inputs)

    monkeypatch.setattr("executor.onnx_executor.perf_counter", lambda: now)

    async def scenario():
        executor = OnnxExecutor(ID, [costly], [(8, 1e-5)], clock=lambda: now)
        names = [(await executor.run(X))["thread"].item() for _ in durations]
        await executor.close()
        return [name == threading.main_thread().name for name in names]

    assert run(scenario()) == [True, True, True, False, False, False, True]


def test_a_real_model_answers_the_same_on_the_loop_and_in_a_thread(runner):
    _, mlp = runner(onnx_models.mlp())
    rows = np.random.default_rng(0).random((4, 64), dtype=np.float32)

    async def answer(seconds):
        executor = OnnxExecutor(ID, [mlp], [(rows.size, seconds)])
        outputs = await executor.run({"x": rows})
        await executor.close()
        return outputs["y"]

    here, there = run(answer(1e-6)), run(answer(1.0))
    assert here.shape == (4, 8)
    np.testing.assert_array_equal(here, there)


def test_every_slot_is_a_session_of_its_own(load):
    both = threading.Barrier(2, timeout=5)
    seen = []

    def named(name):
        def wait(inputs):
            seen.append(name)
            both.wait()
            return {}

        return wait

    async def scenario():
        executor = OnnxExecutor(ID, [named("one"), named("two")])
        assert executor.slots == 2
        await asyncio.gather(executor.run(X), executor.run(X))
        await executor.close()

    run(scenario())
    assert sorted(seen) == ["one", "two"]
    assert load(onnx_models.mlp(), instances={"count": 3}).executor.slots == 3


@pytest.mark.parametrize("on_the_loop", [True, False])
@pytest.mark.parametrize(
    ("serialised", "inputs", "kind", "words"),
    [
        (
            onnx_models.gather(),
            {"ids": np.array([[9]])},
            BadRequest,
            "model m/1 rejects these inputs: node Gather: indices element out of data bounds, idx=9",
        ),
        (
            onnx_models.two_inputs(("n", 4), ("n", "k")),
            {"a": np.ones((1, 4), np.float32), "b": np.ones((1, 3), np.float32)},
            BadRequest,
            "Attempting to broadcast an axis by a dimension other than 1",
        ),
        (onnx_models.mlp(), {"x": np.ones((1, 63), np.float32)}, BadRequest, "Got: 63 Expected: 64"),
        (onnx_models.mlp(), {"x": np.ones((1, 64))}, BadRequest, "tensor(double)"),
        (onnx_models.mlp(), {"z": np.ones((1, 64), np.float32)}, BadRequest, "z"),
        (onnx_models.identity("BYTES"), {"x": np.array(["\ud800"], object)}, BadRequest, "not valid Unicode"),
        (onnx_models.text_that_is_not_utf8(), {"x": np.array(["a"], object)}, ExecutorFailed, "not UTF-8"),
        (
            onnx_models.one_node(
                "ConstantOfShape", [onnx_models.tensor("x", "INT64")], onnx_models.tensor("y", shape=None)
            ),
            {"x": np.array([1 << 40])},
            ExecutorFailed,
            "Failed to allocate memory",
        ),
    ],
)
def test_failures_name_the_model_and_leave_it_working(runner, serialised, inputs, kind, words, on_the_loop):
    _, model = runner(serialised)
    work = sum(array.size for array in inputs.values())

    async def scenario():
        executor = OnnxExecutor(ID, [model], [(work, 1e-6 if on_the_loop else 1e-3)])
        for _ in range(2):
            with pytest.raises(kind) as caught:
                await executor.run(inputs)
            assert "model m/1" in str(caught.value)
            assert words in str(caught.value)
            assert "onnxruntime_src" not in str(caught.value)
        await executor.close()

    run(scenario())


def test_a_cancelled_run_finishes_unseen_and_its_session_is_not_shared():
    go, begun, together, runs = threading.Event(), threading.Event(), [], []

    def one_at_a_time(inputs):
        together.append(1)
        assert len(together) == 1
        begun.set()
        assert go.wait(5)
        together.pop()
        runs.append(inputs["x"].size)
        return {}

    async def scenario():
        executor = OnnxExecutor(ID, [one_at_a_time], [(10, 1e-6), (2000, 1.0)])  # the second is one for the loop
        first = asyncio.ensure_future(executor.run({"x": np.zeros(2000)}))
        await asyncio.sleep(0)
        await asyncio.to_thread(begun.wait, 5)
        first.cancel()
        second = asyncio.ensure_future(executor.run({"x": np.zeros(10)}))
        await asyncio.sleep(0)
        assert runs == []
        go.set()
        await second
        assert runs == [2000, 10]
        await executor.close()

    run(scenario())


def test_closing_waits_for_a_cancelled_run_and_lets_the_session_go(runner):
    go, begun, finished = threading.Event(), threading.Event(), []

    def held_back(model):
        def held(inputs):
            begun.set()
            assert go.wait(5)
            finished.append(model(inputs)["y"].shape)
            return {}

        return held

    async def scenario():
        mlp = held_back(runner(onnx_models.mlp())[1])
        executor, kept = OnnxExecutor(ID, [mlp]), weakref.ref(mlp)
        del mlp
        task = asyncio.ensure_future(executor.run({"x": np.zeros((2, 64), np.float32)}))
        await asyncio.sleep(0)
        await asyncio.to_thread(begun.wait, 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        closing = asyncio.ensure_future(executor.close())
        await asyncio.sleep(0)
        assert not closing.done()
        go.set()
        await closing
        await executor.close()
        gc.collect()
        assert kept() is None

    run(scenario())
    assert finished == [(2, 8)]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("run m/1")]


@pytest.mark.parametrize("known", [[], [(8, LOOP_BUDGET_S / 2)]], ids=["thread", "loop"])
def test_a_run_on_a_closed_executor_fails_at_once(runner, known):
    async def scenario():
        executor = OnnxExecutor(ID, [where], known)
        await executor.close()
        with pytest.raises(ExecutorFailed, match="model m/1 failed to run: its executor is closed"):
            await executor.run(X)

    run(scenario())


@pytest.mark.parametrize("known", [[], [(8, LOOP_BUDGET_S / 2)]], ids=["thread", "loop"])
@pytest.mark.parametrize("raised", [SystemExit(3), StopIteration(), MemoryError(), ZeroDivisionError()], ids=repr)
def test_whatever_a_run_raises_its_session_is_free_again(raised, known):
    def rude(inputs):
        if inputs["x"][0, 0] < 0:
            raise raised
        return where(inputs)

    async def scenario():
        executor = OnnxExecutor(ID, [rude], known)
        for _ in range(3):
            with pytest.raises((type(raised), RuntimeError, ExecutorFailed)):
                await executor.run({"x": -X["x"]})
        assert "thread" in await executor.run(X)
        await executor.close()

    run(scenario())
