"""Methods that are coroutines: each call has a task, which belongs to it and ends with it.

For calls that are rare or long; `calls` tells why infer requests have none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

from server.rpc.calls import Call, Receiver, Running, StreamCall, Streaming, Unary, UnaryCall, parsed
from server.rpc.codec import Message
from server.rpc.status import Code, RpcError

MOST_UNREAD: Final = 16
"""Messages that a stream's task has not read yet."""

Write: TypeAlias = Callable[[Message], Awaitable[None]]
"""Send one message of a stream; waits while the client does not read."""
Serve: TypeAlias = Callable[[AsyncIterator[Message], Write, Call], Awaitable[None]]


def of_messages(kind: Any, answer: Callable[[Message, Call], Awaitable[Message]]) -> Unary:
    """A method whose `answer` takes a message of this kind and returns one. What it raises is the call's status."""

    async def run(data: bytes, call: UnaryCall) -> None:
        deadline = asyncio.timeout(call.time_remaining())
        try:
            async with deadline:
                message = bytes((await answer(parsed(kind, data), call)).SerializeToString())
        except Exception as error:
            late = deadline.expired()
            call.fail(RpcError(Code.DEADLINE_EXCEEDED, "the call's deadline passed") if late else error)
        else:
            call.answer(message)

    def begin(data: bytes, call: UnaryCall) -> Running:
        return asyncio.get_running_loop().create_task(run(data, call), name="call")

    return Unary(begin)


def of_streams(kind: Any, serve: Serve) -> Streaming:
    """A method that ends well when `serve` returns. What it raises is the call's status."""
    return Streaming(lambda call: _Served(kind, serve, call))


class _Served(Receiver):
    """A streaming call and its task."""

    def __init__(self, kind: Any, serve: Serve, call: StreamCall) -> None:
        self._kind = kind
        self._call = call
        self._unread: deque[bytes | None] = deque()
        """Messages, and None for the end."""
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._task = asyncio.get_running_loop().create_task(self._run(serve), name="streaming call")

    def message(self, data: bytes) -> None:
        self._unread.append(data)
        self._news.set()
        if len(self._unread) >= MOST_UNREAD:
            self._call.hold()

    def ended(self) -> None:
        self._unread.append(None)
        self._news.set()

    def resume(self) -> None:
        self._room.set()

    def cancel(self) -> None:
        self._task.cancel()

    async def _run(self, serve: Serve) -> None:
        try:
            await serve(self._messages(), self._write, self._call)
        except Exception as error:
            self._call.fail(error)
        else:
            self._call.close()

    async def _messages(self) -> AsyncIterator[Message]:
        while True:
            while not self._unread:
                self._news.clear()
                await self._news.wait()
            data = self._unread.popleft()
            if data is None:
                return
            self._call.release()
            yield parsed(self._kind, data)

    async def _write(self, message: Message) -> None:
        await self._room.wait()
        if not self._call.send(bytes(message.SerializeToString())):
            self._room.clear()
