"""One request in a hundred is poison, under load and over both protocols: it hears so, and nobody else notices."""

import asyncio
import json
from typing import NamedTuple

import numpy as np
import onnx_models
import pytest
import tritonclient.grpc.aio
from live import serving
from raw_http import request
from tritonclient.utils import InferenceServerException

REQUESTS, CLIENTS = 1000, 24
"""Per protocol."""
POISON = 100
"""Every so many."""


class Kind(NamedTuple):
    """A model, its input for request number n, its output, and what becomes of a request whose value is poison."""

    model: bytes
    name: str
    datatype: str
    width: int
    poison: float
    status: int
    code: str
    answer: object


def table(x):
    return np.stack([3 * x, 3 * x + 1, 3 * x + 2], axis=-1)


def as_it_is(x):
    return x


KINDS = {
    "a node refuses it": Kind(onnx_models.gather(1000), "ids", "INT64", 2, 5000, 400, "INVALID_ARGUMENT", table),
    "too few rows come out": Kind(onnx_models.sieve(), "x", "FP32", 2, -1e9, 500, "INTERNAL", as_it_is),
    "too much memory goes in": Kind(
        onnx_models.hungry(), "x", "INT64", 1, 1 << 43, 503, "RESOURCE_EXHAUSTED", as_it_is
    ),
    "its answer is NaN": Kind(onnx_models.root(), "x", "FP32", 2, -1.0, 200, "", np.sqrt),
}
NUMPY = {"INT64": np.int64, "FP32": np.float32}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("poison")
    for name, kind in KINDS.items():
        onnx_models.save(onnx_models.slowed(kind.model), folder, name)
    with serving(folder) as running:
        yield running


def is_poison(number):
    return number % POISON == POISON // 3


def rows_of(kind, number):
    """1 to 3 rows with numbers of this request's own; in one of them a poisoned request has its poison."""
    rows = 1 + number % 3
    x = (np.arange(rows * kind.width).reshape(rows, kind.width) + number) % 997
    x = x.astype(NUMPY[kind.datatype])
    if is_poison(number):
        x[number // POISON % rows, -kind.width] = kind.poison
    return x


def is_right(kind, x, answer):
    with np.errstate(invalid="ignore"):
        expected = np.asarray(kind.answer(x), np.float32)
    return np.array_equal(answer, expected, equal_nan=True)


class Tally:
    """What was heard: right answers, poisons that were told so, and everything that ought not to be."""

    def __init__(self, kind):
        self.kind = kind
        self.right = self.told = 0
        self.wrong = []

    def answered(self, number, x, answer):
        if is_right(self.kind, x, answer) and (self.kind.status == 200 or not is_poison(number)):
            self.right += 1
        else:
            self.wrong.append((number, answer))

    def refused(self, number, sign, expected, sentence):
        if is_poison(number) and sign == expected:
            self.told += 1
        else:
            self.wrong.append((number, sign, sentence))


async def over_rest(server, name, kind, tally):
    numbers = iter(range(REQUESTS))

    async def client():
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
        for number in numbers:
            x = rows_of(kind, number)
            tensor = {"name": kind.name, "datatype": kind.datatype, "shape": x.shape, "data": x.ravel().tolist()}
            path = f"/v2/models/{name.replace(' ', '%20')}/infer"
            writer.write(request(path, {"id": str(number), "inputs": [tensor]}))
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            body = json.loads(await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0])))
            status = int(head.split(" ")[1])
            if status == 200:
                assert body["id"] == str(number)
                (output,) = body["outputs"]
                tally.answered(number, x, np.array(output["data"], np.float32).reshape(output["shape"]))
            else:
                tally.refused(number, status, kind.status, body["error"])
        writer.close()

    await asyncio.gather(*[client() for _ in range(CLIENTS)])


async def over_grpc(server, name, kind, tally):
    numbers = iter(range(REQUESTS))
    async with tritonclient.grpc.aio.InferenceServerClient(server.grpc_url) as channel:

        async def client():
            for number in numbers:
                x = rows_of(kind, number)
                tensor = tritonclient.grpc.InferInput(kind.name, list(x.shape), kind.datatype)
                tensor.set_data_from_numpy(x)
                try:
                    result = await channel.infer(name, [tensor], request_id=str(number))
                except InferenceServerException as error:
                    tally.refused(number, error.status(), f"StatusCode.{kind.code}", error.message())
                else:
                    assert result.get_response().id == str(number)
                    tally.answered(number, x, result.as_numpy("y"))

        await asyncio.gather(*[client() for _ in range(CLIENTS)])


@pytest.mark.parametrize("name", KINDS)
def test_one_poisoned_request_in_a_hundred_hears_so_and_nobody_else_notices(server, name):
    kind = KINDS[name]
    tallies = Tally(kind), Tally(kind)

    async def load():
        await asyncio.gather(over_rest(server, name, kind, tallies[0]), over_grpc(server, name, kind, tallies[1]))

    asyncio.run(load())

    poisoned = 0 if kind.status == 200 else sum(map(is_poison, range(REQUESTS)))
    for tally in tallies:
        assert tally.wrong == []
        assert (tally.right, tally.told) == (REQUESTS - poisoned, poisoned)
    assert most_rows(server, name) >= 30, "or there was no company to be hurt"


def most_rows(server, name):
    """The rows of the largest batch that ran."""
    (stats,) = json.loads(server.get(f"/v2/models/{name.replace(' ', '%20')}/stats"))["model_stats"]
    return max(line["batch_size"] for line in stats["batch_stats"])
