import asyncio
import os
import threading

from batcher.decide import Limits
from batcher.simulate import Load
from batcher.twin import Picture, Settings
from server.planning import PlanningThread

SECONDS = [0.0, 0.004, 0.005, 0.006, 0.007]
RETURNING = Load(clients=4, thinks=[0.0001 * (1 + i % 7) for i in range(100)])


async def _planned(thread, picture, settings, given_up):
    found = asyncio.get_running_loop().create_future()
    thread(picture, settings, lambda better, seconds: found.set_result((better, seconds)), given_up)
    return await asyncio.wait_for(found, 30)


def planned(thread, picture, settings, given_up=None):
    return asyncio.run(_planned(thread, picture, settings, given_up or threading.Event()))


def test_a_plan_is_found_in_a_thread_and_comes_back_to_the_loop_with_what_it_cost():
    times = iter([1.0, 1.25])
    thread = PlanningThread(clock=lambda: next(times))
    settings, seconds = planned(thread, Picture(SECONDS, (1.0, 1.0), (1.0,), RETURNING, Limits(4)), None)
    assert settings.waits
    assert seconds == 0.25


def test_the_thread_steps_back_behind_those_who_serve():
    seen = []

    def clock():
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return 0.0

    planned(PlanningThread(clock), Picture(SECONDS, (1.0, 1.0), (1.0,), Load(), Limits(4)), None)
    assert seen == [19] * 2


def test_a_planning_that_fails_leaves_what_was_in_force_and_the_thread_goes_on(caplog):
    thread, before = PlanningThread(), Settings(1, 4)
    broken = Picture(SECONDS, (), (1.0,), Load(opens=[0.01 * i for i in range(50)]), Limits(4))
    for _ in range(2):
        assert planned(thread, broken, before)[0] == before
    assert caplog.text.count("no plan could be found") == 2


def test_a_search_that_is_given_up_ends_at_once_with_what_was_in_force_and_nobody_is_told_of_an_error(caplog):
    given_up, before = threading.Event(), Settings(1, 3)
    given_up.set()
    picture = Picture(SECONDS, (1.0, 1.0), (1.0,), RETURNING, Limits(4))
    assert planned(PlanningThread(), picture, before, given_up)[0] is before
    assert not caplog.text
