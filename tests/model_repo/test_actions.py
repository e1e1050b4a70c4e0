import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_repo_fakes import spec, want

from model_repo.actions import Instance, Load, Unload, next_action
from model_repo.states import State


def actual(text):
    """`m/1:READY m/2b:LOADING`; serials count from 0."""
    instances = []
    for serial, word in enumerate(text.split()):
        found = spec(word.split(":")[0])
        instances.append(Instance(serial, found.id, found.fingerprint, State(word.split(":")[1])))
    return instances


@pytest.mark.parametrize(
    ("wanted", "instances", "expected"),
    [
        ("", "", None),  # nothing wanted, nothing there
        ("m/1", "", Load(spec("m/1"))),  # wanted and not there
        ("m/1", "m/1:LOADING", None),  # on its way
        ("m/1", "m/1:READY", None),  # as wanted
        ("", "m/1:READY", Unload(0)),  # omission means unload
        ("", "m/1:LOADING", None),  # a load cannot be called back; the manager drops what comes of it
        ("", "m/1:QUIESCING", None),  # already leaving
        ("", "m/1:UNLOADING", None),
        ("n/1", "m/1:READY", Unload(0)),  # first make room
        ("m/1 m/2", "", Load(spec("m/2"))),  # newest first
        ("b/1 a/1", "", Load(spec("a/1"))),
        ("m/2", "m/1:READY", Load(spec("m/2"))),  # the old version waits for the new one
        ("m/2", "m/1:READY m/2:LOADING", None),
        ("m/2", "m/1:READY m/2:READY", Unload(0)),  # now it may leave
        ("m/2", "m/1:READY m/2:FAILED", None),  # no, it must go on serving
        ("m/1", "m/1:READY m/2:READY", Unload(1)),  # back to an older version
        ("m/1", "m/1:READY m/2:FAILED", Unload(1)),  # a failure that concerns nobody any more is forgotten
        ("m/2 m/3", "m/1:READY m/2:READY", Load(spec("m/3"))),
        ("m/2 m/3", "m/1:READY m/2:READY m/3:LOADING", None),  # "" must not go from 1 to 2 to 3 if 3 is near
        ("m/2 m/3", "m/1:READY m/2:READY m/3:FAILED", Unload(0)),  # 2 is newer and serves: 1 is superfluous
        ("m/1 m/4", "m/1:READY m/3:READY m/4:FAILED", None),  # without 3, "" would fall back to 1 as 4 failed
        ("m/1 m/2", "m/1:READY m/3:READY m/2:FAILED", Unload(1)),  # 3 was removed, and its successor is 1
        ("m/1", "m/1:FAILED", None),  # not tried again
        ("m/1b", "m/1:FAILED", Unload(0)),  # other files: forget, then load
        ("", "m/1:FAILED", Unload(0)),
        ("m/1b", "m/1:READY", Load(spec("m/1b"))),  # a replacement beside the one that serves
        ("m/1b", "m/1:READY m/1b:LOADING", None),
        ("m/1b", "m/1:READY m/1b:READY", Unload(0)),
        ("m/1b", "m/1:READY m/1b:FAILED", None),  # the old files go on serving
        ("m/1c", "m/1:READY m/1b:LOADING", None),  # one load of an id at a time
        ("m/1c", "m/1:READY m/1b:FAILED", Unload(1)),
        ("m/1", "m/1:READY m/1b:READY", Unload(1)),  # changed back before the first one left
        ("m/1", "m/1:QUIESCING", Load(spec("m/1"))),  # wanted again: it does not come back, another one comes
        ("m/1b m/2", "m/1:READY m/2:READY", Load(spec("m/1b"))),
    ],
)
def test_next_action(wanted, instances, expected):
    assert next_action(want(wanted), actual(instances)) == expected


@pytest.mark.parametrize(
    ("wanted", "instances", "held", "expected"),
    [
        ("m/2 m/3", "m/1:READY m/2:FAILED m/3:READY", {1}, None),  # the label of 2 goes on pointing to 1
        ("m/2 m/3", "m/1:READY m/2:READY m/3:READY", set(), Unload(0)),  # it has moved
        ("m/1b", "m/1:READY m/1b:READY", {1}, Unload(0)),  # it points to the version, whichever instance that is
        ("", "m/1:READY", {1}, Unload(0)),  # the model is wanted no more
    ],
)
def test_a_version_that_a_label_would_be_lost_with_stays(wanted, instances, held, expected):
    assert next_action(want(wanted), actual(instances), held) == expected


IDS = [f"{name}/{version}" for name in "mn" for version in (1, 2, 3)]
WANTED = st.dictionaries(st.sampled_from(IDS), st.sampled_from("ab")).map(
    lambda found: want(" ".join(id + fingerprint for id, fingerprint in found.items()))
)
STEP = st.one_of(WANTED, st.booleans(), st.integers(0, 5))


class World:
    """What the manager does, without its waiting: an action at a time, and loads and unloads that end when told."""

    def __init__(self):
        self.serials = itertools.count()
        self.instances = {}

    def ready(self, name):
        return [one for one in self.instances.values() if one.id.name == name and one.state is State.READY]

    def move(self, serial, state):
        old = self.instances.pop(serial)
        if state is not State.GONE:
            self.instances[serial] = Instance(serial, old.id, old.fingerprint, state)

    def act(self, wanted):
        action = next_action(wanted, list(self.instances.values()))
        before = {id.name for id in wanted if self.ready(id.name)}
        match action:
            case Load(spec):
                serial = next(self.serials)
                self.instances[serial] = Instance(serial, spec.id, spec.fingerprint, State.LOADING)
            case Unload(serial):
                failed = self.instances[serial].state is State.FAILED
                assert failed or self.instances[serial].state is State.READY
                self.move(serial, State.GONE if failed else State.QUIESCING)
        assert all(self.ready(name) for name in before), "a wanted model lost its last READY version"
        return action

    def finish(self, which, wanted, succeeds):
        """One load or unload ends."""
        busy = [one for one in self.instances.values() if one.state in (State.LOADING, State.QUIESCING)]
        if busy:
            one = busy[which % len(busy)]
            spec = wanted.get(one.id)
            current = spec is not None and spec.fingerprint == one.fingerprint
            if one.state is State.QUIESCING or (succeeds and not current):
                self.move(one.serial, State.GONE)
            else:
                self.move(one.serial, State.READY if succeeds else State.FAILED)
        return bool(busy)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=40), WANTED, st.sets(st.sampled_from([id + tag for id in IDS for tag in "ab"])))
def test_any_history_converges_and_never_drops_the_last_ready_version(steps, last, broken):
    world, wanted = World(), {}

    def finish(which):
        busy = [one for one in world.instances.values() if one.state in (State.LOADING, State.QUIESCING)]
        succeeds = not busy or f"{busy[which % len(busy)].id}{busy[which % len(busy)].fingerprint}" not in broken
        return world.finish(which, wanted, succeeds)

    for step in steps:
        if isinstance(step, dict):
            wanted = step
        elif isinstance(step, bool):
            world.act(wanted)
        else:
            finish(step)
    wanted = last
    for _ in range(200):
        if world.act(wanted) is None and not finish(0):
            break
    else:
        pytest.fail("does not come to rest")
    for id, one in wanted.items():
        states = {i.state for i in world.instances.values() if i.id == id and i.fingerprint == one.fingerprint}
        assert states == {State.FAILED if f"{id}{one.fingerprint}" in broken else State.READY}
    names = {id.name for id in wanted}
    assert all(one.id.name in names for one in world.instances.values())
    if not broken:
        assert {(one.id, one.fingerprint) for one in world.instances.values()} == {
            (id, one.fingerprint) for id, one in wanted.items()
        }
