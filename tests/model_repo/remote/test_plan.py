import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repo.remote.plan import Entry, next_look, plan


def listing(**files):
    return {path.replace("_", "/"): Entry(f"bucket/{path}", 1, mark) for path, mark in files.items()}


def said(models):
    return {model.name: (sorted(model.keep), sorted(model.fetch), sorted(model.remove)) for model in models}


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ({}, {}, {}),
        ({"m/1/x": "a"}, listing(m_1_x="a"), {}),
        ({}, listing(m_1_x="a"), {"m": ([], ["m/1/x"], [])}),
        ({"m/1/x": "a"}, listing(m_1_x="b"), {"m": ([], ["m/1/x"], [])}),
        ({"m/1/x": None}, listing(m_1_x="a"), {"m": ([], ["m/1/x"], [])}),  # not known what it is
        ({"m/1/x": "a"}, listing(m_1_x="a", m_2_x="b"), {"m": (["m/1/x"], ["m/2/x"], [])}),
        ({"m/1/x": "a", "m/2/x": "b"}, listing(m_2_x="b"), {"m": (["m/2/x"], [], ["m/1/x"])}),
        ({"m/1/x": "a", "n/1/x": "a"}, listing(n_1_x="a"), {"m": ([], [], ["m/1/x"])}),  # others are left alone
        ({"stray": None}, {}, {"stray": ([], [], ["stray"])}),
    ],
)
def test_plan(here, there, expected):
    assert said(plan(here, there)) == expected


paths = st.sampled_from(["m/1/x", "m/1/y", "m/2/x", "m/c", "n/1/x"])
marks = st.sampled_from("ab")


@given(st.dictionaries(paths, marks | st.none()), st.dictionaries(paths, marks))
def test_carrying_a_plan_out_makes_the_copy_like_the_listing_and_leaves_nothing_to_do(here, marks):
    there = {path: Entry(path, 1, mark) for path, mark in marks.items()}
    models = plan(here, there)
    after = {path: mark for path, mark in here.items() if path.partition("/")[0] not in {m.name for m in models}}
    for model in models:
        assert not set(model.wanted) & model.remove
        after |= {path: entry.mark for path, entry in model.wanted.items()}
    assert after == marks
    assert plan(after, there) == []


@pytest.mark.parametrize(
    ("interval_s", "failures", "expected"),
    [(15, 0, 15), (15, 1, 30), (15, 2, 60), (15, 4, 240), (15, 5, 300), (15, 10**6, 300), (900, 0, 900), (900, 3, 900)],
)
def test_a_remote_that_fails_is_asked_ever_more_rarely_up_to_a_limit(interval_s, failures, expected):
    assert next_look(interval_s, failures) == expected
