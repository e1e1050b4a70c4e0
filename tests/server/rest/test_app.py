"""The FastAPI application by itself: documents, refusals in V2's form, and the page that describes them."""

import asyncio
import json
import re

import httpx
import pytest
from server_fakes import Front, Plane

from server.rest.app import NOT_YET

INFER = "/v2/models/echo/infer"
GOOD = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}


@pytest.fixture
def on(tmp_path):
    """`on(scenario)` runs `scenario(client, front)` with a client that calls the application directly."""

    def run(scenario, **limits):
        async def main():
            counters = tmp_path / "counters"
            counters.mkdir()
            async with asyncio.timeout(20), Plane(counters).running() as plane:
                front = Front(plane, tmp_path, **limits)
                transport = httpx.ASGITransport(front.site.uvicorn.loaded_app, raise_app_exceptions=False)
                async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                    await scenario(client, front)

        asyncio.run(main())

    return run


def test_documents_are_json_and_found_where_the_protocol_says(on):
    async def scenario(client, _):
        for path, key in (
            ("/v2", "extensions"),
            ("/v2/health/live", "live"),
            ("/v2/health/ready", "ready"),
            ("/v2/models/echo", "inputs"),
            ("/v2/models/echo/versions/1", "inputs"),
            ("/v2/models/echo/ready", "ready"),
            ("/v2/models/echo/versions/3/ready", "ready"),
            ("/v2/models/echo/config", "max_batch_size"),
            ("/v2/models/echo/versions/3/config", "max_batch_size"),
            ("/v2/models/stats", "model_stats"),
            ("/v2/models/echo/stats", "model_stats"),
            ("/v2/models/echo/versions/3/stats", "model_stats"),
        ):
            answer = await client.get(path)
            assert answer.status_code == 200, path
            assert answer.headers["content-type"] == "application/json"
            assert key in answer.json()

    on(scenario)


def test_readiness_is_the_pools_and_the_models(on):
    async def scenario(client, front):
        assert (await client.get("/v2/models/broken/ready")).status_code == 503
        front.ready = False
        answer = await client.get("/v2/health/ready")
        assert (answer.status_code, answer.json()) == (503, {"ready": False})
        assert (await client.get("/v2/health/live")).status_code == 200

    on(scenario)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", {"echo", "half", "text", "one", "broken", "ghost"}),
        (b"  ", {"echo", "half", "text", "one", "broken", "ghost"}),
        (b"{}", {"echo", "half", "text", "one", "broken", "ghost"}),
        (b'{"ready":false}', {"echo", "half", "text", "one", "broken", "ghost"}),
        (b'{"ready":true}', {"echo", "half", "text", "one"}),
    ],
)
@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/any/index"])
def test_index_is_of_all_or_of_the_ready(on, path, body, names):
    async def scenario(client, _):
        assert {row["name"] for row in (await client.post(path, content=body)).json()} == names

    on(scenario)


def test_calls_that_are_not_supported_yet_say_so(on):
    async def scenario(client, _):
        for method, path, what in NOT_YET:
            answer = await client.request(method, path.replace("{rest:path}", "status"))
            assert (answer.status_code, answer.json()) == (501, {"error": f"{what} is not supported by this server"})

    on(scenario)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", INFER, 405), ("POST", "/v2", 405), ("PATCH", "/v2", 405)],
)
def test_wrong_path_or_verb_has_v2s_form(on, method, path, status):
    async def scenario(client, _):
        answer = await client.request(method, path)
        assert answer.status_code == status
        assert set(answer.json()) == {"error"}

    on(scenario)


@pytest.mark.parametrize("path", ["/v2/models/echo", "/v2/models/stats", "/metrics", "/v2/repository/index", INFER])
def test_bug_is_an_internal_error_that_tells_nothing(on, path, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("a secret")

    for name in ("model_metadata", "statistics", "repository_index"):
        monkeypatch.setattr(f"server.v2.{name}", broken)
    monkeypatch.setattr("server.metrics.PoolMetrics.text", broken)
    monkeypatch.setattr("server.rest.codec.decode", broken)

    async def scenario(client, _):
        method = "POST" if path in (INFER, "/v2/repository/index") else "GET"
        answer = await client.request(method, path, content=b"{}" if method == "POST" else None)
        assert (answer.status_code, answer.json()) == (500, {"error": "internal error (ZeroDivisionError)"})

    on(scenario)


def test_answer_that_cannot_be_written_is_an_internal_error_and_logged(on, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("server.rest.codec.encode", broken)

    async def scenario(client, _):
        answer = await client.post(INFER, json=GOOD)
        assert (answer.status_code, answer.json()) == (500, {"error": "internal error (ZeroDivisionError)"})

    on(scenario)
    assert "a secret" in caplog.text


def test_every_refusal_of_infer_is_counted_once(on):
    async def scenario(client, front):
        await client.post(INFER, content=b"{")
        await client.post("/v2/models/none/infer", json=GOOD)
        await client.post(INFER, content=bytes(10_001))
        await client.post(INFER, json=GOOD, headers={"content-type": "text/csv"})
        await client.post(INFER, json=GOOD)
        assert front.plane.refused() == {
            "bad_request": 1,
            "model_not_found": 1,
            "too_large": 1,
            "unsupported_media": 1,
        }

    on(scenario)


def test_metrics_are_prometheus_text(on):
    async def scenario(client, _):
        await client.post(INFER, json=GOOD)
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'headrace_requests_total{model="echo",version="3"} 1\n' in answer.text

    on(scenario)


def test_page_of_api_docs_describes_every_call(on):
    async def scenario(client, _):
        document = (await client.get("/openapi.json")).json()
        paths = document["paths"]
        assert {"/v2", "/v2/health/ready", "/v2/models/{model}", "/v2/repository/index", "/metrics"} <= set(paths)
        assert not [path for path in paths if "generate" in path], "what is not supported is not offered"
        infer = paths["/v2/models/{model}/infer"]["post"]
        example = infer["requestBody"]["content"]["application/json"]["example"]
        assert {"name", "datatype", "shape", "data"} == set(example["inputs"][0])
        assert all(call.get("summary") for calls in paths.values() for call in calls.values())
        assert (await client.get("/")).headers["location"] == "/docs"
        assert "422" not in json.dumps(document), "that is FastAPI's way to refuse, not ours"
        assert "404" in paths["/v2/models/{model}"]["get"]["responses"]

    on(scenario)


def test_page_of_api_docs_takes_nothing_from_elsewhere(on):
    async def scenario(client, _):
        page = (await client.get("/docs")).text
        parts = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(parts) >= 2
        for part in parts:
            assert part.startswith("/")
            assert (await client.get(part)).status_code == 200

    on(scenario)
