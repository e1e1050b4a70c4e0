import pytest

from executor.threads import runs_per_session, threads_per_session
from headrace.config import ModelConfig


@pytest.mark.parametrize(
    ("configured", "cores", "sessions", "expected"),
    [
        (0, 8.0, 1, 8),
        (0, 8.0, 2, 4),
        (0, 8.0, 3, 2),
        (0, 8.0, 8, 1),
        (0, 2.9, 1, 2),  # a third thread would be throttled
        (0, 5.9, 2, 2),
        (0, 2.0, 8, 1),  # never none
        (0, 0.5, 1, 1),
        (3, 8.0, 8, 3),  # the operator's word stands
    ],
)
def test_cores_are_divided_among_sessions(configured, cores, sessions, expected):
    assert threads_per_session(configured, cores, sessions) == expected


@pytest.mark.parametrize(
    ("runs", "controller", "provider", "threads", "expected"),
    [
        ("auto", "adaptive", "CPUExecutionProvider", 1, 1),  # one thread is never idle while there is a batch
        ("auto", "adaptive", "CPUExecutionProvider", 2, 2),
        ("auto", "adaptive", "CUDAExecutionProvider", 1, 4),
        ("auto", "adaptive", "OpenVINOExecutionProvider", 8, 1),  # whether it may is not known
        ("auto", "timer", "CUDAExecutionProvider", 8, 1),
        (3, "timer", "CPUExecutionProvider", 1, 3),  # the operator's word stands
    ],
)
def test_a_session_takes_as_many_batches_as_may_find_something_idle(runs, controller, provider, threads, expected):
    config = ModelConfig(batching={"controller": controller}, instances={"runs": runs})
    assert runs_per_session(config, [provider, "CPUExecutionProvider"], threads) == expected
