"""The whole front end through unmodified Triton clients: every method, every datatype, every kind of refusal."""

import asyncio
import queue

import grpc
import numpy as np
import pytest
import tritonclient.grpc
from google.protobuf import json_format
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

from headrace import cell
from headrace.datatypes import Datatype
from headrace.errors import BadRequest, ExecutorFailed
from model_repo.routing import Routing
from server.rpc import servicer


def refused(call, *arguments, **named):
    """The (code, sentence) that the call is refused with."""
    with pytest.raises(InferenceServerException) as refusal:
        call(*arguments, **named)
    return refusal.value.status(), refusal.value.message()


def test_client_infers(serve, row):
    def scenario(served):
        answer = served.client().infer("mirror", row(1, 2), request_id="7")
        assert answer.as_numpy("out_x").tolist() == [[1.0, 2.0]]
        response = answer.get_response()
        assert (response.id, response.model_name, response.model_version) == ("7", "mirror", "3")

    serve(scenario)


def test_aio_client_infers(serve, row):
    async def scenario(served):
        async with served.aio_client() as client:
            answers = await asyncio.gather(*(client.infer("mirror", row(at, -at)) for at in range(30)))
        assert [answer.as_numpy("out_x").tolist() for answer in answers] == [[[at, -at]] for at in range(30)]

    serve(scenario)


def test_version_can_be_chosen(serve, row):
    def scenario(served):
        answer = served.client().infer("mirror", row(1), model_version="1")
        assert answer.get_response().model_version == "1"

    serve(scenario)


ONLY_LABELS = {"mirror": Routing({"canary": 3})}
SPLIT = {"mirror": Routing({"stable": 1, "canary": 3}, {"canary": 50})}


def test_labels_stand_wherever_a_version_does(serve, row):
    def scenario(served):
        served.models.want(served.wanted, routing=SPLIT)
        client = served.client()
        for label, number in (("stable", "1"), ("canary", "3")):
            answer = client.infer("mirror", row(1), model_version=label)
            assert answer.get_response().model_version == number
            assert client.is_model_ready("mirror", label)
            assert client.get_model_metadata("mirror", label).versions == ["1", "3"]
            assert client.get_model_config("mirror", label) == client.get_model_config("mirror", number)
            (counted,) = client.get_inference_statistics("mirror", label).model_stats
            assert counted.version == number
        assert not client.is_model_ready("mirror", "canery")
        code, sentence = refused(client.infer, "mirror", row(1), model_version="canery")
        assert (code, "there is 1, 3, stable, canary" in sentence) == ("StatusCode.NOT_FOUND", True)
        assert {each.version for each in client.get_model_repository_index().models if each.name == "mirror"} == {
            "1",
            "3",
        }

    serve(scenario)


def test_requests_that_name_no_version_are_split_and_stay_by_their_metadata(serve, row):
    def scenario(served):
        served.models.want(served.wanted, routing=SPLIT)
        client = served.client()

        def versions(count, **named):
            answers = [client.infer("mirror", row(1), **named) for _ in range(count)]
            return [answer.get_response().model_version for answer in answers]

        assert sorted(versions(10)) == ["1"] * 5 + ["3"] * 5
        for key in map(str, range(6)):
            (version,) = set(versions(4, headers={"headrace-sticky": key}))
            chosen = served.models.acquire("mirror", "", key)
            chosen.release()
            assert version == str(chosen.spec.id.version)
        assert len(set(versions(4, headers={"headrace-sticky": " "}))) == 2, "no key at all"

    serve(scenario)


def test_a_stream_stays_by_its_metadata(serve, row):
    def scenario(served):
        served.models.want(served.wanted, routing=SPLIT)
        for key in ("a", "b", "c", "d"):
            answers = queue.Queue()
            client = served.client()
            client.start_stream(lambda result, error, into=answers: into.put(result), headers={"headrace-sticky": key})
            for _ in range(4):
                client.async_stream_infer("mirror", row(1))
            found = {answers.get(timeout=10).get_response().model_version for _ in range(4)}
            client.stop_stream()
            chosen = served.models.acquire("mirror", "", key)
            chosen.release()
            assert found == {str(chosen.spec.id.version)}

    serve(scenario)


def test_every_datatype_comes_back_as_it_went(serve, tensor_of):
    def scenario(served):
        client = served.client()
        for kind in Datatype:
            if kind is Datatype.BYTES:
                sent = np.array([["a", "", "żółć"]], dtype=object)
            else:
                sent = np.array([[0, 1, 1]]).astype(kind.numpy)
            answer = client.infer(f"mirror_{kind.wire}", [tensor_of(sent, datatype=kind.wire)])
            assert answer.get_output("out_x").datatype == kind.wire
            found = answer.as_numpy("out_x")
            if kind is Datatype.BYTES:
                found = np.array([[text.decode() for text in line] for line in found], dtype=object)
            assert found.tolist() == sent.tolist(), kind

    serve(scenario)


def test_typed_contents_infer(serve):
    async def scenario(served):
        request = pb.ModelInferRequest(model_name="pair")
        request.inputs.add(name="a", datatype="INT32", shape=[1, 2]).contents.int_contents.extend([1, -2])
        request.inputs.add(name="b", datatype="BYTES", shape=[1, 1]).contents.bytes_contents.append(b"text")
        async with grpc.aio.insecure_channel(served.url) as channel:
            answer = await service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
        assert [output.name for output in answer.outputs] == ["out_a", "out_b"]
        assert list(answer.raw_output_contents) == [b"\1\0\0\0\xfe\xff\xff\xff", b"\4\0\0\0text"]

    serve(scenario)


def test_only_the_outputs_asked_for_are_sent(serve, tensor_of):
    def scenario(served):
        inputs = [
            tensor_of(np.array([[1, 2]], np.int32), "a", "INT32"),
            tensor_of(np.array([["t"]], dtype=object), "b", "BYTES"),
        ]
        wanted = [tritonclient.grpc.InferRequestedOutput("out_b")]
        answer = served.client().infer("pair", inputs, outputs=wanted)
        assert [output.name for output in answer.get_response().outputs] == ["out_b"]
        assert answer.as_numpy("out_b").tolist() == [[b"t"]]

    serve(scenario)


def test_classification_names_the_best_classes(serve, row):
    def scenario(served):
        wanted = [tritonclient.grpc.InferRequestedOutput("out_x", class_count=2)]
        answer = served.client().infer("mirror", row(0.5, 3, 1), outputs=wanted)
        assert answer.as_numpy("out_x").tolist() == [[b"3.000000:1:dog", b"1.000000:2:eel"]]

    serve(scenario)


def test_server_questions(serve):
    def scenario(served):
        client = served.client()
        assert client.is_server_live()
        assert client.is_server_ready()
        served.ready = False
        assert client.is_server_live()
        assert not client.is_server_ready()
        metadata = client.get_server_metadata()
        assert metadata.name == "headrace"
        assert "classification" in metadata.extensions

    serve(scenario)


def test_model_readiness_is_an_answer_not_an_error(serve):
    def scenario(served):
        client = served.client()
        assert client.is_model_ready("mirror")
        assert client.is_model_ready("mirror", "1")
        assert not client.is_model_ready("mirror", "2")
        assert not client.is_model_ready("broken")
        assert not client.is_model_ready("unknown")

    serve(scenario)


def test_model_questions(serve, row):
    def scenario(served):
        client = served.client()
        metadata = client.get_model_metadata("mirror")
        assert list(metadata.versions) == ["1", "3"]
        assert [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs] == [("x", "FP32", [-1, -1])]
        config = client.get_model_config("mirror").config
        assert (config.name, config.max_batch_size) == ("mirror", 8)
        client.infer("mirror", row(1))
        statistics = client.get_inference_statistics("mirror", "3").model_stats
        assert [(each.name, each.version, each.inference_count) for each in statistics] == [("mirror", "3", 1)]
        assert statistics[0].inference_stats.success.count == 1
        index = json_format.MessageToDict(client.get_model_repository_index())["models"]
        assert {"name": "mirror", "version": "3", "state": "READY"} in index
        broken = {"name": "broken", "version": "1", "state": "UNAVAILABLE", "reason": "the file is not a model"}
        assert broken in index

    serve(scenario)


def test_repository_index_of_what_is_ready(serve):
    async def scenario(served):
        async with grpc.aio.insecure_channel(served.url) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            index = await stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True))
        assert {row.state for row in index.models} == {"READY"}

    serve(scenario)


def test_refusals_carry_code_and_sentence(serve, row, tensor_of):
    def scenario(served):
        client = served.client()
        code, sentence = refused(client.infer, "unknown", row(1))
        assert (code, "'unknown'" in sentence) == ("StatusCode.NOT_FOUND", True)
        code, sentence = refused(client.infer, "mirror", row(1), model_version="2")
        assert (code, "no version 2" in sentence) == ("StatusCode.NOT_FOUND", True)
        code, sentence = refused(client.infer, "broken", row(1))
        assert (code, "the file is not a model" in sentence) == ("StatusCode.UNAVAILABLE", True)
        code, sentence = refused(client.infer, "mirror", [tensor_of(np.zeros((1, 1), np.float32), "z")])
        assert (code, "'z'" in sentence) == ("StatusCode.INVALID_ARGUMENT", True)
        for question in (client.get_model_metadata, client.get_model_config, client.get_inference_statistics):
            assert refused(question, "unknown")[0] == "StatusCode.NOT_FOUND"

    serve(scenario)


def test_failing_model_is_internal_with_its_sentence(serve, row):
    def scenario(served):
        served.executor().error = ExecutorFailed("model 'mirror' failed: out of luck")
        refusal = refused(served.client().infer, "mirror", row(1))
        assert refusal == ("StatusCode.INTERNAL", "model 'mirror' failed: out of luck")

    serve(scenario)


def test_unforeseen_exception_is_internal_and_logged(serve, row, caplog):
    def scenario(served):
        def submit(request, answer):
            raise ZeroDivisionError("a secret")

        served.plane.submit = submit
        refusal = refused(served.client().infer, "mirror", row(1))
        assert refusal == ("StatusCode.INTERNAL", "internal error: ZeroDivisionError")

    serve(scenario)
    assert "ZeroDivisionError: a secret" in caplog.text


def test_undecodable_requests_are_counted(serve, tensor_of):
    def scenario(served):
        client = served.client()
        bad = tritonclient.grpc.InferInput("x", [1, 1], "FLOAT")
        bad._raw_content = b"\0\0\0\0"
        assert "unknown datatype 'FLOAT'" in refused(client.infer, "mirror", [bad])[1]
        assert served.refused() == {BadRequest.slug: 1}

    serve(scenario)


def test_long_sentences_fit_into_a_status(serve):
    def scenario(served):
        name = "ż" * 20_000
        code, sentence = refused(served.client().infer, "mirror", [tritonclient.grpc.InferInput(name, [1, 1], "FP32")])
        assert code == "StatusCode.INVALID_ARGUMENT"
        assert sentence.endswith("...")

    serve(scenario)


@pytest.mark.parametrize("name", servicer._NOT_SUPPORTED)
def test_what_is_missing_says_so(serve, name):
    async def scenario(served):
        async with grpc.aio.insecure_channel(served.url) as channel:
            method = getattr(service_pb2_grpc.GRPCInferenceServiceStub(channel), name)
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await method(getattr(pb, f"{name}Request")())
        assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert refusal.value.details().startswith(f"{name} is not supported: this server")

    serve(scenario)


def test_every_method_of_the_protocol_is_there():
    methods = {method.name for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods}
    assert set(servicer.Servicer(None, None, bool, None).methods) == methods
    assert len(methods) == 20


def test_deadline_of_the_call_and_timeout_parameter_bound_the_request(serve, row):
    async def scenario(served):
        bounds = []
        submit = served.plane.submit

        def note(request, answer):
            bounds.append(request.timeout_us)
            return submit(request, answer)

        served.plane.submit = note
        async with served.aio_client() as client:
            await client.infer("mirror", row(1))
            await client.infer("mirror", row(1), timeout=5_000_000)
            await client.infer("mirror", row(1), client_timeout=100.0)
            await client.infer("mirror", row(1), client_timeout=100.0, timeout=5_000_000)
            await client.infer("mirror", row(1), client_timeout=10.0, timeout=50_000_000)
        assert bounds[:2] == [0, 5_000_000]
        assert 5_000_000 < bounds[2] < 102_000_000  # grpc rounds a deadline up by as much as one per cent
        assert bounds[3] == 5_000_000
        assert 0 < bounds[4] < 10_200_000

    serve(scenario)


def test_timeout_parameter_ends_a_request_that_waits(serve, row):
    async def scenario(served):
        served.executor().gate.clear()
        async with served.aio_client() as client:
            with pytest.raises(InferenceServerException) as refusal:
                await client.infer("mirror", row(1), timeout=1000)
        assert refusal.value.status() == "StatusCode.DEADLINE_EXCEEDED"
        assert "1 ms" in refusal.value.message()

    serve(scenario)


def test_cancelled_call_cancels_its_request_and_no_other(serve, row):
    async def scenario(served):
        executor = served.executor()
        executor.gate.clear()
        async with served.aio_client() as client:
            running = asyncio.create_task(client.infer("mirror", row(1)))
            await executor.entered.wait()  # the slot is taken: whatever comes now waits in the queue
            dropped = asyncio.create_task(client.infer("mirror", row(2)))
            kept = asyncio.create_task(client.infer("mirror", row(3)))
            await served.until(lambda: served.cell(cell.QUEUE_ROWS) == 2)
            dropped.cancel()
            await served.until(lambda: served.cell(cell.QUEUE_ROWS) == 1)
            executor.gate.set()
            assert (await running).as_numpy("out_x").tolist() == [[1.0]]
            assert (await kept).as_numpy("out_x").tolist() == [[3.0]]
        assert served.cell(cell.IN_FLIGHT) == 0
        assert (served.cell(cell.SUCCESSES), served.cell(cell.FAILURES)) == (2, 1)

    serve(scenario)


def test_full_queue_is_resource_exhausted(serve, row):
    async def scenario(served):
        executor = served.executor()
        executor.gate.clear()
        async with served.aio_client() as client:
            calls = [asyncio.create_task(client.infer("mirror", row(at))) for at in range(100)]
            await served.until(lambda: served.cell(cell.FAILURES) > 0)
            executor.gate.set()
            ends = await asyncio.gather(*calls, return_exceptions=True)
        refusals = [end for end in ends if isinstance(end, InferenceServerException)]
        assert {refusal.status() for refusal in refusals} == {"StatusCode.RESOURCE_EXHAUSTED"}
        assert "overloaded" in refusals[0].message()
        assert len(refusals) < 100

    serve(scenario)


def test_in_overload_a_message_of_a_known_form_is_refused_unread(serve):
    """Nor is it found out that its tensor is none."""

    async def scenario(served):
        executor = served.executor("mirror_BOOL", 1)

        def message(byte, **parameters):
            made = pb.ModelInferRequest(model_name="mirror_BOOL", raw_input_contents=[bytes([byte])])
            made.inputs.add(name="x", datatype="BOOL", shape=[1, 1])
            for name, value in parameters.items():
                made.parameters[name].int64_param = value
            return made

        async with grpc.aio.insecure_channel(served.url) as channel:
            infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer

            async def code(sent):
                with pytest.raises(grpc.aio.AioRpcError) as refusal:
                    await infer(sent)
                return refusal.value.code()

            for sent in (message(1), message(1, priority=1)):
                for _ in range(2):
                    await infer(sent)
            assert await code(message(7)) is grpc.StatusCode.INVALID_ARGUMENT
            executor.entered.clear()
            executor.gate.clear()
            under_way = [infer(message(1))]
            await executor.entered.wait()
            under_way += [infer(message(1)) for _ in range(64)]
            await served.until(lambda: served.cell(cell.QUEUE_ROWS, "mirror_BOOL", 1) == 64)
            assert await code(message(1)) is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await code(message(7)) is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await code(message(7, priority=1)) is grpc.StatusCode.INVALID_ARGUMENT, "it may be urgent"
            executor.gate.set()
            for call in under_way:
                await call
        assert served.cell(cell.FAILURES, "mirror_BOOL", 1) == 2
        assert served.refused() == {"bad_request": 2}

    serve(scenario)
