"""Every REST call of the protocol as tritonclient's two clients make it, unmodified."""

import asyncio
import itertools
import math

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from arrays import same
from tritonclient.utils import InferenceServerException

from headrace.datatypes import BY_NUMPY, Datatype

VALUES = {
    "BOOL": [True, False, True, False],
    "FP16": [1.5, -2.0, 65504, 0],
    "FP32": [1.5, -2.0, 3e38, 0],
    "FP64": [1e300, -0.0, 5e-324, 1],
    "BF16": [1.5, -2.0, 3e38, 0],
    "BYTES": ["é", "", "\U0001f600", "a\n\0b"],
}
WITHOUT_JSON = ("FP16", "BF16")
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def values_of(datatype):
    if datatype.value in VALUES:
        return np.array(VALUES[datatype.value], datatype.numpy)
    limits = np.iinfo(datatype.numpy)
    return np.array([limits.min, limits.max, 0, 7], datatype.numpy)


def given(array, name="x", binary=True):
    """A tritonclient input."""
    tensor = triton.InferInput(name, list(array.shape), BY_NUMPY[array.dtype].value)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def floats(*shape):
    return np.arange(math.prod(shape), dtype=np.float32).reshape(shape)


def found(result, name="y"):
    """The output as numpy has it here: BYTES as text."""
    array = result.as_numpy(name)
    if array.dtype != object:
        return array
    flat = [each.decode() if isinstance(each, bytes) else each for each in array.ravel()]
    return np.array([*flat, None], object)[:-1].reshape(array.shape)


class Awaited:
    """tritonclient's asyncio client behind the blocking one's face: what is asked of one is asked of both."""

    def __init__(self, url):
        self._loop = asyncio.Runner()
        self._client = self._loop.run(self._make(url))

    async def _make(self, url):
        return triton_aio.InferenceServerClient(url)

    def __getattr__(self, name):
        call = getattr(self._client, name)
        return lambda *args, **kwargs: self._loop.run(call(*args, **kwargs))

    def close(self):
        self._loop.run(self._client.close())
        self._loop.close()


@pytest.fixture(scope="module", params=["blocking", "asyncio"])
def client(request, server):
    made = triton.InferenceServerClient(server.url) if request.param == "blocking" else Awaited(server.url)
    yield made
    made.close()


# -- documents --------------------------------------------------------------------------------------------------------


def test_health(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("grid")
    assert client.is_model_ready("grid", "2")
    assert not client.is_model_ready("grid", "3")
    assert not client.is_model_ready("broken")
    assert not client.is_model_ready("none")


def test_metadata(client):
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    document = client.get_model_metadata("grid")
    assert document["versions"] == ["1", "2"]
    assert document["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, -1]}]
    assert client.get_model_metadata("digits", "1")["inputs"][0]["shape"] == [-1, 64]


def test_configuration(client):
    document = client.get_model_config("digits", "1")
    assert document["name"] == "digits"
    assert document["input"][0]["dims"] == [64]
    assert document["max_batch_size"] == 64


def test_repository_index(client):
    rows = client.get_model_repository_index()
    assert {row["version"] for row in rows if row["name"] == "grid"} == {"1", "2"}
    (broken,) = [row for row in rows if row["name"] == "broken"]
    assert broken["state"] == "UNAVAILABLE"
    assert broken["reason"]


def test_labels_stand_wherever_a_version_does(client):
    for label, number in (("stable", "1"), ("canary", "2")):
        assert client.is_model_ready("split", label)
        assert client.get_model_metadata("split", label)["versions"] == ["1", "2"]
        assert client.get_model_config("split", label) == client.get_model_config("split", number)
        (row,) = client.get_inference_statistics("split", label)["model_stats"]
        assert row["version"] == number
        answer = client.infer("split", [given(floats(1, 2))], model_version=label).get_response()
        assert answer["model_version"] == number
    rows = {row["version"]: row for row in client.get_model_repository_index() if row["name"] == "split"}
    assert {version: row["labels"] for version, row in rows.items()} == {"1": ["stable"], "2": ["canary"]}


def test_a_client_stays_on_its_version_by_header_or_by_id(client):
    def versions(**named):
        answers = [client.infer("split", [given(floats(1, 2))], **named) for _ in range(4)]
        return {answer.get_response()["model_version"] for answer in answers}

    keys = [str(number) for number in range(10)]
    by_header = [versions(headers={"headrace-sticky": key}) for key in keys]
    assert [len(found) for found in by_header] == [1] * 10
    assert by_header == [versions(request_id=key) for key in keys]
    assert versions() == {"1", "2"}


def test_statistics_count_what_was_asked(client):
    def counts():
        (row,) = client.get_inference_statistics("pair", "1")["model_stats"]
        return row["inference_count"], row["inference_stats"]["success"]["count"]

    rows, requests = counts()
    client.infer("pair", [given(floats(3, 4), "a"), given(floats(3, 4), "b")])
    assert counts() == (rows + 3, requests + 1)
    names = {row["name"] for row in client.get_inference_statistics()["model_stats"]}
    assert {"pair", "grid", "digits"} <= names
    assert "broken" not in names


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("get_model_metadata", ("none",)),
        ("get_model_config", ("none",)),
        ("get_inference_statistics", ("none",)),
        ("get_model_metadata", ("grid", "7")),
        ("get_model_metadata", ("broken",)),
        ("load_model", ("grid",)),
        ("unload_model", ("grid",)),
        ("get_trace_settings", ()),
        ("get_log_settings", ()),
        ("get_system_shared_memory_status", ()),
        ("get_cuda_shared_memory_status", ()),
    ],
)
def test_refusal_reaches_the_client_as_its_sentence(client, call, arguments):
    with pytest.raises(InferenceServerException) as refusal:
        getattr(client, call)(*arguments)
    assert refusal.value.status() in ("400", "404", "501", "503")
    assert any(
        word in refusal.value.message()
        for word in ("not found", "no version", "not ready", "not supported", "explicit mode")
    )


# -- infer ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary_out", [True, False], ids=["binary out", "JSON out"])
@pytest.mark.parametrize("binary_in", [True, False], ids=["binary in", "JSON in"])
@pytest.mark.parametrize("datatype", list(Datatype), ids=lambda datatype: datatype.value)
def test_every_datatype_comes_back_as_it_went(client, datatype, binary_in, binary_out):
    if datatype.value in WITHOUT_JSON and not binary_in:
        pytest.skip("the client itself cannot write it as JSON")
    array = values_of(datatype)
    sent = given(array, binary=binary_in)
    wish = triton.InferRequestedOutput("y", binary_data=binary_out)
    if datatype.value in WITHOUT_JSON and not binary_out:
        with pytest.raises(InferenceServerException, match="has no JSON form"):
            client.infer(f"same_{datatype.value}", [sent], outputs=[wish])
        return

    back = found(client.infer(f"same_{datatype.value}", [sent], outputs=[wish]))

    assert same(back, array)


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (0, 3), (2, 0), (0, 0), (1, 10_000)])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
def test_every_shape_comes_back_as_it_went(client, shape, binary):
    array = floats(*shape)
    wish = triton.InferRequestedOutput("y", binary_data=binary)
    back = client.infer("grid", [given(array, binary=binary)], outputs=[wish]).as_numpy("y")
    assert back.shape == shape
    assert np.array_equal(back, array)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
def test_scalar(client, binary):
    assert client.infer("scalar", [given(np.array(41, np.float32), binary=binary)]).as_numpy("y") == 42


def test_answer_says_who_answered(client):
    result = client.infer("grid", [given(floats(1, 2))], model_version="1", request_id="é 7")
    document = result.get_response()
    assert (document["model_name"], document["model_version"], document["id"]) == ("grid", "1", "é 7")
    assert client.infer("grid", [given(floats(1, 2))]).get_response()["model_version"] == "2"


@pytest.mark.parametrize(("first", "second"), list(itertools.product([True, False], repeat=2)))
def test_each_input_and_each_output_has_its_own_form(client, first, second):
    a, b = floats(2, 4), floats(2, 4) + 1
    wishes = [
        triton.InferRequestedOutput("product", binary_data=second),
        triton.InferRequestedOutput("sum", binary_data=first),
    ]
    result = client.infer("pair", [given(b, "b", binary=second), given(a, "a", binary=first)], outputs=wishes)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["product", "sum"]
    assert np.array_equal(result.as_numpy("sum"), a + b)
    assert np.array_equal(result.as_numpy("product"), a * b)
    for name, binary in (("sum", first), ("product", second)):
        assert ("data" in result.get_output(name)) != binary


def test_without_wishes_every_output_comes(client):
    result = client.infer("pair", [given(floats(1, 4), "a"), given(floats(1, 4), "b")])
    assert {output["name"] for output in result.get_response()["outputs"]} == {"sum", "product"}


def test_only_the_outputs_asked_for_come(client):
    wish = triton.InferRequestedOutput("sum")
    result = client.infer("pair", [given(floats(1, 4), "a"), given(floats(1, 4), "b")], outputs=[wish])
    assert [output["name"] for output in result.get_response()["outputs"]] == ["sum"]


def test_optional_input_may_be_left_out(client):
    x = given(floats(2, 2))
    assert client.infer("offset", [x]).as_numpy("y").tolist() == (floats(2, 2) + 5).tolist()
    offset = given(np.array([10], np.float32), "offset")
    assert client.infer("offset", [x, offset]).as_numpy("y").tolist() == (floats(2, 2) + 10).tolist()


def test_classes_have_value_index_and_label(client):
    wish = triton.InferRequestedOutput("probabilities", class_count=3)
    classes = client.infer("digits", [given(floats(2, 64), "pixels")], outputs=[wish]).as_numpy("probabilities")
    assert classes.shape == (2, 3)
    for row in classes:
        values, indices, labels = zip(*(each.decode().split(":") for each in row), strict=True)
        assert list(map(float, values)) == sorted(map(float, values), reverse=True)
        assert list(labels) == [DIGITS[int(index)] for index in indices]


def test_parameters_and_timeout_are_taken(client):
    result = client.infer("grid", [given(floats(1, 2))], parameters={"mine": "x"}, priority=1, timeout=10_000_000)
    assert result.as_numpy("y").shape == (1, 2)


@pytest.mark.parametrize("out", [None, "gzip", "deflate"])
@pytest.mark.parametrize("into", [None, "gzip", "deflate"])
def test_both_directions_may_be_compressed(client, into, out):
    array = floats(100, 100)
    result = client.infer(
        "grid", [given(array)], request_compression_algorithm=into, response_compression_algorithm=out
    )
    assert np.array_equal(result.as_numpy("y"), array)


@pytest.mark.parametrize(
    ("model", "inputs", "sentence"),
    [
        ("none", [given(floats(1, 2))], "'none'"),
        ("grid", [given(floats(2))], r"'x'.*\[-1, -1\].*\[2\]"),
        ("grid", [given(floats(1, 2).astype(np.float64))], "'x'.*FP32.*FP64"),
        ("grid", [given(floats(1, 2), "z")], "'z'.*'x'"),
        ("pair", [given(floats(1, 4), "a")], "'b'"),
        ("gather", [given(np.array([[99]], np.int64), "ids")], "99"),
    ],
)
def test_what_is_wrong_with_a_request_reaches_the_client(client, model, inputs, sentence):
    with pytest.raises(InferenceServerException, match=sentence) as refusal:
        client.infer(model, inputs)
    assert refusal.value.status() in ("400", "404")


def test_many_at_once_get_their_own_answers(server):
    with triton.InferenceServerClient(server.url, concurrency=8) as client:
        arrays = [floats(1 + index % 5, 3) + index for index in range(64)]
        pending = [client.async_infer("grid", [given(array)]) for array in arrays]
        for array, each in zip(arrays, pending, strict=True):
            assert np.array_equal(each.get_result().as_numpy("y"), array)


def test_many_coroutines_get_their_own_answers(server):
    async def main():
        async with triton_aio.InferenceServerClient(server.url) as client:
            arrays = [floats(1 + index % 5, 3) + index for index in range(64)]
            results = await asyncio.gather(*(client.infer("grid", [given(array)]) for array in arrays))
            for array, result in zip(arrays, results, strict=True):
                assert np.array_equal(result.as_numpy("y"), array)

    asyncio.run(main())


def test_body_made_offline_is_taken(server):
    body, header_length = triton.InferenceServerClient.generate_request_body([given(floats(1, 2))])
    with triton.InferenceServerClient(server.url) as client:
        headers = {"Inference-Header-Content-Length": str(header_length)}
        answer = client._post("v2/models/grid/infer", body, headers, None)
        assert answer.status_code == 200
        result = triton.InferenceServerClient.parse_response_body(
            answer.read(), header_length=int(answer.get("Inference-Header-Content-Length"))
        )
        assert np.array_equal(result.as_numpy("y"), floats(1, 2))
