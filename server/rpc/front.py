"""The gRPC front end of one replica, on grpc.aio: sockets, bytes and statuses.

Receives the method tables of `servicer` and `health`, gives their methods bytes and the client their answers. grpc.aio
parses nothing, so that bytes that are no message are the client's error and not ours.
The only file that knows grpc.aio: our own HTTP/2 front end replaces it and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc

from headrace.errors import ConfigError
from server.dataplane import DataPlane
from server.patience import again
from server.pool.editor import Editor
from server.rpc import health, servicer
from server.rpc.calls import Streaming, Unary, parsed
from server.rpc.codec import Message
from server.rpc.status import status
from server.statistics import Statistics

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class GrpcFront:
    """`start`, then `drain`, once each. `ready` tells whether the whole server takes requests."""

    def __init__(
        self,
        dataplane: DataPlane,
        statistics: Statistics,
        ready: Callable[[], bool],
        editor: Editor,
        *,
        max_body_bytes: int,
        keep_alive_s: float,
    ) -> None:
        self._servicer = servicer.Servicer(dataplane, statistics, ready, editor)
        self._health = health.Health(ready)
        self._options = _options(max_body_bytes, keep_alive_s)
        self._server: Any = None  # a grpc.aio.Server once started

    async def start(self, host: str, port: int) -> int:
        """Accept calls on `port` (0: any free one), which other replicas may share. Returns the port.

        Raises ConfigError naming the port if it cannot be had.
        """
        server = grpc.aio.server(options=self._options)
        # Registered methods measured a little faster per small request than generic handlers.
        server.add_registered_method_handlers(servicer.NAME, _handlers(self._servicer.methods))
        server.add_registered_method_handlers(health.NAME, _handlers(self._health.methods))
        try:
            bound = int(server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
        except RuntimeError as error:
            raise ConfigError(f"grpc_port {port} of host {host!r} cannot be listened on: {error}") from None
        self._server = server
        await server.start()
        return bound

    async def drain(self, grace_s: float) -> None:
        """Take no new calls, answer those under way, then close; what is not answered in `grace_s` is cancelled."""
        self._servicer.drain()
        self._health.drain()
        if self._server is not None:
            await self._server.stop(grace_s)


def _options(max_body_bytes: int, keep_alive_s: float) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_connection_idle_ms", int(keep_alive_s * 1e3)),
        # A peer that vanished without a word is noticed after about a minute and a half. Clients may ping as often as
        # every 10 s, with or without calls: the default is to cut them off for that.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]


def _handlers(methods: Mapping[str, Unary | Streaming]) -> dict[str, Any]:
    return {
        name: grpc.unary_unary_rpc_method_handler(_unary(method))
        if isinstance(method, Unary)
        else grpc.stream_stream_rpc_method_handler(_streaming(method))
        for name, method in methods.items()
    }


def _unary(method: Unary) -> Any:
    answer = method.answer

    async def handle(data: bytes, context: Any) -> bytes:
        try:
            return await answer(data, context)
        except Exception as error:
            code, sentence = status(error)
            context.set_code(_CODES[code])  # and return: `abort` raises, and a refusal takes a fifth more for it
            context.set_details(sentence)
            context.set_trailing_metadata(again(error))
            return b""

    return handle


def _streaming(method: Streaming) -> Any:
    kind, serve = method.request, method.serve

    async def handle(requests: AsyncIterator[bytes], context: Any) -> None:
        async def messages() -> AsyncIterator[Message]:
            async for data in requests:
                yield parsed(kind, data)

        async def write(message: Message) -> None:
            await context.write(message.SerializeToString())

        try:
            await serve(messages(), write, context)
        except Exception as error:
            code, sentence = status(error)
            await context.abort(_CODES[code], sentence)

    return handle
