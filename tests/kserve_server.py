"""A KServe server, unmodified, with a model that doubles: `python kserve_server.py HTTP_PORT GRPC_PORT`.

In a process of its own: KServe brings its own compiled copy of the V2 protocol's messages.
"""

import sys

import numpy as np
from kserve import InferOutput, InferResponse, Model, ModelServer


class Double(Model):
    def __init__(self):
        super().__init__("double")
        self.ready = True

    async def get_input_types(self):
        return [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]

    async def get_output_types(self):
        return [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]

    def predict(self, payload, headers=None, response_headers=None):
        if isinstance(payload, dict):
            return {"predictions": (2 * np.asarray(payload["instances"])).tolist()}
        answer = InferOutput("y", list(payload.inputs[0].shape), "FP32")
        answer.set_data_from_numpy(2 * payload.inputs[0].as_numpy(), binary_data=False)
        return InferResponse(payload.id or "1", "double", [answer])


if __name__ == "__main__":
    ModelServer(http_port=int(sys.argv[1]), grpc_port=int(sys.argv[2]), workers=1).start([Double()])
