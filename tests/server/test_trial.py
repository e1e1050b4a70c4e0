import pytest

from headrace.config import SafeReload
from headrace.counters import ModelCounters
from server.trial import Trial, objection

CHECKS = SafeReload(max_error_rate=0.25, min_requests=4)


@pytest.mark.parametrize(
    ("answered", "failed", "expected"),
    [
        (0, 0, ""),
        (0, 3, ""),  # too few to tell
        (3, 1, ""),  # exactly what is allowed
        (2, 2, "2 of its first 4 requests have failed, 50%; allowed are 25% (safe_reload.max_error_rate)"),
        (100, 30, ""),
        (0, 4, "4 of its first 4 requests have failed, 100%; allowed are 25% (safe_reload.max_error_rate)"),
    ],
)
def test_objection(answered, failed, expected):
    assert objection(answered, failed, CHECKS) == expected


def test_a_trial_objects_once_and_counts_neither_what_was_before_nor_what_clients_do_wrong():
    counters, objections = ModelCounters(1), []
    for _ in range(100):
        counters.succeeded(1)  # its predecessor's, of the same version
    trial = Trial(counters, CHECKS, objections.append)
    trial.begin()
    for _ in range(10):
        counters.failed("bad_request")
    for _ in range(3):
        counters.succeeded(1)
    for _ in range(2):
        trial.failed()
    assert objections == ["2 of its first 5 requests have failed, 40%; allowed are 25% (safe_reload.max_error_rate)"]
    trial.failed()
    assert len(objections) == 1
