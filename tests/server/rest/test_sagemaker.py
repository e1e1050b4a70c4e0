"""SageMaker's two addresses, called as its platform calls them: it passes on the content type and no header of V2."""

import asyncio
import json

import httpx
import numpy as np
import pytest
from server_fakes import Front, Plane

from server.rest.sagemaker import BINARY, as_v2

V2 = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
MEDIA = BINARY.decode()


@pytest.fixture
def on(tmp_path):
    """`on(scenario, default_model=...)` runs `scenario(client, front)` against the application."""

    def run(scenario, **settings):
        async def main():
            counters = tmp_path / "counters"
            counters.mkdir()
            async with asyncio.timeout(20), Plane(counters).running() as plane:
                front = Front(plane, tmp_path, **settings)
                transport = httpx.ASGITransport(front.site.uvicorn.loaded_app, raise_app_exceptions=False)
                async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                    await scenario(client, front)

        asyncio.run(main())

    return run


def test_ping_is_an_empty_200_exactly_while_the_pool_is_ready(on):
    async def scenario(client, front):
        answer = await client.get("/ping")
        assert (answer.status_code, answer.content) == (200, b"")
        front.ready = False
        answer = await client.get("/ping")
        assert (answer.status_code, answer.content) == (503, b"")

    on(scenario)


def test_json_is_answered_as_at_the_v2_address_of_the_default_model(on):
    async def scenario(client, _):
        answer = await client.post("/invocations", json=V2)
        expected = await client.post("/v2/models/echo/infer", json=V2)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == expected.json()

    on(scenario, default_model="echo")


def test_binary_bodies_have_their_length_in_the_content_type_both_ways(on):
    row = np.array([[3, 4]], np.float32)
    head = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": row.nbytes}}],
        "parameters": {"binary_data_output": True},
    }

    async def scenario(client, _):
        said = json.dumps(head).encode()
        content_type = f"{MEDIA};json-header-size={len(said)}"
        answer = await client.post("/invocations", content=said + row.tobytes(), headers={"content-type": content_type})
        assert answer.status_code == 200, answer.text
        media, _, size = answer.headers["content-type"].partition(";json-header-size=")
        assert media == MEDIA
        assert "inference-header-content-length" not in answer.headers
        document = json.loads(answer.content[: int(size)])
        assert document["outputs"][0]["shape"] == [1, 2]
        assert answer.content[int(size) :] == row.tobytes()

    on(scenario, default_model="echo")


@pytest.mark.parametrize("content_type", [MEDIA, f"{MEDIA}; charset=utf-8"])
def test_binary_without_its_length_is_refused_and_says_what_is_missing(on, content_type):
    async def scenario(client, front):
        answer = await client.post("/invocations", content=b"{}", headers={"content-type": content_type})
        assert answer.status_code == 400
        assert "json-header-size=" in answer.json()["error"]
        assert front.plane.refused() == {"bad_request": 1}

    on(scenario, default_model="echo")


def test_with_several_models_and_no_default_the_refusal_names_them(on):
    async def scenario(client, front):
        answer = await client.post("/invocations", json=V2)
        assert answer.status_code == 400
        assert "HEADRACE_DEFAULT_MODEL" in answer.json()["error"]
        assert "echo" in answer.json()["error"]

    on(scenario)


def test_an_unknown_default_model_is_not_found(on):
    async def scenario(client, _):
        assert (await client.post("/invocations", json=V2)).status_code == 404

    on(scenario, default_model="none")


@pytest.mark.parametrize(
    ("said", "size"),
    [(b"%b;json-header-size=12", b"12"), (b"%b; json-header-size=7", b"7"), (b"%b;a=b;json-header-size=x", b"x")],
)
def test_the_content_type_is_turned_into_v2s_headers(said, size):
    headers = [(b"content-type", said % BINARY), (b"accept", b"*/*"), (b"inference-header-content-length", b"999")]
    assert as_v2(headers) == [
        (b"accept", b"*/*"),
        (b"content-type", b"application/octet-stream"),
        (b"inference-header-content-length", size),
    ]
