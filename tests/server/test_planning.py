import asyncio
import threading

from batcher.decide import Limits
from batcher.simulate import Load
from batcher.twin import Picture, Settings
from server.planning import PlanningThread

SECONDS = [0.0, 0.004, 0.005, 0.006, 0.007]


async def _planned(planner, picture, settings):
    found = asyncio.get_running_loop().create_future()
    planner(picture, settings, found.set_result)
    return await asyncio.wait_for(found, 30)


def planned(planner, picture, settings):
    return asyncio.run(_planned(planner, picture, settings))


def test_a_plan_is_found_in_a_thread_and_comes_back_to_the_loop():
    returning = Load(clients=4, thinks=[0.0001 * (1 + i % 7) for i in range(100)])
    settings = planned(PlanningThread(), Picture(SECONDS, (1.0, 1.0), (1.0,), returning, Limits(4)), None)
    assert settings.waits


def test_a_planning_that_fails_leaves_what_was_in_force_and_the_thread_goes_on(caplog):
    planner, before = PlanningThread(), Settings(1, 4)
    broken = Picture(SECONDS, (), (1.0,), Load(opens=[0.01 * i for i in range(50)]), Limits(4))
    for _ in range(2):
        assert planned(planner, broken, before) == before
    assert caplog.text.count("no plan could be found") == 2


def test_the_thread_rests_nineteen_times_as_long_as_it_worked():
    times, rests = iter([1.0, 1.25, 2.0, 2.5]), []
    rested = threading.Event()

    def rest(seconds):
        rests.append(seconds)
        if len(rests) == 2:
            rested.set()

    planner = PlanningThread(clock=lambda: next(times), sleep=rest)
    for _ in range(2):
        planned(planner, Picture(SECONDS, (1.0, 1.0), (1.0,), Load(), Limits(4)), None)
    assert rested.wait(30)
    assert rests == [19 * 0.25, 19 * 0.5]
