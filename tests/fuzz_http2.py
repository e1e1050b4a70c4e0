"""A fuzzer for the gRPC front end's HTTP/2, below the socket: `python tests/fuzz_http2.py -max_total_time=60`.

Needs `pip install atheris`. No test of the suite: it has no end, and hypothesis covers the same ground there. What it
holds to be true whatever is said: nothing is raised, what is sent are whole frames, at most one GOAWAY, and what is
held for the peer is bounded.
"""

import sys

import atheris

with atheris.instrument_imports(include=["server.rpc", "hpack"]):
    from grpc_caller import Caller

    from server.rpc.http2 import frames
    from server.rpc.http2.connection import MAX_STREAMS
    from server.rpc.http2.errors import Code


def one(data):
    """The first byte says how the bytes are cut and what the peer's window is, the second whether it greets itself."""
    if len(data) < 2:
        return
    caller = Caller(asks={4: data[0] & 0x3F})
    step = 1 + data[1]
    for at in range(2, len(data), step):
        caller.say(data[at : at + step])
        connection = caller.connection
        assert len(connection.streams) <= MAX_STREAMS
        assert len(connection.reader._rest) <= frames.MAX_FRAME_BYTES + step + 9
        assert len(connection.known) <= 64
        for pending in caller.calls:
            if hasattr(pending, "data") and connection.streams:
                pending.call.answer(b"yes") if pending.call.number in connection.streams else None
        caller.calls.clear()
    heard = caller.heard()
    assert sum(each.kind == frames.GOAWAY for each in heard) == caller.connection.over
    caller.connection.end(Code.NO_ERROR, "")
    assert not caller.connection.streams


def seeds():
    """What a corpus begins with: calls that are fine, and a frame of every kind."""
    caller = Caller()
    body = frames.frame(frames.DATA, 1, 1, b"\0\0\0\0\5hello")
    every = b"".join(
        frames.frame(kind, 0, kind & 1, bytes(8)[: (frames.RULES[kind].size or 8)]) for kind in frames.RULES
    )
    return [b"\x3f\xff" + caller.headers(1) + body, b"\0\0" + every, b"\1\7" + caller.headers(1) + body + every]


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--seeds":
        import pathlib

        folder = pathlib.Path(sys.argv[2])
        folder.mkdir(parents=True, exist_ok=True)
        for index, seed in enumerate(seeds()):
            (folder / f"seed{index}").write_bytes(seed)
    else:
        atheris.Setup(sys.argv, one)
        atheris.Fuzz()
