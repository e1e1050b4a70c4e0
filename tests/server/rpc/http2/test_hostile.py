"""Peers that mean harm: each hears that it is to calm down, holds little memory meanwhile, and harms nobody else."""

import pytest
from http2_peer import REQUEST, Peer, Silent, asked, body, interpreter, reset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.rpc.http2 import frames, goodwill
from server.rpc.http2.connection import MAX_STREAMS
from server.rpc.http2.errors import Code
from server.rpc.http2.frames import frame, window_update
from server.rpc.http2.goodwill import Goodwill
from server.rpc.http2.headers import MAX_BLOCK_BYTES

CALM = Code.ENHANCE_YOUR_CALM


def said_until_over(peer, said, most):
    """How often `said(at)` could be said. The pieces are taken away each time, as a socket would."""
    for at in range(most):
        heard = peer.say(said(at)).heard()
        if peer.connection.over:
            assert heard[-1].code is CALM
            return at
    return most


def rapid_reset(peer):
    return lambda at: peer.headers(1 + 2 * at) + reset(1 + 2 * at)


def made_you_reset(peer):
    """Streams that we are to reset for the peer's faults."""
    return lambda at: peer.headers(1 + 2 * at) + window_update(1 + 2 * at, 0)


def malformed(peer):
    return lambda at: peer.headers(1 + 2 * at, [*REQUEST, (b"Bad", b"name")])


FLOODS = {
    "rapid reset": (rapid_reset, goodwill.MOST // goodwill.RESET),
    "made you reset": (made_you_reset, goodwill.MOST // goodwill.REFUSED),
    "malformed headers": (malformed, goodwill.MOST // goodwill.REFUSED),
    "ping": (lambda peer: lambda at: frame(frames.PING, 0, 0, bytes(8)), goodwill.MOST // goodwill.PINGED),
    "settings": (lambda peer: lambda at: asked(max_concurrent_streams=at), goodwill.MOST // goodwill.SET),
    "acknowledgements": (lambda peer: lambda at: frame(frames.SETTINGS, 1, 0), goodwill.MOST),
    "priority": (lambda peer: lambda at: frame(frames.PRIORITY, 0, 7, bytes(5)), goodwill.MOST),
    "window updates": (lambda peer: lambda at: window_update(0, 1), goodwill.MOST),
    "unknown frames": (lambda peer: lambda at: frame(0x42, 0, 0), goodwill.MOST),
}


@pytest.mark.parametrize(("flood", "most"), FLOODS.values(), ids=FLOODS)
def test_a_flood_ends_its_connection(flood, most):
    peer = Peer(interpreter(Silent))
    times = said_until_over(peer, flood(peer), 3 * most)
    assert most * 0.9 <= times <= most
    assert not peer.connection.streams


def test_a_flood_of_continuation_ends_its_connection():
    peer = Peer()
    peer.say(frame(frames.HEADERS, 0, 1, peer.block()))
    assert said_until_over(peer, lambda at: frame(frames.CONTINUATION, 0, 1), 1000) < 40
    peer = Peer()
    peer.say(frame(frames.HEADERS, 0, 1, peer.block()))
    part = b"\x00\x01a\x7f\x81\x7e" + b"x" * 10_000
    assert said_until_over(peer, lambda at: frame(frames.CONTINUATION, 0, 1, part), 1000) <= MAX_BLOCK_BYTES // len(
        part
    )


def test_calls_that_are_answered_make_up_for_some_that_are_given_up():
    peer = Peer()
    peer.say(window_update(0, 1 << 20))
    for at in range(20_000):
        number = 1 + 6 * at
        peer.say(
            peer.call(number), peer.headers(number + 2), reset(number + 2), peer.headers(number + 4), reset(number + 4)
        )
        peer.heard()
    assert not peer.connection.over


def test_goodwill_comes_back_with_time_and_is_not_hoarded():
    will = Goodwill()
    for _ in range(100_000):
        will.second()
    assert will.left == goodwill.MOST
    for _ in range(50):
        for _ in range(goodwill.PER_SECOND // goodwill.PINGED):
            will.spend(goodwill.PINGED, "PING")
        will.second()
    assert will.left == goodwill.MOST


def test_giving_up_what_is_old_costs_next_to_nothing():
    peer = Peer(interpreter(Silent))
    peer.say(*(peer.headers(1 + 2 * at) for at in range(MAX_STREAMS)))
    peer.connection.second()
    before = peer.connection.goodwill.left
    peer.say(*(reset(1 + 2 * at) for at in range(MAX_STREAMS)))
    assert before - peer.connection.goodwill.left == MAX_STREAMS


def test_a_connection_remembers_a_bounded_number_of_streams_it_has_ended():
    peer = Peer(interpreter(Silent))
    for at in range(5000):
        peer.say(peer.headers(1 + 2 * at, [*REQUEST, (b"BAD", b"")]))
        peer.connection.goodwill.left = 1000
        peer.heard()
    assert len(peer.connection._dropped) <= 256


some_frames = st.builds(
    frame,
    st.integers(0, 11),
    st.integers(0, 255),
    st.sampled_from([0, 1, 2, 3, 5, 7, 2**31 - 1, 2**32 - 1]),
    st.one_of(st.binary(max_size=40), st.sampled_from([b"\x82\x86\x84\x41\x01a", bytes(4), bytes(8), b"\0\0\0\x09"])),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(some_frames, max_size=30), st.integers(1, 400), st.sampled_from([0, 1, 60]))
def test_whatever_is_said_nothing_breaks_and_what_is_sent_are_frames(said, at_a_time, window):
    """Frames of all kinds in any order, cut anywhere, between calls that are fine."""
    peer = Peer(asks={4: window})
    data = peer.call(1) + b"".join(said) + peer.headers(9)
    for at in range(0, len(data), at_a_time):
        peer.say(data[at : at + at_a_time])
        assert len(peer.connection.streams) <= MAX_STREAMS
    heard = peer.heard()  # which checks that they are whole
    assert sum(each.kind == frames.GOAWAY for each in heard) == peer.connection.over
    if not peer.connection.over:
        peer.connection.end(Code.NO_ERROR, "")
    assert not peer.connection.streams


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=6))
def test_bytes_that_mean_nothing_end_in_nothing_worse(blobs):
    peer = Peer()
    for blob in blobs:
        peer.say(blob)
    peer.heard()


def test_slivers_of_data_are_taken_at_the_streams_own_cost():
    """One byte in a frame: what it means is the stream's business, the connection holds nothing of it."""
    peer = Peer()
    peer.say(peer.headers(1), *(body(1, b"x") for _ in range(1000)), body(1, b"", ends=True))
    assert peer.answers() == {1: b"x" * 1000}
