"""Somebody asks a real server without a pause, and checks every answer. Version N of model m answers N times x."""

import collections
import contextlib
import http.client
import json
import threading
import time

import numpy as np
import onnx_models
from live import DEADLINE_S

INFER = "/v2/models/m/infer"
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 10]}]})
REPLICAS = 2


def times(factor, ballast=0):
    x, y = (onnx_models.tensor(name, "FP32", ("batch", 2)) for name in "xy")
    node = onnx_models.helper.make_node("Mul", ["x", "factor"], ["y"])
    constants = [onnx_models.constant("factor", factor), onnx_models.constant("ballast", np.zeros(ballast // 4))]
    return onnx_models.model([node], [x], [y], constants)


def add(repository, version, factor=None, ballast=0):
    """As people should: the whole file at once."""
    fresh = onnx_models.save(times(factor or version, ballast), repository.parent, "fresh", version)
    (repository / "m" / str(version)).mkdir(parents=True, exist_ok=True)
    fresh.replace(repository / "m" / str(version) / "model.onnx")


class Asker(threading.Thread):
    """Asks over one connection, hence one replica. `factors` is what the answers were, without repetitions, `versions`
    how often which one answered.
    """

    def __init__(self, port, path=INFER):
        super().__init__(daemon=True)
        self.path = path
        self.versions = collections.Counter()
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.factors = []
        self.asked = 0
        self.trouble = []
        self.stop = threading.Event()
        self.start()

    def run(self):
        while not self.stop.is_set():
            try:
                self.connection.request("POST", self.path, BODY)
                answer = self.connection.getresponse()
                body = json.loads(answer.read())
                one, ten = body["outputs"][0]["data"]
                assert ten == 10 * one, body
                assert body["model_version"] == str(int(one)) or one > 99, body
            except Exception as error:
                self.trouble.append(repr(error))
                self.connection.close()
                continue
            self.asked += 1
            self.versions[int(body["model_version"])] += 1
            if self.factors[-1:] != [one]:
                self.factors.append(one)


@contextlib.contextmanager
def asked(server, connections=4, paths=(INFER,)):
    """Somebody asks during the block, on every replica, and has nothing to complain about."""
    askers = [Asker(server.http_port, path) for path in paths for _ in range(connections)]
    try:
        yield askers
    finally:
        for asker in askers:
            asker.stop.set()
        for asker in askers:
            asker.join(30)
            asker.connection.close()


def until(condition):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not come to that in time"
        threading.Event().wait(0.01)


def index(server):
    connection = http.client.HTTPConnection(server.url)
    connection.request("POST", "/v2/repository/index")
    rows = json.loads(connection.getresponse().read())
    connection.close()
    return {(row["name"], row.get("version", "")): (row["state"], row.get("reason", "")) for row in rows}
