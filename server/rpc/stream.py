"""ModelStreamInfer: many requests on one stream, answered in the order in which they came.

    message -> an answer, to come, at the end of the queue -> submit ... settled -> the oldest that are there are sent

Order and errors are Triton's for models that give one response per request: an error of one request is its
`error_message`, with the request's id, and the stream goes on; who may try again later is told when, at the end of the
message and as a parameter. Invariants: 1. At most `MAX_IN_FLIGHT` requests of a stream are read and not yet answered;
past that the client is held back by flow control. 2. Cancelling the stream cancels every request under way. 3. After
`drain` no stream reads on: what was read is answered, then it ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from headrace.errors import BadRequest, ModelNotReady, Overloaded, ServingError
from server.patience import RETRY_MS, retry_ms
from server.rpc.calls import Call, Receiver, Running, StreamCall
from server.rpc.forms import varint
from server.rpc.status import status

MAX_IN_FLIGHT: Final = 128
"""Two full batches of the default size, so that one stream can keep a model busy."""
_INFER_RESPONSE: Final = b"\x12"

Settle: TypeAlias = Callable[[bytes | Exception], None]
Submit: TypeAlias = Callable[[bytes, Call, int, Settle], Running]
"""Start the request in a message, for a call and a client; it is settled later. Raises if it is refused at once."""


class Streams:
    """All open ModelStreamInfer calls."""

    def __init__(self, submit: Submit) -> None:
        self.submit = submit
        self.open: set[_InferStream] = set()
        self.draining = False

    def begin(self, call: StreamCall) -> Receiver:
        """A stream has been opened."""
        stream = _InferStream(self, call)
        self.open.add(stream)
        return stream

    def drain(self) -> None:
        """Read no more requests from any stream."""
        self.draining = True
        for stream in list(self.open):
            stream.drain()


class _Answer:
    """The answer to one request, there or not."""

    __slots__ = ("_client", "_data", "_running", "_stream", "message")

    def __init__(self, stream: _InferStream, data: bytes) -> None:
        self._stream = stream
        self._data = data
        self._client = stream.call.peer.take()
        self._running: Running | None = None
        self.message = b""

    def begin(self, submit: Submit) -> None:
        """Raises BadRequest if the data is no request at all."""
        try:
            self._running = submit(self._data, self._stream.call, self._client, self.settle)
        except Exception as error:
            if isinstance(error, BadRequest):
                try:
                    service_pb2.ModelInferRequest.FromString(self._data)
                except DecodeError:
                    self.cancel()
                    raise error from None
            self.settle(error)

    def settle(self, outcome: bytes | Exception) -> None:
        """It has come."""
        self.message = self._failed(outcome) if isinstance(outcome, Exception) else _wrapped(outcome)
        self._release()
        self._stream.write()

    def cancel(self) -> None:
        """Nobody waits for it."""
        if self._running is not None:
            self._running.cancel()
        self._release()

    def _release(self) -> None:
        self._running, self._data = None, b""
        if self._client:
            self._stream.call.peer.give_back(self._client)
            self._client = 0

    def _failed(self, error: Exception) -> bytes:
        _, sentence = status(error)
        answer = service_pb2.ModelStreamInferResponse(error_message=sentence)
        # Tells the client which request failed, as Triton does.
        answer.infer_response.id = service_pb2.ModelInferRequest.FromString(self._data).id
        if isinstance(error, Overloaded):
            wait_ms = retry_ms(error)
            answer.error_message += f" ({RETRY_MS}: {wait_ms})"  # all that Triton's client hands on
            answer.infer_response.parameters[RETRY_MS].int64_param = wait_ms
        return bytes(answer.SerializeToString())


def _wrapped(response: bytes) -> bytes:
    return b"%b%b%b" % (_INFER_RESPONSE, varint(len(response)), response)


class _InferStream(Receiver):
    """One stream."""

    def __init__(self, streams: Streams, call: StreamCall) -> None:
        self.call = call
        self._streams = streams
        self._answers: deque[_Answer] = deque()
        self._writable = True
        self._last: Callable[[], Any] | None = None
        """What is to be done once everything is answered."""

    def message(self, data: bytes) -> None:
        if self._streams.draining:
            self.drain()
        if self._last is not None:
            return
        answer = _Answer(self, data)
        self._answers.append(answer)
        if len(self._answers) >= MAX_IN_FLIGHT:
            self.call.hold()
        try:
            answer.begin(self._streams.submit)
        except ServingError as error:  # those before it are answered first
            self._answers.pop()
            self._finish(partial(self.call.fail, error))

    def ended(self) -> None:
        self._finish(self.call.close)

    def resume(self) -> None:
        self._writable = True
        self.write()

    def cancel(self) -> None:
        self._streams.open.discard(self)
        for answer in self._answers:
            answer.cancel()
        self._answers.clear()

    def drain(self) -> None:
        """Take no more requests."""
        said = "the server is shutting down; requests without an answer on this stream were not run"
        self._finish(lambda: self.call.fail(ModelNotReady(said)))

    def write(self) -> None:
        """Send what is there of the answers that are next."""
        answers = self._answers
        while answers and self._writable and (message := answers[0].message):
            answers.popleft()
            self._writable = self.call.send(message)
        if self._last is not None and not answers:
            self._streams.open.discard(self)
            self._last()
        elif self._last is None and len(answers) < MAX_IN_FLIGHT:
            self.call.release()

    def _finish(self, last: Callable[[], Any]) -> None:
        if self._last is None:
            self._last = last
            self.write()
