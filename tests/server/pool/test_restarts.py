import pytest

from server.pool.exit_codes import ExitCode
from server.pool.restarts import End, GiveUp, RestartAt, next_restart

NOW = 1000.0


def unready(code=1):
    return End(at=NOW, ready_at=None, exit_code=code, reason="exit code 1")


def served(seconds):
    return End(at=NOW, ready_at=NOW - seconds, exit_code=-9, reason="killed by SIGKILL")


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([served(3600)], RestartAt(NOW)),  # the usual death
        ([served(3600), served(3600), served(3600)], RestartAt(NOW)),  # often, but never in a row
        ([served(1)], RestartAt(NOW)),  # the first quick death is forgiven
        ([served(1), served(1)], RestartAt(NOW + 0.25)),
        ([served(1), served(1), served(1)], RestartAt(NOW + 0.5)),
        ([served(1)] * 40, RestartAt(NOW + 30)),  # ever later, up to the longest delay, never given up
        ([served(1), served(1), served(3600)], RestartAt(NOW)),  # a long life forgets
        ([served(3600), unready()], RestartAt(NOW)),
        ([served(3600), unready(), unready()], RestartAt(NOW + 0.25)),
        ([unready()], RestartAt(NOW)),
        ([unready(), unready()], RestartAt(NOW + 0.25)),
        ([unready(), served(1), unready(), unready()], RestartAt(NOW + 0.75 + 0.25)),  # counted from its last life
        ([served(3600), unready(ExitCode.BOOT_FAILED)], RestartAt(NOW)),  # it did boot once: try again for a while
    ],
)
def test_place_gets_a_new_replica(history, expected):
    assert next_restart(history, NOW) == expected


@pytest.mark.parametrize(
    ("history", "code", "reason"),
    [
        ([unready(ExitCode.BOOT_FAILED)], ExitCode.BOOT_FAILED, "cannot boot: exit code 1"),
        ([unready(), unready(ExitCode.BOOT_FAILED)], ExitCode.BOOT_FAILED, "cannot boot: exit code 1"),
        ([unready()] * 3, ExitCode.GAVE_UP, "died 3 times in a row before it was ready, last: exit code 1"),
        (
            [served(9), *[unready()] * 10],
            ExitCode.GAVE_UP,
            "died 10 times in a row before it was ready, last: exit code 1",
        ),
    ],
)
def test_place_is_given_up(history, code, reason):
    assert next_restart(history, NOW) == GiveUp(code, reason)
