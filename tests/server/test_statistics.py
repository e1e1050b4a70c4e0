"""Counters of several replicas in one directory, summed by whoever asks."""

import pytest

from headrace import cell
from headrace.models import ModelId
from server.statistics import REFUSALS, Statistics, last_uses_ms

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
    replica(1).open(DIGITS, 4).succeeded(1)
    (tmp_path / "0~0").touch()
    assert replica(0).totals()[DIGITS].cells[cell.SUCCESSES] == 1


def test_record_that_is_being_written_is_passed_over(replica, tmp_path):
    """Its length is still 0, whatever else is there."""
    replica(1).open(DIGITS, 4).succeeded(1)
    (tmp_path / "0~0").write_bytes(bytes(8) + b"x" * 800)
    assert replica(0).totals()[DIGITS].cells[cell.SUCCESSES] == 1


def test_thousand_models_need_few_files_and_are_all_found_again(replica, tmp_path):
    """A mapped file holds a descriptor, of which 1,024 are usual."""
    ids = [ModelId(f"m{number}", version) for number in range(500) for version in (1, 2)]
    dead = replica(0)
    for id in ids:
        dead.open(id, 64).succeeded(1)
    files = len(list(tmp_path.iterdir()))
    assert files <= 4

    successor = replica(0)
    for id in ids:
        successor.open(id, 64).succeeded(1)

    assert len(list(tmp_path.iterdir())) == files
    totals = replica(1).totals()
    assert list(totals) == sorted(ids)
    assert {total.cells[cell.SUCCESSES] for total in totals.values()} == {2}


def test_record_larger_than_a_sheet_has_a_sheet_of_its_own(replica):
    counting = replica(0)
    for id in (DIGITS, ModelId("large", 1), ModelId("other", 1)):
        rows = 65536 if id.name == "large" else 4
        counting.open(id, rows).batch_ran(rows, [0], 0, 0, 0)
    assert [total.cells[cell.ROWS] for total in replica(1).totals().values()] == [4, 65536, 4]


def test_gauge_goes_on_while_a_reload_opens_the_same_counters(replica):
    """Requests that are in flight then still leave: the gauge must not fall below zero."""
    counting = replica(0)
    old = counting.open(DIGITS, 4)
    old.add(cell.IN_FLIGHT, 1)
    counting.open(DIGITS, 4)
    old.add(cell.IN_FLIGHT, -1)
    assert replica(1).totals()[DIGITS].cells[cell.IN_FLIGHT] == 0


def test_the_last_use_is_that_of_any_replica_and_version_and_now_while_a_request_runs(replica, tmp_path):
    assert last_uses_ms(tmp_path, 99) == {}
    for index, version, at in ((0, 1, 5), (1, 1, 8), (1, 2, 7)):
        replica(index).open(ModelId("digits", version), 4).cells[cell.LAST_INFERENCE_MS] = at
    replica(0).open(ModelId("other", 1), 4).cells[cell.LAST_INFERENCE_MS] = 50
    assert last_uses_ms(tmp_path, 99) == {"digits": 8, "other": 50}
    replica(0).open(DIGITS, 4).add(cell.IN_FLIGHT, 1)
    assert last_uses_ms(tmp_path, 99) == {"digits": 99, "other": 50}
