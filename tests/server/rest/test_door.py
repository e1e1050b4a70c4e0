"""Health is answered while the application behind the door is still being made; everything else waits for it."""

import asyncio
import threading

import httpx
import pytest
from starlette.responses import PlainTextResponse

from server.rest.door import Door


async def behind(scope, receive, send):
    await PlainTextResponse(f"behind {scope['path']}")(scope, receive, send)


@pytest.fixture
def on():
    """`on(scenario, ready)` runs `scenario(client, make, door)`; the application is made when `make.release` is set."""

    class Make:
        def __init__(self):
            self.release = threading.Event()
            self.called = threading.Event()
            self.calls = 0
            self.trouble = None

        def __call__(self):
            self.calls += 1
            self.called.set()
            assert self.release.wait(20)
            if self.trouble:
                raise self.trouble
            return behind

    def run(scenario, ready=True):
        async def main():
            make = Make()
            door = Door(make, lambda: ready)
            async with (
                asyncio.timeout(20),
                httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://test") as client,
            ):
                try:
                    await scenario(client, make, door)
                finally:
                    make.release.set()

        asyncio.run(main())

    return run


@pytest.mark.parametrize(
    ("path", "ready", "status", "body"),
    [
        ("/v2/health/live", False, 200, b'{"live":true}'),
        ("/v2/health/ready", True, 200, b'{"ready":true}'),
        ("/v2/health/ready", False, 503, b'{"ready":false}'),
        ("/ping", True, 200, b""),
        ("/ping", False, 503, b""),
    ],
)
def test_health_needs_no_application(on, path, ready, status, body):
    async def scenario(client, make, _):
        answer = await client.get(path)
        assert (answer.status_code, answer.content) == (status, body)
        assert answer.headers.get("content-type") == ("application/json" if body else None)
        assert make.calls == 0

    on(scenario, ready)


def test_the_first_other_request_waits_for_it_and_health_does_not(on):
    async def scenario(client, make, _):
        waiting = [asyncio.ensure_future(client.get(path)) for path in ("/v2", "/metrics")]
        assert (await client.get("/v2/health/live")).status_code == 200
        assert not any(each.done() for each in waiting)
        make.release.set()
        assert [(await each).text for each in waiting] == ["behind /v2", "behind /metrics"]
        assert make.calls == 1

    on(scenario)


def test_what_could_not_be_made_is_tried_again_for_the_next_request(on):
    async def scenario(client, make, door):
        make.release.set()
        make.trouble = OSError("no descriptor left")
        with pytest.raises(OSError, match="no descriptor left"):
            await door.open()
        make.trouble = None
        assert (await client.get("/v2")).text == "behind /v2"

    on(scenario)


def test_one_client_that_goes_away_leaves_the_others_their_application(on):
    async def scenario(client, make, door):
        gone = asyncio.ensure_future(client.get("/v2"))
        other = asyncio.ensure_future(client.get("/v2"))
        await asyncio.to_thread(make.called.wait, 20)
        gone.cancel()
        make.release.set()
        assert (await other).text == "behind /v2"
        assert await door.open() is behind

    on(scenario)
