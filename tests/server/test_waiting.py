"""Requests that wait for a model: each enters, is refused or goes away, and nobody waits without an end."""

import asyncio

import numpy as np
import pytest
from model_repo_fakes import PuppetLoader, running, spec
from server_fakes import Plane
from virtual_time import turns, virtual

from headrace.errors import DeadlineExceeded, LoadFailed, ModelNotFound, ModelNotReady, QueueFull
from headrace.models import ModelId
from headrace.requests import InferRequest
from model_repo.found import ASLEEP, Problem
from server.dataplane import DataPlane
from server.pool.channel import Wake, Woken
from server.pool.waker import Waker
from server.waiting import WaitingRoom

MOST = 3


class Guest:
    """One who waits; what became of it, and the order in which things became of all."""

    def __init__(self, hall, version="", timeout_ms=0):
        self.hall = hall
        self.cancelled = False
        self.waiting = hall.room.wait("m", version, timeout_ms * 1000, self.enter, self.refuse)

    def enter(self, waiting):
        self.hall.ends.append((self, "entered"))
        return self

    def refuse(self, error):
        self.hall.ends.append((self, error))

    def cancel(self):
        self.cancelled = True


class Hall:
    """A waiting room over a manager that loads when told to."""

    def __init__(self, manager, loader):
        self.manager = manager
        self.loader = loader
        self.sent = []
        self.ends = []
        self.room = WaitingRoom(manager, Waker(self.sent.append), MOST)

    def asleep(self):
        self.manager.want({}, [Problem("m", None, ASLEEP)])

    async def wake(self, text="m/1"):
        self.manager.want({spec(word).id: spec(word) for word in text.split()})
        await turns()

    async def finish(self, tag="m/1a", error=None):
        if error:
            self.loader.fail(tag, error)
        else:
            self.loader.finish(tag)
        await turns()


def scene(test):
    """Runs `test(hall)` in virtual time."""

    @virtual
    async def run():
        loader = PuppetLoader()
        async with running(loader) as manager:
            hall = Hall(manager, loader)
            following = asyncio.create_task(hall.room.follow())
            hall.asleep()
            await turns()
            await test(hall)
            following.cancel()

    run.__name__ = test.__name__
    return run


def kinds(hall):
    return [end if isinstance(end, str) else type(end) for _, end in hall.ends]


@scene
async def test_all_who_wait_enter_in_order_when_the_model_is_there_and_it_is_asked_for_once(hall):
    guests = [Guest(hall) for _ in range(MOST)]
    assert hall.sent == [Wake("m")]
    await hall.wake()
    assert hall.ends == []
    await hall.finish()
    assert hall.ends == [(guest, "entered") for guest in guests]
    assert hall.sent == [Wake("m"), Woken("m")]
    assert not hall.room.is_for("m")


@scene
async def test_nobody_waits_longer_than_its_timeout(hall):
    patient, hasty = Guest(hall), Guest(hall, timeout_ms=50)
    await asyncio.sleep(0.049)
    assert hall.ends == []
    await asyncio.sleep(0.002)
    ((who, error),) = hall.ends
    assert (who, type(error)) == (hasty, DeadlineExceeded)
    assert "50 ms passed before model 'm' was loaded" in str(error)
    await hall.wake()
    await hall.finish()
    assert hall.ends[1:] == [(patient, "entered")]


@scene
async def test_a_load_that_fails_tells_everyone_why(hall):
    Guest(hall)
    Guest(hall)
    await hall.wake()
    await hall.finish(error=LoadFailed("the file is no model"))
    assert kinds(hall) == [ModelNotReady] * 2
    assert "the file is no model" in str(hall.ends[0][1])
    assert hall.sent[-1] == Woken("m")


@scene
async def test_a_load_that_is_overtaken_by_a_newer_one_is_no_end_of_the_wait(hall):
    Guest(hall)
    await hall.wake("m/1")
    await hall.wake("m/1b")
    await hall.finish("m/1a", error=LoadFailed("superseded"))
    assert hall.ends == []
    await hall.finish("m/1b")
    assert kinds(hall) == ["entered"]


@scene
async def test_a_model_that_is_removed_is_waited_for_no_more(hall):
    Guest(hall)
    hall.manager.want({})
    await turns()
    assert kinds(hall) == [ModelNotFound]


@scene
async def test_a_version_that_is_not_among_those_that_come_is_refused_and_the_others_enter(hall):
    for version in ("7", "1", ""):
        Guest(hall, version)
    await hall.wake()
    await hall.finish()
    assert kinds(hall) == [ModelNotFound, "entered", "entered"]


@scene
async def test_one_that_goes_away_is_forgotten_and_its_place_is_free(hall):
    guests = [Guest(hall) for _ in range(MOST)]
    with pytest.raises(QueueFull, match="3 requests wait"):
        Guest(hall)
    guests[0].waiting.cancel()
    guests[0].waiting.cancel()
    assert not guests[0].cancelled
    Guest(hall)
    await hall.wake()
    await hall.finish()
    assert kinds(hall) == ["entered"] * MOST
    assert guests[0] not in dict(hall.ends)
    guests[1].waiting.cancel()
    assert guests[1].cancelled  # what it became, that is


@scene
async def test_when_all_have_gone_away_the_model_is_asked_for_no_more(hall):
    guest = Guest(hall, timeout_ms=10)
    Guest(hall).waiting.cancel()
    assert hall.sent == [Wake("m")]
    await asyncio.sleep(0.02)
    assert kinds(hall) == [DeadlineExceeded]
    assert hall.sent == [Wake("m"), Woken("m")]
    guest.waiting.cancel()
    assert hall.sent == [Wake("m"), Woken("m")]


@scene
async def test_at_the_end_everyone_is_told_and_nobody_begins_to_wait(hall):
    Guest(hall)
    hall.room.end()
    assert kinds(hall) == [ModelNotReady]
    with pytest.raises(ModelNotReady, match="shutting down"):
        Guest(hall)


@scene
async def test_whoever_fails_to_be_told_leaves_the_others_alone(hall):
    first, second = Guest(hall), Guest(hall)
    first.waiting.enter = None
    await hall.wake()
    await hall.finish()
    assert hall.ends == [(second, "entered")]


@scene
async def test_one_that_takes_another_with_it_harms_nobody(hall):
    first, second, third = (Guest(hall) for _ in range(MOST))
    first.waiting.enter = lambda _: second.waiting.cancel()
    await hall.wake()
    await hall.finish()
    assert hall.ends == [(third, "entered")]


@scene
async def test_a_model_that_falls_asleep_again_is_asked_for_again(hall):
    Guest(hall)
    await hall.wake()
    hall.asleep()
    await turns()
    await hall.finish()
    assert hall.ends == []
    assert hall.room.is_for("m")
    await hall.wake()
    await hall.finish()
    assert kinds(hall) == ["entered"]


# -- by way of the data plane -----------------------------------------------------------------------------------------


@pytest.fixture
def on(tmp_path):
    """`on(scenario)` runs `scenario(plane, data, sent)`; the model echo is asleep, `wake(plane)` loads it."""

    def run(scenario):
        async def main():
            async with asyncio.timeout(10), Plane(tmp_path).running() as plane:
                sent = []
                room = WaitingRoom(plane.models, Waker(sent.append))
                following = asyncio.create_task(room.follow())
                plane.models.want({}, [Problem("echo", None, ASLEEP), Problem("ghost", None, "no versions")])
                await plane.models.settled()
                data = DataPlane(plane.models, plane.statistics.open(ModelId("", 0), 1), room)
                await scenario(plane, data, sent)
                following.cancel()

        asyncio.run(main())

    return run


def wake(plane, version=1):
    id = ModelId("echo", version)
    plane.models.want({id: plane._spec(id)})


def request(**more):
    return InferRequest("echo", "", {"x": np.ones((1, 2), np.float32)}, **more)


def test_requests_for_a_sleeping_model_are_answered_by_it_and_the_wait_counts(on):
    async def scenario(plane, data, sent):
        answers = asyncio.gather(*(data.infer(request(timeout_us=5_000_000)) for _ in range(3)))
        await turns()
        assert sent == [Wake("echo")]
        await asyncio.sleep(0.03)
        wake(plane)
        assert {answer.model.version for answer in await answers} == {1}
        assert plane.servable("echo", 1).counters.cells[1] >= 3 * 0.03 * 1e9  # SUCCESS_NS
        assert plane.refused() == {}

    on(scenario)


def test_a_request_that_does_not_fit_hears_it_when_the_model_is_there(on):
    async def scenario(plane, data, sent):
        heard = asyncio.get_running_loop().create_future()
        data.submit(InferRequest("echo", "", {}), heard.set_result)
        wake(plane)
        assert (await heard).slug == "bad_request"
        assert plane.servable("echo", 1).counters.failures() == {"bad_request": 1}

    on(scenario)


def test_a_request_that_waited_in_vain_is_counted_as_refused(on):
    async def scenario(plane, data, sent):
        with pytest.raises(DeadlineExceeded):
            await data.infer(request(timeout_us=1000))
        assert plane.refused() == {"deadline_exceeded": 1}
        assert sent == [Wake("echo"), Woken("echo")]

    on(scenario)


def test_a_client_that_goes_away_while_it_waits_or_after_is_answered_nothing(on):
    async def scenario(plane, data, sent):
        task = asyncio.create_task(data.infer(request()))
        ticket = data.submit(request(), pytest.fail)
        await turns()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        wake(plane)
        await plane.until(lambda: plane.models.ready_versions("echo"))
        plane.executor("echo", 1).gate.clear()
        await plane.until(lambda: sent[-1:] == [Woken("echo")])
        ticket.cancel()
        assert plane.servable("echo", 1).counters.failures() == {"cancelled": 1}

    on(scenario)


def test_other_models_do_not_wait(on):
    async def scenario(plane, data, sent):
        for model, kind in (("ghost", ModelNotReady), ("none", ModelNotFound)):
            with pytest.raises(kind):
                data.submit(InferRequest(model, "", {}), pytest.fail)
            await data.awake(model, "")  # the next question says why
        assert sent == []

    on(scenario)


def test_whoever_only_asks_about_it_wakes_it_too_and_hears_why_it_does_not_come(on):
    async def scenario(plane, data, sent):
        asking = asyncio.create_task(data.awake("echo", ""))
        leaving = asyncio.create_task(data.awake("echo", ""))
        await turns()
        leaving.cancel()
        wake(plane)
        await asking
        assert plane.models.ready_versions("echo") == [1]
        plane.models.want({}, [Problem("echo", None, ASLEEP)])
        asking = asyncio.create_task(data.awake("echo", ""))
        await turns()
        plane.models.want({}, [Problem("echo", None, "its folder is gone")])
        with pytest.raises(ModelNotReady, match="its folder is gone"):
            await asking

    on(scenario)
