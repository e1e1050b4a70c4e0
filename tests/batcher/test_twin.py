"""The model's twin, where little is known."""

from dataclasses import replace

import pytest

from batcher.decide import Limits
from batcher.loads import poisson
from batcher.simulate import Load
from batcher.twin import LONGER, Picture, Settings, Twin


def test_one_request_by_itself_has_no_rate_to_compare_with_earlier_ones():
    load = Load(opens=[0.0], clients=2, thinks=[0.01] * 40)
    picture = Picture([0.0, 0.01], [1.0, 1.0], [1.0], load, Limits(1), earlier=[Load(opens=[0.0, 1.0, 2.0])])
    assert Twin(picture).open_rate == 0.0


def test_a_silence_between_requests_does_not_make_their_rate_smaller():
    load = Load(opens=[*(each / 100 for each in range(40)), *(10 + each / 100 for each in range(60))])
    picture = Picture([0.0, 0.01], [1.0, 1.0], [1.0], load, Limits(1))
    assert Twin(picture).open_rate == pytest.approx(100)


def test_of_what_few_requests_decide_the_last_word_has_a_longer_load():
    load = poisson(100, 400, seed=1)
    picture = Picture([0.0, 0.01], [1.0, 1.0], [1.0], load, Limits(1))
    tail = Twin(replace(picture, objective="p99"))
    assert tail.judge.requests == LONGER * tail.requests
    assert tail.judge.judge is tail.judge
    mean = Twin(picture)
    assert mean.judge is mean


def test_nobody_is_held_back_past_what_was_promised_less_the_time_of_a_batch():
    waits = Settings(1, 2, enough_rows=2, hold_s=1.0)
    seconds, slowdown = [0.0, 0.1, 0.2], [1.0, 1.0]
    assert waits.plan(seconds, slowdown, Load()).longest_s == float("inf")
    assert waits.plan(seconds, slowdown, Load(), 0.5).longest_s == pytest.approx(0.25)
    assert waits.plan(seconds, slowdown, Load(), 0.1).longest_s == 0.0
