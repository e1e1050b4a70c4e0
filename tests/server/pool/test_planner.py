"""Plans from the supervisor: questions and answers over the channel, and how much of a core they may take."""

import asyncio
from math import inf

import msgspec
import pytest

from batcher.decide import Limits
from batcher.search import search
from batcher.simulate import Load
from batcher.twin import Picture, Settings, Twin
from server.pool import channel
from server.pool.planner import SAVED_S, SHARE, Budget, Planner, Plans

SECONDS = [0.0, 0.004, 0.005, 0.006, 0.007]
RETURNING = Load(clients=4, thinks=[0.0001 * (1 + i % 7) for i in range(100)])
OPEN = Load(opens=[0.003 * i for i in range(50)], rows=[1, 2])


def over_the_wire(message):
    """As the channel carries it."""
    return msgspec.json.decode(msgspec.json.encode(message), type=channel.Message)


@pytest.mark.parametrize("before", [None, Settings(1, 2, gap_s=0.001, enough_rows=2)])
@pytest.mark.parametrize(
    "picture",
    [
        Picture(SECONDS, (1.0, 1.0, 1.9), (0.9, 1.1), RETURNING, Limits(4, inf)),
        Picture(SECONDS, (1.0, 1.0), (1.0,), OPEN, Limits(4, 0.01), (RETURNING,), "goodput", 0.05),
    ],
)
def test_the_answer_is_what_a_search_in_the_replica_would_have_found(picture, before):
    async def scenario():
        found = asyncio.get_running_loop().create_future()
        plans = Plans()
        planner = Planner(lambda plan: plans.wanted(0, over_the_wire(plan), answered))

        def answered(message):
            planner.heard(over_the_wire(message))

        planner(picture, before, found.set_result)
        return await asyncio.wait_for(found, 30)

    assert asyncio.run(scenario()) == search(Twin(picture), before)


def test_answers_reach_those_who_asked_in_whatever_order_they_come():
    sent, found = [], {}
    planner = Planner(sent.append)
    picture = Picture(SECONDS, (1.0, 1.0), (1.0,), RETURNING, Limits(4))
    for name in ("one", "other"):
        planner(picture, None, lambda settings, name=name: found.update({name: settings}))
    for plan, settings in zip(reversed(sent), (Settings(1, 1), Settings(1, 2)), strict=True):
        planner.heard(channel.Planned(plan.serial, msgspec.msgpack.encode(settings)))
    assert found == {"one": Settings(1, 2), "other": Settings(1, 1)}


def test_a_second_question_of_a_batcher_takes_the_place_of_the_first_which_gets_no_answer():
    async def scenario():
        plans, answers, found = Plans(), [], asyncio.Queue()
        planner = Planner(lambda plan: plans.wanted(0, over_the_wire(plan), answered))

        def answered(message):
            answers.append(message.serial)
            planner.heard(over_the_wire(message))

        second = Picture(SECONDS, (1.0, 1.0), (1.0,), OPEN, Limits(4))
        planner(Picture(SECONDS, (1.0, 1.0), (1.0,), RETURNING, Limits(4)), None, found.put_nowait)
        planner(second, None, found.put_nowait)
        got = await asyncio.wait_for(found.get(), 30)
        planner(second, None, found.put_nowait)
        await asyncio.wait_for(found.get(), 30)
        return got, answers, found.empty()

    got, answers, nothing_more = asyncio.run(scenario())
    assert got == search(Twin(Picture(SECONDS, (1.0, 1.0), (1.0,), OPEN, Limits(4))), None)
    assert answers == [2, 3]
    assert nothing_more


def test_an_answer_that_comes_after_another_question_was_asked_is_not_taken():
    sent, found = [], []
    planner = Planner(sent.append)
    picture = Picture(SECONDS, (1.0, 1.0), (1.0,), RETURNING, Limits(4))
    for _ in range(2):
        planner(picture, None, found.append)
    assert [plan.instead_of for plan in sent] == [0, sent[0].serial]
    for plan, settings in zip(sent, (Settings(1, 1), Settings(1, 2)), strict=True):
        planner.heard(channel.Planned(plan.serial, msgspec.msgpack.encode(settings)))
    assert found == [Settings(1, 2)]


def test_who_has_spent_what_was_saved_waits_until_the_share_has_come_in():
    budget = Budget()
    assert budget.wait("a", 0.0) == 0
    budget.spend("a", 0.0, SAVED_S - 0.1)
    assert budget.wait("a", 0.0) == 0  # something is left
    budget.spend("a", 0.0, 0.2)
    assert budget.wait("a", 0.0) == pytest.approx(0.1 / SHARE)
    assert budget.wait("a", 1.0) == pytest.approx(0.1 / SHARE - 1.0)
    assert budget.wait("b", 0.0) == 0


def test_in_the_long_run_nobody_takes_more_than_the_share_however_often_he_asks():
    budget, now, spent = Budget(), 0.0, 0.0
    while now < 1000:
        now += budget.wait("a", now) + 0.01
        budget.spend("a", now, 0.15)
        spent += 0.15
    assert spent <= SHARE * now + SAVED_S + 0.15


def test_nothing_is_saved_up_beyond_the_limit():
    budget = Budget()
    budget.spend("a", 0.0, 0.1)
    budget.spend("a", 1e6, SAVED_S + 0.05)
    assert budget.wait("a", 1e6) == pytest.approx(0.05 / SHARE)
