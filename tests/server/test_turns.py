"""Two models of one server, flooded at once: the device is shared by their weights."""

import asyncio
import json

import numpy as np
import onnx_models
import pytest
import tritonclient.http
import tritonclient.http.aio
from live import serving

LOOPS, REQUESTS, WEIGHT = 20, 40, 3


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    for name, weight in (("light", 1), ("heavy", WEIGHT)):
        onnx_models.save(onnx_models.busy(), folder, name)
        (folder / name / "config.yaml").write_text(f"batching: {{max_batch_rows: 1, weight: {weight}}}")
    with serving(folder) as running:
        yield running


def inputs():
    tensors = []
    for name, datatype, value in (("x", "FP32", np.float32([[1]])), ("loops", "INT64", np.int64([[LOOPS]]))):
        tensors.append(tritonclient.http.InferInput(name, [1, 1], datatype))
        tensors[-1].set_data_from_numpy(value)
    return tensors


def device(server, model):
    return json.loads(server.get(f"/v2/models/{model}/batcher"))["device"]


def test_a_flood_for_one_model_leaves_another_its_share(server):
    order = []

    async def flood(client, model):
        async def one():
            answer = await client.infer(model, inputs())
            assert answer.as_numpy("double").tolist() == [[2.0]]
            order.append(model)

        await asyncio.gather(*(one() for _ in range(REQUESTS)))

    async def both():
        async with tritonclient.http.aio.InferenceServerClient(server.url, conn_limit=2 * REQUESTS) as client:
            await asyncio.gather(flood(client, "light"), flood(client, "heavy"))

    asyncio.run(both())
    last = len(order) - order[::-1].index("heavy")
    assert order[:last].count("light") < REQUESTS * 2 / WEIGHT, "two thirds; its share is one"
    heavy, light = device(server, "heavy"), device(server, "light")
    assert (heavy["weight"], light["weight"]) == (WEIGHT, 1)
    assert heavy["models"] == light["models"] == 2
    assert heavy["share"] + light["share"] == pytest.approx(1, abs=1e-3)
    assert min(heavy["seconds"], light["seconds"]) > 0
