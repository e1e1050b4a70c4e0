import numpy as np
import pytest

from headrace import cell
from headrace.cell import GAUGES
from headrace.counters import (
    BATCH_CELLS,
    BATCHES_AT,
    BUCKETS_NS,
    BUCKETS_S,
    COMPUTE_AT,
    QUEUE_AT,
    REASON_AT,
    REQUEST_AT,
    ModelCounters,
    cells_needed,
)
from headrace.errors import SLUGS

SCALARS = {name: at for name, at in vars(cell).items() if isinstance(at, int) and name not in ("REASONS", "COUNT")}
HISTOGRAM = len(BUCKETS_S) + 1


def test_the_layout_has_no_gap_and_no_overlap():
    cells = [*SCALARS.values(), *REASON_AT.values()]
    assert sorted(cells) == list(range(len(cells)))
    assert len(cells) + len(SLUGS) == REQUEST_AT
    assert [QUEUE_AT - REQUEST_AT, COMPUTE_AT - QUEUE_AT, BATCHES_AT - COMPUTE_AT] == [HISTOGRAM] * 3
    assert cells_needed(0) == BATCHES_AT
    assert cells_needed(64) == BATCHES_AT + 64 * BATCH_CELLS


def test_buckets_rise():
    assert list(BUCKETS_S) == sorted(set(BUCKETS_S))
    assert BUCKETS_NS[0] == 50_000
    assert BUCKETS_NS[-1] == 10_000_000_000


def test_foreign_memory_is_written_where_the_layout_says():
    memory = memoryview(bytearray(8 * cells_needed(2))).cast("q")
    counters = ModelCounters(2, memory)
    counters.succeeded(7)
    assert memory[cell.SUCCESSES] == 1
    assert memory[cell.SUCCESS_NS] == 7


def test_memory_of_another_size_is_not_taken():
    with pytest.raises(AssertionError):
        ModelCounters(3, memoryview(bytearray(8 * cells_needed(2))).cast("q"))


@pytest.mark.parametrize(
    ("took_ns", "bucket"),
    [(0, 0), (50_000, 0), (50_001, 1), (100_000, 1), (10_000_000_000, 16), (10_000_000_001, 17), (10**15, 17)],
)
def test_a_bound_belongs_to_its_own_bucket(took_ns, bucket):
    counters = ModelCounters(1)
    counters.succeeded(took_ns)
    counters.batch_ran(1, [took_ns], 0, took_ns, 0)
    for start in (REQUEST_AT, QUEUE_AT, COMPUTE_AT):
        expected = [0] * HISTOGRAM
        expected[bucket] = 1
        assert counters.histogram(start) == expected


def test_a_batch_counts_once_and_for_each_of_its_requests():
    counters = ModelCounters(8)
    counters.batch_ran(5, [10, 20, 30], input_ns=1, infer_ns=2, output_ns=3)
    cells = counters.cells
    assert [cells[at] for at in (cell.QUEUE_NS, cell.INPUT_NS, cell.INFER_NS, cell.OUTPUT_NS)] == [60, 3, 6, 9]
    assert (cells[cell.ROWS], cells[cell.BATCHES]) == (5, 1)
    assert sum(counters.histogram(QUEUE_AT)) == 3
    assert sum(counters.histogram(COMPUTE_AT)) == 1
    assert cells[cell.LAST_INFERENCE_MS] > 1_600_000_000_000
    assert counters.batch_table() == [(5, 1, 1, 2, 3)]


def test_the_batch_table_has_a_line_per_size_that_ran():
    counters = ModelCounters(4)
    for rows in (4, 1, 4, 3):
        counters.batch_ran(rows, [0], 1, 10, 100)
    assert counters.batch_table() == [(1, 1, 1, 10, 100), (3, 1, 1, 10, 100), (4, 2, 2, 20, 200)]


def test_a_batch_without_rows_has_no_line_and_hurts_no_other_cell():
    counters = ModelCounters(2)
    before = counters.histogram(COMPUTE_AT)
    counters.batch_ran(0, [0], 0, 0, 0)
    assert counters.batch_table() == []
    assert counters.cells[cell.BATCHES] == 1
    assert counters.histogram(COMPUTE_AT) == [before[0] + 1, *before[1:]]


def test_a_batch_above_the_limit_counts_in_the_last_line():
    counters = ModelCounters(2)
    counters.batch_ran(9, [0], 0, 0, 0)
    assert counters.batch_table() == [(2, 1, 0, 0, 0)]
    assert counters.cells[cell.ROWS] == 9


@pytest.mark.parametrize("slug", SLUGS)
def test_a_failure_counts_under_its_slug(slug):
    counters = ModelCounters(1)
    counters.failed(slug, 5)
    counters.failed(slug)
    assert counters.failures() == {slug: 2}
    assert counters.cells[cell.FAILURES] == 2
    assert counters.cells[cell.FAILURE_NS] == 5
    assert sum(counters.cells) == 2 + 2 + 5, "and nowhere else"


def test_gauges_go_up_and_down():
    counters = ModelCounters(1)
    for gauge in GAUGES:
        counters.add(gauge, 3)
        counters.add(gauge, -2)
        assert counters.cells[gauge] == 1


def test_including_another_replica_adds_all_but_the_time_of_the_last_inference():
    mine, other = ModelCounters(4), ModelCounters(2)
    mine.batch_ran(4, [10], 1, 2, 3)
    mine.failed("queue_full", 1)
    other.batch_ran(2, [20, 30], 10, 20, 30)
    other.failed("queue_full", 2)
    other.succeeded(9)
    mine.cells[cell.LAST_INFERENCE_MS] = 7
    other.cells[cell.LAST_INFERENCE_MS] = 5

    mine.include(other.cells)

    assert mine.batch_table() == [(2, 1, 10, 20, 30), (4, 1, 1, 2, 3)]
    assert mine.failures() == {"queue_full": 2}
    cells = mine.cells
    assert [cells[at] for at in (cell.QUEUE_NS, cell.ROWS, cell.BATCHES, cell.SUCCESSES)] == [60, 6, 2, 1]
    assert cells[cell.LAST_INFERENCE_MS] == 7
    other.cells[cell.LAST_INFERENCE_MS] = 11
    mine.include(other.cells)
    assert cells[cell.LAST_INFERENCE_MS] == 11


def test_numbers_keep_all_64_bits():
    counters, other = ModelCounters(1), ModelCounters(1)
    counters.cells[cell.SUCCESS_NS] = 2**62
    other.cells[cell.SUCCESS_NS] = 2**62 - 1
    counters.include(other.cells)
    assert counters.cells[cell.SUCCESS_NS] == 2**63 - 1
    assert np.iinfo(np.int64).max == 2**63 - 1
