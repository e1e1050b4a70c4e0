from headrace.models import ModelId
from model_repo.found import Problem
from model_repo.index import IndexRow, rows
from model_repo.states import State

ONE, TWO = ModelId("m", 1), ModelId("m", 2)


def test_rows_are_sorted_by_number_not_by_text():
    wanted = [ModelId("m", 10), ModelId("m", 9), ModelId("a", 1)]
    assert [(row.name, row.version) for row in rows(wanted, [], [])] == [("a", "1"), ("m", "9"), ("m", "10")]


def test_each_state_has_its_word():
    words = {state: rows([], [(ONE, state, "")], [])[0].state for state in State if state is not State.GONE}
    assert words == {
        State.NEW: "LOADING",
        State.LOADING: "LOADING",
        State.READY: "READY",
        State.QUIESCING: "UNLOADING",
        State.UNLOADING: "UNLOADING",
        State.FAILED: "UNAVAILABLE",
    }


def test_a_failed_replacement_shows_as_ready_with_a_reason():
    instances = [(ONE, State.READY, ""), (ONE, State.FAILED, "bad file")]
    assert rows([ONE], instances, []) == [IndexRow("m", "1", "READY", "bad file")]
    assert rows([ONE], instances[::-1], []) == [IndexRow("m", "1", "READY", "bad file")]


def test_a_version_that_leaves_while_its_successor_loads_is_loading():
    instances = [(ONE, State.UNLOADING, ""), (ONE, State.LOADING, "")]
    assert rows([ONE], instances, []) == [IndexRow("m", "1", "LOADING", "")]
    assert rows([ONE], instances[:1], []) == [IndexRow("m", "1", "UNLOADING", "")]


def test_problems_stand_beside_versions():
    problems = [Problem("m", None, "no config"), Problem("m", 2, "no file"), Problem("m", 1, "odd")]
    assert rows([ONE], [(ONE, State.READY, "")], problems) == [
        IndexRow("m", "", "UNAVAILABLE", "no config"),
        IndexRow("m", "1", "READY", "odd"),
        IndexRow("m", "2", "UNAVAILABLE", "no file"),
    ]
