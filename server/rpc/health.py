"""The standard health service, `grpc.health.v1.Health`, for load balancers and orchestrators.

Two services have a health: the whole server ("") and the inference service. Both are SERVING exactly while `ready()`
says so and no drain has begun. Check answers NOT_FOUND for any other name, Watch SERVICE_UNKNOWN, as its protocol says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from grpc_health.v1 import health_pb2

from headrace.errors import ModelNotFound
from server.rpc.calls import Call, Streaming, Unary
from server.rpc.codec import Message
from server.rpc.tasks import Write, of_messages, of_streams

NAME = "grpc.health.v1.Health"
SERVICES = ("", "inference.GRPCInferenceService")

POLL_S = 1.0
"""Readiness is the whole pool's and has no event in this process, so watchers look: one comparison a second each."""


class Health:
    """`methods` is the service. After `drain` nothing is serving and every Watch has ended."""

    def __init__(self, ready: Callable[[], bool], poll_s: float = POLL_S) -> None:
        self._ready = ready
        self._poll_s = poll_s
        self._draining = asyncio.Event()
        self.methods: dict[str, Unary | Streaming] = {
            "Check": of_messages(health_pb2.HealthCheckRequest, self._check),
            "Watch": of_streams(health_pb2.HealthCheckRequest, self._watch),
        }

    def drain(self) -> None:
        """Tell the watchers that nothing is served any more, and end their calls: they would outlast every drain."""
        self._draining.set()

    def _status(self, service: str) -> int:
        if service not in SERVICES:
            return int(health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        serving = self._ready() and not self._draining.is_set()
        kinds = health_pb2.HealthCheckResponse
        return int(kinds.SERVING if serving else kinds.NOT_SERVING)

    async def _check(self, request: Message, call: Call) -> Message:
        if request.service not in SERVICES:
            known = " and ".join(map(repr, SERVICES))
            raise ModelNotFound(f"no service {request.service[:100]!r} has a health here, only {known}")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def _watch(self, requests: AsyncIterator[Message], write: Write, call: Call) -> None:
        async for request in requests:
            last = -1
            while True:
                now = self._status(request.service)
                if now != last:
                    await write(health_pb2.HealthCheckResponse(status=now))
                    last = now
                if self._draining.is_set():
                    return
                try:
                    await asyncio.wait_for(self._draining.wait(), self._poll_s)
                except TimeoutError:
                    continue
