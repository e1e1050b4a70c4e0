"""`inference.GRPCInferenceService`: what each of its 20 methods does, messages in and messages out.

Receives parsed messages through the table `methods`, hands requests to the data plane and the other questions to
`server.v2`. A method that this server does not have is NotSupported with a sentence that says what is missing.
It does not know HTTP/2: `call` carries the messages and turns errors into statuses.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2 as pb

from headrace.errors import ModelNotFound, NotSupported, Overloaded, ServingError
from headrace.requests import InferRequest, InferResponse
from server import explain, v2
from server.dataplane import DataPlane
from server.load_request import read_load, read_unload
from server.patience import sooner
from server.pool.editor import Editor
from server.rpc import forms
from server.rpc.calls import Call, Running, Streaming, Unary, UnaryCall
from server.rpc.codec import Message
from server.rpc.forms import varint
from server.rpc.head import Head
from server.rpc.parameters import decode_parameters
from server.rpc.stream import Settle, Streams
from server.rpc.tasks import of_messages
from server.statistics import Statistics

NAME = "inference.GRPCInferenceService"

Outcome: TypeAlias = InferResponse | ServingError

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
        self._streams = Streams(self._stream_infer)
        self.methods: dict[str, Unary | Streaming] = {
            "ModelInfer": Unary(self._model_infer),
            "ModelStreamInfer": Streaming(self._streams.begin),
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

    def _model_infer(self, data: bytes, call: UnaryCall) -> Running | None:
        call.client = call.peer.take()
        try:
            return self._submit(data, call, call.client, _answer, call)
        except Exception as error:
            call.fail(error)
            return None

    def _stream_infer(self, data: bytes, call: Call, client: int, settle: Settle) -> Running:
        return self._submit(data, call, client, _settle, settle)

    def _submit(self, data: bytes, call: Call, client: int, then: Callable[..., None], whom: Any) -> Running:
        """Start the request in `data`; `then(whom, request, outcome)`, unless this raises since it is refused."""
        try:
            head = call.head()
            if self._dataplane.overloaded:
                self._refuse_unread(forms.known(data), head)
            since = time.monotonic()
            request = forms.read(data)
        except ServingError as error:
            if not isinstance(error, Overloaded):  # those are counted where they come from
                self._dataplane.refused(error)
            raise
        if request.explain:
            request.since = since
        if head.timeout_us:
            request.timeout_us = sooner(request.timeout_us, head.timeout_us)
        if head.sticky:
            request.sticky = head.sticky
        request.client = client
        return self._dataplane.submit(request, partial(then, whom, request))

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


def _answer(call: UnaryCall, request: InferRequest, outcome: Outcome) -> None:
    """Answer a call of its own."""
    try:
        message = _written(request, outcome)
    except Exception as error:
        call.fail(error)
        return
    if request.explain and isinstance(outcome, InferResponse):
        timing = explain.server_timing(outcome.parameters, request.since, time.monotonic())
        call.answer(message, ((explain.HEADER, timing),))
    else:
        call.answer(message)


def _settle(settle: Settle, request: InferRequest, outcome: Outcome) -> None:
    """Answer a message of a stream."""
    try:
        message = _written(request, outcome)
    except Exception as error:
        settle(error)
    else:
        settle(message)


def _written(request: InferRequest, outcome: Outcome) -> bytes:
    if isinstance(outcome, ServingError):
        raise outcome
    if request.explain:
        outcome.parameters = explain.turned(outcome.parameters, request.since, time.monotonic())
    return forms.written(outcome)


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
