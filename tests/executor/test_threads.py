import pytest

from executor.threads import threads_per_session


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
