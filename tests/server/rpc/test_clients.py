"""Who asks over gRPC: N closed loops are N clients, on one connection and on several."""

import asyncio
import json
from collections import Counter

import numpy as np
import onnx_models
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
from hypothesis import given
from hypothesis import strategies as st
from live import serving

from server.rpc.clients import Peer

REQUESTS_EACH = 16


def test_loops_on_one_connection_have_as_many_numbers_as_there_are_loops():
    peer, seen = Peer(), Counter()
    loops = [peer.take() for _ in range(5)]
    for _ in range(20):
        peer.give_back(loops.pop(0))
        loops.append(peer.take())
        seen.update(loops)
    assert len(seen) == 5


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=60))
def test_calls_under_way_have_different_numbers_and_as_few_as_can_be(steps):
    peers = {name: Peer() for name in "abc"}
    under_way, most, numbers = {name: [] for name in "abc"}, Counter(), {name: set() for name in "abc"}
    for name, which in steps:
        calls = under_way[name]
        if which < len(calls):
            peers[name].give_back(calls.pop(which))
        else:
            calls.append(peers[name].take())
            numbers[name].add(calls[-1])
        most[name] = max(most[name], len(calls))
        everybody = [number for each in under_way.values() for number in each]
        assert len(set(everybody)) == len(everybody)
        assert all(number < 0 for number in everybody)
    assert {name: len(found) for name, found in numbers.items()} == {name: most[name] for name in "abc"}


@pytest.mark.parametrize(("connections", "loops"), [(1, 4), (4, 1)])
def test_closed_loops_over_grpc_are_counted_as_the_clients_they_are(tmp_path, connections, loops):
    async def loop(client):
        for _ in range(REQUESTS_EACH):
            await client.infer("busy", inputs())

    async def everybody(url):
        # Equal arguments share a connection otherwise.
        options = [[("grpc.use_local_subchannel_pool", 1), ("mine", index)] for index in range(connections)]
        clients = [tritonclient.grpc.aio.InferenceServerClient(url, channel_args=each) for each in options]
        await asyncio.gather(*(loop(client) for client in clients for _ in range(loops)))
        for client in clients:
            await client.close()

    onnx_models.save(onnx_models.busy(), tmp_path, "busy")
    with serving(tmp_path) as server:
        asyncio.run(everybody(server.grpc_url))
        arrivals = json.loads(server.get("/v2/models/busy/batcher"))["arrivals"]
    assert arrivals["requests"] == connections * loops * REQUESTS_EACH
    assert arrivals["clients"] == connections * loops


def inputs():
    tensors = []
    for name, datatype, value in (("x", "FP32", np.float32([[1]])), ("loops", "INT64", np.int64([[1]]))):
        tensors.append(tritonclient.grpc.InferInput(name, [1, 1], datatype))
        tensors[-1].set_data_from_numpy(value)
    return tensors
