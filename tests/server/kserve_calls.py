"""Asks a server all that KServe's client for sys.argv[1] (rest, grpc) can ask. Says so if every answer is right."""

import asyncio
import itertools
import sys

import grpc
import httpx
import kserve
import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve.protocol.infer_type import RequestedOutput

VALUES = {
    "BOOL": np.array([True, False]),
    "FP16": np.array([1.5, -2.0], np.float16),
    "FP32": np.array([1.5, -2.0], np.float32),
    "FP64": np.array([1e300, 5e-324]),
    "BYTES": np.array(["é", ""], object),
}
for integer in map(np.dtype, ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")):
    VALUES[integer.name.upper()] = np.array([np.iinfo(integer).min, np.iinfo(integer).max], integer)
ONLY_BINARY = "FP16"  # by KServe's rule as by ours
GRID = np.arange(6, dtype=np.float32).reshape(2, 3)


def request(model, array, datatype, binary, **more):
    sent = kserve.InferInput("x", list(array.shape), datatype)
    sent.set_data_from_numpy(array, binary_data=binary)
    return kserve.InferRequest(model, [sent], request_id="7", **more)


def check(answer, model, array, datatype):
    (y,) = answer.outputs
    back = y.as_numpy()
    if datatype == "BYTES":
        back = np.array([each.decode() if isinstance(each, bytes) else each for each in back], object)
    assert (answer.id, answer.model_name, y.name, y.datatype) == ("7", model, "y", datatype), answer
    assert back.shape == array.shape, answer
    assert np.array_equal(back, array), answer


async def rest(url):
    async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2")) as client:
        assert await client.is_server_live(url) is True
        assert await client.is_server_ready(url) is True
        assert await client.is_model_ready(url, "grid")
        assert not await client.is_model_ready(url, "none")
        for (datatype, array), sent, back in itertools.product(VALUES.items(), (False, True), (False, True)):
            if datatype == ONLY_BINARY and not (sent and back):
                continue
            model = f"same_{datatype}"
            wish = [RequestedOutput("y", {"binary_data": back})]
            asked = request(model, array, datatype, sent, request_outputs=wish)
            check(await client.infer(url, asked, model_name=model), model, array, datatype)
        for sent, back in itertools.product((False, True), (False, True)):
            asked = request("grid", GRID, "FP32", sent, parameters={"binary_data_output": back})
            check(await client.infer(url, asked, model_name="grid"), "grid", GRID, "FP32")
        try:
            await client.infer(url, request("none", GRID, "FP32", True), model_name="none")
        except httpx.HTTPStatusError as error:
            assert error.response.status_code == 404
            assert "'none'" in str(error), error
        else:
            raise AssertionError("a model that is not there was answered for")


async def rpc(url):
    async with kserve.InferenceGRPCClient(url) as client:
        assert await client.is_server_live() is True
        assert await client.is_server_ready() is True
        assert await client.is_model_ready("grid") is True
        assert await client.is_model_ready("none") is False
        for (datatype, array), binary in itertools.product(VALUES.items(), (False, True)):
            if datatype == ONLY_BINARY and not binary:
                continue
            model = f"same_{datatype}"
            check(await client.infer(request(model, array, datatype, binary)), model, array, datatype)
        asked = request("grid", GRID, "FP32", True, model_version="1", request_outputs=[RequestedOutput("y")])
        answer = await client.infer(asked)
        check(answer, "grid", GRID, "FP32")
        assert answer.model_version == "1"
        try:
            await client.infer(request("none", GRID, "FP32", True))
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND
            assert "'none'" in error.details()
        else:
            raise AssertionError("a model that is not there was answered for")
    async with grpc.aio.insecure_channel(url) as channel:  # its client has no call for these, its messages do
        stub = GRPCInferenceServiceStub(channel)
        assert (await stub.ServerMetadata(messages.ServerMetadataRequest())).name == "headrace"
        document = await stub.ModelMetadata(messages.ModelMetadataRequest(name="grid"))
        assert list(document.versions) == ["1", "2"]
        (x,) = document.inputs
        assert (x.name, x.datatype, list(x.shape)) == ("x", "FP32", [-1, -1])


asyncio.run({"rest": rest, "grpc": rpc}[sys.argv[1]](sys.argv[2]))
sys.stdout.write("all right\n")
