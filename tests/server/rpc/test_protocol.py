"""One connection's socket: what is written together, who is not read from, who is shown out. Time is told."""

import pytest
from grpc_caller import CALL, STREAM, WAIT, message, methods
from http2_peer import Peer, body, frame, parse

from headrace.errors import ModelNotReady
from server.rpc.http2 import frames
from server.rpc.http2.errors import Code
from server.rpc.http2.reader import MOST_FRAMES
from server.rpc.http2.settings import settings
from server.rpc.protocol import LINGER_S, PING_AFTER_S, PONG_WITHIN_S, Site, Wire

KEEP_ALIVE_S, RECEIVE_S, AGE_S = 30.0, 10.0, 500.0


class Transport:
    """A socket that takes what it is given, once it is asked to."""

    def __init__(self):
        self.writes, self.unread = [], 0
        self.reading, self.closing, self.aborted = True, False, False

    def get_extra_info(self, name):
        return None

    def write(self, data):
        self.writes.append(data)

    def get_write_buffer_size(self):
        return self.unread

    def is_closing(self):
        return self.closing

    def close(self):
        self.closing = True

    def abort(self):
        self.closing = self.aborted = True

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True


class Client(Peer):
    """A peer whose connection has a wire."""

    def __init__(self, *, greets=True, **site):
        super().__init__(greeted=False)
        self.calls = []
        self.soon = []
        self.site = Site(
            methods(self.calls),
            1000,
            KEEP_ALIVE_S,
            RECEIVE_S,
            soon=self.soon.append,
            **({"jitter": lambda: 1.0} | site),
        )
        self.wire, self.transport = Wire(self.site), Transport()
        self.connection = self.wire.connection
        self.wire.connection_made(self.transport)
        self.now = 1000.0
        if greets:
            self.say(frames.PREFACE, settings({}))
        self.transport.writes.clear()
        self.wire.sweep(self.now)

    def say(self, *said):
        self.wire.data_received(b"".join(said))
        return self

    def heard(self):
        found = parse(b"".join(self.transport.writes))
        self.transport.writes.clear()
        return found

    def call(self, stream, given=CALL):
        return self.headers(stream, given) + body(stream, message(), ends=True)

    def seconds(self, count):
        """Let them pass."""
        for _ in range(int(count)):
            if not self.transport.closing:
                self.now += 1.0
                self.wire.sweep(self.now)

    def turn(self):
        """The loop's next."""
        calls, self.soon[:] = self.soon[:], []
        for each in calls:
            each()

    def kinds(self):
        return [each.kind for each in self.heard()]


def test_answers_of_one_turn_are_written_together():
    client = Client()
    client.say(*(client.call(1 + 2 * at, WAIT) for at in range(10)))
    for each in client.calls:
        each.call.answer(b"yes")
    assert not client.transport.writes
    client.turn()
    assert len(client.transport.writes) == 1
    assert client.answers() == {1 + 2 * at: message(b"yes") for at in range(10)}


def test_an_answer_that_leaves_nothing_to_wait_for_is_written_at_once():
    client = Client()
    client.say(client.call(1, WAIT), client.call(3, WAIT))
    for each in client.calls:
        each.call.answer(b"yes")
    client.turn()
    client.say(client.call(5, WAIT))
    client.heard()
    client.calls[2].call.answer(b"yes")
    assert client.answers() == {5: message(b"yes")}
    assert not client.soon


def test_what_is_answered_at_once_is_written_at_once():
    client = Client()
    client.say(client.call(1), client.call(3))
    assert len(client.transport.writes) == 1
    assert len(client.answers()) == 2


def test_a_peer_that_does_not_read_is_not_read_from():
    client = Client()
    client.wire.pause_writing()
    assert not client.transport.reading
    client.wire.resume_writing()
    assert client.transport.reading


def test_who_says_much_at_once_is_read_a_part_in_each_turn():
    client = Client()
    client.say(*(client.call(1 + 2 * at) for at in range(MOST_FRAMES)))
    assert len(client.answers()) == MOST_FRAMES // 2
    assert not client.transport.reading
    client.wire.pause_writing()
    client.turn()
    assert len(client.answers()) == MOST_FRAMES // 2
    client.turn()
    assert not client.transport.reading, "it does not read"
    client.wire.resume_writing()
    assert client.transport.reading
    assert not client.soon


def test_nothing_is_written_to_a_transport_that_closes():
    client = Client()
    client.say(client.call(1, WAIT))
    client.transport.close()
    client.calls[0].call.answer(b"yes")
    client.turn()
    assert not client.transport.writes


def test_a_lost_connection_cancels_its_calls_and_is_forgotten():
    client = Client()
    client.say(client.call(1, WAIT))
    assert client.site.wires == {client.wire}
    client.wire.connection_lost(None)
    assert client.calls[0].cancelled
    assert not client.site.wires


def test_a_peer_that_breaks_the_rules_hears_why_and_is_closed():
    client = Client()
    client.say(frame(frames.PING, 0, 1, bytes(8)))
    assert [each.code for each in client.heard()] == [Code.PROTOCOL_ERROR]
    assert client.transport.closing


def test_an_idle_connection_is_told_to_leave_and_closed_unless_a_call_was_on_its_way():
    client = Client()
    client.seconds(KEEP_ALIVE_S)
    assert not client.kinds()
    client.seconds(1)
    assert client.kinds() == [frames.GOAWAY]
    client.say(client.call(1, WAIT))
    client.seconds(10 * LINGER_S)
    assert client.kinds() == [frames.GOAWAY]
    assert not client.transport.closing
    client.connection.streams[1].answer(b"yes")
    client.wire.flush()
    assert client.answers() == {1: message(b"yes")}
    assert client.transport.closing


def test_a_connection_with_calls_is_not_idle():
    client = Client()
    client.say(client.call(1, WAIT))
    client.seconds(KEEP_ALIVE_S * 1.5)
    for at in range(100):
        client.say(client.call(3 + 2 * at))
        client.seconds(KEEP_ALIVE_S - 1)
    assert frames.GOAWAY not in client.kinds()


def test_a_connection_that_is_too_old_leaves():
    client = Client(max_age_s=AGE_S)
    for at in range(int(AGE_S)):
        client.say(client.call(1 + 2 * at))
        client.seconds(1)
    assert frames.GOAWAY not in client.kinds()
    client.seconds(1 + LINGER_S)
    assert client.kinds() == [frames.GOAWAY, frames.GOAWAY]
    assert client.transport.closing


def test_connections_of_the_same_age_leave_one_after_the_other():
    ages = iter((0.9, 1.1))
    first, second = (Client(max_age_s=20.0, jitter=lambda: next(ages)) for _ in range(2))
    for client in (first, second):
        client.seconds(19)
    assert first.kinds()[:1] == [frames.GOAWAY]
    assert not second.kinds()


def test_a_silent_peer_is_asked_whether_it_is_there():
    client = Client()
    client.say(client.call(1, WAIT))
    for _ in range(3):
        client.seconds(PING_AFTER_S + 2)
        (ping,) = client.heard()
        assert (ping.kind, ping.flags) == (frames.PING, 0)
        client.say(frame(frames.PING, frames.ACK, 0, ping.payload))
    client.seconds(PING_AFTER_S + PONG_WITHIN_S + 2)
    assert client.transport.aborted


SLOW = {
    "says nothing": lambda client: b"",
    "half a greeting": lambda client: frames.PREFACE[:10],
    "no settings": lambda client: frames.PREFACE,
}


@pytest.mark.parametrize("said", SLOW.values(), ids=SLOW)
def test_who_does_not_greet_is_shown_out(said):
    client = Client(greets=False)
    client.say(said(client))
    client.seconds(RECEIVE_S)
    assert not client.transport.closing
    client.seconds(2)
    assert [each.code for each in client.heard()] == [Code.ENHANCE_YOUR_CALM]
    assert client.transport.closing


STUCK = {
    "half a frame": lambda client: client.headers(1, WAIT)[:-1],
    "half a block": lambda client: frame(frames.HEADERS, 0, 1, client.block(WAIT)),
    "half of DATA": lambda client: client.headers(1, WAIT) + body(1, message())[:-1],
}


@pytest.mark.parametrize("said", STUCK.values(), ids=STUCK)
def test_who_stops_within_a_frame_is_shown_out(said):
    client = Client()
    client.say(said(client))
    client.seconds(RECEIVE_S + 2)
    assert client.heard()[-1].code is Code.ENHANCE_YOUR_CALM
    assert client.transport.closing


@pytest.mark.parametrize("given", [WAIT, STREAM], ids=["unary", "stream"])
def test_a_message_that_does_not_come_ends_its_call_and_no_other(given):
    client = Client()
    client.say(client.call(1, WAIT), client.headers(3, given), body(3, message()[:5]))
    client.seconds(RECEIVE_S - 1)
    client.say(body(3, message()[5:7]))
    client.seconds(4)
    assert not client.transport.closing
    head, reset = client.heard()
    assert (head.stream, head.flags & frames.END_STREAM, reset.code) == (3, 1, Code.NO_ERROR)
    assert dict(client.decoder.decode(head.payload, raw=True))[b"grpc-status"] == b"4"
    assert list(client.connection.streams) == [1]


def test_a_stream_may_pause_between_messages_for_as_long_as_it_likes():
    client = Client()
    client.say(client.headers(1, STREAM), body(1, message()))
    client.kinds()
    client.seconds(PING_AFTER_S - 1)
    assert not client.kinds()
    client.say(body(1, message()))
    assert client.calls[0].heard == [b"hello"] * 2


def test_a_peer_that_never_reads_its_answers_is_cut_off():
    client = Client()
    client.say(client.call(1))
    client.transport.unread = 100
    client.seconds(KEEP_ALIVE_S)
    client.transport.unread = 50
    client.say(client.call(3))
    client.seconds(KEEP_ALIVE_S)
    assert not client.transport.closing
    client.say(client.call(5))
    client.seconds(2)
    assert client.transport.aborted


def test_a_peer_that_never_widens_its_window_is_cut_off():
    client = Client()
    client.say(settings({4: 3}), client.call(1))
    for at in range(int(KEEP_ALIVE_S)):
        client.say(client.headers(3 + 2 * at, WAIT))
        client.seconds(1)
    assert not client.transport.closing
    client.seconds(2)
    assert client.transport.aborted


@pytest.mark.parametrize("gone", [False, True])
def test_who_comes_while_the_server_drains_is_told_at_once(gone):
    client = Client(draining=True, gone=gone)
    late, transport = Wire(client.site), Transport()
    late.connection_made(transport)
    assert [each.kind for each in parse(b"".join(transport.writes))][-1] == frames.GOAWAY
    assert transport.closing == gone


def test_a_connection_that_was_told_its_last_call_is_told_no_other():
    client = Client()
    client.say(client.call(1, WAIT))
    client.wire.leave(at_once=False)
    client.wire.leave(at_once=True)
    client.heard()
    client.wire.leave(at_once=False)
    client.seconds(3)
    assert not client.heard()
    client.calls[0].call.answer(b"yes")
    assert client.transport.closing


def test_calls_that_are_given_up_hear_why_unless_half_of_their_answer_has_left():
    client = Client()
    client.say(settings({4: 3}), client.call(1), client.call(3, WAIT), client.headers(5, STREAM))
    client.kinds()
    client.wire.abandon(ModelNotReady("going"))
    heard = client.heard()
    ends = {each.stream: each for each in heard if each.kind in (frames.HEADERS, frames.RST_STREAM) and each.stream}
    assert ends[1].code is Code.CANCEL
    said = [dict(client.decoder.decode(each.payload, raw=True)) for each in heard if each.kind == frames.HEADERS]
    assert [(fields[b"grpc-status"], fields[b"grpc-message"]) for fields in said] == [(b"14", b"going")] * 2
    assert [each.cancelled for each in client.calls[:1]] == [True]
    assert client.calls[1].over == "cancelled"
    assert client.transport.closing
    assert not client.connection.streams
