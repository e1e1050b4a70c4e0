"""ModelStreamInfer: many requests on one stream, answered in the order in which they came.

    reader: room -> read -> a task per request ... writer: the oldest task's answer -> write -> room

Order and errors are Triton's for models that give one response per request: an error of one request is its
`error_message`, with the request's id, and the stream goes on; who may try again later is told when, at the end of the
message and as a parameter. Invariants: 1. at most `MAX_IN_FLIGHT` requests of a
stream are read and not yet answered; past that the client is held back by flow control. 2. Cancelling the stream
cancels every request under way. 3. After `drain` no stream reads on: what was read is answered, then it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from tritonclient.grpc import service_pb2

from headrace.errors import ModelNotReady, Overloaded, ServingError
from server.patience import RETRY_MS, retry_ms
from server.rpc.calls import Call, Write
from server.rpc.codec import Message
from server.rpc.status import status

MAX_IN_FLIGHT = 128
"""Two full batches of the default size, so that one stream can keep a model busy."""

Infer: TypeAlias = Callable[[Message, Call], Awaitable[Message]]
_Reader: TypeAlias = asyncio.Task[ServingError | None]


class Streams:
    """All open ModelStreamInfer calls. `infer` answers one request."""

    def __init__(self, infer: Infer) -> None:
        self._infer = infer
        self._readers: set[_Reader] = set()

    async def serve(self, requests: AsyncIterator[Message], write: Write, call: Call) -> None:
        """One stream, until its client has no more requests. Raises ServingError if it must end before that."""
        room = asyncio.Semaphore(MAX_IN_FLIGHT)
        order: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:

            async def read() -> ServingError | None:
                await room.acquire()
                try:
                    async for request in requests:
                        answer = self._answer(request, call)
                        order.put_nowait(group.create_task(answer, name="stream request"))
                        await room.acquire()
                except ServingError as error:  # not a request at all; those before it are answered first
                    return error
                return None

            reader = group.create_task(read(), name="stream reader")
            self._readers.add(reader)
            reader.add_done_callback(self._readers.discard)
            reader.add_done_callback(order.put_nowait)  # the end of the queue, however the reader ends
            while (answer := await order.get()) is not reader:
                await write(await answer)
                room.release()
        if reader.cancelled():
            raise ModelNotReady("the server is shutting down; requests without an answer on this stream were not run")
        if error := reader.result():
            raise error

    def drain(self) -> None:
        """Read no more requests from the streams that are open; the caller sees to it that no more are opened."""
        for reader in self._readers:
            reader.cancel()

    async def _answer(self, request: Message, call: Call) -> Message:
        try:
            return service_pb2.ModelStreamInferResponse(infer_response=await self._infer(request, call))
        except Exception as error:
            _, sentence = status(error)
            answer = service_pb2.ModelStreamInferResponse(error_message=sentence)
            answer.infer_response.id = request.id  # tells the client which request failed, as Triton does
            if isinstance(error, Overloaded):
                wait_ms = retry_ms(error)
                answer.error_message += f" ({RETRY_MS}: {wait_ms})"  # all that Triton's client hands on
                answer.infer_response.parameters[RETRY_MS].int64_param = wait_ms
            return answer
