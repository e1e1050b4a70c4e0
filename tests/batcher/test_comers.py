"""Requests of several keys in virtual time: they share batches as in the batcher's queue, and plans know it."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from batcher.arrivals import Arrivals
from batcher.decide import Limits, Plan
from batcher.follow import Follower
from batcher.search import search
from batcher.simulate import Device, Load, simulate
from batcher.twin import Picture, Twin

LIMITS = Limits(8)


class Listening(Follower):
    """Remembers (key, rows, clients) of the batches, and the keys of the clients when they came."""

    __slots__ = ("batches", "last")

    def __init__(self, plan):
        super().__init__(plan, LIMITS)
        self.batches, self.last = [], {}

    def arrived(self, now, rows, client, key=()):
        super().arrived(now, rows, client, key)
        self.last[client] = key

    def finished(self, now, rows, seconds, running, clients, key=()):
        super().finished(now, rows, seconds, running, clients, key)
        assert all(self.last[client] == key for client in clients)
        self.batches.append((key, rows))


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=12),
    st.lists(st.integers(1, 3), min_size=1, max_size=5),
    st.lists(st.floats(0, 0.01), min_size=0, max_size=40),
    st.integers(0, 5),
    st.integers(1, 3),
    st.floats(0, 0.005),
)
def test_everybody_is_answered_once_in_batches_of_one_key(keys, rows, gaps, clients, in_flight, patience_s):
    opens = [sum(gaps[: at + 1]) for at in range(len(gaps))]
    load = Load(opens, clients, (0.001, 0.0005), rows, keys=keys)
    plan = Plan(in_flight, tuple(range(9)), 8, patience_s)
    controller = Listening(plan)
    outcome = simulate(load, Device(lambda rows: 0.001 * rows, (1.0, 1.0, 2.0, 3.0)), controller, 60)
    assert len(outcome.finished) == len(outcome.arrived) >= min(60, len(opens) if not clients else 60)
    if not clients:
        assert sorted(outcome.arrived) == opens
        assert sum(outcome.batches) == sum(rows[at % len(rows)] for at in range(len(opens)))
    if len(set(keys)) > 1:
        assert {key for key, _ in controller.batches} <= set(keys)
    assert all(count <= max(8, *rows) for _, count in controller.batches)


def test_one_key_in_all_is_as_good_as_none():
    load = Load([0.001 * at for at in range(50)], rows=(1, 2))
    device, plan = Device(lambda rows: 0.002 + 0.001 * rows), Plan(1, tuple(range(9)))
    alike = Load(load.opens, rows=load.rows, keys=(7,))
    runs = [simulate(each, device, Follower(plan, LIMITS), 50) for each in (load, alike)]
    assert runs[0] == runs[1]


def test_the_remembered_requests_have_their_keys_as_numbers():
    arrivals = Arrivals()
    for at, key in enumerate(["a", ("b", 3), "a"]):
        arrivals.arrived(at, 1, 0, key)
    assert arrivals.load().keys == [0, 1, 0]
    arrivals = Arrivals()
    arrivals.arrived(0.0, 1, 0, "a")
    arrivals.arrived(1.0, 1, 0, "a")
    assert arrivals.load().keys == ()


def test_clients_that_cannot_share_a_batch_are_not_brought_together_but_run_beside_each_other():
    """As a transformer on a GPU that is not padded: a batch costs little more than a row, and several run at once."""
    random = Random(1)
    thinks = [random.uniform(0.0001, 0.0003) for _ in range(400)]
    lengths = [random.randrange(60) for _ in range(400)]
    table = [0.0, *(0.0016 + 0.00005 * rows for rows in range(1, 65))]
    slowdown = (1.0, 1.0, 1.3, 1.8, 2.3)

    def plan(keys):
        load = Load(clients=64, thinks=thinks, rows=(1,), keys=keys)
        return search(Twin(Picture(table, slowdown, (0.95, 1.0, 1.05), load, Limits(64))), None)

    together, apart = plan(()), plan(lengths)
    assert together.waits
    assert apart.in_flight >= 3
