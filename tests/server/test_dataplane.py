"""One path for every request: claimed, checked, queued, counted and answered exactly once."""

import asyncio
import logging
import time

import numpy as np
import pytest
from server_fakes import QUEUE_ROWS, Plane

from headrace import cell
from headrace.errors import (
    BadRequest,
    DeadlineExceeded,
    ExecutorFailed,
    ModelNotFound,
    ModelNotReady,
    QueueFull,
    ServingError,
)
from headrace.models import ModelId
from headrace.requests import InferRequest, RequestedOutput
from model_repo.routing import Routing


@pytest.fixture
def on(tmp_path):
    """`on(scenario)` runs `scenario(plane)` in an event loop."""

    def run(scenario):
        async def main():
            async with asyncio.timeout(10), Plane(tmp_path).running() as plane:
                await scenario(plane)
                assert plane.cell(cell.IN_FLIGHT) == plane.cell(cell.QUEUE_ROWS) == 0
                assert all(handle.claims == 0 for handle in plane.models._instances.of())

        asyncio.run(main())

    return run


def request(rows=1, model="echo", version="", **more):
    return InferRequest(model, version, {"x": np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)}, **more)


def test_answer_has_model_id_and_own_rows(on):
    async def scenario(plane):
        requests = [request(rows, id=str(rows)) for rows in (1, 2, 3)]
        answers = await asyncio.gather(*map(plane.data.infer, requests))
        for asked, answer in zip(requests, answers, strict=True):
            assert answer.model == ModelId("echo", 3)
            assert answer.id == asked.id
            assert answer.outputs["x_out"].tolist() == asked.inputs["x"].tolist()

    on(scenario)


def test_version_that_is_named_answers(on):
    async def scenario(plane):
        assert (await plane.data.infer(request(version="1"))).model.version == 1

    on(scenario)


@pytest.mark.parametrize(
    ("model", "version", "kind"),
    [
        ("none", "", ModelNotFound),
        ("echo", "2", ModelNotFound),
        ("echo", "latest", ModelNotFound),
        ("broken", "", ModelNotReady),
        ("ghost", "", ModelNotReady),
    ],
)
def test_model_that_cannot_answer_is_refused_and_counted(on, model, version, kind):
    async def scenario(plane):
        with pytest.raises(kind, match=model):
            plane.data.submit(request(model=model, version=version), pytest.fail)
        assert plane.refused() == {kind.slug: 1}

    on(scenario)


@pytest.mark.parametrize(
    "bad",
    [
        InferRequest("echo", "", {}),
        InferRequest("echo", "", {"x": np.zeros((1, 3), np.float32)}),
        InferRequest("echo", "", {"x": np.zeros((QUEUE_ROWS + 1, 2), np.float32)}),
        request(outputs=[RequestedOutput("y")]),
    ],
    ids=["no input", "shape", "more rows than the queue takes", "output"],
)
def test_request_that_does_not_fit_is_refused_before_it_is_queued(on, bad):
    async def scenario(plane):
        with pytest.raises(BadRequest):
            plane.data.submit(bad, pytest.fail)
        assert plane.executor().runs == 0
        assert plane.servable().counters.failures() == {"bad_request": 1}
        assert plane.refused() == {}

    on(scenario)


def test_outputs_come_in_the_order_asked_for_and_in_the_form(on):
    async def scenario(plane):
        wish = RequestedOutput("x_out", classification=1)
        answer = await plane.data.infer(request(outputs=[wish]))
        assert answer.outputs["x_out"].tolist() == [["1.000000:1:dog"]]

    on(scenario)


def test_output_that_has_no_classes_is_the_clients_mistake_and_counted(on):
    async def scenario(plane):
        asked = InferRequest("text", "", {"x": np.array([["a"]], object)})
        asked.outputs = [RequestedOutput("x_out", classification=1)]
        with pytest.raises(BadRequest, match="needs numbers"):
            await plane.data.infer(asked)
        assert plane.servable("text", 1).counters.failures() == {"bad_request": 1}

    on(scenario)


def test_executor_that_forgets_an_output_is_an_error_and_no_silence(on):
    async def scenario(plane):
        plane.executor().outcome = {"else": np.zeros((1, 2), np.float32)}
        with pytest.raises(ExecutorFailed, match=r"'echo'.*KeyError"):
            await plane.data.infer(request(outputs=[RequestedOutput("x_out")]))

    on(scenario)


@pytest.mark.parametrize(
    ("raised", "heard"), [(BadRequest("values"), BadRequest), (ZeroDivisionError("bug"), ExecutorFailed)]
)
def test_failed_run_is_heard_of_and_counted(on, raised, heard):
    async def scenario(plane):
        plane.executor().outcome = raised
        with pytest.raises(heard):
            await plane.data.infer(request())
        assert plane.servable().counters.failures() == {heard.slug: 1}
        assert plane.cell(cell.SUCCESSES) == 0

    on(scenario)


def test_cancelled_request_is_not_answered_and_gives_its_place_back(on):
    async def scenario(plane):
        executor = plane.executor()
        executor.gate.clear()
        running = asyncio.create_task(plane.data.infer(request()))
        await executor.entered.wait()
        ticket = plane.data.submit(request(), pytest.fail)
        assert (plane.cell(cell.IN_FLIGHT), plane.cell(cell.QUEUE_ROWS)) == (2, 1)

        ticket.cancel()
        ticket.cancel()
        assert (plane.cell(cell.IN_FLIGHT), plane.cell(cell.QUEUE_ROWS)) == (1, 0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        executor.gate.set()
        await plane.data.infer(request())
        assert plane.servable().counters.failures() == {"cancelled": 2}
        assert plane.cell(cell.SUCCESSES) == 1

    on(scenario)


def test_request_beyond_the_queue_is_refused_at_once(on):
    async def scenario(plane):
        executor = plane.executor()
        executor.gate.clear()
        running = asyncio.create_task(plane.data.infer(request()))
        await executor.entered.wait()
        waiting = plane.data.submit(request(QUEUE_ROWS), lambda _: None)
        with pytest.raises(QueueFull, match=f"'echo' is overloaded: {QUEUE_ROWS} rows wait"):
            plane.data.submit(request(), pytest.fail)
        waiting.cancel()
        plane.data.submit(request(), lambda _: None)
        executor.gate.set()
        await running
        await plane.until(lambda: plane.cell(cell.SUCCESSES) == 2)

    on(scenario)


def test_timeout_is_heard_while_the_run_goes_on(on):
    async def scenario(plane):
        executor = plane.executor()
        executor.gate.clear()
        with pytest.raises(DeadlineExceeded, match=r"timeout of 5 ms passed"):
            await plane.data.infer(request(timeout_us=5000))
        assert plane.servable().counters.failures() == {"deadline_exceeded": 1}
        executor.gate.set()
        assert (await plane.data.infer(request())).outputs

    on(scenario)


def test_whoever_fails_to_receive_an_answer_leaves_the_others_alone(on):
    async def scenario(plane):
        def broken(_):
            raise RuntimeError("a bug of the receiver")

        plane.data.submit(request(), broken)
        assert (await plane.data.infer(request())).outputs

    on(scenario)


def test_refusals_are_counted_by_kind_and_bugs_as_internal(on):
    async def scenario(plane):
        plane.data.refused(BadRequest("no JSON"))
        plane.data.refused(ValueError("a bug"))
        assert plane.refused() == {"bad_request": 1, ServingError.slug: 1}

    on(scenario)


# -- what is logged ----------------------------------------------------------------------------------------------------


def told(caplog):
    return [
        (record.levelname, record.request_id, record.getMessage() if "outcome" not in vars(record) else record.outcome)
        for record in caplog.records
        if record.name == "headrace.requests"
    ]


async def some_of_each(plane):
    await plane.data.infer(request(id="good"))
    plane.executor().outcome = ExecutorFailed("it broke")
    with pytest.raises(ExecutorFailed):
        await plane.data.infer(request(id="x" * 500))
    for bad in (request(model="none", id="lost"), InferRequest("echo", "", {}, id="empty")):
        with pytest.raises(ServingError):
            plane.data.submit(bad, pytest.fail)
    plane.data.refused(BadRequest("no JSON"))


def test_a_failure_of_ours_is_logged_with_the_id_of_its_request_and_nothing_else_is(on, caplog):
    with caplog.at_level(logging.INFO, "headrace"):
        on(some_of_each)
    assert told(caplog) == [("WARNING", "x" * 100, "it broke")]


def test_at_level_debug_every_request_has_a_line_with_its_id_and_how_it_ended(on, caplog):
    with caplog.at_level(logging.DEBUG, "headrace"):
        on(some_of_each)
    lines = told(caplog)
    assert lines[:3] == [
        ("DEBUG", "good", "ok"),
        ("WARNING", "x" * 100, "it broke"),
        ("DEBUG", "x" * 100, "executor_failed"),
    ]
    assert [(level, id, text[:8]) for level, id, text in lines[3:]] == [
        ("DEBUG", "lost", "refused:"),
        ("DEBUG", "empty", "refused:"),
        ("DEBUG", "", "refused:"),
    ]
    ended = next(record for record in caplog.records if vars(record).get("outcome") == "ok")
    assert (ended.model, ended.rows) == (ModelId("echo", 3), 1)
    assert ended.ms >= 0


def test_in_overload_who_would_be_refused_is_refused_unread_and_counted_once(on):
    async def scenario(plane):
        executor = plane.executor()
        executor.gate.clear()
        first = asyncio.create_task(plane.data.infer(request()))
        await executor.entered.wait()
        second = asyncio.create_task(plane.data.infer(request(QUEUE_ROWS)))
        await plane.until(lambda: plane.cell(cell.QUEUE_ROWS) == QUEUE_ROWS)
        assert not plane.data.overloaded, "nobody was refused yet, and nobody need ask"
        with pytest.raises(QueueFull) as read:
            plane.data.submit(request(), pytest.fail)
        unread = plane.data.refuse_unread("echo", "", 0)
        assert str(unread) == str(read.value)
        assert plane.servable().counters.failures() == {"queue_full": 2}
        assert plane.data.refuse_unread("echo", "1", 0) is None, "that version has room"
        assert plane.data.refuse_unread("echo", "2", 0) is None, "submit says that there is none"
        plane.want(echo=Routing(traffic={"1": 50.0}))
        await plane.models.settled()
        assert plane.data.refuse_unread("echo", "", 0) is None, "which version it gets is not known yet"
        assert plane.servable().counters.failures() == {"queue_full": 2}
        assert plane.refused() == {}
        executor.gate.set()
        await asyncio.gather(first, second)

    on(scenario)


def test_an_overload_that_is_over_is_forgotten(on):
    async def scenario(plane):
        plane.data.overloaded["echo"] = time.monotonic() - 1e-3
        assert plane.data.refuse_unread("echo", "", 1) is None
        assert plane.data.overloaded == {}

    on(scenario)
