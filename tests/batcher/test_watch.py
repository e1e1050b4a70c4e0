"""Whether the load is still the one that the plan was made for."""

from batcher.watch import SHOCK, SURPRISE, Watch


def batches(watch, start, count, every_s, rows):
    """What was said of so many batches, and when the last one ended."""
    times = [start + every_s * number for number in range(1, count + 1)]
    return [watch.changed(now, rows) for now in times], times[-1]


def test_a_load_that_stays_the_same_is_no_surprise():
    said, _ = batches(Watch(), 0.0, 500, 0.01, 4)
    assert not any(said)


def test_a_shock_is_seen_though_the_plan_has_just_been_made():
    watch = Watch()
    _, now = batches(watch, 0.0, 20, 0.01, 2)
    said, _ = batches(watch, now, 32, 0.01, 20)
    assert SHOCK in said


def test_a_slow_rise_is_seen_though_no_window_differs_much_from_the_one_before():
    watch, now, said = Watch(), 0.0, []
    for rows in (10, 12, 14, 17):
        each, now = batches(watch, now, 65, 0.01, rows)
        said += each
    assert [each for each in said if each] == [SURPRISE]


def test_a_change_is_said_again_until_somebody_has_time_for_it():
    watch = Watch()
    _, now = batches(watch, 0.0, 20, 0.01, 2)
    said, now = batches(watch, now, 100, 0.01, 20)
    assert said.count(SHOCK) > 1
    watch.reset()
    said, _ = batches(watch, now, 100, 0.01, 20)
    assert not any(said)


def test_a_load_that_goes_on_after_a_silence_is_the_same_load():
    watch = Watch()
    _, now = batches(watch, 0.0, 100, 0.01, 4)
    said, now = batches(watch, now + 10.0, 100, 0.01, 4)
    assert not any(said)
    said, _ = batches(watch, now + 10.0, 100, 0.01, 40)
    assert SHOCK in said


def test_a_load_that_becomes_a_hundred_times_slower_is_no_silence():
    watch = Watch()
    _, now = batches(watch, 0.0, 100, 0.01, 4)
    said, _ = batches(watch, now, 24, 1.0, 4)
    assert SHOCK in said


def test_several_batches_told_of_at_once_are_as_good_as_one_by_one():
    watch, now = Watch(), 0.0
    for rows in (4, 4, 4, 40):
        for _ in range(16):
            now += 0.04
            said = watch.changed(now, 4 * rows, 4)
            assert not said or rows == 40
    assert said == SHOCK
