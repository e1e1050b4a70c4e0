import re

import pytest
import sharded_models
from sharding_runs import GIB, on

from executor.sharding.devices import NO_LIMIT, RESERVE, wish_for
from executor.sharding.plan import Device
from executor.sharding.planning import Wish, make_plan
from executor.sharding.shapes import Sizes
from headrace.errors import LoadFailed
from headrace.sharding import Sharding, size

WEIGHTS = 256 * 256 * 4


def wide():
    """Six layers of 256 KiB each."""
    return sharded_models.layers(width=256)


def refusal(read, devices, stages=None):
    with pytest.raises(LoadFailed) as caught:
        make_plan(read, Wish(devices, stages, Sizes(1)))
    return str(caught.value)


def test_what_fits_one_device_stays_on_it(source):
    plan = make_plan(source(wide()), Wish(on(3), None, Sizes(1)))
    assert [stage.device for stage in plan.stages] == ["cpu:0"]
    assert (plan.stages[0].cut_bytes, plan.stages[0].comes, plan.giving) == (0, {-1: 1024}, (0,))


def test_as_few_devices_are_used_as_hold_the_model(source):
    plan = make_plan(source(wide()), Wish(on(4, memory_bytes=int(3.2 * WEIGHTS)), None, Sizes(1)))
    assert len(plan.stages) == 2
    for stage in plan.stages:
        assert 3 * WEIGHTS < stage.weight_bytes < stage.peak_bytes <= stage.limit_bytes
    assert sum(stage.weight_bytes for stage in plan.stages) == 6 * (WEIGHTS + 256 * 4)


def test_a_larger_device_gets_more(source):
    devices = [
        Device("cpu:0", "cpu", 2 * GIB // 1024, 0, 6e9, 0),
        Device("cpu:1", "cpu", int(1.2 * WEIGHTS), 0, 6e9, 0),
    ]
    plan = make_plan(source(wide()), Wish(devices, 2, Sizes(1)))
    weights = {stage.device: stage.weight_bytes for stage in plan.stages}
    assert weights["cpu:0"] == 5 * weights["cpu:1"]


def test_what_does_not_fit_says_what_would(source):
    read = source(wide())
    devices = on(2, memory_bytes=int(2.2 * WEIGHTS))
    said = refusal(read, devices)
    assert said.startswith("does not fit on 2 devices of 563 KiB: it would fit on 2 devices with ")
    assert said.endswith("; with 563 KiB each it takes 3")
    assert len(make_plan(read, Wish(on(3, memory_bytes=int(2.2 * WEIGHTS)), None, Sizes(1))).stages) == 3
    would = size(re.search(r"with ([^;]+) each;", said)[1])
    assert len(make_plan(read, Wish(on(2, memory_bytes=would), None, Sizes(1))).stages) == 2
    refusal(read, on(2, memory_bytes=int(would * 0.99)))


def test_what_fits_nowhere_names_the_node_that_does_not(source):
    said = refusal(source(wide()), on(2, memory_bytes=WEIGHTS, reserve_bytes=1000))
    assert "no number of devices would do: Gemm that makes 'n0' alone takes 261 KiB (0.977 KiB of each" in said


def test_a_model_of_constants_is_refused(source):
    graph = sharded_models.Graph()
    graph.node("Neg", graph.constant([1.0]), output="y")
    read = source(graph.model([], [sharded_models.tensor("y", "FP32", (1,))]))
    assert refusal(read, on(2)) == "expected nodes that run, found constants only"


@pytest.mark.parametrize(
    ("devices", "stages", "why"),
    [(2, 3, "2 devices are named"), (9, 8, "it has 6 units, and not all can be parted")],
)
def test_more_stages_than_there_can_be_are_refused(source, devices, stages, why):
    assert refusal(source(wide()), on(devices), stages).endswith(f"cannot be cut into {stages} stages: {why}")


def test_weights_in_two_stages_are_said(source):
    plan = make_plan(source(sharded_models.layers(count=4, width=640)), Wish(on(2), 2, Sizes(1)))
    assert plan.copied == {}
    graph = sharded_models.Graph()
    shared, at = graph.weight(640, 640), "x"
    for index in range(4):
        at = graph.node("MatMul", graph.node("Softmax", at), shared, output="y" if index == 3 else None)
    flat = [sharded_models.tensor(name, "FP32", ("rows", 640)) for name in "xy"]
    plan = make_plan(source(graph.model(flat[:1], flat[1:])), Wish(on(2), 2, Sizes(1)))
    assert plan.copied == {"w0": 640 * 640 * 4}


def test_branches_on_devices_of_their_own_do_not_wait_for_each_other(source):
    graph = sharded_models.Graph()
    ends = []
    for _ in range(2):
        at = "x"
        for _ in range(4):
            at = graph.node("Softmax", graph.node("MatMul", at, graph.weight(256, 256)))
        ends.append(at)
    graph.node("Concat", *ends, axis=1, output="y")
    x, y = (sharded_models.tensor(name, "FP32", ("rows", width)) for name, width in (("x", 256), ("y", 512)))
    plan = make_plan(source(graph.model([x], [y])), Wish(on(4), 4, Sizes(4)))
    assert [stage.after for stage in plan.stages] == [(), (0,), (), (1, 2)]


def test_bytes_between_stages_add_up(source):
    plan = make_plan(source(sharded_models.encoder()), Wish(on(4), 4, Sizes(3, 5)))
    assert plan.stages[0].comes == {-1: 2 * 3 * 5 * 8}
    for at, stage in enumerate(plan.stages[:-1]):
        later = sum(moved for other in plan.stages[at + 1 :] for source, moved in other.comes.items() if source <= at)
        assert 0 < stage.cut_bytes <= later


def test_the_same_model_is_cut_the_same_way_each_time(source):
    read = source(sharded_models.branches())
    assert make_plan(read, Wish(on(3), 3, Sizes(3))) == make_plan(read, Wish(on(3), 3, Sizes(3)))


def test_measured_seconds_take_the_place_of_estimated_ones(source):
    read = source(wide())
    heavy_end = [1.0 if node.index >= 10 else 0.1 for node in read.graph.nodes]
    plan = make_plan(read, Wish(on(2), 2, Sizes(1)), heavy_end)
    assert plan.measured
    assert [len(stage.ends.nodes) for stage in plan.stages] == [10, 2]


def test_configuration_becomes_devices():
    said = Sharding(devices=("cuda:0", "cuda:1", "cuda:2", "cuda:3"), memory_limit=("8GiB", "4GiB", 5, 6), replicas=2)
    wish = wish_for(said)
    assert [(device.name, device.memory_bytes, device.reserve_bytes) for device in wish.devices] == [
        ("cuda:0", 8 * GIB, RESERVE),
        ("cuda:1", 4 * GIB, RESERVE),
    ]
    assert wish.stages is None
    assert (wish.sizes.rows, wish_for(Sharding(devices=("cpu:0",), micro_batch_rows=3)).sizes.rows) == (8, 3)


def test_without_a_limit_each_device_gets_a_stage():
    wish = wish_for(Sharding(devices=("cpu:0", "cpu:1", "cpu:2")))
    assert (wish.stages, {device.memory_bytes for device in wish.devices}) == (3, {NO_LIMIT})
