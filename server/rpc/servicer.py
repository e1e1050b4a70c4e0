"""`inference.GRPCInferenceService`: what each of its 20 methods does, messages in and messages out.

Receives parsed messages through the table `methods`, hands requests to the data plane and the other questions to
`server.v2`. A method that this server does not have is NotSupported with a sentence that says what is missing.
It does not know grpc.aio: `front` carries the messages and turns errors into statuses.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2 as pb

from headrace.errors import ModelNotFound, NotSupported, ServingError
from headrace.requests import InferRequest, InferResponse
from server import explain, v2
from server.dataplane import DataPlane
from server.load_request import read_load, read_unload
from server.patience import sooner
from server.pool.editor import Editor
from server.rpc import forms
from server.rpc.calls import Call, Streaming, Unary, of_messages
from server.rpc.clients import Clients
from server.rpc.codec import Message, decode, encode
from server.rpc.forms import varint
from server.rpc.head import Head, read_head
from server.rpc.parameters import decode_parameters
from server.rpc.stream import Streams
from server.statistics import Statistics

NAME = "inference.GRPCInferenceService"

Read = TypeVar("Read")

_NO_SHARED_MEMORY = (
    "this server has no shared memory regions: send tensors in the message, raw_input_contents is fastest"
)
_NO_TRACING = "this server has no request tracing"
_NO_LOG_SETTINGS = "this server's logging is set when it starts (log_level, log_format), not while it runs"
_NOT_SUPPORTED = {
    "SystemSharedMemoryStatus": _NO_SHARED_MEMORY,
    "SystemSharedMemoryRegister": _NO_SHARED_MEMORY,
    "SystemSharedMemoryUnregister": _NO_SHARED_MEMORY,
    "CudaSharedMemoryStatus": _NO_SHARED_MEMORY,
    "CudaSharedMemoryRegister": _NO_SHARED_MEMORY,
    "CudaSharedMemoryUnregister": _NO_SHARED_MEMORY,
    "TraceSetting": _NO_TRACING,
    "LogSettings": _NO_LOG_SETTINGS,
}


class Servicer:
    """`methods` is the service. `ready` tells whether the whole server takes requests."""

    def __init__(self, dataplane: DataPlane, statistics: Statistics, ready: Callable[[], bool], editor: Editor) -> None:
        self._dataplane = dataplane
        self._statistics = statistics
        self._ready = ready
        self._editor = editor
        self._clients = Clients()
        self._streams = Streams(self._infer_message)
        self.methods: dict[str, Unary | Streaming] = {
            "ModelInfer": Unary(self._model_infer),
            "ModelStreamInfer": Streaming(pb.ModelInferRequest, self._streams.serve),
            "ServerLive": of_messages(pb.ServerLiveRequest, self._live),
            "ServerReady": of_messages(pb.ServerReadyRequest, self._server_ready),
            "ModelReady": of_messages(pb.ModelReadyRequest, self._model_ready),
            "ServerMetadata": of_messages(pb.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": of_messages(pb.ModelMetadataRequest, self._model_metadata),
            "ModelConfig": of_messages(pb.ModelConfigRequest, self._model_config),
            "ModelStatistics": of_messages(pb.ModelStatisticsRequest, self._model_statistics),
            "RepositoryIndex": of_messages(pb.RepositoryIndexRequest, self._repository_index),
            "RepositoryModelLoad": of_messages(pb.RepositoryModelLoadRequest, self._repository_model_load),
            "RepositoryModelUnload": of_messages(pb.RepositoryModelUnloadRequest, self._repository_model_unload),
        }
        for name, why in _NOT_SUPPORTED.items():
            self.methods[name] = of_messages(getattr(pb, f"{name}Request"), _refusal(f"{name} is not supported: {why}"))

    def drain(self) -> None:
        """Let open streams end once what they have read is answered."""
        self._streams.drain()

    async def _model_infer(self, data: bytes, call: Call) -> bytes:
        head = self._counted(read_head, call)
        if self._dataplane.overloaded:
            self._refuse_unread(forms.known(data), head)
        request = self._decoded(forms.read, data)
        response = await self._infer(request, head, call)
        written = forms.written(response)
        if request.explain:
            timing = explain.server_timing(response.parameters, request.since, time.monotonic())
            call.set_trailing_metadata(((explain.HEADER, timing),))
        return written

    async def _infer_message(self, message: Message, call: Call) -> Message:
        head = self._counted(read_head, call)
        if self._dataplane.overloaded and not message.parameters:
            self._refuse_unread(InferRequest(message.model_name, message.model_version, {}), head)
        return encode(await self._infer(self._decoded(decode, message), head, call))

    def _refuse_unread(self, like: InferRequest | None, head: Head) -> None:
        """Raise the refusal, in overload, of a request that need not be decoded for it.

        `like`: all of it but its inputs; None: it has to be decoded for that.
        """
        if like is None or like.priority or like.model not in self._dataplane.overloaded:
            return
        timeout_us = sooner(like.timeout_us, head.timeout_us)
        error = self._dataplane.refuse_unread(like.model, like.version, timeout_us)
        if error is not None:
            raise error.with_traceback(None)  # it may have been raised for others, whose frames it is not to keep

    def _decoded(self, decode: Callable[[Any], InferRequest], given: Any) -> InferRequest:
        since = time.monotonic()
        request = self._counted(decode, given)
        if request.explain:
            request.since = since
        return request

    def _counted(self, read: Callable[[Any], Read], given: Any) -> Read:
        """What `read` makes of what the client has sent; that it cannot is counted."""
        try:
            return read(given)
        except ServingError as error:
            self._dataplane.refused(error)
            raise

    async def _infer(self, request: InferRequest, head: Head, call: Call) -> InferResponse:
        request.timeout_us = sooner(request.timeout_us, head.timeout_us)
        request.sticky = head.sticky
        peer = self._clients.peer(call.peer())
        request.client = peer.take()
        try:
            response = await self._dataplane.infer(request)
        finally:
            peer.give_back(request.client)
        if request.explain:
            response.parameters = explain.turned(response.parameters, request.since, time.monotonic())
        return response

    async def _live(self, message: Message, call: Call) -> Message:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, message: Message, call: Call) -> Message:
        return pb.ServerReadyResponse(ready=self._ready())

    async def _model_ready(self, message: Message, call: Call) -> Message:
        """A model that does not exist is not ready, without an error: so does Triton, and its clients return a bool."""
        try:
            ready = v2.model_ready(self._dataplane, message.name, message.version)
        except ModelNotFound:
            ready = False
        return pb.ModelReadyResponse(ready=ready)

    async def _server_metadata(self, message: Message, call: Call) -> Message:
        return ParseDict(v2.server_metadata(), pb.ServerMetadataResponse())

    async def _model_metadata(self, message: Message, call: Call) -> Message:
        await self._dataplane.awake(message.name, message.version)
        metadata = v2.model_metadata(self._dataplane, message.name, message.version)
        return ParseDict(metadata, pb.ModelMetadataResponse())

    async def _model_config(self, message: Message, call: Call) -> Message:
        await self._dataplane.awake(message.name, message.version)
        return pb.ModelConfigResponse(config=v2.model_config(self._dataplane, message.name, message.version))

    async def _model_statistics(self, message: Message, call: Call) -> Message:
        statistics = v2.statistics(self._dataplane, self._statistics, message.name, message.version)
        return ParseDict(statistics, pb.ModelStatisticsResponse())

    async def _repository_index(self, message: Message, call: Call) -> Message:
        rows = v2.repository_index(self._dataplane, ready=message.ready)
        return ParseDict({"models": rows}, pb.RepositoryIndexResponse(), ignore_unknown_fields=True)

    async def _repository_model_load(self, message: Message, call: Call) -> Message:
        config, files = read_load(decode_parameters(message.parameters))
        await self._editor.load(_named(message), config, files)
        return pb.RepositoryModelLoadResponse.FromString(_kserve_outcome(message))

    async def _repository_model_unload(self, message: Message, call: Call) -> Message:
        read_unload(decode_parameters(message.parameters))
        await self._editor.unload(_named(message))
        return pb.RepositoryModelUnloadResponse.FromString(_kserve_outcome(message))


def _named(message: Message) -> str:
    """The model that a load or unload is about. KServe's messages have its name where Triton's have a repository's."""
    return str(message.model_name or message.repository_name)


def _kserve_outcome(message: Message) -> bytes:
    """What KServe's response says: `model_name` (field 1) and that it is done (field 2). Triton's has no fields."""
    name = _named(message).encode()
    return b"" if message.model_name else b"\x0a%b%b\x10\x01" % (varint(len(name)), name)


def _refusal(sentence: str) -> Any:
    async def refuse(message: Message, call: Call) -> Message:
        raise NotSupported(sentence)

    return refuse
