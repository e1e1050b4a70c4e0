"""A model and its requests, read back from what its batcher says of them."""

import json

import pytest

from batcher import loads
from batcher.adaptive import Adaptive
from batcher.decide import Limits
from batcher.describe import describe
from batcher.known import Recorded, affine, read, share
from batcher.queue import RowQueue
from batcher.simulate import Device, Load, simulate
from headrace.errors import ConfigError

DEVICE = Device(lambda rows: 0.004 + 0.0005 * rows, (1.0, 1.0, 1.7))
SWEEP = [(rows, 0.004 + 0.0005 * rows) for rows in (1, 2, 8, 32)]


def document(load, requests=600, **options):
    controller = Adaptive(Limits(32, 0.05), 2, seed=SWEEP, slowdown=(1.0, 1.7), **options)
    simulate(load, DEVICE, controller, requests)
    return controller, describe(controller, 0.0, RowQueue(), 0, recording=True)


def test_what_is_read_is_what_was_described():
    controller, said = document(loads.poisson(150, 600, 1), objective="p99", slo_s=0.02)
    known, recorded = read(json.dumps({**said, "model": "m", "replicas": 3}).encode(), "here")
    assert known.table() == pytest.approx(controller.curve.table(32), rel=1e-4)
    assert known.slowdown == tuple(controller.curve.slowdown)
    assert known.noise == pytest.approx(controller.curve.noise(), abs=1e-4)
    assert (known.limits, known.objective, known.slo_s) == (Limits(32, 0.05), "p99", 0.02)
    assert (known.model, known.replicas, known.slots) == ("m", 3, 2)
    assert recorded.load.opens == pytest.approx(controller.arrivals.load().opens, abs=1e-3)
    assert (recorded.count, recorded.load.clients) == (512, 0)


def test_clients_are_read_with_their_think_times():
    controller, said = document(loads.closed(4, 0.003, 600, 1))
    _, recorded = read(json.dumps(said).encode(), "here")
    assert recorded.load.clients == 4
    assert recorded.load.thinks == pytest.approx(controller.arrivals.load().thinks, abs=1e-6)
    assert recorded.again(10_000) == recorded.load


def test_requests_in_open_loop_beside_clients_come_again_as_often_as_they_came():
    again = Recorded(Load([0.0, 0.1, 0.2], 1, [0.01]), 100, 10.0).again(9)
    assert again.opens == pytest.approx([0.0, 0.1, 0.2, 10.0, 10.1, 10.2, 20.0, 20.1, 20.2])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"curve": None, "controller": "timer"}, "the controller is 'timer', which learns no curve"),
        ({"curve": {"sizes": [], "slowdown": [1.0]}}, "no batch has run yet"),
        ({"curve": {"sizes": [{"rows": 0, "ms": 1}], "slowdown": [1.0]}}, "0 rows in 1.0 ms are no batch"),
        ({"curve": {"sizes": [{"rows": 1}], "slowdown": [1.0]}}, "missing required field `ms` - at `$.curve.sizes[0]`"),
        ({"curve": {"sizes": [{"rows": 1, "ms": 1}], "slowdown": []}}, "curve.slowdown: expected a factor"),
        ({"limits": {"max_batch_rows": "many"}}, "Expected `int`, got `str` - at `$.limits.max_batch_rows`"),
    ],
)
def test_a_document_that_is_none_is_refused_with_the_place(changes, sentence):
    _, said = document(loads.poisson(150, 60, 1), 60)
    with pytest.raises(ConfigError) as refusal:
        read(json.dumps(said | changes).encode(), "a.json")
    assert str(refusal.value).startswith("a.json: ")
    assert sentence in str(refusal.value)


def test_a_curve_of_two_numbers_is_in_milliseconds():
    assert affine("4 + .25*b").table()[16] == pytest.approx(0.008)
    assert affine("0+1b").table()[3] == pytest.approx(0.003)


@pytest.mark.parametrize("text", ["", "4", "4+b", "0+0b", "-1+2b", "4+0.25b ms"])
def test_what_is_no_curve_is_refused(text):
    with pytest.raises(ConfigError, match=r"such as '4\+0.25b'"):
        affine(text)


def test_a_replica_gets_its_share():
    whole = loads.poisson(300, 30_000, 1)
    part = share(whole, 3, seed=1)
    assert len(part.opens) == pytest.approx(10_000, rel=0.03)
    assert set(part.opens) <= set(whole.opens)
    assert share(Load(clients=7), 3, seed=1).clients == 3
    assert share(whole, 1, seed=1) is whole


def test_a_request_of_more_rows_than_a_batch_may_have_takes_several():
    table = [0.0, 0.002, 0.003, 0.004]
    seconds = Device.of_table(table, (1.0, 1.0), (1.0,)).seconds
    assert [seconds(rows) for rows in (1, 3, 4, 6, 8)] == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.011])


def test_requests_that_are_cut_do_not_keep_plans_from_being_found():
    controller = Adaptive(Limits(8), seed=[(rows, 0.004 + 0.0005 * rows) for rows in (1, 8)])
    simulate(
        loads.poisson(20, 200, 1, rows=(1, 30)),
        Device.of_table(controller.curve.table(8), (1, 1), (1,)),
        controller,
        200,
    )
    assert controller.settings is not None
