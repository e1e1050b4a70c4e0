import asyncio
import contextlib
import errno
import logging
import socket
import time

import pytest
from certificate import certificate

from server.pool.board import Board, State
from server.pool.listener import HANDSHAKES_S, PAUSE_S, Listener, ticks_to_wait
from server.pool.sockets import listen
from server.rpc.tls import tls_context


class Silent(asyncio.Protocol):
    """Counts itself out when it is lost, as every protocol of an application must."""

    def __init__(self, scene, index):
        self.scene, self.index = scene, index

    def connection_made(self, transport):
        self.scene.made.put_nowait(transport)

    def connection_lost(self, exc):
        self.scene.board.http(self.index).closed()
        self.scene.lost.put_nowait(self)


class Exhausted:
    """A listening socket whose first accepts fail for want of descriptors."""

    def __init__(self, listening, failures):
        self.listening, self.failures = listening, failures
        self.accepts = 0

    def fileno(self):
        return self.listening.fileno()

    def close(self):
        self.listening.close()

    def accept(self):
        self.accepts += 1
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.listening.accept()


@pytest.fixture
def board(tmp_path):
    """A pool of two READY replicas."""
    board = Board.create(tmp_path / "board", 2)
    for index in range(2):
        board.seat(index, index + 1)
        board.advance(index, State.READY)
    return board


@pytest.fixture
def listening():
    with listen("127.0.0.1", 0, "http_port") as listening:
        yield listening


class Scene:
    """Listeners on one loop and their clients."""

    def __init__(self, board, listening):
        self.board, self.listening = board, listening
        self.closing = asyncio.Event()
        self.made, self.lost = asyncio.Queue(), asyncio.Queue()
        self.transports = []

    def listener(self, index, listening=None):
        return Listener(listening or self.listening.dup(), lambda: Silent(self, index), self.board.http(index))

    def connect(self, stack, times):
        address = self.listening.getsockname()
        return [stack.enter_context(socket.create_connection(address)) for _ in range(times)]

    async def accepted(self, count):
        async with asyncio.timeout(5):
            self.transports += [await self.made.get() for _ in range(count)]

    async def close(self):
        self.closing.set()
        for transport in self.transports:
            transport.close()
        async with asyncio.timeout(5):
            for _ in self.transports:
                await self.lost.get()
        assert [self.board.http(index).mine for index in range(2)] == [0, 0]


@pytest.mark.parametrize(
    ("mine", "fewest_elsewhere", "in_vain", "ticks"),
    [
        (0, None, 0, 0),  # alone
        (9, None, 0, 0),
        (5, 5, 0, 0),  # as full as the emptiest: whoever is first
        (4, 5, 0, 0),
        (6, 5, 0, 4),
        (60, 5, 0, 4),
        (6, 5, 1, 2),  # the others did not come
        (6, 5, 2, 1),
        (6, 5, 3, 0),
        (6, 5, 99, 0),
    ],
)
def test_fuller_replica_leaves_a_connection_to_the_emptier_for_a_bounded_time(mine, fewest_elsewhere, in_vain, ticks):
    assert ticks_to_wait(mine, fewest_elsewhere, in_vain) == ticks


async def _balanced(board, listening):
    scene = Scene(board, listening)
    with contextlib.ExitStack() as stack:
        async with asyncio.TaskGroup() as group:
            for index in range(2):
                group.create_task(scene.listener(index).run(scene.closing))
            scene.connect(stack, 32)
            await scene.accepted(32)
            counts = [board.http(index).mine for index in range(2)]
            await scene.close()
    return counts


def test_two_listeners_share_a_burst_of_connections(board, listening):
    assert max(asyncio.run(_balanced(board, listening))) <= 17


async def _beside_a_stuck_sibling(board, listening):
    scene = Scene(board, listening)
    with contextlib.ExitStack() as stack:
        async with asyncio.TaskGroup() as group:
            group.create_task(scene.listener(0).run(scene.closing))
            started = time.monotonic()
            scene.connect(stack, 200)
            await scene.accepted(200)
            took_s = time.monotonic() - started
            await scene.close()
    return took_s


def test_stuck_sibling_costs_a_burst_some_milliseconds_in_all(board, listening):
    """200 connections that each waited a tick would take 0.2 s and more."""
    assert asyncio.run(_beside_a_stuck_sibling(board, listening)) < 0.15


async def _drained(board, listening):
    scene = Scene(board, listening)
    with contextlib.ExitStack() as stack:
        scene.connect(stack, 5)
        scene.closing.set()
        own = scene.listener(0)
        await own.run(scene.closing)
        assert board.http(0).mine == 5
        await scene.accepted(5)
        await scene.close()


def test_closing_listener_takes_the_whole_accept_queue_first(board, listening):
    asyncio.run(_drained(board, listening))


async def _exhausted(board, listening):
    scene = Scene(board, listening)
    exhausted = Exhausted(listening.dup(), failures=2)
    with contextlib.ExitStack() as stack:
        async with asyncio.TaskGroup() as group:
            group.create_task(scene.listener(0, exhausted).run(scene.closing))
            started = time.monotonic()
            scene.connect(stack, 1)
            await scene.accepted(1)
            took_s = time.monotonic() - started
            await scene.close()
    return took_s, exhausted.accepts


def test_listener_without_descriptors_rests_instead_of_spinning(board, listening, caplog):
    with caplog.at_level(logging.WARNING, "headrace.pool"):
        took_s, accepts = asyncio.run(_exhausted(board, listening))
    assert took_s >= 2 * PAUSE_S
    assert accepts <= 4
    assert [record.getMessage() for record in caplog.records] == [
        "replica 0 cannot accept connections for now: Too many open files"
    ]


async def _failing_protocol(board, listening):
    scene = Scene(board, listening)
    outcomes = [RuntimeError("a bug"), None]

    def connection():
        if outcome := outcomes.pop(0):
            raise outcome
        return Silent(scene, 0)

    with contextlib.ExitStack() as stack:
        async with asyncio.TaskGroup() as group:
            group.create_task(Listener(listening.dup(), connection, board.http(0)).run(scene.closing))
            scene.connect(stack, 2)
            await scene.accepted(1)
            assert board.http(0).mine == 1
            await scene.close()


def test_connection_that_cannot_be_opened_is_not_counted_and_harms_no_other(board, listening):
    asyncio.run(_failing_protocol(board, listening))


async def _without_agreement(board, listening, tls):
    scene = Scene(board, listening)
    ours = board.grpc(0)
    with contextlib.ExitStack() as stack:
        running = asyncio.create_task(Listener(listening.dup(), lambda: Silent(scene, 0), ours, tls).run(scene.closing))
        plain, _ = scene.connect(stack, 2)
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.to_thread(_closed, plain)
        while board.grpc(1).accepted_elsewhere() < 2:  # noqa: ASYNC110 - the sibling, which is emptier, has its ticks
            await asyncio.sleep(0.001)
        assert ours.mine == 1, "the one that says nothing"
        scene.closing.set()
        async with asyncio.timeout(HANDSHAKES_S + 2):
            await running
        await asyncio.sleep(0)
        assert ours.mine == 0
        assert scene.made.empty()


def _closed(connection):
    with contextlib.suppress(ConnectionError):
        while connection.recv(4096):
            pass


def test_clients_that_do_not_agree_on_tls_are_not_counted_and_hold_nobody_up(board, listening, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "headrace.pool"):
        asyncio.run(_without_agreement(board, listening, tls_context(*certificate(tmp_path))))
    assert not caplog.records
