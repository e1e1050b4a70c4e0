"""A server in a thread: TensorFlow Serving's REST as its documentation has it, V2's bare core, an echo at /echo."""

import contextlib
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

TOKEN = "Bearer secret"


def described(**tensors):
    return {
        name: {
            "dtype": dtype,
            "tensor_shape": {"dim": [{"size": str(length), "name": ""} for length in shape], "unknown_rank": False},
            "name": f"{name}:0",
        }
        for name, (dtype, shape) in tensors.items()
    }


MODELS = {
    "sum": {
        "inputs": described(a=("DT_FLOAT", (-1, 2)), b=("DT_FLOAT", (-1, 2))),
        "outputs": described(y=("DT_FLOAT", (-1, 2))),
    },
    "twice": {"inputs": described(x=("DT_INT64", (-1, 2))), "outputs": described(y=("DT_INT64", (-1, 2)))},
    "turned": {
        "inputs": described(x=("DT_DOUBLE", (2, 3))),
        "outputs": described(y=("DT_DOUBLE", (3, 2)), z=("DT_DOUBLE", ())),
    },
}


V2 = {
    "/v2": {"name": "fake", "version": "1", "extensions": []},
    "/v2/models/plain": {
        "name": "plain",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    },
}
"""A V2 server without any extension."""


def predict(model, document):
    if model == "sum":
        return {
            "predictions": [[a + b for a, b in zip(row["a"], row["b"], strict=True)] for row in document["instances"]]
        }
    if model == "twice":
        return {"predictions": [[2 * x for x in row] for row in document["instances"]]}
    return {"outputs": {"y": np.transpose(document["inputs"]["x"]).tolist(), "z": 1.0}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        parts = self.path.strip("/").split("/")
        if parts[:2] == ["v1", "models"] and parts[-1] == "metadata" and parts[2] in MODELS:
            self.answer(200, {"model_spec": {}, "metadata": {"signature_def": {"signature_def": signatures(parts[2])}}})
        elif self.path in V2:
            self.answer(200, V2[self.path])
        elif self.path == "/hello?to=all":
            self.answer(200, {"hello": "all"})
        else:
            self.answer(404, {"error": "Malformed request"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v2/repository/index":
            self.answer(200, [{"name": "plain"}])
        elif self.path == "/v2/models/plain/infer":
            self.infer(body)
        elif self.path == "/echo":
            right = self.headers.get("authorization") == TOKEN
            self.answer(200 if right else 401, json.loads(body) if right else {"error": "who are you?"})
        else:
            name = self.path.removeprefix("/v1/models/").removesuffix(":predict").split("/versions/")[0]
            self.answer(200, predict(name, json.loads(body)))

    def infer(self, body):
        try:
            x = json.loads(body)["inputs"][0]
            self.answer(200, {"outputs": [x | {"name": "y", "parameters": None}]})
        except ValueError:
            self.answer(500, {"error": "binary tensors are not spoken here"})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        packed = "gzip" in self.headers.get("accept-encoding", "") and self.command == "POST"
        if packed:
            body = gzip.compress(body)
        self.send_response(status)
        if packed:
            self.send_header("content-encoding", "gzip")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def signatures(model):
    return {"serving_default": MODELS[model] | {"method_name": "tensorflow/serving/predict"}}


@contextlib.contextmanager
def serving_fake():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
