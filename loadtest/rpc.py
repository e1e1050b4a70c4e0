"""V2 over gRPC, as a client: what a server has, requests as messages, and calls in the place of connections.

Each call slot takes one request at a time, as a connection does over HTTP; slots share a few channels. Messages are
bytes here: they are made before the load, and an answer is only read if it is checked and is not the usual one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc
import numpy.typing as npt
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from headrace.datatypes import BY_NAME, BY_NUMPY
from loadtest.connection import Answer, Answered
from loadtest.target import TIMEOUT_S, Model, TargetError, Tensor
from loadtest.tensors import Tensors, from_raw, to_raw

METHOD = "/inference.GRPCInferenceService/ModelInfer"
OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
SLOTS_PER_CHANNEL = 32
"""A connection's streams are limited (100 with most servers)."""


class RpcTarget:
    """A `target.Target` over gRPC."""

    def __init__(self, url: str) -> None:
        self.url = url
        address = url.removeprefix("grpc://")
        self._channel = grpc.insecure_channel(address, OPTIONS)
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def __enter__(self) -> RpcTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def models(self) -> list[str]:
        """See `Target`."""
        index = self._ask("RepositoryIndex", pb.RepositoryIndexRequest(ready=True))
        return sorted({entry.name for entry in index.models if entry.state in ("READY", "")})

    def model(self, name: str) -> Model:
        """See `Target`."""
        name, _, version = name.partition("/")
        found = self._ask("ModelMetadata", pb.ModelMetadataRequest(name=name, version=version))
        return Model(name, version, tuple(self._tensor(name, each) for each in found.inputs))

    def request(self, model: Model, tensors: Tensors) -> bytes:
        """See `Target`."""
        message = pb.ModelInferRequest(model_name=model.name, model_version=model.version)
        for name, array in tensors.items():
            message.inputs.add(name=name, datatype=BY_NUMPY[array.dtype].value, shape=array.shape)
            message.raw_input_contents.append(to_raw(array))
        return bytes(message.SerializeToString())

    def _ask(self, method: str, message: Any) -> Any:
        try:
            return getattr(self._stub, method)(message, timeout=TIMEOUT_S, wait_for_ready=False)
        except grpc.RpcError as error:
            said = f"{error.code().name}: {error.details()}"
            raise TargetError(f"{self.url} answered {method} with {said}") from None

    def _tensor(self, model: str, found: Any) -> Tensor:
        datatype = BY_NAME.get(found.datatype)
        if datatype is None:
            raise TargetError(f"model {model!r}: input {found.name!r} has the unknown datatype {found.datatype!r}")
        return Tensor(found.name, datatype, tuple(found.shape))


def decode(body: bytes) -> Mapping[str, npt.NDArray[Any]]:
    """The outputs in a ModelInferResponse with raw contents. Raises ValueError for what is none."""
    message = pb.ModelInferResponse.FromString(body)
    pairs = zip(message.outputs, message.raw_output_contents, strict=True)
    return {each.name: from_raw(BY_NAME[each.datatype], raw).reshape(tuple(each.shape)) for each, raw in pairs}


class Slot:
    """A `connection.Sender` of one call at a time."""

    def __init__(self, call: Any, answered: Answered) -> None:
        self.open = True
        self.shot = -1
        self.intended = 0.0
        self._call = call
        self._answered = answered
        self._task: asyncio.Task[None] | None = None

    def send(self, request: bytes) -> None:
        """See `Sender`."""
        self._task = asyncio.get_running_loop().create_task(self._run(request))

    def abort(self, error: str) -> None:
        """See `Sender`."""
        if self._task is not None:
            self._task.cancel()
        self._end(Answer(error=error))

    async def _run(self, request: bytes) -> None:
        try:
            body = await self._call(request)
        except grpc.aio.AioRpcError as error:
            self._end(Answer(error=f"{error.code().name}"))
        else:
            self._end(Answer(200, body, decode=decode))

    def _end(self, answer: Answer) -> None:
        if self.shot >= 0:
            self._answered(self, answer)


class Slots:
    """Opens slots on as many channels as they need; see `attack.Opener`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._channels: list[Any] = []
        self._opened = 0

    async def open(self, answered: Answered) -> Slot:
        """Raises OSError if the server cannot be reached."""
        if self._opened % SLOTS_PER_CHANNEL == 0:
            # Channels with equal options would share one connection.
            channel = grpc.aio.insecure_channel(self._address, (*OPTIONS, ("headrace.channel", len(self._channels))))
            try:
                await asyncio.wait_for(channel.channel_ready(), TIMEOUT_S)
            except TimeoutError:
                raise OSError(f"no gRPC at {self._address}") from None
            self._channels.append(channel)
        self._opened += 1
        return Slot(self._channels[-1].unary_unary(METHOD), answered)

    async def close(self) -> None:
        """Give back the channels."""
        for channel in self._channels:
            await channel.close()
