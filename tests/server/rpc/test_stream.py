"""Many requests on one stream: order, errors inside, limits, cancellation, draining."""

import asyncio
import queue

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from headrace import cell
from headrace.errors import ModelNotReady
from server.rpc import stream
from server.rpc.clients import Peer
from server.rpc.stream import Streams


def request(model="mirror", id="", value=0.0, version=""):
    """One row of one float."""
    made = pb.ModelInferRequest(model_name=model, model_version=version, id=id)
    made.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    made.raw_input_contents.append(np.float32(value).tobytes())
    return made


def value(answer):
    return float(np.frombuffer(answer.infer_response.raw_output_contents[0], np.float32)[0])


async def open_stream(channel):
    return service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer()


def test_blocking_client_streams(serve, row):
    def scenario(served):
        client = served.client()
        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        for at in range(5):
            client.async_stream_infer("mirror", row(at), request_id=str(at))
        for at in range(5):
            result, error = answers.get(timeout=10)
            assert error is None
            assert result.get_response().id == str(at)
            assert result.as_numpy("out_x").tolist() == [[at]]
        client.stop_stream()

    serve(scenario)


def test_aio_client_streams(serve, row):
    async def scenario(served):
        async def inputs():
            for at in range(5):
                yield {"model_name": "mirror", "inputs": row(at), "request_id": str(at)}

        async with served.aio_client() as client:
            found = [result async for result, error in client.stream_infer(inputs()) if error is None]
        assert [result.as_numpy("out_x").tolist() for result in found] == [[[at]] for at in range(5)]

    serve(scenario)


def test_answers_come_in_the_order_of_the_requests(serve):
    async def scenario(served):
        slow = served.executor("mirror", 1)
        slow.gate.clear()
        async with grpc.aio.insecure_channel(served.url) as channel:
            call = await open_stream(channel)
            await call.write(request(id="slow", version="1"))
            await call.write(request(id="fast", version="3"))
            await served.until(lambda: served.cell(cell.SUCCESSES) == 1)  # the fast one is done and is held back
            slow.gate.set()
            assert [(await call.read()).infer_response.id for _ in range(2)] == ["slow", "fast"]
            await call.done_writing()
            assert await call.code() is grpc.StatusCode.OK

    serve(scenario)


def test_requests_of_one_stream_share_batches(serve):
    async def scenario(served):
        executor = served.executor()
        executor.gate.clear()
        async with grpc.aio.insecure_channel(served.url) as channel:
            call = await open_stream(channel)
            await call.write(request())
            await executor.entered.wait()
            for at in range(8):
                await call.write(request(value=at))
            await served.until(lambda: served.cell(cell.QUEUE_ROWS) == 8)
            executor.gate.set()
            await call.read()
            assert [value(await call.read()) for _ in range(8)] == list(range(8))
        assert (served.cell(cell.BATCHES), served.cell(cell.ROWS)) == (2, 9)

    serve(scenario)


def test_an_error_is_one_answer_and_the_stream_goes_on(serve):
    async def scenario(served):
        async with grpc.aio.insecure_channel(served.url) as channel:
            call = await open_stream(channel)
            for model in ("mirror", "unknown", "mirror"):
                await call.write(request(model, id=model, value=4))
            assert value(await call.read()) == 4
            failed = await call.read()
            assert failed.error_message == "model 'unknown' is not found"
            assert failed.infer_response.id == "unknown"
            assert value(await call.read()) == 4
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK

    serve(scenario)


def test_client_library_gives_the_error_to_its_callback(serve, row):
    def scenario(served):
        client = served.client()
        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("unknown", row(1))
        client.async_stream_infer("mirror", row(2))
        assert "'unknown' is not found" in answers.get(timeout=10)[1].message()
        assert answers.get(timeout=10)[0].as_numpy("out_x").tolist() == [[2.0]]
        client.stop_stream()

    serve(scenario)


def test_bytes_that_are_no_request_end_the_stream_after_what_came_before(serve):
    async def scenario(served):
        async with grpc.aio.insecure_channel(served.url) as channel:
            call = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")()
            first = asyncio.create_task(call.read())  # grpc.aio drops messages that nobody reads before the end
            await call.write(request(value=1).SerializeToString())
            await call.write(b"\xff\xff")
            assert value(pb.ModelStreamInferResponse.FromString(await first)) == 1
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "inference.ModelInferRequest" in await call.details()

    serve(scenario)


def test_cancelled_stream_cancels_what_is_under_way(serve):
    async def scenario(served):
        executor = served.executor()
        executor.gate.clear()
        async with grpc.aio.insecure_channel(served.url) as channel:
            call = await open_stream(channel)
            await call.write(request())
            await executor.entered.wait()
            for _ in range(5):
                await call.write(request())
            await served.until(lambda: served.cell(cell.QUEUE_ROWS) == 5)
            call.cancel()
            await served.until(lambda: served.cell(cell.IN_FLIGHT) == 0)
        assert served.cell(cell.QUEUE_ROWS) == 0
        assert served.cell(cell.FAILURES) == 6

    serve(scenario)


class Carrier:
    """What carries a stream's messages, without a connection."""

    def __init__(self):
        self.peer = Peer()
        self.sent, self.held, self.end = [], False, None
        self.writable = True

    def send(self, message):
        self.sent.append(pb.ModelStreamInferResponse.FromString(message).infer_response.id)
        return self.writable

    def hold(self):
        self.held = True

    def release(self):
        self.held = False

    def close(self):
        self.end = "closed"

    def fail(self, error):
        self.end = error


class Puppet:
    """A server that answers when it is told to."""

    def __init__(self):
        self.waiting, self.cancelled = [], 0
        self.streams = Streams(self.submit)
        self.call = Carrier()
        self.stream = self.streams.begin(self.call)

    def submit(self, data, call, client, settle):
        self.waiting.append((pb.ModelInferRequest.FromString(data).id, settle))
        return self

    def cancel(self):
        self.cancelled += 1

    def ask(self, *ids):
        for each in ids:
            self.stream.message(pb.ModelInferRequest(id=each).SerializeToString())

    def answer(self, at=0):
        id, settle = self.waiting.pop(at)
        settle(pb.ModelInferResponse(id=id).SerializeToString())


def test_a_stream_holds_its_client_back():
    puppet = Puppet()
    for at in range(stream.MAX_IN_FLIGHT):
        assert not puppet.call.held
        puppet.ask(str(at))
    assert puppet.call.held
    puppet.answer(at=1)
    assert puppet.call.held, "the oldest is not answered"
    puppet.answer()
    assert puppet.call.sent == ["0", "1"]
    assert not puppet.call.held


def test_answers_wait_for_a_client_that_does_not_read_and_are_in_flight_meanwhile():
    puppet = Puppet()
    puppet.call.writable = False
    puppet.ask(*map(str, range(stream.MAX_IN_FLIGHT)))
    for _ in range(stream.MAX_IN_FLIGHT):
        puppet.answer()
    assert puppet.call.sent == ["0"]
    puppet.ask("one more")
    assert puppet.call.held
    puppet.call.writable = True
    puppet.stream.resume()
    assert puppet.call.sent == [str(at) for at in range(stream.MAX_IN_FLIGHT)]
    assert not puppet.call.held


def test_a_stream_ends_when_its_client_has_and_all_is_answered():
    puppet = Puppet()
    puppet.ask("a", "b")
    puppet.stream.ended()
    puppet.answer()
    assert puppet.call.end is None
    puppet.answer()
    assert (puppet.call.sent, puppet.call.end) == (["a", "b"], "closed")
    assert not puppet.streams.open


def test_drain_answers_what_was_read_and_ends_the_stream(serve):
    async def scenario(served):
        executor = served.executor()
        executor.gate.clear()
        async with grpc.aio.insecure_channel(served.url) as channel:
            call = await open_stream(channel)
            await call.write(request(value=1))
            await executor.entered.wait()
            idle = await open_stream(channel)
            await idle.write(request(version="1", value=2))
            assert value(await idle.read()) == 2
            draining = asyncio.create_task(served.front.drain(10))
            assert await idle.code() is grpc.StatusCode.UNAVAILABLE
            executor.gate.set()
            assert value(await call.read()) == 1
            for each in (call, idle):
                assert await each.code() is grpc.StatusCode.UNAVAILABLE
                assert "shutting down" in await each.details()
            await draining

    serve(scenario)


def test_a_stream_that_drains_takes_nothing_more():
    puppet = Puppet()
    puppet.ask("a")
    puppet.streams.drain()
    puppet.ask("b")
    assert [id for id, _ in puppet.waiting] == ["a"]
    puppet.answer()
    assert puppet.call.sent == ["a"]
    assert isinstance(puppet.call.end, ModelNotReady)


def test_a_stream_that_opens_while_the_server_drains_ends_with_its_first_message():
    puppet = Puppet()
    puppet.streams.draining = True
    puppet.ask("a")
    assert isinstance(puppet.call.end, ModelNotReady)


@pytest.mark.parametrize("parameters", [{}, {"priority": 1}], ids=["unread", "read"])
def test_who_may_try_again_is_told_when_in_the_message_and_as_a_parameter(serve, parameters):
    async def scenario(served):
        executor = served.executor()
        executor.gate.clear()
        asked = request(id="late")
        for name, value in parameters.items():
            asked.parameters[name].int64_param = value
        async with grpc.aio.insecure_channel(served.url) as channel:
            call = await open_stream(channel)
            await call.write(request())
            await executor.entered.wait()
            for _ in range(64):
                await call.write(request())
            await served.until(lambda: served.cell(cell.QUEUE_ROWS) == 64)
            for _ in range(2):
                await call.write(asked)
            await served.until(lambda: served.cell(cell.FAILURES) == 2)
            executor.gate.set()
            for _ in range(65):
                assert not (await call.read()).error_message
            for _ in range(2):
                refused = await call.read()
                assert refused.error_message == (
                    "model 'mirror' is overloaded: 64 rows wait and at most 64 may (max_queue_rows)"
                    " (headrace-retry-after-ms: 1000)"
                )
                assert refused.infer_response.id == "late"
                assert refused.infer_response.parameters["headrace-retry-after-ms"].int64_param == 1000

    serve(scenario)
