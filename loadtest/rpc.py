"""V2 over gRPC, as a client: what a server has, requests as messages, and calls in the place of connections.

Each call slot takes one request at a time, as a connection does over HTTP; the first have a connection each. Messages
are bytes here: they are made before the load, and an answer is only read if it is checked and is not the usual one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

import grpc
import numpy as np
import numpy.typing as npt
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from headrace.datatypes import BY_NAME, BY_NUMPY, Datatype
from loadtest.answers import Decode
from loadtest.connection import Answer, Answered
from loadtest.target import TIMEOUT_S, Model, TargetError, tensor
from loadtest.tensors import Tensors, from_raw, to_raw
from loadtest.where import Where

SERVICE = "/inference.GRPCInferenceService"
OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
MOST_CHANNELS = 16
"""Slots beyond them share, as clients of gRPC do. (A channel's streams are limited, to 100 with most servers.)"""
Metadata: TypeAlias = tuple[tuple[str, str], ...]


class RpcTarget:
    """A `target.Target` over gRPC."""

    def __init__(self, where: Where) -> None:
        self.url = where.url
        self._headers, self._stream = where.headers, where.stream
        self._channel = grpc.insecure_channel(where.netloc, OPTIONS)
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def __enter__(self) -> RpcTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def models(self) -> list[str]:
        """See `Target`."""
        index = self._ask("RepositoryIndex", pb.RepositoryIndexRequest(ready=True))
        ready = ("READY", "State.READY", "")  # the second is MLServer's
        return sorted({entry.name for entry in index.models if entry.state in ready})

    def model(self, name: str) -> Model:
        """See `Target`."""
        name, _, version = name.partition("/")
        found = self._ask("ModelMetadata", pb.ModelMetadataRequest(name=name, version=version))
        inputs, outputs = (
            tuple(tensor(name, each.name, each.datatype, tuple(each.shape)) for each in side)
            for side in (found.inputs, found.outputs)
        )
        return Model(name, version, inputs, outputs)

    def request(self, model: Model, tensors: Tensors) -> bytes:
        """See `Target`."""
        message = pb.ModelInferRequest(model_name=model.name, model_version=model.version)
        for name, array in tensors.items():
            message.inputs.add(name=name, datatype=BY_NUMPY[array.dtype].value, shape=array.shape)
            message.raw_input_contents.append(to_raw(array))
        return bytes(message.SerializeToString())

    def decode(self, model: Model) -> Decode:
        """See `Target`."""
        return read_streamed if self._stream else read

    def statistics(self, model: Model) -> Sequence[Any]:
        """See `Target`."""
        asked = pb.ModelStatisticsRequest(name=model.name, version=model.version)
        found = MessageToDict(self._ask("ModelStatistics", asked), preserving_proto_field_name=True)
        rows: Sequence[Any] = found.get("model_stats", ())
        return rows

    def _ask(self, method: str, message: Any) -> Any:
        try:
            return getattr(self._stub, method)(message, timeout=TIMEOUT_S, metadata=self._headers)
        except grpc.RpcError as error:
            said = f"{error.code().name}: {error.details()}"
            raise TargetError(f"{self.url} answered {method} with {said}") from None


def read(answer: Answer) -> Tensors:
    """The outputs in a ModelInferResponse."""
    return _outputs(pb.ModelInferResponse.FromString(answer.body))


def read_streamed(answer: Answer) -> Tensors:
    """The outputs in a ModelStreamInferResponse."""
    return _outputs(pb.ModelStreamInferResponse.FromString(answer.body).infer_response)


def _outputs(message: Any) -> Tensors:
    raws = message.raw_output_contents or [None] * len(message.outputs)
    return {each.name: _array(each, raw) for each, raw in zip(message.outputs, raws, strict=True)}


def _array(output: Any, raw: bytes | None) -> npt.NDArray[Any]:
    datatype = BY_NAME[output.datatype]
    if raw is not None:
        flat = from_raw(datatype, raw)
    else:  # the one field of the contents that is filled
        values = next((values for _, values in output.contents.ListFields()), ())
        texts = datatype is Datatype.BYTES
        flat = np.array([each.decode() for each in values] if texts else values, datatype.numpy)
    return flat.reshape(tuple(output.shape))


class Slot:
    """A `connection.Sender` of one call at a time."""

    def __init__(self, call: Any, metadata: Metadata, answered: Answered) -> None:
        self.open = True
        self.shot = -1
        self.intended = 0.0
        self._call, self._metadata = call, metadata
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
            body = await self._call(request, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            self._end(Answer(error=error.code().name))
        else:
            self._end(Answer(200, body))

    def _end(self, answer: Answer) -> None:
        if self.shot >= 0:
            self._answered(self, answer)


class StreamSlot(Slot):
    """One stream: a request, its answer, the next request."""

    def __init__(self, call: Any, metadata: Metadata, answered: Answered) -> None:
        super().__init__(call, metadata, answered)
        self._stream = call(metadata=metadata)

    async def _run(self, request: bytes) -> None:
        try:
            await self._stream.write(request)
            body = await self._stream.read()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            self._broken(error.code().name if isinstance(error, grpc.aio.AioRpcError) else "stream ended")
            return
        if body is grpc.aio.EOF:
            self._broken("stream ended")
            return
        said = pb.ModelStreamInferResponse.FromString(body).error_message
        self._end(Answer(error=said) if said else Answer(200, body))

    def _broken(self, error: str) -> None:
        self.open = False
        self._end(Answer(error=error))

    def abort(self, error: str) -> None:
        """See `Sender`. What a late answer belongs to could not be told, so the stream goes."""
        self.open = False
        self._stream.cancel()
        super().abort(error)


class Slots:
    """Opens slots on as many channels as they need; see `attack.Opener`."""

    def __init__(self, address: str, metadata: Metadata = (), *, gzip: bool = False, stream: bool = False) -> None:
        self._address, self._metadata = address, metadata
        self._packed = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression
        self._is_stream = stream
        self._channels: list[Any] = []
        self._opened = 0

    async def open(self, answered: Answered) -> Slot:
        """Raises OSError if the server cannot be reached."""
        if len(self._channels) < MOST_CHANNELS:
            # Channels with equal options would share one connection.
            own = ("headrace.channel", len(self._channels))
            channel = grpc.aio.insecure_channel(self._address, (*OPTIONS, own), self._packed)
            try:
                await asyncio.wait_for(channel.channel_ready(), TIMEOUT_S)
            except TimeoutError:
                raise OSError(f"no gRPC at {self._address}") from None
            self._channels.append(channel)
        channel = self._channels[self._opened % len(self._channels)]
        self._opened += 1
        if self._is_stream:
            return StreamSlot(channel.stream_stream(f"{SERVICE}/ModelStreamInfer"), self._metadata, answered)
        return Slot(channel.unary_unary(f"{SERVICE}/ModelInfer"), self._metadata, answered)

    async def close(self) -> None:
        """Give back the channels."""
        for channel in self._channels:
            await channel.close()
