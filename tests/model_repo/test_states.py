import itertools

import pytest

from model_repo.states import TRANSITIONS, Lifecycle, State

PATHS = {
    State.NEW: [],
    State.LOADING: [State.LOADING],
    State.READY: [State.LOADING, State.READY],
    State.QUIESCING: [State.LOADING, State.READY, State.QUIESCING],
    State.UNLOADING: [State.LOADING, State.READY, State.QUIESCING, State.UNLOADING],
    State.GONE: [State.LOADING, State.READY, State.QUIESCING, State.UNLOADING, State.GONE],
    State.FAILED: [State.LOADING, State.FAILED],
}
ARROWS = """
NEW LOADING, LOADING READY, LOADING UNLOADING, READY QUIESCING, QUIESCING UNLOADING, UNLOADING GONE, FAILED GONE,
NEW FAILED, LOADING FAILED, READY FAILED, QUIESCING FAILED, UNLOADING FAILED
"""
LEGAL = {tuple(State(word) for word in arrow.split()) for arrow in ARROWS.split(",")}


@pytest.mark.parametrize(("start", "to"), list(itertools.product(State, State)))
def test_only_the_documented_arrows_are_legal(start, to):
    life = Lifecycle()
    for state in PATHS[start]:
        life.advance(state)
    if (start, to) in LEGAL:
        life.advance(to, "why")
        assert (life.state, life.reason) == (to, "why")
    else:
        with pytest.raises(AssertionError, match=f"{start.name} -> {to.name}"):
            life.advance(to)
        assert life.state is start


def test_the_table_has_every_state():
    assert set(TRANSITIONS) == set(State)
