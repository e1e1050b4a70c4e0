"""Requests of different lengths over a real server: they share batches, and get what the model says of each alone."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import length_models
import numpy as np
import onnx_models
import onnxruntime
import pytest
import tritonclient.grpc
import tritonclient.http
from live import serving
from raw_http import Connection, ask, eventually, request

LANGUAGE = Path(__file__).parents[2] / "examples" / "models" / "language" / "1" / "model.onnx"
LENGTHS = [int(length) for length in np.random.default_rng(7).lognormal(2.5, 0.7, 40).clip(1, 60)]
LONG = 600
"""Loops of the batch behind which the others meet."""
PAD = {"ids": 0, "attention_mask": 0}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lengths")
    onnx_models.save(length_models.busy_attention(), folder, "auto")
    onnx_models.save(length_models.busy_attention(), folder, "declared")
    # The timer takes all that waits, whatever this machine is busy with.
    (folder / "auto" / "config.yaml").write_text("batching: {controller: timer}")
    (folder / "declared" / "config.yaml").write_text(f"batching: {{controller: timer, pad: {json.dumps(PAD)}}}")
    onnx_models.save(length_models.attention(), folder, "off")
    (folder / "off" / "config.yaml").write_text("batching: {pad: false}")
    onnx_models.save(length_models.mean(), folder, "refused")
    onnx_models.save(length_models.mean(), folder, "impossible")
    (folder / "impossible" / "config.yaml").write_text("batching: {pad: {ids: 0}}")
    (folder / "language" / "1").mkdir(parents=True)
    shutil.copyfile(LANGUAGE, folder / "language" / "1" / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def server(repository):
    with serving(repository, exit_code=0) as running:
        yield running


@pytest.fixture(scope="module")
def alone(repository):
    session = onnxruntime.InferenceSession(repository / "auto" / "1" / "model.onnx", providers=["CPUExecutionProvider"])

    def run(ids):
        inputs = {"ids": ids, "attention_mask": np.ones_like(ids), "loops": np.zeros((len(ids), 1), np.int64)}
        return dict(zip(("tokens", "mean"), session.run(None, inputs), strict=True))

    return run


def ids_of(number, rows=1):
    shape = (rows, LENGTHS[number])
    return np.random.default_rng(number).integers(1, length_models.ENTRIES, shape)


def tensor(name, array):
    return {"name": name, "datatype": "INT64", "shape": array.shape, "data": array.ravel().tolist()}


def given(ids, mask, loops=0):
    arrays = {"ids": ids, "loops": np.full((len(ids), 1), loops)}
    return arrays | ({"attention_mask": np.ones_like(ids)} if mask else {})


def document(ids, mask, loops=0):
    tensors = [tensor(name, array) for name, array in given(ids, mask, loops).items()]
    return json.dumps({"inputs": tensors}).encode()


def over_json(server, model, ids, mask):
    answer = ask(server.http_port, request(f"/v2/models/{model}/infer", document(ids, mask)))
    assert answer.status == 200, answer.body
    outputs = json.loads(answer.body)["outputs"]
    return {each["name"]: np.array(each["data"], np.float32).reshape(each["shape"]) for each in outputs}


def over(library, url):
    def send(server, model, ids, mask):
        made = []
        for name, array in given(ids, mask).items():
            made.append(library.InferInput(name, array.shape, "INT64"))
            made[-1].set_data_from_numpy(array)
        client = library.InferenceServerClient(getattr(server, url))
        try:
            result = client.infer(model, made)
            return {name: result.as_numpy(name) for name in ("tokens", "mean")}
        finally:
            client.close()

    return send


WAYS = {
    "json": over_json,
    "binary": over(tritonclient.http, "url"),
    "grpc": over(tritonclient.grpc, "grpc_url"),
}


def batches(server, model):
    (stats,) = json.loads(server.get(f"/v2/models/{model}/stats"))["model_stats"]
    return stats["execution_count"]


def in_flight(server):
    lines = server.get("/metrics").decode().splitlines()
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("headrace_requests_in_flight{"))


@pytest.mark.parametrize("model", ["auto", "declared"])
@pytest.mark.parametrize("way", WAYS)
def test_everybody_gets_what_the_model_says_of_each_alone(server, alone, model, way):
    def one(number):
        ids = ids_of(number, rows=1 + number % 3)
        return ids, WAYS[way](server, model, ids, mask=number % 2 == 0)

    before = batches(server, model)
    with Connection(server.http_port) as blocker, ThreadPoolExecutor(len(LENGTHS)) as pool:
        blocker.send(request(f"/v2/models/{model}/infer", document(ids_of(0), True, LONG)))
        eventually(lambda: in_flight(server) == 1)
        asked = [pool.submit(one, number) for number in range(len(LENGTHS))]
        eventually(lambda: in_flight(server) == 1 + len(asked))
        assert not blocker.received(), "it ran for too short a time for this test"
        answered = [each.result() for each in asked]
        assert blocker.answer().status == 200
    for ids, outputs in answered:
        for name, expected in alone(ids).items():
            assert outputs[name].shape == expected.shape
            np.testing.assert_allclose(outputs[name], expected, rtol=1e-5, atol=1e-5)
    assert batches(server, model) - before < len(set(LENGTHS))  # that many there were if only the same shared one


def test_what_is_padded_is_in_the_configuration_and_the_mask_may_be_left_out(server):
    config = json.loads(server.get("/v2/models/auto/config"))
    assert json.loads(config["parameters"]["headrace_pad"]["string_value"]) == PAD
    assert [each["name"] for each in config["input"] if each["optional"]] == ["attention_mask"]
    for model in ("off", "refused"):
        assert "headrace_pad" not in json.loads(server.get(f"/v2/models/{model}/config"))["parameters"]


def test_without_padding_the_mask_is_the_clients(server):
    body = json.dumps({"inputs": [tensor("ids", ids_of(0))]}).encode()
    answer = ask(server.http_port, request("/v2/models/off/infer", body))
    assert answer.status == 400
    assert b"needs input 'attention_mask', which the request lacks" in answer.body


def test_masks_and_ids_of_different_lengths_are_the_models_business(server):
    tensors = [tensor("ids", np.ones((1, 4), np.int64)), tensor("attention_mask", np.ones((1, 6), np.int64))]
    tensors.append(tensor("loops", np.zeros((1, 1), np.int64)))
    body = json.dumps({"inputs": tensors}).encode()
    answer = ask(server.http_port, request("/v2/models/auto/infer", body))
    assert answer.status == 400
    assert b"rejects these inputs" in answer.body


def test_a_model_that_cannot_be_padded_says_why(server):
    server.wait_for(r"refused/1: loaded in .*; not padded: output 'y' is another one when a row of 5 is padded to 17")
    index = json.loads(ask(server.http_port, request("/v2/repository/index")).body)
    (reason,) = [row["reason"] for row in index if row["name"] == "impossible"]
    assert "it cannot be padded, as batching.pad demands: output 'y' is another one" in reason


def test_a_model_that_is_not_padded_answers_each_length_as_before(server):
    for number in range(3):
        ids = ids_of(number)
        body = json.dumps({"inputs": [tensor("ids", ids)]}).encode()
        assert ask(server.http_port, request("/v2/models/refused/infer", body)).status == 200


def test_the_batcher_document_says_what_lengths_cost(server, alone):
    WAYS["json"](server, "auto", ids_of(1), mask=True)
    lengths = json.loads(server.get("/v2/models/auto/batcher"))["lengths"]
    assert lengths["mean_length"] > 0
    off = json.loads(server.get("/v2/models/off/batcher"))
    assert "lengths" not in off
    assert "mean_length" in off["shapes"]


def test_texts_of_the_language_example_are_named_as_they_are_alone(server):
    texts = ["Missä on rautatieasema?", "Wo?", "Where is the nearest railway station, please?", "Dove?"] * 10

    def one(text):
        tokens = np.array([list(text.encode())])
        body = json.dumps({"inputs": [tensor("tokens", tokens)]}).encode()
        answer = ask(server.http_port, request("/v2/models/language/infer", body))
        assert answer.status == 200, answer.body
        outputs = {each["name"]: each for each in json.loads(answer.body)["outputs"]}
        assert outputs["evidence"]["shape"] == [1, len(text.encode())]
        return outputs["language"]["data"][0], outputs["evidence"]["data"]

    session = onnxruntime.InferenceSession(LANGUAGE, providers=["CPUExecutionProvider"])
    with ThreadPoolExecutor(16) as pool:
        answered = list(pool.map(one, texts))
    for text, (language, evidence) in zip(texts, answered, strict=True):
        named, _, expected = session.run(None, {"tokens": np.array([list(text.encode())])})
        assert language == named[0]
        np.testing.assert_allclose(evidence, expected[0], rtol=1e-5, atol=1e-5)
    assert "headrace_pad" in json.loads(server.get("/v2/models/language/config"))["parameters"]
