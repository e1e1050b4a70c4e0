from model_repo_fakes import FakeServable, spec

from model_repo.handle import Handle
from model_repo.routes import Routes


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
