"""Asks the server at sys.argv[1] all that KServe's REST client can ask, and says so if the answers are right."""

import asyncio
import sys

import kserve
import numpy as np

X = np.arange(4, dtype=np.float32).reshape(2, 2)


async def main(url):
    async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2")) as client:
        assert await client.is_server_live(url)
        assert await client.is_server_ready(url)
        assert await client.is_model_ready(url, "grid")
        assert not await client.is_model_ready(url, "none")
        for binary in (False, True):
            sent = kserve.InferInput("x", [2, 2], "FP32")
            sent.set_data_from_numpy(X, binary_data=binary)
            answer = await client.infer(url, kserve.InferRequest("grid", [sent], request_id="7"), model_name="grid")
            assert (answer.id, answer.model_name) == ("7", "grid")
            assert np.array_equal(answer.outputs[0].as_numpy(), X)
    sys.stdout.write("all right\n")


asyncio.run(main(sys.argv[1]))
