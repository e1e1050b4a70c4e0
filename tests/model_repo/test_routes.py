from model_repo_fakes import FakeServable, spec

from model_repo.handle import Handle
from model_repo.routes import Routes
from model_repo.routing import Routing


def handles(*words):
    made = []
    for serial, word in enumerate(words):
        handle = Handle(serial, spec(word))
        handle.servable = FakeServable(handle.spec)
        made.append(handle)
    return made


def test_no_version_is_the_highest_by_number():
    two, ten, nine = handles("m/2", "m/10", "m/9")
    routes = Routes()
    routes.point("m", [two, ten, nine])
    assert routes.table["m"] == {"2": two, "10": ten, "9": nine, "": ten}
    assert routes.versions("m") == [2, 9, 10]


def test_of_two_instances_of_a_version_the_later_one_is_found():
    old, new = handles("m/1a", "m/1b")
    routes = Routes()
    routes.point("m", [old, new])
    assert routes.table["m"] == {"1": new, "": new}
    assert [str(id) for id, _ in routes.servables()] == ["m/1"]


def test_a_model_without_versions_is_not_in_the_table():
    routes = Routes()
    routes.point("m", handles("m/1"))
    routes.point("m", [])
    routes.point("n", [])
    assert routes.table == {}
    assert (routes.versions("m"), routes.servables()) == ([], [])


def test_labels_are_keys_beside_the_versions_and_no_versions_themselves():
    three, four = handles("m/3", "m/4")
    routes = Routes()
    assert routes.follow({"m": Routing({"stable": 3, "canary": 4})}) == ["m"]
    routes.point("m", [three, four])
    assert routes.table["m"] == {"3": three, "4": four, "stable": three, "canary": four, "": four}
    assert (routes.versions("m"), routes.labels("m")) == ([3, 4], {"stable": 3, "canary": 4})
    assert [str(id) for id, _ in routes.servables()] == ["m/3", "m/4"]


def test_a_model_with_shares_has_a_split_instead_of_a_highest_version():
    three, four = handles("m/3", "m/4")
    routes = Routes()
    routes.follow({"m": Routing({}, {"4": 20})})
    routes.point("m", [three])
    assert routes.table["m"] == {"3": three, "": three}, "one choice is no split"
    routes.point("m", [three, four])
    assert routes.table["m"] == {"3": three, "4": four}
    assert [routes.find("m", "") for _ in range(10)].count(four) == 2
    assert (routes.shown("m", ""), routes.shown("m", "03"), routes.find("m", "5")) == (four, three, None)
    routes.point("m", [])
    assert (routes.find("m", ""), routes.splits) == (None, {})


def test_the_walk_goes_on_when_versions_come_and_go():
    three, four, five = handles("m/3", "m/4", "m/5")
    routes = Routes()
    routes.follow({"m": Routing({}, {"4": 20})})
    routes.point("m", [three, four])
    routes.find("m", "")
    at = routes.splits["m"].at
    routes.point("m", [three, four, five])
    assert routes.splits["m"].at == at != 0


def test_only_what_has_changed_is_pointed_anew():
    routes = Routes()
    routes.follow({"m": Routing({"a": 1}), "n": Routing({"a": 1})})
    assert routes.follow({"m": Routing({"a": 2}), "n": Routing({"a": 1}), "o": Routing({"a": 1})}) == ["m", "o"]
    assert routes.follow({}) == ["m", "n", "o"]
