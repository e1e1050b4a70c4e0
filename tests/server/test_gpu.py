"""A real server on a real GPU, asked by public clients."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import gpu
import numpy as np
import onnx_models
import onnxruntime
import pytest
import tritonclient.grpc
from live import serving
from raw_http import ask, eventually, request

pytestmark = gpu.MARKS

INFLATED_ROW = 4 << 20


def inflated():
    """x FP32 [batch, 1] -> y = x times 1024 * 1024, with 8 MB a row on its way."""
    nodes = [
        onnx_models.helper.make_node("Mul", ["x", "ramp"], ["wide"]),
        onnx_models.helper.make_node("Abs", ["wide"], ["again"]),
        onnx_models.helper.make_node("ReduceSum", ["again", "axis"], ["y"]),
    ]
    constants = [
        onnx_models.constant("ramp", np.ones((1, INFLATED_ROW // 4))),
        onnx_models.constant("axis", [1], np.int64),
    ]
    x, y = (onnx_models.tensor(name, "FP32", ("batch", 1)) for name in "xy")
    return onnx_models.model(nodes, [x], [y], constants)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu")
    onnx_models.save(onnx_models.mlp(), folder, "mlp")
    onnx_models.save(inflated(), folder, "inflated")
    options = "[{name: cuda, options: {gpu_mem_limit: 268435456}}]"
    (folder / "inflated" / "config.yaml").write_text(
        f"execution_providers: {options}\nbatching: {{controller: timer}}\n"
    )
    return folder


@pytest.fixture(scope="module")
def server(repository):
    with serving(repository, replicas=2) as running:
        yield running


@pytest.fixture(scope="module")
def alone(repository):
    session = onnxruntime.InferenceSession(repository / "mlp" / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def over_rest(server, model, x):
    tensors = [{"name": "x", "datatype": "FP32", "shape": list(x.shape), "data": x.ravel().tolist()}]
    answer = ask(server.http_port, request(f"/v2/models/{model}/infer", {"inputs": tensors}))
    assert answer.status == 200, answer.body
    (y,) = answer.document["outputs"]
    return np.array(y["data"], np.float32).reshape(y["shape"])


def over_grpc(server, model, x):
    tensor = tritonclient.grpc.InferInput("x", x.shape, "FP32")
    tensor.set_data_from_numpy(x)
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        return client.infer(model, [tensor]).as_numpy("y")


def test_many_at_once_get_each_their_own_answer_over_both_protocols(server, alone):
    assert "CUDAExecutionProvider" in server.log.text

    def one(number):
        x = np.random.default_rng(number).random((1 + number % 4, 64), np.float32)
        found = (over_rest if number % 2 else over_grpc)(server, "mlp", x)
        gpu.assert_near(found, alone(x))

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(one, range(200)))


def test_more_rows_at_once_than_the_memory_holds_are_answered_in_smaller_batches(server):
    def one(number):
        return over_rest(server, "inflated", np.full((16, 1), number, np.float32))

    with ThreadPoolExecutor(16) as threads:
        for number, y in enumerate(threads.map(one, range(64))):
            np.testing.assert_allclose(y, np.full((16, 1), number * INFLATED_ROW / 4), rtol=1e-3)


def test_a_replica_killed_in_the_middle_leaves_the_gpu_to_the_others(server, alone):
    x = np.ones((1, 64), np.float32)
    victim = server.booted_pids()[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in server.booted_pids() and len(server.booted_pids()) == 2)
    for _ in range(20):
        gpu.assert_near(over_rest(server, "mlp", x), alone(x))
