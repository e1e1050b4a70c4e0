"""HTTP by hand, for tests that send what no client library would: bytes out, answers in, as they are on the wire."""

import json
import socket
import threading
import time
from typing import NamedTuple

DEADLINE_S = 20


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes

    @property
    def document(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The sentence of a refusal; its body must have nothing else."""
        (sentence,) = [self.document.pop("error")] if set(self.document) == {"error"} else []
        return sentence


class Connection:
    """One connection. `answer()` reads one answer off it and leaves what follows."""

    def __init__(self, port, timeout=DEADLINE_S):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._timeout = timeout
        self._unread = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Send what the server takes: it may answer and close before it has read all."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def send_while_reading(self, data):
        """Send more than the server takes before somebody reads its answers."""
        sender = threading.Thread(target=self.socket.sendall, args=(data,))
        sender.start()
        while sender.is_alive():
            self._receive()
        sender.join()

    def answer(self):
        """The next answer. Raises ConnectionError if the server closes before it is whole."""
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            self._receive()
        head, self._unread = self._unread[:end], self._unread[end + 4 :]
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split(" ")[1])
        if status == 100:
            return Answer(status, headers, b"")
        length = int(headers["content-length"])
        while len(self._unread) < length:
            self._receive()
        body, self._unread = self._unread[:length], self._unread[length:]
        return Answer(status, headers, body)

    def received(self):
        """Whether something has come by now."""
        self.socket.setblocking(False)
        try:
            self._receive()
        except BlockingIOError:
            pass
        finally:
            self.socket.settimeout(self._timeout)
        return bool(self._unread)

    def closed(self):
        """Wait until the server has closed; whether nothing else came."""
        try:
            while chunk := self.socket.recv(65536):
                self._unread += chunk
        except ConnectionResetError:
            pass
        return self._unread == b""

    def _receive(self):
        chunk = self.socket.recv(1 << 20)
        if not chunk:
            raise ConnectionError(f"closed after {self._unread!r}")
        self._unread += chunk


def request(path, body=b"", method="POST", version="1.1", size=0, **headers):
    """The bytes of a request. `body` may be a document; None as a header leaves it out; `size` is for `chunked`."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"host": "test", "content_length": len(data), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([f"{method} {path} HTTP/{version}", *lines, "", ""]).encode("latin-1") + data


def chunked(path, body, size=1000, **headers):
    """The same request with its body in chunks."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = request(path, content_length=None, transfer_encoding="chunked", **headers)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def ask(port, data):
    """One request on a connection of its own."""
    with Connection(port) as connection:
        connection.send(data)
        return connection.answer()


def eventually(question, within_s=DEADLINE_S):
    """Ask again and again until the answer is true."""
    end = time.monotonic() + within_s
    while not (answer := question()):
        assert time.monotonic() < end, f"not so within {within_s} s"
        time.sleep(0.01)  # what is waited for is in another process
    return answer
