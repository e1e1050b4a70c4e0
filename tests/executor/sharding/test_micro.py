from hypothesis import given
from hypothesis import strategies as st

from executor.sharding.micro import NEARLY, latency, micro_rows

TIMES = st.floats(1e-4, 1.0)


def test_a_row_costs_the_same_in_any_part_so_parts_are_small_and_all_stages_are_busy():
    seconds = {size: [0.01 * size] * 4 for size in (1, 2, 4, 8)}
    assert micro_rows(seconds, 8) == 1


def test_a_part_costs_the_same_whatever_is_in_it_so_there_is_one():
    seconds = {size: [0.01] * 4 for size in (1, 2, 4, 8)}
    assert micro_rows(seconds, 8) == 8


def test_no_more_of_the_rate_is_given_up_for_a_batch_to_be_through_sooner():
    seconds = {size: [0.002 + 0.001 * size] * 4 for size in (1, 2, 4, 8, 16, 32)}
    chosen = micro_rows(seconds, 32)
    assert chosen > 1
    assert chosen / seconds[chosen][0] >= NEARLY * 32 / seconds[32][0]


@given(
    st.dictionaries(st.sampled_from([1, 2, 4, 8, 16]), st.tuples(TIMES, TIMES, TIMES), min_size=1), st.integers(1, 64)
)
def test_of_the_sizes_that_nearly_have_the_best_rate_none_is_through_sooner(seconds, rows):
    chosen = micro_rows(seconds, rows)
    assert chosen in seconds
    possible = [size for size in seconds if size <= rows] or [min(seconds)]
    best = max(size / max(seconds[size]) for size in possible)
    for size in possible:
        if size / max(seconds[size]) >= NEARLY * best:
            assert latency(seconds[chosen], -(-rows // chosen)) <= latency(seconds[size], -(-rows // size))
