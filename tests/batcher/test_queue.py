from batcher_fakes import Asked

from batcher.blame import Blame
from batcher.decide import Waiting
from batcher.queue import RowQueue


def filled(*entries):
    queue = RowQueue()
    for entry in entries:
        queue.append(entry)
    return queue


def give_up(queue, entry):
    entry.done = True
    queue.abandon(entry)


def test_a_group_says_its_rows_and_its_oldest_arrival():
    queue = filled(Asked([1, 2], 5.0, "a"), Asked([3], 6.0, "b"), Asked([4], 7.0, "a"))
    assert list(queue.groups()) == [("a", Waiting(3, 5.0)), ("b", Waiting(1, 6.0))]
    assert queue.rows == 4


def test_a_batch_takes_the_oldest_that_fit_and_never_overtakes():
    first, second, third = Asked([1, 2]), Asked([3, 4, 5]), Asked([6])
    queue = filled(first, second, third)
    assert queue.take((), 3) == [first], "the third would fit, but the second was here before it"
    assert queue.take((), 4) == [second, third]
    assert queue.rows == 0
    assert list(queue.groups()) == []


def test_one_that_is_too_large_for_a_batch_is_taken_alone():
    large = Asked([1, 2, 3])
    assert filled(large, Asked([4])).take((), 2) == [large]


def test_requests_without_rows_share_the_last_batch_that_has_room():
    entries = [Asked([]), Asked([1]), Asked([]), Asked([2])]
    queue = filled(*entries)
    assert queue.take((), 1) == entries[:3]
    assert queue.take((), 1) == entries[3:]


def test_among_shapes_the_oldest_request_goes_first_and_equals_take_turns():
    queue = filled(*(Asked([1], at, key) for at, key in enumerate("aabca")), *(Asked([1], 9.0, key) for key in "ab"))
    order = []
    while groups := list(queue.groups()):
        order.append(groups[0][0])
        queue.take(groups[0][0], 1)
    assert order == ["a", "a", "b", "c", "a", "b", "a"]


def test_a_lower_rank_overtakes_in_its_line_and_among_shapes_and_equals_do_not():
    def ranked(rank, key="a"):
        entry = Asked([1], 0.0, key)
        entry.rank = rank
        return entry

    late, soon, sooner, soon_too, other = (
        ranked(9.0),
        ranked(2.0),
        ranked(1.0),
        ranked(2.0),
        ranked(1.5, "b"),
    )
    queue = filled(late, soon, sooner, soon_too, other)
    assert queue.take("a", 1) == [sooner]
    assert [key for key, _ in queue.groups()] == ["b", "a"]
    assert queue.take("a", 8) == [soon, soon_too, late]


def test_a_failed_batch_comes_back_in_front_of_the_later_and_behind_the_earlier():
    entries = [Asked([number], float(number)) for number in range(6)]
    queue = filled(*entries)
    blame = Blame()
    first, second = queue.take((), 2), queue.take((), 2)
    assert queue.rows == 2
    for part in [*reversed(blame.parts(first)), *reversed(blame.parts(second))]:
        queue.put_back(part)
    assert queue.rows == 6
    assert list(queue.groups()) == [((), Waiting(6, 0.0))]
    assert [queue.take((), 8) for _ in range(5)] == [*([entry] for entry in entries[:4]), entries[4:]]


def test_a_failed_batch_comes_back_though_its_group_is_gone_and_waits_for_the_others_turn():
    failed, other = Asked([1], 0.0, "a"), Asked([2], 1.0, "b")
    queue = filled(failed, other)
    assert queue.take("a", 8) == [failed]
    queue.put_back([failed])
    assert [key for key, _ in queue.groups()] == ["b", "a"]


def test_a_part_of_a_failed_batch_is_taken_by_itself():
    entries = [Asked([number], float(number)) for number in range(5)]
    queue = filled(*entries)
    parts = Blame().parts(queue.take((), 4))
    assert not queue.runs_again(())
    for part in reversed(parts):
        queue.put_back(part)
    assert queue.runs_again(())
    give_up(queue, entries[2])
    assert queue.take((), 1) == entries[:1], "above the limit in rows it is cut as any other"
    assert [queue.take((), 8) for _ in range(3)] == [[entries[1]], [entries[3]], [entries[4]]]
    assert queue.rows == 0


def test_who_gave_up_counts_no_more_and_is_not_taken():
    entries = [Asked([1], 1.0), Asked([2, 3], 2.0), Asked([4], 3.0)]
    queue = filled(*entries)
    give_up(queue, entries[0])
    give_up(queue, entries[1])
    assert list(queue.groups()) == [((), Waiting(1, 3.0))]
    assert queue.take((), 8) == [entries[2]]
    assert queue.rows == 0


def test_a_group_of_which_all_gave_up_is_gone():
    entries = [Asked([1], 0.0, "a"), Asked([2], 0.0, "a")]
    queue = filled(*entries)
    for entry in entries:
        give_up(queue, entry)
    assert list(queue.groups()) == []
    assert queue.rows == 0
    queue.append(Asked([3], 9.0, "a"))
    assert list(queue.groups()) == [("a", Waiting(1, 9.0))]


def test_those_who_give_up_free_their_memory_though_nothing_is_taken():
    stuck = Asked([1], 0.0, "a")
    queue = filled(stuck)
    for number in range(10_000):
        entry = Asked([2], 0.0, ("a", "b", number)[number % 3])
        queue.append(entry)
        give_up(queue, entry)
        assert entry.inputs == {}
    assert sum(map(len, queue._lines.values())) < 1_100
    assert len(queue._lines) < 1_100
    assert list(queue.groups()) == [("a", Waiting(1, 0.0))]
    assert queue.take("a", 8) == [stuck]
    assert queue.rows == 0


def test_what_runs_before_a_rank_is_counted_over_all_lines_without_those_who_gave_up():
    queue = filled(*(Asked([1, 2], float(at), key) for at, key in enumerate("aabab")))
    gone = Asked([1], 0.5, "a")
    queue.append(gone)
    give_up(queue, gone)
    assert [queue.rows_before(rank) for rank in (-1.0, 0.0, 1.5, 3.0, 9.0)] == [0, 2, 4, 8, queue.rows]
