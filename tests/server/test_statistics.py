"""Counters of several replicas in one directory, summed by whoever asks."""

import pytest

from headrace import cell
from headrace.counters import cells_needed
from headrace.models import ModelId
from server.statistics import REFUSALS, Statistics, last_use_ms

DIGITS = ModelId("digits", 1)


@pytest.fixture
def replica(tmp_path):
    """`replica(1)` is what replica 1 has; asked again it is the replica that took its place."""
    return lambda index: Statistics(tmp_path, index)


def test_totals_are_the_sums_over_replicas(replica):
    for index, times in ((0, 2), (1, 3)):
        counters = replica(index).open(DIGITS, 4)
        for _ in range(times):
            counters.batch_ran(3, [10, 20, 30], 1, 2, 3)
            counters.succeeded(1000)
        counters.failed("queue_full")
        counters.add(cell.IN_FLIGHT, 7)

    total = replica(5).totals()[DIGITS]

    assert total.cells[cell.SUCCESSES] == 5
    assert total.cells[cell.ROWS] == 15
    assert total.cells[cell.QUEUE_NS] == 5 * 60
    assert total.cells[cell.IN_FLIGHT] == 14
    assert total.failures() == {"queue_full": 2}
    assert total.batch_table() == [(3, 5, 5, 10, 15)]


def test_replacement_goes_on_from_the_counts_of_the_dead_and_from_empty_gauges(replica):
    dead = replica(0).open(DIGITS, 4)
    dead.succeeded(1000)
    dead.add(cell.IN_FLIGHT, 3)
    dead.add(cell.QUEUE_ROWS, 3)

    replica(0).open(DIGITS, 4).succeeded(1000)

    total = replica(1).totals()[DIGITS]
    assert total.cells[cell.SUCCESSES] == 2
    assert total.cells[cell.IN_FLIGHT] == total.cells[cell.QUEUE_ROWS] == 0


def test_last_inference_is_the_latest_of_all(replica):
    for index, time_ms in ((0, 5), (1, 9), (2, 7)):
        replica(index).open(DIGITS, 1).cells[cell.LAST_INFERENCE_MS] = time_ms
    assert replica(0).totals()[DIGITS].cells[cell.LAST_INFERENCE_MS] == 9


@pytest.mark.parametrize("limits", [(2, 8), (8, 2)])
def test_counts_under_an_earlier_batch_limit_are_kept(replica, limits):
    for limit in limits:
        replica(0).open(DIGITS, limit).batch_ran(2, [0], 0, 0, 0)
    total = replica(0).totals()[DIGITS]
    assert total.max_batch_rows == 8
    assert total.batch_table() == [(2, 2, 0, 0, 0)]


@pytest.mark.parametrize("name", ["a b", "+@=-.", "a" * 128, "ä" * 127, "長" * 84])
def test_any_model_name_has_its_own_counters(replica, name):
    replica(0).open(ModelId(name, 1), 1).succeeded(1)
    replica(0).open(ModelId(name, 2), 1)
    totals = replica(0).totals()
    assert set(totals) == {ModelId(name, 1), ModelId(name, 2)}
    assert totals[ModelId(name, 1)].cells[cell.SUCCESSES] == 1


def test_refusals_are_counted_beside_the_models(replica):
    replica(0).open(REFUSALS, 1).failed("bad_request")
    assert replica(0).totals()[REFUSALS].failures() == {"bad_request": 1}


def test_file_that_is_being_made_is_passed_over(replica, tmp_path):
    (tmp_path / "half").mkdir()
    (tmp_path / "half/0~1~4").write_bytes(bytes(8 * cells_needed(4) - 8))
    replica(1).open(ModelId("half", 1), 4).succeeded(1)
    assert replica(0).totals()[ModelId("half", 1)].cells[cell.SUCCESSES] == 1


def test_the_last_use_is_that_of_any_replica_and_version_and_now_while_a_request_runs(replica, tmp_path):
    assert last_use_ms(tmp_path, "digits", 99) == 0
    for index, version, at in ((0, 1, 5), (1, 1, 8), (1, 2, 7)):
        replica(index).open(ModelId("digits", version), 4).cells[cell.LAST_INFERENCE_MS] = at
    replica(0).open(ModelId("other", 1), 4).cells[cell.LAST_INFERENCE_MS] = 50
    assert last_use_ms(tmp_path, "digits", 99) == 8
    replica(0).open(DIGITS, 4).add(cell.IN_FLIGHT, 1)
    assert last_use_ms(tmp_path, "digits", 99) == 99
