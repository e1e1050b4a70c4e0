"""Against real servers: S3, and a web server with index pages; and what fsspec has in itself."""

import functools
import http.server
import os
import threading
from pathlib import Path

import fsspec
import pytest

from headrace.errors import RepositoryError
from model_repo.remote import storage as storage_module
from model_repo.remote.copy import Copy
from model_repo.remote.mirror import Mirror
from model_repo.remote.storage import CannotResume, Storage

BODY = os.urandom(2 << 20)
CHUNK = 128 << 10


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(storage_module, "CHUNK_BYTES", CHUNK)


def mirror(url, folder):
    return Mirror(url, Storage(url), Copy(folder))


def synchronise(url, folder):
    return mirror(url, folder).synchronise(threading.Event())


def files(folder):
    models = folder / "models"
    return {path.relative_to(models).as_posix(): path.read_bytes() for path in models.rglob("*") if path.is_file()}


def body_of(storage, entry, offset=0):
    return b"".join(storage.read(entry, offset))


def test_s3_is_listed_with_etags_and_read_from_anywhere(bucket):
    bucket.put("models/m/1/model.onnx", BODY)
    bucket.put("models/m/größe 1", b"x")
    bucket.put("models-of-others/m/1/model.onnx", b"")
    storage = Storage("s3://bucket/models/")
    found = storage.list()
    assert sorted(found) == ["m/1/model.onnx", "m/größe 1"]
    entry = found["m/1/model.onnx"]
    assert entry.mark.startswith("etag ")
    assert storage.mark(entry) == entry.mark
    assert body_of(storage, entry) == BODY
    assert body_of(storage, entry, 1_000_001) == BODY[1_000_001:]


def test_a_listing_is_never_from_a_cache(bucket):
    storage = Storage("s3://bucket/models")
    assert storage.list() == {}
    bucket.put("models/m/1/model.onnx", b"1")
    (first,) = storage.list().values()
    bucket.put("models/m/1/model.onnx", b"2")
    (second,) = storage.list().values()
    assert first.mark != second.mark


def test_odd_keys_of_s3_never_leave_the_copy(bucket, tmp_path, caplog):
    for key in ("m/1/model.onnx", "../evil", "/evil", "m/1/../../../evil", "m/1", "m/2/", "n/1/model.onnx"):
        bucket.put(f"models/{key}", b"x")
    synchronise("s3://bucket/models", tmp_path / "a" / "copy")
    assert sorted(files(tmp_path / "a" / "copy")) == ["m/1/model.onnx", "n/1/model.onnx"]
    assert not list(tmp_path.rglob("evil"))
    assert len([record for record in caplog.records if record.name == "headrace.model_repo"]) == 4


def test_a_line_that_is_cut_half_way_is_gone_on_with_where_it_was_cut(bucket, line, tmp_path):
    bucket.put("m/1/model.onnx", BODY)
    line.cut(after=len(BODY) // 2, once=True)
    assert synchronise("s3://bucket", tmp_path).failures == {}
    assert files(tmp_path) == {"m/1/model.onnx": BODY}
    assert len(BODY) < line.seen < len(BODY) + CHUNK + 20_000


def test_after_an_outage_a_new_process_goes_on_where_the_old_one_was(bucket, line, tmp_path, monkeypatch):
    bucket.put("m/1/model.onnx", BODY)
    bucket.put("n/1/model.onnx", b"n")
    monkeypatch.setattr("model_repo.remote.download.TRIES", 1)
    line.cut(after=len(BODY) // 2)
    failures = synchronise("s3://bucket", tmp_path).failures
    assert "m" in failures
    assert line.dead.is_set()
    assert "m/1/model.onnx" not in files(tmp_path)
    line.mend()
    assert synchronise("s3://bucket", tmp_path).failures == {}
    assert files(tmp_path)["m/1/model.onnx"] == BODY
    assert line.seen < len(BODY) + 2 * CHUNK + 40_000


def test_a_file_that_changed_during_an_outage_is_begun_anew(bucket, line, tmp_path, monkeypatch):
    bucket.put("m/1/model.onnx", BODY)
    monkeypatch.setattr("model_repo.remote.download.TRIES", 1)
    line.cut(after=len(BODY) // 2)
    assert synchronise("s3://bucket", tmp_path).failures
    line.mend()
    bucket.put("m/1/model.onnx", BODY[::-1])
    assert synchronise("s3://bucket", tmp_path).failures == {}
    assert files(tmp_path) == {"m/1/model.onnx": BODY[::-1]}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (
            "s3://no-such-bucket/models",
            "s3://no-such-bucket/models cannot be listed: The specified bucket does not exist",
        ),
        ("http://127.0.0.1:9/models", "http://127.0.0.1:9/models cannot be listed: Cannot connect to host 127.0.0.1:9"),
        ("file:///no/such/folder", "file:///no/such/folder cannot be listed: .*No such file or directory"),
    ],
)
def test_what_cannot_be_listed_is_named_with_the_cause(url, words, bucket, tmp_path):
    with pytest.raises(RepositoryError, match=words):
        synchronise(url, tmp_path)


class Web(http.server.SimpleHTTPRequestHandler):
    """Index pages, no ranges, no etags; and paths that answer an error."""

    broken = ()

    def log_message(self, *words):
        pass

    def send_head(self):
        if any(self.path.startswith(path) for path in self.broken):
            self.send_error(500)
            return None
        return super().send_head()


class WebWithRanges(Web):
    """Files in parts too. Whole ones break off after `cut` bytes, if that is set. `sent` counts the bytes of files."""

    cut = None
    sent = 0

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            super().do_GET()
            return
        body = path.read_bytes()
        said = self.headers["Range"]
        start, end = map(int, said.removeprefix("bytes=").split("-")) if said else (0, len(body) - 1)
        self.send_response(206 if said else 200)
        self.send_header("Content-Length", str(end + 1 - start))
        self.end_headers()
        part = body[start : end + 1] if said or self.cut is None else body[: self.cut]
        type(self).sent += len(part)
        self.wfile.write(part)


@pytest.fixture
def web(tmp_path):
    folder = tmp_path / "web"
    folder.mkdir()
    handler = type("Handler", (Web,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder))
    server.handler = handler
    server.handle_error = lambda request, address: None  # clients hang up
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    server.folder = folder
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def put(folder, path, body):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(body)


def test_a_web_server_with_index_pages_is_copied_link_by_link(web, tmp_path):
    put(web.folder, "models/m/1/model.onnx", BODY)
    put(web.folder, "models/m/1/a b%2e#.bin", b"x")
    put(web.folder, "models/n/1/model.onnx", b"n")
    put(web.folder, "others/1/model.onnx", b"o")
    url = f"{web.url}/models"
    assert synchronise(url, tmp_path / "copy").failures == {}
    found = files(tmp_path / "copy")
    assert found["m/1/model.onnx"] == BODY
    assert sorted(found) == ["m/1/a b%2e#.bin", "m/1/model.onnx", "n/1/model.onnx"]
    put(web.folder, "models/m/2/model.onnx", b"two")
    (web.folder / "models/n/1/model.onnx").unlink()
    synchronise(url, tmp_path / "copy")
    assert sorted(files(tmp_path / "copy")) == ["m/1/a b%2e#.bin", "m/1/model.onnx", "m/2/model.onnx"]


def test_a_web_server_without_ranges_can_only_be_read_from_the_beginning(web):
    put(web.folder, "m/1/model.onnx", BODY)
    storage = Storage(web.url)
    (entry,) = storage.list().values()
    assert entry.mark.startswith("last_modified ")
    assert body_of(storage, entry) == BODY
    with pytest.raises(CannotResume):
        body_of(storage, entry, 1000)


def test_a_web_server_with_ranges_is_gone_on_with_where_it_was_cut(web, tmp_path):
    put(web.folder, "m/1/model.onnx", BODY)
    web.handler.__bases__ = (WebWithRanges,)
    web.handler.cut = 1_500_000
    assert synchronise(web.url, tmp_path / "copy").failures == {}
    assert files(tmp_path / "copy") == {"m/1/model.onnx": BODY}
    assert len(BODY) <= web.handler.sent < len(BODY) + 700_000  # what the client had not read yet is lost


@pytest.mark.parametrize("broken", ["/m/1/model.onnx", "/m/", "/"])
def test_a_web_server_that_fails_in_part_removes_nothing(web, tmp_path, broken):
    put(web.folder, "m/1/model.onnx", b"m")
    put(web.folder, "n/1/model.onnx", b"n")
    synchronise(web.url, tmp_path / "copy")
    web.handler.broken = (broken,)
    with pytest.raises(RepositoryError, match="500"):
        synchronise(web.url, tmp_path / "copy")
    assert sorted(files(tmp_path / "copy")) == ["m/1/model.onnx", "n/1/model.onnx"]


def test_a_page_without_links_to_files_removes_nothing(web, tmp_path):
    put(web.folder, "models/m/1/model.onnx", b"m")
    url = f"{web.url}/models"
    synchronise(url, tmp_path / "copy")
    put(web.folder, "models/index.html", b"<p>Back soon</p>")
    with pytest.raises(RepositoryError, match="nothing is listed there"):
        synchronise(url, tmp_path / "copy")
    with pytest.raises(
        RepositoryError, match=r"nowhere cannot be listed: http://127\.0\.0\.1:\d+/nowhere does not exist"
    ):
        synchronise(f"{web.url}/nowhere", tmp_path / "copy")
    assert sorted(files(tmp_path / "copy")) == ["m/1/model.onnx"]


def test_a_link_to_nothing_is_not_copied_and_harms_nobody(web, tmp_path):
    put(web.folder, "m/1/model.onnx", b"m")
    (web.folder / "m/1/gone").symlink_to("nowhere")
    assert synchronise(web.url, tmp_path / "copy").failures == {}
    assert sorted(files(tmp_path / "copy")) == ["m/1/model.onnx"]


def test_any_url_of_fsspec_will_do(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/models/m/1/model.onnx", BODY)
    try:
        synchronise("memory://models", tmp_path / "a")
    finally:
        memory.rm("/models", recursive=True)
    assert files(tmp_path / "a") == {"m/1/model.onnx": BODY}
    put(tmp_path / "there", "m/1/model.onnx", BODY)
    synchronise(f"file://{tmp_path}/there", tmp_path / "b")
    assert files(tmp_path / "b") == {"m/1/model.onnx": BODY}


def test_a_repository_of_too_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(storage_module, "MOST_FILES", 2)
    for name in "abc":
        put(tmp_path / "there", f"m/1/{name}", b"")
    with pytest.raises(RepositoryError, match="more than 2 files"):
        synchronise(f"file://{tmp_path}/there", tmp_path / "copy")
