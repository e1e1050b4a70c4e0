"""Flow control, both ways: what may be sent is never exceeded, and the peer is not left waiting for room."""

import pytest
from http2_peer import HEAD, TAIL, Peer, Silent, asked, body, interpreter, reset
from hypothesis import given, settings
from hypothesis import strategies as st

from server.rpc.http2 import frames
from server.rpc.http2.connection import MAX_STREAMS
from server.rpc.http2.frames import window_update
from server.rpc.http2.grants import Grants
from server.rpc.http2.settings import ROOM, WINDOW


def data_of(heard):
    return [each for each in heard if each.kind == frames.DATA]


def sent(heard):
    return sum(len(each.payload) for each in data_of(heard))


def test_an_answer_waits_for_its_streams_window():
    peer = Peer(asks={4: 5})
    heard = peer.say(peer.call(1, b"0123456789")).heard()
    assert [each.payload for each in data_of(heard)] == [b"01234"]
    assert not peer.say(window_update(0, 100)).heard(), "the stream's is what it waits for"
    heard = peer.say(window_update(1, 2)).heard()
    assert [each.payload for each in heard] == [b"56"]
    heard = peer.say(window_update(1, 50)).heard()
    assert peer.answers(heard) == {1: b"789"}
    assert not peer.connection.streams


def test_an_answer_waits_for_the_connections_window_and_streams_take_turns():
    peer = Peer(interpreter(Silent))
    peer.say(peer.headers(1), peer.headers(3), peer.headers(5))
    outbox, streams = peer.connection.outbox, peer.connection.streams
    for stream in list(streams.values()):
        stream.ended = True
        if outbox.answer(stream, HEAD, b"", bytes(40_000), TAIL):
            peer.connection.finished(stream)
    assert sent(peer.heard()) == WINDOW
    order = [each.stream for _ in range(4) for each in data_of(peer.say(window_update(0, 10_000)).heard())]
    assert order == [3, 5, 3, 5, 5], "3 has little left the second time"
    assert sent(peer.say(window_update(0, 1 << 20)).heard()) == 3 * 40_000 - WINDOW - 40_000
    assert not streams


def test_the_initial_window_changes_open_streams_and_may_make_them_negative():
    peer = Peer(asks={4: 100})
    heard = peer.say(peer.call(1, bytes(150))).heard()
    assert sent(heard) == 100
    peer.say(asked(initial_window_size=30))  # 100 were sent: the window is -70 now
    assert not data_of(peer.say(window_update(1, 70)).heard())
    assert sent(peer.say(window_update(1, 1)).heard()) == 1
    assert sent(peer.say(asked(initial_window_size=60)).heard()) == 30
    assert sent(peer.say(asked(initial_window_size=1000)).heard()) == 19


def test_settings_are_followed_in_their_order():
    peer = Peer(asks={4: 0})
    peer.say(peer.call(1, b"0123456789"))
    peer.heard()
    twice = frames.frame(frames.SETTINGS, 0, 0, b"\0\4\0\0\0\x07" + b"\0\4\0\0\0\x03")
    assert sent(peer.say(twice).heard()) == 7
    assert peer.connection.streams[1].window == -4


def test_frames_are_no_larger_than_the_peer_takes():
    peer = Peer(asks={4: 1 << 20})
    peer.say(window_update(0, 1 << 20))
    peer.say(peer.headers(1), *(body(1, bytes(16_000)) for _ in range(4)), body(1, b"", ends=True))
    assert [len(each.payload) for each in data_of(peer.heard())] == [16384, 16384, 16384, 64_000 - 3 * 16384]
    peer.say(asked(max_frame_size=1 << 20))
    peer.say(peer.headers(3), *(body(3, bytes(16_000)) for _ in range(4)), body(3, b"", ends=True))
    assert [len(each.payload) for each in data_of(peer.heard())] == [64_000]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 40),
    st.lists(st.integers(0, 60), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 30)), max_size=60),
)
def test_no_window_is_ever_exceeded_and_bytes_keep_their_order(initial, sizes, widenings):
    peer = Peer(asks={4: initial})
    outbox = peer.connection.outbox
    outbox.window = 50
    windows, total, found = {}, 50, {}
    for at, size in enumerate(sizes):
        number = 1 + 2 * at
        windows[number] = initial
        peer.say(peer.call(number, bytes(at for _ in range(size))))

    def look():
        nonlocal total
        for each in data_of(peer.heard()):
            windows[each.stream] -= len(each.payload)
            total -= len(each.payload)
            found[each.stream] = found.get(each.stream, b"") + each.payload
            assert windows[each.stream] >= 0
            assert total >= 0

    look()
    for which, size in widenings:
        number = 1 + 2 * (which - 1) if which else 0
        if number > peer.connection.latest:
            continue
        if number:
            windows[number] += size
        else:
            total += size
        peer.say(window_update(number, size))
        look()
    for at, size in enumerate(sizes):
        number = 1 + 2 * at
        assert found.get(number, b"") == bytes(at for _ in range(len(found.get(number, b""))))
        done = number not in peer.connection.streams
        assert done == (len(found.get(number, b"")) == size)
        if not done:
            assert total == 0 or windows[number] == 0, "it could have been sent"


def test_a_stream_that_is_reset_leaves_nothing_behind():
    peer = Peer(asks={4: 5})
    peer.say(peer.call(1, b"0123456789"), peer.call(3, b"0123456789"))
    peer.heard()
    peer.say(reset(1), window_update(3, 100))
    assert peer.answers() == {3: b"56789"}
    assert not peer.connection.outbox.blocked


def test_the_connections_window_is_widened_long_before_it_is_used_up():
    peer = Peer(interpreter(Silent))
    peer.connection.room = 20_000
    peer.say(peer.headers(1), body(1, bytes(16_000)))
    assert not peer.heard()
    (update,) = peer.say(body(1, bytes(16_000))).heard()
    assert (update.kind, update.stream) == (frames.WINDOW_UPDATE, 0)
    assert int.from_bytes(update.payload, "big") == 2**30 - 1 + 12_000


def test_padding_does_not_use_up_the_window():
    peer = Peer(interpreter(Silent))
    peer.say(peer.headers(1))
    for _ in range(2000):
        peer.say(frames.frame(frames.DATA, frames.PADDED, 1, b"\xff" + bytes(255)))
    assert peer.connection.streams[1].room == ROOM
    assert not peer.connection.over


class Growing:
    """A stream that notes by how much its window grows."""

    def __init__(self):
        self.by = []

    def grow(self, size):
        self.by.append(size)


def test_grants_are_for_as_many_as_there_is_room_for_in_their_order():
    grants, streams = Grants(100), [Growing() for _ in range(4)]
    for stream, size in zip(streams, (60, 50, 40, 10), strict=True):
        grants.ask(stream, size)
    assert [stream.by for stream in streams] == [[60], [], [], []]
    assert grants.give_back(streams[0]) == 60
    assert [stream.by for stream in streams] == [[60], [50], [40], [10]]


def test_a_grant_larger_than_the_room_is_given_to_one_alone():
    grants, streams = Grants(100), [Growing() for _ in range(3)]
    for stream, size in zip(streams, (500, 600, 1), strict=True):
        grants.ask(stream, size)
    assert [stream.by for stream in streams] == [[500], [], []]
    grants.give_back(streams[0])
    assert [stream.by for stream in streams] == [[500], [600], []]
    assert grants.give_back(streams[2]) == 0, "it leaves without having got anything"
    grants.give_back(streams[1])
    assert streams[2].by == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 150)), max_size=60))
def test_grants_are_bounded_and_nobody_waits_without_a_cause(steps):
    grants, streams = Grants(100), [Growing() for _ in range(6)]
    asked_for = {}
    for which, size in steps:
        stream = streams[which]
        if stream in asked_for:
            grants.give_back(stream)
            del asked_for[stream]
            stream.by.clear()
        else:
            grants.ask(stream, size)
            asked_for[stream] = size
        granted = [sum(each.by) for each in streams if each.by]
        assert sum(granted) <= 100 or len(granted) == 1
        assert bool(asked_for) == bool(granted), "somebody waits, and nobody has anything"


@pytest.mark.parametrize("windows", [(0, 1 << 20), (1 << 20, 0)])
def test_windows_that_are_never_widened_hold_no_more_than_the_answers(windows):
    stream_window, connection_window = windows
    peer = Peer(asks={4: stream_window})
    peer.connection.outbox.window = connection_window
    for at in range(2000):
        peer.say(peer.call(1 + 2 * at))
    assert len(peer.connection.streams) <= MAX_STREAMS
    assert sent(peer.heard()) == 0
