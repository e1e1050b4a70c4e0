import itertools

import pytest

from server.pool.board import TRANSITIONS, Board, ReplicaStatus, State

PATHS = {
    State.DEAD: [],
    State.STARTING: [State.STARTING],
    State.READY: [State.STARTING, State.READY],
    State.DRAINING: [State.STARTING, State.DRAINING],
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "board"


def test_what_one_process_writes_another_reads(path):
    written, read = Board.create(path, 2), Board.open(path)
    written.seat(1, 4711)
    written.advance(1, State.READY)
    written.http(1).opened()
    written.grpc(1).opened()
    written.grpc(1).opened()
    written.latch_pool_ready()
    assert read.pool_ready()
    assert read.replicas() == [
        ReplicaStatus(0, State.DEAD, 0, 0, http=0, grpc=0),
        ReplicaStatus(1, State.READY, 1, 4711, http=1, grpc=2),
    ]


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_state_moves_only_along_the_arrows(path, before, after):
    board = Board.create(path, 1)
    for state in PATHS[before]:
        board.advance(0, state)
    if after in TRANSITIONS[before]:
        board.advance(0, after)
        assert board.state(0) is after
    else:
        with pytest.raises(AssertionError):
            board.advance(0, after)


def test_pool_stays_ready_while_a_dead_replica_is_replaced(path):
    board = Board.create(path, 1)
    board.seat(0, 1)
    board.latch_pool_ready()
    board.advance(0, State.DEAD)
    assert board.pool_ready()


def test_replacement_starts_without_the_connections_of_the_dead(path):
    board = Board.create(path, 1)
    assert board.seat(0, 1) == 1
    board.http(0).opened()
    board.grpc(0).opened()
    board.advance(0, State.DEAD)
    assert board.seat(0, 2) == 2
    assert (board.http(0).mine, board.grpc(0).mine) == (0, 0)


def test_only_ready_replicas_count_as_emptier(path):
    board = Board.create(path, 3)
    first, second = board.grpc(0), board.grpc(1)
    assert first.fewest_elsewhere() is None
    for index in range(3):
        board.seat(index, index + 1)
    board.advance(1, State.READY)
    second.opened()
    assert first.fewest_elsewhere() == 1
    assert second.fewest_elsewhere() is None
    second.closed()
    assert first.fewest_elsewhere() == 0
    assert (first.accepted_elsewhere(), second.accepted_elsewhere()) == (1, 0)
    assert board.http(0).accepted_elsewhere() == 0, "the other port's are others"


def test_pool_that_was_told_to_end_is_not_ready_and_not_starting(path):
    board = Board.create(path, 1)
    assert board.pool_starting()
    board.latch_pool_ready()
    board.leave()
    assert (board.pool_starting(), board.pool_ready(), board.pool_leaving()) == (False, False, True)
