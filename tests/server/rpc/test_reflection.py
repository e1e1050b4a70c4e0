"""Reflection, asked over grpcio as grpcurl asks."""

import grpc
import pytest
from google.protobuf import descriptor_pb2

from server.rpc import reflection
from server.rpc.reflection import Request, Response


@pytest.fixture(params=reflection.NAMES)
def ask(serve, request):
    """`ask(question, ...)` gives the answers of one stream."""

    def asked(*questions):
        answers = []

        def scenario(served):
            with grpc.insecure_channel(served.url) as channel:
                call = channel.stream_stream(
                    f"/{request.param}/ServerReflectionInfo", Request.SerializeToString, Response.FromString
                )
                answers.extend(call(iter(questions)))

        serve(scenario)
        return answers

    return asked


def files(answer):
    """Name -> descriptor of the files in `answer`."""
    found = {}
    for data in answer.file_descriptor_response.file_descriptor_proto:
        file = descriptor_pb2.FileDescriptorProto.FromString(data)
        found[file.name] = file
    return found


def test_services_are_listed(ask):
    (answer,) = ask(Request(list_services=""))
    assert [each.name for each in answer.list_services_response.service] == [
        "grpc.health.v1.Health",
        *reflection.NAMES,
        "inference.GRPCInferenceService",
    ]


@pytest.mark.parametrize("symbol", ["inference.GRPCInferenceService", "inference.GRPCInferenceService.ModelInfer"])
def test_a_symbol_is_described_with_all_that_its_file_needs(ask, symbol):
    (answer,) = ask(Request(file_containing_symbol=symbol))
    found = files(answer)
    assert set(found) == {"grpc_service.proto", "model_config.proto"}
    assert len(found["grpc_service.proto"].service[0].method) == 20


def test_files_are_found_by_name_and_the_protocol_describes_itself(ask):
    first, second = ask(
        Request(file_by_filename="model_config.proto"), Request(file_containing_symbol=reflection.NAMES[1])
    )
    assert set(files(first)) == {"model_config.proto"}
    assert set(files(second)) == {"grpc/reflection/v1alpha/reflection.proto"}


def test_what_is_not_there_is_an_error_and_the_stream_goes_on(ask):
    first, second, third = ask(
        Request(file_containing_symbol="no.such.Thing", host="me"), Request(file_by_filename="no.proto"), Request()
    )
    for answer in (first, second, third):
        assert answer.error_response.error_code == 5
    assert first.original_request.host == first.valid_host == "me"
