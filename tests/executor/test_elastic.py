"""A wide session while the machine is idle, a narrow one while others compute."""

import asyncio
import threading

import numpy as np
import onnx_models
import pytest

from executor import activity as activities
from executor import whole
from executor.activity import Activity
from executor.elastic import QUIET_S, elastic
from executor.host import Host
from executor.load import load_model
from headrace.config import ModelConfig
from headrace.models import ModelId

ID = ModelId("m", 1)
X = {"x": np.ones((1, 4), np.float32)}


@pytest.fixture
def clock(monkeypatch):
    now = [10**12]
    monkeypatch.setattr(activities.time, "monotonic_ns", lambda: now[0])
    return now


@pytest.fixture
def both(tmp_path):
    Activity.create(tmp_path / "activity", 2)
    return Activity.open(tmp_path / "activity", 0), Activity.open(tmp_path / "activity", 1)


def runner(name, taken):
    def run(inputs):
        taken.append(name)
        return {}

    return run


def test_a_lone_run_is_wide_and_so_is_the_next(both, clock):
    taken = []
    run = elastic(runner("wide", taken), runner("narrow", taken), both[0])
    for _ in range(3):
        run(X)
    assert taken == ["wide"] * 3


def test_while_another_process_runs_and_shortly_after_runs_are_narrow(both, clock):
    taken, (mine, other) = [], both
    run = elastic(runner("wide", taken), runner("narrow", taken), mine)
    other.begin(QUIET_S)
    run(X)
    other.end()
    run(X)
    clock[0] += int(QUIET_S * 1e9) + 1
    run(X)
    assert taken == ["narrow", "narrow", "wide"]


def test_of_two_runs_at_once_in_one_process_the_second_is_narrow(both, clock):
    taken, mine = [], both[0]
    inner = elastic(runner("wide", taken), runner("narrow", taken), mine)
    outer = elastic(inner, runner("narrow", taken), mine)
    outer(X)
    assert taken == ["narrow"]
    inner(X)
    assert taken == ["narrow", "wide"]


def test_a_run_that_fails_is_over(both, clock):
    def fail(inputs):
        raise RuntimeError

    taken = []
    with pytest.raises(RuntimeError):
        elastic(fail, fail, both[0])(X)
    elastic(runner("wide", taken), runner("narrow", taken), both[0])(X)
    assert taken == ["wide"]


def test_a_process_that_died_while_it_ran_is_forgotten_when_the_next_one_takes_its_place(both, tmp_path, clock):
    mine, other = both
    other.begin(QUIET_S)
    assert not mine.begin(QUIET_S)
    mine.end()
    Activity.open(tmp_path / "activity", 1)
    assert mine.begin(QUIET_S)


def test_runs_that_begin_and_end_in_many_threads_are_counted(both):
    mine = both[0]

    def work():
        for _ in range(2000):
            mine.begin(QUIET_S)
            mine.end()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mine.begin(QUIET_S)


@pytest.mark.parametrize(
    ("threads", "cores", "sessions"), [("elastic", 4.0, [1, 4]), (0, 4.0, [1]), ("elastic", 1.0, [1])]
)
def test_a_second_session_is_opened_only_if_it_is_asked_for_and_wider(
    tmp_path, monkeypatch, both, threads, cores, sessions
):
    real, opened = whole.open_session, []

    def open_session(model, file, providers, threads, *rest):
        opened.append(threads)
        return real(model, file, providers, threads, *rest)

    monkeypatch.setattr(whole, "open_session", open_session)
    monkeypatch.setattr(whole, "usable_cores", lambda: cores)
    monkeypatch.setattr("executor.load.usable_cores", lambda: cores)
    file = onnx_models.save(onnx_models.mlp(), tmp_path)
    config = ModelConfig(instances={"threads": threads}, execution_providers=("cpu",))
    loaded = load_model(ID, file, config, labels={}, host=Host(4, activity=both[0]))
    assert opened == sessions
    asyncio.run(loaded.executor.close())
