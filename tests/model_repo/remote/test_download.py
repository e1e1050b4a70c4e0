import pytest
from remote_fakes import FakeStorage

from headrace.errors import RepositoryError
from model_repo.remote.download import TRIES, Stopped, download

BODY = bytes(range(40))


class Fetch:
    """Downloads `x` of a storage that holds BODY. `pauses` are those it made."""

    def __init__(self, folder):
        self.storage = FakeStorage({"x": BODY})
        self.part = folder / "part"
        self.pauses = []
        self.stopped = False

    def __call__(self):
        entry = self.storage.list()["x"]
        download(self.storage, entry, self.part, self.pauses.append, lambda: self.stopped)
        return self.part.read_bytes()


@pytest.fixture
def fetch(tmp_path):
    return Fetch(tmp_path)


def test_a_file_comes_whole(fetch):
    assert fetch() == BODY
    assert fetch.storage.reads == [("x", 0)]
    assert fetch.pauses == []


def test_an_empty_file_is_a_file(fetch):
    fetch.storage.objects["x"] = b""
    assert fetch() == b""


def test_a_cut_is_gone_on_with_where_it_happened(fetch):
    fetch.storage.cuts["x"] = [12, 8]
    assert fetch() == BODY
    assert fetch.storage.reads == [("x", 0), ("x", 12), ("x", 20)]


def test_what_an_earlier_process_left_is_not_fetched_again(fetch):
    fetch.part.write_bytes(BODY[:32])
    assert fetch() == BODY
    assert fetch.storage.reads == [("x", 32)]


def test_as_long_as_bytes_come_it_goes_on(fetch):
    fetch.storage.cuts["x"] = [4] * 9
    assert fetch() == BODY


def test_without_a_new_byte_it_gives_up_and_keeps_what_it_has(fetch):
    fetch.storage.cuts["x"] = [12, *[0] * TRIES]
    with pytest.raises(RepositoryError, match="the connection was cut"):
        fetch()
    assert fetch.part.read_bytes() == BODY[:12]
    assert fetch() == BODY


def test_a_storage_that_ends_early_without_a_word_is_noticed(fetch):
    entry = fetch.storage.list()["x"]
    fetch.storage.objects["x"] = BODY[:10]
    with pytest.raises(RepositoryError, match="ended after 10 of 40 bytes"):
        download(fetch.storage, entry, fetch.part, fetch.pauses.append, lambda: False)
    assert len(fetch.pauses) == TRIES  # one after the first bytes, and between the tries


def test_more_bytes_than_listed_are_thrown_away(fetch):
    entry = fetch.storage.list()["x"]
    fetch.storage.objects["x"] = BODY + b"more"
    with pytest.raises(RepositoryError, match="more than the 40 bytes"):
        download(fetch.storage, entry, fetch.part, fetch.pauses.append, lambda: False)
    assert not fetch.part.exists()


def test_a_file_that_changes_while_it_is_copied_is_thrown_away(fetch):
    fetch.storage.changes["x"] = BODY[::-1]
    with pytest.raises(RepositoryError, match="changed while it was copied"):
        fetch()
    assert not fetch.part.exists()
    assert fetch() == BODY[::-1]


def test_a_storage_that_cannot_resume_begins_anew_but_not_for_ever(fetch):
    fetch.storage.resumes = False
    fetch.storage.cuts["x"] = [12]
    assert fetch() == BODY
    assert fetch.storage.reads == [("x", 0), ("x", 12), ("x", 0)]
    fetch.part.unlink()
    fetch.storage.cuts["x"] = [12] * 100
    with pytest.raises(RepositoryError):
        fetch()
    assert len(fetch.storage.cuts["x"]) > 90


def test_told_to_stop_it_writes_nothing_more(fetch):
    fetch.stopped = True
    with pytest.raises(Stopped):
        fetch()
    assert fetch.part.read_bytes() == b""


def test_two_that_download_the_same_do_not_mix(fetch):
    import fcntl

    with fetch.part.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RepositoryError, match="cannot be written"):
            fetch()
    assert fetch() == BODY


def test_a_part_that_cannot_be_written_is_not_tried_again(fetch):
    fetch.part.mkdir()
    with pytest.raises(RepositoryError, match="cannot be written: Is a directory"):
        fetch()
    assert fetch.pauses == []
