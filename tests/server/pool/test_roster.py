"""Which models the replicas are told to have, event by event."""

from dataclasses import replace

import pytest
from model_repo_fakes import spec

from headrace.config import ServerConfig
from model_repo.awake import NO_LIMITS, Limits
from model_repo.found import ASLEEP, NOT_LOADED, ModelScan, Problem, Scan
from server.pool.roster import Roster


def scan(text):
    """`a/1 b/2:50` as it is found on disk; `c` alone is not loaded."""
    models = {}
    for word in text.split():
        what, _, size = word.partition(":")
        name = what.partition("/")[0]
        if what == name:
            models[name] = ModelScan(problems=(Problem(name, None, NOT_LOADED),))
        else:
            models[name] = ModelScan((replace(spec(what), size=int(size or 1)),))
    return Scan(models)


class Office:
    """A roster, a clock and what was used when."""

    def __init__(self, limits=NO_LIMITS, lazy=False):
        self.used = {}
        self.looks = 0
        self.now = 1
        self.roster = Roster(limits, lazy, self._last_uses, lambda: self.now)

    def _last_uses(self, now):
        self.looks += 1
        return {name: at * 1000 for name, at in self.used.items()}

    def awake(self):
        return " ".join(sorted(id.name for id in self.roster.part().wanted))

    def reasons(self):
        return {problem.name: problem.reason for problem in self.roster.part().problems}


def test_without_an_option_there_is_no_roster_and_with_each_there_is():
    assert Roster.of(ServerConfig(), None) is None
    for option in ({"lazy": True}, {"max_loaded_models": 1}, {"max_loaded_bytes": 1}):
        assert Roster.of(ServerConfig(**option), None)


def test_lazy_ones_sleep_until_they_are_asked_for_and_then_stay_awake():
    office = Office(lazy=True)
    office.roster.want(scan("a/1 b/1"))
    assert office.awake() == ""
    assert office.reasons() == {"a": ASLEEP, "b": ASLEEP}
    assert office.roster.ask("b", 0)
    assert not office.roster.ask("b", 1)
    assert not office.roster.rest("b", 0)
    assert office.awake() == "b"
    assert office.roster.asleep("a")
    assert not office.roster.asleep("b")


def test_what_is_not_lazy_is_loaded_as_far_as_there_is_room_also_what_comes_later():
    office = Office(Limits(2))
    office.roster.want(scan("b/1 c/1 d"))
    assert office.awake() == "b c"
    office.roster.want(scan("a/1 b/1 c/1 d"))
    assert office.awake() == "b c"
    office.roster.want(scan("a/1 b/1 d/1"))
    assert office.awake() == "b d"  # the new one, not the one that was passed over before


def test_the_least_recently_used_makes_room_and_it_is_looked_up_only_then():
    office = Office(Limits(2), lazy=True)
    office.roster.want(scan("a/1 b/1 c/1"))
    for now, name in enumerate("ab", 2):
        office.now = now
        office.roster.ask(name, 0)
        office.roster.rest(name, 0)
    assert office.looks == 0
    office.used = {"a": 9, "b": 5}
    office.roster.ask("c", 0)
    assert office.awake() == "a c"
    assert office.looks == 1


def test_one_that_was_woken_this_moment_counts_as_used_though_no_request_has_run():
    office = Office(Limits(2), lazy=True)
    office.used = {"a": 5}
    office.roster.want(scan("a/1 b/1 c/1"))
    for now, name in ((1, "a"), (8, "b")):
        office.now = now
        office.roster.ask(name, 0)
        office.roster.rest(name, 0)
    office.roster.ask("c", 0)
    assert office.awake() == "b c"


def test_models_that_want_one_place_take_turns_and_none_is_sent_away_before_its_askers_rest():
    office = Office(Limits(1), lazy=True)
    office.roster.want(scan("a/1 b/1"))
    served = []
    office.roster.ask("a", "one")
    office.roster.ask("b", "two")
    for _ in range(6):  # each asks for the other as soon as its own is served
        name = office.awake()
        served.append(name)
        who = "one" if name == "a" else "two"
        office.roster.ask(name, "third")
        office.roster.rest(name, who)
        assert office.awake() == name
        office.roster.rest(name, "third")
        office.roster.ask(name, who)
    assert "".join(served) == "ababab"


def test_a_replica_that_has_ended_asks_for_nothing_any_more():
    office = Office(Limits(1), lazy=True)
    office.roster.want(scan("a/1 b/1"))
    office.roster.ask("a", 0)
    office.roster.ask("b", 1)
    assert office.roster.left(0)
    assert office.awake() == "b"


def test_one_that_failed_keeps_its_reason_and_takes_no_place_until_its_files_change():
    office = Office(Limits(1), lazy=True)
    office.roster.want(scan("a/1 b/1"))
    office.roster.ask("a", 0)
    office.roster.ask("b", 0)
    office.roster.rest("a", 0)
    office.roster.ask("a", 0)
    office.roster.rest("b", 0)
    assert office.awake() == "a"
    assert not office.roster.decided("a", published=False)
    office.roster.rest("a", 0)
    office.roster.ask("b", 0)
    office.roster.rest("b", 0)
    assert office.awake() == "a b"
    office.now = 5
    office.roster.want(scan("a/1mended b/1"))
    assert office.awake() == "b"


def test_one_whose_new_version_failed_while_the_old_one_serves_still_takes_its_place():
    office = Office(Limits(1), lazy=True)
    office.roster.want(scan("a/1 b/1"))
    office.roster.ask("a", 0)
    office.roster.decided("a", published=True)
    office.roster.rest("a", 0)
    office.roster.want(scan("a/2 b/1"))
    office.roster.decided("a", published=False)
    office.roster.ask("b", 0)
    assert office.awake() == "b"


def test_one_that_could_never_be_loaded_is_refused_with_a_sentence():
    office = Office(Limits(bytes=10))
    office.roster.want(scan("a/1:11 b/1:10"))
    office.roster.ask("a", 0)
    assert office.awake() == "b"
    assert "11 bytes, more than all models together may (max_loaded_bytes, 10)" in office.reasons()["a"]


def test_a_vote_of_an_earlier_time_is_none_for_this_one():
    office = Office(Limits(1), lazy=True)
    office.roster.want(scan("a/1 b/1"))
    prints = []
    for name in "aba":
        office.roster.ask(name, 0)
        prints += [spec.fingerprint for spec in office.roster.part().wanted.values()]
        office.roster.rest(name, 0)
    assert len(set(prints)) == 3


@pytest.mark.parametrize("lazy", [True, False])
def test_what_is_wanted_no_more_is_forgotten_and_its_place_is_free(lazy):
    office = Office(Limits(1), lazy)
    office.roster.want(scan("a/1 b/1"))
    office.roster.ask("a", 0)
    office.roster.rest("a", 0)
    office.roster.want(scan("a b/1"))
    assert office.reasons()["a"] == NOT_LOADED
    office.roster.ask("b", 0)
    assert office.awake() == "b"
