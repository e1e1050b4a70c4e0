"""Closed-loop clients that check every answer: who was accepted must be answered right."""

import contextlib
import http.client
import json
import threading
import time

DEADLINE_S = 60


class Load:
    """A context manager. `wrong` has answers, `broken` has connections that ended in the middle of a request.

    Connections are `kept`, or each request has one of its own.
    """

    def __init__(self, url, path, body, expected, clients=4, kept=True):
        self._url, self._path, self._body, self._expected = url, path, body, expected
        self._headers = {"content-type": "application/json"} | ({} if kept else {"connection": "close"})
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        self.right = 0
        self.wrong = []
        self.broken = []

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self.until_closed()

    def until(self, more):
        """Return when `more` further answers were right."""
        wanted, end = self.right + more, time.monotonic() + DEADLINE_S
        while self.right < wanted:
            assert time.monotonic() < end, f"{self.right} of {wanted}, wrong {self.wrong}, broken {self.broken}"
            time.sleep(0.005)

    def until_closed(self):
        """Return when every client has ended: told to stop, or the server takes no connection any more."""
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _run(self):
        connection = http.client.HTTPConnection(self._url, timeout=30)
        with contextlib.closing(connection):
            while not self._stop.is_set():
                try:
                    connection.request("POST", self._path, self._body, self._headers)
                    answer = connection.getresponse()
                    body = answer.read()
                except ConnectionRefusedError:
                    return  # not accepted, hence not lost
                except (OSError, http.client.HTTPException) as error:
                    self.broken.append(repr(error))
                    connection.close()
                    continue
                if answer.status == 200 and json.loads(body)["outputs"][0]["data"] == self._expected:
                    self.right += 1
                else:
                    self.wrong.append((answer.status, body[:200]))
