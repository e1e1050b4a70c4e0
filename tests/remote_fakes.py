"""A remote storage in memory that fails as it is told to."""

import hashlib
import threading

from model_repo.remote.plan import Entry


class FakeStorage:
    """`objects` are what it holds, by key. `cuts` are, by key, after how many bytes each next read breaks off."""

    def __init__(self, objects=(), chunk=4):
        self.objects = dict(objects)
        self.chunk = chunk
        self.cuts = {}
        self.reads = []
        self.error = None
        self.threads = 2
        self.changes = {}
        self.resumes = True
        self._lock = threading.Lock()

    def list(self):
        if self.error is not None:
            raise self.error
        return {key: Entry(key, len(body), _etag(body)) for key, body in self.objects.items()}

    def mark(self, entry):
        return _etag(self.objects[entry.source])

    def read(self, entry, offset):
        from model_repo.remote.storage import CannotResume

        with self._lock:
            self.reads.append((entry.source, offset))
            cut = self.cuts.get(entry.source, []).pop(0) if self.cuts.get(entry.source) else None
        if offset and not self.resumes:
            raise CannotResume
        body = self.objects[entry.source]
        for start in range(offset, len(body), self.chunk):
            if cut is not None and start - offset >= cut:
                raise ConnectionError("the connection was cut")
            yield body[start : start + self.chunk]
        if entry.source in self.changes:
            self.objects[entry.source] = self.changes.pop(entry.source)


def _etag(body):
    return f"etag {hashlib.md5(body).hexdigest()} {len(body)}"
